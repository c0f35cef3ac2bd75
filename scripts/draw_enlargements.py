"""Draws docs/translation/enlarged.png: parts of photographs, enlarged by bicubic interpolation and by SRGAN.

    python scripts/prepare_photographs.py PHOTOGRAPHS
    python scripts/draw_enlargements.py PHOTOGRAPHS

The photographs are of those that were held out in training.
"""

import argparse
from pathlib import Path

import numpy as np

from tfgan_app.base import pictures
from tfgan_app.data import degrade
from tfgan_app.data.degradations import parse_degradation
from tfgan_app.export.loaded import SavedTranslator
from tfgan_app.modalities.image_files import read_image

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "translation" / "enlarged.png"
SCALE = 4
SIDE = 176
# The upper left corner of what is shown of each.
PARTS = {"butterfly.png": (60, 60), "astronaut.png": (24, 152), "china.png": (156, 248)}


def cells(photographs: Path) -> list[np.ndarray]:
    """Returns source, bicubic enlargement, the model's and truth of each part, uint8 `(SIDE, SIDE, 3)`."""
    model = SavedTranslator(ROOT / "saved_models" / "superres" / "1")
    shrink = parse_degradation(f"shrink({SCALE})")
    found = []
    for name, (top, left) in PARTS.items():
        truth = read_image(photographs / "test" / name, 3)
        truth = truth[: truth.shape[0] // SCALE * SCALE, : truth.shape[1] // SCALE * SCALE]
        small = np.uint8(np.round(255 * degrade(truth / 255, shrink)))
        enlarged = model.translate(small[None] / np.float32(255))[0]
        versions = [
            small.repeat(SCALE, 0).repeat(SCALE, 1),
            shrink.baseline(small),
            np.uint8(np.round(255 * np.asarray(enlarged))),
            truth,
        ]
        found += [version[top : top + SIDE, left : left + SIDE] for version in versions]
    return found


def main(photographs: Path, target: Path) -> None:
    """Writes the picture."""
    titles = ["source", "bicubic", "SRGAN", "truth"]
    picture = pictures.titled(pictures.tile(np.stack(cells(photographs)), len(titles)), titles)
    pictures.save_png(target, picture)
    print(target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="What scripts/prepare_photographs.py wrote.")
    parser.add_argument("--out", type=Path, default=TARGET)
    args = parser.parse_args()
    main(args.photographs, args.out)
