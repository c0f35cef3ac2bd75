"""Batch normalisation, plain and conditional, and statistics measured for given weights."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.networks import BatchShape
from tfgan_app.base.replicas import mean_over_replicas, num_replicas

__all__ = ["BatchNormalization"]

# The mean and the variance that a layer normalises by.
Statistics = tuple[tf.Tensor, tf.Tensor]


def synchronize(network):
    """Lets a network's batch normalisation take the statistics of all replicas."""
    for layer in network._flatten_layers():
        if isinstance(layer, BatchNormalization):
            layer.synchronized = True


@keras.saving.register_keras_serializable("tfgan_app")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation over the last axis on TensorFlow's fused kernel.

    Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167. `keras.layers.BatchNormalization` composes the
    operation from element-wise ones, which costs a DCGAN about a sixth of its step in bfloat16 on CPU; this one
    has the same weights, arguments and results. One difference: the moving variance averages the unbiased
    batch variance (n - 1), as PyTorch and the fused kernel do.

    Statistics are float32 under every dtype policy. Inputs have shape `(batch, ..., channels)`. Each of several
    replicas normalises by its own part of the batch unless `synchronized`, which takes the statistics of all of it.

    Args:
        momentum: Weight of the old moving statistics, in [0, 1]. The default forgets in tens of steps, since a
            GAN's statistics drift with its networks.
        epsilon: Added to the variance; at least 1.001e-5 on a GPU, where cuDNN sets that bound.
        **kwargs: As in `keras.layers.BatchNormalization`, `synchronized` among them. `axis` must be -1; neither masks
            nor `renorm` are supported.

    Raises:
        ValueError: For an unsupported argument.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1.001e-5, **kwargs: Any):
        for name, supported in (("axis", -1), ("renorm", False)):
            if kwargs.get(name, supported) != supported:
                raise ValueError(
                    f"The fused BatchNormalization supports only {name}={supported}; take "
                    f"`keras.layers.BatchNormalization` for others. Received: {name}={kwargs[name]}"
                )
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)
        self.supports_masking = False

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        training = bool(training and self.trainable)
        if training and self.synchronized and num_replicas() > 1:
            return self._synchronized(inputs)
        channels = inputs.shape[-1]
        # The kernel takes rank 4 only.
        images = inputs if inputs.shape.rank == 4 else tf.reshape(inputs, (-1, 1, 1, channels))
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=images,
            scale=self.gamma if self.scale else tf.ones((channels,)),
            offset=self.beta if self.center else tf.zeros((channels,)),
            mean=() if training else self.moving_mean,
            variance=() if training else self.moving_variance,
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            self._learn(mean, variance)
        return tf.reshape(outputs, tf.shape(inputs)) if images is not inputs else outputs

    def _synchronized(self, inputs):
        """Normalises by the statistics of all replicas, whose parts of the batch are equal."""
        x, axes = tf.cast(inputs, tf.float32), list(range(inputs.shape.rank - 1))
        mean = mean_over_replicas(tf.reduce_mean(x, axes))
        variance = mean_over_replicas(tf.reduce_mean(tf.square(x - mean), axes))
        num = tf.cast(tf.size(x) // x.shape[-1] * num_replicas(), tf.float32)
        self._learn(mean, variance * num / tf.maximum(num - 1.0, 1.0))
        scale = self.gamma if self.scale else None
        offset = self.beta if self.center else None
        return tf.cast(tf.nn.batch_normalization(x, mean, variance, offset, scale, self.epsilon), inputs.dtype)

    def _learn(self, mean, variance):
        for average, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + batch * (1.0 - self.momentum))


@keras.saving.register_keras_serializable("tfgan_app")
class ConditionalBatchNormalization(BatchNormalization):
    """Batch normalisation whose scale and offset depend on the image's condition.

    Called with `[x, scale, offset]`: x of shape `(batch, height, width, channels)`, the others `(batch, channels)`;
    returns (1 + scale) * normalised x + offset. Dumoulin et al. 2016, https://arxiv.org/abs/1610.07629, equation 5, as
    the class-conditional generators of projection GANs and BigGAN have it. Arguments as in `BatchNormalization`.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "scale": False, "center": False})

    def build(self, input_shape: Sequence[BatchShape]) -> None:
        super().build(input_shape[0])
        # Keras would check the list of inputs against the images' rank.
        self.input_spec = None

    def call(
        self, inputs: Sequence[tf.Tensor], training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        x, scale, offset = inputs
        normalized = super().call(x, training=training)
        scale, offset = (tf.cast(y, normalized.dtype)[:, None, None, :] for y in (scale, offset))
        return normalized * (1.0 + scale) + offset

    def compute_output_shape(self, input_shape: Sequence[BatchShape]) -> BatchShape:
        return input_shape[0]


def measured_statistics(
    layers: Sequence[keras.layers.BatchNormalization], run: Callable[[], object]
) -> list[Statistics]:
    """Returns what layers normalise by in training, where a network is called for inference.

    Only these layers then act as in training, by the statistics of the batch; all variables are left as they were.

    Args:
        layers: Layers of the network; Keras's, those of this package, or others derived from them.
        run: Calls the network, eagerly.

    Returns:
        For each layer what its moving mean and variance would be after this batch alone; its own where it was not
        called. Where it was called more than once, the means over the calls.
    """
    found: list[list[Statistics]] = [[] for _ in layers]
    before = [(one.momentum, one.trainable, *_statistics(one)) for one in layers]

    def by_batch(layer, calls, call):
        def normalize(*args, **kwargs):
            # Zeros first, as no momentum makes NaN go away.
            _set_statistics(layer, map(tf.zeros_like, _statistics(layer)))
            outputs = call(*args, **{**kwargs, "training": True})
            calls.append(_statistics(layer))
            return outputs

        return normalize

    try:
        for layer, calls in zip(layers, found, strict=True):
            layer.momentum, layer.trainable = 0.0, True
            # Keras calls what an object has under that name.
            object.__setattr__(layer, "call", by_batch(layer, calls, layer.call))
        run()
    finally:
        for layer, (momentum, trainable, *own) in zip(layers, before, strict=True):
            vars(layer).pop("call", None)
            layer.momentum, layer.trainable = momentum, trainable
            _set_statistics(layer, own)
    return [mean_statistics(calls) if calls else _statistics(layer) for calls, layer in zip(found, layers, strict=True)]


def _statistics(layer):
    return tf.convert_to_tensor(layer.moving_mean), tf.convert_to_tensor(layer.moving_variance)


def _set_statistics(layer, statistics):
    for variable, value in zip((layer.moving_mean, layer.moving_variance), statistics, strict=True):
        variable.assign(value)


def mean_statistics(statistics: Sequence[Statistics]) -> Statistics:
    """Returns the means over several statistics of a layer."""
    mean, variance = (tf.reduce_mean(tf.stack(parts), axis=0) for parts in zip(*statistics, strict=True))
    return mean, variance
