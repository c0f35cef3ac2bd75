"""What the commands share: flagfiles by name, one-line errors, flags of data.

Imports neither TensorFlow nor Keras, so that `--help` and mistyped flags answer at once.
"""

import contextlib
import os
import pathlib
import sys

from absl import app, flags, logging

from tfgan_app.base import errors
from tfgan_app.base.errors import UsageError

__all__ = [
    "DATA_FLAGS",
    "define_checkpoint_flag",
    "define_data_flags",
    "define_extractor_flags",
    "define_truncation_flag",
    "flagfile",
    "run",
]

# The flags that `define_data_flags` defines.
DATA_FLAGS = ("dataset", "split", "data_dir", "manual_dir", "image_size", "channels", "fallback_dataset")

RECIPES = pathlib.Path(__file__).parent / "flags"

EXIT_FAILURE = 1
EXIT_USAGE = errors.UsageError.exit_code
EXIT_INTERRUPTED = 130


def run(main, subcommands=()):
    """Parses the command line, calls `main(argv)`, and ends the process with its return value.

    The one argument that is no flag is one of `subcommands`, where there are any.

    A user's error is one line on standard error; the exit code is 2 for a wrong command line and 1 for data,
    checkpoints and the rest.
    """
    app.run(lambda argv: _guarded(main, argv, subcommands), flags_parser=_parse)


def define_data_flags(dataset, split):
    """Defines the flags that choose a data set, with the given defaults."""
    flags.DEFINE_string(
        "dataset",
        dataset,
        "A TFDS name, mnist_5k (shipped), a folder of images, an .npz or .npy, or a prepared TFDS folder.",
    )
    flags.DEFINE_string("split", split, "Split to read, with TFDS's slices: train, train[:80%].")
    flags.DEFINE_string("data_dir", None, "Where TFDS keeps prepared data sets. Default: ~/tensorflow_datasets.")
    flags.DEFINE_string("manual_dir", None, "Archives downloaded by hand. Default: DATA_DIR/downloads/manual.")
    flags.DEFINE_integer("image_size", None, "Crop to a square and resize to this side.", lower_bound=1)
    flags.DEFINE_integer("channels", None, "Convert to greyscale (1) or RGB (3).")
    flags.register_validator("channels", lambda n: n in (None, 1, 3), "must be 1 (greyscale) or 3 (RGB)")
    flags.DEFINE_string("fallback_dataset", None, "Taken, with a warning, only where --dataset cannot be downloaded.")


def define_checkpoint_flag():
    """Defines the flag that chooses one of a run's checkpoints."""
    flags.DEFINE_string("checkpoint", "last", "The run's checkpoint: last, best (by the run's own scores) or a step.")
    flags.register_validator(
        "checkpoint", lambda text: text in ("last", "best") or text.isdigit(), "must be last, best or a step"
    )


def define_extractor_flags():
    """Defines the flags that choose whose features images are compared by."""
    flags.DEFINE_string(
        "extractor",
        "auto",
        "Whose features to compare: mnist_cnn, fashion_mnist_cnn, inception (that of FID), keras_inception_v3, a "
        ".keras file, a SavedModel's folder, none; auto takes the one shipped for the data set, if there is one.",
    )
    flags.DEFINE_boolean(
        "trust_extractor", False, "Load a SavedModel as --extractor: it is a program, and runs with your rights."
    )


def define_truncation_flag():
    """Defines the flag that trades the variety of drawn images for quality."""
    flags.DEFINE_float(
        "truncation",
        None,
        "Trade variety for quality: largest absolute latent, or psi of a model with styles. Default: none.",
        lower_bound=0,
    )


def flagfile(settings):
    """Returns values of flags by name as the text of a flagfile; None, and what is no flag, are left out."""
    lines = []
    for name, value in settings.items():
        if name in flags.FLAGS and value is not None:
            for item in value if isinstance(value, list) else [value]:
                lines.append(f"--{name}={str(item).lower() if isinstance(item, bool) else item}\n")
    return "".join(lines)


def _guarded(main, argv, subcommands):
    if subcommands and argv[1:2] not in [[name] for name in subcommands]:
        return _fail(UsageError(f"say what to do: {' or '.join(subcommands)}"), EXIT_USAGE)
    if len(argv) > 1 + bool(subcommands):
        return _fail(UsageError(f"unexpected arguments: {' '.join(argv[1:])}"), EXIT_USAGE)
    logging.set_verbosity(logging.WARNING)
    _import_tensorflow()
    import tensorflow as tf

    from tfgan_app.base.files import reason

    try:
        return main(argv)
    except errors.Error as error:
        return _fail(error, error.exit_code)
    except (FloatingPointError, OSError) as error:
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
    message = errors.with_flags(str(error), flags.FLAGS)
    print(f"{pathlib.Path(sys.argv[0]).stem}: {message}", file=sys.stderr)
    return code


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
