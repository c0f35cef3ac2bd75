"""The Inception networks: TF-GAN's, whose scores bear the published names, and that of `keras.applications`."""

import contextlib
import functools
import hashlib
import os
import pathlib
import shutil
import sys
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterable
from typing import TypeAlias

import keras
import tensorflow as tf

from tfgan_app.base.files import written_whole
from tfgan_app.base.precision import dtype_policy
from tfgan_app.modalities.images import to_levels

__all__ = [
    "KERAS_RESIZER",
    "RESIZER",
    "antialiased_resize",
    "file_sha256",
    "load_keras_network",
    "load_module",
    "local_copy",
    "module_inputs",
]

# From images in [-1, 1] to outputs by name.
Network: TypeAlias = Callable[[tf.Tensor], dict[str, tf.Tensor]]

SIZE = 299
# What receipts call the two ways of resizing.
RESIZER = "tf1_bilinear_299"
KERAS_RESIZER = "antialiased_bilinear_299"

_HANDLE = "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"
# tfhub.dev passes requests on to Kaggle, where the module has lived since.
_URLS = (
    f"{_HANDLE}?tf-hub-format=compressed",
    "https://www.kaggle.com/models/tensorflow/inception/tensorFlow1/tfgan-eval-inception/1?tf-hub-format=compressed",
)
_OUTPUTS = {"pool_3": 2048, "logits": 1008}
# Inception v3 has 21 751 136 weights in its convolutions; normalisation and biases may be folded or not.
_WEIGHT_BYTES = 4 * (21_751_136 + 2048 * 1008)
_TIMEOUT_SECONDS = 30


def module_inputs(images: tf.Tensor) -> tf.Tensor:
    """Returns images `(batch, height, width, 3)` in [-1, 1] as the network of FID takes them, `(batch, 299, 299, 3)`.

    Pixels of 0 to 255 are resized as TensorFlow 1 did it, neither antialiased nor with half-pixel centres, then scaled
    by (x - 128) / 128. The graph of Szegedy et al. 2015 does so itself. TF-GAN's CIFAR example does so before the
    module, which does not resize again what has its size. Nothing is rounded: generated images keep the precision that
    they were drawn in, as in TF-GAN.
    """
    pixels = to_levels(images)
    resized = tf.raw_ops.ResizeBilinear(images=pixels, size=(SIZE, SIZE), align_corners=False, half_pixel_centers=False)
    return (resized - 128.0) / 128.0


def antialiased_resize(images: tf.Tensor) -> tf.Tensor:
    """Returns images `(batch, height, width, channels)` bilinearly resized to `(batch, 299, 299, channels)`."""
    return tf.image.resize(images, (SIZE, SIZE), antialias=True)


def local_copy() -> pathlib.Path:
    """Returns the path of this machine's copy of TF-GAN's module, a SavedModel's folder or a `.tar.gz` of it.

    It is what the environment variable TFGAN_INCEPTION names, else `tfgan_app/inception.tar.gz` in Keras's folder
    (`~/.keras`, or KERAS_HOME), where it is downloaded to if it is missing.

    Raises:
        ValueError: If what TFGAN_INCEPTION names does not exist, or there is no copy and it cannot be downloaded.
    """
    named = os.environ.get("TFGAN_INCEPTION")
    path = pathlib.Path(named).expanduser() if named else _home() / "inception.tar.gz"
    if not path.exists():
        if named:
            raise ValueError(f"TFGAN_INCEPTION names no file or folder. Received: {named}")
        _download(path)
    return path


def load_module(path: pathlib.Path) -> tuple[Network, str]:
    """Loads a copy of the TF-Hub module tensorflow/tfgan/eval/inception/1, whose `pool_3` are the features of FID.

    A SavedModel is a program: load only one whose origin you trust. Its publisher states no checksum, so none is built
    in. Instead a copy must have the module's outputs and no fewer bytes than the network's weights take, and the
    SHA-256 of the first that does is written to `tfgan_app/inception.sha256` in Keras's folder; from then on any other
    copy is refused. Receipts state it.

    Args:
        path: A SavedModel's folder, or a `.tar.gz` of it.

    Returns:
        A function from images `(batch, height, width, 3)` in [-1, 1] to `features` `(batch, 2048)` and `logits`
        `(batch, 1008)`, and the SHA-256 of the module's files.

    Raises:
        ValueError: If it is no such module, or another than the first one.
    """
    with _folder(path) as folder:
        files = [folder / "saved_model.pb", *sorted((folder / "variables").glob("*"))]
        size = sum(file.stat().st_size for file in files)
        if size < _WEIGHT_BYTES:
            raise ValueError(f"{path} is not {_HANDLE}: {size} bytes cannot hold its weights, {_WEIGHT_BYTES} bytes.")
        sha256 = file_sha256(files)
        pin = _home() / "inception.sha256"
        first = pin.read_text(encoding="utf-8").strip() if pin.is_file() else None
        if first not in (None, sha256):
            raise ValueError(
                f"{path} has changed: its SHA-256 is {sha256}, that of the copy first used here {first}. Restore that "
                f"copy, or delete {pin} to trust this one."
            )
        # A module in TF-Hub's first format has one graph without tags.
        module = tf.saved_model.load(str(folder), [] if (folder / "tfhub_module.pb").is_file() else None)
    _check_outputs(path, module)
    if first is None:
        _keep(pin, sha256)
    return functools.partial(_module_features, module), sha256


