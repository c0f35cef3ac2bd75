"""Random numbers that depend on a seed alone: equal on every device, with and without XLA.

Only TensorFlow's integers, named by their algorithm, are equal everywhere, so the rest is made of them here.
"""

import math

import tensorflow as tf

__all__ = ["next_seed", "normal", "uniform"]


def next_seed(seed_generator):
    """Returns the next seed of a layer's `keras.random.SeedGenerator`, another one on every replica."""
    replica = tf.distribute.get_replica_context()
    replica_id = replica.replica_id_in_sync_group if replica else 0
    return tf.cast(seed_generator.next(), tf.int64) + tf.stack([tf.cast(replica_id, tf.int64), 0])


def uniform(shape, seed):
    """Draws from the uniform distribution on (0, 1).

    Args:
        shape: A tuple of integers and scalar tensors.
        seed: Two integers, or a tensor of them.

    Returns:
        A float32 tensor.
    """
    bits = tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox")
    # The upper 23 bits and a half: neither 0 nor 1 as a float32.
    return (tf.cast(tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)), tf.float32) + 0.5) * 2.0**-23


def normal(shape, seed):
    """Draws from the standard normal distribution, by Box and Muller's transform; arguments as in `uniform`."""
    pairs = uniform((*shape, 2), seed)
    return tf.sqrt(-2.0 * tf.math.log(pairs[..., 0])) * tf.cos(2.0 * math.pi * pairs[..., 1])
