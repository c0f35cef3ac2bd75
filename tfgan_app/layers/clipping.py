"""Constraints on weights."""

from typing import Any

import keras
import tensorflow as tf

__all__ = ["ClipWeights"]


@keras.saving.register_keras_serializable("tfgan_app")
class ClipWeights(keras.constraints.Constraint):
    """Clips weights to [-limit, limit] after each update. WGAN, https://arxiv.org/abs/1701.07875, Algorithm 1.

    Args:
        limit: A positive number.
    """

    def __init__(self, limit: float = 0.01):
        if not limit > 0:
            raise ValueError(f"`limit` must be positive. Received: limit={limit}")
        self.limit = limit

    def __call__(self, w: tf.Tensor | keras.Variable) -> tf.Tensor:
        return tf.clip_by_value(tf.convert_to_tensor(w), -self.limit, self.limit)

    def get_config(self) -> dict[str, Any]:
        return {"limit": self.limit}
