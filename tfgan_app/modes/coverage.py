"""How many modes of a distribution generated samples cover, and how evenly."""

import dataclasses

import numpy as np

__all__ = ["Coverage", "kl_to_uniform"]


@dataclasses.dataclass(frozen=True)
class Coverage:
    """What generated samples cover.

    Attributes:
        modes: Modes found.
        high_quality: Share of samples that lie near a mode, None where modes are classes, of which every sample has
            one.
        kl: Reverse KL divergence in nats, KL(generated || real), of how samples spread over equally likely modes.
    """

    modes: int
    high_quality: float | None
    kl: float


def kl_to_uniform(shares: np.ndarray) -> float:
    """Returns KL(shares || uniform) in nats, of an array of shares that sum to 1."""
    drawn = shares[shares > 0]
    return float(np.sum(drawn * np.log(drawn * len(shares))))
