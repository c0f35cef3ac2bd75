"""Augmentation of all images that the discriminator sees, real and generated, so that it learns from few.

The transforms are functions of images `(batch, height, width, channels)`, height and width known, and of one parameter
an image; the layers draw the parameters. Every transform is linear in the images up to a constant. Its gradients with
respect to them are exact in every order, since R1 and the generator's loss go through it; parameters get none.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.base.randomness import next_seed, uniform
from tfgan_app.base.replicas import num_replicas

__all__ = ["AdaptiveAugment", "Augment", "DiffAugment"]


class Augment(keras.layers.Layer):
    """Base of the augmentations.

    Write your own by subclassing: `call` takes images `(batch, height, width, channels)` in [-1, 1] and returns
    transformed ones of the same shape and dtype, independently for each image; `draw_uniform` is its randomness.

    Args:
        seed: Seed of what the layer draws, anew in every call; by default from the generator that
            `keras.utils.set_random_seed` seeds. The state is one of the layer's `non_trainable_variables`.
        **kwargs: `name`, as in `keras.layers.Layer`.

    Example:
        >>> class Mirror(Augment):
        ...     def call(self, images):
        ...         flip = self.draw_uniform((tf.shape(images)[0], 1, 1, 1)) < 0.5
        ...         return tf.where(flip, images[:, :, ::-1], images)
    """

    def __init__(self, seed: int | None = None, **kwargs: Any):
        # Images keep their dtype under any policy.
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def draw_uniform(self, shape: Sequence[int | tf.Tensor]) -> tf.Tensor:
        """Draws float32 numbers in (0, 1) for each image of the batch, which is the first dimension."""
        return uniform(shape, next_seed(self.seed_generator))

    def update(self, real_logits: tf.Tensor) -> None:
        """Adapts to the discriminator: called once per update of it with its logits on the (augmented) real batch."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


# Differentiable augmentation.


