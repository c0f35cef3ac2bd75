"""Scores with receipts: what was measured, on what, with what."""

import datetime
import json
import math
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from tfgan_app.base.files import PathLike, check_object, read_object, written_whole
from tfgan_app.base.versions import versions
from tfgan_app.data.image_set import ImageSet
from tfgan_app.metrics.accuracy_score import ClassificationAccuracyScore
from tfgan_app.metrics.base import ImageMetric
from tfgan_app.metrics.classifier_score import ClassifierScore
from tfgan_app.metrics.extractors import FeatureExtractor
from tfgan_app.metrics.frechet import FrechetDistance, IntraClassFrechetDistance
from tfgan_app.metrics.kernel import KernelDistance
from tfgan_app.metrics.manifold import DensityCoverage, PrecisionRecall
from tfgan_app.metrics.path_length import PerceptualPathLength
from tfgan_app.metrics.sliced import SlicedWasserstein
from tfgan_app.observation import Observation
from tfgan_app.study.fakes import Fakes

__all__ = [
    "METRICS",
    "Receipt",
    "applicable",
    "build_metrics",
    "caution",
    "compare",
    "describe_score",
    "read_receipt",
    "score",
    "summary",
    "titles",
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
        images.image_shape, images.num_classes, num_images=num
    ),
}
# The most images that metrics which keep features look at, as their memory and time grow with it.
_STORED = 10_000


def applicable(extractor: FeatureExtractor, images: ImageSet, fakes: Fakes) -> list[str]:
    """Returns the names of the metrics that an extractor, an `ImageSet` and fakes allow."""
    needs = {
        "cs": extractor.num_logits is not None,
        "ppl": fakes.latent_dim is not None,
        "intra_fd": fakes.labelled and images.num_classes is not None,
        "cas": fakes.labelled and images.num_classes is not None,
    }
    return [name for name in METRICS if needs.get(name, True)]


def build_metrics(
    names: Iterable[str], extractor: FeatureExtractor, images: ImageSet, fakes: Fakes, num_images: int
) -> list[ImageMetric]:
    """Returns metrics by their names in `METRICS`.

    Raises:
        ValueError: For one that is unknown or does not apply.
    """
    possible = applicable(extractor, images, fakes)
    for name in names:
        if name not in METRICS:
            raise ValueError(f"There is no metric {name}. Expected some of {', '.join(METRICS)}")
        if name not in possible:
            raise ValueError(
                f"The metric {name} does not apply: cs needs an extractor with class logits, ppl a generator, intra_fd "
                f"and cas a conditional one and labelled images. Here {', '.join(possible)} do"
            )
    return [METRICS[name](extractor, images, min(num_images, _STORED)) for name in names]


def score(
    fakes: Fakes,
    images: ImageSet,
    metrics: Sequence[ImageMetric],
    *,
    batch_size: int = 250,
    num_images: int | None = None,
    facts: dict[str, Any] | None = None,
    progress: Callable[[str], object] | None = None,
) -> Receipt:
    """Scores generated images against a set of real ones.

    Args:
        fakes: A `SampledFakes` or `ArrayFakes` of `tfgan_app.study`.
        images: The `tfgan_app.data.ImageSet` of real images, read in order.
        metrics: A list of `tfgan_app.metrics.ImageMetric`, of one extractor.
        batch_size: Images at a time.
        num_images: How many real images to use, from the first on; all of them by default.
        facts: What the receipt repeats about the fakes (source, step, weights, seed, truncation).
        progress: Called with a line after each batch and before each metric's result.

    Returns:
        The receipt: a dict that JSON takes, with numbers by name under `"scores"`.

    Raises:
        ValueError: If the images are too few for a metric.
    """
    total = min(num_images or images.num_images, images.num_images)
    progress = progress or (lambda line: None)
    done = 0
    for real, labels in images.pairs(batch_size):
        real, begin = tf.constant(real[: total - done]), done
        done += len(real)
        labels = None if labels is None else labels[: len(real)]
        observation = Observation(
            real,
            tf.constant(fakes.batch(begin, done, labels)),
            labels if fakes.labelled else None,
            _nearby(fakes, begin, done, labels) if fakes.latent_dim else None,
        )
        for metric in metrics:
            metric.observe(observation)
        progress(f"{done}/{total} images")
        if done == total:
            break
    scores = {}
    for metric in metrics:
        progress(f"computing {metric.name}")
        scores.update(metric.results())
    return {
        "scores": scores,
        "metrics": [
            {"name": metric.name, "metric": type(metric).__name__, "version": metric.version, **metric.settings()}
            for metric in metrics
        ],
        "extractor": next((metric.extractor.describe() for metric in metrics if metric.extractor), None),
        "real": {**images.describe(), "used": done},
        "fake": {"used": done, **(facts or {})},
        "versions": versions(),
        "measured": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def _nearby(fakes, start, stop, labels):
    return lambda epsilon: [tf.constant(samples) for samples in fakes.nearby(start, stop, labels, epsilon)]


# What scores are called where they are printed.
_TITLES = {
    "fd": "Frechet distance",
    "kd": "Kernel distance",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "cs": "Classifier score",
    "swd": "Sliced Wasserstein distance",
    "ppl": "Perceptual path length",
    "intra_fd": "Intra-class Frechet distance",
    "cas": "Classification accuracy score",
}
# What they are called with the features for which those names were made.
_CANONICAL_TITLES = {"fd": "FID", "kd": "KID", "cs": "Inception score", "intra_fd": "Intra-class FID"}


def titles(receipt: Receipt) -> list[tuple[str, str]]:
    """Returns a receipt's scores as `(title, text)` pairs, the text with the uncertainty where there is one."""
    scores, found = receipt["scores"], []
    for name, title in {**_TITLES, **(_CANONICAL_TITLES if _canonical(receipt) else {})}.items():
        if name in scores:
            error = scores.get(f"{name}_error", scores.get(f"{name}_std"))
            found.append((title, f"{scores[name]:.4g}" + (f" ± {error:.2g}" if error is not None else "")))
    return found


def describe_score(receipt: Receipt) -> str:
    """Returns a receipt as lines: one a score, one on what was compared, and one of caution where that is due."""
    lines = [f"{title} {text}" for title, text in titles(receipt)]
    lines.append(f"with {describe_protocol(receipt)}")
    used = min(receipt["real"]["used"], receipt["fake"]["used"])
    if "fd" in receipt["scores"] and (warning := caution(receipt["extractor"]["feature_dim"], used)):
        lines.append(warning)
    return "\n".join(lines)


def summary(receipt: Receipt) -> dict[str, Any]:
    """Returns what a model card says of a receipt's Frechet distance; see `tfgan_app.export.write_card`."""
    return {
        "dataset": receipt["real"]["name"],
        "metric": f"Frechet distance ({receipt['extractor']['name']})",
        "type": "frechet_distance",
        "value": receipt["scores"]["fd"],
        "text": " ".join(describe_score(receipt).splitlines()),
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
    details = ", ".join(f"{key} {value}" for key, value in fake.items() if key != "used" and value is not None)
    facts = [(extractor["sha256"] or "in memory")[:12], extractor.get("resizer"), not _canonical(receipt) and "not FID"]
    return (
        f"features of {extractor['name']} ({'; '.join(filter(None, facts))}): "
        f"{real['used']} real images of {real['name']} {real['split']}{stand_in}, {fake['used']} fakes ({details})"
    )


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
    for name in _TITLES:
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
