"""Attention that fills holes with patches of what is known."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tfgan_app.base.networks import BatchShape

__all__ = ["ContextualAttention"]

_PATCH = 3  # the side of the patches that are compared
_TINY = 1e-8  # the least square of a patch's norm


@keras.saving.register_keras_serializable("tfgan_app")
class ContextualAttention(layers.Layer):
    """Makes features `(batch, height, width, channels)` anew from patches of their own that no hole touches.

    Yu et al. 2018, https://arxiv.org/abs/1801.07892, section 4.1, as the authors' program of DeepFill v2 has it. At
    every other position patches of 3x3 are compared, by the product with the normalised patch. The scores of
    neighbours whose matches are neighbours too support each other ("fuse"), a softmax makes them weights, and patches
    of 4x4 are pasted by them, where they overlap the mean. Where holes touch every patch, those serve that they touch
    least; the program's output is 0 there, so small pictures would teach these layers nothing.

    Memory goes with the square of the number of positions: that of 32 x 32 is 4 MB a picture, that of 128 x 128 1 GB.

    Called with `[features, holes]`: holes `(batch, height, width, 1)` are the share of a position, in [0, 1], that lies
    in a hole. Where a side is odd, an edge is added, all hole, and cut off again.

    Args:
        softmax_scale: What scores are multiplied with before the softmax.
        fuse: Whether scores of neighbours support each other.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, softmax_scale: float = 10.0, fuse: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.softmax_scale = softmax_scale
        self.fuse = fuse

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        # Norms and sums over all positions are no matter for half precision.
        features, holes = (tf.cast(x, tf.float32) for x in inputs)
        shape = tf.shape(features)
        odd = [[0, 0], [0, shape[1] % 2], [0, shape[2] % 2], [0, 0]]
        features = tf.pad(features, odd)
        holes = tf.pad(holes, odd, constant_values=1.0)
        height, width = tf.shape(features)[1] // 2, tf.shape(features)[2] // 2
        channels = inputs[0].shape[-1]

        small = _rows(_patches(features[:, ::2, ::2], _PATCH, 1, height, width))
        keys = tf.math.l2_normalize(small, axis=-1, epsilon=_TINY)
        scores = tf.matmul(small, keys, transpose_b=True)
        if self.fuse:
            scores = _fused(scores, height, width)
        touched = _patches(tf.nn.avg_pool2d(holes, 2, 2, "VALID"), _PATCH, 1, height, width)
        touched = tf.reduce_sum(_rows(touched), axis=-1)[:, None]
        known = tf.cast(touched == tf.reduce_min(touched, axis=-1, keepdims=True), tf.float32)
        # As in the program, what is not known scores 0 before the softmax, and has no weight after it.
        weights = tf.nn.softmax(self.softmax_scale * scores * known) * known

        large = _rows(_patches(features, 4, 2, height, width))
        pasted = tf.reshape(tf.matmul(weights, large), (-1, height, width, 4, 4, channels))
        outputs = _overlapped(pasted, height, width, channels)[:, : shape[1], : shape[2]]
        return tf.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape: list[BatchShape]) -> BatchShape:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "softmax_scale": self.softmax_scale, "fuse": self.fuse}


def _patches(x, side, stride, height, width):
    """Returns `(batch, height, width, side * side * channels)`: the patch about each position, zeros beyond the edge.

    Slices, as the gradient of TensorFlow's own operation is slow on a CPU.
    """
    before, after = (side - stride) // 2, side - stride - (side - stride) // 2
    x = tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]])
    rows = [x[:, i : i + stride * height : stride] for i in range(side)]
    return tf.concat([row[:, :, j : j + stride * width : stride] for row in rows for j in range(side)], axis=-1)


def _rows(x):
    return tf.reshape(x, (tf.shape(x)[0], -1, x.shape[-1]))


def _fused(scores, height, width):
    """Adds to the score of each pair of positions those of both left and both right neighbours, then up and down."""

    def transposed(x, rows, columns):
        x = tf.reshape(x, (-1, rows, columns, rows, columns))
        return tf.reshape(tf.transpose(x, (0, 2, 1, 4, 3)), (-1, rows * columns, rows * columns))

    scores = transposed(_diagonal_sum(scores), height, width)
    return transposed(_diagonal_sum(scores), width, height)


def _diagonal_sum(x):
    """Returns the sum of x[:, i + d, j + d] over d of -1, 0 and 1."""
    padded = tf.pad(x, [[0, 0], [1, 1], [1, 1]])
    return padded[:, :-2, :-2] + x + padded[:, 2:, 2:]


def _overlapped(patches, height, width, channels):
    """Returns the sum of patches `(batch, height, width, 4, 4, channels)` at steps of 2, over the 4 that overlap."""
    images = []
    for i in range(2):
        for j in range(2):
            block = patches[:, :, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            block = tf.transpose(block, (0, 1, 3, 2, 4, 5))
            image = tf.reshape(block, (-1, 2 * height, 2 * width, channels))
            images.append(tf.pad(image, [[0, 0], [2 * i, 2 - 2 * i], [2 * j, 2 - 2 * j], [0, 0]]))
    return tf.add_n(images)[:, 1:-1, 1:-1] / 4.0
