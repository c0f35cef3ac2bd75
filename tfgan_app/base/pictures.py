"""uint8 pictures: laid out in rows, and written to PNG and GIF files."""

import math
from collections.abc import Iterable

import numpy as np
from PIL import Image

from tfgan_app.base.files import PathLike, written_whole

__all__ = ["columns", "save_gif", "save_png", "tile"]


def columns(num_classes: int | None = None) -> int:
    """Returns how many columns show samples by class: a few classes take one or more columns each."""
    return num_classes * -(-8 // num_classes) if num_classes and num_classes <= 16 else 10


def tile(images: np.ndarray, columns: int | None = None, border: int = 2) -> np.ndarray:
    """Lays out images row by row.

    Args:
        images: uint8 array `(num, height, width, channels)` with 1 or 3 channels.
        columns: Images a row; by default as near to a square as it gets.
        border: Pixels of white between images.

    Returns:
        A uint8 array `(height, width, channels)`; places without an image are white.
    """
    num, height, width, channels = images.shape
    columns = columns or max(1, math.ceil(math.sqrt(num)))
    rows = math.ceil(num / columns)
    sheet = np.full((rows * (height + border) + border, columns * (width + border) + border, channels), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = (border + (index // columns) * (height + border), border + (index % columns) * (width + border))
        sheet[top : top + height, left : left + width] = image
    return sheet


def save_png(path: PathLike, image: np.ndarray, scale: int = 1) -> None:
    """Writes a uint8 image `(height, width, channels)`, each pixel repeated `scale` times a side."""
    with written_whole(path) as partial:
        _to_pil(image, scale).save(partial, format="PNG")


def save_gif(path: PathLike, frames: Iterable[np.ndarray], frames_per_second: int = 8, scale: int = 1) -> None:
    """Writes uint8 images of equal shape as an endless GIF; they are taken one by one."""
    rest = (_to_pil(frame, scale) for frame in frames)
    first = next(rest)
    options = {"append_images": rest, "duration": round(1000 / frames_per_second), "loop": 0}
    with written_whole(path) as partial:
        first.save(partial, format="GIF", save_all=True, **options)


def _to_pil(image, scale):
    picture = Image.fromarray(np.squeeze(image, -1) if image.shape[-1] == 1 else image)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
