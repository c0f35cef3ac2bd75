"""Pix2Pix. Isola et al. 2017, https://arxiv.org/abs/1611.07004."""

from typing import Any

import keras
from keras import layers

from tfgan_app.base.errors import UsageError
from tfgan_app.layers import Conv2D, Conv2DTranspose, LabColour, SeededDropout
from tfgan_app.losses import NonSaturating
from tfgan_app.models.patch_gan import init, normalization, patch_layers, patch_logits
from tfgan_app.terms import L1
from tfgan_app.translation import TranslationGAN

__all__ = ["Pix2Pix", "build_discriminator", "build_generator"]

_DEEPEST = 8  # halvings, as of 256x256 pictures
_WIDEST = 8  # times the channels of the first layer
_DROPOUT_FROM = 4  # the first level that the program drops out


@keras.saving.register_keras_serializable("tfgan_app")
class Pix2Pix(TranslationGAN):
    """A U-Net that translates pictures, judged in patches beside their sources, with L1 to the target.

    Networks and settings are those of the authors' program (https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix):
    4x4 convolutions that halve the picture until a pixel is left, as many that double it, each of which also sees what
    the encoder had at its size; a 70x70 PatchGAN on source and picture. Its learning rate falls to 0 over the
    second half of training, as `decay_learning_rates` and `decay_from` do.

    The paper normalises by the batch, of one picture, in training and when it translates. That is instance
    normalisation with a scale and an offset, as here: a picture's result depends on no other, and on the same
    statistics as in training. In larger batches the two differ, and `norm="batch"` is then the program's.

    The noise is dropout in the decoder, kept when translating: `translate(images, seed=1)` draws another mask than
    `seed=0`, the same for every picture, and `seed=None` none.

    Args:
        source_shape: `(height, width, channels)` of the sources in training. Both sides must be even.
        target_shape: That of the targets, of the same height and width.
        g_channels: Channels of the U-Net's first layer; the widest have eight times as many.
        d_channels: Channels of the discriminator's first layer, likewise.
        depth: How often the U-Net halves a picture, at least 2. By default as often as the sides allow, at most 8: its
            program's U-Net-256 has 8, U-Net-128 7, 28x28 pictures allow 2. Where it translates, a side that
            `2 ** depth` does not divide is padded.
        d_layers: How many layers of the discriminator halve the picture. By default 3, whose patches are 70x70, or
            fewer where these exceed the picture; 0 judges each pixel by itself.
        dropout: The rate in the decoder, in [0, 1): in the layers between the innermost and the fourth from outside,
            which depths from 6 on have.
        norm: "instance" or "batch". The latter takes moving averages when translating.
        keep_lightness: Whether the U-Net only chooses the colour (a* and b* of CIELAB) for a grey source, whose
            lightness is then exactly the result's. Sources have 1 channel, targets 3.
        l1_weight: Factor of the L1 distance to the target.
        **kwargs: `seed` and `name`, as in `TranslationGAN`.

    Raises:
        UsageError: For shapes or a depth that do not fit, or another norm.
    """

    def __init__(
        self,
        source_shape: tuple[int, int, int],
        target_shape: tuple[int, int, int],
        *,
        g_channels: int = 64,
        d_channels: int = 64,
        depth: int | None = None,
        d_layers: int | None = None,
        dropout: float = 0.5,
        norm: str = "instance",
        keep_lightness: bool = False,
        l1_weight: float = 100.0,
        **kwargs: Any,
    ):
        depth = _checked_depth(source_shape, target_shape, depth)
        if keep_lightness and (source_shape[-1], target_shape[-1]) != (1, 3):
            raise UsageError(
                "`keep_lightness=True` colours grey pictures: sources have 1 channel and targets 3. Received: "
                f"source_shape={tuple(source_shape)}, target_shape={tuple(target_shape)}"
            )
        if d_layers is None:
            d_layers = patch_layers(*target_shape[:2])
        super().__init__(
            build_generator(source_shape[-1], target_shape[-1], g_channels, depth, dropout, norm, keep_lightness),
            build_discriminator(source_shape[-1], target_shape[-1], d_channels, d_layers, norm),
            source_shape=source_shape,
            target_shape=target_shape,
            multiple=2**depth,
            **kwargs,
        )
        self.l1_weight = l1_weight
        # The batch's statistics are those of real samples or of fakes, not of both.
        self.joint_pass = norm == "instance"

    def compile_defaults(self) -> dict[str, Any]:
        return {"loss": NonSaturating(real_label=1.0), "terms": [L1(self.l1_weight)]}


