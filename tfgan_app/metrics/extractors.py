"""Feature extractors: what a metric sees of an image."""

import functools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf
from absl import logging

from tfgan_app.base.files import PROGRAM, PathLike, local_path
from tfgan_app.base.networks import loaded_safely
from tfgan_app.metrics import inception
from tfgan_app.metrics.classifier import load_classifier
from tfgan_app.modalities.modality import Array

__all__ = ["NAMES", "SHIPPED", "ExtractorLike", "FeatureExtractor", "load_extractor", "shipped_for"]

_FOLDER = pathlib.Path(__file__).parent / "classifiers"

# The shipped classifiers, with the data sets that each was made for.
SHIPPED = {
    "mnist_cnn": ("mnist", "mnist_5k"),
    "fashion_mnist_cnn": ("fashion_mnist",),
}
# What `load_extractor` takes beside paths and models.
NAMES = (*SHIPPED, "inception", "keras_inception_v3")


class FeatureExtractor:
    """A function from images `(batch, height, width, channels)` in [-1, 1] to features `(batch, feature_dim)`.

    Args:
        function: Returns a dict with `features` and, where it is a classifier, class `logits` `(batch, num_logits)`.
        name: What scores call it.
        reference: What `load_extractor` needs to load it again: a name, a path or the model itself.
        image_shape: The `(height, width, channels)` that it takes, None where any size will do.
        sha256: The SHA-256 of its file, None for a model held in memory.
        facts: What a receipt repeats about it, such as a classifier's test accuracy.
        resizer: How the function resizes images to the network's size, None where it takes them as they are. One that
            resizes takes greyscale images too, repeated to RGB.
        canonical: Whether it is the network and the resizing that FID, KID and the Inception score are defined by.

    Attributes:
        feature_dim: Length of a feature vector.
        num_logits: Number of class logits, None where there are none.
    """

    def __init__(
        self,
        function: Callable[[tf.Tensor], dict[str, tf.Tensor]],
        name: str,
        reference: str | keras.Model,
        image_shape: Sequence[int | None],
        sha256: str | None = None,
        facts: dict[str, Any] | None = None,
        resizer: str | None = None,
        canonical: bool = False,
    ):
        self.function = tf.function(function, reduce_retracing=True)
        self.name, self.reference = name, reference
        self.image_shape = tuple(image_shape)
        self.sha256, self.facts = sha256, facts or {}
        self.resizer, self.canonical = resizer, canonical
        spec = tf.TensorSpec((None, *self.image_shape), tf.float32)
        shapes = {key: x.shape for key, x in self.function.get_concrete_function(spec).structured_outputs.items()}
        self.feature_dim = shapes["features"][-1]
        self.num_logits = shapes["logits"][-1] if "logits" in shapes else None

    def require(self, image_shape: Sequence[int]) -> None:
        """Raises `ValueError` unless the network takes images of a shape `(height, width, channels)`."""
        expected, received = self.image_shape, tuple(image_shape)
        taken = (*received[:-1], 3) if self.resizer and received[-1:] == (1,) else received
        if len(expected) != len(taken) or any(
            want not in (None, got) for want, got in zip(expected, taken, strict=True)
        ):
            raise ValueError(
                f"The feature extractor {self.name} takes images of shape {expected}. Received: {received}"
            )

    def outputs(self, images: Array) -> dict[str, tf.Tensor]:
        """Returns the float32 outputs for a batch by name: `features`, and `logits` where it is a classifier.

        Raises:
            ValueError: If the images have another shape than the network takes.
        """
        self.require(images.shape[1:])
        if self.resizer and images.shape[-1] == 1:
            images = tf.repeat(images, 3, axis=-1)
        return {name: tf.cast(x, tf.float32) for name, x in self.function(tf.cast(images, tf.float32)).items()}

    def __call__(self, images: Array) -> tf.Tensor:
        """Returns the features of a batch; raises as `outputs`."""
        return self.outputs(images)["features"]

    def describe(self) -> dict[str, Any]:
        """Returns the facts that identify it, for receipts."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "feature_dim": self.feature_dim,
            "resizer": self.resizer,
            "canonical": self.canonical,
            **self.facts,
        }


# What `load_extractor` takes.
ExtractorLike: TypeAlias = PathLike | keras.Model | FeatureExtractor


def load_extractor(extractor: ExtractorLike, trust_extractor: bool = False) -> FeatureExtractor:
    """Loads a feature extractor.

    A `.keras` file is data, and is loaded in Keras's safe mode always. A SavedModel is a program.

    Args:
        extractor: One of `NAMES`, the path of a `.keras` file or of a SavedModel's folder, a `keras.Model` or a
            `FeatureExtractor`. `inception` is TF-GAN's, the only one whose scores are called FID, KID and Inception
            score; see `tfgan_app.metrics.inception` for where it comes from. A model that has a layer called `features`
            gives that layer's output as features and its own as class logits, so a classifier serves as it is; so does
            a SavedModel whose default signature returns `features` and `logits`.
        trust_extractor: Whether to load a SavedModel. A metric takes the result in place of the path.

    Returns:
        A `FeatureExtractor`.

    Raises:
        ValueError: For an unknown name, a missing file, a file whose SHA-256 is not the recorded one, an Inception
            network that is neither there nor can be downloaded, a `.keras` file that holds code or classes that are not
            Keras's, or a SavedModel that is not trusted.
    """
    if isinstance(extractor, FeatureExtractor):
        return extractor
    if isinstance(extractor, keras.Model):
        return _of_network(extractor, extractor.name, extractor)
    if extractor in SHIPPED:
        path = _FOLDER / f"{extractor}.npz"
        return _shipped(extractor, path, path.stat().st_mtime_ns)
    if extractor == "inception":
        path = inception.local_copy()
        return _inception(path, path.stat().st_mtime_ns)
    if extractor == "keras_inception_v3":
        return _keras_inception()
    path = local_path(extractor)
    if path.suffix == ".keras" and path.is_file():
        return _of_network(loaded_safely(path), path.stem, str(path), inception.file_sha256([path]))
    if (path / "saved_model.pb").is_file():
        if not trust_extractor:
            raise ValueError(
                f"{path} is a SavedModel, a program that runs with your rights. If you trust where it is from, load it "
                "with `trust_extractor`."
            )
        logging.warning(PROGRAM, path)
        return _of_saved_model(path)
    raise ValueError(
        f"Unknown feature extractor. Expected one of {sorted(NAMES)}, the path of a .keras file or the folder of a "
        f"SavedModel. Received: {str(extractor)!r}"
    )


def shipped_for(dataset: str) -> str | None:
    """Returns the name of the shipped extractor made for a data set, or None."""
    return next((name for name, datasets in SHIPPED.items() if dataset in datasets), None)


# Cached, so that metrics of one extractor share it, and with it what an `Observation` computes.
@functools.lru_cache
def _shipped(name, path, changed):
    facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    sha256 = inception.file_sha256([path])
    if sha256 != facts.pop("sha256"):
        raise ValueError(f"{path} is damaged: its SHA-256 is {sha256}. Install the package again.")
    return _of_network(load_classifier(path), name, name, sha256, facts)


@functools.lru_cache
def _inception(path, changed):
    function, sha256 = inception.load_module(path)
    return FeatureExtractor(
        function, "inception", "inception", (None, None, 3), sha256, resizer=inception.RESIZER, canonical=True
    )


@functools.lru_cache
def _keras_inception():
    function, sha256 = inception.load_keras_network()
    name = "keras_inception_v3"
    return FeatureExtractor(function, name, name, (None, None, 3), sha256, resizer=inception.KERAS_RESIZER)


def _of_network(network, name, reference, sha256=None, facts=None):
    names = [layer.name for layer in network.layers]
    outputs = {"features": network.outputs[0]}
    if "features" in names:
        outputs = {"features": network.get_layer("features").output, "logits": network.outputs[0]}
    cut = keras.Model(network.inputs[0], outputs)
    return FeatureExtractor(
        lambda images: cut(images, training=False), name, reference, network.inputs[0].shape[1:], sha256, facts
    )


def _of_saved_model(path):
    module = tf.saved_model.load(str(path))
    signature = module.signatures["serving_default"]
    ((argument, spec),) = signature.structured_input_signature[1].items()
    outputs = signature.structured_outputs
    if "features" not in outputs and len(outputs) != 1:
        raise ValueError(
            f"{path} cannot serve as a feature extractor: of its outputs {sorted(outputs)} none is called features."
        )

    def function(images):
        # Not `signature`: the module must be kept, as its variables live only as long as it does.
        found = module.signatures["serving_default"](**{argument: images})
        # Where none is called features, there is one output only.
        return found if "features" in found else {"features": next(iter(found.values()))}

    files = sorted(p for p in path.rglob("*") if p.is_file() and p.parent.name in (path.name, "variables"))
    return FeatureExtractor(function, path.name, str(path), spec.shape[1:], inception.file_sha256(files))
