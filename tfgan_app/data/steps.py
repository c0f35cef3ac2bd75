"""Batches to the steps that `fit` takes: several a step, and a share for each device and process.

Batches here are `tf.data.Dataset`s of any tree of tensors, `(batch, ...)` each.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.strategies import num_workers, worker_index

__all__ = ["by_replica", "grouped", "minibatch", "share_batches"]


def grouped(x: Any, y: Any, batch_size: int | None, shuffle: bool, n_critic: int, replicas: int) -> tf.data.Dataset:
    """Returns a dataset whose elements are `n_critic` batches of `x`, one after the other.

    Args:
        x: A `tf.data.Dataset` of batches, or an array `(num, ...)`.
        y: What belongs to each sample of an array, or None.
        batch_size: Samples in a batch of an array; 32 by default.
        shuffle: Whether to draw an array's samples in another order each pass.
        n_critic: Batches a step.
        replicas: How many devices share a step.

    Raises:
        ValueError: If there are too few samples for a step, or `x` is neither.
    """
    if not isinstance(x, tf.data.Dataset):
        if not hasattr(x, "shape"):
            raise ValueError(
                f"With n_critic={n_critic}, `x` must be a tf.data.Dataset of batches or an array. "
                f"Received: {type(x).__name__}"
            )
        num = len(x)
        x = tf.data.Dataset.from_tensor_slices(x if y is None else (x, y))
        x = (x.shuffle(num) if shuffle else x).batch(batch_size or 32, drop_remainder=True)
    size, batches = _first(x.element_spec).shape[0], int(x.cardinality())
    if size is None:
        size = len(_first(next(iter(x))))
        x = x.rebatch(size, drop_remainder=True)
        # The last batch may be smaller, and is then left out.
        batches -= batches > 0
    if 0 <= batches < n_critic:
        raise ValueError(
            f"A step takes n_critic * batch_size = {n_critic} * {size} images, and there are fewer. "
            "Give more, or a smaller batch size."
        )
    groups = by_replica(x, n_critic, replicas)
    if batches < 0:
        return groups
    # `rebatch` loses the count, which Keras needs to tell the end of an epoch.
    steps = batches // n_critic
    return groups.take(steps).apply(tf.data.experimental.assert_cardinality(steps))


def by_replica(batches: tf.data.Dataset, n_critic: int, replicas: int, split: bool = False) -> tf.data.Dataset:
    """Joins the batches of each step, in such an order that a replica's share holds its part of every one.

    Args:
        batches: Batches whose type tells their size.
        n_critic: How many a step takes.
        replicas: How many share a step, and divide that size.
        split: Whether elements are to be shares rather than steps.
    """
    size = _first(batches.element_spec).shape[0]
    if size % replicas:
        raise ValueError(f"{replicas} replicas cannot share batches of {size} images equally.")

    def reorder(x):
        parts = tf.reshape(x, tf.concat([[n_critic, replicas, size // replicas], tf.shape(x)[1:]], axis=0))
        order = [1, 0, *range(2, x.shape.rank + 2)]
        return tf.ensure_shape(tf.reshape(tf.transpose(parts, order), tf.shape(x)), x.shape)

    steps = batches.rebatch(size * n_critic, drop_remainder=True)
    if replicas > 1:
        steps = steps.map(lambda *data: keras.tree.map_structure(reorder, data if len(data) > 1 else data[0]))
    return steps.rebatch(size * n_critic // replicas) if split else steps


def minibatch(data: Any, index: int, n_critic: int) -> Any:
    """Returns batch `index` of the `n_critic` that `by_replica` joined in `data`."""
    if n_critic == 1:
        return data

    def part(x):
        size = tf.shape(x)[0] // n_critic
        return x[index * size : (index + 1) * size]

    return keras.tree.map_structure(part, data)


def share_batches(
    batches: Callable[[int, int], tf.data.Dataset], n_critic: int, strategy: tf.distribute.Strategy
) -> tf.data.Dataset:
    """Returns what to give to `fit`: together, the processes see the batches that one would see.

    Args:
        batches: `batches(index, parts)` returns a dataset of part `index` of `parts` equal ones of each batch.
        n_critic: How many of them a step takes.
        strategy: The `tf.distribute.Strategy` that trains.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        # In a single process, Keras itself splits each batch among the devices.
        return batches(0, 1)
    replicas, workers = strategy.num_replicas_in_sync, num_workers(strategy)
    shares = by_replica(batches(worker_index(strategy), workers), n_critic, replicas // workers, split=True)
    # Keras's `fit` splits each element into a share for every replica of all workers, and takes no dataset that is
    # split already. So an element here is as many shares for this worker's own replicas, those of several steps.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    share = _first(shares.element_spec).shape[0]
    return shares.rebatch(share * replicas).with_options(options)


def _first(tree):
    return keras.tree.flatten(tree)[0]