def build_generator(
    source_channels: int,
    channels: int,
    base_channels: int,
    depth: int,
    dropout: float = 0.5,
    norm: str = "instance",
    keep_lightness: bool = False,
) -> keras.Model:
    """Returns the U-Net: sources `(batch, height, width, source_channels)`, and a seed where anything is dropped out.

    Args:
        source_channels: Channels of a source.
        channels: Channels of a result, which lies in [-1, 1].
        base_channels: Channels of the first layer.
        depth: Halvings; the sides must be multiples of `2 ** depth`.
        dropout: Rate of dropout.
        norm: "instance" or "batch".
        keep_lightness: Whether the source is the result's lightness.
    """
    source = keras.Input((None, None, source_channels), name="source")
    seed = keras.Input(batch_shape=(2,), dtype="int64", name="seed")
    normalize = normalization(norm)
    widths = [base_channels * min(2**level, _WIDEST) for level in range(depth)]
    x, skips = source, []
    for level, width in enumerate(widths):
        x = layers.LeakyReLU(0.2)(x) if level else x
        # Of even sides, `same` pads by one row of zeros on each.
        x = Conv2D(width, 4, 2, "same", use_bias=False, kernel_initializer=init())(x)
        # A norm over the single pixel that may be left would leave nothing.
        x = normalize()(x) if 0 < level < depth - 1 else x
        skips.append(x)
    skips.pop()
    inputs = [source]
    for level in reversed(range(1, depth)):
        x = layers.ReLU()(x)
        x = Conv2DTranspose(widths[level - 1], 4, 2, "same", use_bias=False, kernel_initializer=init())(x)
        x = normalize()(x)
        if dropout and _DROPOUT_FROM <= level < depth - 1:
            x = SeededDropout(dropout, number=level)([x, seed])
            inputs = [source, seed]
        x = layers.Concatenate()([skips.pop(), x])
    x = layers.ReLU()(x)
    x = Conv2DTranspose(2 if keep_lightness else channels, 4, 2, "same", kernel_initializer=init())(x)
    x = layers.Activation("tanh", dtype="float32")(x)
    outputs = LabColour()([source, x]) if keep_lightness else x
    return keras.Model(inputs if inputs[1:] else source, outputs, name="generator")


def build_discriminator(
    source_channels: int, channels: int, base_channels: int, number: int, norm: str = "instance"
) -> keras.Model:
    """Returns the PatchGAN: a source and a picture -> logits `(batch, rows, columns, 1)`; see `patch_logits`."""
    source = keras.Input((None, None, source_channels), name="source")
    images = keras.Input((None, None, channels), name="images")
    logits = patch_logits(layers.Concatenate()([source, images]), base_channels, number, norm)
    return keras.Model([source, images], logits, name="discriminator")


def _checked_depth(source_shape, target_shape, depth):
    """Returns how often the U-Net halves pictures of these shapes."""
    sides = tuple(source_shape[:2])
    if tuple(target_shape[:2]) != sides:
        raise UsageError(
            "Pix2Pix keeps a picture's size; `SRGAN` enlarges. Received: "
            f"source_shape={tuple(source_shape)}, target_shape={tuple(target_shape)}"
        )
    possible = min((side & -side).bit_length() - 1 for side in sides)
    wanted = min(possible, _DEEPEST) if depth is None else depth
    if not 2 <= wanted <= possible:
        raise UsageError(
            f"`depth`: the U-Net halves a picture at least twice, and {sides[0]}x{sides[1]} can be halved {possible} "
            "times. Take sides that are multiples of 4, better of a large power of two: `crop=256`. Received: "
            f"source_shape={tuple(source_shape)}, depth={depth}"
        )
    return wanted
