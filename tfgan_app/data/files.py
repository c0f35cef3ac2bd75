"""Images of one's own: a folder, or an .npz or .npy file."""

import contextlib
import functools
import hashlib
import itertools
from pathlib import Path

import numpy as np
from absl import logging
from PIL import Image

from tfgan_app.base.errors import DataError
from tfgan_app.data.decoding import Item, common_size, read_all, report_skipped
from tfgan_app.data.image_set import ImageSet
from tfgan_app.data.records import Opened, decode_and_hold, fetch_with, fits_in_memory, hold, labelled_images
from tfgan_app.data.splits import split_indices, split_name
from tfgan_app.modalities.image_files import ENDINGS, Header, fit_image, read_header, read_image
from tfgan_app.modalities.images import unit_to_uint8

_SPLITS = {"train", "test", "validation", "val"}
_MAX_CLASSES = 100_000
_LICENCE = "not stated: the user's own images"


def open_folder(path: Path, split: str, image_size: int | None, channels: int | None) -> ImageSet:
    """Opens a folder of images.

    The images lie flat in the folder, or in one sub-folder a class; either arrangement may be repeated in
    sub-folders named train, test, validation or val, which are then the splits. Hidden entries are left out.

    Args:
        path: The folder; symbolic links are followed.
        split: A split, optionally with a slice.
        image_size: Height and width to crop and resize to, or None where all images are of one size.
        channels: 1 or 3; by default 1 where every image is greyscale, else 3.

    Raises:
        DataError: If the folder does not hold such images.
    """
    where = f"'{path}'"
    names = {entry.name for entry in _folders(path)}
    splits = {name: path / name for name in names} if names and names <= _SPLITS else {"train": path}
    base = splits[split_name(split, splits, where)]
    class_names = sorted({folder.name for root in splits.values() for folder in _folders(root) if _images(folder)})
    items = [Item(file.name, file, 0) for file in _images(base)]
    if items and class_names:
        raise DataError(
            f"{where} holds images both beside and inside sub-folders ({items[0].name}; {class_names[0]}/). "
            "Keep them flat, or in one sub-folder a class."
        )
    for label, name in enumerate(class_names):
        items += [Item(f"{name}/{file.name}", file, label) for file in _images(base / name)]
    if not items:
        raise DataError(
            f"No images found in '{base}' nor in its sub-folders. Looked for files that end in {', '.join(ENDINGS)}."
        )
    items = [items[index] for index in split_indices(split, len(items))]
    opened = _open_items(items, path, image_size, channels)
    return _own_image_set(path, split, opened, tuple(class_names) or None, "folder of images")


