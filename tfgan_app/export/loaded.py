"""An exported model, loaded to draw from."""

import pathlib
from typing import Any

import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PathLike, local_path, read_object, reason
from tfgan_app.export.files import export_file
from tfgan_app.export.formats import SAVED_MODEL
from tfgan_app.export.saved_model import FACTS
from tfgan_app.modalities import Images, Modality, infer
from tfgan_app.sampler import Sampler, Signatures, check_class_names

__all__ = ["SavedGAN"]


class SavedGAN(Sampler):
    """A SavedModel written by `GAN.export`, as a `tfgan_app.sampler.Sampler`.

    A SavedModel is a program: load only those whose origin you trust.

    Args:
        folder: The SavedModel's folder.
        modality: What its samples are, where it is of a kind of your own.

    Attributes:
        facts: What `assets.extra/gan.json` tells: model, classes and their names, latents, steps trained.

    Raises:
        UsageError: If there is no SavedModel, or none of this package.
    """

    def __init__(self, folder: PathLike, modality: Modality | None = None):
        folder = local_path(folder)
        path = folder / FACTS
        if not (folder / "saved_model.pb").is_file() or not path.is_file():
            raise UsageError(
                f"{folder} is not a GAN exported by this package: it lacks saved_model.pb or {FACTS}. "
                "Name the version folder, such as saved_models/mnist/1."
            )
        try:
            self.facts = read_object(path, num_classes=(int, type(None)), latent_dim=int, step=int)
            self.modality = modality or _modality(self.facts)
            self.class_names = check_class_names(self.facts.get("class_names"), self.facts["num_classes"])
        except (OSError, TypeError, ValueError) as error:
            raise UsageError(f"{path} does not describe a GAN: {error}.") from error
        self.num_classes = self.facts["num_classes"]
        self.supervised = self.facts.get("supervised", True)
        self.latent_dim = self.facts["latent_dim"]
        try:
            # The module is kept, as its signatures' variables live only as long as it does.
            self._module = tf.saved_model.load(str(folder))
        except Exception as error:  # of many kinds: TensorFlow's, protobuf's, the system's
            raise UsageError(f"{folder} cannot be loaded as a SavedModel: {reason(error)}.") from error

    def forward(self, inputs: list[tf.Tensor], truncation: tf.Tensor | None = None) -> tf.Tensor:
        """Returns what the exported generator draws; see `Sampler.forward`."""
        arguments = dict(zip(("latents", "labels"), inputs, strict=False))
        if truncation is None:
            return self._drawn("generate", arguments)
        return self._drawn("generate_truncated", {**arguments, "truncation": truncation})

    def signatures(self) -> Signatures:
        """Returns those that the SavedModel has, which are `GAN.signatures` of the GAN."""
        found, known = self._module.signatures, super().signatures()
        _, (_, *labels) = known["generate"]
        samples = tf.TensorSpec((None, *self.modality.shape), tf.float32, self.modality.name)
        specs = {**{name: specs for name, (_, specs) in known.items()}, "discriminate": [samples, *labels]}
        return {name: (_by_position(found[name], specs[name]), specs[name]) for name in specs if name in found}

    def export(self, filepath: PathLike, format: str, **options: Any) -> pathlib.Path:
        """Writes one signature as an ONNX or a LiteRT file.

        Args:
            filepath: The file, which ends in `.onnx` or `.tflite`.
            format: `onnx` or `litert`.
            **options: `signature` and `opset_version`, as in `tfgan_app.export.export_file`.

        Returns:
            The file's path.

        Raises:
            UsageError: If there is no such signature or format, or the converter is not installed.
            Failure: If the converter cannot translate an operation.
        """
        if format == SAVED_MODEL:
            raise UsageError(f"`format={format}`: it is a SavedModel already. Copy its folder.")
        return export_file(filepath, self.signatures(), self.facts, format=format, **options)

    def _drawn(self, signature, arguments):
        signatures = self._module.signatures
        if signature not in signatures:
            raise UsageError(
                f"This SavedModel has no signature `{signature}`: an earlier version wrote it. Export again."
            )
        return self.modality.encode(signatures[signature](**arguments)[self.modality.name])


def _by_position(signature, specs):
    """Returns a loaded signature, which takes its arguments by name, as a function of their list."""
    return lambda *inputs: signature(**{spec.name: x for spec, x in zip(specs, inputs, strict=True)})


def _modality(facts):
    """Returns the modality of a model of which `facts` are known; raises `ValueError` where it is none of ours."""
    # Earlier versions exported images only, with an image_shape.
    shape = facts.get("shape", facts.get("image_shape"))
    if not isinstance(shape, list) or not all(type(side) is int and side > 0 for side in shape):
        raise ValueError("it has no 'shape'")
    found, name = infer(tuple(shape)), facts.get("modality", Images.name)
    if name != found.name:
        raise ValueError(f"its samples are called {name}: give their `modality`")
    return found
