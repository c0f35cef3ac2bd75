"""Files that are there whole or not at all, and JSON that may have been written by anyone."""

import contextlib
import errno
import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, TypeAlias

from tfgan_app.base.errors import UsageError

__all__ = [
    "PARTIAL",
    "PROGRAM",
    "PathLike",
    "check_object",
    "expanded",
    "folder_written_whole",
    "local_path",
    "read_object",
    "reason",
    "require_writable",
    "written_whole",
]

PathLike: TypeAlias = str | os.PathLike[str]

# The ending of files and folders that are still being written.
PARTIAL = ".partial"

# The warning when a SavedModel is loaded.
PROGRAM = "%s is a program and runs with your rights: load it only if you trust where it is from."


def expanded(path: PathLike) -> str:
    """Returns a path with `~` and environment variables that are set replaced by what they name.

    A shell replaces `~` in no flag (`out=~/x.png`), and neither is replaced in flagfiles, notebooks and cron.

    Raises:
        ValueError: If it is empty, or begins with the home folder of someone unknown.
    """
    text = os.path.expanduser(os.path.expandvars(os.fspath(path)))
    if not text:
        raise ValueError("A path is empty.")
    if text.startswith("~") and not os.path.lexists(pathlib.PurePath(text).parts[0]):
        raise ValueError(f"{os.fspath(path)} begins with a home folder that is not known.")
    return text


def local_path(path: PathLike) -> pathlib.Path:
    """Returns `expanded(path)` as a path."""
    return pathlib.Path(expanded(path))


@contextlib.contextmanager
def written_whole(path: PathLike) -> Iterator[pathlib.Path]:
    """Yields a path beside `path` to write a file at; it takes the place of `path` at the end.

    Whatever is raised meanwhile leaves `path` as it was.

    Args:
        path: The file's path; its folder is made.
    """
    path = local_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}{PARTIAL}")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def require_writable(argument: str, path: PathLike) -> None:
    """Makes sure, before work of minutes, that a file can be written; makes none, and no folder.

    Args:
        argument: What the user calls the path.
        path: The file's path.

    Raises:
        UsageError: If it cannot.
    """
    path = pathlib.Path(path)
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"`{argument}={path}` cannot be written: {reason(error)}.") from error


@contextlib.contextmanager
def folder_written_whole(folder: PathLike, key: str) -> Iterator[pathlib.Path]:
    """Yields a folder beside `folder` to write into; what is in it takes its place in `folder` at the end.

    Whatever is raised meanwhile leaves `folder` as it was. Other files in it stay.

    Args:
        folder: The folder's path; it is made.
        key: The file without which the others are nothing. An earlier one goes first and the new one comes last, so
            that it never stands beside files that are not its own.
    """
    folder = pathlib.Path(os.path.realpath(local_path(folder)))
    partial = folder.with_name(f"{folder.name}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            (folder / key).unlink(missing_ok=True)
            for path in sorted(partial.iterdir(), key=lambda path: path.name == key):
                if (folder / path.name).is_dir():
                    shutil.rmtree(folder / path.name)
                path.replace(folder / path.name)
        else:
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_object(path: PathLike, **kinds: Any) -> dict[str, Any]:
    """Reads a JSON object from a file.

    Args:
        path: The file's path.
        **kinds: Names that it must have, each with the type or types of its value.

    Returns:
        A dict.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it does not hold such an object.
    """
    try:
        found = json.loads(local_path(path).read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    check_object(found, **kinds)
    return found


def check_object(found: Any, **kinds: Any) -> None:
    """Raises `ValueError` unless `found` is a dict with such values; see `read_object`."""
    if not isinstance(found, dict):
        raise ValueError(f"it holds {type(found).__name__}, not an object")
    for name, kind in kinds.items():
        if name not in found:
            raise ValueError(f"it has no '{name}'")
        if not isinstance(found[name], kind):
            raise ValueError(f"its '{name}' is {type(found[name]).__name__}")


def reason(error: BaseException) -> str:
    """Returns what an exception of the system or of TensorFlow says, as one line."""
    # TensorFlow says where an error happened before what it is, and Keras puts a heading before both.
    place = re.compile(r"\s|Graph execution error|Detected at |<stack traces|$")
    lines = [line for line in str(error).strip().splitlines() if not place.match(line)]
    return re.sub(r"^\{\{.*?\}\} ", "", lines[0]) if lines else type(error).__name__
