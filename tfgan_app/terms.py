"""Terms: what a player's loss holds beside the adversarial loss, on any network pair.

A term is called with a `Play`, the record of a step, and returns a float32 scalar, to which the step gives `weight`.
Those that take gradients of gradients have a tape of their own and are computed in float32 under every precision, as
squared gradients leave float16's range. R1 and R2 in every step are part of the discriminator's own pass instead, where
that judges each sample by itself and computes in float32 or bfloat16: a third of the work is done already then.

Write your own by subclassing `Term`:

```python
class Huber(Term):
    name, player = "huber", "generator"

    def __call__(self, play):
        return tf.reduce_mean(keras.losses.huber(play.target, play.outputs))
```
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.base.networks import images_of
from tfgan_app.base.randomness import stream, uniform
from tfgan_app.base.replicas import mean_over_replicas
from tfgan_app.features import NetworkLike, layer_outputs
from tfgan_app.schedules import Number

__all__ = [
    "DRAGAN",
    "L1",
    "L2",
    "R1",
    "R2",
    "Cycle",
    "FeatureMatching",
    "GradientPenalty",
    "Identity",
    "LeCam",
    "Perceptual",
    "Play",
    "Term",
    "TotalVariation",
    "ZeroCentered",
]


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
        seed: An int64 tensor of two elements, a source of randomness: the step's, and a term's own where it has a tape
            of its own. None in an evaluation.
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
    # Its logits' gradients at the samples, likewise.
    _gradients: dict[str, Any] = dataclasses.field(default_factory=dict, init=False, repr=False)

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

    def know(self, real_outputs: dict[str, Any], fake_outputs: dict[str, Any], gradients: Sequence[Any] = ()) -> None:
        """Takes outputs that are computed already, and the logits' gradients at both sides' samples if they are."""
        self._known.update(real=real_outputs, fake=fake_outputs)
        self._gradients.update(zip(("real", "fake"), gradients, strict=False))

    def squared_gradient(self, side: Literal["real", "fake"]) -> tf.Tensor:
        """Returns |d D(x) / dx|^2 of each sample of a side, `(batch,)`."""
        if side in self._gradients:
            return _squared_norms(self._gradients[side])
        return _squared_gradient(self, getattr(self, side))

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
        in_pass: Of one with a tape of its own, whether it needs no more than `play.squared_gradient`, which the step's
            own pass can give.
        state: A layer whose variables the term changes from step to step, which are saved with the GAN; None for none.

    Raises:
        ValueError: For a negative weight, or an interval that is no integer of at least 1, or not possible.
    """

    name = "term"
    player = "discriminator"
    own_tape = False
    in_pass = False
    state: keras.layers.Layer | None = None

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

    def prepare(self) -> None:
        """Loads what the term needs; called before training and evaluation, outside of the step. Here nothing."""

    def __call__(self, play: Play) -> tf.Tensor:
        """Returns the term's value for a `Play`, a float32 scalar."""
        raise NotImplementedError(f"{type(self).__name__} must define `__call__`.")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        weight = keras.saving.serialize_keras_object(self.weight) if callable(self.weight) else self.weight
        return {"weight": weight, "interval": self.interval}

    def describe(self) -> dict[str, Any]:
        """Returns what it was made with, for people."""
        return self.get_config()

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

    name, in_pass = "r1", True

    def __init__(self, weight: Number = 5.0, interval: int = 1):
        super().__init__(weight, interval)

    def __call__(self, play: Play) -> tf.Tensor:
        return tf.reduce_mean(play.squared_gradient("real"))


@keras.saving.register_keras_serializable("tfgan_app")
class R2(R1):
    """E[|grad D(x)|^2] at fakes. Mescheder et al. 2018, https://arxiv.org/abs/1801.04406, equation 10."""

    name = "r2"

    def __call__(self, play: Play) -> tf.Tensor:
        return tf.reduce_mean(play.squared_gradient("fake"))


@keras.saving.register_keras_serializable("tfgan_app")
class ZeroCentered(GradientPenalty):
    """E[|grad D(x)|^2] at points drawn uniformly between a real sample and a fake.

    GAN-0-GP, Thanh-Tung et al. 2019, https://arxiv.org/abs/1902.03984, section 5.
    """

    name = "zero_centered"

    def __call__(self, play: Play) -> tf.Tensor:
        return tf.reduce_mean(_squared_gradient(play, _between(play, play.fake)))


