"""What models that fill holes share: in sources transparent pixels are holes, and outputs keep what is known."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tfgan_app.base.networks import BatchShape

__all__ = ["Compose", "SplitHoles"]


class _Exact(layers.Layer):
    """A layer that computes in float32 under every policy, as what is known is kept to the bit."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})


@keras.saving.register_keras_serializable("tfgan_app")
class SplitHoles(_Exact):
    """Splits sources `(batch, height, width, channels + 1)` into `[colours, holes]`.

    The last channel of a source is +1 where a pixel is known and -1 in a hole. Holes `(batch, height, width, 1)` are 1
    where it is below 0, and colours `(batch, height, width, channels)` are 0, mid grey, there: files often hold what
    was erased, under full transparency.
    """

    def call(self, inputs: tf.Tensor) -> list[tf.Tensor]:
        inside = inputs[..., -1:] < 0.0
        colours = inputs[..., :-1]
        return [tf.where(inside, tf.zeros_like(colours), colours), tf.cast(inside, tf.float32)]

    def compute_output_shape(self, input_shape: BatchShape) -> list[BatchShape]:
        *sides, channels = input_shape
        return [(*sides, channels - 1), (*sides, 1)]


@keras.saving.register_keras_serializable("tfgan_app")
class Compose(_Exact):
    """Takes holes from what a network painted, and everything else from the source: `[colours, holes, painted]`.

    What is painted may be a part from the middle; holes around it stay mid grey.
    """

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        colours, holes, painted = inputs
        missing = tf.shape(colours)[1:3] - tf.shape(painted)[1:3]
        before, after = missing // 2, missing - missing // 2
        painted = tf.pad(painted, [[0, 0], [before[0], after[0]], [before[1], after[1]], [0, 0]])
        return tf.where(holes > 0.0, painted, colours)

    def compute_output_shape(self, input_shape: list[BatchShape]) -> BatchShape:
        return input_shape[0]
