"""Terms: what a player's loss holds beside the adversarial loss, on any network pair.

A term is called with a `Play`, the record of a step, and returns a float32 scalar, to which the step gives `weight`.
Those that take gradients of gradients have a tape of their own and are computed in float32 under every precision, as
squared gradients leave float16's range.

Write your own by subclassing `Term`:

```python
class L1(Term):
    name, player = "l1", "generator"

    def __call__(self, play):
        return tf.reduce_mean(tf.abs(play.fake - play.real))
```
"""

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.randomness import stream, uniform
from tfgan_app.schedules import Number

__all__ = ["DRAGAN", "R1", "R2", "GradientPenalty", "Play", "Term", "ZeroCentered"]


@dataclasses.dataclass
class Play:
    """The record of a step for one of the two players.

    Samples are any tree of tensors `(batch, ...)`: an image, a pair, an image with its code.

    Attributes:
        real: Real samples as the discriminator judges them. Constant in the discriminator's update; in the generator's,
            gradients reach what the generator made of them, such as an encoder's codes.
        fake: The fakes, likewise.
        condition: What both networks are conditioned on, a tuple.
        inputs: What the generator drew from, a list.
        outputs: All that the generator returned.
        generator: The generator.
        discriminate: Returns the discriminator's float32 outputs by name for `(samples, condition)`, augmented as in
            the step.
        training: Whether this is a step rather than an evaluation.
        seed: An int64 tensor of two elements, the term's own source of randomness.
        target: What the outputs should be: the target of a translation, or what is real.
    """

    real: Any
    fake: Any
    condition: tuple
    inputs: list
    outputs: Any
    generator: keras.Model
    discriminate: Callable[[Any, tuple], dict[str, Any]]
    training: bool = True
    seed: Any = None
    target: Any = None
    # The discriminator's outputs so far, by side. No `cached_property`: Python before 3.12 computes one under a lock,
    # at which replicas that wait for each other meet.
    _known: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def judge(self, samples: Any) -> Any:
        """Returns the discriminator's logits for samples under the step's condition."""
        return self.discriminate(samples, self.condition)["logits"]

    @property
    def real_outputs(self) -> dict[str, Any]:
        """The discriminator's outputs by name for the real samples, computed when first asked for."""
        return self._outputs_of("real", self.real)

    @property
    def fake_outputs(self) -> dict[str, Any]:
        """Those for the fakes."""
        return self._outputs_of("fake", self.fake)

    def know(self, real_outputs: dict[str, Any], fake_outputs: dict[str, Any]) -> None:
        """Takes outputs that are computed already."""
        self._known.update(real=real_outputs, fake=fake_outputs)

    def _outputs_of(self, side: str, samples: Any) -> dict[str, Any]:
        if side not in self._known:
            self._known[side] = self.discriminate(samples, self.condition)
        return self._known[side]


class Term:
    """Base of the terms.

    Args:
        weight: The factor in the loss: a number, or a `keras.optimizers.schedules.LearningRateSchedule` of the step.
        interval: Updates from one evaluation to the next, at least 1; above 1 for terms with a tape of their own. The
            term is multiplied by it, so its mean strength stays, and is a step of the optimizer by itself, after the
            loss's: "lazy regularisation", Karras et al. 2019, https://arxiv.org/abs/1912.04958, section 3.1. An
            optimizer takes these steps at its full learning rate. `StyleGAN2` lowers its own optimizers' rates for
            them, as the paper does; with others the choice is yours.

    Attributes:
        name: The term's name in logs.
        player: Whose loss it is part of, "discriminator" or "generator".
        own_tape: Whether it is computed apart from the adversarial loss, and in float32. Then it differentiates what it
            computes itself by `play.judge` or `play.generator`; else the step's own outputs, of either network.

    Raises:
        ValueError: For a negative weight, or an interval that is no integer of at least 1, or not possible.
    """

    name = "term"
    player = "discriminator"
    own_tape = False

    def __init__(self, weight: Number = 1.0, interval: int = 1):
        if not callable(weight) and not weight >= 0:
            raise ValueError(f"`weight` must be at least 0. Received: weight={weight}")
        if interval != int(interval) or interval < 1:
            raise ValueError(f"`interval` must be an integer of at least 1. Received: interval={interval}")
        if interval > 1 and not self.own_tape:
            raise ValueError(
                f"`interval` must be 1: {type(self).__name__} is part of every update. Received: interval={interval}"
            )
        self.weight = weight
        self.interval = int(interval)

    def __call__(self, play: Play) -> tf.Tensor:
        """Returns the term's value for a `Play`, a float32 scalar."""
        raise NotImplementedError(f"{type(self).__name__} must define `__call__`.")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        weight = keras.saving.serialize_keras_object(self.weight) if callable(self.weight) else self.weight
        return {"weight": weight, "interval": self.interval}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Term":
        """Rebuilds the term from `get_config`."""
        return cls(**{**config, "weight": keras.saving.deserialize_keras_object(config["weight"])})


