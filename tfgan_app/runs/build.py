"""What settings describe: images, whose features compare them, networks, a compiled GAN."""

import ast
import dataclasses
import inspect
import os
from collections.abc import Sequence
from typing import Any, Literal

from tfgan_app import augment, data, losses, models, terms
from tfgan_app.base.errors import UnknownSplit, UsageError
from tfgan_app.base.precision import choose_precision, dtype_policy
from tfgan_app.conditions import Attributes
from tfgan_app.gan import GAN
from tfgan_app.layers.batch_norm import synchronize
from tfgan_app.metrics.extractors import NAMES, FeatureExtractor, load_extractor, shipped_for
from tfgan_app.modalities import Images
from tfgan_app.runs.settings import Scoring, Settings
from tfgan_app.schedules import LinearDecay, has_schedule
from tfgan_app.translation import TranslationGAN

__all__ = [
    "Dataset",
    "Trainable",
    "build_gan",
    "build_model",
    "compile_gan",
    "data_of",
    "has_split",
    "needs_condition",
    "open_extractor",
    "open_images",
    "open_split",
    "open_split_like",
    "peek",
    "resolved",
    "set_learning_rates",
    "shapes_of",
]

ImageShape = tuple[int, int, int]
Dataset = data.ImageSet | data.PairSet
Trainable = GAN | TranslationGAN

# What settings may name that is no path, though a folder may be called so.
_NAMES = {"dataset": ("mnist_5k",), "fallback_dataset": ("mnist_5k",), "extractor": ("auto", "none", *NAMES)}


def resolved(settings: Settings) -> Settings:
    """Returns settings whose paths hold in every working folder."""
    absolute = {}
    for row in settings.rows():
        value = getattr(settings, row.name)
        if not row.path or value is None or value in _NAMES.get(row.name, ()):
            continue
        # Where it may be a name, it is one unless something is there.
        if row.name not in _NAMES or os.path.exists(value):
            absolute[row.name] = os.path.abspath(value)
    return dataclasses.replace(settings, **absolute)


def data_of(settings: Settings) -> str:
    """Returns what the model that settings name learns from: `images`, `pairs` or two `sides`."""
    kind = getattr(getattr(models, settings.model), "data", "images")
    return "images" if kind == "labelled" else kind


def open_split(
    settings: Settings, split: str, kind: str | None = None, attributes: Attributes | None = None
) -> Dataset:
    """Opens a split of what settings name.

    Args:
        settings: The settings.
        split: The split.
        kind: `images`, `labelled` ones, `pairs` or `sides`; by default what their model learns from.
        attributes: What images of another split are told by; by default what the settings name.

    Raises:
        UsageError: For settings that mean nothing for that kind.
    """
    kind = kind or data_of(settings)
    _check_attributes(settings)
    if kind in ("images", "labelled"):
        return open_images(settings, split, attributes)
    return data.open_pairs(split=split, fallback_dataset=settings.fallback_dataset, **_source(settings, kind))


def open_images(settings: Settings, split: str, attributes: Attributes | None = None) -> data.ImageSet:
    """Opens a split of the images that settings name, whatever their model learns from; see `open_split`."""
    source = {**_source(settings, "images"), "attributes": attributes or settings.attributes}
    return data.open_images(split=split, fallback_dataset=settings.fallback_dataset, **source)


def open_split_like(facts: dict[str, Any], settings: Settings, split: str) -> Dataset:
    """Opens another split of the images that `facts` describe: the fallback where they are the fallback.

    The hosts of the data set that it stands in for are not asked again. Values are scaled, and attributes encoded, as
    those of `facts` are, and images of another size or kind are made like those described.

    Raises:
        DataError: If they cannot be.
    """
    shapes = [tuple(facts[name]) for name in ("source_shape", "image_shape") if name in facts]
    if data_of(settings) == "images":
        height, width, channels = shapes[-1]
        size = settings.image_size or (height, width)
        settings = dataclasses.replace(settings, channels=settings.channels or channels, image_size=size)
    if settings.value_range is None:
        settings = dataclasses.replace(settings, value_range=facts.get("value_range"))
    attributes = shapes_of(facts).get("attributes")
    if facts["fallback_for"] is None:
        images = open_split(settings, split, attributes=attributes)
    else:
        fallback = settings.fallback_dataset or facts["name"]
        images = open_split(dataclasses.replace(settings, dataset=fallback), split, attributes=attributes)
        images = dataclasses.replace(images, fallback_for=facts["fallback_for"])
    found = [getattr(images, name) for name in ("source_shape", "image_shape") if name in facts]
    if found != shapes:
        one, other = (" to ".join(map(str, some)) for some in (found, shapes))
        raise data.DataError(
            f"The images of {images.name} ({split}) have shape {one}, and those of training {other}. "
            "Give an `image_size` and `channels` for both."
        )
    return images


