"""What is done with any Keras network: called with a list of inputs, copied to float32, told of an update."""

import contextlib
import inspect
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PathLike, reason

__all__ = [
    "BatchShape",
    "apply",
    "call_hooks",
    "final_activations",
    "first_activations",
    "float32_copy",
    "images_of",
    "in_float32",
    "loaded_safely",
    "move_average",
    "pass_losses",
    "with_weights_of",
]

# The shape of a batch, as Keras gives it to layers: integers, and None where a side is not known.
BatchShape: TypeAlias = tuple[Any, ...]


def apply(network: keras.Model, inputs: Sequence[tf.Tensor], training: bool = False) -> Any:
    """Returns a functional model's outputs for a list of tensors, one for each of its inputs in their order."""
    # A Sequential model has no structure of inputs.
    structure = network.inputs[0] if isinstance(network, keras.Sequential) else network.input
    return network(keras.tree.pack_sequence_as(structure, inputs), training=training)


def images_of(outputs: Any) -> tf.Tensor:
    """Returns the pictures among what a generator returned: all of it, or the `images` of a dict."""
    return outputs["images"] if isinstance(outputs, dict) else outputs


def loaded_safely(path: PathLike) -> keras.Model:
    """Loads a model of one input from a `.keras` file in Keras's safe mode, which runs no code that the file holds.

    Raises:
        UsageError: If it cannot be loaded so, or has other inputs.
    """
    try:
        network = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # of many kinds: Keras's, zipfile's, h5py's
        raise UsageError(f"{path} cannot be loaded in Keras's safe mode: {reason(error)}") from error
    if not isinstance(network, keras.Model) or len(network.inputs or ()) != 1:
        raise UsageError(f"{path} is not a model of one input.")
    return network


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
    that training happened to use. Functions of one's own, as `Lambda` layers hold, are shared with the copy.

    Raises:
        UsageError: If a layer cannot be made again.
    """
    # Layers within layers are found by the names of their classes, registered or not.
    classes = {type(layer).__name__: type(layer) for layer in network._flatten_layers()}
    with keras.saving.custom_object_scope(classes):
        copy = keras.models.clone_model(network, clone_function=_float32_layer, recursive=True)
    # The model itself has a policy too, by which it would round its inputs, and so have layers within layers.
    copy.dtype_policy = "float32"
    for layer in copy._flatten_layers():
        if layer.compute_dtype in ("float16", "bfloat16"):
            layer.dtype_policy = "float32"
    copy.set_weights(network.get_weights())
    return copy


def _float32_layer(layer):
    """Returns a layer, or an operation between layers, made again from its config, a layer in float32."""
    cls = type(layer)
    try:
        with warnings.catch_warnings():
            # Keras warns that functions without a name cannot be loaded from a file; here they are shared.
            warnings.simplefilter("ignore", UserWarning)
            config = layer.get_config()
        if "dtype" in config:
            config["dtype"] = "float32"
        if isinstance(layer, keras.layers.Lambda):
            # Its `from_config` takes no Python function, not even one that was never in a file.
            own = {"function": layer.function, "output_shape": layer._output_shape, "mask": layer.mask}
            return cls(**{**config, **own, "arguments": layer.arguments})
        for name, value in config.items():
            if isinstance(value, dict) and inspect.isfunction(getattr(layer, name, None)):
                config[name] = getattr(layer, name)
        # What Keras gives every layer, constructors of one's own often do not take.
        parameters = inspect.signature(cls.__init__).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            unwanted = {"name", "trainable", "dtype"} - set(parameters)
            config = {name: value for name, value in config.items() if name not in unwanted}
        return cls.from_config(config)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise UsageError(
            f"The layer {layer.name} cannot be copied, as the moving average of the generator and exports need it. "
            f"{cls.__name__}.get_config() must return what {cls.__name__}.__init__() takes: "
            f"`return {{**super().get_config(), ...}}`. Received: {type(error).__name__}: {error}"
        ) from error


def final_activations(network: keras.Model) -> set[str]:
    """Returns the names of the functions that a functional model's outputs come from, in lower case.

    Of a discriminator with several outputs those are its `logits`'. Layers that only reorder are looked through; a
    layer without an activation is `linear`, or goes by its class.
    """
    outputs = network.outputs
    if isinstance(getattr(network, "output", None), dict):
        outputs = keras.tree.flatten(network.output.get("logits", []))
    return {_activation_of(output) for output in outputs}


def _activation_of(output):
    operation, node, _ = output._keras_history
    if type(operation).__name__ in ("Reshape", "Flatten", "Permute", "Squeeze"):
        return _activation_of(operation._inbound_nodes[node].input_tensors[0])
    if isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
        return " ".join(sorted(final_activations(operation)))
    function = getattr(operation, "activation", None) or operation
    return getattr(function, "__name__", type(function).__name__).lower()


def first_activations(network: keras.Model) -> keras.Model:
    """Returns a network that ends where a functional model's first input meets the first layers with a kernel.

    What lies between, such as a normalisation or a label that is joined, is part of it. Its output has the shape
    `(batch, units)`, those of several layers side by side.

    Raises:
        UsageError: If no layer with a kernel is reached, as where it lies within another model.
    """
    reached, found = {id(network.inputs[0])}, []
    graph = network._functional if isinstance(network, keras.Sequential) else network
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if any(id(x) in reached for x in node.input_tensors):
                if getattr(node.operation, "kernel", None) is not None:
                    found += node.outputs
                else:
                    reached |= {id(x) for x in node.outputs}
    if not found:
        raise UsageError(
            f"{network.name} has no layer of its own with a kernel that its {network.inputs[0].name} reach."
        )
    flat = [keras.layers.Flatten(dtype="float32")(x) for x in found]
    return keras.Model(network.inputs, flat[0] if len(flat) == 1 else keras.layers.Concatenate(dtype="float32")(flat))


def pass_losses(network: keras.Model) -> list[tf.Tensor]:
    """Returns the losses that a network's layers added in its last pass; those of its weights are not among them."""
    return [loss for layer in network._flatten_layers() for loss in layer._get_own_losses()]


def move_average(average: keras.Model, network: keras.Model, decay: tf.Tensor) -> None:
    """Moves the trainable weights of an average towards a network's, and copies the others.

    Args:
        average: A network of the same kind.
        network: The network.
        decay: Weight of the old average, a scalar tensor.
    """
    for old, current in zip(average.weights, network.weights, strict=True):
        if current.trainable:
            # One pass less over the weights than an addition of the scaled difference.
            tf.raw_ops.ResourceApplyGradientDescent(
                var=old.value.handle, alpha=tf.cast(1.0 - decay, old.dtype), delta=old - current
            )
        else:
            old.assign(current)
