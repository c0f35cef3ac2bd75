"""What a trained network sees of images at several depths, for terms that compare it."""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PathLike, local_path, reason
from tfgan_app.base.hosts import unreachable
from tfgan_app.base.networks import loaded_safely
from tfgan_app.base.precision import dtype_policy
from tfgan_app.modalities.images import to_levels

__all__ = ["NetworkLike", "layer_outputs"]

# What `layer_outputs` takes: "vgg19", the path of a .keras file, or a model.
NetworkLike: TypeAlias = PathLike | keras.Model
_Call: TypeAlias = Callable[[tf.Tensor], list[tf.Tensor]]

_VGG19_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
)


def layer_outputs(network: NetworkLike, layers: Sequence[str]) -> _Call:
    """Returns a function from float32 images `(batch, height, width, channels)` in [-1, 1] to the outputs of layers.

    The network is called for inference, and greyscale images are repeated where it takes RGB.

    Args:
        network: A functional `keras.Model` of images in [-1, 1], the path of a `.keras` file of one, or "vgg19":
            `keras.applications.VGG19` trained on ImageNet, with the preprocessing that it has there. Keras downloads
            its weights, which are those of the paper's authors; other programs' have features of another scale.
        layers: Names of layers. Those of "vgg19" are `block1_conv1` to `block5_conv4`, before their ReLU. None of
            another network stands for its output.

    Raises:
        UsageError: For a network that cannot be had, or has no such layers; by the function, for images that it cannot
            take.
    """
    if isinstance(network, keras.Model):
        name = network.name
        call, shape = _of_model(network, name, layers)
    elif network == "vgg19":
        name = "vgg19"
        call, shape = _of_vgg19(layers)
    else:
        path = local_path(network)
        if path.suffix != ".keras" or not path.is_file():
            raise UsageError(
                "`extractor` must be vgg19, a keras.Model or the path of a .keras file that there is. Received: "
                f"extractor={str(network)!r}"
            )
        name = path.stem
        call, shape = _of_model(loaded_safely(path), str(path), layers)

    def outputs(images: tf.Tensor) -> list[tf.Tensor]:
        if shape[-1] == 3 and images.shape[-1] == 1:
            images = tf.repeat(images, 3, axis=-1)
        if not images.shape[1:].is_compatible_with(shape):
            raise UsageError(f"{name} takes images of shape {shape}. Received: {tuple(images.shape[1:])}")
        found = [tf.cast(x, tf.float32) for x in call(images)]
        if any(0 in x.shape[1:] for x in found):
            raise _too_small(images, name)
        return found

    return outputs


def _of_model(network: keras.Model, name: str, layers: Sequence[str]) -> tuple[_Call, tuple[int | None, ...]]:
    if len(getattr(network, "inputs", None) or ()) != 1:
        raise UsageError(f"{name} must be a functional model of one input, the images.")
    known = [layer.name for layer in network.layers]
    _check_layers(name, layers, known)
    outputs = [network.get_layer(layer).output for layer in layers] or list(network.outputs)
    cut = keras.Model(network.inputs[0], outputs)
    return lambda images: keras.tree.flatten(cut(images, training=False)), tuple(network.inputs[0].shape[1:])


def _of_vgg19(layers: Sequence[str]) -> tuple[_Call, tuple[int | None, ...]]:
    network = _vgg19()
    parts = network.layers[1:]
    convolutions = [layer.name for layer in parts if isinstance(layer, keras.layers.Conv2D)]
    layers = list(layers) or ["block5_conv4"]
    _check_layers("vgg19", layers, convolutions)
    # What comes after the last of them is not computed.
    last = max(index for index, layer in enumerate(parts) if layer.name in layers)
    parts = parts[: last + 1]
    for layer in parts:
        if layer.name in convolutions:
            layer.activation = keras.activations.linear

    def call(images):
        x = keras.applications.vgg19.preprocess_input(to_levels(images), data_format="channels_last")
        found = {}
        for layer in parts:
            if isinstance(layer, keras.layers.MaxPooling2D) and 1 in x.shape[1:3]:
                raise _too_small(images, "vgg19")
            found[layer.name] = x = layer(x)
            x = tf.nn.relu(x) if layer.name in convolutions else x
        return [found[name] for name in layers]

    return call, (None, None, 3)


def _vgg19():
    home = pathlib.Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    path = home / "models" / _VGG19_URL.rpartition("/")[2]
    if not path.exists() and (failure := unreachable([_VGG19_URL])):
        raise _no_vgg19(path, failure)
    try:
        with dtype_policy("float32"):
            return keras.applications.VGG19(include_top=False, weights="imagenet")
    except Exception as error:  # Keras has no narrower one for a failed download.
        if "URL fetch failure" not in str(error):
            raise
        raise _no_vgg19(path, reason(error)) from error


def _no_vgg19(path, failure):
    return UsageError(
        f"The weights of VGG19 are not there ({path}), and cannot be downloaded: {failure}. Copy {_VGG19_URL} there "
        "from a machine with a network; or give another network in its place, a keras.Model of images in [-1, 1] or "
        "the path of a .keras file, or none."
    )


def _too_small(images, name):
    return UsageError(
        f"Images of shape {tuple(images.shape[1:])} are too small for {name}: nothing is left of them. Take `layers` "
        "before that."
    )


def _check_layers(name, layers, known):
    unknown = [layer for layer in layers if layer not in known]
    if unknown:
        raise UsageError(f"{name} has no layer {unknown[0]!r}. It has: {', '.join(known)}.")
