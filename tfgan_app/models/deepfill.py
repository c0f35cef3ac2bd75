"""DeepFill v2. Yu et al. 2019, Free-Form Image Inpainting with Gated Convolution, https://arxiv.org/abs/1806.03589."""

from collections.abc import Sequence

import keras
from keras import layers, ops

from tfgan_app.layers import ContextualAttention, GatedConv2D, SpectralConv2D
from tfgan_app.models.inpainting import Compose, SplitHoles

__all__ = ["build_discriminator", "build_generator"]

_D_WIDTHS = (1, 2, 4, 4, 4, 4)


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
    # A feature is in a hole if any of its 16 pixels is.
    copied = ContextualAttention()([copied, layers.MaxPooling2D(4, padding="same", dtype="float32")(holes)])
    copied = _gated(_gated(copied, 4 * g_channels), 4 * g_channels)
    refined = _decode(layers.Concatenate()([imagined, copied]), g_channels, channels)

    images = Compose()([colours, holes, refined])
    return keras.Model(source, {"images": images, "coarse": coarse, "refined": refined}, name="generator")


def build_discriminator(channels: int, d_channels: int) -> keras.Model:
    """Returns images `(batch, height, width, channels)` and holes `(..., 1)` -> logits, 256 a patch."""
    images = keras.Input((None, None, channels), name="images")
    holes = keras.Input((None, None, 1), name="holes")
    x = layers.Concatenate()([images, holes])
    for width in _D_WIDTHS:
        x = SpectralConv2D(width * d_channels, 5, 2, "same")(x)
        # The last one too, as in the program.
        x = layers.LeakyReLU(0.2)(x)
    return keras.Model([images, holes], layers.Activation("linear", dtype="float32")(x), name="discriminator")


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
