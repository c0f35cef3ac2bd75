"""What metrics see of a batch: real samples and fakes, with what several of them want computed once."""

from collections.abc import Callable, Sequence
from typing import Protocol

import tensorflow as tf

from tfgan_app.modalities.modality import Array

__all__ = ["Observation"]


class Extractor(Protocol):
    """What computes outputs of samples by name: a `tfgan_app.metrics.FeatureExtractor`."""

    def outputs(self, images: Array) -> dict[str, tf.Tensor]: ...


class Observation:
    """Real samples and fakes.

    Args:
        real: Samples `(batch, ...)` in the network's range.
        fake: As many fakes.
        labels: Their classes `(batch,)`, the same for both; None where there are none.
        nearby: `nearby(epsilon)` returns two batches of fakes whose latents lie `epsilon` apart on a path; None where
            the fakes do not come from latents.
    """

    def __init__(
        self,
        real: Array,
        fake: Array,
        labels: Array | None = None,
        nearby: Callable[[float], Sequence[Array]] | None = None,
    ):
        self.real, self.fake, self.labels, self.nearby = real, fake, labels, nearby
        self._outputs: dict[tuple[str, int], dict[str, tf.Tensor]] = {}

    def real_outputs(self, extractor: Extractor) -> dict[str, tf.Tensor]:
        """Returns an extractor's outputs by name for the real samples."""
        return self._computed("real", self.real, extractor)

    def fake_outputs(self, extractor: Extractor) -> dict[str, tf.Tensor]:
        """Returns an extractor's outputs by name for the fakes."""
        return self._computed("fake", self.fake, extractor)

    def _computed(self, side, samples, extractor):
        key = side, id(extractor)
        if key not in self._outputs:
            self._outputs[key] = extractor.outputs(samples)
        return self._outputs[key]
