"""A run on disk: its folder, its lock, its record `run.json`, and the GAN that the record describes."""

import json
import os
import pathlib
import platform
from typing import Any

import filelock
from absl import logging

from tfgan_app.base.errors import CheckpointError, Failure, UsageError
from tfgan_app.base.files import check_object, read_object, written_whole
from tfgan_app.base.versions import versions
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.cli import flagfile
from tfgan_app.gan import GAN
from tfgan_app.runs.build import build_gan
from tfgan_app.runs.settings import Settings

__all__ = ["BEST", "Run"]

# The folder of a run's best checkpoint.
BEST = "best"


class Run:
    """A run folder.

    Args:
        directory: The folder.

    Attributes:
        record: What `run.json` holds, empty in a new folder: `settings` (values by name, with `precision` resolved),
            `data` (facts about the training images), `eval_split` (the split scored on), `versions`, and `sessions`,
            one entry for each start, and `rollbacks`.

    Raises:
        Failure: If `run.json` is there and is not such a record.
    """

    record: dict[str, Any]

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = pathlib.Path(directory)
        self._lock: filelock.BaseFileLock | None = None
        path = self.directory / "run.json"
        try:
            self.record = _checked_record(read_object(path)) if path.exists() else {}
        except (OSError, ValueError) as error:
            reason = str(error).rstrip(".")
            raise Failure(f"{path} cannot be read as a run's record: {reason}. Take another `run_dir`.") from error

    @classmethod
    def existing(cls, directory: str | os.PathLike[str]) -> "Run":
        """Opens a run that was started before.

        Raises:
            UsageError: If the folder holds none.
        """
        run = cls(directory)
        if not run.record:
            raise UsageError(f"`run={directory}` is not a run folder: it has no run.json. Train one first.")
        return run

    @property
    def settings(self) -> Settings:
        """What the run was started with."""
        return Settings.read(self.record["settings"])

    @property
    def rollbacks(self) -> list[dict[str, Any]]:
        """The times when training collapsed and went on from an earlier step."""
        return self.record.get("rollbacks", [])

    def lock(self) -> None:
        """Claims the folder for this process, until `unlock` or its end; a second call does nothing.

        Raises:
            UsageError: If the folder cannot be written, or another process has claimed it.
        """
        if self._lock:
            return
        # Nothing can be read on Windows that is locked, so a second file tells who holds the first.
        path, owner = self.directory / "lock", self.directory / "lock.owner"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with path.open("a"):
                pass
        except OSError as error:
            raise UsageError(f"`run_dir={self.directory}` cannot be written: {error}.") from error
        lock = filelock.FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise UsageError(
                f"`run_dir={self.directory}` is in use by {_text(owner) or 'another process'}. Wait for it, or take "
                "another folder."
            ) from error
        except (OSError, NotImplementedError) as error:  # of file systems that know no locks
            logging.warning("%s cannot be locked: %s. Let no other process train in it.", self.directory, error)
        owner.write_text(f"process {os.getpid()} of {platform.node()}\n", encoding="utf-8")
        self._lock = lock

    def unlock(self) -> None:
        """Gives the folder back."""
        if self._lock:
            self._lock.release()
            self._lock = None

    def check(self, settings: Settings, facts: dict[str, Any]) -> None:
        """Refuses to go on with another model or other images than the run began with.

        Args:
            settings: What to go on with.
            facts: `ImageSet.describe()` of the training images.

        Raises:
            UsageError: Listing every difference.
        """
        if not self.record:
            return
        before, now = self.settings.values(), settings.values()
        changed = [
            f"  `{row.name}`: the run has {before[row.name]}, asked for {now[row.name]}"
            for row in settings.rows()
            if row.fixed and before[row.name] != now[row.name]
        ]
        images = self.record["data"]["fingerprint"], facts["fingerprint"]
        if images[0] != images[1]:
            changed.append(f"  images: the run has {images[0]}, asked for {images[1]}")
        if changed:
            raise UsageError(
                f"{self.directory} holds a run that differs in\n" + "\n".join(changed) + "\n"
                "Take the run's values, or start another with `run_dir=...`"
            )

    def write(self, settings: Settings, facts: dict[str, Any], eval_split: str, command: str, step: int) -> None:
        """Records the settings, and that a session starts at `step`; `run.flags` reruns it.

        Args:
            settings: The settings.
            facts: `ImageSet.describe()` of the training images.
            eval_split: The split scored on.
            command: What started the session.
            step: The step that it goes on from.
        """
        sessions = self.record.get("sessions", [])
        self.record = {
            "settings": settings.values(),
            "data": facts,
            "eval_split": eval_split,
            "versions": versions(),
            "sessions": [*sessions, {"from_step": step, "command": command, "versions": versions()}],
            "rollbacks": self.rollbacks,
        }
        self._write()
        with written_whole(self.directory / "run.flags") as partial:
            partial.write_text(flagfile(settings))

    def add_rollback(self, from_step: int, to_step: int, reason: str) -> None:
        """Records that training went on from an earlier step."""
        rollback = {"from_step": from_step, "to_step": to_step, "reason": reason}
        self.record["rollbacks"] = [*self.rollbacks, rollback]
        self._write()

    def _write(self) -> None:
        with written_whole(self.directory / "run.json") as partial:
            partial.write_text(json.dumps(self.record, indent=2) + "\n")

    def restored_gan(self, checkpoint: str | int = "last") -> GAN:
        """Returns the run's GAN with the weights of a checkpoint.

        Args:
            checkpoint: "last", "best" (by the run's own scores) or a step.

        Raises:
            CheckpointError: If there is no such checkpoint, or none that can be read.
        """
        facts = self.record["data"]
        gan = build_gan(self.settings, tuple(facts["image_shape"]), facts["num_classes"])
        folder = self.directory / (BEST if checkpoint == "best" else "checkpoints")
        step = None if checkpoint in ("last", "best") else int(checkpoint)
        if Checkpoints(gan, folder).restore(step) is None:
            raise CheckpointError(f"{folder} holds no checkpoint yet. Train the run first.")
        return gan


def _text(path: pathlib.Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _checked_record(record: dict[str, Any]) -> dict[str, Any]:
    """Returns a run's record as it is; raises `ValueError` where it is none."""
    check_object(record, settings=dict, data=dict, eval_split=str, sessions=list)
    Settings.read(record["settings"])
    facts, text, count = record["data"], (str, type(None)), (int, type(None))
    check_object(facts, name=str, fingerprint=str, image_shape=list, num_classes=count, fallback_for=text)
    if len(facts["image_shape"]) != 3 or not all(type(n) is int and n > 0 for n in facts["image_shape"]):
        raise ValueError(f"images cannot have the shape {facts['image_shape']}")
    if not isinstance(record.get("rollbacks", []), list):
        raise ValueError("its 'rollbacks' is not a list")
    return record
