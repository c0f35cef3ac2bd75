"""Draws images from a run or a SavedModel.

python -m tfgan_app.generate --run=runs/mnist --grid=8x8 --seed=7 --out=grid.png
"""

import functools

from tfgan_app import cli
from tfgan_app.base.signals import tell
from tfgan_app.base.waiting import announced
from tfgan_app.runs.settings import Drawing

__all__ = ["main", "run"]

cli.define(Drawing.rows())


def main(argv: list[str]) -> int:
    """Carries out the command; returns its exit code."""
    from tfgan_app.runs.generation import generate

    with announced(tell, "Drawing"):
        found = generate(**cli.given(Drawing.rows()))
    cli.say(f"{found.num_images} images in {found.out}.")
    return 0


run = functools.partial(cli.run, main)

if __name__ == "__main__":
    run()
