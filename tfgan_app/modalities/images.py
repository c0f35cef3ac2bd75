"""Images: uint8 or uint16 on disk, [-1, 1] for the networks, [0, 1] for people. All arithmetic on these stands here."""

import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfgan_app.base import pictures
from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PathLike
from tfgan_app.modalities.image_files import read_image
from tfgan_app.modalities.modality import Array, Modality
from tfgan_app.modalities.values import LEVELS

__all__ = ["Images", "to_float", "to_levels", "to_uint8", "unit_to_uint8"]


def to_float(images: Array) -> tf.Tensor:
    """Maps uint8 images to the float32 range [-1, 1] that networks take."""
    return tf.cast(images, tf.float32) / 127.5 - 1.0


def to_levels(images: Array) -> tf.Tensor:
    """Maps images from [-1, 1] to [0, 255], without rounding or clipping."""
    return (images + 1.0) * 127.5


def to_uint8(images: Array) -> tf.Tensor:
    """Maps float images in [-1, 1] to uint8, the nearest level each; values outside are clipped."""
    return tf.cast(tf.clip_by_value(tf.round(to_levels(tf.cast(images, tf.float32))), 0.0, 255.0), tf.uint8)


def to_uint16(images: Array) -> tf.Tensor:
    """Maps float images in [-1, 1] to uint16, the nearest level each; values outside are clipped."""
    levels = tf.round((tf.cast(images, tf.float32) + 1.0) * 32767.5)
    return tf.cast(tf.clip_by_value(levels, 0.0, 65535.0), tf.uint16)


def unit_to_uint8(images: np.ndarray) -> np.ndarray:
    """Maps an array of images in [0, 1] to uint8, the nearest level each; values outside are clipped."""
    return np.round(255 * np.clip(images, 0, 1)).astype(np.uint8)


_IN_PNG = (1, 3, 4)  # channels: grey, RGB, RGBA


@keras.saving.register_keras_serializable("tfgan_app")
class Images(Modality):
    """Images `(height, width, channels)`: stored as uint8, in the network's range [-1, 1], decoded to [0, 1].

    Args:
        shape: `(height, width, channels)`.
        depth: Bits of a stored value: 8, or 16 for uint16.
    """

    name = "images"

    def __init__(self, shape: Sequence[int], depth: int = 8):
        super().__init__(shape)
        self.depth = depth
        self.dtype = LEVELS[depth]
        self.ending = ".png" if self.shape[-1] in _IN_PNG else ".npy"

    def encode(self, samples: Array) -> tf.Tensor:
        """Returns images as they are stored, or floating-point ones in [0, 1], as float32 in [-1, 1]."""
        if samples.dtype in (np.uint16, tf.uint16):
            return tf.cast(samples, tf.float32) / 32767.5 - 1.0
        if tf.as_dtype(samples.dtype).is_integer:
            return to_float(samples)
        return tf.cast(samples, tf.float32) * 2.0 - 1.0

    def check_range(self, low: float, high: float) -> None:
        super().check_range(low, high)
        found = f"Received: values from {low:g} to {high:g}"
        if low >= 0 and high > 2:
            raise UsageError(f"Images must lie in [-1, 1]: write `images / 127.5 - 1`. {found}")
        if low >= 0:
            logging.warning(
                "No image is below 0, as if they lay in [0, 1]. Expected [-1, 1]: write `images * 2 - 1`. %s.", found
            )
        elif max(-low, high) > 1.5:
            logging.warning("Images lie far outside [-1, 1], where drawn samples are clipped. %s.", found)

    def clip(self, samples: Array) -> tf.Tensor:
        return tf.clip_by_value(samples, -1.0, 1.0)

    def decode(self, samples: Array) -> tf.Tensor:
        """Maps images from [-1, 1] to [0, 1], clipping what a generator without tanh puts outside."""
        return tf.clip_by_value((samples + 1.0) / 2.0, 0.0, 1.0)

    def store(self, samples: Array) -> tf.Tensor:
        return to_uint8(samples) if self.depth == 8 else to_uint16(samples)

    def read(self, path: PathLike) -> np.ndarray:
        if pathlib.Path(path).suffix == ".npy":
            return super().read(path)
        image = read_image(path, self.shape[-1], depth=self.depth)
        if image.shape != self.shape:
            raise ValueError(f"{path} holds an image of shape {image.shape}. Expected {self.shape}")
        return image

    def write(self, path: PathLike, sample: Array) -> None:
        if self.ending == ".npy":
            super().write(path, sample)
        else:
            pictures.save_png(path, np.asarray(self.store(sample)))

    def show(self, samples: Array, columns: int | None = None) -> np.ndarray:
        """Returns the images in rows, as near to a square as it gets by default; see `base.pictures.viewable`."""
        return pictures.tile(pictures.viewable(np.asarray(self.store(samples))), columns)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config if self.depth == 8 else {**config, "depth": self.depth}
