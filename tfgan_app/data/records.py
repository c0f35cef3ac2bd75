"""Stored samples and where they are kept: the one pipeline between a source and the batches of a run.

A sample is any tree of arrays of any dtype: a uint8 image with its label, a pair of images, a signal. `Indexed` samples
can be fetched by number: arrays in memory, or files decoded when their turn comes. Batch k is then a pure function of
(seed, k), and a run resumes exactly without having saved anything. `Streamed` samples come in the order of their
shards, and resume by skipping encoded records.
"""

import atexit
import gc
import hashlib
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.data.decoding import File, Item, read_all, report_skipped
from tfgan_app.modalities.values import LEVELS

MEMORY_LIMIT = 4 * 2**30  # bytes of decoded images; larger sets are decoded as they are needed
SHUFFLE_BUFFER = 8192  # encoded records
_PARALLEL_CALLS = os.cpu_count() or 1
_PREFETCHED = 4  # batches

# The four rounds of tf.random.experimental.index_shuffle are too few: the orders of two consecutive passes
# over 60 000 images correlate by 0.9. Sixteen make them look independent, at the same speed. That function
# also rejects a seed for each index, which the raw operation takes.
_ROUNDS = 16

_ALIGNMENT = 64  # bytes; memory that TensorFlow shares begins at a multiple of it

Shape = tuple[int, int, int]

Part = tuple[int, int]  # its number, and into how many equal parts a batch is split
WHOLE: Part = (0, 1)


class Records(Protocol):
    """Samples in batches: datasets of a tree of tensors `(batch, ...)`.

    Attributes:
        count: How many there are.
        spec: The `tf.TensorSpec`s of one sample, a tree. Of images: uint8 or uint16 `(height, width, channels)`, and an
            int32 label, which is zero where there is none.
    """

    count: int
    spec: Any

    def batches(self, batch_size: int, seed: int, start_step: int, part: Part = WHOLE) -> tf.data.Dataset:
        """Endless batches, every sample once a pass, from batch `start_step` on; of each batch only `part`."""

    def one_pass(self, batch_size: int, seed: int) -> tf.data.Dataset:
        """One pass of full batches, in another order each time it is iterated."""

    def in_order(self, batch_size: int) -> tf.data.Dataset:
        """One pass in the source's order, the last batch being what remains."""

    def sample(self, num: int, seed: int) -> tuple["Records", str]:
        """Returns `num` of the samples, in the source's order, and in words how they were chosen."""


