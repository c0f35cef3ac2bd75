"""Convolutions that learn which of their inputs to trust."""

from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.networks import BatchShape
from tfgan_app.layers.convolution import Conv2D

__all__ = ["GatedConv2D"]

_SCALE = 5.3  # 1 / E[(elu(x) * sigmoid(y))^2] of independent standard normal x and y


@keras.saving.register_keras_serializable("tfgan_app")
class GatedConv2D(Conv2D):
    """activation(features) * sigmoid(gates): a convolution in which a gate for each feature and position is learnt.

    DeepFill v2, Yu et al. 2019, https://arxiv.org/abs/1806.03589, section 3.1. A gate can leave out what lies in a
    hole, whatever the hole's shape and however many layers it shows through.

    The kernel begins such that outputs are as far spread as inputs. Glorot's, which the authors' program has, halves
    them in each layer, and the first steps of a deep network then blow up what comes out of the last.

    Args:
        filters: Channels of the output. The kernel has twice as many: features first, then gates.
        kernel_size: As in `keras.layers.Conv2D`.
        activation: What features pass through.
        **kwargs: As in `keras.layers.Conv2D`.
    """

    def __init__(self, filters: int, kernel_size: Any, *, activation: Any = "elu", **kwargs: Any):
        kwargs.setdefault("kernel_initializer", keras.initializers.VarianceScaling(_SCALE, "fan_in"))
        super().__init__(2 * filters, kernel_size, activation=None, **kwargs)
        self.feature_activation = keras.activations.get(activation)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        features, gates = tf.split(super().call(inputs), 2, axis=-1)
        return self.feature_activation(features) * tf.sigmoid(gates)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        *sides, channels = super().compute_output_shape(input_shape)
        return (*sides, channels // 2)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters // 2,
            "activation": keras.activations.serialize(self.feature_activation),
        }
