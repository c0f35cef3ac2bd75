"""Arrays of images in .npz and .npy files, under the names that data sets and programs give them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfgan_app.base.errors import DataError
from tfgan_app.base.sizes import CHANNELS
from tfgan_app.data.layouts import TRAIN, role_of, role_of_word, words_of
from tfgan_app.data.partners import side_of
from tfgan_app.data.splits import split_name
from tfgan_app.data.trees import among, listed

_IMAGES = among("image images img imgs x sample samples pixels picture pictures data")
_ATTRIBUTES = among("attribute attributes attr attrs condition conditions")
_LABELS = among("label labels y target targets class classes")


class Arrays(NamedTuple):
    """The arrays of one split.

    Attributes:
        images: As they are stored.
        labels: Theirs, or None.
        train_labels: Those of the training images where these are others, or None.
        class_names: Names of the values of labels, or None.
        notes: What there is besides, in sentences.
        attributes: What the images have, `(num, columns)`, or None.
        attribute_names: The names of its columns, or None.
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    train_labels: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    attributes: np.ndarray | None = None
    attribute_names: tuple[str, ...] | None = None


def read_arrays(path: Path, split: str) -> Arrays:
    """Reads the arrays of a split: `images` and `labels`, `x_train` and `y_train`, `val_images`, `arr_0`, ...

    Args:
        path: An .npz or .npy file.
        split: A split, optionally with a slice, which is not taken here.

    Raises:
        DataError: If the file cannot be read, or nothing tells which of its arrays the images are.
        UnknownSplit: If it has no such split.
    """
    where = f"'{path}'"
    if path.suffix.lower() == ".npy":  # can stay on disk until its images are taken, unlike an .npz file
        split_name(split, [TRAIN], where)
        with _reading(path):
            return Arrays(np.load(path, mmap_mode="r", allow_pickle=False))
    with _reading(path), path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        shapes = {name: _shape(stored, name) for name in stored.files}
        images, labels, names, told, told_names = _sorted(shapes)
        if not images:
            raise _no_images(where, shapes)
        chosen = split_name(split, images, where)
        found = Arrays(
            images=stored[images[chosen]],
            labels=stored[labels[chosen]] if chosen in labels else None,
            train_labels=stored[labels[TRAIN]] if chosen != TRAIN and {TRAIN, chosen} <= labels.keys() else None,
            class_names=tuple(map(str, stored[names].reshape(-1))) if names else None,
            attributes=stored[told[chosen]] if chosen in told else None,
            attribute_names=tuple(map(str, stored[told_names].reshape(-1))) if told_names else None,
        )
    notes = []
    if set(images) != {TRAIN}:
        counts = [f"{name} ({shapes[array][0]}, from {array})" for name, array in sorted(images.items())]
        notes.append(f"splits (images): {', '.join(counts)}")
    elif role_of(images[TRAIN]) is None and not _IMAGES.intersection(word.lower() for word in words_of(images[TRAIN])):
        notes.append(f"the array {images[TRAIN]} is taken for the images")
    named = [name for arrays in (labels, told) for split_, name in arrays.items() if split_ in images]
    used = {*images.values(), *named, names, told_names}
    if others := [name for name in shapes if name not in used]:
        notes.append(f"left out arrays that are neither images nor labels: {listed(others)}")
    return found._replace(notes=tuple(notes))


