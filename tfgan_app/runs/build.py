"""What settings describe: images, whose features compare them, networks, a compiled GAN."""

import ast
import dataclasses
import inspect
from typing import Any, Literal

import keras

from tfgan_app import augment, data, losses, models, terms
from tfgan_app.base.errors import UsageError
from tfgan_app.base.precision import choose_precision, dtype_policy
from tfgan_app.gan import GAN
from tfgan_app.layers.batch_norm import synchronize
from tfgan_app.metrics.extractors import FeatureExtractor, load_extractor, shipped_for
from tfgan_app.runs.settings import Scoring, Settings
from tfgan_app.schedules import has_schedule

__all__ = ["build_gan", "build_model", "open_extractor", "open_split", "open_split_like", "peek", "set_learning_rates"]

ImageShape = tuple[int, int, int]


def open_split(settings: Settings, split: str) -> data.ImageSet:
    """Opens a split of the images that settings name."""
    return data.open_images(split=split, fallback_dataset=settings.fallback_dataset, **_source(settings))


def open_split_like(facts: dict[str, Any], settings: Settings, split: str) -> data.ImageSet:
    """Opens another split of the images that `facts` describe: the fallback where they are the fallback.

    The hosts of the data set that it stands in for are not asked again.
    """
    if facts["fallback_for"] is None:
        return open_split(settings, split)
    fallback = settings.fallback_dataset or facts["name"]
    images = open_split(dataclasses.replace(settings, dataset=fallback), split)
    return dataclasses.replace(images, fallback_for=facts["fallback_for"])


def peek(settings: Settings) -> tuple[ImageShape, int | None]:
    """Returns `(image_shape, num_classes)` of the images that settings name, without preparing them."""
    return data.peek(**_source(settings))


def _source(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in ("dataset", "data_dir", "manual_dir", "image_size", "channels")}


def open_extractor(settings: Settings | Scoring, images: data.ImageSet) -> FeatureExtractor | None:
    """Loads whose features compare images; None where settings want none, or auto and none is shipped for them."""
    name = shipped_for(images.name) if settings.extractor == "auto" else settings.extractor
    if name in (None, "none"):
        return None
    try:
        return load_extractor(name, settings.trust_extractor)
    except ValueError as error:
        raise UsageError(f"`extractor`: {error}") from error


def build_gan(settings: Settings, image_shape: ImageShape, num_classes: int | None, **compile_arguments: Any) -> GAN:
    """Builds and compiles the GAN that settings describe.

    A setting that is None is left to the model, whose defaults are its paper's.

    Args:
        settings: The settings.
        image_shape: `(height, width, channels)`.
        num_classes: Classes of the images, None where unlabelled.
        **compile_arguments: Passed to `compile`.

    Raises:
        UsageError: For an argument that the model does not take, or values that it refuses.
    """
    gan = build_model(settings, image_shape, num_classes)
    try:
        gan.compile(
            loss=_loss(settings),
            terms=_terms(settings.penalty, gan),
            augment=_augment(settings.augment),
            n_critic=settings.n_critic,
            ema_decay=settings.ema_decay,
            steps_per_execution=settings.steps_per_execution,
            jit_compile={"auto": None, "true": True, "false": False}[settings.jit_compile],
            **compile_arguments,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    set_learning_rates(gan, settings)
    if settings.decay_learning_rates:
        _decay_learning_rates(gan, settings.train_steps)
    return gan


def build_model(settings: Settings, image_shape: ImageShape, num_classes: int | None) -> GAN:
    """Builds the networks of `build_gan`, in the settings' precision."""
    model = getattr(models, settings.model)
    accepted = inspect.signature(model).parameters
    given = _model_arguments(settings.model_arg)
    if settings.latent_dim is not None:
        given["latent_dim"] = settings.latent_dim
    unknown = sorted(given.keys() - accepted.keys())
    if unknown:
        takes = ", ".join(name for name in accepted if name not in ("image_shape", "num_classes", "kwargs"))
        raise UsageError(f"{settings.model} takes no {', '.join(unknown)}. It takes {takes}.")
    required = "num_classes" in accepted and accepted["num_classes"].default is inspect.Parameter.empty
    if settings.conditional and "num_classes" not in accepted:
        raise UsageError(f"`model={settings.model}` takes no labels, so `conditional` has no meaning for it.")
    if required or settings.conditional:
        if num_classes is None:
            raise UsageError(
                f"`model={settings.model}` needs labelled images, and `dataset={settings.dataset}` has none. "
                "Put them in one sub-folder a class, or choose an unconditional model such as DCGAN."
            )
        given["num_classes"] = num_classes
    with dtype_policy(choose_precision(settings.precision or settings.mixed_precision).policy):
        try:
            gan = model(image_shape, seed=settings.seed, **given)
        except ValueError as error:
            raise UsageError(str(error)) from error
    if settings.sync_batch_norm:
        synchronize(gan.generator)
        synchronize(gan.discriminator)
    return gan


def set_learning_rates(gan: GAN, settings: Settings, factor: float = 1.0) -> None:
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


def _decay_learning_rates(gan: GAN, train_steps: int) -> None:
    """Lets both learning rates fall linearly from their present values to 0 at the last step."""
    g_steps, d_steps = gan.optimizer_steps(train_steps)
    for optimizer, updates in ((gan.g_optimizer, g_steps), (gan.d_optimizer, d_steps)):
        if has_schedule(optimizer):
            raise UsageError(
                f"`decay_learning_rates` cannot be set: {type(gan).__name__} trains with a schedule of its own."
            )
        start = float(optimizer.learning_rate)
        optimizer.learning_rate = keras.optimizers.schedules.PolynomialDecay(start, updates, end_learning_rate=0.0)


def _loss(settings: Settings) -> losses.AdversarialLoss | None:
    name, real_label = settings.loss, settings.real_label
    if name is None and real_label is None:
        return None
    loss = getattr(losses, name or "NonSaturating")
    if real_label is None:
        return loss()
    if "real_label" not in inspect.signature(loss).parameters:
        raise UsageError(f"`real_label={real_label}` has no meaning for `loss={name}`: it has no labels to smooth.")
    return loss(real_label=real_label)


def _terms(penalties: tuple[str, ...] | None, gan: GAN) -> list[terms.Term] | None:
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
