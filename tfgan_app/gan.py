"""GANs that map latents, and labels where conditional, to images."""

import inspect
import math

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.adversarial import AdversarialModel
from tfgan_app.base.latents import draw_latents, slerp, truncate_normal
from tfgan_app.base.networks import apply
from tfgan_app.observation import Observation

__all__ = ["GAN"]

_SAMPLE_BATCH = 256


@keras.saving.register_keras_serializable("tfgan_app")
class GAN(AdversarialModel):
    """A GAN of any two functional models.

    Args:
        generator: Maps latents `(batch, latent_dim)`, or `[latents, labels]` with integer labels `(batch,)`, to images
            `(batch, height, width, channels)` in [-1, 1]. Name the inputs `latents` and `labels`: exported signatures
            take those names.
        discriminator: Maps images, or `[images, labels]`, to logits `(batch, ...)`; see `AdversarialModel` for further
            outputs. That of a conditional GAN may take images alone, if it predicts the labels.
        num_classes: Number of classes of a conditional pair; None for an unconditional one.
        seed: Seed of the latents, as in `AdversarialModel`.
        **kwargs: `name` and `dtype`, as in `keras.Model`.

    Raises:
        ValueError: If the networks' inputs and outputs do not fit each other or `num_classes`.

    Example:
        >>> gan = GAN(generator, discriminator)
        >>> gan.compile(keras.optimizers.Adam(2e-4, 0.5), keras.optimizers.Adam(2e-4, 0.5))
        >>> gan.fit(images, epochs=20)  # (num, height, width, channels) in [-1, 1]
        >>> gan.sample(16, seed=7)      # (16, height, width, channels) in [0, 1]
    """

    # Whether labels are those of the data, rather than codes that the GAN gives a meaning itself.
    supervised = True

    def __new__(cls, *args, **kwargs):
        # What it is built with is kept, so that a copy can be: no subclass lists its arguments again.
        gan = super().__new__(cls, *args, **kwargs)
        bound = inspect.signature(cls.__init__).bind(gan, *args, **kwargs)
        bound.apply_defaults()
        object.__setattr__(gan, "_bound", bound)
        return gan

    def __init__(self, generator, discriminator, num_classes=None, seed=None, **kwargs):
        _check_networks(generator, discriminator, num_classes)
        super().__init__(generator, discriminator, seed=seed, **kwargs)
        self.latent_dim = generator.inputs[0].shape[-1]
        self.image_shape = tuple(generator.outputs[0].shape[1:])
        self.num_classes = num_classes

    def unpack(self, data):
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        check_images(images)
        if self.num_classes is None:
            return images, ()
        if labels is None:
            raise ValueError(
                f"{type(self).__name__} is conditional on {self.num_classes} classes and needs batches of "
                f"(images, labels). Received: images of shape {tuple(images.shape)} without labels."
            )
        return images, (labels,)

    def draw(self, real, condition, seed):
        return [draw_latents(tf.shape(real)[0], self.latent_dim, seed), *condition]

    def observation(self, real, fake, condition, inputs, seed):
        latents, *labels = inputs
        other = draw_latents(tf.shape(latents)[0], self.latent_dim, seed)

        def nearby(epsilon):
            pair = [apply(self.ema_generator, [z, *labels]) for z in (latents, slerp(latents, other, epsilon))]
            return [tf.clip_by_value(images, -1.0, 1.0) for images in pair]

        classes = condition[0] if self.num_classes and self.supervised else None
        return Observation(real, tf.clip_by_value(fake, -1.0, 1.0), classes, nearby)

    def truncate(self, generator, inputs, truncation):
        """Returns a generator's images at a truncation, which trades variety for quality.

        Args:
            generator: The generator or its EMA.
            inputs: The list of its inputs.
            truncation: A scalar of at least 0. Here the latents' largest absolute value; for models with a space of
                styles the factor psi in [0, 1].
        """
        latents, *labels = inputs
        return apply(generator, [truncate_normal(latents, truncation), *labels])

    def call(self, inputs, training=False):
        """Returns images in [-1, 1] from latents, or `[latents, labels]`, by the EMA generator."""
        return self.ema_generator(inputs, training=training)

    def sample(self, num_images, seed=0, labels=None, truncation=None):
        """Draws images from the EMA generator.

        Args:
            num_images: How many.
            seed: Equal seeds give equal images, here and in the exported `sample` signature.
            labels: Integer classes `(num_images,)` of a conditional GAN; by default 0, 1, 2, ... in turn.
            truncation: As in `truncate`; by default none.

        Returns:
            A float32 array `(num_images, height, width, channels)` in [0, 1].
        """
        latents = draw_latents(num_images, self.latent_dim, (seed, 0))
        return self.images_from(latents, labels, truncation)

    def images_from(self, latents, labels=None, truncation=None):
        """Returns the EMA generator's images in [0, 1], a float32 array, for latents `(num, latent_dim)`."""
        num = len(latents)
        if self.num_classes is None and labels is not None:
            raise ValueError(f"{type(self).__name__} is unconditional. Received: labels={labels}")
        inputs = [latents]
        truncation = None if truncation is None else tf.constant(check_truncation(truncation), tf.float32)
        if self.num_classes is not None:
            inputs.append(check_labels(labels, num, self.num_classes))
        # Batches bound the memory.
        batches = [
            to_unit(self._forward([part[start : start + _SAMPLE_BATCH] for part in inputs], truncation))
            for start in range(0, num, _SAMPLE_BATCH)
        ]
        return np.concatenate(batches) if batches else np.zeros((0, *self.image_shape), np.float32)

    @tf.function(reduce_retracing=True)
    def _forward(self, inputs, truncation):
        if truncation is None:
            return apply(self.ema_generator, inputs)
        return self.truncate(self.ema_generator, inputs, truncation)

    def export(self, filepath, **kwargs):
        """Writes the EMA generator as a SavedModel; see `tfgan_app.export.export_gan`."""
        from tfgan_app.export.saved_model import export_gan

        return export_gan(self, filepath, **kwargs)

    @property
    def arguments(self):
        """What the model was built with, by name; the seed is that which was drawn where none was given."""
        _, *names = self._bound.signature.parameters
        arguments = {name: self._bound.arguments[name] for name in names}
        kwargs = arguments.pop("kwargs", {})
        return {**arguments, **kwargs, "seed": self.seed, "name": self.name}

    def get_config(self):
        """Returns the arguments that rebuild the model; its networks are among them where they were given."""

        def plain(value):
            return keras.saving.serialize_keras_object(value) if hasattr(value, "get_config") else value

        return {name: plain(value) for name, value in self.arguments.items()}

    @classmethod
    def from_config(cls, config):
        def restored(value):
            is_object = isinstance(value, dict) and "class_name" in value
            return keras.saving.deserialize_keras_object(value) if is_object else value

        return cls(**{name: restored(value) for name, value in config.items()})


