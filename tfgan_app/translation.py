"""GANs that make pictures of pictures: of pairs of a source and its target, or of two sides without pairs."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.base.networks import apply, images_of
from tfgan_app.base.receptive_field import receptive_radius
from tfgan_app.data.batches import check_samples
from tfgan_app.exportable import Exportable
from tfgan_app.modalities import Images, Modality
from tfgan_app.observation import Observation
from tfgan_app.translator import Translator

__all__ = ["TranslationGAN", "images_of"]


@keras.saving.register_keras_serializable("tfgan_app")
class TranslationGAN(Exportable, Translator):
    """A GAN whose generator is given a source and makes a target of it.

    Batches are pairs `(source, target)` of float32 images in [-1, 1], `(batch, height, width, channels)` each. What
    makes a translation more than a likely picture are terms on the generator, such as `tfgan_app.terms.L1`.

    Args:
        generator: A functional model of sources to images in [-1, 1], or to a dict with those `images` and what its
            terms want besides. With `keras.Input((None, None, channels))` it translates pictures of any size.
        discriminator: Maps targets `(batch, height, width, channels)` to logits; or, with two inputs, sources and
            targets, as that of a conditional GAN.
        source_shape: `(height, width, channels)` of training sources; by default as the generator takes them.
        target_shape: Likewise of targets; by default as the discriminator takes them.
        multiple: What the sides of a source must be multiples of, as the generator halves them.
        seed: Seed of what is drawn in training, as in `AdversarialModel`.
        **kwargs: `name` and `dtype`, as in `keras.Model`.

    Raises:
        UsageError: If shapes do not fit each other.

    Example:
        >>> gan = TranslationGAN(generator, discriminator)
        >>> gan.compile(terms=[tfgan_app.terms.L1(100.0)])
        >>> gan.fit(tf.data.Dataset.from_tensor_slices((sources, targets)).batch(16), epochs=20)
        >>> gan.translate(pictures)  # (num, height, width, channels) in [0, 1]
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        source_shape: tuple[int, int, int] | None = None,
        target_shape: tuple[int, int, int] | None = None,
        multiple: int = 1,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(generator, discriminator, seed=seed, **kwargs)
        source_shape = source_shape or tuple(generator.inputs[0].shape[1:])
        target_shape = target_shape or tuple(discriminator.inputs[-1].shape[1:])
        for name, shape in (("source_shape", source_shape), ("target_shape", target_shape)):
            if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
                raise UsageError(f"`{name}` must be three sides (height, width, channels). Received: {tuple(shape)}")
        self.source, self.target = Images(source_shape), Images(target_shape)
        scales = {a / b for a, b in zip(target_shape[:2], source_shape[:2], strict=True)}
        if len(scales) != 1 or (scale := scales.pop()) != int(scale):
            raise UsageError(
                "The sides of targets must be those of sources, or the same whole number of times as long. Received: "
                f"source_shape={tuple(source_shape)}, target_shape={tuple(target_shape)}"
            )
        self.scale, self.multiple, self.radius = int(scale), multiple, receptive_radius(generator)

    @property
    def modality(self) -> Modality:
        """What the generator makes."""
        return self.target

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of a target `(height, width, channels)`."""
        return self.target.shape

    def pretrain_arguments(self) -> dict[str, Any]:
        """Returns the arguments of `compile` for steps in which the generator minimises its terms alone, by name."""
        return {"n_critic": 0}

    def check(self, data: Any) -> None:
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise UsageError(
                f"{type(self).__name__} takes batches of two, {_WHAT[self.data]}. Received: {type(data).__name__}"
                + (f" of {len(data)}" if isinstance(data, (tuple, list)) else "")
            )
        for side, modality in zip(data, (self.source, self.target), strict=True):
            check_samples(side, modality)
            if isinstance(side, np.ndarray) and side.size:
                modality.check_range(float(side.min()), float(side.max()))

    def unpack(self, data: Any) -> tuple[Any, tuple[tf.Tensor, ...]]:
        self.check(data)
        source, target = (tf.cast(side, tf.float32) for side in data)
        return (source, target), ()

    def draw(self, real: Any, condition: tuple[tf.Tensor, ...], seed: tf.Tensor) -> list[tf.Tensor]:
        return self.inputs_of(real[0], seed)

    def inputs_of(self, sources: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
        """Returns the generator's inputs for sources: those that draw are given a seed beside.

        Args:
            sources: `(batch, height, width, channels)`.
            seed: An int64 tensor of two elements. Where the first is negative, nothing is drawn.
        """
        return [sources, seed] if self.draws else [sources]

    @property
    def draws(self) -> bool:  # type: ignore[override]
        """Whether the generator has an input called `seed`."""
        return any(x.name.split(":")[0] == "seed" for x in self.generator.inputs)

    def target_of(self, real: Any) -> Any:
        return real[1]

    def judged(self, real: Any, inputs: list[tf.Tensor], outputs: Any) -> tuple[Any, Any]:
        source, target = real
        images = images_of(outputs)
        if len(self.discriminator.inputs) == 1:
            return target, images
        return (source, target), (source, images)

    def observation(
        self, real: Any, fake: Any, condition: tuple[tf.Tensor, ...], inputs: list[tf.Tensor], seed: tf.Tensor
    ) -> Observation:
        """Returns the `tfgan_app.metrics.Observation` of a batch; see `AdversarialModel.observation`.

        Of the samples that are judged, the last are the translations; with a way back, the first are those back.
        """
        source, target = real
        fakes = keras.tree.flatten(fake)
        translated, cycle, back = self.target.clip(fakes[-1]), None, None
        if "translate_back" in self.ways:
            # A graph computes none of what no metric looks at.
            home = self.source.clip(fakes[0])
            cycle = self.source.clip(self.forward(translated, "translate_back"))
            back = Observation(source, home, source=target, cycle=self.target.clip(self.forward(home)))
        return Observation(target, translated, source=source, cycle=cycle, back=back)

    def forward(
        self, sources: tf.Tensor, way: str = "translate", seed: tf.Tensor | None = None, labels: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the EMA generator's translations; see `Translator.forward`."""
        seed = tf.zeros((2,), tf.int64) if seed is None else seed
        return images_of(apply(self.ema_generator, self.inputs_of(sources, seed)))

    def _forward(self, sources, way, extra):
        return self._compiled_forward(sources, way, extra)

    @tf.function(reduce_retracing=True)
    def _compiled_forward(self, sources, way, extra):
        return self.forward(sources, way, **extra)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns translations in the network's range of sources, by the EMA generator."""
        return self.forward(inputs)


_WHAT = {
    "pairs": "sources and their targets",
    "sides": "pictures of the one side and of the other",
    "labelled": "images and their labels",
}
