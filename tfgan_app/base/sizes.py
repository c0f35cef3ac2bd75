"""Sizes and channels of images: WIDTHxHEIGHT as people write them, `(height, width)` as arrays have them."""

import operator
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

__all__ = [
    "CHANNELS",
    "CHANNELS_DEMAND",
    "FITS",
    "SIZE_DEMAND",
    "ImageSize",
    "Size",
    "as_size",
    "compact",
    "is_size",
    "written",
]

Size: TypeAlias = tuple[int, int]  # height and width

# What people give: the side of a square, `(height, width)`, or a text as `written` returns it.
ImageSize: TypeAlias = int | str | tuple[int, int] | list[int]

SIZE_DEMAND = "be a side of at least 1 pixel, WIDTHxHEIGHT or, in Python, (height, width)"

# Of images: 1 is greyscale, 3 RGB, 4 RGBA; others are bands.
CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8)
CHANNELS_DEMAND = "be 1 (greyscale), 3 (RGB), 4 (RGBA), or 2 or 5 to 8 (bands of arrays and TIFFs)"

# How an image gets a size of another aspect ratio.
FITS = ("crop", "pad", "stretch")

_TEXT = re.compile(r"(\d+)(?:x(\d+))?", re.IGNORECASE)


def as_size(image_size: ImageSize) -> Size:
    """Returns `(height, width)` of a size as people give it.

    Args:
        image_size: The side of a square, 64; `(height, width)`, as arrays have it; or a text, "64" or WIDTHxHEIGHT,
            "96x64", as commands have it.

    Raises:
        ValueError: If it is none of these, or a side is not at least 1.
    """
    if isinstance(image_size, str):
        match = _TEXT.fullmatch(image_size)
        width, height = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    elif isinstance(image_size, (tuple, list)):
        height, width = map(operator.index, image_size)
    else:
        height = width = operator.index(image_size)
    if min(height, width) < 1:
        raise ValueError(f"A size must be a side, (height, width) or WIDTHxHEIGHT. Received: {image_size!r}")
    return height, width


def is_size(image_size: Any) -> bool:
    """Tells whether `as_size` takes it."""
    try:
        as_size(image_size)
    except (TypeError, ValueError):
        return False
    return True


def compact(image_size: ImageSize) -> int | str:
    """Returns a size as settings and records hold it: the side of a square, otherwise WIDTHxHEIGHT."""
    height, width = as_size(image_size)
    return height if height == width else f"{width}x{height}"


def written(size: Sequence[int]) -> str:
    """Returns WIDTHxHEIGHT of `(height, width, ...)`."""
    return f"{size[1]}x{size[0]}"
