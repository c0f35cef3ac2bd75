"""Chooses each method's optimizer for the short setting, on seeds that no result is reported of.

python benchmarks/modes_tuning.py --out docs/modes/tuning.json

Every candidate is run with every method. A run scores its share of modes found, in the plane times its share of samples
near a mode; a candidate, the mean over tasks and seeds. The same command goes on where it stopped.
"""

import argparse
import dataclasses
import json
import pathlib

from tfgan_app import modes

METHODS = ("gan", "wgan_gp", "pacgan2", "r3gan")
# Tasks, updates of D, seeds.
RUNS = {"plane": (("ring", "grid"), 20_000, [100, 101, 102]), "digits": (("stacked_mnist",), 5_000, [100])}


def main():
    """Runs what is missing and prints a table of each kind of task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default="modes/tuning.json", help="Where scores are kept.")
    parser.add_argument("--kinds", nargs="+", choices=list(RUNS), default=list(RUNS))
    arguments = parser.parse_args()
    scores = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for kind in arguments.kinds:
        tasks, steps, seeds = RUNS[kind]
        for method in METHODS:
            for candidate, adam in modes.CANDIDATES[kind].items():
                own = scores.setdefault(kind, {}).setdefault(method, {}).setdefault(candidate, {})
                for task in tasks:
                    if task not in own:
                        own[task] = score(task, method, adam, steps, seeds)
                        arguments.out.write_text(json.dumps(scores, indent=1) + "\n")
        print(table(kind, scores[kind]))


def score(task, method, adam, steps, seeds):
    """Returns the score of each seed."""
    data, setting = modes.TASKS[task], dataclasses.replace(modes.SETTINGS[task]["short"], steps=steps)
    method = dataclasses.replace(modes.methods(task, "short")[method], adam=adam)
    found = [data.coverage(samples) for samples in data.train(method, setting, seeds)]
    quality = [1.0 if own.high_quality is None else own.high_quality for own in found]
    return [round(own.modes / data.num_modes * share, 4) for own, share in zip(found, quality, strict=True)]


def chosen(scores):
    """Returns each method's best candidate, by the scores of one kind of task."""
    return {method: max(candidates, key=lambda name: _mean(candidates[name])) for method, candidates in scores.items()}


def table(kind, scores):
    """Returns a Markdown table of one kind of task: a row for each candidate, a column for each method."""
    lines = ["| | " + " | ".join(scores) + " |", "|---|" + "---:|" * len(scores)]
    best = chosen(scores)
    for name, adam in modes.CANDIDATES[kind].items():
        cells = [f"{_mean(own[name]):.2f}" for own in scores.values()]
        cells = [f"**{cell}**" if best[method] == name else cell for method, cell in zip(scores, cells, strict=True)]
        lines.append(f"| {describe(adam)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(runs):
    values = [value for own in runs.values() for value in own]
    return sum(values) / len(values)


def describe(adam):
    """Returns an optimizer in words."""
    text = f"Adam({adam.beta_1:g}, {adam.beta_2:g}) at {adam.learning_rate:g}"
    if adam.end < 1:
        text += f", falling to {adam.end * adam.learning_rate:g}"
    return text + (f", samples of the average ({adam.ema_decay:g})" if adam.ema_decay else "")


if __name__ == "__main__":
    main()
