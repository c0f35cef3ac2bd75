"""ESRGAN. Wang et al. 2018, https://arxiv.org/abs/1809.00219, and Real-ESRGAN, https://arxiv.org/abs/2107.10833."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import layers

from tfgan_app.base.errors import UsageError
from tfgan_app.layers import BatchNormalization, BilinearUpsample, PixelUnshuffle, SpectralConv2D
from tfgan_app.losses import RelativisticAverage
from tfgan_app.models.superres import SuperResolutionGAN, convolution, dense, scale_of, small_start

__all__ = ["ESRGAN"]

_SCALES = (1, 2, 4, 8)


@keras.saving.register_keras_serializable("tfgan_app")
class ESRGAN(SuperResolutionGAN):
    """Super-resolution by residual dense blocks, against a discriminator that compares pictures with each other.

    Networks and settings are those of BasicSR's program (https://github.com/XPixelGroup/BasicSR). It begins with the
    pixels alone, `gan.compile(**gan.pretrain_arguments())` and `fit`; `SRGAN` shows both phases.

    Real-ESRGAN is this with `discriminator="unet"` on pairs of the degradation `real_esrgan(4)`, the loss
    `NonSaturating(real_label=1.0)`, `pixel_weight=0.5` and an `adversarial_weight` of 0.1: the recipe `esrgan_real`.

    Args:
        source_shape: `(height, width, channels)` of training crops.
        target_shape: Theirs, 1, 2, 4 or 8 times as high and wide. Up to x2 the network works on blocks of 4 or 2 pixels
            as channels, and sides are multiples of that.
        g_channels: Channels of the generator's feature maps.
        growth: Channels that each convolution of a dense block adds.
        blocks: Residual blocks of three dense ones.
        discriminator: `vgg`, one logit a picture, or Real-ESRGAN's `unet`, one a pixel, whose sides are multiples of 8.
        d_channels: Channels of the discriminator's first feature maps; the others have up to eight times as many.
        pixel_weight: Factor of the mean absolute difference in [-1, 1]: the program's 1e-2 in [0, 1].
        perceptual_weight: Factor of the difference of features, 0 for none.
        perceptual: Whose features: an extractor as `tfgan_app.terms.Perceptual` takes one. The weight of 1 is the
            program's for PyTorch's VGG19; features of other networks have other scales.
        perceptual_layers: Which of its layers, as in `Perceptual`.
        **kwargs: `seed` and `name`, as in `TranslationGAN`.

    Raises:
        UsageError: For shapes of another scale, sides that the networks cannot halve, or an unknown discriminator.
    """

    def __init__(
        self,
        source_shape: tuple[int, int, int],
        target_shape: tuple[int, int, int],
        *,
        g_channels: int = 64,
        growth: int = 32,
        blocks: int = 23,
        discriminator: str = "vgg",
        d_channels: int = 64,
        pixel_weight: float = 5e-3,
        perceptual_weight: float = 1.0,
        perceptual: Any = "vgg19",
        perceptual_layers: Sequence[str] | Mapping[str, float] | None = None,
        **kwargs: Any,
    ):
        if discriminator not in _DISCRIMINATORS:
            raise UsageError(f"`discriminator` must be vgg or unet. Received: discriminator={discriminator}")
        super().__init__(
            build_generator(source_shape, target_shape, g_channels, growth, blocks),
            _DISCRIMINATORS[discriminator](target_shape, d_channels),
            source_shape=source_shape,
            target_shape=target_shape,
            multiple=_unshuffled(scale_of("ESRGAN", source_shape, target_shape, _SCALES)),
            **kwargs,
        )
        # Nothing in it normalises by the batch.
        self.joint_pass = discriminator == "unet"

    def compile_defaults(self) -> dict[str, Any]:
        return {**super().compile_defaults(), "loss": RelativisticAverage()}


def build_generator(
    source_shape: tuple[int, int, int],
    target_shape: tuple[int, int, int],
    g_channels: int = 64,
    growth: int = 32,
    blocks: int = 23,
) -> keras.Model:
    """Returns sources `(batch, height, width, channels)` -> images `(batch, scale * height, scale * width, channels)`.

    Arguments are those of `ESRGAN`.
    """
    scale = scale_of("ESRGAN", source_shape, target_shape, _SCALES)
    factor = _unshuffled(scale)
    if any(side % factor for side in source_shape[:2]):
        raise UsageError(
            f"Sides of training sources must be multiples of {factor} where ESRGAN enlarges by {scale}. Received: "
            f"source_shape={tuple(source_shape)}"
        )
    source = keras.Input((None, None, source_shape[-1]), name="source")
    x = first = convolution(PixelUnshuffle(factor)(source) if factor > 1 else source, g_channels)
    for _ in range(blocks):
        y = x
        for _ in range(3):
            y = _dense_block(y, g_channels, growth)
        x = _scaled_sum(x, y)
    x = layers.Add()([first, convolution(x, g_channels)])
    for _ in range((scale * factor).bit_length() - 1):
        x = layers.LeakyReLU(0.2)(convolution(layers.UpSampling2D(2)(x), g_channels))
    x = layers.LeakyReLU(0.2)(convolution(x, g_channels))
    return keras.Model(source, convolution(x, target_shape[-1], dtype="float32"), name="generator")


def _unshuffled(scale):
    """Returns the side of the blocks of pixels that become channels: the network itself enlarges by 4 or more."""
    return max(4 // scale, 1)


def _dense_block(x, channels, growth):
    known = [x]
    for _ in range(4):
        y = convolution(_joined(known), growth, start=small_start)
        known.append(layers.LeakyReLU(0.2)(y))
    return _scaled_sum(x, convolution(_joined(known), channels, start=small_start))


def _joined(parts):
    return layers.Concatenate()(parts) if len(parts) > 1 else parts[0]


def _scaled_sum(x, residual):
    return layers.Add()([x, layers.Rescaling(0.2)(residual)])


def build_vgg_discriminator(target_shape: tuple[int, int, int], d_channels: int = 64) -> keras.Model:
    """Returns images `(batch, *target_shape)` -> logits `(batch, 1)`.

    It halves sides until the shorter is at most 4: five times at 128, as the program does, which has 256 besides.
    """
    images = keras.Input(target_shape, name="images")
    x, side, width = images, min(target_shape[:2]), d_channels
    while side > 4 or x is images:
        first = x is images
        x = convolution(x, width) if first else BatchNormalization()(convolution(x, width, use_bias=False))
        x = layers.LeakyReLU(0.2)(x)
        x = convolution(x, width, 4, strides=2, use_bias=False)
        x = layers.LeakyReLU(0.2)(BatchNormalization()(x))
        side, width = -(-side // 2), min(2 * width, 8 * d_channels)
    x = layers.LeakyReLU(0.2)(dense(layers.Flatten()(x), 100))
    return keras.Model(images, dense(x, 1, dtype="float32"), name="discriminator")


def build_unet_discriminator(target_shape: tuple[int, int, int], d_channels: int = 64) -> keras.Model:
    """Returns images `(batch, *target_shape)` -> logits `(batch, height, width, 1)`, with spectral normalisation.

    Real-ESRGAN, section 3.3 and figure 6.
    """
    if any(side % 8 for side in target_shape[:2]):
        raise UsageError(
            "`discriminator=unet` halves sides three times: take crops of multiples of 8, or `discriminator=vgg`. "
            f"Received: target_shape={tuple(target_shape)}"
        )

    def normalised(x, width, size=3, strides=1):
        x = convolution(x, width * d_channels, size, kind=SpectralConv2D, use_bias=False, strides=strides)
        return layers.LeakyReLU(0.2)(x)

    images = keras.Input(target_shape, name="images")
    x = layers.LeakyReLU(0.2)(convolution(images, d_channels))
    skips = []
    for width in (2, 4, 8):
        skips.append(x)
        x = normalised(x, width, 4, strides=2)
    for width, skip in zip((4, 2, 1), reversed(skips), strict=True):
        x = layers.Add()([normalised(BilinearUpsample()(x), width), skip])
    x = normalised(normalised(x, 1), 1)
    return keras.Model(images, convolution(x, 1, dtype="float32"), name="discriminator")


_DISCRIMINATORS = {"vgg": build_vgg_discriminator, "unet": build_unet_discriminator}
