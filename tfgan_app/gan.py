"""GANs that map latents, and classes or attributes where conditional, to samples."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from absl import logging

from tfgan_app import modalities
from tfgan_app.base.errors import UsageError
from tfgan_app.base.latents import draw_latents, slerp, truncate_normal
from tfgan_app.base.networks import apply, final_activations, first_activations, float32_copy, images_of
from tfgan_app.conditions import Attributes, Classes, Condition, condition_of
from tfgan_app.data.batches import check_samples, parts
from tfgan_app.exportable import Exportable
from tfgan_app.layers.batch_norm import mean_statistics, measured_statistics
from tfgan_app.modalities import Modality
from tfgan_app.modalities.modality import Array
from tfgan_app.observation import Observation
from tfgan_app.players import Judge
from tfgan_app.sampler import Sampler, Signatures, Wanted

__all__ = ["GAN"]

# What statistics of batches are measured on: how many batches, and the samples in each.
_MEASURED = 4
_MEASURED_SIZE = 256
# Draws at which the first weights are differentiated.
_GRAM_DRAWS = 4


@keras.saving.register_keras_serializable("tfgan_app")
class GAN(Exportable, Sampler):
    """A GAN of any two functional models.

    Args:
        generator: Maps latents `(batch, latent_dim)`, or `[latents, labels]` with integer labels `(batch,)`, to samples
            `(batch, ...)` in the network's range: images `(batch, height, width, channels)` in [-1, 1]; or to a dict
            with such `images` and what else `judged` or terms want. Name the inputs `latents` and `labels`: exported
            signatures take those names. Where `attributes` are given, `conditions` `(batch, K)` are in the place of
            labels.
        discriminator: Maps samples, or `[samples, labels]`, to logits `(batch, ...)`; see `AdversarialModel` for
            further outputs. That of a conditional GAN may take samples alone, if it predicts the labels.
        num_classes: Number of classes of a conditional pair; None for an unconditional one.
        class_names: What the classes are called, in their order. They go with the model, into files, exported models
            and pictures, and `sample(labels=["dog"])` takes them.
        attributes: What a conditional pair is told in the place of classes, `tfgan_app.conditions.Attributes`.
        modality: What a sample is, a `tfgan_app.modalities.Modality`. By default by the rank of what the generator
            returns: images `(height, width, channels)` or points `(dim,)`.
        seed: Seed of the latents, as in `AdversarialModel`.
        **kwargs: `name` and `dtype`, as in `keras.Model`.

    Raises:
        UsageError: If the networks' inputs and outputs do not fit each other, `num_classes` or `attributes`.

    Example:
        >>> gan = GAN(generator, discriminator)
        >>> gan.compile(keras.optimizers.Adam(2e-4, 0.5), keras.optimizers.Adam(2e-4, 0.5))
        >>> gan.fit(images, epochs=20)  # (num, height, width, channels) in [-1, 1]
        >>> gan.sample(16, seed=7)      # (16, height, width, channels) in [0, 1]
    """

    # Whether its networks make no sense without a condition.
    needs_condition = False

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        attributes: Attributes | None = None,
        modality: Modality | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        condition = self.condition_of(num_classes, attributes)
        _check_networks(generator, discriminator, condition)
        super().__init__(generator, discriminator, seed=seed, **kwargs)
        self.latent_dim = generator.inputs[0].shape[-1]
        self.num_classes = num_classes
        self.class_names = class_names
        self.attributes = attributes
        self.modality = modality or modalities.infer(_images_output(generator).shape[1:])
        positive = final_activations(generator) & _POSITIVE
        if positive and isinstance(self.modality, modalities.Images):
            logging.warning(
                "The generator ends in %s, but images lie in [-1, 1], which it cannot reach: end it in tanh, or in no "
                "activation.",
                ", ".join(sorted(positive)),
            )

    def unpack(self, data: Any) -> tuple[Any, tuple[tf.Tensor, ...]]:
        # As tensors, whose values are not looked at again.
        samples, labels = (part if part is None else tf.convert_to_tensor(part) for part in parts(data))
        self.check((samples, labels))
        samples = tf.cast(samples, tf.float32)
        return samples, (self.condition.tensor(labels),) if self.condition and self.supervised else ()

    def check(self, data: Any) -> None:
        samples, labels = parts(data)
        check_samples(samples, self.modality)
        if isinstance(samples, np.ndarray) and samples.size:
            self.modality.check_range(float(samples.min()), float(samples.max()))
        condition = self.condition
        if condition is None or not self.supervised:
            return
        if labels is None:
            raise UsageError(
                f"{type(self).__name__} is conditional on {condition} and needs batches of "
                f"({self.modality.name}, {condition.name}). Received: {self.modality.name} of shape "
                f"{tuple(samples.shape)} without {condition.name}."
            )
        condition.check(labels)

    def draw(self, real: Any, condition: tuple[tf.Tensor, ...], seed: tf.Tensor) -> list[tf.Tensor]:
        return [draw_latents(tf.shape(real)[0], self.latent_dim, seed), *condition]

    def observation(
        self, real: Any, fake: Any, condition: tuple[tf.Tensor, ...], inputs: list[tf.Tensor], seed: tf.Tensor
    ) -> Observation:
        latents, *labels = inputs
        other = draw_latents(tf.shape(latents)[0], self.latent_dim, seed)

        def nearby(epsilon):
            pair = [self.forward([z, *labels]) for z in (latents, slerp(latents, other, epsilon))]
            return [self.modality.clip(samples) for samples in pair]

        classes = condition[0] if isinstance(self.condition, Classes) and self.supervised else None
        return Observation(real, self.modality.clip(images_of(fake)), classes, nearby)

    def calibrate(self) -> None:
        """Measures the batch statistics of the EMA generator, on 1 024 samples of fixed latents, conditions in turn.

        Its weights are an average over many steps, so the statistics that batch normalisation collects of the
        generator's are not its own. Where nothing changed since the last time, or nothing normalises by the batch, it
        does nothing. `fit`, `evaluate`, sampling and export call it.
        """
        pairs = zip(self.ema_generator._flatten_layers(), self.generator._flatten_layers(), strict=True)
        norms = [one for one, own in pairs if isinstance(one, keras.layers.BatchNormalization) and own.trainable]
        if not norms or (self._calibrated is not None and np.array_equal(self._checksums(), self._calibrated)):
            return

        def measure(index):
            own = self.condition if self.supervised else None
            condition = () if own is None else (tf.constant(own.in_turn(_MEASURED_SIZE, index * _MEASURED_SIZE)),)
            nothing = tf.zeros((_MEASURED_SIZE, *self.modality.shape))  # tells how many to draw
            inputs = self.draw(nothing, condition, self._seed("statistics", index))
            return measured_statistics(norms, lambda: apply(self.ema_generator, inputs))

        batches = [measure(index) for index in range(_MEASURED)]
        for layer, *statistics in zip(norms, *batches, strict=True):
            mean, variance = mean_statistics(statistics)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
        self._calibrated = self._checksums()

    # The checksums of the weights that `calibrate` left.
    _calibrated: np.ndarray | None = None

    def _checksums(self):
        return np.array([float(tf.reduce_sum(weight)) for weight in self.ema_generator.weights])

    def adopt(self, weights: Sequence[np.ndarray]) -> None:
        """Gives the moving average other weights, its statistics of batches among them, which stay until training.

        Args:
            weights: Those of `ema_generator`, such as a `tfgan_app.study.Projection` has.
        """
        self.ema_generator.set_weights(weights)
        self._calibrated = self._checksums()

    def first_activations(
        self, latents: Array, labels: npt.ArrayLike | None = None, *, attributes: Wanted | None = None
    ) -> np.ndarray:
        """Returns what the first weights of the moving average make of latents, `(num, units)`.

        Args:
            latents: `(num, latent_dim)`.
            labels: As in `sample`.
            attributes: Likewise.

        Raises:
            UsageError: If the generator's first weights lie within another model.
        """
        self.calibrate()
        network = first_activations(self.ema_generator)
        return self._in_batches(lambda inputs: apply(network, inputs), self._inputs(latents, labels, attributes))

    def latent_gram(self, layers: Sequence[int] | None = None) -> np.ndarray:
        """Returns A^T A `(latent_dim, latent_dim)`, where A are the first weights that act on latents.

        Where these pass more than a product on their way, it is the mean of J^T J over a few draws, J the Jacobian.

        Args:
            layers: Of a model with styles, of which of them; its A act on w, and the result is
                `(style_dim, style_dim)`.

        Raises:
            UsageError: As `first_activations`; for `layers` of a model without styles.
        """
        if layers is not None:
            raise self._no_styles()
        self.calibrate()
        network, dim = first_activations(self.ema_generator), self.latent_dim
        draws, gram = self._inputs(self.latents(_GRAM_DRAWS, seed=0)), np.zeros((dim, dim))
        for one in zip(*draws, strict=True):
            inputs = [tf.repeat(part[tf.newaxis], dim, axis=0) for part in one]
            with tf.autodiff.ForwardAccumulator(inputs[0], tf.eye(dim)) as accumulator:
                activations = apply(network, inputs)
            jacobian = np.asarray(accumulator.jvp(activations), np.float64)  # (dim, units)
            gram += jacobian @ jacobian.T / _GRAM_DRAWS
        return gram

    def truncate(self, generator: keras.Model, inputs: list[tf.Tensor], truncation: tf.Tensor) -> tf.Tensor:
        """Returns a generator's samples at a truncation, which trades variety for quality.

        Args:
            generator: The generator or its EMA.
            inputs: The list of its inputs.
            truncation: A scalar of at least 0. Here the latents' largest absolute value; for models with a space of
                styles the factor psi in [0, 1].

        Batch normalisation keeps to the statistics of untruncated latents. BigGAN's program measures those of truncated
        ones, which takes the digits further from the data at 1 and below (docs/measurement.md).
        """
        latents, *labels = inputs
        return images_of(apply(generator, [truncate_normal(latents, truncation), *labels]))

    def call(self, inputs: tf.Tensor | list[tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns samples in the network's range from latents, or `[latents, condition]`, by the EMA generator."""
        if tf.executing_eagerly():
            self.calibrate()
        return images_of(self.ema_generator(inputs, training=training))

    def forward(self, inputs: list[tf.Tensor], truncation: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the EMA generator's samples; see `Sampler.forward`."""
        if truncation is None:
            return images_of(apply(self.ema_generator, inputs))
        return self.truncate(self.ema_generator, inputs, truncation)

    def _forward(self, inputs, truncation):
        self.calibrate()
        return self._compiled_forward(inputs, truncation)

    def _synthesize(self, inputs, truncation):
        self.calibrate()
        (styles,) = inputs
        return self._compiled_synthesis(styles, truncation)

    def _map_styles(self, inputs):
        self.calibrate()
        return self.map_styles(inputs)

    @tf.function(reduce_retracing=True)
    def _compiled_forward(self, inputs, truncation):
        return self.forward(inputs, truncation)

    @tf.function(reduce_retracing=True)
    def _compiled_synthesis(self, styles, truncation):
        return self.synthesize(styles, truncation)

    def signatures(self) -> Signatures:
        """Returns those of `Sampler`, and `discriminate`.

        `discriminate(images[, labels]) -> {"logits"}` and what else the discriminator tells, for decoded samples.
        """
        self.calibrate()
        judge, modality, found = Judge(float32_copy(self.discriminator), None), self.modality, super().signatures()
        samples = tf.TensorSpec((None, *modality.shape), tf.float32, modality.name)
        _, (_, *labels) = found["generate"]

        def discriminate(samples, *labels):
            real, _ = self.judged(modality.encode(samples), [], None)
            return judge(real, labels, training=False)

        return {**found, "discriminate": (discriminate, [samples, *labels])}

    @classmethod
    def condition_of(cls, num_classes: int | None, attributes: Attributes | None) -> Condition | None:
        """Returns the condition that the arguments of a model mean, None where it has none.

        Raises:
            UsageError: If both are given, or none to a model that makes no sense without.
        """
        if num_classes is not None and attributes is not None:
            raise UsageError("`attributes` take the place of `num_classes`. Received: both. Leave one of them out.")
        if cls.needs_condition and num_classes is None and attributes is None:
            raise UsageError(
                f"{cls.__name__} must be told what to draw: `num_classes=10`, or `attributes=` with "
                "`tfgan_app.conditions.Attributes`. Received: neither"
            )
        return condition_of(num_classes, attributes)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of a sample: of images `(height, width, channels)`."""
        return self.modality.shape


# Activations below which no image is.
_POSITIVE = frozenset({"sigmoid", "hard_sigmoid", "hardsigmoid", "softmax", "relu", "relu6", "softplus"})


def _images_output(generator):
    # A Sequential model has no structure of outputs.
    output = getattr(generator, "output", None)
    return images_of(output) if isinstance(output, dict) else generator.outputs[0]


def _check_networks(generator, discriminator, condition):
    for role, network in (("generator", generator), ("discriminator", discriminator)):
        if not getattr(network, "inputs", None):
            raise UsageError(
                f"`{role}` must be a functional keras.Model with defined inputs. Begin a Sequential one with "
                "`keras.Input(shape)`; of one of your own class, `inputs = keras.Input(shape)` and "
                f"`keras.Model(inputs, network(inputs))` make one. Received: {network}"
            )
        expected = 1 if condition is None else 2
        predicts = role == "discriminator" and isinstance(getattr(network, "output", None), dict)
        if len(network.inputs) != expected and not predicts:
            told = f"num_classes={getattr(condition, 'num_classes', None)}"
            told, name = ("attributes", condition.name) if isinstance(condition, Attributes) else (told, "labels")
            raise UsageError(
                f"`{role}` must take {expected} input(s) for {told} "
                f"(a conditional GAN's networks take {name} as the second). Received: {len(network.inputs)} input(s)."
            )
    image_shape, expected = _images_output(generator).shape[1:], discriminator.inputs[0].shape[1:]
    if tuple(image_shape) != tuple(expected):
        raise UsageError(
            f"The generator draws samples of shape {tuple(image_shape)}, but the discriminator takes {tuple(expected)}."
        )
