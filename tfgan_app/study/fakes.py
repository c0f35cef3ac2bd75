"""Where the generated samples of a score come from: drawn by a sampler, or drawn already."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from tfgan_app.base.latents import draw_latents, slerp
from tfgan_app.base.randomness import stream
from tfgan_app.data.image_set import ImageSet
from tfgan_app.sampler import Sampler
from tfgan_app.translator import Translator

__all__ = ["ArrayFakes", "Fakes", "RelabelledFakes", "SampledFakes", "relabelled"]


class SampledFakes:
    """The samples of `sampler.sample(num, seed)` in the network's range, whatever the batches.

    A conditional sampler draws them with the labels, or the attributes, of the real samples.

    Args:
        sampler: A `tfgan_app.sampler.Sampler`: a GAN, or a loaded one.
        num: How many.
        seed: As in `Sampler.sample`.
        truncation: As in `Sampler.sample`.
    """

    def __init__(self, sampler: Sampler, num: int, seed: int = 0, truncation: float | None = None):
        self.sampler, self.truncation = sampler, truncation
        self.labelled = bool(sampler.num_classes and sampler.supervised)
        self._told_as_real = sampler.condition is not None and sampler.supervised
        self.latent_dim = sampler.latent_dim
        self.num, self.seed = num, seed

    def batch(self, start: int, stop: int, labels: np.ndarray | None) -> np.ndarray:
        """Returns the samples of a range, `(stop - start, ...)`."""
        return self._outputs(self.sampler.latents(stop - start, self.seed, start), labels, start)

    def nearby(self, start: int, stop: int, labels: np.ndarray | None, epsilon: float) -> list[np.ndarray]:
        """Returns two such batches, of latents `epsilon` apart on the way to others; see `PerceptualPathLength`."""
        latents = self.sampler.latents(stop - start, self.seed, start)
        others = draw_latents(stop - start, self.latent_dim, stream((self.seed, 0), "others"), start)
        return [self._outputs(z, labels, start) for z in (latents, slerp(latents, others, epsilon))]

    def _outputs(self, latents, labels, start):
        condition = self.sampler.condition
        if condition is None:
            return self.sampler.outputs(latents, truncation=self.truncation)
        if not self._told_as_real or labels is None:
            # In turn, over all batches.
            labels = condition.in_turn(len(latents), start)
        return self.sampler.outputs(latents, truncation=self.truncation, **{self.sampler.told_by: labels})


class ArrayFakes:
    """Samples that are drawn already. Where fewer are wanted, give `images.sample(num)`: they may be sorted.

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


class RelabelledFakes:
    """Images as a translator between classes makes them, each of the class of the real one that it stands beside.

    Args:
        translator: A `tfgan_app.translator.Translator` that is told classes.
        images: The `tfgan_app.data.ImageSet` that is translated; which of them to which class goes by a fixed seed.
    """

    labelled, latent_dim = True, None

    def __init__(self, translator: Translator, images: ImageSet):
        self.translator = translator
        sources, _ = images.first(images.num_images)
        self._sources = sources[np.random.default_rng(0).permutation(len(sources))]

    def batch(self, start: int, stop: int, labels: np.ndarray | None) -> np.ndarray:
        """Returns the fakes of a range, as `SampledFakes.batch`."""
        return relabelled(self.translator, self._sources[start:stop], labels)


def relabelled(translator: Translator, images: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Returns images as they are in other classes, all in the network's range."""
    decoded = np.asarray(translator.source.decode(images))
    return np.asarray(translator.target.encode(translator.translate(decoded, labels=labels)))


Fakes: TypeAlias = SampledFakes | ArrayFakes | RelabelledFakes
