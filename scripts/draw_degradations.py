"""Draws docs/translation/degradations.png: a photograph and what each degradation makes of it.

    pip install scikit-image==0.26 && python scripts/draw_degradations.py
    python scripts/draw_degradations.py --photograph=path/to/photograph.jpg

By default the photograph is scikit-image's "astronaut": Eileen Collins, by NASA, in the public domain.
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from tfgan_app.base import pictures
from tfgan_app.data import degrade
from tfgan_app.modalities.image_files import read_image

TARGET = Path(__file__).parent.parent / "docs" / "translation" / "degradations.png"
SIDE = 160
COLUMNS = 6
SEED = 11
TEXTS = (
    "shrink(4)",
    "shrink(4, box)",
    "grey",
    "edges",
    "edges(2.0)",
    "mask(centre)",
    "mask(boxes)",
    "mask(strokes)",
    "noise(25)",
    "poisson(3.0)",
    "blur(2)",
    "blur(3, shape=plateau)",
    "sinc(1.0)",
    "jpeg(10)",
    "real_esrgan(1)",
    "real_esrgan(2)",
    "real_esrgan",
)


def find_photograph() -> Path:
    """Returns the path of the photograph in the installed scikit-image."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise SystemExit("scikit-image is not installed. Give a --photograph, or: pip install scikit-image==0.26")
    return Path(spec.origin).parent / "data" / "astronaut.png"


def read_square(path: Path) -> np.ndarray:
    """Returns the upper middle of a photograph, where faces are, as uint8 `(SIDE, SIDE, 3)`."""
    photograph = Image.fromarray(read_image(path, 3))
    side = round(min(photograph.size) * 0.55)
    left = (photograph.width - side) // 2 - round(0.05 * photograph.width)
    return np.asarray(photograph.crop((left, 0, left + side, side)).resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def shown(source: np.ndarray) -> np.ndarray:
    """Returns a source in RGB and of the size of all, its holes chequered as in image editors."""
    if source.shape[2] == 4:
        row, column = np.indices(source.shape[:2]) // 8
        chequers = np.where((row + column) % 2, 204, 255).astype(np.uint8)[..., None]
        source = np.where(source[..., 3:] > 0, source[..., :3], chequers)
    repeats = SIDE // source.shape[0]
    return np.broadcast_to(source.repeat(repeats, 0).repeat(repeats, 1), (SIDE, SIDE, 3))


def main() -> None:
    """Draws the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photograph", type=Path, help="another photograph")
    photograph = read_square(parser.parse_args().photograph or find_photograph())
    drawn = [pictures.titled(photograph, ["a photograph"])]
    drawn += [pictures.titled(shown(degrade(photograph, text, SEED)), [text]) for text in TEXTS]
    TARGET.parent.mkdir(exist_ok=True)
    page = Image.fromarray(pictures.tile(np.stack(drawn), COLUMNS, border=4))
    # A palette takes a third of the bytes, and dithering hides it.
    page.quantize(192).save(TARGET, optimize=True)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
