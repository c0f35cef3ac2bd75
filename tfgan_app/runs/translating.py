"""Translates the pictures of a file, a folder or an archive into PNGs of the same names."""

import collections
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from PIL import Image

from tfgan_app.base.errors import DataError, UnknownDataset, UsageError
from tfgan_app.base.files import read_object, require_writable, written_whole
from tfgan_app.base.png import write_png
from tfgan_app.base.waiting import clock
from tfgan_app.conditions import Classes
from tfgan_app.data.decoding import Item, read_all
from tfgan_app.data.trees import counted, paths, scan_folder, scan_zip, sentence
from tfgan_app.modalities.image_files import Header, Picture, read_header, read_picture
from tfgan_app.runs.settings import Drawing
from tfgan_app.translator import Translator

__all__ = ["RECORD", "Translated", "check_translating", "translate_files"]

# In a folder of translated pictures, what made them.
RECORD = "translated.json"

# From this opacity on a pixel is known: formats that lose keep 255 as a little less.
_OPAQUE = 250
# From this level on a mask is white.
_WHITE = 128
# Rows on each side that bicubic interpolation looks at, at least.
_BESIDE = 3


@dataclasses.dataclass(frozen=True)
class Translated:
    """What was translated.

    Attributes:
        out: The file or the folder.
        num_images: How many pictures were written.
        kept: How many were there before.
        left_out: Why the others are missing, by name.
    """

    out: pathlib.Path
    num_images: int
    kept: int = 0
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)

    def summary(self) -> str:
        """Returns what was done, and a line for each of the first twenty pictures that are missing."""
        kept = f", {self.kept} there before" if self.kept else ""
        text = f"{counted(self.num_images, 'picture')} in {self.out}{kept}"
        if not self.left_out:
            return f"{text}."
        lines = [f"  {name}: {reason}" for name, reason in self.left_out.items()]
        rest = [f"  and {len(lines) - 20} more"] if lines[20:] else []
        return "\n".join([f"{text}; left out {len(lines)}:", *lines[:20], *rest])


def check_translating(asked: Drawing) -> None:
    """Refuses what does not go together, before anything is loaded.

    Raises:
        UsageError: For settings of pictures that are drawn beside `input`, and of those that are translated without.
    """
    defaults = Drawing()
    translated = ("dropout", "mask", "tile", "way")
    both = {"run", "saved_model", "checkpoint", "labels", "seed", "input", "out", *translated}
    drawn = tuple(row.name for row in Drawing.rows() if row.name not in both)
    for name in drawn if asked.input else translated:
        if getattr(asked, name) != getattr(defaults, name):
            if asked.input:
                raise UsageError(f"{asked.shown(name)} is for pictures that are drawn: it does not go with `input`.")
            raise UsageError(f"{asked.shown(name)} is for pictures that are translated: give them as `input`.")
    if asked.input and asked.out == defaults.out:
        raise UsageError("`input` needs `out`, which says where to: NAME.png of one picture, or a folder.")


def translate_files(
    translator: Translator, asked: Drawing, progress: Callable[[str], object] = lambda line: None
) -> Translated:
    """Translates pictures of any size into PNGs, one after the other, each whole or not at all.

    Pictures keep their names, but for the ending, and their folders. Where two would be of one name, both keep their
    endings as well (`a.jpg.png`). Those that are in the folder already stay, so that the same call goes on after an
    interruption; a folder that another call has filled is refused. The next picture is read while one is computed.

    Args:
        translator: What translates.
        asked: What to translate, and where to.
        progress: Called with a line on how far it is.

    Raises:
        UsageError: For settings that cannot be carried out.
        DataError: If there are no such pictures, or none can be translated.
    """
    channels, labels = _checked_channels(translator, asked), _checked_labels(translator, asked)
    if not (asked.dropout or translator.draws):
        raise UsageError("`dropout=False`: this model has none that it keeps.")
    items = _items("input", str(asked.input))
    single = not _is_many(str(asked.input))
    masks = _masks(asked.mask)
    out = pathlib.Path(asked.out)
    jobs, left_out = _named(items, out, single), dict[str, str]()
    _check_out(out, single, [(path, items[0]) for path in jobs] if single else [])
    kept = 0
    if not single:
        _claim(out, translator, asked)
        kept = sum(path.exists() for path in jobs)
        jobs = {path: item for path, item in jobs.items() if not path.exists()}
    pixels: dict[str, int] = {}
    for item, header in read_all(read_header, jobs.values()):
        if isinstance(header, Header):
            pixels[item.name] = header.height * header.width
        else:
            left_out[item.name] = _reason(header)
    jobs = {path: item for path, item in jobs.items() if item.name in pixels}
    watch, said, written = _Watch(len(jobs), sum(pixels.values()), progress), set[str](), 0
    for path, item, found in _read_ahead(jobs, masks, channels):
        try:
            source = found.result()
        except MemoryError:
            raise
        except Exception as error:  # of many kinds: PIL's decoders raise whatever they meet
            left_out[item.name] = _reason(error)
        else:
            for note in source.notes - said:
                logging.warning("%s: %s; so it is with others like it.", item.name, note)
            said |= source.notes
            _write(translator, source, path, asked, labels, watch)
            written += 1
        watch.finish(pixels[item.name])
    if not written and not kept:
        name, reason = next(iter(left_out.items()))
        which = name if len(left_out) == 1 else f"none of {counted(len(left_out), 'picture')}, as {name}"
        raise DataError(f"`input={asked.input}` cannot be translated: {which}: {reason}.")
    return Translated(next(iter(jobs)) if single else out, written, kept, left_out)


