"""Scores with receipts: what was measured, on what, with what."""

import contextlib
import datetime
import json
import math
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from tfgan_app.base.files import PathLike, check_object, read_object, reason, written_whole
from tfgan_app.base.versions import versions
from tfgan_app.data.image_set import ImageSet
from tfgan_app.metrics.accuracy_score import ClassificationAccuracyScore
from tfgan_app.metrics.base import KEPT, ImageMetric
from tfgan_app.metrics.classifier_score import ClassifierScore
from tfgan_app.metrics.extractors import FeatureExtractor
from tfgan_app.metrics.frechet import FrechetDistance, IntraClassFrechetDistance
from tfgan_app.metrics.kernel import KernelDistance
from tfgan_app.metrics.manifold import DensityCoverage, PrecisionRecall
from tfgan_app.metrics.patches import SIDE, PatchSlicedWasserstein, has_patches
from tfgan_app.metrics.path_length import PerceptualPathLength
from tfgan_app.metrics.sliced import SlicedWasserstein
from tfgan_app.observation import Observation
from tfgan_app.study.fakes import Fakes

__all__ = [
    "FAILURES",
    "METRICS",
    "STORED",
    "Measuring",
    "Receipt",
    "applicable",
    "build_metrics",
    "caution",
    "check_names",
    "compare",
    "describe_score",
    "inapplicable",
    "read_receipt",
    "score",
    "summary",
    "titles",
    "why",
    "write_receipt",
]

# What `score` returns: facts and numbers by name, as JSON takes them.
Receipt: TypeAlias = dict[str, Any]

# What `build_metrics` makes by name: functions of the extractor, the real images and how many of them.
METRICS = {
    "fd": lambda extractor, images, num: FrechetDistance(extractor, groups=10),
    "kd": lambda extractor, images, num: KernelDistance(extractor, num_images=num),
    "precision": lambda extractor, images, num: PrecisionRecall(extractor, num_images=num),
    "density": lambda extractor, images, num: DensityCoverage(extractor, num_images=num),
    "cs": lambda extractor, images, num: ClassifierScore(extractor, num_images=num),
    "swd": lambda extractor, images, num: SlicedWasserstein(extractor, num_images=num),
    "ppl": lambda extractor, images, num: PerceptualPathLength(extractor, num_images=num),
    "intra_fd": lambda extractor, images, num: IntraClassFrechetDistance(extractor, images.num_classes),
    "cas": lambda extractor, images, num: ClassificationAccuracyScore(
        images.image_shape, images.num_classes, num_images=num, depth=images.depth
    ),
    "patch_swd": lambda extractor, images, num: PatchSlicedWasserstein(images.image_shape, num_images=num),
}
# Those that look at images themselves.
_WITHOUT_EXTRACTOR = ("cas", "patch_swd")
# The most images that metrics which keep features look at, as their memory and time grow with it.
STORED = 10_000


def inapplicable(extractor: FeatureExtractor | None, images: ImageSet, fakes: Fakes) -> dict[str, str]:
    """Returns the metrics that an extractor, an `ImageSet` and fakes do not allow: what each needs, by its name."""
    logits, classes = extractor and extractor.num_logits, fakes.labelled and images.num_classes
    needs = [
        (extractor, [name for name in METRICS if name not in _WITHOUT_EXTRACTOR], "it needs a feature extractor"),
        (logits, ["cs"], "it needs an extractor with class logits"),
        (fakes.latent_dim, ["ppl"], "it needs a generator, not images that are drawn already"),
        (classes, ["intra_fd", "cas"], "it needs a conditional generator and labelled images"),
        (has_patches(images.image_shape), ["patch_swd"], f"it needs images of {SIDE}x{SIDE} pixels and more"),
    ]
    # Of several reasons the first stands.
    return {name: why for met, names, why in reversed(needs) if not met for name in names}


def applicable(extractor: FeatureExtractor | None, images: ImageSet, fakes: Fakes) -> list[str]:
    """Returns the names of the metrics that an extractor, an `ImageSet` and fakes allow."""
    without = inapplicable(extractor, images, fakes)
    return [name for name in METRICS if name not in without]


