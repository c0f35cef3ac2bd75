"""Many encoded images at once: read in parallel, of one size, with those that cannot be read counted and named."""

import collections
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from absl import logging
from PIL import Image

from tfgan_app.base.errors import DataError
from tfgan_app.base.sizes import (
    CHANNELS,
    CHANNELS_DEMAND,
    FITS,
    SIZE_DEMAND,
    ImageSize,
    Size,
    as_size,
    is_size,
    written,
)
from tfgan_app.base.table import is_range
from tfgan_app.modalities.image_files import File, Form, Header, read_values
from tfgan_app.modalities.values import LEVELS, Range, describe_range, measured, usual_range

MAX_SKIPPED = 0.01  # share of the images; leaving out more would hide a fault of the dataset

_CHUNK = 64  # images a thread decodes at a time
_MEASURED = 2000  # images of more than 8 bits whose values are looked at, to choose the range of all
_FLAT = 256 // 10  # levels; images that use no more are hardly what they were meant to be
_STRAY = 1e-3  # share of the pixels that may lie outside those levels: dust, hot pixels

T = TypeVar("T")


class Item(NamedTuple):
    """An encoded image.

    Attributes:
        name: What it is called in messages.
        file: Its file or bytes, or a function that returns the bytes, from within an archive.
        label: Its label, 0 where there is none.
    """

    name: str
    file: File | Callable[[], File]
    label: int

    @property
    def encoded(self) -> File:
        """What `image_files` reads."""
        return self.file() if callable(self.file) else self.file


def read_all(read: Callable[[File], T], items: Iterable[Item]) -> Iterator[tuple[Item, T | Exception]]:
    """Reads items in a pool of threads, in order; what cannot be read comes with its exception instead."""

    def read_chunk(chunk: list[Item]) -> list[tuple[Item, T | Exception]]:
        return [(item, _result_or_error(read, item)) for item in chunk]

    items = iter(items)
    chunks = iter(lambda: list(itertools.islice(items, _CHUNK)), [])
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        # Chunks go to the pool a bounded number at a time: `pool.map` alone would first draw every item of a stream.
        while window := list(itertools.islice(chunks, 4 * workers)):
            for results in pool.map(read_chunk, window):
                yield from results


def form_of(
    image_size: ImageSize | None = None,
    channels: int | None = None,
    value_range: Sequence[float] | None = None,
    fit: str = "crop",
    depth: int = 8,
) -> Form:
    """Returns what images are brought to; see `open_images` for the arguments.

    Raises:
        DataError: For what cannot be.
    """
    if image_size is not None and not is_size(image_size):
        raise DataError(f"`image_size={image_size}` must {SIZE_DEMAND}.")
    if fit not in FITS:
        raise DataError(f"`fit={fit}` is unknown. There are: {', '.join(FITS)}.")
    if channels not in (None, *CHANNELS):
        raise DataError(f"`channels={channels}` must {CHANNELS_DEMAND}.")
    if depth not in LEVELS:
        raise DataError(f"`depth={depth}` must be 8 or 16, the bits of a value.")
    if value_range is not None:
        if not is_range(value_range):
            raise DataError(f"`value_range={value_range}` must be two numbers, the first the smaller.")
        value_range = (float(value_range[0]), float(value_range[1]))
    return Form(channels, None if image_size is None else as_size(image_size), value_range, fit, depth)


def form_facts(form: Form, scaling: "Scaling") -> list[object]:
    """Returns what tells images from others of equal files and shapes; nothing of what was so in earlier versions."""
    return [one for one, usual in ((scaling.value_range, None), (form.fit, "crop"), (form.depth, 8)) if one != usual]


def common_size(headers: Iterable[Header], where: str) -> Size:
    """Returns the one (height, width) of all images.

    Raises:
        DataError: If they differ; the message lists the sizes and proposes an `image_size`.
    """
    sizes = collections.Counter((header.height, header.width) for header in headers)
    if len(sizes) == 1:
        return next(iter(sizes))
    seen = ", ".join(f"{written(size)} ({count})" for size, count in sizes.most_common(5))
    raise DataError(
        f"The images of {where} have {len(sizes)} different sizes (width x height): {seen}"
        f"{', ...' if len(sizes) > 5 else ''}. Crop and resize them all with, for example, "
        f"`image_size={min(map(min, sizes))}`."
    )


class Scaling(NamedTuple):
    """How the stored values of a set become levels of 8 or 16 bits.

    Attributes:
        value_range: The values that become black and white; None: 0 to 255, or 65535, as each format has it.
        notes: Clauses on what was chosen.
    """

    value_range: Range | None
    notes: tuple[str, ...] = ()


