"""Where the generated samples of a score come from: drawn by a sampler, or drawn already."""

import functools
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from tfgan_app.base.latents import draw_latents, slerp
from tfgan_app.base.randomness import stream
from tfgan_app.data.image_set import ImageSet
from tfgan_app.sampler import Sampler

__all__ = ["ArrayFakes", "Fakes", "SampledFakes"]


class SampledFakes:
    """The samples of `sampler.sample(num, seed)` in the network's range, whatever the batches.

    A conditional sampler draws them with the labels of the real samples.

    Args:
        sampler: A `tfgan_app.sampler.Sampler`: a GAN, or a loaded one.
        num: How many.
        seed: As in `Sampler.sample`.
        truncation: As in `Sampler.sample`.
    """

    def __init__(self, sampler: Sampler, num: int, seed: int = 0, truncation: float | None = None):
        self.sampler, self.truncation = sampler, truncation
        self.labelled = bool(sampler.num_classes and sampler.supervised)
        self.latent_dim = sampler.latent_dim
        self.latents = sampler.latents(num, seed)
        self.seed = seed

    def batch(self, start: int, stop: int, labels: np.ndarray | None) -> np.ndarray:
        """Returns the samples of a range, `(stop - start, ...)`."""
        return self._outputs(self.latents[start:stop], labels)

    def nearby(self, start: int, stop: int, labels: np.ndarray | None, epsilon: float) -> list[np.ndarray]:
        """Returns two such batches, of latents `epsilon` apart on the way to others; see `PerceptualPathLength`."""
        latents, others = self.latents[start:stop], self._others[start:stop]
        return [self._outputs(z, labels) for z in (latents, slerp(latents, others, epsilon))]

    # Path lengths alone need them.
    @functools.cached_property
    def _others(self):
        return draw_latents(len(self.latents), self.latent_dim, stream((self.seed, 0), "others"))

    def _outputs(self, latents, labels):
        return self.sampler.outputs(latents, labels if self.labelled else None, self.truncation)


class ArrayFakes:
    """Samples that are drawn already.

    Args:
        images: Their `tfgan_app.data.ImageSet`. Labels that it may have are not looked at: nothing says that they were
            asked for.
    """

    labelled, latent_dim = False, None

    def __init__(self, images: ImageSet):
        self.images = images
        self._left: Iterator = iter(())

    def batch(self, start: int, stop: int, labels: np.ndarray | None) -> np.ndarray:
        """Returns the samples of a range as `SampledFakes.batch`; ranges come in order."""
        if not start:
            self._left = self.images.pairs(stop)
        samples, _ = next(self._left)
        return samples[: stop - start]


Fakes: TypeAlias = SampledFakes | ArrayFakes
