"""R3GAN. Huang et al. 2024, https://arxiv.org/abs/2501.05441."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tfgan_app.base.sizes import as_size
from tfgan_app.conditions import Attributes, Condition
from tfgan_app.gan import GAN
from tfgan_app.layers.fir import FIRDownsample, FIRUpsample
from tfgan_app.layers.grouped import GroupedConv2D
from tfgan_app.losses import Relativistic
from tfgan_app.models.sides import start_and_doublings
from tfgan_app.optimizers import Adam
from tfgan_app.schedules import CosineRamp, ScheduledAugment
from tfgan_app.terms import R1, R2

__all__ = ["R3GAN", "build_discriminator", "build_generator"]

_ALPHA = 0.2
# Weights before a leaky ReLU give back what it takes from the second moment (He et al. 2015).
_GAIN = math.sqrt(2.0 / (1.0 + _ALPHA**2))


@keras.saving.register_keras_serializable("tfgan_app")
class R3GAN(GAN):
    """Grouped residual networks without normalisation, held by the relativistic pairing loss with R1 and R2.

    Both networks are stages of residual blocks (1x1 convolution to `expansion` times the width, grouped 3x3, 1x1 back;
    a leaky ReLU of slope 0.2 after the first two), with interpolation by (1, 2, 1) between the stages. The generator
    starts from learned 4x4 patterns (28x28 images: 7x7; 96x64: 6x4), each scaled by a linear map of the latents; the
    discriminator mirrors it. Residual branches start at zero, as in Fixup (https://arxiv.org/abs/1901.09321).
    Images are not squashed: they leave [-1, 1] at first.

    The defaults are the paper's configuration E for CIFAR-10. Learning rate, gamma, beta_2, the generator's average and
    the augmentation move along half a cosine over the first `ramp_steps` steps. (The authors' program draws fresh
    images and fakes for the generator's update; here it meets those of the discriminator's.)

    Args:
        image_shape: `(height, width, channels)`, of sides that both halve at least twice: 28, 32, 48, 80, 96x64.
        latent_dim: Length of the latents.
        num_classes: Number of classes; None for an unconditional model. An embedding of the label then stands beside
            the latents, and the discriminator's logit is the product of its features with another.
        attributes: What it is told in the place of classes, as in `GAN`.
        widths: Channels of each stage, from the lowest resolution to the image's: one for each doubling, and one.
            By default 768 up to a shorter side of 32, and half as many with each doubling beyond.
        cardinalities: Groups of each stage's 3x3 convolutions. By default widths / 8.
        blocks_per_stage: Residual blocks of each stage: a number for all, or one for each.
        expansion: Channels inside a block as a multiple of the stage's.
        learning_rate: First and last value, for both networks.
        gamma: First and last value of the weight of R1 and R2; the loss has gamma / 2 times each. The paper's, for
            CIFAR-10; harder data needs more (its ImageNet 32x32: (0.5, 0.05); FFHQ 64x64: (2, 0.2)).
        ema_half_life: Images after which the generator's average has forgotten half, in the end; 0 at first.
        augment_p: Probability in the end of each transform of ADA's pipeline and of cutout, of which changes of colour
            have half, as in the authors' program; 0 at first. 0 leaves images as they are.
        ramp_steps: Steps from the first values to the last. By default the paper's 20 million images at its batch of
            512.
        **kwargs: `seed` and `name`, as in `GAN`.

    Raises:
        ValueError: For another image shape, stages that do not fit it, or a first value without a last.
    """

    joint_pass = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        num_classes: int | None = None,
        attributes: Attributes | None = None,
        latent_dim: int = 64,
        widths: Sequence[int] | None = None,
        cardinalities: Sequence[int] | None = None,
        blocks_per_stage: int | Sequence[int] = 2,
        expansion: int = 2,
        learning_rate: tuple[float, float] = (2e-4, 5e-5),
        gamma: tuple[float, float] = (0.05, 0.005),
        ema_half_life: float = 5e6,
        augment_p: float = 0.55,
        ramp_steps: int = 39_063,
        **kwargs: Any,
    ):
        stages: dict[str, Any] = {
            "widths": widths,
            "cardinalities": cardinalities,
            "blocks_per_stage": blocks_per_stage,
            "expansion": expansion,
        }
        condition = self.condition_of(num_classes, attributes)
        super().__init__(
            build_generator(image_shape, latent_dim, condition, **stages),
            build_discriminator(image_shape, condition, **stages),
            num_classes=num_classes,
            attributes=attributes,
            **kwargs,
        )
        self.learning_rate = _pair("learning_rate", learning_rate)
        self.gamma = _pair("gamma", gamma)
        self.final_half_life = float(ema_half_life)
        self.augment_p = float(augment_p)
        self.ramp_steps = ramp_steps

    def compile_defaults(self) -> dict[str, Any]:
        def ramp(start, end):
            return CosineRamp(start, end, self.ramp_steps)

        def adam():
            return Adam(ramp(*self.learning_rate), beta_1=0.0, beta_2=ramp(0.9, 0.99), epsilon=1e-8)

        weight = [gamma / 2.0 for gamma in self.gamma]
        return {
            "g_optimizer": adam(),
            "d_optimizer": adam(),
            "loss": Relativistic(),
            "terms": [R1(ramp(*weight)), R2(ramp(*weight))],
            "augment": ScheduledAugment(ramp(0.0, self.augment_p), color=0.5, cutout=1.0) if self.augment_p else None,
            "ema_half_life": ramp(0.0, self.final_half_life),
        }


def build_generator(
    image_shape: tuple[int, int, int],
    latent_dim: int = 64,
    condition: Condition | None = None,
    widths: Sequence[int] | None = None,
    cardinalities: Sequence[int] | None = None,
    blocks_per_stage: int | Sequence[int] = 2,
    expansion: int = 2,
) -> keras.Model:
    """Returns latents `(batch, latent_dim)`, and a condition if there is one -> images `(batch, *image_shape)`.

    Arguments are those of `R3GAN`.
    """
    start, stages = _stages(image_shape, widths, cardinalities, blocks_per_stage, expansion)
    inputs = latents = keras.Input((latent_dim,), name="latents")
    x = latents
    if condition is not None:
        told = condition.input()
        inputs = [latents, told]
        embedding = condition.embed(told, latent_dim, _normal(condition.fan_in))
        x = layers.Concatenate(dtype="float32")([latents, embedding])
    width = stages[0]["width"]
    x = layers.Dense(width, use_bias=False, kernel_initializer=_normal(x.shape[-1]), dtype="float32")(x)
    x = Basis(start, dtype="float32")(x)
    for index, stage in enumerate(stages):
        if index:
            x = FIRUpsample()(_pointwise(x, stage["width"]))
        x = _blocks(x, stage, stages, expansion, dtype=None if index else "float32")
    x = layers.Conv2D(image_shape[-1], 1, use_bias=False, kernel_initializer=_normal(x.shape[-1]))(x)
    return keras.Model(inputs, layers.Activation("linear", dtype="float32")(x), name="generator")


def build_discriminator(
    image_shape: tuple[int, int, int],
    condition: Condition | None = None,
    widths: Sequence[int] | None = None,
    cardinalities: Sequence[int] | None = None,
    blocks_per_stage: int | Sequence[int] = 2,
    expansion: int = 2,
) -> keras.Model:
    """Returns images `(batch, *image_shape)`, and a condition if there is one -> logits `(batch, 1)`.

    Arguments are those of `R3GAN`.
    """
    start, stages = _stages(image_shape, widths, cardinalities, blocks_per_stage, expansion)
    inputs = images = keras.Input(image_shape, name="images")
    width = stages[-1]["width"]
    x = layers.Conv2D(width, 1, use_bias=False, kernel_initializer=_normal(image_shape[-1]))(images)
    for index, stage in reversed(list(enumerate(stages))):
        x = _blocks(x, stage, stages, expansion, dtype=None if index else "float32")
        if index:
            x = _pointwise(FIRDownsample()(x), stages[index - 1]["width"])
    width = stages[0]["width"]
    init = _normal(start[0] * start[1])
    x = layers.DepthwiseConv2D(start, use_bias=False, depthwise_initializer=init, dtype="float32")(x)
    x = layers.Flatten(dtype="float32")(x)
    features = 1 if condition is None else width
    x = layers.Dense(features, use_bias=False, kernel_initializer=_normal(width), dtype="float32")(x)
    if condition is not None:
        told = condition.input()
        inputs = [images, told]
        embedding = condition.embed(told, width, _normal(width * condition.fan_in))
        x = layers.Dot(axes=1, dtype="float32")([x, embedding])
    return keras.Model(inputs, x, name="discriminator")


@keras.saving.register_keras_serializable("tfgan_app")
class Basis(layers.Layer):
    """Scales a learned pattern for each channel: `(batch, channels)` -> `(batch, height, width, channels)`.

    Args:
        side: Height and width of the patterns: one number for both, or a pair.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.
    """

    def __init__(self, side, **kwargs):
        super().__init__(**kwargs)
        self.side = as_size(side)

    def build(self, input_shape):
        shape = (*self.side, input_shape[-1])
        self.patterns = self.add_weight(name="patterns", shape=shape, initializer=_normal(1))

    def call(self, inputs):
        return inputs[:, None, None, :] * self.patterns

    def get_config(self):
        return {**super().get_config(), "side": self.side}


def _blocks(x, stage, stages, expansion, dtype):
    """Applies a stage's residual blocks. The paper's lowest stage computes in float32 under every precision."""
    depth = sum(each["blocks"] for each in stages)
    # Fixup: with m = 3 layers a branch, all but the last are scaled by depth^(-1 / (2m - 2)), and the last is zero.
    gain = _GAIN * depth**-0.25
    width = stage["width"]
    inner = width * expansion
    for _ in range(stage["blocks"]):
        y = layers.Conv2D(inner, 1, kernel_initializer=_normal(width, gain), dtype=dtype)(x)
        y = layers.LeakyReLU(_ALPHA, dtype=dtype)(y)
        groups = stage["cardinality"]
        init = _normal(9 * inner // groups, gain)
        y = GroupedConv2D(inner, 3, padding="same", groups=groups, kernel_initializer=init, dtype=dtype)(y)
        y = layers.LeakyReLU(_ALPHA, dtype=dtype)(y)
        y = layers.Conv2D(width, 1, use_bias=False, kernel_initializer="zeros", dtype=dtype)(y)
        x = layers.Add(dtype=dtype)([x, y])
    return x


def _pointwise(x, width):
    """Changes the number of channels, where it changes."""
    before = x.shape[-1]
    return x if before == width else layers.Conv2D(width, 1, use_bias=False, kernel_initializer=_normal(before))(x)


def _normal(fan_in, gain=1.0):
    return keras.initializers.RandomNormal(stddev=gain / math.sqrt(fan_in))


def _pair(name, value):
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"`{name}` must be a pair: its first value, and its last. Received: {name}={value}")
    return tuple(float(part) for part in value)


def _stages(image_shape, widths, cardinalities, blocks_per_stage, expansion):
    """Returns height and width of the smallest feature map, and each stage from there to the image."""
    start, doublings = start_and_doublings("R3GAN", image_shape)
    sides = [min(start) * 2**index for index in range(doublings + 1)]
    widths = widths or [768 >> max(math.ceil(math.log2(each / 32)), 0) for each in sides]
    cardinalities = cardinalities or [max(width // 8, 1) for width in widths]
    blocks = [blocks_per_stage] * len(sides) if isinstance(blocks_per_stage, int) else blocks_per_stage
    for name, values in (("widths", widths), ("cardinalities", cardinalities), ("blocks_per_stage", blocks)):
        if len(values) != len(sides):
            raise ValueError(
                f"Images of shorter side {sides[-1]} take {len(sides)} stages, of sides {sides}, and `{name}` must "
                f"have a number for each. Received: {name}={values}"
            )
    stages = [
        {"width": width, "cardinality": cardinality, "blocks": count}
        for width, cardinality, count in zip(widths, cardinalities, blocks, strict=True)
    ]
    for stage in stages:
        inner = stage["width"] * expansion
        if inner % stage["cardinality"]:
            raise ValueError(
                f"`cardinalities` must divide expansion * width. Received: {stage['cardinality']} groups of "
                f"{expansion} * {stage['width']} = {inner} channels"
            )
    return start, stages
