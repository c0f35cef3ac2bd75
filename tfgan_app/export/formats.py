"""The formats of exports, their endings, what they need. Commands read it before TensorFlow has loaded."""

import importlib.util
import pathlib
from typing import Any

from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PathLike

__all__ = ["ENDINGS", "FORMATS", "SAVED_MODEL", "SIGNATURES", "check_format", "inputs", "needed"]

# The names are Keras's.
SAVED_MODEL = "tf_saved_model"
# Of the formats that are one file with one signature.
ENDINGS = {"onnx": ".onnx", "litert": ".tflite"}
FORMATS = (SAVED_MODEL, *ENDINGS)
# What such a file can hold: `sample` draws latents itself, by a generator of random numbers that other runtimes lack.
SIGNATURES = (
    *("generate", "generate_uint8", "generate_truncated", "edit", "styles", "synthesize", "synthesize_truncated"),
    "discriminate",
    *("translate", "translate_uint8", "translate_back", "translate_back_uint8"),
)


def check_format(format: str, path: PathLike | None = None) -> None:
    """Refuses what cannot be exported, before anything is written.

    Args:
        format: One of `FORMATS`.
        path: The file or folder to be written, if it is known.

    Raises:
        UsageError: If there is no such format, its converter is not installed, or the path has another ending.
    """
    if format not in FORMATS:
        raise UsageError(f"`format={format}` must be one of {', '.join(FORMATS)}.")
    if format == "onnx" and not all(map(importlib.util.find_spec, ("onnx", "tf2onnx"))):
        raise UsageError(needed())
    ending, suffix = ENDINGS.get(format), pathlib.Path(path or "").suffix
    if path and ending and suffix != ending:
        raise UsageError(f"An export with `format={format}` is a file that ends in {ending}. Received: {path}")
    if not ending and suffix in ENDINGS.values():
        raise UsageError(f"An export with `format={format}` is a folder. Received: {path}")


def needed() -> str:
    """Returns what to install for ONNX."""
    return "ONNX files need onnx and tf2onnx: pip install 'tfgan_app[onnx]'."


def inputs(facts: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Returns name, dtype, shape and range of what the first signature takes, from what `describe` tells."""
    if "source_shape" in facts:
        found = [("images", "float32", f"(batch, height, width, {facts['source_shape'][-1]})", "in [0, 1]")]
    else:
        found = [("latents", "float32", f"(batch, {facts['latent_dim']})", "drawn from N(0, 1)")]
    if facts.get("attributes"):
        # Not before, as commands read this file before TensorFlow has loaded.
        from tfgan_app.conditions import Attributes

        names = Attributes.from_config(facts["attributes"]).names
        found.append(("conditions", "float32", f"(batch, {len(names)})", ", ".join(names)))
    if facts["num_classes"] is not None:
        found.append(("labels", "int32", "(batch,)", f"0 to {facts['num_classes'] - 1}"))
    return found
