"""The data sets, and on which networks and budget GANs are compared there."""

import itertools
import math

from tfgan_app.modes.digits import StackedDigits
from tfgan_app.modes.methods import METHODS, Method, Setting, relativistic
from tfgan_app.modes.mixtures import Mixture

__all__ = ["SETTINGS", "TASKS", "methods"]

TASKS: dict[str, Mixture | StackedDigits] = {
    "ring": Mixture(tuple((math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8)), 0.01),
    "grid": Mixture(tuple(itertools.product((-4, -2, 0, 2, 4), repeat=2)), 0.05),
    "stacked_mnist": StackedDigits(),
}

# `paper` is PacGAN's: 400 epochs of 100 000 points, and 50 of 128 000 images. `short` fits two cores.
_PLANE = {
    "paper": Setting(400_000, 100, 400, 200, learning_rate=1e-4, beta_1=0.8),
    "short": Setting(10_000, 100, 64, 32, learning_rate=1e-3, beta_1=0.8, seeds_at_once=10),
}
SETTINGS = {
    "ring": _PLANE,
    "grid": _PLANE,
    "stacked_mnist": {
        "paper": Setting(100_000, 64, 64, 64, learning_rate=2e-4, beta_1=0.5),
        "short": Setting(5000, 64, 16, 16, learning_rate=2e-4, beta_1=0.5),
    },
}

_BEST_IN_PLANE = Method(
    lambda: relativistic(0.1),
    batch_norm=False,
    adam={"learning_rate": 3e-3, "beta_1": 0.0, "beta_2": 0.99},
    decay=True,
    average=True,
)
_BEST_OF_DIGITS = Method(
    lambda: relativistic(1.0),
    batch_norm=False,
    adam={"learning_rate": 1e-3},
    decay=True,
    average=True,
)
_BEST = {"ring": _BEST_IN_PLANE, "grid": _BEST_IN_PLANE, "stacked_mnist": _BEST_OF_DIGITS}


def methods(task):
    """Returns the methods by name: those of all tasks, and `best`, the best setting known for this one."""
    return {**METHODS, "best": _BEST[task]}
