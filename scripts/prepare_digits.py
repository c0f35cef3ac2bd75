"""Cuts the 5 000 handwritten digits of 20x20 in OpenCV's digits.png apart, into OUT/train/CLASS and OUT/test/CLASS.

    apt-get install opencv-doc
    python scripts/prepare_digits.py OUT [DIGITS_PNG]

The picture comes with opencv-doc (Apache 2.0): 500 of each digit, one below the other, a hundred a row. Every fifth is
held out.
"""

import pathlib
import sys

import numpy as np
from PIL import Image

DIGITS = pathlib.Path("/usr/share/doc/opencv-doc/examples/data/digits.png")
SIDE, ROWS, COLUMNS = 20, 50, 100


def main(out: pathlib.Path, path: pathlib.Path) -> None:
    """Writes a PNG for each digit."""
    if not path.is_file():
        sys.exit(f"{path} is missing: see the beginning of this script.")
    sheet = np.asarray(Image.open(path).convert("L"))
    cells = sheet.reshape(ROWS, SIDE, COLUMNS, SIDE).swapaxes(1, 2).reshape(ROWS * COLUMNS, SIDE, SIDE)
    for index, cell in enumerate(cells):
        folder = out / ("train" if index % 5 else "test") / str(index * 10 // len(cells))
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(cell).save(folder / f"{index:04d}.png")
    print(f"{len(cells)} digits in {out}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) if sys.argv[2:] else DIGITS)
