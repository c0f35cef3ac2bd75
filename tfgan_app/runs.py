"""A run: its folder, its record `run.json`, and the GAN that the record describes."""

import ast
import dataclasses
import fcntl
import inspect
import json
import os
import pathlib
import platform
import shlex

import keras
from absl import logging

from tfgan_app import augment, data, losses, models, terms
from tfgan_app.base.errors import CheckpointError, Failure, UsageError
from tfgan_app.base.files import check_object, read_object, written_whole
from tfgan_app.base.precision import choose_precision
from tfgan_app.base.versions import versions
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.cli import flagfile
from tfgan_app.layers.batch_norm import synchronize
from tfgan_app.schedules import has_schedule

__all__ = ["Run", "build_gan", "open_split"]

# The folder of a run's best checkpoint.
BEST = "best"

# A run goes on only under the same values of these; learning rates, length and cadence may change.
FIXED = (
    "model",
    "model_arg",
    "latent_dim",
    "loss",
    "real_label",
    "penalty",
    "augment",
    "n_critic",
    "conditional",
    "ema_decay",
    "dataset",
    "split",
    "image_size",
    "channels",
    "batch_size",
    "seed",
    "decay_learning_rates",
    "sync_batch_norm",
    "precision",
)


class Run:
    """A run folder.

    Args:
        directory: The folder.

    Attributes:
        record: What `run.json` holds, empty in a new folder: `settings` (flag values, with `precision` resolved),
            `data` (facts about the training images), `eval_split` (the split scored on), `versions`, and `sessions`,
            one entry for each start, and `rollbacks`.

    Raises:
        Failure: If `run.json` is there and is not such a record.
    """

    record: dict

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self._lock = None
        path = self.directory / "run.json"
        try:
            self.record = _checked_record(read_object(path)) if path.exists() else {}
        except (OSError, ValueError) as error:
            raise Failure(f"{path} cannot be read as a run's record: {error}. Take another --run_dir.") from error

    def lock(self):
        """Claims the folder for this process, until that ends; a second call does nothing.

        Raises:
            UsageError: If the folder cannot be written, or another process has claimed it.
        """
        if self._lock:
            return
        path = self.directory / "lock"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = path.open("a+")
        except OSError as error:
            raise UsageError(f"--run_dir={self.directory} cannot be written: {error}.") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"--run_dir={self.directory} is in use by {path.read_text().strip() or 'another process'}. Wait for "
                "it, or take another folder."
            ) from error
        except OSError as error:  # of file systems that know no locks
            logging.warning("%s cannot be locked: %s. Let no other process train in it.", self.directory, error)
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()} of {platform.node()}\n")
        self._lock.flush()

    @classmethod
    def existing(cls, directory):
        """Opens a run that was started before.

        Raises:
            UsageError: If the folder holds none.
        """
        run = cls(directory)
        if not run.record:
            raise UsageError(f"--run={directory} is not a run folder: it has no run.json. Train one first.")
        return run

    def check(self, settings, facts):
        """Refuses to go on with another model or other images than the run began with.

        Raises:
            UsageError: Listing every difference.
        """
        if not self.record:
            return
        before = {**self.record["settings"], "images": self.record["data"]["fingerprint"]}
        now = {**settings, "images": facts["fingerprint"]}
        changed = [
            f"  {'' if name == 'images' else '--'}{name}: the run has {before.get(name)}, asked for {now.get(name)}"
            for name in (*FIXED, "images")
            if before.get(name) != now.get(name)
        ]
        if changed:
            raise UsageError(
                f"{self.directory} holds a run that differs in\n" + "\n".join(changed) + "\n"
                "Take the run's values, or start another with --run_dir=..."
            )

    def write(self, settings, facts, eval_split, command, step):
        """Records the settings, and that a session starts at `step`; `run.flags` reruns it."""
        sessions = self.record.get("sessions", [])
        self.record = {
            "settings": settings,
            "data": facts,
            "eval_split": eval_split,
            "versions": versions(),
            "sessions": [*sessions, {"from_step": step, "command": command, "versions": versions()}],
            "rollbacks": self.rollbacks,
        }
        self._write()
        with written_whole(self.directory / "run.flags") as partial:
            partial.write_text(flagfile(settings))

    @property
    def rollbacks(self):
        """The times when training collapsed and went on from an earlier step, a list."""
        return self.record.get("rollbacks", [])

    def add_rollback(self, from_step, to_step, reason):
        """Records that training went on from an earlier step."""
        rollback = {"from_step": from_step, "to_step": to_step, "reason": reason}
        self.record["rollbacks"] = [*self.rollbacks, rollback]
        self._write()

    def _write(self):
        with written_whole(self.directory / "run.json") as partial:
            partial.write_text(json.dumps(self.record, indent=2) + "\n")

    def restored_gan(self, checkpoint="last"):
        """Returns the run's GAN with the weights of a checkpoint.

        Args:
            checkpoint: "last", "best" (by the run's own scores) or a step.

        Raises:
            CheckpointError: If there is no such checkpoint, or none that can be read.
        """
        facts = self.record["data"]
        gan = build_gan(self.record["settings"], tuple(facts["image_shape"]), facts["num_classes"])
        folder = self.directory / (BEST if checkpoint == "best" else "checkpoints")
        step = None if checkpoint in ("last", "best") else int(checkpoint)
        if Checkpoints(gan, folder).restore(step) is None:
            raise CheckpointError(f"{folder} holds no checkpoint yet. Train the run first.")
        return gan


