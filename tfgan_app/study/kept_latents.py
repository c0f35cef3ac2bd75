"""Latents in files, and the fingerprint that tells whose they are."""

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PathLike, local_path, reason, written_whole
from tfgan_app.sampler import Sampler

__all__ = ["KeptLatents", "check_same", "fingerprint", "load_latents", "read_arrays", "save_latents", "write_arrays"]

# Two fingerprints differ where a value does by more; rounding differs by less from machine to machine.
_ALIKE = 0.02
# The side to which a fingerprint shrinks an image.
_SIDE = 8


@dataclasses.dataclass(frozen=True)
class KeptLatents:
    """Latents from a file.

    Attributes:
        latents: `(num, latent_dim)`, or styles `(num, num_styles, style_dim)`.
        told: What a conditional sampler is told beside them, by the argument of its methods: classes as `labels`
            `(num,)`, or rows of `attributes` `(num, K)`. Styles know it already.
        weights: Those that the moving average was tuned to, for `GAN.adopt`; None where it was not.
    """

    latents: np.ndarray
    told: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    weights: list[np.ndarray] | None = None

    @property
    def given(self) -> Mapping[str, np.ndarray]:
        """What `generate` and `edit` want beside them."""
        return {} if self.latents.ndim == 3 else self.told


def save_latents(path: PathLike, sampler: Sampler, kept: KeptLatents) -> None:
    """Writes latents, and whose they are, to an `.npz` file.

    It holds `latents` or `styles`, `labels` or `attributes` where there are any, `fingerprint`, and the weights of a
    tuned generator as `weights_0`, `weights_1`, ...
    """
    arrays: dict[str, Any] = {"styles" if kept.latents.ndim == 3 else "latents": kept.latents, **kept.told}
    tuned = {f"weights_{index}": weight for index, weight in enumerate(kept.weights or [])}
    write_arrays(path, **arrays, fingerprint=fingerprint(sampler), **tuned)


def load_latents(path: PathLike, sampler: Sampler) -> KeptLatents:
    """Reads what `save_latents` wrote.

    Raises:
        UsageError: If it is no such file, or its latents are those of another generator.
    """
    found = read_arrays(path, "latents", ["fingerprint"])
    check_same(path, found, sampler)
    space = "styles" if "styles" in found else "latents"
    expected = sampler.style_shape if space == "styles" else (sampler.latent_dim,)
    if space not in found or found[space].shape[1:] != expected:
        raise UsageError(f"{path} has no latents of the shape that the model takes.")
    weights = [found[f"weights_{index}"] for index in range(sum(name.startswith("weights_") for name in found))]
    told: dict[str, np.ndarray] = {name: found[name] for name in ("labels", "attributes") if name in found}
    return KeptLatents(found[space], told, weights or None)


def fingerprint(sampler: Sampler) -> np.ndarray:
    """Returns what tells a generator from others: its first sample of seed 0, an image shrunk to 8x8 or nearly.

    A run and the SavedModel that was exported from it have the same, on whatever machine, to within rounding.
    """
    sample = sampler.outputs(sampler.latents(1, 0))
    if sample.ndim == 4:
        factors = [max(1, side // _SIDE) for side in sample.shape[1:3]]
        sample = tf.nn.avg_pool2d(sample, factors, factors, "VALID")
    return np.asarray(sample)[0]


def check_same(path: PathLike, found: Mapping[str, np.ndarray], sampler: Sampler) -> None:
    """Refuses the arrays of a file that has the fingerprint of another generator.

    Raises:
        UsageError: If it is another.
    """
    own, kept = fingerprint(sampler), found["fingerprint"]
    if own.shape != kept.shape or np.abs(own - kept).max() > _ALIKE:
        raise UsageError(f"{path} is of another generator, or of another checkpoint of this run: take that one.")


def write_arrays(path: PathLike, **arrays: Any) -> None:
    """Writes arrays to an `.npz` file, which is there whole or not at all."""
    with written_whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_arrays(path: PathLike, kind: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads the arrays of an `.npz` file.

    Args:
        path: The file.
        kind: What it is a file of.
        names: What it must have.

    Raises:
        UsageError: If it cannot be read, or lacks one.
    """
    path = local_path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = dict(archive)
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} cannot be read as a file of {kind}: {reason(error)}.") from error
    if lacking := [name for name in names if name not in found]:
        raise UsageError(f"{path} is no file of {kind}: it has no {lacking[0]!r}.")
    return found
