"""Channels into positions."""

from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.networks import BatchShape
from tfgan_app.base.receptive_field import Span

__all__ = ["PixelShuffle"]


@keras.saving.register_keras_serializable("tfgan_app")
class PixelShuffle(keras.layers.Layer):
    """Makes of `factor`^2 channels as many positions: sub-pixel convolution, where a convolution comes before.

    `(batch, height, width, factor^2 * channels)` -> `(batch, factor * height, factor * width, channels)`. Shi et al.
    2016, https://arxiv.org/abs/1609.05158, section 3.2.

    Channel c of the position (y, x) of a block comes from channel (y * factor + x) * channels + c, TensorFlow's order.
    PyTorch's is c * factor^2 + y * factor + x: kernels from there need their channels reordered.

    Args:
        factor: At least 1.
        **kwargs: As in `keras.layers.Layer`.

    Raises:
        ValueError: For another factor, or channels that are no multiple of its square.
    """

    def __init__(self, factor: int, **kwargs: Any):
        super().__init__(**kwargs)
        if factor != int(factor) or factor < 1:
            raise ValueError(f"`factor` must be an integer of at least 1. Received: factor={factor}")
        self.factor = int(factor)

    def build(self, input_shape: BatchShape) -> None:
        if input_shape[-1] % self.factor**2:
            raise ValueError(
                f"The channels must be a multiple of {self.factor**2}, the square of `factor`. Received: "
                f"factor={self.factor} for inputs of shape {tuple(input_shape)}"
            )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # TensorFlow takes blocks of two and more only.
        return tf.nn.depth_to_space(inputs, self.factor) if self.factor > 1 else tf.identity(inputs)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        batch, *sides, channels = input_shape
        return (batch, *(side and side * self.factor for side in sides), channels // self.factor**2)

    def span(self, span: Span) -> Span:
        """Returns what outputs see, for `receptive_radius`."""
        return span.repeated(self.factor)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}
