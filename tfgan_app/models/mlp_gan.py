"""The multilayer-perceptron GAN. Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tfgan_app.gan import GAN
from tfgan_app.layers import BatchNormalization

__all__ = ["MLPGAN", "build_discriminator", "build_generator"]

_ALPHA = 0.2


@keras.saving.register_keras_serializable("tfgan_app")
class MLPGAN(GAN):
    """A GAN of dense layers: leaky ReLU (0.2) inside, tanh on the generator, logits from the discriminator.

    The defaults are the widths in common use. The other classic pairs are
    `MLPGAN(shape, g_units=(128,), d_units=(128,))`, small, with learning rate 1e-3, and
    `MLPGAN(shape, g_units=(128, 256, 512, 1024), batch_norm=True)`.

    Args:
        image_shape: `(height, width, channels)`.
        latent_dim: Length of the latents.
        g_units: Widths of the generator's hidden layers.
        d_units: Widths of the discriminator's.
        batch_norm: Whether batch normalisation follows each hidden activation of the generator but the first.
        **kwargs: `seed` and `name`, as in `GAN`.
    """

    joint_pass = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        latent_dim: int = 100,
        g_units: Sequence[int] = (256, 512, 1024),
        d_units: Sequence[int] = (512, 256),
        batch_norm: bool = False,
        **kwargs: Any,
    ):
        super().__init__(
            build_generator(image_shape, latent_dim, g_units, batch_norm),
            build_discriminator(image_shape, d_units),
            **kwargs,
        )

    def compile_defaults(self) -> dict[str, Any]:
        # XLA fuses small dense layers with Adam's updates, but on a CPU it multiplies bfloat16 no faster than float32.
        bfloat16 = any(layer.compute_dtype == "bfloat16" for layer in self.generator.layers)
        return {"jit_compile": not bfloat16 or bool(tf.config.list_physical_devices("GPU"))}


def build_generator(
    image_shape: tuple[int, int, int], latent_dim: int, units: Sequence[int], batch_norm: bool
) -> keras.Model:
    """Returns latents `(batch, latent_dim)` -> images `(batch, *image_shape)` in [-1, 1]."""
    latents = x = keras.Input((latent_dim,), name="latents")
    for index, width in enumerate(units):
        x = layers.Dense(width)(x)
        x = layers.LeakyReLU(_ALPHA)(x)
        if batch_norm and index:
            x = BatchNormalization()(x)
    x = layers.Dense(math.prod(image_shape))(x)
    x = layers.Reshape(image_shape)(x)
    images = layers.Activation("tanh", dtype="float32")(x)
    return keras.Model(latents, images, name="generator")


def build_discriminator(image_shape: tuple[int, int, int], units: Sequence[int]) -> keras.Model:
    """Returns images `(batch, *image_shape)` -> logits `(batch, 1)`."""
    images = keras.Input(image_shape, name="images")
    x = layers.Flatten()(images)
    for width in units:
        x = layers.Dense(width)(x)
        x = layers.LeakyReLU(_ALPHA)(x)
    logits = layers.Dense(1, dtype="float32")(x)
    return keras.Model(images, logits, name="discriminator")
