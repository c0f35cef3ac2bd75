"""The residual networks of WGAN-GP, SNGAN, the projection discriminator, SAGAN and BigGAN.

Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, appendix F, and Miyato et al. 2018,
https://arxiv.org/abs/1802.05957, appendix B. Widths and halvings are those of the authors' programs: SNGAN's and the
projection discriminator's from 64x64 to 256x256 (https://github.com/pfnet-research/sngan_projection), to 32x32 also
WGAN-GP's, for 48x48 SNGAN's for STL-10. WGAN-GP's program has networks of its own for 64x64, with layer normalisation;
here it takes SNGAN's. Images of other shapes have the widths of those that double as often.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import keras
from keras import layers

from tfgan_app.base.sizes import Size
from tfgan_app.conditions import Condition
from tfgan_app.layers import (
    BatchNormalization,
    ConditionalBatchNormalization,
    Conv2D,
    SelfAttention,
    SpectralConv2D,
    SpectralDense,
)
from tfgan_app.models.sides import start_and_doublings

__all__ = [
    "attention_sides",
    "build_discriminator",
    "build_generator",
    "conv",
    "decode",
    "encode",
    "growing",
    "plain_norm",
    "resolution",
    "small",
]

_INIT = "glorot_uniform"


def build_generator(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    channels: int | None = None,
    condition: Condition | None = None,
    spectral: bool = False,
    attention_at: int | None = None,
) -> keras.Model:
    """Returns latents `(batch, latent_dim)`, and a condition if any -> images `(batch, *image_shape)` in [-1, 1].

    Args:
        image_shape: `(height, width, channels)`.
        latent_dim: Length of the latents.
        channels: Width beside the image: of all layers to 32x32, above growing with each halving to 16 times as much.
            By default 256 and 64.
        condition: What scales and offsets in batch normalisation go by; None for nothing.
        spectral: Whether the layers are spectrally normalised.
        attention_at: Shorter side of the feature map on which self-attention acts; None for none.
    """
    inputs = [keras.Input((latent_dim,), name="latents")]
    norm = plain_norm
    if condition is not None:
        inputs.append(condition.input())
        norm = _conditional_norm(inputs[1], condition)
    (height, width), doublings = resolution(image_shape)
    if channels is None:
        channels = 256 if small(image_shape) else 64
    widths = _widths(image_shape, channels, doublings + 1)[::-1]
    convolution = SpectralConv2D if spectral else Conv2D
    dense = SpectralDense if spectral else layers.Dense
    x = dense(height * width * widths[0], kernel_initializer=_INIT)(inputs[0])
    x = layers.Reshape((height, width, widths[0]))(x)
    convolve = functools.partial(conv, convolution)
    to_image = convolution(image_shape[-1], 3, padding="same", kernel_initializer=_INIT)
    images = decode(x, widths, [norm] * doublings, convolve, to_image, attention_at)
    return keras.Model(inputs if condition else inputs[0], images, name="generator")


def build_discriminator(
    image_shape: tuple[int, int, int],
    channels: int | None = None,
    condition: Condition | None = None,
    spectral: bool = False,
    attention_at: int | None = None,
    wide: bool = False,
    mean: bool = False,
) -> keras.Model:
    """Returns images `(batch, *image_shape)`, and a condition if there is one -> logits `(batch, 1)`.

    It enters by projection: `logits = w . features + V[label] . features`, Miyato and Koyama 2018,
    https://arxiv.org/abs/1802.05637, equation 11.

    Args:
        image_shape: `(height, width, channels)`.
        channels: As in `build_generator`; by default 128 to 32x32 and 64 above.
        condition: What is projected, None for nothing.
        spectral: As in `build_generator`.
        attention_at: As in `build_generator`.
        wide: As in `encode`.
        mean: As in `encode`.
    """
    images = keras.Input(image_shape, name="images")
    start, doublings = resolution(image_shape)
    if channels is None:
        channels = 128 if small(image_shape) else 64
    if small(image_shape):
        # Two blocks halve small images, and two stay at the quarter.
        widths, halvings = _widths(image_shape, channels, 4), 2
    else:
        # Above 64x64 the last block does not halve. At 64x64 it does, and at 48x48 one follows that does not; where the
        # smallest map of G has an odd side, none halves it.
        widths = _widths(image_shape, channels, doublings + 1 + (doublings < 4))
        halvings = doublings + (doublings <= 4 and start[0] % 2 == start[1] % 2 == 0)
    convolve = functools.partial(conv, SpectralConv2D if spectral else Conv2D)
    features = encode(images, widths, halvings, convolve, attention_at, wide=wide, mean=mean)
    return project(images, features, condition, spectral)


def project(
    images: keras.KerasTensor,
    features: keras.KerasTensor,
    condition: Condition | None,
    spectral: bool = True,
    init: str = _INIT,
) -> keras.Model:
    """Returns the discriminator that ends in a dense layer on `features`, and a projection of a condition on them."""
    dense = SpectralDense if spectral else layers.Dense
    logits = dense(1, kernel_initializer=init, dtype="float32")(features)
    if condition is None:
        return keras.Model(images, logits, name="discriminator")
    told = condition.input()
    embedding = condition.embed(told, features.shape[-1], init, spectral=spectral, dtype="float32")
    logits = layers.Add()([logits, layers.Dot(1, dtype="float32")([embedding, features])])
    return keras.Model([images, told], logits, name="discriminator")


def decode(
    x: keras.KerasTensor,
    widths: Sequence[int],
    norms: Sequence[Callable[[keras.KerasTensor], keras.KerasTensor]],
    conv: Callable[..., layers.Layer],
    to_image: layers.Layer,
    attention_at: int | None = None,
    attention: Callable[[], layers.Layer] = SelfAttention,
) -> keras.KerasTensor:
    """Applies a residual generator to the smallest feature map; returns images in [-1, 1].

    Args:
        x: `(batch, height, width, widths[0])`.
        widths: Widths of `x` and of the blocks, each of which doubles the sides.
        norms: For each block a function of a feature map that returns it normalised.
        conv: A function of width and side of the kernel, and of `resample` as in `Conv2D`, that returns a convolution.
        to_image: The last convolution.
        attention_at: As in `build_generator`.
        attention: A function that returns the layer of self-attention.
    """
    for width, norm in zip(widths[1:], norms, strict=True):
        # A 1x1 convolution commutes with the upsampling, and is four times cheaper before it.
        shortcut = layers.UpSampling2D()(conv(width, 1)(x))
        x = conv(width, 3, resample="up")(layers.ReLU()(norm(x)))
        x = conv(width, 3)(layers.ReLU()(norm(x)))
        x = layers.Add()([x, shortcut])
        if min(x.shape[1:3]) == attention_at:
            x = attention()(x)
    x = to_image(layers.ReLU()(plain_norm(x)))
    return layers.Activation("tanh", dtype="float32")(x)


def encode(
    x: keras.KerasTensor,
    widths: Sequence[int],
    halvings: int,
    conv: Callable[..., layers.Layer],
    attention_at: int | None = None,
    attention: Callable[[], layers.Layer] = SelfAttention,
    wide: bool = False,
    mean: bool = False,
) -> keras.KerasTensor:
    """Applies a residual discriminator to images; returns features `(batch, widths[-1])`, summed over positions.

    Args:
        x: Images `(batch, height, width, channels)`.
        widths: Widths of the blocks.
        halvings: How many of them, from the first on, halve the sides.
        conv: As in `decode`.
        attention_at: As in `build_generator`: there the first block of that shorter side is followed by attention.
        attention: As in `decode`.
        wide: Whether a block widens in its first convolution, as in SAGAN and BigGAN, rather than its second, as in
            SNGAN.
        mean: Whether features are averaged over positions, as in WGAN-GP, rather than summed.
    """
    for index, width in enumerate(widths):
        first, down = index == 0, index < halvings
        shortcut = x
        # The first block sees images, which need no activation.
        x = conv(width if first or wide else x.shape[-1], 3)(x if first else layers.ReLU()(x))
        x = conv(width, 3, resample="down" if down else None)(layers.ReLU()(x))
        if down:
            shortcut = layers.AveragePooling2D(2)(shortcut)
        if down or width != shortcut.shape[-1]:
            shortcut = conv(width, 1)(shortcut)
        x = layers.Add()([x, shortcut])
        if min(x.shape[1:3]) == attention_at:
            x, attention_at = attention()(x), None
    x = layers.ReLU()(x)
    positions = 1 if mean else x.shape[1] * x.shape[2]
    # To sum in 16 bits would lose digits: the mean, scaled in float32, is the same.
    return layers.Rescaling(positions, dtype="float32")(layers.GlobalAveragePooling2D()(x))


def resolution(image_shape: tuple[int, int, int]) -> tuple[Size, int]:
    """Returns `start_and_doublings` of the residual networks."""
    return start_and_doublings("This model", image_shape)


def small(image_shape: Sequence[int]) -> bool:
    """Whether images have the networks for 32x32."""
    return max(image_shape[:2]) <= 32


def growing(count: int) -> tuple[int, ...]:
    """Returns `count` widths from an image above 32x32 on, in units of the first."""
    # 64x64 and 128x128 double to 16 times the first, 256x256 stays at 8 for one more block. Larger images, which
    # these papers have none of, begin with more blocks of the first width, as BigGAN does at 512x512.
    return (1, 2, 4, 8, 16, 16)[:count] if count <= 6 else (*(1,) * (count - 7), 1, 2, 4, 8, 8, 16, 16)


def attention_sides(image_shape: tuple[int, int, int]) -> list[int]:
    """Returns the shorter sides of the feature maps between the smallest and the image, which both networks have."""
    start, doublings = resolution(image_shape)
    return [min(start) * 2**index for index in range(1, doublings)]


def conv(cls: type[Conv2D], width: int, side: int, resample: Literal["up", "down"] | None = None) -> Conv2D:
    """Returns a convolution of a class, initialised after Glorot; with gain sqrt 2 where a ReLU precedes it."""
    init = keras.initializers.VarianceScaling(2.0, "fan_avg", "uniform") if side == 3 else _INIT
    return cls(width, side, padding="same", kernel_initializer=init, resample=resample)


def plain_norm(x: keras.KerasTensor) -> keras.KerasTensor:
    """Batch normalisation with its own scale and offset."""
    return BatchNormalization()(x)


def _conditional_norm(told, condition):
    """Returns batch normalisation with a scale and an offset that go by the condition."""

    def norm(x):
        scale, offset = (condition.embed(told, x.shape[-1], "zeros") for _ in range(2))
        return ConditionalBatchNormalization()([x, scale, offset])

    return norm


def _widths(image_shape, channels, count):
    """Returns `count` widths from the image on."""
    return [channels] * count if small(image_shape) else [channels * factor for factor in growing(count)]
