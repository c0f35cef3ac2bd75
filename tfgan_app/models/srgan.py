"""SRGAN. Ledig et al. 2016, https://arxiv.org/abs/1609.04802."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import layers

from tfgan_app.base.errors import UsageError
from tfgan_app.layers import BatchNormalization, BilinearUpsample, PixelShuffle, PReLU
from tfgan_app.losses import NonSaturating
from tfgan_app.models.superres import SuperResolutionGAN, convolution, dense, scale_of, small_start

__all__ = ["SRGAN"]

_SCALES = (1, 2, 3, 4, 8)


@keras.saving.register_keras_serializable("tfgan_app")
class SRGAN(SuperResolutionGAN):
    """Super-resolution: a residual network that is trained by pixels first, then against a discriminator of pictures.

    The settings are those of BasicSR's program (https://github.com/XPixelGroup/BasicSR), whose networks without batch
    normalisation train faster to better pictures than the paper's. Both phases, in a notebook:

        gan = tg.models.SRGAN((32, 32, 3), (128, 128, 3))
        gan.compile(**gan.pretrain_arguments())  # SRResNet: the pixels alone, the discriminator rests
        gan.fit(pairs, epochs=100)
        gan.compile()                     # then SRGAN
        gan.fit(pairs, epochs=40)

    Args:
        source_shape: `(height, width, channels)` of training crops.
        target_shape: Theirs, 1, 2, 3, 4 or 8 times as high and wide.
        form: The generator. `msrresnet`: BasicSR's, without batch normalisation, which adds to a bilinear enlargement
            (1 517 571 parameters at x4). `srresnet`: the paper's (1 549 462). `compact`: Real-ESRGAN's SRVGGNetCompact,
            which computes all at the source's size and adds to the enlarged pixels: about four times as fast
            (https://arxiv.org/abs/2107.10833, https://github.com/xinntao/Real-ESRGAN).
        g_channels: Channels of the generator's feature maps.
        blocks: Its residual blocks; of `compact` its convolutions between the first and the last.
        slope: Whether a slope of PReLU serves a `layer` or a `channel`, with `srresnet`.
        d_channels: Channels of the discriminator's first feature maps; the others have up to eight times as many.
        d_units: Units of its dense layer.
        pixel_weight: Factor of the mean absolute difference in [-1, 1]: the program's 1e-2 in [0, 1].
        perceptual_weight: Factor of the difference of features, 0 for none.
        perceptual: Whose features: an extractor as `tfgan_app.terms.Perceptual` takes one. The weight of 1 is the
            program's for PyTorch's VGG19; features of other networks have other scales.
        perceptual_layers: Which of its layers, as in `Perceptual`.
        **kwargs: `seed` and `name`, as in `TranslationGAN`.

    Raises:
        UsageError: For shapes of another scale, sources of other channels where the generator adds to them, or an
            unknown form.
    """

    def __init__(
        self,
        source_shape: tuple[int, int, int],
        target_shape: tuple[int, int, int],
        *,
        form: str = "msrresnet",
        g_channels: int = 64,
        blocks: int = 16,
        slope: str = "layer",
        d_channels: int = 64,
        d_units: int = 1024,
        pixel_weight: float = 5e-3,
        perceptual_weight: float = 1.0,
        perceptual: Any = "vgg19",
        perceptual_layers: Sequence[str] | Mapping[str, float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            build_generator(source_shape, target_shape, form, g_channels, blocks, slope),
            build_discriminator(target_shape, d_channels, d_units),
            source_shape=source_shape,
            target_shape=target_shape,
            **kwargs,
        )

    def compile_defaults(self) -> dict[str, Any]:
        return {**super().compile_defaults(), "loss": NonSaturating(real_label=1.0)}


def build_generator(
    source_shape: tuple[int, int, int],
    target_shape: tuple[int, int, int],
    form: str = "msrresnet",
    g_channels: int = 64,
    blocks: int = 16,
    slope: str = "layer",
) -> keras.Model:
    """Returns sources `(batch, height, width, channels)` -> images `(batch, scale * height, scale * width, channels)`.

    Arguments are those of `SRGAN`.
    """
    if form not in _FORMS or slope not in _SHARED:
        raise UsageError(
            f"`form` must be one of {', '.join(_FORMS)}, and `slope` layer or channel. Received: form={form}, "
            f"slope={slope}"
        )
    scale = scale_of("SRGAN", source_shape, target_shape, _SCALES)
    if form != "srresnet" and source_shape[-1] != target_shape[-1]:
        raise UsageError(
            f"`form={form}` adds to its enlarged source, so both have the same channels; `form=srresnet` does not. "
            f"Received: sources of {source_shape[-1]}, targets of {target_shape[-1]}"
        )
    source = keras.Input((None, None, source_shape[-1]), name="source")
    outputs = _FORMS[form](source, target_shape[-1], scale, g_channels, blocks, slope)
    return keras.Model(source, outputs, name="generator")


def _msrresnet(source, out, scale, channels, blocks, _):
    def rectified(x):
        return layers.LeakyReLU(0.1)(x)

    x = rectified(convolution(source, channels, start=small_start))
    for _ in range(blocks):
        y = layers.ReLU()(convolution(x, channels, start=small_start))
        x = layers.Add()([x, convolution(y, channels, start=small_start)])
    for factor in _factors(scale):
        x = rectified(PixelShuffle(factor)(convolution(x, factor**2 * channels, start=small_start)))
    x = rectified(convolution(x, channels, start=small_start))
    x = convolution(x, out, start=small_start)
    return _added(BilinearUpsample(scale, dtype="float32")(source), x)


def _srresnet(source, out, scale, channels, blocks, slope):
    def rectified(x):
        return PReLU(keras.initializers.Constant(0.25), shared_axes=_SHARED[slope])(x)

    x = first = rectified(convolution(source, channels, 9))
    for _ in range(blocks):
        y = rectified(BatchNormalization()(convolution(x, channels)))
        x = layers.Add()([x, BatchNormalization()(convolution(y, channels))])
    x = layers.Add()([first, BatchNormalization()(convolution(x, channels))])
    for factor in _factors(scale):
        x = rectified(PixelShuffle(factor)(convolution(x, factor**2 * channels)))
    return convolution(x, out, 9, dtype="float32")


def _compact(source, out, scale, channels, blocks, _):
    x = source
    for _ in range(blocks + 1):
        x = PReLU(keras.initializers.Constant(0.25), shared_axes=_SHARED["channel"])(convolution(x, channels))
    x = PixelShuffle(scale)(convolution(x, scale**2 * out))
    return _added(layers.UpSampling2D(scale, dtype="float32")(source), x)


_FORMS = {"msrresnet": _msrresnet, "srresnet": _srresnet, "compact": _compact}
_SHARED = {"layer": (1, 2, 3), "channel": (1, 2)}


def _factors(scale):
    """Returns by how much each step enlarges: 3 at once, powers of two in doublings."""
    return [scale] if scale == 3 else [2] * (scale.bit_length() - 1)


def _added(enlarged, x):
    """Returns what a network adds to the enlarged source, and that, in float32."""
    return layers.Add(dtype="float32")([enlarged, x])


def build_discriminator(target_shape: tuple[int, int, int], d_channels: int = 64, d_units: int = 1024) -> keras.Model:
    """Returns images `(batch, *target_shape)` -> logits `(batch, 1)`, by the paper's figure 4.

    Arguments are those of `SRGAN`.
    """
    images = keras.Input(target_shape, name="images")
    x = layers.LeakyReLU(0.2)(convolution(images, d_channels))
    for width, stride in ((1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2)):
        x = BatchNormalization()(convolution(x, width * d_channels, strides=stride))
        x = layers.LeakyReLU(0.2)(x)
    x = layers.LeakyReLU(0.2)(dense(layers.Flatten()(x), d_units))
    return keras.Model(images, dense(x, 1, dtype="float32"), name="discriminator")