def load_keras_network() -> tuple[Network, str]:
    """Loads `keras.applications.InceptionV3` trained on ImageNet; Keras downloads it and checks it by its own MD5.

    It was trained anew: its features are other ones than those of FID.

    Returns:
        A function from images `(batch, height, width, 3)` in [-1, 1], antialiased where they are made smaller, to
        `features` `(batch, 2048)` and `logits` `(batch, 1000)`, and the SHA-256 of the weights.

    Raises:
        ValueError: If it is not in Keras's folder and cannot be downloaded.
    """
    try:
        with dtype_policy("float32"):
            network = keras.applications.InceptionV3(weights="imagenet", classifier_activation=None)
            outputs = {"features": network.get_layer("avg_pool").output, "logits": network.outputs[0]}
            cut = keras.Model(network.inputs[0], outputs)
    except Exception as error:  # Keras has no narrower one for a failed download.
        if "URL fetch failure" not in str(error):
            raise
        raise ValueError(
            f"keras_inception_v3 is not in Keras's folder and cannot be downloaded: {error}. Copy its weights to "
            "~/.keras/models from a machine with a network."
        ) from error
    digest = hashlib.sha256()
    for weights in network.get_weights():
        digest.update(weights.tobytes())
    return lambda images: cut(antialiased_resize(images), training=False), digest.hexdigest()


def file_sha256(paths: Iterable[pathlib.Path]) -> str:
    """Returns the SHA-256 of files one after another, as hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _home():
    return pathlib.Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "tfgan_app"


def _keep(pin, sha256):
    try:
        with written_whole(pin) as partial:
            partial.write_text(f"{sha256}\n", encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"The SHA-256 of Inception cannot be kept: {error}. Set KERAS_HOME to another folder."
        ) from error


def _download(path):
    """Downloads the module's archive to a path; what arrives incomplete or is no archive never gets there."""
    failures = []
    for url in _URLS:
        print(f"Downloading {url} to {path}.", file=sys.stderr)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                part = pathlib.Path(folder) / path.name
                with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer, part.open("wb") as file:
                    shutil.copyfileobj(answer, file)
                with _folder(part):
                    part.replace(path)
            return
        except (OSError, ValueError) as error:
            failures.append(f"{url}: {error}")
    raise ValueError(
        f"There is no copy of the Inception module in {path}, and it cannot be downloaded ({'; '.join(failures)}). Put "
        "the archive there from a machine with a network, or name a copy in the environment variable TFGAN_INCEPTION."
    )


@contextlib.contextmanager
def _folder(path):
    """Gives the SavedModel's folder of a copy: itself, or a temporary one that its archive is unpacked to.

    Raises:
        ValueError: If there is none in it.
    """
    with tempfile.TemporaryDirectory() as temporary:
        root = path
        if not path.is_dir():
            root = pathlib.Path(temporary)
            try:
                with tarfile.open(path) as archive:
                    _unpack(archive, root)
            except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
                raise ValueError(f"{path} is no complete .tar.gz: {error}") from error
        found = sorted(root.rglob("saved_model.pb"))
        if len(found) != 1:
            raise ValueError(f"{path} must hold one SavedModel. Received: {len(found)}")
        yield found[0].parent


def _unpack(archive, root):
    """Writes an archive's files, none of them elsewhere: `extractall` has its filters from Python 3.11.4 on alone."""
    root = root.resolve()
    for member in archive:
        target = root / member.name
        if not target.resolve().is_relative_to(root):
            raise tarfile.TarError(f"{member.name} lies outside of it")
        if member.isfile():
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.extractfile(member) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)


def _check_outputs(path, module):
    try:
        found = _run(module, tf.zeros((1, SIZE, SIZE, 3)))
        sizes = {name: int(tf.size(found[name])) for name in _OUTPUTS}
    except (KeyError, TypeError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{path} is not {_HANDLE}: it does not map images to {_OUTPUTS}.") from error
    if sizes != _OUTPUTS:
        raise ValueError(f"{path} is not {_HANDLE}: it does not map images to {_OUTPUTS}. Received: {sizes}")


def _module_features(module, images):
    outputs = _run(module, module_inputs(images))
    flat = {name: tf.reshape(outputs[name], (-1, length)) for name, length in _OUTPUTS.items()}
    return {"features": flat["pool_3"], "logits": flat["logits"]}


def _run(module, images):
    # TF-GAN calls the module as a function. In TF-Hub's first format it has signatures only.
    if callable(module):
        return module(images)
    signature = module.signatures["default"]
    (argument,) = signature.structured_input_signature[1]
    return signature(**{argument: images})
