"""Packing several samples into one."""

from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.networks import BatchShape

__all__ = ["Pack"]


@keras.saving.register_keras_serializable("tfgan_app")
class Pack(keras.layers.Layer):
    """Joins m samples along the last axis.

    `(batch, height, width, channels)` -> `(batch // m, height, width, m * channels)`.

    PacGAN, Lin et al. 2017, https://arxiv.org/abs/1712.04086, section 2: as the first layer of a discriminator it makes
    of any network one that judges m samples at once. Samples that do not fill a pack are left out; of a batch smaller
    than a pack, as the last of a set may be, the samples are repeated. A gradient penalty measures the gradient by each
    sample of a pack, not by the pack.

    Args:
        packing: m, at least 1; 1 changes nothing.
        **kwargs: As in `keras.layers.Layer`.

    Raises:
        ValueError: For another number.
    """

    def __init__(self, packing: int, **kwargs: Any):
        super().__init__(**kwargs)
        if packing != int(packing) or packing < 1:
            raise ValueError(f"`packing` must be an integer of at least 1. Received: packing={packing}")
        self.packing = int(packing)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        *sides, channels = inputs.shape[1:]
        batch = tf.shape(inputs)[0]
        packs = tf.maximum(batch // self.packing, tf.minimum(batch, 1))
        # The mean over no pack would be NaN.
        chosen = tf.gather(inputs, tf.range(packs * self.packing) % tf.maximum(batch, 1))
        samples = tf.reshape(chosen, (-1, self.packing, *sides, channels))
        order = (0, *range(2, len(sides) + 2), 1, len(sides) + 2)
        return tf.reshape(tf.transpose(samples, order), (-1, *sides, self.packing * channels))

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        batch, *sides, channels = input_shape
        return (batch and max(batch // self.packing, 1), *sides, self.packing * channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "packing": self.packing}