def build_metrics(
    names: Iterable[str], extractor: FeatureExtractor | None, images: ImageSet, fakes: Fakes, num_images: int
) -> list[ImageMetric]:
    """Returns metrics by their names in `METRICS`.

    Raises:
        ValueError: For one that is unknown or does not apply.
    """
    check_names(names := list(names), METRICS, inapplicable(extractor, images, fakes))
    return [METRICS[name](extractor, images, min(num_images, STORED)) for name in names]


def check_names(names: Iterable[str], known: Iterable[str], without: dict[str, str]) -> None:
    """Refuses names of metrics that are not known, or that do not apply, by the reasons `without` has for them.

    Raises:
        ValueError: For the first of them.
    """
    for name in names:
        if name not in known:
            raise ValueError(f"There is no metric {name}. Expected some of {', '.join(known)}")
        if name in without:
            raise ValueError(f"The metric {name} does not apply: {without[name]}")


def score(
    fakes: Fakes,
    images: ImageSet,
    metrics: Sequence[ImageMetric],
    *,
    batch_size: int = 250,
    num_images: int | None = None,
    facts: dict[str, Any] | None = None,
    left_out: dict[str, str] | None = None,
    progress: Callable[[str], object] | None = None,
    say: Callable[[str], object] | None = None,
) -> Receipt:
    """Scores generated images against a set of real ones.

    A metric that fails is left out, with the reason under `"left_out"`, and the others are reported.

    Args:
        fakes: A `SampledFakes` or `ArrayFakes` of `tfgan_app.study`, of as many as are used.
        images: The `tfgan_app.data.ImageSet` of real images.
        metrics: A list of `tfgan_app.metrics.ImageMetric`, of one extractor.
        batch_size: Images at a time.
        num_images: How many real images to use, `images.sample` of them; all by default.
        facts: What the receipt repeats about the fakes (source, step, weights, seed, truncation).
        left_out: Metrics that were asked for and are not among `metrics`: why not, by name.
        progress: Called with a line after each batch and before each metric's result.
        say: Called with each line of `describe_score` as soon as it is known.

    Returns:
        The receipt: a dict that JSON takes, with numbers by name under `"scores"`.

    Raises:
        ValueError: If no metric can be computed, with the reasons.
    """
    chosen = images.sample(num_images or images.num_images)
    measuring, done = Measuring(metrics, left_out, progress, say), 0
    for batch, labels in chosen.pairs(batch_size):
        real, begin = tf.constant(batch), done
        done += len(batch)
        observation = Observation(
            real,
            tf.constant(fakes.batch(begin, done, labels)),
            labels if fakes.labelled else None,
            _nearby(fakes, begin, done, labels) if fakes.latent_dim else None,
        )
        measuring.observe(observation)
        if not measuring.left:
            break
        measuring.progress(f"{done}/{chosen.num_images} images")
    return measuring.receipt(
        {**images.describe(), "used": done, "chosen": chosen.chosen}, {"used": done, **(facts or {})}
    )


