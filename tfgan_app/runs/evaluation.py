"""Scores a run, a SavedModel or an array of images against real ones, with a receipt."""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tfgan_app import data
from tfgan_app.base.errors import DataError, UsageError
from tfgan_app.base.files import PROGRAM, reason, require_writable
from tfgan_app.base.table import takes
from tfgan_app.conditions import Attributes
from tfgan_app.data import ImageSet, PairSet
from tfgan_app.data.trees import listed
from tfgan_app.export import open_saved
from tfgan_app.metrics.base import ImageMetric
from tfgan_app.metrics.extractors import FeatureExtractor
from tfgan_app.runs.build import Dataset, open_extractor, open_split
from tfgan_app.runs.record import Run
from tfgan_app.runs.settings import SOURCE, Scoring, Settings
from tfgan_app.sampler import Sampler
from tfgan_app.study import receipts
from tfgan_app.study.collapse import shrunk
from tfgan_app.study.fakes import ArrayFakes, RelabelledFakes, SampledFakes
from tfgan_app.study.memorisation import examine
from tfgan_app.study.report import PAGE, write_report
from tfgan_app.study.translation_report import Extremes, write_translation_report
from tfgan_app.study.translation_scores import (
    applicable_translation,
    build_translation_metrics,
    inapplicable_translation,
    score_translation,
)

__all__ = ["Evaluated", "evaluate"]

# What a GAN is scored by where nothing else is asked for, with a feature extractor and without one.
_BY_FEATURES, _BY_IMAGES = ("fd", "kd", "precision", "density"), ("patch_swd",)
# Images of each kind in a report.
_REPORTED = 1000


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """What an evaluation leaves.

    Attributes:
        receipt: The scores, and what was compared with what.
        path: Where the receipt is, None where it could not be written.
        report: The report's page, None where none was asked for or it could not be written.
    """

    receipt: dict[str, Any]
    path: pathlib.Path | None
    report: pathlib.Path | None


