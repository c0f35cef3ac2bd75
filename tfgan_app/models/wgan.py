"""WGAN. Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875."""

from typing import Any

import keras

from tfgan_app.gan import GAN
from tfgan_app.layers import ClipWeights
from tfgan_app.losses import Wasserstein
from tfgan_app.models import dcgan

__all__ = ["WGAN"]


@keras.saving.register_keras_serializable("tfgan_app")
class WGAN(GAN):
    """A DCGAN with the Wasserstein loss, every weight of its critic clipped after each update.

    The authors' program makes 100 updates of the critic, not 5, in the first 25 steps and in every 500th
    (https://github.com/martinarjovsky/WassersteinGAN). Here a step takes a fixed number of batches.

    Args:
        image_shape: `(height, width, channels)`, as in `DCGAN`.
        latent_dim: Length of the latents.
        base_channels: As in `DCGAN`.
        clip: Largest absolute value of the critic's weights, biases and batch normalisation included.
        **kwargs: `seed` and `name`, as in `GAN`.

    Raises:
        ValueError: For another image shape.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        latent_dim: int = 100,
        base_channels: int = 64,
        clip: float = 0.01,
        **kwargs: Any,
    ):
        super().__init__(
            dcgan.build_generator(image_shape, latent_dim, base_channels),
            dcgan.build_discriminator(image_shape, base_channels),
            **kwargs,
        )
        for variable in self.discriminator.trainable_variables:
            variable.constraint = ClipWeights(clip)

    def compile_defaults(self) -> dict[str, Any]:
        # Keras adds epsilon under the root, where its default would exceed the clipped critic's tiny gradients by far.
        return {
            "g_optimizer": keras.optimizers.RMSprop(5e-5, rho=0.99, epsilon=1e-16),
            "d_optimizer": keras.optimizers.RMSprop(5e-5, rho=0.99, epsilon=1e-16),
            "loss": Wasserstein(),
            "n_critic": 5,
        }
