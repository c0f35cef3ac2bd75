"""Pixels to channels."""

from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.networks import BatchShape
from tfgan_app.base.receptive_field import Span

__all__ = ["PixelUnshuffle"]


@keras.saving.register_keras_serializable("tfgan_app")
class PixelUnshuffle(keras.layers.Layer):
    """Moves blocks of pixels into channels, the inverse of `PixelShuffle`.

    `(batch, height, width, channels)` -> `(batch, height / factor, width / factor, factor^2 * channels)`. Channel
    `(row * factor + column) * channels + c` is channel c of a block's pixel; PyTorch orders them c first.

    Args:
        factor: By how much it divides the sides, at least 1.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: For another factor, or sides that are no multiples of it.
    """

    def __init__(self, factor: int, **kwargs: Any):
        super().__init__(**kwargs)
        if factor != int(factor) or factor < 1:
            raise ValueError(f"`factor` must be an integer of at least 1. Received: factor={factor}")
        self.factor = int(factor)

    def build(self, input_shape: BatchShape) -> None:
        if any(side is not None and side % self.factor for side in input_shape[1:3]):
            raise ValueError(
                f"The sides must be multiples of `factor`. Received: factor={self.factor} for inputs of shape "
                f"{tuple(input_shape)}"
            )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs if self.factor == 1 else tf.nn.space_to_depth(inputs, self.factor)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        batch, *sides, channels = input_shape
        return (batch, *(side and side // self.factor for side in sides), self.factor**2 * channels)

    def span(self, span: Span) -> Span:
        """Returns what outputs see, for `receptive_radius`."""
        return span.convolved(self.factor, self.factor, padding="valid")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}