# What is translated, and where to.


def _checked_channels(translator: Translator, asked: Drawing) -> int:
    if asked.way not in translator.ways:
        raise UsageError(f"`way={asked.way}`: this model goes one way only, {', '.join(translator.ways)}.")
    channels = translator.modality_of(asked.way, "source").shape[-1]
    if channels > 4:
        raise UsageError(
            f"`input` goes with models of pictures, which have 1 to 4 channels. This one takes {channels}: translate "
            "arrays in Python."
        )
    if asked.mask and channels in (1, 3):
        raise UsageError(f"`mask={asked.mask}`: this model fills no holes; its sources have {channels} channels.")
    return channels


def _checked_labels(translator: Translator, asked: Drawing) -> np.ndarray | None:
    """Returns the domain or the attributes that pictures are translated to, as a batch of one."""
    if translator.num_classes is None:
        if asked.labels is not None:
            raise UsageError(f"`labels={','.join(map(str, asked.labels))}`: this model takes no labels.")
        return None
    names = asked.labels or ()
    if len(names) != 1 and not (translator.multi_label and names):
        what = "the attributes" if translator.multi_label else "one class,"
        raise UsageError(f"`labels` must name {what} that pictures are translated to.")
    try:
        classes = Classes(translator.num_classes, translator.class_names).chosen(names, len(names))
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not translator.multi_label:
        return classes
    row = np.zeros((1, translator.num_classes), np.int32)
    row[:, classes] = 1
    return row


def _is_many(path: str) -> bool:
    return os.path.isdir(path) or path.lower().endswith(".zip")


def _items(argument: str, path: str) -> list[Item]:
    """Returns the pictures of a file, a folder or a .zip, by their paths below it."""
    if not os.path.exists(path):
        raise UnknownDataset(f"`{argument}={path}` is neither a picture nor a folder or .zip of pictures.")
    place = pathlib.Path(path)
    if not _is_many(path):
        return [Item(place.name, place, 0)]
    tree = scan_folder(place) if place.is_dir() else scan_zip(place)
    if not tree.root.count:
        raise DataError(f"`{argument}={path}` holds no pictures.")
    for note in tree.others.notes():
        logging.warning("%s: %s", path, sentence(note))
    return [Item(name, tree.file(name), 0) for name in paths(tree.root)]


def _masks(path: str | None) -> Callable[[Item], Item | None]:
    """Returns a function from a picture to its mask: the one of its name, with any ending, or the only one."""
    if path is None:
        return lambda item: None
    found = _items("mask", path)
    if not _is_many(path):
        return lambda item: found[0]
    by_name = {_stem(item.name): item for item in found}

    def mask(item: Item) -> Item:
        if _stem(item.name) not in by_name:
            raise DataError(f"`mask={path}` has no picture of its name")
        return by_name[_stem(item.name)]

    return mask


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()


def _named(items: list[Item], out: pathlib.Path, single: bool) -> dict[pathlib.Path, Item]:
    """Returns where each picture goes."""
    if single and out.suffix.lower() == ".png":
        return {out: items[0]}
    alike = collections.Counter(_stem(item.name) for item in items)
    jobs: dict[pathlib.Path, Item] = {}
    taken = set[str]()
    for item in items:
        name = item.name if alike[_stem(item.name)] > 1 else os.path.splitext(item.name)[0]
        while name.casefold() in taken:  # `a.png` and `a.jpg` beside `a.jpg.png`
            name += ".png"
        taken.add(name.casefold())
        jobs[out.joinpath(*pathlib.PurePosixPath(f"{name}.png").parts)] = item
    return jobs


