"""Random numbers that depend on a seed alone: equal on every device, with and without XLA, and over any replicas.

Only TensorFlow's integers, named by their algorithm, are equal everywhere, so the rest is made of them here.
"""

import math
import zlib
from collections.abc import Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from tfgan_app.base import replicas

__all__ = ["Seed", "integers", "next_seed", "normal", "stream", "uniform", "uniform_part"]

# Two integers, or a tensor of them.
Seed: TypeAlias = tf.Tensor | Sequence[int | tf.Tensor]

# Philox counts blocks of four integers (Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405).
_BLOCK = 4


def next_seed(seed_generator: keras.random.SeedGenerator) -> tf.Tensor:
    """Returns the next seed of a layer's `keras.random.SeedGenerator`."""
    return tf.cast(seed_generator.next(), tf.int64)


def stream(seed: Seed, name: str) -> tf.Tensor:
    """Returns the seed of a named stream of random numbers.

    Streams that differ in name or seed have nothing in common, as long as seeds are less than 2^31 apart.

    Args:
        seed: Two integers, or a tensor of them: the seed of all streams, and the number of the draw.
        name: What is drawn.

    Returns:
        An int64 tensor of two elements.
    """
    # The name's checksum has 32 bits. They go above the 31 bits in which seeds differ.
    offset = zlib.crc32(name.encode()) << 31
    return tf.cast(tf.stack(seed), tf.int64) + tf.constant([offset, 0], tf.int64)


def uniform(shape: Sequence[int | tf.Tensor], seed: Seed, whole: bool = False) -> tf.Tensor:
    """Draws from the uniform distribution on (0, 1).

    Args:
        shape: A tuple of integers and scalar tensors. In a step of several replicas its first is the size of a
            replica's part of the batch. Each replica draws its part of what one would draw for the whole batch.
        seed: Two integers, or a tensor of them.
        whole: Whether every replica draws the same instead.

    Returns:
        A float32 tensor.
    """
    place = 0 if whole else replicas.place()
    if isinstance(place, int) and place == 0:
        bits = tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox")
    else:
        bits = _part(shape, seed, place)
    return _to_unit(bits)


def uniform_part(start: int | tf.Tensor, shape: Sequence[int | tf.Tensor], seed: Seed) -> tf.Tensor:
    """Returns the rows from `start` on, `shape[0]` of them, of what `uniform` draws for a batch of any size."""
    row = tf.reduce_prod(tf.cast(tf.stack([1, *shape[1:]]), tf.int64))
    return _to_unit(_from(tf.cast(start, tf.int64) * row, shape, seed))


def _to_unit(bits):
    # The upper 23 bits plus a half are exact in float32, and never scale to 0 or 1.
    return (tf.cast(tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)), tf.float32) + 0.5) * 2.0**-23


def normal(shape: Sequence[int | tf.Tensor], seed: Seed, whole: bool = False, start: int = 0) -> tf.Tensor:
    """Draws from the standard normal distribution, by Box and Muller's transform.

    Args:
        shape: As in `uniform`.
        seed: As in `uniform`.
        whole: As in `uniform`.
        start: Where not 0: the rows from there on of what is drawn for a larger batch, as in `uniform_part`.
    """
    pairs = uniform_part(start, (*shape, 2), seed) if start else uniform((*shape, 2), seed, whole)
    return tf.sqrt(-2.0 * tf.math.log(pairs[..., 0])) * tf.cos(2.0 * math.pi * pairs[..., 1])


def integers(shape: Sequence[int | tf.Tensor], seed: Seed, end: int) -> tf.Tensor:
    """Draws int32 numbers from 0 to `end` - 1; arguments as in `uniform`."""
    return tf.cast(uniform(shape, seed) * end, tf.int32)


def _part(shape, seed, place):
    """Returns the uint32 numbers that follow those of `place` parts of the same shape."""
    return _from(tf.cast(place, tf.int64) * tf.reduce_prod(tf.cast(tf.stack(shape), tf.int64)), shape, seed)


def _from(first, shape, seed):
    """Returns the uint32 numbers from number `first` on."""
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=tf.cast(seed, tf.int64))
    size = tf.reduce_prod(tf.cast(tf.stack(shape), tf.int64))
    counter += tf.cast(tf.stack([first // _BLOCK, 0]), tf.uint64)
    bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[size + _BLOCK], key=key, counter=counter, alg=tf.random.Algorithm.PHILOX.value, dtype=tf.uint32
    )
    begin = first % _BLOCK
    return tf.reshape(bits[begin : begin + size], shape)
