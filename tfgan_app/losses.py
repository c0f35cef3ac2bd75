"""Adversarial losses on logits.

A loss has two methods, `discriminator(real_logits, fake_logits)` and `generator(fake_logits, real_logits=None)`.
Both take float32 logits of shape `(batch, ...)`, never probabilities, and return a scalar to be minimised.
Write your own by subclassing `AdversarialLoss`. `get` returns a loss by its name.
"""

from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.base.randomness import stream, uniform
from tfgan_app.base.replicas import mean_over_replicas

__all__ = [
    "AdversarialLoss",
    "Hinge",
    "LeastSquares",
    "Minimax",
    "NonSaturating",
    "Relativistic",
    "RelativisticAverage",
    "SmoothedHinge",
    "TopK",
    "Wasserstein",
]

# What people call the losses elsewhere, and what that is here.
_ELSEWHERE = {
    "binarycrossentropy": "NonSaturating(real_label=1.0)",
    "bce": "NonSaturating(real_label=1.0)",
    "crossentropy": "NonSaturating(real_label=1.0)",
    "meansquarederror": "LeastSquares()",
    "mse": "LeastSquares()",
    "wgan": "Wasserstein()",
}


class AdversarialLoss:
    """Base of the losses.

    `needs_real_logits` says that the generator's loss compares fake logits with real ones; the training step
    computes those only then.
    """

    needs_real_logits = False

    def at(self, step: tf.Tensor, seed: tf.Tensor | None = None) -> "AdversarialLoss":
        """Returns the loss of a step: itself here. One that changes with steps, or draws, returns what it comes to.

        Args:
            step: The generator's updates made so far, an int64 scalar.
            seed: Two int64, the source of what is drawn in the step; None in an evaluation, which draws nothing.
        """
        return self

    def discriminator(self, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        """Returns the scalar that the discriminator minimises."""
        raise NotImplementedError(f"{type(self).__name__} must define `discriminator`.")

    def generator(self, fake_logits: tf.Tensor, real_logits: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the scalar that the generator minimises."""
        raise NotImplementedError(f"{type(self).__name__} must define `generator`.")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AdversarialLoss":
        """Rebuilds the loss from `get_config`."""
        return cls(**config)


def _cross_entropy(logits, label):
    """Mean sigmoid cross-entropy of `logits` against one label in [0, 1]."""
    return tf.reduce_mean(tf.nn.softplus(logits) - label * logits)


@keras.saving.register_keras_serializable("tfgan_app")
class NonSaturating(AdversarialLoss):
    """Sigmoid cross-entropy; the generator maximises log D(G(z)).

    Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, section 3, with the one-sided label smoothing of
    Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section 3.4.

    Args:
        real_label: The discriminator's target for real images, in (0, 1]. 1 is the paper's loss. Fakes keep the
            label 0, and the generator aims at 1: smoothing either would teach D to keep the generator's errors.
    """

    def __init__(self, real_label: float = 0.9):
        if not 0 < real_label <= 1:
            raise ValueError(f"`real_label` must lie in (0, 1]. Received: real_label={real_label}")
        self.real_label = float(real_label)

    def discriminator(self, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return _cross_entropy(real_logits, self.real_label) + _cross_entropy(fake_logits, 0.0)

    def generator(self, fake_logits: tf.Tensor, real_logits: tf.Tensor | None = None) -> tf.Tensor:
        return _cross_entropy(fake_logits, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"real_label": self.real_label}


@keras.saving.register_keras_serializable("tfgan_app")
class Minimax(NonSaturating):
    """The zero-sum game: the generator minimises log(1 - D(G(z))).

    Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, equation 1. Its gradient vanishes where D rejects
    confidently; `NonSaturating` is what the paper trains with.
    """

    def generator(self, fake_logits: tf.Tensor, real_logits: tf.Tensor | None = None) -> tf.Tensor:
        return -_cross_entropy(fake_logits, 0.0)


@keras.saving.register_keras_serializable("tfgan_app")
class LeastSquares(AdversarialLoss):
    """Squared distance of logits to 1 (real) and 0 (fake).

    LSGAN, Mao et al. 2016, https://arxiv.org/abs/1611.04076, equation 9.
    """

    def discriminator(self, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return 0.5 * (tf.reduce_mean(tf.square(real_logits - 1.0)) + tf.reduce_mean(tf.square(fake_logits)))

    def generator(self, fake_logits: tf.Tensor, real_logits: tf.Tensor | None = None) -> tf.Tensor:
        return 0.5 * tf.reduce_mean(tf.square(fake_logits - 1.0))


@keras.saving.register_keras_serializable("tfgan_app")
class Hinge(AdversarialLoss):
    """Hinge loss with margin 1.

    Geometric GAN, Lim and Ye 2017, https://arxiv.org/abs/1705.02894; the loss of SNGAN, SAGAN and BigGAN.
    """

    def discriminator(self, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.relu(1.0 - real_logits)) + tf.reduce_mean(tf.nn.relu(1.0 + fake_logits))

    def generator(self, fake_logits: tf.Tensor, real_logits: tf.Tensor | None = None) -> tf.Tensor:
        return -tf.reduce_mean(fake_logits)


@keras.saving.register_keras_serializable("tfgan_app")
class SmoothedHinge(Hinge):
    """Hinge loss whose margins are drawn for each logit, uniformly from [1 - smoothing, 1]: random label smoothing.

    That of FastGAN's program (https://github.com/odegeasslbc/FastGAN-pytorch), for real samples and for fakes. An
    evaluation takes the mean margin.

    Args:
        smoothing: How far margins fall below 1 at most, in [0, 1].
    """

    def __init__(self, smoothing: float = 0.2):
        if not 0 <= smoothing <= 1:
            raise ValueError(f"`smoothing` must lie in [0, 1]. Received: smoothing={smoothing}")
        self.smoothing = float(smoothing)
        self._seed: tf.Tensor | None = None

    def at(self, step: tf.Tensor, seed: tf.Tensor | None = None) -> "SmoothedHinge":
        drawn = SmoothedHinge(self.smoothing)
        drawn._seed = seed
        return drawn

    def discriminator(self, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        real_margins, fake_margins = self._margins(real_logits, "real"), self._margins(fake_logits, "fake")
        return tf.reduce_mean(tf.nn.relu(real_margins - real_logits)) + tf.reduce_mean(
            tf.nn.relu(fake_margins + fake_logits)
        )

    def _margins(self, logits, side):
        if self._seed is None:
            return 1.0 - 0.5 * self.smoothing
        draws = uniform((tf.shape(logits)[0], *logits.shape[1:]), stream(self._seed, f"margins of {side}"))
        return 1.0 - self.smoothing * draws

    def get_config(self) -> dict[str, Any]:
        return {"smoothing": self.smoothing}


@keras.saving.register_keras_serializable("tfgan_app")
class TopK(AdversarialLoss):
    """Another loss, in which the generator learns from those fakes of a batch alone that D takes for the most real.

    Top-k training, Sinha et al. 2020, https://arxiv.org/abs/2002.06224, section 3: the gradients of the others may lead
    away from the data. k begins with the batch and falls by a factor every so many steps, down to a share of it. A
    fake of several logits goes by their mean. Each of several replicas takes the best of its own part of the batch.

    Args:
        loss: The loss, an object or a name.
        least: The share of the batch that is left in the end, the paper's nu, in (0, 1].
        decay: The paper's gamma: the factor on k, in (0, 1].
        every: Steps from one factor to the next: the paper's is an epoch, of a small data set a pseudo-epoch.

    Raises:
        UsageError: For another loss.
        ValueError: For a number out of range.
    """

    def __init__(
        self, loss: AdversarialLoss | str = "NonSaturating", least: float = 0.5, decay: float = 0.99, every: int = 1000
    ):
        for name, value in (("least", least), ("decay", decay)):
            if not 0 < value <= 1:
                raise ValueError(f"`{name}` must lie in (0, 1]. Received: {name}={value}")
        if every != int(every) or every < 1:
            raise ValueError(f"`every` must be an integer of at least 1. Received: every={every}")
        self.loss = get(loss)
        self.least, self.decay, self.every = float(least), float(decay), int(every)
        self.needs_real_logits = self.loss.needs_real_logits
        self._share: float | tf.Tensor = 1.0

    def at(self, step: tf.Tensor, seed: tf.Tensor | None = None) -> "TopK":
        now = TopK(in_step(self.loss, step, seed), self.least, self.decay, self.every)
        # An evaluation is of all fakes.
        if seed is not None:
            times = tf.cast(step // self.every, tf.float32)
            now._share = tf.maximum(self.least, self.decay**times)
        return now

    def discriminator(self, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return self.loss.discriminator(real_logits, fake_logits)

    def generator(self, fake_logits: tf.Tensor, real_logits: tf.Tensor | None = None) -> tf.Tensor:
        scores = tf.reduce_mean(tf.reshape(fake_logits, (tf.shape(fake_logits)[0], -1)), axis=1)
        size = tf.cast(tf.size(scores), tf.float32)
        # Rounded to the nearest: what float32 makes of a whole number may fall below it.
        k = tf.maximum(tf.cast(tf.round(self._share * size), tf.int32), 1)
        _, best = tf.math.top_k(tf.stop_gradient(scores), k)
        chosen = [None if logits is None else tf.gather(logits, best) for logits in (fake_logits, real_logits)]
        return self.loss.generator(*chosen)

    def get_config(self) -> dict[str, Any]:
        loss = keras.saving.serialize_keras_object(self.loss)
        return {"loss": loss, "least": self.least, "decay": self.decay, "every": self.every}

    def describe(self) -> dict[str, Any]:
        """Returns what it was made with, for people."""
        return {**self.get_config(), "loss": type(self.loss).__name__}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TopK":
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})


@keras.saving.register_keras_serializable("tfgan_app")
class Wasserstein(AdversarialLoss):
    """Difference of mean critic values, an estimate of -W1 for a 1-Lipschitz critic.

    WGAN, Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875, equation 2. The Lipschitz bound is the
    networks' business: weight clipping, spectral normalisation or a gradient penalty.
    """

    def discriminator(self, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(fake_logits) - tf.reduce_mean(real_logits)

    def generator(self, fake_logits: tf.Tensor, real_logits: tf.Tensor | None = None) -> tf.Tensor:
        return -tf.reduce_mean(fake_logits)


@keras.saving.register_keras_serializable("tfgan_app")
class Relativistic(AdversarialLoss):
    """Relativistic pairing: is this real image more realistic than that fake one?

    RSGAN, Jolicoeur-Martineau 2018, https://arxiv.org/abs/1807.00734, equations 5 and 6, which R3GAN
    (https://arxiv.org/abs/2501.05441) builds on. Real and fake batches must have equal size.
    """

    needs_real_logits = True

    def discriminator(self, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.softplus(fake_logits - real_logits))

    def generator(self, fake_logits: tf.Tensor, real_logits: tf.Tensor | None = None) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.softplus(real_logits - fake_logits))


@keras.saving.register_keras_serializable("tfgan_app")
class RelativisticAverage(AdversarialLoss):
    """Is a real image more realistic than fakes are on average, and a fake less so than real images?

    RaSGAN, Jolicoeur-Martineau 2018, https://arxiv.org/abs/1807.00734, section 4.2, which ESRGAN
    (https://arxiv.org/abs/1809.00219, equations 1 to 3) builds on. The mean of the two questions' losses, as in
    ESRGAN's program; the papers have their sum. Averages are over the whole batch, that of all replicas.
    """

    needs_real_logits = True

    def discriminator(self, real_logits: tf.Tensor, fake_logits: tf.Tensor) -> tf.Tensor:
        return self._compared(real_logits, fake_logits)

    def generator(self, fake_logits: tf.Tensor, real_logits: tf.Tensor | None = None) -> tf.Tensor:
        return self._compared(fake_logits, real_logits)

    def _compared(self, upper, lower):
        """Returns the loss of who wants the upper logits above the mean of the lower ones, and vice versa."""
        upper_mean, lower_mean = (mean_over_replicas(tf.reduce_mean(logits)) for logits in (upper, lower))
        above, below = tf.nn.softplus(lower_mean - upper), tf.nn.softplus(lower - upper_mean)
        return 0.5 * (tf.reduce_mean(above) + tf.reduce_mean(below))


def in_step(loss: AdversarialLoss, step: tf.Tensor, seed: tf.Tensor | None) -> AdversarialLoss:
    """Returns `loss.at(step, seed)`; an object that merely has a loss's two methods is the same in all steps."""
    at = getattr(loss, "at", None)
    return loss if at is None else at(step, seed)


def get(identifier: AdversarialLoss | str) -> AdversarialLoss:
    """Returns a loss: one given as such, or by its name in any case, with underscores or without.

    Args:
        identifier: An object with the methods of an `AdversarialLoss`, or a name: `"hinge"`, `"NonSaturating"`.

    Raises:
        UsageError: For anything else, such as a loss of Keras, which has labels and predictions.
    """
    names = {name.lower(): name for name in __all__ if name != "AdversarialLoss"}
    if isinstance(identifier, str):
        key = identifier.lower().replace("_", "")
        if key in names:
            return globals()[names[key]]()
    elif callable(getattr(identifier, "discriminator", None)) and callable(getattr(identifier, "generator", None)):
        return identifier
    else:
        key = getattr(identifier, "__name__", type(identifier).__name__).lower().replace("_", "")
    meant = f" Write `loss=tfgan_app.losses.{_ELSEWHERE[key]}`." if key in _ELSEWHERE else ""
    raise UsageError(
        f"`loss` must be a tfgan_app.losses.AdversarialLoss, which has a part for each player, or the name of one of "
        f"{', '.join(names.values())}.{meant} Received: loss={identifier!r}"
    )