@keras.saving.register_keras_serializable("tfgan_app")
class LeCam(Term):
    """E[(D(x) - a_F)^2] + E[(D(G(z)) - a_R)^2]: logits stay near the average of the other side's, for few images.

    Tseng et al. 2021, https://arxiv.org/abs/2104.03310: a_R and a_F are moving averages of the logits of real samples
    and of fakes. The authors' program (https://github.com/google/lecam-gan) charges D(x) only above a_F and D(G(z))
    only below a_R, where the paper's equation charges both ways; that is `one_sided`.

    Averages are plain means of the updates so far until these outnumber 1 / (1 - decay), so that they begin with what D
    says, and over the batch of all replicas. An evaluation leaves them as they are.

    Args:
        weight: The factor in the loss. The paper's depends on the size of logits: from 1e-4 to 0.3.
        decay: Weight of the old averages.
        one_sided: As above.
        interval: As in `Term`.

    Raises:
        ValueError: For a decay outside of [0, 1).
    """

    name = "lecam"
    state: "LogitAverages"

    def __init__(self, weight: Number = 3e-4, decay: float = 0.99, one_sided: bool = False, interval: int = 1):
        super().__init__(weight, interval)
        if not 0 <= decay < 1:
            raise ValueError(f"`decay` must lie in [0, 1). Received: decay={decay}")
        self.decay, self.one_sided = float(decay), bool(one_sided)
        self.state = LogitAverages(dtype="float32", name="lecam")

    def __call__(self, play: Play) -> tf.Tensor:
        real, fake = (_flat(outputs["logits"]) for outputs in (play.real_outputs, play.fake_outputs))
        if play.training:
            self.state.learn(self.decay, real, fake)
        above, below = real - self.state.fake, self.state.real - fake
        if self.one_sided:
            above, below = tf.nn.relu(above), tf.nn.relu(below)
        return tf.reduce_mean(tf.square(above)) + tf.reduce_mean(tf.square(below))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decay": self.decay, "one_sided": self.one_sided}


class LogitAverages(keras.layers.Layer):
    """The moving averages of `LeCam`, of logits of real samples and of fakes, and how many updates they have seen."""

    real: keras.Variable
    fake: keras.Variable
    updates: keras.Variable

    def build(self, input_shape: Any = None) -> None:
        for name in ("real", "fake", "updates"):
            weight = self.add_weight(name=name, shape=(), initializer="zeros", trainable=False, autocast=False)
            setattr(self, name, weight)
        self.built = True

    def learn(self, decay: float, real: tf.Tensor, fake: tf.Tensor) -> None:
        """Moves the averages towards the means of a batch."""
        updates = tf.convert_to_tensor(self.updates)
        keep = tf.minimum(decay, updates / (updates + 1.0))
        for average, logits in ((self.real, real), (self.fake, fake)):
            mean = tf.stop_gradient(mean_over_replicas(tf.reduce_mean(logits)))
            average.assign(keep * average + (1.0 - keep) * mean)
        self.updates.assign(updates + 1.0)


def _flat(logits):
    return tf.concat([tf.reshape(x, (-1,)) for x in keras.tree.flatten(logits)], axis=0)


class _Comparison(Term):
    """Base of the generator's terms that compare what it made with what that should be, as means over elements."""

    player = "generator"

    def _images(self, play):
        """Returns the pictures that the generator made."""
        if isinstance(play.outputs, dict) and "images" not in play.outputs:
            raise UsageError(self._lacks("images", play.outputs))
        return tf.cast(images_of(play.outputs), tf.float32)

    def _pairs(self, play):
        """Returns what is compared, each with what it should be."""
        if play.target is None:
            raise UsageError(
                f"{type(self).__name__} compares the generator's images with their target, and here there is none. "
                "Without pairs, terms such as Cycle say what must be kept."
            )
        return [self._checked(self._images(play), play.target)]

    def _outputs(self, play, name):
        """Returns the leaves of one of the generator's outputs, each with the input that it should equal."""
        outputs = play.outputs if isinstance(play.outputs, dict) else {}
        leaves = keras.tree.flatten(outputs.get(name, []))
        if not 0 < len(leaves) <= len(play.inputs):
            raise UsageError(self._lacks(name, outputs))
        return [self._checked(*pair) for pair in zip(leaves, play.inputs, strict=False)]

    def _checked(self, made, wanted):
        # A greyscale image would be compared with each channel of an RGB one.
        if not tf.TensorShape(made.shape).is_compatible_with(wanted.shape):
            raise UsageError(
                f"{type(self).__name__} compares images of one shape. Received: {tuple(made.shape[1:])} from the "
                f"generator, which should be {tuple(wanted.shape[1:])}"
            )
        return tf.cast(made, tf.float32), tf.cast(wanted, tf.float32)

    def _lacks(self, name, outputs):
        return (
            f"{type(self).__name__} needs `{name}` among what the generator returns, a dict. Received: "
            f"{sorted(outputs) or 'no dict'}"
        )


