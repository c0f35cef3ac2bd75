"""What is found out about a generator: scores with receipts, copies, collapse, a report."""

from tfgan_app.study.collapse import CollapseGuard
from tfgan_app.study.directions import Directions, between, pca, sefa
from tfgan_app.study.fakes import ArrayFakes, SampledFakes
from tfgan_app.study.kept_latents import KeptLatents, fingerprint, load_latents, save_latents
from tfgan_app.study.memorisation import examine
from tfgan_app.study.projection import Projection, project
from tfgan_app.study.receipts import (
    applicable,
    build_metrics,
    compare,
    describe_score,
    read_receipt,
    score,
    summary,
    write_receipt,
)
from tfgan_app.study.report import write_report
from tfgan_app.study.translation_report import Extremes, write_translation_report
from tfgan_app.study.translation_scores import (
    applicable_translation,
    build_translation_metrics,
    inapplicable_translation,
    score_translation,
)

__all__ = [
    "ArrayFakes",
    "CollapseGuard",
    "Directions",
    "Extremes",
    "KeptLatents",
    "Projection",
    "SampledFakes",
    "applicable",
    "applicable_translation",
    "between",
    "build_metrics",
    "build_translation_metrics",
    "compare",
    "describe_score",
    "examine",
    "fingerprint",
    "inapplicable_translation",
    "load_latents",
    "pca",
    "project",
    "read_receipt",
    "save_latents",
    "score",
    "score_translation",
    "sefa",
    "summary",
    "write_receipt",
    "write_report",
    "write_translation_report",
]
