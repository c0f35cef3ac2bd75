"""Conditional GAN. Mirza and Osindero 2014, https://arxiv.org/abs/1411.1784."""

from typing import Any

import keras
from keras import layers

from tfgan_app.gan import GAN
from tfgan_app.models import dcgan

__all__ = ["CGAN", "build_discriminator", "build_generator"]


@keras.saving.register_keras_serializable("tfgan_app")
class CGAN(GAN):
    """A DCGAN that is told the class: labels are concatenated to what both networks see.

    The generator gets the latents beside an embedding of the label; the discriminator gets the image beside a
    learned map of the label, as one more channel. The paper feeds multilayer perceptrons that way; the trunk here is
    DCGAN's.

    Args:
        image_shape: `(height, width, channels)`, as in `DCGAN`.
        num_classes: Number of classes.
        latent_dim: Length of the latents.
        base_channels: As in `DCGAN`.
        **kwargs: `seed` and `name`, as in `GAN`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        num_classes: int,
        latent_dim: int = 100,
        base_channels: int = 64,
        **kwargs: Any,
    ):
        super().__init__(
            build_generator(image_shape, num_classes, latent_dim, base_channels),
            build_discriminator(image_shape, num_classes, base_channels),
            num_classes=num_classes,
            **kwargs,
        )


def build_generator(
    image_shape: tuple[int, int, int], num_classes: int, latent_dim: int, base_channels: int
) -> keras.Model:
    """Returns latents `(batch, latent_dim)` and labels `(batch,)` -> images `(batch, *image_shape)` in [-1, 1]."""
    latents = keras.Input((latent_dim,), name="latents")
    labels = keras.Input((), dtype="int32", name="labels")
    embedding = layers.Embedding(num_classes, latent_dim, embeddings_initializer="normal")(labels)
    x = layers.Concatenate()([latents, embedding])
    return keras.Model([latents, labels], dcgan.decode(x, image_shape, base_channels), name="generator")


def build_discriminator(image_shape: tuple[int, int, int], num_classes: int, base_channels: int) -> keras.Model:
    """Returns images `(batch, *image_shape)` and labels `(batch,)` -> logits `(batch, 1)`."""
    images = keras.Input(image_shape, name="images")
    labels = keras.Input((), dtype="int32", name="labels")
    height, width, _ = image_shape
    label_map = layers.Embedding(num_classes, height * width, embeddings_initializer="normal")(labels)
    x = layers.Concatenate()([images, layers.Reshape((height, width, 1))(label_map)])
    return keras.Model([images, labels], dcgan.logits(dcgan.encode(x, base_channels)), name="discriminator")