class Measuring:
    """Metrics on their way to a receipt. One that fails is left out, and the others go on.

    Args:
        metrics: A list of `tfgan_app.metrics.ImageMetric`, of one extractor.
        left_out: As in `score`.
        progress: As in `score`.
        say: As in `score`.
        baseline: What a baseline is called that each metric measures beside; None for none.

    Attributes:
        left: The metrics that have not failed.
    """

    def __init__(
        self,
        metrics: Sequence[ImageMetric],
        left_out: dict[str, str] | None = None,
        progress: Callable[[str], object] | None = None,
        say: Callable[[str], object] | None = None,
        baseline: str | None = None,
    ):
        self.progress, self._say = progress or (lambda line: None), say or (lambda line: None)
        self.left, self._without = list(metrics), dict(left_out or {})
        self._extractor = next((metric.extractor.describe() for metric in metrics if metric.extractor), None)
        self._baseline = baseline
        # The same metrics of the baseline, by name; those that it cannot have are taken out.
        self._beside = {} if baseline is None else {metric.name: metric.copy() for metric in metrics}

    def observe(self, batch: Observation, beside: Observation | None = None) -> None:
        """Shows a batch to the metrics, and one of the baseline to theirs."""
        for metric in tuple(self.left):
            with self._leaving_out(metric):
                metric.observe(batch)
        for name, metric in tuple(self._beside.items()):
            try:
                if beside is not None:
                    metric.observe(beside)
            except FAILURES:
                del self._beside[name]

    def receipt(self, real: dict[str, Any], fake: dict[str, Any], **more: Any) -> Receipt:
        """Computes the scores and says each; returns the receipt.

        Args:
            real: What the receipt says of the real images, `used` among it.
            fake: Likewise of the fakes.
            **more: What else it says.

        Raises:
            ValueError: If no metric can be computed, with the reasons.
        """
        scores: dict[str, float] = {}
        receipt: Receipt = {"scores": scores, "metrics": [], "extractor": self._extractor, "real": real, "fake": fake}
        if self._baseline is not None:
            receipt["baseline"] = {"name": self._baseline, "scores": {}}
        for metric in tuple(self.left):
            self.progress(f"computing {metric.name}")
            with self._leaving_out(metric):
                found = _finite(metric)
                scores |= found
                receipt["metrics"].append(_facts(metric, fake["used"]))
                self._score_baseline(metric.name, receipt)
                for line in _lines({**receipt, "scores": found}):
                    self._say(line)
        if not scores:
            raise ValueError(f"No score can be computed. {'; '.join(reasons(self._without))}.")
        if self._without:
            receipt["left_out"] = self._without
        for line in _notes(receipt):
            self._say(line)
        measured = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        return receipt | more | {"versions": versions(), "measured": measured}

    def _score_baseline(self, name, receipt):
        if name in self._beside:
            with contextlib.suppress(*FAILURES):
                receipt["baseline"]["scores"] |= _finite(self._beside[name])

    @contextlib.contextmanager
    def _leaving_out(self, metric):
        """Takes a metric that fails from those left."""
        try:
            yield
        except FAILURES as error:
            self.left.remove(metric)
            self._without[metric.name] = why(error)


# What a score or a part of a report may fail by, while the others are as good as before.
FAILURES = (ArithmeticError, MemoryError, NotImplementedError, ValueError, tf.errors.OpError)


def why(error: BaseException) -> str:
    """Returns the reason that a part was left out for, as a line without its full stop."""
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
        return f"out of memory: {reason(error)}".rstrip(".")
    return reason(error).rstrip(".")


def _finite(metric):
    results = metric.results()
    found = {name: value for name, value in results.items() if math.isfinite(value)}
    # Of two images there is a score, and no error of it.
    if next(iter(results)) not in found:
        raise ValueError(f"it came to {next(iter(results.values()))}")
    return found


def _facts(metric, used):
    facts = {"name": metric.name, "metric": type(metric).__name__, "version": metric.version, **metric.settings()}
    return {**facts, "chosen": KEPT} if facts.get("num_images", used) < used else facts


def _nearby(fakes, start, stop, labels):
    return lambda epsilon: [tf.constant(samples) for samples in fakes.nearby(start, stop, labels, epsilon)]


# What scores are called where they are printed, in that order.
_TITLES = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "psnr_y": "PSNR of Y",
    "ssim_y": "SSIM of Y",
    "mae": "Mean absolute error",
    "psnr_hole": "PSNR in holes",
    "mae_hole": "Mean absolute error in holes",
    "perceptual_distance": "Perceptual distance",
    "fd": "Frechet distance",
    "kd": "Kernel distance",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "cs": "Classifier score",
    "swd": "Sliced Wasserstein distance",
    "patch_swd": "Sliced Wasserstein distance of patches",
    "ppl": "Perceptual path length",
    "intra_fd": "Intra-class Frechet distance",
    "cas": "Classification accuracy score",
    "cycle_mae": "Cycle error",
}
# Those of pixels, whatever the extractor.
_OF_PIXELS = ("psnr", "ssim", "psnr_y", "ssim_y", "mae", "psnr_hole", "mae_hole", "cycle_mae", *_WITHOUT_EXTRACTOR)
# What they are measured in.
_UNITS = {"psnr": " dB", "psnr_y": " dB", "psnr_hole": " dB"}
# What they are called with the features for which those names were made.
_CANONICAL_TITLES = {"fd": "FID", "kd": "KID", "cs": "Inception score", "intra_fd": "Intra-class FID"}


