"""Keras callbacks for training GANs, each of use with any `fit`.

Those that write pictures and logs warn where they cannot, as on a full disk, and let training go on.
"""

import contextlib
import csv
import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from PIL import Image

from tfgan_app.base import pictures
from tfgan_app.base.errors import CheckpointError, NotFinite, UsageError
from tfgan_app.base.files import PathLike, local_path, reason, written_whole
from tfgan_app.base.signals import Ending, tell
from tfgan_app.base.waiting import clock
from tfgan_app.checkpoints import Checkpoints

__all__ = [
    "ContinueEpoch",
    "MetricsCSV",
    "Progress",
    "SampleGrid",
    "SaveCheckpoint",
    "StopOnNonFinite",
    "StopOnSignal",
    "Stopped",
    "TensorBoard",
]


# What Keras tells a callback: losses and scores by name.
Logs: TypeAlias = dict[str, float]


@contextlib.contextmanager
def _writing(what):
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        logging.warning("%s cannot be written: %s. Training goes on.", what, reason(error))


def adapted(given: Any, metrics: Sequence[keras.metrics.Metric]) -> Any:
    """Returns what to give `keras.Model.fit` as callbacks, so that Keras's own do for a GAN what they do elsewhere.

    `TerminateOnNaN` stops training when any loss or term is NaN or infinite. Where no `mode` is given, it is that of
    the metric that is monitored.

    Args:
        given: A callback, a list of them, a `keras.callbacks.CallbackList`, or None.
        metrics: Metrics that know which direction is better.

    Raises:
        UsageError: For a callback that monitors `loss`, which a GAN has not, or what has no direction of its own.
    """
    found = given.callbacks if isinstance(given, keras.callbacks.CallbackList) else keras.tree.flatten(given or [])
    directions = {
        metric.name: {"up": "max", "down": "min"}.get(getattr(metric, "_direction", "")) for metric in metrics
    }
    for callback in found:
        # A checkpoint of every epoch monitors nothing, whatever its default says.
        if getattr(callback, "mode", None) != "auto" or not hasattr(callback, "monitor"):
            continue
        name = callback.monitor.removeprefix("val_")
        if name == "loss":
            if getattr(callback, "save_best_only", True):
                raise UsageError(
                    f"{type(callback).__name__} monitors `{callback.monitor}`, but a GAN has two losses, neither of "
                    "which falls as samples get better. Monitor a metric on `validation_data`: "
                    '`compile(metrics=[tfgan_app.metrics.FrechetDistance(...)])`, then `monitor="val_fd"`.'
                )
        elif directions.get(name):
            callback.mode = directions[name]
        else:
            raise UsageError(
                f"{type(callback).__name__} cannot tell whether `{callback.monitor}` should rise or fall: give it "
                '`mode="min"` or `mode="max"`.'
            )
    watched = any(isinstance(callback, keras.callbacks.TerminateOnNaN) for callback in found)
    if watched and not any(isinstance(callback, _NonFiniteLoss) for callback in found):
        found = [_NonFiniteLoss(), *found]
    if isinstance(given, keras.callbacks.CallbackList):
        given.callbacks = found
        return given
    return found


class _NonFiniteLoss(keras.callbacks.Callback):
    """Shows those after it a `loss`, which is what `TerminateOnNaN` looks at, once another log is not finite."""

    def on_train_batch_end(self, batch, logs=None):
        bad = [value for value in (logs or {}).values() if not math.isfinite(value)]
        if bad:
            logs["loss"] = bad[0]


