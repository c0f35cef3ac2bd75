"""What every trained model here shares: its constructor's arguments, what is known of its training, and its export."""

import inspect
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import keras

from tfgan_app.adversarial import AdversarialModel
from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PathLike, local_path, written_whole
from tfgan_app.conditions import check_class_names
from tfgan_app.export import card_path, check_format, export_file, export_model, model_card

__all__ = ["Exportable"]


class Exportable(AdversarialModel):
    """Base of the models that are saved by their constructor's arguments, and exported by their signatures.

    A subclass is a `tfgan_app.sampler.Sampler` or a `tfgan_app.translator.Translator` besides, which says what the
    signatures are.
    """

    num_classes: int | None
    _class_names: tuple[str, ...] | None = None

    def __new__(cls, *args, **kwargs):
        # The arguments are kept for `get_config`, so that no subclass lists its own again.
        model = super().__new__(cls, *args, **kwargs)
        bound = inspect.signature(cls.__init__).bind(model, *args, **kwargs)
        bound.apply_defaults()
        object.__setattr__(model, "_bound", bound)
        return model

    def export(
        self,
        filepath: PathLike,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        *,
        signature: str | None = None,
        opset_version: int | None = None,
        **facts: Any,
    ) -> pathlib.Path:
        """Writes the EMA generator in float32, with the discriminator and a model card as a SavedModel, or as one file.

        What is at `filepath` stays as it is until the new one is whole.

        Args:
            filepath: Folder of the SavedModel. Serving wants a version number as its last part (`digits/1`); the card
                then stands beside that folder, otherwise in it. With `onnx` and `litert` a file, which ends in `.onnx`
                or `.tflite`.
            format: `tf_saved_model`, `onnx` or `litert`.
            verbose: As in `keras.Model.export`, but it says nothing in any case.
            input_signature: None, as those of `signatures` hold for any batch size.
            signature: Which one goes into a file; by default the first, `generate` of a GAN. See
                `tfgan_app.export.export_file`.
            opset_version: The version of ONNX's operators.
            **facts: What the card tells, see `tfgan_app.export.model_card`.

        Returns:
            The path.

        Raises:
            FileExistsError: If the card would replace a README.md that is not one.
            UsageError: For arguments that cannot be carried out, before anything is written.
            Failure: If the converter cannot translate an operation.
        """
        check_format(format, filepath)
        if verbose:
            raise UsageError("`verbose=True`: an export says nothing. It returns its path: `print(gan.export(...))`.")
        if input_signature is not None:
            raise UsageError(
                "`input_signature` cannot be chosen: exports take what `signatures()` says, batches of any size."
            )
        if format != "tf_saved_model":
            if facts:
                raise UsageError(f"{_names(facts)}: a model card goes with a SavedModel. Received: `format={format}`")
            return export_file(
                filepath,
                signatures := self.signatures(),
                self.describe(),
                format=format,
                signature=signature or next(iter(signatures)),
                opset_version=opset_version,
            )
        given = {"signature": signature, "opset_version": opset_version}
        if lacking := {name: value for name, value in given.items() if value is not None}:
            raise UsageError(f"{_names(lacking)}: a SavedModel has all signatures, in TensorFlow's own operations.")
        if unknown := set(facts) - set(inspect.signature(model_card).parameters):
            raise UsageError(f"{_names(unknown)}: neither `export` nor a model card takes that.")
        card, described = card_path(filepath), self.describe()
        folder = local_path(filepath)
        if card.parent == folder:
            return export_model(folder, self.signatures(), described, model_card(described, **facts))
        with written_whole(card) as partial:
            text = model_card(described, folder=folder.name, **facts)
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
            return export_model(folder, self.signatures(), described)

    def describe(self) -> dict[str, Any]:
        """Returns what is known of a compiled model and its training, as JSON takes it."""
        half_life = self.ema_half_life
        average = f"decay {_text(self.ema_decay)}" if half_life is None else f"half-life {_text(half_life)} images"
        return {
            **super().describe(),
            "step": self.step,
            "average": average,
            "seed": self.seed,
            "loss": _text(self.loss),
            "terms": [_text(term) for term in self.terms],
            "augment": self.augment and _text(self.augment),
            "parameters": [
                sum(math.prod(variable.shape) for variable in network.trainable_variables)
                for network in (self.generator, self.discriminator)
            ],
        }

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What the classes are called, in their order; None where that is not known."""
        return self._class_names

    @class_names.setter
    def class_names(self, names: Sequence[str] | None) -> None:
        # Past Keras, which would track a list.
        object.__setattr__(self, "_class_names", check_class_names(names, self.num_classes))

    @property
    def arguments(self) -> dict[str, Any]:
        """What the model was built with, by name; the seed is that which was drawn where none was given."""
        _, *names = self._bound.signature.parameters
        # A config from a file has lists where tuples were given.
        given: dict[str, Any] = {
            name: tuple(x) if isinstance(x, list) else x for name, x in self._bound.arguments.items()
        }
        arguments = {name: given[name] for name in names}
        kwargs = arguments.pop("kwargs", {})
        named = {} if self.class_names is None else {"class_names": self.class_names}
        return {**arguments, **kwargs, **named, "seed": self.seed, "name": self.name}

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that rebuild the model; its networks are among them where they were given."""

        def plain(value):
            return keras.saving.serialize_keras_object(value) if hasattr(value, "get_config") else value

        return {name: plain(value) for name, value in self.arguments.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Exportable":
        def restored(value):
            is_object = isinstance(value, dict) and "class_name" in value
            return keras.saving.deserialize_keras_object(value) if is_object else value

        return cls(**{name: restored(value) for name, value in config.items()})


def _names(arguments):
    return ", ".join(f"`{name}`" for name in sorted(arguments))


def _text(part):
    """Returns a number, or what an object was made with, as text."""
    if not hasattr(part, "get_config"):
        return str(part)
    made = part.describe() if hasattr(part, "describe") else part.get_config()
    ours = {name: value for name, value in made.items() if name not in ("name", "dtype", "trainable")}
    return f"{type(part).__name__} {ours}" if ours else type(part).__name__
