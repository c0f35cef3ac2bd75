"""Frechet distance of features. Heusel et al. 2017, https://arxiv.org/abs/1706.08500, equation 6."""

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.metrics.extractors import load_extractor

__all__ = ["FrechetDistance", "frechet_distance"]


@keras.saving.register_keras_serializable("tfgan_app")
class FrechetDistance(keras.metrics.Metric):
    """Squared Frechet distance between Gaussians fitted to features of real and of fake images.

    With the features of one particular Inception network this is the FID. With any other extractor it is
    another scale and must not be called FID; compare only values of one extractor, one real split and
    similar numbers of images (the estimate is biased upwards, more so with fewer images).

    Moments are streamed in float64: memory is independent of the number of images.

    Args:
        extractor: A shipped one's name (`"mnist_cnn"`, `"fashion_mnist_cnn"`), a path to a `.keras` model, a
            `keras.Model` or a `FeatureExtractor`.
        name: The metric's name, and its key in logs.
    """

    def __init__(self, extractor, name="fd", **kwargs):
        super().__init__(name=name, dtype="float64", **kwargs)
        self.extractor = load_extractor(extractor)
        # EarlyStopping and ModelCheckpoint read it where no mode is given.
        self._direction = "down"
        self._real = [self._add_moments("real", suffix) for suffix in ("count", "sum", "products")]
        self._fake = [self._add_moments("fake", suffix) for suffix in ("count", "sum", "products")]

    def _add_moments(self, side, suffix):
        dim = self.extractor.feature_dim
        shape = {"count": (), "sum": (dim,), "products": (dim, dim)}[suffix]
        return self.add_variable(shape, initializer="zeros", dtype="float64", name=f"{side}_{suffix}")

    def update_state(self, real_features, fake_features, sample_weight=None):
        """Adds features `(batch, feature_dim)`; the two batches may differ in size, and either may be empty."""
        for (count, total, products), features in ((self._real, real_features), (self._fake, fake_features)):
            features = tf.cast(features, tf.float64)
            count.assign_add(tf.cast(tf.shape(features)[0], tf.float64))
            total.assign_add(tf.reduce_sum(features, axis=0))
            products.assign_add(tf.matmul(features, features, transpose_a=True))

    def result(self):
        """Returns the distance, a float64 scalar, at least 0.

        Raises:
            ValueError: With fewer than two real or fake images: there is no covariance.
        """
        return frechet_distance(*self._moments("real", self._real), *self._moments("fake", self._fake))

    def _moments(self, side, variables):
        count, total, products = (np.asarray(variable) for variable in variables)
        if count < 2:
            raise ValueError(f"The Frechet distance needs at least 2 {side} images. Received: {int(count)}")
        mean = total / count
        return mean, (products - count * np.outer(mean, mean)) / (count - 1)

    def get_config(self):
        reference = self.extractor.reference
        if isinstance(reference, keras.Model):
            # Its weights would not be saved along, and a reloaded metric would measure something else.
            raise ValueError(
                f"The metric {self.name} cannot be saved: its feature extractor {reference.name} is held in memory. "
                "Save that network to a .keras file and give FrechetDistance the path."
            )
        return {"extractor": reference, "name": self.name}


def frechet_distance(mean_1, covariance_1, mean_2, covariance_2):
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
