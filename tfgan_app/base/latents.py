"""Latents: drawn, truncated, and on the way from one to another."""

import math
from collections.abc import Iterator

import tensorflow as tf

from tfgan_app.base.randomness import Seed, normal

__all__ = ["closed_walk", "draw_latents", "slerp", "truncate_normal"]


def draw_latents(num: int | tf.Tensor, latent_dim: int, seed: Seed, start: int = 0) -> tf.Tensor:
    """Draws z ~ N(0, I) that depends on the seed alone.

    Args:
        num: Number of latents.
        latent_dim: Their length.
        seed: Two integers, or a tensor of them.
        start: How many to leave out: those from there on of a larger draw.

    Returns:
        A float32 tensor `(num, latent_dim)`, the same on every device, with and without XLA.
    """
    return normal((num, latent_dim), seed, start=start)


def truncate_normal(latents: tf.Tensor, threshold: float | tf.Tensor) -> tf.Tensor:
    """Maps z ~ N(0, 1) to the normal truncated to [-threshold, threshold], monotonically.

    BigGAN draws anew what falls outside (Brock et al. 2018, https://arxiv.org/abs/1809.11096, section 3.1), which gives
    the same distribution; the quantile transform keeps each image near the one that the same latents give untruncated.
    """
    root = math.sqrt(2.0)
    truncated = root * tf.math.erfinv(tf.math.erf(latents / root) * tf.math.erf(threshold / root))
    return tf.clip_by_value(truncated, -threshold, threshold)


def slerp(start: tf.Tensor, end: tf.Tensor, part: float | tf.Tensor) -> tf.Tensor:
    """Returns latents at `part` in [0, 1] of the way from `start` to `end`, each `(num, latent_dim)`.

    The way is spherical, as straight lines pass where a Gaussian has almost no mass (White 2016,
    https://arxiv.org/abs/1609.04468).
    """
    cosine = tf.reduce_sum(tf.math.l2_normalize(start, 1) * tf.math.l2_normalize(end, 1), axis=1, keepdims=True)
    angle = tf.acos(tf.clip_by_value(cosine, -1.0, 1.0))
    return (tf.sin((1.0 - part) * angle) * start + tf.sin(part * angle) * end) / tf.maximum(tf.sin(angle), 1e-6)


def closed_walk(num: int, latent_dim: int, seed: int, frames: int) -> Iterator[tf.Tensor]:
    """Yields latents `(num, latent_dim)` at `frames` points of a closed path through three draws."""
    stops = [draw_latents(num, latent_dim, (seed, stop)) for stop in range(3)]
    for frame in range(frames):
        position = frame * len(stops) / frames
        index, part = int(position), position % 1
        yield slerp(stops[index], stops[(index + 1) % len(stops)], part)