def _check_out(out: pathlib.Path, single: bool, files: list[tuple[pathlib.Path, Item]]) -> None:
    if out.suffix and out.suffix.lower() != ".png" and not out.is_dir():
        raise UsageError(f"`out={out}` must end in .png or name a folder: PNGs keep what the model made to the bit.")
    if not single and out.suffix.lower() == ".png":
        raise UsageError(f"`out={out}` is one picture, and `input` many. Name a folder.")
    for path, item in files:
        if path.exists() and os.path.samefile(path, str(item.file)):
            raise UsageError(f"`out={out}` would take the place of the picture itself. Give another.")
        if path != out and path.exists():
            raise UsageError(f"`out={out}` holds {path.name} already. Give another folder, or {path.name}'s own path.")
        require_writable("out", path)


def _claim(out: pathlib.Path, translator: Translator, asked: Drawing) -> None:
    """Makes sure that a folder holds nothing but what the same call would put there, and says so in it.

    Pictures that another model left would pass for this one's.
    """
    here, there = out.resolve(), pathlib.Path(str(asked.input)).resolve()
    if here == there or there in here.parents:
        raise UsageError(f"`out={out}` lies in `input`, whose pictures it would be among the next time.")
    require_writable("out", out / RECORD)
    labels = None if asked.labels is None else list(asked.labels)
    settings = {name: getattr(asked, name) for name in ("run", "saved_model", "seed", "dropout", "tile", "way", "mask")}
    record = {"model": translator.describe(), **settings, "labels": labels}
    record = json.loads(json.dumps(record))
    path = out / RECORD
    if out.is_dir() and any(out.iterdir()):
        try:
            before = read_object(path)
        except (OSError, ValueError):
            before = None
        if before != record:
            differs = [] if before is None else [f"`{name}`" for name in record if before.get(name) != record[name]]
            why = f" made with another {', '.join(differs)}" if differs else " already"
            raise UsageError(f"`out={out}` is a folder that holds files{why}. Give another, or empty it.")
        return
    with written_whole(path) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


# From a file to what the network takes.


class _Source(NamedTuple):
    """A picture as a network takes it.

    Attributes:
        image: uint8 `(height, width, channels)`.
        grey: Whether its file has no colours.
        opacity: What is to be put back, `(height, width, 1)`; None where there is none or the network takes it.
        profile: The ICC profile of its colours.
        notes: What was changed that some might miss.
    """

    image: np.ndarray
    grey: bool
    opacity: np.ndarray | None
    profile: bytes | None
    notes: frozenset[str]


def _read_ahead(
    jobs: dict[pathlib.Path, Item], masks: Callable[[Item], Item | None], channels: int
) -> Iterator[tuple[pathlib.Path, Item, "concurrent.futures.Future[_Source]"]]:
    """Yields pictures in order; while one is in use, the next is read."""

    def read(item: Item) -> _Source:
        mask = masks(item)
        picture = read_picture(item.encoded)
        return _prepared(picture, None if mask is None else read_picture(mask.encoded), channels)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = list(reversed(jobs.items()))
        ahead = pool.submit(read, waiting[-1][1]) if waiting else None
        while waiting and ahead is not None:
            (path, item), now = waiting.pop(), ahead
            concurrent.futures.wait([now])
            ahead = pool.submit(read, waiting[-1][1]) if waiting else None
            yield path, item, now


def _prepared(picture: Picture, mask: Picture | None, channels: int) -> _Source:
    """Brings a picture into the channels of a network.

    Raises:
        DataError: If a network that fills holes is given none, or nothing else.
    """
    colours, opacity, notes = picture.colours, picture.opacity, set()
    grey = colours.shape[-1] == 1
    if picture.bits > 8:
        notes.add(f"its {picture.bits} bits are scaled to 8")
    if picture.several:
        notes.add("of the pictures in it the first one alone is translated")
    if channels in (2, 4):
        known, opacity = _known(picture, mask), None
    elif opacity is not None:
        colours = _uncovered(colours, opacity)
    if channels < 3 and not grey:
        notes.add("its colours are taken as grey, which is all that the model takes")
        colours = np.asarray(Image.fromarray(colours).convert("L"))[..., None]
    elif channels >= 3 and grey:
        colours = np.repeat(colours, 3, axis=-1)
    if channels in (2, 4):
        colours = np.concatenate([colours, known], axis=-1)
    return _Source(colours, grey, opacity, picture.profile, frozenset(notes))


