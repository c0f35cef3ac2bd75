"""Image files to uint8 arrays: every format and colour mode becomes one shape."""

import io
import os
import re
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

__all__ = ["ENDINGS", "MAX_PIXELS", "File", "Header", "fit_image", "looks_like_image", "read_header", "read_image"]

MAX_PIXELS = 64_000_000  # a file of a few kilobytes can declare gigabytes of pixels

# Those that Pillow decodes in this process; others, such as EPS, run programs. The frequent ones come first, and TGA,
# which has no signature, last.
_ENDINGS_OF = {
    "JPEG": (".jfif", ".jif", ".jpe", ".jpeg", ".jpg", ".mpo"),
    "PNG": (".apng", ".png"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "PPM": (".pbm", ".pfm", ".pgm", ".pnm", ".ppm"),
    "AVIF": (".avif",),
    "JPEG2000": (".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx"),
    "DDS": (".dds",),
    "DIB": (".dib",),
    "ICO": (".ico",),
    "PCX": (".pcx",),
    "PSD": (".psd",),
    "QOI": (".qoi",),
    "SGI": (".bw", ".rgb", ".rgba", ".sgi"),
    "SUN": (".ras",),
    "TGA": (".icb", ".tga", ".vda", ".vst"),
}
_FORMATS = tuple(_ENDINGS_OF)
# Formats of images that nothing here decodes: to leave them out as no images would be to lose them in silence.
_UNREAD = {".heic": "HEIC", ".heif": "HEIC", ".hif": "HEIC", ".jxl": "JPEG XL", ".pam": "PAM"}
ENDINGS = frozenset({*_UNREAD, *(ending for endings in _ENDINGS_OF.values() for ending in endings)})
_SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBP|II\*\0|MM\0\*|II\+\0|MM\0\+|BM.{4}\0{4}|GIF8[79]a|P[1-7Ff][ \t\r\n]"
    rb"|.{4}ftyp(?:avi[fs]|mif1|msf1|he[iv][cxms])|\xff\x4f\xff\x51|\0\0\0\x0cjP  |\xff\x0a|\0\0\0\x0cJXL "
    rb"|DDS |\0\0\x01\0|\x0a[\x02\x03\x05]\x01[\x01\x02\x04\x08]|8BPS|qoif|\x01\xda[\0\x01][\x01\x02]|\x59\xa6\x6a\x95",
    re.DOTALL,
)
_GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N"})
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width

File = str | os.PathLike[str] | bytes


class Header(NamedTuple):
    """What an image file declares: its size in pixels, and whether it is greyscale."""

    height: int
    width: int
    grey: bool


def looks_like_image(head: bytes) -> bool:
    """Tells whether a file whose ending says nothing is an image, by its first bytes (16 are enough).

    Images of formats that cannot be read are images too. Of TGA and DIB, which have no signature, the ending alone
    tells.
    """
    return _SIGNATURES.match(head) is not None


def read_header(file: File) -> Header:
    """Reads the size and kind of an image without decoding it."""
    with _open(file) as image:
        # A PNG is decoded whole to find its EXIF data, so its orientation, which is rare, is not looked up here.
        turned = image.format != "PNG" and image.getexif().get(ExifTags.Base.Orientation) in _TURNED
        height, width = image.size if turned else image.size[::-1]
        return Header(height, width, image.mode in _GREY_MODES)


def read_image(file: File, channels: int, image_size: int | None = None) -> np.ndarray:
    """Decodes an image file; see `fit_image`."""
    with _open(file) as image:
        return fit_image(image, channels, image_size)


def fit_image(image: Image.Image, channels: int, image_size: int | None = None) -> np.ndarray:
    """Brings any decoded image into the shape that networks take.

    The EXIF orientation is applied, an animation gives its first frame, 16 bits become 8, and transparent
    pixels show white, as they would on paper. With `image_size` the largest centred square is resized to it,
    antialiased.

    Args:
        image: A PIL image of any mode but floating point.
        channels: 1 for greyscale, 3 for RGB.
        image_size: Height and width of the result; None keeps the image's own.

    Returns:
        A uint8 array `(height, width, channels)`.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels")
    if image.mode.startswith("I"):  # PIL would clip 16 bits at 255
        image = Image.fromarray(np.clip(np.asarray(image, np.int64) // 257, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    if image_size is not None and image.size != (image_size, image_size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((image_size, image_size), Image.Resampling.LANCZOS)
    array = np.asarray(image)
    return array[..., np.newaxis] if channels == 1 else array


def _open(file: File) -> Image.Image:
    # Named formats only: PIL's others include some that run external programs.
    image = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=_FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise ValueError(f"{width}x{height} pixels, over the limit of {MAX_PIXELS // 1_000_000} megapixels")
    return image
