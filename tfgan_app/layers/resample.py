"""Changes of resolution by a factor of two through a low-pass filter."""

import keras
import numpy as np
import tensorflow as tf

__all__ = ["FIRDownsample", "FIRUpsample"]


@keras.saving.register_keras_serializable("tfgan_app")
class FIRDownsample(keras.layers.Layer):
    """Halves height and width: each pixel is the mean of four by four with weights (1, 3, 3, 1) on either axis.

    That is the filter (1, 2, 1) followed by the mean of each two by two, with zeros beyond the edges. It has no
    weights. `(batch, height, width, channels)`, sides even -> `(batch, height / 2, width / 2, channels)`.

    Raises:
        ValueError: If a side is odd or unknown.
    """

    def build(self, input_shape):
        sides = input_shape[1:3]
        if None in sides or any(side % 2 for side in sides):
            raise ValueError(f"`{type(self).__name__}` halves images of even sides. Received: shape {input_shape}")

    def call(self, inputs):
        return _resample(inputs, _halving)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, height // 2, width // 2, channels


@keras.saving.register_keras_serializable("tfgan_app")
class FIRUpsample(keras.layers.Layer):
    """Doubles height and width: bilinear interpolation, with zeros beyond the edges.

    That is the nearest pixel followed by the filter (1, 2, 1) / 4, the transpose of `FIRDownsample` times 4. It has no
    weights. `(batch, height, width, channels)` -> `(batch, 2 * height, 2 * width, channels)`.

    Raises:
        ValueError: If a side is unknown.
    """

    def build(self, input_shape):
        if None in input_shape[1:3]:
            raise ValueError(f"`{type(self).__name__}` doubles images of known sides. Received: shape {input_shape}")

    def call(self, inputs):
        return _resample(inputs, lambda side: 2.0 * _halving(2 * side).T)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, 2 * height, 2 * width, channels


def _halving(side):
    """Returns the matrix `(side / 2, side)` that halves one axis."""
    matrix = np.zeros((side // 2, side + 2))
    for row in range(side // 2):
        matrix[row, 2 * row : 2 * row + 4] = np.array([1.0, 3.0, 3.0, 1.0]) / 8.0
    return matrix[:, 1:-1]


def _resample(images, matrix_of):
    """Multiplies both axes of images by the matrices `matrix_of(side)`.

    Matrix products are quick on every device in every precision, and can be differentiated any number of times. The
    depthwise convolution that does the same takes many times as long backwards in bfloat16 on a CPU.
    """
    _, height, width, channels = images.shape
    rows, columns = (tf.constant(matrix_of(side), images.dtype) for side in (height, width))
    images = tf.matmul(rows, tf.reshape(images, (-1, height, width * channels)))
    images = tf.matmul(columns, tf.reshape(images, (-1, width, channels)))
    return tf.reshape(images, (-1, rows.shape[0], columns.shape[0], channels))