@keras.saving.register_keras_serializable("tfgan_app")
class DiffAugment(Augment):
    """Differentiable augmentation, always on.

    Zhao et al. 2020, https://arxiv.org/abs/2006.10738, section 3.2 and its experiments' ranges.

    Args:
        policy: What to apply, in this order. "color": brightness by up to +-0.5, saturation by a factor in [0, 2] and
            contrast by one in [0.5, 1.5]; opacity, the fourth channel of RGBA, stays. "translation": by whole pixels,
            up to an eighth of the image, padded with zeros, which are mid-grey. "cutout": a rectangle of half the
            image's height and width becomes zero.
        **kwargs: `seed` and `name`, as in `Augment`.

    Raises:
        ValueError: For an unknown policy.
    """

    def __init__(self, policy: Sequence[str] = ("color", "translation", "cutout"), **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(policy, str) or not set(policy) <= set(_POLICIES):
            raise ValueError(f"`policy` must be a tuple of {', '.join(_POLICIES)}. Received: policy={policy!r}")
        self.policy = tuple(policy)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        x = tf.cast(images, tf.float32)
        for name in self.policy:
            transform, num_parameters = _POLICIES[name]
            x = transform(x, tf.unstack(self.draw_uniform((tf.shape(x)[0], num_parameters)), axis=1))
        return tf.cast(x, images.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "policy": self.policy}


def _random_color(images, uniform):
    brightness, saturation, contrast = uniform
    return jitter_color(images, brightness - 0.5, 2.0 * saturation, contrast + 0.5)


def _random_translation(images, uniform):
    bounds = [(size + 4) // 8 for size in images.shape[1:3]]  # an eighth, rounded
    return translate(images, *(_integer(u, -bound, bound) for u, bound in zip(uniform, bounds, strict=True)))


def _random_cutout(images, uniform):
    extent = [(size + 1) // 2 for size in images.shape[1:3]]
    # Every pixel is as likely to be the centre, so the rectangle may stick out.
    first = [-(part // 2) for part in extent]
    last = [size - part // 2 - part % 2 for size, part in zip(images.shape[1:3], extent, strict=True)]
    return cut_out(images, *map(_integer, uniform, first, last), *extent)


def _integer(uniform, low, high):
    """Maps [0, 1) to the integers from `low` to `high`, both included."""
    return low + tf.cast(uniform * (high - low + 1), tf.int32)


# The transforms by name, with how many uniform numbers each needs.
_POLICIES = {"color": (_random_color, 3), "translation": (_random_translation, 2), "cutout": (_random_cutout, 2)}


def _of_colors(transform):
    """Makes a transform of colours leave alone the opacity of RGBA."""

    @functools.wraps(transform)
    def colored(images, *parameters):
        if images.shape[-1] != 4:
            return transform(images, *parameters)
        return tf.concat([transform(images[..., :3], *parameters), images[..., 3:]], -1)

    return colored


@_of_colors
def jitter_color(images, brightness, saturation, contrast):
    """Adds `brightness`, then scales by `saturation` about each pixel's mean, then by `contrast` about the image's."""
    brightness, saturation, contrast = (part[:, None, None] for part in (brightness, saturation, contrast))
    grey, rest = _luma_and_chroma(images)
    # Neither saturation nor contrast moves the image's mean; brightness does.
    mean = tf.reduce_mean(images, (1, 2, 3))[:, None, None]
    return _mix(images, contrast * (grey + saturation * rest), brightness + (1.0 - contrast) * mean)


def translate(images, down, right):
    """Moves images by whole pixels, int32 `(batch,)`; zeros move in."""
    for axis, shift in ((1, down), (2, right)):
        size = images.shape[axis]
        source = tf.range(size) - shift[:, None]
        inside = tf.cast((source >= 0) & (source < size), images.dtype)
        images = tf.gather(images, tf.clip_by_value(source, 0, size - 1), axis=axis, batch_dims=1)
        images *= inside[:, :, None, None] if axis == 1 else inside[:, None, :, None]
    return images


def cut_out(images, top, left, height, width):
    """Sets the rectangle with that top left corner, int32 `(batch,)`, to zero; parts outside are ignored."""
    rows, columns = (
        (tf.range(size) >= start[:, None]) & (tf.range(size) < start[:, None] + extent)
        for size, start, extent in ((images.shape[1], top, height), (images.shape[2], left, width))
    )
    kept = ~(rows[:, :, None] & columns[:, None, :])
    return images * tf.cast(kept, images.dtype)[..., None]


def _luma_and_chroma(images):
    """Returns the projections of colours on (1, ..., 1) and across it, `(channels, channels)`."""
    channels = images.shape[-1]
    luma = tf.fill((channels, channels), tf.constant(1.0 / channels, images.dtype))
    return luma, tf.eye(channels, dtype=images.dtype) - luma


def _mix(images, matrix, offset):
    """Multiplies colours by `matrix` `(batch, channels, channels)` and adds `offset` `(batch, 1, 1)`."""
    height, width, channels = images.shape[1:]
    pixels = tf.reshape(images, (-1, height * width, channels))
    mixed = tf.matmul(pixels, tf.stop_gradient(matrix), transpose_b=True)
    return tf.reshape(mixed + offset, (-1, height, width, channels))


# Adaptive discriminator augmentation.


@keras.saving.register_keras_serializable("tfgan_app")
class AdaptiveAugment(Augment):
    """Adaptive discriminator augmentation (ADA): as much as keeps the discriminator from overfitting.

    Karras et al. 2020, https://arxiv.org/abs/2006.06676. Each transform of the paper's pipeline (appendix B) is
    executed with probability p for each image. Where D overfits, its logits on real images turn positive, so p
    follows r_t = E[sign(D(real))] (section 3, equation 1): every `interval` updates it rises if r_t is above
    `target`, and falls if it is below. The heuristic needs a loss that makes real logits positive and fake ones
    negative; a Wasserstein critic's have no such zero.

    Differences from the paper:

    - One filter upsamples images before the warp, and none follows it (see `warp`): supersampling the output too, as
      the paper does, costs five times as much, for less aliasing where an image shrinks, which it does little.
    - Edges are mirrored without end, not once. Images need not be square.
    - p is kept from exceeding 1, as it is from falling below 0.
    - Hue turns in images of RGB and RGBA only. All else works with any number of channels; opacity keeps its values.
    - The filtering and noise of section 2.3, which the paper's results do without, are left out; its cutout is off by
      default.

    Args:
        target: r_t that p is steered to, in (-1, 1).
        speed: Real images in which p can go from 0 to 1.
        interval: Discriminator updates from one change of p to the next.
        blit: How much to copy pixels: flips in x, rotations by multiples of 90 degrees, translations by whole pixels.
            This and the next three are strengths in [0, 1]: each transform of the group is executed with that share of
            p. True is 1, False 0.
        geometric: How much to scale, rotate, stretch, rotate and translate images by any amount.
        color: How much to change brightness, contrast, the sign of luma, hue and saturation.
        cutout: How much to set a rectangle of half the image's height and width, anywhere, to zero, which is mid-grey.
        initial_p: The first p, in [0, 1].
        **kwargs: `seed` and `name`, as in `Augment`.

    Attributes:
        p: The probability, a weight. At 0, `call` returns the images themselves.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        target: float = 0.6,
        speed: int = 500_000,
        interval: int = 4,
        blit: float = 1.0,
        geometric: float = 1.0,
        color: float = 1.0,
        cutout: float = 0.0,
        initial_p: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not -1 < target < 1:
            raise ValueError(f"`target` is a mean of signs and must lie in (-1, 1). Received: target={target}")
        if speed <= 0:
            raise ValueError(f"`speed` must be a positive number of images. Received: speed={speed}")
        if interval < 1:
            raise ValueError(f"`interval` must be at least 1 update. Received: interval={interval}")
        if not 0 <= initial_p <= 1:
            raise ValueError(f"`initial_p` is a probability and must lie in [0, 1]. Received: initial_p={initial_p}")
        for name, strength in (("blit", blit), ("geometric", geometric), ("color", color), ("cutout", cutout)):
            if not 0 <= strength <= 1:
                raise ValueError(f"`{name}` is a share of p and must lie in [0, 1]. Received: {name}={strength}")
        self.target = target
        self.speed = speed
        self.interval = interval
        self.blit = float(blit)
        self.geometric = float(geometric)
        self.color = float(color)
        self.cutout = float(cutout)
        self.initial_p = initial_p
        self.p = self._add_state("p", initial_p)
        # Counted since the last change of p: the sum of the images' signs, the images and the updates.
        self._signs = self._add_state("signs")
        self._images = self._add_state("images")
        self._updates = self._add_state("updates")
        self.built = True

    def _add_state(self, name, value=0.0):
        initializer = keras.initializers.Constant(value)
        # Under tf.distribute every replica holds the mean of what all of them assign.
        return self.add_weight(
            name=name, shape=(), initializer=initializer, trainable=False, autocast=False, aggregation="mean"
        )

    def call(self, images: tf.Tensor) -> tf.Tensor:
        # Drawn before the branch: inside it some strategies let no state change, not even the seed's.
        num = _NUM_UNIFORM + (_NUM_CUTOUT if self.cutout else 0)
        uniform = tf.transpose(self.draw_uniform((tf.shape(images)[0], num)))
        return tf.cond(self.p > 0, lambda: self._transform(images, uniform), lambda: tf.identity(images))

    def update(self, real_logits: tf.Tensor) -> None:
        num = tf.cast(tf.shape(real_logits)[0], tf.float32)
        self._signs.assign_add(num * tf.reduce_mean(tf.sign(real_logits)))
        self._images.assign_add(num)
        self._updates.assign_add(1.0)

        r = self._signs / self._images
        images = self._images * num_replicas()
        p = tf.clip_by_value(self.p + tf.sign(r - self.target) * images / self.speed, 0.0, 1.0)
        due = self._updates >= self.interval
        self.p.assign(tf.where(due, p, self.p))
        for count in (self._signs, self._images, self._updates):
            count.assign(tf.where(due, 0.0, count))

    def get_config(self) -> dict[str, Any]:
        names = ("target", "speed", "interval", "blit", "geometric", "color", "cutout", "initial_p")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _transform(self, images, uniform):
        """Draws the parameters as appendix B does, 0 where a transform is not executed, and applies them."""
        draws = iter(tf.unstack(uniform))

        def sometimes(value, probability):
            return tf.where(next(draws) < probability, value, 0.0)

        def between(low, high):
            return low + (high - low) * next(draws)

        def integer(count):
            return tf.floor(count * next(draws))

        def normal(deviation):
            # Box and Muller's transform.
            radius = tf.sqrt(-2.0 * tf.math.log(next(draws)))
            return deviation * radius * tf.cos(2.0 * math.pi * next(draws))

        x = tf.cast(images, tf.float32)
        height, width = images.shape[1:3]
        # `warp` takes the inverse, so the paper's G <- M G is G^-1 <- G^-1 M^-1 here.
        inverses = []
        if self.blit:
            p = self.blit * self.p
            flip = sometimes(integer(2), p)
            turns = sometimes(integer(4), p)
            right, down = tf.unstack(sometimes([between(-0.125, 0.125), between(-0.125, 0.125)], p))
            inverses += [
                scaling(1.0 - 2.0 * flip, tf.ones_like(flip)),
                rotation(0.5 * math.pi * turns),
                translation(-tf.round(right * width), -tf.round(down * height)),
            ]
        if self.geometric:
            p = self.geometric * self.p
            # Of the two rotations, before and after the stretch, at least one happens with probability p.
            p_rotation = 1.0 - tf.sqrt(1.0 - p)
            scale = 2.0 ** sometimes(normal(0.2), p)
            before = sometimes(between(-math.pi, math.pi), p_rotation)
            stretch = 2.0 ** sometimes(normal(0.2), p)
            after = sometimes(between(-math.pi, math.pi), p_rotation)
            right, down = tf.unstack(sometimes([normal(0.125), normal(0.125)], p))
            inverses += [
                scaling(1.0 / scale, 1.0 / scale),
                rotation(before),
                scaling(1.0 / stretch, stretch),
                rotation(after),
                translation(-right * width, -down * height),
            ]
        if inverses:
            x = warp(x, functools.reduce(_product, inverses))
        if self.color:
            p = self.color * self.p
            brightness = sometimes(normal(0.2), p)
            contrast = 2.0 ** sometimes(normal(0.5), p)
            luma_flip = sometimes(integer(2), p)
            hue = sometimes(between(-math.pi, math.pi), p)
            saturation = 2.0 ** sometimes(normal(1.0), p)
            x = transform_color(x, brightness, contrast, luma_flip, hue, saturation)
        if self.cutout:
            # From a quarter of the image before its centre, which lies anywhere, to a quarter after. The image that it
            # leaves whole has it outside.
            cut = next(draws) < self.cutout * self.p
            corners = [tf.where(cut, tf.round((next(draws) - 0.25) * size), 2.0 * size) for size in (height, width)]
            extent = [(size + 1) // 2 for size in (height, width)]
            x = cut_out(x, *(tf.cast(corner, tf.int32) for corner in corners), *extent)
        return tf.cast(x, images.dtype)


# What `AdaptiveAugment._transform` draws: 13 choices, 8 uniform parameters and 7 normal ones of two numbers each.
# Cutout, where it is on, draws a choice and two uniform parameters more.
_NUM_UNIFORM = 13 + 8 + 2 * 7
_NUM_CUTOUT = 3


def scaling(x, y):
    """Returns matrices `(batch, 3, 3)` that scale (x, y, 1) by factors `(batch,)`."""
    zero, one = tf.zeros_like(x), tf.ones_like(x)
    return _matrix([x, zero, zero], [zero, y, zero], [zero, zero, one])


def rotation(angle):
    """Returns matrices that rotate from x towards y, downwards in an image, by radians `(batch,)`."""
    cos, sin, zero = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle)
    return _matrix([cos, -sin, zero], [sin, cos, zero], [zero, zero, tf.ones_like(angle)])


def translation(x, y):
    """Returns matrices that move by `(batch,)` pixels."""
    zero, one = tf.zeros_like(x), tf.ones_like(x)
    return _matrix([one, zero, x], [zero, one, y], [zero, zero, one])


def _matrix(*rows):
    return tf.stack([tf.stack(row, -1) for row in rows], -2)


def _product(a, b):
    # Not by tf.matmul: a GPU may round its factors to TF32, which moves pixels.
    return tf.reduce_sum(a[:, :, :, None] * b[:, None, :, :], 2)


# The low-pass filter of the symlet with 6 vanishing moments (Daubechies 1992, table 6.3).
_SYM6 = np.array(
    [
        *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
        *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
        *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
    ]
)


def warp(images, inverse):
    """Moves what lies at `inverse` (x, y, 1) to (x, y), in pixels from the images' centres, x to the right, y down.

    The images go on beyond their edges mirrored about the outermost pixels' centres. Values between pixels are
    interpolated bilinearly in the images upsampled twofold with the autocorrelation of sym6: the one filter that
    upsampling and downsampling by sym6, as in appendix B, add up to. Unlike sym6 it is symmetric, so it commutes
    with mirroring, and at the pixels themselves it returns them: what is moved by whole pixels stays as it is.

    Args:
        images: `(batch, height, width, channels)`, height and width at least 2.
        inverse: `(batch, 3, 3)`, the last row (0, 0, 1).
    """
    height, width = images.shape[1:3]
    rows, columns = (tf.constant(_upsampling(size), images.dtype) for size in (height, width))
    fine = tf.einsum("jw,bhwc->bhjc", columns, tf.einsum("ih,bhwc->biwc", rows, images))

    # Where each pixel comes from in the upsampled images, x and y: `(batch, 2, height, width)`.
    last = tf.constant([2 * width - 2, 2 * height - 2], images.dtype)[:, None, None]
    x, y = (tf.range(1 - size, size, 2, images.dtype) for size in (width, height))
    linear, offset = inverse[:, :2, :2, None, None], inverse[:, :2, 2, None, None]
    position = linear[:, :, 0] * x + (linear[:, :, 1] * y[:, None] + 2.0 * offset + 0.5 * last)
    position = tf.abs(position - 2.0 * last * tf.round(position / (2.0 * last)))

    # The four neighbours' indices and weights.
    corner = tf.minimum(tf.floor(position), last - 1.0)
    (right, down), (left, up) = (tf.unstack(part, axis=1) for part in (position - corner, corner + 1.0 - position))
    weights = tf.stop_gradient(tf.stack([up * left, up * right, down * left, down * right], 1))
    column, row = tf.unstack(tf.cast(corner, tf.int32), axis=1)
    stride = 2 * width - 1
    neighbours = (row * stride + column)[:, None] + tf.constant([0, 1, stride, stride + 1])[:, None, None]
    pixels = tf.reshape(fine, (-1, stride * (2 * height - 1), images.shape[3]))
    return tf.reduce_sum(weights[..., None] * tf.gather(pixels, neighbours, axis=1, batch_dims=1), 1)


def _upsampling(size):
    """Returns the matrix `(2 * size - 1, size)` that upsamples a row of pixels, mirrored at its ends."""
    kernel = np.correlate(_SYM6, _SYM6, "full")
    matrix = np.zeros((2 * size - 1, size))
    for source in range(-len(_SYM6), size + len(_SYM6)):
        period = 2 * (size - 1)
        pixel = abs(source - period * round(source / period))
        for tap, weight in enumerate(kernel, 2 * source - len(_SYM6) + 1):
            if 0 <= tap < len(matrix):
                matrix[tap, pixel] += weight
    return matrix


@_of_colors
def transform_color(images, brightness, contrast, luma_flip, hue, saturation):
    """Applies appendix B's colour matrix, of parameters `(batch,)`.

    Every step treats the luma axis v = (1, ..., 1), on which each pixel's mean over the channels lies, and the space
    across it each as a whole, and so has a meaning for any number of channels; hue is an angle for 3 only.

    Args:
        images: `(batch, height, width, channels)`.
        brightness: What is added.
        contrast: Factor of all.
        luma_flip: 1 to negate along v, 0 not to.
        hue: Radians of rotation about v; without effect unless there are 3 colours.
        saturation: Factor of what is across v.
    """
    brightness, contrast, luma_flip, hue, saturation = (
        part[:, None, None] for part in (brightness, contrast, luma_flip, hue, saturation)
    )
    luma, chroma = _luma_and_chroma(images)
    if images.shape[-1] == 3:
        # Rodrigues' formula, with the matrix of the cross product with v / |v|.
        cross = tf.constant([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], images.dtype) / math.sqrt(3.0)
        chroma = tf.cos(hue) * chroma + tf.sin(hue) * cross
    sign = 1.0 - 2.0 * luma_flip
    return _mix(images, contrast * (sign * luma + saturation * chroma), sign * contrast * brightness)
