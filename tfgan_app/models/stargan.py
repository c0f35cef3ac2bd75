"""StarGAN. Choi et al. 2018, https://arxiv.org/abs/1711.09020."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfgan_app.base.errors import UsageError
from tfgan_app.base.networks import BatchShape, apply
from tfgan_app.base.randomness import uniform
from tfgan_app.base.replicas import gathered, place
from tfgan_app.conditions import Classes
from tfgan_app.data.batches import check_samples, parts
from tfgan_app.layers import Conv2D, Conv2DTranspose, InstanceNormalization
from tfgan_app.losses import Wasserstein
from tfgan_app.observation import Observation
from tfgan_app.optimizers import Adam
from tfgan_app.terms import Cycle, GradientPenalty, Play, Term
from tfgan_app.translation import TranslationGAN

__all__ = ["DomainLikelihood", "StarGAN", "build_discriminator", "build_generator", "build_translator"]

_TRANSLATOR = "translator"  # the network within the generator
_MULTIPLE = 4
_DEEPEST = 6  # halvings of the discriminator


@keras.saving.register_keras_serializable("tfgan_app")
class StarGAN(TranslationGAN):
    """One translator for many domains: it is told which one a picture shall be of.

    The critic also names the domain, by which the translator learns to reach the one that it is told, and a cycle back
    to the domain that a picture came from keeps the rest of it. Wasserstein loss with gradient penalty. The wanted
    domains of a batch are its own in another order.

    Networks and settings are those of the authors' program (https://github.com/yunjey/stargan), which lets the learning
    rates fall to 0 over the second half of training, as `decay_learning_rates` and `decay_from` do.

    A batch is `(images, labels)`. Labels are classes, `(batch,)` integers or one-hot, which exclude each other like the
    expressions of a face; with `multi_label` rows of 0 and 1 `(batch, num_classes)`, of attributes that an image has or
    not, and `translate` takes such rows too.

    Args:
        source_shape: `(height, width, channels)` in training; height and width are multiples of 4.
        target_shape: The same, or None.
        num_classes: How many classes, or attributes, there are.
        g_channels: Channels of the translator's first layer; its blocks have four times as many.
        d_channels: Channels of the critic's first layer; each further layer has twice as many.
        blocks: Residual blocks of the translator.
        d_layers: How often the critic halves the picture. By default until two or three pixels are left of the smaller
            side, and at most 6 times, as in the program for 128x128.
        multi_label: Whether labels are attributes.
        class_weight: Factor of the cross-entropy of the domains that the critic names, for both networks.
        cycle_weight: Factor of the L1 distance of a picture to what returns of it.
        gradient_penalty: Factor of the penalty on the critic.
        class_names: What the classes are called, in their order; `translate(images, labels=["smile"])` takes them.
        **kwargs: `seed` and `name`, as in `TranslationGAN`.

    Raises:
        UsageError: For shapes that do not fit.
    """

    data = "labelled"
    needs_condition = True
    joint_pass = True
    num_classes: int

    def __init__(
        self,
        source_shape: tuple[int, int, int],
        target_shape: tuple[int, int, int] | None = None,
        *,
        num_classes: int,
        g_channels: int = 64,
        d_channels: int = 64,
        blocks: int = 6,
        d_layers: int | None = None,
        multi_label: bool = False,
        class_weight: float = 1.0,
        cycle_weight: float = 10.0,
        gradient_penalty: float = 10.0,
        class_names: Sequence[str] | None = None,
        **kwargs: Any,
    ):
        d_layers = _checked_layers(source_shape, target_shape, d_layers)
        super().__init__(
            build_generator(source_shape[-1], num_classes, g_channels, blocks),
            build_discriminator(source_shape, num_classes, d_channels, d_layers),
            source_shape=source_shape,
            target_shape=source_shape,
            multiple=_MULTIPLE,
            **kwargs,
        )
        self.num_classes = num_classes
        self.class_names = class_names
        self.multi_label = multi_label
        self.class_weight = class_weight
        self.cycle_weight = cycle_weight
        self.gradient_penalty = gradient_penalty

    def compile_defaults(self) -> dict[str, Any]:
        return {
            "g_optimizer": Adam(1e-4, beta_1=0.5),
            "d_optimizer": Adam(1e-4, beta_1=0.5),
            "loss": Wasserstein(),
            "terms": [GradientPenalty(self.gradient_penalty), Cycle(self.cycle_weight)],
            "n_critic": 5,
        }

    def inherent_terms(self) -> list[Term]:
        return [
            DomainLikelihood(player, self.class_weight, self.multi_label) for player in ("discriminator", "generator")
        ]

    def check(self, data: Any) -> None:
        images, labels = parts(data)
        check_samples(images, self.source)
        if isinstance(images, np.ndarray) and images.size:
            self.source.check_range(float(images.min()), float(images.max()))
        if labels is None:
            raise UsageError(
                "StarGAN takes batches of two, images and their labels. Received: images of shape "
                f"{tuple(images.shape)} without labels."
            )
        if self.multi_label:
            _check_attributes(labels, self.num_classes)
        else:
            Classes(self.num_classes).check(labels)

    def unpack(self, data: Any) -> tuple[Any, tuple[tf.Tensor, ...]]:
        images, labels = (part if part is None else tf.convert_to_tensor(part) for part in parts(data))
        self.check((images, labels))
        own = labels if self.multi_label else Classes(self.num_classes).tensor(labels)
        return tf.cast(images, tf.float32), (self._rows(own),)

    def _rows(self, labels):
        """Returns labels as the networks take them, float32 `(batch, num_classes)`."""
        return tf.cast(labels, tf.float32) if self.multi_label else tf.one_hot(labels, self.num_classes)

    def target_of(self, real: Any) -> Any:
        return None

    def judged(self, real: Any, inputs: list[tf.Tensor], outputs: Any) -> tuple[Any, Any]:
        return real, outputs["images"]

    def observation(
        self, real: Any, fake: Any, condition: tuple[tf.Tensor, ...], inputs: list[tf.Tensor], seed: tf.Tensor
    ) -> Observation:
        return Observation(real, self.target.clip(fake))

    def forward(
        self, sources: tf.Tensor, way: str = "translate", seed: tf.Tensor | None = None, labels: tf.Tensor | None = None
    ) -> tf.Tensor:
        return apply(self.ema_generator.get_layer(_TRANSLATOR), [sources, self._rows(labels)])

    def draw(self, real: Any, condition: tuple[tf.Tensor, ...], seed: tf.Tensor) -> list[tf.Tensor]:
        (own,) = condition
        every, num = gathered(own), tf.shape(own)[0]
        # An order of the whole batch: that of as many random numbers. Each replica takes its part.
        order = tf.argsort(uniform((tf.shape(every)[0],), seed, whole=True))
        wanted = tf.gather(every, order[place() * num : (place() + 1) * num])
        return [real, tf.ensure_shape(wanted, own.shape), own]


class DomainLikelihood(Term):
    """The cross-entropy of the domains that the critic names: equations 2 and 3.

    The critic's is that of real images, the translator's that of fakes with the domains that it was told.

    Args:
        player: The player that minimises it.
        weight: The factor in the loss.
        multi_label: Whether labels are attributes; their cross-entropies are then added up.
    """

    def __init__(self, player: str, weight: float = 1.0, multi_label: bool = False):
        super().__init__(weight)
        self.player, self.multi_label = player, multi_label
        self.name = f"{player[0]}_class"

    def __call__(self, play: Play) -> tf.Tensor:
        _, wanted, own = play.inputs
        outputs, labels = (play.real_outputs, own) if self.player == "discriminator" else (play.fake_outputs, wanted)
        logits = outputs["class_logits"]
        if self.multi_label:
            losses = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits), axis=-1)
        else:
            losses = tf.nn.softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_mean(losses)


@keras.saving.register_keras_serializable("tfgan_app")
class PaintLabels(layers.Layer):
    """Appends labels to images as channels: `[images, labels]` -> `(batch, height, width, channels + num_classes)`."""

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        x, labels = inputs
        shape = (tf.shape(x)[0], tf.shape(x)[1], tf.shape(x)[2], labels.shape[-1])
        return tf.concat([x, tf.broadcast_to(tf.cast(labels, x.dtype)[:, None, None, :], shape)], axis=-1)

    def compute_output_shape(self, input_shape: Sequence[BatchShape]) -> BatchShape:
        images, labels = input_shape
        return (*images[:-1], images[-1] + labels[-1])


def build_generator(channels: int, num_classes: int, base_channels: int, blocks: int) -> keras.Model:
    """Returns the translator and its way back in one: pictures, wanted and own labels -> `images` and `cycle`.

    Labels are float32 `(batch, num_classes)`, one-hot or attributes.
    """
    source = keras.Input((None, None, channels), name="source")
    wanted, own = (keras.Input((num_classes,), name=name) for name in ("labels", "own_labels"))
    translator = build_translator(channels, num_classes, base_channels, blocks)
    images = translator([source, wanted])
    return keras.Model([source, wanted, own], {"images": images, "cycle": translator([images, own])}, name="generator")


def build_translator(channels: int, num_classes: int, base_channels: int, blocks: int) -> keras.Model:
    """Returns a ResNet: sources `(batch, height, width, channels)` and labels -> pictures in [-1, 1] of the same size.

    CycleGAN's, with 4x4 convolutions where the size changes, zeros around the borders, and a scale and an offset in the
    instance normalisation. Reflected borders would make labels vanish: a channel of one value that is as wide as the
    picture is an offset, which the normalisation takes away.
    """
    source = keras.Input((None, None, channels), name="source")
    labels = keras.Input((num_classes,), name="labels")
    x = _normalized(_convolution(base_channels, 7)(PaintLabels()([source, labels])))
    for factor in (2, 4):
        x = _normalized(_convolution(factor * base_channels, 4, 2)(x))
    for _ in range(blocks):
        y = _normalized(_convolution(4 * base_channels, 3)(x))
        y = InstanceNormalization(affine=True)(_convolution(4 * base_channels, 3)(y))
        x = layers.Add()([x, y])
    for factor in (2, 1):
        x = Conv2DTranspose(factor * base_channels, 4, 2, "same", use_bias=False, kernel_initializer=_init())(x)
        x = _normalized(x)
    x = _convolution(channels, 7)(x)
    return keras.Model([source, labels], layers.Activation("tanh", dtype="float32")(x), name=_TRANSLATOR)


def build_discriminator(
    image_shape: tuple[int, int, int], num_classes: int, base_channels: int, number: int
) -> keras.Model:
    """Returns images -> `logits` `(batch, rows, columns, 1)` of patches, and `class_logits` `(batch, num_classes)`."""
    images = keras.Input(image_shape, name="images")
    x = images
    for index in range(number):
        # Padded by one row of zeros on each side, also where a side is odd.
        x = layers.ZeroPadding2D(1)(x)
        bound = (16 * x.shape[-1]) ** -0.5
        bias = keras.initializers.RandomUniform(-bound, bound)
        x = Conv2D(base_channels * 2**index, 4, 2, kernel_initializer=_init(), bias_initializer=bias)(x)
        x = layers.LeakyReLU(0.01)(x)
    head: dict[str, Any] = {"use_bias": False, "dtype": "float32"}
    logits = Conv2D(1, 3, padding="same", kernel_initializer=_init(), **head)(x)
    class_logits = Conv2D(num_classes, x.shape[1:3], kernel_initializer=_init(), **head)(x)
    class_logits = layers.Reshape((num_classes,), dtype="float32")(class_logits)
    return keras.Model(images, {"logits": logits, "class_logits": class_logits}, name="discriminator")


def _check_attributes(labels, num_classes):
    expected = f"`labels` must be rows of {num_classes} attributes, each 0 or 1, one for each image"
    rows = tuple(getattr(labels, "shape", ()))[1:]
    if rows not in ((num_classes,), (None,)):
        raise UsageError(f"{expected}. Received: shape {tuple(getattr(labels, 'shape', ()))}")
    if isinstance(labels, np.ndarray) and not np.isin(labels, (0, 1)).all():
        raise UsageError(f"{expected}. Received: values from {labels.min():g} to {labels.max():g}")


def _convolution(channels, kernel_size, strides=1):
    # Sides are even where the stride is 2, so that this pads by as many zeros on each side.
    return Conv2D(channels, kernel_size, strides, "same", use_bias=False, kernel_initializer=_init())


def _normalized(x):
    return layers.ReLU()(InstanceNormalization(affine=True)(x))


def _init():
    """Returns PyTorch's initializer: uniform, up to the inverse root of what a unit sees."""
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def _checked_layers(source_shape, target_shape, number):
    """Returns how many layers the critic has."""
    shapes = f"source_shape={tuple(source_shape)}, target_shape={target_shape and tuple(target_shape)}"
    if tuple(target_shape or source_shape) != tuple(source_shape):
        raise UsageError(f"StarGAN's domains have pictures of one shape. Received: {shapes}")
    least = min(source_shape[:2])
    if any(side % _MULTIPLE for side in source_shape[:2]) or least < 2 * _MULTIPLE:
        raise UsageError(
            f"StarGAN takes pictures whose height and width are multiples of {_MULTIPLE} and at least {2 * _MULTIPLE}: "
            f"`image_size=128`. Received: {shapes}"
        )
    possible = least.bit_length() - 1
    wanted = min(possible - 1, _DEEPEST) if number is None else number
    if not 1 <= wanted <= possible:
        raise UsageError(
            f"`d_layers` must lie from 1 to {possible}: the critic halves {source_shape[0]}x{source_shape[1]} so often "
            f"at most. Received: d_layers={number}"
        )
    return wanted
