"""What a GAN is told of the samples to draw: classes, or several attributes at once.

A condition knows the networks' input, how it is embedded, how values are read and checked, and which are drawn where
none are asked for. Models ask it and know no other difference.
"""

import abc
import collections
import csv
import dataclasses
import difflib
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from keras import layers

from tfgan_app.base.errors import UsageError
from tfgan_app.base.networks import BatchShape
from tfgan_app.layers.spectral import SpectralDense, SpectralEmbedding

__all__ = [
    "Attributes",
    "Classes",
    "Column",
    "Condition",
    "Constant",
    "are_numbers",
    "check_class_names",
    "condition_of",
    "did_you_mean",
    "is_missing",
]


class Condition(abc.ABC):
    """Base of what both networks of a GAN are told.

    Attributes:
        name: What the networks' input and the argument of exported signatures are called.
        shape: The shape of one sample's condition.
        dtype: The dtype of batches `(batch, *shape)`.
        fan_in: Rows of the matrix that embeds it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    fan_in: int

    @property
    def spec(self) -> tf.TensorSpec:
        """The spec of a batch."""
        return tf.TensorSpec((None, *self.shape), self.dtype, self.name)

    def input(self) -> keras.KerasTensor:
        """Returns a network's input of this condition."""
        return keras.Input(self.shape, dtype=self.dtype, name=self.name)

    @abc.abstractmethod
    def embed(
        self, inputs: keras.KerasTensor, width: int, initializer: Any, *, spectral: bool = False, **kwargs: Any
    ) -> keras.KerasTensor:
        """Returns a learned linear map `(batch, width)` of what `input` returned.

        Args:
            inputs: The network's input.
            width: Length of the embedding.
            initializer: Of the `(fan_in, width)` weights.
            spectral: Whether these are spectrally normalised.
            **kwargs: `dtype`, as in `keras.layers.Layer`.
        """

    @abc.abstractmethod
    def check(self, values: Any) -> None:
        """Refuses what training was given where it is no such condition.

        Args:
            values: An array, whose values are looked at too, or a tensor or a `tf.TensorSpec`.

        Raises:
            UsageError: If they are others.
        """

    @abc.abstractmethod
    def tensor(self, values: Any) -> tf.Tensor:
        """Returns values that `check` lets pass as the networks take them."""

    @abc.abstractmethod
    def in_turn(self, num: int, start: int = 0) -> np.ndarray:
        """Returns what is drawn where nothing is asked for, `(num, *shape)`: from number `start` on."""

    @abc.abstractmethod
    def chosen(self, values: Any, num: int) -> np.ndarray:
        """Returns what people ask for as the networks take it, `(num, *shape)`; where None, `in_turn`.

        Raises:
            ValueError: For what there is not, or another number.
        """

    @abc.abstractmethod
    def __str__(self) -> str:
        """Returns what there is to ask for, in words."""


