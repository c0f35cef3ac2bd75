"""What models that fill holes share: in sources transparent pixels are holes, and outputs keep what is known."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers

from tfgan_app.base.errors import UsageError
from tfgan_app.base.networks import BatchShape
from tfgan_app.modalities.modality import Array
from tfgan_app.sampler import Signatures
from tfgan_app.translation import TranslationGAN

__all__ = ["Compose", "InpaintingGAN", "SplitHoles", "check_shapes", "holes_of"]


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

    A pixel is a hole where alpha, the last channel, is below a half. What is known comes back to the bit, whatever the
    discriminator judges; a source without holes comes back whole.

    Its generator returns a dict of `images`, which are the sources' wherever those are known. Arguments are those of
    `TranslationGAN`.
    """

    def translate(self, images: npt.ArrayLike, **kwargs: Any) -> np.ndarray:
        """Fills the holes of pictures, as `Translator.translate`.

        Raises:
            UsageError: As `check_holes`, besides.
        """
        pictures = np.asarray(images)
        if pictures.ndim == 4 and pictures.size and pictures.shape[-1] == self.source.shape[-1]:
            self.check_holes(holes_of(pictures)[..., 0])
        filled = super().translate(images, **kwargs)
        return np.asarray(_kept(np.asarray(images), filled))

    def bands(self, image: np.ndarray, **kwargs: Any) -> Iterator[np.ndarray]:
        """Fills the holes of a picture, as `Translator.bands`.

        Raises:
            UsageError: As `check_holes`, besides.
        """
        image = np.asarray(image)
        if image.ndim == 3 and image.size:
            self.check_holes(holes_of(image)[None, ..., 0])
        yield from super().bands(image, **kwargs)

    def check_holes(self, holes: np.ndarray) -> None:
        """Refuses what cannot be filled.

        Args:
            holes: A bool array `(num, height, width)`, true in holes.

        Raises:
            UsageError: If nothing is known of a picture.
        """
        if holes.all(axis=(1, 2)).any():
            raise UsageError(
                "`images` must have something that is known. Received: a picture all of which is transparent, a hole."
            )

    def signatures(self) -> Signatures:
        found = super().signatures()
        translate, specs = found["translate"]

        def exact(images, *others):
            return {"images": _kept(images, translate(images, *others)["images"])}

        return {**found, "translate": (exact, specs)}


def check_shapes(model: str, source_shape: tuple[int, int, int], target_shape: tuple[int, int, int]) -> None:
    """Refuses shapes that are not those of sources with holes and their targets.

    Args:
        model: What the error calls the model.
        source_shape: `(height, width, channels + 1)`.
        target_shape: `(height, width, channels)`.

    Raises:
        UsageError: For others.
    """
    expected = (*target_shape[:2], target_shape[2] + 1)
    if tuple(source_shape) != expected:
        raise UsageError(
            f"{model} fills holes: its sources have one channel more than its targets, alpha, which is transparent in "
            f'holes. `degrade="mask(strokes)"` makes such sources of images. Expected: source_shape={expected}. '
            f"Received: source_shape={tuple(source_shape)}, target_shape={tuple(target_shape)}"
        )


def holes_of(images: Array) -> Array:
    """Returns where decoded pictures, or uint8 ones, have holes, `(num, height, width, 1)`."""
    return images[..., -1:] < (128 if images.dtype == np.uint8 else 0.5)


def _kept(images, filled):
    """Returns decoded pictures with what is known of the sources, which the network's range rounds by its last bits."""
    known = tf.cast(images[..., :-1], tf.float32)
    known = known / 255.0 if images.dtype == np.uint8 else tf.clip_by_value(known, 0.0, 1.0)
    return tf.where(holes_of(images), filled, known)
