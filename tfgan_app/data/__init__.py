"""Named datasets, and images of one's own, as batches in [-1, 1] for a GAN.

`load` is for notebooks; `open_images` gives a run an `ImageSet`, with the facts to record about it. `load_pairs` and
`open_pairs` are their like for sources and targets.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tfgan_app.base.errors import DataError, NotDownloadable, UnknownDataset, UnknownSplit
from tfgan_app.base.sizes import ImageSize
from tfgan_app.conditions import Attributes
from tfgan_app.data.decoding import doubts, form_of
from tfgan_app.data.degradations import degrade
from tfgan_app.data.files import open_array, open_folder, open_stack
from tfgan_app.data.image_set import ImageSet
from tfgan_app.data.locating import Kind, located
from tfgan_app.data.named import open_named, open_prepared, peek_named
from tfgan_app.data.pairs import PairSet, load_pairs, open_pairs, peek_pairs
from tfgan_app.data.records import Indexed
from tfgan_app.data.splits import open_splits
from tfgan_app.data.tables import Asked
from tfgan_app.data.trees import sentence
from tfgan_app.modalities.image_files import Form
from tfgan_app.modalities.images import to_float, to_uint8

__all__ = [
    "DataError",
    "ImageSet",
    "NotDownloadable",
    "PairSet",
    "UnknownDataset",
    "UnknownSplit",
    "degrade",
    "load",
    "load_pairs",
    "open_images",
    "open_pairs",
    "peek",
    "peek_pairs",
    "to_float",
    "to_uint8",
]

_LOOKED_AT = 256  # images, to see whether a set is what it was meant to be
_LOOKED_AT_BYTES = 2**25


def load(
    dataset: str,
    batch_size: int,
    *,
    splits: tuple[str, ...] = ("train", "test"),
    seed: int = 0,
    mirror: bool = False,
    **source_options: Any,
) -> tuple[tf.data.Dataset, ...]:
    """Loads a dataset for `model.fit`: the first split shuffled for training, the others in order.

    ```python
    train, test = tfgan_app.data.load("fashion_mnist", batch_size=64)
    ```

    Args:
        dataset: A dataset, folder or file; see `open_images`.
        batch_size: Images in each batch. The training split leaves out what does not fill one; it is shuffled
            anew in every epoch.
        splits: The splits to load.
        seed: Fixes the order of the training images.
        mirror: Whether to turn each training image left to right with probability 1/2, anew in every epoch.
        **source_options: `data_dir`, `manual_dir`, `image_size`, `fit`, `channels`, `depth`, `value_range`,
            `attributes` and `fallback_dataset` of `open_images`; the other splits are scaled, and have attributes, as
            the first one.

    Returns:
        A finite `tf.data.Dataset` for each split. Elements are float32 images `(batch, height, width, channels)` in
        [-1, 1], or `(images, labels)` with int32 labels `(batch,)` when the dataset is labelled, or `(images,
        conditions)` with float32 rows `(batch, K)` where `attributes` are given.

    Raises:
        DataError: If the dataset cannot be used as asked.
    """
    train, *others = open_splits(open_images, dataset, splits, source_options)
    return train.passes(batch_size, seed=seed, mirror=mirror), *(images.in_order(batch_size) for images in others)


def open_images(
    dataset: str,
    *,
    split: str = "train",
    data_dir: str | None = None,
    manual_dir: str | None = None,
    image_size: ImageSize | None = None,
    fit: str = "crop",
    channels: int | None = None,
    depth: int = 8,
    value_range: tuple[float, float] | None = None,
    attributes: str | Sequence[str] | Attributes | None = None,
    fallback_dataset: str | None = None,
) -> ImageSet:
    """Opens one split of a dataset.

    Args:
        dataset: In this order, `mnist_5k` (5 000 digits that come with this package); the path of a folder of
            images, of a .zip archive of one, of an .npz or .npy file, of a TIFF of several pages or a DICOM file of
            several frames, each of which is an image, or of a folder that TFDS prepared; or the name of a TFDS dataset,
            with its configuration if it has some (`cycle_gan/horse2zebra`).
        split: A split of the dataset, optionally with a slice: `train`, `train[:90%]`, `trainA`.
        data_dir: Where TFDS keeps prepared datasets; by default `~/tensorflow_datasets`.
        manual_dir: Where archives lie that were downloaded by hand; by default `<data_dir>/downloads/manual`.
        image_size: The size in pixels that each image is brought to: the side of a square, `(height, width)`, or
            WIDTHxHEIGHT in a text, "96x64". May be None where all images are of one size.
        fit: How images of another aspect ratio get there. "crop": their largest centred part of that ratio is resized;
            "pad": all of them, and the rest is black, or transparent where there is opacity; "stretch": each side by
            its own factor.
        channels: 1 for greyscale, 3 for RGB, 4 for RGBA; by default as in the dataset, but transparent files are laid
            on white. Arrays and TIFFs can have 2 to 8, which stay as they are.
        depth: Bits of a value, 8 or 16.
        value_range: The stored values that become black and white. By default 0 to 255 of images of 8 bits; where all
            have more, the first of 0 to 1, -1 to 1, 0 to 255, 1023, 4095, 16383 and 65535 that holds all values and of
            which they span more than a tenth, else their smallest and largest. To open another split like this one,
            give its `value_range`.
        attributes: Columns of a table beside the images, or of the array `attributes` of an .npz file, that images have
            in the place of labels; "auto" for all that can be learnt from. By default none. To open another split like
            this one, give its `attributes`.
        fallback_dataset: What to take if, and only if, this one is not at hand and cannot be downloaded.

    Raises:
        UnknownDataset: If nothing goes by this name.
        NotDownloadable: If the dataset is not at hand and its hosts do not answer.
        DataError: If the dataset cannot be used as asked.
    """
    form = form_of(image_size, channels, value_range, fit, depth)
    asked = (attributes,) if isinstance(attributes, str) else attributes
    try:
        return _with_doubts(_open(dataset, split, data_dir, manual_dir, form, asked))
    except NotDownloadable as error:
        if fallback_dataset is None:
            raise
        images = _with_doubts(_open(fallback_dataset, split, data_dir, manual_dir, form, asked))
        logging.warning("%s; taking %s.", error.brief, fallback_dataset)
        return dataclasses.replace(images, fallback_for=dataset)


def peek(
    dataset: str,
    *,
    data_dir: str | None = None,
    manual_dir: str | None = None,
    image_size: ImageSize | None = None,
    fit: str = "crop",
    channels: int | None = None,
    depth: int = 8,
    value_range: tuple[float, float] | None = None,
    split: str = "train",
) -> tuple[tuple[int, int, int], int | None]:
    """Returns `(image_shape, num_classes)` of a dataset, without downloading or preparing it.

    Arguments and errors are those of `open_images`; `num_classes` is None for an unlabelled dataset.
    """
    form = form_of(image_size, channels, value_range, fit, depth)
    if dataset != "mnist_5k" and not Path(dataset).expanduser().exists():
        return peek_named(dataset, data_dir, form)
    images = _with_doubts(_open(dataset, split, data_dir, None, form))
    return images.image_shape, images.num_classes


def _with_doubts(images: ImageSet) -> ImageSet:
    """Adds to a set's notes what some of its images look like, evenly spaced where that is cheap."""
    limit = max(1, _LOOKED_AT_BYTES // math.prod(images.image_shape))
    num = min(_LOOKED_AT, limit, images.num_images)
    try:
        if isinstance(images.records, Indexed):
            looked_at, _ = images.records.fetch(tf.constant(np.linspace(0, images.num_images - 1, num, dtype=np.int64)))
        else:
            looked_at, _ = next(iter(images.records.in_order(num)))
    except tf.errors.OpError:  # of damaged files, which have a message of their own when their turn comes
        return images
    return dataclasses.replace(images, notes=(*images.notes, *map(sentence, doubts(np.asarray(looked_at)))))


def _open(
    name: str, split: str, data_dir: str | None, manual_dir: str | None, form: Form, asked: Asked | None = None
) -> ImageSet:
    kind, path = located(name)
    if kind in (Kind.FOLDER, Kind.ARRAY):
        return {Kind.FOLDER: open_folder, Kind.ARRAY: open_array}[kind](path, split, form, asked)
    if asked is not None and not isinstance(asked, Attributes):
        what = "one file of images" if kind is Kind.STACK else "a data set of TFDS"
        raise DataError(
            f"`attributes={','.join(asked)}`: '{name}' is {what}. Attributes are read from a table in a folder or a "
            ".zip of images, or from an .npz file."
        )
    if kind is Kind.NAMED:
        images = open_named(name, split, form, data_dir=data_dir, manual_dir=manual_dir)
    else:
        images = {Kind.STACK: open_stack, Kind.PREPARED: open_prepared}[kind](path, split, form)
    return images if asked is None else dataclasses.replace(images, class_names=None)