def to_unit(images):
    """Maps images from [-1, 1] to [0, 1], clipping what a generator without tanh puts outside."""
    return tf.clip_by_value((images + 1.0) / 2.0, 0.0, 1.0)


def check_images(images):
    """Returns training images.

    Raises:
        ValueError: If they are integers.
    """
    if not tf.as_dtype(images.dtype).is_floating:
        raise ValueError(
            "Images must be floating point in [-1, 1]; `tfgan_app.data.to_float` makes them of uint8. "
            f"Received: {tf.as_dtype(images.dtype).name}"
        )
    return images


def check_labels(labels, num, num_classes):
    """Returns int32 labels `(num,)`; where None, the classes in turn.

    Raises:
        ValueError: For another number of labels, or one outside [0, num_classes).
    """
    labels = np.arange(num) % num_classes if labels is None else np.asarray(labels)
    integers = labels.dtype.kind in "iu" or not num
    if labels.shape != (num,) or not integers or (num and not 0 <= labels.min() <= labels.max() < num_classes):
        raise ValueError(
            f"`labels` must be {num} integers from 0 to {num_classes - 1}, one for each image. Received: "
            f"shape {labels.shape}" + (f", values {labels.min()} to {labels.max()}" if labels.size else "")
        )
    return labels.astype(np.int32)


def check_truncation(truncation):
    """Returns a truncation.

    Raises:
        ValueError: If it is negative or not finite.
    """
    if not 0 <= truncation < math.inf:
        raise ValueError(f"`truncation` must be a number of at least 0. Received: truncation={truncation}")
    return truncation


def _check_networks(generator, discriminator, num_classes):
    for role, network in (("generator", generator), ("discriminator", discriminator)):
        if not getattr(network, "inputs", None):
            raise ValueError(f"`{role}` must be a functional keras.Model with defined inputs. Received: {network}")
        expected = 1 if num_classes is None else 2
        predicts = role == "discriminator" and isinstance(getattr(network, "output", None), dict)
        if len(network.inputs) != expected and not predicts:
            raise ValueError(
                f"`{role}` must take {expected} input(s) for num_classes={num_classes} "
                f"(a conditional GAN's networks take labels as the second). Received: {len(network.inputs)} input(s)."
            )
    image_shape, expected = generator.outputs[0].shape[1:], discriminator.inputs[0].shape[1:]
    if tuple(image_shape) != tuple(expected):
        raise ValueError(
            f"The generator draws images of shape {tuple(image_shape)}, but the discriminator takes {tuple(expected)}."
        )
