"""ImageSet: images of one split, whatever they were read from, and how a run draws batches of them."""

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfgan_app.base.errors import DataError
from tfgan_app.base.randomness import stream, uniform
from tfgan_app.conditions import Attributes, Condition, condition_of
from tfgan_app.data.records import Records, part_bounds, prefetched
from tfgan_app.data.trees import counted
from tfgan_app.modalities import Images, Modality


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Images of one split, and the facts about them that a run records.

    Batches are float32 images `(batch, height, width, channels)` in [-1, 1], and `(images, labels)` with int32 labels
    `(batch,)` when the set is labelled, or `(images, conditions)` with float32 `(batch, K)` when it has attributes.

    Attributes:
        name: The dataset's name, or the name of the folder or file it was read from.
        split: The split as asked for, with its slice.
        image_shape: `(height, width, channels)`.
        class_names: A name for each label, or None for an unlabelled set.
        attributes: What its images have in the place of labels, or None.
        licence: The licence of the images, as far as it is known.
        origin: Where the images come from: a URL or a few words.
        fingerprint: SHA-256 in hex of the decoded images and labels; of names, sizes and shards where the set
            is too large to be held in memory.
        skipped: How many images were left out because they cannot be read.
        fallback_for: The dataset that this one stands in for, or None.
        value_range: The stored values that became black and white, or None where the format's own did.
        depth: Bits of a value, 8 or 16.
        notes: Sentences on what was found, what was assumed and what was left out, for people.
        chosen: How its images were chosen from those of the split: "all", or in words as `sample` does.
    """

    name: str
    split: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...] | None
    licence: str
    origin: str
    fingerprint: str
    records: Records = dataclasses.field(repr=False, compare=False)
    skipped: int = 0
    fallback_for: str | None = None
    value_range: tuple[float, float] | None = None
    depth: int = 8
    notes: tuple[str, ...] = ()
    chosen: str = "all"
    attributes: Attributes | None = None

    @property
    def condition(self) -> Condition | None:
        """What batches hold beside images, None where they hold nothing."""
        return condition_of(self.num_classes, self.attributes, self.class_names)

    @property
    def modality(self) -> Modality:
        """What a sample of the set is."""
        return Images(self.image_shape, depth=self.depth)

    @property
    def num_images(self) -> int:
        """The number of images, without those skipped."""
        return self.records.count

    @property
    def amount(self) -> str:
        """The number of images in words."""
        return counted(self.num_images)

    @property
    def num_classes(self) -> int | None:
        """The number of classes, or None for an unlabelled set."""
        return None if self.class_names is None else len(self.class_names)

    def batches(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        start_step: int = 0,
        part: tuple[int, int] = (0, 1),
        mirror: bool = False,
    ) -> tf.data.Dataset:
        """Returns endless training batches, every image once a pass.

        Equal seeds give equal batches, and `start_step=k` gives exactly the batches from the k-th on: a run
        resumes on the data it would have seen.

        Args:
            batch_size: Images in each batch; at most the number of images.
            seed: Any integer.
            start_step: How many batches to leave out.
            part: `(index, parts)`: which of `parts` equal parts of each batch to return; the others are not decoded.
            mirror: Whether to turn each image left to right with probability 1/2, anew in each pass. What batch k has
                mirrored depends on (seed, k) alone.
        """
        self._require_batch(batch_size)
        batches = self.records.batches(batch_size, seed, start_step, part)
        if mirror:
            begin, end = part_bounds(batch_size, part)

            def mirrored(step, samples):
                chosen = uniform((batch_size,), stream((seed, step), "mirror"))[begin:end] < 0.5
                return _mirrored(chosen, *samples)

            batches = batches.enumerate(start_step).map(mirrored)
        return self._finished(batches)

    def passes(self, batch_size: int, *, seed: int = 0, mirror: bool = False) -> tf.data.Dataset:
        """Returns one shuffled pass of full batches, reshuffled each time it is iterated, for `model.fit`.

        With `mirror` each image is turned left to right with probability 1/2, anew each time.
        """
        self._require_batch(batch_size)
        batches = self.records.one_pass(batch_size, seed)
        if mirror:
            draws = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)

            def mirrored(samples, draw):
                return _mirrored(uniform((batch_size,), stream((draw, 0), "mirror")) < 0.5, *samples)

            batches = tf.data.Dataset.zip((batches, draws)).map(mirrored)
        return self._finished(batches)

    def in_order(self, batch_size: int) -> tf.data.Dataset:
        """Returns one pass in a fixed order, the smaller last batch included, for evaluation."""
        return self._finished(self.records.in_order(batch_size))

    def pairs(self, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yields the batches of `in_order` as arrays, images and their labels, rows of attributes or None."""
        for batch in self.in_order(batch_size):
            images, labels = (batch, None) if self.condition is None else batch
            yield np.asarray(images), None if labels is None else np.asarray(labels)

    def sample(self, num: int, seed: int = 0) -> "ImageSet":
        """Returns `num` of the images as a set, or this one if it has no more.

        Whatever looks at a part of a set takes it from here: the front of one that is sorted by class is none of the
        others. Equal seeds give equal images, in the order of this set. Every image has the same chance, and every
        class its share to within one image. Of sets too large to be held in memory that TFDS shuffled when it stored
        them, it is the front.
        """
        if num >= self.num_images:
            return self
        records, chosen = self.records.sample(num, seed)
        return dataclasses.replace(self, records=records, chosen=chosen)

    def first(self, num: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns the first images in [-1, 1], `(num, height, width, channels)`, and their labels or None.

        They may be of one class alone: `sample` comes before it where not all are wanted.
        """
        return next(self.pairs(min(num, self.num_images)))

    def require_labels(self) -> int:
        """Returns the number of classes.

        Raises:
            DataError: If the set is unlabelled.
        """
        if self.class_names is None:
            raise DataError(
                f"The images of '{self.name}' have no labels, which conditional models need. Put them in "
                "one sub-folder a class, give an .npz file with 'labels', or choose another `dataset`."
            )
        return len(self.class_names)

    def remarks(self, known: Collection[str] = ()) -> str:
        """Returns the notes but for those `known` already as a line, empty where there are none."""
        notes = [note for note in self.notes if note not in known]
        return f"{self.name} ({self.split}): {' '.join(notes)}" if notes else ""

    def describe(self) -> dict[str, Any]:
        """Returns the facts about the set as JSON takes them."""
        apart = ("records", "chosen", "attributes")
        names = [field.name for field in dataclasses.fields(self) if field.name not in apart]
        facts = {name: getattr(self, name) for name in names}
        if self.attributes is not None:
            facts["attributes"] = self.attributes.get_config()
        lists = {name: list(value) for name, value in facts.items() if isinstance(value, tuple)}
        return facts | lists | {"num_images": self.num_images, "num_classes": self.num_classes}

    def _require_batch(self, batch_size: int) -> None:
        if batch_size > self.num_images:
            raise DataError(
                f"`batch_size={batch_size}` is more than the {self.num_images} images of '{self.name}' "
                f"({self.split}). Give at most `batch_size={self.num_images}`, or more images."
            )

    def _finished(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        encode = self.modality.encode

        def finish(images, labels):
            return encode(images) if self.condition is None else (encode(images), labels)

        return prefetched(batches.map(finish))


def _mirrored(chosen: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns those images left to right that are chosen, booleans `(batch,)`."""
    # Choosing by index takes a tenth of the time of `tf.where`, which repeats the choice for every pixel.
    both = tf.stack([images, tf.reverse(images, [2])], axis=1)
    return tf.gather(both, tf.cast(chosen, tf.int32), axis=1, batch_dims=1), labels
