"""Scores of translators: what they make of sources, beside the truth, and beside a way that needs no training."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.data import PairSet
from tfgan_app.data.degradations import parse_degradation
from tfgan_app.metrics.base import ImageMetric
from tfgan_app.metrics.extractors import FeatureExtractor
from tfgan_app.metrics.fidelity import L1, PSNR, SSIM, Back, CycleError, PerceptualDistance, PictureMetric
from tfgan_app.metrics.frechet import FrechetDistance
from tfgan_app.metrics.kernel import KernelDistance
from tfgan_app.modalities.images import to_float, to_uint8
from tfgan_app.observation import Observation
from tfgan_app.study.receipts import STORED, Measuring, Receipt, check_names
from tfgan_app.translator import Translator

__all__ = [
    "TRANSLATION_METRICS",
    "Translated",
    "applicable_translation",
    "build_translation_metrics",
    "inapplicable_translation",
    "score_translation",
]

# What `build_translation_metrics` makes by name: functions of the extractor, how many features to keep, and the border.
# In the order in which they matter: the first that applies is what a run is judged by.
TRANSLATION_METRICS: dict[str, Callable[..., ImageMetric]] = {
    "psnr": lambda extractor, num, border: PSNR(border=border),
    "ssim": lambda extractor, num, border: SSIM(border=border),
    "psnr_y": lambda extractor, num, border: PSNR("y", border),
    "ssim_y": lambda extractor, num, border: SSIM("y", border),
    "mae": lambda extractor, num, border: L1(border=border),
    "psnr_hole": lambda extractor, num, border: PSNR(region="hole"),
    "mae_hole": lambda extractor, num, border: L1(region="hole"),
    "perceptual_distance": lambda extractor, num, border: PerceptualDistance(extractor),
    "fd": lambda extractor, num, border: FrechetDistance(extractor, groups=10),
    "kd": lambda extractor, num, border: KernelDistance(extractor, num_images=num),
    "cycle_mae": lambda extractor, num, border: CycleError(),
}
TRANSLATION_METRICS |= {
    f"{name}_back": lambda *given, make=TRANSLATION_METRICS[name]: Back(make(*given))
    for name in ("psnr", "ssim", "mae", "perceptual_distance", "fd", "kd", "cycle_mae")
}
# Whose values of each picture a receipt keeps.
_KEPT = ("psnr", "mae", "cycle_mae")
# Pixels of targets that are translated at a time, where that is more than one picture.
_PIXELS = 2**22


@dataclasses.dataclass(frozen=True)
class Translated:
    """A picture and what became of it, uint8 `(height, width, channels)` each.

    Attributes:
        name: The name of its file, or its number.
        source: What was given.
        output: What the translator made of it.
        target: What it should have become, None where nobody knows.
        values: The picture's own values of metrics, by name.
    """

    name: str
    source: np.ndarray
    output: np.ndarray
    target: np.ndarray | None
    values: dict[str, float]


def inapplicable_translation(
    translator: Translator, pairs: PairSet, extractor: FeatureExtractor | None = None
) -> dict[str, str]:
    """Returns the metrics that a translator, a `PairSet` and an extractor do not allow: what each needs, by name."""
    depth, target_depth = pairs.source_shape[-1], pairs.target_shape[-1]
    needs = [
        (("psnr", "ssim", "psnr_y", "ssim_y", "mae", "perceptual_distance"), pairs.paired, "it needs pairs"),
        (("psnr_y", "ssim_y"), target_depth == 3, "it needs RGB targets"),
        (
            ("psnr_hole", "mae_hole"),
            pairs.paired and depth == target_depth + 1,
            "it needs sources with holes, by an alpha channel",
        ),
        (("perceptual_distance", "fd", "kd"), extractor is not None, "it needs a feature extractor"),
        (("cycle_mae",), _two_ways(translator), "it needs a translator with a way back"),
    ]
    found: dict[str, str] = {}
    for name in TRANSLATION_METRICS:
        one_way = name.removesuffix("_back")
        if name != one_way and not _two_ways(translator):
            found[name] = "it needs a translator with a way back"
        for names, met, text in needs:
            if one_way in names and not met:
                found.setdefault(name, text)
    return found


def applicable_translation(
    translator: Translator, pairs: PairSet, extractor: FeatureExtractor | None = None
) -> list[str]:
    """Returns the names of the metrics that a translator, a `PairSet` and an extractor allow."""
    without = inapplicable_translation(translator, pairs, extractor)
    return [name for name in TRANSLATION_METRICS if name not in without]


def build_translation_metrics(
    names: Iterable[str],
    translator: Translator,
    pairs: PairSet,
    extractor: FeatureExtractor | None = None,
    num_images: int = STORED,
) -> list[ImageMetric]:
    """Returns metrics by their names in `TRANSLATION_METRICS`.

    Where pictures are enlarged, those of pixels leave out as many at each edge as the factor, as papers do.

    Raises:
        ValueError: For one that is unknown or does not apply.
    """
    names = list(names)
    check_names(names, TRANSLATION_METRICS, inapplicable_translation(translator, pairs, extractor))
    border = translator.scale if translator.scale > 1 else 0
    return [TRANSLATION_METRICS[name](extractor, min(num_images, STORED), border) for name in names]


def score_translation(
    translator: Translator,
    pairs: PairSet,
    metrics: Sequence[ImageMetric],
    *,
    batch_size: int = 16,
    num_images: int | None = None,
    seed: int = 0,
    label: int | str | None = None,
    facts: dict[str, Any] | None = None,
    left_out: dict[str, str] | None = None,
    progress: Callable[[str], object] | None = None,
    say: Callable[[str], object] | None = None,
    watch: Callable[[Translated], object] | None = None,
) -> Receipt:
    """Scores translations.

    Pairs are translated as whole pictures, whatever their sizes. Of two sides, which have no truth, it is the middles
    in the shape of training, as many of each side. A metric that fails is left out, with the reason under
    `"left_out"`.

    Args:
        translator: A `tfgan_app.translator.Translator`.
        pairs: The `tfgan_app.data.PairSet` of sources and targets.
        metrics: A list of `tfgan_app.metrics.ImageMetric`, of one extractor.
        batch_size: Pictures at a time; of large ones, fewer.
        num_images: How many pairs to use, `pairs.sample` of them; all by default.
        seed: Of what the translator draws, as dropout.
        label: The domain to translate to, of a translator that is told it.
        facts: What the receipt repeats about the translations (source, step, weights).
        left_out: Metrics that were asked for and are not among `metrics`: why not, by name.
        progress: Called with a line after each batch and before each metric's result.
        say: Called with each line of `describe_score` as soon as it is known.
        watch: Called with the `Translated` of each picture.

    Returns:
        The receipt: a dict that JSON takes, with numbers by name under `"scores"`; under `"baseline"` the name of a way
        that needs no training, and its `"scores"`; and under `"pictures"` a list of names and lists of values by
        metric.

    Raises:
        UsageError: If translations have another shape than the targets.
        ValueError: If no metric can be computed, with the reasons.
    """
    chosen = _chosen(pairs, num_images)
    name, baseline = _baseline(pairs)
    measuring = Measuring(metrics, left_out, progress, say, name)
    back, cycle = _ways(metrics), _cycles(metrics)
    translate = functools.partial(_translate, translator, seed, label)
    pictures: dict[str, list[Any]] = {"name": []}
    for names, source, target in _batches(chosen, batch_size):
        output = translate(to_float(source))
        if pairs.paired and output.shape != target.shape:
            raise UsageError(
                f"The translator makes pictures of shape {tuple(output.shape[1:])} of sources of {source.shape[1:]}. "
                f"The targets of {pairs.name} are {target.shape[1:]}"
            )
        batch = _observation(translate, to_float(source), to_float(target), output, back, cycle)
        beside = None if baseline is None else _beside(batch, np.stack([baseline(x) for x in source]))
        measuring.observe(batch, beside)
        if not measuring.left:
            break
        values = _values(measuring.left, batch)
        pictures["name"] += names
        for key, column in values.items():
            pictures.setdefault(key, []).extend(column)
        if watch is not None:
            _show(watch, names, source, output, target if pairs.paired else None, values)
        measuring.progress(f"{len(pictures['name'])}/{chosen.num_images} pictures")
    used = len(pictures["name"])
    left = ["name", *(metric.name for metric in measuring.left)]
    return measuring.receipt(
        {**pairs.describe(), "used": used, "chosen": chosen.chosen},
        {"used": used, "seed": seed, **({} if label is None else {"label": label}), **(facts or {})},
        **({"pictures": kept} if len(kept := {key: x for key, x in pictures.items() if key in left}) > 1 else {}),
    )


def _two_ways(translator):
    return "translate_back" in translator.ways


def _ways(metrics):
    return any(isinstance(metric, Back) for metric in metrics)


def _cycles(metrics):
    """Whether sources go there and back, and targets."""
    inner = [metric.metric for metric in metrics if isinstance(metric, Back)]
    return [any(isinstance(metric, CycleError) for metric in some) for some in (metrics, inner)]


def _chosen(pairs, num_images):
    num = num_images or pairs.num_images
    if not pairs.paired:
        # The smaller side would begin anew, and its pictures count twice.
        facts = pairs.describe()
        num = min(num, facts["num_sources"], facts["num_targets"])
    return pairs.sample(num)


def _batches(pairs, batch_size):
    """Yields names, sources and targets, uint8 `(batch, height, width, channels)`, as many as are alike in size."""
    if not pairs.paired:
        start = 0
        for source, target in pairs.pairs(batch_size):
            names = [str(number) for number in range(start, start + len(source))]
            start += len(source)
            yield names, np.asarray(to_uint8(source)), np.asarray(to_uint8(target))
        return
    waiting: list[Any] = []
    for name, source, target in pairs.whole():
        alike = not waiting or (source.shape, target.shape) == tuple(x.shape for x in waiting[0][1:])
        most = min(batch_size, max(1, _PIXELS // (target.shape[0] * target.shape[1])))
        if waiting and (not alike or len(waiting) >= most):
            yield _stacked(waiting)
            waiting = []
        waiting.append((name, source, target))
    if waiting:
        yield _stacked(waiting)


def _stacked(examples):
    names, *sides = zip(*examples, strict=True)
    return list(names), *map(np.stack, sides)


def _translate(translator, seed, label, pictures, way="translate"):
    """Translates a batch in the network's range."""
    labels = None if label is None else [label] * len(pictures)
    decoded = translator.translate((np.asarray(pictures) + 1.0) / 2.0, seed=seed, labels=labels, way=way)
    return tf.constant(decoded, tf.float32) * 2.0 - 1.0


