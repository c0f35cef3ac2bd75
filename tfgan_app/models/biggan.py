"""BigGAN. Brock et al. 2018, https://arxiv.org/abs/1809.11096."""

import functools
from typing import Any, Literal

import keras
import tensorflow as tf
from keras import layers

from tfgan_app.base.networks import BatchShape
from tfgan_app.conditions import Attributes, Condition
from tfgan_app.gan import GAN
from tfgan_app.layers import ConditionalBatchNormalization, SelfAttention, SpectralConv2D, SpectralDense
from tfgan_app.losses import Hinge
from tfgan_app.models import resnet
from tfgan_app.optimizers import Adam

__all__ = ["BigGAN", "OrthogonalRegularizer", "Split", "build_discriminator", "build_generator"]


@keras.saving.register_keras_serializable("tfgan_app")
class BigGAN(GAN):
    """Class-conditional residual networks at scale.

    The generator's batch normalisation takes scale and offset from an embedding of the class, shared by all blocks,
    beside a part of the latents of its own; attention in both networks; spectral normalisation of every layer;
    orthogonal initialisation, and regularisation of the generator that lets `truncation` trade variety for quality;
    a projection discriminator with the hinge loss, two updates of it to one of the generator.

    Widths are those of appendix B, tables 4 to 9, and to 64x64 those of the authors' program
    (https://github.com/ajbrock/BigGAN-PyTorch). Images of other shapes have the widths of those that double as often:
    up to three times, those next to the image at 64x64.

    The paper's batch is 2048; with a smaller one take smaller learning rates.

    Args:
        image_shape: `(height, width, channels)`, of sides that both halve at least twice: 28, 32, 48, 80, 96x64.
        num_classes: Number of classes.
        attributes: What it is told in the place of classes, as in `GAN`.
        latent_dim: Length of the latents; each block and the first layer take equal parts. 120 for 128x128.
        base_channels: Width beside the image; to 32x32 layers are four times this wide throughout.
        embedding_dim: Length of the shared class embedding.
        attention_at: Shorter side of the feature map on which self-attention acts; None for none. By default 64 for
            images of 128x128 and more, none for smaller ones.
        orthogonal: Weight beta of the orthogonal regularisation.
        **kwargs: `seed` and `name`, as in `GAN`.

    Raises:
        ValueError: For another image shape, latents that cannot be split, or attention at a side that no feature map
            has.
    """

    joint_pass = True
    needs_condition = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        num_classes: int | None = None,
        attributes: Attributes | None = None,
        latent_dim: int = 120,
        base_channels: int = 96,
        embedding_dim: int = 128,
        attention_at: int | Literal["auto"] | None = "auto",
        orthogonal: float = 1e-4,
        **kwargs: Any,
    ):
        sides = resnet.attention_sides(image_shape)
        if attention_at == "auto":
            attention_at = 64 if 64 in sides else None
        if attention_at is not None and attention_at not in sides:
            raise ValueError(
                f"`attention_at` must be one of {sides}, or None for none. Received: attention_at={attention_at}"
            )
        condition = self.condition_of(num_classes, attributes)
        assert condition is not None
        super().__init__(
            build_generator(image_shape, condition, latent_dim, base_channels, embedding_dim, attention_at, orthogonal),
            build_discriminator(image_shape, condition, base_channels, attention_at),
            num_classes=num_classes,
            attributes=attributes,
            **kwargs,
        )

    def compile_defaults(self) -> dict[str, Any]:
        return {
            "g_optimizer": Adam(5e-5, beta_1=0.0, beta_2=0.999, epsilon=1e-6),
            "d_optimizer": Adam(2e-4, beta_1=0.0, beta_2=0.999, epsilon=1e-6),
            "loss": Hinge(),
            "n_critic": 2,
            "ema_decay": 0.9999,
        }


