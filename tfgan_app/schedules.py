"""Values that change with the step, and what takes one in place of a number."""

import math
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from tfgan_app.augment import AdaptiveAugment

__all__ = ["CosineRamp", "LinearDecay", "Number", "ScheduledAugment", "has_schedule", "value_at"]

# A setting that may change: a number, or a schedule of the step.
Number: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule


def value_at(setting: Number, step: int | tf.Tensor) -> tf.Tensor:
    """Returns a number, or a schedule's value at a step, as float32."""
    return tf.cast(setting(step) if callable(setting) else setting, tf.float32)


def has_schedule(optimizer: keras.optimizers.Optimizer) -> bool:
    """Returns whether an optimizer's learning rate follows a schedule."""
    unscaled = getattr(optimizer, "inner_optimizer", optimizer)
    return not isinstance(unscaled.get_config()["learning_rate"], float)


@keras.saving.register_keras_serializable("tfgan_app")
class CosineRamp(keras.optimizers.schedules.LearningRateSchedule):
    """Half a cosine wave from `start` at step 0 to `end` at step `steps`, and `end` from there.

    start + (end - start) * (1 - cos(pi * min(step / steps, 1))) / 2. Serves as a learning rate, and wherever else a
    schedule is taken: the weight of a penalty, `ema_half_life`, the `beta_2` of `Adam`.

    Args:
        start: The first value.
        end: The last value.
        steps: Length of the way between them, more than 0.

    Raises:
        ValueError: If `steps` is not positive.

    Example:
        >>> float(CosineRamp(1.0, 0.1, 1000)(500))
        0.55
    """

    def __init__(self, start: float, end: float, steps: int):
        if not steps > 0:
            raise ValueError(f"`steps` must be more than 0. Received: steps={steps}")
        self.start = float(start)
        self.end = float(end)
        self.steps = steps

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        """Returns the value at a step, a float32 scalar."""
        done = tf.minimum(tf.cast(step, tf.float32) / float(self.steps), 1.0)
        return self.start + (self.end - self.start) * (1.0 - tf.cos(math.pi * done)) / 2.0

    def get_config(self) -> dict[str, Any]:
        return {"start": self.start, "end": self.end, "steps": self.steps}


@keras.saving.register_keras_serializable("tfgan_app")
class LinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """`start` up to step `begin`, from there linearly to 0 at step `end`, and 0 for good.

    Args:
        start: The first value.
        begin: The step from which it falls, at least 0.
        end: The step at which it is 0, more than `begin`.

    Raises:
        ValueError: For other steps.

    Example:
        >>> [float(LinearDecay(1.0, 2, 4)(step)) for step in range(5)]
        [1.0, 1.0, 1.0, 0.5, 0.0]
    """

    def __init__(self, start: float, begin: int, end: int):
        if not 0 <= begin < end:
            raise ValueError(f"`begin` must lie from 0 to below `end`. Received: begin={begin}, end={end}")
        self.start = float(start)
        self.begin = begin
        self.end = end

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        """Returns the value at a step, a float32 scalar."""
        left = (float(self.end) - tf.cast(step, tf.float32)) / float(self.end - self.begin)
        return self.start * tf.clip_by_value(left, 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"start": self.start, "begin": self.begin, "end": self.end}


@keras.saving.register_keras_serializable("tfgan_app")
class ScheduledAugment(AdaptiveAugment):
    """The transforms of `AdaptiveAugment` with a probability that follows a schedule, not the discriminator.

    For losses without the sign that the heuristic goes by: a relativistic discriminator's logits have no zero.

    Args:
        schedule: The probability p, a schedule of the discriminator's updates made so far with values in [0, 1].
        **kwargs: `blit`, `geometric`, `color`, `cutout`, `seed` and `name`, as in `AdaptiveAugment`.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, **kwargs: Any):
        super().__init__(initial_p=float(schedule(0)), **kwargs)
        self.schedule = schedule

    def update(self, real_logits: tf.Tensor) -> None:
        self._updates.assign_add(1.0)
        self.p.assign(self.schedule(self._updates))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("target", "speed", "interval", "initial_p"):
            del config[name]
        return {**config, "schedule": keras.saving.serialize_keras_object(self.schedule)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ScheduledAugment":
        return cls(**{**config, "schedule": keras.saving.deserialize_keras_object(config["schedule"])})