def titles(receipt: Receipt) -> list[tuple[str, str]]:
    """Returns a receipt's scores as `(title, text)` pairs.

    The text has the unit, the uncertainty where there is one, and in brackets what a baseline comes to.
    """
    scores, baseline, found = receipt["scores"], receipt.get("baseline") or {"scores": {}}, []
    for name, (title, unit) in _titles(receipt).items():
        if name in scores:
            error = scores.get(f"{name}_error", scores.get(f"{name}_std"))
            text = f"{scores[name]:.4g}" + (f" ± {error:.2g}" if error is not None else "") + unit
            if name in baseline["scores"]:
                text += f" ({baseline['name']} {baseline['scores'][name]:.4g})"
            found.append((title, text))
    return found


def _titles(receipt):
    """Returns what scores are called, with their units, by name; those of the other direction at the end."""
    known = {**_TITLES, **(_CANONICAL_TITLES if _canonical(receipt) else {})}
    there = {name: (title, _UNITS.get(name, "")) for name, title in known.items()}
    return there | {f"{name}_back": (f"{title}, back", unit) for name, (title, unit) in there.items()}


def describe_score(receipt: Receipt) -> str:
    """Returns a receipt as lines: one a score, one on what was compared, and on what is missing or doubtful."""
    return "\n".join([*_lines(receipt), *_notes(receipt)])


def _lines(receipt):
    return [f"{title} {text}" for title, text in titles(receipt)]


def _notes(receipt):
    lines = [f"with {describe_protocol(receipt)}"]
    borders = sorted({metric["border"] for metric in receipt.get("metrics", ()) if metric.get("border")})
    if borders:
        lines.append(f"Pictures are compared without {' or '.join(map(str, borders))} pixels at each edge.")
    used = min(receipt["real"]["used"], receipt["fake"]["used"])
    if "fd" in receipt["scores"] and (warning := caution(receipt["extractor"]["feature_dim"], used)):
        lines.append(warning)
    if missing := receipt["scores"].get("intra_fd_left_out"):
        lines.append(f"The intra-class distance leaves out {missing:.0f} classes with fewer than 2 images.")
    return lines + [f"Left out: {line}." for line in reasons(receipt.get("left_out") or {})]


def reasons(left_out):
    """Returns what was left out and why, a clause for each."""
    return [f"{name}, as {text}" if text.startswith("it ") else f"{name}: {text}" for name, text in left_out.items()]


def summary(receipt: Receipt) -> dict[str, Any]:
    """Returns what a model card says of a receipt, by its first score; see `tfgan_app.export.model_card`."""
    known = _titles({})
    name = next(name for name in receipt["scores"] if name in known)
    title, _ = known[name]
    return {
        "dataset": receipt["real"]["name"],
        "metric": title if name.removesuffix("_back") in _OF_PIXELS else f"{title} ({receipt['extractor']['name']})",
        "type": title.lower().replace(",", "").replace(" ", "_"),
        "value": receipt["scores"][name],
        "text": f"{', '.join(_lines(receipt))} {'. '.join(note.rstrip('.') for note in _notes(receipt))}.",
    }


def caution(feature_dim: int, num_images: int) -> str | None:
    """Returns a warning where so few images make a Frechet distance meaningless, else None."""
    if num_images > feature_dim:
        return None
    return (
        f"Caution: {num_images} images do not determine the covariance of {feature_dim} features. The Frechet distance "
        "is far too high; compare it with no other number of images."
    )


def describe_protocol(receipt):
    """Returns what a receipt compared, and with what, as one line."""
    extractor, real, fake = receipt["extractor"], receipt["real"], receipt["fake"]
    stand_in = f", standing in for {real['fallback_for']}" if real["fallback_for"] else ""
    known = {key: value for key, value in fake.items() if value is not None and (key, value) != ("chosen", "all")}
    details = ", ".join(f"{key} {value}" for key, value in known.items() if key not in ("used", "num_images"))
    way = "" if _way(receipt) == "all" else f" ({_way(receipt)} of {real.get('num_images', 'more')})"
    # What translators are scored on is in pairs, or has two sides.
    what, made = {None: ("real images", "fakes"), True: ("pairs", "translations"), False: ("pictures", "translations")}[
        real.get("paired")
    ]
    way += f", {real['degrade']}" if real.get("degrade") else ""
    return (
        f"{_features(extractor, receipt)}{real['used']} {what} of {real['name']} {real['split']}{stand_in}{way}, "
        f"{fake['used']} {made} ({details})"
    )


