"""The latents of a picture, found by gradient descent.

Karras et al. 2019, https://arxiv.org/abs/1912.04958, appendix D, for generators with styles; the generator tuned to the
picture, Roich et al. 2021, https://arxiv.org/abs/2106.05744.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.base.randomness import normal, stream
from tfgan_app.gan import GAN
from tfgan_app.metrics.base import ImageMetric
from tfgan_app.metrics.extractors import FeatureExtractor
from tfgan_app.metrics.fidelity import PSNR, PerceptualDistance
from tfgan_app.modalities import Images
from tfgan_app.modalities.modality import Array
from tfgan_app.optimizers import Adam
from tfgan_app.sampler import Sampler, Wanted

__all__ = ["Projection", "project"]

# Of the paper: the largest learning rate, and the noise on w in units of its deviation.
_RATE, _NOISE = 0.1, 0.05
# Parts of the search in which the learning rate rises, in which it falls, and after which there is no more noise.
_RISE, _FALL, _QUIET = 0.05, 0.25, 0.75
# Draws that the mean of w and its deviation are of, as in the paper.
_DRAWS = 10_000
# The learning rate that tunes a generator, as in the paper.
_TUNING_RATE = 3e-4
# The factor of the perceptual distance, squared, beside the mean squared error of pixels in [-1, 1].
_PERCEPTUAL = 0.1
# The smallest side at which pixels are compared.
_SMALLEST = 7
# Latents that are moved at a time where conditions are tried.
_TRIED = 64
# The part of the steps for which each is tried, and the fewest.
_TRIAL, _LEAST_TRIAL = 0.1, 50
# How many conditions are tried of a sampler that is told attributes.
_EXAMPLES = 16


@dataclasses.dataclass(frozen=True)
class Projection:
    """Where among its samples a generator comes nearest to a picture.

    Attributes:
        latents: Latents `(1, latent_dim)`, or of a sampler that has styles those, `(1, num_styles, style_dim)`.
        told: The class as `labels` `(1,)`, or `attributes` `(1, K)`, of a conditional sampler. Styles know it already.
        target: The picture in the network's range, `(height, width, channels)`.
        image: What is drawn there, likewise.
        scores: `psnr` in dB, and `perceptual_distance` where there is an extractor.
        frames: What was drawn on the way, `(num, height, width, channels)`.
        weights: Those of the moving average as it was tuned, for `GAN.adopt`; None where it was not.
    """

    latents: np.ndarray
    told: dict[str, np.ndarray]
    target: np.ndarray
    image: np.ndarray
    scores: dict[str, float]
    frames: np.ndarray
    weights: list[np.ndarray] | None = None


def project(
    sampler: Sampler,
    image: Array,
    *,
    label: int | str | None = None,
    attributes: Wanted | None = None,
    steps: int = 1000,
    starts: int = 8,
    seed: int = 0,
    extractor: FeatureExtractor | None = None,
    tune: int = 0,
    frames: int = 60,
    progress: Callable[[str], object] = lambda line: None,
) -> Projection:
    """Finds the latents whose sample is most like a picture.

    Where there are styles, one for all layers goes first, from the mean of w and with noise on it that fades, then each
    layer's goes its own way. The noise maps of StyleGAN2 are fixed here outside of training, and stay so: what is
    found draws the same picture everywhere. Elsewhere several latents go from draws of N(0, I), none farther from its
    shell than draws lie, and the best is kept. What counts is the mean squared error of pixels, as they are and shrunk
    by 2, 4, ..., and with an extractor `tfgan_app.metrics.PerceptualDistance` besides.

    Args:
        sampler: A GAN, or a loaded one.
        image: The picture, `(height, width, channels)` of the sampler's shape: uint8, or floating point in [0, 1].
        label: The class to look in, by number or name. None: each is tried first, for a tenth of the steps.
        attributes: What to look in of a sampler that is told attributes, as in `Sampler.sample`. None: those of 16
            training samples are tried first likewise.
        steps: Of the search.
        starts: From how many draws latents go; styles go from their mean alone.
        seed: Of draws and noise. Equal seeds find the same.
        extractor: Whose features are compared.
        tune: Steps in which the generator's weights are then fitted to the picture, the latents staying where they are.
            They are returned, and the sampler's own are as before.
        frames: How many pictures of the way are kept.
        progress: Called with a line now and then.

    Raises:
        UsageError: If there are no images, or of another shape; for a label that there is not; for weights that cannot
            be tuned.
    """
    target = _checked(sampler, image)
    if tune and not isinstance(sampler, GAN):
        raise UsageError(
            f"`tune={tune}`: the weights of a SavedModel do not change. Take the run, or leave `tune` out."
        )
    if extractor is not None:
        extractor.require(target.shape)
    space = (_Latents if sampler.style_shape is None else _Styles)(sampler, starts, seed)
    loss, watch = _Loss(target, extractor), _Watch(steps + tune, frames, progress)
    condition = _condition(sampler, label, attributes, space, loss, steps)
    latents = space.search(condition, loss, steps, watch)
    told = _told(sampler, condition)
    # Styles know their condition.
    given = {} if latents.ndim == 3 else told
    drawn, weights = sampler.outputs(latents, **given), None
    if tune:
        assert isinstance(sampler, GAN)
        drawn, weights = _tuned(sampler, [latents, *given.values()], loss, tune, watch)
    return Projection(latents, told, target, drawn[0], _scores(target, drawn, extractor), watch.frames(), weights)


def _checked(sampler, image):
    shape = sampler.modality.shape
    if not isinstance(sampler.modality, Images):
        raise UsageError(f"Only images can be looked for: this model draws {sampler.modality.name}.")
    image = np.asarray(image)
    if image.shape != shape:
        raise UsageError(f"`image` must have the shape {shape} of the model's. Received: {image.shape}")
    if image.dtype.kind == "f" and not (image.min() >= 0 and image.max() <= 1):
        raise UsageError(f"`image` must be uint8, or lie in [0, 1]. Received: {image.min():g} to {image.max():g}")
    return np.asarray(sampler.modality.encode(image))


def _condition(sampler, label, attributes, space, loss, steps):
    """Returns what to look in, `(1, ...)`, None of an unconditional sampler.

    It is what is asked for, or where samples come nearest in a few steps.
    """
    if sampler.condition is None and label is not None:
        raise UsageError(f"`label={label}`: this GAN is unconditional.")
    if label is not None or attributes is not None:
        (condition,) = sampler.told(1, None if label is None else [label], attributes)
        return condition
    if sampler.condition is None:
        return None
    tried = np.unique(sampler.condition.in_turn(sampler.num_classes or _EXAMPLES), axis=0)
    at_once = max(1, _TRIED // space.starts)
    found = [
        space.nearest(tried[first : first + at_once], loss, max(_LEAST_TRIAL, round(_TRIAL * steps)))
        for first in range(0, len(tried), at_once)
    ]
    return tried[np.argmin(np.concatenate(found))][np.newaxis]


def _told(sampler, condition):
    """Returns conditions `(num, ...)` by the argument of the sampler that takes them."""
    return {} if condition is None else {sampler.told_by: condition}


class _Loss:
    """How far images `(batch, height, width, channels)` are from the target, `(batch,)`."""

    def __init__(self, target: np.ndarray, extractor: FeatureExtractor | None):
        self._extractor, target = extractor, target[np.newaxis]
        self._target = target
        self._scales = list(_shrunk(target))
        self._features = None if extractor is None else self._seen(target)

    def _seen(self, images):
        assert self._extractor is not None
        return tf.math.l2_normalize(self._extractor(images), axis=1)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        # Without tanh, images go beyond the range where the picture is black or white, and are shown as it is there.
        images = tf.where(tf.clip_by_value(images, -1.0, 1.0) == self._target, self._target, images)
        squares = [tf.square(x - y) for x, y in zip(_shrunk(images), self._scales, strict=True)]
        pixels = tf.add_n([tf.reduce_mean(square, axis=(1, 2, 3)) for square in squares]) / len(squares)
        if self._features is None:
            return pixels
        return pixels + _PERCEPTUAL * tf.reduce_sum(tf.square(self._seen(images) - self._features), axis=1)


def _shrunk(images: Array) -> Iterator[tf.Tensor]:
    yield tf.convert_to_tensor(images)
    while min(images.shape[1:3]) >= 2 * _SMALLEST:
        images = tf.nn.avg_pool2d(images, 2, 2, "VALID")
        yield images


class _Watch:
    """Keeps pictures of the way, evenly spaced, and tells how far it is."""

    def __init__(self, steps: int, frames: int, progress: Callable[[str], object]):
        self._steps, self._every, self._progress = steps, max(1, math.ceil(steps / max(1, frames))), progress
        self._kept: list[np.ndarray] = []
        self._done = 0

    def __call__(self, images: tf.Tensor, losses: tf.Tensor) -> None:
        if self._done % self._every == 0:
            best = int(np.argmin(losses))
            self._kept.append(np.clip(images[best], -1.0, 1.0))
            self._progress(f"step {self._done}/{self._steps}  loss {float(losses[best]):.4f}")
        self._done += 1

    def frames(self) -> np.ndarray:
        return np.stack(self._kept)


def _ignore(images: tf.Tensor, losses: tf.Tensor) -> None:
    """A `_Watch` that keeps nothing."""


class _Space:
    """What moves, and how, in the search."""

    starts: int

    def search(self, condition: np.ndarray | None, loss: _Loss, steps: int, watch: Callable[..., None]) -> np.ndarray:
        """Returns what is nearest under a condition `(1, ...)`, with a batch of 1."""
        raise NotImplementedError

    def nearest(self, conditions: np.ndarray, loss: _Loss, steps: int) -> np.ndarray:
        """Returns the least loss under each of some conditions `(num, ...)` after a few steps."""
        raise NotImplementedError


class _Latents(_Space):
    """Latents from several draws, kept where draws of N(0, I) lie."""

    def __init__(self, sampler: Sampler, starts: int, seed: int):
        self.starts, self._sampler, self._seed = starts, sampler, seed
        # |z| has a mean of about sqrt(d) and a deviation of about sqrt(1/2), whatever d: these are three of them.
        middle, reach = math.sqrt(sampler.latent_dim), 3 * math.sqrt(0.5)
        self._shell = max(middle - reach, 0.0), middle + reach

    def search(self, condition: np.ndarray | None, loss: _Loss, steps: int, watch: Callable[..., None]) -> np.ndarray:
        latents, losses = self._descend(condition, loss, steps, watch)
        return latents[np.argmin(losses)][np.newaxis]

    def nearest(self, conditions: np.ndarray, loss: _Loss, steps: int) -> np.ndarray:
        _, losses = self._descend(conditions, loss, steps, _ignore)
        return losses.reshape(len(conditions), self.starts).min(axis=1)

    def _descend(self, conditions, loss, steps, watch):
        num = 1 if conditions is None else len(conditions)
        given = [] if conditions is None else [tf.constant(np.repeat(conditions, self.starts, axis=0))]
        start = np.tile(self._sampler.latents(self.starts, self._seed), (num, 1))
        return _descend(lambda z: self._sampler.forward([z, *given]), loss, start, steps, watch, keep=self._kept)

    def _kept(self, z):
        length = tf.norm(z, axis=1, keepdims=True)
        return z * tf.clip_by_value(length, *self._shell) / tf.maximum(length, 1e-12)


class _Styles(_Space):
    """Styles from the mean of w: first one for all layers, then one for each."""

    def __init__(self, sampler: Sampler, starts: int, seed: int):
        self.starts, self._sampler, self._seed = 1, sampler, seed

    def search(self, condition: np.ndarray | None, loss: _Loss, steps: int, watch: Callable[..., None]) -> np.ndarray:
        mean, deviation = self._statistics(condition)
        noise = _NOISE * deviation, self._seed
        common, _ = self._descend(mean, loss, steps - steps // 2, watch, noise=noise)
        layers = np.repeat(common, self._sampler.style_shape[0], axis=1)  # type: ignore[index]
        return self._descend(layers, loss, steps // 2, watch)[0] if steps > 1 else layers

    def nearest(self, conditions: np.ndarray, loss: _Loss, steps: int) -> np.ndarray:
        means = [self._statistics(condition)[0] for condition in conditions[:, np.newaxis]]
        return self._descend(np.concatenate(means), loss, steps, _ignore)[1]

    def _descend(self, start, loss, steps, watch, **options):
        shape = self._sampler.style_shape
        return _descend(lambda w: self._sampler.synthesize(w + tf.zeros(shape)), loss, start, steps, watch, **options)

    def _statistics(self, condition):
        """Returns the mean of w under a condition, `(1, 1, style_dim)`, and the deviation from it, a number."""
        latents = self._sampler.latents(_DRAWS, self._seed)
        told = _told(self._sampler, None if condition is None else np.repeat(condition, _DRAWS, axis=0))
        # In StyleGAN all layers are given the same w.
        styles = self._sampler.styles(latents, **told)[:, :1]
        mean = styles.mean(axis=0, keepdims=True)
        return mean, float(np.sqrt(np.sum((styles - mean) ** 2) / _DRAWS))


def _descend(draw, loss, start, steps, watch, *, keep=None, noise=(0.0, 0)):
    """Moves each of a batch to where its loss is less, by Adam.

    Args:
        draw: From where they are to images.
        loss: From images to losses.
        start: Where they begin.
        steps: How many.
        watch: Called with images and losses before each step.
        keep: What brings them back to where they may be.
        noise: Standard deviation of the noise on them at first, and its seed.

    Returns:
        Where they come to, and their losses there.
    """
    moving, optimizer = keras.Variable(start, dtype="float32"), Adam(_RATE)
    optimizer.build([moving])
    deviation, seed = noise

    @tf.function
    def step(number, rate, strength):
        optimizer.learning_rate.assign(rate)
        place = tf.convert_to_tensor(moving)
        with tf.GradientTape() as tape:
            tape.watch(place)
            shift = strength * normal(place.shape, stream((seed, number), "projection")) if deviation else 0.0
            images = draw(place + shift)
            losses = loss(images)
        # A generator sees each of a batch by itself, and Adam each of its numbers.
        optimizer.apply([tape.gradient(losses, place)], [moving])
        if keep is not None:
            moving.assign(keep(tf.convert_to_tensor(moving)))
        return images, losses

    for number in range(steps):
        part = number / steps
        falling = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1.0 - part) / _FALL))
        rate = _RATE * falling * min(1.0, (part + 1.0 / steps) / _RISE)
        strength = deviation * max(0.0, 1.0 - part / _QUIET) ** 2
        watch(*step(tf.constant(number), tf.constant(rate), tf.constant(strength)))
    place = tf.convert_to_tensor(moving)
    return place.numpy(), np.asarray(loss(draw(place)))


def _tuned(gan, inputs, loss, steps, watch):
    """Returns what the generator draws of its inputs after steps towards the target, and its weights then."""
    network = gan.ema_generator
    before = network.get_weights()
    # The average counts as not trainable; its weights are those that train in the generator.
    trained = {id(weight) for weight in gan.generator.trainable_variables}
    pairs = zip(gan.generator.weights, network.weights, strict=True)
    variables = [average for own, average in pairs if id(own) in trained]
    optimizer = Adam(_TUNING_RATE)
    optimizer.build(variables)
    inputs = [*map(tf.constant, inputs)]

    def draw():
        return gan.forward(inputs) if inputs[0].shape.rank == 2 else gan.synthesize(*inputs)

    @tf.function
    def step():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in variables])
            images = draw()
            losses = loss(images)
        gradients = tape.gradient(losses, [variable.value for variable in variables], unconnected_gradients="zero")
        optimizer.apply(gradients, variables)
        return images, losses

    try:
        for _ in range(steps):
            watch(*step())
        return np.asarray(gan.modality.clip(draw())), network.get_weights()
    finally:
        network.set_weights(before)


def _scores(target, drawn, extractor):
    metrics: list[ImageMetric] = [PSNR(), *([] if extractor is None else [PerceptualDistance(extractor)])]
    for metric in metrics:
        metric.update_state(target[np.newaxis], drawn)
    return {metric.name: float(metric.result()) for metric in metrics}
