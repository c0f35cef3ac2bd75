"""A run on disk: its folder, its lock, its record `run.json`, and the GAN that the record describes."""

import dataclasses
import json
import os
import pathlib
import platform
from typing import Any

import filelock
from absl import logging

from tfgan_app.base.errors import CheckpointError, Failure, UnknownDataset, UsageError
from tfgan_app.base.files import PROGRAM, check_object, local_path, read_object, written_whole
from tfgan_app.base.versions import versions
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.cli import flagfile
from tfgan_app.export import SavedGAN, SavedTranslator, open_saved
from tfgan_app.export.card import carded
from tfgan_app.gan import GAN
from tfgan_app.runs.build import Dataset, Trainable, build_gan, open_split_like, shapes_of
from tfgan_app.runs.settings import SOURCE, Settings
from tfgan_app.transfer import Source, open_source

__all__ = ["BEST", "Run", "open_parent", "open_trained"]

# The folder of a run's best checkpoint.
BEST = "best"


class Run:
    """A run folder.

    Args:
        directory: The folder.

    Attributes:
        record: What `run.json` holds, empty in a new folder: `settings` (values by name, with `precision` resolved),
            `data` (facts about the training images), `eval_split` (the split scored on), `versions`, and `sessions`,
            one entry for each start, `rollbacks`, and of a run that began with another model's weights the `parent`.

    Raises:
        Failure: If `run.json` is there and is not such a record.
    """

    record: dict[str, Any]

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = local_path(directory)
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
        """What the run was started with, its images where they are now; see `located`."""
        return self.located(Settings.read(self.record["settings"]))

    @property
    def rollbacks(self) -> list[dict[str, Any]]:
        """The times when training collapsed and went on from an earlier step."""
        return self.record.get("rollbacks", [])

    @property
    def parent(self) -> dict[str, Any] | None:
        """Whose weights the run began with: `source`, `model`, `step`, `data` and its `licence`; None for nobody's."""
        return self.record.get("parent")

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
            with path.open("ab"):
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
        self._lock = lock
        owner.write_text(f"process {os.getpid()} of {platform.node()}\n", encoding="utf-8")

    def unlock(self) -> None:
        """Gives the folder back."""
        if self._lock:
            self._lock.release()
            self._lock = None

    def located(self, settings: Settings) -> Settings:
        """Returns settings whose images, archives and extractor are where they are now.

        What is gone from its path may have moved with the run's folder and all that lies beside it; what is found
        nowhere keeps its path.
        """
        found: dict[str, Any] = {}
        for name in ("dataset", "fallback_dataset", "targets", "data_dir", "manual_dir", "extractor"):
            path = getattr(settings, name)
            if path is not None:
                found[name] = next((place for place in self._places(path) if os.path.exists(place)), path)
        return dataclasses.replace(settings, **found)

    def _places(self, path: str) -> list[str]:
        """Returns where something may be that the run's settings name by a path; what is no path is its own place."""
        before = self.record["settings"]["run_dir"] if self.record else None
        now = os.path.abspath(self.directory)
        if before and os.path.isabs(before) and os.path.isabs(path):
            try:
                moved = os.path.normpath(os.path.join(now, os.path.relpath(path, before)))
            except ValueError:  # on another drive
                return [path]
            return list(dict.fromkeys((path, moved)))
        if before and not os.path.isabs(before):
            # Earlier versions recorded paths as they were given: from the folder that `before` was given in.
            given, folders = pathlib.PurePath(os.path.normpath(before)).parts, pathlib.PurePath(now).parts
            if folders[-len(given) :] == given:
                return list(dict.fromkeys((path, os.path.join(*folders[: -len(given)], path))))
        return [path]

    def open_split(self, split: str | None = None, settings: Settings | None = None) -> Dataset:
        """Opens images of the run.

        Args:
            split: A split; by default the one trained on.
            settings: The settings that say which; by default the run's own.

        Raises:
            UnknownDataset: If they are nowhere, saying where they were looked for.
            DataError: If they cannot be used.
        """
        own = self.settings
        settings = settings or own
        try:
            return open_split_like(self.record["data"], settings, split or settings.split)
        except UnknownDataset as error:
            if settings.dataset != own.dataset or not os.path.dirname(own.dataset):
                raise
            places = " and ".join(self._places(self.record["settings"]["dataset"]))
            raise UnknownDataset(
                f"The images of {self.directory} are gone: looked for {places}. Say where they are with `dataset`."
            ) from error

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
        before, now = Settings.read(self.record["settings"]).values(), settings.values()
        images = [(one["fingerprint"], tuple(one["image_shape"])) for one in (self.record["data"], facts)]
        # Whatever names the images, they are what counts.
        names = () if images[0] == images[1] else SOURCE
        changed = [
            f"  `{row.name}`: the run has {before[row.name]}, asked for {now[row.name]}"
            for row in settings.rows()
            if (row.fixed or row.name in names) and before[row.name] != now[row.name]
        ]
        if images[0] != images[1]:
            changed.append(f"  images: the run has {images[0][0]}, asked for {images[1][0]}")
        if changed:
            raise UsageError(
                f"{self.directory} holds a run that differs in\n" + "\n".join(changed) + "\n"
                "Take the run's values, or start another with `run_dir=...`"
            )

    def write(
        self,
        settings: Settings,
        facts: dict[str, Any],
        eval_split: str,
        command: str,
        step: int,
        parent: dict[str, Any] | None = None,
    ) -> None:
        """Records the settings, and that a session starts at `step`; `run.flags` reruns it.

        Args:
            settings: The settings.
            facts: `ImageSet.describe()` of the training images.
            eval_split: The split scored on.
            command: What started the session.
            step: The step that it goes on from.
            parent: Whose weights it began with, in its first session; see `open_parent`.
        """
        sessions = self.record.get("sessions", [])
        parent = parent or self.parent
        self.record = {
            "settings": settings.values(),
            "data": facts,
            "eval_split": eval_split,
            "versions": versions(),
            "sessions": [*sessions, {"from_step": step, "command": command, "versions": versions()}],
            "rollbacks": self.rollbacks,
            **({"parent": parent} if parent else {}),
        }
        self._write()
        with written_whole(self.directory / "run.flags") as partial:
            partial.write_text(flagfile(settings), encoding="utf-8", errors="surrogateescape")

    def add_rollback(self, from_step: int, to_step: int, reason: str) -> None:
        """Records that training went on from an earlier step."""
        rollback = {"from_step": from_step, "to_step": to_step, "reason": reason}
        self.record["rollbacks"] = [*self.rollbacks, rollback]
        self._write()

    def _write(self) -> None:
        with written_whole(self.directory / "run.json") as partial:
            partial.write_text(json.dumps(self.record, indent=2) + "\n", encoding="utf-8")

    def restored_gan(self, checkpoint: str | int = "last") -> Trainable:
        """Returns the run's GAN with the weights of a checkpoint.

        Args:
            checkpoint: "last", "best" (by the run's own scores) or a step.

        Raises:
            CheckpointError: If there is no such checkpoint, or none that can be read.
        """
        facts = self.record["data"]
        gan = build_gan(self.settings, **shapes_of(facts))
        folder = self.directory / (BEST if checkpoint == "best" else "checkpoints")
        step = None if checkpoint in ("last", "best") else int(checkpoint)
        if Checkpoints(gan, folder).restore(step) is None:
            raise CheckpointError(f"{folder} holds no checkpoint yet. Train the run first.")
        return gan


