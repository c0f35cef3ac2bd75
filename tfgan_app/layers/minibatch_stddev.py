"""Minibatch standard deviation."""

from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.networks import BatchShape

__all__ = ["MinibatchStdDev"]


@keras.saving.register_keras_serializable("tfgan_app")
class MinibatchStdDev(keras.layers.Layer):
    """Appends to each image how much the images of its group differ, so that D sees a lack of variety.

    Karras et al. 2017, https://arxiv.org/abs/1710.10196, section 3: the standard deviation over the group, for each
    position and channel, averaged over positions and channels to one number. Statistics are float32 under every
    dtype policy.

    A batch of n images makes m = max(1, n // group_size) groups, and image i belongs to group i m // n: neighbours, so
    that the parts of a batch that several replicas see make the groups that one would, if these are no larger. Where
    `group_size` does not divide n, some groups are larger: none is so small that a last, partial batch looks short of
    variety. A smaller batch is one group.

    Args:
        group_size: Images in a group.
        num_features: Channels appended: one for each of as many equal parts of the channels.
        **kwargs: As in `keras.layers.Layer`.

    Raises:
        ValueError: If the channels do not split into `num_features` parts.
    """

    def __init__(self, group_size: int = 4, num_features: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.group_size = group_size
        self.num_features = num_features

    def build(self, input_shape: BatchShape) -> None:
        if input_shape[-1] % self.num_features:
            raise ValueError(
                f"`num_features` must divide the channels. Received: num_features={self.num_features} for inputs of "
                f"shape {tuple(input_shape)}"
            )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        _, height, width, channels = inputs.shape
        batch = tf.shape(inputs)[0]
        groups = tf.maximum(batch // self.group_size, 1)
        group = tf.range(batch) * groups // batch
        shape = (batch, height, width, self.num_features, channels // self.num_features)
        x = tf.cast(tf.reshape(inputs, shape), tf.float32)
        x = x - tf.gather(tf.math.unsorted_segment_mean(x, group, groups), group)
        variance = tf.math.unsorted_segment_mean(tf.square(x), group, groups)
        # The square root has no gradient at 0.
        stddev = tf.reduce_mean(tf.sqrt(variance + 1e-8), axis=(1, 2, 4))
        stddev = tf.cast(tf.gather(stddev, group), inputs.dtype)[:, tf.newaxis, tf.newaxis]
        return tf.concat([inputs, tf.broadcast_to(stddev, (batch, height, width, self.num_features))], axis=-1)

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        return (*input_shape[:-1], input_shape[-1] + self.num_features)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "group_size": self.group_size, "num_features": self.num_features}
