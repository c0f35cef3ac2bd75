"""Sliced Wasserstein distance of patches. Karras et al. 2017, https://arxiv.org/abs/1710.10196."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.base.randomness import uniform_part
from tfgan_app.metrics.base import Buffer, ImageMetric
from tfgan_app.metrics.sliced import mean_distance
from tfgan_app.modalities.images import to_levels
from tfgan_app.modalities.modality import Array
from tfgan_app.observation import Observation

__all__ = ["SIDE", "PatchSlicedWasserstein", "has_patches", "laplacian_pyramid", "patch_distance"]

SIDE = 7  # of a patch
_SMALLEST = 14  # side of a pyramid's last level
_MOST = 128  # patches of an image
_SIDES = ("real", "fake")
_BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]).astype(np.float32) / 256.0


@keras.saving.register_keras_serializable("tfgan_app")
class PatchSlicedWasserstein(ImageMetric):
    """Sliced Wasserstein distance of patches, times 1 000: a score that needs no network (section 5, appendix B).

    Patches of 7x7 are taken at random from every level of the images' Laplacian pyramids, and those of real and of
    generated images compared as sets of points. The lowest level tells whether large shapes are alike, the others
    whether edges and textures are. As in the authors' program each side's patches are scaled to mean 0 and deviation 1
    of each channel, so a shift of all colours alike is not seen; and what is far apart in an image is compared at the
    lowest level alone.

    `results` gives the mean over the levels, then that of each by its height. Two sets of real images are some way
    apart, the less the more patches there are: compare values of as many images only.

    Args:
        image_shape: `(height, width, channels)`, each side of 7 pixels at least.
        name: The metric's name, and its key in logs.
        num_images: Real and generated images to use; of more, a random sample of fixed seed.
        num_patches: Patches of a level and a side to use, 128 of an image at most. The paper has 128 of each of 16 384
            images.
        directions: How many directions to compare along.
        seed: Seed of the patches' places and of the directions.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        name: str = "patch_swd",
        num_images: int = 10_000,
        num_patches: int = 2**15,
        directions: int = 512,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(None, name, **kwargs)
        self.image_shape, self.num_images = tuple(image_shape), num_images
        self.num_patches, self.directions, self.seed = num_patches, directions, seed
        height, width, channels = self.image_shape
        if not has_patches(self.image_shape):
            raise ValueError(f"Patches are of {SIDE}x{SIDE} pixels. Received: image_shape={self.image_shape}")
        self._each = max(1, min(_MOST, num_patches // num_images))
        # How many images there were, of either side.
        self._counts = [self.add_variable((), initializer="zeros", dtype="int64", name=f"{x}_images") for x in _SIDES]
        shape = (num_images * self._each, SIDE, SIDE, channels)
        self._levels = {
            rows: [Buffer(self, f"{side}_{rows}", shape) for side in _SIDES] for rows, _ in _sizes(height, width)
        }

    def observe(self, batch: Observation) -> None:
        self.update_state(batch.real, batch.fake)

    def update_state(self, real: Array, fake: Array, sample_weight: Any = None) -> None:
        """Adds images `(batch, height, width, channels)` in [-1, 1]; the batches may differ in size."""
        for side, images in enumerate((real, fake)):
            count = self._counts[side]
            for buffers, level in zip(self._levels.values(), laplacian_pyramid(to_levels(images)), strict=True):
                found = _patches(level, self._each, count.value, self.seed)
                buffers[side].add(tf.reshape(found, (-1, *found.shape[2:])))
            count.assign_add(tf.shape(images, tf.int64)[0])

    def result(self) -> float:
        """Returns the mean distance over the levels, a float of at least 0."""
        return self.results()[self.name]

    def results(self) -> dict[str, float]:
        """Returns the mean over the levels, and the distance of each.

        Raises:
            ValueError: Without an image of each side.
        """
        if not all(map(int, self._counts)):
            raise ValueError(f"{type(self).__name__} needs images of each side.")
        found = {}
        for rows, buffers in self._levels.items():
            real, fake = (kept.array(np.float32) for kept in buffers)
            found[f"{self.name}_{rows}"] = patch_distance(real, fake, self.directions, self.seed)
        return {self.name: float(np.mean([*found.values()])), **found}

    def settings(self) -> dict[str, Any]:
        names = ("image_shape", "num_images", "num_patches", "directions", "seed")
        return {name: getattr(self, name) for name in names}


def has_patches(image_shape: tuple[int, ...]) -> bool:
    """Whether images `(height, width, channels)` are as large as a patch."""
    return min(image_shape[:2]) >= SIDE


def patch_distance(real: np.ndarray, fake: np.ndarray, directions: int = 512, seed: int = 0) -> float:
    """Returns the sliced 1-Wasserstein distance of patches, times 1 000.

    Args:
        real: Float array `(num, height, width, channels)`.
        fake: Likewise; it may have another number of them.
        directions: How many directions.
        seed: Their seed.
    """
    first, second = (_scaled(patches).reshape(len(patches), -1) for patches in (real, fake))
    return 1000.0 * mean_distance(first, second, directions, seed)


def laplacian_pyramid(images: Array) -> list[tf.Tensor]:
    """Returns the levels of images' Laplacian pyramids, the finest first; the last one holds what is left.

    Each has half of the height and width of the one before, rounded up, down to 14 to 27 pixels of the smaller side.
    Burt and Adelson 1983, https://doi.org/10.1109/TCOM.1983.1095851, with images mirrored at their edges.

    Args:
        images: `(batch, height, width, channels)`.
    """
    levels = [tf.cast(images, tf.float32)]
    for _ in _sizes(*images.shape[1:3])[1:]:
        smaller = _blurred(levels[-1])[:, ::2, ::2]
        levels[-1] -= _doubled(smaller, levels[-1].shape[1:3])
        levels.append(smaller)
    return levels


def _sizes(height, width):
    """Returns the heights and widths of a pyramid's levels."""
    found = [(height, width)]
    while min(found[-1]) >= 2 * _SMALLEST:
        found.append(tuple((side + 1) // 2 for side in found[-1]))
    return found


def _blurred(images):
    padded = tf.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], "REFLECT")
    kernel = tf.tile(tf.constant(_BINOMIAL)[..., None, None], (1, 1, images.shape[-1], 1))
    return tf.nn.depthwise_conv2d(padded, kernel, (1, 1, 1, 1), "VALID")


def _doubled(images, size):
    """Returns images at twice their height and width, or one less."""
    batch, (rows, columns, channels) = tf.shape(images)[0], images.shape[1:]
    spread = tf.stack([images, tf.zeros_like(images)], axis=3)
    spread = tf.stack([spread, tf.zeros_like(spread)], axis=2)
    return 4.0 * _blurred(tf.reshape(spread, (batch, 2 * rows, 2 * columns, channels))[:, : size[0], : size[1]])


def _patches(images, each, start, seed):
    """Returns `(batch, each, 7, 7, channels)` patches of images, the first of which is number `start` of all."""
    batch, (height, width, channels) = tf.shape(images)[0], images.shape[1:]
    drawn = uniform_part(start, (batch, each, 2), (seed, 0))
    room = tf.constant([height - SIDE + 1, width - SIDE + 1])
    corners = tf.minimum(tf.cast(drawn * tf.cast(room, tf.float32), tf.int32), room - 1)
    offsets = tf.range(SIDE)
    rows, columns = (corners[..., axis, None] + offsets for axis in (0, 1))
    places = rows[..., :, None] * width + columns[..., None, :]
    return tf.gather(tf.reshape(images, (batch, height * width, channels)), places, batch_dims=1)


def _scaled(patches):
    mean, deviation = (f(patches, axis=(0, 1, 2), keepdims=True, dtype=np.float64) for f in (np.mean, np.std))
    # Patches of one colour, of a generator that has collapsed, are not scaled.
    return ((patches - mean) / np.where(deviation > 0, deviation, 1.0)).astype(np.float32)
