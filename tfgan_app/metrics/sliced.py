"""Sliced Wasserstein distance of features. Rabin et al. 2011, https://doi.org/10.1007/978-3-642-24785-9_37."""

from typing import Any

import keras
import numpy as np

from tfgan_app.metrics.base import StoredFeatures
from tfgan_app.metrics.extractors import ExtractorLike

__all__ = ["SlicedWasserstein", "mean_distance", "sliced_wasserstein"]


@keras.saving.register_keras_serializable("tfgan_app")
class SlicedWasserstein(StoredFeatures):
    """Mean distance over random directions between features projected on them, in units of the real features' spread.

    Along a direction it is the 1-Wasserstein distance of equation 4 in Karras et al. 2017
    (https://arxiv.org/abs/1710.10196, section 5), where it compares patches of images; here it compares whatever the
    extractor gives. Features are scaled to mean 0 and deviation 1 of the real ones first, so that no unit matters.

    Args:
        extractor: A shipped one's name, a path, a `keras.Model` or a `FeatureExtractor`.
        name: The metric's name, and its key in logs.
        num_images: Real and generated images to use; of more, a random sample of fixed seed.
        directions: How many directions.
        seed: Seed of the directions.
    """

    def __init__(
        self,
        extractor: ExtractorLike,
        name: str = "swd",
        num_images: int = 10_000,
        directions: int = 512,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(extractor, name, num_images, **kwargs)
        self.directions, self.seed = directions, seed

    def result(self) -> float:
        """Returns the distance, a float of at least 0."""
        real, fake = self.stored()
        return sliced_wasserstein(real, fake, self.directions, self.seed)

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "directions": self.directions, "seed": self.seed}


def sliced_wasserstein(real: np.ndarray, fake: np.ndarray, directions: int = 512, seed: int = 0) -> float:
    """Returns the sliced 1-Wasserstein distance of feature arrays `(num, dim)`, scaled by the real ones' spread."""
    mean, deviation = real.mean(axis=0), real.std(axis=0)
    # A feature in which no real images differ is not scaled.
    scale = np.where(deviation > 0, deviation, 1.0)
    first, second = ((x - mean) / scale for x in (real, fake))
    return mean_distance(first, second, directions, seed)


def mean_distance(first: np.ndarray, second: np.ndarray, directions: int, seed: int) -> float:
    """Returns the mean 1-Wasserstein distance of points `(num, dim)` along random directions."""
    axes = np.random.default_rng(seed).normal(size=(first.shape[1], directions))
    axes = (axes / np.linalg.norm(axes, axis=0)).astype(first.dtype)
    # A row a direction, as sorting is fast along rows.
    a, b = (np.sort(axes.T @ points.T) for points in (first, second))
    return float(np.mean(np.abs(a - _quantiles(b, a.shape[1])), dtype=np.float64))


def _quantiles(ordered, num):
    """Returns the rows' values at the middles of `num` equal parts of their distribution."""
    if ordered.shape[1] == num:
        return ordered
    index = ((np.arange(num) + 0.5) / num * ordered.shape[1]).astype(int)
    return ordered[:, index]
