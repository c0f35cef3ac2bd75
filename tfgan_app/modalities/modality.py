"""The one object that knows what a sample is: files, stored values, the network's range, and what people see."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.base.files import PathLike

__all__ = ["Array", "Modality"]

# Samples, as an array or as a tensor.
Array: TypeAlias = np.ndarray | tf.Tensor


class Modality:
    """What a sample is, there and back.

    A sample is met in three forms: *stored*, as files and arrays hold it; in the *network's range*, in which the
    library speaks throughout; and *decoded*, float32 as people and other programs get it from `sample` and from
    exported models. This base class leaves values as they are in all three, and keeps each sample in an `.npy` file:
    right for real-valued samples of about unit scale. Subclass it for another kind, and give it to `tfgan_app.GAN`:

    ```python
    class Waves(Modality):
        name = "waves"

        def show(self, samples, columns=None):
            ...  # a picture of them, uint8 (height, width, channels)

    gan = tg.GAN(generator, discriminator, modality=Waves((64, 1)))
    ```

    Functions of tensors take a batch `(batch, *shape)`, are differentiable where their meaning is, and work in graphs.

    Args:
        shape: The shape of one sample, without the batch.

    Attributes:
        name: What many samples are called: in exported signatures, in the arrays of .npz files, in messages.
        dtype: The dtype of stored values.
        ending: The ending of the files that `write` writes, with the dot.
    """

    name = "samples"
    dtype: type[np.generic] = np.float32
    ending = ".npy"

    def __init__(self, shape: Sequence[int]):
        self.shape: tuple[int, ...] = tuple(int(side) for side in shape)

    def encode(self, samples: Array) -> tf.Tensor:
        """Returns stored or decoded samples in the network's range, float32."""
        return tf.cast(samples, tf.float32)

    def clip(self, samples: Array) -> tf.Tensor:
        """Returns samples in the network's range, with what a generator put outside of it at its nearest end."""
        return tf.convert_to_tensor(samples)

    def decode(self, samples: Array) -> tf.Tensor:
        """Returns samples from the network's range as people get them, float32."""
        return self.clip(samples)

    def store(self, samples: Array) -> tf.Tensor:
        """Returns the stored values nearest to samples in the network's range."""
        return tf.cast(self.clip(samples), self.dtype)

    def check_range(self, low: float, high: float) -> None:
        """Refuses samples in another range than the network's, or warns of it, by their lowest and highest values.

        Here any finite values will do.

        Raises:
            UsageError: If they cannot be samples.
        """
        if not (math.isfinite(low) and math.isfinite(high)):
            raise UsageError(
                f"The {self.name} hold NaN or infinity, which would reach every weight. "
                f"Received: values from {low:g} to {high:g}"
            )

    def read(self, path: PathLike) -> np.ndarray:
        """Returns the stored sample that a file holds.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it holds no such sample.
        """
        sample = np.load(pathlib.Path(path), allow_pickle=False)
        if sample.shape != self.shape:
            raise ValueError(f"{path} holds an array of shape {sample.shape}. Expected {self.shape}")
        return sample.astype(self.dtype)

    def write(self, path: PathLike, sample: Array) -> None:
        """Writes one sample, in the network's range, to a file that ends in `ending`."""
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.asarray(self.store(sample[None]))[0])

    def show(self, samples: Array, columns: int | None = None) -> np.ndarray:
        """Returns a picture of samples in the network's range, uint8 `(height, width, channels)` with 1 or 3 channels.

        Args:
            samples: `(num, *shape)`.
            columns: How many stand in a row, where they stand in rows.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `show`.")

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {"shape": self.shape}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Modality":
        """Rebuilds the modality from `get_config`."""
        return cls(**config)