def choose_scaling(
    items: Iterable[Item],
    bits: Iterable[int],
    where: str,
    value_range: Range | None = None,
    read: Callable[[File], np.ndarray] = read_values,
    depth: int = 8,
) -> Scaling:
    """Chooses how the values of images are scaled, all of them alike: contrast between images is information.

    What is asked for holds. Otherwise images of 8 bits have the range of their format, and so has a set that mixes 8
    and 16 bits. Where all have more than 8 bits, the range is the `usual_range` of at most 2 000 of them, a seeded
    sample.

    Args:
        items: The images.
        bits: Of each, as `Header` has them.
        where: What the dataset is called in messages.
        value_range: The range asked for.
        read: Returns the stored values of an item's file.
        depth: Bits of a value that they become.

    Raises:
        DataError: If images of 8 bits are mixed with such of which the format does not say what is white.
    """
    if value_range is not None:
        return Scaling(value_range, (describe_range(value_range, depth=depth),))
    depths = collections.Counter(bits)
    deep = depths.total() - depths[8]
    if not deep:
        return Scaling(None)
    if depths[8]:
        if depths[32]:
            raise DataError(
                f"{depths[8]} images of {where} have 8 bits, and {depths[32]} have 32, of which nothing says which "
                "value is white. Save them alike, or give the `value_range` of all."
            )
        mixed = f"{deep} of the images have 16 bits and the others 8: 65535 and 255 are white in them"
        return Scaling(None, (mixed,))
    if deep > _MEASURED:
        # RandomState, unlike Generator, promises the same stream in every version of NumPy.
        chosen = set(np.random.RandomState(0).permutation(deep)[:_MEASURED].tolist())
        items = (item for number, item in enumerate(items) if number in chosen)
    found = [limits for _, limits in read_all(lambda file: measured(read(file)), items) if isinstance(limits, tuple)]
    if not found:  # each is named when it is decoded
        return Scaling(None)
    return scaling_of((min(low for low, _ in found), max(high for _, high in found)), 16 if depths[16] else 32, depth)


def scaling_of(found: Range, bits: int, depth: int = 8) -> Scaling:
    """Returns how values are scaled of which the smallest and the largest are known; `bits` as `Header` has them."""
    value_range = usual_range(found)
    as_stored = value_range == {8: (0, 255), 16: (0, 65535)}.get(bits)
    return Scaling(value_range, () if as_stored else (describe_range(value_range, found, depth),))


def doubts(images: np.ndarray) -> tuple[str, ...]:
    """Returns what makes one doubt that images were read as they were meant.

    They are levels of 8 or 16 bits, `(num, height, width, channels)`.
    """
    found = []
    if images.dtype == np.uint16:
        images = (images // 257).astype(np.uint8)
    share = np.cumsum(np.bincount(images.ravel(), minlength=256)) / images.size
    low, high = int(np.argmax(share > _STRAY)), int(np.argmax(share >= 1 - _STRAY))
    if len(images) > 1 and (images == images[0]).all():
        found.append(f"all {len(images)} images looked at are the same")
    if high - low < _FLAT:
        found.append(
            f"the images use the levels {low} to {high} of 0 to 255 only: they are almost uniform, or other values are "
            "meant to be black and white (`value_range=LOW,HIGH` says which)"
        )
    return tuple(found)


def report_skipped(
    skipped: dict[str, Exception],
    count: int,
    where: str,
    *,
    what: str = "images",
    fault: str = "cannot be read",
    remedy: str = "repair or remove these files",
    warn: bool = True,
) -> None:
    """Warns of images left out.

    Args:
        skipped: What was wrong with each image that cannot be read, by name.
        count: How many images there are, skipped ones included.
        where: What the dataset is called in messages.
        what: What is counted.
        fault: What those left out have in common.
        remedy: What to do where they are too many.
        warn: Whether to say it of few as well.

    Raises:
        DataError: If more than 1 % of the images cannot be read.
    """
    if not skipped:
        return
    shown = "; ".join(f"{name}: {_reason(error)}" for name, error in itertools.islice(skipped.items(), 3))
    message = f"{len(skipped)} of the {count} {what} of {where} {fault}: {shown}"
    message += "; ..." if len(skipped) > 3 else ""
    if len(skipped) > MAX_SKIPPED * count:
        raise DataError(f"{message}. That is more than {MAX_SKIPPED:.0%}: {remedy}.")
    if warn:
        logging.warning("%s. Going on without them.", message)


def _result_or_error(read: Callable[[File], T], item: Item) -> T | Exception:
    try:
        return read(item.encoded)
    except Exception as error:  # PIL's decoders raise many kinds on damaged files
        return error


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return str(error) or type(error).__name__
