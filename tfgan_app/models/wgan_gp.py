"""WGAN-GP. Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028."""

from typing import Any

import keras

from tfgan_app.gan import GAN
from tfgan_app.losses import Wasserstein
from tfgan_app.models import resnet
from tfgan_app.optimizers import Adam
from tfgan_app.terms import GradientPenalty

__all__ = ["WGANGP"]


@keras.saving.register_keras_serializable("tfgan_app")
class WGANGP(GAN):
    """The Wasserstein GAN whose critic a gradient penalty keeps 1-Lipschitz, on residual networks.

    The critic has no batch normalisation: the penalty is one on each image. The paper lets the learning rates fall to 0
    over 100 000 steps of 64, as the setting `decay_learning_rates` does.

    Args:
        image_shape: `(height, width, channels)`: square, the side 28 or a power of two from 16.
        latent_dim: Length of the latents.
        g_channels: Width of the generator beside the image: of all layers to 32x32, doubling towards 4x4 above. By
            default 256 and 64.
        d_channels: The critic's, likewise; by default 128 and 64.
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
            resnet.build_discriminator(image_shape, d_channels),
            **kwargs,
        )

    def compile_defaults(self) -> dict[str, Any]:
        return {
            "g_optimizer": Adam(1e-4, beta_1=0.0, beta_2=0.9),
            "d_optimizer": Adam(1e-4, beta_1=0.0, beta_2=0.9),
            "loss": Wasserstein(),
            "terms": [GradientPenalty(10.0)],
            "n_critic": 5,
        }
