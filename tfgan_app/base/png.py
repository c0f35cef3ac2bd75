"""PNG files written from top to bottom, so that a picture larger than memory can be written as it is made.

Portable Network Graphics, third edition, https://www.w3.org/TR/png-3/.
"""

import struct
import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

__all__ = ["write_png"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, grey and opacity, RGB, RGBA
_LEVEL = 6  # zlib's own
_CHUNK = 2**16  # bytes of compressed pixels, at least


def write_png(
    stream: BinaryIO, bands: Iterable[np.ndarray], height: int, width: int, profile: bytes | None = None
) -> None:
    """Writes a picture of 8 or 16 bits.

    Args:
        stream: Where to.
        bands: uint8 or uint16 arrays `(rows, width, channels)` from top to bottom, of grey, grey and opacity, RGB or
            RGBA. They are taken one by one.
        height: Rows of all bands together.
        width: Pixels of a row.
        profile: An ICC profile to embed.

    Raises:
        ValueError: If the bands are not such.
    """
    packer, kept, done, channels = zlib.compressobj(_LEVEL), b"", 0, 0
    dtype: np.dtype[Any] = np.dtype(np.uint8)
    above = np.zeros((1, 0), np.uint8)
    for band in bands:
        if not done:
            channels, dtype = band.shape[-1], np.dtype(np.uint16 if band.dtype == np.uint16 else np.uint8)
            stream.write(_SIGNATURE)
            _write(
                stream,
                b"IHDR",
                struct.pack(">IIBBBBB", width, height, 8 * dtype.itemsize, _COLOUR_TYPES[channels], 0, 0, 0),
            )
            if profile is not None:
                _write(stream, b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
            above = np.zeros((1, width * channels * dtype.itemsize), np.uint8)
        if band.dtype != dtype or band.shape[1:] != (width, channels):
            raise ValueError(f"A band must be {dtype} (rows, {width}, {channels}). Received: {band.dtype} {band.shape}")
        # Of 16 bits, the upper byte comes first.
        rows = np.ascontiguousarray(band, dtype.newbyteorder(">")).view(np.uint8).reshape(len(band), -1)
        known = np.concatenate([above, rows[:-1]])
        kept += packer.compress(_filtered(rows, known, channels * dtype.itemsize).tobytes())
        if len(kept) >= _CHUNK:
            _write(stream, b"IDAT", kept)
            kept = b""
        done, above = done + len(band), rows[-1:]
    if done != height:
        raise ValueError(f"The bands must have {height} rows together. Received: {done}")
    _write(stream, b"IDAT", kept + packer.flush())
    _write(stream, b"IEND", b"")


def _write(stream: BinaryIO, kind: bytes, data: bytes) -> None:
    stream.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def _filtered(rows: np.ndarray, above: np.ndarray, pixel: int) -> np.ndarray:
    """Returns rows as differences from what is known before, each by the filter that leaves least, with its number.

    A pixel has `pixel` bytes.
    """

    def shifted(values):
        return np.concatenate([np.zeros((len(values), pixel), np.uint8), values[:, :-pixel]], axis=1)

    left = shifted(rows)
    mean = ((left.astype(np.uint16) + above) // 2).astype(np.uint8)
    # uint8 wraps, as the format has it. Its fifth filter, Paeth's, would take longer than all of these.
    candidates = [rows, rows - left, rows - above, rows - mean]
    # The least sum of absolute differences, taken as signed: the choice that the specification suggests.
    sums = [np.abs(one.view(np.int8).astype(np.int16)).sum(1) for one in candidates]
    chosen = np.argmin(sums, axis=0)
    filtered = np.choose(chosen[:, None], candidates)
    return np.concatenate([chosen[:, None].astype(np.uint8), filtered], axis=1)
