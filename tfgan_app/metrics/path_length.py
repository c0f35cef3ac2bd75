"""Perceptual path length. Karras et al. 2018, https://arxiv.org/abs/1812.04948, section 4.1."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.metrics.base import Buffer, ImageMetric
from tfgan_app.metrics.extractors import ExtractorLike
from tfgan_app.modalities.modality import Array
from tfgan_app.observation import Observation

__all__ = ["PerceptualPathLength", "path_length"]


@keras.saving.register_keras_serializable("tfgan_app")
class PerceptualPathLength(ImageMetric):
    """E[d(G(z), G(z'))^2 / epsilon^2], with z' a small step epsilon from z on the great circle to another latent.

    d is the Euclidean distance of the extractor's features: the length that a unit step in the space of latents makes
    in that of features. Jumps between images raise it. Not to be compared with values on LPIPS.

    Args:
        extractor: A shipped one's name, a path, a `keras.Model` or a `FeatureExtractor`.
        name: The metric's name, and its key in logs.
        num_images: Pairs to use; of more, a random sample of fixed seed.
        epsilon: The step.
        discard: Percentage of the shortest and of the longest steps that are left out.
    """

    def __init__(
        self,
        extractor: ExtractorLike,
        name: str = "ppl",
        num_images: int = 10_000,
        epsilon: float = 1e-4,
        discard: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(extractor, name, **kwargs)
        self.num_images, self.epsilon, self.discard = num_images, epsilon, discard
        self._steps = Buffer(self, "steps", (num_images,))

    def observe(self, batch: Observation) -> None:
        """Adds one pair an image.

        Raises:
            ValueError: If the fakes do not come from latents.
        """
        if batch.nearby is None:
            raise ValueError(f"{type(self).__name__} needs a generator of latents, not images that are drawn already.")
        self.update_state(*(self.extractor(images) for images in batch.nearby(self.epsilon)))

    def update_state(self, first_features: Array, second_features: Array, sample_weight: Any = None) -> None:
        """Adds features `(batch, feature_dim)` of pairs of images."""
        self._steps.add(tf.reduce_sum(tf.square(tf.cast(first_features - second_features, tf.float32)), axis=1))

    def result(self) -> float:
        """Returns the mean squared length, a float."""
        return path_length(self._steps.array(np.float64) / self.epsilon**2, self.discard)

    def settings(self) -> dict[str, Any]:
        return {"num_images": self.num_images, "epsilon": self.epsilon, "discard": self.discard}


def path_length(steps: np.ndarray, discard: float = 1.0) -> float:
    """Returns the mean of squared lengths `(num,)` without the `discard` percent at either end.

    Raises:
        ValueError: If there are none.
    """
    if not len(steps):
        raise ValueError("PerceptualPathLength needs at least 1 pair of images. Received: 0")
    low = np.percentile(steps, discard, method="lower")
    high = np.percentile(steps, 100.0 - discard, method="higher")
    return float(np.mean(steps[(low <= steps) & (steps <= high)]))
