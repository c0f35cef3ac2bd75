"""A session: one start of a training run, from its settings to the trained, scored and exported GAN."""

import dataclasses
import importlib.util
import math
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import keras
import numpy as np
import tensorflow as tf

from tfgan_app import callbacks, models
from tfgan_app.base import pictures
from tfgan_app.base.errors import (
    Error,
    Failure,
    NotFinite,
    TrainingCollapsed,
    Unexpected,
    UnknownSplit,
    UsageError,
    WorkerLost,
)
from tfgan_app.base.files import reason
from tfgan_app.base.precision import choose_precision
from tfgan_app.base.sizes import compact
from tfgan_app.base.strategies import LOST_WORKER, build_strategy, is_chief
from tfgan_app.base.table import takes
from tfgan_app.base.waiting import announced, clock
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.cli import flagfile
from tfgan_app.data import ImageSet
from tfgan_app.data.locating import Kind, located
from tfgan_app.data.steps import share_batches
from tfgan_app.export import check_format, exported_step
from tfgan_app.export.formats import ENDINGS
from tfgan_app.metrics.extractors import FeatureExtractor
from tfgan_app.runs.build import (
    Dataset,
    Trainable,
    build_gan,
    compile_gan,
    has_split,
    needs_condition,
    open_extractor,
    open_split,
    open_split_like,
    peek,
    resolved,
    set_learning_rates,
    shapes_of,
)
from tfgan_app.runs.record import BEST, Run, open_parent
from tfgan_app.runs.settings import Settings
from tfgan_app.runs.tasks import Task, task_of
from tfgan_app.schedules import has_schedule
from tfgan_app.study import receipts
from tfgan_app.study.collapse import ROLLBACK_FACTOR, CollapseGuard
from tfgan_app.transfer import init_from

__all__ = ["Session", "Trained", "train"]

# Images that are worth keeping from training.
_LEAST_HELD_OUT = 10
# Steps in which no GAN need have learnt anything, at least.
_GRACE_STEPS = 2000


@dataclasses.dataclass(frozen=True)
class Trained:
    """What training leaves.

    Attributes:
        run: The run.
        gan: The GAN or the translator, trained.
        step: The step that it is trained to.
        receipts: The scores of that step, empty where none was asked for.
        samples: The folder of the grids of samples.
        saved_model: The folder of the SavedModel.
    """

    run: Run
    gan: Trainable
    step: int
    receipts: list[dict[str, Any]]
    samples: pathlib.Path
    saved_model: pathlib.Path


@takes(Settings)
def train(
    *,
    say: Callable[[str], object] | None = None,
    stream: TextIO | None = None,
    command: str | None = None,
    **settings: Any,
) -> Trained:
    """Trains a GAN, or goes on with a run, scores and exports it: `python -m tfgan_app.train` as a function.

    Weights and order of images go by `seed`, so TensorFlow's and Keras's own seeds are set to it; `deterministic` holds
    for the rest of the process. On SIGINT, SIGTERM and other signals that ask for an end it ends the step, saves, and
    raises `callbacks.Stopped`.

    Args:
        say: Called with each line on how it goes, such as `print`.
        stream: Where a line on the step, losses and the time left is shown, such as `sys.stdout`.
        command: What the record and the card say that trained it; by default this call.
        **settings: The settings by name, as below.

    Returns:
        A `Trained`.

    Raises:
        UsageError: For settings that cannot be carried out, or are not those that the run began with.
        tfgan_app.base.errors.Error: For what goes wrong on the way: data, disk, memory, collapse.
    """
    with Session(Settings(**settings), say, stream, command) as session:
        return session.train()


