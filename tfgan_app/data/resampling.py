"""Pictures of another size, in NumPy: new pixels are weighted sums of old ones, along one axis and then the other."""

import functools
import math
from collections.abc import Callable

import numpy as np

__all__ = ["FILTERS", "enlarge", "resample", "shrink"]


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys's cubic (1981, https://doi.org/10.1109/TASSP.1981.1163711)."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _bicubic(x: np.ndarray) -> np.ndarray:
    return _cubic(x, -0.5)


def _bilinear(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0.0)


def _box(x: np.ndarray) -> np.ndarray:
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


# How each weighs a pixel by its distance, and how wide it is.
FILTERS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "bicubic": (_bicubic, 4.0),
    "bilinear": (_bilinear, 2.0),
    "box": (_box, 1.0),
    "lanczos": (_lanczos, 6.0),
}


def shrink(image: np.ndarray, factor: int, filter: str = "bicubic") -> np.ndarray:
    """Returns a uint8 image with sides divided by `factor`, antialiased, as `imresize` of MATLAB does.

    The filter is as many times wider as the image gets smaller, what lies beyond a border mirrors what is within, and
    levels are rounded once, at the end, as there of an image in double precision.
    """
    height, width = image.shape[:2]
    return _levels(image, (height // factor, width // factor), functools.partial(_imresize, filter=filter))


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Returns a uint8 image of `factor` times the sides: bicubic, as `imresize` of MATLAB does."""
    height, width = image.shape[:2]
    return _levels(image, (height * factor, width * factor), functools.partial(_imresize, filter="bicubic"))


def resample(image: np.ndarray, height: int, width: int, how: str) -> np.ndarray:
    """Returns a float32 image of another size, as `torch.nn.functional.interpolate` does: without antialiasing.

    Args:
        image: `(height, width, channels)`, float32.
        height: That of the result.
        width: That of the result.
        how: `area` (the mean of the pixels that a new one touches), `bilinear` or `bicubic` (with a = -0.75).
    """
    image = _along_rows(image, *_interpolate(image.shape[0], height, how))
    return _along_columns(image, *_interpolate(image.shape[1], width, how))


def _levels(image, size, taps):
    image = _along_rows(image, *taps(image.shape[0], size[0]))
    image = _along_columns(image, *taps(image.shape[1], size[1]))
    image += np.float32(0.5)
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


def _along_rows(image, index, weights):
    """Returns an image whose row i is the sum of `weights[i, k]` times row `index[i, k]`."""
    if index.shape[1] == 1:
        return image[index[:, 0]].astype(np.float32)
    image = image.astype(np.float32, copy=False)
    total = np.zeros((len(index), *image.shape[1:]), np.float32)
    term = np.empty_like(total)
    for tap, weight in zip(index.T, weights.T[..., None, None], strict=True):
        np.take(image, tap, axis=0, out=term, mode="clip")  # "raise" would buffer `out`
        term *= weight
        total += term
    return total


def _along_columns(image, index, weights):
    # Whole rows are copied faster than single pixels.
    turned = np.ascontiguousarray(image.transpose(1, 0, 2))
    return np.ascontiguousarray(_along_rows(turned, index, weights).transpose(1, 0, 2))


@functools.lru_cache(256)
def _imresize(old: int, new: int, filter: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns which pixels `(new, taps)` of a side of `old` each of `new` is made of, and their weights."""
    weigh, width = FILTERS[filter]
    shrunk = max(1.0, old / new)
    centre = (np.arange(new) + 0.5) * (old / new) - 0.5
    first = np.floor(centre - width * shrunk / 2).astype(int)
    index = first[:, None] + np.arange(math.ceil(width * shrunk) + 2)
    weights = weigh((centre[:, None] - index) / shrunk)
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.flatnonzero((weights != 0).any(axis=0))
    mirrored = index[:, used] % (2 * old)
    return np.minimum(mirrored, 2 * old - 1 - mirrored), weights[:, used].astype(np.float32)


@functools.lru_cache(256)
def _interpolate(old: int, new: int, how: str) -> tuple[np.ndarray, np.ndarray]:
    if new == old:
        return np.arange(old)[:, None], np.ones((old, 1), np.float32)
    if how == "area":
        begin = np.arange(new) * old // new
        end = -(-(np.arange(new) + 1) * old // new)
        index = begin[:, None] + np.arange((end - begin).max())
        weights = (index < end[:, None]) / (end - begin)[:, None]
    else:
        centre = (np.arange(new) + 0.5) * (old / new) - 0.5
        reach = 1 if how == "bilinear" else 2
        index = np.floor(centre).astype(int)[:, None] + np.arange(1 - reach, 1 + reach)
        distance = centre[:, None] - index
        weights = _bilinear(distance) if how == "bilinear" else _cubic(distance, -0.75)
    return np.clip(index, 0, old - 1), weights.astype(np.float32)
