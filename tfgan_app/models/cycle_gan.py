"""CycleGAN. Zhu et al. 2017, https://arxiv.org/abs/1703.10593."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tfgan_app.base.errors import UsageError
from tfgan_app.base.networks import apply
from tfgan_app.layers import (
    Conv2D,
    Conv2DTranspose,
    Cropping2D,
    ImagePool,
    InstanceNormalization,
    ReflectionPadding2D,
)
from tfgan_app.losses import LeastSquares
from tfgan_app.models.patch_gan import init, patch_layers, patch_logits
from tfgan_app.terms import Cycle, Identity, Play
from tfgan_app.translation import TranslationGAN

__all__ = ["CycleGAN", "build_discriminator", "build_generator", "build_translator"]

# The networks within the generator, by the way that they translate.
_NETWORKS = {"translate": "a_to_b", "translate_back": "b_to_a"}
_RESNET_9 = 256  # sides from which the paper takes nine blocks
_POOL = 50
_MULTIPLE = 4


@keras.saving.register_keras_serializable("tfgan_app")
class CycleGAN(TranslationGAN):
    """Two translators, each of which undoes the other, trained on pictures of two kinds without pairs.

    One translates sources of side A to pictures of side B, one back; a PatchGAN judges each side. Least squares, a
    cycle of both translators that must return to where it began, and the identity on what is of the wanted side
    already. Discriminators learn from a pool of earlier fakes.

    Networks and settings are those of the authors' program (https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix):
    ResNets with reflected borders, and instance normalisation without weights. Its learning rates fall to 0 over the
    second half of training, as `decay_learning_rates` and `decay_from` do.

    A batch is `(a, b)`, as many pictures of each side, which have nothing to do with each other. `translate` goes from
    A to B, and from B to A with `way="translate_back"`.

    Args:
        source_shape: `(height, width, channels)` of side A in training; height and width are multiples of 4, and at
            least 8.
        target_shape: That of side B, of the same height and width.
        g_channels: Channels of a translator's first layer; its blocks have four times as many.
        d_channels: Channels of a discriminator's first layer; its widest have eight times as many.
        blocks: Residual blocks of a translator. By default the paper's: 9 from 256x256 on, and 6 below.
        d_layers: As in `Pix2Pix`.
        cycle_weight: Factor of the L1 distance of each side to what returns of it.
        identity_weight: Factor of the L1 distance of each side to what the translator to that side makes of it, half
            the cycle's by default; 0 for none, as where the sides differ in channels.
        pool_size: How many earlier fakes of each side there are; 0 for none.
        **kwargs: `seed` and `name`, as in `TranslationGAN`.

    Raises:
        UsageError: For shapes that do not fit.
    """

    data = "sides"
    ways = tuple(_NETWORKS)
    joint_pass = True  # no layer normalises over the batch

    def __init__(
        self,
        source_shape: tuple[int, int, int],
        target_shape: tuple[int, int, int],
        *,
        g_channels: int = 64,
        d_channels: int = 64,
        blocks: int | None = None,
        d_layers: int | None = None,
        cycle_weight: float = 10.0,
        identity_weight: float | None = None,
        pool_size: int = _POOL,
        **kwargs: Any,
    ):
        _check_shapes(source_shape, target_shape, identity_weight)
        if identity_weight is None:
            identity_weight = 0.5 * cycle_weight if source_shape[-1] == target_shape[-1] else 0.0
        if blocks is None:
            blocks = 9 if min(source_shape[:2]) >= _RESNET_9 else 6
        if d_layers is None:
            d_layers = patch_layers(*source_shape[:2])
        channels = source_shape[-1], target_shape[-1]
        super().__init__(
            build_generator(*channels, g_channels, blocks, identity_weight > 0),
            build_discriminator(*channels, d_channels, d_layers),
            source_shape=source_shape,
            target_shape=target_shape,
            multiple=_MULTIPLE,
            **kwargs,
        )
        self.cycle_weight = cycle_weight
        self.identity_weight = identity_weight
        self.pools = [ImagePool(pool_size, name=f"pool_{side}") for side in "ab"]
        for pool, shape in zip(self.pools, (source_shape, target_shape), strict=True):
            pool.build((None, *shape))

    def compile_defaults(self) -> dict[str, Any]:
        identity = [Identity(self.identity_weight)] if self.identity_weight else []
        # The program halves the discriminators' least squares, as the paper does, and leaves the translators' whole.
        return {
            "loss": LeastSquares(),
            "adversarial_weight": 2.0,
            "terms": [Cycle(self.cycle_weight), *identity],
        }

    def draw(self, real: Any, condition: tuple[tf.Tensor, ...], seed: tf.Tensor) -> list[tf.Tensor]:
        return list(real)

    def target_of(self, real: Any) -> Any:
        return None  # nobody knows what a picture of the one side is on the other

    def judged(self, real: Any, inputs: list[tf.Tensor], outputs: Any) -> tuple[Any, Any]:
        return real, (outputs["back"], outputs["images"])

    def shown(self, play: Play) -> Play:
        """Returns the record that the discriminators learn from: its fakes are partly earlier ones."""
        play = super().shown(play)
        if not play.training:
            return play
        fake = [pool(x, self._seed(pool.name, self.iterations)) for pool, x in zip(self.pools, play.fake, strict=True)]
        return dataclasses.replace(play, fake=tuple(fake))

    def forward(
        self, sources: tf.Tensor, way: str = "translate", seed: tf.Tensor | None = None, labels: tf.Tensor | None = None
    ) -> tf.Tensor:
        return apply(self.ema_generator.get_layer(_NETWORKS[way]), [sources])


def build_generator(
    a_channels: int, b_channels: int, base_channels: int, blocks: int, identity: bool = True
) -> keras.Model:
    """Returns both translators in one: pictures `a` and `b` of the two sides -> a dict.

    `images` are the translations of `a`, `back` those of `b`; `cycle` is what returns of each, and `identity` what the
    translator to that side makes of each.
    """
    a = keras.Input((None, None, a_channels), name="a")
    b = keras.Input((None, None, b_channels), name="b")
    a_to_b = build_translator(a_channels, b_channels, base_channels, blocks, _NETWORKS["translate"])
    b_to_a = build_translator(b_channels, a_channels, base_channels, blocks, _NETWORKS["translate_back"])
    outputs = {}
    if identity:
        # A network's passes that wait for nothing are one, of both sides' pictures: nothing in it mixes a batch.
        images, same_b = keras.ops.split(a_to_b(layers.Concatenate(axis=0)([a, b])), 2)
        back, same_a = keras.ops.split(b_to_a(layers.Concatenate(axis=0)([b, a])), 2)
        outputs["identity"] = same_a, same_b
    else:
        images, back = a_to_b(a), b_to_a(b)
    outputs |= {"images": images, "back": back, "cycle": (b_to_a(images), a_to_b(back))}
    return keras.Model([a, b], outputs, name="generator")


def build_translator(
    source_channels: int, channels: int, base_channels: int, blocks: int, name: str = "translator"
) -> keras.Model:
    """Returns a ResNet: sources `(batch, height, width, source_channels)` -> pictures in [-1, 1] of the same size.

    Johnson et al. 2016, https://arxiv.org/abs/1603.08155, as CycleGAN's program has it: a 7x7 convolution, two of
    stride 2, residual blocks, two transposed ones, a 7x7 convolution. Sides are multiples of 4.
    """
    source = keras.Input((None, None, source_channels), name="source")
    x = _normalized(_reflected(source, base_channels, 7))
    for factor in (2, 4):
        # Padded by one row of zeros on each side, where `same` would have one below and right.
        x = layers.ZeroPadding2D(1)(x)
        x = _normalized(Conv2D(factor * base_channels, 3, 2, kernel_initializer=init())(x))
    for _ in range(blocks):
        y = _normalized(_reflected(x, 4 * base_channels, 3))
        y = InstanceNormalization()(_reflected(y, 4 * base_channels, 3))
        x = layers.Add()([x, y])
    for factor in (2, 1):
        # What such a convolution's gradient is; `same` would be that of the other.
        x = Conv2DTranspose(factor * base_channels, 3, 2, "valid", kernel_initializer=init())(x)
        x = _normalized(Cropping2D(((1, 0), (1, 0)))(x))
    x = _reflected(x, channels, 7)
    return keras.Model(source, layers.Activation("tanh", dtype="float32")(x), name=name)


def build_discriminator(a_channels: int, b_channels: int, base_channels: int, number: int) -> keras.Model:
    """Returns a PatchGAN for each side in one: pictures `a` and `b` -> `logits`, a dict by side; see `patch_logits`."""
    inputs, logits = [], {}
    for side, channels in (("a", a_channels), ("b", b_channels)):
        images = keras.Input((None, None, channels), name=side)
        critic = keras.Input((None, None, channels), name="images")
        network = keras.Model(critic, patch_logits(critic, base_channels, number, "plain"), name=f"judge_{side}")
        inputs.append(images)
        logits[side] = network(images)
    return keras.Model(inputs, {"logits": logits}, name="discriminator")


def _reflected(x, channels, kernel_size):
    x = ReflectionPadding2D(kernel_size // 2)(x)
    return Conv2D(channels, kernel_size, kernel_initializer=init())(x)


def _normalized(x):
    return layers.ReLU()(InstanceNormalization()(x))


def _check_shapes(source_shape, target_shape, identity_weight):
    shapes = f"source_shape={tuple(source_shape)}, target_shape={tuple(target_shape)}"
    sides = tuple(source_shape[:2])
    if tuple(target_shape[:2]) != sides or any(side % _MULTIPLE or side < 2 * _MULTIPLE for side in sides):
        raise UsageError(
            f"CycleGAN takes pictures of one size for both sides, whose height and width are multiples of {_MULTIPLE} "
            f"and at least {2 * _MULTIPLE}: `crop=256`. Received: {shapes}"
        )
    if identity_weight and source_shape[-1] != target_shape[-1]:
        raise UsageError(
            "`identity_weight` must be 0 where the sides differ in channels: neither can pass the other's translator. "
            f"Received: identity_weight={identity_weight}, {shapes}"
        )
