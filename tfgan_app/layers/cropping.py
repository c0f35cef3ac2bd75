"""Cropping."""

import keras
import tensorflow as tf

__all__ = ["Cropping2D"]


@keras.saving.register_keras_serializable("tfgan_app")
class Cropping2D(keras.layers.Cropping2D):
    """`keras.layers.Cropping2D` of images `(batch, height, width, channels)`, faster to train on a CPU.

    The gradient of Keras's slice takes twenty times as long as that of TensorFlow's: 16 ms rather than 0.8 for maps of
    129x129x64, on two cores.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        (top, bottom), (left, right) = self.cropping
        _, height, width, _ = tf.unstack(tf.shape(inputs))
        images = tf.slice(inputs, (0, top, left, 0), (-1, height - top - bottom, width - left - right, -1))
        return tf.ensure_shape(images, self.compute_output_shape(inputs.shape))
