"""SNGAN. Miyato et al. 2018, https://arxiv.org/abs/1802.05957."""

from typing import Any

import keras

from tfgan_app.gan import GAN
from tfgan_app.losses import Hinge
from tfgan_app.models import resnet
from tfgan_app.optimizers import Adam

__all__ = ["SNGAN"]


@keras.saving.register_keras_serializable("tfgan_app")
class SNGAN(GAN):
    """Every layer of the discriminator spectrally normalised, with the hinge loss, on WGAN-GP's residual networks.

    Args:
        image_shape: `(height, width, channels)`, of sides that both halve at least twice: 28, 32, 48, 80, 96x64.
        latent_dim: Length of the latents.
        g_channels: Width of the generator beside the image: of all layers to 32x32, above growing with each
            halving to 16 times as much. By default 256 and 64.
        d_channels: The discriminator's, likewise; by default 128 and 64.
        **kwargs: `seed` and `name`, as in `GAN`.

    Raises:
        ValueError: For another image shape.
    """

    joint_pass = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        latent_dim: int = 128,
        g_channels: int | None = None,
        d_channels: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            resnet.build_generator(image_shape, latent_dim, g_channels),
            resnet.build_discriminator(image_shape, d_channels, spectral=True),
            **kwargs,
        )

    def compile_defaults(self) -> dict[str, Any]:
        return {
            "g_optimizer": Adam(2e-4, beta_1=0.0, beta_2=0.9),
            "d_optimizer": Adam(2e-4, beta_1=0.0, beta_2=0.9),
            "loss": Hinge(),
            "n_critic": 5,
        }
