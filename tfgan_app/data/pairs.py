"""Sources and targets from anywhere: folders, archives, arrays, names of TFDS, or made of any images by a degradation.

`load_pairs` is for notebooks; `open_pairs` gives a run a `PairSet`, with the facts to record about it.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from tfgan_app.base.errors import DataError, NotDownloadable
from tfgan_app.base.sizes import ImageSize, Size, as_size, compact
from tfgan_app.base.table import is_range
from tfgan_app.data.arrays import channels_last, read_arrays, read_sides
from tfgan_app.data.decoding import Item, doubts, form_of, read_all, report_skipped
from tfgan_app.data.files import array_scaling, common_folder, no_images, own_licence
from tfgan_app.data.galleries import Listing, Look, open_gallery
from tfgan_app.data.layouts import classes_of, splits_of, words_of
from tfgan_app.data.locating import Kind, located
from tfgan_app.data.named import (
    builder_in,
    builder_named,
    find_builder,
    image_key,
    image_keys,
    licence_of,
    list_images,
    origin_of,
)
from tfgan_app.data.pair_set import PairSet, Reader
from tfgan_app.data.partners import Place, by_names, in_sides, in_two, matched, places_of, side_of
from tfgan_app.data.records import Indexed, Shape
from tfgan_app.data.splits import open_splits, split_indices, split_name
from tfgan_app.data.trees import Tree, counted, listed, paths, scan_folder, scan_zip, sentence
from tfgan_app.modalities.image_files import Header, fit_image, read_header
from tfgan_app.modalities.values import Range, scaled

__all__ = ["PAIRED", "PairSet", "load_pairs", "open_pairs", "peek_pairs"]

PAIRED = ("auto", "folders", "names", "side_by_side")

_LOOKED_AT = 64  # pairs, to see whether they are what they were meant to be
_LOOKED_AT_BYTES = 2**24
_LAYOUTS = (
    "Expected two sub-folders with equal names of files (A/ and B/, source/ and target/, images/ and masks/), or names "
    "such as 1_A.png and 1_B.png, or both in one picture (`paired=side_by_side`). Or give the folder of the targets, "
    "`targets=...`, or have the sources made of the pictures, for example by `degrade=shrink(4)`."
)


def load_pairs(
    dataset: str,
    batch_size: int,
    *,
    splits: tuple[str, ...] = ("train", "test"),
    seed: int = 0,
    mirror: bool = False,
    **source_options: Any,
) -> tuple[tf.data.Dataset, ...]:
    """Loads pairs for `model.fit`: the first split shuffled for training, the others in order.

    ```python
    train, test = tfgan_app.data.load_pairs("photographs", batch_size=16, degrade="shrink(4)", crop=96)
    ```

    Args:
        dataset: A dataset, folder or file; see `open_pairs`.
        batch_size: Pairs in each batch. The training split leaves out what does not fill one; it is shuffled anew in
            every epoch.
        splits: The splits to load.
        seed: Fixes the order of the training pairs, and what is cut out of them.
        mirror: Whether to turn each training pair left to right with probability 1/2, anew in every epoch.
        **source_options: The other arguments of `open_pairs`; the other splits are scaled as the first one is.

    Returns:
        A finite `tf.data.Dataset` for each split. Elements are `(source, target)`, float32
        `(batch, height, width, channels)` in [-1, 1] each.

    Raises:
        DataError: If the dataset cannot be used as asked.
    """
    train, *others = open_splits(open_pairs, dataset, splits, source_options)
    return train.passes(batch_size, seed=seed, mirror=mirror), *(pairs.in_order(batch_size) for pairs in others)


def open_pairs(
    dataset: str,
    *,
    split: str = "train",
    targets: str | None = None,
    paired: str = "auto",
    reverse: bool = False,
    degrade: Any = None,
    crop: int | None = None,
    image_size: ImageSize | None = None,
    fit: str = "crop",
    channels: int | None = None,
    sides: bool = False,
    data_dir: str | None = None,
    manual_dir: str | None = None,
    value_range: Sequence[Any] | None = None,
    fallback_dataset: str | None = None,
) -> PairSet:
    """Opens sources and targets of one split of a dataset.

    Args:
        dataset: What `open_images` takes. Of pairs: a folder or .zip in one of the layouts of `docs/images.md`, an .npz
            file with arrays `sources` and `targets`, or a TFDS dataset of two images (`div2k`). Of sides: the same,
            without partners, and TFDS datasets of splits A and B (`cycle_gan/horse2zebra`).
        split: A split of the dataset, optionally with a slice: `train`, `test[:90%]`.
        targets: Where the targets lie, if `dataset` holds the sources alone.
        paired: How pairs are told: "folders", "names" of files such as 1_A.png and 1_B.png, or "side_by_side", the
            source left in one picture; "auto" is one of the first two.
        reverse: Whether to exchange sources and targets.
        degrade: What makes sources of the images of `dataset`, such as `shrink(4)`; see
            `tfgan_app.data.degradations`. With `sides`, of one half of them, and the other half are the targets.
        crop: Height and width, in pixels, of what is cut out of each target, and the corresponding part of its source:
            anywhere in training, else the middle. By default all of it, where all are of one size.
        image_size: The size in pixels that each target is brought to before `crop`, and its source accordingly: the
            side of a square, `(height, width)`, or WIDTHxHEIGHT in a text. By default as they are.
        fit: How pictures of another aspect ratio get there, as in `open_images`; sources and targets alike.
        channels: 1 for greyscale or 3 for RGB, of sources and targets; by default as each side has.
        sides: Whether sources and targets are two sides without partners, each drawn in an order of its own.
        data_dir: Where TFDS keeps prepared datasets; by default `~/tensorflow_datasets`.
        manual_dir: Where archives lie that were downloaded by hand; by default `<data_dir>/downloads/manual`.
        value_range: The stored values that become black and white, as in `open_images`; or two such ranges, of the
            sources and of the targets. To open another split like this one, give its `value_range`.
        fallback_dataset: What to take if, and only if, this one is not at hand and cannot be downloaded.

    Raises:
        UnknownDataset: If nothing goes by this name.
        NotDownloadable: If the dataset is not at hand and its hosts do not answer.
        DataError: If the dataset cannot be used as asked.
    """
    degradation = _degradation(degrade)
    _check(paired, targets, degradation is not None, reverse, sides)
    multiple = 1 if degradation is None else degradation.scale
    look = _look(crop, image_size, fit, channels, multiple, value_range)

    def opened(name: str) -> PairSet:
        request = _Request(name, split, data_dir, manual_dir, look.ranges)
        return _opened(request, targets, paired, reverse, degradation, sides, look)

    try:
        return opened(dataset)
    except NotDownloadable as error:
        if fallback_dataset is None:
            raise
        pairs = opened(fallback_dataset)
        logging.warning("%s; taking %s.", error.brief, fallback_dataset)
        return dataclasses.replace(pairs, fallback_for=dataset)


def peek_pairs(dataset: str, **source_options: Any) -> tuple[Shape, Shape]:
    """Returns `(source_shape, target_shape)` of a dataset, without downloading or preparing it.

    Args:
        dataset: See `open_pairs`.
        **source_options: The other arguments of `open_pairs`.

    Raises:
        DataError: As `open_pairs`, or if sizes are known only once the dataset is prepared.
    """
    if located(dataset).kind is not Kind.NAMED:
        pairs = open_pairs(dataset, **source_options)
        return pairs.source_shape, pairs.target_shape
    options = {name: source_options.get(name) for name in ("crop", "image_size", "channels", "degrade", "targets")}
    degradation = _degradation(options["degrade"])
    builder = find_builder(dataset, source_options.get("data_dir"))
    where = f"'{dataset}'"
    if degradation is not None or source_options.get("sides"):
        keys = (image_key(builder.info.features, where),) * 2
    else:
        keys = _pair_keys(builder, where)
    declared = [builder.info.features[key].shape for key in keys]
    sizes = [(height, width) for height, width, _ in declared]
    size = options["crop"] or options["image_size"]
    if (None in sizes[0] or None in sizes[1]) and (size is None or keys[0] != keys[1]):
        raise DataError(f"The sizes of the images of {where} are known only once it is prepared.")
    scale = 1 if keys[0] == keys[1] else sizes[1][0] // sizes[0][0]
    target = as_size(size) if size else sizes[1]
    if degradation is not None:
        scale = degradation.scale
        target = target[0] // scale * scale, target[1] // scale * scale
    depths = [options["channels"] or (1 if depth == 1 else 3) for _, _, depth in declared]
    if degradation is not None:
        depths[0] = degradation.channels(depths[0])
    shapes = (target[0] // scale, target[1] // scale, depths[0]), (*target, depths[1])
    if options["targets"] is not None and source_options.get("sides"):
        rest = {name: value for name, value in source_options.items() if name not in ("targets", "degrade", "sides")}
        return shapes[0], peek_pairs(options["targets"], **rest, sides=True)[1]
    return tuple(reversed(shapes)) if source_options.get("reverse") else shapes


class _Found(NamedTuple):
    """Pictures, or sources with their targets, as they were found.

    Attributes:
        listings: One, or sources and targets of which those of equal numbers belong together.
        name: What they are called.
        licence: Theirs.
        origin: Where they come from.
        notes: Clauses.
        alone: How many pictures have no partner.
        halves: Whether each picture holds a pair, side by side.
    """

    listings: tuple[Listing, ...]
    name: str
    licence: str
    origin: str
    notes: list[str]
    alone: int = 0
    halves: bool = False


class _Request(NamedTuple):
    """What is to be opened."""

    dataset: str
    split: str
    data_dir: str | None
    manual_dir: str | None
    ranges: tuple[Range | None, ...]

    @property
    def where(self) -> str:
        """What it is called in messages."""
        return f"'{self.dataset}'"


def _opened(
    request: _Request,
    targets: str | None,
    paired: str,
    reverse: bool,
    degradation: Any,
    sides: bool,
    look: Look,
) -> PairSet:
    both: tuple[_Found, ...]
    if degradation is not None and targets is None:
        found = _images(request, 0)
        both = _halved(found) if sides else (found,)
    elif sides:
        both = _two_sides(request, targets)
    else:
        both = (_pairs(request, targets, paired),)
    if reverse:
        both = tuple(_exchanged(found) for found in reversed(both))
    galleries = tuple(
        open_gallery(
            found.listings,
            request.where,
            # Only what is degraded must have sides of its multiples.
            dataclasses.replace(look, multiple=look.multiple if side == 0 else 1, ranges=look.ranges[side:]),
            halves=found.halves,
            reverse=reverse,
            what="pairs" if len(found.listings) > 1 or found.halves else "pictures",
        )
        for side, found in enumerate(both)
    )
    reader = Reader(galleries, degradation)
    source_shape, target_shape = reader.shapes
    ranges = [value_range for gallery in galleries for value_range in gallery.value_ranges]
    notes = [note for found in both for note in found.notes] + [note for gallery in galleries for note in gallery.notes]
    if reverse:
        notes.append("sources and targets are exchanged, as `reverse=True` says")
    first = both[0]
    pairs = PairSet(
        name=first.name,
        split=request.split,
        source_shape=source_shape,
        target_shape=target_shape,
        paired=not sides,
        licence="; ".join(dict.fromkeys(found.licence for found in both)),
        origin="; ".join(dict.fromkeys(found.origin for found in both)),
        fingerprint=galleries[0].fingerprint if len(galleries) == 1 else "-".join(g.fingerprint for g in galleries),
        reader=reader,
        records=tuple(_numbers(len(gallery)) for gallery in galleries),
        skipped=sum(gallery.skipped for gallery in galleries) + sum(found.alone for found in both),
        value_range=ranges[0] if len(set(ranges)) == 1 else (ranges[0], ranges[-1]),
        notes=tuple(dict.fromkeys(map(sentence, notes))),
        degrade=None if degradation is None else str(degradation),
    )
    return _with_doubts(pairs)


def _numbers(count: int) -> Indexed:
    return Indexed(lambda indices: indices, count, tf.TensorSpec((), tf.int64))


def _with_doubts(pairs: PairSet) -> PairSet:
    """Adds to a set's notes what some of its pairs look like, evenly spaced."""
    limit = max(1, _LOOKED_AT_BYTES // (math.prod(pairs.source_shape) + math.prod(pairs.target_shape)))
    num = min(_LOOKED_AT, limit)
    indices = tuple(
        np.linspace(0, part.count - 1, min(num, pairs.num_images)).astype(np.int64) for part in pairs.records
    )
    sources, targets = pairs.reader.batch(indices[0], indices, 0, anywhere=False, mirror=False)
    notes = [f"of the targets, {doubt}" for doubt in doubts(targets)]
    if pairs.degrade is None:  # maps of edges are almost uniform
        notes += [f"of the sources, {doubt}" for doubt in doubts(sources)]
    if pairs.paired and sources.shape == targets.shape and (sources == targets).all():
        notes.append(f"each source looked at ({len(sources)}) is its target: there is nothing to learn")
    return dataclasses.replace(pairs, notes=(*pairs.notes, *map(sentence, notes)))


# What is asked for.


def _degradation(degrade: Any) -> Any:
    if degrade is None or not isinstance(degrade, str):
        return degrade
    from tfgan_app.data.degradations import parse_degradation

    return parse_degradation(degrade)


def _check(paired: str, targets: str | None, degraded: bool, reverse: bool, sides: bool) -> None:
    if paired not in PAIRED:
        raise DataError(f"`paired={paired}` is unknown. There are: {', '.join(PAIRED)}.")
    if paired != "auto" and sides:
        raise DataError(f"`paired={paired}` says how partners are found, and two sides have none.")
    if paired not in ("auto", "folders") and targets is not None:
        raise DataError(f"`paired={paired}` is of one folder. With `targets`, partners have equal names.")
    if degraded and not sides and targets is not None:
        raise DataError("`degrade` makes the sources of the targets: give it or `targets`, not both.")
    if degraded and reverse:
        raise DataError("`reverse=True` has no meaning with `degrade`, which makes the sources.")
    if degraded and paired != "auto":
        raise DataError(f"`paired={paired}` has no meaning with `degrade`, which makes the sources.")


def _look(
    crop: int | None,
    image_size: ImageSize | None,
    fit: str,
    channels: int | None,
    multiple: int,
    value_range: Sequence[Any] | None,
) -> Look:
    size = form_of(image_size, fit=fit).image_size
    if crop is not None and crop < 1:
        raise DataError(f"`crop={crop}` must be at least 1.")
    if crop is not None and size is not None and crop > min(size):
        raise DataError(f"`crop={crop}` is larger than `image_size={compact(size)}`, which comes before.")
    if crop is not None and crop % multiple:
        raise DataError(f"`crop={crop}` must be a multiple of {multiple}, by which `degrade` divides its sides.")
    if channels not in (None, 1, 3):
        raise DataError(f"`channels={channels}` must be 1 (greyscale) or 3 (RGB).")
    return Look(size, fit, channels, crop, multiple, _ranges(value_range))


def _ranges(value_range: Sequence[Any] | None) -> tuple[Range | None, Range | None]:
    if value_range is None:
        return None, None
    each = [value_range] * 2 if is_range(value_range) else list(value_range)
    if len(each) != 2 or not all(one is None or is_range(one) for one in each):
        raise DataError(
            f"`value_range={value_range}` must be two numbers, the first the smaller, or such a range of the sources "
            "and one of the targets."
        )
    first, second = (None if one is None else (float(one[0]), float(one[1])) for one in each)
    return first, second


# Where it is found.


def _images(request: _Request, side: int) -> _Found:
    """Finds the images of a set, as `open_images` does, whatever their sizes."""
    kind, path = located(request.dataset)
    if kind is Kind.ARRAY:
        found = read_arrays(path, request.split)
        listing, notes = _array(found.images, request, side)
        return _Found((listing,), path.name, own_licence(), f"array of images '{path.name}'", [*found.notes, *notes])
    if kind is Kind.FOLDER:
        tree = _tree(path)
        splits, notes = splits_of(tree.root)
        _, images, more = classes_of(splits[split_name(request.split, splits, request.where)])
        images = [images[index] for index in split_indices(request.split, len(images))]
        what = "folder of images" if path.is_dir() else "archive of images"
        notes += [*(note for note in more if "class" not in note), *tree.others.notes()]
        return _Found((_files(tree, images),), path.name, own_licence(tree), f"{what} '{path.name}'", notes)
    builder = _builder(request, kind, path)
    listing = list_images(builder, request.split, request.where)
    return _named(builder, request, (listing,))


def _pairs(request: _Request, targets: str | None, paired: str) -> _Found:
    """Finds sources with their targets."""
    kind, path = located(request.dataset)
    if targets is not None:
        return _pairs_of_two(request, targets)
    if kind is Kind.ARRAY:
        if paired == "side_by_side":
            found = _images(request, 0)
            return found._replace(halves=True)
        return _pairs_of_arrays(path, request)
    if kind is Kind.FOLDER:
        return _pairs_of_tree(path, request, paired)
    builder = _builder(request, kind, path)
    if paired == "side_by_side":
        return _named(builder, request, (list_images(builder, request.split, request.where),))._replace(halves=True)
    keys = _pair_keys(builder, request.where)
    listings = tuple(list_images(builder, request.split, request.where, key) for key in keys)
    note = f"sources are its images '{keys[0]}', targets '{keys[1]}'"
    return _named(builder, request, listings, [note])


def _two_sides(request: _Request, targets: str | None) -> tuple[_Found, _Found]:
    """Finds two sides without partners."""
    if targets is not None:
        return _images(request, 0), _images(request._replace(dataset=targets), 1)
    kind, path = located(request.dataset)
    if kind is Kind.ARRAY:
        found = _pairs_of_arrays(path, request, partners=False)
        return tuple(found._replace(listings=(listing,)) for listing in found.listings)  # type: ignore[return-value]
    if kind is Kind.FOLDER:
        return _sides_of_tree(path, request)
    builder = _builder(request, kind, path)
    names = [re.sub(r"^\w+", lambda match: match[0] + side, request.split) for side in "AB"]  # noqa: B023
    if all(re.match(r"\w+", name)[0] in builder.info.splits for name in names):  # type: ignore[index]
        listings = tuple(list_images(builder, name, request.where) for name in names)
    elif len(image_keys(builder.info.features)) == 2:
        keys = _pair_keys(builder, request.where)
        listings = tuple(list_images(builder, request.split, request.where, key) for key in keys)
    else:
        raise DataError(
            f"{request.where} has no two sides: neither splits {names[0]} and {names[1]}, nor two images an example. "
            f"It has the splits {', '.join(builder.info.splits)}. Give another dataset as `targets`."
        )
    return tuple(_named(builder, request, (listing,)) for listing in listings)  # type: ignore[return-value]


def _halved(found: _Found) -> tuple[_Found, _Found]:
    """Returns two halves of a set that share no picture."""
    (listing,) = found.listings
    count = len(listing.items)
    if count < 2:
        raise DataError(f"'{found.name}' has {count} picture, of which no two sides can be made.")
    # RandomState, unlike Generator, promises the same stream in every version of NumPy.
    order = np.random.RandomState(0).permutation(count)
    halves = [np.sort(half).tolist() for half in (order[: count // 2], order[count // 2 :])]
    note = f"sources are made of {len(halves[0])} of its pictures, and the other {len(halves[1])} are the targets"
    first, second = (found._replace(listings=(listing.taken(half),), notes=[*found.notes, note]) for half in halves)
    return first, second


def _exchanged(found: _Found) -> _Found:
    return found._replace(listings=tuple(reversed(found.listings)))


def _pair_keys(builder: Any, where: str) -> tuple[str, str]:
    """Returns which images of an example are the source and the target."""
    keys = image_keys(builder.info.features)
    supervised = builder.info.supervised_keys or ()
    if len(supervised) == 2 and all(key in keys for key in supervised):
        keys = list(supervised)
    if len(keys) != 2:
        raise DataError(
            f"{where} has {len(keys)} images an example ({listed(keys)}), and pairs are two. Have the sources made of "
            "them, for example by `degrade=shrink(4)`."
        )
    first, second = sorted(keys, key=lambda key: side_of(words_of(key)) == "target")
    return first, second


def _builder(request: _Request, kind: Kind, path: Path) -> Any:
    if kind is Kind.STACK:
        raise DataError(f"{request.where} is one file of several images, of which no pairs are made. Give a folder.")
    if kind is Kind.PREPARED:
        return builder_in(path)
    return builder_named(request.dataset, request.data_dir, request.manual_dir)


def _named(builder: Any, request: _Request, listings: tuple[Listing, ...], notes: Sequence[str] = ()) -> _Found:
    name = builder.name if located(request.dataset).kind is Kind.PREPARED else request.dataset
    return _Found(listings, name, licence_of(builder), origin_of(builder), list(notes))


# Folders and archives.


def _tree(path: Path) -> Tree:
    tree = scan_folder(path) if path.is_dir() else scan_zip(path)
    if not tree.root.count:
        raise no_images(f"'{path}'", tree)
    return tree


def _files(tree: Tree, images: list[str]) -> Listing:
    start = len(common_folder(images))
    items = [Item(path[start:], tree.file(path), 0) for path in images]
    return Listing(items, lambda number: (images[number], tree.size(images[number])))


def _own(
    path: Path, trees: tuple[Tree, ...], listings: tuple[Listing, ...], what: str, notes: list[str], alone: int = 0
) -> _Found:
    kind = "folder" if path.is_dir() else "archive"
    return _Found(listings, path.name, own_licence(*trees), f"{kind} of {what} '{path.name}'", notes, alone=alone)


def _pairs_of_tree(path: Path, request: _Request, paired: str) -> _Found:
    tree = _tree(path)
    images = list(paths(tree.root))
    if paired == "side_by_side":
        return _images(request, 0)._replace(halves=True)
    places, notes = places_of(images)
    arranged = in_sides(places) if paired in ("auto", "folders") else None
    if arranged is None and paired in ("auto", "names"):
        arranged = by_names(places)
    if arranged is None and paired in ("auto", "folders"):
        arranged = in_two(places, pairs=True)
    if arranged is None:
        raise _no_pairs(tree, images, request)
    available = {place.split or "" for place in (*arranged.source, *arranged.target)}
    chosen = split_name(request.split, available, request.where)
    sides = tuple([place for place in side if place.split == chosen] for side in (arranged.source, arranged.target))
    notes = [*notes, *arranged.notes, *tree.others.notes()]
    return _matched(path, request, (tree, tree), sides, notes)


def _pairs_of_two(request: _Request, targets: str) -> _Found:
    """Finds pairs whose sources and targets lie in two places."""
    kinds = [located(request.dataset), located(targets)]
    if all(kind is Kind.ARRAY for kind, _ in kinds):
        found = [_images(each, side) for side, each in enumerate((request, request._replace(dataset=targets)))]
        listings = tuple(each.listings[0] for each in found)
        _same_number(listings, request)
        return found[0]._replace(listings=listings, notes=[note for each in found for note in each.notes])
    if not all(kind is Kind.FOLDER for kind, _ in kinds):
        raise DataError(
            f"{request.where} and `targets={targets}` say nothing of which belong together. Expected two folders with "
            "equal names of files, or two files of arrays."
        )
    trees, sides, notes = [], [], []
    for _, path in kinds:
        tree = _tree(path)
        places, more = places_of(list(paths(tree.root)))
        chosen = split_name(request.split, {place.split or "" for place in places}, f"'{path}'")
        trees.append(tree)
        sides.append([place for place in places if place.split == chosen])
        notes += [f"in {path.name}/: {note}" for note in (*more, *tree.others.notes())]
    first, second = (f"{found.path.name}/ ({len(side)})" for found, side in zip(kinds, sides, strict=True))
    notes.insert(0, f"sources are those of {first}, targets those of {second}")
    return _matched(kinds[0].path, request, (trees[0], trees[1]), sides, notes)


def _matched(
    path: Path, request: _Request, trees: tuple[Tree, Tree], sides: Sequence[list[Place]], notes: list[str]
) -> _Found:
    match = matched(*sides)
    if not match.pairs:
        examples = " and ".join(f"{side[0].path}" for side in sides if side)
        raise DataError(
            f"No source of {request.where} has a target of its name: there are {len(sides[0])} sources and "
            f"{len(sides[1])} targets, such as {examples}. Partners have equal names, but for their endings and words "
            "such as _A and _B."
        )
    report_skipped(
        {name: ValueError("has no partner") for name in match.alone},
        len(match.pairs) + len(match.alone),
        request.where,
        what="pictures",
        fault="cannot be used",
        remedy="name partners alike, or remove these files",
        warn=False,
    )
    if match.alone:
        notes = [*notes, f"left out {counted(len(match.alone), 'picture')} without a partner: {listed(match.alone, 3)}"]
    numbers = split_indices(request.split, len(match.pairs))
    chosen = [match.pairs[number] for number in numbers]
    listings = tuple(_files(tree, [pair[side].path for pair in chosen]) for side, tree in enumerate(trees))
    return _own(path, trees, listings, "pairs", [*notes, *match.notes], alone=len(match.alone))


def _sides_of_tree(path: Path, request: _Request) -> tuple[_Found, _Found]:
    tree = _tree(path)
    places, notes = places_of(list(paths(tree.root)))
    arranged = in_sides(places) or by_names(places) or in_two(places, pairs=False)
    if arranged is None:
        raise DataError(
            f"No two sides are found in {request.where}. Expected trainA/ and trainB/, or two sub-folders, such as A/ "
            "and B/. Or give the folder of the targets, `targets=...`."
        )
    available = {place.split or "" for place in arranged.source} & {place.split or "" for place in arranged.target}
    chosen = split_name(request.split, available, request.where)
    found = []
    for side in (arranged.source, arranged.target):
        own = [place.path for place in side if place.split == chosen]
        own = [own[number] for number in split_indices(request.split, len(own))]
        more = [*notes, *arranged.notes, *tree.others.notes()]
        found.append(_own(path, (tree,), (_files(tree, own),), "two sides", more))
    return found[0], found[1]


def _no_pairs(tree: Tree, images: list[str], request: _Request) -> DataError:
    headers = [header for _, header in read_all(read_header, _files(tree, images[:1000]).items)]
    if all(isinstance(header, Header) and header.width == 2 * header.height for header in headers):
        return DataError(
            f"All pictures of {request.where} are twice as wide as high, such as {images[0]}. If each holds a source "
            "and its target, say `paired=side_by_side` (and `reverse=True` if the source is the right one)."
        )
    folders = sorted({path.rpartition("/")[0] + "/" for path in images})
    return DataError(
        f"No pairs are found in {request.where}: {len(images)} pictures in {listed(folders, 4)}, "
        f"such as {images[0]}. {_LAYOUTS}"
    )


# Arrays.


def _pairs_of_arrays(path: Path, request: _Request, partners: bool = True) -> _Found:
    sources, targets, named = read_sides(path, request.split)
    arrays = sources, targets
    if partners and len(arrays[0]) != len(arrays[1]):
        raise _unequal(len(arrays[0]), len(arrays[1]), request)
    listings, more = zip(*(_array(array, request, side) for side, array in enumerate(arrays)), strict=True)
    what = "arrays of pairs" if partners else "arrays of two sides"
    notes = [*named, *(note for each in more for note in each)]
    return _Found(listings, path.name, own_licence(), f"{what} '{path.name}'", notes)


def _same_number(listings: tuple[Listing, ...], request: _Request) -> None:
    sources, targets = (len(listing.items) for listing in listings)
    if sources != targets:
        raise _unequal(sources, targets, request)


def _unequal(sources: int, targets: int, request: _Request) -> DataError:
    return DataError(
        f"{request.where} has {sources} sources and {targets} targets. Partners in arrays are those of equal numbers: "
        "there must be as many."
    )


def _array(images: np.ndarray, request: _Request, side: int) -> tuple[Listing, list[str]]:
    """Lists the images of an array, `(num, height, width)` with or without channels."""
    images, notes = channels_last(images, request.where)
    if images.shape[-1] not in (1, 3):
        raise DataError(
            f"The images of {request.where} have {images.shape[-1]} channels. Translators take 1 or 3: save, for "
            "example, images[..., :3]."
        )
    scaling = array_scaling(images, request.where, request.ranges[side])
    numbers = split_indices(request.split, len(images))
    _, height, width, depth = images.shape

    def take(number: int) -> Any:
        picture = images[number]
        return np.asarray(picture if scaling.value_range is None else scaled(picture, scaling.value_range))

    items = [Item(f"number {number}", functools.partial(take, number), 0) for number in numbers.tolist()]
    listing = Listing(
        items,
        lambda number: (items[number].name, side),
        Header(height, width, depth == 1),
        scaling,
        read=_read_array,
    )
    return listing, list(notes)


def _read_array(
    picture: Any, channels: int, image_size: Size | None, value_range: Range | None, fit: str = "crop"
) -> np.ndarray:
    return fit_image(picture, channels, image_size, fit)
