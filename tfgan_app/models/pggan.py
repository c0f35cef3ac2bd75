"""PGGAN, progressive growing of GANs. Karras et al. 2017, https://arxiv.org/abs/1710.10196."""

import contextlib
import contextvars
import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

# TensorFlow has no public name that tells whether XLA compiles the present graph.
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

from tfgan_app.base.networks import BatchShape
from tfgan_app.gan import GAN
from tfgan_app.layers.equalized import EqualizedConv2D, EqualizedDense
from tfgan_app.layers.minibatch_stddev import MinibatchStdDev
from tfgan_app.layers.pixel_norm import PixelNorm
from tfgan_app.losses import Wasserstein
from tfgan_app.models.sides import start_and_doublings
from tfgan_app.optimizers import Adam
from tfgan_app.sampler import Signatures
from tfgan_app.schedules import Number
from tfgan_app.terms import GradientPenalty, Play, Term

__all__ = [
    "PGGAN",
    "ChannelBias",
    "Drift",
    "ProgressiveDown",
    "ProgressiveUp",
    "build_discriminator",
    "build_generator",
]

# He's gain, for layers that a leaky ReLU (0.2) follows.
_GAIN = math.sqrt(2.0)


@keras.saving.register_keras_serializable("tfgan_app")
class PGGAN(GAN):
    """Both networks begin at 4x4 (28x28 images: 7x7; 96x64: 6x4) and grow, block by block, to the image's size.

    A stage is a resolution. Training stabilises each for `stabilize_steps`, then fades the next in over `fade_steps`:
    the share alpha of the new block rises from 0 to 1, and both networks, and the real images, are blends of the two
    resolutions meanwhile. Only the present stage is computed. Images keep the full size throughout: below the last
    stage the generator's are upsampled and the discriminator's averaged down, so everything around the model goes on
    as with any GAN. (A gradient penalty, too, measures its gradient at full size, whatever the stage.)

    Equalised learning rates, pixelwise normalisation in the generator and of its latents, the minibatch standard
    deviation before the discriminator's last layers, leaky ReLU (0.2). The generator's output is linear,
    so images can leave [-1, 1]. The channels are the paper's Table 2. (Where the lowest stage is narrower than
    `channel_max`, the authors' program has the discriminator's first dense layer twice as wide; here they are equal.)

    The authors' program resets Adam's state whenever a resolution is added; here it stays. A weight's second moment is
    0 until its stage begins, and the bias correction is over by then, so its first step is 1 / sqrt(1 - beta_2) = 10
    times the learning rate (0.01, for weights of standard deviation 1), and its first hundred go about twice as far as
    after a reset: soon forgotten, as alpha is still near 0. With beta_1 = 0 there is no momentum to go stale.

    Args:
        image_shape: `(height, width, channels)`, of sides that both halve at least once: 8, 28, 32, 48, 80, 96x64.
        latent_dim: Length of the latents.
        channel_base: Channels at stage s are `channel_base` / 2^(s + 1), where the smallest map is stage 0.
        channel_max: The most channels of a layer.
        stabilize_steps: Steps at a stage before the next begins to fade in, at least 0: a number for all, or a sequence
            of one for each stage but the last, which goes on to the end. By default the paper's 800 000 images at its
            batch size of 16.
        fade_steps: Steps of each fade, at least 1, likewise.
        group_size: Images that the minibatch standard deviation compares. By default the paper's whole batch of 16; the
            authors' later presets have 4. On several devices at most each device's part of the batch.
        **kwargs: `seed` and `name`, as in `GAN`.

    Raises:
        ValueError: For another image shape, or steps that do not fit it.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        latent_dim: int = 512,
        channel_base: int = 8192,
        channel_max: int = 512,
        stabilize_steps: int | Sequence[int] = 50_000,
        fade_steps: int | Sequence[int] = 50_000,
        group_size: int = 16,
        **kwargs: Any,
    ):
        super().__init__(
            build_generator(image_shape, latent_dim, channel_base, channel_max),
            build_discriminator(image_shape, channel_base, channel_max, group_size),
            **kwargs,
        )
        _, last = start_and_doublings("PGGAN", image_shape, 1)
        self.stabilize_steps = _each_fade("stabilize_steps", stabilize_steps, 0, last, image_shape)
        self.fade_steps = _each_fade("fade_steps", fade_steps, 1, last, image_shape)
        self._grow()

    def compile_defaults(self) -> dict[str, Any]:
        return {
            "g_optimizer": Adam(1e-3, beta_1=0.0, beta_2=0.99, epsilon=1e-8),
            "d_optimizer": Adam(1e-3, beta_1=0.0, beta_2=0.99, epsilon=1e-8),
            "loss": Wasserstein(),
            "terms": [Drift(), GradientPenalty(10.0)],
            "ema_decay": 0.999,
            # XLA would compile a program for each stage.
            "jit_compile": False,
        }

    @property
    def level(self) -> float:
        """How far the networks have grown: 0 is the lowest resolution, 1.3 the third faded in to 30%."""
        part = self.generator.get_layer("progressive")
        return float(tf.cast(part.stage, tf.float32) - 1.0 + part.alpha)

    def signatures(self) -> Signatures:
        """Returns those of `GAN` at the present level, of whose stage alone they hold the weights."""

        def fixed(function):
            def traced(*inputs):
                with _stage_fixed():
                    return function(*inputs)

            return traced

        return {name: (fixed(function), specs) for name, (function, specs) in super().signatures().items()}

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Takes the step at the present level, the real images blended as the networks are, and grows for the next."""
        images, _ = self.unpack(data)
        logs = super().train_step(self._blended(images))
        self._grow()
        return logs

    def _grow(self):
        """Sets the level of the step after `iterations` steps, the same in all networks."""
        # A step must end with this; `_at_stage` says why.
        begin, progress = 0, []
        for wait, length in zip(self.stabilize_steps, self.fade_steps, strict=True):
            begin += wait
            # A step has the level of its middle, so that no step of a fade has an alpha of 0 or 1.
            done = tf.cast(tf.convert_to_tensor(self.iterations) - begin, tf.float32) + 0.5
            progress.append(tf.clip_by_value(done / length, 0.0, 1.0))
            begin += length
        stage = tf.reduce_sum(tf.cast(tf.stack(progress) > 0.0, tf.int32))
        alpha = tf.reduce_min([tf.where(fade > 0.0, fade, 1.0) for fade in progress])
        for network in (self.generator, self.discriminator, self.ema_generator):
            part = network.get_layer("progressive")
            part.stage.assign(stage)
            part.alpha.assign(alpha)

    def _blended(self, images):
        """Returns full-size images, blended during a fade with their own at half the stage's resolution."""
        part = self.discriminator.get_layer("progressive")
        last = len(part.widths) - 1

        def coarse(stage, images):
            factor = 2 ** (last + 1 - stage)
            return _upsampled(_averaged(images, factor), factor) if stage else images

        return part.blend(_at_stage(part.stage, coarse, last, images), images)


