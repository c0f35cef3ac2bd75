"""What GANs do about mode collapse, on networks that all of them share."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras

from tfgan_app.losses import NonSaturating, Relativistic, Wasserstein
from tfgan_app.penalties import R1, R2, GradientPenalty
from tfgan_app.schedules import CosineRamp

__all__ = ["METHODS", "Method", "Setting", "relativistic"]

_STEPS_PER_EXECUTION = 100


@dataclasses.dataclass(frozen=True)
class Setting:
    """Networks and budget, which all methods share.

    Attributes:
        steps: Updates of the discriminator, each on a batch of fresh samples.
        batch_size: Samples in a batch.
        g_width: Units or base channels of the generator.
        d_width: Those of the discriminator.
        learning_rate: Adam's, for both networks, where the method has none of its own.
        beta_1: Adam's, likewise.
        seeds_at_once: Seeds trained as one model. Of eight with 128 and 32 units, each took 0.6 of the processor time
            of one trained alone, and all compile once; with the paper's 400 and 200 a gain was not shown.
    """

    steps: int
    batch_size: int
    g_width: int
    d_width: int
    learning_rate: float
    beta_1: float
    seeds_at_once: int = 1


@dataclasses.dataclass(frozen=True)
class Method:
    """A GAN's training.

    Attributes:
        arguments: Returns arguments of `compile`, made anew for each GAN.
        packing: Samples that the discriminator judges at once.
        batch_norm: Whether networks normalise by the batch where the task's do.
        adam: Arguments of Adam that differ from the setting's.
        decay: Whether the learning rate falls to 0 as half a cosine.
        average: Whether samples come from the moving average of the generator.
    """

    arguments: Callable[[], dict[str, Any]]
    packing: int = 1
    batch_norm: bool = True
    adam: dict[str, float] = dataclasses.field(default_factory=dict)
    decay: bool = False
    average: bool = False

    def compile(self, gan, setting, copies=1):
        """Compiles a GAN, or `copies` of them in one; returns the steps that the budget allows."""
        arguments = self.arguments()
        # Budgets count what is seen of the data, and so updates of the discriminator.
        steps = setting.steps // arguments.get("n_critic", 1)
        for name in ("g_optimizer", "d_optimizer"):
            # Of a mean over copies, each one's gradient is that much smaller, and Adam divides by it.
            adam = {"learning_rate": setting.learning_rate, "beta_1": setting.beta_1, "epsilon": 1e-7 / copies}
            adam.update(self.adam)
            if self.decay:
                adam["learning_rate"] = CosineRamp(adam["learning_rate"], 0.0, steps)
            arguments[name] = keras.optimizers.Adam(**adam)
        gan.compile(**arguments, steps_per_execution=math.gcd(steps, _STEPS_PER_EXECUTION))
        return steps


def relativistic(gamma, ema_decay=0.999):
    """Returns the arguments of R3GAN's loss: relativistic pairs, with gamma / 2 times each of R1 and R2."""
    penalties = [R1(gamma / 2), R2(gamma / 2)]
    return {"loss": Relativistic(), "penalties": penalties, "ema_decay": ema_decay}


METHODS = {
    "gan": Method(lambda: {"loss": NonSaturating(real_label=1.0)}),
    "wgan_gp": Method(
        lambda: {"loss": Wasserstein(), "penalties": [GradientPenalty()], "n_critic": 5}, batch_norm=False
    ),
    "pacgan2": Method(lambda: {"loss": NonSaturating(real_label=1.0)}, packing=2),
    "pacgan4": Method(lambda: {"loss": NonSaturating(real_label=1.0)}, packing=4),
    "r3gan": Method(lambda: relativistic(0.1), batch_norm=False, average=True),
}
