"""Does a generator copy its training images, and how many different ones does it draw?"""

import dataclasses
import math
from typing import Any

import numpy as np

from tfgan_app.data.image_set import ImageSet
from tfgan_app.metrics.extractors import FeatureExtractor
from tfgan_app.metrics.manifold import nearest, pairs_within

__all__ = ["CopyingTest", "Memorisation", "SupportSize", "copying_test", "examine", "support_size"]

# Training images that are searched at a time.
_BATCH = 250


@dataclasses.dataclass(frozen=True)
class Memorisation:
    """What a generator has of its training images.

    Attributes:
        copying: A `CopyingTest`.
        support: `SupportSize` of the samples.
        real_support: That of as many held-out images, by which to judge it.
        neighbours: The training sample nearest to each, `(num, ...)` in the network's range.
        distances: How far they are, in features, `(num,)`.
        num_train: How many training images were searched.
    """

    copying: "CopyingTest"
    support: "SupportSize"
    real_support: "SupportSize"
    neighbours: np.ndarray
    distances: np.ndarray
    num_train: int

    def describe(self) -> dict[str, Any]:
        """Returns the numbers, as a receipt has them."""
        return {
            "z": self.copying.z,
            "p_value": self.copying.p_value,
            "fake_distance": self.copying.fake,
            "held_out_distance": self.copying.held_out,
            "support": self.support.estimate if math.isfinite(self.support.estimate) else None,
            "real_support": self.real_support.estimate if math.isfinite(self.real_support.estimate) else None,
            "samples": len(self.distances),
            "train": self.num_train,
        }


def examine(samples: np.ndarray, held_out: np.ndarray, train: ImageSet, extractor: FeatureExtractor) -> Memorisation:
    """Looks for copies of training images, and for samples that repeat.

    Args:
        samples: Generated samples `(num, ...)` in the network's range.
        held_out: As many real ones that the generator was not trained on.
        train: The `tfgan_app.data.ImageSet` of those that it was; read once, batch by batch.
        extractor: A `tfgan_app.metrics.FeatureExtractor`.

    Returns:
        A `Memorisation`.

    Raises:
        ValueError: With fewer than two held-out images: nothing tells then how far apart different images are.
    """
    if len(held_out) < 2:
        raise ValueError(f"Copies are told by at least 2 held-out images. Received: {len(held_out)}")
    of_samples, of_held_out = (_features(extractor, images) for images in (samples, held_out))
    queries = np.concatenate([of_samples, of_held_out])
    distances = np.full(len(queries), np.inf)
    neighbours = np.zeros_like(samples)
    for images, _ in train.pairs(_BATCH):
        indices, found = nearest(queries, _features(extractor, images))
        closer = found < distances
        distances[closer] = found[closer]
        closer = closer[: len(samples)]
        neighbours[closer] = images[indices[: len(samples)][closer]]
    # One in a hundred real images has another closer than this.
    threshold = float(np.percentile(nearest(of_held_out, of_held_out, others=True)[1], 1))
    of_fakes = distances[: len(samples)]
    return Memorisation(
        copying_test(of_fakes, distances[len(samples) :]),
        support_size(of_samples, threshold),
        support_size(of_held_out, threshold),
        neighbours,
        of_fakes,
        train.num_images,
    )


def _features(extractor, images):
    return np.asarray(extractor(images), np.float64)


@dataclasses.dataclass(frozen=True)
class CopyingTest:
    """Whether fakes lie nearer to training images than held-out images do.

    Attributes:
        z: The test's statistic, standard normal for a generator that neither copies nor misses the data: far below 0
            where it copies, far above where its samples are far from all images.
        p_value: Probability of so small a z without copying.
        fake: Median distance from a fake to the nearest training image.
        held_out: Median distance from a held-out image to the nearest training image.
    """

    z: float
    p_value: float
    fake: float
    held_out: float


def copying_test(of_fake: np.ndarray, of_held_out: np.ndarray) -> CopyingTest:
    """Compares distances to the nearest training image by Mann and Whitney's rank test.

    Meehan et al. 2020, https://arxiv.org/abs/2004.05675, section 3.1, with all of the space as one cell.

    Args:
        of_fake: The distance of each generated image, `(num,)`.
        of_held_out: Those of images from the same source as the training images, which the GAN has not seen.

    Returns:
        A `CopyingTest`.
    """
    n, m = len(of_fake), len(of_held_out)
    ranks, ties = _ranks(np.concatenate([of_fake, of_held_out]))
    u = ranks[:n].sum() - n * (n + 1) / 2
    variance = n * m / 12 * ((n + m + 1) - ties / ((n + m) * (n + m - 1)))
    # Without any variance all distances are equal: no evidence either way.
    z = (u - n * m / 2) / math.sqrt(variance) if variance > 0 else 0.0
    p_value = math.erfc(-z / math.sqrt(2)) / 2
    return CopyingTest(float(z), float(p_value), float(np.median(of_fake)), float(np.median(of_held_out)))


def _ranks(values):
    """Returns average ranks from 1, and the sum of t^3 - t over groups of t equal values."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse], float(np.sum(counts.astype(float) ** 3 - counts))


@dataclasses.dataclass(frozen=True)
class SupportSize:
    """How many different images a generator seems to draw.

    Attributes:
        estimate: The number of equally likely images of which two draws coincide as often as those of the generator;
            infinite where no two samples do.
        duplicates: Pairs of samples that count as the same image.
        threshold: The distance below which they do.
    """

    estimate: float
    duplicates: int
    threshold: float


def support_size(fake: np.ndarray, threshold: float) -> SupportSize:
    """Estimates how many images a generator draws by the birthday paradox.

    Arora and Zhang 2017, https://arxiv.org/abs/1706.08224: of N equally likely images, s draws hold s(s-1)/2N pairs
    that coincide on average. The paper has people tell which pairs are the same image; here those are that lie closer
    than a threshold, so the estimate for as many real images stands beside it as the yardstick.

    Args:
        fake: Features of generated images, `(num, dim)`.
        threshold: Distance below which two images are the same.

    Returns:
        A `SupportSize`.
    """
    num, pairs = len(fake), pairs_within(fake, threshold)
    estimate = num * (num - 1) / (2 * pairs) if pairs else math.inf
    return SupportSize(estimate, pairs, float(threshold))
