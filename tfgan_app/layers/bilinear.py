"""Bilinear enlargement that can be differentiated twice."""

from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.networks import BatchShape
from tfgan_app.base.receptive_field import Span

__all__ = ["BilinearUpsample"]


@keras.saving.register_keras_serializable("tfgan_app")
class BilinearUpsample(keras.layers.Layer):
    """Enlarges images `(batch, height, width, channels)` by linear interpolation, by a whole number.

    Keras's `UpSampling2D(factor, interpolation="bilinear")` has the same values, but gradients of its gradients are
    lost, so that a discriminator with it would be given wrong gradient penalties without a word; and it cannot be
    exported for images of any size.

    Args:
        factor: By how much it multiplies the sides, at least 1.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: For another factor.
    """

    def __init__(self, factor: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        if factor != int(factor) or factor < 1:
            raise ValueError(f"`factor` must be an integer of at least 1. Received: factor={factor}")
        self.factor = int(factor)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        rows = tf.concat([inputs[:, :1], inputs[:, :-1]], 1), tf.concat([inputs[:, 1:], inputs[:, -1:]], 1)
        x = self._between(*rows, inputs, 2)
        columns = tf.concat([x[:, :, :1], x[:, :, :-1]], 2), tf.concat([x[:, :, 1:], x[:, :, -1:]], 2)
        x = self._between(*columns, x, 3)
        return tf.ensure_shape(x, self.compute_output_shape(inputs.shape))

    def _between(self, before, after, x, axis):
        """Returns positions in the place of each, made of itself and its nearer neighbour, along the axis before."""
        phases = [(2 * phase + 1 - self.factor) / (2 * self.factor) for phase in range(self.factor)]
        parts = [(1 - abs(phase)) * x + abs(phase) * (before if phase < 0 else after) for phase in phases]
        sides = tf.unstack(tf.shape(x))
        sides[axis - 1] *= self.factor
        return tf.reshape(tf.stack(parts, axis), sides)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        batch, height, width, channels = input_shape
        return (batch, *(side and side * self.factor for side in (height, width)), channels)

    def span(self, span: Span) -> Span:
        """Returns what outputs see, for `receptive_radius`."""
        return span.interpolated(self.factor, 2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}
