"""Edits pictures by their latents: finds those of a picture, mixes styles, finds directions, moves along them."""

import contextlib
import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfgan_app.base import pictures
from tfgan_app.base.errors import DataError, UsageError
from tfgan_app.base.files import local_path, reason, require_writable, written_whole
from tfgan_app.base.latents import moved
from tfgan_app.data.trees import counted
from tfgan_app.gan import GAN
from tfgan_app.metrics.extractors import FeatureExtractor, load_extractor, shipped_for
from tfgan_app.modalities import Images
from tfgan_app.modalities.image_files import read_image
from tfgan_app.runs.record import Run
from tfgan_app.runs.settings import Drawing
from tfgan_app.sampler import Sampler
from tfgan_app.study.directions import Directions, between, pca, sefa
from tfgan_app.study.kept_latents import KeptLatents, load_latents, save_latents
from tfgan_app.study.projection import project

__all__ = ["EDITS", "Edited", "check_editing", "edit_images"]

# The rows of `Drawing` that ask for one of these, and those that say more of it.
EDITS = {
    "project": ("steps", "tune", "film", "fps", "extractor", "trust_extractor"),
    "mix": ("grid", "truncation"),
    "edit": ("directions", "latents", "layers", "grid", "truncation", "frames", "fps"),
    "directions": ("names", "strength", "latents", "against", "layers", "grid", "truncation"),
}
# Those that all take, and those of images that are drawn as they are.
_COMMON = {"run", "saved_model", "checkpoint", "seed", "labels", "attributes", "scale", "out"}
_DRAWN = {"grid", "num_images", "truncation", "frames", "fps"}
# What `out` may be.
_OUT = {
    "project": ("a folder", ("",)),
    "mix": ("NAME.png", (".png",)),
    "edit": ("NAME.png, NAME.gif or NAME.mp4", (".png", *pictures.FILMS)),
    "directions": ("NAME.npz, beside which the picture is NAME.png", (".npz",)),
}
# What projects write; an `edit` begins with it.
_LATENTS = "latent.npz"


@dataclasses.dataclass(frozen=True)
class Edited:
    """What was made.

    Attributes:
        out: The file, or the folder of a projection.
        text: What it is, in a line or more.
    """

    out: pathlib.Path
    text: str

    def summary(self) -> str:
        """Returns the text."""
        return self.text


def check_editing(asked: Drawing) -> str | None:
    """Refuses what does not go together, before anything is loaded.

    Returns:
        Which of `EDITS` is asked for, None where pictures are drawn as they are.

    Raises:
        UsageError: For settings of one beside another, and for an `out` that does not do.
    """
    defaults = Drawing()
    given = [row.name for row in Drawing.rows() if getattr(asked, row.name) != getattr(defaults, row.name)]
    found = next((name for name in EDITS if name in given), None)
    owned = {name for more in EDITS.values() for name in more} - _DRAWN
    for name in given:
        if found is None and name in owned:
            owners = " or ".join(f"`{edit}`" for edit, more in EDITS.items() if name in more)
            raise UsageError(f"{asked.shown(name)} goes with {owners}.")
        if found is not None and name not in {found, *EDITS[found], *_COMMON}:
            raise UsageError(f"{asked.shown(name)} does not go with `{found}`.")
    if found is None:
        return None
    expected, endings = _OUT[found]
    out = pathlib.Path(asked.out)
    if "out" not in given or out.suffix not in endings:
        raise UsageError(f"`{found}` needs `out`, which is {expected}. Received: `out={asked.out}`")
    return found


def edit_images(
    kind: str,
    sampler: Sampler,
    asked: Drawing,
    rows: int,
    columns: int,
    told: Callable[[int], dict[str, np.ndarray]],
    progress: Callable[[str], object],
) -> Edited:
    """Makes what is asked for.

    Args:
        kind: One of `EDITS`.
        sampler: What draws.
        asked: What to make, and where to.
        rows: Of `grid`.
        columns: Of `grid`.
        told: Returns the `labels` or `attributes` of so many images, by that name; nothing of an unconditional sampler.
        progress: Called with a line on how far it is.

    Raises:
        UsageError: For settings that cannot be carried out.
        DataError: If the picture cannot be read.
    """
    if kind == "project":
        return _project(sampler, asked, told, progress)
    if kind == "mix":
        return _mix(sampler, asked, rows, columns, told)
    if kind == "directions":
        return _directions(sampler, asked, rows, columns, told)
    return _edit(sampler, asked, rows * columns, columns, told)


# A picture's latents.


