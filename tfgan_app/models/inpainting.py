"""What models that fill holes share: in sources transparent pixels are holes, and outputs keep what is known."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tfgan_app.base.errors import UsageError
from tfgan_app.base.networks import BatchShape
from tfgan_app.translation import TranslationGAN

__all__ = ["Compose", "InpaintingGAN", "SplitHoles"]


class _Exact(layers.Layer):
    """A layer that computes in float32 under every policy, as what is known is kept to the bit."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})


@keras.saving.register_keras_serializable("tfgan_app")
class SplitHoles(_Exact):
    """Splits sources `(batch, height, width, channels + 1)` into `[colours, holes]`.

    The last channel of a source is +1 where a pixel is known and -1 in a hole. Holes `(batch, height, width, 1)` are 1
    where it is below 0, and colours `(batch, height, width, channels)` are 0, mid grey, there: files often hold what
    was erased, under full transparency.
    """

    def call(self, inputs: tf.Tensor) -> list[tf.Tensor]:
        inside = inputs[..., -1:] < 0.0
        colours = inputs[..., :-1]
        return [tf.where(inside, tf.zeros_like(colours), colours), tf.cast(inside, tf.float32)]

    def compute_output_shape(self, input_shape: BatchShape) -> list[BatchShape]:
        *sides, channels = input_shape
        return [(*sides, channels - 1), (*sides, 1)]


@keras.saving.register_keras_serializable("tfgan_app")
class Compose(_Exact):
    """Takes holes from what a network painted, and everything else from the source: `[colours, holes, painted]`.

    What is painted may be a part from the middle; holes around it stay mid grey.
    """

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        colours, holes, painted = inputs
        missing = tf.shape(colours)[1:3] - tf.shape(painted)[1:3]
        before, after = missing // 2, missing - missing // 2
        painted = tf.pad(painted, [[0, 0], [before[0], after[0]], [before[1], after[1]], [0, 0]])
        return tf.where(holes > 0.0, painted, colours)

    def compute_output_shape(self, input_shape: list[BatchShape]) -> BatchShape:
        return input_shape[0]


class InpaintingGAN(TranslationGAN):
    """A GAN that fills holes: in its sources, images with one channel more, transparent pixels are holes.

    Args:
        generator: Maps such sources to a dict of `images`, which are the sources' wherever those are known.
        discriminator: As in `TranslationGAN`.
        **kwargs: As in `TranslationGAN`.

    Raises:
        UsageError: For sources of another shape than that of the targets with one channel more.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        source_shape: tuple[int, int, int],
        target_shape: tuple[int, int, int],
        **kwargs: Any,
    ):
        height, width, channels = target_shape
        if tuple(source_shape) != (height, width, channels + 1):
            raise UsageError(
                f"{type(self).__name__} fills holes, which a source's last channel tells: grey or RGB with alpha, where "
                'transparent is a hole. `degrade="mask(strokes)"` makes such of whole images. Expected: '
                f"source_shape={(height, width, channels + 1)} beside target_shape={tuple(target_shape)}. Received: "
                f"source_shape={tuple(source_shape)}"
            )
        super().__init__(generator, discriminator, source_shape=source_shape, target_shape=target_shape, **kwargs)
