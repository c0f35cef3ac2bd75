"""Writes the colour bitmaps of the font Noto Color Emoji as PNGs of 136x128 with alpha, into OUT/train and OUT/test.

    apt-get install fonts-noto-color-emoji && pip install fonttools
    python scripts/prepare_emoji.py OUT [FONT]

The font is under the SIL Open Font License 1.1. A tenth of the pictures is held out, by their first code point: the
variants of one picture, of other skin or other hair, stay on one side.
"""

import hashlib
import io
import pathlib
import sys

from fontTools.ttLib import TTFont
from PIL import Image

FONT = pathlib.Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
FOLD = 10  # of so many parts one is held out


def main(out: pathlib.Path, font: pathlib.Path) -> None:
    """Writes every bitmap of a font."""
    if not font.is_file():
        sys.exit(f"{font} is missing: see the beginning of this script.")
    counts = {"train": 0, "test": 0}
    for split in counts:
        (out / split).mkdir(parents=True, exist_ok=True)
    for strike in TTFont(font)["CBDT"].strikeData:
        for name, glyph in sorted(strike.items()):
            if not (encoded := getattr(glyph, "imageData", None)):
                continue
            digest = hashlib.sha256(name.split("_")[0].encode()).digest()
            split = "train" if digest[0] % FOLD else "test"
            Image.open(io.BytesIO(encoded)).convert("RGBA").save(out / split / f"{name}.png")
            counts[split] += 1
    print(f"{counts['train']} and {counts['test']} pictures in {out}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) if sys.argv[2:] else FONT)
