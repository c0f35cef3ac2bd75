"""The GAN with a projection discriminator. Miyato and Koyama 2018, https://arxiv.org/abs/1802.05637."""

from typing import Any

import keras

from tfgan_app.conditions import Attributes
from tfgan_app.gan import GAN
from tfgan_app.losses import Hinge
from tfgan_app.models import resnet
from tfgan_app.optimizers import Adam

__all__ = ["ProjectionGAN"]


@keras.saving.register_keras_serializable("tfgan_app")
class ProjectionGAN(GAN):
    """SNGAN told the class: the discriminator adds the inner product of its features with an embedding of the label.

    The generator's batch normalisation has scales and offsets for each class.

    Args:
        image_shape: `(height, width, channels)`, of sides that both halve at least twice: 28, 32, 48, 80, 96x64.
        num_classes: Number of classes.
        attributes: What it is told in the place of classes, as in `GAN`.
        latent_dim: Length of the latents.
        g_channels: As in `SNGAN`.
        d_channels: As in `SNGAN`.
        **kwargs: `seed` and `name`, as in `GAN`.

    Raises:
        ValueError: For another image shape.
    """

    joint_pass = True
    needs_condition = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        num_classes: int | None = None,
        attributes: Attributes | None = None,
        latent_dim: int = 128,
        g_channels: int | None = None,
        d_channels: int | None = None,
        **kwargs: Any,
    ):
        condition = self.condition_of(num_classes, attributes)
        super().__init__(
            resnet.build_generator(image_shape, latent_dim, g_channels, condition),
            resnet.build_discriminator(image_shape, d_channels, condition, spectral=True),
            num_classes=num_classes,
            attributes=attributes,
            **kwargs,
        )

    def compile_defaults(self) -> dict[str, Any]:
        return {
            "g_optimizer": Adam(2e-4, beta_1=0.0, beta_2=0.9),
            "d_optimizer": Adam(2e-4, beta_1=0.0, beta_2=0.9),
            "loss": Hinge(),
            "n_critic": 5,
        }
