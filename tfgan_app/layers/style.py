"""The layers of StyleGAN2's generator. Karras et al. 2019, https://arxiv.org/abs/1912.04958."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.networks import BatchShape
from tfgan_app.base.randomness import next_seed, normal, uniform
from tfgan_app.base.replicas import mean_over_replicas
from tfgan_app.layers.bias import add_bias
from tfgan_app.layers.equalized import EqualizedDense
from tfgan_app.layers.fir import fir_filter

__all__ = [
    "LearnedConstant",
    "ModulatedConv2D",
    "Noise",
    "Redraw",
    "Style",
    "StyleMixing",
    "StyleStatistics",
    "scaled_leaky_relu",
]


@keras.saving.register_keras_serializable("tfgan_app")
def scaled_leaky_relu(x: tf.Tensor) -> tf.Tensor:
    """Leaky ReLU (0.2) times sqrt 2, which keeps the mean square of activations about constant."""
    return math.sqrt(2.0) * tf.nn.leaky_relu(x, 0.2)


class _Random(keras.layers.Layer):
    """A layer that draws random numbers in training."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator()


# From latents to styles.


@keras.saving.register_keras_serializable("tfgan_app")
class Redraw(_Random):
    """Replaces latents with others from N(0, I) in training: the second draw of style mixing."""

    def call(self, latents: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return latents
        return tf.cast(normal((tf.shape(latents)[0], latents.shape[1]), next_seed(self.seed_generator)), latents.dtype)


@keras.saving.register_keras_serializable("tfgan_app")
class StyleStatistics(keras.layers.Layer):
    """Passes w on, and keeps what training learns about it.

    Weights:
        mean: The moving average of w, `(style_dim,)`.
        path_length: a of equation 4, the moving average of path lengths, a scalar that `PathLength` updates.

    Args:
        decay: Weight of the old `mean` at each batch.
        **kwargs: As in `keras.layers.Layer`.
    """

    mean: keras.Variable
    path_length: keras.Variable

    def __init__(self, decay: float = 0.995, **kwargs: Any):
        super().__init__(**kwargs)
        self.decay = decay

    def build(self, input_shape: BatchShape) -> None:
        # Each replica moves its own until `end_update`: the `tf.cond` around a lazy penalty lets them exchange nothing.
        state = {"initializer": "zeros", "trainable": False, "autocast": False}
        self.mean = self.add_weight(name="mean", shape=input_shape[1:], **state)
        self.path_length = self.add_weight(name="path_length", shape=(), **state)

    def end_update(self) -> None:
        """Averages what replicas learnt in an update: as both move linearly, it is what one would have learnt."""
        for average in (self.mean, self.path_length):
            average.assign(mean_over_replicas(average.value))

    def call(self, styles: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            mean = tf.reduce_mean(tf.cast(styles, tf.float32), axis=0)
            self.mean.assign(mean + self.decay * (self.mean - mean))
        return tf.identity(styles)

    def truncate(self, styles: tf.Tensor, psi: float | tf.Tensor) -> tf.Tensor:
        """Returns w' = mean + psi (w - mean). Karras et al. 2018, https://arxiv.org/abs/1812.04948, appendix B."""
        return self.mean + psi * (styles - self.mean)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decay": self.decay}


@keras.saving.register_keras_serializable("tfgan_app")
class StyleMixing(_Random):
    """Gives each layer of the synthesis network its w: one for all, or in training two with a crossover.

    Inputs are w of two draws, each `(batch, style_dim)`; the result is `(batch, num_styles, style_dim)`. In training,
    an image takes the styles from a uniformly drawn layer on from the second draw, with the given probability.
    Karras et al. 2018, https://arxiv.org/abs/1812.04948, section 3.1.

    Args:
        num_styles: How many layers take a style.
        probability: Share of images that mix.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, num_styles: int, probability: float = 0.9, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_styles = num_styles
        self.probability = probability

    def call(self, inputs: Sequence[tf.Tensor], training: bool = False) -> tf.Tensor:
        first, second = (w[:, tf.newaxis] for w in inputs)
        if not training:
            return tf.repeat(first, self.num_styles, axis=1)
        draws = uniform((tf.shape(first)[0], 2, 1, 1), next_seed(self.seed_generator))
        crossover = 1 + tf.cast(draws[:, 0] * (self.num_styles - 1), tf.int32)
        mixed = draws[:, 1] < self.probability
        layer = tf.range(self.num_styles)[tf.newaxis, :, tf.newaxis]
        return tf.where(mixed & (layer >= crossover), second, first)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_styles": self.num_styles, "probability": self.probability}


# From styles to images.


@keras.saving.register_keras_serializable("tfgan_app")
class LearnedConstant(keras.layers.Layer):
    """The synthesis network's input: one learned tensor for every image of the batch, which starts from N(0, 1).

    Args:
        shape: `(height, width, channels)`.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, shape: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.shape = tuple(shape)

    def build(self, input_shape: BatchShape) -> None:
        self.constant = self.add_weight(
            name="constant", shape=self.shape, initializer=keras.initializers.RandomNormal(stddev=1.0)
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        constant = tf.convert_to_tensor(self.constant)
        return constant + tf.zeros_like(inputs[:, :1, :1, tf.newaxis], constant.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": self.shape}


@keras.saving.register_keras_serializable("tfgan_app")
class Style(EqualizedDense):
    """A in figure 2: the affine map from w of one layer to the scale s of each of its input channels, about 1 at first.

    Args:
        units: Number of channels.
        index: Which of the styles `(batch, num_styles, style_dim)` it takes.
        **kwargs: As in `EqualizedDense`.
    """

    def __init__(self, units: int, index: int, **kwargs: Any):
        super().__init__(units, **{"bias_initializer": "ones", **kwargs})
        self.index = index

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return super().call(inputs[:, self.index])

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return (input_shape[0], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "index": self.index}


@keras.saving.register_keras_serializable("tfgan_app")
class ModulatedConv2D(keras.layers.Layer):
    """A convolution whose weights are scaled for each image by a style. Section 2.2, figure 2d.

    Equation 1 scales the weights by input channel, w'_ijk = s_i w_ijk, and equation 3 divides them by their
    norm, w''_ijk = w'_ijk / sqrt(sum_ik w'_ijk^2 + epsilon), so that outputs have unit variance if inputs have.
    Both act on the inputs and outputs here, which is the same and leaves one convolution for the whole batch rather
    than one for each image. The learning rate is equalised as in `EqualizedConv2D`; biases start from 0.

    Inputs are images `(batch, height, width, channels)` and styles `(batch, channels)`.

    Args:
        filters: Number of output channels.
        kernel_size: Side of the kernel.
        demodulate: Whether equation 3 follows equation 1.
        upsample: Whether it is a transposed convolution that doubles the sides, followed by the filter [1, 3, 3, 1].
        gain: Factor on the weights after both equations.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        demodulate: bool = True,
        upsample: bool = False,
        gain: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.demodulate = demodulate
        self.upsample = upsample
        self.gain = gain

    def build(self, input_shape: Sequence[BatchShape]) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, input_shape[0][-1], self.filters),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        x, style = inputs
        kernel = tf.convert_to_tensor(self.kernel) * (self.gain / math.sqrt(math.prod(self.kernel.shape[:-1])))
        x = self._convolve(x * style[:, tf.newaxis, tf.newaxis], kernel)
        if self.demodulate:
            # sum_ik s_i^2 w_ijk^2, in float32 under every policy.
            power = tf.reduce_sum(tf.square(tf.cast(kernel, tf.float32)), axis=(0, 1))
            power = tf.square(tf.cast(style, tf.float32)) @ power
            x = x * tf.cast(self.gain * tf.math.rsqrt(power + 1e-8), x.dtype)[:, tf.newaxis, tf.newaxis]
        # Not `+`: how TensorFlow orders that sum and the noise's would depend on whether the batch's size is known.
        return add_bias(x, tf.convert_to_tensor(self.bias))

    def _convolve(self, x, kernel):
        if not self.upsample:
            return tf.nn.conv2d(x, kernel, 1, "SAME")
        batch, height, width, _ = tf.unstack(tf.shape(x))
        shape = (batch, 2 * height + 1, 2 * width + 1, self.filters)
        # The kernel counts four times, as three of four pixels are the zeros between the others.
        x = tf.nn.conv2d_transpose(x, tf.transpose(4.0 * kernel, (0, 1, 3, 2)), shape, 2, "VALID")
        return fir_filter(x, (1, 3, 3, 1), padding=1)

    def compute_output_shape(self, input_shape: Sequence[BatchShape]) -> BatchShape:
        batch, height, width, _ = input_shape[0]
        factor = 2 if self.upsample else 1
        return (batch, factor * height, factor * width, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "demodulate": self.demodulate,
            "upsample": self.upsample,
            "gain": self.gain,
        }


@keras.saving.register_keras_serializable("tfgan_app")
class Noise(_Random):
    """Adds Gaussian noise, one value for each pixel, times a learned strength that starts from 0.

    In training every image gets noise of its own. Otherwise all get one map, always the same, so that images depend on
    their latents alone.

    Args:
        index: Which map: layers that differ in it differ in their maps.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, index: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.index = index

    def build(self, input_shape: BatchShape) -> None:
        self.strength = self.add_weight(name="strength", shape=(), initializer="zeros")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        _, height, width, _ = inputs.shape
        if training:
            noise = normal((tf.shape(inputs)[0], height, width, 1), next_seed(self.seed_generator))
        else:
            noise = normal((1, height, width, 1), (self.index, 0), whole=True)
        # Not `+`: where weights are constants, as in an exported file, TensorFlow would add the map to the biases
        # before, and their shapes do not fit.
        return inputs - -self.strength * tf.cast(noise, inputs.dtype)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "index": self.index}
