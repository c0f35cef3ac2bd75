"""What people give to `fit`: the samples and labels of a batch, checked, and a look at what a source holds.

Shapes and dtypes are looked at wherever a batch is taken apart. Values are looked at before training: all those of
arrays, and the first batch of what comes in batches.
"""

import itertools
import types
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.modalities import Modality

__all__ = ["Inspection", "as_dataset", "check_samples", "parts", "refuse_weights", "split"]

_SAMPLES, _LABELS = ("image", "images"), ("label", "labels")


def parts(data: Any) -> tuple[Any, Any]:
    """Returns the samples and the labels of a batch, None where it has none.

    Args:
        data: Samples, `(samples,)`, `(samples, labels)`, or a dict with `image` and `label` as TFDS has them.

    Raises:
        UsageError: For weights of samples, or a structure that holds no samples.
    """
    samples, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    refuse_weights(sample_weight=weights)
    if isinstance(samples, dict):
        found = [[samples[name] for name in names if name in samples] for names in (_SAMPLES, _LABELS)]
        if not found[0]:
            raise UsageError(f"A dict must hold `image`, and `label` if there are any. Received: {sorted(samples)}")
        samples = found[0][0]
        labels = found[1][0] if labels is None and found[1] else labels
    if not hasattr(samples, "shape"):
        raise UsageError(
            "Samples must be one array or tensor, and labels another: `fit(images, labels)`. "
            f"Received: {type(samples).__name__}"
        )
    return samples, labels


def refuse_weights(**weights: Any) -> None:
    """Refuses arguments that weight samples, by name.

    Raises:
        UsageError: If one is given.
    """
    for name, value in weights.items():
        if value is not None:
            raise UsageError(
                f"`{name}` has no meaning for a GAN, whose fakes belong to no sample. Show images as often as they "
                "should count: `index = numpy.random.default_rng(0).choice(len(x), len(x), p=weight / weight.sum())` "
                "with a weight for each image, then `fit(x[index], y[index])`."
            )


def check_samples(samples: Any, modality: Modality) -> None:
    """Refuses samples of another dtype or shape than the networks take.

    Args:
        samples: An array, a tensor or a `tf.TensorSpec`.
        modality: What a sample is.

    Raises:
        UsageError: If they are others.
    """
    dtype = samples.dtype if isinstance(samples.dtype, tf.DType) else np.dtype(samples.dtype)
    name, shape = modality.name.capitalize(), modality.shape
    if not (dtype.is_floating if isinstance(dtype, tf.DType) else dtype.kind == "f" or dtype.name == "bfloat16"):
        hint = "; `tfgan_app.data.to_float` makes them of uint8" if modality.dtype is np.uint8 else ""
        expected = " in [-1, 1]" if modality.dtype in (np.uint8, np.uint16) else ""
        raise UsageError(f"{name} must be floating point{expected}{hint}. Received: {dtype.name}")
    rank = samples.shape.rank if isinstance(samples.shape, tf.TensorShape) else len(samples.shape)
    if rank is None:
        return
    got = tuple(samples.shape)
    if rank == len(shape) + 1 and all(side in (None, own) for side, own in zip(got[1:], shape, strict=True)):
        return
    wanted = f"({', '.join(['batch', *map(str, shape)])})"
    hint = "."
    if len(shape) == 3:
        height, width, channels = shape
        if got == shape:
            hint = ". Give them in batches: `dataset.batch(64)`, or `images[numpy.newaxis]` for one."
        elif rank == 3 and channels == 1:
            hint = ". They lack the axis of the channel: write `images[..., numpy.newaxis]`."
        elif rank == 4 and got[1:] == (channels, height, width):
            hint = ". The channels come last: write `numpy.moveaxis(images, 1, -1)`."
        elif rank == 4 and got[3] == channels:
            hint = (
                f". Resize them, `tf.image.resize(images, ({height}, {width}))`, or build the networks for their size."
            )
    raise UsageError(f"{name} must have the shape {wanted}{hint} Received: {got}")


