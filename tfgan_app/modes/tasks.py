"""The data sets, and on which networks and budget GANs are compared there."""

import dataclasses
import itertools
import math
from typing import TypeAlias

from tfgan_app.modes.digits import StackedDigits
from tfgan_app.modes.methods import METHODS, Adam, Method, Setting, relativistic
from tfgan_app.modes.mixtures import Mixture

__all__ = ["CANDIDATES", "SETTINGS", "TASKS", "Task", "methods"]

Task: TypeAlias = Mixture | StackedDigits

TASKS: dict[str, Task] = {
    "ring": Mixture(tuple((math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8)), 0.01),
    "grid": Mixture(tuple(itertools.product((-4, -2, 0, 2, 4), repeat=2)), 0.05),
    "stacked_mnist": StackedDigits(),
}

# `paper` is PacGAN's: 400 epochs of 100 000 points, and 50 of 128 000 images. `short` fits two cores.
_PLANE = {
    "paper": Setting(400_000, 100, 400, 200),
    "short": Setting(20_000, 100, 64, 32, seeds_at_once=10),
}
SETTINGS = {
    "ring": _PLANE,
    "grid": _PLANE,
    "stacked_mnist": {"paper": Setting(100_000, 64, 64, 64), "short": Setting(25_000, 64, 32, 32)},
}

_PUBLISHED = {"plane": Adam(1e-4, 0.8), "digits": Adam(2e-4, 0.5)}
_AVERAGED = {"end": 0.1, "ema_decay": 0.999}
# benchmarks/modes_tuning.py chooses from these, on seeds of its own, what each method has in the setting `short`.
CANDIDATES = {
    "plane": {
        "constant": Adam(1e-3, 0.8),
        "slow": Adam(1e-3, 0.0, 0.9, **_AVERAGED),
        "fast": Adam(3e-3, 0.0, 0.9, **_AVERAGED),
    },
    "digits": {"constant": _PUBLISHED["digits"], "slow": Adam(1e-3, 0.0, 0.9, **_AVERAGED)},
}
_CHOSEN = {
    "plane": {"gan": "slow", "wgan_gp": "fast", "pacgan2": "slow", "r3gan": "fast", "best": "fast"},
    "digits": {"gan": "constant", "wgan_gp": "slow", "pacgan2": "constant", "r3gan": "slow", "best": "slow"},
}
_BEST = {"plane": relativistic(0.05), "digits": relativistic(1.0, interval=4)}


def methods(task: str, setting: str) -> dict[str, Method]:
    """Returns by name the methods, each with its optimizer for a task and setting.

    `best` is the best setting known for the task, and has its own optimizer in every one.
    """
    kind = "digits" if task == "stacked_mnist" else "plane"
    found = {**METHODS, "best": _BEST[kind]}
    adams = {name: CANDIDATES[kind][chosen] for name, chosen in _CHOSEN[kind].items()}
    adams["pacgan4"] = adams["pacgan2"]
    if setting == "paper":
        adams |= dict.fromkeys(METHODS, _PUBLISHED[kind])
    return {name: dataclasses.replace(method, adam=adams[name]) for name, method in found.items()}