def _observation(translate, source, target, output, back, cycle):
    there = translate(output, "translate_back") if cycle[0] else None
    other = None
    if back:
        home = translate(target, "translate_back")
        other = Observation(source, home, source=target, cycle=translate(home) if cycle[1] else None)
    return Observation(target, output, source=source, cycle=there, back=other)


def _baseline(pairs):
    """Returns what a translation without training is called, and a function that makes it of a source; or two None."""
    text = _resembled(pairs) if pairs.degrade is None else pairs.degrade
    if text is None:
        return None, None
    if not text:
        return "source", lambda source: source
    degradation = parse_degradation(text)
    return degradation.baseline_name, functools.partial(degradation.baseline, channels=pairs.target_shape[-1])


def _resembled(pairs):
    """Returns the degradation that stored pairs look as if made by, as `degrade` names it; None where there is none."""
    (side, _, depth), (target_side, _, target_depth) = pairs.source_shape, pairs.target_shape
    scale, rest = divmod(target_side, side)
    colours = {(1, 3): ["grey"], (target_depth + 1, target_depth): ["mask(centre)"], (target_depth, target_depth): []}
    if rest or not 1 <= scale <= 16 or (depth, target_depth) not in colours:
        return None
    smaller = [f"shrink({scale})"] if scale > 1 else []
    return ", ".join(smaller + colours[depth, target_depth])


def _beside(batch, made):
    back = None
    if batch.back is not None and batch.back.fake.shape == batch.real.shape:
        back = batch.back.beside(batch.real)
    return batch.beside(to_float(made), back)


def _values(metrics, batch):
    """Returns the values of each picture by metric, of those that receipts keep."""
    kept = [metric for metric in metrics if isinstance(metric, PictureMetric) and metric.name in _KEPT]
    return {metric.name: [round(value, 6) for value in np.asarray(metric.values(batch)).tolist()] for metric in kept}


def _show(watch, names, source, output, target, values):
    stored = np.asarray(to_uint8(output))
    for index, name in enumerate(names):
        own = {key: column[index] for key, column in values.items()}
        watch(Translated(name, source[index], stored[index], None if target is None else target[index], own))
