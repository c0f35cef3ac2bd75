"""uint8 images and where they are kept: the one pipeline between a source and the batches of a run.

`Indexed` images can be fetched by number: an array in memory, or files decoded when their turn comes. Batch k
is then a pure function of (seed, k), and a run resumes exactly without having saved anything. `Streamed`
images come in the order of their shards, and resume by skipping encoded records.
"""

import atexit
import gc
import hashlib
import os
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from tfgan_app.data.decoding import File, Item, read_all, report_skipped

MEMORY_LIMIT = 4 * 2**30  # bytes of decoded images; larger sets are decoded as they are needed
SHUFFLE_BUFFER = 8192  # encoded records
_PARALLEL_CALLS = os.cpu_count() or 1
_PREFETCHED = 4  # batches

# The four rounds of tf.random.experimental.index_shuffle are too few: the orders of two consecutive passes
# over 60 000 images correlate by 0.9. Sixteen make them look independent, at the same speed. That function
# also rejects a seed for each index, which the raw operation takes.
_ROUNDS = 16

_ALIGNMENT = 64  # bytes, which TensorFlow demands of memory that it shares

Shape = tuple[int, int, int]

Part = tuple[int, int]  # its number, and how many equal ones a batch has
WHOLE: Part = (0, 1)


class Records(Protocol):
    """Images as uint8 (H, W, C) with int32 labels (zeros where there are none), in batches."""

    count: int
    shape: Shape

    def batches(self, batch_size: int, seed: int, start_step: int, part: Part = WHOLE) -> tf.data.Dataset:
        """Infinite, every image once a pass, from batch `start_step` on; of each batch a part."""

    def one_pass(self, batch_size: int, seed: int) -> tf.data.Dataset:
        """One pass of full batches, in another order each time it is iterated."""

    def in_order(self, batch_size: int) -> tf.data.Dataset:
        """One pass in the source's order, the last batch being what remains."""


