"""Draws images from a run or a SavedModel, or translates pictures by one.

python -m tfgan_app.generate --run=runs/mnist --grid=8x8 --seed=7 --out=grid.png
python -m tfgan_app.generate --run=runs/srgan --input=path/to/photos --out=enlarged
"""

import functools

from tfgan_app import cli
from tfgan_app.runs.settings import Drawing

__all__ = ["main", "run"]

cli.define(Drawing.rows())


def main(argv: list[str]) -> int:
    """Carries out the command; returns its exit code."""
    from tfgan_app.runs.generation import Generated, generate

    progress = cli.Progress()
    found = generate(**cli.given(Drawing.rows()), progress=progress)
    if isinstance(found, Generated):
        progress.say(f"{found.num_images} images in {found.out}.")
        return 0
    progress.say(found.summary())
    return cli.EXIT_FAILURE if found.left_out else 0


run = functools.partial(cli.run, main)

if __name__ == "__main__":
    run()