def _project(sampler, asked, told, progress):
    out, path = pathlib.Path(asked.out), local_path(asked.project)
    require_writable("out", out / "0")
    film = out / f"search.{asked.film}"
    pictures.require_film(film)
    if asked.labels is not None and len(asked.labels) != 1:
        raise UsageError(f"{asked.shown('labels')} must name one class to look in, or none.")
    image, fitted = _read(path, sampler.modality)
    extractor = _extractor(asked, image.shape)
    given = told(1) if asked.labels or asked.attributes else {}
    found = project(
        sampler,
        image,
        label=given["labels"][0] if "labels" in given else None,
        attributes=given.get("attributes"),
        steps=asked.steps,
        seed=asked.seed,
        extractor=extractor,
        tune=asked.tune,
        progress=progress,
    )
    modality = sampler.modality
    pair = modality.show(np.stack([found.target, found.image]), 2)
    pictures.save_png(out / "target.png", modality.store(found.target).numpy(), asked.scale)
    pictures.save_png(out / "projection.png", _titled(pair, ["picture", "found"], asked.scale))
    frames = (modality.show(np.stack([found.target, frame]), 2) for frame in found.frames)
    pictures.save_film(film, frames, asked.fps, asked.scale)
    save_latents(out / _LATENTS, sampler, KeptLatents(found.latents, found.told, found.weights))
    facts = _facts(sampler, asked, path, found, extractor)
    with written_whole(out / "projection.json") as partial:
        partial.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return Edited(out, "\n".join([fitted, f"{_scored(facts)}: {_LATENTS}, projection.png, {film.name} in {out}."]))


def _titled(picture, titles, scale):
    return pictures.titled(pictures.enlarged(picture, scale), titles, 2 * scale)


def _read(path, modality):
    """Returns a picture fitted to a modality as data are, and a sentence on what became of it."""
    if not isinstance(modality, Images):
        raise UsageError("`project` looks for images: this model draws something else.")
    height, width, channels = modality.shape
    try:
        image = read_image(path, channels, (height, width), depth=modality.depth)
        with Image.open(path) as opened:
            size = opened.size
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise DataError(f"`project={path}` cannot be read as a picture: {reason(error)}.") from error
    colours = {1: ", in grey", 3: ", in colours", 4: ", with its transparency"}.get(channels, "")
    part = "square" if height == width else f"part of {width} to {height}"
    crop = "" if size[0] * height == size[1] * width else f"its largest centred {part} "
    resized = "taken as it is" if size == (width, height) else f"resized to {width}x{height}"
    return image, f"{path.name}, {size[0]}x{size[1]}: {crop}{resized}{colours}."


def _extractor(asked: Drawing, shape: tuple[int, ...]) -> FeatureExtractor | None:
    auto, name = asked.extractor == "auto", None if asked.extractor == "none" else asked.extractor
    if auto:
        name = shipped_for(Run.existing(asked.run).record["data"]["name"]) if asked.run else None
    if name is None:
        return None
    try:
        extractor = load_extractor(name, asked.trust_extractor)
        extractor.require(shape)
    except ValueError as error:
        if auto:  # of a run on images of another size
            return None
        raise UsageError(f"`extractor`: {error}") from error
    return extractor


def _facts(sampler, asked, path, found, extractor):
    """Returns what there is to know about a projection, as JSON takes it."""
    label = int(found.told["labels"][0]) if "labels" in found.told else None
    names = sampler.class_names
    return {
        "picture": path.name,
        **found.scores,
        "extractor": None if extractor is None else extractor.describe(),
        "label": label,
        "class_name": None if label is None or names is None else names[label],
        "attributes": _attributes(sampler, found.told),
        "space": "styles" if found.latents.ndim == 3 else "latents",
        "steps": asked.steps,
        "tune": asked.tune,
        "seed": asked.seed,
        "run": asked.run,
        "saved_model": asked.saved_model,
        "checkpoint": asked.checkpoint if asked.run else None,
    }


def _attributes(sampler, told):
    """Returns attributes by name in the units of training, None where there are none."""
    if sampler.attributes is None:
        return None
    (values,) = sampler.attributes.decode(told["attributes"])
    return {column.name: value for column, value in zip(sampler.attributes.columns, values, strict=True)}


def _scored(facts):
    scores = [f"PSNR {facts['psnr']:.2f} dB"]
    if facts["extractor"]:
        scores.append(f"perceptual distance {facts['perceptual_distance']:.3f} ({facts['extractor']['name']})")
    if facts["label"] is not None:
        scores.append(f"class {facts['class_name'] or facts['label']}")
    scores += [f"{name} {value}" for name, value in (facts["attributes"] or {}).items()]
    return ", ".join(scores)


# Styles of several.