def has_split(settings: Settings, split: str) -> bool:
    """Whether what settings name has a split, or a slice of one; none of its images is read."""
    try:
        open_split(settings, f"{split.partition('[')[0]}[:0]")
    except UnknownSplit:
        return False
    except data.DataError:  # as it selects none
        pass
    return True


def peek(settings: Settings) -> dict[str, Any]:
    """Returns what `build_gan` is told of the images that settings name, without preparing them."""
    kind = data_of(settings)
    source = {"split": settings.split, **_source(settings, kind)}
    if settings.attributes is not None:
        return shapes_of(open_split(settings, settings.split).describe())
    if kind == "images":
        image_shape, num_classes = data.peek(**source)
        return {"image_shape": image_shape, "num_classes": num_classes}
    source_shape, target_shape = data.peek_pairs(**source)
    return {"image_shape": target_shape, "num_classes": None, "source_shape": source_shape}


def shapes_of(facts: dict[str, Any]) -> dict[str, Any]:
    """Returns what `build_gan` is told of a dataset, by what its `describe` returns."""
    shapes: dict[str, Any] = {name: tuple(facts[name]) for name in ("image_shape", "source_shape") if name in facts}
    more: dict[str, Any] = {"class_names": facts["class_names"]} if facts.get("class_names") else {}
    if facts.get("attributes") is not None:
        more["attributes"] = Attributes.from_config(facts["attributes"])
    return {"num_classes": facts["num_classes"], **shapes, **more}


def _source(settings: Settings, kind: str) -> dict[str, Any]:
    names = ["dataset", "data_dir", "manual_dir", "image_size", "fit", "channels", "value_range"]
    if kind != "images":
        source = {name: getattr(settings, name) for name in [*names, *_PAIRED]}
        if settings.depth != 8:
            raise UsageError(
                f"`depth={settings.depth}` has no meaning for `model={settings.model}`: translators work in 8 bits."
            )
        return {**source, "sides": kind == "sides"}
    for name in (*_PAIRED, "pretrain_steps"):
        if (value := getattr(settings, name)) != next(row.default for row in settings.rows() if row.name == name):
            raise UsageError(
                f"`{name}={value}` has no meaning for `model={settings.model}`, which translates no pairs."
            )
    return {name: getattr(settings, name) for name in [*names, "depth"]}


# What says how sources and targets are found, or made.
_PAIRED = ("targets", "paired", "reverse", "degrade", "crop")


def open_extractor(settings: Settings | Scoring, images: Dataset) -> tuple[FeatureExtractor | None, str | None]:
    """Loads whose features compare images.

    Returns:
        `(extractor, why)`: None with the reason where settings want auto and none of those shipped serves, and without
        one where they want none.

    Raises:
        UsageError: If the one that is named cannot be loaded, or does not take such images.
    """
    auto = settings.extractor == "auto"
    name = shipped_for(images.name) if auto else settings.extractor
    if name is None:
        return None, f"no feature extractor is shipped for {images.name}"
    if name == "none":
        return None, None
    try:
        extractor = load_extractor(name, settings.trust_extractor)
    except ValueError as error:
        raise UsageError(f"`extractor`: {error}") from error
    try:
        extractor.require(images.image_shape)
    except ValueError as error:
        if auto:
            return None, f"{name} is shipped for {images.name} at {extractor.image_shape}, not at {images.image_shape}"
        raise UsageError(f"`extractor={name}` does not serve for {images.name}. {error}") from error
    return extractor, None


def build_gan(
    settings: Settings,
    image_shape: ImageShape,
    num_classes: int | None,
    class_names: Sequence[str] | None = None,
    source_shape: ImageShape | None = None,
    attributes: Attributes | None = None,
    **compile_arguments: Any,
) -> Trainable:
    """Builds and compiles the GAN that settings describe.

    A setting that is None is left to the model, whose defaults are its paper's.

    Args:
        settings: The settings.
        image_shape: `(height, width, channels)`.
        num_classes: Classes of the images, None where unlabelled.
        class_names: What they are called, for a GAN that is told of them.
        source_shape: The shape of the sources, of a translator.
        attributes: What images have in the place of labels.
        **compile_arguments: Passed to `compile`.

    Raises:
        UsageError: For an argument that the model does not take, or values that it refuses.
    """
    gan = build_model(settings, image_shape, num_classes, source_shape, attributes)
    if settings.degrade is not None:
        # What is grey before is grey after.
        degradation = data.degradations.parse_degradation(settings.degrade)
        gan.keeps_colours = degradation.channels(3) >= 3
    if gan.num_classes is not None and getattr(gan, "supervised", True):
        gan.class_names = class_names
    compile_gan(gan, settings, **compile_arguments)
    return gan


