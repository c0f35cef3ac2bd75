"""What a training step must know of `tf.distribute`: its place among the replicas, and means over all of them."""

import tensorflow as tf

__all__ = ["mean_over_replicas", "num_replicas", "place"]


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
