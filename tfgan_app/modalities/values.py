"""Which stored values are black and white where 8 bits do not say: 12 bits in 16, floats, signed integers."""

import numpy as np

__all__ = [
    "LEVELS",
    "MAX_PIXELS",
    "Range",
    "TooLargeError",
    "check_pixels",
    "describe_range",
    "measured",
    "scaled",
    "usual_range",
]

Range = tuple[float, float]

MAX_PIXELS = 64_000_000  # a file of a few kilobytes can declare gigabytes of pixels

LEVELS = {8: np.uint8, 16: np.uint16}  # the types of stored values, by their bits

# What cameras, scanners and array libraries fill: 1, 8, 10, 12, 14 and 16 bits, fractions, and a network's own range.
_USUAL = ((0, 1), (-1, 1), (0, 255), (0, 1023), (0, 4095), (0, 16383), (0, 65535))
_TOLERANCE = 1e-3  # of a range's width: interpolation and rounding leave values a little outside
_FILLED = 0.1  # share of a usual range that values must span to be taken for it
_SMALLEST = 1e-30  # difference of values that are not taken for equal
_CHUNK = 2**24  # values converted at a time


class TooLargeError(ValueError):
    """More pixels than are decoded."""


def check_pixels(height: int, width: int) -> None:
    """Refuses images of more than `MAX_PIXELS`.

    Raises:
        TooLargeError: If it is one.
    """
    if width * height > MAX_PIXELS:
        raise TooLargeError(f"{width}x{height} pixels, over the limit of {MAX_PIXELS // 1_000_000} megapixels")


def measured(values: np.ndarray) -> Range:
    """Returns the smallest and the largest of values.

    Raises:
        ValueError: If some are NaN or infinite, saying how many.
    """
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int(np.count_nonzero(~np.isfinite(values)))
        raise ValueError(f"{bad} of its {values.size} values are NaN or infinite")
    return float(low), float(high)


def usual_range(found: Range) -> Range:
    """Returns what to scale from, given the smallest and the largest value of a whole set.

    That is the first of the usual ranges (0 to 1, -1 to 1, 0 to 255, 1023, 4095, 16383, 65535) that holds all values
    and of which they span more than a tenth; else what was found itself.
    """
    low, high = found
    flat = high - low < _SMALLEST
    for black, white in _USUAL:
        slack = _TOLERANCE * (white - black)
        if black - slack <= low and high <= white + slack and (high - low > _FILLED * (white - black) or flat):
            return float(black), float(white)
    return (min(low, 0.0), max(high, 0.0)) if flat else found


def scaled(values: np.ndarray, value_range: Range, depth: int = 8) -> np.ndarray:
    """Maps the values of a range to uint8, or uint16 of a `depth` of 16 bits, the nearest level each.

    Values outside are clipped.
    """
    low, high = value_range
    dtype, white = LEVELS[depth], 2**depth - 1
    if values.dtype == dtype and value_range == (0, white):
        return values
    levels = np.empty(values.shape, dtype)
    # Of large arrays a few images at a time: their copies would be eight times as large.
    step = max(1, _CHUNK * len(values) // max(values.size, 1)) if values.ndim else 1
    for start in range(0, len(values), step):
        part = np.asarray(values[start : start + step], np.float64)
        # By halves, as the difference of the largest numbers is infinite.
        share = np.clip((part / 2 - low / 2) / (high / 2 - low / 2), 0.0, 1.0)
        levels[start : start + step] = np.round(white * share)
    return levels


def describe_range(value_range: Range, found: Range | None = None, depth: int = 8) -> str:
    """Returns a clause on how values were scaled."""
    text = f"stored values from {value_range[0]:g} (black) to {value_range[1]:g} (white) are scaled to {depth} bits"
    if found is None:
        return f"{text}, as `value_range` says"
    return f"{text}, as the images hold {found[0]:g} to {found[1]:g} (`value_range=LOW,HIGH` sets another)"
