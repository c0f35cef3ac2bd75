"""A page that needs no other file: headings, tables, pictures and charts."""

import base64
import contextlib
import csv
import html
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from tfgan_app.base import pictures
from tfgan_app.base.files import PathLike, local_path
from tfgan_app.study.receipts import FAILURES, Receipt, describe_protocol, reasons, titles, why

__all__ = ["PAGE", "Chart", "Page", "chart", "finished", "table"]

# The page's file in its folder.
PAGE = "index.html"

# A figure of Matplotlib's, which is loaded when the first is drawn.
Chart: TypeAlias = Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
img { max-width: 100%; height: auto; image-rendering: pixelated; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; } .note { color: #555; font-size: 90%; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } td, th { border-color: #444; }
  .note { color: #aaa; } img.chart { filter: invert(.88) hue-rotate(180deg); } }
"""

# Columns of `metrics.csv` that are no losses.
_COUNTS = ("step", "epoch", "seconds")


class Page:
    """A page that is written as `index.html`, with the pictures in it as PNG files beside.

    Args:
        folder: Where to; made if missing.
        title: The page's heading.
    """

    def __init__(self, folder: PathLike, title: str):
        self.folder, self.title = local_path(folder), title
        self.parts: list[str] = []
        self.folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def part(self, heading: str) -> Iterator[None]:
        """Puts the reason in the place of a part that fails."""
        try:
            yield
        except FAILURES as error:
            self.add(heading, "", f"Left out: {why(error)}.")

    def add(self, heading: str, body: str, note: str = "") -> None:
        """Adds HTML under a heading, with a note below."""
        self.parts.append(f'<h2>{html.escape(heading)}</h2>\n{body}\n<p class="note">{html.escape(note)}</p>')

    def picture(self, heading: str, name: str, image: np.ndarray, note: str = "") -> None:
        """Adds a uint8 image `(height, width, channels)`; narrow ones twice as large."""
        path = self.folder / f"{name}.png"
        pictures.save_png(path, image, 2 if image.shape[1] < 700 else 1)
        self._embed(heading, path, "", note)

    def chart(self, heading: str, name: str, figure: Chart, note: str = "") -> None:
        """Adds a figure of Matplotlib's."""
        path = self.folder / f"{name}.png"
        figure.savefig(path, dpi=110)
        self._embed(heading, path, ' class="chart"', note)

    def scores(self, receipt: Receipt) -> None:
        """Adds a receipt's scores, with what was compared."""
        missing = "".join(f" Left out: {line}." for line in reasons(receipt.get("left_out") or {}))
        self.add("Scores", table(("", "value"), titles(receipt)), f"With {describe_protocol(receipt)}.{missing}")

    def curves(self, history: PathLike | None) -> None:
        """Adds losses and scores by step, of a run's `metrics.csv`; nothing where there is none."""
        if history is None or not pathlib.Path(history).exists():
            return
        with self.part("Losses"):
            rows = _history(history)
            losses = ["d_loss", "g_loss", "d_real", "d_fake"]
            played = [[name for name in losses if name in rows]]
            terms = [[name] for name in rows if not name.startswith("val_") and name not in (*losses, *_COUNTS)]
            groups = [group for group in (*played, *terms) if group]
            self.chart("Losses", "losses", _curves(rows, groups), "By step, averaged over each epoch.")
            validated = {name: name.removeprefix("val_") for name in sorted(rows) if name.startswith("val_")}
            scores = [
                [name]
                for name, score in validated.items()
                if score not in losses and score not in rows and name.removesuffix("_error") not in {*rows} - {name}
            ]
            if scores:
                self.chart("Scores by step", "scores", _curves(rows, scores), "On held-out images.")

    def _embed(self, heading, path, attributes, note):
        data = base64.b64encode(path.read_bytes()).decode()
        self.add(heading, f'<img{attributes} alt="{html.escape(heading)}" src="data:image/png;base64,{data}">', note)

    def write(self) -> pathlib.Path:
        """Writes the page and returns its path."""
        text = (
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{html.escape(self.title)}</title>\n<style>{_STYLE}</style>\n<h1>{html.escape(self.title)}</h1>\n"
        )
        path = self.folder / PAGE
        path.write_text(text + "\n".join(self.parts) + "\n</html>\n", encoding="utf-8", errors="backslashreplace")
        return path


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table of texts as HTML."""
    cells = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>\n" for row in rows)
    return f"<table>\n<tr>{cells}</tr>\n{body}</table>"


def chart(panels: int = 1) -> tuple[Chart, Sequence[Any]]:
    """Returns a figure of Matplotlib's, and the axes of its panels, one below the other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 3.2 if panels == 1 else 2.0 * panels), layout="constrained")
    return figure, list(figure.subplots(panels, squeeze=False)[:, 0])


def finished(figure: Chart, axes: Sequence[Any], label: str) -> Chart:
    """Returns a figure of `chart` with legends, and a label below."""
    for panel in axes:
        panel.legend()
        panel.grid(alpha=0.3)
    axes[-1].set_xlabel(label)
    return figure


def _history(path):
    """Returns columns of numbers by name; NaN where a row has none."""
    with pathlib.Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in (rows[0] if rows else ())}


def _curves(rows, groups):
    """Draws columns by step, a panel for each group of names."""
    figure, axes = chart(len(groups))
    for panel, names in zip(axes, groups, strict=True):
        for name in names:
            panel.plot(rows["step"], rows[name], label=name, linewidth=1.5)
    return finished(figure, axes, "step")