class Indexed:
    """Images that can be fetched by number."""

    def __init__(self, fetch: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]], count: int, shape: Shape):
        """Takes `fetch`, from indices (B,) to uint8 images (B, H, W, C) and int32 labels (B,)."""
        self.fetch = fetch
        self.count = count
        self.shape = shape

    def batches(self, batch_size: int, seed: int, start_step: int, part: Part = WHOLE) -> tf.data.Dataset:
        """See `Records`; a batch may span the end of a pass."""
        steps = tf.data.Dataset.counter(start_step)
        return self._fetched(steps.map(lambda step: self._indices(step, batch_size, seed, part)))

    def one_pass(self, batch_size: int, seed: int) -> tf.data.Dataset:
        """See `Records`."""
        order = tf.data.Dataset.range(self.count).shuffle(self.count, seed, reshuffle_each_iteration=True)
        return self._fetched(order.batch(batch_size, drop_remainder=True))

    def in_order(self, batch_size: int) -> tf.data.Dataset:
        """See `Records`."""
        return self._fetched(tf.data.Dataset.range(self.count).batch(batch_size))

    def _indices(self, step: tf.Tensor, batch_size: int, seed: int, part: Part) -> tf.Tensor:
        begin, end = _bounds(batch_size, part)
        positions = step * batch_size + tf.range(begin, end, dtype=tf.int64)
        passes = positions // self.count
        return tf.raw_ops.RandomIndexShuffle(
            index=positions % self.count,
            seed=tf.stack([tf.zeros_like(passes), tf.fill([end - begin], tf.constant(seed, tf.int64)), passes], axis=1),
            max_index=tf.constant(self.count - 1, tf.int64),
            rounds=_ROUNDS,
        )

    def _fetched(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        options = tf.data.Options()
        # TensorFlow rewrites a pipeline in a copy, images that `fetch` holds included.
        options.experimental_optimization.apply_default_optimizations = False
        return indices.map(self.fetch, num_parallel_calls=_PARALLEL_CALLS).with_options(options)


def prefetched(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Reads batches ahead of the step, without tf.data's autotuning.

    Measured with TensorFlow 2.21: an iterator that is given up may wait for the autotuner to wake, which it does 10 ms,
    20 ms, 40 ms, ... and then every 60 s after it began. `fit` and `evaluate` ended that much later.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(_PREFETCHED).with_options(options)


class Streamed:
    """Images that come one after another, as encoded records."""

    def __init__(self, encoded: tf.data.Dataset, decode: Callable, count: int, shape: Shape):
        """Takes records in a fixed order, and `decode` from a batch of them to uint8 images and their labels.

        Batches are decoded, of known size, as calls for each record would take longer than its decoding.
        """
        self.encoded = encoded
        self.decode = decode
        self.count = count
        self.shape = shape

    def batches(self, batch_size: int, seed: int, start_step: int, part: Part = WHOLE) -> tf.data.Dataset:
        """See `Records`; encoded records are skipped up to `start_step`, at most one pass of them."""
        first_pass, skipped = divmod(start_step * batch_size, self.count)
        seeds = tf.data.Dataset.counter(first_pass).map(
            lambda number: tf.random.stateless_uniform((), [seed, number], maxval=tf.int64.max, dtype=tf.int64)
        )

        def shuffled(pass_seed):
            # With a global seed TensorFlow would compare this one, which is symbolic, in Python.
            tf.compat.v1.get_default_graph().seed = None
            return self.encoded.shuffle(SHUFFLE_BUFFER, pass_seed, reshuffle_each_iteration=False)

        begin, end = _bounds(batch_size, part)
        encoded = seeds.flat_map(shuffled).skip(skipped)
        if part != WHOLE:
            numbered = encoded.enumerate()
            numbered = numbered.filter(lambda number, _: begin <= number % batch_size and number % batch_size < end)
            encoded = numbered.map(lambda _, record: record)
        return self._decoded(encoded, end - begin)

    def one_pass(self, batch_size: int, seed: int) -> tf.data.Dataset:
        """See `Records`."""
        shuffled = self.encoded.shuffle(SHUFFLE_BUFFER, seed, reshuffle_each_iteration=True)
        return self._decoded(shuffled, batch_size)

    def in_order(self, batch_size: int) -> tf.data.Dataset:
        """See `Records`."""
        rest = self.count % batch_size
        batches = self._decoded(self.encoded, batch_size)
        return batches.concatenate(self._decoded(self.encoded.skip(self.count - rest), rest)) if rest else batches

    def _decoded(self, encoded: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        return encoded.batch(batch_size, drop_remainder=True).map(self.decode, num_parallel_calls=_PARALLEL_CALLS)


class Opened(NamedTuple):
    """Records that are ready to be read, and what is known of them."""

    records: Records
    fingerprint: str
    skipped: int = 0


def fits_in_memory(count: int, shape: Shape) -> bool:
    """Whether `count` images of `shape` are held in memory rather than read when they are needed."""
    return count * int(np.prod(shape)) <= MEMORY_LIMIT


def hold(images: np.ndarray, labels: np.ndarray, skipped: int = 0) -> Opened:
    """Keeps uint8 images (N, H, W, C) and int32 labels (N,) in memory."""
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels).data)
    if images.ctypes.data % _ALIGNMENT:
        images, unaligned = _empty_aligned(images.shape), images
        images[...] = unaligned
    # tf.constant would keep two more copies, and put them into the memory of a GPU.
    all_images = tf.experimental.dlpack.from_dlpack(images.__dlpack__())
    with tf.device("CPU"):
        all_labels = tf.constant(labels)

    def fetch(indices):
        return tf.gather(all_images, indices), tf.gather(all_labels, indices)

    return Opened(Indexed(fetch, len(images), images.shape[1:]), digest.hexdigest(), skipped)


def decode_and_hold(
    items: Iterable[Item], read: Callable[[File], np.ndarray], count: int, shape: Shape, where: str
) -> Opened:
    """Decodes `count` items into memory, leaving out those that cannot be read.

    Raises:
        DataError: If too many cannot be read.
    """
    images, labels = _empty_aligned((count, *shape)), np.empty(count, np.int32)
    kept, skipped = 0, {}
    for item, image in read_all(read, items):
        if isinstance(image, Exception):
            skipped[item.name] = image
        elif image.shape != shape:
            skipped[item.name] = ValueError(f"decodes to shape {image.shape} instead of {shape}")
        else:
            images[kept], labels[kept] = image, item.label
            kept += 1
    report_skipped(skipped, count, where)
    return hold(images[:kept], labels[:kept], len(skipped))


def fetch_with(read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], count: int, shape: Shape) -> Indexed:
    """Makes records of a Python function that takes indices (B,).

    It returns uint8 images (B, H, W, C) and int32 labels (B,), both as arrays.
    """
    # An iterator waits for its last calls when it goes. One that only the end of Python frees waits for ever, as no
    # thread calls Python any more then: free what is left over before.
    atexit.unregister(gc.collect)
    atexit.register(gc.collect)

    def fetch(indices):
        images, labels = tf.numpy_function(read, [indices], [tf.uint8, tf.int32], stateful=False)
        return tf.ensure_shape(images, [*indices.shape, *shape]), tf.ensure_shape(labels, indices.shape)

    return Indexed(fetch, count, shape)


def _bounds(batch_size: int, part: Part) -> tuple[int, int]:
    index, parts = part
    return index * batch_size // parts, (index + 1) * batch_size // parts


def _empty_aligned(shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape))
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size].reshape(shape)
