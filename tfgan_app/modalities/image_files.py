"""Image files to arrays of 8 or 16 bits: every format, depth and colour mode becomes one shape.

Colours are taken as they are stored, by the plain formulas: embedded profiles are not applied.
"""

import contextlib
import io
import os
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from tfgan_app.base.sizes import ImageSize, Size, as_size
from tfgan_app.modalities.dicom import HEAD, Stored, count_frames, is_dicom, read_frame
from tfgan_app.modalities.tiffs import count_tiff_pages, extra_bands, is_tiff, read_bands
from tfgan_app.modalities.values import MAX_PIXELS, Range, TooLargeError, check_pixels, measured, scaled, usual_range

__all__ = [
    "ENDINGS",
    "MAX_PIXELS",
    "File",
    "Form",
    "Header",
    "Page",
    "Picture",
    "count_pages",
    "fit_image",
    "looks_like_image",
    "may_be_dicom",
    "read_header",
    "read_image",
    "read_picture",
    "read_pixels",
    "read_values",
]

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
DICOM_ENDINGS = (".dcm", ".dicom")
ENDINGS = frozenset({*_UNREAD, *DICOM_ENDINGS, *(ending for endings in _ENDINGS_OF.values() for ending in endings)})
_SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF.{4}WEBP|II\*\0|MM\0\*|II\+\0|MM\0\+|BM.{4}\0{4}|GIF8[79]a|P[1-7Ff][ \t\r\n]"
    rb"|.{4}ftyp(?:avi[fs]|mif1|msf1|he[iv][cxms])|\xff\x4f\xff\x51|\0\0\0\x0cjP  |\xff\x0a|\0\0\0\x0cJXL "
    rb"|DDS |\0\0\x01\0|\x0a[\x02\x03\x05]\x01[\x01\x02\x04\x08]|8BPS|qoif|\x01\xda[\0\x01][\x01\x02]|\x59\xa6\x6a\x95",
    re.DOTALL,
)
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # by EXIF orientation
    2: np.fliplr,
    3: lambda levels: np.rot90(levels, 2),
    4: np.flipud,
    5: lambda levels: levels.swapaxes(0, 1),
    6: lambda levels: np.rot90(levels, 3),
    7: lambda levels: np.rot90(levels, 2).swapaxes(0, 1),
    8: np.rot90,
}
_SIDEWAYS = (5, 6, 7, 8)  # those that swap height and width
_EIGHT_BITS, _SIXTEEN_BITS = (0.0, 255.0), (0.0, 65535.0)

# Pillow keeps the upper byte of each sample of colour images of 16 bits. Told the other order of bytes, it keeps the
# lower one.
_DEEP_COLOUR = re.compile(r"(?P<mode>RGB|RGBX|RGBA);16(?P<order>[BLN])")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_DEEP_GREY_ALPHA = "LA;16B"  # which Pillow makes RGBA of 8 bits

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


class Page(NamedTuple):
    """One of the images that a file holds: a page of a TIFF, a frame of a DICOM file.

    Attributes:
        file: A path, or the file's bytes.
        number: Which, from 0 on.
    """

    file: str | os.PathLike[str] | bytes
    number: int


File = str | os.PathLike[str] | bytes | Page
T = TypeVar("T")


class Header(NamedTuple):
    """What an image file declares.

    Attributes:
        height: In pixels, of the image as it is shown, upright.
        width: Likewise.
        grey: Whether it is greyscale, with or without transparency.
        bits: Of a value: 8, 16, or 32 where the format does not say which values are black and white.
        alpha: Whether it has opacity beside, though it need not be transparent anywhere.
        bands: How many channels it has, where they are no colours.
    """

    height: int
    width: int
    grey: bool
    bits: int = 8
    alpha: bool = False
    bands: int | None = None


class Form(NamedTuple):
    """What images are brought to: the arguments of `read_image` after the file.

    Attributes:
        channels: 1 for greyscale, 3 for RGB, 4 for RGBA, or a number of bands; None, where a set is opened, as it has.
        image_size: Height and width, or None to keep the image's own.
        value_range: The stored values that become black and white. None: those of the format, 0 to 255 or 65535; of
            formats that have none, with 32 bits or floats, the `usual_range` of each image alone.
        fit: How an image of another aspect ratio gets that size. "crop": the largest centred part of that ratio is
            resized; "pad": all of it, the rest is black, and transparent where there is opacity; "stretch": both sides,
            each by its own factor.
        depth: 8 or 16 bits of a value.
    """

    channels: int | None = None
    image_size: Size | None = None
    value_range: Range | None = None
    fit: str = "crop"
    depth: int = 8