def _features(extractor, receipt):
    if extractor is None:
        return ""
    facts = [(extractor["sha256"] or "in memory")[:12], extractor.get("resizer"), not _canonical(receipt) and "not FID"]
    return f"features of {extractor['name']} ({'; '.join(filter(None, facts))}): "


def _way(receipt):
    """Returns how a receipt's real images were chosen; earlier versions took the first."""
    real = receipt["real"]
    used = real.get("used")
    return real.get("chosen") or ("all" if used == real.get("num_images", used) else "the first")


def _canonical(receipt):
    # Receipts of earlier versions do not say: there was no such extractor.
    return bool(_at(receipt, ("extractor", "canonical")))


def write_receipt(path: PathLike, receipt: Receipt) -> pathlib.Path:
    """Writes a receipt as JSON and returns its path."""
    path = pathlib.Path(path)
    with written_whole(path) as partial:
        partial.write_text(json.dumps(receipt, indent=2) + "\n", encoding="utf-8")
    return path


def read_receipt(path: PathLike) -> Receipt:
    """Reads a receipt that `write_receipt` wrote.

    Raises:
        OSError: If there is no such file.
        ValueError: If it holds no receipt.
    """
    try:
        receipt = read_object(path, scores=dict, metrics=list, real=dict, fake=dict)
        for metric in receipt["metrics"]:
            check_object(metric, name=str)
        check_object(receipt.get("extractor") or {})
        check_object(receipt.get("left_out") or {})
        if not all(isinstance(value, (int, float)) for value in receipt["scores"].values()):
            raise ValueError("its scores are no numbers")
    except ValueError as error:
        raise ValueError(f"{path} is not a receipt: {error}") from error
    return receipt


# What two receipts must share for their numbers to be comparable, as paths into them.
_PROTOCOL = (
    ("extractor", "name"),
    ("extractor", "sha256"),
    ("extractor", "resizer"),
    ("real", "name"),
    ("real", "split"),
    ("real", "fingerprint"),
    ("real", "image_shape"),
    ("real", "source_shape"),
    ("real", "degrade"),
    ("real", "paired"),
    ("real", "used"),
    ("fake", "used"),
)


def compare(first: Receipt, second: Receipt) -> dict[str, tuple[float, float, float, float | None]]:
    """Compares two receipts.

    Returns:
        A dict by score of `(first, second, difference, uncertainty)`; the uncertainty is the standard error of the
        difference, None where a receipt states none.

    Raises:
        ValueError: If they were not measured alike, naming every field that differs.
    """
    differing = [
        f"{'.'.join(path)}: {_at(first, path)} against {_at(second, path)}"
        for path in _PROTOCOL
        if _at(first, path) != _at(second, path)
    ]
    if _way(first) != _way(second):
        differing.append(f"real.chosen: {_way(first)} against {_way(second)}")
    metrics = [{metric["name"]: metric for metric in receipt["metrics"]} for receipt in (first, second)]
    shared = [name for name in metrics[0] if name in metrics[1]]
    for name in shared:
        fields = metrics[0][name].keys() | metrics[1][name].keys()
        differing += [
            f"{name}.{field}: {metrics[0][name].get(field)} against {metrics[1][name].get(field)}"
            for field in sorted(fields)
            if metrics[0][name].get(field) != metrics[1][name].get(field)
        ]
    if differing:
        raise ValueError("The receipts differ in protocol:\n  " + "\n  ".join(differing))
    if not shared:
        raise ValueError(f"The receipts share no metric: {sorted(metrics[0])} against {sorted(metrics[1])}.")
    found = {}
    for name in _titles(first):
        if name in first["scores"] and name in second["scores"]:
            values = first["scores"][name], second["scores"][name]
            errors = [receipt["scores"].get(f"{name}_error") for receipt in (first, second)]
            uncertainty = None if None in errors else math.hypot(*errors)
            found[name] = (*values, values[1] - values[0], uncertainty)
    return found


def _at(receipt, path):
    for key in path:
        receipt = (receipt or {}).get(key)
    return receipt
