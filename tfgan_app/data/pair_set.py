"""PairSet: sources and targets of one split, and how a run draws batches of them."""

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfgan_app.base.errors import DataError
from tfgan_app.base.sizes import Size
from tfgan_app.data.degradations import generator
from tfgan_app.data.galleries import Gallery
from tfgan_app.data.records import Indexed, mapped, part_bounds, prefetched, through_python
from tfgan_app.data.trees import counted
from tfgan_app.modalities import Images

__all__ = ["PairSet", "Reader"]

_PLACES = 1  # the first of the streams that places and mirrors are drawn from; that of degradations is 0


@dataclasses.dataclass(frozen=True)
class Reader:
    """Makes a source and a target of the pictures of a number.

    Whatever it draws depends on a seed and the number of the draw alone (Philox, Salmon et al. 2011,
    https://doi.org/10.1145/2063384.2063405).

    Attributes:
        galleries: One of pictures or pairs, or one of each side.
        degradation: What makes a source of the first gallery's pictures; None where sources are there.
    """

    galleries: tuple[Gallery, ...]
    degradation: Any = None

    @property
    def shapes(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """`(height, width, channels)` of the sources and of the targets of batches."""
        first, last = self.galleries[0], self.galleries[-1]
        source = (*first.window, first.channels[0])
        if self.degradation is not None:
            scale = self.degradation.scale
            source = (source[0] // scale, source[1] // scale, self.degradation.channels(source[2]))
        height, width = last.window
        scale = last.scales[-1]
        return source, (scale * height, scale * width, last.channels[-1])

    def batch(
        self, numbers: np.ndarray, indices: tuple[np.ndarray, ...], seed: int, anywhere: bool, mirror: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns sources and targets, uint8 `(batch, height, width, channels)`.

        Args:
            numbers: The numbers of the draws, `(batch,)`.
            indices: Of pictures, `(batch,)` in each gallery.
            seed: Any integer.
            anywhere: Whether to cut out anywhere rather than the middle.
            mirror: Whether to turn each left to right with probability 1/2; partners alike.
        """
        found = []
        for number, *row in zip(numbers.tolist(), *(part.tolist() for part in indices), strict=True):
            cut = []
            for side, (gallery, index) in enumerate(zip(self.galleries, row, strict=True)):
                drawn = generator(seed, number, _PLACES + side).random(3).tolist() if anywhere or mirror else ()
                cut.append(_cut(gallery[index], gallery.window, drawn, anywhere, mirror))
            found.append(self._pair(cut, seed, number))
        sources, targets = zip(*found, strict=True)
        return np.stack(sources), np.stack(targets)

    def whole(self, index: int, back: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns a whole source and its target, None where it has none; with `back`, a picture of the other side."""
        if back:
            return self.galleries[-1][index][0], None
        pictures = self.galleries[0][index]
        if self.degradation is None:
            return pictures[0], pictures[1] if len(pictures) > 1 else None
        height, width = (side // self.degradation.scale * self.degradation.scale for side in pictures[0].shape[:2])
        source, target = self._pair([(pictures[0][:height, :width],)], 0, index)
        return source, None if len(self.galleries) > 1 else target

    def _pair(self, cut: list[tuple[np.ndarray, ...]], seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        source, target = cut[0][0], cut[-1][-1]
        if self.degradation is not None:
            source = self.degradation(np.ascontiguousarray(source), generator(seed, number, 0))
        return source, target


@dataclasses.dataclass(frozen=True)
class PairSet:
    """Sources and targets of one split, and the facts about them that a run records.

    Batches are `(source, target)`, float32 `(batch, height, width, channels)` in [-1, 1] each. What is cut out,
    mirrored and degraded is drawn by a seed and the number of the draw alone: batch k is a pure function of (seed, k).

    Attributes:
        name: The dataset's name, or the name of the folder or file it was read from.
        split: The split as asked for, with its slice.
        source_shape: `(height, width, channels)` of the sources of batches.
        target_shape: `(height, width, channels)` of their targets.
        paired: Whether each source has its target; else they are two sides, each in an order of its own.
        licence: The licence of the pictures, as far as it is known.
        origin: Where they come from: a URL or a few words.
        fingerprint: SHA-256 in hex of the decoded pictures; of names and sizes where they are too large to be held in
            memory.
        skipped: How many were left out because they cannot be used.
        fallback_for: The dataset that this one stands in for, or None.
        value_range: The stored values that became black and white, or None where each format's own did; such a thing
            of sources and one of targets where they differ.
        notes: Sentences on what was found, what was assumed and what was left out, for people.
        chosen: How they were chosen from those of the split: "all", or in words as `sample` does.
        degrade: What makes the sources of the targets, or None where they are stored.
    """

    name: str
    split: str
    source_shape: tuple[int, int, int]
    target_shape: tuple[int, int, int]
    paired: bool
    licence: str
    origin: str
    fingerprint: str
    reader: Reader = dataclasses.field(repr=False, compare=False)
    records: tuple[Indexed, ...] = dataclasses.field(repr=False, compare=False)
    skipped: int = 0
    fallback_for: str | None = None
    value_range: Any = None
    notes: tuple[str, ...] = ()
    chosen: str = "all"
    degrade: str | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of the targets, which are what a translator makes."""
        return self.target_shape

    @property
    def modality(self) -> Images:
        """What a target is."""
        return Images(self.target_shape)

    @property
    def num_images(self) -> int:
        """The number of pairs; of two sides, the number of pictures of the larger one."""
        return max(part.count for part in self.records)

    @property
    def amount(self) -> str:
        """The number of pairs in words, or those of two sides."""
        if self.paired:
            return counted(self.num_images, "pair")
        return " and ".join(
            counted(part.count, side) for part, side in zip(self.records, ("source", "target"), strict=True)
        )

    @property
    def num_classes(self) -> None:
        """None, as pairs have no labels."""
        return None

    @property
    def class_names(self) -> None:
        """None, as pairs have no labels."""
        return None

    def batches(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        start_step: int = 0,
        part: tuple[int, int] = (0, 1),
        mirror: bool = False,
    ) -> tf.data.Dataset:
        """Returns endless training batches, every pair once a pass, each side's pictures once a pass of its own.

        Equal seeds give equal batches, and `start_step=k` gives exactly the batches from the k-th on: a run resumes on
        the data it would have seen.

        Args:
            batch_size: Pairs in each batch; at most the number of pairs.
            seed: Any integer.
            start_step: How many batches to leave out.
            part: `(index, parts)`: which of `parts` equal parts of each batch to return; the others are not decoded.
            mirror: Whether to turn each picture left to right with probability 1/2, partners alike, anew in each pass.
        """
        self._require_batch(batch_size)
        # Another order for each side.
        orders = [
            records.batches(batch_size, seed + side, start_step, part) for side, records in enumerate(self.records)
        ]
        begin, end = part_bounds(batch_size, part)

        def numbered(step, indices):
            return step * batch_size + tf.range(begin, end, dtype=tf.int64), indices

        indices = tf.data.Dataset.zip(tuple(orders)).enumerate(start_step).map(numbered)
        return self._read(indices, end - begin, seed, anywhere=True, mirror=mirror)

    def passes(self, batch_size: int, *, seed: int = 0, mirror: bool = False) -> tf.data.Dataset:
        """Returns one shuffled pass of full batches, reshuffled each time it is iterated, for `model.fit`.

        Of two sides the larger is passed once, and the other as often as that takes. What is cut out, mirrored and
        degraded is drawn anew each time.
        """
        self._require_batch(batch_size)
        orders = [
            tf.data.Dataset.range(records.count)
            .shuffle(records.count, seed + side, reshuffle_each_iteration=True)
            .repeat()
            .map(records.fetch)
            for side, records in enumerate(self.records)
        ]
        batches = self.num_images // batch_size
        indices = tf.data.Dataset.zip(tuple(orders)).batch(batch_size, drop_remainder=True).take(batches)
        draws = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)

        def numbered(draw, indices):
            return draw * batch_size + tf.range(batch_size, dtype=tf.int64), indices

        indices = tf.data.Dataset.zip((draws, indices)).map(numbered)
        pairs = self._read(indices, batch_size, seed, anywhere=True, mirror=mirror)
        return pairs.apply(tf.data.experimental.assert_cardinality(batches))

    def in_order(self, batch_size: int) -> tf.data.Dataset:
        """Returns one pass in a fixed order, the smaller last batch included, for evaluation.

        The middle is cut out, and degraded by what (0, number of the picture) draws. Of two sides the smaller begins
        anew where it ends.
        """

        def numbered(position):
            indices = tuple(records.fetch(position % records.count) for records in self.records)
            return indices[0], indices

        whole, rest = divmod(self.num_images, batch_size)
        order = tf.data.Dataset.range(self.num_images)
        full = order.batch(batch_size, drop_remainder=True).map(numbered)
        pairs = self._read(full, batch_size, 0, anywhere=False, mirror=False)
        if rest:
            last = order.skip(whole * batch_size).batch(rest, drop_remainder=True).map(numbered)
            pairs = pairs.concatenate(self._read(last, rest, 0, anywhere=False, mirror=False))
        return pairs

    def pairs(self, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the batches of `in_order` as arrays."""
        for source, target in self.in_order(batch_size):
            yield np.asarray(source), np.asarray(target)

    def first(self, num: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first sources and targets in [-1, 1], `(num, height, width, channels)`."""
        return next(self.pairs(min(num, self.num_images)))

    def sample(self, num: int, seed: int = 0) -> "PairSet":
        """Returns `num` of the pairs as a set, or this one if it has no more; of two sides, `num` of each.

        Equal seeds give equal pairs, in the order of this set. They are degraded as in this set.
        """
        if num >= self.num_images:
            return self
        parts, chosen = zip(
            *(part.sample(num, seed + side) if num < part.count else (part, self.chosen)
              for side, part in enumerate(self.records)),
            strict=True,
        )  # fmt: skip
        longest = max(range(len(parts)), key=lambda side: self.records[side].count)
        return dataclasses.replace(self, records=parts, chosen=chosen[longest])

    def whole(self, back: bool = False) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
        """Yields the name, source and target of each pair, whole pictures of uint8, one at a time.

        They are resized where the set is, and cut only to what a degradation's scale divides. Of two sides, the sources
        come without targets; with `back`, the targets as what is given.
        """
        if back and self.paired:
            raise DataError("`back=True` is of two sides alone: open pairs with `reverse=True`.")
        side = -1 if back else 0
        gallery, records = self.reader.galleries[side], self.records[side]
        for index in np.asarray(records.fetch(tf.range(records.count, dtype=tf.int64))).tolist():
            yield gallery.names[index], *self.reader.whole(index, back)

    def remarks(self, known: Collection[str] = ()) -> str:
        """Returns the notes but for those `known` already as a line, empty where there are none."""
        notes = [note for note in self.notes if note not in known]
        return f"{self.name} ({self.split}): {' '.join(notes)}" if notes else ""

    def describe(self) -> dict[str, Any]:
        """Returns the facts about the set as JSON takes them."""
        names = {field.name for field in dataclasses.fields(self)} - {"reader", "records", "chosen"}
        facts = {name: getattr(self, name) for name in sorted(names)}
        counts = {"num_sources": self.records[0].count, "num_targets": self.records[-1].count}
        more = {"image_shape": self.image_shape, "num_images": self.num_images, "num_classes": None}
        return _as_json(facts | more | counts)

    def _require_batch(self, batch_size: int) -> None:
        if batch_size > self.num_images:
            what = "pairs" if self.paired else "pictures"
            raise DataError(
                f"`batch_size={batch_size}` is more than the {self.num_images} {what} of '{self.name}' "
                f"({self.split}). Give at most `batch_size={self.num_images}`, or more {what}."
            )

    def _read(
        self, indices: tf.data.Dataset, batch_size: int, seed: int, anywhere: bool, mirror: bool
    ) -> tf.data.Dataset:
        """Returns what is read of `(numbers, indices)`."""
        specs = [tf.TensorSpec(shape, tf.uint8) for shape in (self.source_shape, self.target_shape)]

        def read(numbers, *parts):
            return self.reader.batch(numbers, parts, seed, anywhere, mirror)

        def make(numbers, parts):
            numbers = tf.ensure_shape(numbers, (batch_size,))
            found = through_python(read, [numbers, *parts], specs)
            return tuple(Images(spec.shape).encode(images) for images, spec in zip(found, specs, strict=True))

        return prefetched(mapped(indices, make))


def _cut(
    pictures: tuple[np.ndarray, ...], window: Size, drawn: Sequence[float], anywhere: bool, mirror: bool
) -> tuple[np.ndarray, ...]:
    """Cuts equal parts out of partners, a `window` of the first and as much more of larger ones.

    `drawn` are three numbers in [0, 1): of the height, of the width, and of the mirror.
    """
    height, width = pictures[0].shape[:2]
    free = height - window[0], width - window[1]
    if anywhere:
        top, left = int((free[0] + 1) * drawn[0]), int((free[1] + 1) * drawn[1])
    else:
        top, left = free[0] // 2, free[1] // 2
    found = []
    for picture in pictures:
        scale = picture.shape[0] // height
        rows = slice(scale * top, scale * (top + window[0]))
        columns = slice(scale * left, scale * (left + window[1]))
        part = picture[rows, columns]
        found.append(part[:, ::-1] if mirror and drawn[2] < 0.5 else part)
    return tuple(found)


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(inner) for name, inner in value.items()}
    return [_as_json(inner) for inner in value] if isinstance(value, (tuple, list)) else value
