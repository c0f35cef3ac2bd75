"""Conditional GAN. Mirza and Osindero 2014, https://arxiv.org/abs/1411.1784."""

from typing import Any

import keras
from keras import layers

from tfgan_app.conditions import Attributes, Condition
from tfgan_app.gan import GAN
from tfgan_app.models import dcgan

__all__ = ["CGAN", "build_discriminator", "build_generator"]


@keras.saving.register_keras_serializable("tfgan_app")
class CGAN(GAN):
    """A DCGAN that is told the class: labels are concatenated to what both networks see.

    The generator gets the latents beside an embedding of the label, or of attributes; the discriminator gets the image
    beside a learned map of it, as one more channel. The paper feeds multilayer perceptrons that way; the trunk here is
    DCGAN's.

    Args:
        image_shape: `(height, width, channels)`, as in `DCGAN`.
        num_classes: Number of classes.
        attributes: What it is told in the place of classes, as in `GAN`.
        latent_dim: Length of the latents.
        base_channels: As in `DCGAN`.
        **kwargs: `seed` and `name`, as in `GAN`.
    """

    needs_condition = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        num_classes: int | None = None,
        attributes: Attributes | None = None,
        latent_dim: int = 100,
        base_channels: int = 64,
        **kwargs: Any,
    ):
        condition = self.condition_of(num_classes, attributes)
        assert condition is not None
        super().__init__(
            build_generator(image_shape, condition, latent_dim, base_channels),
            build_discriminator(image_shape, condition, base_channels),
            num_classes=num_classes,
            attributes=attributes,
            **kwargs,
        )


def build_generator(
    image_shape: tuple[int, int, int], condition: Condition, latent_dim: int, base_channels: int
) -> keras.Model:
    """Returns latents `(batch, latent_dim)` and a condition -> images `(batch, *image_shape)` in [-1, 1]."""
    latents = keras.Input((latent_dim,), name="latents")
    told = condition.input()
    x = layers.Concatenate()([latents, condition.embed(told, latent_dim, "normal")])
    return keras.Model([latents, told], dcgan.decode(x, image_shape, base_channels), name="generator")


def build_discriminator(image_shape: tuple[int, int, int], condition: Condition, base_channels: int) -> keras.Model:
    """Returns images `(batch, *image_shape)` and a condition -> logits `(batch, 1)`."""
    images = keras.Input(image_shape, name="images")
    told = condition.input()
    height, width, _ = image_shape
    told_map = condition.embed(told, height * width, "normal")
    x = layers.Concatenate()([images, layers.Reshape((height, width, 1))(told_map)])
    return keras.Model([images, told], dcgan.logits(dcgan.encode(x, base_channels)), name="discriminator")
