"""DICOM files, as scanners write them: by pydicom, where it is installed.

The standard, https://www.dicomstandard.org/current, of which sections are cited as PS3.3.
"""

import io
import os
from typing import Any, NamedTuple

import numpy as np

from tfgan_app.modalities.values import Range, check_pixels

__all__ = ["HEAD", "Stored", "count_frames", "is_dicom", "read_frame"]

HEAD = 132  # bytes, after which DICM stands in the last four


class Stored(NamedTuple):
    """An image as it is stored.

    Attributes:
        values: `(height, width, channels)`, numbers of any type.
        own_range: The values that the file itself makes black and white, None where it says nothing of them.
        inverted: Whether those that are larger are darker.
    """

    values: np.ndarray
    own_range: Range | None = None
    inverted: bool = False


def is_dicom(head: bytes) -> bool:
    """Tells whether a file is DICOM by its first `HEAD` bytes."""
    return head[128:HEAD] == b"DICM"


def count_frames(file: str | os.PathLike[str] | bytes) -> int:
    """Returns how many images a DICOM file holds, slices or moments, without reading them."""
    found = _read(file, stop_before_pixels=True).get("NumberOfFrames")
    return max(1, int(found or 1))


def read_frame(file: str | os.PathLike[str] | bytes, number: int = 0) -> Stored:
    """Returns an image of a DICOM file.

    Greyscale is in the units of the rescaling that the file names, such as Hounsfield's, and its own range is that of
    the file's first window or table of values of interest (PS3.3, C.11.2). Colours become RGB.

    Raises:
        ValueError: If pydicom is not installed, or the file has no image.
    """
    facts = _read(file, stop_before_pixels=True)
    if "Rows" not in facts:
        raise ValueError("a DICOM file without an image")
    check_pixels(int(facts.Rows), int(facts.Columns))
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    # Of several frames this one alone is read.
    values: Any = pixel_array(io.BytesIO(file) if isinstance(file, bytes) else file, index=number)
    kind = facts.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        values = apply_color_lut(values, facts)
    if values.ndim == 3:  # of RGB all bits are used
        return Stored(values, (0.0, float(np.iinfo(values.dtype).max)))
    values = apply_modality_lut(values, facts)
    values, own_range = _windowed(values, facts)
    if own_range is None:
        if values.dtype == np.uint8 and facts.get("BitsStored") == 8:
            own_range = (0.0, 255.0)
        else:  # a type of which nobody takes the largest value for white
            values = values.astype(np.float32)
    return Stored(np.asarray(values)[..., np.newaxis], own_range, kind == "MONOCHROME1")


def _windowed(values: np.ndarray, facts: Any) -> tuple[np.ndarray, Range | None]:
    """Returns values and which of them are black and white, by the first table or window of a file."""
    if "VOILUTSequence" in facts and facts.VOILUTSequence:
        from pydicom.pixels import apply_voi

        return apply_voi(values, facts), (0.0, 2.0 ** int(facts.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    center, width = (_first(facts.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or width <= 0:
        return values, None
    function = facts.get("VOILUTFunction", "LINEAR")
    if function == "SIGMOID":  # equation C.11-4
        return 1.0 / (1.0 + np.exp(-4.0 * (values - center) / width)), (0.0, 1.0)
    # Equation C.11-2. A width of 1 is a threshold.
    if function != "LINEAR_EXACT":
        center, width = center - 0.5, max(width - 1.0, 1e-3)
    return values, (center - width / 2, center + width / 2)


def _first(value: Any) -> float | None:
    """Returns a number, the first of several, or None."""
    if value is None or isinstance(value, str):
        return None
    try:
        return float(value)
    except TypeError:
        return float(value[0]) if len(value) else None


def _read(file: str | os.PathLike[str] | bytes, **options: Any) -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise ValueError("a DICOM file: pip install 'tfgan_app[dicom]'") from error
    return pydicom.dcmread(io.BytesIO(file) if isinstance(file, bytes) else file, **options)
