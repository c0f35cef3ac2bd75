"""Weights of another trained model, as far as they fit: where training on few images begins."""

import collections
import dataclasses
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

import keras

from tfgan_app.adversarial import AdversarialModel
from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PathLike, local_path, reason
from tfgan_app.export import SavedGAN, SavedTranslator, open_saved

__all__ = ["Source", "init_from", "open_source"]

# What weights are taken from: a GAN, an exported one, or the path of a SavedModel's folder or a `.keras` file.
Source: TypeAlias = AdversarialModel | SavedGAN | SavedTranslator | PathLike


def init_from(gan: AdversarialModel, source: Source) -> str:
    """Gives a GAN the weights of another trained model, layer by layer, where they fit; the others stay new.

    The generator begins with the source's, its moving average with the source's moving average, and the discriminator
    with the source's; an exported model has the average alone, with which both begin. Step, optimizers and seeds stay
    the GAN's own.

    A layer's place is its kind, the sides of its output, the shapes of its weights, and its number among those that are
    alike in these: counted from the latents in a generator, from the logits in a discriminator, as these ends stay
    where images of another size lengthen the other. Of an exported model the sides of outputs are not known: layers of
    a kind are then counted alone, and where there is another number of them, those from the first misfit on stay new.

    Args:
        gan: The GAN.
        source: A GAN; an exported one; the folder of a SavedModel, or a `.keras` file of a GAN.

    Returns:
        A line on what was taken, and what begins anew.

    Raises:
        UsageError: For a source that cannot be opened, or of whose generator nothing fits.
    """
    found = _networks_of(source)
    taken, kept = [], []
    roles = {"generator": "generator", "ema_generator": "average", "discriminator": "discriminator"}
    for name, role in roles.items():
        target = _layers(getattr(gan, name).weights, _sides(getattr(gan, name)))
        pairs = _matched(target, found.get(role, []), backwards=role == "discriminator")
        for layer, given in pairs:
            for weight, variable in layer.weights.items():
                variable.assign(given.weights[weight])
        if name == "ema_generator":
            continue
        if name == "generator" and not pairs:
            raise UsageError(
                f"No layer of the generator of {_name_of(source)} fits {type(gan).__name__} here. `init_from` takes a "
                "model of the same kind, of any size and number of classes."
            )
        taken.append(f"{len(pairs)} of {len(target)} layers of the {name}")
        fitting = {id(layer) for layer, _ in pairs}
        lacking = [layer.name for layer in target if id(layer) not in fitting]
        if role not in found:
            kept.append("the discriminator, which the exported model lacks")
        elif lacking:
            kept.append(f"{', '.join(lacking[:4])}{f' and {len(lacking) - 4} more' if lacking[4:] else ''}")
    return f"Took {' and '.join(taken)} from {_name_of(source)}; anew begin {'; '.join(kept) or 'none'}."


@dataclasses.dataclass
class _Layer:
    """A layer's weights by their names, its kind, its number among those, and the sides of its output."""

    name: str
    kind: str
    number: tuple[int, ...]
    sides: tuple[int, ...] | None
    weights: dict[str, Any]

    @property
    def shapes(self):
        return tuple(sorted((name, tuple(weight.shape)) for name, weight in self.weights.items()))


def _matched(target: list[_Layer], source: list[_Layer], backwards: bool) -> list[tuple[_Layer, _Layer]]:
    """Returns the layers of the target, each with that of the source at the same place."""
    known = all(layer.sides is not None for layer in source)

    def groups(layers):
        found = collections.defaultdict(list)
        for layer in reversed(layers) if backwards else layers:
            found[(layer.kind, layer.sides, layer.shapes) if known else layer.kind].append(layer)
        return found

    others, pairs = groups(source), []
    for place, layers in groups(target).items():
        alike = len(layers) == len(others[place])
        for own, other in zip(layers, others[place], strict=False):
            if own.shapes == other.shapes:
                pairs.append((own, other))
            elif not alike:
                break
    return pairs


def _layers(weights: Iterable[Any], sides: dict[int, tuple[int, ...]] | None) -> list[_Layer]:
    """Returns weights by their layers, in the order in which layers of a kind were made.

    Keras names layers after their kind, with a number that rises: `ema/conv2d_7/kernel`.
    """
    found: dict[str, _Layer] = {}
    for weight in weights:
        path = (getattr(weight, "path", None) or weight.name).removesuffix(":0").removeprefix("ema/")
        layer, _, name = path.rpartition("/")
        if layer not in found:
            number = tuple(int(part) for part in re.findall(r"_(\d+)(?=/|$)", layer))
            place = None if sides is None else sides.get(id(weight), ())
            found[layer] = _Layer(layer, re.sub(r"_\d+(?=/|$)", "", layer), number, place, {})
        found[layer].weights[name] = weight
    return sorted(found.values(), key=lambda layer: layer.number)


def _sides(network: keras.Model) -> dict[int, tuple[int, ...]]:
    """Returns the height and the width of each layer's output, none of a vector, by the identity of its weights."""
    found: dict[int, tuple[int, ...]] = {}
    for layer in network._flatten_layers():
        nodes = layer._inbound_nodes
        if nodes and not isinstance(layer, keras.Model):
            output = keras.tree.flatten(nodes[0].output_tensors)[0]
            found |= {id(weight): tuple(output.shape[1:-1]) for weight in layer.weights}
    return found


def _networks_of(source):
    """Returns the layers of a source by the role of their network."""
    if not isinstance(source, (AdversarialModel, SavedGAN, SavedTranslator)):
        source = open_source(source)
    if isinstance(source, AdversarialModel):
        networks = {"generator": source.generator, "average": source.ema_generator}
        networks["discriminator"] = source.discriminator
        return {role: _layers(network.weights, _sides(network)) for role, network in networks.items()}
    average: list[Any] = []
    discriminator: list[Any] = []
    for variable in source.variables:
        (average if variable.name.startswith("ema/") else discriminator).append(variable)
    generator = _layers(average, None)
    found = {"generator": generator, "average": generator}
    return {**found, "discriminator": _layers(discriminator, None)} if discriminator else found


def open_source(source: PathLike) -> Any:
    """Opens the folder of a SavedModel, or a `.keras` file of a GAN, uncompiled.

    Raises:
        UsageError: If it is neither.
    """
    path = local_path(source)
    if path.suffix != ".keras":
        return open_saved(path)
    try:
        gan = keras.models.load_model(path, compile=False)
    except Exception as error:  # of many kinds: Keras's, zipfile's, h5py's
        raise UsageError(f"`init_from={source}` cannot be loaded: {reason(error)}") from error
    if not isinstance(gan, AdversarialModel):
        raise UsageError(f"`init_from={source}` holds a {type(gan).__name__}, and must hold a GAN of this package.")
    return gan


def _name_of(source):
    if isinstance(source, AdversarialModel):
        return f"a {type(source).__name__} of step {source.step}"
    if isinstance(source, (SavedGAN, SavedTranslator)):
        return f"an exported {source.facts['model']} of step {source.facts['step']}"
    return str(source)
