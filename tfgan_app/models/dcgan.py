"""DCGAN. Radford et al. 2015, https://arxiv.org/abs/1511.06434."""

from typing import Any

import keras
from keras import layers

from tfgan_app.gan import GAN
from tfgan_app.layers import BatchNormalization, Conv2D, Conv2DTranspose
from tfgan_app.models.sides import start_and_doublings

__all__ = ["DCGAN", "build_discriminator", "build_generator", "decode", "encode", "logits"]

_ALPHA = 0.2


@keras.saving.register_keras_serializable("tfgan_app")
class DCGAN(GAN):
    """Strided 4x4 convolutions with batch normalisation.

    The generator projects the latents to 4x4 (28x28 images: 7x7; 96x64: 6x4) and doubles the sides with each transposed
    convolution while it halves the channels; ReLU inside, tanh at the end. The discriminator mirrors it with
    leaky ReLU (0.2). Batch normalisation everywhere but on the generator's output and the discriminator's first
    layer; no biases, which it would cancel. Weights start from N(0, 0.02).

    Args:
        image_shape: `(height, width, channels)`, of sides that both halve at least twice: 28, 32, 48, 80, 96x64.
        latent_dim: Length of the latents.
        base_channels: Channels beside the image, doubled with each halving of it but the last.
        **kwargs: `seed` and `name`, as in `GAN`.

    Raises:
        ValueError: For another image shape.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], *, latent_dim: int = 100, base_channels: int = 64, **kwargs: Any
    ):
        super().__init__(
            build_generator(image_shape, latent_dim, base_channels),
            build_discriminator(image_shape, base_channels),
            **kwargs,
        )


def build_generator(image_shape: tuple[int, int, int], latent_dim: int, base_channels: int) -> keras.Model:
    """Returns latents `(batch, latent_dim)` -> images `(batch, *image_shape)` in [-1, 1]."""
    latents = keras.Input((latent_dim,), name="latents")
    return keras.Model(latents, decode(latents, image_shape, base_channels), name="generator")


def build_discriminator(image_shape: tuple[int, int, int], base_channels: int) -> keras.Model:
    """Returns images `(batch, *image_shape)` -> logits `(batch, 1)`."""
    images = keras.Input(image_shape, name="images")
    return keras.Model(images, logits(encode(images, base_channels)), name="discriminator")


def decode(x: keras.KerasTensor, image_shape: tuple[int, int, int], base_channels: int) -> keras.KerasTensor:
    """Applies the generator's layers to a tensor `(batch, features)`; returns images in [-1, 1]."""
    (height, width), doublings = start_and_doublings("DCGAN", image_shape)
    channels = base_channels * 2 ** (doublings - 1)
    x = layers.Dense(height * width * channels, use_bias=False, kernel_initializer=_init())(x)
    x = layers.Reshape((height, width, channels))(x)
    for _ in range(doublings - 1):
        x = layers.ReLU()(_batch_norm()(x))
        channels //= 2
        x = Conv2DTranspose(channels, 4, 2, "same", use_bias=False, kernel_initializer=_init())(x)
    x = layers.ReLU()(_batch_norm()(x))
    x = Conv2DTranspose(image_shape[-1], 4, 2, "same", use_bias=False, kernel_initializer=_init())(x)
    return layers.Activation("tanh", dtype="float32")(x)


def encode(x: keras.KerasTensor, base_channels: int, batch_norm: bool = True) -> keras.KerasTensor:
    """Applies the discriminator's layers but the last to `(batch, height, width, channels)`; returns features.

    Without batch normalisation, which penalties on each image's gradient forbid, layers have biases, and start as He
    et al. 2015 (https://arxiv.org/abs/1502.01852) have it.
    """
    _, halvings = start_and_doublings("DCGAN", x.shape[1:])
    for index in range(halvings):
        init = _init() if batch_norm else "he_normal"
        channels = base_channels * 2**index
        x = Conv2D(channels, 4, 2, "same", use_bias=not batch_norm, kernel_initializer=init)(x)
        x = layers.LeakyReLU(_ALPHA)(_batch_norm()(x) if batch_norm and index else x)
    return layers.Flatten()(x)


def logits(features: keras.KerasTensor) -> keras.KerasTensor:
    """Applies the discriminator's last layer."""
    return layers.Dense(1, use_bias=False, kernel_initializer=_init(), dtype="float32")(features)


def _init():
    return keras.initializers.RandomNormal(stddev=0.02)


def _batch_norm():
    return BatchNormalization(gamma_initializer=keras.initializers.RandomNormal(1.0, 0.02))
