"""The small classifier whose features serve the Frechet distance on 28x28 images."""

import json
import pathlib

import keras
import numpy as np
from keras import layers

from tfgan_app.base.files import PathLike
from tfgan_app.base.precision import dtype_policy

__all__ = ["build_classifier", "load_classifier", "save_classifier"]


def build_classifier(image_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Returns images `(batch, *image_shape)` in [-1, 1] -> class logits; the layer `features` holds 128 features.

    They are averages over the image of a rectified convolution's output, as those of Inception that FID uses.
    """
    images = x = keras.Input(image_shape, name="images")
    for channels, pool in ((32, True), (64, True), (128, False), (128, False)):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x) if pool else x
    features = layers.GlobalAveragePooling2D(name="features", dtype="float32")(x)
    logits = layers.Dense(num_classes, dtype="float32")(layers.Dropout(0.3)(features))
    return keras.Model(images, logits, name="classifier")


def save_classifier(path: PathLike, network: keras.Model) -> None:
    """Writes the weights of `build_classifier` as an `.npz`, which every version of Keras reads, unlike `.keras`."""
    np.savez(path, *network.get_weights())


def load_classifier(path: pathlib.Path) -> keras.Model:
    """Returns the classifier in float32, from its weights and the `.json` of facts beside them."""
    facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["trained_on"]
    with dtype_policy("float32"):
        network = build_classifier(tuple(facts["image_shape"]), facts["num_classes"])
    with np.load(path, allow_pickle=False) as arrays:
        network.set_weights([arrays[name] for name in arrays.files])
    return network
