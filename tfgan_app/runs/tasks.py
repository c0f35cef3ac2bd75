"""What a run's model is scored by and shows: all that differs between drawing samples and translating pictures."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfgan_app.base import pictures
from tfgan_app.data import ImageSet, PairSet
from tfgan_app.gan import GAN
from tfgan_app.metrics import L1, PSNR, FrechetDistance
from tfgan_app.metrics.base import ImageMetric
from tfgan_app.metrics.extractors import FeatureExtractor
from tfgan_app.metrics.patches import has_patches
from tfgan_app.study import receipts
from tfgan_app.study.collapse import shrunk
from tfgan_app.study.fakes import Fakes, RelabelledFakes, SampledFakes, relabelled
from tfgan_app.study.translation_report import triptychs
from tfgan_app.study.translation_scores import (
    Translated,
    applicable_translation,
    build_translation_metrics,
    score_translation,
)
from tfgan_app.translation import TranslationGAN

__all__ = ["Drawing", "Relabelling", "Task", "Translating", "task_of"]

# Images that samples are held against.
_GUARD_IMAGES = 500
# Pixels of a batch that is scored.
_PIXELS = 2**22
# Pictures that an epoch shows what became of.
_SHOWN = 8


class Task:
    """What a run does to see how its model fares.

    Args:
        train: The training images or pairs.
        test: Those scored on.
        extractor: Whose features scores compare, None where there is none.
        scored: Whether samples are scored where there is none; translations are always.

    Attributes:
        monitor: The log that is lowest in the best epoch; None where nothing is scored.
        instead: What scores compare where there is no extractor, if a user should know.
    """

    monitor: str | None
    instead = ""

    def __init__(self, train: Any, test: Any, extractor: FeatureExtractor | None, scored: bool = True):
        self.train, self.test, self.extractor = train, test, extractor

    def metrics(self, num: int) -> list[ImageMetric]:
        """Returns what validation on `num` images computes."""
        raise NotImplementedError

    def validation(self, num: int) -> tf.data.Dataset:
        """Returns the batches of validation."""
        raise NotImplementedError

    def guarded(self) -> tuple[np.ndarray, Callable[[Any], np.ndarray] | None]:
        """Returns what `CollapseGuard` compares: real samples, and what makes the fakes beside them."""
        raise NotImplementedError

    def picture(self, gan: Any) -> np.ndarray:
        """Returns a picture of what a model does, uint8 `(height, width, channels)`."""
        raise NotImplementedError

    def score(self, gan: Any, num: int, facts: dict[str, Any], say: Callable[[str], object]) -> receipts.Receipt:
        """Returns the receipt of the trained model, scored on `num` images of `test`."""
        raise NotImplementedError


class Drawing(Task):
    """A GAN that draws samples, compared with real images by an extractor's features, or by patches of images."""

    train: ImageSet
    test: ImageSet
    instead = "patches of images"

    def __init__(self, train: ImageSet, test: ImageSet, extractor: FeatureExtractor | None, scored: bool = True):
        super().__init__(train, test, extractor, scored)
        by_patches = scored and has_patches(test.image_shape)
        self._names = ["fd"] if extractor else ["patch_swd"] if by_patches else []
        self.monitor = f"val_{self._names[0]}" if self._names else None

    def metrics(self, num: int) -> list[ImageMetric]:
        if self.extractor:
            return [FrechetDistance(self.extractor, reference=self.validation(num))]
        return [receipts.METRICS[name](None, self.test, min(num, receipts.STORED)) for name in self._names]

    def validation(self, num: int) -> tf.data.Dataset:
        return self.test.sample(num).in_order(250)

    def guarded(self) -> tuple[np.ndarray, Callable[[Any], np.ndarray] | None]:
        return self.train.sample(_GUARD_IMAGES).first(_GUARD_IMAGES)[0], None

    def picture(self, gan: GAN) -> np.ndarray:
        columns = pictures.columns(gan.num_classes)
        return gan.picture(8 * columns, columns)

    def score(self, gan: GAN, num: int, facts: dict[str, Any], say: Callable[[str], object]) -> receipts.Receipt:
        return self._receipt(SampledFakes(gan, num), num, {**facts, "seed": 0}, say)

    def _receipt(self, fakes: Fakes, num: int, facts: dict[str, Any], say: Callable[[str], object]) -> receipts.Receipt:
        metrics = receipts.build_metrics(self._names, self.extractor, self.test, fakes, num)
        return receipts.score(fakes, self.test, metrics, num_images=num, facts=facts, say=say)


