"""Feature extractors: what a metric sees of an image."""

import dataclasses
import hashlib
import json
import pathlib

import keras

from tfgan_app.metrics.classifier import load_classifier

__all__ = ["SHIPPED", "FeatureExtractor", "load_extractor", "shipped_for"]

_FOLDER = pathlib.Path(__file__).parent / "classifiers"

# Data sets each shipped classifier was made for.
SHIPPED = {
    "mnist_cnn": ("mnist", "mnist_5k"),
    "fashion_mnist_cnn": ("fashion_mnist",),
}


@dataclasses.dataclass(frozen=True)
class FeatureExtractor:
    """A network that maps images `(batch, height, width, channels)` in [-1, 1] to features `(batch, feature_dim)`.

    Attributes:
        network: The `keras.Model`.
        name: What scores call it.
        reference: What `load_extractor` needs to load it again: a name, a path or the model itself.
        sha256: Of the file, None for a model held in memory.
        facts: What a receipt repeats about it, such as a classifier's test accuracy.
    """

    network: keras.Model
    name: str
    reference: object
    sha256: str | None = None
    facts: dict = dataclasses.field(default_factory=dict)

    @property
    def feature_dim(self):
        """Length of a feature vector."""
        return self.network.outputs[0].shape[-1]

    @property
    def image_shape(self):
        """The `(height, width, channels)` that the network takes; None where any size will do."""
        return tuple(self.network.inputs[0].shape[1:])

    def __call__(self, images):
        """Returns the features of a batch.

        Raises:
            ValueError: If the images have another shape than the network takes.
        """
        expected, received = self.image_shape, tuple(images.shape[1:])
        if len(expected) != len(received) or any(
            want not in (None, got) for want, got in zip(expected, received, strict=True)
        ):
            raise ValueError(
                f"The feature extractor {self.name} takes images of shape {expected}. Received: {received}"
            )
        return self.network(images, training=False)

    def describe(self):
        """Returns the facts that identify it, for receipts."""
        return {"name": self.name, "sha256": self.sha256, "feature_dim": self.feature_dim, **self.facts}


def load_extractor(extractor):
    """Loads a feature extractor.

    Args:
        extractor: A shipped one's name, a path to a `.keras` file, a `keras.Model` or a `FeatureExtractor`. A model
            that has a layer called `features` is cut there, so a classifier serves as it is.

    Returns:
        A `FeatureExtractor`.

    Raises:
        ValueError: For an unknown name, a missing file, or a shipped file whose SHA-256 is not the recorded one.
    """
    if isinstance(extractor, FeatureExtractor):
        return extractor
    if isinstance(extractor, keras.Model):
        return FeatureExtractor(_cut(extractor), extractor.name, extractor)
    if extractor in SHIPPED:
        path = _FOLDER / f"{extractor}.npz"
        facts = json.loads(path.with_suffix(".json").read_text())
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        if sha256 != facts.pop("sha256"):
            raise ValueError(f"{path} is damaged: its SHA-256 is {sha256}. Install the package again.")
        return FeatureExtractor(_cut(load_classifier(path)), extractor, extractor, sha256, facts)
    path = pathlib.Path(extractor)
    if path.suffix != ".keras" or not path.is_file():
        raise ValueError(
            f"Unknown feature extractor. Expected one of {sorted(SHIPPED)} or the path of a .keras file. "
            f"Received: {str(extractor)!r}"
        )
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return FeatureExtractor(_cut(keras.models.load_model(path, compile=False)), path.stem, str(path), sha256)


def shipped_for(dataset):
    """Returns the name of the shipped extractor made for a data set, or None."""
    return next((name for name, datasets in SHIPPED.items() if dataset in datasets), None)


def _cut(network):
    names = [layer.name for layer in network.layers]
    if "features" not in names:
        return network
    return keras.Model(network.inputs[0], network.get_layer("features").output, name=network.name)
