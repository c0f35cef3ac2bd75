"""A pool of earlier fakes."""

from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.networks import BatchShape
from tfgan_app.base.randomness import stream, uniform
from tfgan_app.base.replicas import gathered, place

__all__ = ["ImagePool"]


@keras.saving.register_keras_serializable("tfgan_app")
class ImagePool(keras.layers.Layer):
    """Shows the discriminator fakes of earlier steps for a half of the present ones.

    `pool(images, seed)` returns as many images. The first `size` fill the pool, and are returned. Each later one is
    returned itself with probability 1/2, else an image of the pool that it takes the place of. Images are taken in
    turn, so one may meet another of its own batch. Shrivastava et al. 2016, https://arxiv.org/abs/1612.07828, section
    2.3, as CycleGAN has it (Zhu et al. 2017, https://arxiv.org/abs/1703.10593, section 4).

    No gradient passes. What is drawn depends on the seed alone. Several replicas keep one pool, of all their images,
    and each is returned its part of what one device would return. As attribute of a model the pool is saved with its
    weights: `size` images in float32.

    Args:
        size: How many images to keep; 0 returns the images as they are.
        **kwargs: As in `keras.layers.Layer`.

    Raises:
        ValueError: For another size.
    """

    def __init__(self, size: int = 50, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        if size != int(size) or size < 0:
            raise ValueError(f"`size` must be an integer of at least 0. Received: size={size}")
        self.size = int(size)

    def build(self, images_shape: BatchShape, seed_shape: BatchShape | None = None) -> None:
        if self.size:
            state = {"initializer": "zeros", "trainable": False, "autocast": False}
            self.images = self.add_weight(name="images", shape=(self.size, *images_shape[1:]), **state)
            # Images seen, up to `size`.
            self.count = self.add_weight(name="count", shape=(), **{**state, "dtype": "int64"})

    def call(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        images = tf.stop_gradient(images)
        if not self.size:
            return images
        # Each replica does the same with all images, so their pools stay one.
        every = gathered(images)
        num = tf.shape(every)[0]
        numbers = tf.range(num)
        filled = tf.cast(self.count.value, tf.int32)
        fills = filled + numbers < self.size
        swaps = ~fills & (uniform((num,), stream(seed, "swap"), whole=True) > 0.5)
        drawn = tf.cast(uniform((num,), stream(seed, "place"), whole=True) * self.size, tf.int32)
        places = tf.where(fills, filled + numbers, drawn)
        kept = tf.gather(self.images.value, places)
        # Which image came to each image's place, before it and in the end; -1 where none did.
        comes = (places[:, tf.newaxis] == places) & (fills | swaps)
        before = comes & (numbers < numbers[:, tf.newaxis])
        earlier, last = (tf.reduce_max(tf.where(x, numbers, -1), axis=1) for x in (before, comes))
        shape = (-1, *[1] * (images.shape.rank - 1))

        def found(latest):
            return tf.where(tf.reshape(latest >= 0, shape), tf.gather(every, tf.maximum(latest, 0)), kept)

        shown = tf.where(tf.reshape(swaps, shape), found(earlier), every)
        # All that write to one place write the same, so their order does not matter.
        self.images.value.scatter_update(tf.IndexedSlices(found(last), places))
        self.count.assign(tf.minimum(self.count.value + tf.cast(num, tf.int64), self.size))
        part = tf.shape(images)[0]
        return shown[place() * part : (place() + 1) * part]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}