def open_array(path: Path, split: str, image_size: int | None, channels: int | None) -> ImageSet:
    """Opens an array of images.

    Args:
        path: An .npy file, or an .npz file with 'images' and optionally integer 'labels' `(num,)`. Images are
            uint8, or floating point in [0, 1], of shape `(num, height, width)` or `(num, height, width, channels)` with
            1 or 3 channels.
        split: "train", optionally with a slice.
        image_size: Height and width to crop and resize to, or None to keep the array's.
        channels: 1 or 3; by default those of the array.

    Raises:
        DataError: If the file does not hold such arrays.
    """
    where = f"'{path}'"
    split_name(split, ["train"], where)
    arrays = _load_arrays(path)
    if "images" not in arrays:
        raise DataError(f"{where} has no array 'images'. It has: {', '.join(sorted(arrays)) or 'none'}.")
    images, labels = arrays["images"], arrays.get("labels")
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise DataError(
            f"The images of {where} have shape {arrays['images'].shape}. Expected (N, H, W), (N, H, W, 1) or "
            "(N, H, W, 3), none of them 0."
        )
    if images.dtype.kind == "f":
        if not (images.min() >= 0 and images.max() <= 1):  # NaN fails both
            raise DataError(
                f"The images of {where} are {images.dtype} from {images.min()} to {images.max()}. "
                "Floating-point images must lie in [0, 1], without NaN; or save them as uint8."
            )
        images = unit_to_uint8(images)
    if images.dtype != np.uint8:
        raise DataError(f"The images of {where} are {images.dtype}. Save them as uint8, or as floats in [0, 1].")
    class_names = None
    if labels is not None:
        if labels.shape != (len(images),) or labels.dtype.kind not in "iu" or labels.min() < 0:
            raise DataError(
                f"The labels of {where} are {labels.dtype} of shape {labels.shape}. Expected integers from "
                f"0 up, one for each of the {len(images)} images."
            )
        if labels.max() >= _MAX_CLASSES:
            raise DataError(
                f"The labels of {where} go up to {labels.max()}. Number at most {_MAX_CLASSES} classes from 0."
            )
        class_names = tuple(str(label) for label in range(labels.max() + 1))
    labels = np.zeros(len(images), np.int32) if labels is None else labels.astype(np.int32)
    indices = split_indices(split, len(images))
    height, width, depth = images.shape[1:]
    channels = channels or depth
    shape = (image_size or height, image_size or width, channels)

    def take(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chosen = indices[positions]
        taken = images[chosen]
        if shape != images.shape[1:]:
            pictures = map(Image.fromarray, taken[..., 0] if depth == 1 else taken)
            taken = np.stack([fit_image(picture, channels, image_size) for picture in pictures])
        return np.asarray(taken), labels[chosen]

    if fits_in_memory(len(indices), shape):
        opened = hold(take(np.arange(len(indices))))
    else:
        records = fetch_with(take, len(indices), labelled_images(shape), labels[indices])
        opened = Opened(records, _fingerprint_of_files([path], split))
    return _own_image_set(path, split, opened, class_names, "array of images")


def _open_items(items: list[Item], path: Path, image_size: int | None, channels: int | None) -> Opened:
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
    size = (image_size, image_size) if image_size else common_size(headers, where)
    channels = channels or (1 if all(header.grey for header in headers) else 3)
    shape = (*size, channels)
    read = functools.partial(read_image, channels=channels, image_size=image_size)
    if fits_in_memory(len(readable), shape):
        return decode_and_hold(items, read, len(items), shape, where)
    report_skipped(skipped, len(items), where)

    def read_or_next(index: int) -> tuple[np.ndarray, int]:
        # A fault that a header does not show, such as a truncated file, must not end a run days later.
        for item in itertools.chain(readable[index:], readable[:index]):
            with contextlib.suppress(Exception):
                image = read(item.file)
                if image.shape == shape:
                    return image, item.label
            logging.log_first_n(logging.WARNING, "%s of %s cannot be read; taking the next.", 10, item.name, where)
        raise DataError(f"No image of {where} can be read any more.")

    def take(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, labels = zip(*map(read_or_next, indices), strict=True)
        return np.stack(images), np.array(labels, np.int32)

    labels = np.array([item.label for item in readable], np.int32)
    records = fetch_with(take, len(readable), labelled_images(shape), labels)
    return Opened(records, _fingerprint_of_files([Path(str(item.file)) for item in readable], shape), len(skipped))


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix == ".npy":  # can stay on disk until its images are taken, unlike an .npz file
            return {"images": np.load(path, mmap_mode="r", allow_pickle=False)}
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # of many kinds: NumPy's, zipfile's, zlib's
        raise DataError(f"'{path}' cannot be read as arrays without pickled objects: {error}") from error


def _fingerprint_of_files(files: list[Path], *facts: object) -> str:
    digest = hashlib.sha256(repr(facts).encode())
    for file in files:
        digest.update(f"{file.parent.name}/{file.name} {file.stat().st_size}\n".encode())
    return digest.hexdigest()


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__")))


def _images(path: Path) -> list[Path]:
    if not path.is_dir():  # a class that only another split has
        return []
    visible = (entry for entry in path.iterdir() if not entry.name.startswith("."))
    return sorted(entry for entry in visible if entry.suffix.lower() in ENDINGS and not entry.is_dir())


def _own_image_set(path: Path, split: str, opened: Opened, class_names: tuple[str, ...] | None, kind: str) -> ImageSet:
    return ImageSet(
        name=path.name,
        split=split,
        image_shape=tuple(opened.records.spec[0].shape),
        class_names=class_names,
        licence=_LICENCE,
        origin=f"{kind} '{path.name}'",
        fingerprint=opened.fingerprint,
        skipped=opened.skipped,
        records=opened.records,
    )