def open_trained(run: str | None, saved_model: str | None, checkpoint: str | int) -> GAN | SavedGAN | SavedTranslator:
    """Returns the one trained GAN that is asked for, of a run folder or of a SavedModel's.

    Raises:
        UsageError: If not one of both is given, or there is none.
        CheckpointError: If the run has no such checkpoint.
    """
    if run is not None and saved_model is None:
        return Run.existing(run).restored_gan(checkpoint)
    if saved_model is not None and run is None:
        logging.warning(PROGRAM, f"`saved_model={saved_model}`")
        return open_saved(saved_model)
    raise UsageError(f"give either `run` or `saved_model`. Received: {'both' if run else 'neither'}")


def open_parent(path: str) -> tuple[Source, dict[str, Any]]:
    """Returns whose weights to begin with, and what is known of it, for the record and the card.

    Args:
        path: A run's folder, whose last checkpoint is taken; a SavedModel's; or a `.keras` file of a GAN.

    Raises:
        UsageError: If it is none of these.
        CheckpointError: If the run has no checkpoint.
    """
    folder = local_path(path)
    data: dict[str, Any] = {}
    source: Source
    if (folder / "run.json").is_file():
        run = Run.existing(folder)
        source, data = run.restored_gan(), run.record["data"]
        facts = source.describe()
    elif folder.suffix == ".keras":
        source = open_source(folder)
        facts = source.describe() if source.compiled else {"model": type(source).__name__, "step": source.step}
    else:
        try:
            source = open_source(folder)
        except UsageError as error:
            raise UsageError(
                f"`init_from={path}` must be a run's folder, that of an exported model such as saved_models/mnist/1, "
                f"or a .keras file of a GAN. {error}"
            ) from error
        logging.warning(PROGRAM, f"`init_from={path}`")
        facts, data = source.facts, carded(folder)
    known = {"data": data.get("name", "not recorded"), "licence": data.get("licence", "not recorded")}
    return source, {"source": str(path), "model": facts["model"], "step": facts["step"], **known}


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
    shapes_of(facts)  # refuses attributes that are none
    if not isinstance(record.get("rollbacks", []), list):
        raise ValueError("its 'rollbacks' is not a list")
    return record
