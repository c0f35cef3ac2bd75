"""Packing several images into one."""

import keras
import tensorflow as tf

__all__ = ["Pack"]


@keras.saving.register_keras_serializable("tfgan_app")
class Pack(keras.layers.Layer):
    """Joins m images along the channels: `(batch, h, w, c)` -> `(batch // m, h, w, m * c)`.

    PacGAN, Lin et al. 2017, https://arxiv.org/abs/1712.04086, section 2: as the first layer of a discriminator it makes
    of any network one that judges m images at once. Images that do not fill a pack are left out.

    Args:
        packing: m, at least 1; 1 changes nothing.
        **kwargs: As in `keras.layers.Layer`.

    Raises:
        ValueError: For another number.
    """

    def __init__(self, packing, **kwargs):
        super().__init__(**kwargs)
        if packing != int(packing) or packing < 1:
            raise ValueError(f"`packing` must be an integer of at least 1. Received: packing={packing}")
        self.packing = int(packing)

    def call(self, inputs):
        height, width, channels = inputs.shape[1:]
        packs = tf.shape(inputs)[0] // self.packing
        images = tf.reshape(inputs[: packs * self.packing], (-1, self.packing, height, width, channels))
        return tf.reshape(tf.transpose(images, (0, 2, 3, 1, 4)), (-1, height, width, self.packing * channels))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (None if batch is None else batch // self.packing, height, width, self.packing * channels)

    def get_config(self):
        return {**super().get_config(), "packing": self.packing}
