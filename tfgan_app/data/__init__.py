"""Named datasets, and images of one's own, as batches in [-1, 1] for a GAN.

`load` is for notebooks; `open_images` gives a run an `ImageSet`, with the facts to record about it.
"""

import dataclasses
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import logging

from tfgan_app.base.errors import DataError, NotDownloadable, UnknownDataset, UnknownSplit
from tfgan_app.data.files import open_array, open_folder
from tfgan_app.data.image_set import ImageSet
from tfgan_app.data.named import open_named, open_prepared, peek_named
from tfgan_app.modalities.images import to_float, to_uint8

__all__ = [
    "DataError",
    "ImageSet",
    "NotDownloadable",
    "UnknownDataset",
    "UnknownSplit",
    "load",
    "open_images",
    "peek",
    "to_float",
    "to_uint8",
]

_BUNDLED = Path(__file__).parent.parent / "datasets" / "mnist_5k" / "1.0.0"


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
        **source_options: `data_dir`, `manual_dir`, `image_size`, `channels` and `fallback_dataset` of `open_images`.

    Returns:
        A finite `tf.data.Dataset` for each split. Elements are float32 images `(batch, height, width, channels)` in
        [-1, 1], or `(images, labels)` with int32 labels `(batch,)` when the dataset is labelled.

    Raises:
        DataError: If the dataset cannot be used as asked.
    """
    train = open_images(dataset, split=splits[0], **source_options)
    if train.fallback_for is not None:  # the hosts need not be asked again for each split
        dataset = source_options.pop("fallback_dataset")
    others = [open_images(dataset, split=split, **source_options) for split in splits[1:]]
    return train.passes(batch_size, seed=seed, mirror=mirror), *(images.in_order(batch_size) for images in others)


def open_images(
    dataset: str,
    *,
    split: str = "train",
    data_dir: str | None = None,
    manual_dir: str | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    fallback_dataset: str | None = None,
) -> ImageSet:
    """Opens one split of a dataset.

    Args:
        dataset: In this order, `mnist_5k` (5 000 digits that come with this package); the path of a folder of
            images, of an .npz or .npy file, or of a folder that TFDS prepared; or the name of a TFDS dataset,
            with its configuration if it has some (`cycle_gan/horse2zebra`).
        split: A split of the dataset, optionally with a slice: `train`, `train[:90%]`, `trainA`.
        data_dir: Where TFDS keeps prepared datasets; by default `~/tensorflow_datasets`.
        manual_dir: Where archives lie that were downloaded by hand; by default `<data_dir>/downloads/manual`.
        image_size: Height and width, in pixels, that the largest centred square of each image is resized to.
            May be None where all images are of one size.
        channels: 1 for greyscale or 3 for RGB; by default as in the dataset.
        fallback_dataset: What to take if, and only if, this one is not at hand and cannot be downloaded.

    Raises:
        UnknownDataset: If nothing goes by this name.
        NotDownloadable: If the dataset is not at hand and its hosts do not answer.
        DataError: If the dataset cannot be used as asked.
    """
    if image_size is not None and image_size < 1:
        raise DataError(f"`image_size={image_size}` must be at least 1.")
    if channels not in (None, 1, 3):
        raise DataError(f"`channels={channels}` must be 1 (greyscale) or 3 (RGB).")
    form = {"split": split, "image_size": image_size, "channels": channels}
    try:
        return _open(dataset, data_dir, manual_dir, form)
    except NotDownloadable as error:
        if fallback_dataset is None:
            raise
        images = _open(fallback_dataset, data_dir, manual_dir, form)
        logging.warning("Using '%s' instead of '%s': %s", fallback_dataset, dataset, error)
        return dataclasses.replace(images, fallback_for=dataset)


def peek(
    dataset: str,
    *,
    data_dir: str | None = None,
    manual_dir: str | None = None,
    image_size: int | None = None,
    channels: int | None = None,
) -> tuple[tuple[int, int, int], int | None]:
    """Returns `(image_shape, num_classes)` of a dataset, without downloading or preparing it.

    Arguments and errors are those of `open_images`; `num_classes` is None for an unlabelled dataset.
    """
    if dataset != "mnist_5k" and not Path(dataset).expanduser().exists():
        return peek_named(dataset, data_dir=data_dir, image_size=image_size, channels=channels)
    images = open_images(dataset, image_size=image_size, channels=channels)
    return images.image_shape, images.num_classes


def _open(name: str, data_dir: str | None, manual_dir: str | None, form: dict) -> ImageSet:
    if name == "mnist_5k":
        return open_prepared(_BUNDLED, **form)
    path = Path(name).expanduser().absolute()
    if path.is_dir():
        prepared = [folder for folder in (path, *sorted(path.iterdir())) if (folder / "dataset_info.json").exists()]
        return open_prepared(prepared[-1], **form) if prepared else open_folder(path, **form)
    if path.suffix in (".npz", ".npy") and path.exists():
        return open_array(path, **form)
    if path.exists():
        raise DataError(f"'{name}' is neither a folder of images nor an .npz or .npy file.")
    if name.startswith((".", "/", "~")) or path.suffix in (".npz", ".npy"):
        raise UnknownDataset(f"There is no file or folder '{name}'.")
    return open_named(name, data_dir=data_dir, manual_dir=manual_dir, **form)
