"""Pixelwise feature vector normalisation."""

from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.networks import BatchShape

__all__ = ["PixelNorm"]


@keras.saving.register_keras_serializable("tfgan_app")
class PixelNorm(keras.layers.Layer):
    """Divides the last axis by its root mean square: b = a / sqrt(mean_j a_j^2 + epsilon).

    Karras et al. 2017, https://arxiv.org/abs/1710.10196, section 4.2. Computed in float32 under every dtype policy.

    Args:
        epsilon: Keeps a vector of zeros from dividing by zero.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, epsilon: float = 1e-8, **kwargs: Any):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        x = tf.cast(inputs, tf.float32)
        x = x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=-1, keepdims=True) + self.epsilon)
        return tf.cast(x, inputs.dtype)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}
