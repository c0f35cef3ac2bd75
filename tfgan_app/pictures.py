"""Pictures of what `sample` returns, for notebooks and pages of one's own."""

import numpy as np

from tfgan_app.base.pictures import columns, save_film, save_gif, save_png, tile, viewable
from tfgan_app.modalities.images import unit_to_uint8

__all__ = ["columns", "grid", "save_film", "save_gif", "save_png"]


def grid(images: np.ndarray, columns: int | None = None, border: int = 2) -> np.ndarray:
    """Lays out images row by row.

    Args:
        images: Array `(num, height, width, channels)` in [0, 1]: greyscale, RGB, RGBA on a board of squares, or other
            channels side by side.
        columns: Images a row; by default as near to a square as it gets.
        border: Pixels of white between images.

    Returns:
        A uint8 array `(height, width, channels)`; places without an image are white.
    """
    return tile(viewable(unit_to_uint8(np.asarray(images))), columns, border)
