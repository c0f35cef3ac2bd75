"""An exported GAN, loaded to draw from."""

import pathlib

import numpy as np
import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import read_object, reason
from tfgan_app.base.latents import draw_latents
from tfgan_app.gan import check_labels, check_truncation

__all__ = ["SavedGAN"]


class SavedGAN:
    """A SavedModel written by `tfgan_app.export`, with those methods of `tfgan_app.GAN` that draw images.

    A SavedModel is a program: load only those whose origin you trust.

    Args:
        folder: The SavedModel's folder.

    Attributes:
        facts: What `assets.extra/gan.json` tells: model, classes, latents, steps trained.

    Raises:
        UsageError: If there is no SavedModel, or none of this package.
    """

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        facts = folder / "assets.extra" / "gan.json"
        if not (folder / "saved_model.pb").is_file() or not facts.is_file():
            raise UsageError(
                f"{folder} is not a GAN exported by this package: it lacks saved_model.pb or assets.extra/gan.json. "
                "Name the version folder, such as saved_models/mnist/1."
            )
        try:
            self.facts = read_object(facts, num_classes=(int, type(None)), latent_dim=int, image_shape=list, step=int)
        except (OSError, ValueError) as error:
            raise UsageError(f"{facts} does not describe a GAN: {error}.") from error
        self.num_classes = self.facts["num_classes"]
        self.supervised = self.facts.get("supervised", True)
        self.latent_dim = self.facts["latent_dim"]
        self.image_shape = tuple(self.facts["image_shape"])
        try:
            self._signatures = tf.saved_model.load(str(folder)).signatures
        except Exception as error:  # of many kinds: TensorFlow's, protobuf's, the system's
            raise UsageError(f"{folder} cannot be loaded as a SavedModel: {reason(error)}.") from error

    def sample(self, num_images, seed=0, labels=None, truncation=None):
        """Returns float32 images `(num_images, height, width, channels)` in [0, 1]; see `tfgan_app.GAN.sample`."""
        if truncation is not None:
            return self.images_from(draw_latents(num_images, self.latent_dim, (seed, 0)), labels, truncation)
        inputs = {"num_images": tf.constant(num_images, tf.int32), "seed": tf.constant(seed, tf.int64)}
        return self._draw("sample", num_images, labels, inputs)

    def images_from(self, latents, labels=None, truncation=None):
        """Returns float32 images in [0, 1] for latents `(num, latent_dim)`."""
        inputs = {"latents": tf.constant(latents, tf.float32)}
        if truncation is None:
            return self._draw("generate", len(latents), labels, inputs)
        inputs["truncation"] = tf.constant(check_truncation(truncation), tf.float32)
        return self._draw("generate_truncated", len(latents), labels, inputs)

    def _draw(self, signature, num, labels, inputs):
        if signature not in self._signatures:
            raise UsageError(
                f"This SavedModel has no signature `{signature}`: an earlier version wrote it. Export again."
            )
        if self.num_classes is None and labels is not None:
            raise ValueError(f"This GAN is unconditional. Received: labels={labels}")
        if self.num_classes is not None:
            inputs["labels"] = tf.constant(check_labels(labels, num, self.num_classes))
        return np.asarray(self._signatures[signature](**inputs)["images"])