class Picture(NamedTuple):
    """An image with all that it has, upright, in 8 bits.

    Attributes:
        colours: uint8 `(height, width, channels)`, 1 channel of a greyscale image, otherwise RGB.
        opacity: uint8 `(height, width, 1)`, None where nothing is transparent.
        bits: Of the stored values, as in `Header`.
        profile: The embedded ICC profile of these colours, None where there is none or it is one of others, as CMYK.
        several: Whether it is the first of several: of an animation's, or of a document's pages.
    """

    colours: np.ndarray
    opacity: np.ndarray | None
    bits: int
    profile: bytes | None
    several: bool


def looks_like_image(head: bytes) -> bool:
    """Tells whether a file whose ending says nothing is an image, by its first bytes (132 are enough).

    Images of formats that cannot be read are images too. Of TGA and DIB, which have no signature, the ending alone
    tells.
    """
    return _SIGNATURES.match(head) is not None or is_dicom(head)


def may_be_dicom(name: str | os.PathLike[str]) -> bool:
    """Tells whether a file may be DICOM by its ending, so that its first bytes are worth reading."""
    return os.path.splitext(name)[1].lower() in ("", *DICOM_ENDINGS)


def count_pages(file: File) -> int:
    """Returns how many pages a TIFF or frames a DICOM file holds, 1 of any other file."""
    if isinstance(file, Page):
        return 1
    if is_dicom(_head(file)):
        return count_frames(file)
    if not is_tiff(_head(file)):
        return 1
    try:
        with _open(file) as image:
            return int(getattr(image, "n_frames", 1))
    except _OtherFormatError:
        return count_tiff_pages(file)


def read_header(file: File) -> Header:
    """Reads the size and kind of an image without decoding it."""
    return _opened(file, _header, _header_of_stored)


def read_pixels(file: File) -> np.ndarray:
    """Returns the pixels of an image of 8 bits as they are stored, all channels of them."""
    return _opened(file, lambda file, image: np.asarray(image))


def read_values(file: File) -> np.ndarray:
    """Returns the colour values of a deep image as they are stored, `(height, width)` or `(height, width, 3)`.

    Raises:
        ValueError: If the image has 8 bits.
    """
    found = _opened(file, _deep, lambda stored: _Deep(stored.values, None, stored.own_range))
    if found is None:
        raise ValueError("its values have 8 bits")
    return found.values


def read_image(
    file: File,
    channels: int,
    image_size: ImageSize | None = None,
    value_range: Range | None = None,
    fit: str = "crop",
    depth: int = 8,
) -> np.ndarray:
    """Decodes an image file into the shape that networks take; see `Form` for the arguments after the file.

    An animation gives its first frame. What is transparent shows white, as it would on paper, unless opacity is kept.

    Args:
        file: A path, or the file's bytes.
        channels: As in `fit_image`.
        image_size: Height and width of the result.
        value_range: The stored values that become black and white.
        fit: As in `fit_image`.
        depth: Bits of a value.

    Returns:
        A uint8 or uint16 array `(height, width, channels)`.

    Raises:
        ValueError: If it has more than `MAX_PIXELS`, or values that are NaN or infinite; and many kinds for damage.
    """

    def decoded(file: File, image: Image.Image) -> np.ndarray:
        if extra_bands(image) == channels:
            return of_stored(_stored(file))
        return _upright(file, image, value_range, depth)

    def of_stored(stored: Stored) -> np.ndarray:
        if stored.values.shape[-1] not in (1, 3):
            _check_bands(stored.values.shape[-1], channels)
        return _levels_of_stored(stored, value_range, depth)

    levels = _opened(file, decoded, of_stored)
    return fit_image(levels, channels, image_size, fit)


def read_picture(file: File) -> Picture:
    """Decodes an image file with its transparency; of an animation, the first frame. Raises as `read_image` does."""
    return _opened(file, _picture)


