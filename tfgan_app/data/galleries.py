"""Pictures of any sizes by number: one each, or a source with its target; in memory where they fit, else as needed."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging

from tfgan_app.base.errors import DataError
from tfgan_app.base.sizes import Size, as_size, compact
from tfgan_app.data import records
from tfgan_app.data.decoding import MAX_SKIPPED, Item, Scaling, choose_scaling, read_all, report_skipped
from tfgan_app.modalities.image_files import File, Header, fit_image, read_header, read_image, read_values
from tfgan_app.modalities.values import Range

__all__ = ["Gallery", "Listing", "Look", "open_gallery"]


@dataclasses.dataclass(frozen=True)
class Listing:
    """Encoded pictures of one side, and how they are read.

    Attributes:
        items: The pictures.
        fact: From the number of one to what tells it from others without decoding it.
        header: What all of them declare, or None where each says it by itself.
        scaling: How stored values become 8 bits where that is known already.
        head: Returns the header of an item's file.
        read: As `read_image`.
        values: As `read_values`.
    """

    items: list[Item]
    fact: Callable[[int], object]
    header: Header | None = None
    scaling: Scaling | None = None
    head: Callable[[Any], Header] = read_header
    read: Callable[..., np.ndarray] = read_image
    values: Callable[[File], np.ndarray] = read_values

    def taken(self, numbers: Sequence[int]) -> "Listing":
        """Returns some of the pictures."""
        fact = self.fact
        return dataclasses.replace(
            self, items=[self.items[number] for number in numbers], fact=lambda number: fact(numbers[number])
        )


@dataclasses.dataclass(frozen=True)
class Look:
    """How pictures are to be seen.

    Attributes:
        image_size: Height and width that each target is brought to, or None.
        fit: How, as in `Form`; sources alike.
        channels: 1 or 3, or None: as they have.
        crop: Height and width of what is cut out of targets, or None for all of them.
        multiple: What sides of `crop`, and of what is kept of a whole picture, must be multiples of.
        ranges: The stored values that become black and white, of each side, or None.
    """

    image_size: Size | None = None
    fit: str = "crop"
    channels: int | None = None
    crop: int | None = None
    multiple: int = 1
    ranges: tuple[Range | None, ...] = (None, None)


class Gallery:
    """Pictures by number: tuples of uint8 arrays `(height, width, channels)`.

    Attributes:
        names: What each is called.
        sizes: `(height, width)` of the first picture of each tuple.
        window: `(height, width)` of what is cut out of the first picture of each.
        scales: How many times as large each picture of a tuple is as its first.
        channels: Of each picture of a tuple.
        value_ranges: The stored values that became black and white in each.
        fingerprint: SHA-256 in hex of what they hold; of names and sizes where they are too large for memory.
        skipped: How many were left out.
        notes: Clauses on what was found.
    """

    def __init__(
        self,
        names: list[str],
        sizes: list[Size],
        window: Size,
        scales: tuple[int, ...],
        channels: tuple[int, ...],
        scalings: tuple[Scaling, ...],
        fetch: Callable[[int], tuple[np.ndarray, ...]],
        fingerprint: str,
        skipped: int,
        notes: list[str],
    ) -> None:
        self.names = names
        self.sizes = sizes
        self.window = window
        self.scales = scales
        self.channels = channels
        self.value_ranges = tuple(scaling.value_range for scaling in scalings)
        self.fingerprint = fingerprint
        self.skipped = skipped
        self.notes = [*notes, *dict.fromkeys(note for scaling in scalings for note in scaling.notes)]
        self._fetch = fetch

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
        return self._fetch(number)


def open_gallery(
    listings: tuple[Listing, ...],
    where: str,
    look: Look,
    *,
    halves: bool = False,
    reverse: bool = False,
    what: str = "pictures",
) -> Gallery:
    """Opens pictures, leaving out those that cannot be used.

    Args:
        listings: One, or sources and targets of which those of equal numbers belong together.
        where: What they are called in messages.
        look: How they are to be seen.
        halves: Whether each picture holds two, side by side.
        reverse: Whether the right half comes first.
        what: What is counted in messages.

    Raises:
        DataError: If more than 1 % cannot be used, or sizes differ without anything said of them.
    """
    problems: dict[str, Exception] = {}
    report = functools.partial(_report, problems, len(listings[0].items), where, what, look)
    names = [item.name for item in listings[0].items]
    headers = _headers(listings, problems)
    rows = [number for number, row in enumerate(headers) if None not in row]
    drawn = {number: _drawn_sizes(headers[number], halves) for number in rows}
    scales = _common_scale(drawn.values())
    for name, asked in (("image_size", look.image_size), ("crop", look.crop)):
        if asked is not None and any(side % scales[-1] for side in as_size(asked)):
            raise DataError(
                f"`{name}={compact(asked)}` must be a multiple of {scales[-1]}: targets of {where} are that many times "
                "as large as their sources."
            )
    sizes: dict[int, Size] = {}
    for number in rows:
        try:
            sizes[number] = _seen(drawn[number], scales, look, halves and headers[number][0].width % 2)
        except ValueError as error:
            problems[names[number]] = error
    report()
    if not sizes:
        raise DataError(f"No {what} of {where} can be used.")
    window, notes = _window(sizes.values(), scales[-1], look, where)
    rows = list(sizes)
    kinds = ("sources", "targets") if len(listings) > 1 else (what,)
    channels = []
    for side, kind in enumerate(kinds):
        grey = sum(headers[number][side].grey for number in rows)
        channels.append(look.channels or (1 if grey == len(rows) else 3))
        notes += _mixed(grey, len(rows), channels[-1], kind, where, strict=what == "pairs" and look.channels is None)
    scalings = tuple(
        listing.scaling
        or choose_scaling(
            [listing.items[number] for number in rows],
            [headers[number][side].bits for number in rows],
            where,
            look.ranges[side],
            listing.values,
        )
        for side, listing in enumerate(listings)
    )
    if halves:
        channels, scalings = 2 * channels, 2 * scalings
    sides = _image_sizes(look.image_size, scales)

    def read(number: int) -> tuple[np.ndarray, ...]:
        """Decodes the pictures of a number of the listings."""
        found = [
            listing.read(
                listing.items[number].encoded,
                channels=channels[side],
                image_size=None if halves else sides[side],
                value_range=scalings[side].value_range,
                fit=look.fit,
            )
            for side, listing in enumerate(listings)
        ]
        if halves:
            middle = found[0].shape[1] // 2
            parts = found[0][:, :middle], found[0][:, middle:]
            found = [
                fit_image(part, channels[0], sides[0], look.fit) for part in (reversed(parts) if reverse else parts)
            ]
        expected = [
            (scale * sizes[number][0], scale * sizes[number][1], depth)
            for scale, depth in zip(scales, channels, strict=True)
        ]
        for picture, shape in zip(found, expected, strict=True):
            if picture.shape != shape:
                raise ValueError(f"decodes to shape {picture.shape} instead of {shape}")
        return tuple(found)

    num_bytes = sum(
        sizes[number][0] * sizes[number][1] * sum(s * s * c for s, c in zip(scales, channels, strict=True))
        for number in rows
    )
    if num_bytes <= records.MEMORY_LIMIT:
        rows, fetch, fingerprint = _held(read, rows, names, problems)
        report()
    else:
        fetch = _as_needed(read, rows, names, where)
        facts = (
            *(listing.fact(number) for number in rows for listing in listings),
            scalings,
            look.image_size and compact(look.image_size),
            halves,
            reverse,
            *([] if look.fit == "crop" else [look.fit]),
        )
        fingerprint = hashlib.sha256(repr(facts).encode(errors="surrogateescape")).hexdigest()
    if problems:
        report(last=True)
    return Gallery(
        [names[number] for number in rows],
        [sizes[number] for number in rows],
        window,
        scales,
        tuple(channels),
        scalings,
        fetch,
        fingerprint,
        len(problems),
        notes,
    )


def _headers(listings: tuple[Listing, ...], problems: dict[str, Exception]) -> list[list[Any]]:
    """Returns the headers of each number, None for what cannot be read."""
    found: list[list[Header | None]] = []
    for listing in listings:
        if listing.header is not None:
            found.append([listing.header for _ in listing.items])
            continue
        own: list[Header | None] = []
        names = (item.name for item in listings[0].items)
        for (item, header), name in zip(read_all(listing.head, listing.items), names, strict=True):
            if isinstance(header, Exception):
                reason = header if item.name == name else ValueError(f"{item.name}: {_said(header)}")
                problems.setdefault(name, reason)
            own.append(header if isinstance(header, Header) else None)
        found.append(own)
    return [list(row) for row in zip(*found, strict=True)]


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _drawn_sizes(headers: list[Header], halves: bool) -> tuple[Size, ...]:
    if halves:
        return ((headers[0].height, headers[0].width // 2),) * 2
    return tuple((header.height, header.width) for header in headers)


def _common_scale(sizes: Any) -> tuple[int, ...]:
    """Returns how many times as large each picture is as the first of its tuple, in most of them."""
    found: collections.Counter[int] = collections.Counter()
    length = 1
    for row in sizes:
        length = len(row)
        (height, width), last = row[0], row[-1]
        if height and width and last[0] // height == last[1] // width > 0 and not (last[0] % height or last[1] % width):
            found[last[0] // height] += 1
    scale = found.most_common(1)[0][0] if found else 1
    return (1,) if length == 1 else (1, scale)


def _seen(drawn: tuple[Size, ...], scales: tuple[int, ...], look: Look, odd: int) -> Size:
    """Returns the size of the first picture of a tuple as it is seen.

    Raises:
        ValueError: If the tuple cannot be used.
    """
    if odd:
        raise ValueError("its width is odd, so that it has no halves")
    first, last = drawn[0], drawn[-1]
    if last != (scales[-1] * first[0], scales[-1] * first[1]):
        expected = f"{scales[-1] * first[1]}x{scales[-1] * first[0]}"
        raise ValueError(
            f"its source has {first[1]}x{first[0]} pixels and its target {last[1]}x{last[0]}; expected {expected}"
        )
    if look.image_size is not None:
        first = look.image_size[0] // scales[-1], look.image_size[1] // scales[-1]
    target = (scales[-1] * first[0], scales[-1] * first[1])
    least = look.crop or look.multiple
    if min(target) < least:
        raise _TooSmallError(f"{target[1]}x{target[0]} pixels, smaller than {least}x{least}")
    return first


class _TooSmallError(ValueError):
    """A picture that is smaller than what is cut out of it."""


def _window(sizes: Any, scale: int, look: Look, where: str) -> tuple[Size, list[str]]:
    """Returns the size of what is cut out of the first picture of each tuple, and clauses on it."""
    counts = collections.Counter(sizes)
    if look.crop is not None:
        side = look.crop // scale
        own = {size: number for size, number in counts.items() if size != (side, side)}
        if not own:
            return (side, side), []
        (least, most) = min(own), max(own)
        shown = f"{scale * least[1]}x{scale * least[0]}" + (
            f" to {scale * most[1]}x{scale * most[0]}" if len(own) > 1 else ""
        )
        note = (
            f"{look.crop}x{look.crop} pixels are cut out of each, from {shown}: anywhere in training, else the middle"
        )
        return (side, side), [note]
    if len(counts) > 1:
        seen = ", ".join(
            f"{scale * width}x{scale * height} ({number})" for (height, width), number in counts.most_common(5)
        )
        least_side = scale * min(map(min, counts)) // look.multiple * look.multiple
        raise DataError(
            f"The pictures of {where} have {len(counts)} different sizes (width x height): {seen}"
            f"{', ...' if len(counts) > 5 else ''}. Cut equal parts out of them with, for example, `crop={least_side}`"
            f", or resize them all with `image_size={least_side}`."
        )
    height, width = next(iter(counts))
    cut = (height // look.multiple * look.multiple, width // look.multiple * look.multiple)
    if cut == (height, width):
        return cut, []
    return cut, [f"of {width}x{height} pixels {cut[1]}x{cut[0]} are used, multiples of {look.multiple}"]


def _mixed(grey: int, count: int, channels: int, kind: str, where: str, strict: bool) -> list[str]:
    """Returns a clause on pictures of other channels than are taken.

    Raises:
        DataError: If `strict`, and they are more than 1 %.
    """
    if grey in (0, count) and (channels == 1) == (grey == count):
        return []
    if channels == 1:
        return [f"{count - grey} of {count} {kind} lose their colours"]
    if strict and min(grey, count - grey) > MAX_SKIPPED * count:
        raise DataError(
            f"{grey} of the {count} {kind} of {where} are greyscale and the others have colours. Give the `channels` "
            "of all: 1 or 3."
        )
    return [f"{grey} of {count} {kind} are greyscale, taken in three channels"]


def _image_sizes(image_size: Size | None, scales: tuple[int, ...]) -> tuple[Size | None, ...]:
    if image_size is None:
        return (None,) * len(scales)
    height, width = image_size
    return tuple((height * scale // scales[-1], width * scale // scales[-1]) for scale in scales)


def _held(
    read: Callable[[int], tuple[np.ndarray, ...]], rows: list[int], names: list[str], problems: dict[str, Exception]
) -> tuple[list[int], Callable[[int], tuple[np.ndarray, ...]], str]:
    """Decodes all into memory, leaving out what cannot be decoded."""
    kept, held = [], []
    digest = hashlib.sha256()
    items = [Item(names[number], functools.partial(_same, number), number) for number in rows]
    for item, pictures in read_all(read, items):  # type: ignore[arg-type]  # numbers in place of files
        if isinstance(pictures, Exception):
            problems[item.name] = pictures
            continue
        kept.append(item.label)
        held.append(pictures)
        for picture in pictures:
            digest.update(repr(picture.shape).encode())
            digest.update(np.ascontiguousarray(picture).data)
    return kept, held.__getitem__, digest.hexdigest()


def _same(number: Any) -> Any:
    return number


def _as_needed(
    read: Callable[[int], tuple[np.ndarray, ...]], rows: list[int], names: list[str], where: str
) -> Callable[[int], tuple[np.ndarray, ...]]:
    def read_or_next(number: int) -> tuple[np.ndarray, ...]:
        # A fault that a header does not show, such as a truncated file, must not end a run days later.
        for row in itertools.chain(rows[number:], rows[:number]):
            with contextlib.suppress(Exception):
                return read(row)
            logging.log_first_n(logging.WARNING, "%s of %s cannot be read; taking the next.", 10, names[row], where)
        raise DataError(f"No picture of {where} can be read any more.")

    return read_or_next


def _report(problems: dict[str, Exception], count: int, where: str, what: str, look: Look, last: bool = False) -> None:
    """Refuses too many pictures that cannot be used, and at `last` warns of a few."""
    remedy = "repair or remove these files"
    if any(isinstance(error, _TooSmallError) for error in problems.values()):
        remedy = f"give a smaller `crop` than {look.crop}, or remove them" if look.crop else "remove them"
    report_skipped(problems, count, where, what=what, fault="cannot be used", remedy=remedy, warn=last)
