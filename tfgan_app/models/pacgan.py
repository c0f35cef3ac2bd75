"""PacGAN. Lin et al. 2017, https://arxiv.org/abs/1712.04086."""

from typing import Any

import keras

from tfgan_app.gan import GAN
from tfgan_app.layers import Pack
from tfgan_app.models import dcgan

__all__ = ["PacGAN", "build_discriminator"]


@keras.saving.register_keras_serializable("tfgan_app")
class PacGAN(GAN):
    """A DCGAN whose discriminator judges several images at once, and so sees when they are all alike.

    On networks of your own, `tfgan_app.layers.Pack` as the discriminator's first layer does the same.

    Args:
        image_shape: `(height, width, channels)`, as in `DCGAN`.
        packing: Images judged at once, of which the batch is a multiple; 1 is DCGAN.
        latent_dim: Length of the latents.
        base_channels: As in `DCGAN`.
        **kwargs: `seed` and `name`, as in `GAN`.

    Raises:
        ValueError: For another image shape, or a packing below 1.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        latent_dim: int = 100,
        packing: int = 2,
        base_channels: int = 64,
        **kwargs: Any,
    ):
        super().__init__(
            dcgan.build_generator(image_shape, latent_dim, base_channels),
            build_discriminator(image_shape, packing, base_channels),
            **kwargs,
        )


def build_discriminator(image_shape: tuple[int, int, int], packing: int, base_channels: int) -> keras.Model:
    """Returns images `(batch, *image_shape)` -> logits `(batch // packing, 1)`."""
    images = keras.Input(image_shape, name="images")
    features = dcgan.encode(Pack(packing)(images), base_channels)
    return keras.Model(images, dcgan.logits(features), name="discriminator")
