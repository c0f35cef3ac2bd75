"""Scores a run, a SavedModel or an array of images, with a receipt.

python -m tfgan_app.evaluate --run=runs/mnist
python -m tfgan_app.evaluate --saved_model=saved_models/fashion_mnist/1 --dataset=fashion_mnist --metrics=all
python -m tfgan_app.evaluate --compare=A.json,B.json
"""

import functools

from absl import flags

from tfgan_app import cli
from tfgan_app.base import errors
from tfgan_app.runs.settings import Scoring

__all__ = ["main", "run"]

cli.define(Scoring.rows())
flags.DEFINE_list("compare", None, "Two receipts: print how their scores differ.")


def main(argv: list[str]) -> int:
    """Carries out the command; returns its exit code."""
    if flags.FLAGS.compare:
        return _compare(flags.FLAGS.compare)

    from tfgan_app.runs.evaluation import evaluate

    progress = cli.Progress()
    found = evaluate(**cli.given(Scoring.rows()), say=progress.say, progress=progress)
    if found.path:
        cli.say(f"Receipt in {found.path}.")
    if found.report:
        cli.say(f"Report in {found.report}.")
    return 0 if found.path and (found.report or not flags.FLAGS.report) else cli.EXIT_FAILURE


def _compare(paths):
    from tfgan_app.study import receipts

    if len(paths) != 2:
        raise errors.UsageError(f"--compare takes two receipts, A.json,B.json. Received: {len(paths)}")
    try:
        first, second = map(receipts.read_receipt, paths)
        found = receipts.compare(first, second)
    except (OSError, ValueError) as error:
        raise errors.UsageError(f"--compare: {error}") from error
    for name, (one, other, difference, uncertainty) in found.items():
        known = "" if uncertainty is None else f" ± {uncertainty:.2g}"
        cli.say(f"{name:<10} {one:.4g} -> {other:.4g}: {difference:+.4g}{known}")
    return 0


run = functools.partial(cli.run, main)

if __name__ == "__main__":
    run()
