"""What metrics see of a batch: real samples and fakes, with what several of them want computed once."""

from collections.abc import Callable, Sequence
from typing import Optional, Protocol

import tensorflow as tf

from tfgan_app.modalities.modality import Array

__all__ = ["Observation"]


class Extractor(Protocol):
    """What computes outputs of samples by name: a `tfgan_app.metrics.FeatureExtractor`."""

    def outputs(self, images: Array) -> dict[str, tf.Tensor]: ...


class Observation:
    """Real samples and fakes; where samples are translated, targets and translations.

    Args:
        real: Samples `(batch, ...)` in the network's range: of pairs, the targets.
        fake: As many fakes; of pairs, each is to equal its target.
        labels: Their classes `(batch,)`, the same for both; None where there are none.
        nearby: `nearby(epsilon)` returns two batches of fakes whose latents lie `epsilon` apart on a path; None where
            the fakes do not come from latents.
        source: What the fakes were translated from, None where they were drawn.
        cycle: The fakes translated back, which are to equal `source`; None where there is no way back.
        back: The `Observation` of the other direction, whose fakes are translated from targets; None as `cycle`.
    """

    def __init__(
        self,
        real: Array,
        fake: Array,
        labels: Array | None = None,
        nearby: Callable[[float], Sequence[Array]] | None = None,
        source: Array | None = None,
        cycle: Array | None = None,
        back: Optional["Observation"] = None,
    ):
        self.real, self.fake, self.labels, self.nearby = real, fake, labels, nearby
        self.source, self.cycle, self.back = source, cycle, back
        self._real_outputs: dict[int, dict[str, tf.Tensor]] = {}
        self._fake_outputs: dict[int, dict[str, tf.Tensor]] = {}

    def real_outputs(self, extractor: Extractor) -> dict[str, tf.Tensor]:
        """Returns an extractor's outputs by name for the real samples."""
        return _computed(self._real_outputs, self.real, extractor)

    def fake_outputs(self, extractor: Extractor) -> dict[str, tf.Tensor]:
        """Returns an extractor's outputs by name for the fakes."""
        return _computed(self._fake_outputs, self.fake, extractor)

    def beside(self, fake: Array, back: Optional["Observation"] = None) -> "Observation":
        """Returns an observation of other fakes of the same sources; what is computed of the real ones is shared."""
        other = Observation(self.real, fake, self.labels, source=self.source, back=back)
        other._real_outputs = self._real_outputs
        return other


def _computed(known, samples, extractor):
    if id(extractor) not in known:
        known[id(extractor)] = extractor.outputs(samples)
    return known[id(extractor)]
