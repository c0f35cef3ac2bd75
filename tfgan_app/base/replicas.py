"""What a training step must know of `tf.distribute`: its place among the replicas, and means over all of them."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = ["call_where", "gathered", "mean_over_replicas", "num_replicas", "place"]


def num_replicas() -> int:
    """Returns how many replicas train together; 1 outside of a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def place() -> int | tf.Tensor:
    """Returns which of the replicas this is, an integer or a tensor: 0 where there is one, or outside of a step."""
    replica = tf.distribute.get_replica_context()
    return replica.replica_id_in_sync_group if replica is not None and num_replicas() > 1 else 0


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