class Classes(Condition):
    """One class a sample: int32 `(batch,)`, embedded by a table with a row for each.

    Args:
        num_classes: How many there are.
        class_names: What they are called, in their order.
    """

    name, shape, dtype = "labels", (), "int32"

    def __init__(self, num_classes: int, class_names: Sequence[str] | None = None):
        self.fan_in = self.num_classes = num_classes
        self.class_names = class_names

    def __str__(self) -> str:
        return f"{self.num_classes} classes"

    def embed(
        self, inputs: keras.KerasTensor, width: int, initializer: Any, *, spectral: bool = False, **kwargs: Any
    ) -> keras.KerasTensor:
        layer = SpectralEmbedding if spectral else layers.Embedding
        return layer(self.num_classes, width, embeddings_initializer=initializer, **kwargs)(inputs)

    def check(self, values: Any) -> None:
        """See `Condition`; labels are `(batch,)`, `(batch, 1)`, or `(batch, num_classes)` one-hot."""
        labels, num_classes = values, self.num_classes
        expected = f"`labels` must be integers from 0 to {num_classes - 1}, one for each sample"
        shape: Any = getattr(labels, "shape", ())
        dtype = _dtype(labels)
        if dtype is None or not (dtype.is_integer or dtype.is_floating or dtype.is_bool):
            received = type(labels).__name__ if dtype is None else dtype.name
            raise UsageError(
                f"{expected}; `names, labels = numpy.unique(labels, return_inverse=True)` makes them of strings. "
                f"Received: {received}"
            )
        sides = tuple(shape)[1:] if tf.TensorShape(shape).rank else ()
        if tf.TensorShape(shape).rank is not None and sides not in ((), (1,), (num_classes,), (None,)):
            raise UsageError(f"{expected}. Received: shape {tuple(shape)}")
        if not isinstance(labels, np.ndarray) or not labels.size:
            return
        if sides == (num_classes,) and num_classes > 1:
            if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
                raise UsageError(f"{expected}, or one-hot. Received: shape {shape}, but rows that are not one-hot")
        elif not np.isin(labels, np.arange(num_classes)).all():
            raise UsageError(f"{expected}. Received: values from {float(labels.min()):g} to {float(labels.max()):g}")

    def tensor(self, values: Any) -> tf.Tensor:
        labels = tf.convert_to_tensor(values)
        if labels.shape.rank == 2:
            one_hot = labels.shape[-1] == self.num_classes and self.num_classes > 1
            labels = tf.argmax(labels, axis=-1) if one_hot else tf.squeeze(labels, axis=-1)
        return tf.cast(labels, tf.int32)

    def in_turn(self, num: int, start: int = 0) -> np.ndarray:
        return (np.arange(start, start + num) % self.num_classes).astype(np.int32)

    def chosen(self, values: Any, num: int) -> np.ndarray:
        """See `Condition`; labels are integers `(num,)`, or names of classes."""
        if values is None:
            return self.in_turn(num)
        labels = values
        if isinstance(labels, (list, tuple)) or getattr(getattr(labels, "dtype", None), "kind", "") in ("U", "O"):
            labels = [self._number(label) for label in labels]
        labels = np.asarray(labels)
        integers = labels.dtype.kind in "iu" or not num
        inside = not num or (labels.size > 0 and 0 <= labels.min() <= labels.max() < self.num_classes)
        if labels.shape != (num,) or not integers or not inside:
            raise ValueError(
                f"`labels` must be {num} integers from 0 to {self.num_classes - 1}, one for each image. Received: "
                f"shape {labels.shape}" + (f", values {labels.min()} to {labels.max()}" if labels.size else "")
            )
        return labels.astype(np.int32)

    def _number(self, label: Any) -> int:
        """Returns the number of a class by its name, in whatever case where that is unique, or by its number as text.

        Names come first: where they are numbers in another order, it is they that people know.
        """
        if not isinstance(label, str):
            return label
        names, folded = list(self.class_names or ()), label.strip().casefold()
        alike = [index for index, name in enumerate(names) if name.casefold() == folded]
        if label in names:
            return names.index(label)
        if len(alike) == 1:
            return alike[0]
        if folded.isdecimal() and int(folded) < self.num_classes:
            return int(folded)
        shown = f"{', '.join(names[:20])}{', ...' if names[20:] else ''}"
        known = f"It must be a name ({shown}) or" if names else "It must be"
        raise ValueError(
            f"`labels`: there is no class {label!r}.{did_you_mean(label, names, [names[index] for index in alike])} "
            f"{known} an integer from 0 to {self.num_classes - 1}."
        )


def check_class_names(names: Sequence[str] | None, num_classes: int | None) -> tuple[str, ...] | None:
    """Returns names of classes as a sampler has them.

    Raises:
        ValueError: If they are not texts, one for each class.
    """
    if names is None:
        return None
    if isinstance(names, str) or not all(isinstance(name, str) for name in names) or len(names) != num_classes:
        raise ValueError(
            f"`class_names` must be texts, one for each class of num_classes={num_classes}. Received: {names}"
        )
    return tuple(names)


