"""Images of one's own: a folder, a .zip of one, or an .npz or .npy file."""

import collections
import contextlib
import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from tfgan_app.base.errors import DataError
from tfgan_app.base.sizes import Size, written
from tfgan_app.conditions import Attributes
from tfgan_app.data.arrays import Arrays, channels_last, read_arrays
from tfgan_app.data.decoding import (
    Item,
    Scaling,
    choose_scaling,
    common_size,
    form_facts,
    read_all,
    report_skipped,
    scaling_of,
)
from tfgan_app.data.image_set import ImageSet
from tfgan_app.data.labels import NONE, Labels, read_labels
from tfgan_app.data.layouts import TRAIN, classes_of, labels_folder, splits_of
from tfgan_app.data.records import Opened, decode_and_hold, fetch_with, fits_in_memory, hold, labelled_images, with_rows
from tfgan_app.data.splits import split_indices, split_name
from tfgan_app.data.tables import Asked, Told, mentioned, told_by_columns, told_by_tables
from tfgan_app.data.trees import Folder, Tree, listed, paths, scan_folder, scan_zip, sentence
from tfgan_app.modalities.image_files import (
    File,
    Form,
    Header,
    Page,
    count_pages,
    fit_image,
    may_be_dicom,
    read_header,
    read_image,
)
from tfgan_app.modalities.values import Range, describe_range, measured, scaled

_OWN_LICENCE = "not stated: the user's own images"
_LICENCE_LETTERS = 300


def open_folder(path: Path, split: str, form: Form, attributes: Asked | None = None) -> ImageSet:
    """Opens a folder of images, or a .zip archive of one, which is read without unpacking it.

    What folders mean is told by `tfgan_app.data.layouts`: images lie flat or in one sub-folder a class, and either may
    be repeated in folders for splits. What is left out stands in the notes of the set.

    Args:
        path: The folder or archive; symbolic links are followed.
        split: A split, optionally with a slice.
        form: What images are brought to. Without `image_size` all must be of one size; `channels` are by default 1
            where every image is greyscale, else 3; see `choose_scaling` for `value_range`.
        attributes: What images have in the place of labels, by a table; see `tfgan_app.data.tables`.

    Raises:
        DataError: If there are no such images.
    """
    where = f"'{path}'"
    tree = scan_folder(path) if path.is_dir() else scan_zip(path)
    lists = _label_lists(tree)
    splits, notes = splits_of(tree.root)
    if not tree.root.count:
        raise no_images(where, tree)
    chosen, told = split_name(split, splits, where), None
    if attributes is None:
        images, labels, class_names, more = _labelled(splits, chosen, lists, where)
        more += mentioned(tree, images)
    else:
        images, labels, class_names, more, told = _told(splits[chosen], tree, split, attributes, where)
    notes += [*more, *tree.others.notes()]
    start = len(common_folder(images))
    items = [Item(name[start:], tree.file(name), label) for name, label in zip(images, labels, strict=True)]
    kept = [index for index in split_indices(split, len(items)) if labels[index] != NONE]
    if not kept:
        what = "a label" if attributes is None else "attributes"
        raise DataError(f"`split={split}` selects no image of {where} that has {what}.")

    def fingerprint(*facts: object) -> str:
        # Names and sizes alone, as all of a large set would take long to read.
        return _digest(((images[index], tree.size(images[index]), labels[index]) for index in kept), facts)

    frames = _frames([items[index] for index in kept])
    if len(frames) > len(kept):
        notes.append(f"{len(kept)} files hold {len(frames)} images, as DICOM files of several frames do")
    opened, scaling, sizes = _open_items(frames, path, form, fingerprint)
    kind = "folder of images" if path.is_dir() else "archive of images"
    licence = own_licence(tree)
    return _own_image_set(path, split, opened, class_names, kind, [*notes, *sizes], scaling, form.depth, licence, told)


