"""Layers with an equalised learning rate."""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from tfgan_app.layers.convolution import Conv2D

__all__ = ["EqualizedConv2D", "EqualizedDense"]

# The scale is applied in the forward pass rather than by overriding `kernel`: Keras saves what `kernel` returns.


@keras.saving.register_keras_serializable("tfgan_app")
class EqualizedDense(layers.Dense):
    """A dense layer with an equalised learning rate: y = l (s x W + b), where s = gain / sqrt(inputs).

    W starts from N(0, 1/l), so that s l W has He's standard deviation (gain sqrt 2) while Adam, which ignores the
    scale of a gradient, moves every layer of a network equally fast. Karras et al. 2017,
    https://arxiv.org/abs/1710.10196, section 4.1; l, the learning rate's multiplier of the mapping network, Karras
    et al. 2018, https://arxiv.org/abs/1812.04948, appendix C.

    Args:
        units: Number of outputs.
        lr_multiplier: l, the factor on the effective learning rate of weights and biases.
        gain: Standard deviation of the outputs for inputs of mean square 1. The default leaves a gain of sqrt 2 to
            the activation that follows.
        **kwargs: As in `keras.layers.Dense`.
    """

    def __init__(self, units: int, lr_multiplier: float = 1.0, gain: float = 1.0, **kwargs: Any):
        kwargs.setdefault("kernel_initializer", keras.initializers.RandomNormal(stddev=1.0 / lr_multiplier))
        super().__init__(units, **kwargs)
        self.lr_multiplier = lr_multiplier
        self.gain = gain

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        scale = self.gain * self.lr_multiplier / math.sqrt(inputs.shape[-1])
        x = ops.matmul(inputs, self.kernel * scale)
        if self.use_bias:
            x = x + self.bias * self.lr_multiplier
        return x if self.activation is None else self.activation(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "lr_multiplier": self.lr_multiplier, "gain": self.gain}


@keras.saving.register_keras_serializable("tfgan_app")
class EqualizedConv2D(Conv2D):
    """A convolution with an equalised learning rate: y = s W * x + b, where s = gain / sqrt(fan-in), W from N(0, 1).

    Karras et al. 2017, https://arxiv.org/abs/1710.10196, section 4.1.

    Args:
        filters: Number of output channels.
        kernel_size: Side of the kernel.
        gain: Standard deviation of the outputs for inputs of mean square 1, as in `EqualizedDense`.
        **kwargs: As in `keras.layers.Conv2D`.
    """

    def __init__(self, filters: int, kernel_size: int | tuple[int, int], gain: float = 1.0, **kwargs: Any):
        kwargs.setdefault("kernel_initializer", keras.initializers.RandomNormal(stddev=1.0))
        super().__init__(filters, kernel_size, **kwargs)
        self.gain = gain

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor | keras.Variable) -> tf.Tensor:
        return super().convolution_op(inputs, kernel * (self.gain / math.sqrt(math.prod(kernel.shape[:-1]))))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gain": self.gain}