def build_generator(
    image_shape: tuple[int, int, int],
    condition: Condition,
    latent_dim: int,
    base_channels: int,
    embedding_dim: int,
    attention_at: int | None = None,
    orthogonal: float = 0.0,
) -> keras.Model:
    """Returns latents `(batch, latent_dim)` and a condition -> images `(batch, *image_shape)` in [-1, 1]."""
    (height, width), blocks = resnet.resolution(image_shape)
    if resnet.small(image_shape):
        factors = (4,) * (blocks + 1)
    else:
        factors = (2, 4, 8, 16, 16)[: blocks + 1] if blocks <= 4 else resnet.growing(blocks + 1)
    widths = [base_channels * factor for factor in reversed(factors)]
    if latent_dim % (blocks + 1):
        raise ValueError(
            f"`latent_dim` must be a multiple of {blocks + 1}: the first layer and each of {blocks} blocks take equal "
            f"parts. Received: latent_dim={latent_dim}"
        )
    regularizer = OrthogonalRegularizer(orthogonal) if orthogonal else None

    def dense(units, **kwargs):
        return SpectralDense(units, kernel_initializer="orthogonal", kernel_regularizer=regularizer, **kwargs)

    def conv(width, side, resample=None):
        options = {"kernel_initializer": "orthogonal", "kernel_regularizer": regularizer, "resample": resample}
        return SpectralConv2D(width, side, padding="same", **options)

    latents = keras.Input((latent_dim,), name="latents")
    told = condition.input()
    embedding = condition.embed(told, embedding_dim, "orthogonal")
    first, *parts = Split(blocks + 1)(latents)

    def norm(part):
        joined = layers.Concatenate()([embedding, part])

        def apply(x):
            scale, offset = (dense(x.shape[-1], use_bias=False)(joined) for _ in range(2))
            return ConditionalBatchNormalization()([x, scale, offset])

        return apply

    x = layers.Reshape((height, width, widths[0]))(dense(height * width * widths[0])(first))
    attention = functools.partial(SelfAttention, "orthogonal", regularizer)
    norms, to_image = [norm(part) for part in parts], conv(image_shape[-1], 3)
    images = resnet.decode(x, widths, norms, conv, to_image, attention_at, attention)
    return keras.Model([latents, told], images, name="generator")


def build_discriminator(
    image_shape: tuple[int, int, int], condition: Condition, base_channels: int, attention_at: int | None = None
) -> keras.Model:
    """Returns images `(batch, *image_shape)` and a condition -> logits `(batch, 1)`."""

    def conv(width, side, resample=None):
        return SpectralConv2D(width, side, padding="same", kernel_initializer="orthogonal", resample=resample)

    _, doublings = resnet.resolution(image_shape)
    factors = (4, 4, 4, 4) if resnet.small(image_shape) else resnet.growing(doublings + 1)
    widths = [base_channels * factor for factor in factors]
    # The last block does not halve; of small images the last two do not.
    halvings = 2 if resnet.small(image_shape) else doublings
    attention = functools.partial(SelfAttention, "orthogonal")
    images = keras.Input(image_shape, name="images")
    features = resnet.encode(images, widths, halvings, conv, attention_at, attention, wide=True)
    return resnet.project(images, features, condition, init="orthogonal")


@keras.saving.register_keras_serializable("tfgan_app")
class OrthogonalRegularizer(keras.regularizers.Regularizer):
    """beta * |W^T W without its diagonal|^2 for a kernel as a matrix W of `(inputs, units)`: equation 3.

    Unlike `keras.regularizers.OrthogonalRegularizer` it takes convolutions, and leaves the units' lengths free.

    Args:
        beta: Its weight.
    """

    def __init__(self, beta: float = 1e-4):
        self.beta = beta

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        matrix = tf.reshape(x, (-1, x.shape[-1]))
        # |W W^T| = |W^T W|, and one of them may be a thousand times as small.
        wide = matrix.shape[0] < matrix.shape[1]
        gram = tf.matmul(matrix, matrix, transpose_a=not wide, transpose_b=wide)
        diagonal = tf.reduce_sum(tf.square(matrix), axis=0)
        return self.beta * (tf.reduce_sum(tf.square(gram)) - tf.reduce_sum(tf.square(diagonal)))

    def get_config(self) -> dict[str, Any]:
        return {"beta": self.beta}


@keras.saving.register_keras_serializable("tfgan_app")
class Split(layers.Layer):
    """Splits `(batch, features)` into `parts` equal ones, a list of `(batch, features / parts)`."""

    def __init__(self, parts: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.parts = parts

    def call(self, inputs: tf.Tensor) -> list[tf.Tensor]:
        return tf.split(inputs, self.parts, axis=1)

    def compute_output_shape(self, input_shape: BatchShape) -> list[BatchShape]:
        return [(input_shape[0], input_shape[1] // self.parts)] * self.parts

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "parts": self.parts}
