"""uint8 pictures: laid out in rows, and written to PNG, GIF and MP4 files."""

import functools
import importlib.util
import math
import os
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PathLike, written_whole
from tfgan_app.base.png import write_png

__all__ = [
    "FILMS",
    "columns",
    "enlarged",
    "require_film",
    "save_film",
    "save_gif",
    "save_png",
    "tile",
    "titled",
    "titled_rows",
    "viewable",
]

# The endings of films.
FILMS = (".gif", ".mp4")

# The board behind what is transparent: shades of its squares, and how many lie along the shorter side at least.
_BOARD, _SQUARES = (255, 204), 4
_TITLE_PIXELS = 11  # height of the letters
_TITLE_LENGTH = 96  # pixels that a title takes at most


def columns(num_classes: int | None = None) -> int:
    """Returns how many columns show samples by class: a few classes take one or more columns each."""
    return num_classes * -(-8 // num_classes) if num_classes and num_classes <= 16 else 10


def tile(images: np.ndarray, columns: int | None = None, border: int = 2) -> np.ndarray:
    """Lays out images row by row.

    Args:
        images: uint8 array `(num, height, width, channels)` with 1 or 3 channels, as `viewable` returns them.
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


def enlarged(picture: np.ndarray, scale: int) -> np.ndarray:
    """Returns a picture with each pixel repeated `scale` times a side: titles beside it then keep their size."""
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def viewable(images: np.ndarray) -> np.ndarray:
    """Returns images of any channels and 8 or 16 bits as people see them, uint8 with 1 or 3 channels.

    RGBA is laid on a board of white and light grey squares. Channels that are no colours stand side by side in grey,
    with a pixel of white between.

    Args:
        images: uint8 or uint16 `(num, height, width, channels)`.
    """
    if images.dtype == np.uint16:
        images = np.round(images / 257.0).astype(np.uint8)
    num, height, width, channels = images.shape
    if channels in (1, 3):
        return images
    if channels == 4:
        square = max(1, min(8, min(height, width) // _SQUARES))
        rows, columns = np.indices((height, width)) // square
        board = np.where((rows + columns) % 2, _BOARD[1], _BOARD[0])[..., None]
        opacity = images[..., 3:] / 255.0
        return np.round(images[..., :3] * opacity + board * (1.0 - opacity)).astype(np.uint8)
    shown = np.full((num, height, channels, width + 1), 255, np.uint8)
    shown[..., :width] = np.moveaxis(images, -1, 2)
    return shown.reshape(num, height, channels * (width + 1), 1)[:, :, :-1]


def titled(picture: np.ndarray, titles: Sequence[str], border: int = 2) -> np.ndarray:
    """Returns a picture of `tile` with a title above each column, upright where they do not fit across.

    Args:
        picture: uint8 `(height, width, channels)`.
        titles: One for each column.
        border: Pixels of white between images.
    """
    width = (picture.shape[1] - border) // len(titles)
    font = ImageFont.truetype(_font(), _TITLE_PIXELS)
    titles = [" ".join(title.split()) for title in titles]
    across = all(font.getlength(title) <= width - border for title in titles)
    strips = []
    for title in titles:
        room = width - border if across else _TITLE_LENGTH
        while font.getlength(title) > room:
            title = title[:-2] + "\u2026"
        strip = Image.new("L", (math.ceil(font.getlength(title)), _TITLE_PIXELS + 4), 255)
        ImageDraw.Draw(strip).text((0, 0), title, 0, font)
        strips.append(strip if across else strip.transpose(Image.Transpose.ROTATE_90))
    height = max(strip.height for strip in strips) + border
    head = Image.new("L", (picture.shape[1], height), 255)
    for index, strip in enumerate(strips):
        left = border + index * width + (width - border - strip.width) // 2
        head.paste(strip, (left, height - strip.height))
    shown = np.repeat(np.asarray(head)[..., None], picture.shape[2], axis=2)
    return np.concatenate([shown, picture])


def titled_rows(picture: np.ndarray, titles: Sequence[str], border: int = 2) -> np.ndarray:
    """Returns a picture of `tile` with a title at the left of each row.

    Args:
        picture: uint8 `(height, width, channels)`.
        titles: One for each row.
        border: Pixels of white between images.
    """
    font = ImageFont.truetype(_font(), _TITLE_PIXELS)
    height = (picture.shape[0] - border) // len(titles)
    width = min(_TITLE_LENGTH, math.ceil(max(font.getlength(title) for title in titles))) + border
    side = Image.new("L", (width, picture.shape[0]), 255)
    for index, title in enumerate(titles):
        top = border + index * height + max(0, (height - border - _TITLE_PIXELS) // 2 - 1)
        ImageDraw.Draw(side).text((border, top), title, 0, font)
    return np.concatenate([np.repeat(np.asarray(side)[..., None], picture.shape[2], axis=2), picture], axis=1)


@functools.lru_cache
def _font():
    # Matplotlib's, which has the letters of most alphabets.
    import matplotlib

    return os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def save_png(path: PathLike, image: np.ndarray, scale: int = 1) -> None:
    """Writes an image `(height, width, channels)`, grey, RGB or RGBA, each pixel repeated `scale` times a side.

    It is uint8, or uint16 for 16 bits.
    """
    with written_whole(path) as partial:
        if image.dtype == np.uint16:
            image = image.repeat(scale, 0).repeat(scale, 1)
            with open(partial, "wb") as file:
                write_png(file, [image], *image.shape[:2])
            return
        _to_pil(image, scale).save(partial, format="PNG")


def save_gif(path: PathLike, frames: Iterable[np.ndarray], frames_per_second: int = 8, scale: int = 1) -> None:
    """Writes uint8 images of equal shape as an endless GIF; they are taken one by one."""
    rest = (_to_pil(frame, scale) for frame in frames)
    first = next(rest)
    options = {"append_images": rest, "duration": round(1000 / frames_per_second), "loop": 0}
    with written_whole(path) as partial:
        first.save(partial, format="GIF", save_all=True, **options)


def require_film(path: PathLike) -> None:
    """Makes sure, before work of minutes, that a film of that name can be written.

    Raises:
        UsageError: If it is an MP4, and what encodes those is not installed.
    """
    if pathlib.Path(path).suffix == ".mp4" and not importlib.util.find_spec("imageio_ffmpeg"):
        raise UsageError(f"{path} needs imageio-ffmpeg: pip install 'tfgan_app[video]', or take a .gif.")


def save_film(path: PathLike, frames: Iterable[np.ndarray], frames_per_second: int = 12, scale: int = 1) -> None:
    """Writes uint8 images of equal shape, taken one by one, as an endless GIF or as an MP4 (H.264), by the ending.

    Raises:
        UsageError: As `require_film`.
    """
    if pathlib.Path(path).suffix == ".mp4":
        require_film(path)
        _save_mp4(path, frames, frames_per_second, scale)
    else:
        save_gif(path, frames, frames_per_second, scale)


def _save_mp4(path, frames, frames_per_second, scale):
    import imageio_ffmpeg

    writer = None
    with written_whole(path) as partial:
        try:
            for frame in frames:
                pixels = np.asarray(_to_pil(frame, scale).convert("RGB"))
                # H.264 halves the colours' sides.
                pixels = np.pad(pixels, [(0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)], mode="edge")
                if writer is None:
                    writer = imageio_ffmpeg.write_frames(
                        str(partial),
                        pixels.shape[1::-1],
                        fps=frames_per_second,
                        codec="libx264",
                        quality=8,
                        macro_block_size=1,
                        # The ending of a file that is not whole says nothing.
                        output_params=["-f", "mp4", "-movflags", "+faststart"],
                    )
                    writer.send(None)
                writer.send(np.ascontiguousarray(pixels))
        finally:
            if writer is not None:
                writer.close()


def _to_pil(image, scale):
    picture = Image.fromarray(np.squeeze(image, -1) if image.shape[-1] == 1 else image)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