def fit_image(levels: np.ndarray, channels: int, image_size: ImageSize | None = None, fit: str = "crop") -> np.ndarray:
    """Brings a decoded image into the shape that networks take, antialiased where it is resized.

    What is transparent is laid on white, unless opacity is kept: then what is wholly transparent is black, and colours
    weigh by their opacity in resizing, so that none of what is not to be seen tints an edge.

    Args:
        levels: uint8 or uint16 `(height, width, channels)`: grey, grey and opacity, RGB or RGBA; or other bands.
        channels: 1 for greyscale, 3 for RGB, 4 for RGBA; or as many as there are bands.
        image_size: The size of the result, as `open_images` takes it; None keeps the image's own.
        fit: One of `FITS`; see `Form`.

    Returns:
        An array of the same type, `(height, width, channels)`.

    Raises:
        ValueError: If bands are to be colours, or colours bands.
    """
    levels = levels if levels.shape[-1] == channels in (1, 3) else _coloured(levels, channels)
    return levels if image_size is None else _sized(levels, as_size(image_size), fit)


class _Deep(NamedTuple):
    """A decoded image of more than 8 bits: its colours, its opacity where it has one, and its format's own range."""

    values: np.ndarray
    opacity: np.ndarray | None
    own_range: Range | None


def _header(file: File, image: Image.Image) -> Header:
    width, height = image.size
    if width != height and _orientation(image) in _SIDEWAYS:
        height, width = width, height
    deep_grey = _raw_modes(image) == {_DEEP_GREY_ALPHA}
    grey = image.mode in _GREY_MODES or deep_grey
    return Header(height, width, grey, _bits(image), image.has_transparency_data or deep_grey)


def _header_of_stored(stored: Stored) -> Header:
    height, width, bands = stored.values.shape
    # What says by itself what is black and white is scaled by that, as 8 bits are.
    bits = 8 if stored.own_range else {"uint8": 8, "uint16": 16}.get(stored.values.dtype.name, 32)
    return Header(height, width, bands == 1, bits, bands=None if bands in (1, 3) else bands)


def _levels_of_stored(stored: Stored, value_range: Range | None, depth: int) -> np.ndarray:
    usual = {"uint8": _EIGHT_BITS, "uint16": _SIXTEEN_BITS}.get(stored.values.dtype.name)
    found = measured(stored.values)
    levels = scaled(stored.values, value_range or stored.own_range or usual or usual_range(found), depth)
    return np.iinfo(levels.dtype).max - levels if stored.inverted else levels


def _stored(file: File) -> Stored:
    """Reads what Pillow does not."""
    file, number = file if isinstance(file, Page) else (file, 0)
    return read_frame(file, number) if is_dicom(_head(file)) else Stored(read_bands(file, number))


def _picture(file: File, image: Image.Image) -> Picture:
    bits, several = _bits(image), _has_several(image)
    levels, profile = _upright(file, image, None), image.info.get("icc_profile")
    colours, opacity = _parted(levels)
    transparent = opacity is not None and bool((opacity < 255).any())
    space = b"GRAY" if colours.shape[-1] == 1 else b"RGB "
    kept = profile if isinstance(profile, bytes) and profile[16:20] == space else None
    return Picture(colours, opacity if transparent else None, bits, kept, several)


def _has_several(image: Image.Image) -> bool:
    if image.format in ("MPO", "PSD"):  # of a phone's other exposures, and of layers
        return False
    with contextlib.suppress(Exception):  # of many kinds, where what comes next is damaged
        return bool(getattr(image, "is_animated", False))
    return True


def _upright(file: File, image: Image.Image, value_range: Range | None, depth: int = 8) -> np.ndarray:
    """Returns a decoded image as it is shown, in levels of `depth` bits, as `fit_image` takes them."""
    deep = _deep(file, image)
    image.load()  # of PNGs, the orientation may stand behind the pixels
    turn = _TURNS.get(_orientation(image))
    if deep is not None:
        value_range = value_range or deep.own_range or usual_range(measured(deep.values))
        measured(deep.values)
        colours, opacity, opaque = deep.values, deep.opacity, _SIXTEEN_BITS
    else:
        colours, opacity = _parted(np.atleast_3d(np.asarray(_plain(image))))
        value_range, opaque = value_range or _EIGHT_BITS, _EIGHT_BITS
    levels = np.atleast_3d(scaled(colours, value_range, depth))
    if opacity is not None:
        levels = np.concatenate([levels, np.atleast_3d(scaled(opacity, opaque, depth))], axis=-1)
    return levels if turn is None else turn(levels)


