"""Datasets of TensorFlow Datasets: prepared ones, ones whose archives are at hand, and ones to download.

TFDS itself is imported where it is used: it takes a while, and folders and arrays do without.
"""

import difflib
import functools
import hashlib
import itertools
import os
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import requests
import tensorflow as tf

from tfgan_app.base.errors import DataError, NotDownloadable, UnknownDataset, UnknownSplit
from tfgan_app.base.hosts import cause, unreachable
from tfgan_app.base.sizes import Size
from tfgan_app.data.decoding import Item, choose_scaling, common_size, form_facts, read_all
from tfgan_app.data.galleries import Listing
from tfgan_app.data.image_set import ImageSet
from tfgan_app.data.layouts import role_of
from tfgan_app.data.records import Opened, Streamed, decode_and_hold, fits_in_memory, labelled_images
from tfgan_app.data.trees import sentence
from tfgan_app.modalities.image_files import (
    File,
    Form,
    Header,
    fit_image,
    read_header,
    read_image,
    read_pixels,
    read_values,
)
from tfgan_app.modalities.values import Range, measured, scaled, usual_range

_LICENCES = {  # of datasets whose licence TFDS does not state
    "celeb_a": "non-commercial research purposes only",
    "fashion_mnist": "MIT",
    "mnist": "CC BY-SA 3.0",
    "mnist_5k": "CC BY-SA 3.0",
}
_READ_BATCH = 256  # encoded records taken from tf.data at a time


def open_named(
    name: str,
    split: str,
    form: Form,
    *,
    data_dir: str | None,
    manual_dir: str | None,
) -> ImageSet:
    """Opens a TFDS dataset by name, preparing it first where needed; see `open_images`."""
    return _open_builder(builder_named(name, data_dir, manual_dir), name, split, form)


def open_prepared(path: Path, split: str, form: Form) -> ImageSet:
    """Opens a folder that TFDS prepared, the one with `dataset_info.json` in it; see `open_images`."""
    builder = builder_in(path)
    return _open_builder(builder, builder.name, split, form)


def builder_named(name: str, data_dir: str | None, manual_dir: str | None) -> Any:
    """Returns the builder of a TFDS dataset, preparing it first where needed.

    Raises:
        DataError: If it is unknown, or cannot be prepared.
    """
    builder = find_builder(name, data_dir)
    # is_prepared() says the same, with a warning.
    if not Path(builder.data_dir, "dataset_info.json").exists():
        _prepare(name, builder, manual_dir)
    return builder


def builder_in(path: Path) -> Any:
    """Returns the builder of a folder that TFDS prepared.

    Raises:
        DataError: If it is not one.
    """
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(path)
    except Exception as error:  # of any kind: the folder's files are not ours
        raise DataError(f"'{path}' is not a folder that TFDS can read: {error}") from error


def licence_of(builder: Any) -> str:
    """Returns the licence of a dataset, as far as it is known."""
    return _LICENCES.get(builder.name) or builder.info.redistribution_info.license or "not stated"


def origin_of(builder: Any) -> str:
    """Returns where a dataset comes from."""
    return builder.info.homepage or f"TFDS {builder.info.full_name}"


def image_keys(features: Any) -> list[str]:
    """Returns the names of the features that are images."""
    import tensorflow_datasets as tfds

    return [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]


def list_images(builder: Any, split: str, where: str, key: str | None = None) -> Listing:
    """Lists the images of a split, each to be read by its number.

    Args:
        builder: A prepared dataset.
        split: A split, optionally with a slice.
        where: What it is called in messages.
        key: The feature that the images are; by default the only one, or `image`.

    Raises:
        UnknownSplit: If it has no such split.
        DataError: If its records cannot be found by number.
    """
    info = builder.info
    split_info = _split_info(info, split, where)
    if info.file_format.value != "tfrecord":
        raise DataError(
            f"{where} is stored as {info.file_format.value}, whose records are not found by number here. Have TFDS "
            "prepare it as tfrecord."
        )
    key = key or image_key(info.features, where)
    feature = info.features[key]
    places: list[tuple[str, int, int]] = []
    for part in split_info.file_instructions:
        path = os.fspath(part.filename)
        found = _record_places(path)
        stop = len(found) if part.take < 0 else part.skip + part.take
        places += [(path, *place) for place in found[part.skip : stop]]
    items = [
        Item(f"image {number} of {split}", functools.partial(_read_record, key, *place), 0)
        for number, place in enumerate(places)
    ]
    height, width, depth = feature.shape
    dtype = np.dtype(feature.np_dtype)
    floats, bits = dtype.kind == "f", {1: 8, 2: 16, 4: 32}[dtype.itemsize]
    return Listing(
        items,
        lambda number: (info.full_name, Path(places[number][0]).name, places[number][1], key),
        None if None in (height, width) else Header(height, width, depth == 1, bits),
        head=_float_header if floats else read_header,
        read=_read_float_image if floats else read_image,
        values=_read_floats if floats else read_values,
    )


