"""ACGAN. Odena et al. 2016, https://arxiv.org/abs/1610.09585."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tfgan_app.conditions import Classes
from tfgan_app.gan import GAN
from tfgan_app.models import cgan, dcgan
from tfgan_app.terms import Play, Term

__all__ = ["ACGAN", "ClassLikelihood", "build_discriminator"]


@keras.saving.register_keras_serializable("tfgan_app")
class ACGAN(GAN):
    """A conditional GAN whose discriminator is not told the class but names it, for real images and fakes.

    Both networks maximise the log-likelihood of the right class, L_C of equation 3. The trunks are DCGAN's.

    Args:
        image_shape: `(height, width, channels)`, as in `DCGAN`.
        num_classes: Number of classes.
        latent_dim: Length of the latents.
        base_channels: As in `DCGAN`.
        fake_weight: Factor on L_C of fakes, for both networks. At the paper's 1 the images of a class soon look all
            alike; the authors of WGAN-GP weigh the generator's by 0.1.
        **kwargs: `seed` and `name`, as in `GAN`.

    Raises:
        ValueError: For another image shape.
    """

    needs_condition = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        num_classes: int,
        latent_dim: int = 100,
        base_channels: int = 64,
        fake_weight: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(
            cgan.build_generator(image_shape, Classes(num_classes), latent_dim, base_channels),
            build_discriminator(image_shape, num_classes, base_channels),
            num_classes=num_classes,
            **kwargs,
        )
        self.fake_weight = fake_weight

    def inherent_terms(self) -> list[Term]:
        return [ClassLikelihood("discriminator", self.fake_weight), ClassLikelihood("generator", self.fake_weight)]


class ClassLikelihood(Term):
    """-L_C, the cross-entropy of the classes that the discriminator names: equation 3.

    Args:
        player: The player that minimises it; the generator's is that of fakes alone.
        fake_weight: Factor on the cross-entropy of fakes.
    """

    def __init__(self, player: str, fake_weight: float = 1.0):
        super().__init__()
        self.player, self.fake_weight = player, fake_weight
        self.name = f"{player[0]}_class"

    def __call__(self, play: Play) -> tf.Tensor:
        (labels,) = play.condition

        def cross_entropy(outputs):
            logits = outputs["class_logits"]
            return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))

        of_fakes = self.fake_weight * cross_entropy(play.fake_outputs)
        return of_fakes if self.player == "generator" else cross_entropy(play.real_outputs) + of_fakes


def build_discriminator(image_shape: tuple[int, int, int], num_classes: int, base_channels: int) -> keras.Model:
    """Returns images `(batch, *image_shape)` -> `logits` `(batch, 1)` and `class_logits` `(batch, num_classes)`."""
    images = keras.Input(image_shape, name="images")
    features = dcgan.encode(images, base_channels)
    class_logits = layers.Dense(num_classes, dtype="float32", name="class_logits")(features)
    outputs = {"logits": dcgan.logits(features), "class_logits": class_logits}
    return keras.Model(images, outputs, name="discriminator")