def _parted(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the colours of levels, and their opacity where they have it."""
    return (levels[..., :-1], levels[..., -1:]) if levels.shape[-1] in (2, 4) else (levels, None)


def _plain(image: Image.Image) -> Image.Image:
    """Returns an image of 8 bits in one of the modes L, LA, RGB and RGBA."""
    if image.has_transparency_data:
        image = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode))
        return image if image.mode == "LA" else image.convert("RGBA")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image)
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode in _GREY_MODES else "RGB")


# Colours and sizes.


def _coloured(levels: np.ndarray, channels: int) -> np.ndarray:
    """Returns levels in other channels."""
    found = levels.shape[-1]
    if found > 4 or channels not in (1, 3, 4):
        _check_bands(found, channels)
        return levels
    if channels == 4:
        return _with_opacity(levels)
    if levels.dtype != np.uint8:
        return _coloured_deep(levels, channels)
    image = _as_image(levels)
    if image.mode in ("LA", "RGBA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.atleast_3d(np.asarray(image.convert("L" if channels == 1 else "RGB")))


def _check_bands(found: int, channels: int) -> None:
    if found != channels:
        raise ValueError(f"it has {found} channel(s), which become no {channels}: give `channels={found}`")


def _coloured_deep(levels: np.ndarray, channels: int) -> np.ndarray:
    """As Pillow does with 8 bits."""
    white = float(np.iinfo(levels.dtype).max)
    colours, opacity = _parted(levels)
    values = colours.astype(np.float32)
    if opacity is not None:
        share = opacity / np.float32(white)
        values = values * share + white * (1.0 - share)
    if channels == 1 and values.shape[-1] == 3:
        values = values @ np.array([[0.299], [0.587], [0.114]], np.float32)
    if channels == 3 and values.shape[-1] == 1:
        values = np.repeat(values, 3, axis=-1)
    return _levels(values, levels.dtype)


def _with_opacity(levels: np.ndarray) -> np.ndarray:
    """Returns RGBA, black where it is wholly transparent: the colours that files hold there mean nothing."""
    colours, opacity = _parted(levels)
    colours = np.broadcast_to(colours, (*levels.shape[:2], 3))
    if opacity is None:
        return np.concatenate([colours, np.full_like(levels[..., :1], np.iinfo(levels.dtype).max)], axis=-1)
    return np.concatenate([np.where(opacity > 0, colours, 0), opacity], axis=-1, dtype=levels.dtype)


def _sized(levels: np.ndarray, image_size: Size, fit: str) -> np.ndarray:
    (height, width), (rows, columns) = levels.shape[:2], image_size
    if levels.shape[:2] == image_size:
        return levels
    if fit == "crop":
        # The part of the aspect ratio that is asked for: all of one side, and of the other what belongs to it.
        wide = width * rows > height * columns
        part = (
            (height, max(1, round(height * columns / rows))) if wide else (max(1, round(width * rows / columns)), width)
        )
        top, left = (height - part[0]) // 2, (width - part[1]) // 2
        levels = levels[top : top + part[0], left : left + part[1]]
    if fit != "pad":
        return _resized(levels, image_size)
    factor = min(rows / height, columns / width)
    inner = max(1, round(factor * height)), max(1, round(factor * width))
    top, left = (rows - inner[0]) // 2, (columns - inner[1]) // 2
    padded = np.zeros((rows, columns, levels.shape[-1]), levels.dtype)
    padded[top : top + inner[0], left : left + inner[1]] = _resized(levels, inner)
    return padded


def _resized(levels: np.ndarray, size: Size) -> np.ndarray:
    if levels.shape[:2] == size:
        return levels
    order = (size[1], size[0])  # as Pillow has it
    if levels.dtype == np.uint8 and levels.shape[-1] in (1, 3):
        return np.atleast_3d(np.asarray(_as_image(levels).resize(order, Image.Resampling.LANCZOS)))
    values, white = levels.astype(np.float32), float(np.iinfo(levels.dtype).max)
    if levels.shape[-1] == 4:
        values[..., :3] *= values[..., 3:] / white
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(values, -1, 0)]
    values = np.stack([np.asarray(plane.resize(order, Image.Resampling.LANCZOS)) for plane in planes], axis=-1)
    if levels.shape[-1] == 4:
        opacity = np.round(values[..., 3:])
        values[..., :3] *= np.where(opacity > 0, white / np.maximum(values[..., 3:], 0.5), 0.0)
    return _levels(values, levels.dtype)


def _levels(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Returns the nearest levels of a type."""
    return np.clip(np.round(values), 0, np.iinfo(dtype).max).astype(dtype)


def _as_image(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)


# Values of more than 8 bits.


def _raw_modes(image: Image.Image) -> set[Any]:
    tiles = getattr(image, "tile", ())
    return {tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0] for tile in tiles}