def _known(picture: Picture, mask: Picture | None) -> np.ndarray:
    """Returns where a picture is known, as levels of opacity."""
    height, width, _ = picture.colours.shape
    known = np.full((height, width, 1), True)
    if picture.opacity is not None:
        known &= picture.opacity >= _OPAQUE
    elif mask is None:
        raise DataError(
            "it has no hole to fill: none of it is transparent. Make it so there, or give a picture that is white "
            "there as `mask`"
        )
    if mask is not None:
        if mask.colours.shape[:2] != (height, width):
            tall, wide = mask.colours.shape[:2]
            raise DataError(f"it has {width}x{height} pixels and its `mask` {wide}x{tall}. Expected as many")
        known &= mask.colours.max(-1, keepdims=True) < _WHITE
    if known.all():
        raise DataError("it has no hole to fill: " + ("its `mask` is black" if mask else "it is all but opaque"))
    if not known.any():
        raise DataError("all of it is a hole, and nothing says what belongs there")
    return np.where(known, 255, 0).astype(np.uint8)


def _uncovered(colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Returns colours, those that nobody sees as the nearest that somebody does.

    Under what is wholly transparent anything may stand, often black, and networks would take it into what is beside.
    """
    if not opacity.any():
        return colours
    levels = [Image.fromarray(np.concatenate([np.repeat(colours, 3 // colours.shape[-1], -1), opacity], -1))]
    # Ever smaller, colours weighted by opacity, until none is unknown.
    while levels[-1].getchannel("A").getextrema()[0] == 0 and max(levels[-1].size) > 1:
        levels.append(levels[-1].convert("RGBa").reduce(2).convert("RGBA"))
    filled = levels.pop()
    while levels:
        level = levels.pop()
        seen = level.getchannel("A").point(lambda value: 255 if value else 0)
        filled = Image.composite(level, filled.resize(level.size, Image.Resampling.BILINEAR), seen)
    return np.asarray(filled)[..., : colours.shape[-1]]


# From what the network makes to a file.


def _write(
    translator: Translator,
    source: _Source,
    path: pathlib.Path,
    asked: Drawing,
    labels: np.ndarray | None,
    watch: "_Watch",
) -> None:
    height, width, channels = source.image.shape
    seed = asked.seed if asked.dropout else None
    bands = translator.bands(source.image, tile=asked.tile, seed=seed, labels=labels, way=asked.way)
    scale, target = translator.scale, translator.modality_of(asked.way, "target")
    back = source.grey and channels >= 3 and target.shape[-1] == 3
    back = back and (scale > 1 or translator.keeps_colours)
    kept = target.shape[-1] == (1 if source.grey or channels < 3 else 3) or back

    def stored() -> Iterator[np.ndarray]:
        top = 0
        for band in bands:
            levels = np.asarray(target.store(band))
            if back:
                levels = np.asarray(Image.fromarray(levels).convert("L"))[..., None]
            if source.opacity is not None:
                levels = np.concatenate([levels, _enlarged(source.opacity, scale, top, len(levels))], axis=-1)
            top += len(levels)
            yield levels
            watch.add(len(levels) * width / scale)

    with written_whole(path) as partial, partial.open("wb") as stream:
        write_png(stream, stored(), scale * height, scale * width, source.profile if kept else None)


def _enlarged(opacity: np.ndarray, scale: int, top: int, rows: int) -> np.ndarray:
    """Returns rows from `top` on of opacity that is enlarged, bicubic."""
    if scale == 1:
        return opacity[top : top + rows]
    # With the rows beside, which bicubic looks at.
    first, last = max(top // scale - _BESIDE, 0), -(-(top + rows) // scale) + _BESIDE
    part = opacity[first:last, :, 0]
    image = Image.fromarray(part).resize((scale * part.shape[1], scale * part.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(image)[top - scale * first :][:rows, :, None]


class _Watch:
    """Tells how many pictures are done, and the time left by the pixels."""

    def __init__(self, num: int, pixels: int, progress: Callable[[str], object]) -> None:
        self._num, self._pixels, self._progress = num, pixels, progress
        self._done, self._finished, self._part = 0, 0.0, 0.0
        self._began = time.monotonic()

    def add(self, pixels: float) -> None:
        """Counts pixels of the present picture."""
        self._part += pixels
        self._tell()

    def finish(self, pixels: int) -> None:
        """Counts a picture, whatever became of it."""
        self._done, self._finished, self._part = self._done + 1, self._finished + pixels, 0.0
        self._tell()

    def _tell(self) -> None:
        done = self._finished + self._part
        left = (time.monotonic() - self._began) * (self._pixels - done) / max(done, 1.0)
        self._progress(f"{self._done}/{self._num} pictures, {done / max(self._pixels, 1):.0%}, {clock(left)} left")


def _reason(error: Any) -> str:
    text = "not an image" if isinstance(error, Image.UnidentifiedImageError) else str(error) or type(error).__name__
    return text.rstrip(".")
