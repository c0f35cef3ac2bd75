"""Precision and recall, density and coverage: how features of one set lie among those of the other."""

from typing import Any

import keras
import numpy as np

from tfgan_app.metrics.base import StoredFeatures
from tfgan_app.metrics.extractors import ExtractorLike

__all__ = ["DensityCoverage", "PrecisionRecall", "density_coverage", "nearest", "pairs_within", "precision_recall"]

# Rows of a distance matrix that are computed at a time.
_ROWS = 1000


class _NeighbourPair(StoredFeatures):
    """Two scores from distances to k-th neighbours: `result` is the first, `results` gives both."""

    _direction = "up"
    _names: tuple[str, str]

    def __init__(self, extractor: ExtractorLike, name: str, num_images: int, neighbours: int, **kwargs: Any):
        super().__init__(extractor, name, num_images, **kwargs)
        self.neighbours = neighbours

    def _measure(self, real, fake):
        raise NotImplementedError

    def result(self) -> float:
        return self._measure(*self.stored())[0]

    def results(self) -> dict[str, float]:
        first, second = self._measure(*self.stored())
        return {self.name: first, self.name.replace(*self._names): second}

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "neighbours": self.neighbours}


@keras.saving.register_keras_serializable("tfgan_app")
class PrecisionRecall(_NeighbourPair):
    """Share of fakes among the real images, and of real images among the fakes.

    Kynkaanniemi et al. 2019, https://arxiv.org/abs/1904.06991, equation 2: a feature lies among a set if it is in the
    ball around one of the set's that reaches to that one's k-th nearest neighbour. The border counts.

    `result` is the precision; `results` gives `precision` and `recall`.

    Args:
        extractor: A shipped one's name, a path, a `keras.Model` or a `FeatureExtractor`.
        name: The metric's name, and the precision's key in logs.
        num_images: Real and generated images to use; of more, a random sample of fixed seed.
        neighbours: k.
    """

    _names = ("precision", "recall")

    def __init__(
        self,
        extractor: ExtractorLike,
        name: str = "precision",
        num_images: int = 10_000,
        neighbours: int = 3,
        **kwargs: Any,
    ):
        super().__init__(extractor, name, num_images, neighbours, **kwargs)

    def _measure(self, real, fake):
        return precision_recall(real, fake, self.neighbours)


@keras.saving.register_keras_serializable("tfgan_app")
class DensityCoverage(_NeighbourPair):
    """How densely real images surround the fakes, and the share of real images that have a fake near.

    Naeem et al. 2020, https://arxiv.org/abs/2002.09797, equations 4 and 5, with the balls of `PrecisionRecall` around
    real features only, their border left out. Density may exceed 1.

    `result` is the density; `results` gives `density` and `coverage`.

    Args:
        extractor: A shipped one's name, a path, a `keras.Model` or a `FeatureExtractor`.
        name: The metric's name, and the density's key in logs.
        num_images: Real and generated images to use; of more, a random sample of fixed seed.
        neighbours: k.
    """

    _names = ("density", "coverage")

    def __init__(
        self,
        extractor: ExtractorLike,
        name: str = "density",
        num_images: int = 10_000,
        neighbours: int = 5,
        **kwargs: Any,
    ):
        super().__init__(extractor, name, num_images, neighbours, **kwargs)

    def _measure(self, real, fake):
        return density_coverage(real, fake, self.neighbours)


def precision_recall(real: np.ndarray, fake: np.ndarray, neighbours: int = 3) -> tuple[float, float]:
    """Returns improved precision and recall of feature arrays `(num, dim)`.

    Raises:
        ValueError: If a set has no more than `neighbours` features.
    """
    real_radii, fake_radii = _radii(real, neighbours), _radii(fake, neighbours)
    precise, recalled = [], np.zeros(len(real), bool)
    for rows in _distances(fake, real):
        precise.append((rows <= real_radii).any(axis=1))
    start = 0
    for rows in _distances(real, fake):
        recalled[start : start + len(rows)] = (rows <= fake_radii).any(axis=1)
        start += len(rows)
    return float(np.mean(np.concatenate(precise))), float(recalled.mean())


def density_coverage(real: np.ndarray, fake: np.ndarray, neighbours: int = 5) -> tuple[float, float]:
    """Returns density and coverage of feature arrays `(num, dim)`.

    Raises:
        ValueError: If `real` has no more than `neighbours` features.
    """
    radii = _radii(real, neighbours)
    inside, nearest = 0, np.full(len(real), np.inf)
    for rows in _distances(fake, real):
        inside += np.count_nonzero(rows < radii)
        nearest = np.minimum(nearest, rows.min(axis=0))
    return inside / (neighbours * len(fake)), float(np.mean(nearest < radii))


def nearest(x: np.ndarray, y: np.ndarray, others: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Returns which of `y` is nearest to each of `x`, and how far: indices and Euclidean distances `(len(x),)`.

    Args:
        x: Array `(num, dim)`.
        y: Likewise.
        others: Where `x` is `y`: leave out the feature itself.
    """
    indices, squares, start = [], [], 0
    for rows in _distances(x, y):
        if others:
            np.fill_diagonal(rows[:, start:], np.inf)
            start += len(rows)
        indices.append(rows.argmin(axis=1))
        squares.append(rows.min(axis=1))
    return np.concatenate(indices), np.sqrt(np.concatenate(squares))


def pairs_within(x: np.ndarray, distance: float) -> int:
    """Returns how many pairs of features `(num, dim)` lie closer to each other than a Euclidean distance."""
    near = sum(np.count_nonzero(rows < distance**2) for rows in _distances(x, x))
    # `near` counts each feature as close to itself, and each pair twice.
    return (int(near) - len(x)) // 2


def _radii(x, neighbours):
    """Returns each feature's distance to its k-th nearest other."""
    if len(x) <= neighbours:
        raise ValueError(f"{neighbours} neighbours need more images than that. Received: {len(x)}")
    # The nearest of all is the feature itself.
    return np.concatenate([np.partition(rows, neighbours, axis=1)[:, neighbours] for rows in _distances(x, x)])


def _distances(x, y):
    """Yields rows of the matrix of squared Euclidean distances."""
    norms = np.sum(y * y, axis=1)
    for start in range(0, len(x), _ROWS):
        part = x[start : start + _ROWS]
        rows = part @ y.T
        rows *= -2.0
        rows += norms
        rows += np.sum(part * part, axis=1)[:, np.newaxis]
        yield np.maximum(rows, 0.0, out=rows)
