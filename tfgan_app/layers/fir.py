"""Resampling with the binomial filter [1, 3, 3, 1]."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.base.networks import BatchShape

__all__ = ["FIRDownsample", "FIRFilter", "FIRUpsample", "fir_filter"]


def fir_filter(x: tf.Tensor, taps: tuple[int, ...], padding: int) -> tf.Tensor:
    """Filters each channel, along height and along width.

    Args:
        x: A tensor `(batch, height, width, channels)`.
        taps: A symmetric filter, a tuple; it is divided by its sum.
        padding: Zeros put around the image, on each side.

    Returns:
        A tensor `(batch, height + 2 padding - len(taps) + 1, likewise, channels)`.
    """
    kernel = np.outer(taps, taps)[:, :, np.newaxis, np.newaxis] / sum(taps) ** 2

    # The gradient of a symmetric filter is that filter, with the rest of the padding. TensorFlow's own gradient of a
    # depthwise convolution takes up to five times as long on a CPU, in bfloat16 above all.
    @tf.custom_gradient
    def apply(x):
        weights = tf.constant(np.tile(kernel, (1, 1, x.shape[-1], 1)), x.dtype)
        # A depthwise convolution with explicit paddings crashes TensorFlow 2.21 when it optimises the graph.
        padded = tf.pad(x, [[0, 0], [padding, padding], [padding, padding], [0, 0]])
        y = tf.nn.depthwise_conv2d(padded, weights, (1, 1, 1, 1), "VALID")
        return y, lambda gradient: fir_filter(gradient, taps, len(taps) - 1 - padding)

    return apply(x)


@keras.saving.register_keras_serializable("tfgan_app")
class FIRFilter(keras.layers.Layer):
    """Filters with [1, 3, 3, 1] before a subsampling, against aliasing. Zhang 2019, https://arxiv.org/abs/1904.11486.

    Args:
        padding: Zeros put around the image, on each side. With 2, a 3x3 convolution of stride 2 that follows
            without padding halves an even side.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, padding: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.padding = padding

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return fir_filter(inputs, (1, 3, 3, 1), self.padding)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": self.padding}


# [1, 3, 3, 1] is [1, 2, 1] after [1, 1]; in steps of two the latter averages 2x2 pixels, or copies one to 2x2.


@keras.saving.register_keras_serializable("tfgan_app")
class FIRDownsample(keras.layers.Layer):
    """Halves an image's sides: every second pixel of the image filtered with [1, 3, 3, 1], zeros beyond its edges.

    `(batch, height, width, channels)` -> `(batch, height / 2, width / 2, channels)`.

    Raises:
        ValueError: If a side is odd or unknown.
    """

    def build(self, input_shape: BatchShape) -> None:
        if any(side is None or side % 2 for side in input_shape[1:3]):
            raise ValueError(f"FIRDownsample halves images of even sides. Received: shape {tuple(input_shape)}")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.nn.avg_pool2d(fir_filter(inputs, (1, 2, 1), padding=1), 2, 2, "VALID")


@keras.saving.register_keras_serializable("tfgan_app")
class FIRUpsample(keras.layers.Layer):
    """Doubles an image's sides: zeros between the pixels, then four times the filter [1, 3, 3, 1].

    That is bilinear interpolation, with zeros beyond the edges. `(batch, height, width, channels)` ->
    `(batch, 2 height, 2 width, channels)`.

    Raises:
        ValueError: If a side is unknown.
    """

    def build(self, input_shape: BatchShape) -> None:
        if None in input_shape[1:3]:
            raise ValueError(f"FIRUpsample doubles images of known sides. Received: shape {tuple(input_shape)}")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        _, height, width, channels = inputs.shape
        # Each pixel becomes 2x2. Not by `tf.repeat`: XLA cannot compile its gradient through `tf.cond`.
        x = tf.stack([inputs, inputs], axis=3)
        x = tf.reshape(tf.stack([x, x], axis=2), (-1, 2 * height, 2 * width, channels))
        return fir_filter(x, (1, 2, 1), padding=1)
