"""What GANs of super-resolution share: their scale, their two phases, and convolutions that start as PyTorch's do."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tfgan_app.base.errors import UsageError
from tfgan_app.layers import Conv2D
from tfgan_app.optimizers import Adam
from tfgan_app.terms import L1, Perceptual, Term
from tfgan_app.translation import TranslationGAN

__all__ = ["SuperResolutionGAN", "convolution", "dense", "plain_start", "scale_of", "small_start"]


class SuperResolutionGAN(TranslationGAN):
    """A GAN that enlarges, trained in two phases by the settings of BasicSR's program."""

    def compile_defaults(self) -> dict[str, Any]:
        return {
            "g_optimizer": Adam(1e-4, beta_1=0.9, beta_2=0.99),
            "d_optimizer": Adam(1e-4, beta_1=0.9, beta_2=0.99),
            "terms": _content_terms(self.arguments),
            "adversarial_weight": 5e-3,
        }

    def pretrain_arguments(self) -> dict[str, Any]:
        """Returns the arguments of `compile` for the first phase, in which the generator learns by pixels alone."""
        return {"g_optimizer": Adam(2e-4, beta_1=0.9, beta_2=0.99), "terms": [L1()], "n_critic": 0}


def scale_of(
    model: str, source_shape: tuple[int, int, int], target_shape: tuple[int, int, int], scales: Sequence[int]
) -> int:
    """Returns by how much a target is larger than its source.

    Args:
        model: What an error calls the model.
        source_shape: `(height, width, channels)`.
        target_shape: Likewise.
        scales: The scales that there are.

    Raises:
        UsageError: For sides that differ by another factor, or by two.
    """
    scale = target_shape[0] // source_shape[0]
    if scale not in scales or tuple(target_shape[:2]) != tuple(scale * side for side in source_shape[:2]):
        *most, last = scales
        raise UsageError(
            f"{model} enlarges both sides by one factor, {', '.join(map(str, most))} or {last}: "
            f"`target_shape={_shape(scales[-1] * source_shape[0], scales[-1] * source_shape[1], target_shape[2])}` for "
            f"one. Received: source_shape={_shape(*source_shape)}, target_shape={_shape(*target_shape)}"
        )
    return scale


def _shape(*sides):
    return f"({','.join(map(str, sides))})"


def _content_terms(arguments: dict[str, Any]) -> list[Term]:
    """Returns what a generator minimises beside the adversarial loss, for a model's arguments: pixels and features."""
    terms: list[Term] = [L1(arguments["pixel_weight"])] if arguments["pixel_weight"] else []
    if arguments["perceptual_weight"]:
        extractor, layers = arguments["perceptual"], arguments["perceptual_layers"]
        terms.append(Perceptual(extractor, layers, arguments["perceptual_weight"]))
    return terms


def small_start(_: int) -> dict[str, Any]:
    """Returns initialisers of a residual branch: He et al.'s normal ones times 0.1, ESRGAN section 3.1; no bias."""
    return {"kernel_initializer": keras.initializers.VarianceScaling(0.02, "fan_in", "untruncated_normal")}


def plain_start(fan_in: int) -> dict[str, Any]:
    """Returns PyTorch's own initialisers: kernel and bias uniform up to `fan_in` to the power of -1/2."""
    bound = 1.0 / math.sqrt(fan_in)
    return {f"{name}_initializer": keras.initializers.RandomUniform(-bound, bound) for name in ("kernel", "bias")}


def convolution(
    x: keras.KerasTensor, channels: int, size: int = 3, start: Any = plain_start, kind: Any = Conv2D, **kwargs: Any
) -> keras.KerasTensor:
    """Returns a convolution of feature maps, padded with zeros; `start` gives its initialisers for a fan-in."""
    given = {"padding": "same", **start(size * size * x.shape[-1]), **kwargs}
    return kind(channels, size, **given)(x)


def dense(x: keras.KerasTensor, units: int, **kwargs: Any) -> keras.KerasTensor:
    """Returns a dense layer's outputs."""
    return layers.Dense(units, **plain_start(x.shape[-1]), **kwargs)(x)