def _mix(sampler, asked, rows, columns, told):
    if sampler.style_shape is None:
        raise UsageError(f"`mix={asked.mix}` takes a model with styles, such as StyleGAN2: this one has latents alone.")
    num = sampler.style_shape[0]
    if asked.mix >= num:
        raise UsageError(f"`mix={asked.mix}` must be a layer from 1 to {num - 1}: this model has {num}.")
    styles = sampler.styles(sampler.latents(rows + columns, asked.seed), **told(rows + columns))
    coarse, fine = styles[:rows], styles[rows:]
    mixed = [np.concatenate([row[: asked.mix], column[asked.mix :]]) for row in coarse for column in fine]
    drawn = sampler.outputs(np.concatenate([styles, np.stack(mixed)]), None, only(asked.truncation, "mix"))
    of_rows, of_columns = drawn[:rows], drawn[rows : rows + columns]
    inner = drawn[rows + columns :].reshape(rows, columns, *drawn.shape[1:])
    # Nothing stands in the corner: white.
    cells = [np.ones_like(drawn[:1]), of_columns]
    for row in range(rows):
        cells += [of_rows[row : row + 1], inner[row]]
    out = pathlib.Path(asked.out)
    pictures.save_png(out, sampler.modality.show(np.concatenate(cells), columns + 1), asked.scale)
    return Edited(out, f"Layers 0 to {asked.mix - 1} of the rows, {asked.mix} to {num - 1} of the columns in {out}.")


def only(truncation: tuple[float, ...] | None, name: str) -> float | None:
    """Returns the one truncation that there may be.

    Raises:
        UsageError: If there are several.
    """
    if truncation is not None and len(truncation) > 1:
        shown = ",".join(f"{value:g}" for value in truncation)
        raise UsageError(f"`truncation={shown}`: several are for a grid of images as they are drawn, not for {name}.")
    return None if truncation is None else truncation[0]


# Directions.


def _directions(sampler, asked, rows, columns, told):
    out, layers, truncation = pathlib.Path(asked.out), _layers(asked), only(asked.truncation, "directions")
    require_writable("out", out)
    default = asked.grid == Drawing().grid
    found = _found(sampler, asked, rows, layers)
    found = found.named(asked.names) if asked.names else found
    # Of a difference, the latents are what it was made of.
    own = None if asked.against else _given(sampler, asked, found.space)
    kept = own or _drawn(sampler, found.space, asked.seed, told(1), 1)
    # An odd number of columns has the image itself in the midst.
    columns = 7 if default else columns
    strengths = np.linspace(-asked.strength, asked.strength, columns)
    names = found.names[:rows]
    with _adopted(sampler, kept):
        strips = [
            _outputs(sampler, _moved(kept, [(found[name], strength)], layers), truncation)[:1]
            for name in names
            for strength in strengths
        ]
    picture = pictures.enlarged(sampler.modality.show(np.concatenate(strips), columns), asked.scale)
    found.save(out)
    pictures.save_png(out.with_suffix(".png"), pictures.titled_rows(picture, names, 2 * asked.scale))
    reach = f"from -{asked.strength:g} to {asked.strength:g} deviations of the {found.space}"
    return Edited(
        out, f"{counted(len(found.names), 'direction')} in {out}; {len(names)} in {out.with_suffix('.png')}, {reach}."
    )


def _found(sampler, asked, rows, layers):
    method = asked.directions
    try:
        if method == "sefa":
            return sefa(sampler, min(rows, _dim(sampler)), layers)
        if method == "pca":
            return pca(sampler, min(rows, _dim(sampler)), asked.seed)
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error
    if method in ("difference", "separator"):
        if not (asked.latents and asked.against):
            raise UsageError(
                f"`directions={method}` needs `latents` and `against`: those of one kind, and of the other."
            )
        positive, negative = (_loaded(path, sampler).latents for path in (asked.latents, asked.against))
        try:
            return between(sampler, positive, negative, method)
        except ValueError as error:
            raise UsageError(str(error)) from error
    if asked.against:
        raise UsageError(f"`against={asked.against}` goes with `directions=difference` and separator.")
    if not method.endswith(".npz"):
        raise UsageError(f"`directions={method}` must be sefa, pca, difference, separator, or a NAME.npz of before.")
    return Directions.load(method, sampler)


def _dim(sampler):
    return sampler.latent_dim if sampler.style_shape is None else sampler.style_shape[1]


# Edits.