@keras.saving.register_keras_serializable("tfgan_app")
class L1(_Comparison):
    """E[|y - G(x)|] over the pixels of the generator's images and their targets y.

    Isola et al. 2016, https://arxiv.org/abs/1611.07004, equation 3; pix2pix has a weight of 100.
    """

    name = "l1"

    def __call__(self, play: Play) -> tf.Tensor:
        return _total(_absolute(made, wanted) for made, wanted in self._pairs(play))


@keras.saving.register_keras_serializable("tfgan_app")
class L2(_Comparison):
    """E[(y - G(x))^2], the mean squared error, of which PSNR is the logarithm; likewise."""

    name = "l2"

    def __call__(self, play: Play) -> tf.Tensor:
        return _total(_squared(made, wanted) for made, wanted in self._pairs(play))


@keras.saving.register_keras_serializable("tfgan_app")
class Cycle(_Comparison):
    """E[|F(G(a)) - a|], added over the generator's inputs that it returns there and back again as `cycle`.

    Zhu et al. 2017, https://arxiv.org/abs/1703.10593, equation 2. The leaves of `cycle`, a tensor or a tree, are
    compared with as many of the first inputs, in their order.
    """

    name = "cycle"

    def __init__(self, weight: Number = 10.0, interval: int = 1):
        super().__init__(weight, interval)

    def __call__(self, play: Play) -> tf.Tensor:
        return _total(_absolute(made, wanted) for made, wanted in self._outputs(play, "cycle"))


@keras.saving.register_keras_serializable("tfgan_app")
class Identity(_Comparison):
    """E[|F(a) - a|], added over the generator's inputs that it returns as `identity`: what is there already must stay.

    Zhu et al. 2017, https://arxiv.org/abs/1703.10593, section 5.2, which keeps colours; otherwise as `Cycle`.
    """

    name = "identity"

    def __init__(self, weight: Number = 5.0, interval: int = 1):
        super().__init__(weight, interval)

    def __call__(self, play: Play) -> tf.Tensor:
        return _total(_absolute(made, wanted) for made, wanted in self._outputs(play, "identity"))


@keras.saving.register_keras_serializable("tfgan_app")
class TotalVariation(_Comparison):
    """How much neighbouring pixels of the generator's images differ: the sum of the means, downwards and across.

    Rudin et al. 1992, https://doi.org/10.1016/0167-2789(92)90242-F, in the anisotropic form. It weighs against noise
    and patterns, and against detail.
    """

    name = "total_variation"

    def __call__(self, play: Play) -> tf.Tensor:
        images = self._images(play)
        differences = images[:, 1:] - images[:, :-1], images[:, :, 1:] - images[:, :, :-1]
        # A side of one pixel has no neighbours.
        sizes = [tf.cast(tf.maximum(tf.size(x), 1), tf.float32) for x in differences]
        return _total(tf.reduce_sum(tf.abs(x)) / size for x, size in zip(differences, sizes, strict=True))


@keras.saving.register_keras_serializable("tfgan_app")
class FeatureMatching(Term):
    """E[|D_i(y) - D_i(G(x))|], added over the discriminator's `features`, the outputs of its layers i.

    Wang et al. 2017, https://arxiv.org/abs/1711.11585, equation 4. The discriminator returns a dict of its `logits` and
    of `features`, tensors in a list or any tree. Those of real samples are what fakes should come to: no gradient
    passes there.
    """

    name, player = "feature_matching", "generator"

    def __init__(self, weight: Number = 10.0, interval: int = 1):
        super().__init__(weight, interval)

    def __call__(self, play: Play) -> tf.Tensor:
        fake, real = (keras.tree.flatten(x.get("features", [])) for x in (play.fake_outputs, play.real_outputs))
        if not fake:
            raise UsageError(
                "FeatureMatching needs a discriminator that returns a dict with `features`, the outputs of its layers, "
                f"beside `logits`. Received: {sorted(play.fake_outputs)}"
            )
        return _total(_absolute(a, tf.stop_gradient(b)) for a, b in zip(fake, real, strict=True))


