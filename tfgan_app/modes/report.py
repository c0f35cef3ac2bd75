"""What runs found: kept as JSON, as a table, and as a picture."""

import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfgan_app.modes.tasks import Task

__all__ = ["Report", "table"]

_COLUMNS = {
    "modes": ("modes", 1, ".1f"),
    "high_quality": ("high quality, %", 100, ".1f"),
    "kl": ("reverse KL", 1, ".3f"),
    "seconds": ("seconds", 1, ".0f"),
}


class Report:
    """The runs of a task in a folder, where a command that was interrupted goes on.

    `NAME.json` holds facts and runs, `NAME.npz` the samples of each method's first seed.

    Args:
        folder: A `pathlib.Path`; made if it is missing.
        name: Stem of the files.
        settings: Facts that runs must share to be compared, as JSON takes them.

    Raises:
        ValueError: If the folder's runs were made with other settings.
    """

    def __init__(self, folder: pathlib.Path, name: str, settings: dict[str, Any]):
        self.folder, self.name = folder, name
        self.content: dict[str, Any] = {"settings": settings, "real": None, "methods": {}, "runs": []}
        self.samples = {}
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.json"
        if path.exists():
            self.content = json.loads(path.read_text(encoding="utf-8"))
            self._refuse_others(self.content["settings"], settings, "other settings")
        path = folder / f"{name}.npz"
        if path.exists():
            with np.load(path) as arrays:
                self.samples = dict(arrays)

    def begin(self, method: str, facts: dict[str, Any]) -> None:
        """Takes note of what a method is.

        Args:
            method: Its name.
            facts: What it is, as JSON takes it.

        Raises:
            ValueError: If the folder's runs of it were made with something else.
        """
        facts = json.loads(json.dumps(facts))
        self._refuse_others(self.content["methods"].setdefault(method, facts), facts, f"another {method}")

    def _refuse_others(self, before, after, what):
        changed = [key for key in after if after[key] != before.get(key)]
        if changed:
            changes = ", ".join(f"{key} {before.get(key)} -> {after[key]}" for key in changed)
            path = self.folder / f"{self.name}.json"
            raise ValueError(f"{path} holds runs of {what} ({changes}). Give another folder.")

    def missing(self, method: str, seeds: Sequence[int]) -> list[int]:
        """Returns those of `seeds` without a run of a method; the first also where its samples are gone."""
        done = {run["seed"] for run in self.content["runs"] if run["method"] == method}
        return [seed for seed in seeds if seed not in done or (seed == 0 and method not in self.samples)]

    def add(self, run: dict[str, Any], samples: np.ndarray) -> None:
        """Adds a run, a dict with `method` and `seed`, and keeps its samples if it is the first seed's."""
        key = run["method"], run["seed"]
        others = [other for other in self.content["runs"] if (other["method"], other["seed"]) != key]
        self.content["runs"] = [*others, run]
        if run["seed"] == 0:
            self.samples[run["method"]] = samples
            _replace(self.folder / f"{self.name}.npz", lambda file: np.savez_compressed(file, **self.samples))
        self.save()

    def save(self) -> None:
        """Writes facts and runs."""
        text = json.dumps(self.content, indent=1) + "\n"
        _replace(self.folder / f"{self.name}.json", lambda file: file.write(text.encode()))

    def plot(self, task: Task, methods: Sequence[str]) -> None:
        """Draws the samples of each method's first seed, side by side, as a PNG."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(1, len(methods), figsize=(2.6 * len(methods), 2.9), squeeze=False)
        for axis, method in zip(axes[0], methods, strict=True):
            task.plot(axis, self.samples[method])
            axis.set(title=method, xticks=[], yticks=[])
        figure.tight_layout()
        figure.savefig(self.folder / f"{self.name}.png", dpi=100)
        pyplot.close(figure)


def table(runs: Sequence[dict[str, Any]], real: dict[str, Any]) -> str:
    """Returns a Markdown table.

    Args:
        runs: Dicts with `method`, `modes`, `high_quality`, `kl` and `seconds`.
        real: The same of as many real samples, without method and seconds.

    Returns:
        A row of real samples, and one of mean and standard error for each method. Columns without values are left out.
    """
    columns = {name: column for name, column in _COLUMNS.items() if runs[0][name] is not None}
    lines = [
        "| | " + " | ".join(title for title, *_ in columns.values()) + " |",
        "|---|" + "---:|" * len(columns),
        "| real samples | " + " | ".join(_mean([real[name]], *columns[name][1:]) for name in columns if name in real),
    ]
    lines[-1] += " | |"
    for method in dict.fromkeys(run["method"] for run in runs):
        own = [run for run in runs if run["method"] == method]
        cells = [_mean([run[name] for run in own], *columns[name][1:]) for name in columns]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(values, factor, form):
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{factor * mean:{form}}"
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
    return f"{factor * mean:{form}} ± {factor * error:{form}}"


def _replace(path, write):
    """Writes a file by another name first, so that an interruption leaves the old one."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        write(file)
    partial.replace(path)
