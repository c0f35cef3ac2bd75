"""Context encoders. Pathak et al. 2016, Feature Learning by Inpainting, https://arxiv.org/abs/1604.07379."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfgan_app.base.errors import UsageError
from tfgan_app.base.networks import BatchShape
from tfgan_app.layers import BatchNormalization, Conv2D, Conv2DTranspose
from tfgan_app.losses import NonSaturating
from tfgan_app.models.inpainting import Compose, InpaintingGAN, SplitHoles, check_shapes
from tfgan_app.observation import Observation
from tfgan_app.optimizers import Adam
from tfgan_app.schedules import Number
from tfgan_app.terms import Play, Term

__all__ = ["ContextEncoder", "PaintedL2", "Shrink", "Stretch", "build_discriminator", "build_generator"]

_ALPHA = 0.2


@keras.saving.register_keras_serializable("tfgan_app")
class ContextEncoder(InpaintingGAN):
    """Fills holes from a code of the whole picture: an encoder, a bottleneck and a decoder without skips.

    Strided 4x4 convolutions with batch normalisation throughout, and a discriminator of the same kind that judges what
    the decoder painted, not knowing what surrounds it. Squared distance and adversarial loss are weighed .999 to .001.

    By default holes may be anywhere: the decoder paints the whole picture, as in the authors' `train_random.lua`. If
    `central`, it paints the half of the sides in the middle, as in their `train.lua`, and holes must lie there: those
    elsewhere are refused. That program leaves a margin of 4 pixels inside that half known, and weighs the distance
    there tenfold, so that what is painted joins what surrounds it; `mask(centre, size=0.4375)` leaves it at 128x128.

    The network works at the sides it is trained at. Larger and smaller pictures are brought to these, and what was
    painted back, so holes in large pictures are filled as softly as it was enlarged.

    Args:
        source_shape: `(height, width, channels + 1)` of the pictures trained on; the last channel tells holes. Halving
            brings the sides to 3 to 8 pixels: 28, 64, 96 or 128, for example.
        target_shape: `(height, width, channels)`.
        central: Whether the middle alone is painted.
        base_channels: Channels beside the image.
        bottleneck: Channels between encoder and decoder.
        l2_weight: Weight of the mean squared distance.
        known_weight: Factor of the distance where the picture is known, beside 1 in holes. By default 10 if `central`,
            else 1, as in the programs.
        **kwargs: `seed` and `name`, as in `TranslationGAN`.

    Raises:
        UsageError: For sources that have no such channel.
        ValueError: For other sides.
    """

    tileable = False

    def __init__(
        self,
        source_shape: tuple[int, int, int],
        target_shape: tuple[int, int, int],
        *,
        central: bool = False,
        base_channels: int = 64,
        bottleneck: int = 4000,
        l2_weight: Number = 0.999,
        known_weight: float | None = None,
        **kwargs: Any,
    ):
        check_shapes(type(self).__name__, source_shape, target_shape)
        super().__init__(
            build_generator(target_shape, base_channels, bottleneck, central),
            build_discriminator(target_shape, base_channels, central),
            source_shape=source_shape,
            target_shape=target_shape,
            **kwargs,
        )
        self.central = central
        self.l2_weight = l2_weight
        self.known_weight = (10.0 if central else 1.0) if known_weight is None else known_weight

    def compile_defaults(self) -> dict[str, Any]:
        # The program's generator learns ten times as fast as its discriminator.
        return {
            "g_optimizer": Adam(2e-3, beta_1=0.5),
            "loss": NonSaturating(real_label=1.0),
            "adversarial_weight": 0.001,
            "terms": [PaintedL2(weight=self.l2_weight, known_weight=self.known_weight)],
        }

    def judged(self, real: Any, inputs: list[tf.Tensor], outputs: Any) -> tuple[Any, Any]:
        _, target = real
        return _middle(target, outputs["painted"]), outputs["painted"]

    def observation(
        self, real: Any, fake: Any, condition: tuple[tf.Tensor, ...], inputs: list[tf.Tensor], seed: tf.Tensor
    ) -> Observation:
        # Scores are of the picture that comes of it.
        filled = Compose()([*SplitHoles()(inputs[0]), fake])
        return super().observation(real, filled, condition, inputs, seed)

    def check(self, data: Any) -> None:
        super().check(data)
        if isinstance(data[0], np.ndarray):
            self._check_middle(data[0][..., -1] < 0)

    def check_holes(self, holes: np.ndarray) -> None:
        super().check_holes(holes)
        self._check_middle(holes)

    def _check_middle(self, holes):
        """Refuses holes where nothing is painted."""
        if not self.central:
            return
        top, left = (side // 4 for side in holes.shape[1:])
        around = holes.copy()
        around[:, top : holes.shape[1] - top, left : holes.shape[2] - left] = False
        if around.any():
            raise UsageError(
                "With `central=True` holes must lie in the middle, from a quarter of height and width to three "
                "quarters. Received: a picture with a hole outside. With `central=False` they may lie anywhere."
            )


@keras.saving.register_keras_serializable("tfgan_app")
class PaintedL2(Term):
    """E[w (painted - target)^2] over what the generator painted; w is 1 in holes.

    Args:
        weight: As in `tfgan_app.terms.Term`.
        interval: Likewise.
        known_weight: w where the source is known.
    """

    name, player = "l2", "generator"

    def __init__(self, weight: Number = 1.0, interval: int = 1, known_weight: float = 1.0):
        super().__init__(weight, interval)
        self.known_weight = known_weight

    def __call__(self, play: Play) -> tf.Tensor:
        painted = play.outputs["painted"]
        _, holes = SplitHoles()(play.inputs[0])
        weights = tf.where(_middle(holes, painted) > 0.0, 1.0, self.known_weight)
        return tf.reduce_mean(weights * tf.square(painted - _middle(play.target, painted)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "known_weight": self.known_weight}


def _middle(x, like):
    """Returns the middle of images, as high and wide as others are."""
    sides, new = tf.shape(x)[1:3], tf.shape(like)[1:3]
    top, left = tf.unstack((sides - new) // 2)
    return x[:, top : top + new[0], left : left + new[1]]


def build_generator(shape: tuple[int, int, int], base_channels: int, bottleneck: int, central: bool) -> keras.Model:
    """Returns sources `(batch, height, width, channels + 1)` of any sides -> a dict of images.

    `images` `(batch, height, width, channels)` is the source with its holes filled; `painted` is what the network drew,
    all of the picture or, if `central`, the half of its sides in the middle.

    Args:
        shape: `(height, width, channels)` that the network works at; other pictures are brought to it and back.
        base_channels: Channels beside the image.
        bottleneck: Channels between encoder and decoder, all that the one tells the other.
        central: Whether to draw the middle alone.
    """
    height, width, channels = shape
    start, halvings = _start_and_halvings(shape)
    source = keras.Input((None, None, channels + 1), name="source")
    colours, holes = SplitHoles()(source)
    x = Shrink((height, width))([colours, holes])
    for index, filters in enumerate(_widths(base_channels, halvings)):
        x = Conv2D(filters, 4, 2, "same", kernel_initializer=_init())(x)
        x = layers.LeakyReLU(_ALPHA)(_batch_norm()(x) if index else x)
    x = Conv2D(bottleneck, start, kernel_initializer=_init())(x)
    x = layers.LeakyReLU(_ALPHA)(_batch_norm()(x))

    filters, *others = _widths(base_channels, halvings - 1 if central else halvings)[::-1]
    x = Conv2DTranspose(filters, start, kernel_initializer=_init())(x)
    x = layers.ReLU()(_batch_norm()(x))
    for filters in others:
        x = Conv2DTranspose(filters, 4, 2, "same", kernel_initializer=_init())(x)
        x = layers.ReLU()(_batch_norm()(x))
    x = Conv2DTranspose(channels, 4, 2, "same", kernel_initializer=_init())(x)
    painted = Stretch(central)([layers.Activation("tanh", dtype="float32")(x), colours])
    images = Compose()([colours, holes, painted])
    return keras.Model(source, {"images": images, "painted": painted}, name="generator")


def build_discriminator(shape: tuple[int, int, int], base_channels: int, central: bool) -> keras.Model:
    """Returns what the generator paints, at the sides it works at -> logits `(batch, 1, 1, 1)`."""
    height, width, channels = shape
    start, halvings = _start_and_halvings(shape)
    if central:
        height, width, halvings = height // 2, width // 2, halvings - 1
    x = images = keras.Input((height, width, channels), name="images")
    for index, filters in enumerate(_widths(base_channels, halvings)):
        x = Conv2D(filters, 4, 2, "same", kernel_initializer=_init())(x)
        x = layers.LeakyReLU(_ALPHA)(_batch_norm()(x) if index else x)
    return keras.Model(images, Conv2D(1, start, kernel_initializer=_init(), dtype="float32")(x), name="discriminator")


@keras.saving.register_keras_serializable("tfgan_app")
class Shrink(layers.Layer):
    """Brings `[colours, holes]` to the sides that a network works at: the mean of what is known about each position.

    Positions that holes fill become 0. Pictures of these sides stay as they are.

    Args:
        sides: `(height, width)`.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, sides: tuple[int, int], **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.sides = tuple(sides)

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        colours, holes = inputs
        if tuple(colours.shape[1:3]) == self.sides:
            return colours
        known = tf.image.resize(1.0 - holes, self.sides, antialias=True)
        means = tf.image.resize(colours, self.sides, antialias=True) / tf.maximum(known, 1e-3)
        return tf.where(known > 1e-3, means, 0.0)

    def compute_output_shape(self, input_shape: list[BatchShape]) -> BatchShape:
        return (input_shape[0][0], *self.sides, input_shape[0][-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sides": self.sides}


@keras.saving.register_keras_serializable("tfgan_app")
class Stretch(layers.Layer):
    """Brings what a network painted back to a picture's sides: `[painted, picture]`.

    Args:
        central: Whether it is the middle of the picture, half as high and half as wide.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, central: bool, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.central = central

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        painted, picture = inputs
        known = picture.shape[1:3]
        if known.is_fully_defined() and self._of(known[0], known[1]) == tuple(painted.shape[1:3]):
            return painted
        sides = self._of(*tf.unstack(tf.shape(picture)[1:3]))
        return tf.image.resize(painted, tf.stack(sides), antialias=True)

    def _of(self, height, width):
        return (height - 2 * (height // 4), width - 2 * (width // 4)) if self.central else (height, width)

    def compute_output_shape(self, input_shape: list[BatchShape]) -> BatchShape:
        (batch, *_, channels), (_, height, width, _) = input_shape
        return (batch, None, None, channels) if None in (height, width) else (batch, *self._of(height, width), channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "central": self.central}


def _start_and_halvings(shape):
    """Returns the sides of the smallest map, and how often halving leads there from the picture's."""
    sides, halvings = shape[:2], 0
    while all(side % 2 == 0 and side > 4 for side in sides):
        sides, halvings = tuple(side // 2 for side in sides), halvings + 1
    if halvings < 2 or max(sides) > 8:
        raise ValueError(
            "ContextEncoder works at sides that halving, twice or more, brings to 3 to 8 pixels: 28, 64, 96 or 128, "
            f"for example. Crop to such with `crop=64`. Received: target_shape={tuple(shape)}"
        )
    return sides, halvings


def _widths(base_channels, halvings):
    """Returns the channels of the halving layers: the last four at most double, as in the program at 64 and 128."""
    return [base_channels * 2 ** max(0, index - max(0, halvings - 4)) for index in range(halvings)]


def _init():
    return keras.initializers.RandomNormal(stddev=0.02)


def _batch_norm():
    return BatchNormalization(gamma_initializer=keras.initializers.RandomNormal(1.0, 0.02))