class _GradientTerm(Term):
    """Base of the discriminator's gradient penalties. Gradients are taken per sample, and their squares summed.

    A sample's gradient is that of the sum of all logits. It is that of its own logit, as the papers have it, where the
    discriminator judges each sample by itself. Batch normalisation mixes a batch, so there it is not: the norms then
    differ by up to a quarter (measured in trained networks), and the papers' own discriminators have none.
    """

    own_tape = True


@keras.saving.register_keras_serializable("tfgan_app")
class GradientPenalty(_GradientTerm):
    """E[(|grad D(x)| - 1)^2] at points x drawn uniformly between a real sample and a fake.

    WGAN-GP, Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, equation 3 and Algorithm 1.
    """

    name = "gradient_penalty"

    def __init__(self, weight: Number = 10.0, interval: int = 1):
        super().__init__(weight, interval)

    def __call__(self, play: Play) -> tf.Tensor:
        return tf.reduce_mean(tf.square(_sqrt(_squared_gradient(play, _between(play, play.fake))) - 1.0))


@keras.saving.register_keras_serializable("tfgan_app")
class DRAGAN(GradientPenalty):
    """E[(|grad D(x)| - 1)^2] at points x drawn uniformly between a real sample and a noisy copy of it.

    Kodali et al. 2017, https://arxiv.org/abs/1705.07215, with the noise of the authors' program
    (https://github.com/kodalinaveen3/DRAGAN): u * std * 0.5, std that of the batch and u uniform in [0, 1) for each
    element. Their discriminator has no batch normalisation. Where there is some, as in DCGAN's, what is measured is
    the gradient of all the batch's logits together.
    """

    name = "dragan"

    def __call__(self, play: Play) -> tf.Tensor:
        def noisy(real):
            noise = uniform(tf.shape(real), stream(play.seed, "noise"))
            return real + 0.5 * tf.math.reduce_std(real) * noise

        points = _between(play, keras.tree.map_structure(noisy, play.real))
        return tf.reduce_mean(tf.square(_sqrt(_squared_gradient(play, points)) - 1.0))


@keras.saving.register_keras_serializable("tfgan_app")
class R1(_GradientTerm):
    """E[|grad D(x)|^2] at real samples; the papers' gamma is twice the weight.

    Mescheder et al. 2018, https://arxiv.org/abs/1801.04406, equation 9.
    """

    name = "r1"

    def __init__(self, weight: Number = 5.0, interval: int = 1):
        super().__init__(weight, interval)

    def __call__(self, play: Play) -> tf.Tensor:
        return tf.reduce_mean(_squared_gradient(play, play.real))


@keras.saving.register_keras_serializable("tfgan_app")
class R2(R1):
    """E[|grad D(x)|^2] at fakes. Mescheder et al. 2018, https://arxiv.org/abs/1801.04406, equation 10."""

    name = "r2"

    def __call__(self, play: Play) -> tf.Tensor:
        return tf.reduce_mean(_squared_gradient(play, play.fake))


@keras.saving.register_keras_serializable("tfgan_app")
class ZeroCentered(GradientPenalty):
    """E[|grad D(x)|^2] at points drawn uniformly between a real sample and a fake.

    GAN-0-GP, Thanh-Tung et al. 2019, https://arxiv.org/abs/1902.03984, section 5.
    """

    name = "zero_centered"

    def __call__(self, play: Play) -> tf.Tensor:
        return tf.reduce_mean(_squared_gradient(play, _between(play, play.fake)))


def _between(play, others):
    """Returns samples drawn uniformly between the real ones and others, one number for all of a sample."""
    batch_size = tf.shape(keras.tree.flatten(play.real)[0])[0]
    mix = uniform((batch_size,), play.seed)

    def between(real, other):
        return real + tf.reshape(mix, (batch_size, *[1] * (real.shape.rank - 1))) * (other - real)

    return keras.tree.map_structure(between, play.real, others)


def _squared_gradient(play, samples):
    """Returns |d D(x) / dx|^2 of each sample, `(batch,)`."""
    leaves = keras.tree.flatten(samples)
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        # Each logit depends on its own sample, so the gradient of the sum holds every sample's. (Layers that mix a
        # batch, such as the minibatch standard deviation, add their cross terms, as they do in the papers' programs.)
        logits = play.judge(keras.tree.pack_sequence_as(samples, leaves))
        total = functools.reduce(operator.add, map(tf.reduce_sum, keras.tree.flatten(logits)))
    gradients = tape.gradient(total, leaves)
    squares = [tf.reduce_sum(tf.square(x), axis=tuple(range(1, x.shape.rank))) for x in gradients]
    return functools.reduce(operator.add, squares)


def _sqrt(x):
    """Returns the square root, with gradient 0 instead of infinity at 0."""
    safe = tf.where(x > 0, x, 1.0)
    return tf.where(x > 0, tf.sqrt(safe), 0.0)
