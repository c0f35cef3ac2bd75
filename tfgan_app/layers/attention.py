"""Self-attention over feature maps."""

from typing import Any

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

    Args:
        kernel_initializer: How the convolutions start, as in `keras.layers.Conv2D`. SAGAN's is Glorot's, BigGAN's
            orthogonal.
        kernel_regularizer: What their kernels are charged with, likewise.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(
        self,
        kernel_initializer: keras.initializers.Initializer | str = "glorot_uniform",
        kernel_regularizer: keras.regularizers.Regularizer | str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: BatchShape) -> None:
        channels = input_shape[-1]

        def conv(name, filters, inputs=channels):
            layer = SpectralConv2D(
                filters,
                1,
                use_bias=False,
                # One object would start query and key alike.
                kernel_initializer=self.kernel_initializer.clone(),
                kernel_regularizer=self.kernel_regularizer,
                name=name,
                dtype=self.dtype_policy,
            )
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

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


def _rows(x):
    return tf.reshape(x, (tf.shape(x)[0], -1, x.shape[-1]))
