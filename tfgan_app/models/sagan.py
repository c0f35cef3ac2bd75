"""SAGAN. Zhang et al. 2018, https://arxiv.org/abs/1805.08318."""

from typing import Any

import keras

from tfgan_app.conditions import Attributes
from tfgan_app.gan import GAN
from tfgan_app.losses import Hinge
from tfgan_app.models import resnet
from tfgan_app.optimizers import Adam

__all__ = ["SAGAN"]


@keras.saving.register_keras_serializable("tfgan_app")
class SAGAN(GAN):
    """Self-attention in both networks, spectral normalisation in both, and learning rates of their own (TTUR).

    The networks are SNGAN's, but the discriminator's blocks widen in their first convolution, as in the authors'
    program (https://github.com/brain-research/self-attention-gan). That starts all weights by Glorot's rule, where
    3x3 convolutions here have SNGAN's gain of sqrt 2; spectral normalisation divides it away.

    Args:
        image_shape: `(height, width, channels)`, of sides that both halve at least twice: 28, 32, 48, 80, 96x64.
        num_classes: Number of classes, as in `ProjectionGAN`; None for an unconditional GAN.
        attributes: What it is told in the place of classes, as in `GAN`.
        latent_dim: Length of the latents.
        g_channels: As in `SNGAN`.
        d_channels: As in `SNGAN`.
        attention_at: Shorter side of the feature map on which attention acts. The paper's best is 32 for 128x128
            images; by default a quarter of the image's, half of it up to 32x32 and where it doubles twice only.
        **kwargs: `seed` and `name`, as in `GAN`.

    Raises:
        ValueError: For another image shape, or a side that no feature map has.
    """

    joint_pass = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        num_classes: int | None = None,
        attributes: Attributes | None = None,
        latent_dim: int = 128,
        g_channels: int | None = None,
        d_channels: int | None = None,
        attention_at: int | None = None,
        **kwargs: Any,
    ):
        sides = resnet.attention_sides(image_shape)
        quarter = sides[-1] if resnet.small(image_shape) else sides[max(len(sides) - 2, 0)]
        side = quarter if attention_at is None else attention_at
        if side not in sides:
            raise ValueError(f"`attention_at` must be one of {sides}. Received: attention_at={attention_at}")
        condition = self.condition_of(num_classes, attributes)
        super().__init__(
            resnet.build_generator(image_shape, latent_dim, g_channels, condition, True, side),
            resnet.build_discriminator(image_shape, d_channels, condition, True, side, wide=True),
            num_classes=num_classes,
            attributes=attributes,
            **kwargs,
        )

    def compile_defaults(self) -> dict[str, Any]:
        return {
            "g_optimizer": Adam(1e-4, beta_1=0.0, beta_2=0.9),
            "d_optimizer": Adam(4e-4, beta_1=0.0, beta_2=0.9),
            "loss": Hinge(),
        }
