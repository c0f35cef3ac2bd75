"""PatchGAN, a discriminator that judges overlapping patches. Isola et al. 2017, https://arxiv.org/abs/1611.07004."""

from collections.abc import Callable

import keras
from keras import layers

from tfgan_app.base.errors import UsageError
from tfgan_app.layers import BatchNormalization, Conv2D, InstanceNormalization

__all__ = ["init", "normalization", "patch_layers", "patch_logits"]

# The layers of the papers' discriminator, and the most channels as a multiple of the first layer's.
_LAYERS = 3
_WIDEST = 8


def init() -> keras.initializers.Initializer:
    """Returns what kernels start from: N(0, 0.02)."""
    return keras.initializers.RandomNormal(stddev=0.02)


def normalization(kind: str) -> Callable[[], keras.layers.Layer]:
    """Returns what makes a normalisation of a kind.

    Args:
        kind: "instance" or "batch", both with a scale, which starts from N(1, 0.02), and an offset; or "plain",
            instance normalisation without.

    Raises:
        UsageError: For another kind.
    """
    # Made anew for each layer: an initializer gives all that have it the same numbers.
    kinds: dict[str, Callable[[], keras.layers.Layer]] = {
        "plain": InstanceNormalization,
        "instance": lambda: InstanceNormalization(affine=True, gamma_initializer=_scales()),
        "batch": lambda: BatchNormalization(gamma_initializer=_scales()),
    }
    if kind not in kinds:
        raise UsageError(f"`norm` must be instance or batch. Received: norm={kind!r}")
    return kinds[kind]


def patch_layers(height: int, width: int) -> int:
    """Returns how many layers halve the picture: the papers' 3, or fewer where the patch would exceed the picture.

    With 3 the patch is 70x70, with 2 34x34, with 1 16x16.
    """
    fitting = [number for number in range(1, _LAYERS + 1) if patch_side(number) <= min(height, width)]
    return max(fitting, default=1)


def patch_side(number: int) -> int:
    """Returns the side of the patch that a logit sees."""
    if not number:
        return 1
    side = 7  # of the two last convolutions, of stride 1
    for _ in range(number):
        side = 2 * (side - 1) + 4
    return side


def patch_logits(x: keras.KerasTensor, channels: int, number: int, norm: str) -> keras.KerasTensor:
    """Applies the discriminator's layers to a tensor `(batch, height, width, channels)`.

    4x4 convolutions with leaky ReLU (0.2), padded by one row of zeros on each side: one of stride 2, `number - 1` more
    with twice the channels each, one of stride 1, and the logits. Where a normalisation follows that has an offset,
    convolutions have none.

    Args:
        x: The pictures.
        channels: Of the first layer; up to eight times as many further on.
        number: How many layers halve the picture. 0 is the 1x1 "PixelGAN", which judges each pixel by itself.
        norm: As in `normalization`; neither the first layer nor the last has one.

    Returns:
        float32 logits `(batch, rows, columns, 1)`.
    """
    normalize, biased = normalization(norm), norm == "plain"
    if not number:
        x = layers.LeakyReLU(0.2)(Conv2D(channels, 1, kernel_initializer=init())(x))
        x = Conv2D(2 * channels, 1, use_bias=biased, kernel_initializer=init())(x)
        x = layers.LeakyReLU(0.2)(normalize()(x))
        return Conv2D(1, 1, use_bias=biased, kernel_initializer=init(), dtype="float32")(x)
    x = layers.LeakyReLU(0.2)(_convolution(x, channels, 2))
    for index in range(1, number + 1):
        stride = 2 if index < number else 1
        x = _convolution(x, channels * min(2**index, _WIDEST), stride, use_bias=biased)
        x = layers.LeakyReLU(0.2)(normalize()(x))
    return _convolution(x, 1, 1, dtype="float32")


def _scales():
    return keras.initializers.RandomNormal(1.0, 0.02)


def _convolution(x, channels, stride, **kwargs):
    # Not `same`, which pads an odd side, and any where the stride is 1, unevenly. TensorFlow's own explicit padding
    # takes thirty times as long in bfloat16 on a CPU.
    x = layers.ZeroPadding2D(1)(x)
    return Conv2D(channels, 4, stride, kernel_initializer=init(), **kwargs)(x)