def compile_gan(gan: Trainable, settings: Settings, *, pretraining: bool = False, **compile_arguments: Any) -> None:
    """Compiles a GAN as settings say, with new optimizers.

    Args:
        gan: What `build_model` made.
        settings: The settings.
        pretraining: Whether for the `pretrain_steps`, in which the generator minimises its terms alone.
        **compile_arguments: Passed to `compile`.

    Raises:
        UsageError: For values that the model refuses.
    """
    chosen: dict[str, Any] = {
        "loss": _loss(settings, gan),
        "terms": _terms(settings.penalty, gan),
        "augment": _augment(settings.augment),
        "n_critic": settings.n_critic,
        "accumulate": settings.accumulate,
        "freeze_d": settings.freeze_d,
        "adversarial_weight": settings.adversarial_weight,
        "ema_decay": settings.ema_decay,
        "steps_per_execution": settings.steps_per_execution,
        "jit_compile": {"auto": None, "true": True, "false": False}[settings.jit_compile],
    }
    if pretraining:
        chosen |= gan.pretrain_arguments()
    try:
        gan.compile(**{**chosen, **compile_arguments})
    except ValueError as error:
        raise UsageError(str(error)) from error
    set_learning_rates(gan, settings)
    if settings.decay_learning_rates and not pretraining:
        _decay_learning_rates(gan, *_from(settings, settings.decay_from, settings.train_steps))
    elif settings.decay_from and not settings.decay_learning_rates:
        raise UsageError(
            f"`decay_from={settings.decay_from}` has no meaning without `decay_learning_rates`: the rates stay."
        )


def _from(settings: Settings, *steps: int) -> tuple[int, ...]:
    """Returns steps as optimizers count them that begin anew after the `pretrain_steps`."""
    return tuple(max(step - settings.pretrain_steps, 0) for step in steps)


def build_model(
    settings: Settings,
    image_shape: ImageShape,
    num_classes: int | None,
    source_shape: ImageShape | None = None,
    attributes: Attributes | None = None,
) -> Trainable:
    """Builds the networks of `build_gan`, in the settings' precision."""
    model = getattr(models, settings.model)
    accepted = inspect.signature(model).parameters
    given = _model_arguments(settings.model_arg)
    if settings.latent_dim is not None:
        given["latent_dim"] = settings.latent_dim
    unknown = sorted(given.keys() - accepted.keys())
    if unknown:
        takes = ", ".join(name for name in accepted if name not in GIVEN)
        raise UsageError(f"{settings.model} takes no {', '.join(unknown)}. It takes {takes}.")
    if settings.conditional and "num_classes" not in accepted:
        raise UsageError(f"`model={settings.model}` takes no labels, so `conditional` has no meaning for it.")
    _check_attributes(settings)
    if attributes is not None:
        given["attributes"] = attributes
    elif needs_condition(settings):
        if num_classes is None:
            raise UsageError(
                f"`model={settings.model}` needs labelled images, and `dataset={settings.dataset}` has none. "
                "Put them in one sub-folder a class, name columns of a table with `attributes`, or choose an "
                "unconditional model such as DCGAN."
            )
        given["num_classes"] = num_classes
    shapes = (image_shape,) if source_shape is None else (source_shape, image_shape)
    if settings.depth != 8:
        given["modality"] = Images(image_shape, depth=settings.depth)
    with dtype_policy(choose_precision(settings.precision or settings.mixed_precision).policy):
        try:
            gan = model(*shapes, seed=settings.seed, **given)
        except ValueError as error:
            raise UsageError(str(error)) from error
    if settings.sync_batch_norm:
        synchronize(gan.generator)
        synchronize(gan.discriminator)
    return gan


# Arguments that follow from the images.
GIVEN = ("image_shape", "source_shape", "target_shape", "num_classes", "attributes", "kwargs")


def needs_condition(settings: Settings) -> bool:
    """Whether the model that settings describe learns from labels or attributes."""
    needs = getattr(getattr(models, settings.model), "needs_condition", False)
    return bool(settings.conditional or settings.attributes or needs)


def _check_attributes(settings: Settings) -> None:
    """Refuses attributes for a model that is told none."""
    if settings.attributes is None:
        return
    takes = [name for name in models.__all__ if _takes_attributes(name)]
    if settings.model not in takes:
        raise UsageError(
            f"`attributes={','.join(settings.attributes)}`: `model={settings.model}` is told none. Those that are: "
            f"{', '.join(takes)}."
        )