def _deep_colour(image: Image.Image) -> str | None:
    """Returns how samples of 16 bits are stored of which Pillow would keep the upper 8, None where it would not."""
    modes = _raw_modes(image)
    mode = str(next(iter(modes))) if len(modes) == 1 else ""
    return mode if mode == _DEEP_GREY_ALPHA or _DEEP_COLOUR.fullmatch(mode) else None


def _bits(image: Image.Image) -> int:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM") or _deep_colour(image):
        return 16
    return 32 if image.mode in ("I", "F") else 8


def _deep(file: File, image: Image.Image) -> _Deep | None:
    mode = _deep_colour(image)
    if mode is not None:
        return _read_deep_colour(file, image, mode)
    bits = _bits(image)
    if bits == 8:
        return None
    values = np.asarray(image)
    return _Deep(values, _opacity(image, values), _SIXTEEN_BITS if bits == 16 else None)


def _read_deep_colour(file: File, image: Image.Image, mode: str) -> _Deep:
    with _open(file) as again:
        if mode == _DEEP_GREY_ALPHA:
            _set_raw_mode(again, "RGBA")  # the four bytes of a pixel
            pairs = np.asarray(again, np.uint16)
            values, opacity = (256 * pairs[..., first] + pairs[..., first + 1] for first in (0, 2))
            return _Deep(values, opacity, _SIXTEEN_BITS)
        # libtiff's samples are in the machine's own order by the time that they are unpacked.
        order = mode[-1]
        _set_raw_mode(again, mode[:-1] + _OTHER_ORDER[order])
        values = 256 * np.asarray(image, np.uint16) + np.asarray(again, np.uint16)
    if values.shape[-1] == 4:
        return _Deep(values[..., :3], values[..., 3], _SIXTEEN_BITS)
    return _Deep(values, _opacity(image, values), _SIXTEEN_BITS)


def _set_raw_mode(image: Any, mode: str) -> None:
    image.tile = [
        tile._replace(args=mode if isinstance(tile.args, str) else (mode, *tile.args[1:])) for tile in image.tile
    ]


def _opacity(image: Image.Image, values: np.ndarray) -> np.ndarray | None:
    """Returns the opacity in 16 bits of an image of which one colour is transparent."""
    clear = image.info.get("transparency")
    if clear is None:
        return None
    found = values == np.asarray(clear)
    return np.where(found.all(-1) if values.ndim == 3 else found, 0, 65535)


# Which way is up.


def _orientation(image: Any) -> int:
    """Returns the EXIF orientation; 1 where there is none or it is damaged, as viewers have it."""
    if image.format == "TIFF":  # Pillow turns these itself, their size from the start
        return 1
    found = _exif_orientation(image.info.get("exif") or _raw_profile(image))
    if found is None and (xmp := image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")):
        text = xmp.decode("latin-1") if isinstance(xmp, bytes) else xmp
        match = re.search(r"tiff:Orientation(?:=\"|>)([1-8])", text)
        found = int(match[1]) if match else None
    if found is None and image.format == "PNG" and image.tile and _has_late_orientation(image.fp):
        image.load()
        return _orientation(image)
    return found or 1


def _raw_profile(image: Any) -> bytes:
    # As ImageMagick writes it into PNGs.
    with contextlib.suppress(ValueError):
        return bytes.fromhex("".join(str(image.info.get("Raw profile type exif", "")).split("\n")[3:]))
    return b""


def _exif_orientation(exif: bytes) -> int | None:
    # Pillow's own reader warns of what is damaged, or gives up.
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    with contextlib.suppress(struct.error):
        if order is not None:
            (start,) = struct.unpack_from(order + "I", exif, 4)
            (count,) = struct.unpack_from(order + "H", exif, start)
            for entry in range(count):
                tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * entry)
                if tag == 0x0112 and kind == 3 and 1 <= value <= 8:
                    return int(value)
    return None


