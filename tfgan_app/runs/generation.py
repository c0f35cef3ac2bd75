"""Draws images from a run or a SavedModel into files."""

import dataclasses
import functools
import itertools
import pathlib
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from tfgan_app.base import pictures
from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PARTIAL, require_writable, written_whole
from tfgan_app.base.latents import closed_walk
from tfgan_app.base.table import takes
from tfgan_app.modalities import Modality
from tfgan_app.runs.editing import Edited, check_editing, edit_images, only
from tfgan_app.runs.record import open_trained
from tfgan_app.runs.settings import Drawing
from tfgan_app.runs.translating import Translated, check_translating, translate_files
from tfgan_app.sampler import Sampler
from tfgan_app.translator import Translator

__all__ = ["Generated", "generate"]

_ENDINGS = ("", ".png", *pictures.FILMS, ".npz", ".npy")


@dataclasses.dataclass(frozen=True)
class Generated:
    """What was drawn.

    Attributes:
        out: The file, or the folder of single images.
        num_images: How many images it shows, in each frame where it is a walk.
    """

    out: pathlib.Path
    num_images: int

    def summary(self) -> str:
        """Returns what was drawn, in a line."""
        return f"{self.num_images} images in {self.out}."


@takes(Drawing)
def generate(*, progress: Callable[[str], object] | None = None, **settings: Any) -> Generated | Translated | Edited:
    """Draws images from a run or a SavedModel into files: `python -m tfgan_app.generate` as a function.

    An image-to-image model translates the pictures of `input`, see `tfgan_app.runs.translating.translate_files`. With
    `project`, `mix`, `directions` or `edit` latents are edited, see `tfgan_app.runs.editing`.

    Files are written as images are drawn: memory does not grow with their number. `out` is there whole or not at all.
    To draw into arrays, take the GAN itself: `Run.existing(folder).restored_gan().sample(64)`.

    Args:
        progress: Called with a line after each batch of single images.
        **settings: What to draw and where to, as below: one of `run` and `saved_model`.

    Returns:
        A `Generated`, a `Translated` of `input`, or what was `Edited`.

    Raises:
        UsageError: For settings that cannot be carried out.
        CheckpointError: If the run has no such checkpoint.
        DataError: If none of the pictures of `input` can be translated, or that of `project` cannot be read.
    """
    asked = Drawing(**settings)
    check_translating(asked)
    if asked.input is not None:
        translator = open_trained(asked.run, asked.saved_model, asked.checkpoint)
        if not isinstance(translator, Translator):
            raise UsageError(f"`input={asked.input}`: this GAN draws from latents. Leave `input` out.")
        return translate_files(translator, asked, progress or (lambda line: None))
    edit = check_editing(asked)
    out, (rows, columns) = pathlib.Path(asked.out), _grid(asked.grid)
    varied = _varied(asked)
    if edit is not None:
        if varied:
            raise UsageError(f"{asked.shown('attributes')} varies along a grid: it does not go with `{edit}`.")
        sampler = _opened(asked)
        told_of = functools.partial(_told, asked, sampler)
        return edit_images(edit, sampler, asked, rows, columns, told_of, progress or (lambda line: None))
    if out.suffix not in _ENDINGS:
        raise UsageError(f"`out={out}` must end in .png, .gif, .mp4, .npz or .npy, or name a folder.")
    pictures.require_film(out)
    if out.suffix in (".png", *pictures.FILMS) and asked.num_images:
        raise UsageError(
            f"`num_images` goes with `out=NAME.npz`, NAME.npy or a folder. For {out} give `grid=ROWSxCOLUMNS`."
        )
    if out.suffix:
        require_writable("out", out)
    elif out.is_dir() and any(out.iterdir()):
        # Those that an earlier draw left would pass for images of this one.
        raise UsageError(f"`out={out}` is a folder that holds files already. Give another, or empty it.")
    else:
        require_writable("out", out / "0")
    num = asked.num_images or rows * columns
    sheet = asked.truncation is not None and len(asked.truncation) > 1 and out.suffix == ".png"
    truncation = None if sheet else only(asked.truncation, f"`out={out}`")
    if varied and (sheet or out.suffix != ".png"):
        one = ", and one `truncation`" if sheet else ""
        raise UsageError(f"{asked.shown('attributes')} varies along a grid: give `out=NAME.png`{one}.")
    sampler = _opened(asked)
    if sheet:
        return _write_sheet(sampler, asked, out, columns)
    told = _told(asked, sampler, num)
    try:
        _write(sampler, asked, out, num, columns, told, varied, truncation, progress or (lambda line: None))
    except ValueError as error:
        raise UsageError(str(error)) from error
    return Generated(out, num)


