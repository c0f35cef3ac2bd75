"""Grouped convolution that trains on every device."""

import functools

import keras
import tensorflow as tf

__all__ = ["GroupedConv2D"]


@keras.saving.register_keras_serializable("tfgan_app")
class GroupedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose groups run on TensorFlow's own kernels.

    Group g of the filters sees group g of the input's channels, as in ResNeXt (Xie et al. 2016,
    https://arxiv.org/abs/1611.05431). Keras compiles grouped convolutions with XLA, which on a CPU takes a hundred
    times as long to train as TensorFlow's kernels do. Where those lack a gradient (on a CPU in float16 and float64, or
    without oneDNN) the groups are convolved one by one. All of it can be differentiated twice.

    Arguments and weights are those of `keras.layers.Conv2D`: the kernel has shape
    `(height, width, input channels / groups, filters)`.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor | keras.Variable) -> tf.Tensor:
        if self.groups == 1 or self.data_format == "channels_first":
            return super().convolution_op(inputs, kernel)
        kernel = tf.convert_to_tensor(kernel)
        if _has_gradients(inputs.dtype):
            return self._convolve(inputs, kernel)
        parts = zip(tf.split(inputs, self.groups, axis=-1), tf.split(kernel, self.groups, axis=-1), strict=True)
        return tf.concat([self._convolve(*part) for part in parts], axis=-1)

    def _convolve(self, inputs, kernel):
        return tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper(), dilations=self.dilation_rate)


@functools.cache
def _has_gradients(dtype):
    """Says whether this machine's grouped kernels have gradients in `dtype`; only trying tells."""
    with tf.init_scope():
        image, kernel = tf.ones((1, 1, 1, 2), dtype), tf.ones((1, 1, 1, 2), dtype)
        geometry = {"strides": [1, 1, 1, 1], "padding": "SAME"}
        try:
            # The gradients' kernels are called directly, as tapes record nothing in this scope.
            tf.raw_ops.Conv2DBackpropInput(input_sizes=image.shape, filter=kernel, out_backprop=image, **geometry)
            tf.raw_ops.Conv2DBackpropFilter(input=image, filter_sizes=kernel.shape, out_backprop=image, **geometry)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True
