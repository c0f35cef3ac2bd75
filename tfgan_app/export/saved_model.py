"""A trained model as a SavedModel that needs TensorFlow alone."""

import inspect
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tfgan_app.base.files import PathLike, folder_written_whole, local_path

__all__ = ["FACTS", "export_model", "exported_step"]

# The file in the folder of an exported model that tells what its signatures do not.
FACTS = pathlib.Path("assets.extra", "gan.json")


def export_model(
    folder: PathLike,
    signatures: Mapping[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]],
    facts: dict[str, Any],
    card: str | None = None,
) -> pathlib.Path:
    """Writes named functions, with the variables that they use, as a SavedModel.

    The first is `serving_default` too.

    Args:
        folder: The SavedModel's folder.
        signatures: The functions and the specs of their arguments by name; see `tfgan_app.sampler.Signatures`.
        facts: What is to be known of the model, as JSON takes it.
        card: The text of a model card in the folder.

    Returns:
        The folder's path.
    """
    folder = local_path(folder)
    # keras.export.ExportArchive would write every weight twice.
    module, concrete = tf.Module(), {}
    for name, (function, specs) in signatures.items():
        compiled = tf.function(_named(function, specs), input_signature=specs)
        setattr(module, name, compiled)
        concrete[name] = compiled.get_concrete_function()
    # A SavedModel holds the variables that its module does.
    used = {id(variable): variable for function in concrete.values() for variable in function.graph.variables}
    module.used = list(used.values())
    with folder_written_whole(folder, "saved_model.pb") as partial:
        tf.saved_model.save(module, str(partial), {**concrete, "serving_default": next(iter(concrete.values()))})
        path = partial / FACTS
        path.parent.mkdir()
        path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        if card is not None:
            (partial / "README.md").write_text(card, encoding="utf-8", errors="backslashreplace")
    return folder


def _named(function, specs):
    """Returns a function whose arguments have the names of their specs, as `module.generate(latents=...)` needs."""
    parameters = [inspect.Parameter(spec.name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for spec in specs]
    signature = inspect.Signature(parameters)

    def named(*args, **kwargs):
        return function(*signature.bind(*args, **kwargs).args)

    vars(named)["__signature__"] = signature  # what TensorFlow takes the names from
    return named


def exported_step(folder: PathLike) -> int | None:
    """Returns the step of the model that was exported to a folder, or None if there is none."""
    folder = local_path(folder)
    whole = (folder / "saved_model.pb").is_file() and (folder / FACTS).is_file()
    return json.loads((folder / FACTS).read_text(encoding="utf-8"))["step"] if whole else None