@keras.saving.register_keras_serializable("tfgan_app")
class Drift(Term):
    """E[D(x)^2] of real images, which keeps the critic's outputs near 0.

    Karras et al. 2017, https://arxiv.org/abs/1710.10196, appendix A.1, where the weight is epsilon_drift.
    """

    name = "drift"

    def __init__(self, weight: Number = 0.001, interval: int = 1):
        super().__init__(weight, interval)

    def __call__(self, play: Play) -> tf.Tensor:
        return tf.reduce_mean(tf.square(play.real_outputs["logits"]))


def build_generator(
    image_shape: tuple[int, int, int], latent_dim: int, channel_base: int, channel_max: int
) -> keras.Model:
    """Returns latents `(batch, latent_dim)` -> images `(batch, *image_shape)` about [-1, 1], fully grown."""
    (height, width), _ = start_and_doublings("PGGAN", image_shape, 1)
    widths = _widths(image_shape, channel_base, channel_max)
    latents = keras.Input((latent_dim,), name="latents")
    x = PixelNorm()(latents)
    # On a 1x1 input, Table 2's first convolution is a dense layer; its fan-in and biases stay a convolution's.
    x = EqualizedDense(height * width * widths[0], gain=_GAIN / math.sqrt(height * width), use_bias=False)(x)
    x = ChannelBias()(layers.Reshape((height, width, widths[0]))(x))
    x = PixelNorm()(layers.LeakyReLU(0.2)(x))
    x = PixelNorm()(_conv(widths[0], 3)(x))
    x = ProgressiveUp(widths, image_shape[-1], name="progressive")(x)
    return keras.Model(latents, layers.Activation("linear", dtype="float32")(x), name="generator")


def build_discriminator(
    image_shape: tuple[int, int, int], channel_base: int, channel_max: int, group_size: int = 16
) -> keras.Model:
    """Returns images `(batch, *image_shape)` -> logits `(batch, 1)`, fully grown."""
    widths = _widths(image_shape, channel_base, channel_max)
    images = keras.Input(image_shape, name="images")
    x = ProgressiveDown(widths, name="progressive")(images)
    x = _conv(widths[0], 3)(MinibatchStdDev(group_size)(x))
    # On its 4x4 input, Table 2's unpadded 4x4 convolution is a dense layer.
    x = EqualizedDense(widths[0], gain=_GAIN, activation="leaky_relu")(layers.Flatten()(x))
    return keras.Model(images, EqualizedDense(1, dtype="float32")(x), name="discriminator")


