"""What metrics see of a batch: real samples and fakes, with what several of them want computed once."""

__all__ = ["Observation"]


class Observation:
    """Real samples and fakes.

    Args:
        real: Samples `(batch, ...)` in the network's range.
        fake: As many fakes.
        labels: Their classes `(batch,)`, the same for both; None where there are none.
        nearby: `nearby(epsilon)` returns two batches of fakes whose latents lie `epsilon` apart on a path; None where
            the fakes do not come from latents.
    """

    def __init__(self, real, fake, labels=None, nearby=None):
        self.real, self.fake, self.labels, self.nearby = real, fake, labels, nearby
        self._outputs = {}

    def real_outputs(self, extractor):
        """Returns an extractor's outputs by name for the real samples."""
        return self._computed("real", self.real, extractor)

    def fake_outputs(self, extractor):
        """Returns an extractor's outputs by name for the fakes."""
        return self._computed("fake", self.fake, extractor)

    def _computed(self, side, samples, extractor):
        key = side, id(extractor)
        if key not in self._outputs:
            self._outputs[key] = extractor.outputs(samples)
        return self._outputs[key]