def open_array(path: Path, split: str, form: Form, attributes: Asked | None = None) -> ImageSet:
    """Opens an array of images.

    Args:
        path: An .npy file, or an .npz file with 'images' and optionally 'labels' and 'class_names', or such arrays for
            each split; see `tfgan_app.data.arrays`. Images are numbers of any type, of shape
            `(num, height, width)`, `(num, height, width, channels)` or `(num, channels, height, width)` with 1 to 8
            channels.
        split: A split, optionally with a slice.
        form: What images are brought to; `channels` are by default those of the array, and `value_range` is 0 to 255 of
            uint8, otherwise the `usual_range` of the whole array.
        attributes: What images have in the place of labels, of the array 'attributes' `(num, columns)`, whose columns
            go by 'attribute_names' or their numbers.

    Raises:
        DataError: If the file does not hold such arrays.
    """
    where = f"'{path}'"
    found = read_arrays(path, split)
    images, notes = channels_last(found.images, where)
    notes = (*found.notes, *notes)
    scaling = array_scaling(images, where, form.value_range, form.depth)
    labels, told = Labels(None, None), None
    if attributes is not None:
        labels, told = _told_array(found, split, attributes, where)
        notes += labels.notes
    elif found.labels is not None:
        labels = read_labels(found.labels, len(images), where, train=found.train_labels, class_names=found.class_names)
        notes += labels.notes
    elif found.train_labels is not None:
        notes += ("its images have no labels, those of train have",)
    classes = np.zeros(len(images), np.int32) if labels.classes is None else labels.classes
    indices = split_indices(split, len(images))
    indices = indices[classes[indices] != NONE]
    if not len(indices):
        what = "labels" if attributes is None else "attributes"
        raise DataError(f"`split={split}` selects none of the images of {where} that have {what}.")
    height, width, found_channels = images.shape[1:]
    channels = form.channels or found_channels
    if channels != found_channels and not {channels, found_channels} <= {1, 3, 4}:
        raise DataError(
            f"The images of {where} have {found_channels} channels, which become no {channels}. Leave `channels` out."
        )
    shape = (*(form.image_size or (height, width)), channels)

    def take(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chosen = indices[positions]
        taken = images[chosen]
        if scaling.value_range is not None:
            taken = scaled(taken, scaling.value_range, form.depth)
        if shape != images.shape[1:] or channels == 4:
            taken = np.stack([fit_image(picture, channels, form.image_size, form.fit) for picture in taken])
        return np.asarray(taken), classes[chosen]

    if fits_in_memory(len(indices), shape, form.depth):
        opened = hold(take(np.arange(len(indices))))
    else:
        digest = _digest([(path.name, path.stat().st_size)], [split, *form_facts(form, scaling)])
        opened = Opened(fetch_with(take, len(indices), labelled_images(shape, form.depth), classes[indices]), digest)
    notes += tuple(_fitted({(height, width): len(indices)}, len(indices) * (found_channels == 1), shape, form.fit))
    class_names, kind = labels.class_names, "array of images"
    return _own_image_set(path, split, opened, class_names, kind, notes, scaling, form.depth, told=told)


def open_stack(path: Path, split: str, form: Form) -> ImageSet:
    """Opens the pages of a TIFF or the frames of a DICOM file, each an image.

    Args:
        path: The file.
        split: A split, optionally with a slice.
        form: As in `open_folder`.

    Raises:
        DataError: If there are no such images.
    """
    where = f"'{path}'"
    split_name(split, [TRAIN], where)
    try:
        count = count_pages(path)
    except Exception as error:  # of many kinds: Pillow's, pydicom's
        raise DataError(f"{where} cannot be read: {error}.") from error
    if count == 1:
        raise DataError(f"{where} holds one image. Give the folder, '{path.parent}'.")
    items = [Item(f"image {number}", Page(path, number), 0) for number in split_indices(split, count).tolist()]

    def fingerprint(*facts: object) -> str:
        return _digest([(path.name, path.stat().st_size)], (split, *facts))

    opened, scaling, notes = _open_items(items, path, form, fingerprint)
    notes = [f"each of its {count} images is one of the set", *notes]
    return _own_image_set(path, split, opened, None, "file of images", notes, scaling, form.depth)


def _frames(items: list[Item]) -> list[Item]:
    """Returns an item for each frame of DICOM files; of TIFFs, the first page alone is one."""
    kinds = [may_be_dicom(item.name) for item in items]
    counts = read_all(count_pages, (item for item, dicom in zip(items, kinds, strict=True) if dicom))
    found: list[Item] = []
    for item, dicom in zip(items, kinds, strict=True):
        count = next(counts)[1] if dicom else 1
        if isinstance(count, Exception) or count == 1:  # what cannot be read is named when its turn comes
            found.append(item)
            continue
        for number in range(count):
            page = functools.partial(_page, item, number)
            found.append(Item(f"{item.name}[{number}]", page, item.label))
    return found


def _page(item: Item, number: int) -> File:
    encoded = item.encoded
    assert not isinstance(encoded, Page)
    return Page(encoded, number)


def array_scaling(images: np.ndarray, where: str, value_range: Range | None, depth: int = 8) -> Scaling:
    """Chooses how an array of images of any type is scaled, by all of its values.

    Raises:
        DataError: If they are no real numbers, or some are NaN or infinite.
    """
    if images.dtype.kind not in "buif":
        raise DataError(f"The images of {where} are {images.dtype}. Expected numbers, such as uint8.")
    try:
        # Booleans have no smallest and largest; uint8 is not looked at.
        found = (0.0, 1.0) if images.dtype.kind == "b" else None if images.dtype == np.uint8 else measured(images)
    except ValueError as error:
        bad = sum(not np.isfinite(image).all() for image in images)
        raise DataError(f"{bad} of the {len(images)} images of {where} cannot be used: {error}.") from error
    if value_range is not None:
        return Scaling(value_range, (describe_range(value_range, depth=depth),))
    if found is None:
        return Scaling(None if depth == 8 else (0.0, 255.0))
    scaling = scaling_of(found, 8 * images.dtype.itemsize if images.dtype.kind == "u" else 32, depth)
    return Scaling(scaling.value_range) if scaling.value_range == (0, 1) and images.dtype.kind != "u" else scaling


class _Labelled(NamedTuple):
    """Images of a split, by their paths, with labels, -1 for those to leave out."""

    images: list[str]
    labels: list[int]
    class_names: tuple[str, ...] | None
    notes: list[str]


def _labelled(splits: dict[str, Folder], chosen: str, lists: dict[str, Any], where: str) -> _Labelled:
    folder = labels_folder(splits[chosen], [])
    if folder.labels is not None:
        train = labels_folder(splits[TRAIN], []).labels if chosen != TRAIN and TRAIN in splits else None
        return _listed(folder, lists[folder.labels], lists.get(train or ""), where)
    classes, images, notes = classes_of(splits[chosen])
    # What a class is called, and which there are, the training images say.
    known: Iterable[str] | None
    if chosen == TRAIN:
        known = classes
    elif TRAIN in splits:
        known = classes_of(splits[TRAIN])[0]
    else:
        known = {name for folder in splits.values() for name in classes_of(folder)[0] or ()}
    if classes is None or known is None:
        if classes is not None:
            notes.append(f"those of {TRAIN} lie in no class folders: the images of {chosen} are taken without labels")
        elif known:
            notes.append(f"the images of {chosen} lie in no class folders: they are taken without labels")
        return _Labelled(images, [0] * len(images), None, notes)
    class_names = tuple(sorted(known))
    # Where it is plain which is meant, Dog is dog.
    number = {name.casefold(): label for label, name in reversed([*enumerate(class_names)])}
    number |= {name: label for label, name in enumerate(class_names)}
    label_of = {name: number.get(name, number.get(name.casefold(), NONE)) for name in classes}
    strangers = listed([f"{name} ({len(classes[name])})" for name, label in label_of.items() if label == NONE])
    if set(label_of.values()) == {NONE}:
        notes.append(f"no folder of {chosen} is a class of {TRAIN}: its images are taken without labels: {strangers}")
        return _Labelled(images, [0] * len(images), None, notes)
    found = "1 class, a sub-folder" if len(class_names) == 1 else f"{len(class_names)} classes, each a sub-folder"
    notes.append(f"{found}: {listed(list(class_names))}")
    if strangers:
        notes.append(f"left out images of {chosen} whose classes {TRAIN} has not: {strangers}")
    if missing := sorted({*range(len(class_names))} - {*label_of.values()}):
        notes.append(f"no images of {listed([class_names[label] for label in missing])} in {chosen}")
    pairs = [(name, label_of[class_name]) for class_name in sorted(classes) for name in classes[class_name]]
    return _Labelled([name for name, _ in pairs], [label for _, label in pairs], class_names, notes)


class _Told(NamedTuple):
    """Images of a split with the numbers of their rows of attributes in the place of labels; as `_Labelled`."""

    images: list[str]
    labels: list[int]
    class_names: None
    notes: list[str]
    told: Told | None


def _told(folder: Folder, tree: Tree, split: str, asked: Asked, where: str) -> _Told:
    inner = labels_folder(folder, [])
    _, images, notes = classes_of(folder) if inner.labels is None else (None, sorted(paths(inner)), [])
    indices = split_indices(split, len(images))
    told = told_by_tables(tree, [images[index] for index in indices], asked, where)
    labels = np.full(len(images), NONE)
    if told.attributes is None:
        return _Told(images, [0] * len(images), None, [*notes, *told.notes], None)
    labels[indices] = told.numbers
    return _Told(images, labels.tolist(), None, [*notes, *told.notes], told)


def _told_array(found: Arrays, split: str, asked: Asked, where: str) -> tuple[Labels, Told | None]:
    """Returns the numbers of rows of attributes as the classes of an array's images, and those rows."""
    num, values = len(found.images), found.attributes
    if values is None or values.ndim not in (1, 2) or len(values) != num:
        if values is None and isinstance(asked, Attributes):
            return Labels(None, None, ("its images are taken without attributes, which train has",)), None
        has = "no array 'attributes'" if values is None else f"'attributes' of shape {values.shape}"
        raise DataError(
            f"{where} has {has} of its {num} images. Save it as (N, columns): np.savez(path, images=..., "
            "attributes=..., attribute_names=['smiling', 'age'])."
        )
    values = values.reshape(num, -1)
    names = found.attribute_names or tuple(map(str, range(values.shape[1])))
    if len(names) != values.shape[1] or len(set(names)) < len(names):
        raise DataError(
            f"The {values.shape[1]} columns of 'attributes' of {where} need a name each in 'attribute_names'. "
            f"Received: {listed(list(names))}"
        )
    indices = split_indices(split, num)
    columns = {name: values[indices, place].tolist() for place, name in enumerate(names)}
    told = told_by_columns(columns, len(indices), asked, "its attributes")
    if told.attributes is None:
        return Labels(None, None, tuple(told.notes)), None
    numbers = np.full(num, NONE, np.int32)
    numbers[indices] = told.numbers
    return Labels(numbers, None, tuple(told.notes)), told


def _label_lists(tree: Tree) -> dict[str, dict[str, Any] | None]:
    """Returns the labels in every `dataset.json` that StyleGAN's programs wrote, by its path: by image, or None.

    Such a file holds pairs of paths and labels, or null where there are none. Those of other programs are left out.
    """
    lists: dict[str, dict[str, Any] | None] = {}
    folders = [tree.root]
    while folders:
        folder = folders.pop()
        folders += folder.folders.values()
        if folder.labels is None:
            continue
        try:
            pairs = json.loads(tree.read(folder.labels))["labels"]
            found = None if pairs is None else {str(name): label for name, label in dict(pairs).items()}
            if found is not None:
                np.array([*found.values()])
            lists[folder.labels] = found
        except Exception:  # of many kinds: JSON's, NumPy's, zipfile's
            tree.others.add(folder.labels)
            folder.labels = None
    return lists


def _listed(folder: Folder, labels: dict[str, Any] | None, train: dict[str, Any] | None, where: str) -> _Labelled:
    """Returns the images of a folder with the labels that its `dataset.json` has; its sub-folders are no classes."""
    name = str(folder.labels)
    images = sorted(paths(folder), key=lambda image: image.split("/"))
    if not labels:
        return _Labelled(images, [0] * len(images), None, [f"by {name} there are no labels"])
    known = None if not train else np.array([*train.values()])
    found = read_labels(np.array([*labels.values()]), len(labels), where, train=known)
    if found.classes is None or found.class_names is None:
        vectors = [f"`attributes=auto` tells the numbers of {name} to a model such as CGAN"] if known is None else []
        return _Labelled(images, [0] * len(images), None, [*found.notes, *vectors])
    label_of = dict(zip(labels, found.classes.tolist(), strict=True))
    start = len(name) - len(name.rpartition("/")[2])
    notes = [f"{len(found.class_names)} classes, by {name}", *found.notes]
    if without := sum(image[start:] not in label_of for image in images):
        notes.append(f"left out {without} of {len(images)} images that {name} does not list")
    return _Labelled(images, [label_of.get(image[start:], NONE) for image in images], found.class_names, notes)


def _open_items(
    items: list[Item],
    path: Path,
    form: Form,
    fingerprint: Callable[..., str],
) -> tuple[Opened, Scaling, list[str]]:
    where = f"'{path}'"
    headers, skipped, readable = [], {}, []
    for item, header in read_all(read_header, items):
        if isinstance(header, Header):
            headers.append(header)
            readable.append(item)
        else:
            skipped[item.name] = header
    if not headers:
        report_skipped(skipped, len(items), where)
    channels = form.channels or _channels_of(headers, where)
    shape = (*(form.image_size or common_size(headers, where)), channels)
    bits = (header.bits for header in headers)
    scaling = choose_scaling(readable, bits, where, form.value_range, depth=form.depth)

    def read(file: File) -> np.ndarray:
        return read_image(file, channels, form.image_size, scaling.value_range, form.fit, form.depth)

    sizes = collections.Counter((header.height, header.width) for header in headers)
    notes = _fitted(sizes, sum(header.grey for header in headers), shape, form.fit)
    notes += _transparent(sum(header.alpha for header in headers), len(headers), channels)
    if fits_in_memory(len(readable), shape, form.depth):
        return decode_and_hold(items, read, len(items), shape, where, form.depth), scaling, notes
    report_skipped(skipped, len(items), where)

    def read_or_next(index: int) -> tuple[np.ndarray, int]:
        # A fault that a header does not show, such as a truncated file, must not end a run days later.
        for item in itertools.chain(readable[index:], readable[:index]):
            with contextlib.suppress(Exception):
                image = read(item.encoded)
                if image.shape == shape:
                    return image, item.label
            logging.log_first_n(logging.WARNING, "%s of %s cannot be read; taking the next.", 10, item.name, where)
        raise DataError(f"No image of {where} can be read any more.")

    def take(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, labels = zip(*map(read_or_next, indices), strict=True)
        return np.stack(images), np.array(labels, np.int32)

    classes = np.array([item.label for item in readable], np.int32)
    records = fetch_with(take, len(readable), labelled_images(shape, form.depth), classes)
    return (
        Opened(records, fingerprint(shape, *form_facts(form, scaling)), len(skipped)),
        scaling,
        notes,
    )


def _channels_of(headers: list[Header], where: str) -> int:
    """Returns the channels of images: as many as their bands, or of colours 1 where all are grey, else 3.

    Raises:
        DataError: If they differ.
    """
    bands = collections.Counter(header.bands for header in headers)
    if len(bands) > 1:
        seen = ", ".join(f"{number or 'colours'} ({count})" for number, count in bands.most_common(5))
        raise DataError(f"The images of {where} differ in channels: {seen}. Keep those of one kind.")
    return next(iter(bands)) or (1 if all(header.grey for header in headers) else 3)


def _transparent(alpha: int, count: int, channels: int) -> list[str]:
    """Says what becomes of opacity."""
    if channels == 4 and alpha < count:
        return [f"{count - alpha} of {count} images have no opacity: they are opaque throughout"]
    if channels in (1, 3) and alpha:
        return [f"{alpha} of {count} images can be transparent, and are laid on white (`channels=4` keeps it)"]
    return []


def _fitted(sizes: dict[Size, int], grey: int, shape: tuple[int, int, int], fit: str) -> list[str]:
    """Says what is resized, and what changes its colours."""
    notes, count = [], sum(sizes.values())
    if other := {size: number for size, number in sizes.items() if size != shape[:2]}:
        (least, most), changed = (min(other), max(other)), sum(other.values())
        shown = written(least) + (f" to {written(most)}" if len(other) > 1 else "")
        whole = "all" if changed == count else f"{changed} of {count}"
        done = {"crop": "cropped and resized", "pad": "resized and padded", "stretch": "stretched"}[fit]
        notes.append(f"{whole} images are {done} to {written(shape)}, from {shown}")
    if shape[2] == 1 and grey < count:
        notes.append(f"{count - grey} of {count} images lose their colours")
    if shape[2] == 3 and grey:
        notes.append(f"{grey} of {count} images are greyscale, taken in three channels")
    return notes


def no_images(where: str, tree: Tree) -> DataError:
    """Returns the error of a tree without images, saying what it holds."""
    examples = tree.others.examples
    packed = [examples[ending] for ending in (".zip", ".npz", ".npy") if ending in examples]
    advice = f" It holds {listed(packed)}: give the path of one." if packed else ""
    notes = "; ".join(tree.others.notes())
    return DataError(
        f"No images found in {where} nor in its sub-folders. Looked at the endings of files and at their first bytes"
        f"{f': {notes}' if notes else ''}.{advice}"
    )


def common_folder(names: list[str]) -> str:
    """Returns the folders that all names begin with, the last one left to say more, with a slash."""
    first, last = (name.split("/")[:-1] for name in (min(names), max(names)))
    same = [a for a, b in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))]
    return "".join(f"{part}/" for part in same)


