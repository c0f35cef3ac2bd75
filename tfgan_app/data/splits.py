"""Splits of folders and arrays: `train`, `test`, `train[:90%]`, `train[500:1500]`."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from absl import logging

from tfgan_app.base.errors import DataError, UnknownSplit
from tfgan_app.data.layouts import role_of

_SPLIT = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?")


def open_splits(
    open_split: Callable[..., Any], dataset: str, splits: Sequence[str], source_options: dict[str, Any]
) -> list[Any]:
    """Opens splits of a dataset, the others as the first one is, and says what was found.

    Args:
        open_split: `open_images` or `open_pairs`.
        dataset: The dataset.
        splits: The splits.
        source_options: The other arguments of `open_split`.

    Returns:
        An `ImageSet` or a `PairSet` for each split.
    """
    first = open_split(dataset, split=splits[0], **source_options)
    if first.fallback_for is not None:  # the hosts need not be asked again for each split
        dataset = source_options["fallback_dataset"]
        source_options = {**source_options, "fallback_dataset": None}
    for name in ("value_range", "attributes"):
        if (found := getattr(first, name, None)) is not None:
            source_options = {**source_options, name: found}
    opened = [first, *(open_split(dataset, split=split, **source_options) for split in splits[1:])]
    notes = tuple(dict.fromkeys(note for one in opened for note in one.notes))
    if remarks := dataclasses.replace(first, split=", ".join(splits), notes=notes).remarks():
        logging.warning("%s", remarks)
    return opened


def split_name(split: str, available: Iterable[str], where: str) -> str:
    """Returns the split that `split` is of: `val[:9]` is of `validation` where there is no `val`.

    Args:
        split: A split's name, optionally with a slice in per cent or in images.
        available: The splits that the dataset has.
        where: What the dataset is called in messages.

    Raises:
        DataError: If `split` is malformed or names no split of the dataset.
    """
    available = sorted(available)
    match = _SPLIT.fullmatch(split)
    if match is None:
        raise DataError(f"`split={split}` is not a split. Write one as train, train[:90%] or train[500:1500].")
    if match["name"] in available:
        return match["name"]
    meant = role_of(match["name"])
    if meant is None or meant not in available:
        raise UnknownSplit(f"{where} has no split '{match['name']}'. It has: {', '.join(available)}.")
    return meant


def split_indices(split: str, count: int) -> np.ndarray:
    """Returns which of `count` images belong to `split`, ascending.

    A slice is taken from a fixed random order, because folders and arrays are often sorted by class: each
    slice is a fair sample, and `train[:90%]` and `train[90%:]` share nothing and leave nothing out.

    Args:
        split: A split that `split_name` accepts.
        count: The number of images in the whole split.

    Returns:
        int64 array of indices in [0, count).

    Raises:
        DataError: If the slice is empty.
    """
    match = _SPLIT.fullmatch(split)
    assert match is not None, split
    start, stop = (_boundary(match[side], count) for side in ("start", "stop"))
    # RandomState, unlike Generator, promises the same stream in every version of NumPy.
    indices = np.sort(np.random.RandomState(0).permutation(count)[start:stop])
    if count and not len(indices):
        raise DataError(f"`split={split}` selects none of the {count} images.")
    return indices


def _boundary(text: str | None, count: int) -> int | None:
    if text is None or not text.endswith("%"):
        return None if text is None else int(text)
    return round(int(text[:-1]) * count / 100)
