"""Inception-style score. Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section 4."""

from typing import Any

import keras
import numpy as np

from tfgan_app.metrics.base import Buffer, ImageMetric
from tfgan_app.metrics.extractors import ExtractorLike
from tfgan_app.modalities.modality import Array
from tfgan_app.observation import Observation

__all__ = ["ClassifierScore", "classifier_score"]


@keras.saving.register_keras_serializable("tfgan_app")
class ClassifierScore(ImageMetric):
    """exp E[KL(p(y|x) || p(y))]: high where each fake is clearly of one class, and all classes are drawn.

    At most the number of classes. It looks at the fakes alone. With one particular Inception network this is the
    Inception score; the real images' own value under the same classifier is the yardstick for any other.

    `results` gives its standard deviation over the splits besides.

    Args:
        extractor: As in `ImageMetric`; it must have class logits, as the shipped classifiers do.
        name: The metric's name, and its key in logs.
        num_images: Generated images to use; of more, a random sample of fixed seed.
        splits: Parts that are scored by themselves, in an order drawn from the seed.
        seed: Seed of that order.

    Raises:
        ValueError: If the extractor has no logits.
    """

    _direction = "up"

    def __init__(
        self,
        extractor: ExtractorLike,
        name: str = "cs",
        num_images: int = 10_000,
        splits: int = 10,
        seed: int = 2020,
        **kwargs: Any,
    ):
        super().__init__(extractor, name, **kwargs)
        self.num_images, self.splits, self.seed = num_images, splits, seed
        if self.extractor.num_logits is None:
            raise ValueError(f"The feature extractor {self.extractor.name} has no class logits to score by.")
        self._logits = Buffer(self, "logits", (num_images, self.extractor.num_logits))

    def observe(self, batch: Observation) -> None:
        self.update_state(batch.fake_outputs(self.extractor)["logits"])

    def update_state(self, logits: Array, sample_weight: Any = None) -> None:
        """Adds class logits `(batch, num_classes)` of generated images."""
        self._logits.add(logits)

    def result(self) -> float:
        """Returns the mean over the splits, a float."""
        return self._measured()[0]

    def results(self) -> dict[str, float]:
        value, deviation = self._measured()
        return {self.name: value, f"{self.name}_std": deviation}

    def _measured(self):
        return classifier_score(self._logits.array(np.float64), self.splits, self.seed)

    def settings(self) -> dict[str, Any]:
        return {"num_images": self.num_images, "splits": self.splits, "seed": self.seed}


def classifier_score(logits: np.ndarray, splits: int = 10, seed: int = 2020) -> tuple[float, float]:
    """Returns the score of class logits `(num, num_classes)`: mean and standard deviation over splits.

    Raises:
        ValueError: With fewer images than splits.
    """
    num = len(logits)
    if num < splits:
        raise ValueError(f"{splits} splits need as many images. Received: {num}")
    logits = logits[np.random.RandomState(seed).permutation(num)]
    log_p = logits - logits.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    scores = []
    for index in range(splits):
        part = log_p[index * num // splits : (index + 1) * num // splits]
        p = np.exp(part)
        # A class that no image has adds nothing, and log 0 would be infinite.
        marginal = np.log(np.maximum(p.mean(axis=0), 1e-300))
        scores.append(np.exp(np.mean(np.sum(p * (part - marginal), axis=1))))
    return float(np.mean(scores)), float(np.std(scores))
