"""Colour as the CIE and sRGB (IEC 61966-2-1) define it: linear light, luminance, and the grey that is as light."""

import numpy as np

__all__ = ["RGB_TO_XYZ", "WHITE", "luminance_grey"]

# From linear sRGB to CIE XYZ under D65; the second row is the luminance. White, its rows' sums, is what L*a*b* is
# relative to, so that greys have no chroma.
RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = RGB_TO_XYZ.sum(axis=1)

_LEVELS = np.arange(256) / 255.0
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4)


def luminance_grey(images: np.ndarray) -> np.ndarray:
    """Returns the greys of the same luminance, and so of the same CIE lightness, as colours have.

    Pillow's and TensorFlow's greyscale weigh the stored values instead, of which saturated colours come out too dark.

    Args:
        images: uint8 sRGB `(..., 3)`.

    Returns:
        A uint8 array `(..., 1)`, the nearest level each. A grey is its own.
    """
    # In float32: 12 megapixels take 150 MB. It is far finer than a level.
    red, green, blue = (
        (_LINEAR * weight).astype(np.float32)[images[..., index]] for index, weight in enumerate(RGB_TO_XYZ[1])
    )
    light = red + green + blue
    stored = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, np.float32(1 / 2.4)) - 0.055)
    return np.round(255.0 * np.clip(stored, 0.0, 1.0)).astype(np.uint8)[..., np.newaxis]