class Indexed:
    """Samples that can be fetched by number."""

    def __init__(
        self, fetch: Callable[[tf.Tensor], Any], count: int, spec: Any, labels: np.ndarray | None = None
    ) -> None:
        """Takes `fetch`, from indices `(batch,)` to a batch of samples as `spec` has them.

        `labels` are the integers `(count,)` by which parts are stratified, None where there are none.
        """
        self.fetch = fetch
        self.count = count
        self.spec = spec
        self.labels = labels

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

    def sample(self, num: int, seed: int) -> tuple["Indexed", str]:
        """See `Records`; every sample has the same chance, and every label its share to within one sample."""
        # RandomState, unlike Generator, promises the same stream in every version of NumPy.
        order = np.random.RandomState(seed).permutation(self.count)
        labels, stratified = self.labels, False
        if labels is not None and np.ptp(labels) > 0:
            order, stratified = order[np.argsort(labels[order], kind="stable")], True
        chosen = np.sort(order[_spaced(self.count, num, seed)])
        positions = tf.constant(chosen, tf.int64)
        part = Indexed(
            lambda indices: self.fetch(tf.gather(positions, indices)),
            num,
            self.spec,
            None if labels is None else labels[chosen],
        )
        return part, f"seeded sample{' stratified by class' if stratified else ''}, seed {seed}"

    def _indices(self, step: tf.Tensor, batch_size: int, seed: int, part: Part) -> tf.Tensor:
        begin, end = part_bounds(batch_size, part)
        positions = step * batch_size + tf.range(begin, end, dtype=tf.int64)
        passes = positions // self.count
        return tf.raw_ops.RandomIndexShuffle(
            index=positions % self.count,
            seed=tf.stack([tf.zeros_like(passes), tf.fill([end - begin], tf.constant(seed, tf.int64)), passes], axis=1),
            max_index=tf.constant(self.count - 1, tf.int64),
            rounds=_ROUNDS,
        )

    def _fetched(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        return mapped(indices, self.fetch)


def mapped(indices: tf.data.Dataset, fetch: Callable[..., Any]) -> tf.data.Dataset:
    """Returns what is fetched for indices, several batches at a time, in order."""
    options = tf.data.Options()
    # TensorFlow optimises a copy of the pipeline, which would hold the images of `fetch` once more.
    options.experimental_optimization.apply_default_optimizations = False
    return indices.map(fetch, num_parallel_calls=_PARALLEL_CALLS).with_options(options)


def prefetched(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Reads batches ahead of the step, without tf.data's autotuning.

    Measured with TensorFlow 2.21: an iterator that is given up may wait for the autotuner to wake, which it does 10 ms,
    20 ms, 40 ms, ... and then every 60 s after it began. `fit` and `evaluate` ended that much later.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(_PREFETCHED).with_options(options)


class Streamed:
    """Samples that come one after another, as encoded records."""

    def __init__(
        self,
        encoded: tf.data.Dataset,
        decode: Callable[[tf.Tensor], Any],
        count: int,
        spec: Any,
        shuffled: bool = False,
    ) -> None:
        """Takes records in a fixed order, and `decode` from a batch of them to one of samples as `spec` has them.

        Batches are decoded, of known size, as calls for each record would take longer than its decoding. `shuffled`
        says that the order is a random one.
        """
        self.shuffled = shuffled
        self.encoded = encoded
        self.decode = decode
        self.count = count
        self.spec = spec

    def batches(self, batch_size: int, seed: int, start_step: int, part: Part = WHOLE) -> tf.data.Dataset:
        """See `Records`; encoded records are skipped up to `start_step`, at most one pass of them."""
        first_pass, skipped = divmod(start_step * batch_size, self.count)
        seeds = tf.data.Dataset.counter(first_pass).map(
            lambda number: tf.random.stateless_uniform((), [seed, number], maxval=tf.int64.max, dtype=tf.int64)
        )

        def shuffled(pass_seed):
            # With a global seed, `shuffle` would compare `pass_seed` in Python, which fails for a tensor.
            tf.compat.v1.get_default_graph().seed = None
            return self.encoded.shuffle(SHUFFLE_BUFFER, pass_seed, reshuffle_each_iteration=False)

        begin, end = part_bounds(batch_size, part)
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

    def sample(self, num: int, seed: int) -> tuple["Streamed", str]:
        """See `Records`; labels are not looked at, as they lie within the records.

        Of a random order the front is as good as any part, and all that must be read. Any other is read to its end:
        what is stored class by class is then taken in proportion.
        """
        if self.shuffled:
            return Streamed(self.encoded.take(num), self.decode, num, self.spec, True), "first of a random order"
        chosen = np.zeros(self.count, bool)
        chosen[_spaced(self.count, num, seed)] = True
        mask = tf.constant(chosen)
        part = self.encoded.enumerate().filter(lambda number, _: mask[number]).map(lambda _, record: record)
        return Streamed(part, self.decode, num, self.spec), f"evenly spaced in the order of storage, seed {seed}"

    def _decoded(self, encoded: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        return encoded.batch(batch_size, drop_remainder=True).map(self.decode, num_parallel_calls=_PARALLEL_CALLS)


class Opened(NamedTuple):
    """Records that are ready to be read, and what is known of them."""

    records: Records
    fingerprint: str
    skipped: int = 0


def _spaced(count: int, num: int, seed: int) -> np.ndarray:
    """Returns `num` of `count` positions, ascending and evenly spaced from a seeded start."""
    start = np.random.RandomState(seed).uniform()
    return np.minimum(((np.arange(num) + start) * count / num).astype(np.int64), count - 1)


def fits_in_memory(count: int, shape: Shape, depth: int = 8) -> bool:
    """Whether `count` images of `shape` are held in memory rather than read when they are needed."""
    return count * int(np.prod(shape)) * depth // 8 <= MEMORY_LIMIT


def labelled_images(shape: Shape, depth: int = 8) -> tuple[tf.TensorSpec, tf.TensorSpec]:
    """Returns the spec of an image of a shape, in levels of `depth` bits, and its int32 label."""
    return tf.TensorSpec(shape, LEVELS[depth]), tf.TensorSpec((), tf.int32)


def hold(samples: Any, skipped: int = 0) -> Opened:
    """Keeps a tree of arrays `(num, ...)` in memory. Integers `(num,)` among them are taken for labels.

    The fingerprint is the SHA-256 of the shape of the first array, then of the bytes of all.
    """
    leaves = [np.asarray(leaf) for leaf in keras.tree.flatten(samples)]
    digest = hashlib.sha256(repr(leaves[0].shape).encode())
    for leaf in leaves:
        digest.update(np.ascontiguousarray(leaf).data)
    tensors = [_shared(leaf) for leaf in leaves]

    def fetch(indices):
        return keras.tree.pack_sequence_as(samples, [tf.gather(tensor, indices) for tensor in tensors])

    specs = [tf.TensorSpec(leaf.shape[1:], leaf.dtype) for leaf in leaves]
    labels = next((leaf for leaf in leaves if leaf.ndim == 1 and leaf.dtype.kind in "iu"), None)
    records = Indexed(fetch, len(leaves[0]), keras.tree.pack_sequence_as(samples, specs), labels)
    return Opened(records, digest.hexdigest(), skipped)


def decode_and_hold(
    items: Iterable[Item], read: Callable[[File], np.ndarray], count: int, shape: Shape, where: str, depth: int = 8
) -> Opened:
    """Decodes `count` items into memory, leaving out those that cannot be read.

    Raises:
        DataError: If too many cannot be read.
    """
    images, labels = _empty_aligned((count, *shape), LEVELS[depth]), np.empty(count, np.int32)
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
    return hold((images[:kept], labels[:kept]), len(skipped))


def with_rows(opened: Opened, rows: np.ndarray) -> Opened:
    """Returns images whose labels, which number them, give way to rows `(num, ...)` of those numbers."""
    records, table = opened.records, tf.constant(rows)
    assert isinstance(records, Indexed)
    spec, _ = records.spec

    def fetch(indices):
        images, numbers = records.fetch(indices)
        return images, tf.gather(table, numbers)

    digest = hashlib.sha256(opened.fingerprint.encode() + np.ascontiguousarray(rows).tobytes()).hexdigest()
    told = Indexed(fetch, records.count, (spec, tf.TensorSpec(rows.shape[1:], rows.dtype)))
    return Opened(told, digest, opened.skipped)


def fetch_with(read: Callable[[np.ndarray], Any], count: int, spec: Any, labels: np.ndarray | None = None) -> Indexed:
    """Makes records of a Python function from indices `(batch,)` to a tree of arrays as `spec` has them.

    `labels` are as in `Indexed`.
    """
    leaves = keras.tree.flatten(spec)

    def read_leaves(indices):
        return keras.tree.flatten(read(indices))

    def fetch(indices):
        return keras.tree.pack_sequence_as(spec, through_python(read_leaves, [indices], leaves))

    return Indexed(fetch, count, spec, labels)


def through_python(
    read: Callable[..., Iterable[Any]], inputs: list[tf.Tensor], specs: Iterable[tf.TensorSpec]
) -> list[tf.Tensor]:
    """Calls a Python function within a pipeline.

    Args:
        read: From arrays `(batch, ...)` to arrays as `specs` have them, equal for equal ones.
        inputs: What it is called with.
        specs: Of what it returns, without the batch.
    """
    # An iterator waits for its last calls when it goes. One that only the end of Python frees waits for ever, as no
    # thread calls Python any more then: free what is left over before.
    atexit.unregister(gc.collect)
    atexit.register(gc.collect)
    specs = list(specs)

    def arrays(*values):
        return [np.asarray(leaf) for leaf in read(*values)]

    found = tf.numpy_function(arrays, inputs, [spec.dtype for spec in specs], stateful=False)
    shapes = [(*inputs[0].shape, *spec.shape) for spec in specs]
    return [tf.ensure_shape(leaf, shape) for leaf, shape in zip(found, shapes, strict=True)]


def _shared(array: np.ndarray) -> tf.Tensor:
    """Returns an array as a tensor in the same memory: tf.constant would keep two more copies, and a GPU another."""
    if not array.flags.c_contiguous or not array.flags.writeable or array.ctypes.data % _ALIGNMENT:
        array, other = _empty_aligned(array.shape, array.dtype), array
        array[...] = other
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def part_bounds(batch_size: int, part: Part) -> tuple[int, int]:
    """Returns where a part of a batch begins in it, and where it ends."""
    index, parts = part
    return index * batch_size // parts, (index + 1) * batch_size // parts


def _empty_aligned(shape: tuple[int, ...], dtype: type[np.generic] | np.dtype) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)
