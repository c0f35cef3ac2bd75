"""What a trained generator can do, whatever it is: a GAN, or a SavedModel of one."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfgan_app.base import pictures
from tfgan_app.base.errors import UsageError
from tfgan_app.base.latents import draw_latents, moved
from tfgan_app.conditions import Attributes, Condition, are_numbers, condition_of
from tfgan_app.modalities import Modality
from tfgan_app.modalities.modality import Array

__all__ = ["Sampler", "Signatures", "check_truncation"]

_BATCH = 256

# What an exported model can be asked, by name: a function of tensors that returns tensors by name, and the specs of its
# arguments.
Signatures = dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]]
# What attributes are asked for: values by name, or rows.
Wanted: TypeAlias = Mapping[str, Any] | npt.ArrayLike


class Sampler:
    """Base of what draws samples from latents, and a condition where it is conditional.

    Subclasses set the attributes and define `forward`. Samples come in two forms: in the network's range, to compute
    with (`outputs`), and decoded, for people (`sample`, `generate`).

    Attributes:
        modality: What a sample is.
        latent_dim: Length of the latents.
        num_classes: Number of classes, None for a sampler that is told none.
        supervised: Whether labels are those of the data, rather than codes that the model gives a meaning itself.
        class_names: What the classes are called, in their order; None where that is not known.
        attributes: What it is told in the place of classes, None where it is not.
        style_shape: Of a sampler whose layers are each given a style, `(num_styles, style_dim)`; None for others. It
            takes styles wherever it takes latents.
    """

    modality: Modality
    latent_dim: int
    num_classes: int | None
    supervised: bool = True
    class_names: tuple[str, ...] | None = None
    attributes: Attributes | None = None
    style_shape: tuple[int, int] | None = None

    @property
    def condition(self) -> Condition | None:
        """What it is told of each sample, None for an unconditional sampler."""
        return condition_of(self.num_classes, self.attributes, self.class_names)

    @property
    def told_by(self) -> str:
        """The argument that says what samples are to be: `labels`, or `attributes` where it is told those."""
        return "labels" if self.attributes is None else "attributes"

    def forward(self, inputs: list[tf.Tensor], truncation: tf.Tensor | None = None) -> tf.Tensor:
        """Returns a batch of samples in the network's range.

        Args:
            inputs: Latents `(batch, latent_dim)`, and of a conditional sampler int32 labels `(batch,)` or float32
                conditions `(batch, K)`.
            truncation: A scalar of at least 0 that trades variety for quality; None for none. What it means is up to
                the model.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `forward`.")

    def map_styles(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Returns the styles `(batch, *style_shape)` of the inputs of `forward`, for samplers that have any.

        Raises:
            UsageError: If it has none.
        """
        raise self._no_styles()

    def synthesize(self, styles: tf.Tensor, truncation: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the samples of styles `(batch, *style_shape)` in the network's range; the rest as in `forward`.

        Raises:
            UsageError: If the sampler has none.
        """
        raise self._no_styles()

    def _no_styles(self):
        return UsageError(f"{type(self).__name__} has no styles: its layers take latents. StyleGAN2 has styles.")

    def sample(
        self,
        num: int,
        seed: int = 0,
        labels: npt.ArrayLike | None = None,
        truncation: float | None = None,
        *,
        attributes: Wanted | None = None,
    ) -> np.ndarray:
        """Draws samples.

        Args:
            num: How many.
            seed: Equal seeds give equal samples, here and in the exported `sample` signature.
            labels: Classes `(num,)` of a conditional sampler, as integers or, where it has `class_names`, by name; by
                default 0, 1, 2, ... in turn. A name is one before it is a number.
            truncation: The largest absolute latent, or psi in [0, 1] of a model with styles; by default none.
            attributes: Of a sampler that is told attributes, values by name in the units of training,
                `{"smiling": "yes", "age": 40}`, each one for all or `num`; or rows `(num, K)` as its
                `attributes.encode` makes them. What is not named is as in the training samples, in turn.

        Returns:
            A float32 array `(num, ...)`, decoded: images `(num, height, width, channels)` are in [0, 1].

        Raises:
            ValueError: For labels or attributes that do not fit, or a truncation that is negative or not finite.
        """
        return self.generate(self.latents(num, seed), labels, truncation, attributes=attributes)

    def generate(
        self,
        latents: Array,
        labels: npt.ArrayLike | None = None,
        truncation: float | None = None,
        *,
        attributes: Wanted | None = None,
    ) -> np.ndarray:
        """Returns the samples of latents `(num, latent_dim)` or of styles `(num, num_styles, style_dim)`.

        The rest is as in `sample`, but that styles know their labels or attributes already.
        """
        return np.asarray(self.modality.decode(self.outputs(latents, labels, truncation, attributes=attributes)))

    def styles(
        self, latents: Array, labels: npt.ArrayLike | None = None, *, attributes: Wanted | None = None
    ) -> np.ndarray:
        """Returns the styles that the layers are given for latents, the space W+ of StyleGAN.

        Args:
            latents: `(num, latent_dim)`.
            labels: As in `sample`.
            attributes: Likewise.

        Returns:
            A float32 array `(num, num_styles, style_dim)`, which `generate` and `edit` take in place of the latents.
            The styles of one draw are equal; those of several may be mixed, layer by layer.

        Raises:
            UsageError: If the sampler has none.
        """
        if self.style_shape is None:
            raise self._no_styles()
        return self._in_batches(self._map_styles, self._inputs(latents, labels, attributes))

    def edit(
        self,
        latents: Array,
        direction: npt.ArrayLike,
        strength: npt.ArrayLike = 1.0,
        labels: npt.ArrayLike | None = None,
        truncation: float | None = None,
        layers: Sequence[int] | None = None,
        *,
        attributes: Wanted | None = None,
    ) -> np.ndarray:
        """Returns the samples of latents, or of styles, moved along a direction; see `tfgan_app.study.directions`.

        Args:
            latents: `(num, latent_dim)`, or styles `(num, num_styles, style_dim)`.
            direction: `(latent_dim,)`; of styles `(style_dim,)`, the same for every layer, or
                `(num_styles, style_dim)`.
            strength: How far, in lengths of `direction`: a number, or one for each of the latents, `(num,)`.
            labels: As in `generate`.
            truncation: As in `generate`.
            layers: Which of the styles move, by number; None for all.
            attributes: As in `generate`.

        Returns:
            As `generate`.

        Raises:
            ValueError: If shapes do not fit; else as `generate`.
        """
        start, vector, length = (tf.cast(x, tf.float32) for x in (latents, direction, strength))
        return self.generate(moved(start, vector, length, layers), labels, truncation, attributes=attributes)

    def latents(self, num: int, seed: int = 0, start: int = 0) -> tf.Tensor:
        """Returns the latents that `sample` draws, `(num, latent_dim)`: those from number `start` on."""
        return draw_latents(num, self.latent_dim, (seed, 0), start)

    def batches(
        self,
        num: int,
        seed: int = 0,
        labels: npt.ArrayLike | None = None,
        truncation: float | None = None,
        *,
        attributes: Wanted | None = None,
    ) -> Iterator[np.ndarray]:
        """Yields what `sample` draws in the network's range, a batch at a time: memory does not grow with `num`."""
        told = self.told(num, labels, attributes)
        for start in range(0, num, _BATCH):
            stop = min(start + _BATCH, num)
            inputs = [self.latents(stop - start, seed, start), *(tf.constant(part[start:stop]) for part in told)]
            yield self._clipped(inputs, truncation)

    def told(
        self, num: int, labels: npt.ArrayLike | None = None, attributes: Wanted | None = None
    ) -> tuple[np.ndarray, ...]:
        """Returns what the networks are told of `num` samples beside latents: their condition, or nothing.

        Args:
            num: How many samples.
            labels: As in `sample`.
            attributes: Likewise.

        Raises:
            ValueError: For what this sampler is not told, or what does not fit.
        """
        given = {"labels": labels, "attributes": attributes}
        given = {name: value for name, value in given.items() if value is not None}
        condition, own = self.condition, self.told_by
        if condition is None and given:
            shown = ", ".join(f"{name}={value}" for name, value in given.items())
            raise ValueError(f"{type(self).__name__} is unconditional. Received: {shown}")
        if condition is None:
            return ()
        if other := given.keys() - {own}:
            raise ValueError(f"`{other.pop()}`: {type(self).__name__} is told `{own}`: {condition}.")
        return (condition.chosen(given.get(own), num),)

    def outputs(
        self,
        latents: Array,
        labels: npt.ArrayLike | None = None,
        truncation: float | None = None,
        *,
        attributes: Wanted | None = None,
    ) -> np.ndarray:
        """Returns the samples of latents in the network's range, clipped to it; the rest as in `generate`."""
        return self._clipped(self._inputs(latents, labels, attributes), truncation)

    def _clipped(self, inputs, truncation):
        if truncation is not None:
            truncation = tf.constant(check_truncation(truncation), tf.float32)
        draw = self._synthesize if inputs[0].shape.rank == 3 else self._forward
        drawn = self._in_batches(lambda inputs: self.modality.clip(draw(inputs, truncation)), inputs)
        return drawn if len(drawn) else np.zeros((0, *self.modality.shape), np.float32)

    def _inputs(self, latents, labels=None, attributes=None):
        """Returns the checked inputs of `forward`, or the styles alone."""
        start = tf.cast(latents, tf.float32)
        if start.shape.rank != 3:
            return [start, *map(tf.constant, self.told(len(latents), labels, attributes))]
        if self.style_shape is None:
            raise self._no_styles()
        if start.shape[1:] != self.style_shape:
            expected = f"(num, {', '.join(map(str, self.style_shape))})"
            raise ValueError(f"Styles must have the shape {expected}. Received: {tuple(start.shape)}")
        for name, value in (("labels", labels), ("attributes", attributes)):
            if value is not None:
                raise ValueError(f"Styles know their {name} already: give them without. Received: {name}={value}")
        return [start]

    def _in_batches(self, function, inputs):
        """Returns what a function of a list of inputs returns, in batches that bound the memory."""
        starts = range(0, len(inputs[0]), _BATCH)
        batches = [np.asarray(function([x[start : start + _BATCH] for x in inputs])) for start in starts]
        return np.concatenate(batches) if batches else np.zeros((0,), np.float32)

    def picture(
        self,
        num: int,
        columns: int | None = None,
        seed: int = 0,
        labels: npt.ArrayLike | None = None,
        truncation: float | None = None,
        *,
        attributes: Wanted | None = None,
    ) -> np.ndarray:
        """Returns a picture of what `sample` draws, uint8 `(height, width, channels)`; see `Modality.show`.

        Where each column is of one class, its name stands above it, unless it is but its number.
        """
        outputs = self.outputs(self.latents(num, seed), labels, truncation, attributes=attributes)
        picture = self.modality.show(outputs, columns)
        titles = None if columns is None else self._titles(num, columns, labels)
        return picture if titles is None else pictures.titled(picture, titles)

    def _titles(self, num, columns, labels):
        if self.num_classes is None or self.class_names is None or num < columns:
            return None
        if are_numbers(self.class_names):
            return None
        (found,) = self.told(num, labels)
        if np.any(found != np.resize(found[:columns], num)):
            return None
        return [self.class_names[label] for label in found[:columns]]

    def _forward(self, inputs, truncation):
        """Returns `forward`, compiled where a subclass gains by it."""
        return self.forward(inputs, truncation)

    def _synthesize(self, inputs, truncation):
        """Returns `synthesize` of the one input, compiled likewise."""
        (styles,) = inputs
        return self.synthesize(styles, truncation)

    def _map_styles(self, inputs):
        return self.map_styles(inputs)

    def signatures(self) -> Signatures:
        """Returns what the exported model can be asked, for any batch size.

        Samples go by the modality's name, here `images`; `labels` are there only where the sampler is conditional. One
        that is told attributes takes `conditions` in their place, rows as `attributes.encode` makes them.

        - `generate(latents[, labels]) -> {"images"}`, decoded
        - `generate_uint8(latents[, labels]) -> {"images"}`, where samples are stored as uint8, or `generate_uint16`
        - `sample(num_images, seed[, labels]) -> {"images"}`, decoded; those of `sample(num_images, seed)`
        - `generate_truncated(latents[, labels], truncation) -> {"images"}`; those of `generate(..., truncation)`
        - `edit(latents, direction, strength[, labels]) -> {"images"}`; those of `edit`, each with a `strength` of its
          own. Where there are styles, `edit(styles, direction, strength)`, with a `direction` of the shape of styles

        Where there are styles, moreover:

        - `styles(latents[, labels]) -> {"styles"}`
        - `synthesize(styles)` and `synthesize_truncated(styles, truncation) -> {"images"}`
        """
        modality, name = self.modality, self.modality.name
        labels = [] if self.condition is None else [self.condition.spec]
        latents = tf.TensorSpec((None, self.latent_dim), tf.float32, "latents")
        num, seed = tf.TensorSpec((), tf.int32, f"num_{name}"), tf.TensorSpec((), tf.int64, "seed")

        # Traced once for all that call it.
        draw = tf.function(lambda *inputs: self.forward(list(inputs)), input_signature=[latents, *labels])

        def generate(*inputs):
            return {name: modality.decode(draw(*inputs))}

        def store(*inputs):
            return {name: modality.store(draw(*inputs))}

        def sample(num, seed, *labels):
            return generate(draw_latents(num, self.latent_dim, tf.stack([seed, 0])), *labels)

        def generate_truncated(*arguments):
            *inputs, truncation = arguments
            return {name: modality.decode(self.forward(inputs, truncation))}

        found: Signatures = {"generate": (generate, [latents, *labels])}
        stored = np.dtype(modality.dtype).name
        if stored in ("uint8", "uint16"):
            found[f"generate_{stored}"] = (store, [latents, *labels])
        found["sample"] = (sample, [num, seed, *labels])
        truncation = tf.TensorSpec((), tf.float32, "truncation")
        found["generate_truncated"] = (generate_truncated, [latents, *labels, truncation])
        strength = tf.TensorSpec((None,), tf.float32, "strength")
        if self.style_shape is None:

            def edit(latents, direction, strength, *labels):
                return generate(moved(latents, direction, strength), *labels)

            direction = tf.TensorSpec((self.latent_dim,), tf.float32, "direction")
            return {**found, "edit": (edit, [latents, direction, strength, *labels])}

        def synthesize(styles, truncation=None):
            return {name: modality.decode(self.synthesize(styles, truncation))}

        def edit_styles(styles, direction, strength):
            return synthesize(moved(styles, direction, strength))

        def map_styles(*inputs):
            return {"styles": self.map_styles(list(inputs))}

        styles = tf.TensorSpec((None, *self.style_shape), tf.float32, "styles")
        found["edit"] = (edit_styles, [styles, tf.TensorSpec(self.style_shape, tf.float32, "direction"), strength])
        found["styles"] = (map_styles, [latents, *labels])
        found["synthesize"] = (synthesize, [styles])
        found["synthesize_truncated"] = (synthesize, [styles, truncation])
        return found

    def describe(self) -> dict[str, Any]:
        """Returns what a loaded model must know of itself, as JSON takes it."""
        told = {} if self.attributes is None else {"attributes": self.attributes.get_config()}
        return {
            "model": type(self).__name__,
            "modality": self.modality.name,
            "shape": list(self.modality.shape),
            **{name: value for name, value in self.modality.get_config().items() if name != "shape"},
            "latent_dim": self.latent_dim,
            "num_classes": self.num_classes,
            "supervised": self.supervised,
            "class_names": None if self.class_names is None else list(self.class_names),
            "style_shape": None if self.style_shape is None else list(self.style_shape),
            **told,
        }


def check_truncation(truncation: float) -> float:
    """Returns a truncation.

    Raises:
        ValueError: If it is negative or not finite.
    """
    if not 0 <= truncation < math.inf:
        raise ValueError(f"`truncation` must be a number of at least 0. Received: truncation={truncation}")
    return truncation
