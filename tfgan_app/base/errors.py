"""What can go wrong, said in words for the person who asked.

Messages name arguments as Python does, in backticks: `batch_size=64`. A command shows those that it has as flags, with
two dashes in front.
"""

import re
from typing import Any

__all__ = [
    "CheckpointError",
    "DataError",
    "Error",
    "Failure",
    "NotDownloadable",
    "NotFinite",
    "TrainingCollapsed",
    "Unexpected",
    "UnknownDataset",
    "UnknownSplit",
    "UsageError",
    "WorkerLost",
]

_ARGUMENT = re.compile(r"`(?P<name>\w+)(?P<rest>(?:=[^`]*)?)`")


class Error(Exception):
    """Base of the errors that end a command in one line.

    Attributes:
        exit_code: What the process of a command ends with.
    """

    exit_code = 1

    @property
    def argument(self) -> str | None:
        """The argument that the message is about, None where it names none."""
        found = _ARGUMENT.search(str(self))
        return found["name"] if found else None


def with_flags(message: str, flags: Any) -> str:
    """Returns a message whose arguments are written as flags, with dashes, where `flags` holds their names."""

    def written(found: re.Match) -> str:
        return f"--{found['name']}{found['rest']}" if found["name"] in flags else found[0]

    return _ARGUMENT.sub(written, message)


class UsageError(Error, ValueError):
    """Arguments that cannot be carried out."""

    exit_code = 2


class Failure(Error):  # noqa: N818  # said like a diagnosis, as `Stopped` is
    """What ended work that could have been carried out."""


class Unexpected(Failure):
    """An exception of TensorFlow's that says nothing to a user; a command shows its traceback as well."""


class DataError(Error):
    """The data cannot be used as asked; the message says what to do instead."""


class UnknownDataset(DataError):  # noqa: N818
    """No dataset, folder or file goes by the name given."""

    exit_code = 2


class UnknownSplit(DataError):  # noqa: N818
    """The dataset has no split of that name."""


class NotDownloadable(DataError):  # noqa: N818
    """The dataset is neither prepared nor on disk, and its hosts do not answer.

    Attributes:
        brief: What happened, in a few words, for where something else is taken.
    """

    def __init__(self, message: str, brief: str = "The dataset cannot be downloaded") -> None:
        super().__init__(message)
        self.brief = brief


class CheckpointError(Error):
    """No checkpoint could be read, or one could not be written."""


class NotFinite(Error, FloatingPointError):  # noqa: N818
    """A loss or a weight is NaN or infinite."""


class TrainingCollapsed(Error):  # noqa: N818
    """Training failed in a way that the guard was told to stop at."""


class WorkerLost(Error):  # noqa: N818
    """Another process that trains along is gone."""
