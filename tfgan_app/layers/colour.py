"""Colours of a given lightness."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.base.colour import RGB_TO_XYZ, WHITE
from tfgan_app.base.networks import BatchShape
from tfgan_app.base.receptive_field import Span

__all__ = ["LabColour"]

# The CIE's delta of L*a*b*, below which its curve is a line.
_DELTA = 6 / 29
# Where the gamut is narrower than this, at black and at white, there is grey only. It keeps gradients finite.
_NARROW = 1e-7


@keras.saving.register_keras_serializable("tfgan_app")
class LabColour(keras.layers.Layer):
    """Gives a grey picture colours that are exactly as light as it is.

    Called with `[grey, ab]`: sRGB greys `(batch, height, width, 1)` in [-1, 1] and the a* and b* of CIE L*a*b*
    `(batch, height, width, 2)`, over `chroma`; returns sRGB colours `(batch, height, width, 3)` in [-1, 1]. L* is that
    of the grey, `tfgan_app.base.colour.luminance_grey` being the way there, from pictures. A network that colours by it
    cannot spoil what is seen in the grey.

    Not every a* and b* is a colour that a screen has at every lightness. Clipping its channels would change the
    lightness; instead the colour moves towards the grey, in linear light, until it is one. Computed in float32 under
    every dtype policy, with finite gradients everywhere.

    Args:
        chroma: The a* or b* of an input of 1. The colours of sRGB have up to 108 of either sign.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, chroma: float = 110.0, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.chroma = chroma

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        grey, ab = (tf.cast(x, tf.float32) for x in inputs)
        light = _to_linear(tf.clip_by_value((grey + 1.0) / 2.0, 0.0, 1.0))
        root = _to_root(light)
        a, b = tf.split(self.chroma * ab, 2, axis=-1)
        x, z = (_from_root(y) * white for y, white in ((root + a / 500.0, WHITE[0]), (root - b / 200.0, WHITE[2])))
        colour = tf.einsum("...j,ij->...i", tf.concat([x, light, z], -1), np.linalg.inv(RGB_TO_XYZ).astype(np.float32))
        # What is added to the grey has no luminance, and so has any part of it.
        added = colour - light
        excess = tf.maximum(added / tf.maximum(1.0 - light, _NARROW), -added / tf.maximum(light, _NARROW))
        part = 1.0 / tf.maximum(tf.reduce_max(excess, axis=-1, keepdims=True), 1.0)
        return 2.0 * _to_stored(tf.clip_by_value(light + part * added, 0.0, 1.0)) - 1.0

    def compute_output_shape(self, input_shape: Sequence[BatchShape]) -> BatchShape:
        return (*input_shape[0][:-1], 3)

    def span(self, span: Span) -> Span:
        """Returns what outputs see, for `receptive_radius`."""
        return span

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "chroma": self.chroma}


# Each curve is a line near black. Powers get no argument at which their gradient is infinite, as `tf.where` would
# multiply it by 0.


def _to_linear(x):
    return tf.where(x <= 0.04045, x / 12.92, ((tf.maximum(x, 0.04045) + 0.055) / 1.055) ** 2.4)


def _to_stored(x):
    return tf.where(x <= 0.0031308, 12.92 * x, 1.055 * tf.maximum(x, 0.0031308) ** (1 / 2.4) - 0.055)


def _to_root(x):
    """Returns f of CIE L*a*b*, about the cube root."""
    return tf.where(x <= _DELTA**3, x / (3 * _DELTA**2) + 4 / 29, tf.maximum(x, _DELTA**3) ** (1 / 3))


def _from_root(x):
    return tf.where(x <= _DELTA, 3 * _DELTA**2 * (x - 4 / 29), x**3)
