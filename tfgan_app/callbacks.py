"""Keras callbacks for training GANs, each of use with any `fit`.

Those that write pictures and logs warn where they cannot, as on a full disk, and let training go on.
"""

import contextlib
import csv
import math
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, TextIO, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from PIL import Image

from tfgan_app.base import pictures
from tfgan_app.base.errors import CheckpointError, NotFinite, UsageError
from tfgan_app.base.files import PathLike, reason, written_whole
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

    Args:
        directory: Folder of the pictures.
        rows: Rows of the grid.
        columns: Columns of the grid. A conditional GAN draws its classes in turn, so as many columns as classes
            show one a column.
        seed: Seed of the latents.
    """

    def __init__(self, directory: PathLike, rows: int = 8, columns: int = 10, seed: int = 0):
        super().__init__()
        self.directory = pathlib.Path(directory)
        self.rows, self.columns, self.seed = rows, columns, seed

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        picture = self.model.picture(self.rows * self.columns, self.columns, self.seed)
        path = self.directory / f"step_{self.model.step:08d}.png"
        with _writing(path):
            pictures.save_png(path, picture)

    def on_train_end(self, logs: Logs | None = None) -> None:
        frames, film = [], self.directory / "samples.gif"
        with _writing(film):
            for path in sorted(self.directory.glob("step_*.png")):
                with Image.open(path) as picture:
                    frames.append(np.atleast_3d(np.asarray(picture)))
            if frames:
                pictures.save_gif(film, frames)


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
        self.path = pathlib.Path(path)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._began = time.monotonic()
        self._rows = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self._rows = [row for row in rows if int(row["step"]) <= self.model.step]

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        seconds = time.monotonic() - self._began
        row = {"step": self.model.step, "epoch": epoch + 1, "seconds": f"{seconds:.1f}"}
        self._rows.append({**row, **{name: f"{value:.6g}" for name, value in (logs or {}).items()}})
        columns = dict.fromkeys(name for row in self._rows for name in row)
        with _writing(self.path), written_whole(self.path) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(self._rows)


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
    """Finishes the current step on SIGINT or SIGTERM, then raises `Stopped`. A second signal acts at once.

    A signal during validation takes effect after the epoch's other callbacks: put this one last.
    """

    def __init__(self):
        super().__init__()
        self._received = None
        self._previous = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._previous[signum] = signal.signal(signum, self._receive)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        # Not after the epoch's last step: validation and a checkpoint are still to come, and `on_epoch_end` stops then.
        if batch + 1 != self.params["steps"]:
            self._stop()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._stop()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.restore_handlers()

    def restore_handlers(self) -> None:
        """Gives the signals back; call it where `fit` may have ended by an exception, as then nothing else does."""
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous.clear()

    def _receive(self, signum, frame):
        self._received = signum
        # Before the message, as a second signal may follow at once.
        self.restore_handlers()
        print(f"\n{signal.Signals(signum).name}: finishing the step, then saving.", file=sys.stderr, flush=True)

    def _stop(self):
        if self._received is not None:
            signum, self._received = self._received, None
            raise Stopped(signum)


class Progress(keras.callbacks.Callback):
    """Shows the run on one line: step, losses, D(x), D(G(z)), scores, images/s and the time left.

    On a terminal the line is rewritten as training goes; elsewhere one is printed an epoch.

    Args:
        total_steps: Step at which the run ends.
        batch_size: Images a step.
        stream: Where to write; standard output by default.
    """

    # Keras sorts logs by name. These are shown first, under the names that the field gives them.
    _NAMES = {"d_loss": "d_loss", "g_loss": "g_loss", "d_real": "D(x)", "d_fake": "D(G(z))"}  # noqa: RUF012
    _REFRESH_SECONDS = 0.25

    def __init__(self, total_steps: int, batch_size: int, stream: TextIO | None = None):
        super().__init__()
        self.total_steps, self.batch_size = total_steps, batch_size
        self.stream = stream or sys.stdout
        self._began = 0.0
        self._width = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        # A run whose epochs are cut short calls `fit` several times; time counts from the first.
        if not self._began:
            self._began, self._first_step = time.monotonic(), self.model.step
            self._shown = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch_began, self._epoch_step = time.monotonic(), self.model.step

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        now = time.monotonic()
        self._step_ended = now
        if self.stream.isatty() and now - self._shown >= self._REFRESH_SECONDS:
            self._shown = now
            self._show(logs, end="\r")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        # The validation's losses say little more than those of training, so only its scores are shown.
        losses = {f"val_{name}" for name in self._NAMES}
        self._show({name: value for name, value in (logs or {}).items() if name not in losses}, end="\n")

    def _show(self, logs, end):
        step = self.model.step
        rate = (step - self._epoch_step) / max(self._step_ended - self._epoch_began, 1e-9)
        overall = (step - self._first_step) / max(time.monotonic() - self._began, 1e-9)
        left = (self.total_steps - step) / max(overall, 1e-9)
        first = [name for name in self._NAMES if name in logs]
        rest = [name for name in logs if name not in self._NAMES]
        fields = [
            f"step {step:>{len(str(self.total_steps))}}/{self.total_steps}",
            *(f"{self._NAMES.get(name, name)} {logs[name]:.3g}" for name in [*first, *rest]),
            f"{rate * self.batch_size:.0f} images/s",
            f"{int(left) // 60}:{int(left) % 60:02d} left",
        ]
        line = "  ".join(fields)
        # Blanks cover what a longer line left behind.
        print(line.ljust(self._width), end=end, file=self.stream, flush=True)
        self._width = len(line) if end == "\r" else 0
