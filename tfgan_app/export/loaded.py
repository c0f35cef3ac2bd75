"""An exported model, loaded to draw from or to translate by."""

import pathlib
from typing import Any

import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PathLike, check_object, local_path, read_object, reason
from tfgan_app.conditions import Attributes, check_class_names
from tfgan_app.export.files import export_file
from tfgan_app.export.formats import SAVED_MODEL
from tfgan_app.export.saved_model import FACTS
from tfgan_app.modalities import Images, Modality, infer
from tfgan_app.modalities.values import LEVELS
from tfgan_app.sampler import Sampler, Signatures
from tfgan_app.translator import Translator

__all__ = ["SavedGAN", "SavedTranslator", "open_saved"]


class _Saved:
    """Base of what a SavedModel of this package is loaded as.

    Attributes:
        facts: What `assets.extra/gan.json` tells: model, shapes, classes and their names, steps trained.
    """

    facts: dict[str, Any]
    _module: Any

    def _load(self, folder: PathLike) -> None:
        folder = local_path(folder)
        try:
            # The module is kept, as its signatures' variables live only as long as it does.
            self._module = tf.saved_model.load(str(folder))
        except Exception as error:  # of many kinds: TensorFlow's, protobuf's, the system's
            raise UsageError(f"{folder} cannot be loaded as a SavedModel: {reason(error)}.") from error

    @property
    def variables(self) -> list[Any]:
        """The weights, named after their layers: those of the generator's average `ema/...`, the others D's."""
        return list(self._module.used)

    def signatures(self) -> Signatures:
        raise NotImplementedError

    def export(self, filepath: PathLike, format: str, **options: Any) -> pathlib.Path:
        """Writes one signature as an ONNX or a LiteRT file.

        Args:
            filepath: The file, which ends in `.onnx` or `.tflite`.
            format: `onnx` or `litert`.
            **options: `signature`, by default the first, and `opset_version`, as in `tfgan_app.export.export_file`.

        Returns:
            The file's path.

        Raises:
            UsageError: If there is no such signature or format, or the converter is not installed.
            Failure: If the converter cannot translate an operation.
        """
        if format == SAVED_MODEL:
            raise UsageError(f"`format={format}`: it is a SavedModel already. Copy its folder.")
        return export_file(filepath, self.signatures(), self.facts, format=format, **options)

    def _signature(self, name: str) -> Any:
        signatures = self._module.signatures
        if name not in signatures:
            raise UsageError(f"This SavedModel has no signature `{name}`: an earlier version wrote it. Export again.")
        return signatures[name]

    def _known(self, specs: dict[str, list[tf.TensorSpec]]) -> Signatures:
        """Returns the signatures that the SavedModel has of those whose arguments are known."""
        found = self._module.signatures
        return {name: (_by_position(found[name], specs[name]), specs[name]) for name in specs if name in found}


