"""TIFF files that Pillow does not read whole, of several bands or unusual types: by tifffile, where it is installed."""

import io
import os
from typing import Any

import numpy as np

from tfgan_app.modalities.values import check_pixels

__all__ = ["count_tiff_pages", "extra_bands", "is_tiff", "read_bands"]

_SAMPLES, _KIND, _EXTRA = 277, 262, 338  # tags: samples per pixel, photometric interpretation, extra samples
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # samples of a colour, by photometric interpretation
_ALPHA = (1, 2)  # kinds of extra samples that are opacity


def is_tiff(head: bytes) -> bool:
    """Tells whether a file is a TIFF by its first bytes."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def extra_bands(image: Any) -> int | None:
    """Returns the samples of each pixel where some are neither colours nor opacity, which Pillow passes over.

    Args:
        image: An image that Pillow opened.
    """
    tags = getattr(image, "tag_v2", None)
    if image.format != "TIFF" or tags is None:
        return None
    samples, extra = int(tags.get(_SAMPLES, 1)), tags.get(_EXTRA, ())
    known = _COLOURS.get(tags.get(_KIND, 1), 1) + sum(kind in _ALPHA for kind in extra)
    return samples if samples > known else None


def read_bands(file: str | os.PathLike[str] | bytes, number: int = 0) -> np.ndarray:
    """Returns the values of a page of a TIFF as they are stored, `(height, width, bands)`.

    Raises:
        ValueError: If tifffile is not installed, or the page is no image.
    """
    with _opened(file) as tiff:
        page: Any = tiff.pages[number]
        check_pixels(page.imagelength, page.imagewidth)
        values, axes = np.asarray(page.asarray()), page.axes
    if axes == "SYX":  # stored plane after plane
        values = np.moveaxis(values, 0, -1)
    elif axes == "YX":
        values = values[..., np.newaxis]
    elif axes != "YXS":
        raise ValueError(f"a TIFF page of axes {axes} and shape {values.shape}, which is no image")
    return values


def count_tiff_pages(file: str | os.PathLike[str] | bytes) -> int:
    """Returns how many pages a TIFF has; raises as `read_bands`."""
    with _opened(file) as tiff:
        return len(tiff.pages)


def _opened(file: str | os.PathLike[str] | bytes) -> Any:
    try:
        import tifffile
    except ImportError as error:
        raise ValueError(
            "a TIFF of several bands, of a kind that Pillow does not read, or damaged: pip install 'tfgan_app[tiff]' "
            "reads more kinds"
        ) from error
    return tifffile.TiffFile(io.BytesIO(file) if isinstance(file, bytes) else file)
