"""What a training step must know of `tf.distribute`: its place among the replicas, and means over all of them.

A replica may take its share of a batch in parts, one after the other, which then have places of their own.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

__all__ = ["call_where", "gathered", "mean_over_replicas", "num_parts", "num_replicas", "part", "place"]


class _Part(threading.local):
    """Which part of a batch is being computed, of how many. Replicas are threads."""

    index, num = 0, 1


_PART = _Part()


@contextlib.contextmanager
def part(index: int, num: int) -> Iterator[None]:
    """Says that what the block computes is one of `num` equal parts of a replica's batch."""
    before = _PART.index, _PART.num
    _PART.index, _PART.num = index, num
    try:
        yield
    finally:
        _PART.index, _PART.num = before


def num_parts() -> int:
    """Returns in how many parts each replica takes its batch; 1 outside of `part`."""
    return _PART.num


def num_replicas() -> int:
    """Returns how many replicas train together; 1 outside of a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def place() -> int | tf.Tensor:
    """Returns which of the replicas this is, an integer or a tensor: 0 where there is one, or outside of a step.

    In a `part`, which of the parts of all replicas.
    """
    replica = tf.distribute.get_replica_context()
    own = replica.replica_id_in_sync_group if replica is not None and num_replicas() > 1 else 0
    return own if _PART.num == 1 else own * _PART.num + _PART.index


def mean_over_replicas(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the mean of a tensor over all replicas; gradients pass. Not to be called inside a branch."""
    replica = tf.distribute.get_replica_context()
    if replica is None or num_replicas() == 1:
        return tensor
    return replica.all_reduce(tf.distribute.ReduceOp.MEAN, tensor)


def gathered(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the tensors of all replicas joined along the first axis, in their order. Not to be called in a branch."""
    replica = tf.distribute.get_replica_context()
    if replica is None or num_replicas() == 1:
        return tensor
    return replica.all_gather(tensor, axis=0)


def call_where(condition: tf.Tensor, function: Callable[[Any], object], argument: Any) -> None:
    """Calls a function that changes variables, in a step, where a condition holds.

    Args:
        condition: A boolean scalar, the same on every replica.
        function: What to call; what it returns is dropped. It may call an optimizer, which replicas cannot in a
            `tf.cond` of their own.
        argument: What to call it with, a tree of tensors.
    """

    def branch(call):
        def called():
            call()
            return tf.constant(0)

        return called

    def on_all(strategy, condition, argument):
        everywhere = branch(lambda: strategy.extended.call_for_each_replica(function, args=(argument,)))
        tf.cond(strategy.experimental_local_results(condition)[0], everywhere, branch(lambda: None))

    if num_replicas() == 1 or tf.__internal__.distribute.strategy_supports_no_merge_call():
        tf.cond(condition, branch(lambda: function(argument)), branch(lambda: None))
    else:
        tf.distribute.get_replica_context().merge_call(on_all, args=(condition, argument))