class SavedGAN(_Saved, Sampler):
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
        self.facts, path = _facts(folder), local_path(folder) / FACTS
        try:
            check_object(self.facts, latent_dim=int)
            self.modality = modality or _modality(self.facts)
            self.class_names = check_class_names(self.facts.get("class_names"), self.facts["num_classes"])
            told, style_shape = self.facts.get("attributes"), self.facts.get("style_shape")
            self.attributes = None if told is None else Attributes.from_config(told)
            self.style_shape = None if style_shape is None else _pair(*style_shape)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{path} does not describe a GAN: {error}.") from error
        self.num_classes = self.facts["num_classes"]
        self.supervised = self.facts.get("supervised", True)
        self.latent_dim = self.facts["latent_dim"]
        self._load(folder)

    def forward(self, inputs: list[tf.Tensor], truncation: tf.Tensor | None = None) -> tf.Tensor:
        """Returns what the exported generator draws; see `Sampler.forward`."""
        arguments = self._arguments(inputs)
        if truncation is None:
            return self._drawn("generate", arguments)
        return self._drawn("generate_truncated", {**arguments, "truncation": truncation})

    def map_styles(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        return self._signature("styles")(**self._arguments(inputs))["styles"]

    def synthesize(self, styles: tf.Tensor, truncation: tf.Tensor | None = None) -> tf.Tensor:
        if truncation is None:
            return self._drawn("synthesize", {"styles": styles})
        return self._drawn("synthesize_truncated", {"styles": styles, "truncation": truncation})

    def _no_styles(self):
        return UsageError("This SavedModel has no styles: its model has none, or an earlier version wrote it.")

    def signatures(self) -> Signatures:
        """Returns those that the SavedModel has, which are `GAN.signatures` of the GAN."""
        known = Sampler.signatures(self)
        _, (_, *labels) = known["generate"]
        samples = tf.TensorSpec((None, *self.modality.shape), tf.float32, self.modality.name)
        return self._known({**{name: specs for name, (_, specs) in known.items()}, "discriminate": [samples, *labels]})

    def _arguments(self, inputs):
        names = ["latents", *([] if self.condition is None else [self.condition.name])]
        return dict(zip(names, inputs, strict=True))

    def _drawn(self, signature, arguments):
        return self.modality.encode(self._signature(signature)(**arguments)[self.modality.name])


class SavedTranslator(_Saved, Translator):
    """A SavedModel of a translator, as a `tfgan_app.translator.Translator`.

    A SavedModel is a program: load only those whose origin you trust.

    Args:
        folder: The SavedModel's folder.

    Attributes:
        facts: What `assets.extra/gan.json` tells: model, shapes, scale, ways, steps trained.

    Raises:
        UsageError: If there is no SavedModel, or none of a translator of this package.
    """

    def __init__(self, folder: PathLike):
        self.facts, path = _facts(folder), local_path(folder) / FACTS
        facts = self.facts
        try:
            check_object(facts, source_shape=list, shape=list, scale=int, multiple=int, ways=list, draws=bool)
            check_object(facts, radius=(int, type(None)))
            self.source, self.target = (Images(_shape(facts, name)) for name in ("source_shape", "shape"))
            self.class_names = check_class_names(facts.get("class_names"), facts["num_classes"])
        except (TypeError, ValueError) as error:
            raise UsageError(f"{path} does not describe a translator: {error}.") from error
        self.num_classes, self.scale, self.multiple = facts["num_classes"], facts["scale"], facts["multiple"]
        self.radius, self.ways, self.draws = facts["radius"], tuple(facts["ways"]), facts["draws"]
        self.multi_label = facts.get("multi_label", False)
        self.keeps_colours, self.tileable = facts.get("keeps_colours", False), facts.get("tileable", True)
        self.data, self.whole = facts.get("data", self.data), facts.get("whole", self.whole)
        self._load(folder)

    def forward(
        self, sources: tf.Tensor, way: str = "translate", seed: tf.Tensor | None = None, labels: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns what the exported generator makes; see `Translator.forward`."""
        arguments = {"images": self.modality_of(way, "source").decode(sources)}
        if labels is not None:
            arguments["labels"] = labels
        if seed is not None:
            arguments["seed"] = seed[0]
        found = self._signature(f"{way}_seeded" if seed is not None else way)(**arguments)
        return self.modality_of(way, "target").encode(found["images"])

    def signatures(self) -> Signatures:
        """Returns those that the SavedModel has, which are `Translator.signatures` of the model."""
        return self._known({name: specs for name, (_, specs) in Translator.signatures(self).items()})

    def describe(self) -> dict[str, Any]:
        """Returns the facts."""
        return self.facts


def open_saved(folder: PathLike) -> SavedGAN | SavedTranslator:
    """Loads a SavedModel of this package as what it is.

    Raises:
        UsageError: If there is none.
    """
    return SavedTranslator(folder) if "source_shape" in _facts(folder) else SavedGAN(folder)


def _facts(folder: PathLike) -> dict[str, Any]:
    """Returns what is known of a SavedModel of this package."""
    folder = local_path(folder)
    path = folder / FACTS
    if not (folder / "saved_model.pb").is_file() or not path.is_file():
        raise UsageError(
            f"{folder} is not a GAN exported by this package: it lacks saved_model.pb or {FACTS}. "
            "Name the version folder, such as saved_models/mnist/1."
        )
    try:
        return read_object(path, num_classes=(int, type(None)), step=int)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} does not describe a GAN: {error}.") from error


def _by_position(signature, specs):
    """Returns a loaded signature, which takes its arguments by name, as a function of their list."""
    return lambda *inputs: signature(**{spec.name: x for spec, x in zip(specs, inputs, strict=True)})


def _pair(first: int, second: int) -> tuple[int, int]:
    return int(first), int(second)


def _modality(facts):
    """Returns the modality of a model of which `facts` are known; raises `ValueError` where it is none of ours."""
    # Earlier versions exported images only, with an image_shape.
    found = infer(_shape(facts, "shape" if "shape" in facts else "image_shape"))
    name = facts.get("modality", Images.name)
    if name != found.name:
        raise ValueError(f"its samples are called {name}: give their `modality`")
    return Images(found.shape, depth=facts["depth"]) if facts.get("depth") in LEVELS else found


def _shape(facts, name):
    shape = facts.get(name)
    if not isinstance(shape, list) or not all(type(side) is int and side > 0 for side in shape):
        raise ValueError(f"it has no '{name}'")
    return tuple(shape)