def peek_named(name: str, data_dir: str | None, form: Form) -> tuple[tuple[int, int, int], int | None]:
    """Returns a TFDS dataset's `(image_shape, num_classes)` as declared, without preparing it; see `peek`."""
    features = find_builder(name, data_dir).info.features
    height, width, depth = features[image_key(features, f"'{name}'")].shape
    height, width = form.image_size or (height, width)
    if None in (height, width):
        raise DataError(f"The images of '{name}' differ in size. Give one, for example `image_size=64`.")
    class_names = _class_names(features)
    return (height, width, form.channels or (1 if depth == 1 else 3)), None if class_names is None else len(class_names)


def _open_builder(
    builder: Any,
    name: str,
    split: str,
    form: Form,
) -> ImageSet:
    info, where = builder.info, f"'{name}'"
    split_info = _split_info(info, split, where)
    count = split_info.num_examples
    key = image_key(info.features, where)
    class_names = _class_names(info.features)
    serialized = _serialized(info, split_info, where)
    height, width, depth = info.features[key].shape
    height, width = form.image_size or (height, width)
    channels = form.channels or (1 if depth == 1 else 3)
    if channels not in (1, 3, 4):
        raise DataError(f"The images of {where} become no {channels} channels: `channels` must be 1, 3 or 4.")
    notes: tuple[str, ...] = ()
    if class_names is not None:
        # Whole sets are read anyway where they are held, or sizes are to be found.
        whole = None in (height, width) or fits_in_memory(count, (height, width, channels), form.depth)
        serialized, labelled = _with_labels(serialized, count, whole)
        if not labelled:
            class_names, notes = None, ("all of its labels say that there is none: it is taken without labels",)
        elif labelled < count:
            notes = (f"left out {count - labelled} of {count} images, which have no label",)
            count = labelled
    parse = functools.partial(_parse, key, class_names is not None)

    def items() -> Iterator[Item]:
        number = 0
        for images, labels in serialized.batch(_READ_BATCH).map(parse).as_numpy_iterator():
            for image, class_ in zip(images, labels, strict=True):
                yield Item(f"image {number} of {split}", image, class_)
                number += 1

    if height is None or width is None:
        headers = [header for _, header in read_all(read_header, items()) if isinstance(header, Header)]
        height, width = common_size(headers, where)
    shape = (height, width, channels)
    dtype = info.features[key].np_dtype
    floats, deep = np.issubdtype(dtype, np.floating), dtype != np.uint8
    scaling = choose_scaling(
        items() if deep else (),
        itertools.repeat({1: 8, 2: 16, 4: 32}[np.dtype(dtype).itemsize], count),
        where,
        form.value_range,
        _read_floats if floats else read_values,
        form.depth,
    )
    read_one = _read_float_image if floats else read_image

    def read(file: File) -> np.ndarray:
        return read_one(file, channels, form.image_size, scaling.value_range, form.fit, form.depth)

    if fits_in_memory(count, shape, form.depth):
        opened = decode_and_hold(items(), read, count, shape, where, form.depth)
    else:
        shards = [(Path(part.filename).name, part.skip, part.take) for part in split_info.file_instructions]
        facts = (
            info.full_name,
            info.dataset_size,
            shards,
            shape,
            *form_facts(form, scaling),
        )
        # Images that are stored in this shape need no cropping or resizing, and so no Python for each.
        plain = not deep and form.depth == 8 and scaling.value_range is None and channels in (1, 3)
        stored = info.features[key].shape == shape and plain
        spec = labelled_images(shape, form.depth)
        decode = functools.partial(_decode_as_stored, channels)
        if not stored:
            decode = functools.partial(_decode, read, spec[0].dtype)

        def parse_and_decode(examples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images, labels = parse(examples)
            return tf.ensure_shape(decode(images), (None, *shape)), labels

        # TFDS shuffles what it prepares, unless told otherwise.
        records = Streamed(serialized, parse_and_decode, count, spec, not info.disable_shuffling)
        opened = Opened(records, hashlib.sha256(repr(facts).encode()).hexdigest())
    return ImageSet(
        name=name,
        split=split,
        image_shape=shape,
        class_names=class_names,
        licence=licence_of(builder),
        origin=origin_of(builder),
        fingerprint=opened.fingerprint,
        skipped=opened.skipped,
        value_range=scaling.value_range,
        depth=form.depth,
        notes=tuple(map(sentence, (*notes, *scaling.notes))),
        records=opened.records,
    )


def _split_info(info: Any, split: str, where: str) -> Any:
    try:
        split_info = info.splits[_known(split, info.splits)]
    except (KeyError, ValueError) as error:
        raise UnknownSplit(f"{where} has no split '{split}'. It has: {', '.join(info.splits)}.") from error
    if not split_info.num_examples:
        raise DataError(f"`split={split}` selects none of the images of {where}.")
    return split_info


def _record_places(path: str) -> list[tuple[int, int]]:
    """Returns where each record of a TFRecord file begins, and its length.

    Before a record stand its length in eight bytes and four of a checksum; four of another follow it.
    """
    places, position = [], 0
    with open(path, "rb", buffering=0) as file:
        while header := file.read(8):
            (length,) = struct.unpack("<Q", header)
            places.append((position + 12, length))
            position = file.seek(position + length + 16)
    return places


def _read_record(key: str, path: str, start: int, length: int) -> bytes:
    """Returns the encoded image that a record holds."""
    with open(path, "rb") as file:
        file.seek(start)
        example = tf.train.Example.FromString(file.read(length))
    return example.features.feature[key].bytes_list.value[0]


def _serialized(info: Any, split_info: Any, where: str) -> tf.data.Dataset:
    """Returns a split's `tf.train.Example`s, of 16 shards by turns, as TFDS reads them.

    TFDS would parse each by itself, which takes ten times as long as parsing a batch.
    """
    from tensorflow_datasets.core import file_adapters

    adapter = file_adapters.ADAPTER_FOR_FORMAT[info.file_format]
    if not adapter.SUPPORTS_TF_DATA:
        stored = info.file_format.value
        raise DataError(f"{where} is stored as {stored}, which tf.data cannot read. Have TFDS prepare it as tfrecord.")
    parts = split_info.file_instructions
    skip, take = (np.array([getattr(part, name) for part in parts], np.int64) for name in ("skip", "take"))
    shards = tf.data.Dataset.from_tensor_slices(([os.fspath(part.filename) for part in parts], skip, take))
    return shards.interleave(
        lambda path, skip, take: adapter.make_tf_data(path).skip(skip).take(take),
        cycle_length=1 if info.disable_shuffling else 16,
        block_length=16,
    )


def _with_labels(serialized: tf.data.Dataset, count: int, whole: bool) -> tuple[tf.data.Dataset, int]:
    """Returns the examples that have a label, -1 being none, and how many: all as they are if none has.

    Unless the `whole` set is to be looked at, the rest is taken to have labels where the first examples have: `_parse`
    refuses what has not.
    """
    feature = {"label": tf.io.FixedLenFeature((), tf.int64)}

    def labels(examples: tf.data.Dataset) -> np.ndarray:
        batches = examples.batch(_READ_BATCH).map(lambda batch: tf.io.parse_example(batch, feature)["label"])
        return np.concatenate(list(batches.as_numpy_iterator()))

    if (labels(serialized if whole else serialized.take(_READ_BATCH)) >= 0).all():
        return serialized, count
    labelled = int(np.count_nonzero(labels(serialized) >= 0))
    if labelled:
        serialized = serialized.filter(lambda example: tf.io.parse_single_example(example, feature)["label"] >= 0)
    return serialized, labelled


def _parse(key: str, labelled: bool, examples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the encoded images and the labels of a batch of examples; labels of 0 if there are none."""
    features = {key: tf.io.FixedLenFeature((), tf.string)}
    if labelled:
        features["label"] = tf.io.FixedLenFeature((), tf.int64)
    parsed = tf.io.parse_example(examples, features)
    if not labelled:
        return parsed[key], tf.zeros(tf.shape(examples), tf.int32)
    # Errors of the data cross TensorFlow as text.
    mixed = "DataError: The first images have labels, and one of the others has none (-1)."
    with tf.control_dependencies([tf.debugging.assert_non_negative(parsed["label"], mixed)]):
        return parsed[key], tf.cast(parsed["label"], tf.int32)


def _decode(read, dtype, images):
    return tf.numpy_function(lambda images: np.stack([read(image) for image in images]), [images], dtype, False)


def _decode_as_stored(channels, images):
    # decode_jpeg takes PNGs too, and by this method decodes JPEGs as PIL does. tf.map_fn would take twice as long for
    # small images.
    return tf.stack([tf.io.decode_jpeg(image, channels, dct_method="INTEGER_ACCURATE") for image in tf.unstack(images)])


def _known(split: str, splits: Iterable[str]) -> str:
    """Returns a split with what its names mean where they are not those of the data set: `val` is `validation`."""

    def meant(found: re.Match[str]) -> str:
        role = None if found[0] in splits else role_of(found[0])
        return role if role and role in splits else found[0]

    return re.sub(r"[^\W\d]\w*", meant, split)


def _read_floats(file: File) -> np.ndarray:
    """Returns the values of a floating-point image: TFDS stores the four bytes of each as a pixel of four channels."""
    return np.ascontiguousarray(read_pixels(file)).view(np.float32)[..., 0]


def _float_header(file: File) -> Header:
    return read_header(file)._replace(grey=True, bits=32)


def _read_float_image(
    file: File,
    channels: int,
    image_size: Size | None = None,
    value_range: Range | None = None,
    fit: str = "crop",
    depth: int = 8,
) -> np.ndarray:
    values = _read_floats(file)
    levels = scaled(values, value_range or usual_range(measured(values)), depth)
    return fit_image(np.atleast_3d(levels), channels, image_size, fit)


def _class_names(features: Any) -> tuple[str, ...] | None:
    import tensorflow_datasets as tfds

    label = dict(features.items()).get("label")
    return tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else None


def image_key(features: Any, where: str) -> str:
    """Returns the name of the feature that is the image of an example.

    Raises:
        DataError: If none is called so, nor is the only one.
    """
    import tensorflow_datasets as tfds

    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    key = "image" if "image" in images else images[0] if len(images) == 1 else None
    if key is None:
        listed = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in sorted(features.items()))
        raise DataError(f"{where} has no feature 'image', nor exactly one image by another name. It has: {listed}.")
    return key


def find_builder(name: str, data_dir: str | None) -> Any:
    """Returns the builder of a TFDS dataset, prepared or not.

    Raises:
        DataError: If it is unknown, or cannot be opened.
    """
    import tensorflow_datasets as tfds

    base, _, config = name.split(":")[0].partition("/")
    known = tfds.list_builders(with_community_datasets=False)  # the community's list lies on the network
    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    if base not in known and not (root / base).is_dir():
        near = _did_you_mean(base.lower(), [*known, "mnist_5k"])
        raise UnknownDataset(
            f"Unknown dataset '{name}'. {near}Give `dataset=mnist_5k`, a name from "
            "https://www.tensorflow.org/datasets/catalog, or the path of a folder of images, of an .npz or "
            ".npy file, or of a folder prepared by TFDS."
        )
    try:
        configs = list(tfds.builder_cls(base).builder_configs) if base in known else []
        if config and configs and config not in configs and "=" not in config:
            near = _did_you_mean(config, configs)
            raise UnknownDataset(f"Unknown configuration '{name}'. {near}There are: {', '.join(configs)}.")
        return tfds.builder(name, data_dir=data_dir)
    except UnknownDataset:
        raise
    except Exception as error:  # a version that is gone, a dependency that is not installed
        raise DataError(f"'{name}' cannot be opened: {error}") from error


def _did_you_mean(name: str, known: list[str]) -> str:
    near = [f"'{match}'" for match in difflib.get_close_matches(name, known)]
    return f"Did you mean {' or '.join(near)}? " if near else ""


def _prepare(name: str, builder: Any, manual_dir: str | None) -> None:
    import tensorflow_datasets as tfds

    root = Path(builder.data_dir_root)
    manual = Path(manual_dir).expanduser() if manual_dir else root / "downloads" / "manual"
    missing = {
        url: archive.filename or url
        for url, archive in _archives(builder).items()
        if not _is_file(manual / (archive.filename or "?"), archive.size)
    }

    def not_downloadable(reason: object, why: str) -> NotDownloadable:
        return NotDownloadable(
            f"'{name}' is not prepared in `data_dir={root}`, and cannot be downloaded: {reason}. Either put "
            f"its original archives ({', '.join(sorted(missing.values())) or 'see its homepage'}) into "
            f"`manual_dir={manual}`, or copy a folder that TFDS prepared elsewhere into `data_dir`, or use "
            "the digits that come with this package: `dataset=mnist_5k`.",
            f"{name} cannot be downloaded ({why})",
        )

    if reason := unreachable(missing):
        raise not_downloadable(reason, f"no answer from {reason.split(':')[0]}")
    config = tfds.download.DownloadConfig(manual_dir=manual, try_download_gcs=False)
    try:
        builder.download_and_prepare(download_config=config)
    except (requests.RequestException, tfds.download.DownloadError) as error:
        raise not_downloadable(cause(error), "its download broke off") from error
    except Exception as error:  # a damaged archive, a full disk, a dataset that must be downloaded by hand
        raise DataError(f"'{name}' cannot be prepared from {manual} in `data_dir={root}`: {error}") from error


def _archives(builder: Any) -> dict[str, Any]:
    """Returns what TFDS knows (file name, size) of the URLs that the dataset is downloaded from."""
    archives = builder.url_infos or {}
    config = builder.builder_config
    # All configurations share one list of URLs. Those with this one's name are enough, where there are any.
    return {url: a for url, a in archives.items() if config and config.name in url} or archives


def _is_file(path: Path, size: int) -> bool:
    # The size tells apart the archives of MNIST and Fashion-MNIST, which go by the same names.
    return path.is_file() and path.stat().st_size == size