@takes(Scoring)
def evaluate(
    *,
    say: Callable[[str], object] | None = None,
    progress: Callable[[str], object] | None = None,
    **settings: Any,
) -> Evaluated:
    """Scores a run, a SavedModel or images of any generator: `python -m tfgan_app.evaluate` as a function.

    What fails after the first score costs that alone: a metric or a part of the report is left out, a file that cannot
    be written is warned of, and the receipt is returned. `tfgan_app.study.receipts.compare` compares two receipts.

    Args:
        say: Called with each line of `describe_score` as soon as it is known, such as `print`.
        progress: Called with a line after each batch and before each metric's result.
        **settings: What to score and how, as below: one of `run`, `saved_model` and `images`.

    Returns:
        An `Evaluated`.

    Raises:
        UsageError: For settings that cannot be carried out, or images of which no metric can be computed.
        DataError: If the real images cannot be used.
        CheckpointError: If the run has no such checkpoint.
    """
    asked = Scoring(**settings)
    source = _source(asked)
    path = pathlib.Path(asked.out or source.receipt)
    require_writable("out", path)
    if asked.report is not None:
        require_writable("report", pathlib.Path(asked.report) / PAGE)
    real = source.open_real()
    if remarks := real.remarks():
        logging.warning("%s", remarks)
    if isinstance(real, PairSet):
        return _evaluate_translator(asked, source, real, path, say, progress)
    _check_classes(source.sampler, real)
    extractor, why = open_extractor(asked, real)
    if why and asked.metrics is None:
        logging.warning("%s: scores compare patches of images. Name one with `extractor`, such as inception.", why)
    train = None if asked.report is None else _open_train(source)
    num_images = min(num for num in (asked.num_images, source.num_images, real.num_images) if num is not None)
    fakes = source.fakes(num_images, real)
    try:
        metrics, left_out = _metrics(asked.metrics, extractor, real, fakes, num_images)
        receipt = receipts.score(
            fakes,
            real,
            metrics,
            batch_size=asked.batch_size,
            num_images=num_images,
            facts=source.facts,
            left_out=left_out,
            progress=progress,
            say=say,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    written = _written(path, receipt)
    page = None
    if asked.report is not None:
        page = _report(asked.report, source, real, train, extractor, receipt)
        written = _written(path, receipt)
    return Evaluated(receipt, written, page)


def _evaluate_translator(
    asked: Scoring,
    source: "_Source",
    pairs: PairSet,
    path: pathlib.Path,
    say: Callable[[str], object] | None,
    progress: Callable[[str], object] | None,
) -> Evaluated:
    """Scores translations of pairs, or of two sides, beside a way that needs no training."""
    translator, (extractor, _) = source.sampler, open_extractor(asked, pairs)
    names = asked.metrics or ("all",)
    without = inapplicable_translation(translator, pairs, extractor)
    chosen = applicable_translation(translator, pairs, extractor) if names == ("all",) else names
    left_out = {} if names == ("all",) else {name: without[name] for name in names if name in without}
    extremes = Extremes()
    try:
        metrics = build_translation_metrics(
            [name for name in chosen if name not in left_out], translator, pairs, extractor
        )
        receipt = score_translation(
            translator,
            pairs,
            metrics,
            batch_size=asked.batch_size,
            num_images=asked.num_images,
            seed=asked.seed,
            facts=source.facts,
            left_out=left_out,
            progress=progress,
            say=say,
            watch=extremes,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    page = None
    if asked.report is not None:
        title = f"{receipt['fake']['source']} on {pairs.name} {pairs.split}"
        try:
            page = write_translation_report(
                asked.report, title=title, receipt=receipt, extremes=extremes, history=source.history
            )
        except (OSError, *receipts.FAILURES) as error:
            logging.warning("The report cannot be written: %s.", receipts.why(error))
    return Evaluated(receipt, _written(path, receipt), page)


def _check_classes(sampler: Any, real: ImageSet) -> None:
    """Refuses to compare class by class where the classes of the two sides are not the same ones."""
    drawn, there = getattr(sampler, "class_names", None), real.class_names
    if not drawn or not there or not getattr(sampler, "supervised", True) or drawn == there:
        return
    raise UsageError(
        f"`dataset={real.name}` has the classes {listed(list(there))}, the generator draws {listed(list(drawn))}: they "
        "must be the same in the same order, as fakes are drawn with the labels of the real images."
    )


def _metrics(
    asked: tuple[str, ...] | None, extractor: FeatureExtractor | None, real: ImageSet, fakes: Any, num_images: int
) -> tuple[list[ImageMetric], dict[str, str]]:
    """Returns the metrics that were asked for, and those of them that cannot be had, with the reasons."""
    default = _BY_FEATURES if extractor else _BY_IMAGES
    names = receipts.applicable(extractor, real, fakes) if asked == ("all",) else asked or default
    left_out = {name: text for name, text in receipts.inapplicable(extractor, real, fakes).items() if name in names}
    metrics = []
    for name in names:
        if name in left_out:
            continue
        try:
            metrics += receipts.build_metrics([name], extractor, real, fakes, num_images)
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            left_out[name] = receipts.why(error)
    return metrics, left_out


def _written(path: pathlib.Path, receipt: dict[str, Any]) -> pathlib.Path | None:
    try:
        return receipts.write_receipt(path, receipt)
    except OSError as error:
        logging.warning("The receipt cannot be written: %s.", reason(error))
        return None


def _open_train(source: "_Source") -> Dataset | None:
    """Opens the training images for a report; None, with a warning, where they are gone: scores do not need them."""
    try:
        return source.open_train()
    except DataError as error:
        logging.warning("The report will show no nearest training images: %s", error)
        return None


class _Source:
    """Where fakes come from.

    Attributes:
        asked: What is to be scored.
        facts: What the receipt says about the fakes.
        receipt: Where it goes by default.
        num_images: How many there are, None if they can be drawn at will.
        sampler: What draws them, None where they are drawn already.
        history: Path of a run's `metrics.csv`, None where there is no run.
    """

    asked: Scoring
    facts: dict[str, Any]
    receipt: pathlib.Path
    num_images: int | None = None
    sampler: Any = None
    history: pathlib.Path | None = None

    def fakes(self, num_images: int, real: ImageSet) -> Any:
        """Returns so many fakes as `tfgan_app.study.receipts.score` takes them, to stand beside the real ones."""
        if self._kind == "labelled":
            return RelabelledFakes(self.sampler, real.sample(num_images))
        return SampledFakes(self.sampler, num_images, self.asked.seed, self.asked.truncation)

    def open_train(self) -> Dataset | None:
        """Opens the images that the GAN was trained on, None where nothing tells which."""
        split = self.asked.train_split
        return None if split is None else open_split(self._asked_for(Settings()), split, self._kind, self._attributes)

    def open_real(self) -> Dataset:
        """Opens the real images to compare with."""
        return open_split(self._asked_for(Settings()), self.asked.split or "test", self._kind, self._attributes)

    @property
    def _attributes(self) -> Attributes | None:
        """What the sampler is told, by which real images are then told as those of training were."""
        return getattr(self.sampler, "attributes", None)

    @property
    def _kind(self) -> str:
        """What the sampler is compared with: images, or the pairs or sides that a translator learnt from."""
        kind = getattr(self.sampler, "data", "images")
        if self.asked.truth and kind != "sides":
            raise UsageError("`truth=True` is for translators that learnt from two sides: others know it anyway.")
        return "pairs" if self.asked.truth else kind

    def _asked_for(self, settings: Settings) -> Settings:
        """Returns settings with those about images that were given in place of their own."""
        given = {name: getattr(self.asked, name) for name in SOURCE}
        return dataclasses.replace(settings, **{name: value for name, value in given.items() if value is not None})

    def _drawn(self) -> dict[str, Any]:
        return {"seed": self.asked.seed, "truncation": self.asked.truncation}


class _OfRun(_Source):
    def __init__(self, asked: Scoring, directory: str) -> None:
        self.asked, self.run = asked, Run.existing(directory)
        gan = self.sampler = self.run.restored_gan(asked.checkpoint)
        if asked.raw:
            gan.ema_generator.set_weights(gan.generator.get_weights())
        self.facts = {
            "source": str(self.run.directory),
            "step": gan.step,
            "checkpoint": str(asked.checkpoint),
            "weights": "raw" if asked.raw else "EMA",
            **self._drawn(),
        }
        suffix = "_best" if asked.checkpoint == "best" else ""
        suffix += "_raw" if asked.raw else ""
        suffix += f"_truncation_{asked.truncation:g}" if asked.truncation is not None else ""
        self.receipt = self.run.directory / "scores" / f"step_{gan.step:08d}{suffix}.json"
        self.history = self.run.directory / "metrics.csv"

    def open_train(self) -> Dataset | None:
        settings, dataset = self.run.settings, self.asked.dataset
        if dataset is None or not os.path.isabs(settings.dataset) or os.path.exists(settings.dataset):
            return self.run.open_split(self.asked.train_split)
        # They may have gone to where the real ones are.
        images = self.run.open_split(self.asked.train_split, dataclasses.replace(settings, dataset=dataset))
        if self.asked.train_split is None and images.fingerprint != self.run.record["data"]["fingerprint"]:
            logging.warning("No nearest training images: %s is gone, and %s holds others.", settings.dataset, dataset)
            return None
        return images

    def open_real(self) -> Dataset:
        """Opens the images that the run was scored on, changed by what is given."""
        settings, split = self._asked_for(self.run.settings), self.asked.split or self.run.record["eval_split"]
        if self.asked.dataset is not None or self.asked.truth:
            return open_split(settings, split, self._kind, self._attributes)
        return self.run.open_split(split, settings)


class _OfSavedModel(_Source):
    def __init__(self, asked: Scoring, folder: str) -> None:
        logging.warning(PROGRAM, f"`saved_model={folder}`")
        self.asked, self.sampler = asked, open_saved(folder)
        self.facts = {"source": folder, "step": self.sampler.facts["step"], "weights": "EMA", **self._drawn()}
        self.receipt = pathlib.Path("scores") / ("_".join(pathlib.Path(folder).absolute().parts[-2:]) + ".json")
        if self._kind in ("pairs", "sides") and asked.crop is None and asked.image_size is None:
            # As in training: pictures of other sizes are then no matter.
            height, width, _ = self.sampler.target.shape
            self.asked = dataclasses.replace(asked, crop=min(height, width))


class _OfImages(_Source):
    def __init__(self, asked: Scoring, path: str) -> None:
        depth = asked.depth or 8
        # Of 16 bits, fakes need not use all levels.
        value_range = (0, 65535) if depth == 16 else None
        self.asked, self.images = asked, data.open_images(path, depth=depth, value_range=value_range)
        self.num_images = self.images.num_images
        self.facts = {
            "source": path,
            "fingerprint": self.images.fingerprint,
            "num_images": self.images.num_images,
            "chosen": self.images.chosen,
        }
        self.receipt = pathlib.Path("scores") / f"{pathlib.PurePath(path).stem}.json"

    def fakes(self, num_images: int, real: ImageSet) -> Any:
        chosen = self.images.sample(num_images)
        self.facts["chosen"] = chosen.chosen
        return ArrayFakes(chosen)

    def open_real(self) -> Dataset:
        real = super().open_real()
        if real.image_shape != self.images.image_shape:
            raise UsageError(f"`images` are {self.images.image_shape}, those of {real.name} {real.image_shape}.")
        return real


def _source(asked: Scoring) -> _Source:
    """Returns the one source that was asked for."""
    kinds: dict[str, Callable[[Scoring, str], _Source]]
    kinds = {"run": _OfRun, "saved_model": _OfSavedModel, "images": _OfImages}
    given = [name for name in kinds if getattr(asked, name) is not None]
    if len(given) != 1:
        raise UsageError(f"give one of `run`, `saved_model` and `images`. Received: {given or 'none'}")
    (name,) = given
    if name == "images" and asked.truncation is not None:
        raise UsageError("`truncation` has no meaning for `images`: they are drawn already")
    if name != "run" and asked.dataset is None:
        raise UsageError(f"`{name}` needs `dataset`, the real images to compare with")
    return kinds[name](asked, getattr(asked, name))


def _report(
    folder: str,
    source: _Source,
    real: ImageSet,
    train: Any,
    extractor: FeatureExtractor | None,
    receipt: dict[str, Any],
) -> pathlib.Path | None:
    """Writes the report's page and returns its path; the receipt gets what was found of memorised images."""
    num = min(_REPORTED, receipt["fake"]["used"])
    try:
        images, labels = real.sample(num).first(num)
        # What the page shows first is of all classes then.
        order = np.random.RandomState(0).permutation(num)
        images, labels = images[order], None if labels is None else labels[order]
        samples = np.asarray(source.fakes(num, real).batch(0, num, labels))
        samples = samples[order] if source.sampler is None else samples
        memorisation = None
        if train is not None:
            try:
                memorisation = examine(samples, images, train, extractor or shrunk(real.image_shape))
                receipt["memorisation"] = memorisation.describe()
            except receipts.FAILURES as error:
                receipt["left_out"] = {**receipt.get("left_out", {}), "memorisation": receipts.why(error)}
        return write_report(
            folder,
            title=f"{receipt['fake']['source']} against {real.name} {real.split}",
            receipt=receipt,
            samples=samples,
            real=images,
            modality=real.modality,
            extractor=extractor,
            memorisation=memorisation,
            sampler=source.sampler if isinstance(source.sampler, Sampler) else None,
            history=source.history,
        )
    except (OSError, *receipts.FAILURES) as error:
        logging.warning("The report cannot be written: %s.", receipts.why(error))
        return None