_TEXT, _COUNT, _NUMBER = (str, type(None)), (int, type(None)), (int, float, type(None))
# Types of the settings in a record.
_KINDS = {
    "model": str,
    "model_arg": list,
    "latent_dim": _COUNT,
    "loss": _TEXT,
    "real_label": _NUMBER,
    "penalty": (list, type(None)),
    "augment": _TEXT,
    "n_critic": _COUNT,
    "conditional": (bool, type(None)),
    "ema_decay": _NUMBER,
    "g_learning_rate": _NUMBER,
    "d_learning_rate": _NUMBER,
    "decay_learning_rates": bool,
    "dataset": str,
    "fallback_dataset": _TEXT,
    "data_dir": _TEXT,
    "manual_dir": _TEXT,
    "split": str,
    "image_size": _COUNT,
    "channels": _COUNT,
    "batch_size": int,
    "train_steps": int,
    "steps_per_execution": int,
    "jit_compile": str,
    "sync_batch_norm": bool,
    "precision": str,
    "seed": int,
}


def _checked_record(record):
    """Returns a run's record as it is; raises `ValueError` where it is none."""
    kinds = {"settings": dict, "data": dict, "eval_split": str, "sessions": list}
    check_object(record, **kinds)
    check_object(record["settings"], **_KINDS)
    facts = record["data"]
    check_object(facts, name=str, fingerprint=str, image_shape=list, num_classes=_COUNT, fallback_for=_TEXT)
    settings = record["settings"]
    if settings["model"] not in models.__all__:
        raise ValueError(f"there is no model {settings['model']}")
    if not all(isinstance(item, str) for item in (*settings["model_arg"], *(settings["penalty"] or []))):
        raise ValueError("arguments and penalties are texts")
    if len(facts["image_shape"]) != 3 or not all(type(n) is int and n > 0 for n in facts["image_shape"]):
        raise ValueError(f"images cannot have the shape {facts['image_shape']}")
    if not isinstance(record.get("rollbacks", []), list):
        raise ValueError("its 'rollbacks' is not a list")
    return record


def command_line(argv):
    """Returns the command that was given, as a shell takes it."""
    return "python -m tfgan_app.train " + shlex.join(argv[1:])


def open_split(settings, split):
    """Opens a split of the images that settings name."""
    return data.open_images(split=split, fallback=settings["fallback_dataset"], **source_options(settings))


def open_split_like(facts, settings, split):
    """Opens another split of the images that `facts` describe: the fallback where they are the fallback.

    The hosts of the data set that it stands in for are not asked again.
    """
    if facts["fallback_for"] is None:
        return open_split(settings, split)
    images = open_split({**settings, "dataset": settings["fallback_dataset"]}, split)
    return dataclasses.replace(images, fallback_for=facts["fallback_for"])


def source_options(settings):
    """Returns the settings that say where images come from and how they are read, as `tfgan_app.data` names them."""
    names = ("data_dir", "manual_dir", "image_size", "channels")
    return {"name": settings["dataset"], **{name: settings[name] for name in names}}


