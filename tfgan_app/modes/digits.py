"""Stacked MNIST: a thousand modes."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgan_app import data
from tfgan_app.base.latents import draw_latents
from tfgan_app.base.precision import choose_precision, dtype_policy
from tfgan_app.data.records import prefetched
from tfgan_app.gan import GAN
from tfgan_app.layers import Pack
from tfgan_app.metrics import load_extractor
from tfgan_app.models import dcgan
from tfgan_app.modes.coverage import Coverage, kl_to_uniform
from tfgan_app.modes.methods import Method, Setting

__all__ = ["StackedDigits", "build_networks", "classes_of"]

_SHAPE = (28, 28, 3)
_LATENT_DIM = 100
_NUM_TRAIN = 128_000
_BATCH = 500


@dataclasses.dataclass(frozen=True)
class StackedDigits:
    """Three random digits as the channels of an image, as PacGAN, section 4.2, has them: 1000 modes.

    The digits are those of `mnist_5k`'s training split, each class as often as any other, and the shipped classifier
    tells generated ones.

    Attributes:
        num_samples: Images drawn to score a GAN.
        num_modes: Modes of the data.
    """

    num_samples: int = 26_000
    num_modes = 1000

    def sample(self, num: int, seed: int) -> np.ndarray:
        """Returns float32 images `(num, 28, 28, 3)` in [-1, 1]."""
        digits = _digits()
        return np.moveaxis(digits[np.random.default_rng(seed).integers(len(digits), size=(num, 3))], 1, 3)

    def coverage(self, images: np.ndarray) -> Coverage:
        """Returns the `Coverage` of images `(num, 28, 28, 3)` in [-1, 1]."""
        counts = np.bincount(classes_of(images) @ [100, 10, 1], minlength=self.num_modes)
        return Coverage(int(np.count_nonzero(counts)), None, kl_to_uniform(counts / len(images)))

    def train(self, method: Method, setting: Setting, seeds: Sequence[int]) -> list[np.ndarray]:
        """Trains a GAN on 128 000 stacked images, drawn once for each seed; arguments as in `Mixture.train`.

        Returns:
            For each seed, `num_samples` images `(num_samples, 28, 28, 3)`.
        """
        return [self._train(method, setting, seed) for seed in seeds]

    def _train(self, method, setting, seed):
        keras.utils.set_random_seed(seed)
        with dtype_policy(choose_precision("auto").policy):
            generator, discriminator = build_networks(
                method.packing, method.batch_norm, setting.g_width, setting.d_width
            )
        gan = GAN(generator, discriminator, seed=seed)
        steps = method.compile(gan, setting)
        digits = tf.constant(_digits())
        stacks = tf.constant(np.random.default_rng(seed).integers(len(digits), size=(_NUM_TRAIN, 3)))

        def batch(step):
            drawn = tf.random.stateless_uniform((setting.batch_size,), (seed, step), 0, _NUM_TRAIN, tf.int64)
            return tf.transpose(tf.gather(digits, tf.gather(stacks, drawn)), (0, 2, 3, 1))

        batches = prefetched(tf.data.Dataset.counter().map(batch))
        gan.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False)
        return self._draw(gan.ema_generator, seed)

    def _draw(self, network, seed):
        # Draw -1 is none of training, which counts from 0.
        latents = draw_latents(self.num_samples, _LATENT_DIM, (seed, -1))
        batches = [network(latents[start : start + _BATCH], training=False) for start in range(0, len(latents), _BATCH)]
        return np.clip(np.concatenate(batches), -1.0, 1.0)

    def shown(self, images: np.ndarray) -> np.ndarray:
        """Returns what `plot` needs of images: the first 36, as uint8."""
        return data.to_uint8(images[:36]).numpy()

    def plot(self, axis: Any, images: np.ndarray) -> None:
        """Draws images `(36, 28, 28, 3)` as a square."""
        grid = images.reshape(6, 6, *_SHAPE).transpose(0, 2, 1, 3, 4).reshape(168, 168, 3)
        axis.imshow(grid, interpolation="nearest")


def classes_of(images: np.ndarray) -> np.ndarray:
    """Returns the digit that the classifier sees in each channel of images in [-1, 1], `(num, channels)`."""
    classifier, channels = load_extractor("mnist_cnn"), images.shape[3]
    classes = []
    for start in range(0, len(images), _BATCH):
        stack = np.moveaxis(images[start : start + _BATCH], 3, 1).reshape(-1, 28, 28, 1)
        classes.append(np.argmax(classifier.outputs(stack)["logits"], axis=1).reshape(-1, channels))
    return np.concatenate(classes)


def build_networks(
    packing: int = 1, batch_norm: bool = True, g_channels: int = 64, d_channels: int = 64
) -> tuple[keras.Model, keras.Model]:
    """Returns DCGAN's generator, and its discriminator with or without batch normalisation.

    Penalties on each image's gradient have no meaning where the discriminator normalises images together.
    """
    images = keras.Input(_SHAPE, name="images")
    features = dcgan.encode(Pack(packing)(images), d_channels, batch_norm)
    return (
        dcgan.build_generator(_SHAPE, _LATENT_DIM, g_channels),
        keras.Model(images, dcgan.logits(features), name="discriminator"),
    )


@functools.lru_cache
def _digits():
    """Returns float32 digits `(num, 28, 28)` in [-1, 1]."""
    batches = data.open_images("mnist_5k").in_order(_BATCH)
    return np.concatenate([images.numpy()[..., 0] for images, _ in batches])