def _takes_attributes(model: str) -> bool:
    return "attributes" in inspect.signature(getattr(models, model)).parameters


def set_learning_rates(gan: Trainable, settings: Settings, factor: float = 1.0) -> None:
    """Sets the learning rates that settings give, times a factor; a restored optimizer otherwise keeps its own."""
    rates = {"g_learning_rate": settings.g_learning_rate, "d_learning_rate": settings.d_learning_rate}
    for optimizer, (name, rate) in zip((gan.g_optimizer, gan.d_optimizer), rates.items(), strict=True):
        # Rates that fall were set when the GAN was built, and follow the optimizer's count.
        if rate is None or (settings.decay_learning_rates and has_schedule(optimizer)):
            continue
        try:
            optimizer.learning_rate = rate * factor
        except TypeError as error:
            raise UsageError(f"`{name}={rate}` cannot be set: {settings.model} trains with a schedule.") from error


def _decay_learning_rates(gan: Trainable, decay_from: int, train_steps: int) -> None:
    """Lets both learning rates fall linearly, from their present values at a step to 0 at the last."""
    if decay_from >= train_steps:
        raise UsageError(f"`decay_from={decay_from}` must be less than `train_steps={train_steps}`.")
    spans = zip(gan.optimizer_steps(decay_from), gan.optimizer_steps(train_steps), strict=True)
    for optimizer, (begin, end) in zip((gan.g_optimizer, gan.d_optimizer), spans, strict=True):
        if has_schedule(optimizer):
            raise UsageError(
                f"`decay_learning_rates` cannot be set: {type(gan).__name__} trains with a schedule of its own."
            )
        start = float(optimizer.learning_rate)
        optimizer.learning_rate = LinearDecay(start, begin, end)


def _loss(settings: Settings, gan: Trainable) -> losses.AdversarialLoss | None:
    loss = _named_loss(settings)
    if settings.top_k is None:
        return loss
    own = loss or losses.get(gan.compile_defaults().get("loss", losses.NonSaturating()))
    return losses.TopK(own, least=settings.top_k)


def _named_loss(settings: Settings) -> losses.AdversarialLoss | None:
    name, real_label = settings.loss, settings.real_label
    if name is None and real_label is None:
        return None
    loss = getattr(losses, name or "NonSaturating")
    if real_label is None:
        return loss()
    if "real_label" not in inspect.signature(loss).parameters:
        raise UsageError(f"`real_label={real_label}` has no meaning for `loss={name}`: it has no labels to smooth.")
    return loss(real_label=real_label)


def _terms(penalties: tuple[str, ...] | None, gan: Trainable) -> list[terms.Term] | None:
    """Returns the terms to compile with: penalties on D, if there are any given, in the place of the model's own."""
    if penalties is None:
        return None
    given = [] if penalties == ("none",) else [_part("penalty", text, terms) for text in penalties]
    own = gan.compile_defaults().get("terms", ())
    return [*given, *(term for term in own if term.player == "generator" or not term.own_tape)]


def _augment(text: str | None) -> augment.Augment | Literal[False] | None:
    if text is None:
        return None
    return False if text == "none" else _part("augment", text, augment)


def _part(setting: str, text: str, module: Any) -> Any:
    """Builds the object of a module that NAME or NAME(argument=value, ...) describes; values are literals."""
    names = [name for name in module.__all__ if name not in ("Augment", "Play", "Term")]
    if module is terms:
        # Penalties on D; those on G are their models' own.
        names = [name for name in names if getattr(terms, name).player == "discriminator"]
    try:
        call = ast.parse(text, mode="eval").body
        arguments: dict[str, Any] = {}
        if isinstance(call, ast.Call):
            if call.args:
                raise ValueError("arguments go by name")
            arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
            call = call.func
        name = call.id if isinstance(call, ast.Name) else "this"
        if name not in names:
            raise ValueError(f"{name} is not one of {', '.join(names)}")
        return getattr(module, name)(**arguments)
    except (SyntaxError, TypeError, ValueError) as error:
        raise UsageError(f"`{setting}={text}` must be like {names[0]} or {names[0]}(name=value): {error}.") from error


def _model_arguments(pairs: tuple[str, ...]) -> dict[str, Any]:
    arguments = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise UsageError(f"`model_arg={pair}` must be NAME=VALUE, for example `model_arg=base_channels=32`.")
        try:
            arguments[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError) as error:
            raise UsageError(
                f"`model_arg={pair}`: the value must be a Python literal such as 32, True or (256,512)."
            ) from error
    return arguments
