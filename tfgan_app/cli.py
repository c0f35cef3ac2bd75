"""What the commands share: flags from tables, flagfiles by name, one-line errors.

Imports neither TensorFlow nor Keras, so that `--help` and mistyped flags answer at once.
"""

import contextlib
import os
import pathlib
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from absl import app, flags, logging

from tfgan_app.base import errors
from tfgan_app.base.errors import UsageError
from tfgan_app.base.table import Row, Table

__all__ = ["RECIPES", "define", "flagfile", "given", "parsed", "run", "say"]

RECIPES = pathlib.Path(__file__).parent / "flags"

EXIT_FAILURE = 1
EXIT_USAGE = errors.UsageError.exit_code
EXIT_INTERRUPTED = 130

# `--help` lists the flags of a command, wherever they are defined from its tables.
flags.disclaim_key_flags()


def run(main: Callable[[list[str]], int], subcommands: Sequence[str] = ()) -> None:
    """Parses the command line, calls `main(argv)`, and ends the process with its return value.

    The one argument that is no flag is one of `subcommands`, where there are any.

    A user's error is one line on standard error; the exit code is 2 for a wrong command line and 1 for data,
    checkpoints and the rest.
    """
    app.run(lambda argv: _guarded(main, argv, subcommands), flags_parser=_parse)


def define(rows: Iterable[Row], values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines a flag for each row that users set."""
    rows = [row for row in rows if row.flag]
    names = {row.name for row in rows}
    for row in rows:
        _define(row, errors.with_flags(row.help, names), values)


def _define(row: Row, text: str, values: flags.FlagValues) -> None:
    kind = row.kinds[0]
    options: dict[str, Any] = {"flag_values": values}
    if row.listed:
        define_list = flags.DEFINE_multi_string if row.repeat else flags.DEFINE_list
        define_list(row.name, None if row.default is None else list(row.default), text, **options)
    elif row.one_of:
        flags.DEFINE_enum(row.name, row.default, row.one_of, text, case_sensitive=not row.any_case, **options)
    elif kind in (int, float):
        define_number: Any = flags.DEFINE_integer if kind is int else flags.DEFINE_float
        define_number(row.name, row.default, text, row.at_least, row.at_most, **options)
    else:
        (flags.DEFINE_boolean if kind is bool else flags.DEFINE_string)(row.name, row.default, text, **options)
    if row.must:
        demand, holds = row.must
        flags.register_validator(row.name, lambda value: value is None or holds(value), f"must {demand}", values)


def given(rows: Iterable[Row], values: flags.FlagValues = flags.FLAGS) -> dict[str, Any]:
    """Returns the values of the flags of rows, by name."""
    return {row.name: values[row.name].value for row in rows if row.flag}


Settings = TypeVar("Settings", bound=Table)


def parsed(table: type[Settings], arguments: Iterable[str]) -> Settings:
    """Returns a table as a command line would fill it.

    Args:
        table: The table's class.
        arguments: Flags, such as `--flagfile=mnist.flags`.
    """
    values = flags.FlagValues()
    define(table.rows(), values)
    values(_find_flagfiles(["", *arguments]))
    return table(**given(table.rows(), values))


def flagfile(settings: Table) -> str:
    """Returns settings as the text of a flagfile; None is left out."""
    lines = []
    for row in settings.rows():
        value = getattr(settings, row.name)
        if row.flag and value is not None:
            for item in value if row.listed else [value]:
                lines.append(f"--{row.name}={str(item).lower() if isinstance(item, bool) else item}\n")
    return "".join(lines)


def say(text: str) -> None:
    """Prints what the library says, its arguments written as flags."""
    print(_with_flags(text), flush=True)


def _guarded(main, argv, subcommands):
    if subcommands and argv[1:2] not in [[name] for name in subcommands]:
        return _fail(UsageError(f"say what to do: {' or '.join(subcommands)}"), EXIT_USAGE)
    if len(argv) > 1 + bool(subcommands):
        return _fail(UsageError(f"unexpected arguments: {' '.join(argv[1:])}"), EXIT_USAGE)
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_logger().addFilter(_write_flags)
    _import_tensorflow()
    import tensorflow as tf

    from tfgan_app.base.files import reason

    try:
        return main(argv)
    except errors.Error as error:
        if isinstance(error, errors.Unexpected):
            traceback.print_exception(error.__cause__)
        return _fail(error, error.exit_code)
    except OSError as error:
        return _fail(error, EXIT_FAILURE)
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        return _fail(f"out of memory or disk space: {reason(error)}", EXIT_FAILURE)
    except KeyboardInterrupt:
        return _fail("interrupted", EXIT_INTERRUPTED)


def _import_tensorflow():
    """Imports TensorFlow without the lines on its own set-up, which hide what the command says.

    They are written past every logging level, so standard error is turned aside meanwhile; errors are exceptions
    and stay visible. Setting TF_CPP_MIN_LOG_LEVEL shows them all.
    """
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
        with open(os.devnull, "w") as nowhere, _redirected(2, nowhere.fileno()):
            import tensorflow as tf

            tf.config.list_physical_devices()


@contextlib.contextmanager
def _redirected(descriptor, target):
    saved = os.dup(descriptor)
    os.dup2(target, descriptor)
    try:
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)


def _parse(argv):
    try:
        return flags.FLAGS(_find_flagfiles(argv))
    except (flags.Error, UsageError) as error:
        sys.exit(_fail(error, EXIT_USAGE))


def _fail(error, code):
    program = pathlib.Path(sys.argv[0])
    name = program.parent.name if program.stem == "__main__" else program.stem
    print(f"{name}: {_with_flags(str(error))}", file=sys.stderr)
    return code


def _with_flags(text):
    return errors.with_flags(text, flags.FLAGS)


def _write_flags(record):
    """Writes the arguments that a warning names as flags."""
    record.msg, record.args = _with_flags(record.getMessage()), ()
    return True


def _find_flagfiles(argv):
    """Replaces the name of a packaged recipe by its path, unless the working folder has a file of that name.

    Raises:
        UsageError: For a flagfile that cannot be read, sets no flag or includes itself.
    """
    found = list(argv)
    for index, argument in enumerate(argv):
        name = argument.removeprefix("-").removeprefix("-")
        if name.startswith("flagfile="):
            path = _recipe(name.removeprefix("flagfile="))
            found[index] = f"--flagfile={path}"
        elif name == "flagfile" and index + 1 < len(argv):
            path = _recipe(argv[index + 1])
            found[index + 1] = str(path)
        else:
            continue
        _check_flagfile(path)
    return found


def _check_flagfile(path, within=()):
    try:
        lines = [line.strip() for line in path.expanduser().read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise UsageError(f"--flagfile={path} cannot be read as text: {error}") from error
    lines = [line for line in lines if line and not line.startswith(("#", "//"))]
    if not lines:
        raise UsageError(f"--flagfile={path} sets no flag")
    for line in lines:
        # absl would only warn.
        name, separator, included = line.lstrip("-").partition("=")
        if name == "flagfile" and separator:
            inner = pathlib.Path(included)
            if inner.absolute() in (path.absolute(), *within):
                raise UsageError(f"--flagfile={path} includes itself")
            _check_flagfile(inner, (path.absolute(), *within))


def _recipe(name):
    path, packaged = pathlib.Path(name), RECIPES / name
    if path.is_file() or not packaged.is_file():
        return path
    return packaged
