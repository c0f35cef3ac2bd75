"""FastGAN. Liu et al. 2021, https://arxiv.org/abs/2101.04775."""

import functools
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tfgan_app.augment import DiffAugment
from tfgan_app.base.networks import BatchShape
from tfgan_app.base.randomness import stream, uniform
from tfgan_app.features import layer_outputs
from tfgan_app.gan import GAN
from tfgan_app.layers import BatchNormalization, Noise, SpectralConv2D, SpectralDense
from tfgan_app.losses import SmoothedHinge
from tfgan_app.models.sides import start_and_doublings
from tfgan_app.optimizers import Adam
from tfgan_app.terms import Play, Term

__all__ = ["FastGAN", "Reconstruction", "build_discriminator", "build_generator"]

# The authors' channels by the side of the feature map, in units of `base_channels`. The discriminator's are 8 where its
# map is smallest, and half as many with each doubling from there.
_G_WIDTHS = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}
_SMALL = 128  # the largest side of the small image, and of what decoders draw


@keras.saving.register_keras_serializable("tfgan_app")
class FastGAN(GAN):
    """A light generator and a self-supervised discriminator, made to learn from a hundred to a thousand images.

    Feature maps of low resolution scale the channels of those of 16 times their side (skip-layer excitation, section
    3.1), so gradients reach them early. The discriminator must let decoders draw what it saw from its features: the
    whole image from the smallest ones, a random quarter of it from the same part of those before (section 3.2). Both
    networks are spectrally normalised, and the loss is the hinge loss with random margins.

    Layers, widths and counts are those of the authors' program (https://github.com/odegeasslbc/FastGAN-pytorch), which
    has more than the paper: the generator draws a second, smaller image of side 128, which a second discriminator with
    a decoder of its own judges beside the first. Below 256 the ladder ends earlier: the small image has half the side,
    excitation skips what there is of its factor, and decoders draw images of the small one's side, which a quarter of
    the image has anyway.

    What decoders drew is compared by equation 2's plain distance, here the mean absolute difference. The authors'
    program has LPIPS in its place, a trained network; `extractor` names one.

    Args:
        image_shape: `(height, width, channels)`: square, the side 28 or a power of two from 32 to 1024.
        latent_dim: Length of the latents.
        base_channels: Width of both networks: of the generator's map of side 128. 64 is the authors'.
        reconstruction: Weight of each decoder's loss; 0 leaves them out of it.
        extractor: Whose features are compared in place of pixels: "vgg19", which Keras downloads, or the path of a
            `.keras` file, as in `tfgan_app.terms.Perceptual`.
        **kwargs: `seed` and `name`, as in `GAN`.

    Raises:
        ValueError: For another image shape.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        latent_dim: int = 256,
        base_channels: int = 64,
        reconstruction: float = 1.0,
        extractor: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            build_generator(image_shape, latent_dim, base_channels),
            build_discriminator(image_shape, base_channels),
            **kwargs,
        )
        self.reconstruction = Reconstruction(self.discriminator.get_layer("decoders"), reconstruction, extractor)
        self._shrink = image_shape[0] // _small_side(image_shape)

    def compile_defaults(self) -> dict[str, Any]:
        return {
            "g_optimizer": Adam(2e-4, beta_1=0.5),
            "d_optimizer": Adam(2e-4, beta_1=0.5),
            "loss": SmoothedHinge(),
            "augment": DiffAugment(),
        }

    def inherent_terms(self) -> list[Term]:
        return [self.reconstruction]

    def judged(self, real: Any, inputs: list[tf.Tensor], outputs: Any) -> tuple[Any, Any]:
        # Every so manieth pixel, as the authors' program shrinks: no filter that fakes could be told by.
        return {"images": real, "small": real[:, :: self._shrink, :: self._shrink]}, outputs


class Reconstruction(Term):
    """How far the discriminator's decoders are from what it saw of real images, added over the decoders. Equation 2.

    Augmented images are what it saw. The part is one of four quarters, drawn for each image.

    Args:
        decoders: The discriminator's `Decoders`.
        weight: As in `Term`.
        extractor: As in `FastGAN`.
    """

    name = "reconstruction"

    def __init__(self, decoders: "Decoders", weight: float, extractor: str | None):
        super().__init__(weight)
        self.decoders, self.extractor = decoders, extractor
        self._features: Any = None if extractor else lambda images: [images]

    def prepare(self) -> None:
        if self._features is None:
            with tf.init_scope():
                self._features = layer_outputs(self.extractor, [])

    def __call__(self, play: Play) -> tf.Tensor:
        self.prepare()
        outputs = play.real_outputs
        # An evaluation has no randomness of its own: the first quarter.
        quarter = functools.partial(_quarter, play.seed if play.training else None)
        images, small, part = outputs["images"], outputs["small"], quarter(outputs["images"])
        features = [outputs["features"], outputs["small_features"], quarter(outputs["part_features"])]
        drawn = self.decoders.decode(features, play.training)
        seen = [_shrunk(image, small.shape[1]) for image in (images, small, part)]
        return tf.add_n([self._distance(*pair) for pair in zip(drawn, seen, strict=True)])

    def _distance(self, drawn, seen):
        pairs = zip(self._features(drawn), self._features(seen), strict=True)
        return tf.add_n([tf.reduce_mean(tf.abs(a - b)) for a, b in pairs])


def _quarter(seed, x):
    """Returns one of the four quarters of each image or map, the same of all that are given with a seed."""
    draws = tf.zeros((1, 2)) if seed is None else uniform((tf.shape(x)[0], 2), stream(seed, "quarter"))
    half = x.shape[1] // 2
    lower, right = tf.split((draws > 0.5)[:, :, tf.newaxis, tf.newaxis], 2, axis=1)
    x = tf.where(lower, x[:, half:], x[:, :half])
    return tf.where(right, x[:, :, half:], x[:, :, :half])


def _shrunk(images, side):
    step = images.shape[1] // side
    return images[:, ::step, ::step]


# The networks.


@keras.saving.register_keras_serializable("tfgan_app")
class GLU(layers.Layer):
    """The first half of the channels times the sigmoid of the second. Dauphin et al. 2016.

    https://arxiv.org/abs/1612.08083
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        features, gates = tf.split(inputs, 2, axis=-1)
        return features * tf.sigmoid(gates)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return (*input_shape[:-1], input_shape[-1] // 2)


@keras.saving.register_keras_serializable("tfgan_app")
class Excite(layers.Layer):
    """Maps times a factor in (0, 1) for each channel, from logits `(batch, 1, 1, channels)`: `[maps, logits]`."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        x, logits = inputs
        # TensorFlow would join this product with `GLU`'s before it, in an order, so to last bits, that go by names.
        batch, _, _, channels = tf.unstack(tf.shape(x))
        flat = tf.reshape(x, (batch, -1, channels))
        return tf.reshape(flat * tf.sigmoid(logits)[:, 0], tf.shape(x))

    def compute_output_shape(self, input_shape: list[BatchShape]) -> BatchShape:
        return input_shape[0]


@keras.saving.register_keras_serializable("tfgan_app")
class Decoders(layers.Layer):
    """Holds a decoder for each of several feature maps, which it passes on as they are.

    Only `Reconstruction` calls them, on real images. As layers of the discriminator's pass they would decode fakes too.

    Args:
        side: Side of what they draw.
        channels: Channels of it.
        width: Width of a decoder's map of side 128.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, side: int, channels: int, width: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.side, self.channels, self.width = side, channels, width
        self.decoders: list[keras.Model] = []

    def build(self, input_shape: list[BatchShape]) -> None:
        last = input_shape[0][1]
        self.decoders = [_build_decoder(shape[-1], last, self.side, self.channels, self.width) for shape in input_shape]

    def call(self, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        return [tf.identity(x) for x in inputs]

    def compute_output_shape(self, input_shape: list[BatchShape]) -> list[BatchShape]:
        return input_shape

    def decode(self, features: list[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """Returns what each decoder draws, float32 images in [-1, 1]."""
        return [decoder(x, training=training) for decoder, x in zip(self.decoders, features, strict=True)]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "side": self.side, "channels": self.channels, "width": self.width}


def build_generator(image_shape: tuple[int, int, int], latent_dim: int, base_channels: int) -> keras.Model:
    """Returns latents `(batch, latent_dim)` -> a dict of `images` `(batch, *image_shape)` and `small` ones in [-1, 1].

    Args:
        image_shape: As in `FastGAN`.
        latent_dim: Length of the latents.
        base_channels: As in `FastGAN`.
    """
    start, doublings = _start_and_doublings(image_shape)
    sides = [start << doubling for doubling in range(doublings + 1)]
    # Maps of 28x28 images, from 7x7 on, have the widths of those from 4x4 on.
    widths = [_width(base_channels * _G_WIDTHS[4 << doubling]) for doubling in range(doublings + 1)]
    skip = min(16, sides[-1] // start)
    latents = keras.Input((latent_dim,), name="latents")
    x = SpectralDense(2 * start * start * widths[0], use_bias=False, kernel_initializer=_init())(latents)
    maps = {start: _gated(layers.Reshape((start, start, 2 * widths[0]))(x))}
    for index, (side, width) in enumerate(zip(sides[1:], widths[1:], strict=True)):
        x = _conv(2 * width, 3)(layers.UpSampling2D()(maps[side // 2]))
        if index % 2 == 0:
            x = _conv(2 * width, 3)(_gated(Noise(2 * index)(x)))
            x = Noise(2 * index + 1)(x)
        x = _gated(x)
        source = side // skip
        # The authors' ladder excites up to 512: that of 1024 leaves its last map alone.
        maps[side] = _excited(x, maps[source], start) if source in maps and side <= 512 else x
    channels = image_shape[-1]
    images = {
        "images": _conv(channels, 3)(maps[sides[-1]]),
        "small": _conv(channels, 1)(maps[_small_side(image_shape)]),
    }
    tanh = {name: layers.Activation("tanh", dtype="float32", name=name)(x) for name, x in images.items()}
    return keras.Model(latents, tanh, name="generator")


def build_discriminator(image_shape: tuple[int, int, int], base_channels: int) -> keras.Model:
    """Returns images and small ones -> a dict of `logits` `(batch, patches)`, those of both, and what decoders need.

    That is `features` and `small_features` of either, `part_features` of twice their side, and what decoders should
    draw, the `images` and the `small` ones.

    Args:
        image_shape: As in `FastGAN`.
        base_channels: As in `FastGAN`.
    """
    start, _ = _start_and_doublings(image_shape)
    last, small_side, channels = (7 if start == 7 else 8), _small_side(image_shape), image_shape[-1]

    def width(side):
        return _width(8 * base_channels * last / side)

    images = keras.Input(image_shape, name="images")
    small = keras.Input((small_side, small_side, channels), name="small")
    # Larger images are halved to 256 without more ado.
    x, side = images, image_shape[0]
    if side <= 256:
        x = _leaky(_conv(width(side), 3)(x))
    while side > 256:
        side //= 2
        x = _conv(width(side), 4, strides=2)(x)
        x = _leaky(x if x.shape[1] == image_shape[0] // 2 else _norm(x))
    maps = {side: x}
    skip = min(8, side // last)
    while side > last:
        side //= 2
        x = _halved(maps[2 * side], width(side))
        maps[side] = _excited(x, maps[side * skip], start) if side * skip in maps else x
    hidden = _leaky(_norm(_conv(2 * width(last), 1)(maps[last])))

    side = small_side // 2
    x = _leaky(_conv(width(side) // 2, 4, strides=2)(small))
    while side > last:
        side //= 2
        x = _leaky(_norm(_conv(width(side) // 2, 4, strides=2)(x)))

    decoders = Decoders(small_side, channels, max(base_channels // 2, 1), name="decoders")
    features, small_features, part_features = decoders([maps[last], x, maps[2 * last]])
    logits = [layers.Flatten(dtype="float32")(_to_logits(x)) for x in (hidden, x)]
    outputs = {
        "logits": layers.Concatenate(dtype="float32")(logits),
        "images": images,
        "small": small,
        "features": features,
        "small_features": small_features,
        "part_features": part_features,
    }
    return keras.Model([images, small], outputs, name="discriminator")


def _build_decoder(channels_in, last, side, channels, width):
    """Returns features `(batch, last, last, channels_in)` -> images `(batch, side, side, channels)` in [-1, 1]."""
    features = x = keras.Input((last, last, channels_in))
    while x.shape[1] < side:
        doubled = 2 * x.shape[1]
        units = _width(width * _G_WIDTHS.get(doubled, 4))  # 14x14 as 16x16
        x = _gated(_conv(2 * units, 3)(layers.UpSampling2D()(x)))
    images = layers.Activation("tanh", dtype="float32")(_conv(channels, 3)(x))
    return keras.Model(features, images)


def _excited(x, source, start):
    """Scales the channels of a map by what a smaller one says: equation 1, with Swish as in the authors' program."""
    pooled = layers.AveragePooling2D(source.shape[1] // start)(source) if source.shape[1] > start else source
    hidden = _conv(x.shape[-1], start, padding="valid")(pooled)
    # Keras's own Swish has a gradient that LiteRT cannot convert.
    hidden = layers.Multiply()([hidden, layers.Activation("sigmoid")(hidden)])
    return Excite()([x, _conv(x.shape[-1], 1)(hidden)])


def _halved(x, width):
    """Halves the sides on two ways: by two convolutions, and by averages that keep what those lose."""
    y = _leaky(_norm(_conv(width, 4, strides=2)(x)))
    y = _leaky(_norm(_conv(width, 3)(y)))
    direct = _leaky(_norm(_conv(width, 1)(layers.AveragePooling2D(2)(x))))
    return layers.Average()([y, direct])


def _gated(x):
    return GLU()(_norm(x))


def _to_logits(x):
    return _conv(1, 4, padding="valid", dtype="float32")(x)


def _norm(x):
    return BatchNormalization(gamma_initializer=keras.initializers.RandomNormal(1.0, 0.02))(x)


def _leaky(x):
    return layers.LeakyReLU(0.2)(x)


def _conv(width, side, padding="same", **kwargs):
    return SpectralConv2D(width, side, padding=padding, use_bias=False, kernel_initializer=_init(), **kwargs)


def _init():
    return keras.initializers.RandomNormal(stddev=0.02)


def _width(width):
    return max(int(width), 1)


def _start_and_doublings(image_shape):
    """Returns the side of the smallest map, and how often it doubles to reach the image's."""
    height, width, _ = image_shape
    (start, _), doublings = start_and_doublings("FastGAN", image_shape)
    if height != width or not (height == 28 or (start == 4 and 32 <= height <= 1024)):
        raise ValueError(
            f"FastGAN draws squares of side 28, or of a power of two from 32 to 1024. Give `image_size=64`, or a model "
            f"that draws other shapes, such as DCGAN or StyleGAN2. Received: image_shape={tuple(image_shape)}"
        )
    return start, doublings


def _small_side(image_shape):
    return min(image_shape[0] // 2, _SMALL)
