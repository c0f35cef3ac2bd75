"""Writes docs/modes.md from the results that the command left in docs/modes."""

import json
import pathlib
import sys
import textwrap

import modes_tuning
from processes import machine

from tfgan_app.modes import SETTINGS, methods, table

ROOT = pathlib.Path(__file__).resolve().parents[1]
TITLES = {
    "ring": "8 Gaussians on a ring",
    "grid": "25 Gaussians on a grid",
    "stacked_mnist": "Stacked MNIST, 1000 modes",
    "stacked_mnist_small_discriminator": "Stacked MNIST, D with a quarter of G's channels",
}

_PROTOCOL = (
    "Mode collapse, measured where the modes are known, by PacGAN's protocol (Lin et al. 2017, "
    "https://arxiv.org/abs/1712.04086): in the plane, a mode counts with one sample of 2 500 within three standard "
    "deviations, which is high quality; of stacked digits, the shipped classifier names the digit of each channel of "
    "26 000 images. Reverse KL, in nats, is that of the samples' spread over modes from the uniform. Methods share "
    "networks and budget, counted in updates of D. Mean and standard error over seeds; the first row is what as many "
    "real samples score: the yardstick."
)

_METHODS = (
    "`gan` has Goodfellow et al.'s non-saturating loss, `pacgan2` the same on pairs; `wgan_gp` a gradient penalty of "
    "weight 10 and five updates of D for each of G; `r3gan` relativistic pairs with R1 and R2 (gamma 0.1), without "
    "batch normalisation where it would mix what is penalised. `best` is `r3gan` with its optimizer and another gamma, "
    "found by trying: 0.05 in the plane; 1 on digits, with penalties every fourth step."
)
_TUNING = (
    "Every method has the optimizer that served it best, in bold, of those below (`python "
    "benchmarks/modes_tuning.py`). They were tried on seeds of which no result is reported, in the plane three for "
    "20 000 updates, on digits one for 5 000, and scored by the share of modes found, in the plane times the share of "
    "samples near one: mean over ring and grid, and stacked MNIST."
)

_LIMITS = (
    "Stacked MNIST is one seed. Against a D of a quarter of the channels, 3 000 weights to G's 350 000, neither `gan` "
    "nor `best` keeps all modes, and the others were not run. Networks are small and budgets short, the same for all "
    "methods: the command's default, `--setting=paper`, is PacGAN's own networks and budget, over an hour a run on "
    "this machine, and has not been run."
)


def main():
    """Writes the page of a folder, by default docs/modes, beside it; returns its path."""
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "modes"
    reports = {name: json.loads((folder / f"{name}.json").read_text()) for name in TITLES if _exists(folder, name)}
    path = folder.with_suffix(".md")
    path.write_text(page(reports, json.loads((folder / "tuning.json").read_text()), machine(), folder.name))
    return path


def page(reports, tuning, where, folder):
    """Returns the page.

    Args:
        reports: The contents of the reports by name, in order.
        tuning: The scores that `modes_tuning` keeps.
        where: Facts about the machine.
        folder: The folder of their pictures, beside the page.
    """
    order = list(methods("ring", "short"))
    for report in reports.values():
        report["runs"].sort(key=lambda run: order.index(run["method"]))
    first = next(iter(reports.values()))
    versions = first["versions"]
    lines = [
        "# Mode coverage",
        "",
        *_wrapped(
            f"{_PROTOCOL} Measured on {where['cores']} cores of {where['cpu']}, {first['date']}, "
            f"TensorFlow {versions['tensorflow']}, Keras {versions['keras']}; "
            "seconds under other load. Pictures show the first seed, not chosen; circles mark modes."
        ),
    ]
    lines += ["", *_overview(reports), "", *_wrapped(_LIMITS), "", *_wrapped(_METHODS), "", *_wrapped(_TUNING)]
    for kind, scores in tuning.items():
        lines += ["", modes_tuning.table(kind, scores)]
    for name, report in reports.items():
        lines += ["", f"## {TITLES[name]}", "", *_facts(report), "", table(report["runs"], report["real"]), ""]
        lines.append(f"![samples]({folder}/{name}.png)")
    return "\n".join(lines) + "\n"


def _overview(reports):
    """Returns a table of all tasks: means of modes found, of high quality in percent where there is one, and of KL."""
    lines = [
        "| modes found, high quality, KL | " + " | ".join(TITLES[name] for name in reports) + " |",
        "|---|" + "---:|" * len(reports),
        "| real samples | " + " | ".join(_brief([report["real"]]) for report in reports.values()) + " |",
    ]
    found = {run["method"] for report in reports.values() for run in report["runs"]}
    for method in (name for name in methods("ring", "short") if name in found):
        runs = [[run for run in report["runs"] if run["method"] == method] for report in reports.values()]
        lines.append(f"| {method} | " + " | ".join(_brief(own) if own else "" for own in runs) + " |")
    return lines


def _brief(runs):
    def mean(name):
        return sum(run[name] for run in runs) / len(runs)

    quality = "" if runs[0]["high_quality"] is None else f"{mean('high_quality'):.1%}, "
    return f"{mean('modes'):.4g}, {quality}{mean('kl'):.3f}"


def _facts(report):
    setting = report["settings"]
    seeds = 1 + max(run["seed"] for run in report["runs"])
    models = ",".join(dict.fromkeys(run["method"] for run in report["runs"]))
    text = (
        f"{setting['steps']:,} updates of D on batches of {setting['batch_size']}; G of width {setting['g_width']}, "
        f"D of {setting['d_width']}."
    )
    given = [f"--task={setting['task']}", f"--setting={report['setting']}", f"--seeds={seeds}"]
    planned = SETTINGS[setting["task"]][report["setting"]]
    given += ["--small_discriminator"] if setting["d_width"] < planned.d_width else []
    given += [f"--{name}={setting[name]}" for name in ("steps", "batch_size") if setting[name] != vars(planned)[name]]
    command = f"python -m tfgan_app.benchmark modes {' '.join(given)} \\\n  --model={models} --out=docs/modes"
    return [*_wrapped(text), "", "```", command, "```"]


def _wrapped(text):
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False).splitlines()


def _exists(folder, name):
    return (folder / f"{name}.json").exists()


if __name__ == "__main__":
    print(main())
