"""Many encoded images at once: read in parallel, of one size, with those that cannot be read counted and named."""

import collections
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from absl import logging
from PIL import Image

from tfgan_app.base.errors import DataError
from tfgan_app.modalities.image_files import File, Header

MAX_SKIPPED = 0.01  # share of the images; leaving out more would hide a fault of the dataset

_CHUNK = 64  # images a thread decodes at a time

T = TypeVar("T")


class Item(NamedTuple):
    """An encoded image.

    Attributes:
        name: What it is called in messages.
        file: Its file or bytes, or a function that returns the bytes, from within an archive.
        label: Its label, 0 where there is none.
    """

    name: str
    file: File | Callable[[], bytes]
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


def common_size(headers: Iterable[Header], where: str) -> tuple[int, int]:
    """Returns the one (height, width) of all images.

    Raises:
        DataError: If they differ; the message lists the sizes and proposes an `image_size`.
    """
    sizes = collections.Counter((header.height, header.width) for header in headers)
    if len(sizes) == 1:
        return next(iter(sizes))
    seen = ", ".join(f"{width}x{height} ({count})" for (height, width), count in sizes.most_common(5))
    raise DataError(
        f"The images of {where} have {len(sizes)} different sizes (width x height): {seen}"
        f"{', ...' if len(sizes) > 5 else ''}. Crop and resize them all with, for example, "
        f"`image_size={min(map(min, sizes))}`."
    )


def report_skipped(skipped: dict[str, Exception], count: int, where: str) -> None:
    """Warns of images left out.

    Args:
        skipped: What was wrong with each image that cannot be read, by name.
        count: How many images there are, skipped ones included.
        where: What the dataset is called in messages.

    Raises:
        DataError: If more than 1 % of the images cannot be read.
    """
    if not skipped:
        return
    shown = "; ".join(f"{name}: {_reason(error)}" for name, error in itertools.islice(skipped.items(), 3))
    message = f"{len(skipped)} of the {count} images of {where} cannot be read: {shown}"
    message += "; ..." if len(skipped) > 3 else ""
    if len(skipped) > MAX_SKIPPED * count:
        raise DataError(f"{message}. That is more than {MAX_SKIPPED:.0%}: repair or remove these files.")
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