def _opened(asked: Drawing) -> Sampler:
    sampler = open_trained(asked.run, asked.saved_model, asked.checkpoint)
    if isinstance(sampler, Translator):
        raise UsageError("This model makes pictures of pictures: give them as `input`.")
    return sampler


def _write_sheet(sampler: Sampler, asked: Drawing, out: pathlib.Path, columns: int) -> Generated:
    """Writes the same latents at several truncations, a row each."""
    assert asked.truncation is not None
    latents, told = sampler.latents(columns, asked.seed), _told(asked, sampler, columns)
    rows = [sampler.outputs(latents, truncation=truncation, **told) for truncation in asked.truncation]
    picture = pictures.enlarged(sampler.modality.show(np.concatenate(rows), columns), asked.scale)
    titles = [f"{truncation:g}" for truncation in asked.truncation]
    pictures.save_png(out, pictures.titled_rows(picture, titles, 2 * asked.scale))
    return Generated(out, len(rows) * columns)


def _grid(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise UsageError(f"`grid={text}` must be ROWSxCOLUMNS, for example 8x8.")
    return int(match[1]), int(match[2])


# LOW..HIGH of a number.
_SPAN = re.compile(r"([+-]?\d+(?:\.\d+)?)\.\.([+-]?\d+(?:\.\d+)?)")


def _told(asked: Drawing, sampler: Sampler, num: int) -> dict[str, np.ndarray]:
    """Returns what `num` samples are told, by the argument of a sampler's methods that takes it."""
    given = {name: getattr(asked, name) for name in ("labels", "attributes") if getattr(asked, name) is not None}
    if other := [name for name in given if sampler.condition is None or name != sampler.told_by]:
        what = "unconditional" if sampler.condition is None else f"told `{sampler.told_by}`: {sampler.condition}"
        raise UsageError(f"{asked.shown(other[0])}: this GAN is {what}.")
    if sampler.condition is None:
        return {}
    names = given.get(sampler.told_by)
    shown = ",".join(map(str, names or ()))
    try:
        if sampler.attributes is not None:
            # Those that vary have a value of their own in each column.
            values = {name: value for name, value in _values(names or ()).items() if not _SPAN.fullmatch(value)}
            return {"attributes": sampler.attributes.chosen(values, num)}
        if names is None:
            return {"labels": sampler.condition.in_turn(num)}
        if not names:
            raise UsageError("`labels=` names no class.")
        return {"labels": np.resize(sampler.condition.chosen(names, len(names)), num)}
    except ValueError as error:
        raise UsageError(str(error).replace(f"`{sampler.told_by}`", f"`{sampler.told_by}={shown}`")) from error


def _values(pairs: tuple[str, ...]) -> dict[str, str]:
    """Returns the values of NAME=VALUE by their names."""
    values = {}
    for pair in pairs:
        name, separator, value = (part.strip() for part in pair.rpartition("="))
        if not separator or not name or not value:
            raise UsageError(
                f"`attributes={','.join(pairs)}` must be NAME=VALUE, with commas between: smiling=yes,age=40."
            )
        values[name] = value
    return values


def _varied(asked: Drawing) -> dict[str, tuple[float, float]]:
    """Returns from where to where attributes vary along the rows of a grid, by their names."""
    found = {name: _SPAN.fullmatch(value) for name, value in _values(asked.attributes or ()).items()}
    return {name: (float(span[1]), float(span[2])) for name, span in found.items() if span}


def _grid_of(
    sampler: Sampler,
    asked: Drawing,
    num: int,
    columns: int,
    told: np.ndarray,
    varied: dict[str, tuple[float, float]],
    truncation: float | None,
) -> np.ndarray:
    """Returns a picture whose rows are of one latent each, along which attributes vary."""
    attributes = sampler.attributes
    assert attributes is not None
    latents = np.repeat(sampler.latents(num // columns, asked.seed), columns, axis=0)
    spans = {name: np.linspace(low, high, columns) for name, (low, high) in varied.items()}
    rows = np.repeat(told[: num // columns], columns, axis=0)
    rows = attributes.changed(rows, {name: np.resize(values, num) for name, values in spans.items()})
    outputs = sampler.outputs(latents, truncation=truncation, attributes=rows)
    titles = [", ".join(f"{name} {values[place]:.4g}" for name, values in spans.items()) for place in range(columns)]
    return pictures.titled(sampler.modality.show(outputs, columns), titles)


def _write(
    sampler: Sampler,
    asked: Drawing,
    out: pathlib.Path,
    num: int,
    columns: int,
    told: dict[str, np.ndarray],
    varied: dict[str, tuple[float, float]],
    truncation: float | None,
    progress: Callable[[str], object],
) -> None:
    modality, seed = sampler.modality, asked.seed
    if out.suffix in pictures.FILMS:
        walk = closed_walk(num, sampler.latent_dim, seed, asked.frames)
        frames = (modality.show(sampler.outputs(latents, truncation=truncation, **told), columns) for latents in walk)
        pictures.save_film(out, frames, asked.fps, asked.scale)
    elif out.suffix == ".png":
        if varied:
            picture = _grid_of(sampler, asked, num, columns, told["attributes"], varied, truncation)
        else:
            picture = sampler.picture(num, columns, seed, truncation=truncation, **told)
        pictures.save_png(out, picture, asked.scale)
    else:
        batches = _watched(sampler.batches(num, seed, truncation=truncation, **told), num, progress)
        if out.suffix:
            stored = (np.asarray(modality.store(batch)) for batch in batches)
            beside = dict(told)
            if sampler.attributes is not None:
                # As a table has them, so that they can be trained on.
                beside["attributes"] = np.array(sampler.attributes.decode(told["attributes"]))
                beside["attribute_names"] = np.array([column.name for column in sampler.attributes.columns])
            _write_array(out, modality, num, stored, beside)
        else:
            _write_folder(out, modality, num, batches)


def _watched(batches: Iterator[np.ndarray], num: int, progress: Callable[[str], object]) -> Iterator[np.ndarray]:
    done = 0
    for batch in batches:
        yield batch
        done += len(batch)
        progress(f"{done}/{num} images")


def _write_array(
    out: pathlib.Path, modality: Modality, num: int, batches: Iterator[np.ndarray], beside: dict[str, np.ndarray]
) -> None:
    """Writes stored samples to an .npy file, or with what they were told to an .npz file, batch by batch."""
    with written_whole(out) as partial:
        if out.suffix == ".npy":
            with partial.open("wb") as file:
                _write_npy(file, modality, num, batches)
            return
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            # The size of an entry is not known before its end, and may be over 4 GiB.
            with archive.open(f"{modality.name}.npy", "w", force_zip64=True) as file:
                _write_npy(file, modality, num, batches)
            for name, array in beside.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array)


def _write_npy(file: IO[bytes], modality: Modality, num: int, batches: Iterator[np.ndarray]) -> None:
    kind = np.lib.format.dtype_to_descr(np.dtype(modality.dtype))
    header = {"descr": kind, "fortran_order": False, "shape": (num, *modality.shape)}
    np.lib.format.write_array_header_1_0(file, header)
    for batch in batches:
        file.write(np.ascontiguousarray(batch, modality.dtype).data)


def _write_folder(out: pathlib.Path, modality: Modality, num: int, batches: Iterator[np.ndarray]) -> None:
    """Writes a file a sample to a folder that takes its name when all are there."""
    partial, digits = out.with_name(f"{out.name}{PARTIAL}"), len(str(num - 1))
    # What is left of one that was killed.
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for index, sample in enumerate(itertools.chain.from_iterable(batches)):
            modality.write(partial / f"{index:0{digits}d}{modality.ending}", sample)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