@keras.saving.register_keras_serializable("tfgan_app")
class ChannelBias(keras.layers.Layer):
    """Adds a learned number to each channel, the last axis."""

    def build(self, input_shape: BatchShape) -> None:
        self.bias = self.add_weight(name="bias", shape=input_shape[-1:], initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs + self.bias

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return input_shape


class _Progressive(keras.layers.Layer):
    """Base of the parts that grow: a network for each stage, of which only that of the present stage is computed.

    Args:
        widths: Channels of each stage, from the lowest resolution up.
        **kwargs: As in `keras.layers.Layer`.

    Attributes:
        stage: An int32 weight, the index of the stage.
        alpha: A float32 weight, the share of the stage's newest block in (0, 1]; the rest is the stage's below.
    """

    stage: keras.Variable
    alpha: keras.Variable

    def __init__(self, widths: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.widths = tuple(widths)

    def build(self, input_shape: BatchShape) -> None:
        last = keras.initializers.Constant(len(self.widths) - 1)
        self.stage = self.add_weight(name="stage", shape=(), dtype="int32", initializer=last, trainable=False)
        self.alpha = self.add_weight(
            name="alpha", shape=(), dtype="float32", initializer="ones", trainable=False, autocast=False
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = _at_stage(self.stage, self.call_at, len(self.widths) - 1, inputs)
        if tf.executing_eagerly():
            # In a graph, the gradient of the other stages' weights is 0. Without this it would be None here.
            unused = tf.add_n([tf.reduce_sum(weight) for weight in self.trainable_variables])
            outputs += tf.cast(0.0 * unused, outputs.dtype)
        return outputs

    def call_at(self, stage: int, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the outputs at a stage, a Python integer."""
        raise NotImplementedError(f"{type(self).__name__} must define `call_at`.")

    def blend(self, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
        """Returns (1 - alpha) * low + alpha * high, exactly `high` where alpha is 1."""
        alpha = tf.convert_to_tensor(self.alpha)
        return tf.cast(1.0 - alpha, low.dtype) * low + tf.cast(alpha, high.dtype) * high

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "widths": self.widths}


@keras.saving.register_keras_serializable("tfgan_app")
class ProgressiveUp(_Progressive):
    """The generator from the lowest resolution on: features `(batch, height, width, widths[0])` -> full-size images.

    Stage s doubles the sides s times, each time with nearest neighbours and two 3x3 convolutions, and makes an image
    by a linear 1x1 convolution of its own ("toRGB"); that is upsampled to the full size, 2^(stages - 1) times the
    features'.

    Args:
        widths: Channels of each stage, from the lowest resolution up; `widths[0]` is the input's.
        channels: The image's channels.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, widths: Sequence[int], channels: int, **kwargs: Any):
        super().__init__(widths, **kwargs)
        self.channels = channels
        dtype = self.dtype_policy
        # Two for each stage from the second on, in one list: Keras saves no lists in lists.
        self.convs = [_conv(width, 3, dtype=dtype) for width in self.widths[1:] for _ in range(2)]
        self.to_rgb = [EqualizedConv2D(channels, 1, dtype=dtype) for _ in self.widths]
        self.pixel_norm = PixelNorm(dtype=dtype)

    def build(self, input_shape: BatchShape) -> None:
        super().build(input_shape)
        self.pixel_norm.build(input_shape)
        _, height, width, before = input_shape
        for stage, filters in enumerate(self.widths):
            for conv in self._block(stage):
                conv.build((None, height, width, before))
                before = filters
            self.to_rgb[stage].build((None, height, width, filters))
            height, width = 2 * height, 2 * width

    def call_at(self, stage: int, inputs: tf.Tensor) -> tf.Tensor:
        before = x = inputs
        for index in range(1, stage + 1):
            before, x = x, _upsampled(x, 2)
            for conv in self._block(index):
                x = self.pixel_norm(conv(x))
        images = self.to_rgb[stage](x)
        if stage:
            images = self.blend(_upsampled(self.to_rgb[stage - 1](before), 2), images)
        return _upsampled(images, 2 ** (len(self.widths) - 1 - stage))

    def _block(self, stage):
        return self.convs[2 * stage - 2 : 2 * stage] if stage else []

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        batch, height, width, _ = input_shape
        factor = 2 ** (len(self.widths) - 1)
        return batch, height * factor, width * factor, self.channels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}


@keras.saving.register_keras_serializable("tfgan_app")
class ProgressiveDown(_Progressive):
    """The discriminator down to the lowest resolution: full-size images -> `(batch, height, width, widths[0])`.

    Averages images down to the stage's resolution, maps them to features by a 1x1 convolution of its own ("fromRGB"),
    and halves the sides s times, each time by two 3x3 convolutions and the average of each two by two.

    Args:
        widths: Channels of each stage, from the lowest resolution up.
        **kwargs: As in `keras.layers.Layer`.
    """

    def __init__(self, widths: Sequence[int], **kwargs: Any):
        super().__init__(widths, **kwargs)
        dtype = self.dtype_policy
        self.from_rgb = [_conv(width, 1, dtype=dtype) for width in self.widths]
        # Two for each stage from the second on, in one list: Keras saves no lists in lists.
        self.convs = [
            _conv(filters, 3, dtype=dtype)
            for below, width in zip(self.widths[:-1], self.widths[1:], strict=True)
            for filters in (width, below)
        ]

    def build(self, input_shape: BatchShape) -> None:
        super().build(input_shape)
        _, height, width, channels = input_shape
        for stage in reversed(range(len(self.widths))):
            self.from_rgb[stage].build((None, height, width, channels))
            for conv in self._block(stage):
                conv.build((None, height, width, self.widths[stage]))
            height, width = height // 2, width // 2

    def call_at(self, stage: int, inputs: tf.Tensor) -> tf.Tensor:
        images = _averaged(inputs, 2 ** (len(self.widths) - 1 - stage))
        x = self.from_rgb[stage](images)
        for index in range(stage, 0, -1):
            for conv in self._block(index):
                x = conv(x)
            x = _averaged(x, 2)
            if index == stage:
                x = self.blend(self.from_rgb[stage - 1](_averaged(images, 2)), x)
        return x

    def _block(self, stage):
        return self.convs[2 * stage - 2 : 2 * stage] if stage else []

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        batch, height, width, _ = input_shape
        factor = 2 ** (len(self.widths) - 1)
        return batch, height // factor, width // factor, self.widths[0]


# Whether functions are traced for the present stage alone.
_fixed = contextvars.ContextVar("_fixed", default=False)


@contextlib.contextmanager
def _stage_fixed():
    token = _fixed.set(True)
    try:
        yield
    finally:
        _fixed.reset(token)


def _at_stage(stage, function, last, inputs):
    """Returns `function(stage, inputs)` for the weight `stage`, of 0 to `last`, and computes that one alone."""
    if _fixed.get():
        with tf.init_scope():
            present = int(tf.convert_to_tensor(stage))
        return function(present, inputs)
    stage = tf.convert_to_tensor(stage)
    if not GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        return tf.switch_case(stage, [functools.partial(function, index, inputs) for index in range(last + 1)])
    # XLA's conditional would hold the intermediate results of all branches for the gradient. So the other stages get an
    # empty batch instead, which costs nothing: XLA compiles a program for each value of an integer variable on which
    # shapes depend, provided that nothing assigned the variable earlier in the graph. (The kernels outside XLA do not
    # all take empty batches.)
    size = tf.shape(inputs)[0]
    parts = [function(index, inputs[: tf.where(stage == index, size, 0)]) for index in range(last + 1)]
    return tf.concat(parts, axis=0)


def _conv(filters, side, **kwargs):
    return EqualizedConv2D(filters, side, gain=_GAIN, padding="same", activation="leaky_relu", **kwargs)


def _averaged(images, factor):
    return tf.nn.avg_pool2d(images, factor, factor, "VALID") if factor > 1 else images


def _upsampled(images, factor):
    return tf.repeat(tf.repeat(images, factor, axis=1), factor, axis=2) if factor > 1 else images


def _widths(image_shape, channel_base, channel_max):
    _, last = start_and_doublings("PGGAN", image_shape, 1)
    widths = tuple(min(channel_max, channel_base // 2 ** (stage + 1)) for stage in range(last + 1))
    if widths[-1] < 1:
        raise ValueError(
            f"The last of {last + 1} stages would have no channels. Give `channel_base` of at least {2 ** (last + 1)}. "
            f"Received: channel_base={channel_base}, channel_max={channel_max}"
        )
    return widths


def _each_fade(name, steps, least, fades, image_shape):
    """Returns one number of steps for each fade."""
    each = (steps,) * fades if isinstance(steps, int) else tuple(steps)
    if len(each) != fades or any(value != int(value) or value < least for value in each):
        raise ValueError(
            f"`{name}` must be an integer of at least {least}, or {fades} of them: images of shape "
            f"{tuple(image_shape)} fade in a stage {fades} times. Received: {name}={steps}"
        )
    return tuple(int(value) for value in each)