@keras.saving.register_keras_serializable("tfgan_app")
class Perceptual(_Comparison):
    """The distance between what a trained network sees of the generator's images and of their targets.

    Johnson et al. 2016, https://arxiv.org/abs/1603.08155; before the ReLU as in ESRGAN, Wang et al. 2018,
    https://arxiv.org/abs/1809.00219, section 3.3. The network is no part of the GAN: it does not learn, has no weights
    among the GAN's, and is called for inference, in the precision that it was made in ("vgg19" in float32). It is
    loaded when training or evaluation begins.

    Args:
        extractor: A functional `keras.Model` that takes images in [-1, 1], the path of a `.keras` file of one, or
            "vgg19": `keras.applications.VGG19` with its weights of ImageNet and their preprocessing, which Keras
            downloads. A model held in memory cannot be saved along with the GAN; a path can.
        layers: Names of layers whose outputs are compared; or a dict with a factor for each, by which the distances
            are added. By default the network's output; of "vgg19" `block5_conv4`, whose name others write conv5_4. All
            of its layers are taken before their ReLU.
        weight: As in `Term`. Networks that were trained apart have features of different scale.
        distance: "l1", the mean absolute difference, or "l2", the mean squared.
        interval: As in `Term`.

    Raises:
        UsageError: For another distance; when it is loaded, for a network that is not there, cannot be downloaded, or
            has no such layers; in the step, for images that it cannot take.
    """

    name = "perceptual"

    def __init__(
        self,
        extractor: NetworkLike = "vgg19",
        layers: Sequence[str] | Mapping[str, float] | None = None,
        weight: Number = 1.0,
        distance: Literal["l1", "l2"] = "l1",
        interval: int = 1,
    ):
        super().__init__(weight, interval)
        if distance not in _DISTANCES:
            raise UsageError(f"`distance` must be one of {', '.join(_DISTANCES)}. Received: distance={distance}")
        if isinstance(layers, str):
            layers = [layers]
        self.extractor = extractor if isinstance(extractor, keras.Model) else str(extractor)
        self.layers = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers or (), 1.0)
        self.distance = distance
        self._features: Callable[[tf.Tensor], list[tf.Tensor]] | None = None

    def prepare(self) -> None:
        if self._features is None:
            # Where a step is being traced, outside of its graph.
            with tf.init_scope():
                self._features = layer_outputs(self.extractor, list(self.layers))

    def __call__(self, play: Play) -> tf.Tensor:
        self.prepare()
        assert self._features is not None
        ((made, wanted),) = self._pairs(play)
        seen, expected = self._features(made), self._features(tf.stop_gradient(wanted))
        factors = self.layers.values() or [1.0] * len(seen)
        distance = _DISTANCES[self.distance]
        return _total(factor * distance(a, b) for factor, a, b in zip(factors, seen, expected, strict=True))

    def get_config(self) -> dict[str, Any]:
        if isinstance(self.extractor, keras.Model):
            # Its weights would not be saved along, and a reloaded term would measure something else.
            raise ValueError(
                f"Perceptual cannot be saved: its network {self.extractor.name} is held in memory. Save that network "
                "to a .keras file and give Perceptual the path."
            )
        own = {"extractor": self.extractor, "layers": self.layers, "distance": self.distance}
        return {**super().get_config(), **own}

    def describe(self) -> dict[str, Any]:
        name = self.extractor.name if isinstance(self.extractor, keras.Model) else self.extractor
        own = {"extractor": name, "layers": self.layers, "distance": self.distance}
        return {**super().get_config(), **own}


def _absolute(a, b):
    return tf.reduce_mean(tf.abs(a - b))


def _squared(a, b):
    return tf.reduce_mean(tf.square(a - b))


_DISTANCES = {"l1": _absolute, "l2": _squared}


def _total(parts):
    return functools.reduce(operator.add, parts)


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
        total = total_of(play.judge(keras.tree.pack_sequence_as(samples, leaves)))
    return _squared_norms(tape.gradient(total, leaves))


def total_of(logits: Any) -> tf.Tensor:
    """Returns the sum of all logits, a tensor or a tree of them."""
    return functools.reduce(operator.add, map(tf.reduce_sum, keras.tree.flatten(logits)))


def _squared_norms(gradients):
    """Returns the sum of squares of each sample's gradient, `(batch,)`; of a tree of several, over all."""
    leaves = [tf.cast(x, tf.float32) for x in keras.tree.flatten(gradients)]
    squares = [tf.reduce_sum(tf.square(x), axis=tuple(range(1, x.shape.rank))) for x in leaves]
    return functools.reduce(operator.add, squares)


def _sqrt(x):
    """Returns the square root, with gradient 0 instead of infinity at 0."""
    safe = tf.where(x > 0, x, 1.0)
    return tf.where(x > 0, tf.sqrt(safe), 0.0)
