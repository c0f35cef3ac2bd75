"""Durable checkpoints from which a run goes on exactly.

A checkpoint is a folder `step_00001500/` of TensorFlow checkpoint files with a manifest of their SHA-256 sums.
It is written under another name and renamed when it is complete, so a folder of that name is always whole. What is read
is not trusted: whatever is wrong with a checkpoint, the one before is taken.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfgan_app.base.errors import CheckpointError, NotFinite
from tfgan_app.base.files import PARTIAL, PathLike, local_path, read_object, reason

__all__ = ["Checkpoints"]

_MANIFEST = "manifest.json"
_NAME = re.compile(r"step_[0-9]{8,}")
_FILE = re.compile(r"state[\w.-]*")


class Checkpoints:
    """The checkpoints of one compiled GAN.

    They hold the weights of all networks, the state of both optimizers (loss scales included), the step counter, the
    state of random layers and the averages of the epoch's losses so far.

    Args:
        gan: A compiled `tfgan_app.AdversarialModel`.
        directory: Folder of the checkpoints; made when the first is written.
        keep: How many to keep; the oldest go first.
        writes: Whether `save` writes; of several workers that share the folder, one does.
    """

    def __init__(self, gan: keras.Model, directory: PathLike, keep: int = 3, writes: bool = True):
        self.gan = gan
        self.directory = local_path(directory)
        self.keep = keep
        self.writes = writes

    def save(self, facts: dict[str, Any] | None = None, overwrite: bool = False) -> pathlib.Path:
        """Writes the state at the current step and returns its folder.

        Args:
            facts: What `facts` is to return for it, as JSON takes it.
            overwrite: Whether to replace a checkpoint of this step, which is otherwise left as it is, and with it those
                of later steps.

        Raises:
            NotFinite: If a weight is NaN or infinite.
            CheckpointError: If it cannot be written, as on a full disk.
            Either way the checkpoints before stay as they are.
        """
        _check_finite(self.gan)
        target = self.directory / f"step_{self.gan.step:08d}"
        if not self.writes or (not overwrite and target.exists() and _damage(target) is None):
            return target
        partial = self.directory / f"{target.name}{PARTIAL}"
        try:
            for folder in self.directory.glob(f"step_*{PARTIAL}"):
                shutil.rmtree(folder)
            self._write(partial, facts or {})
            # Later checkpoints, which `restore` passed over or a rollback undid, would count as the newest.
            for folder in self.folders():
                if _step(folder) >= self.gan.step:
                    shutil.rmtree(folder)
            partial.rename(target)
            _sync(self.directory)
            for old in self.folders()[self.keep :]:
                shutil.rmtree(old)
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise CheckpointError(f"Checkpoint {target} cannot be written: {reason(error)}") from error
        return target

    def _write(self, folder, facts):
        folder.mkdir(parents=True)
        _state(self.gan).write(str(folder / "state"))
        sums = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
        # Kept apart from the variables, as their number depends on the devices.
        losses = [float(variable.numpy()) for variable in self.gan.loss_state]
        manifest = {"sha256": sums, "facts": facts, "losses": losses}
        (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        for path in (*folder.iterdir(), folder):
            _sync(path)

    def folders(self) -> list[pathlib.Path]:
        """Returns the folders of complete checkpoints, the newest first."""
        found = (path for path in self.directory.glob("step_*") if _NAME.fullmatch(path.name) and path.is_dir())
        return sorted(found, reverse=True, key=_step)

    @property
    def newest_step(self) -> int | None:
        """The step of the newest checkpoint, damaged or not; None where there is none."""
        return next(map(_step, self.folders()), None)

    def facts(self) -> dict[str, Any] | None:
        """Returns the facts that the newest undamaged checkpoint was saved with, None where there is none."""
        for folder in self.folders():
            if _damage(folder) is None:
                return _manifest(folder)["facts"]
        return None

    def restore(self, step: int | None = None) -> pathlib.Path | None:
        """Restores the newest checkpoint that is undamaged, or that of `step`.

        Returns:
            Its folder, or None if there is no checkpoint at all.

        Raises:
            CheckpointError: If there are checkpoints, and none can be read; or none is of `step`.
        """
        folders = self.folders()
        if step is not None:
            steps = [_step(folder) for folder in folders]
            if step not in steps:
                raise CheckpointError(f"{self.directory} has no checkpoint of step {step}. It has {steps}.")
            folders = [folders[steps.index(step)]]
        for folder in folders:
            damage = _damage(folder)
            if damage is None:
                try:
                    _state(self.gan).read(str(folder / "state")).assert_existing_objects_matched()
                    for variable, value in zip(self.gan.loss_state, _manifest(folder)["losses"], strict=False):
                        variable.assign(value)
                    return folder
                except (tf.errors.OpError, AssertionError, ValueError) as error:
                    damage = f"it does not fit this model ({reason(error)})"
            logging.warning("Checkpoint %s is passed over: %s", folder, damage)
        if folders:
            raise CheckpointError(
                f"None of the {len(folders)} checkpoint(s) in {self.directory} can be read. Delete that folder to "
                "start again from step 0."
            )
        return None


def _state(gan):
    """Everything that the next step depends on, by position: the architecture is checked before."""
    groups = {
        "weights": gan.weights,
        "seeds": gan.random_state,
        "g_optimizer": gan.g_optimizer.variables,
        "d_optimizer": gan.d_optimizer.variables,
    }
    return tf.train.Checkpoint(**{name: [v.value for v in group] for name, group in groups.items()})


def _check_finite(gan):
    for variable in gan.weights:
        if not np.isfinite(np.asarray(variable)).all():
            raise NotFinite(f"{variable.path} holds NaN or Inf at step {gan.step}; this state is not saved.")


def _damage(folder):
    """Returns what is wrong with a checkpoint's files, or None."""
    try:
        sums = _manifest(folder)["sha256"]
        damaged = [name for name, expected in sums.items() if _sha256(folder / name) != expected]
    except (OSError, ValueError) as error:
        return f"{_MANIFEST} or a file that it names cannot be read ({error})"
    return f"{', '.join(damaged)}: not the SHA-256 that was written" if damaged else None


def _manifest(folder):
    """Returns a checkpoint's manifest.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not one.
    """
    manifest = read_object(folder / _MANIFEST, sha256=dict, facts=dict, losses=list)
    if not all(map(_FILE.fullmatch, manifest["sha256"])) or "state.index" not in manifest["sha256"]:
        raise ValueError("it does not name the files of a checkpoint")
    if not all(isinstance(value, float) for value in manifest["losses"]):
        raise ValueError("its losses are not numbers")
    return manifest


def _step(folder):
    return int(folder.name.removeprefix("step_"))


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sync(path):
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders, and writes their entries by itself
    # Windows syncs only what may be written.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
