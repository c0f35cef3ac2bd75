"""ACGAN. Odena et al. 2016, https://arxiv.org/abs/1610.09585."""

import keras
import tensorflow as tf
from keras import layers

from tfgan_app.gan import GAN
from tfgan_app.models import cgan, dcgan

__all__ = ["ACGAN", "build_discriminator"]


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

    def __init__(self, image_shape, num_classes, latent_dim=100, base_channels=64, fake_weight=1.0, **kwargs):
        super().__init__(
            cgan.build_generator(image_shape, num_classes, latent_dim, base_channels),
            build_discriminator(image_shape, num_classes, base_channels),
            num_classes=num_classes,
            **kwargs,
        )
        self.fake_weight = fake_weight
        self.arguments = {
            "num_classes": num_classes,
            "latent_dim": latent_dim,
            "base_channels": base_channels,
            "fake_weight": fake_weight,
        }

    def auxiliary_loss(self, outputs, condition, inputs):
        (labels,) = condition
        log_losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=outputs["class_logits"])
        return tf.reduce_mean(log_losses) * (1.0 if inputs is None else self.fake_weight)


def build_discriminator(image_shape, num_classes, base_channels):
    """Returns images `(batch, *image_shape)` -> `logits` `(batch, 1)` and `class_logits` `(batch, num_classes)`."""
    images = keras.Input(image_shape, name="images")
    features = dcgan.encode(images, base_channels)
    class_logits = layers.Dense(num_classes, dtype="float32", name="class_logits")(features)
    outputs = {"logits": dcgan.logits(features), "class_logits": class_logits}
    return keras.Model(images, outputs, name="discriminator")