class Translating(Task):
    """A translator, compared with the truth where it is known, and else with pictures of the other side.

    Where no extractor is there, two sides are compared by their pictures shrunk to 8x8, so that there is a best epoch.
    """

    train: PairSet
    test: PairSet

    def __init__(self, train: PairSet, test: PairSet, extractor: FeatureExtractor | None, scored: bool = True):
        super().__init__(train, test, extractor, scored)
        self.monitor = "val_fd" if extractor or not train.paired else "val_mae"
        self._seen = extractor or (None if train.paired else shrunk(train.target_shape))

    def metrics(self, num: int) -> list[ImageMetric]:
        known: list[ImageMetric] = [L1(), PSNR()] if self.test.paired else []
        return [*known, *([FrechetDistance(self._seen)] if self._seen else [])]

    def validation(self, num: int) -> tf.data.Dataset:
        return self.test.sample(num).in_order(_batch(self.test))

    def guarded(self) -> tuple[np.ndarray, Callable[[TranslationGAN], np.ndarray]]:
        num = max(2, min(_GUARD_IMAGES, 2**25 // int(np.prod(self.train.target_shape))))
        sources, targets = self.train.sample(num).first(num)

        def translated(gan: TranslationGAN) -> np.ndarray:
            decoded = np.asarray(gan.source.decode(sources))
            return np.asarray(gan.target.encode(gan.translate(decoded)))

        return targets, translated

    def picture(self, gan: TranslationGAN) -> np.ndarray:
        return triptychs(list(self._shown(gan)))

    def _shown(self, gan: TranslationGAN) -> Iterator[Translated]:
        num = _SHOWN // len(gan.ways)
        sources, targets = self.test.sample(num).first(num)
        for way in gan.ways:
            given, known = (sources, targets) if way == gan.ways[0] else (targets, sources)
            takes, makes = gan.modality_of(way, "source"), gan.modality_of(way, "target")
            made = gan.translate(np.asarray(takes.decode(given)), way=way)
            for index, picture in enumerate(made):
                truth = np.asarray(makes.store(known[index])) if self.test.paired else None
                output = np.asarray(makes.store(makes.encode(picture)))
                yield Translated(str(index), np.asarray(takes.store(given[index])), output, truth, {})

    def score(
        self, gan: TranslationGAN, num: int, facts: dict[str, Any], say: Callable[[str], object]
    ) -> receipts.Receipt:
        names = [name for name in applicable_translation(gan, self.test, self._seen) if not name.startswith("kd")]
        metrics = build_translation_metrics(names, gan, self.test, self._seen, num)
        return score_translation(gan, self.test, metrics, num_images=num, facts=facts, say=say)


class Relabelling(Drawing):
    """A translator between the classes of images, compared with real images of the classes that it is told."""

    def picture(self, gan: Any) -> np.ndarray:
        images, _ = self.test.sample(_SHOWN).first(_SHOWN)
        num = gan.num_classes
        rows = [images, *(relabelled(gan, images, np.full(len(images), label)) for label in range(num))]
        cells = np.asarray(gan.target.store(np.concatenate(np.stack(rows, axis=1))))
        names = gan.class_names or [str(label) for label in range(num)]
        return pictures.titled(pictures.tile(cells, num + 1), ["source", *names])

    def guarded(self) -> tuple[np.ndarray, Callable[[Any], np.ndarray]]:
        images, labels = self.train.sample(_GUARD_IMAGES).first(_GUARD_IMAGES)
        assert labels is not None
        return images, lambda gan: relabelled(gan, images, (labels + 1) % gan.num_classes)

    def score(self, gan: Any, num: int, facts: dict[str, Any], say: Callable[[str], object]) -> receipts.Receipt:
        return self._receipt(RelabelledFakes(gan, self.test.sample(num)), num, facts, say)


def _batch(pairs: PairSet) -> int:
    return max(1, min(250, _PIXELS // int(np.prod(pairs.target_shape))))


def task_of(model: type, train: Any, test: Any, extractor: FeatureExtractor | None, scored: bool = True) -> Task:
    """Returns what a run of a model does; arguments as in `Task`."""
    kind = getattr(model, "data", None)
    task = Drawing if kind is None else Relabelling if kind == "labelled" else Translating
    return task(train, test, extractor, scored)