def build_gan(settings, image_shape, num_classes, **compile_arguments):
    """Builds and compiles the GAN that settings describe.

    A setting that is None is left to the model, whose defaults are its paper's.

    Args:
        settings: Values of the flags by name.
        image_shape: `(height, width, channels)`.
        num_classes: Classes of the images, None where unlabelled.
        **compile_arguments: Passed to `compile`.

    Raises:
        UsageError: For an argument that the model does not take, or values that it refuses.
    """
    gan = build_model(settings, image_shape, num_classes)
    try:
        gan.compile(
            loss=_loss(settings),
            terms=_terms(settings["penalty"], gan),
            augment=_augment(settings["augment"]),
            **{name: settings[name] for name in ("n_critic", "ema_decay", "steps_per_execution")},
            jit_compile={"auto": None, "true": True, "false": False}[settings["jit_compile"]],
            **compile_arguments,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    set_learning_rates(gan, settings)
    if settings["decay_learning_rates"]:
        _decay_learning_rates(gan, settings["train_steps"])
    return gan


def build_model(settings, image_shape, num_classes):
    """Builds the networks of `build_gan`, in the settings' precision."""
    model = getattr(models, settings["model"])
    accepted = inspect.signature(model).parameters
    given = _model_arguments(settings["model_arg"])
    if settings["latent_dim"] is not None:
        given["latent_dim"] = settings["latent_dim"]
    unknown = sorted(given.keys() - accepted.keys())
    if unknown:
        takes = ", ".join(name for name in accepted if name not in ("image_shape", "num_classes", "kwargs"))
        raise UsageError(f"{settings['model']} takes no {', '.join(unknown)}. It takes {takes}.")
    required = "num_classes" in accepted and accepted["num_classes"].default is inspect.Parameter.empty
    if settings["conditional"] and "num_classes" not in accepted:
        raise UsageError(f"--model={settings['model']} takes no labels, so --conditional has no meaning for it.")
    if required or settings["conditional"]:
        if num_classes is None:
            raise UsageError(
                f"--model={settings['model']} needs labelled images, and --dataset={settings['dataset']} has none. "
                "Put them in one sub-folder a class, or choose an unconditional model such as DCGAN."
            )
        given["num_classes"] = num_classes
    keras.config.set_dtype_policy(choose_precision(settings["precision"]).policy)
    try:
        gan = model(image_shape, seed=settings["seed"], **given)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if settings["sync_batch_norm"]:
        synchronize(gan.generator)
        synchronize(gan.discriminator)
    return gan


def set_learning_rates(gan, settings, factor=1.0):
    """Sets the learning rates that settings give, times a factor; a restored optimizer otherwise keeps its own."""
    for optimizer, name in ((gan.g_optimizer, "g_learning_rate"), (gan.d_optimizer, "d_learning_rate")):
        # Rates that fall were set when the GAN was built, and follow the optimizer's count.
        if settings[name] is None or (settings["decay_learning_rates"] and has_schedule(optimizer)):
            continue
        try:
            optimizer.learning_rate = settings[name] * factor
        except TypeError as error:
            raise UsageError(
                f"--{name}={settings[name]} cannot be set: {settings['model']} trains with a schedule."
            ) from error


def _decay_learning_rates(gan, train_steps):
    """Lets both learning rates fall linearly from their present values to 0 at the last step."""
    for optimizer, updates in ((gan.g_optimizer, train_steps), (gan.d_optimizer, train_steps * gan.n_critic)):
        if has_schedule(optimizer):
            raise UsageError(
                f"--decay_learning_rates cannot be set: {type(gan).__name__} trains with a schedule of its own."
            )
        start = float(optimizer.learning_rate)
        optimizer.learning_rate = keras.optimizers.schedules.PolynomialDecay(start, updates, end_learning_rate=0.0)


def _loss(settings):
    name, real_label = settings["loss"], settings["real_label"]
    if name is None and real_label is None:
        return None
    loss = getattr(losses, name or "NonSaturating")
    if real_label is None:
        return loss()
    if "real_label" not in inspect.signature(loss).parameters:
        raise UsageError(f"--real_label={real_label} has no meaning for --loss={name}: it has no labels to smooth.")
    return loss(real_label=real_label)


def _terms(penalties, gan):
    """Returns the terms to compile with: penalties on D, if there are any given, in the place of the model's own."""
    if penalties is None:
        return None
    given = [] if penalties == ["none"] else [_part("penalty", text, terms) for text in penalties]
    own = gan.compile_defaults().get("terms", ())
    return [*given, *(term for term in own if term.player == "generator" or not term.own_tape)]


def _augment(text):
    if text is None or text == "none":
        return text and False
    return _part("augment", text, augment)


def _part(flag, text, module):
    """Builds the object of a module that NAME or NAME(argument=value, ...) describes; values are literals."""
    names = [name for name in module.__all__ if name not in ("Augment", "Play", "Term")]
    try:
        call = ast.parse(text, mode="eval").body
        arguments: dict = {}
        if isinstance(call, ast.Call):
            if call.args:
                raise ValueError("arguments go by name")
            arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
            call = call.func
        name = call.id if isinstance(call, ast.Name) else "this"
        if name not in names:
            raise ValueError(f"{name} is not one of {', '.join(names)}")
        return getattr(module, name)(**arguments)
    except (SyntaxError, TypeError, ValueError) as error:
        raise UsageError(f"--{flag}={text} must be like {names[0]} or {names[0]}(name=value): {error}.") from error


def _model_arguments(pairs):
    arguments = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise UsageError(f"--model_arg={pair} must be NAME=VALUE, for example --model_arg=base_channels=32.")
        try:
            arguments[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError) as error:
            raise UsageError(
                f"--model_arg={pair}: the value must be a Python literal such as 32, True or (256,512)."
            ) from error
    return arguments
