"""Kernels that blur, and pictures convolved with them, in NumPy.

Generalised Gaussian and plateau kernels: Liu et al. 2020, https://arxiv.org/abs/1906.03444; as Wang et al. 2021,
https://arxiv.org/abs/2107.10833, use them.
"""

import functools
import math
from collections.abc import Callable

import numpy as np

__all__ = ["SHAPES", "convolve", "gaussian", "kernel_of", "sinc_kernel"]

# What a kernel is, of its points' squared distances from the centre in standard deviations, and an exponent.
SHAPES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "gaussian": lambda square, beta: np.exp(-0.5 * square),
    "generalised": lambda square, beta: np.exp(-0.5 * square**beta),
    "plateau": lambda square, beta: 1 / (1 + square**beta),
}


def kernel_of(
    shape: str, side: int, sigma: float, across: float | None = None, angle: float = 0.0, beta: float = 1.0
) -> np.ndarray:
    """Returns a kernel `(side, side)` of sum 1.

    Args:
        shape: One of `SHAPES`.
        side: An odd number of pixels.
        sigma: Standard deviation, in pixels.
        across: That across the direction `angle`, where the two differ.
        angle: Radians between the rows and the axis of `sigma`.
        beta: Exponent of a generalised or plateau kernel.
    """
    along, up = np.meshgrid(np.arange(side) - side // 2, np.arange(side) - side // 2)
    first = (along * math.cos(angle) + up * math.sin(angle)) / sigma
    second = (up * math.cos(angle) - along * math.sin(angle)) / (sigma if across is None else across)
    kernel = SHAPES[shape](first**2 + second**2, beta)
    return kernel / kernel.sum()


def sinc_kernel(side: int, cutoff: float) -> np.ndarray:
    """Returns the circular low-pass filter `(side, side)` of sum 1 that ends at `cutoff`, in radians a pixel up to pi.

    It rings as over-sharpened and compressed pictures do.
    """
    offset = np.arange(side) - side // 2
    squares, place = np.unique(offset[:, None] ** 2 + offset**2, return_inverse=True)
    radius = np.sqrt(np.maximum(squares, 1))
    values = cutoff * _bessel(cutoff * radius) / (2 * math.pi * radius)
    values[squares == 0] = cutoff**2 / (4 * math.pi)
    kernel = values[place.reshape(side, side)]
    return kernel / kernel.sum()


def _bessel(x):
    """The Bessel function J1, by the mean over a period of its integral; exact in float64 for x up to 64."""
    angle = (np.arange(64) + 0.5) * (math.pi / 64)
    return np.cos(angle - x[:, None] * np.sin(angle)).mean(axis=1)


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """Returns a float32 image `(height, width, channels)` blurred by a Gaussian; borders mirror what is within."""
    radius = math.ceil(4 * sigma)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    padded = np.pad(image.astype(np.float32, copy=False), ((radius, radius), (radius, radius), (0, 0)), "reflect")
    return _slide(_slide(padded, taps, 0), taps, 1)


def _slide(image, taps, axis):
    size, radius = image.shape[axis] - len(taps) + 1, len(taps) // 2

    def part(k):
        return image[k : k + size] if axis == 0 else image[:, k : k + size]

    total = part(radius) * taps[radius]
    term = np.empty_like(total)
    for k in range(radius):
        np.add(part(k), part(len(taps) - 1 - k), out=term)
        term *= taps[k]
        total += term
    return total


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Returns a float32 image `(height, width, channels)` convolved with a kernel, by Fourier transforms.

    Borders mirror what is within.
    """
    height, width = image.shape[:2]
    radius = len(kernel) // 2
    planes = np.pad(image, ((radius, radius), (radius, radius), (0, 0)), "reflect").transpose(2, 0, 1)
    size = _quick(height + 2 * radius), _quick(width + 2 * radius)
    product = np.fft.rfft2(planes.astype(np.float32), size) * np.fft.rfft2(kernel.astype(np.float32), size)
    result = np.fft.irfft2(product, size)[:, 2 * radius :, 2 * radius :][:, :height, :width]
    return np.ascontiguousarray(result.transpose(1, 2, 0)).astype(np.float32, copy=False)


@functools.lru_cache(256)
def _quick(size: int) -> int:
    """Returns the next even number without prime factors above 5, for which Fourier transforms are fast."""

    def smooth(number):
        for factor in (2, 3, 5):
            while number % factor == 0:
                number //= factor
        return number == 1

    size += size % 2
    while not smooth(size):
        size += 2
    return size
