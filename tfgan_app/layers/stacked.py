"""Layers of several networks in one: a batch is equal blocks, and each block passes through weights of its own."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.networks import BatchShape
from tfgan_app.layers.batch_norm import BatchNormalization

__all__ = ["StackedBatchNormalization", "StackedDense"]


@keras.saving.register_keras_serializable("tfgan_app")
class StackedDense(keras.layers.Layer):
    """Dense layers side by side: `(batch, features)` -> `(batch, units)`, block i of the batch through layer i.

    Args:
        units: Outputs of each layer.
        seeds: A seed for the weights of each layer, which are Glorot's uniform; as many layers as seeds.
        use_bias: Whether the layers have biases.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, units: int, seeds: Sequence[int], use_bias: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.seeds = tuple(seeds)
        self.use_bias = use_bias

    def build(self, input_shape: BatchShape) -> None:
        features = input_shape[-1]

        def initializer(shape, dtype):
            kernels = [keras.initializers.GlorotUniform(seed)(shape[1:], dtype) for seed in self.seeds]
            return keras.ops.stack(kernels)

        shape = (len(self.seeds), features, self.units)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=initializer)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(len(self.seeds), 1, self.units), initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        blocks = tf.reshape(inputs, (len(self.seeds), -1, inputs.shape[-1]))
        outputs = tf.matmul(blocks, self.kernel)
        if self.use_bias:
            outputs += self.bias
        return tf.reshape(outputs, (-1, self.units))

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        own = {"units": self.units, "seeds": self.seeds, "use_bias": self.use_bias}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("tfgan_app")
class StackedBatchNormalization(BatchNormalization):
    """Batch normalisation of `(batch, features)` by the statistics of each of `copies` equal blocks of the batch.

    Args:
        copies: How many blocks.
        **kwargs: As in `BatchNormalization`.
    """

    def __init__(self, copies: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.copies = copies

    def build(self, input_shape: BatchShape) -> None:
        super().build((None, self.copies * input_shape[-1]))
        # Keras would check the features against those of all blocks.
        self.input_spec = None

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        features = inputs.shape[-1]
        blocks = tf.transpose(tf.reshape(inputs, (self.copies, -1, features)), (1, 0, 2))
        outputs = super().call(tf.reshape(blocks, (-1, self.copies * features)), training=training)
        blocks = tf.transpose(tf.reshape(outputs, (-1, self.copies, features)), (1, 0, 2))
        return tf.reshape(blocks, (-1, features))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "copies": self.copies}
