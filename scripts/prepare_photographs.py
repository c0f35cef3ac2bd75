"""Gathers the photographs of docs/translation.md into OUT/train and OUT/test, from packages that hold some.

    apt-get install opencv-doc
    pip install scikit-image==0.26.0 scikit-learn==1.9.1
    python scripts/prepare_photographs.py OUT

The pictures are those packages' own, under their licences (opencv-doc: Apache 2.0, some BSD; scikit-image and
scikit-learn: BSD 3-clause, each picture as its package says). Nothing of them is part of this project. Photographs that
JPEG has compressed hard are reduced to half their sides, so that what is learnt from them is not JPEG's blocks.
"""

import importlib.util
import pathlib
import sys

from PIL import Image

LICENCES = "BSD-3-Clause (scikit-image, scikit-learn), Apache-2.0 and BSD (opencv-doc), or as these say of each"
OPENCV = pathlib.Path("/usr/share/doc/opencv-doc/examples")

# Held out: no other picture shows the same scene.
TEST = {
    "skimage": ("data/astronaut.png", "data/chelsea.png", "data/coffee.png"),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "opencv": (
        "data/baboon.jpg",
        "data/fruits.jpg",
        "data/rubberwhale1.png",
        "dnn_superres/butterfly.png",
        "reg/home.png",
    ),
}
TRAIN = {
    "skimage": (
        "data/brick.png",
        "data/camera.png",
        "data/cell.png",
        "data/coins.png",
        "data/grass.png",
        "data/gravel.png",
        "data/hubble_deep_field.jpg",
        "data/ihc.png",
        "data/moon.png",
        "data/motorcycle_left.png",
        "data/rocket.jpg",
    ),
    "sklearn": (),
    "opencv": (
        "alphamat/input_images/plant.jpg",
        "data/box_in_scene.png",
        "data/board.jpg",
        "data/basketball1.png",
        "data/chicky_512.png",
        "data/graf1.png",
        "data/leuvenA.jpg",
        "data/messi5.jpg",
        "data/smarties.png",
        "data/starry_night.jpg",
        "data/squirrel_cls.jpg",
        "fuzzy/input.png",
        "hfs/data/000.jpg",
    ),
}
HALVED = {
    "skimage": ("data/retina.jpg",),
    "sklearn": (),
    "opencv": (
        "data/aloeL.jpg",
        "data/apple.jpg",
        "data/building.jpg",
        "data/ela_original.jpg",
        "data/orange.jpg",
        "data/stuff.jpg",
    ),
}


def folder_of(package: str) -> pathlib.Path:
    """Returns where a package keeps its pictures."""
    if package == "opencv":
        return OPENCV
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        sys.exit(f"{package} is not installed: see the beginning of this script.")
    return pathlib.Path(spec.origin).parent


def main(out: pathlib.Path) -> None:
    """Writes every picture as a PNG in RGB, and their licences."""
    for split, table, factor in (("test", TEST, 1), ("train", TRAIN, 1), ("train", HALVED, 2)):
        (out / split).mkdir(parents=True, exist_ok=True)
        for package, names in table.items():
            for name in names:
                with Image.open(folder_of(package) / name) as picture:
                    rgb = picture.convert("RGB")
                size = [side // factor for side in rgb.size]
                rgb.resize(size, Image.Resampling.LANCZOS).save(out / split / f"{pathlib.PurePath(name).stem}.png")
    (out / "LICENCE.txt").write_text(f"{LICENCES}\n")
    for split in ("train", "test"):
        print(f"{len(list((out / split).iterdir()))} photographs in {out / split}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