def are_numbers(names: Sequence[str]) -> bool:
    """Whether names of classes are but their numbers, and so say nothing."""
    return list(names) == [str(number) for number in range(len(names))]


# The kinds of columns.
YES_NO, NUMBER, CATEGORY = "yes/no", "number", "category"

# How tables write yes and no, a pair each; CelebA's is the second.
_PAIRS = tuple(map(frozenset, (("1", "0"), ("1", "-1"), ("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"))))
_YES, _NO = {"true", "yes", "y", "t"}, {"false", "no", "n", "f"}
_MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "null"})
# Columns of these names hold numbers of classes, where they hold few whole numbers.
_CLASS_WORDS = frozenset({"class", "classes", "label", "category", "id", "type", "species", "breed"})
_MAX_CATEGORIES = 1000
# Training samples whose conditions are kept.
_EXAMPLES = 256


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table of attributes: how its values become numbers, and what there is to ask for.

    Attributes:
        name: Its heading.
        kind: `yes/no`, one number, 0 or 1; `number`, standardised; or `category`, a number for each, one-hot.
        mean: What is subtracted from a number.
        deviation: What it is then divided by.
        low: The smallest number in training.
        high: The largest.
        categories: The categories, in alphabetical order.
    """

    name: str
    kind: str
    mean: float = 0.0
    deviation: float = 1.0
    low: float = 0.0
    high: float = 1.0
    categories: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, values: Sequence[Any]) -> "Column":
        """Returns the column that values make, none of which is missing.

        Raises:
            ValueError: If nothing can be learnt from them, saying why.
        """
        folded = {_text(value).casefold() for value in values}
        if len(folded) < 2:
            raise ValueError(f"all of its values are {_text(values[0])}" if len(values) else "it has no values")
        if any(folded <= pair for pair in _PAIRS):
            return cls(name, YES_NO)
        numbers = [_number(value) for value in values]
        if all(number is not None for number in numbers):
            found = np.array(numbers, np.float64)
            words = set(name.casefold().replace("_", " ").replace("-", " ").split())
            whole = bool((found == np.round(found)).all())
            if not (words & _CLASS_WORDS and whole and len(folded) <= _MAX_CATEGORIES):
                low, high = float(found.min()), float(found.max())
                return cls(name, NUMBER, float(found.mean()), float(found.std()), low, high)
        spellings = collections.Counter(map(_text, values))
        first = {text.casefold(): text for text, _ in reversed(spellings.most_common())}
        if len(first) > _MAX_CATEGORIES or 2 * len(first) > max(len(values), 4):
            raise ValueError(f"its {len(values)} values are {len(first)} different texts")
        return cls(name, CATEGORY, categories=tuple(sorted(first.values(), key=_by_number)))

    @property
    def names(self) -> tuple[str, ...]:
        """What each of its numbers is called: `age`, `hair=black`."""
        return tuple(f"{self.name}={category}" for category in self.categories) or (self.name,)

    def encoded(self, values: Iterable[Any]) -> np.ndarray:
        """Returns values as the networks take them, float32 `(num, len(names))`; NaN where they are none of its."""
        if self.kind == CATEGORY:
            places = {category.casefold(): index for index, category in enumerate(self.categories)}
            table = np.vstack([np.eye(len(places), dtype=np.float32), np.full((1, len(places)), np.nan, np.float32)])
            return table[[places.get(_text(value).casefold(), -1) for value in values]]
        read: Callable[[Any], float | None] = _yes_no if self.kind == YES_NO else _number
        numbers = np.array([read(value) for value in values], np.float64)
        return ((numbers - self.mean) / self.deviation).astype(np.float32)[:, None]

    def decoded(self, numbers: np.ndarray) -> str:
        """Returns what `encoded` made of a value, `(len(names),)`, as a text."""
        if self.kind == CATEGORY:
            return self.categories[int(np.argmax(numbers))]
        if self.kind == YES_NO and numbers[0] in (0, 1):
            return "yes" if numbers[0] else "no"
        return f"{float(numbers[0]) * self.deviation + self.mean:.6g}"

    def __str__(self) -> str:
        if self.kind == NUMBER:
            return f"{self.name} (number, {self.low:g} to {self.high:g})"
        shown = f"{', '.join(self.categories[:8])}{', ...' if self.categories[8:] else ''}"
        return f"{self.name} ({shown or self.kind})"

    def describe(self) -> dict[str, Any]:
        """Returns the arguments that are not their defaults, as JSON takes them."""
        given = {field.name: (getattr(self, field.name), field.default) for field in dataclasses.fields(self)}
        found = {name: value for name, (value, default) in given.items() if value != default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


@keras.saving.register_keras_serializable("tfgan_app")
class Attributes(Condition):
    """Several attributes a sample: float32 rows `(batch, K)`, embedded by a dense layer.

    Of a yes or no a row has 0 or 1, of a number its distance from the training samples' mean in their standard
    deviations, of a category a one-hot part. The layer has no bias, so that one category is embedded as a class is, by
    the same weights. Where no column is a category, which adds up to 1 and so serves as one, the layer gets a further
    input that is always 1: else a row of zeros, all no and average, would tell the networks nothing.

    Args:
        columns: The `Column`s, or what their `describe` returns, in the order of the rows.
        examples: Lines of comma-separated values, one of each column: conditions of training samples, which are drawn
            in turn where none are asked for.

    Raises:
        ValueError: For columns of one name, no columns, or no examples.

    Example:
        >>> attributes = Attributes.of({"smiling": ["yes", "no", "no"], "age": [20, 37.5, 61]})
        >>> attributes.encode({"smiling": [1], "age": [40]}).shape
        (1, 2)
    """

    name, dtype = "conditions", "float32"

    def __init__(self, columns: Sequence[Column | Mapping[str, Any]], examples: Sequence[str]):
        found = [column if isinstance(column, Column) else _column(column) for column in columns]
        self.columns, self.examples = tuple(found), tuple(examples)
        if not found or not examples or len({column.name for column in found}) < len(found):
            raise ValueError(
                "`columns` must be one at least, each with a `name` of its own, and `examples` one at least. Received: "
                f"{[column.name for column in found]} and {len(examples)} examples"
            )
        self.shape = (len(self.names),)
        self._constant = all(column.kind != CATEGORY for column in found)
        self.fan_in = len(self.names) + self._constant
        lines = csv.reader(io.StringIO("\n".join(examples)))
        self._rows = self.encode(dict(zip([column.name for column in found], zip(*lines, strict=True), strict=True)))

    @classmethod
    def of(cls, table: Mapping[str, Sequence[Any]]) -> "Attributes":
        """Returns the attributes that a table of training samples has.

        Args:
            table: The values of each column by its name, a sample each: yes and no in words, True and False, 0 and 1 or
                -1 and 1; numbers; or names of categories. A column of few whole numbers that is called a class, a label
                or alike has categories.

        Raises:
            UsageError: For values that are missing, or from which nothing can be learnt.
        """
        columns = []
        for name, values in table.items():
            if gaps := sum(map(is_missing, values)):
                raise UsageError(f"`{name}` lacks {gaps} of {len(values)} values: leave those samples out.")
            try:
                columns.append(Column.of(name, values))
            except ValueError as error:
                raise UsageError(f"`{name}` is no attribute to learn from: {error}.") from error
        if len({len(values) for values in table.values()}) != 1:
            raise UsageError("`table` must have as many values in each column, a sample each.")
        rows = list(zip(*table.values(), strict=True))
        # RandomState, unlike Generator, promises the same stream in every version of NumPy.
        order = np.random.RandomState(0).permutation(len(rows))[:_EXAMPLES]
        return cls(columns, [_line(rows[index]) for index in order])

    @property
    def names(self) -> tuple[str, ...]:
        """What each number of a row is called."""
        return tuple(name for column in self.columns for name in column.names)

    def __str__(self) -> str:
        return ", ".join(map(str, self.columns))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attributes) and self.columns == other.columns

    def __hash__(self) -> int:
        return hash(self.columns)

    def embed(
        self, inputs: keras.KerasTensor, width: int, initializer: Any, *, spectral: bool = False, **kwargs: Any
    ) -> keras.KerasTensor:
        layer = SpectralDense if spectral else layers.Dense
        x = Constant()(inputs) if self._constant else inputs
        return layer(width, use_bias=False, kernel_initializer=initializer, **kwargs)(x)

    def check(self, values: Any) -> None:
        """See `Condition`; rows are numbers `(batch, K)`, as `encode` makes them."""
        expected = (
            f"`conditions` must be numbers of shape (batch, {self.shape[0]}), as `attributes.encode` makes them of a "
            f"table: {', '.join(self.names)}"
        )
        dtype, shape = _dtype(values), tf.TensorShape(getattr(values, "shape", ()))
        if dtype is None or not (dtype.is_integer or dtype.is_floating or dtype.is_bool):
            raise UsageError(f"{expected}. Received: {type(values).__name__ if dtype is None else dtype.name}")
        if shape.rank is not None and (shape.rank != 2 or shape[1] not in (None, *self.shape)):
            raise UsageError(f"{expected}. Received: shape {tuple(shape)}")
        if isinstance(values, np.ndarray) and not np.isfinite(values).all():
            raise UsageError(f"{expected}. Received: values that are NaN or infinite")

    def tensor(self, values: Any) -> tf.Tensor:
        return tf.ensure_shape(tf.cast(values, tf.float32), (None, *self.shape))

    def encode(self, table: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """Returns the rows of a table, float32 `(num, K)`.

        Args:
            table: The values of each column by its name, in the units of training. Columns of other names are left out.

        Raises:
            UsageError: For columns that are missing, or values that are none of theirs.
        """
        if lacking := [column.name for column in self.columns if column.name not in table]:
            raise UsageError(f"`table` lacks {', '.join(lacking)}. It must have: {self}.")
        parts = []
        for column in self.columns:
            values = list(table[column.name])
            part = column.encoded(values)
            if len(bad := np.flatnonzero(~np.isfinite(part).all(axis=1))):
                raise UsageError(f"`{column.name}={values[bad[0]]}` is no value of {column}.")
            parts.append(part)
        return np.concatenate(parts, axis=1)

    def in_turn(self, num: int, start: int = 0) -> np.ndarray:
        return self._rows[np.arange(start, start + num) % len(self._rows)]

    def chosen(self, values: Any, num: int) -> np.ndarray:
        """See `Condition`; values go by the names of columns, one for all or `num`, or are rows `(num, K)`.

        What a dict does not name is as in the training samples, in turn.
        """
        rows = self.in_turn(num)
        if values is None or isinstance(values, Mapping):
            return self.changed(rows, values or {})
        found = np.asarray(values)
        if found.shape != rows.shape or found.dtype.kind not in "biuf" or not np.isfinite(found).all():
            raise ValueError(
                f"`attributes` must be a dict of values by name, {self}; or {num} rows of {self.shape[0]} numbers as "
                f"`attributes.encode` makes them. Received: {found.dtype} of shape {found.shape}"
            )
        return found.astype(np.float32)

    def changed(self, rows: np.ndarray, values: Mapping[str, Any]) -> np.ndarray:
        """Returns rows `(num, K)` with other values of some columns, by their names: one for all rows, or `num`.

        Raises:
            ValueError: For a column that there is not, or values that are none of its.
        """
        rows, num = rows.copy(), len(rows)
        begin = np.cumsum([0, *(len(column.names) for column in self.columns)])
        for name, value in values.items():
            index = self._place(name)
            column = self.columns[index]
            several = [value] * num if isinstance(value, (str, bytes)) or np.ndim(value) == 0 else list(value)
            if len(several) != num:
                raise ValueError(
                    f"`attributes`: {column.name} must have one value, or {num}, one for each image. Received: "
                    f"{len(several)}"
                )
            part = column.encoded(several)
            if len(bad := np.flatnonzero(~np.isfinite(part).all(axis=1))):
                raise ValueError(f"`attributes`: {column.name}={several[bad[0]]} is no value of {column}.")
            if column.kind == NUMBER and num:
                numbers = part * column.deviation + column.mean
                slack = 1e-6 * max(abs(column.low), abs(column.high))
                if numbers.min() < column.low - slack or numbers.max() > column.high + slack:
                    logging.warning("`attributes`: training saw nothing beyond %s.", column)
            rows[:, begin[index] : begin[index + 1]] = part
        return rows

    def decode(self, rows: np.ndarray) -> list[list[str]]:
        """Returns for each row `(num, K)` the value of each column as a text, in the units of training."""
        ends = np.cumsum([len(column.names) for column in self.columns])[:-1]
        parts = [np.split(row, ends) for row in rows]
        return [[column.decoded(part) for column, part in zip(self.columns, one, strict=True)] for one in parts]

    def _place(self, name: str) -> int:
        names = [column.name for column in self.columns]
        folded = [own.casefold() for own in names]
        if name in names:
            return names.index(name)
        if folded.count(str(name).casefold()) == 1:
            return folded.index(name.casefold())
        raise ValueError(f"`attributes`: there is no {name!r}.{did_you_mean(str(name), names)} There are: {self}.")

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, as JSON takes them."""
        return {"columns": [column.describe() for column in self.columns], "examples": list(self.examples)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Attributes":
        """Returns what `get_config` described; raises `ValueError` for anything else, as from a damaged file."""
        try:
            return cls(**config)
        except (AttributeError, TypeError, csv.Error) as error:
            raise ValueError(f"its attributes cannot be read: {error}") from error


@keras.saving.register_keras_serializable("tfgan_app")
class Constant(layers.Layer):
    """Appends a 1 to rows, whose weights in the next layer are a bias: `(batch, K)` -> `(batch, K + 1)`."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.pad(inputs, [[0, 0], [0, 1]], constant_values=1)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return (input_shape[0], input_shape[1] + 1)


def condition_of(
    num_classes: int | None, attributes: Attributes | None, class_names: Sequence[str] | None = None
) -> Condition | None:
    """Returns the condition that classes or the attributes in their place make, None where there are neither."""
    return attributes if attributes is not None or num_classes is None else Classes(num_classes, class_names)


def did_you_mean(name: str, known: Sequence[str], otherwise: Sequence[str] = ()) -> str:
    """Returns the question whether one of the known names was meant that are near to a name; `otherwise` if none is."""
    near = difflib.get_close_matches(name, known) or otherwise
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def is_missing(value: Any) -> bool:
    """Whether a value of a table says that there is none: None, NaN, an empty cell, `NA` and the like."""
    return value is None or _text(value).casefold() in _MISSING


def _column(facts: Mapping[str, Any]) -> Column:
    return Column(**{**facts, "categories": tuple(facts.get("categories", ()))})


def _text(value: Any) -> str:
    """Returns a value as tables write it: 1.0 is 1."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    text = str(value).strip()
    return text[:-2] if text.endswith(".0") and text[:-2].lstrip("-").isdecimal() else text


def _line(values: Iterable[Any]) -> str:
    """Returns values as a line of a table."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([" ".join(_text(value).split()) for value in values])
    return text.getvalue()


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _yes_no(value: Any) -> float | None:
    text = _text(value).casefold()
    if text in _YES or text in _NO:
        return float(text in _YES)
    number = _number(value)
    number = 0.0 if number == -1 else number
    return number if number is not None and 0 <= number <= 1 else None


def _by_number(text: str) -> tuple[float, str]:
    """Sorts texts as numbers where they are some: 2 before 10."""
    number = _number(text)
    return (math.inf if number is None else number, text)


def _dtype(values: Any) -> tf.DType | None:
    """Returns a dtype of TensorFlow's, None of what has none or holds objects."""
    if not hasattr(values, "dtype") or getattr(values.dtype, "kind", "") == "O":
        return None
    return tf.as_dtype(values.dtype)