class Inspection:
    """Shows a function what a source of batches holds, before a step is made of it.

    Args:
        check: Called with samples and labels, and raises what is wrong with them: with the specs of batches, with
            arrays as a whole, and with the first batch of anything else, as NumPy arrays.
    """

    def __init__(self, check: Callable[[Any], None]):
        self.check = check
        # What was raised where TensorFlow would hide it, in a dataset's own threads.
        self.error: Exception | None = None

    def __call__(self, x: Any, y: Any, steps: int | None, argument: str) -> Any:
        """Returns what to train with in place of `x`, a source that `keras.Model.fit` takes.

        Args:
            x: The source.
            y: What belongs to each sample of an array.
            steps: How many steps a pass takes, None where the source's end ends it.
            argument: What that number is called.

        Raises:
            UsageError: For a source that is empty, or has no end where `steps` is None.
        """
        if isinstance(x, tf.data.Dataset):
            cardinality = int(x.cardinality())
            if cardinality == tf.data.INFINITE_CARDINALITY and steps is None:
                raise UsageError(f"The dataset repeats without end: give `{argument}`.")
            _check_any(cardinality != 0)
            self.check(x.element_spec)
            return self._watched(x)
        if isinstance(x, keras.utils.PyDataset):
            if x.num_batches is None and steps is None:
                raise UsageError(f"The PyDataset has no end: give `{argument}`.")
            _check_any(x.num_batches != 0)
            self.check(_arrays(x[0]))
        elif isinstance(x, types.GeneratorType):
            first = next(x, None)
            _check_any(first is not None)
            self.check(_arrays(first))
            return _chained(first, x)
        elif _is_loader(x):
            first = next(iter(x), None)
            _check_any(first is not None)
            self.check(_arrays(first))
        elif _are_arrays(x):
            arrays = _arrays(x)
            _check_any(len(keras.tree.flatten(arrays)[0]) != 0)
            self.check(arrays if y is None else (arrays, _arrays(y)))
        return x

    def _watched(self, dataset):
        specs = keras.tree.flatten(dataset.element_spec)
        if not all(isinstance(spec, tf.TensorSpec) for spec in specs):
            return dataset
        looked = False

        def look(*leaves):
            nonlocal looked
            if not looked:
                looked = True
                try:
                    self.check(keras.tree.pack_sequence_as(dataset.element_spec, list(leaves)))
                except Exception as error:
                    self.error = error
                    raise

        def watch(*data):
            data = data if isinstance(dataset.element_spec, tuple) else data[0]
            with tf.control_dependencies([tf.numpy_function(look, keras.tree.flatten(data), [])]):
                return keras.tree.map_structure(tf.identity, data)

        return dataset.map(watch)


def split(x: Any, y: Any, part: float) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Returns arrays without their last `part`, and that, as `validation_split` of `keras.Model.fit`.

    Raises:
        UsageError: If they are no arrays, or too few for two parts.
    """
    if not _are_arrays(x):
        raise UsageError(
            "`validation_split` is for arrays. Take batches apart yourself, "
            "`fit(dataset.skip(n), validation_data=dataset.take(n))`. "
            f"Received: {type(x).__name__}"
        )
    arrays = keras.tree.map_structure(np.asarray, (x,) if y is None else (x, y))
    num = len(keras.tree.flatten(arrays)[0])
    at = int(num * (1.0 - part))
    if not 0 < at < num:
        raise UsageError(f"`validation_split={part}` leaves no samples for one of both parts. Received: {num} samples")
    train, rest = (keras.tree.map_structure(lambda a, s=s: a[s], arrays) for s in (slice(at), slice(at, None)))
    return (train[0], None if y is None else train[1]), (rest[0], None if y is None else rest[1])


def as_dataset(x: Any) -> Any:
    """Returns a `keras.utils.PyDataset`, a generator or a loader of torch as a `tf.data.Dataset`; others as they are.

    Args:
        x: What yields batches of one structure, the first of them as large as all but the last.
    """
    if isinstance(x, keras.utils.PyDataset):
        count, first = x.num_batches, x[0]

        def batches():
            for index in itertools.count() if count is None else range(count):
                yield _tensors(x[index])
            x.on_epoch_end()
    elif isinstance(x, types.GeneratorType):
        count, first = None, next(x)
        rest = _chained(first, x)

        def batches():
            return map(_tensors, rest)
    elif _is_loader(x):
        count, first = len(x), next(iter(x))

        def batches():
            return map(_tensors, x)
    else:
        return x
    # The first batch's structure is that of all; their sizes may differ.
    specs = keras.tree.map_structure(lambda leaf: tf.TensorSpec((None, *leaf.shape[1:]), leaf.dtype), _tensors(first))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=specs)
    if count is None:
        # A single pass: nobody can look at the first batch for its size.
        return dataset.rebatch(len(keras.tree.flatten(first)[0]), drop_remainder=True)
    return dataset.apply(tf.data.experimental.assert_cardinality(count))


def _check_any(there):
    if not there:
        raise UsageError("There is no batch to take: the data are empty.")


def _chained(first, rest):
    yield first
    yield from rest


def _is_loader(x):
    return any(cls.__name__ == "DataLoader" and cls.__module__.startswith("torch.") for cls in type(x).__mro__)


def _are_arrays(x):
    leaves = keras.tree.flatten(x)
    return bool(leaves) and all(hasattr(leaf, "shape") and hasattr(leaf, "__array__") for leaf in leaves)


def _arrays(data):
    return keras.tree.map_structure(np.asarray, data)


def _tensors(data):
    """Returns a batch as arrays, in a tuple where it was a list: TensorFlow would stack a list."""
    data = tuple(data) if isinstance(data, list) else data
    return keras.tree.map_structure(np.asarray, data)
