"""What the commands share: flags from tables, flagfiles by name, one-line errors.

Imports neither TensorFlow nor Keras, so that `--help` and mistyped flags answer at once.
"""

import contextlib
import os
import pathlib
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from absl import app, flags, logging

from tfgan_app.base import errors
from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import local_path, reason
from tfgan_app.base.signals import Ending, tell
from tfgan_app.base.table import Row, Table

__all__ = ["RECIPES", "Progress", "define", "flagfile", "given", "parsed", "run", "say"]

_NVIDIA_DRIVER = "/dev/nvidiactl"

RECIPES = pathlib.Path(__file__).parent / "flags"

EXIT_FAILURE = 1
EXIT_USAGE = errors.UsageError.exit_code

# `--help` lists the flags of a command, wherever they are defined from its tables.
flags.disclaim_key_flags()


def run(main: Callable[[list[str]], int], subcommands: Sequence[str] = ()) -> None:
    """Parses the command line, calls `main(argv)`, and ends the process with its return value.

    The one argument that is no flag is one of `subcommands`, where there are any.

    A user's error is one line on standard error; the exit code is 2 for a wrong command line and 1 for data,
    checkpoints and the rest. What a signal ends has that line too, and the code 128 + its number.
    """
    _prepare_streams()
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
            if row.listed and not row.repeat:
                value = ",".join(map(str, value))
            for item in value if row.repeat else [value]:
                lines.append(f"--{row.name}={str(item).lower() if isinstance(item, bool) else item}\n")
    return "".join(lines)


def say(text: str) -> None:
    """Prints what the library says, its arguments written as flags.

    Where nobody listens any more, as after `| head` or in a terminal that has closed, nothing is said; work goes on.
    """
    try:
        print(_with_flags(text), flush=True)
    except (OSError, ValueError):
        _silence(sys.stdout)


class _Ended(KeyboardInterrupt):
    """Raised in the main thread where a signal asks for an end."""


def _end(signum):
    raise _Ended(signum)


class Progress:
    """Shows how far a command is: on a terminal in one line that is rewritten, elsewhere in a line a minute.

    Called with the text.
    """

    _WIDTH, _SECONDS = 40, 60.0

    def __init__(self) -> None:
        self._shown = time.monotonic()

    def __call__(self, text: str) -> None:
        if _on_terminal():
            print(f"{text:<{self._WIDTH}}", end="\r", file=sys.stderr, flush=True)
        elif time.monotonic() - self._shown >= self._SECONDS:
            self._shown = time.monotonic()
            tell(text)

    def say(self, text: str) -> None:
        """Prints what the library says, in the place of the line."""
        if _on_terminal():
            print(" " * self._WIDTH, end="\r", file=sys.stderr, flush=True)
        say(text)


def _on_terminal():
    return sys.stderr is not None and sys.stderr.isatty()


def _guarded(main, argv, subcommands):
    if subcommands and argv[1:2] not in [[name] for name in subcommands]:
        return _fail(UsageError(f"say what to do: {' or '.join(subcommands)}"), EXIT_USAGE)
    if len(argv) > 1 + bool(subcommands):
        return _fail(UsageError(f"unexpected arguments: {' '.join(argv[1:])}"), EXIT_USAGE)
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_logger().addFilter(_write_flags)
    ending = Ending(_end)
    ending.install()
    try:
        return _ended(main, argv)
    except BaseException as error:
        # What a signal breaks off may make another exception of it.
        if ending.received is None or isinstance(error, SystemExit):
            raise
        name = signal.Signals(ending.received).name
        return _fail("interrupted" if name == "SIGINT" else f"ended by {name}", 128 + ending.received)
    finally:
        ending.restore()
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)


def _ended(main, argv):
    """Returns the exit code of `main`, or of what it raises that a user can understand."""
    _import_tensorflow()
    import tensorflow as tf

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


def _prepare_streams():
    """Makes sure that standard streams take whatever is written to them.

    Where one was closed (`>&-`), the next file to be opened would be taken for it; and names of classes need not be in
    the encoding of the terminal.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError):  # of streams that are none of a process, as in notebooks
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _flush(stream):
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        _silence(stream)


def _silence(stream):
    """Sends a stream that has no reader to nowhere, as Python would complain of it at the end."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def _import_tensorflow():
    """Imports TensorFlow without the lines on its own set-up, which hide what the command says.

    They are written past every logging level, so standard error is turned aside meanwhile; errors are exceptions
    and stay visible. Setting TF_CPP_MIN_LOG_LEVEL shows them all.

    On a processor TensorFlow 2.21 also logs errors of its graph optimiser that are none ("remapper failed": it leaves
    convolutions with a bias as they are). With a GPU, lines of that level may be the reason of an exception.
    """
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2" if os.path.exists(_NVIDIA_DRIVER) else "3"
        with open(os.devnull, "wb") as nowhere, _redirected(2, nowhere.fileno()):
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
    tell(f"{name}: {_with_flags(str(error))}")
    return code


def _with_flags(text):
    return errors.with_flags(text, flags.FLAGS)


def _write_flags(record):
    """Writes the arguments that a warning names as flags."""
    record.msg, record.args = _with_flags(record.getMessage()), ()
    return True


def _find_flagfiles(argv):
    """Replaces the name of a packaged recipe by its path, unless the working folder has a file of that name.

    A run's own flagfile means the run beside it, wherever that was moved.

    Raises:
        UsageError: For a flagfile that cannot be read, sets no flag or includes itself.
    """
    found, rest = [], iter(argv)
    for argument in rest:
        name, separator, value = argument.removeprefix("-").removeprefix("-").partition("=")
        if name != "flagfile" or not argument.startswith("-"):
            found.append(argument)
            continue
        path = _recipe(value if separator else next(rest, ""))
        _check_flagfile(path)
        found.append(f"--flagfile={path}")
        if path.name == "run.flags" and path.with_name("run.json").is_file():
            found.append(f"--run_dir={path.parent}")
    return found


def _check_flagfile(path, within=()):
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise UsageError(f"--flagfile={path} cannot be read as text: {error}") from error
    lines = [line for line in lines if line and not line.startswith(("#", "//"))]
    if not lines:
        raise UsageError(f"--flagfile={path} sets no flag")
    for line in lines:
        # absl would only warn.
        name, separator, included = line.lstrip("-").partition("=")
        if name == "flagfile" and separator:
            inner = _local_path(included)
            if inner.absolute() in (path.absolute(), *within):
                raise UsageError(f"--flagfile={path} includes itself")
            _check_flagfile(inner, (path.absolute(), *within))


def _local_path(name):
    try:
        return local_path(name)
    except ValueError as error:
        raise UsageError(f"--flagfile={name}: {error}") from error


def _recipe(name):
    path, packaged = _local_path(name), RECIPES / name
    if path.is_file() or not packaged.is_file():
        return path
    return packaged
