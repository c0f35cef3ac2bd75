"""Labels as people store them to classes numbered from 0: integers of any kind, one-hot rows, names."""

from typing import NamedTuple

import numpy as np

from tfgan_app.base.errors import DataError
from tfgan_app.data.trees import counted, listed

NONE = -1  # what TFDS and others write where an image has no label

_MAX_CLASSES = 100_000
_WHOLE = 2.0**53  # up to which floats hold every whole number


class Labels(NamedTuple):
    """Labels of a set of images.

    Attributes:
        classes: int32 `(num,)`, from 0 up, and -1 for images without a label; None where the set is unlabelled.
        class_names: A name for each class, or None.
        notes: What was assumed, and what was left out, in sentences.
    """

    classes: np.ndarray | None
    class_names: tuple[str, ...] | None
    notes: tuple[str, ...] = ()


def read_labels(
    labels: np.ndarray,
    num: int,
    where: str,
    *,
    train: np.ndarray | None = None,
    class_names: tuple[str, ...] | None = None,
) -> Labels:
    """Reads the labels of `num` images.

    Classes are the values that there are, in ascending order, as a class without images cannot be learned. Labels of -1
    and NaN mean that there is none, but for -1 beside 1 alone. What is no class, such as several labels an image or
    fractions, leaves the set unlabelled.

    Args:
        labels: `(num,)` or `(num, 1)` integers, booleans, whole floats or strings; or one-hot rows `(num, classes)`.
        num: The number of images.
        where: What they are called in messages.
        train: The labels of the training images where these are others: their values are the classes.
        class_names: Names for the values 0, 1, ... that the source has; all of them are then classes.

    Raises:
        DataError: If there is not one label for each image, or there are too many classes.
    """
    if not labels.ndim or len(labels) != num or labels.dtype.kind not in "biufSU":
        raise DataError(
            f"The labels of {where} are {labels.dtype} of shape {labels.shape}. Expected integers, one-hot rows or "
            f"names, one for each of the {num} images."
        )
    values, declared = _values(labels)
    if isinstance(values, str):
        return Labels(None, None, (f"its labels are {values}, and no classes: the images are taken without labels",))
    notes = []
    known = values if train is None else _values(train)[0]
    if isinstance(known, str):
        return Labels(None, None)
    classes = np.unique(known[_given(known)])
    if train is None and not len(classes):
        return Labels(None, None, ("all of its labels say that there is none: the images are taken without labels",))
    if len(classes) > _MAX_CLASSES:
        raise DataError(f"The labels of {where} are {len(classes)} classes. Number at most {_MAX_CLASSES}.")
    names = tuple(map(_text, classes))
    if classes.dtype.kind in "iu" and int(classes[0]) >= 0:
        if class_names and int(classes[-1]) < len(class_names):
            classes, names = np.arange(len(class_names)), class_names
        elif declared is not None and int(classes[-1]) < declared:
            missing = sorted(set(range(declared)) - set(classes.tolist()))
            classes = np.arange(declared)
            names = tuple(map(str, range(declared)))
            notes += [f"no image has the label {listed(list(map(str, missing)))}"] if missing else []
        elif class_names:
            notes.append(f"its {len(class_names)} class names are left out, as labels go up to {classes[-1]}")
    if (
        names == tuple(map(_text, classes))
        and names != tuple(map(str, range(len(names))))
        and classes.dtype.kind in "iu"
    ):
        notes.append(
            f"its labels are {len(names)} numbers from {names[0]} to {names[-1]}: the classes go by these names, and "
            f"are numbered from 0 to {len(names) - 1}"
        )
    found = np.searchsorted(classes, values).clip(0, len(classes) - 1)
    good = _given(values) & (classes[found] == values)
    if strangers := int(np.count_nonzero(~good & _given(values))):
        example = _text(values[~good & _given(values)][0])
        notes.append(f"left out {counted(strangers)} of classes that the training images have not, such as {example}")
    if without := np.count_nonzero(~_given(values)):
        notes.append(f"left out {without} of {num} images, which have no label; to take all, give them without labels")
    if not good.any():
        return Labels(None, None, ("it shares no class with the training images: it is taken without labels",))
    return Labels(np.where(good, found, NONE).astype(np.int32), names, tuple(notes))


def _values(labels: np.ndarray) -> tuple[np.ndarray | str, int | None]:
    """Returns one integer or string for each image, or what the labels are otherwise; and how many one-hot has."""
    if labels.ndim > 1 and labels.size == len(labels):
        labels = labels.reshape(-1)
    if labels.ndim == 2 and labels.dtype.kind in "biuf" and labels.shape[1] > 1:
        ones = labels == 1
        if (ones | (labels == 0)).all() and (ones.sum(1) <= 1).all():
            return np.where(ones.any(1), ones.argmax(1), NONE), labels.shape[1]
        return f"{labels.shape[1]} numbers an image", None
    if labels.ndim != 1:
        return f"of shape {labels.shape}", None
    if labels.dtype.kind == "f":
        numbers = np.where(np.isnan(labels), NONE, labels).astype(np.float64)
        if not (np.abs(numbers) <= _WHOLE).all() or (numbers != np.round(numbers)).any():
            return "fractions", None
        return numbers.astype(np.int64), None
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    return labels.astype(np.int64) if labels.dtype.kind == "b" else labels, None


def _given(values: np.ndarray) -> np.ndarray:
    """Which images have a label: -1 is none, but where it is one of two classes, the other being 1."""
    if values.dtype.kind != "i" or set(np.unique(values).tolist()) == {-1, 1}:
        return values != "" if values.dtype.kind == "U" else np.ones(len(values), bool)
    return values != NONE


def _text(value: np.generic) -> str:
    return str(value.item())