def _edit(sampler, asked, num, columns, told):
    out, layers, truncation = pathlib.Path(asked.out), _layers(asked), only(asked.truncation, "edits")
    pictures.require_film(out)
    require_writable("out", out)
    if asked.directions is None:
        raise UsageError("`edit` needs `directions`: the NAME.npz in which they were written.")
    if not asked.directions.endswith(".npz"):
        raise UsageError(f"`directions={asked.directions}`: find them first, into a NAME.npz, then `edit` by that.")
    found = Directions.load(asked.directions, sampler)
    steps = [(found[name], strength) for name, strength in _asked(asked.edit)]
    kept = _given(sampler, asked, found.space) or _drawn(sampler, found.space, asked.seed, told(num), num)
    modality = sampler.modality
    with _adopted(sampler, kept):
        if out.suffix in pictures.FILMS:

            def frames() -> Iterator[np.ndarray]:
                for frame in range(asked.frames):
                    part = 0.5 - 0.5 * math.cos(2 * math.pi * frame / asked.frames)
                    now = _moved(kept, [(vector, part * strength) for vector, strength in steps], layers)
                    yield modality.show(_outputs(sampler, now, truncation), columns if not asked.latents else None)

            pictures.save_film(out, frames(), asked.fps, asked.scale)
        else:
            after = _outputs(sampler, _moved(kept, steps, layers), truncation)
            if asked.latents:
                before = _outputs(sampler, kept, truncation)
                cells = np.stack([before, after], axis=1).reshape(-1, *after.shape[1:])
                picture = _titled(modality.show(cells, 2), ["before", "after"], asked.scale)
            else:
                picture = pictures.enlarged(modality.show(after, columns), asked.scale)
            pictures.save_png(out, picture)
    return Edited(out, f"{', '.join(asked.edit)} in {out}.")


def _asked(edits):
    """Returns names and strengths of `NAME=STRENGTH`."""
    found = []
    for text in edits:
        name, _, strength = text.rpartition("=")
        try:
            found.append((name.strip(), float(strength)))
        except ValueError:
            found.append(("", math.nan))
        if not found[-1][0] or not math.isfinite(found[-1][1]):
            raise UsageError(f"`edit={text}` must be NAME=STRENGTH, for example smile=2 or 1=-1.5.")
    return found


def _layers(asked):
    if asked.layers is None:
        return None
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", asked.layers)
    found = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
    if not found:
        raise UsageError(f"`layers={asked.layers}` must be FIRST-LAST, for example 0-3, or one layer.")
    return found


def _given(sampler, asked, space):
    """Returns the latents that are to be edited, in the space of directions; None where draws are."""
    return None if asked.latents is None else _in_space(_loaded(asked.latents, sampler), sampler, space)


def _drawn(sampler, space, seed, told, num):
    return _in_space(KeptLatents(np.asarray(sampler.latents(num, seed)), told), sampler, space)


def _in_space(kept, sampler, space):
    if space == "latents" and kept.latents.ndim == 3:
        raise UsageError("These directions are of latents, and what is edited are styles: take directions of styles.")
    if space == "styles" and kept.latents.ndim == 2:
        return dataclasses.replace(kept, latents=sampler.styles(kept.latents, **kept.told))
    return kept


def _loaded(path, sampler):
    """Returns the latents of a file, or of all such files in a folder."""
    path = local_path(path)
    files = sorted(path.rglob(_LATENTS)) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{path} is a folder without a {_LATENTS}, which `project` writes.")
    found = [load_latents(file, sampler) for file in files]
    if len(found) == 1:
        return found[0]
    if any(one.weights for one in found):
        raise UsageError(f"{path} holds latents of tuned generators, each its own: give one {_LATENTS} of them.")
    if len({one.latents.ndim for one in found}) > 1:
        raise UsageError(f"{path} holds latents and styles: give a folder of one of them.")
    told = {name: np.concatenate([one.told[name] for one in found]) for name in found[0].told}
    return KeptLatents(np.concatenate([one.latents for one in found]), told)


def _moved(kept, steps, layers):
    latents = kept.latents
    try:
        for vector, strength in steps:
            latents = np.asarray(moved(np.float32(latents), vector, np.float32(strength), layers))
    except ValueError as error:
        raise UsageError(str(error)) from error
    return dataclasses.replace(kept, latents=latents)


def _outputs(sampler, kept, truncation):
    return sampler.outputs(kept.latents, truncation=truncation, **kept.given)


@contextlib.contextmanager
def _adopted(sampler: Sampler, kept: KeptLatents) -> Iterator[None]:
    """Lets a GAN draw with the weights that it was tuned to, as long as the block lasts."""
    if kept.weights is None:
        yield
        return
    if not isinstance(sampler, GAN):
        raise UsageError("These latents are of a tuned generator, which a SavedModel cannot become: take the run.")
    before = sampler.ema_generator.get_weights()
    try:
        sampler.adopt(kept.weights)
        yield
    finally:
        sampler.adopt(before)
