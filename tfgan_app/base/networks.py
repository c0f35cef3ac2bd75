"""What is done with any Keras network: called with a list of inputs, copied to float32, told of an update."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

__all__ = ["BatchShape", "apply", "call_hooks", "float32_copy", "in_float32", "move_average", "with_weights_of"]

# The shape of a batch, as Keras gives it to layers: integers, and None where a side is not known.
BatchShape: TypeAlias = tuple[Any, ...]


def apply(network: keras.Model, inputs: Sequence[tf.Tensor], training: bool = False) -> Any:
    """Returns a functional model's outputs for a list of tensors, one for each of its inputs in their order."""
    # A Sequential model has no structure of inputs.
    structure = network.inputs[0] if isinstance(network, keras.Sequential) else network.input
    return network(keras.tree.pack_sequence_as(structure, inputs), training=training)


def call_hooks(network: keras.Model, name: str) -> None:
    """Calls the method `name()` of every layer of a network that has one."""
    for layer in network._flatten_layers():
        if hasattr(layer, name):
            getattr(layer, name)()


@contextlib.contextmanager
def in_float32(network: keras.Model) -> Iterator[None]:
    """Lets a network's layers compute in float32 as long as the block lasts, whatever their policy."""
    layers = list(network._flatten_layers())
    policies = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = "float32"
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer.dtype_policy = policy


@contextlib.contextmanager
def with_weights_of(other: keras.Model, network: keras.Model) -> Iterator[None]:
    """Lets a network have the weights of another of its kind as long as the block lasts."""
    own = network.get_weights()
    try:
        network.set_weights(other.get_weights())
        yield
    finally:
        network.set_weights(own)


def float32_copy(network: keras.Model) -> keras.Model:
    """Returns a copy of a functional model, weights included, that computes in float32.

    The EMA generator and exported networks are such copies: a score or an export must not depend on the precision
    that training happened to use.
    """

    def convert(layer):
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(network, clone_function=convert, recursive=True)
    # The model itself has a policy too, by which it would round its inputs.
    copy.dtype_policy = "float32"
    copy.set_weights(network.get_weights())
    return copy


def move_average(average: keras.Model, network: keras.Model, decay: tf.Tensor) -> None:
    """Moves the trainable weights of an average towards a network's, and copies the others.

    Args:
        average: A network of the same kind.
        network: The network.
        decay: Weight of the old average, a scalar tensor.
    """
    for old, current in zip(average.weights, network.weights, strict=True):
        if current.trainable:
            old.assign_add((1.0 - decay) * (current - old))
        else:
            old.assign(current)
