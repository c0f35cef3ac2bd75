"""Spectral normalisation as a reparametrisation."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from tfgan_app.base.networks import BatchShape
from tfgan_app.layers.convolution import Conv2D

__all__ = ["SpectralConv2D", "SpectralDense", "SpectralEmbedding"]

_TINY = 1e-24  # the least square of a norm, so that a weight of zeros stays zero


class _SpectralNorm(layers.Layer):
    """Divides a layer's weights W by their largest singular value, sigma.

    Miyato et al. 2018, https://arxiv.org/abs/1802.05957, equation 8 and Algorithm 1, for W as a matrix
    `(inputs, units)`. The vector u is kept by one power iteration per update of the network, in `begin_update`, so real
    and fake images of an update meet the same weights. Gradients flow through sigma (equation 12), not
    through the iteration. `keras.layers.SpectralNormalization` differs in both: each call in training overwrites the
    weights.

    The EMA generator has the generator's u, so sigma of its weights is a little too small: by at most 0.3 % in a BigGAN
    of 500 steps. Batch normalisation, which follows these layers there, takes that out again.
    """

    _weights: keras.Variable

    def build(self, input_shape: BatchShape | None) -> None:
        super().build(input_shape)
        # u is float32 under every policy.
        self.u = self.add_weight(
            name="u",
            shape=(self._weights.shape[-1],),
            dtype="float32",
            initializer=_random_unit,
            trainable=False,
            autocast=False,
        )

    def begin_update(self) -> None:
        """Carries out one power iteration, unless the layer is frozen."""
        if not self.trainable:
            return
        matrix = self._matrix()
        left = tf.math.l2_normalize(tf.linalg.matvec(matrix, self.u), epsilon=_TINY)
        self.u.assign(tf.math.l2_normalize(tf.linalg.matvec(matrix, left, transpose_a=True), epsilon=_TINY))

    def sigma(self) -> tf.Tensor:
        """Returns the estimate of the largest singular value, a float32 scalar; it never exceeds the true one."""
        # |Wu| is v'Wu of Algorithm 1, and its derivative by W is vu', that of equation 12.
        half_square = tf.nn.l2_loss(tf.linalg.matvec(self._matrix(), self.u))
        return tf.sqrt(tf.maximum(2.0 * half_square, _TINY))

    # Keras's dense and convolutional layers would leave `u` out.

    def save_own_variables(self, store: Any) -> None:
        layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        layers.Layer.load_own_variables(self, store)

    def _matrix(self):
        return tf.cast(tf.reshape(self._weights, (-1, self._weights.shape[-1])), tf.float32)

    def _divided(self, tensor):
        return tensor / tf.cast(self.sigma(), tensor.dtype)


# Keras saves what `kernel` returns, so the division is in the forward pass and not in that property.


@keras.saving.register_keras_serializable("tfgan_app")
class SpectralConv2D(_SpectralNorm, Conv2D):
    """A 2-D convolution with spectral normalisation; arguments as in `keras.layers.Conv2D`."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor | keras.Variable) -> tf.Tensor:
        return super().convolution_op(inputs, self._divided(tf.convert_to_tensor(kernel)))

    @property
    def _weights(self):
        return self._kernel


@keras.saving.register_keras_serializable("tfgan_app")
class SpectralDense(_SpectralNorm, layers.Dense):
    """A dense layer with spectral normalisation; arguments as in `keras.layers.Dense`."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        x = ops.matmul(inputs, self._divided(tf.convert_to_tensor(self.kernel)))
        x = x + self.bias if self.use_bias else x
        return x if self.activation is None else self.activation(x)

    @property
    def _weights(self):
        return self._kernel


@keras.saving.register_keras_serializable("tfgan_app")
class SpectralEmbedding(_SpectralNorm, layers.Embedding):
    """An embedding with spectral normalisation of the whole table; arguments as in `keras.layers.Embedding`."""

    def build(self, input_shape: BatchShape | None = None) -> None:
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self._divided(super().call(inputs))

    @property
    def _weights(self):
        return self._embeddings


def _random_unit(shape, dtype):
    return tf.math.l2_normalize(keras.random.normal(shape, dtype=dtype), epsilon=_TINY)
