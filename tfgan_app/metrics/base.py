"""What metrics of generated images share: an extractor, and features kept for later."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.base.randomness import uniform_part
from tfgan_app.metrics.extractors import ExtractorLike, load_extractor
from tfgan_app.modalities.modality import Array
from tfgan_app.observation import Observation

__all__ = ["KEPT", "Buffer", "ImageMetric", "StoredFeatures"]

# Of which rows are kept.
_SEED = 0
# What a receipt says of a metric that looked at a part.
KEPT = f"seeded sample, seed {_SEED}"


class Buffer:
    """Keeps rows that a metric is given, in variables of that metric, which resets them with its others.

    Of more rows than there is room for it keeps a random sample in which each has the same chance (Vitter 1985,
    https://doi.org/10.1145/3147.3165, algorithm R): data may be sorted by class. Which, depends on the rows' numbers
    alone: it is the same in whatever batches they come, and in all buffers of as much room.

    Args:
        metric: The `keras.metrics.Metric`.
        name: Name of the variable.
        shape: `(num_rows, ...)`.
        dtype: What rows are cast to.
    """

    def __init__(self, metric: keras.metrics.Metric, name: str, shape: tuple[int, ...], dtype: str = "float32"):
        self._rows = metric.add_variable(shape, initializer="zeros", dtype=dtype, name=name)
        # How many rows were given.
        self._count = metric.add_variable((), initializer="zeros", dtype="int64", name=f"{name}_count")

    def add(self, rows: Array) -> None:
        """Takes rows `(batch, ...)`."""
        room, num = self._rows.shape[0], tf.shape(rows, tf.int64)[0]
        numbers = self._count.value + tf.range(num)
        # Row k takes one of k + 1 places at random, and is dropped where that is none of ours.
        drawn = tf.cast(uniform_part(self._count.value, (num,), (_SEED, 0)), tf.float64)
        places = tf.cast(tf.floor(drawn * tf.cast(numbers + 1, tf.float64)), tf.int64)
        places = tf.where(numbers < room, numbers, places)
        # Of several rows that take one place the last stays, as if they came one by one.
        last = tf.math.unsorted_segment_max(tf.range(num), tf.minimum(places, room), room + 1)[:room]
        taken = tf.where(last >= 0)[:, 0]
        chosen = tf.cast(tf.gather(rows, tf.gather(last, taken)), self._rows.dtype)
        self._rows.value.scatter_update(tf.IndexedSlices(chosen, taken))
        self._count.assign_add(num)

    def __len__(self):
        return min(int(self._count), self._rows.shape[0])

    def array(self, dtype: type[np.generic]) -> np.ndarray:
        """Returns the rows kept, as an array of another dtype; in the order given, where all are."""
        return np.asarray(self._rows.value[: len(self)], dtype)


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

    def __init__(self, extractor: ExtractorLike | None, name: str, **kwargs: Any):
        super().__init__(name=name, **{"dtype": "float64", **kwargs})
        self.extractor: Any = None if extractor is None else load_extractor(extractor)

    def observe(self, batch: Observation) -> None:
        """Adds an `Observation`."""
        real, fake = batch.real_outputs(self.extractor), batch.fake_outputs(self.extractor)
        self.update_state(real["features"], fake["features"])

    def results(self) -> dict[str, float]:
        """Returns what the metric found, numbers by name; the first is `result()`."""
        return {self.name: float(self.result())}

    def settings(self) -> dict[str, Any]:
        """Returns the arguments that a value depends on, beside the extractor."""
        return {}

    def copy(self) -> "ImageMetric":
        """Returns a metric of the same arguments that has seen nothing, also where it cannot be saved."""
        if self.extractor is None:
            return type(self).from_config(self.get_config())
        return type(self)(extractor=self.extractor, name=self.name, **self.settings())

    def get_config(self) -> dict[str, Any]:
        if self.extractor is None:
            return {"name": self.name, **self.settings()}
        reference = self.extractor.reference
        if isinstance(reference, keras.Model):
            # Its weights would not be saved along, and a reloaded metric would measure something else.
            raise ValueError(
                f"The metric {self.name} cannot be saved: its feature extractor {reference.name} is held in memory. "
                f"Save that network to a .keras file and give {type(self).__name__} the path."
            )
        return {"extractor": reference, "name": self.name, **self.settings()}


class StoredFeatures(ImageMetric):
    """A metric that needs all features at once, and keeps those of `num_images` images of each side.

    Args:
        extractor: As in `ImageMetric`.
        name: As in `ImageMetric`.
        num_images: How many real and how many generated images to use; of more, a random sample of fixed seed.
    """

    def __init__(self, extractor: ExtractorLike, name: str, num_images: int = 10_000, **kwargs: Any):
        super().__init__(extractor, name, **kwargs)
        self.num_images = num_images
        shape = (num_images, self.extractor.feature_dim)
        self._real, self._fake = (Buffer(self, f"{side}_features", shape) for side in ("real", "fake"))

    def update_state(self, real_features: Array, fake_features: Array, sample_weight: Any = None) -> None:
        """Adds features `(batch, feature_dim)`; the two batches may differ in size, and either may be empty."""
        self._real.add(real_features)
        self._fake.add(fake_features)

    def stored(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the features kept, real and fake, as float64 arrays `(num, feature_dim)`.

        Raises:
            ValueError: With fewer than two images of a side.
        """
        for side, kept in (("real", self._real), ("fake", self._fake)):
            if len(kept) < 2:
                raise ValueError(f"{type(self).__name__} needs at least 2 {side} images. Received: {len(kept)}")
        return self._real.array(np.float64), self._fake.array(np.float64)

    def settings(self) -> dict[str, Any]:
        return {"num_images": self.num_images}
