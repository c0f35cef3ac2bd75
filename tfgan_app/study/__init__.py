"""What is found out about a generator: scores with receipts, copies, collapse, a report."""

from tfgan_app.study.collapse import CollapseGuard
from tfgan_app.study.fakes import ArrayFakes, SampledFakes
from tfgan_app.study.memorisation import examine
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

__all__ = [
    "ArrayFakes",
    "CollapseGuard",
    "SampledFakes",
    "applicable",
    "build_metrics",
    "compare",
    "describe_score",
    "examine",
    "read_receipt",
    "score",
    "summary",
    "write_receipt",
    "write_report",
]
