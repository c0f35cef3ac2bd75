"""Kernel distance of features. Binkowski et al. 2018, https://arxiv.org/abs/1801.01401."""

from typing import Any

import keras
import numpy as np

from tfgan_app.metrics.base import StoredFeatures
from tfgan_app.metrics.extractors import ExtractorLike

__all__ = ["KernelDistance", "kernel_distance"]

# Rows of the kernel matrix that are computed at a time.
_ROWS = 1000


@keras.saving.register_keras_serializable("tfgan_app")
class KernelDistance(StoredFeatures):
    """Squared maximum mean discrepancy between features, with the kernel (x^T y / feature_dim + 1)^3.

    Unbiased, so it may come out below 0 where the two sets are alike. `results` gives its standard error besides, by
    leaving out each image in turn. With the features of one particular Inception network this is the KID.

    Args:
        extractor: A shipped one's name, a path, a `keras.Model` or a `FeatureExtractor`.
        name: The metric's name, and its key in logs.
        num_images: Real and generated images to use; of more, a random sample of fixed seed.
        subsets: Where not None, the value is the mean over so many random subsets, as in torch-fidelity, rather than
            that of all images.
        subset_size: Images of each side in a subset.
        seed: Seed of the subsets.
    """

    def __init__(
        self,
        extractor: ExtractorLike,
        name: str = "kd",
        num_images: int = 10_000,
        subsets: int | None = None,
        subset_size: int = 1000,
        seed: int = 2020,
        **kwargs: Any,
    ):
        super().__init__(extractor, name, num_images, **kwargs)
        self.subsets, self.subset_size, self.seed = subsets, subset_size, seed

    def result(self) -> float:
        """Returns the distance, a float."""
        return self._measured()[0]

    def results(self) -> dict[str, float]:
        value, error = self._measured()
        return {self.name: value, f"{self.name}_error": error}

    def _measured(self):
        real, fake = self.stored()
        value, error = kernel_distance(real, fake)
        if self.subsets is None:
            return value, error
        fewest = min(len(real), len(fake))
        if fewest < self.subset_size:
            raise ValueError(f"Subsets of {self.subset_size} images need as many of each side. Received: {fewest}")
        draws, values = np.random.RandomState(self.seed), []
        for _ in range(self.subsets):
            # Fakes are drawn first, as in torch-fidelity.
            chosen = [x[draws.choice(len(x), self.subset_size, replace=False)] for x in (fake, real)]
            values.append(kernel_distance(*chosen)[0])
        return float(np.mean(values)), error

    def settings(self) -> dict[str, Any]:
        own = {"subsets": self.subsets, "subset_size": self.subset_size, "seed": self.seed}
        return {**super().settings(), **(own if self.subsets is not None else {})}


def kernel_distance(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Unbiased estimate of the squared maximum mean discrepancy with the kernel (x^T y / dim + 1)^3.

    Args:
        first: Array `(num, dim)` of at least 2 features.
        second: Likewise; it may have another number of them.

    Returns:
        `(value, error)`: the estimate, and its jackknife standard error (NaN where a set has 2 features).
    """
    n, m = len(first), len(second)
    within_first, within_second = _row_sums(first, first, True), _row_sums(second, second, True)
    across_first, across_second = _row_sums(first, second), _row_sums(second, first)
    value = within_first.sum() / (n * (n - 1)) + within_second.sum() / (m * (m - 1))
    value -= 2.0 * across_first.sum() / (n * m)
    variance = _variance(within_first, across_first, m) + _variance(within_second, across_second, n)
    return float(value), float(np.sqrt(variance))


def _variance(within, across, other):
    """The jackknife variance due to one set, from the sums of its rows of the kernel within it and across."""
    count = len(within)
    if count == 2:
        return np.nan
    # What the estimate would be without each image, up to a constant.
    left = (within.sum() - 2.0 * within) / ((count - 1) * (count - 2))
    left -= 2.0 * (across.sum() - across) / ((count - 1) * other)
    return (count - 1) / count * np.sum((left - left.mean()) ** 2)


def _row_sums(x, y, without_diagonal=False):
    """Returns the sums of the kernel matrix's rows, which is never held whole."""
    sums = np.concatenate([_kernel(x[i : i + _ROWS], y).sum(axis=1) for i in range(0, len(x), _ROWS)])
    if without_diagonal:
        sums -= (np.sum(x * x, axis=1) / x.shape[1] + 1.0) ** 3
    return sums


def _kernel(x, y):
    products = x @ y.T
    products /= x.shape[1]
    products += 1.0
    return products * products * products