def own_licence(*trees: Tree) -> str:
    """Returns the first line of what lies in a folder of images as LICENSE, LICENSE.txt or alike.

    Where a folder has none, those of its sub-folders count.
    """
    stated = dict.fromkeys(line for tree in trees for line in _licences(tree, tree.root))
    return "; ".join(stated)[:_LICENCE_LETTERS] or _OWN_LICENCE


def _licences(tree: Tree, folder: Folder) -> Iterator[str]:
    for path in folder.licences:
        with contextlib.suppress(Exception):  # of many kinds: the system's, zipfile's
            text = tree.read(path).decode(errors="replace")
            if line := next(filter(None, (line.strip("# \t\r") for line in text.lstrip("\ufeff").splitlines())), ""):
                yield line
                return
    for _, below in sorted(folder.folders.items()):
        yield from _licences(tree, below)


def _digest(files: Iterable[tuple[object, ...]], facts: Iterable[object]) -> str:
    digest = hashlib.sha256(repr((*facts,)).encode())
    for file in files:
        digest.update(f"{' '.join(map(str, file))}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _own_image_set(
    path: Path,
    split: str,
    opened: Opened,
    class_names: tuple[str, ...] | None,
    kind: str,
    notes: Iterable[str],
    scaling: Scaling,
    depth: int,
    licence: str = _OWN_LICENCE,
    told: Told | None = None,
) -> ImageSet:
    if told is not None:
        opened = with_rows(opened, told.rows)
    return ImageSet(
        name=path.name,
        split=split,
        image_shape=tuple(opened.records.spec[0].shape),
        class_names=class_names,
        licence=licence,
        origin=f"{kind} '{path.name}'",
        fingerprint=opened.fingerprint,
        skipped=opened.skipped,
        value_range=scaling.value_range,
        depth=depth,
        notes=tuple(map(sentence, (*notes, *scaling.notes))),
        records=opened.records,
        attributes=None if told is None else told.attributes,
    )
