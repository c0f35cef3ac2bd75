"""Mixtures of Gaussians in the plane."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfgan_app.base.latents import draw_latents
from tfgan_app.gan import GAN
from tfgan_app.layers import Pack, StackedBatchNormalization, StackedDense
from tfgan_app.modes.coverage import Coverage, kl_to_uniform
from tfgan_app.modes.methods import Method, Setting

__all__ = ["Mixture", "build_networks"]

_NUM_TRAIN = 100_000
_LATENT_DIM = 2


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Equally likely Gaussians in the plane.

    Attributes:
        centers: Their means, a tuple of pairs.
        sigma: Their standard deviation on each axis.
        num_samples: Points drawn to score a GAN.
    """

    centers: tuple
    sigma: float
    num_samples: int = 2500

    @property
    def num_modes(self) -> int:
        """Modes of the data."""
        return len(self.centers)

    def sample(self, num: int, seed: int) -> np.ndarray:
        """Returns float32 points `(num, 2)`."""
        rng = np.random.default_rng(seed)
        centers = np.array(self.centers)[rng.integers(len(self.centers), size=num)]
        return (centers + rng.normal(scale=self.sigma, size=(num, 2))).astype(np.float32)

    def coverage(self, points: np.ndarray) -> Coverage:
        """Returns the `Coverage` of points `(num, 2)`: three standard deviations from a mode is high quality."""
        centers = np.array(self.centers)
        distances = np.linalg.norm(points[:, np.newaxis] - centers, axis=2)
        nearest = distances.argmin(axis=1)
        good = distances.min(axis=1) <= 3 * self.sigma
        shares = np.bincount(nearest, minlength=len(centers)) / len(points)
        return Coverage(len(set(nearest[good])), float(good.mean()), kl_to_uniform(shares))

    def train(self, method: Method, setting: Setting, seeds: Sequence[int]) -> np.ndarray:
        """Trains a GAN for each seed, all at once.

        The training set of 100 000 points is the same for all. Weights, latents and the order of points depend on a
        GAN's own seed. What it is trained beside matters only to rounding, and to the points of a gradient penalty.

        Args:
            method: A `Method`.
            setting: A `Setting`.
            seeds: A list of integers.

        Returns:
            For each seed, `num_samples` points `(num_samples, 2)`.
        """
        generator, discriminator = build_networks(
            seeds, method.packing, method.batch_norm, setting.g_width, setting.d_width
        )
        gan = _Stacked(generator, discriminator, seeds)
        steps = method.compile(gan, setting, len(seeds))
        points = tf.constant(self.sample(_NUM_TRAIN, 0))

        def batch(step):
            draws = [
                tf.random.stateless_uniform((setting.batch_size,), (seed, step), 0, _NUM_TRAIN, tf.int64)
                for seed in seeds
            ]
            return tf.gather(points, tf.concat(draws, axis=0))

        gan.fit(tf.data.Dataset.counter().map(batch), steps_per_epoch=steps, verbose=0, shuffle=False)
        return gan.points(self.num_samples)

    def shown(self, points: np.ndarray) -> np.ndarray:
        """Returns what `plot` needs of points: all of them."""
        return points

    def plot(self, axis: Any, points: np.ndarray) -> None:
        """Draws points over the modes."""
        centers = np.array(self.centers)
        limit = 1.4 * np.abs(centers).max()
        axis.scatter(*centers.T, s=60, facecolors="none", edgecolors="tab:red", linewidths=0.8)
        axis.scatter(*points.T, s=2, alpha=0.4, color="tab:blue", linewidths=0)
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")


def build_networks(
    seeds: Sequence[int], packing: int = 1, batch_norm: bool = True, g_units: int = 400, d_units: int = 200
) -> tuple[keras.Model, keras.Model]:
    """Returns stacked generators and discriminators of points in the plane, one of each for a seed.

    A generator has four layers of `g_units` rectified units, a discriminator three of `d_units` maxout units, each the
    largest of five.
    """
    # No two layers begin alike, neither of one seed nor of neighbouring ones.
    layer_seeds = iter([[1000 * seed + index for seed in seeds] for index in range(9)])
    latents = x = keras.Input((_LATENT_DIM,), name="latents")
    for _ in range(4):
        x = StackedDense(g_units, next(layer_seeds), use_bias=not batch_norm)(x)
        x = layers.ReLU()(StackedBatchNormalization(len(seeds))(x) if batch_norm else x)
    points = StackedDense(2, next(layer_seeds))(x)
    generator = keras.Model(latents, points, name="generator")
    points = keras.Input((2,), name="points")
    x = Pack(packing)(points)
    for _ in range(3):
        x = layers.Reshape((d_units, 5))(StackedDense(5 * d_units, next(layer_seeds))(x))
        x = Maximum()(x)
    logits = StackedDense(1, next(layer_seeds))(x)
    return generator, keras.Model(points, logits, name="discriminator")


class Maximum(layers.Layer):
    """The largest of the last axis: maxout, Goodfellow et al. 2013, https://arxiv.org/abs/1302.4389, equation 1."""

    def call(self, inputs):
        return tf.reduce_max(inputs, axis=-1)


class _Stacked(GAN):
    """GANs side by side: a batch holds a block of equal size for each.

    A mean over the batch is one over the GANs as well, so each one's gradient is its own divided by their number.
    """

    def __init__(self, generator, discriminator, seeds):
        super().__init__(generator, discriminator, seed=0)
        self.seeds = seeds

    def compile_defaults(self):
        # XLA halves the time of a step of such small networks.
        return {"jit_compile": True}

    def calibrate(self):
        """Does nothing: a GAN's statistics are to be the same, whatever it is trained beside."""

    def draw(self, real, condition, seed):
        return [self._latents(tf.shape(real)[0] // len(self.seeds), seed)]

    def points(self, num):
        """Returns points `(seeds, num, 2)` of the generators' moving averages."""
        # Draw -1 is none of training, which counts from 0.
        latents = self._latents(num, tf.constant([0, -1], tf.int64))
        return np.asarray(self.forward([latents])).reshape(len(self.seeds), num, 2)

    def _latents(self, num, seed):
        offsets = [tf.constant([own, 0], tf.int64) for own in self.seeds]
        return tf.concat([draw_latents(num, self.latent_dim, seed + offset) for offset in offsets], axis=0)
