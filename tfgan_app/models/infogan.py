"""InfoGAN. Chen et al. 2016, https://arxiv.org/abs/1606.03657."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tfgan_app.base.randomness import integers, stream
from tfgan_app.gan import GAN
from tfgan_app.layers import BatchNormalization
from tfgan_app.models import dcgan
from tfgan_app.optimizers import Adam
from tfgan_app.terms import Play, Term

__all__ = ["InfoGAN", "Information", "build_discriminator", "build_generator"]


@keras.saving.register_keras_serializable("tfgan_app")
class InfoGAN(GAN):
    """A DCGAN that finds classes and directions of change by itself, without labels.

    The generator draws from latents, a categorical code and continuous ones; a head Q beside the discriminator's logits
    must tell the codes from the image. Its log-likelihood of them bounds their mutual information with the image from
    below (equation 5), and both networks maximise it. Wherever a conditional GAN takes labels, this one takes
    values of the categorical code. The labels of the data, where it has any, are left alone.

    The authors' program for MNIST (https://github.com/openai/InfoGAN) has dense layers of 1024 beside two convolutions,
    uniform noise, and judges continuous codes with a fixed deviation of 1. Here the networks are DCGAN's, noise is
    normal as everywhere, and Q tells its own deviation.

    Args:
        image_shape: `(height, width, channels)`, as in `DCGAN`.
        categories: Values of the categorical code.
        codes: Number of continuous codes, at least 1. Code i is 2 Phi(z_i) - 1 of one of the last latents, uniform in
            (-1, 1).
        latent_dim: Length of the latents, continuous codes included.
        base_channels: As in `DCGAN`.
        information: Weight of the categorical code's log-likelihood, lambda in equation 6.
        continuous_information: The weight of the continuous codes'.
        **kwargs: `seed` and `name`, as in `GAN`.

    Raises:
        ValueError: For another image shape, or fewer latents than codes.
    """

    supervised = False
    num_classes: int  # of the categorical code, which is always there

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        latent_dim: int = 64,
        categories: int = 10,
        codes: int = 2,
        base_channels: int = 64,
        information: float = 1.0,
        continuous_information: float = 0.1,
        **kwargs: Any,
    ):
        if not 1 <= codes <= latent_dim:
            raise ValueError(
                f"`codes` must lie between 1 and latent_dim={latent_dim}, as each is one of the latents. Received: "
                f"codes={codes}"
            )
        super().__init__(
            build_generator(image_shape, categories, latent_dim, base_channels),
            build_discriminator(image_shape, categories, codes, base_channels),
            num_classes=categories,
            **kwargs,
        )
        self.codes = codes
        self.information = information
        self.continuous_information = continuous_information

    def compile_defaults(self) -> dict[str, Any]:
        # Appendix C: the generator learns five times as fast.
        return {"g_optimizer": Adam(1e-3, beta_1=0.5)}

    def draw(self, real: Any, condition: tuple[tf.Tensor, ...], seed: tf.Tensor) -> list[tf.Tensor]:
        inputs = super().draw(real, condition, seed)
        return [*inputs, integers((tf.shape(real)[0],), stream(seed, "categories"), self.num_classes)]

    def inherent_terms(self) -> list[Term]:
        weights = self.information, self.continuous_information
        return [Information(player, self.codes, *weights) for player in ("discriminator", "generator")]


class Information(Term):
    """-L_I of equation 5: how badly Q tells the codes that a fake was drawn from.

    Fakes alone count, as nobody knows the codes of a real image.

    Args:
        player: The player that minimises it.
        codes: Number of continuous codes.
        categorical: Weight of the categorical code's log-likelihood.
        continuous: Weight of the continuous codes' log-likelihood.
    """

    def __init__(self, player: str, codes: int, categorical: float, continuous: float):
        super().__init__()
        self.player, self.codes, self.categorical, self.continuous = player, codes, categorical, continuous
        self.name = f"{player[0]}_information"

    def __call__(self, play: Play) -> tf.Tensor:
        outputs = play.fake_outputs
        latents, categories = play.inputs
        categorical = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=categories, logits=outputs["category_logits"]
        )
        # Q is a Gaussian, its log standard deviation learned too.
        log_std = outputs["code_log_std"]
        codes = tf.math.erf(latents[:, -self.codes :] / 2.0**0.5)
        error = (codes - outputs["code_mean"]) * tf.exp(-log_std)
        gaussian = tf.reduce_sum(log_std + 0.5 * tf.square(error), axis=1)
        return self.categorical * tf.reduce_mean(categorical) + self.continuous * tf.reduce_mean(gaussian)


def build_generator(
    image_shape: tuple[int, int, int], categories: int, latent_dim: int, base_channels: int
) -> keras.Model:
    """Returns latents `(batch, latent_dim)` and labels `(batch,)` -> images `(batch, *image_shape)` in [-1, 1]."""
    latents = keras.Input((latent_dim,), name="latents")
    labels = keras.Input((), dtype="int32", name="labels")
    one_hot = layers.CategoryEncoding(categories, "one_hot")(layers.Reshape((1,))(labels))
    x = layers.Concatenate()([latents, one_hot])
    return keras.Model([latents, labels], dcgan.decode(x, image_shape, base_channels), name="generator")


def build_discriminator(
    image_shape: tuple[int, int, int], categories: int, codes: int, base_channels: int
) -> keras.Model:
    """Returns images -> `logits` `(batch, 1)`, and Q's `category_logits`, `code_mean` and `code_log_std`."""
    images = keras.Input(image_shape, name="images")
    features = dcgan.encode(images, base_channels)
    q = layers.LeakyReLU(0.1)(BatchNormalization()(layers.Dense(128, use_bias=False)(features)))
    outputs = {
        "logits": dcgan.logits(features),
        "category_logits": layers.Dense(categories, dtype="float32")(q),
        "code_mean": layers.Dense(codes, dtype="float32")(q),
        "code_log_std": layers.Dense(codes, dtype="float32")(q),
    }
    return keras.Model(images, outputs, name="discriminator")
