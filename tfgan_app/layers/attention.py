"""Self-attention over feature maps."""

import keras
import tensorflow as tf
from keras import layers

from tfgan_app.base.networks import BatchShape
from tfgan_app.layers.spectral import SpectralConv2D

__all__ = ["SelfAttention"]


@keras.saving.register_keras_serializable("tfgan_app")
class SelfAttention(layers.Layer):
    """y = x + gamma * o(softmax(f(x) g(x)^T) h(x)) over all positions of `(batch, height, width, channels)`.

    SAGAN, Zhang et al. 2018, https://arxiv.org/abs/1805.08318, section 3. f and g are 1x1 convolutions to channels / 8
    and h to channels / 2, all spectrally normalised; g and h are max-pooled 2x2, as in the authors' program. gamma
    starts from 0.
    """

    def build(self, input_shape: BatchShape) -> None:
        channels = input_shape[-1]

        def conv(name, filters, inputs=channels):
            layer = SpectralConv2D(filters, 1, use_bias=False, name=name, dtype=self.dtype_policy)
            layer.build((*input_shape[:-1], inputs))
            return layer

        self.query = conv("query", max(1, channels // 8))
        self.key = conv("key", max(1, channels // 8))
        self.values = conv("values", max(1, channels // 2))
        self.project = conv("project", channels, max(1, channels // 2))
        self.gamma = self.add_weight(name="gamma", shape=(), initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        query = _rows(self.query(inputs))
        key = _rows(tf.nn.max_pool2d(self.key(inputs), 2, 2, "SAME"))
        values = _rows(tf.nn.max_pool2d(self.values(inputs), 2, 2, "SAME"))
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
        attended = tf.matmul(tf.cast(tf.nn.softmax(scores), values.dtype), values)
        shape = tf.shape(inputs)
        attended = tf.reshape(attended, (shape[0], shape[1], shape[2], values.shape[-1]))
        return inputs + tf.convert_to_tensor(self.gamma) * self.project(attended)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return input_shape


def _rows(x):
    return tf.reshape(x, (tf.shape(x)[0], -1, x.shape[-1]))
