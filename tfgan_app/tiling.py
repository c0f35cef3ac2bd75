"""Pictures too large to be computed at once, in overlapping tiles; memory goes by a row of tiles, not by the picture.

What a pixel of the output sees decides how tiles meet.

- Where it sees a bounded part of the source, each tile has that much of the picture around it, and nothing of what its
  own borders did is kept: the result is that of the whole picture.
- Where it sees all (instance normalisation, a bottleneck), no tile can know what lies outside of it. All tiles then
  have one size, those beside each other share a broad strip, the part of it that their own borders have marred is
  dropped, and over the rest one gives way to the other smoothly: what differs between tiles becomes a slow change
  instead of an edge.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

__all__ = ["count_tiles", "tiled"]

# Of a tile, where a pixel sees the whole: what it shares with each neighbour, and of that share what is dropped at
# either end.
_OVERLAP, _DROPPED = 1 / 4, 1 / 8


def tiled(
    forward: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    *,
    tile: int,
    scale: int = 1,
    multiple: int = 1,
    radius: int | None = None,
) -> Iterator[np.ndarray]:
    """Yields what a network makes of a picture, in bands from top to bottom, computed tile by tile.

    Args:
        forward: Maps a part of `image` with a batch axis, `(1, height, width, channels)`, to the output,
            `(1, scale * height, scale * width, channels')`.
        image: `(height, width, channels)`, whose sides are multiples of `multiple`.
        tile: Side of a tile in source pixels; it is rounded up to a multiple. Where `2 * radius <= tile`, what is read
            and computed at once is larger by `radius` on each side; otherwise tiles of this size blend.
        scale: Pixels of the output for each of the source, a side.
        multiple: Where tiles may begin: the stride of the network's coarsest features.
        radius: How far a pixel of the output sees in source pixels, None for the whole picture.

    Yields:
        Float32 arrays `(rows, scale * width, channels')`, which together are the output.
    """
    height, width, _ = image.shape
    rows, columns = (_spans(side, tile, scale, multiple, radius) for side in (height, width))
    rest: np.ndarray | None = None
    for index, row in enumerate(rows):
        band: np.ndarray | None = None
        for column in columns:
            part = image[row.start : row.stop, column.start : column.stop]
            found = np.asarray(forward(part[None]))[0]
            if band is None:
                band = np.zeros((len(row.share), scale * width, found.shape[-1]), np.float32)
            share = row.share[:, None, None] * column.share[:, None]
            band[:, column.first : column.first + len(column.share)] += share * found[row.inner, column.inner]
        assert band is not None
        if rest is not None:
            band[: len(rest)] += rest
        done = rows[index + 1].first - row.first if index + 1 < len(rows) else len(band)
        yield band[:done]
        rest = band[done:].copy()


def count_tiles(
    height: int, width: int, *, tile: int, scale: int = 1, multiple: int = 1, radius: int | None = None
) -> int:
    """Returns how many tiles a picture takes; the rest as in `tiled`."""
    return math.prod(len(_spans(side, tile, scale, multiple, radius)) for side in (height, width))


class _Span(NamedTuple):
    """A tile along one side of the picture.

    Attributes:
        start: Where what is read begins, in source pixels.
        stop: Where it ends.
        first: The first pixel of the output that the tile has a share in.
        share: Its share in that and the following ones, from 0 to 1; all tiles' shares in a pixel are 1 together.
        inner: Those pixels in the tile's own output.
    """

    start: int
    stop: int
    first: int
    share: np.ndarray
    inner: slice


def _spans(side: int, tile: int, scale: int, multiple: int, radius: int | None) -> list[_Span]:
    size = _up(tile, multiple)
    exact = radius is not None and 2 * radius <= tile
    if exact:
        overlap = 2 * _up(radius or 0, multiple)
        size, ramp = size + overlap, 0.0
    else:
        overlap = min(_up(math.ceil(_OVERLAP * size), multiple), max(size - multiple, 0))
        ramp = scale * overlap * (1 - 2 * _DROPPED)
    size = min(size, side)
    count = 1 if size == side else math.ceil((side - overlap) / (size - overlap))
    # As far from each other as evenly goes; no two share less than the overlap.
    starts = [multiple * (index * ((side - size) // multiple) // max(count - 1, 1)) for index in range(count)]
    # In the middle of what two tiles share one gives way to the other.
    meets = [scale * (after + before + size) / 2 for before, after in itertools.pairwise(starts)]
    pixels = np.arange(scale * side) + 0.5
    rises = [np.ones(scale * side), *(_rise(pixels - meet, ramp) for meet in meets), np.zeros(scale * side)]
    spans = []
    for start, rise, after in zip(starts, rises, rises[1:], strict=False):
        share = rise - after
        first, last = np.flatnonzero(share)[[0, -1]]
        inner = slice(first - scale * start, last + 1 - scale * start)
        spans.append(_Span(start, start + size, int(first), share[first : last + 1].astype(np.float32), inner))
    return spans


def _rise(distance: np.ndarray, width: float) -> np.ndarray:
    """Returns a smooth step from 0 to 1 of a width around 0, a sharp one where that is 0."""
    if not width:
        return (distance > 0).astype(np.float64)
    share = np.clip(distance / width + 0.5, 0.0, 1.0)
    return share * share * (3 - 2 * share)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
