"""Latents: drawn, truncated, and on the way from one to another."""

import math
from collections.abc import Iterator, Sequence

import tensorflow as tf

from tfgan_app.base.randomness import Seed, normal

__all__ = ["check_layers", "closed_walk", "draw_latents", "moved", "slerp", "truncate_normal"]


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
    truncated = root * _erfinv(_erf(latents / root) * _erf(threshold / root))
    return tf.clip_by_value(truncated, -threshold, threshold)


# ONNX lacks erfinv and LiteRT both, so they are made of what these have.


def _erf(x: tf.Tensor) -> tf.Tensor:
    """Returns erf to 4e-7: the rational function of float32 in XLA and Eigen."""
    x = tf.clip_by_value(x, -3.7439211627767994, 3.7439211627767994)
    above = (
        2.2905065861350646e-4,
        3.4082910107109506e-3,
        5.0955695062380861e-2,
        1.8520832239976145e-1,
        1.128379143519084,
    )
    below = (
        *(-1.1791602954361697e-7, 2.3547966471313185e-5, 1.0179625278914885e-3, 1.4070470171167667e-2),
        *(1.1098505178285362e-1, 4.9746925110067538e-1, 1.0),
    )
    return x * _polynomial(above, x * x) / _polynomial(below, x * x)


def _erfinv(x: tf.Tensor) -> tf.Tensor:
    """Returns the inverse of erf. Giles 2010, https://people.maths.ox.ac.uk/gilesm/files/gems_erfinv.pdf, table 5."""
    # The last float32 below 1, as 1 has an infinite value.
    x = tf.clip_by_value(x, -1.0 + 2.0**-24, 1.0 - 2.0**-24)
    w = -tf.math.log((1.0 - x) * (1.0 + x))
    near = (
        *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503),
        *(-0.00417768164, 0.246640727, 1.50140941),
    )
    far = (
        *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613),
        *(0.00943887047, 1.00167406, 2.83297682),
    )
    return x * tf.where(w < 5.0, _polynomial(near, w - 2.5), _polynomial(far, tf.sqrt(w) - 3.0))


def _polynomial(coefficients: Sequence[float], x: tf.Tensor) -> tf.Tensor:
    """Returns a polynomial's value; the coefficient of the highest power comes first."""
    value = tf.zeros_like(x)
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


def slerp(start: tf.Tensor, end: tf.Tensor, part: float | tf.Tensor) -> tf.Tensor:
    """Returns latents at `part` in [0, 1] of the way from `start` to `end`, each `(num, latent_dim)`.

    The way is spherical, as straight lines pass where a Gaussian has almost no mass (White 2016,
    https://arxiv.org/abs/1609.04468).
    """
    cosine = tf.reduce_sum(tf.math.l2_normalize(start, 1) * tf.math.l2_normalize(end, 1), axis=1, keepdims=True)
    angle = tf.acos(tf.clip_by_value(cosine, -1.0, 1.0))
    return (tf.sin((1.0 - part) * angle) * start + tf.sin(part * angle) * end) / tf.maximum(tf.sin(angle), 1e-6)


def moved(
    latents: tf.Tensor, direction: tf.Tensor, strength: float | tf.Tensor, layers: Sequence[int] | None = None
) -> tf.Tensor:
    """Returns latents, or the styles of layers, moved along a direction: latents + strength * direction.

    Args:
        latents: `(num, latent_dim)`, or styles `(num, num_styles, style_dim)`.
        direction: `(latent_dim,)`; of styles `(style_dim,)`, the same for every layer, or `(num_styles, style_dim)`.
        strength: A number, or one for each of the latents, `(num,)`.
        layers: Which of the styles move; None for all.

    Raises:
        ValueError: If the shapes do not fit, or there are no such layers.
    """
    shape = latents.shape[1:]
    if direction.shape not in (shape, shape[-1:]):
        expected = " or ".join(dict.fromkeys(str(tuple(one)) for one in (shape, shape[-1:])))
        raise ValueError(f"`direction` must have the shape {expected}. Received: {tuple(direction.shape)}")
    if layers is not None:
        num = shape[0] if len(shape) == 2 else 0
        check_layers(layers, num)
        direction = direction * tf.reduce_sum(tf.one_hot(tf.unique(list(layers))[0], num), axis=0)[:, tf.newaxis]
    strength = tf.reshape(tf.cast(strength, latents.dtype), (-1, *[1] * len(shape)))
    return latents + strength * direction


def check_layers(layers: Sequence[int], num_styles: int) -> None:
    """Raises `ValueError` unless there are such layers of so many, 0 where there are no styles."""
    if not layers or not all(0 <= layer < num_styles for layer in layers):
        last = num_styles - 1
        expected = f"be of 0 to {last}" if num_styles else "be None: latents have none, only styles have"
        raise ValueError(f"`layers` must {expected}. Received: {list(layers)}")


def closed_walk(num: int, latent_dim: int, seed: int, frames: int) -> Iterator[tf.Tensor]:
    """Yields latents `(num, latent_dim)` at `frames` points of a closed path through three draws."""
    stops = [draw_latents(num, latent_dim, (seed, stop)) for stop in range(3)]
    for frame in range(frames):
        position = frame * len(stops) / frames
        index, part = int(position), position % 1
        yield slerp(stops[index], stops[(index + 1) % len(stops)], part)
