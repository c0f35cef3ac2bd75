"""Frechet distance of features. Heusel et al. 2017, https://arxiv.org/abs/1706.08500, equation 6."""

import functools
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.metrics.base import ImageMetric
from tfgan_app.metrics.extractors import ExtractorLike
from tfgan_app.modalities.modality import Array
from tfgan_app.observation import Observation

__all__ = ["FrechetDistance", "IntraClassFrechetDistance", "frechet_distance"]


@keras.saving.register_keras_serializable("tfgan_app")
class FrechetDistance(ImageMetric):
    """Squared Frechet distance between Gaussians fitted to features of real and of fake images.

    With the features of one particular Inception network this is the FID. With any other extractor it is
    another scale and must not be called FID; compare only values of one extractor, one real split and
    similar numbers of images (the estimate is biased upwards, more so with fewer images).

    Moments are streamed in float64: memory is independent of the number of images.

    Args:
        extractor: A shipped one's name (`"mnist_cnn"`, `"fashion_mnist_cnn"`), a path, a `keras.Model` or a
            `FeatureExtractor`.
        name: The metric's name, and its key in logs.
        groups: Where above 1, and with two images a group, `results` gives the standard error besides, by leaving out
            each of so many groups of images in turn. Memory grows with it.
        reference: The real images, where they are the same in every evaluation: an iterable of batches in [-1, 1],
            alone or with labels. Their features are computed once, at the first result, rather than in each evaluation,
            and real images that `observe` is given are not looked at. It is not saved with the metric.
    """

    def __init__(
        self,
        extractor: ExtractorLike,
        name: str = "fd",
        groups: int = 1,
        reference: Iterable[Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(extractor, name, **kwargs)
        self.groups = groups
        self._reference: Any = reference
        self._fake = self._moments_of("fake")
        if reference is None:
            self._real = self._moments_of("real")

    def _moments_of(self, side):
        groups, dim = self.groups, self.extractor.feature_dim
        shapes = {"count": (groups,), "sum": (groups, dim), "products": (groups, dim, dim)}
        return [
            self.add_variable(shape, initializer="zeros", dtype="float64", name=f"{side}_{suffix}")
            for suffix, shape in shapes.items()
        ]

    def observe(self, batch: Observation) -> None:
        real = None if self._reference is not None else batch.real_outputs(self.extractor)["features"]
        self.update_state(real, batch.fake_outputs(self.extractor)["features"])

    def update_state(self, real_features: Array | None, fake_features: Array, sample_weight: Any = None) -> None:
        """Adds features `(batch, feature_dim)`; the two batches may differ in size, and either may be empty.

        With a `reference` the real ones are not looked at.
        """
        if self._reference is None:
            self._add(self._real, real_features)
        self._add(self._fake, fake_features)

    @functools.cached_property
    def _real(self):
        sums = (self._sums(self.extractor(x[0] if isinstance(x, tuple) else x)) for x in self._reference)
        return functools.reduce(lambda total, more: [a + b for a, b in zip(total, more, strict=True)], sums)

    def _add(self, moments, features):
        for variable, addend in zip(moments, self._sums(features), strict=True):
            variable.assign_add(addend)

    def _sums(self, features):
        features = tf.cast(features, tf.float64)
        parts = [features[group :: self.groups] for group in range(self.groups)]
        return [
            tf.stack([tf.cast(tf.shape(part)[0], tf.float64) for part in parts]),
            tf.stack([tf.reduce_sum(part, axis=0) for part in parts]),
            tf.stack([tf.matmul(part, part, transpose_a=True) for part in parts]),
        ]

    def result(self) -> float:
        """Returns the distance, a float of at least 0.

        Raises:
            ValueError: With fewer than two real or fake images: there is no covariance.
        """
        return self._distance()

    def fewest(self) -> int:
        """Returns how many images there are of the side that has fewer."""
        return int(min(np.sum(moments[0]) for moments in (self._real, self._fake)))

    def results(self) -> dict[str, float]:
        found = {self.name: self._distance()}
        fewest = min(np.min(moments[0]) for moments in (self._real, self._fake))
        if self.groups > 1 and fewest >= 2:
            left = np.array([self._distance(without=group) for group in range(self.groups)])
            scale = (self.groups - 1) / self.groups
            found[f"{self.name}_error"] = float(np.sqrt(scale * np.sum((left - left.mean()) ** 2)))
        return found

    def _distance(self, without=None):
        kept = np.arange(self.groups) != without
        gaussians = []
        for side, moments in (("real", self._real), ("fake", self._fake)):
            count, total, products = (np.asarray(variable)[kept].sum(axis=0) for variable in moments)
            if count < 2:
                raise ValueError(f"The Frechet distance needs at least 2 {side} images. Received: {int(count)}")
            mean = total / count
            gaussians += [mean, (products - count * np.outer(mean, mean)) / (count - 1)]
        return frechet_distance(*gaussians)

    def settings(self) -> dict[str, Any]:
        return {"groups": self.groups} if self.groups > 1 else {}


@keras.saving.register_keras_serializable("tfgan_app")
class IntraClassFrechetDistance(ImageMetric):
    """Mean over classes of the Frechet distance between real and generated images of the class.

    Miyato and Koyama 2018, https://arxiv.org/abs/1802.05637, section 5.2. For conditional GANs: it sees a class whose
    samples are all alike, which `FrechetDistance` sees only where classes are few.

    `results` gives each class's distance besides. Classes with fewer than two images of a side have none, and the mean
    is that of the others; `results` then gives their number as `intra_fd_left_out`.

    Args:
        extractor: As in `FrechetDistance`.
        num_classes: Number of classes.
        name: The metric's name, and its key in logs.
    """

    def __init__(self, extractor: ExtractorLike, num_classes: int, name: str = "intra_fd", **kwargs: Any):
        super().__init__(extractor, name, **kwargs)
        self.num_classes = num_classes
        self._classes = [FrechetDistance(self.extractor, f"{name}_{index}") for index in range(num_classes)]

    def observe(self, batch: Observation) -> None:
        """Adds an `Observation`.

        Raises:
            ValueError: If it has no labels.
        """
        if batch.labels is None:
            raise ValueError(f"{type(self).__name__} needs labels, of the real images and of the fakes.")
        real, fake = batch.real_outputs(self.extractor), batch.fake_outputs(self.extractor)
        self.update_state(real["features"], fake["features"], batch.labels)

    def update_state(
        self, real_features: Array, fake_features: Array, labels: Array, sample_weight: Any = None
    ) -> None:
        """Adds features `(batch, feature_dim)` of images whose classes are `labels` `(batch,)`, of either side."""
        for index, distance in enumerate(self._classes):
            chosen = tf.equal(tf.cast(labels, tf.int32), index)
            distance.update_state(real_features[chosen], fake_features[chosen])

    def reset_state(self) -> None:
        for distance in self._classes:
            distance.reset_state()

    def result(self) -> float:
        """Returns the mean over the classes, a float; raises as `FrechetDistance` where no class has two images."""
        return self.results()[self.name]

    def results(self) -> dict[str, float]:
        able = [distance for distance in self._classes if distance.fewest() >= 2]
        if not able:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 images of a class of either side. No class has them"
            )
        values = {distance.name: float(distance.result()) for distance in able}
        missing = len(self._classes) - len(able)
        more = {f"{self.name}_left_out": float(missing)} if missing else {}
        return {self.name: float(np.mean(list(values.values()))), **values, **more}

    def settings(self) -> dict[str, Any]:
        return {"num_classes": self.num_classes}


def frechet_distance(
    mean_1: np.ndarray, covariance_1: np.ndarray, mean_2: np.ndarray, covariance_2: np.ndarray
) -> float:
    """Squared Frechet distance between two Gaussians, ||m1 - m2||^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    Args:
        mean_1: Array `(dim,)`.
        covariance_1: Symmetric positive semi-definite array `(dim, dim)`.
        mean_2: As `mean_1`.
        covariance_2: As `covariance_1`.

    Returns:
        A float, at least 0.
    """
    # tr (C1 C2)^(1/2) = tr (R C2 R)^(1/2) with R = C1^(1/2): symmetric, so exact also where C1 or C2 is singular.
    values, vectors = np.linalg.eigh(covariance_1)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ covariance_2 @ root)
    trace = np.trace(covariance_1) + np.trace(covariance_2) - 2 * np.sqrt(np.maximum(cross, 0)).sum()
    return max(0.0, float(np.sum((mean_1 - mean_2) ** 2) + trace))
