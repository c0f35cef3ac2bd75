"""DeepFill v2. Yu et al. 2019, Free-Form Image Inpainting with Gated Convolution, https://arxiv.org/abs/1806.03589."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from tfgan_app.layers import ContextualAttention, GatedConv2D, SpectralConv2D
from tfgan_app.losses import Hinge
from tfgan_app.models.inpainting import Compose, InpaintingGAN, SplitHoles, check_shapes
from tfgan_app.optimizers import Adam
from tfgan_app.schedules import Number
from tfgan_app.terms import Play, Term

__all__ = ["DeepFillV2", "PaintedL1", "build_discriminator", "build_generator"]

_D_WIDTHS = (1, 2, 4, 4, 4, 4)


@keras.saving.register_keras_serializable("tfgan_app")
class DeepFillV2(InpaintingGAN):
    """Fills holes of any shape by gated convolutions, in two stages.

    The first stage paints the whole picture coarsely. The second refines it in two branches, one of dilated
    convolutions, one that copies patches of what is known (`tfgan_app.layers.ContextualAttention`). A
    spectrally normalised discriminator judges the filled picture patch by patch, knowing where holes were, by the hinge
    loss. What both stages paint is held to the truth by L1, in holes and elsewhere.

    Pictures may have any size. Attention takes memory by the square of their area, so those of more than half a million
    pixels are filled in tiles, each by what it has itself.

    Args:
        source_shape: `(height, width, channels + 1)` of the pictures trained on; the last channel tells holes.
        target_shape: `(height, width, channels)`.
        g_channels: Channels that the generator's first convolution computes, half of them gates; a multiple of 4.
        d_channels: Channels of the discriminator's first layer.
        dilations: Of the convolutions in the middle of each stage. The paper's are for pictures of 256x256.
        l1_weight: Weight of the L1 distance, of either stage.
        **kwargs: `seed` and `name`, as in `TranslationGAN`.

    Raises:
        UsageError: For sources that have no such channel.
        ValueError: For `g_channels` that cannot be split.
    """

    joint_pass = True
    # Attention over a tile of 512x512 has 4096 positions, 64 MB for each of its few tables of pairs.
    whole = 2**19

    def __init__(
        self,
        source_shape: tuple[int, int, int],
        target_shape: tuple[int, int, int],
        *,
        g_channels: int = 48,
        d_channels: int = 64,
        dilations: Sequence[int] = (2, 4, 8, 16),
        l1_weight: Number = 1.0,
        **kwargs: Any,
    ):
        check_shapes(type(self).__name__, source_shape, target_shape)
        if g_channels < 4 or g_channels % 4:
            raise ValueError(
                "`g_channels` must be a multiple of 4: half of an eighth of the widest layer's are gates. Received: "
                f"g_channels={g_channels}"
            )
        super().__init__(
            build_generator(target_shape[-1], g_channels, dilations),
            build_discriminator(target_shape[-1], d_channels),
            source_shape=source_shape,
            target_shape=target_shape,
            multiple=4,
            **kwargs,
        )
        self.l1_weight = l1_weight

    def compile_defaults(self) -> dict[str, Any]:
        return {
            "g_optimizer": Adam(1e-4, beta_1=0.5, beta_2=0.999),
            "d_optimizer": Adam(1e-4, beta_1=0.5, beta_2=0.999),
            "loss": Hinge(),
            "terms": [PaintedL1("coarse", weight=self.l1_weight), PaintedL1("refined", weight=self.l1_weight)],
        }

    def judged(self, real: Any, inputs: list[tf.Tensor], outputs: Any) -> tuple[Any, Any]:
        source, target = real
        _, holes = SplitHoles()(source)
        return (holes, target), (holes, outputs["images"])


@keras.saving.register_keras_serializable("tfgan_app")
class PaintedL1(Term):
    """E[|painted - target|] of one of the generator's outputs, in holes and elsewhere.

    Args:
        output: The output's name.
        weight: As in `tfgan_app.terms.Term`.
        interval: Likewise.
    """

    player = "generator"

    def __init__(self, output: str, weight: Number = 1.0, interval: int = 1):
        super().__init__(weight, interval)
        self.output = output
        self.name = f"l1_{output}"

    def __call__(self, play: Play) -> tf.Tensor:
        return tf.reduce_mean(tf.abs(play.outputs[self.output] - play.target))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "output": self.output}


def build_generator(channels: int, g_channels: int, dilations: Sequence[int]) -> keras.Model:
    """Returns sources `(batch, height, width, channels + 1)` -> a dict of images `(batch, height, width, channels)`.

    Sides are multiples of 4. `images` is the source with its holes filled; `coarse` and `refined` are what the two
    stages painted, in holes and elsewhere.
    """
    source = keras.Input((None, None, channels + 1), name="source")
    colours, holes = SplitHoles()(source)

    # The plane of ones tells the network where the picture ends.
    x = layers.Concatenate()([colours, ops.ones_like(holes), holes])
    x = _encode(x, [g_channels * width for width in (1, 2, 2, 4, 4, 4)])
    x = _dilated(x, dilations)
    coarse = _decode(x, g_channels, channels)

    # The second stage sees the holes as the first has filled them, and nothing of where they are.
    filled = Compose()([colours, holes, coarse])
    widths = [g_channels * width for width in (1, 1, 2, 2, 4, 4)]
    imagined = _dilated(_encode(filled, widths), dilations)
    widths = [g_channels * width for width in (1, 1, 2, 4, 4, 4)]
    copied = _encode(filled, widths, last_activation="relu")
    copied = ContextualAttention()([copied, layers.AveragePooling2D(4, padding="same", dtype="float32")(holes)])
    copied = _gated(_gated(copied, 4 * g_channels), 4 * g_channels)
    refined = _decode(layers.Concatenate()([imagined, copied]), g_channels, channels)

    images = Compose()([colours, holes, refined])
    return keras.Model(source, {"images": images, "coarse": coarse, "refined": refined}, name="generator")


def build_discriminator(channels: int, d_channels: int) -> keras.Model:
    """Returns holes `(batch, height, width, 1)` and images `(..., channels)` -> logits, many for each patch."""
    holes = keras.Input((None, None, 1), name="holes")
    images = keras.Input((None, None, channels), name="images")
    x = layers.Concatenate()([images, holes])
    for width in _D_WIDTHS:
        x = SpectralConv2D(width * d_channels, 5, 2, "same")(x)
        # The last one too, as in the program.
        x = layers.LeakyReLU(0.2)(x)
    return keras.Model([holes, images], layers.Activation("linear", dtype="float32")(x), name="discriminator")


# Widths are those of convolutions, as in the program, half of whose channels are gates.


def _gated(x, width, kernel_size=3, strides=1, dilation_rate=1, activation="elu"):
    return GatedConv2D(
        width // 2, kernel_size, strides=strides, dilation_rate=dilation_rate, padding="same", activation=activation
    )(x)


def _encode(x, widths, last_activation="elu"):
    """Applies six convolutions, which quarter the sides."""
    x = _gated(x, widths[0], kernel_size=5)
    x = _gated(x, widths[1], strides=2)
    x = _gated(x, widths[2])
    x = _gated(x, widths[3], strides=2)
    x = _gated(x, widths[4])
    return _gated(x, widths[5], activation=last_activation)


def _dilated(x, dilations):
    for dilation in dilations:
        x = _gated(x, 2 * x.shape[-1], dilation_rate=dilation)
    return x


def _decode(x, g_channels, channels):
    x = _gated(_gated(x, 4 * g_channels), 4 * g_channels)
    x = _gated(layers.UpSampling2D()(x), 2 * g_channels)
    x = _gated(x, 2 * g_channels)
    x = _gated(layers.UpSampling2D()(x), g_channels)
    x = _gated(x, g_channels // 2)
    x = layers.Conv2D(channels, 3, padding="same")(x)
    return layers.Activation("tanh", dtype="float32")(x)
