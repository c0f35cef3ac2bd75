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

    The critic has no batch normalisation: the penalty is one on each image. It averages its features over positions.

    To 32x32, networks and learning rates are those of the authors' unconditional program for CIFAR-10
    (https://github.com/igul222/improved_wgan_training, gan_cifar_resnet.py), which lets the learning rates fall to 0
    over 100 000 steps of 64, as the setting `decay_learning_rates` does. Above, the networks are SNGAN's with these two
    differences and the learning rate is the paper's; the authors' own for 64x64 end at a width of 8 times the first,
    and their critic has layer normalisation.

    Args:
        image_shape: `(height, width, channels)`, of sides that both halve at least twice: 28, 32, 48, 80, 96x64.
        latent_dim: Length of the latents.
        g_channels: As in `SNGAN`; by default 128 to 32x32 and 64 above.
        d_channels: The critic's, likewise.
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
        if g_channels is None:
            g_channels = 128 if resnet.small(image_shape) else 64
        super().__init__(
            resnet.build_generator(image_shape, latent_dim, g_channels),
            resnet.build_discriminator(image_shape, d_channels, mean=True),
            **kwargs,
        )

    def compile_defaults(self) -> dict[str, Any]:
        rate = 2e-4 if resnet.small(self.image_shape) else 1e-4
        return {
            "g_optimizer": Adam(rate, beta_1=0.0, beta_2=0.9),
            "d_optimizer": Adam(rate, beta_1=0.0, beta_2=0.9),
            "loss": Wasserstein(),
            "terms": [GradientPenalty(10.0)],
            "n_critic": 5,
        }
