"""Dropout that stays when a network is used."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.networks import BatchShape
from tfgan_app.base.randomness import stream, uniform

__all__ = ["SeededDropout"]


@keras.saving.register_keras_serializable("tfgan_app")
class SeededDropout(keras.layers.Layer):
    """Dropout in training and after it, by a seed that is an input: the only source of chance in pix2pix.

    Called with `[x, seed]`: x `(batch, ...)`, and an int64 tensor of two elements. Isola et al. 2016,
    https://arxiv.org/abs/1611.07004, section 2.1. In training each sample has a mask of its own, and each of several
    replicas its part of those that one would draw. Otherwise one mask serves all samples, so that what becomes of a
    picture does not depend on its place in a batch. A seed whose first element is negative drops nothing.

    Args:
        rate: Share of the elements that become 0, in [0, 1); the others are divided by 1 - rate.
        number: Tells the dropouts of a network apart, which share its seed: those of one number and shape have the
            same mask.
        **kwargs: As in `keras.layers.Layer`.

    Raises:
        ValueError: For another rate.
    """

    def __init__(self, rate: float, number: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"`rate` must lie in [0, 1). Received: rate={rate}")
        self.rate = rate
        self.number = number

    def call(self, inputs: Sequence[tf.Tensor], training: bool = False) -> tf.Tensor:
        x, seed = inputs
        if not self.rate:
            return tf.identity(x)
        batch, *rest = tf.unstack(tf.shape(x))
        own = stream(tf.unstack(seed), f"dropout {self.number}")
        drawn = uniform((batch if training else 1, *rest), own, whole=not training)
        off = seed[0] < 0
        factor = tf.where(off, 1.0, 1.0 / (1.0 - self.rate))
        return x * tf.cast(tf.where((drawn >= self.rate) | off, factor, 0.0), x.dtype)

    def compute_output_shape(self, input_shape: Sequence[BatchShape]) -> BatchShape:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "number": self.number}
