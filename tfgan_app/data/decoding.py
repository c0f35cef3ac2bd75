"""Encoded images to uint8 arrays: every format and colour mode becomes one shape."""

import collections
import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from absl import logging
from PIL import ExifTags, Image, ImageOps

from tfgan_app.base.errors import DataError

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MAX_PIXELS = 64_000_000  # a file of a few kilobytes can declare gigabytes of pixels
MAX_SKIPPED = 0.01  # of the images; beyond that, leaving images out would hide a fault of the dataset

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N"})
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_CHUNK = 64  # images a thread decodes at a time

File = str | os.PathLike[str] | bytes
T = TypeVar("T")


class Item(NamedTuple):
    """An encoded image: its name in messages, its file or bytes, and its label (0 where there is none)."""

    name: str
    file: File
    label: int


class Header(NamedTuple):
    """What an image file declares: its size in pixels, and whether it is greyscale."""

    height: int
    width: int
    grey: bool


def read_header(file: File) -> Header:
    """Reads the size and kind of an image without decoding it."""
    with _open(file) as image:
        # Asking a PNG for EXIF data decodes it whole, so that a PNG's rare orientation is not looked up here.
        turned = image.format != "PNG" and image.getexif().get(ExifTags.Base.Orientation) in _TURNED
        height, width = image.size if turned else image.size[::-1]
        return Header(height, width, image.mode in _GREY_MODES)


def read_image(file: File, channels: int, image_size: int | None = None) -> np.ndarray:
    """Decodes an image file; see `fit_image`."""
    with _open(file) as image:
        return fit_image(image, channels, image_size)


def fit_image(image: Image.Image, channels: int, image_size: int | None = None) -> np.ndarray:
    """Brings any decoded image into the shape that networks take.

    The EXIF orientation is applied, an animation gives its first frame, 16 bits become 8, and transparent
    pixels show white, as they would on paper. With `image_size` the largest centred square is resized to it,
    antialiased.

    Args:
        image: A PIL image of any mode but floating point.
        channels: 1 for greyscale, 3 for RGB.
        image_size: Height and width of the result; None keeps the image's own.

    Returns:
        uint8 array (H, W, channels).
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels")
    if image.mode.startswith("I"):  # PIL would clip 16 bits at 255
        image = Image.fromarray(np.clip(np.asarray(image, np.int64) // 257, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    if image_size is not None and image.size != (image_size, image_size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((image_size, image_size), Image.Resampling.LANCZOS)
    array = np.asarray(image)
    return array[..., np.newaxis] if channels == 1 else array


def read_all(read: Callable[[File], T], items: Iterable[Item]) -> Iterator[tuple[Item, T | Exception]]:
    """Reads items in a pool of threads, in order; what cannot be read comes with its exception instead."""

    def read_chunk(chunk: list[Item]) -> list[tuple[Item, T | Exception]]:
        return [(item, _result_or_error(read, item.file)) for item in chunk]

    items = iter(items)
    chunks = iter(lambda: list(itertools.islice(items, _CHUNK)), [])
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        # A bounded number of chunks at a time: `pool.map` alone would first draw every item of a stream.
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


def _open(file: File) -> Image.Image:
    # Named formats only: PIL's others include some that run external programs.
    image = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=_FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise ValueError(f"{width}x{height} pixels, over the limit of {MAX_PIXELS // 1_000_000} megapixels")
    return image


def _result_or_error(read: Callable[[File], T], file: File) -> T | Exception:
    try:
        return read(file)
    except Exception as error:  # PIL's decoders raise many kinds on damaged files
        return error


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    return str(error) or type(error).__name__