class Session:
    """One start of a training run; a context that gives the run's folder back at its end.

    ```python
    with Session(Settings(run_dir="runs/mine")) as session:
        session.open()
        session.fit()
        session.finish()
    ```

    Args:
        settings: The run's settings.
        say: Called with each line on how it goes.
        stream: Where a line on the step, losses and the time left is shown.
        command: What the record and the card say that trained it; by default the call of `train`.

    Attributes:
        settings: The settings, with what `auto` came to.
        run: The `Run`.
        strategy: The `tf.distribute.Strategy`.
        chief: Whether this process writes, of several that train together.
        images: The training images or pairs, once it is open, as all that follows.
        test: Those scored on.
        task: What its model is scored by and shows.
        extractor: Whose features scores compare, None where they compare none.
        gan: The GAN, restored where there is a checkpoint.
        checkpoints: Its `Checkpoints`.

    Raises:
        UsageError: If the batch cannot be shared among the devices.
        Failure: If the folder holds a record that cannot be read.
    """

    images: Dataset
    test: Dataset
    task: Task
    extractor: FeatureExtractor | None
    gan: Any
    checkpoints: Checkpoints

    def __init__(
        self,
        settings: Settings,
        say: Callable[[str], object] | None = None,
        stream: TextIO | None = None,
        command: str | None = None,
    ) -> None:
        for name in settings.export:
            check_format(name)
        self.say: Callable[[str], object] = say or (lambda text: None)
        self.stream = stream
        self.command = command or _call(settings)
        self.strategy = build_strategy(settings.strategy, self.say)
        self.chief = is_chief(self.strategy)
        replicas = self.strategy.num_replicas_in_sync
        if settings.batch_size % replicas:
            raise UsageError(
                f"`batch_size={settings.batch_size}` must be a multiple of the {replicas} devices that share it."
            )
        if settings.batch_size % (replicas * settings.accumulate):
            shared = f" on each of {replicas} devices" if replicas > 1 else ""
            raise UsageError(
                f"`batch_size={settings.batch_size}` must be a multiple of the parts that `accumulate` makes of it: "
                f"`accumulate={settings.accumulate}`{shared}."
            )
        if settings.deterministic:
            tf.config.experimental.enable_op_determinism()
        self.run = Run(settings.run_dir)
        settings = resolved(self.run.located(settings))
        self.settings = dataclasses.replace(settings, precision=self._precision(settings))

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exception: object) -> None:
        self.run.unlock()

    def _precision(self, settings: Settings) -> str | None:
        name = settings.mixed_precision
        if self.run.record and name == "auto":
            # A run keeps the precision that it began with, on whatever machine it goes on.
            return self.run.settings.precision
        precision = choose_precision(name)
        if name == "auto" and settings.depth == 16 and precision.name != "none":
            # bfloat16 has 8 digits of a value, float16 eleven.
            precision = choose_precision("none")._replace(reason="`depth=16` has more digits than half precision")
        self.say(f"Precision {precision.policy}: {precision.reason}.")
        return precision.name

    def train(self) -> Trained:
        """Does what is left to do of opening, fitting and finishing."""
        self.open()
        found: list[dict[str, Any]] = []
        if self.gan.step < self.settings.train_steps:
            self.fit()
        elif self._is_exported():
            self.say(
                f"{self.run.directory} is trained to step {self.gan.step} already. Ask for more with `train_steps`."
            )
            found = [receipts.read_receipt(self._receipt)] if self._receipt.exists() else []
            return self._trained(found)
        if self.chief:
            found = self.finish()
        return self._trained(found)

    def _trained(self, found: list[dict[str, Any]]) -> Trained:
        samples = self.run.directory / "samples"
        return Trained(self.run, self.gan, self.gan.step, found, samples, self._saved_model)

    @property
    def _saved_model(self) -> pathlib.Path:
        return self.run.directory / "saved_model" / "1"

    def _file(self, format: str) -> pathlib.Path:
        return self._saved_model.with_name(f"generate{ENDINGS[format]}")

    def _is_exported(self) -> bool:
        """Whether all that is to be exported is there, of this step."""
        last = exported_step(self._saved_model) == self.gan.step
        # The SavedModel is written after the files.
        return last and all(self._file(name).is_file() for name in self.settings.export)

    @property
    def _receipt(self) -> pathlib.Path:
        return self.run.directory / "scores" / f"step_{self.gan.step:08d}.json"

    # Opening.

    def open(self) -> None:
        """Opens the images and builds the GAN, from its last checkpoint if there is one.

        Raises:
            UsageError: For settings that cannot be carried out, or are not those that the run began with.
            DataError: If the images cannot be used.
            CheckpointError: If there are checkpoints, and none can be read.
        """
        # A new folder is made, and claimed, when all settings have proved right.
        if self.run.directory.exists() and self.chief:
            self.run.lock()
        settings = self.settings
        self._scored = settings.extractor != "none"
        with announced(self.say, f"Opening {settings.dataset}"):
            self.images = self._open_train()
        settings = self.settings
        self.run.check(settings, self.images.describe())
        self._say_notes(self.images)
        with announced(self.say, "Loading the feature extractor"):
            self.extractor, why_none = open_extractor(settings, self.images)
        with announced(self.say, "Opening the images to score on"):
            self.test = self._open_test()
        self._check_enough()
        images = self.images
        self.task = task_of(getattr(models, settings.model), images, self.test, self.extractor, self._scored)
        with self.strategy.scope():
            self._metrics = self.task.metrics(self._num_scored)
            if why_none and self._scored and (self.task.instead or not self._metrics):
                found = f"Scores compare {self.task.instead}, as" if self._metrics else "No score:"
                self.say(f"{found} {why_none}. Name one with `extractor`.")
            self.gan = self._build(**shapes_of(images.describe()), metrics=self._metrics)
        scored = ""
        if self._metrics:
            every = settings.score_every or self._epochs_to_a_score()
            settings = self.settings = dataclasses.replace(settings, score_every=every)
            often = "epoch" if every == 1 else f"{every} epochs"
            scored = f"; scores on {self.test.split} every {often} and at the end"
        self.say(f"{images.amount} of {images.name} ({images.split}), {images.image_shape}{scored}.")
        folder = self.run.directory / "checkpoints"
        self.checkpoints = Checkpoints(self.gan, folder, settings.keep_checkpoints, writes=self.chief)
        if 0 < settings.pretrain_steps >= (self.checkpoints.newest_step or 0):
            # Just at its end too: the next phase begins with new optimizers, whether or not the run stopped there.
            self._compile(pretraining=True)
        restored = self.checkpoints.restore()
        self.say(f"XLA {'on' if self.gan.jit_compile else 'off'}, {self._why_compiled()}.")
        if restored:
            # Constant learning rates are part of the optimizers' state; those asked for now take its place.
            set_learning_rates(self.gan, settings, ROLLBACK_FACTOR ** len(self.run.rollbacks))
            self.say(f"Going on from step {self.gan.step} ({restored}).")
        elif settings.init_from:
            source, self._parent = open_parent(settings.init_from)
            with self.strategy.scope():
                self.say(init_from(self.gan, source))

    # Whose weights the run begins with, where it begins in this session.
    _parent: dict[str, Any] | None = None

    def _build(self, **arguments: Any) -> Trainable:
        # Not before, so that the first weights are those of the seed, whatever has been loaded.
        keras.utils.set_random_seed(self.settings.seed)
        return build_gan(self.settings, **arguments)

    def _compile(self, pretraining: bool) -> None:
        with self.strategy.scope():
            compile_gan(self.gan, self.settings, pretraining=pretraining, metrics=self._metrics)

    @property
    def _num_scored(self) -> int:
        return min(self.test.num_images, self.settings.eval_images)

    def _say_notes(self, images: Dataset, known: tuple[str, ...] = ()) -> None:
        if remarks := images.remarks(known):
            self.say(remarks)

    def _open_train(self) -> Dataset:
        """Opens the images to train on: of a set without splits, all but a part to score on."""
        settings, percent = self.settings, self.settings.holdout
        if percent and self._scored and self._is_whole():
            train, test = (f"{settings.split}[{part}]" for part in (f":{100 - percent}%", f"{100 - percent}%:"))
            images = open_split(settings, train)
            num = round(images.num_images * percent / (100 - percent))
            if num >= _LEAST_HELD_OUT:
                self.settings = dataclasses.replace(settings, split=train, eval_split=test)
                self.say(f"{images.name} has no split {settings.eval_split}: {num} of it are held out to score on.")
                return images
        return open_split(settings, settings.split)

    def _is_whole(self) -> bool:
        """Whether what there is to train on is all that there is, of a user's own images."""
        settings = self.settings
        began_whole = bool(self.run.record) and self.run.settings.split == settings.split
        if began_whole or "[" in settings.split or located(settings.dataset).kind not in (Kind.FOLDER, Kind.ARRAY):
            return False
        return not any(has_split(settings, split) for split in (settings.eval_split, "validation"))

    def _open_test(self) -> Dataset:
        """Opens the split to score on; where there is none, that of validation, else the training images."""
        asked, why = self.settings.eval_split, ""
        for split in dict.fromkeys((asked, "validation")):
            try:
                test = open_split_like(self.images.describe(), self.settings, split)
            except UnknownSplit:
                why = why or f"{self.images.name} has no split {split}"
                continue
            self._say_notes(test, self.images.notes)
            if needs_condition(self.settings) and getattr(test, "condition", None) is None:
                what = "labels" if self.settings.attributes is None else "attributes"
                why = f"`model={self.settings.model}` needs {what}, and {split} has none"
                continue
            if why and self._scored:
                self.say(f"{why}: scores compare with {split}.")
            return test
        if self._scored:
            self.say(f"{why}: scores compare with the training images.")
        return self.images

    def _check_enough(self) -> None:
        """Does without a score on one image, and warns of one on too few."""
        compares_sets = self.extractor or (self._scored and isinstance(self.test, ImageSet))
        if compares_sets and self._num_scored < 2:
            self.extractor, self._scored = None, False
            self.say(f"No score: {self.test.name} {self.test.split} has one image; scores compare 2 at least.")
        elif self.extractor and (warning := receipts.caution(self.extractor.feature_dim, self._num_scored)):
            self.say(warning)

    def _epochs_to_a_score(self) -> int:
        """Returns after how many epochs to score by default: a share of the run that is small and known before."""
        images = self.settings.steps_per_epoch * self.settings.batch_size * self.gan.batches_a_step
        return math.ceil(50 * self._num_scored / images)

    def _why_compiled(self) -> str:
        if self.settings.jit_compile != "auto":
            return "as asked for"
        if self.strategy.num_replicas_in_sync > 1:
            return "as it does not compile a step of several devices"
        return "the faster for this model here"

    # Fitting.

    def fit(self) -> None:
        """Trains to the last step, and saves.

        Raises:
            Stopped: Where a signal said so; all is saved.
            TrainingCollapsed: Where `on_collapse` says so.
            NotFinite: If a loss or a weight is NaN or infinite, and there is no rollback.
            CheckpointError: If no checkpoint can be written.
            WorkerLost: If another process that trains along is gone.
            Failure: For what went wrong otherwise, such as too little memory.
        """
        self._require_whole_executions()
        if self.chief:
            self.run.lock()
            facts = self.images.describe()
            self.run.write(self.settings, facts, self.test.split, self.command, self.gan.step, self._parent)
        self.say(
            f"Training from step {self.gan.step} to {self.settings.train_steps}. The first step takes longer: it is "
            "compiled."
        )
        stop = callbacks.StopOnSignal()
        try:
            self._fit(stop)
        except callbacks.Stopped as stopped:
            folder = self.checkpoints.save()
            raise callbacks.Stopped(stopped.signum, f"{stopped} at step {self.gan.step}; saved {folder}") from stopped
        except (tf.errors.OpError, MemoryError) as error:
            raise self._diagnosis(error) from error
        finally:
            stop.restore_handlers()

    def _require_whole_executions(self) -> None:
        """Keras would round epochs up to whole executions."""
        settings, unit = self.settings, self.settings.steps_per_execution
        steps = {
            f"`train_steps={settings.train_steps}`": settings.train_steps,
            f"`steps_per_epoch={settings.steps_per_epoch}`": settings.steps_per_epoch,
            f"step={self.gan.step}": self.gan.step,
        }
        for name, value in steps.items():
            if value % unit:
                raise UsageError(f"{name} must be a multiple of `steps_per_execution={unit}`.")
        if settings.pretrain_steps % settings.steps_per_epoch:
            raise UsageError(
                f"`pretrain_steps={settings.pretrain_steps}` must be a multiple of "
                f"`steps_per_epoch={settings.steps_per_epoch}`."
            )

    def _fit(self, stop: callbacks.StopOnSignal) -> None:
        """Trains in epochs that end at multiples of `steps_per_epoch` and at the last step."""
        gan, settings, guard = self.gan, self.settings, self._guard()
        parts = self._callbacks(guard, stop)
        validation = self.task.validation(self._num_scored) if self._metrics else None
        while gan.step < settings.train_steps:
            if gan.step >= settings.pretrain_steps and not gan.n_critic:
                self.say(f"The discriminator joins in at step {gan.step}, with new optimizers.")
                self._compile(pretraining=False)
            try:
                for first_epoch, last_epoch, steps in self._segments():
                    gan.fit(
                        share_batches(self._batches(), gan.batches_a_step, self.strategy),
                        initial_epoch=first_epoch,
                        epochs=last_epoch,
                        steps_per_epoch=steps,
                        validation_data=validation,
                        validation_freq=settings.score_every or 1,
                        callbacks=parts,
                        shuffle=False,
                        verbose=0,
                    )
            except (TrainingCollapsed, NotFinite) as failure:
                if guard is None or settings.on_collapse != "rollback":
                    raise
                self._roll_back(guard, str(failure))

    def _segments(self) -> Iterator[tuple[int, int, int]]:
        """Yields calls of `fit`, `(first_epoch, last_epoch, steps)`: rest of a cut epoch, whole ones, remainder."""
        step, total, length = self.gan.step, self.settings.train_steps, self.settings.steps_per_epoch
        if step < self.settings.pretrain_steps:
            total = min(total, self.settings.pretrain_steps)
        while step < total:
            epoch, done = divmod(step, length)
            whole = (total - step) // length
            if done or not whole:
                steps, count = min(length - done, total - step), 1
            else:
                steps, count = length, whole
            yield epoch, epoch + count, steps
            step += steps * count

    def _batches(self) -> Callable[[int, int], tf.data.Dataset]:
        """Returns the batches from this step on, as `share_batches` takes them; `fit` groups those of a step."""
        size, seed, step = self.settings.batch_size, self.settings.seed, self.gan.step
        begun = min(step, self.settings.pretrain_steps)
        start = begun + (step - begun) * self.gan.batches_a_step
        mirror = self.settings.mirror
        return lambda index, parts: self.images.batches(
            size, seed=seed, start_step=start, part=(index, parts), mirror=mirror
        )

    def _callbacks(self, guard: CollapseGuard | None, stop: callbacks.StopOnSignal) -> list[keras.callbacks.Callback]:
        begun = [callbacks.ContinueEpoch(self.gan)] if self.gan.step % self.settings.steps_per_epoch else []
        # Of several workers one writes; all watch, and come to the same conclusions.
        writers = self._writers() if self.chief else []
        return [*begun, callbacks.StopOnNonFinite(), *writers, *([guard] if guard else []), stop]

    def _writers(self) -> list[keras.callbacks.Callback]:
        folder, settings = self.run.directory, self.settings
        images_a_step = settings.batch_size * self.gan.batches_a_step
        return [
            callbacks.SampleGrid(folder / "samples", draw=self.task.picture),
            callbacks.MetricsCSV(folder / "metrics.csv"),
            *self._tensorboard(),
            *(
                [callbacks.Progress(settings.train_steps, images_a_step, self.stream, self._advise)]
                if self.stream
                else []
            ),
            callbacks.SaveCheckpoint(self.checkpoints),
        ]

    def _advise(self, seconds: float, steps: int) -> None:
        """Says what would be faster here, where training takes more than a day."""
        if seconds <= 86_400:
            return
        settings, sides = self.settings, self.images.image_shape[:2]
        faster = []
        if not tf.config.list_physical_devices("GPU"):
            faster.append("a GPU, of which there is none here")
        best = choose_precision("auto").name
        if settings.precision == "none" != best and settings.depth == 8:
            faster.append(f"`mixed_precision={best}`")
        if max(sides) >= 64:
            faster.append(f"`image_size={compact([side // 2 for side in sides])}`")
        for name in ("base_channels", "channel_base", "g_channels", "d_channels"):
            width = self.gan.arguments.get(name)
            if isinstance(width, int) and width >= 32:
                faster.append(f"narrower networks (`model_arg={name}={width // 2}`)")
                break
        if settings.batch_size >= 32:
            faster.append(f"`batch_size={settings.batch_size // 2}`")
        others = f"; or, in another `run_dir`, {', '.join(faster)}" if faster else ""
        self.say(
            f"At this rate it ends in {clock(seconds)}, as a day makes about {86_400 * steps / seconds:.0f} steps. "
            f"Faster: fewer steps (`train_steps`){others}."
        )

    def _tensorboard(self) -> list[keras.callbacks.Callback]:
        if importlib.util.find_spec("tensorboard") is None:
            self.say("No TensorBoard logs: pip install 'tfgan_app[tensorboard]' for them.")
            return []
        return [callbacks.TensorBoard(str(self.run.directory / "logs"), profile_batch=0)]

    def _guard(self) -> CollapseGuard | None:
        """Returns what watches for collapse, None where nothing is to."""
        action = self.settings.on_collapse
        if action == "ignore":
            return None
        if action == "rollback" and any(map(has_schedule, (self.gan.g_optimizer, self.gan.d_optimizer))):
            raise UsageError("`on_collapse=rollback` lowers constant learning rates; this run's follow a schedule.")
        real, draw = self.task.guarded()
        guard = CollapseGuard(
            real,
            self.extractor,
            draw=draw,
            # The session rolls back by itself, as the run's folder goes back too.
            action="warn" if action == "warn" else "stop",
            checkpoints=Checkpoints(self.gan, self.run.directory / BEST, keep=1, writes=self.chief),
            monitor=self.task.monitor,
            # Long runs are of networks that learn slowly, or grow.
            grace_steps=max(_GRACE_STEPS, self.settings.train_steps // 10),
        )
        guard.set_model(self.gan)
        guard.rollbacks = len(self.run.rollbacks)
        return guard

    def _roll_back(self, guard: CollapseGuard, failure: str) -> None:
        failed = self.gan.step
        guard.roll_back(failure)
        self.checkpoints.save(overwrite=True)
        if self.chief:
            self.run.add_rollback(failed, self.gan.step, failure)

    def _diagnosis(self, error: Exception) -> Error:
        """Returns what to make of an exception from within TensorFlow: another worker, memory, data, or else."""
        size, replicas = self.settings.batch_size, self.strategy.num_replicas_in_sync
        if isinstance(error, LOST_WORKER) and replicas > 1:
            return WorkerLost(
                f"Another worker stopped after step {self.gan.step}. The same command, given to all of them, goes on "
                f"from the last checkpoint. ({type(error).__name__})"
            )
        saved = next(iter(self.checkpoints.folders()), None)
        rest = f" {saved} is as it was." if saved else " There is no checkpoint yet."
        if isinstance(error, (tf.errors.ResourceExhaustedError, MemoryError)):
            smaller = max(size // 2 // replicas, 1) * replicas
            advice = f"Try `batch_size={smaller}` in another `run_dir`" if smaller < size else "Try smaller networks"
            return Failure(f"Out of memory with `batch_size={size}`: {reason(error)}. {advice}.{rest}")
        # Errors of the data cross TensorFlow as text.
        found = re.search(r"DataError: (.*)", str(error))
        return Failure(found[1] + rest) if found else Unexpected(f"TensorFlow failed: {reason(error)}.{rest}")

    # Finishing.

    def finish(self) -> list[dict[str, Any]]:
        """Scores the GAN, draws samples of it, and exports it with its card.

        Returns:
            The receipts of the scores.

        Raises:
            Failure: If they cannot be written.
        """
        with announced(self.say, f"Scoring on {self.test.split}"):
            found = self._score() if self._metrics else []
        try:
            for receipt in found:
                receipts.write_receipt(self._receipt, receipt)
            with announced(self.say, "Exporting"):
                failures = self._export_files()
                folder = self._export(found)
        except (OSError, tf.errors.OpError) as error:
            raise Failure(
                f"Trained to step {self.gan.step} and saved, but its score and its export cannot be written: "
                f"{reason(error)}. The same command tries again."
            ) from error
        self.say(f"Samples in {self.run.directory / 'samples'}, SavedModel in {folder}.")
        if failures:
            raise Failure(f"All else is done, but {'; '.join(failures)}")
        return found

    def _score(self) -> list[dict[str, Any]]:
        """Returns the receipts of the scores, none where they cannot be had: the GAN is trained whether or not."""
        facts = {"source": str(self.run.directory), "step": self.gan.step, "checkpoint": "last", "weights": "EMA"}
        try:
            return [self.task.score(self.gan, self._num_scored, facts, self.say)]
        except receipts.FAILURES as error:
            self.say(f"No score: {receipts.why(error)}.")
            return []

    def _export_files(self) -> list[str]:
        """Exports in the formats of one file; returns what went wrong, as one that fails costs no other."""
        failures = []
        for name in ENDINGS:
            path = self._file(name)
            # Those of an earlier step are not of this model.
            path.unlink(missing_ok=True)
            if name in self.settings.export:
                try:
                    self.gan.export(path, name)
                except Failure as failure:
                    failures.append(str(failure))
        return failures

    def _export(self, found: list[dict[str, Any]]) -> pathlib.Path:
        gan, picture = self.gan, "samples.png"
        pictures.save_png(self._saved_model.parent / picture, self.task.picture(gan), 2)
        return gan.export(
            self._saved_model,
            data=self.images.describe(),
            command=self.command,
            batch_size=self.settings.batch_size * gan.batches_a_step,
            scores=[receipts.summary(receipt) for receipt in found],
            picture=picture,
            files=[path.name for path in map(self._file, ENDINGS) if path.is_file()],
            parent=self.run.parent,
        )

    # Trying out.

    def dry_run(self) -> dict[str, float]:
        """Shows the settings and the networks, and does one step on noise; writes nothing, and opens no images.

        Returns:
            The step's logs.
        """
        settings = self.settings
        shapes = peek(settings)
        gan = self._build(**shapes)
        self.say(flagfile(settings).rstrip("\n"))
        for network in (gan.generator, gan.discriminator):
            network.summary(print_fn=lambda text: self.say(text.rstrip("\n")))
        noise = np.random.default_rng(settings.seed)
        num = settings.batch_size * gan.batches_a_step

        def images(shape):
            return noise.uniform(-1, 1, (num, *shape)).astype("float32")

        if "source_shape" in shapes:
            batch = images(shapes["source_shape"]), images(shapes["image_shape"])
        elif "attributes" in shapes:
            batch = images(shapes["image_shape"]), shapes["attributes"].in_turn(num)
        else:
            batch = images(shapes["image_shape"]), noise.integers(0, shapes["num_classes"] or 1, num)
        history = gan.fit(*batch, batch_size=settings.batch_size, verbose=0).history
        logs = {name: values[0] for name, values in history.items()}
        self.say(f"One step on noise: {', '.join(f'{name} {value:.3f}' for name, value in logs.items())}")
        return logs


def _call(settings: Settings) -> str:
    """Returns the call of `train` that has these settings."""
    values = [(row, getattr(settings, row.name)) for row in settings.rows() if row.flag]
    return (
        f"tfgan_app.runs.train({', '.join(f'{row.name}={value!r}' for row, value in values if value != row.default)})"
    )