class SampleGrid(keras.callbacks.Callback):
    """Writes `step_00001500.png`, a grid of samples from fixed latents, each epoch, and `samples.gif` at the end.

    However long the run, the film is of half a minute at most, of grids that are evenly spaced from the first to the
    last; of fewer, where they are large.

    Args:
        directory: Folder of the pictures.
        rows: Rows of the grid.
        columns: Columns of the grid. A conditional GAN draws its classes in turn, so as many columns as classes
            show one a column.
        seed: Seed of the latents.
        draw: Returns another picture of the model in the place of a grid, uint8 `(height, width, channels)`.
    """

    # What a film has at most: frames, and pixels in all, as Pillow holds them in memory.
    _FRAMES, _PIXELS = 240, 2**28

    def __init__(
        self,
        directory: PathLike,
        rows: int = 8,
        columns: int = 10,
        seed: int = 0,
        draw: Callable[[keras.Model], np.ndarray] | None = None,
    ):
        super().__init__()
        self.directory = local_path(directory)
        self._draw = draw or (lambda model: model.picture(rows * columns, columns, seed))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        picture = self._draw(self.model)
        path = self.directory / f"step_{self.model.step:08d}.png"
        with _writing(path):
            pictures.save_png(path, picture)

    def on_train_end(self, logs: Logs | None = None) -> None:
        film, grids = self.directory / "samples.gif", sorted(self.directory.glob("step_*.png"))
        with _writing(film):
            if grids:
                most = max(2, min(self._FRAMES, self._PIXELS // _grid(grids[-1]).size))
                kept = np.linspace(0, len(grids) - 1, min(most, len(grids))).round().astype(int)
                pictures.save_gif(film, (_grid(grids[index]) for index in kept))


def _grid(path):
    with Image.open(path) as picture:
        return np.atleast_3d(np.asarray(picture))


class TensorBoard(keras.callbacks.TensorBoard):
    """Keras's TensorBoard callback, for which a full disk is no reason to end training."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        with _writing(self.log_dir):
            super().on_test_end(logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        with _writing(self.log_dir):
            super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        with _writing(self.log_dir):
            super().on_train_end(logs)


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises `NotFinite`, naming the term and the step, when a logged value is NaN or infinite.

    In float16 it watches the loss scales too, which are halved at each step whose gradients overflow: it warns when one
    falls below 1, and raises when it reaches 2^-10, as the weights have stood still since.

    Put it before callbacks that save: what came before the bad step is then what stays.
    """

    _LEAST_SCALE = 2.0**-10

    def on_train_begin(self, logs: Logs | None = None) -> None:
        optimizers = {"g_optimizer": self.model.g_optimizer, "d_optimizer": self.model.d_optimizer}
        self._scaled = {name: one for name, one in optimizers.items() if hasattr(one, "dynamic_scale")}
        self._warned = False

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        for name, optimizer in self._scaled.items():
            scale = float(optimizer.dynamic_scale)
            if scale >= 1.0:
                continue
            message = f"The loss scale of {name} fell to {scale:.2g} at step {self.model.step}: its gradients overflow"
            if scale <= self._LEAST_SCALE:
                raise NotFinite(f"{message}. {_ADVICE}")
            if not self._warned:
                self._warned = True
                logging.warning("%s.", message)
        for name, value in (logs or {}).items():
            if not math.isfinite(value):
                raise NotFinite(f"{name} became {value} at step {self.model.step}. {_ADVICE}")


_ADVICE = (
    "Lower the learning rates (`g_learning_rate`, `d_learning_rate`) or train in float32 (`mixed_precision=none`)."
)


class SaveCheckpoint(keras.callbacks.Callback):
    """Saves a `tfgan_app.checkpoints.Checkpoints` each epoch.

    Where that fails it warns and tries again after the next epoch; `attempts` failures in a row raise the last one's
    `CheckpointError`.
    """

    def __init__(self, checkpoints: Checkpoints, attempts: int = 3):
        super().__init__()
        self.checkpoints = checkpoints
        self.attempts = attempts
        self._failures = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        try:
            self.checkpoints.save()
            self._failures = 0
        except CheckpointError as error:
            self._failures += 1
            if self._failures == self.attempts:
                raise
            logging.warning("%s. Trying again after the next epoch.", error)


class ContinueEpoch(keras.callbacks.Callback):
    """Gives the first epoch of `fit` the averages of its losses that the GAN has at the moment.

    For a GAN restored in the midst of an epoch; Keras starts every epoch without any.

    Args:
        gan: The GAN.
    """

    def __init__(self, gan: keras.Model):
        super().__init__()
        self._values = [variable.numpy() for variable in gan.loss_state]

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        for variable, value in zip(self.model.loss_state, self._values, strict=False):
            variable.assign(value)
        self._values = []


class MetricsCSV(keras.callbacks.Callback):
    """Appends each epoch's logs to a CSV file, with the step and the seconds since training began.

    Rows from after the model's step, left by a run that was killed before it saved, are dropped first. Columns that are
    new are added, empty in the rows before.
    """

    def __init__(self, path: PathLike):
        super().__init__()
        self.path = local_path(path)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._began = time.monotonic()
        # Each epoch appends its row, whatever their number; the file is written anew where its columns are not known.
        self._columns: list[str] | None = None
        # Rows that are not in the file yet, and the step of the last one to keep of those that are.
        self._rows: list[dict[str, str]] = []
        self._last = self.model.step

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        seconds = time.monotonic() - self._began
        row = {"step": str(self.model.step), "epoch": str(epoch + 1), "seconds": f"{seconds:.1f}"}
        self._rows.append({**row, **{name: f"{value:.6g}" for name, value in (logs or {}).items()}})
        with _writing(self.path):
            self._write()

    def _write(self):
        columns, self._columns = self._columns, None
        if columns and self.path.exists() and all(name in columns for row in self._rows for name in row):
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, columns, restval="").writerows(self._rows)
        else:
            rows = self._before() + self._rows
            columns = list(dict.fromkeys(name for row in rows for name in row))
            with written_whole(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, columns, restval="")
                writer.writeheader()
                writer.writerows(rows)
        self._last, self._rows, self._columns = int(self._rows[-1]["step"]), [], columns

    def _before(self):
        """Returns the rows of the file that are kept; one that was cut short is none."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        rows = csv.DictReader(line for line in lines if line.endswith("\n"))
        return [row for row in rows if int(row["step"]) <= self._last]


class Stopped(Exception):  # noqa: N818  # not an error: the user asked for it
    """Training stopped between two steps because of a signal.

    Args:
        signum: The signal.
        message: What to say of it; by default its name.
    """

    def __init__(self, signum: int, message: str | None = None):
        super().__init__(message or signal.Signals(signum).name)
        self.signum = signum


class StopOnSignal(keras.callbacks.Callback):
    """Finishes the current step when something asks the process to end, then raises `Stopped`.

    That is SIGINT (Ctrl-C, a notebook's stop button), SIGTERM, and, where the system has them, SIGHUP (a terminal that
    closes), SIGUSR1 and SIGUSR2 (a scheduler's notice), SIGXCPU and SIGBREAK; see `tfgan_app.base.signals`. A second
    SIGINT or SIGTERM acts at once.

    A signal during validation takes effect after the epoch's other callbacks: put this one last.
    """

    def __init__(self):
        super().__init__()
        self._ending = Ending(self._announce)
        self._stopped = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._stopped = False
        self._ending.install()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        # Not after the epoch's last step: validation and a checkpoint are still to come, and `on_epoch_end` stops then.
        if batch + 1 != self.params["steps"]:
            self._stop()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._stop()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.restore_handlers()

    def restore_handlers(self) -> None:
        """Gives the signals back; call it where `fit` may have ended by an exception, as then nothing else does.

        After what is to be saved has been: until then, further notices are passed over.
        """
        self._ending.restore()

    def _announce(self, signum):
        tell(f"\n{signal.Signals(signum).name}: finishing the step, then saving.")

    def _stop(self):
        if self._ending.received is not None and not self._stopped:
            self._stopped = True
            raise Stopped(self._ending.received)


class Progress(keras.callbacks.Callback):
    """Shows the run on one line: step, losses, D(x), D(G(z)), scores, images/s and the time left.

    On a terminal the line is rewritten as training goes. Elsewhere, as in a pipe or a log, one is printed when the
    first step is done, as soon as the rate is known, then each minute and each epoch. The first step, which is
    compiled, counts for no rate. A stream that can no longer be written to is no reason to end training.

    Args:
        total_steps: Step at which the run ends.
        batch_size: Images a step.
        stream: Where to write; standard output by default.
        on_rate: Called once, when the rate is known, with the seconds and the steps that are left.
    """

    # Keras sorts logs by name. These are shown first, under the names that the field gives them.
    _NAMES = {"d_loss": "d_loss", "g_loss": "g_loss", "d_real": "D(x)", "d_fake": "D(G(z))"}  # noqa: RUF012
    _REFRESH_SECONDS = 0.25
    _LINE_SECONDS = 60.0
    _RATE_SECONDS = 5.0

    def __init__(
        self,
        total_steps: int,
        batch_size: int,
        stream: TextIO | None = None,
        on_rate: Callable[[float, int], object] | None = None,
    ):
        super().__init__()
        self.total_steps, self.batch_size = total_steps, batch_size
        self.stream = stream or sys.stdout
        self.on_rate = on_rate
        self._compiled: float | None = None
        self._shown, self._width, self._done = -math.inf, 0, 0
        self._rate_told = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        # A run whose epochs are cut short calls `fit` several times, and a rollback from an earlier step; only the
        # steps that are done count.
        self._began, self._step = time.monotonic(), self.model.step

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch_began, self._epoch_step = time.monotonic(), self.model.step

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        now, before, self._step = time.monotonic(), self._step, self.model.step
        self._step_ended = now
        if self._compiled is None:
            self._compiled = self._epoch_began = now
            self._first = (self._step - before, now - self._began)
            self._epoch_step = self._step
            if not self._rewrites():
                many = "first step" if self._first[0] == 1 else f"first {self._first[0]} steps"
                self._print(f"step {self._step}/{self.total_steps}  {many} after {self._first[1]:.1f} s", "\n")
        else:
            self._done += self._step - before
        known = not self._rate_told and self._done and now - self._compiled >= self._RATE_SECONDS
        if self._rewrites():
            if now - self._shown >= self._REFRESH_SECONDS:
                self._show(logs, end="\r")
        elif known or now - self._shown >= self._LINE_SECONDS:
            self._show(logs, end="\n")
        if known:
            self._rate_told = True
            if self.on_rate:
                if self._rewrites():
                    self._print("", "\n")
                self.on_rate(self._left(), self.total_steps - self._step)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._compiled is not None and not self._rewrites():
            now = time.monotonic()
            if now - self._shown >= self._LINE_SECONDS:
                self._print(f"step {self._step}/{self.total_steps}  scoring, {batch + 1} batches", "\n")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        # The validation's losses say little more than those of training, so only its scores are shown.
        losses = {f"val_{name}" for name in self._NAMES}
        self._show({name: value for name, value in (logs or {}).items() if name not in losses}, end="\n")

    def _left(self):
        """Returns the seconds left, by all that the steps took so far, scores and checkpoints included."""
        steps, seconds = self._done, time.monotonic() - (self._compiled or 0.0)
        if not steps:
            steps, seconds = self._first
        return (self.total_steps - self._step) * seconds / max(steps, 1)

    def _show(self, logs, end):
        # Of the epoch, as far as it has steps besides the first.
        steps, seconds = self._step - self._epoch_step, self._step_ended - self._epoch_began
        if not steps:
            steps, seconds = self._first
        logs, rate = logs or {}, steps * self.batch_size / max(seconds, 1e-9)
        first = [name for name in self._NAMES if name in logs]
        rest = [name for name in logs if name not in self._NAMES]
        fields = [
            f"step {self._step:>{len(str(self.total_steps))}}/{self.total_steps}",
            *(f"{self._NAMES.get(name, name)} {logs[name]:.3g}" for name in [*first, *rest]),
            f"{rate:.{0 if rate >= 10 else 2}f} images/s",
            f"{clock(self._left())} left",
        ]
        self._print("  ".join(fields), end)

    def _rewrites(self):
        """Whether the line is on a terminal."""
        try:
            return self.stream is not None and self.stream.isatty()
        except ValueError:  # it is closed
            return False

    def _print(self, line, end):
        self._shown = time.monotonic()
        try:
            if self.stream is not None:
                # Blanks cover what a longer line left behind.
                print(line.ljust(self._width), end=end, file=self.stream, flush=True)
        except (OSError, ValueError):  # the terminal or the reader of the pipe is gone
            self.stream = None
        self._width = len(line) if end == "\r" else 0
