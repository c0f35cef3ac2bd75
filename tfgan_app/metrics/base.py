"""What metrics of generated images share: the batch they see, and features kept for later."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.metrics.extractors import load_extractor

__all__ = ["Batch", "ImageMetric", "StoredFeatures"]


class Batch:
    """Real images and fakes, with what several metrics want of them computed once.

    Args:
        real: Images `(batch, height, width, channels)` in [-1, 1].
        fake: As many fakes.
        labels: Their classes `(batch,)`, the same for both; None where there are none.
        nearby: `nearby(epsilon)` returns two batches of fakes whose latents lie `epsilon` apart on a path; None where
            the fakes do not come from latents.
    """

    def __init__(self, real, fake, labels=None, nearby=None):
        self.real, self.fake, self.labels, self.nearby = real, fake, labels, nearby
        self._outputs = {}

    def outputs(self, extractor):
        """Returns an extractor's outputs by name, for the real images and for the fakes."""
        key = id(extractor)
        if key not in self._outputs:
            self._outputs[key] = extractor.outputs(self.real), extractor.outputs(self.fake)
        return self._outputs[key]


class ImageMetric(keras.metrics.Metric):
    """A metric of real and generated images, of use in `fit`, `evaluate` and by itself.

    Args:
        extractor: What `load_extractor` takes: a shipped extractor's name, a path or a model. None where the metric
            looks at images themselves.
        name: The metric's name, and its key in logs.

    Attributes:
        version: Changes when the same images would give another value.
    """

    version = 1
    # "down" where lower is better: EarlyStopping and ModelCheckpoint read it where no mode is given.
    _direction = "down"

    def __init__(self, extractor, name, **kwargs):
        super().__init__(name=name, **{"dtype": "float64", **kwargs})
        self.extractor: Any = None if extractor is None else load_extractor(extractor)

    def observe(self, batch):
        """Adds a `Batch`."""
        real, fake = batch.outputs(self.extractor)
        self.update_state(real["features"], fake["features"])

    def results(self):
        """Returns what the metric found, numbers by name; the first is `result()`."""
        return {self.name: float(self.result())}

    def settings(self):
        """Returns the arguments that a value depends on, beside the extractor."""
        return {}

    def get_config(self):
        reference = self.extractor.reference
        if isinstance(reference, keras.Model):
            # Its weights would not be saved along, and a reloaded metric would measure something else.
            raise ValueError(
                f"The metric {self.name} cannot be saved: its feature extractor {reference.name} is held in memory. "
                f"Save that network to a .keras file and give {type(self).__name__} the path."
            )
        return {"extractor": reference, "name": self.name, **self.settings()}


class StoredFeatures(ImageMetric):
    """A metric that needs all features at once, and keeps those of the first `num_images` images of each side.

    Args:
        extractor: As in `ImageMetric`.
        name: As in `ImageMetric`.
        num_images: How many real and how many generated images to use; later ones are not looked at.
    """

    def __init__(self, extractor, name, num_images=10_000, **kwargs):
        super().__init__(extractor, name, **kwargs)
        self.num_images = num_images
        self._real, self._fake = (self._store(side) for side in ("real", "fake"))

    def _store(self, side):
        shape = (self.num_images, self.extractor.feature_dim)
        features = self.add_variable(shape, initializer="zeros", dtype="float32", name=f"{side}_features")
        return features, self.add_variable((), initializer="zeros", dtype="int64", name=f"{side}_count")

    def update_state(self, real_features, fake_features, sample_weight=None):
        """Adds features `(batch, feature_dim)`; the two batches may differ in size, and either may be empty."""
        for (stored, count), features in ((self._real, real_features), (self._fake, fake_features)):
            features = tf.cast(features, tf.float32)[: self.num_images - count.value]
            end = count.value + tf.shape(features, tf.int64)[0]
            stored.value[count.value : end].assign(features)
            count.assign(end)

    def reset_state(self):
        # What is stored is overwritten.
        for _, count in (self._real, self._fake):
            count.assign(0)

    def stored(self):
        """Returns the features kept, real and fake, as float64 arrays `(num, feature_dim)`.

        Raises:
            ValueError: With fewer than two images of a side.
        """
        return self._stored("real", *self._real), self._stored("fake", *self._fake)

    def _stored(self, side, features, count):
        if int(count) < 2:
            raise ValueError(f"{type(self).__name__} needs at least 2 {side} images. Received: {int(count)}")
        return np.asarray(features.value[: int(count)], np.float64)

    def settings(self):
        return {"num_images": self.num_images}
