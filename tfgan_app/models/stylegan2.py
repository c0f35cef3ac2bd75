"""StyleGAN2. Karras et al. 2019, https://arxiv.org/abs/1912.04958."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfgan_app.base.latents import check_layers
from tfgan_app.base.networks import apply
from tfgan_app.base.randomness import normal
from tfgan_app.conditions import Attributes, Condition
from tfgan_app.gan import GAN
from tfgan_app.layers.equalized import EqualizedConv2D, EqualizedDense
from tfgan_app.layers.fir import FIRDownsample, FIRFilter, FIRUpsample
from tfgan_app.layers.minibatch_stddev import MinibatchStdDev
from tfgan_app.layers.pixel_norm import PixelNorm
from tfgan_app.layers.style import (
    LearnedConstant,
    ModulatedConv2D,
    Noise,
    Redraw,
    Style,
    StyleMixing,
    StyleStatistics,
    scaled_leaky_relu,
)
from tfgan_app.losses import NonSaturating
from tfgan_app.models.sides import start_and_doublings
from tfgan_app.optimizers import Adam
from tfgan_app.schedules import Number
from tfgan_app.terms import R1, Play, Term

__all__ = ["PathLength", "StyleGAN2", "build_discriminator", "build_generator"]

# The factor on leaky ReLUs. Where that is the same, the weights of the next layer carry it instead: they are fewer than
# pixels.
_GAIN = math.sqrt(2.0)


@keras.saving.register_keras_serializable("tfgan_app")
class StyleGAN2(GAN):
    """A generator whose layers are modulated by a style w = f(z), in the paper's final configuration, F.

    The generator sums images of every resolution, the discriminator is residual (section 4.1), and both resample with
    the filter [1, 3, 3, 1]. Images are not squashed: they leave [-1, 1] at first. Where `num_classes` is given, the
    mapping network gets an embedding of the label beside z, and the discriminator's logit is the product of its
    features with another, as in StyleGAN2-ADA (https://arxiv.org/abs/2006.06676).

    Truncation takes w towards its average: w' = E[w] + psi (w - E[w]).

    Args:
        image_shape: `(height, width, channels)`, of sides that both halve at least twice: 28, 32, 48, 80, 96x64.
        latent_dim: Length of the latents z.
        num_classes: Number of classes; None for an unconditional model.
        attributes: What it is told in the place of classes, as in `GAN`.
        style_dim: Length of w.
        mapping_layers: Layers of the mapping network f.
        channel_base: Channels of a layer times the shorter side of its maps, up to `channel_max`. 32768 is the
            paper's for 1024x1024 images, 16384 for 256x256.
        channel_max: Channels of the widest layers.
        **kwargs: `seed` and `name`, as in `GAN`.

    Raises:
        ValueError: For another image shape.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        num_classes: int | None = None,
        attributes: Attributes | None = None,
        latent_dim: int = 512,
        style_dim: int = 512,
        mapping_layers: int = 8,
        channel_base: int = 32768,
        channel_max: int = 512,
        **kwargs: Any,
    ):
        channels = _channels(image_shape, channel_base, channel_max)
        condition = self.condition_of(num_classes, attributes)
        super().__init__(
            build_generator(image_shape, latent_dim, condition, style_dim, mapping_layers, channels),
            build_discriminator(image_shape, condition, mapping_layers, channels),
            num_classes=num_classes,
            attributes=attributes,
            **kwargs,
        )
        self.style_shape = (2 * len(channels), style_dim)

    def compile_defaults(self) -> dict[str, Any]:
        """Returns the settings of section 3 and appendix B, R1 with gamma = 10."""
        r1, path_length = R1(weight=5.0, interval=16), PathLength()
        return {
            "g_optimizer": _adam(path_length.interval),
            "d_optimizer": _adam(r1.interval),
            "loss": NonSaturating(real_label=1.0),
            "terms": [r1, path_length],
            "ema_half_life": 10_000,
        }

    def truncate(self, generator: keras.Model, inputs: list[tf.Tensor], truncation: tf.Tensor) -> tf.Tensor:
        styles = _statistics(generator).truncate(apply(generator.get_layer("mapping"), inputs), truncation)
        return generator.get_layer("synthesis")(styles, training=False)

    def map_styles(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        return apply(self.ema_generator.get_layer("mapping"), inputs)

    def latent_gram(self, layers: Sequence[int] | None = None) -> np.ndarray:
        num, dim = self.style_shape or (0, 0)
        chosen = range(num) if layers is None else layers
        check_layers(chosen, num)
        affine = [layer for layer in self.ema_generator.get_layer("synthesis").layers if isinstance(layer, Style)]
        kernels = [np.asarray(layer.kernel, np.float64) for layer in affine if layer.index in chosen]
        return sum((kernel @ kernel.T for kernel in kernels), np.zeros((dim, dim))) / dim

    def synthesize(self, styles: tf.Tensor, truncation: tf.Tensor | None = None) -> tf.Tensor:
        if truncation is not None:
            styles = _statistics(self.ema_generator).truncate(styles, truncation)
        return self.ema_generator.get_layer("synthesis")(styles, training=False)


@keras.saving.register_keras_serializable("tfgan_app")
class PathLength(Term):
    """E[(|J^T y| - a)^2]: a step in w should change the image by the same amount everywhere. Equation 4.

    J is the Jacobian of the synthesis network with regard to the styles of all its layers, y ~ N(0, I) an image of
    noise over the square root of its pixels, and a the moving average of the lengths |J^T y|, which the generator keeps
    in its layer `statistics`. Appendix B: evaluated on half the batch, with a decaying by 0.01 at each evaluation.

    Args:
        weight: The factor in the loss.
        interval: Generator updates from one evaluation to the next, as in `Term`.
    """

    name, player, own_tape = "path_length", "generator", True

    def __init__(self, weight: Number = 2.0, interval: int = 4):
        super().__init__(weight, interval)

    def __call__(self, play: Play) -> tf.Tensor:
        generator = play.generator
        # Half the batch is every other image, so that the halves of several replicas are that of the whole batch.
        inputs = [x[::2] for x in play.inputs]
        styles = apply(generator.get_layer("mapping"), inputs, training=True)
        with tf.GradientTape() as tape:
            tape.watch(styles)
            images = generator.get_layer("synthesis")(styles, training=True)
            noise = normal((tf.shape(images)[0], *images.shape[1:]), play.seed)
            projection = tf.reduce_sum(images * noise) / math.sqrt(images.shape[1] * images.shape[2])
        gradient = tape.gradient(projection, styles)
        # The mean over layers. The square root has no gradient at 0.
        lengths = tf.sqrt(tf.reduce_mean(tf.reduce_sum(tf.square(gradient), axis=2), axis=1) + 1e-12)
        average = _statistics(generator).path_length
        before = tf.convert_to_tensor(average)
        after = before + 0.01 * (tf.reduce_mean(lengths) - before)
        average.assign(tf.stop_gradient(after))
        return tf.reduce_mean(tf.square(lengths - after))


def build_generator(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    condition: Condition | None,
    style_dim: int,
    mapping_layers: int,
    channels: dict[int, int],
) -> keras.Model:
    """Returns latents `(batch, latent_dim)` [and a condition] -> images `(batch, *image_shape)`.

    It joins two models: `mapping`, from there to styles `(batch, num_styles, style_dim)`, and `synthesis`.

    Args:
        image_shape: As in `StyleGAN2`.
        latent_dim: Length of the latents.
        condition: What it is told, or None.
        style_dim: Length of w.
        mapping_layers: Layers of the mapping network.
        channels: Channels by the shorter side of the feature maps, from the smallest to the image.
    """
    num_styles = 2 * len(channels)
    mapping = _build_mapping(latent_dim, condition, style_dim, mapping_layers, num_styles)
    synthesis = _build_synthesis(image_shape, style_dim, num_styles, channels)
    inputs = _inputs(latent_dim, condition)
    return keras.Model(inputs, synthesis(mapping(inputs)), name="generator")


def _build_mapping(latent_dim, condition, style_dim, num_layers, num_styles):
    """The mapping network f, in float32, and what becomes of its w in training."""
    inputs = _inputs(latent_dim, condition)
    latents, *told = inputs if condition else [inputs]
    embeddings = [_embed(x, condition, latent_dim) for x in told]
    join, network = layers.Concatenate(dtype="float32"), _dense_layers(num_layers, style_dim)

    def f(z):
        x = PixelNorm(dtype="float32")(z)
        return network(join([x, *embeddings]) if embeddings else x)

    w = StyleStatistics(dtype="float32", name="statistics")(f(latents))
    styles = StyleMixing(num_styles, dtype="float32")([w, f(Redraw(dtype="float32")(latents))])
    return keras.Model(inputs, styles, name="mapping")


def _build_synthesis(image_shape, style_dim, num_styles, channels):
    """The synthesis network with output skips: figures 2d and 7b."""
    styles = keras.Input((num_styles, style_dim), name="styles")
    start, _ = start_and_doublings("StyleGAN2", image_shape)
    x, images = LearnedConstant((*start, channels[min(start)]))(styles), None
    for block, filters in enumerate(channels.values()):
        if block:
            x = _style_block(x, styles, 2 * block - 1, filters, upsample=True)
            images = FIRUpsample(dtype="float32")(images)
        x = _style_block(x, styles, 2 * block, filters)
        # The layer to RGB shares the style of the convolution that follows.
        style = Style(filters, 2 * block + 1)(styles)
        rgb = ModulatedConv2D(image_shape[-1], 1, demodulate=False, gain=_GAIN)([x, style])
        images = layers.Add(dtype="float32")([images, rgb]) if block else rgb
    return keras.Model(styles, images, name="synthesis")


def _style_block(x, styles, index, filters, upsample=False):
    style = Style(x.shape[-1], index)(styles)
    x = ModulatedConv2D(filters, 3, upsample=upsample, gain=_GAIN if index else 1.0)([x, style])
    return layers.LeakyReLU(0.2)(Noise(index)(x))


def build_discriminator(
    image_shape: tuple[int, int, int], condition: Condition | None, mapping_layers: int, channels: dict[int, int]
) -> keras.Model:
    """Returns images `(batch, *image_shape)` [and a condition] -> logits `(batch, 1)`: figure 7c.

    Args:
        image_shape: As in `StyleGAN2`.
        condition: What it is told, or None.
        mapping_layers: Layers between the condition's embedding and the product with the features.
        channels: As in `build_generator`.
    """
    images = keras.Input(image_shape, name="images")
    start, *sides = channels
    x = layers.LeakyReLU(0.2)(EqualizedConv2D(channels[min(image_shape[:2])], 1)(images))
    for side in reversed(sides):
        filters = channels[side // 2]
        skip = EqualizedConv2D(filters, 1, use_bias=False)(FIRDownsample()(x))
        x = layers.LeakyReLU(0.2)(EqualizedConv2D(channels[side], 3, _GAIN, padding="same")(x))
        x = layers.LeakyReLU(0.2)(EqualizedConv2D(filters, 3, _GAIN, strides=2)(FIRFilter()(x)))
        x = layers.Rescaling(math.sqrt(0.5))(layers.Add()([x, skip]))
    x = MinibatchStdDev()(x)
    x = layers.LeakyReLU(0.2)(EqualizedConv2D(channels[start], 3, _GAIN, padding="same")(x))
    x = layers.LeakyReLU(0.2)(EqualizedDense(channels[start], gain=_GAIN)(layers.Flatten()(x)))
    if condition is None:
        return keras.Model(images, EqualizedDense(1, gain=_GAIN, dtype="float32")(x), name="discriminator")
    width = channels[start]
    told = condition.input()
    target = _dense_layers(mapping_layers, width)(_embed(told, condition, width))
    logits = layers.Dot(1, dtype="float32")([EqualizedDense(width, gain=_GAIN, dtype="float32")(x), target])
    logits = layers.Rescaling(1 / math.sqrt(width), dtype="float32")(logits)
    return keras.Model([images, told], logits, name="discriminator")


def _inputs(latent_dim, condition):
    latents = keras.Input((latent_dim,), name="latents")
    return [latents, condition.input()] if condition else latents


def _embed(told, condition, width):
    x = condition.embed(told, width, keras.initializers.RandomNormal(stddev=1.0), dtype="float32")
    return PixelNorm(dtype="float32")(x)


def _dense_layers(count, units):
    """Returns a stack of dense layers as a function, each call of which shares them."""
    stack = [
        EqualizedDense(units, lr_multiplier=0.01, activation=scaled_leaky_relu, dtype="float32") for _ in range(count)
    ]
    return lambda x: functools.reduce(lambda x, layer: layer(x), stack, x)


def _channels(image_shape, channel_base, channel_max):
    """Returns the channels by shorter side, from that of the smallest map to the image's."""
    start, doublings = start_and_doublings("StyleGAN2", image_shape)
    sides = [min(start) << doubling for doubling in range(doublings + 1)]
    return {side: min(channel_base // side, channel_max) for side in sides}


def _statistics(generator):
    return generator.get_layer("mapping").get_layer("statistics")


def _adam(interval):
    """Adam where a penalty's step follows every `interval` updates: appendix B, "lazy regularization".

    With interval + 1 steps where there were `interval`, c = interval / (interval + 1) keeps the pace.
    """
    c = interval / (interval + 1)
    return Adam(2e-3 * c, beta_1=0.0, beta_2=0.99**c, epsilon=1e-8)
