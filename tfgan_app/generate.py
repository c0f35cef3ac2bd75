"""Draws images from a run or a SavedModel, edits them by their latents, or translates pictures by one.

python -m tfgan_app.generate --run=runs/mnist --grid=8x8 --seed=7 --out=grid.png
python -m tfgan_app.generate --run=runs/srgan --input=path/to/photos --out=enlarged
python -m tfgan_app.generate --run=runs/stylegan2 --project=photo.png --out=found
"""

import functools

from tfgan_app import cli
from tfgan_app.runs.settings import Drawing

__all__ = ["main", "run"]

cli.define(Drawing.rows())


def main(argv: list[str]) -> int:
    """Carries out the command; returns its exit code."""
    from tfgan_app.runs.generation import generate
    from tfgan_app.runs.translating import Translated

    progress = cli.Progress()
    found = generate(**cli.given(Drawing.rows()), progress=progress)
    progress.say(found.summary())
    return cli.EXIT_FAILURE if isinstance(found, Translated) and found.left_out else 0


run = functools.partial(cli.run, main)

if __name__ == "__main__":
    run()
