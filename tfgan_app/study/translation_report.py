"""One page on a translator: its scores beside a baseline, the worst and the best of its pictures, curves."""

import math
import pathlib

import numpy as np
from PIL import Image

from tfgan_app.base import pictures
from tfgan_app.base.files import PathLike
from tfgan_app.study.page import Page
from tfgan_app.study.receipts import Receipt
from tfgan_app.study.translation_scores import Translated

__all__ = ["Extremes", "triptychs", "write_translation_report"]

# The longest side of a picture that is shown; of larger ones it is a part.
_SIDE = 256
# Metrics that rise as pictures get better.
_RISING = ("psnr",)


class Extremes:
    """Keeps the pictures that come out worst and best while they are scored: what `score_translation` takes as `watch`.

    By the first of their values; of pictures that have none it keeps the first. Of a large picture it keeps the part in
    which the output is farthest from the truth, or the middle where nobody knows that.

    Args:
        num: How many of each.
    """

    def __init__(self, num: int = 6):
        self.num, self.metric = num, ""
        self._seen = 0
        self._worst: list[tuple[float, int, Translated]] = []
        self._best: list[tuple[float, int, Translated]] = []

    def __call__(self, picture: Translated) -> None:
        """Looks at a picture."""
        value = math.nan
        if picture.values:
            self.metric, value = next(iter(picture.values.items()))
        # What has no value goes by its number; what is not finite is worse than all.
        rank = self._seen if not picture.values else value if self.metric in _RISING else -value
        rank = rank if math.isfinite(rank) else -math.inf
        for kept, key in ((self._worst, rank), (self._best, -rank)):
            if len(kept) < self.num or key < kept[-1][0]:
                kept.append((key, self._seen, _part(picture)))
                kept.sort(key=lambda entry: entry[:2])
                del kept[self.num :]
        self._seen += 1

    @property
    def worst(self) -> list[Translated]:
        """The worst, the very worst first."""
        return [picture for _, _, picture in self._worst]

    @property
    def best(self) -> list[Translated]:
        """The best, the very best first, but for those that are among the worst."""
        numbers = {number for _, number, _ in self._worst}
        return [picture for _, number, picture in self._best if number not in numbers]


def write_translation_report(
    folder: PathLike, *, title: str, receipt: Receipt, extremes: Extremes, history: PathLike | None = None
) -> pathlib.Path:
    """Writes `index.html`, which needs no other file, and the pictures in it as PNG files.

    A part that fails is left out, with the reason in its place.

    Args:
        folder: Where to; made if missing.
        title: The page's heading.
        receipt: Of `tfgan_app.study.score_translation`.
        extremes: What watched it.
        history: Path of a run's `metrics.csv`, for curves.

    Returns:
        The page's path.
    """
    page = Page(folder, title)
    page.scores(receipt)
    ranked = {"The worst": extremes.worst, "The best": extremes.best} if extremes.metric else {"": extremes.worst}
    for heading, chosen in ranked.items():
        heading = heading or "Translations"
        if chosen:
            with page.part(heading):
                page.picture(heading, heading.split()[-1].lower(), triptychs(chosen), _note(chosen, extremes.metric))
    page.curves(history)
    return page.write()


def _note(chosen, metric):
    names = [f"{picture.name} {picture.values[metric]:.4g}" if metric else picture.name for picture in chosen]
    by = f"By {metric}. " if metric else "The first, not chosen. "
    return f"{by}From above: {', '.join(names)}."


def triptychs(examples: list[Translated]) -> np.ndarray:
    """Returns a picture with a row for each example: source, output and, where it is known, truth.

    Args:
        examples: Of any sizes.

    Returns:
        A uint8 array `(height, width, 3)`; what is transparent is white.
    """
    known = all(example.target is not None for example in examples)
    titles = ["source", "output", *(["truth"] if known else [])]
    size = tuple(max(example.output.shape[axis] for example in examples) for axis in (0, 1))
    cells = []
    for example in examples:
        shown = [example.source, example.output, *([example.target] if known else [])]
        cells += [_cell(picture, example.output.shape[:2], size) for picture in shown]
    return pictures.titled(pictures.tile(np.stack(cells), len(titles)), titles)


def _cell(picture, shape, size):
    """Returns a picture in RGB, drawn in a shape, in the middle of a white one of a size."""
    height, width = shape
    if picture.shape[-1] in (2, 4):
        alpha = picture[..., -1:] / 255.0
        picture = np.round(picture[..., :-1] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)
    picture = np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture
    if picture.shape[:2] != shape:
        picture = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST))
    cell = np.full((*size, 3), 255, np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    cell[top : top + height, left : left + width] = picture
    return cell


def _part(picture):
    """Returns the part of a large picture that is worth a look, cut alike from source, output and truth."""
    height, width = picture.output.shape[:2]
    scale = max(1, height // picture.source.shape[0])
    fits = picture.source.shape[0] * scale == height and picture.source.shape[1] * scale == width
    if max(height, width) <= _SIDE or not fits:
        return picture
    sides = [min(_SIDE, side) // scale * scale for side in (height, width)]
    top, left = _place(picture, sides, scale)

    def cut(whole, factor):
        rows, columns = (slice(x // factor, (x + side) // factor) for x, side in zip((top, left), sides, strict=True))
        return whole[rows, columns].copy()

    target = None if picture.target is None else cut(picture.target, 1)
    return Translated(picture.name, cut(picture.source, scale), cut(picture.output, 1), target, picture.values)


def _place(picture, sides, scale):
    """Returns the top and the left of the window where the error is largest; of the middle where it is not known."""
    free = [whole - side for whole, side in zip(picture.output.shape[:2], sides, strict=True)]
    if picture.target is None:
        return [room // 2 // scale * scale for room in free]
    error = np.abs(picture.output.astype(np.int16) - picture.target).sum(axis=-1, dtype=np.int64)
    sums = np.pad(error.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    step = scale * max(1, 16 // scale)
    rows, columns = (np.arange(0, room + 1, step) for room in free)
    (below, right) = (places + side for places, side in zip((rows, columns), sides, strict=True))
    windows = sums[np.ix_(below, right)] - sums[np.ix_(rows, right)] - sums[np.ix_(below, columns)]
    row, column = np.unravel_index(np.argmax(windows + sums[np.ix_(rows, columns)]), windows.shape)
    return int(rows[row]), int(columns[column])