def _has_late_orientation(stream: Any) -> bool:
    """Tells whether metadata stand behind the pixels of a PNG, without decoding it; the stream is left where it is."""
    position = stream.tell()
    try:
        stream.seek(len(_PNG))
        while len(header := stream.read(8)) == 8:
            length, kind = struct.unpack(">I4s", header)
            if kind in (b"eXIf", b"iTXt", b"zTXt") and stream.tell() > position:
                return True
            stream.seek(length + 4, os.SEEK_CUR)
        return False
    finally:
        stream.seek(position)


# Opening, and what viewers forgive.


class _OtherFormatError(ValueError):
    """A TIFF that Pillow does not read, or a DICOM file."""


def _opened(file: File, use: Callable[[File, Image.Image], T], use_stored: Callable[[Stored], T] | None = None) -> T:
    """Calls a function with a file and its image; where that fails, with what of it is whole, if all pixels are.

    Of what Pillow does not read, but others do, `use_stored` is called with what it stores.
    """
    try:
        with _open(file) as image:
            return use(file, image)
    except _OtherFormatError:
        if use_stored is None:
            raise
        return use_stored(_stored(file))
    except TooLargeError:
        raise
    except Exception:  # of many kinds: PIL's decoders raise whatever they meet
        repaired = _repaired(file)
        if repaired is None:
            raise
    with _open(repaired) as image:
        return use(repaired, image)


def _open(file: File) -> Image.Image:
    # Some begin as TIFFs do.
    within, number = file if isinstance(file, Page) else (file, 0)
    if (isinstance(within, bytes) or may_be_dicom(within)) and is_dicom(_head(file)):
        raise _OtherFormatError("a DICOM file")
    try:
        # Named formats only: PIL's others include some that run external programs.
        image = Image.open(io.BytesIO(within) if isinstance(within, bytes) else within, formats=_FORMATS)
        if number:
            image.seek(number)
    except UnidentifiedImageError as error:
        if is_tiff(_head(file)):
            raise _OtherFormatError(
                "a TIFF of several bands, of a kind that Pillow does not read, or damaged"
            ) from error
        if unread := _unread(_head(file)):
            raise ValueError(f"{unread}, which is not read here; save it as PNG or JPEG") from error
        raise
    try:
        check_pixels(*reversed(image.size))
    except TooLargeError:
        image.close()
        raise
    return image


def _head(file: File) -> bytes:
    if isinstance(file, Page):
        file = file.file
    if isinstance(file, bytes):
        return file[:HEAD]
    with Path(file).open("rb") as stream:
        return stream.read(HEAD)


def _unread(head: bytes) -> str | None:
    if head[4:8] == b"ftyp" and looks_like_image(head):
        return "HEIC"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JPEG XL"
    return "PAM" if head.startswith(b"P7") else None


def _repaired(file: File) -> bytes | None:
    """Returns the bytes of an image without what keeps Pillow from reading all of its pixels; None if some are lost."""
    if isinstance(file, Page):
        return None
    try:
        data = file if isinstance(file, bytes) else Path(file).read_bytes()
    except OSError:
        return None
    if data.startswith(_PNG):
        return _without_metadata(data)
    return _with_end(data) if data.startswith(b"\xff\xd8\xff") else None


def _without_metadata(data: bytes) -> bytes | None:
    """Returns a PNG without its ancillary chunks, such as texts beyond Pillow's limit; None if it has none."""
    kept, position, dropped = [_PNG], len(_PNG), False
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if kind in _PNG_PIXELS or kind == b"eXIf":
            kept.append(data[position:end])
        else:
            dropped = True
        position = end
    return b"".join(kept) if dropped else None


def _with_end(data: bytes) -> bytes | None:
    """Returns a JPEG that lacks no more than its end with an end; None if it lacks pixels.

    Those that are there do not change with what is written behind them.
    """
    try:
        data = data.removesuffix(b"\xff")  # half of the end
        ends = [data + 64 * filler + b"\xff\xd9" for filler in (b"\0", b"\x55", b"\xaa")]
        images = []
        for end in ends:
            with _open(end) as image:
                if image.info.get("progressive"):  # its pixels are refined until the end
                    return None
                images.append(np.asarray(image))
    except Exception:  # as above
        return None
    return ends[0] if all(np.array_equal(image, images[0]) for image in images) else None
