"""Trains `quick_labels.flags` with one thing changed at a time, and reports what each does to the samples.

    python benchmarks/what_helped.py --seeds 0 1 2 --data_dir=DIR
    python benchmarks/what_helped.py --rows "as it is" DiffAugment --seeds 0 --out=augmented.json

A row is that recipe with some other flags, trained as a user would, in a process of its own; CGAN's last rows are what
there was before. Rows take turns, seed by seed. Reported are the Frechet distance of 10 000 samples
from the test images, and two numbers on what a 2x2 checkerboard finds in the samples. The grain is its mean square over
that of the test images; the grid the largest over the smallest of those at places of even and odd rows and columns, as
transposed convolutions of stride 2 are blamed for treating them differently. Both are 1 of real images.

Runs that the report holds already are not repeated, so an interrupted command goes on, and `--report_only` writes the
page anew: docs/samples.md, between marks of the report's name.
"""

import argparse
import datetime
import json
import pathlib
import statistics
import sys
import tempfile

from processes import busy_fraction, call, machine, missing, parse_result, run_each, write_between

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "samples.md"


def _rates(rate):
    return [f"--g_learning_rate={rate}", f"--d_learning_rate={rate}"]


def _quick(*flags):
    return ["--flagfile=quick_labels.flags", *flags]


def _cgan(rate):
    return ["--flagfile=cgan.flags", *_rates(rate), "--train_steps=9000", "--steps_per_epoch=3000"]


# Flags of the train command, by name.
ROWS = {
    "as it is": _quick(),
    "rates of 2e-4": _quick(*_rates(2e-4)),
    "rates of 5e-4": _quick(*_rates(5e-4)),
    "rates of 2e-3": _quick(*_rates(2e-3)),
    "rates fall to 0": _quick("--decay_learning_rates"),
    "rates fall to 0 over the last fifth": _quick("--decay_learning_rates", "--decay_from=2000"),
    "two updates of D a step, as much time": _quick("--n_critic=2", "--train_steps=1700"),
    "without attention": _quick("--model_arg=attention_at=None"),
    "twice as wide, as much time": _quick("--model_arg=base_channels=16", "--train_steps=1000"),
    "batches of 32, twice the steps": _quick("--batch_size=32", "--train_steps=5000"),
    "batches of 128, half the steps": _quick("--batch_size=128", "--train_steps=1250"),
    "non-saturating loss": _quick("--loss=NonSaturating"),
    "DiffAugment": _quick("--augment=DiffAugment"),
    "CGAN, rates of 2e-4, as much time": _cgan(2e-4),
    "CGAN, rates of 2e-3, as much time": _cgan(2e-3),
}


def benchmark(args):
    """Runs what is missing, then shows the report; returns the process's exit code."""
    report: dict = {"machine": machine(), "versions": {}, "runs": []}
    if args.out.exists():
        report = json.loads(args.out.read_text())

    def measure(run):
        run |= {"date": datetime.date.today().isoformat(), "busy_before": busy_fraction()}
        run |= _run(args, run)
        report["versions"] |= run.pop("versions")

    wanted = [{"row": row, "flags": ROWS[row], "seed": seed} for seed in args.seeds for row in args.rows]
    run_each(report, args.out, [] if args.report_only else missing(report, wanted, _key), _key, measure)
    text = table(report["runs"])
    print(text)
    if args.out.resolve().parent == PAGE.with_suffix("") and report["runs"]:
        marks = f"<!-- {args.out.stem}: made by benchmarks/what_helped.py -->", f"<!-- end of {args.out.stem} -->"
        write_between(PAGE, marks, f"{_facts(report)}\n\n{text}")
    return int(any("error" in run for run in report["runs"]))


def _key(run):
    return run["row"], *run["flags"], run["seed"]


def _run(args, run):
    """Trains a row and measures its samples; returns the facts for the report."""
    data = [f"--data_dir={args.data_dir}"] if args.data_dir else []
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "run")
        command = [sys.executable, "-m", "tfgan_app.train", *run["flags"], f"--run_dir={path}"]
        call([*command, f"--seed={run['seed']}", *data])
        (scores,) = path.glob("scores/step_*.json")
        receipt = json.loads(scores.read_text())
        (model,) = path.glob("saved_model/[0-9]*")
        pattern = parse_result(call([sys.executable, __file__, "--worker", f"--out={model}", *data]))
    return {"value": receipt["scores"]["fd"], "versions": receipt["versions"], **pattern}


def table(runs):
    """Returns the Markdown table of runs, in the order of `ROWS`."""
    lines = ["| | Frechet distance | seed by seed | grain | grid |", "|---|---:|---|---:|---:|"]
    for row in ROWS:
        own = sorted((run for run in runs if run["row"] == row and "value" in run), key=lambda run: run["seed"])
        if own:
            values, *patterns = ([run[name] for run in own] for name in ("value", "grain", "grid"))
            spread = f" ± {statistics.stdev(values):.2f}" if len(own) > 1 else ""
            each = ", ".join(f"{value:.2f}" for value in values)
            cells = [
                row,
                f"{statistics.mean(values):.2f}{spread}",
                each,
                *(f"{statistics.mean(x):.2f}" for x in patterns),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _facts(report):
    dates, seeds = ({run[name] for run in report["runs"]} for name in ("date", "seed"))
    return (
        f"{report['machine']['cores']} cores of {report['machine']['cpu']}, "
        f"{' to '.join(sorted({min(dates), max(dates)}))}, seeds {', '.join(map(str, sorted(seeds)))}; TensorFlow "
        f"{report['versions']['tensorflow']}."
    )


# The worker: in a process of its own, which alone loads TensorFlow.


def measure_grain(args):
    """Prints the grain of an exported model's samples."""
    import numpy as np

    import tfgan_app as tg

    real = tg.data.open_images("fashion_mnist", split="test", data_dir=args.data_dir)
    parts = [np.asarray(batch[0]) for batch in real.in_order(1000)]
    samples = tg.export.SavedGAN(args.out).sample(real.num_images, seed=0)
    ratios = checkerboard(2 * samples - 1) / checkerboard(np.concatenate(parts))
    print(json.dumps({"grain": ratios.mean(), "grid": ratios.max() / ratios.min()}))
    return 0


def checkerboard(images):
    """Returns the mean square of what a 2x2 checkerboard finds at even and odd rows and columns, an array `(2, 2)`.

    Images are `(num, height, width, channels)`, of even sides.
    """
    import numpy as np

    found = images[:, 1:, 1:] - images[:, 1:, :-1] - images[:, :-1, 1:] + images[:, :-1, :-1]
    # As many places of either kind.
    squares = found[:, :-1, :-1].astype(np.float64) ** 2
    return np.array([[squares[:, row::2, column::2].mean() for column in (0, 1)] for row in (0, 1)])


def parse_arguments(argv=None):
    """Returns the command's arguments; ends the process where they are wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS), help="what to train")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data_dir", help="where TFDS keeps prepared data sets")
    parser.add_argument("--out", type=pathlib.Path, default=PAGE.with_suffix("") / "quick_labels.json")
    parser.add_argument("--report_only", action="store_true", help="print and show what the report holds")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    arguments = parse_arguments()
    sys.exit(measure_grain(arguments) if arguments.worker else benchmark(arguments))
