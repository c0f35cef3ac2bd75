"""Settings said once: a frozen dataclass whose fields are rows, each with its default, its help and its bounds.

The types, the checks, the flags, the help in Python and the record of a run come from the rows. What is written about a
row names other rows in backticks, as errors do.
"""

import dataclasses
import inspect
import math
import numbers
import operator
import os
import typing
from collections.abc import Callable
from typing import Any

from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import expanded

__all__ = ["Row", "Table", "again", "are_at_least", "is_range", "row", "takes"]


@dataclasses.dataclass(frozen=True)
class Row:
    """What there is to know about a setting.

    Attributes:
        default: The value where none is given.
        help: What it is, in a sentence.
        one_of: The texts that it may be.
        any_case: Whether they may be written in other cases.
        at_least: The smallest number that it may be.
        at_most: The largest.
        must: What else it must, in words, and a function that tells of a value.
        kept: What makes of a value, before it is checked otherwise, the one form in which it is kept.
        repeat: Whether the flag of a list is given once for each item; otherwise it takes all, with commas between.
        fixed: Whether a run goes on only under the same value.
        path: Whether it is, or may be, a path: `~` and environment variables are then replaced by what they name.
        flag: Whether a user sets it.
        name: The field's name.
        kinds: The types that a value may have, a flag's first; of a list, those of its items.
        listed: Whether it is a list.
        optional: Whether it may be None.
    """

    default: Any
    help: str
    one_of: tuple[str, ...] | None = None
    any_case: bool = False
    at_least: float | None = None
    at_most: float | None = None
    must: tuple[str, Callable[[Any], bool]] | None = None
    kept: Callable[[Any], Any] | None = None
    repeat: bool = False
    fixed: bool = False
    path: bool = False
    flag: bool = True
    name: str = ""
    kinds: tuple[type, ...] = ()
    listed: bool = False
    optional: bool = False

    def checked(self, value: Any) -> Any:
        """Returns a value as the table holds it, a list as a tuple.

        Raises:
            UsageError: If the row does not allow it.
        """
        if value is None and self.optional:
            return None
        try:
            found = tuple(map(self._converted, _items(value))) if self.listed else self._converted(value)
            allowed = self._allows(found)
        except (OverflowError, TypeError, ValueError):
            allowed = False
        if not allowed:
            raise UsageError(f"`{self.name}={value}` must {self._demand()}.")
        return found

    def _converted(self, value: Any) -> Any:
        if self.kept is not None:
            value = self.kept(value)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if self.path and isinstance(value, str):
            return expanded(value)
        if self.listed and type(value) is str and float in self.kinds:  # of a flag
            return float(value)
        if type(value) in (bool, str):
            if type(value) not in self.kinds:
                raise TypeError(value)
            return next((text for text in self.one_of or () if self.any_case and text.lower() == value.lower()), value)
        if int in self.kinds:
            return operator.index(value)
        if float in self.kinds and isinstance(value, numbers.Real):
            return float(value)
        raise TypeError(value)

    def _allows(self, value: Any) -> bool:
        return (
            (self.one_of is None or value in self.one_of)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.must is None or self.must[1](value))
        )

    def _demand(self) -> str:
        if self.must:
            return self.must[0]
        if self.one_of:
            return f"be one of {', '.join(self.one_of)}"
        if self.listed:
            return "be a list of texts"
        if self.path:
            return "be a text, not empty, and where it begins with a home folder (~) one that there is"
        kind = {bool: "True or False", int: "an integer", float: "a number", str: "a text"}[self.kinds[0]]
        if self.at_most is not None:
            return f"be {kind} from {self.at_least} to {self.at_most}"
        return f"be {kind}" if self.at_least is None else f"be {kind} of at least {self.at_least}"


def row(default: Any, help: str, **facts: Any) -> Any:
    """Makes a field of a `Table`, of the type that it is annotated with; see `Row`."""
    return dataclasses.field(default=default, metadata={"row": Row(default, help, **facts)})


def again(table: "type[Table]", name: str, **facts: Any) -> Any:
    """Makes a field that is a row of another table, but for some facts."""
    found = dataclasses.replace(table.row(name), **facts)
    return dataclasses.field(default=found.default, metadata={"row": found})


def are_at_least(low: float, values: Any) -> bool:
    """Tells whether values, numbers or their texts, are one or more finite numbers of at least `low`."""
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError):
        return False
    return bool(found) and all(low <= value < math.inf for value in found)


def is_range(values: Any) -> bool:
    """Tells whether values, numbers or their texts, are two finite numbers of which the first is the smaller."""
    try:
        low, high = map(float, values)
    except (TypeError, ValueError):
        return False
    return math.isfinite(low) and math.isfinite(high) and low < high


@dataclasses.dataclass(frozen=True)
class Table:
    """Base of the tables; its fields are made by `row` and `again`.

    Raises:
        UsageError: For a value that a row does not allow.
    """

    def __post_init__(self) -> None:
        for one in self.rows():
            object.__setattr__(self, one.name, one.checked(getattr(self, one.name)))

    @classmethod
    def rows(cls, *names: str) -> tuple[Row, ...]:
        """Returns the rows of these names, all where none is named."""
        found = _rows(cls)
        return tuple(found[name] for name in names or found)

    @classmethod
    def row(cls, name: str) -> Row:
        """Returns the row of a name."""
        return _rows(cls)[name]

    def values(self) -> dict[str, Any]:
        """Returns the values by name, as JSON takes them."""
        found = {one.name: getattr(self, one.name) for one in self.rows()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    def shown(self, name: str) -> str:
        """Returns a value with its name as errors show it: `truncation=0,0.5`, a list as a flag takes it."""
        value = getattr(self, name)
        return f"`{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}`"


Function = typing.TypeVar("Function", bound=Callable)


def takes(table: type[Table]) -> Callable[[Function], Function]:
    """Shows what a function takes as `**settings`, the rows of a table, to `help` and to notebooks."""

    def shown(function: Function) -> Function:
        own, rows = inspect.signature(function), [one for one in table.rows() if one.flag]
        named = inspect.signature(table).parameters
        settings = [named[one.name].replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in rows]
        keywords = [one for one in own.parameters.values() if one.kind is inspect.Parameter.KEYWORD_ONLY]
        lines = [f"    {one.name}: {one.help}" for one in rows]
        function.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), "", "Settings:", *lines])
        function.__signature__ = own.replace(parameters=[*settings, *keywords])  # type: ignore[attr-defined]
        return function

    return shown


def _rows(table: type[Table]) -> dict[str, Row]:
    hints, found = typing.get_type_hints(table), {}
    for field in dataclasses.fields(table):
        kinds = _members(hints[field.name])
        (kind, *_) = kinds = tuple(kind for kind in kinds if kind is not type(None))
        listed = typing.get_origin(kind) is tuple
        found[field.name] = dataclasses.replace(
            field.metadata["row"],
            name=field.name,
            kinds=_members(typing.get_args(kind)[0]) if listed else kinds,
            listed=listed,
            optional=field.default is None,
        )
    return found


def _members(hint: Any) -> tuple[Any, ...]:
    """Returns the types of a union, or the one type."""
    return (hint,) if typing.get_origin(hint) is tuple else typing.get_args(hint) or (hint,)


def _items(value: Any) -> Any:
    if isinstance(value, str):
        raise TypeError(value)
    # A number stands for a list of it alone.
    return (value,) if isinstance(value, numbers.Real) else value
