"""Classification accuracy score. Ravuri and Vinyals 2019, https://arxiv.org/abs/1905.10887."""

import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfgan_app.base.precision import dtype_policy
from tfgan_app.metrics.base import Buffer, ImageMetric
from tfgan_app.modalities import Images
from tfgan_app.modalities.modality import Array
from tfgan_app.observation import Observation

__all__ = ["ClassificationAccuracyScore"]


@keras.saving.register_keras_serializable("tfgan_app")
class ClassificationAccuracyScore(ImageMetric):
    """Accuracy on real images of a classifier that was trained on generated ones alone.

    For conditional GANs: low where samples are not of the class they were asked for, and where they lack the variety of
    the real class. `result` trains the classifier, strided convolutions down to 4x4 and a dense layer where the paper
    has a ResNet-50 for ImageNet; images are kept in levels of `depth` bits.

    Args:
        image_shape: `(height, width, channels)`.
        num_classes: Number of classes.
        name: The metric's name, and its key in logs.
        num_images: Real and generated images to use; of more, a random sample of fixed seed.
        steps: Updates of the classifier, each on 100 generated images.
        seed: Seed of the classifier's weights and of the order.
        depth: Bits of a value, 8 or 16.
    """

    _direction = "up"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        name: str = "cas",
        num_images: int = 10_000,
        steps: int = 800,
        seed: int = 0,
        depth: int = 8,
        **kwargs: Any,
    ):
        super().__init__(None, name, **kwargs)
        self.depth = depth
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        self.num_images, self.steps, self.seed = num_images, steps, seed
        self._images = Images(image_shape, depth=depth)
        shape = (num_images, *self.image_shape)
        self._real, self._fake = (Buffer(self, side, shape, f"uint{depth}") for side in ("real", "fake"))
        self._labels = Buffer(self, "labels", (num_images,), "int32")

    def observe(self, batch: Observation) -> None:
        """Adds an `Observation`.

        Raises:
            ValueError: If it has no labels.
        """
        if batch.labels is None:
            raise ValueError(f"{type(self).__name__} needs labels, of the real images and of the fakes.")
        self.update_state(batch.real, batch.fake, batch.labels)

    def update_state(self, real: Array, fake: Array, labels: Array, sample_weight: Any = None) -> None:
        """Adds images in [-1, 1] whose classes are `labels` `(batch,)`, of either side."""
        for kept, images in ((self._real, real), (self._fake, fake)):
            kept.add(self._images.store(images))
        self._labels.add(labels)

    def result(self) -> float:
        """Returns the accuracy, a float in [0, 1].

        Raises:
            ValueError: With fewer images than a batch.
        """
        count, size = len(self._labels), 100
        if count < size:
            raise ValueError(f"{type(self).__name__} needs at least {size} images of each side. Received: {count}")
        real, fake = (self._images.encode(kept.array(self._images.dtype)).numpy() for kept in (self._real, self._fake))
        labels = self._labels.array(np.int32)
        with dtype_policy("float32"):
            network = _build_network(self.image_shape, self.num_classes, self.seed)
        order = tf.data.Dataset.from_tensor_slices((fake, labels)).shuffle(count, seed=self.seed)
        network.compile(
            keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, self.steps)),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        network.fit(order.repeat().batch(size), steps_per_epoch=self.steps, shuffle=False, verbose=0)
        return float(network.evaluate(real, labels, batch_size=500, verbose=0, return_dict=True)["accuracy"])

    def settings(self) -> dict[str, Any]:
        depth = {} if self.depth == 8 else {"depth": self.depth}
        return {"num_images": self.num_images, "steps": self.steps, "seed": self.seed, **depth}

    def get_config(self) -> dict[str, Any]:
        return {
            "image_shape": self.image_shape,
            "num_classes": self.num_classes,
            "name": self.name,
            **self.settings(),
        }


def _build_network(image_shape, num_classes, seed):
    seeds = itertools.count(1000 * seed)
    images = x = keras.Input(image_shape)
    channels = 32
    while max(x.shape[1:3]) > 4:
        initializer = keras.initializers.HeNormal(next(seeds))
        x = layers.Conv2D(channels, 3, 2, "same", activation="relu", kernel_initializer=initializer)(x)
        channels = min(2 * channels, 256)
    x = layers.Dropout(0.3, seed=next(seeds))(layers.Flatten()(x))
    logits = layers.Dense(num_classes, kernel_initializer=keras.initializers.GlorotUniform(next(seeds)))(x)
    return keras.Model(images, logits)
