"""What GANs do about mode collapse, on networks that all of them share."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras

from tfgan_app.adversarial import AdversarialModel
from tfgan_app.losses import NonSaturating, Relativistic, Wasserstein
from tfgan_app.schedules import CosineRamp
from tfgan_app.terms import R1, R2, GradientPenalty

__all__ = ["METHODS", "Adam", "Method", "Setting", "relativistic"]

_STEPS_PER_EXECUTION = 100


@dataclasses.dataclass(frozen=True)
class Setting:
    """Networks and budget, which all methods share.

    Attributes:
        steps: Updates of the discriminator, each on a batch of fresh samples.
        batch_size: Samples in a batch.
        g_width: Units or base channels of the generator.
        d_width: Those of the discriminator.
        seeds_at_once: Seeds trained as one model, which compiles once. With 128 and 32 units, each of eight took 0.6 of
            the processor time of one trained alone; with the paper's 400 and 200 a gain was not shown.
    """

    steps: int
    batch_size: int
    g_width: int
    d_width: int
    seeds_at_once: int = 1


@dataclasses.dataclass(frozen=True)
class Adam:
    """Adam for both networks, and what samples are drawn with.

    Attributes:
        learning_rate: At the start.
        beta_1: Adam's.
        beta_2: Adam's.
        end: Share of the learning rate that is left at the end, to which it falls as half a cosine.
        ema_decay: Of the moving average of the generator, with which samples are drawn; 0: its last weights.
    """

    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    end: float = 1.0
    ema_decay: float = 0.0

    def build(self, steps: int, copies: int) -> keras.optimizers.Optimizer:
        """Returns an optimizer for `copies` networks in one."""
        rate = self.learning_rate
        rate = rate if self.end == 1.0 else CosineRamp(rate, self.end * rate, steps)
        # The loss is a mean over copies, so each one's gradient, which Adam divides by, is that much smaller.
        return keras.optimizers.Adam(rate, self.beta_1, self.beta_2, epsilon=1e-7 / copies)


@dataclasses.dataclass(frozen=True)
class Method:
    """A GAN's training.

    Attributes:
        loss: Returns the loss.
        penalties: Returns the discriminator's penalties.
        adam: An `Adam`.
        n_critic: Updates of the discriminator for each of the generator.
        packing: Samples that the discriminator judges at once.
        batch_norm: Whether networks normalise by the batch where the task's do.
    """

    loss: Callable[[], Any]
    penalties: Callable[[], list[Any]] = list
    adam: Adam = Adam()
    n_critic: int = 1
    packing: int = 1
    batch_norm: bool = True

    def compile(self, gan: AdversarialModel, setting: Setting, copies: int = 1) -> int:
        """Compiles a GAN, or `copies` of them in one; returns the steps that the budget allows."""
        # A budget counts updates of the discriminator, as each sees fresh data.
        steps = setting.steps // self.n_critic
        gan.compile(
            self.adam.build(steps, copies),
            self.adam.build(steps, copies),
            loss=self.loss(),
            terms=self.penalties(),
            n_critic=self.n_critic,
            ema_decay=self.adam.ema_decay,
            steps_per_execution=math.gcd(steps, _STEPS_PER_EXECUTION),
        )
        return steps

    def facts(self) -> dict[str, Any]:
        """Returns all that it is, as JSON takes it."""
        facts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        objects = {"loss": self.loss(), "penalties": self.penalties(), "adam": dataclasses.asdict(self.adam)}
        return facts | {name: keras.saving.serialize_keras_object(value) for name, value in objects.items()}


def _non_saturating():
    return NonSaturating(real_label=1.0)


def relativistic(gamma: float, interval: int = 1) -> Method:
    """Returns a `Method` of R3GAN's loss: relativistic pairs, with gamma / 2 times each of R1 and R2."""
    return Method(Relativistic, lambda: [R1(gamma / 2, interval), R2(gamma / 2, interval)], batch_norm=False)


METHODS = {
    "gan": Method(_non_saturating),
    "wgan_gp": Method(Wasserstein, lambda: [GradientPenalty()], n_critic=5, batch_norm=False),
    "pacgan2": Method(_non_saturating, packing=2),
    "pacgan4": Method(_non_saturating, packing=4),
    "r3gan": relativistic(0.1),
}