def read_sides(path: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Reads the arrays of sources and of targets of a split: `sources` and `targets`, `train_input`, `trainA`, ...

    Args:
        path: An .npz file.
        split: A split, optionally with a slice, which is not taken here.

    Returns:
        Both arrays as they are stored, and clauses on what there is besides.

    Raises:
        DataError: If the file cannot be read, or has no such arrays.
        UnknownSplit: If it has no such split.
    """
    where = f"'{path}'"
    if path.suffix.lower() == ".npy":
        raise DataError(f"{where} holds one array. Give the other as `targets`, or both in an .npz file.")
    with _reading(path), path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        shapes = {name: _shape(stored, name) for name in stored.files}
        found: dict[str, dict[str, str]] = {}
        for name in shapes:
            words = [word.lower() for word in words_of(name)]
            split_ = next(filter(None, map(role_of_word, words)), TRAIN)
            if side := side_of(word for word in words if not role_of_word(word)):
                found.setdefault(split_, {}).setdefault(side, name)
        whole = {name: sides for name, sides in found.items() if len(sides) == 2}
        if not whole:
            has = listed([f"{name} {shape}" for name, shape in sorted(shapes.items())])
            raise DataError(
                f"{where} has no arrays of sources and targets. It has: {has or 'none'}. Name them as in "
                "np.savez(path, sources=..., targets=...), or train_sources, train_targets, test_sources, test_targets."
            )
        sides = whole[split_name(split, whole, where)]
        used = {name for both in whole.values() for name in both.values()}
        notes = [f"sources are those of the array {sides['source']}, targets those of {sides['target']}"]
        if others := [name for name in shapes if name not in used]:
            notes.append(f"left out arrays that are of neither side: {listed(others)}")
        return stored[sides["source"]], stored[sides["target"]], tuple(notes)


def channels_last(images: np.ndarray, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns images as `(num, height, width, channels)` with 1 to 8 channels, and what is to be said of it.

    Raises:
        DataError: If nothing tells which axis is which; the message says what to write instead.
    """
    shape, advice = images.shape, ""
    if 0 not in shape:
        if len(shape) == 4 and shape[3] in (1, 3):
            return images, ()
        if len(shape) == 4 and shape[3] in CHANNELS and shape[1] not in (1, 3):
            return images, (_bands_note(shape[3]),)
        if len(shape) == 4 and shape[1] in CHANNELS:
            note = f"its images are stored as (num, channels, height, width), {shape}: channels are taken to the end"
            more = () if shape[1] in (1, 3) else (_bands_note(shape[1]),)
            return np.moveaxis(images, 1, 3), (note, *more)
        if len(shape) == 3 and (shape[2] != 3 or shape[0] == 1):
            return images[..., np.newaxis], ()
        if len(shape) == 3:
            advice = " If it is one colour image, save images[np.newaxis]; if greyscale ones, images[..., np.newaxis]."
        elif len(shape) == 2 and (side := round((shape[1] / 3) ** 0.5)) ** 2 * 3 == shape[1]:
            advice = f" Save images.reshape(-1, {side}, {side}, 3), or as their pixels lie."
        elif len(shape) == 2 and (side := round(shape[1] ** 0.5)) ** 2 == shape[1]:
            advice = f" Save images.reshape(-1, {side}, {side})."
        elif len(shape) == 4:
            advice = f" Choose at most {CHANNELS[-1]} channels, as in images[..., :3]."
    raise DataError(
        f"The images of {where} have shape {shape}. Expected (N, H, W), or (N, H, W, C) of 1 to 8 channels, "
        f"none of them 0.{advice}"
    )


def _bands_note(channels: int) -> str:
    colours = "red, green, blue and opacity (to four bands of another kind append a fifth)"
    what = colours if channels == 4 else "none of them colours"
    return f"its images have {channels} channels, {what}"


class _reading:  # noqa: N801  # a context, like those of contextlib
    """Says in words what NumPy, zipfile and zlib raise on damaged files."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, DataError):
            raise DataError(f"'{self.path}' cannot be read as arrays without pickled objects: {error}") from error


def _sorted(
    shapes: dict[str, tuple[int, ...]],
) -> tuple[dict[str, str], dict[str, str], str | None, dict[str, str], str | None]:
    """Returns the names of the arrays of images and of labels by split, of that of class names; of attributes alike."""
    images: dict[str, str] = {}
    labels: dict[str, str] = {}
    told: dict[str, str] = {}
    names = told_names = None
    for name, shape in shapes.items():
        parts = words_of(name)
        words = {part.lower() for part in parts}
        split = next(filter(None, map(role_of, parts)), TRAIN)
        if words & _ATTRIBUTES and "names" in words:
            told_names = name
        elif words & _ATTRIBUTES:
            told.setdefault(split, name)
        elif "names" in words:
            names = name
        elif words & _LABELS:
            labels.setdefault(split, name)
        elif words & _IMAGES or (role_of(name) and len(shape) > 2):
            images.setdefault(split, name)
    pictures = [name for name, shape in shapes.items() if len(shape) > 2]
    if not images and len(pictures) == 1:
        images[TRAIN] = pictures[0]
        # np.savez(path, images, labels) names them so.
        if pictures == ["arr_0"] and shapes.get("arr_1", ())[:1] == shapes["arr_0"][:1]:
            labels.setdefault(TRAIN, "arr_1")
    return images, labels, names, told, told_names


def _no_images(where: str, shapes: dict[str, tuple[int, ...]]) -> DataError:
    has = listed([f"{name} {shape}" for name, shape in sorted(shapes.items())])
    return DataError(
        f"{where} has no array 'images'. It has: {has or 'none'}. Name images and labels as in "
        "np.savez(path, images=..., labels=...), or train_images, train_labels, test_images and test_labels."
    )


def _shape(stored: Any, name: str) -> tuple[int, ...]:
    """Returns the shape of an array without reading it."""
    with stored.zip.open(f"{name}.npy" if f"{name}.npy" in stored.zip.namelist() else name) as file:
        version = np.lib.format.read_magic(file)
        if version > (2, 0):  # of arrays whose fields have names
            return ()
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(file)[0]
