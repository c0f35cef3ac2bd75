"""Draws images from a run or a SavedModel into files."""

import dataclasses
import pathlib
import re
from typing import Any

import numpy as np
from absl import logging

from tfgan_app.base import pictures
from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PROGRAM
from tfgan_app.base.latents import closed_walk
from tfgan_app.base.table import takes
from tfgan_app.export import SavedGAN
from tfgan_app.runs.record import Run
from tfgan_app.runs.settings import Drawing
from tfgan_app.sampler import Sampler, check_labels

__all__ = ["Generated", "generate"]

_ENDINGS = ("", ".png", ".gif", ".npz")


@dataclasses.dataclass(frozen=True)
class Generated:
    """What was drawn.

    Attributes:
        out: The file, or the folder of single images.
        num_images: How many images it shows, in each frame where it is a walk.
    """

    out: pathlib.Path
    num_images: int


@takes(Drawing)
def generate(**settings: Any) -> Generated:
    """Draws images from a run or a SavedModel into files: `python -m tfgan_app.generate` as a function.

    To draw into arrays, take the GAN itself: `Run.existing(folder).restored_gan().sample(64)`.

    Args:
        **settings: What to draw and where to, as below: one of `run` and `saved_model`.

    Returns:
        A `Generated`.

    Raises:
        UsageError: For settings that cannot be carried out.
        CheckpointError: If the run has no such checkpoint.
    """
    asked = Drawing(**settings)
    out, (rows, columns) = pathlib.Path(asked.out), _grid(asked.grid)
    if out.suffix not in _ENDINGS:
        raise UsageError(f"`out={out}` must end in .png, .gif or .npz, or name a folder.")
    if out.suffix in (".png", ".gif") and asked.num_images:
        raise UsageError(f"`num_images` goes with `out=NAME.npz` or a folder. For {out} give `grid=ROWSxCOLUMNS`.")
    num = asked.num_images or rows * columns
    sampler = _open(asked)
    labels = _labels(asked.labels, sampler, num)
    try:
        _write(sampler, asked, out, num, columns, labels)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return Generated(out, num)


def _grid(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise UsageError(f"`grid={text}` must be ROWSxCOLUMNS, for example 8x8.")
    return int(match[1]), int(match[2])


def _open(asked: Drawing) -> Sampler:
    """Returns what draws: the one GAN that was asked for."""
    if asked.run is not None and asked.saved_model is None:
        return Run.existing(asked.run).restored_gan(asked.checkpoint)
    if asked.saved_model is not None and asked.run is None:
        logging.warning(PROGRAM, f"`saved_model={asked.saved_model}`")
        return SavedGAN(asked.saved_model)
    raise UsageError(f"give either `run` or `saved_model`. Received: {'both' if asked.run else 'neither'}")


def _labels(names: tuple[str | int, ...] | None, sampler: Sampler, num: int) -> np.ndarray | None:
    if names is None:
        return None if sampler.num_classes is None else np.arange(num) % sampler.num_classes
    shown = ",".join(map(str, names))
    if sampler.num_classes is None:
        raise UsageError(f"`labels={shown}`: this GAN is unconditional.")
    if not names:
        raise UsageError("`labels=` names no class.")
    try:
        return np.resize(check_labels(names, len(names), sampler.num_classes, sampler.class_names), num)
    except ValueError as error:
        raise UsageError(str(error).replace("`labels`", f"`labels={shown}`")) from error


def _write(
    sampler: Sampler, asked: Drawing, out: pathlib.Path, num: int, columns: int, labels: np.ndarray | None
) -> None:
    modality, seed, truncation = sampler.modality, asked.seed, asked.truncation
    if out.suffix == ".gif":
        walk = closed_walk(num, sampler.latent_dim, seed, asked.frames)
        frames = [modality.show(sampler.outputs(latents, labels, truncation), columns) for latents in walk]
        pictures.save_gif(out, frames, 12, asked.scale)
    elif out.suffix == ".png":
        pictures.save_png(out, sampler.picture(num, columns, seed, labels, truncation), asked.scale)
    else:
        samples = sampler.outputs(sampler.latents(num, seed), labels, truncation)
        if out.suffix == ".npz":
            out.parent.mkdir(parents=True, exist_ok=True)
            arrays: dict[str, Any] = {modality.name: modality.store(samples).numpy()}
            np.savez_compressed(out, **arrays | ({} if labels is None else {"labels": labels}))
        else:
            digits = len(str(num - 1))
            for index, sample in enumerate(samples):
                modality.write(out / f"{index:0{digits}d}{modality.ending}", sample)
