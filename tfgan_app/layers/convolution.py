"""Convolutions whose kernels' gradients come fast in bfloat16 on a CPU."""

import keras
import tensorflow as tf

__all__ = ["Conv2D", "Conv2DTranspose", "kernel_gradient", "kernel_gradient_by_products"]

# Measured on AVX-512 BF16 (docs/performance.md). Up to this many positions of the smaller image, and from this many
# channels on, oneDNN's kernels for a forward pass take 0.3 to 0.8 of the time of those for the gradient.
_POSITIONS = 64
_CHANNELS = 32
# Of wide layers matrix products take 0.2 to 0.9 of it: in smaller batches than this many images there, and beyond.
_IMAGES = 32
_WIDE = 128
_WIDE_UNSTRIDED = 256


@keras.saving.register_keras_serializable("tfgan_app")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, faster to train in bfloat16 on a CPU where images have become small, and right there."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor | keras.Variable) -> tf.Tensor:
        def convolve(x, kernel):
            return super(Conv2D, self).convolution_op(x, kernel)

        gradient = _faster_gradient(self, inputs.shape, self.compute_output_shape(inputs.shape))
        if gradient is None and _is_stepped_over(self, inputs.shape):
            gradient = kernel_gradient
        if gradient is None or self.groups > 1:
            return convolve(inputs, kernel)

        @tf.custom_gradient
        def operation(x, kernel):
            def gradients(upstream):
                of_x = tf.raw_ops.Conv2DBackpropInput(
                    input_sizes=tf.shape(x),
                    filter=kernel,
                    out_backprop=upstream,
                    strides=(1, *self.strides, 1),
                    padding=self.padding.upper(),
                )
                return of_x, gradient(x, upstream, self.kernel_size, self.strides, self.padding)

            return convolve(x, kernel), gradients

        return operation(inputs, tf.convert_to_tensor(kernel))


@keras.saving.register_keras_serializable("tfgan_app")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose`, faster to train in bfloat16 on a CPU while images are small."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        gradient = _faster_gradient(self, self.compute_output_shape(inputs.shape), inputs.shape)
        if gradient is None or self.output_padding is not None:
            return super().call(inputs)

        @tf.custom_gradient
        def operation(x, kernel):
            def gradients(upstream):
                of_x = tf.nn.conv2d(upstream, kernel, self.strides, self.padding.upper())
                return of_x, gradient(upstream, x, self.kernel_size, self.strides, self.padding)

            shape = (tf.shape(x)[0], *self.compute_output_shape(x.shape)[1:])
            return tf.nn.conv2d_transpose(x, kernel, shape, self.strides, self.padding.upper()), gradients

        outputs = operation(inputs, tf.convert_to_tensor(self.kernel))
        return self.activation(outputs + self.bias if self.use_bias else outputs)


def kernel_gradient(
    images: tf.Tensor, upstream: tf.Tensor, kernel_size: tuple[int, int], strides: tuple[int, int], padding: str
) -> tf.Tensor:
    """Returns the gradient of a convolution's kernel, as a convolution of the transposed images.

    In that convolution the images' channels are the batch, their batch the channels, and the upstream gradient is the
    kernel, dilated by the strides.

    Args:
        images: `(batch, height, width, channels_in)`, what the kernel was applied to.
        upstream: `(batch, new_height, new_width, channels_out)`.
        kernel_size: The convolution's, `(height, width)`.
        strides: Likewise.
        padding: `same` or `valid`.

    Returns:
        A tensor `(*kernel_size, channels_in, channels_out)`.
    """
    pads = [(0, 0), *_pads(images, upstream, kernel_size, strides, padding)]
    x = tf.transpose(images, (3, 1, 2, 0))
    x = tf.pad(x, [(before, max(after, 0)) for before, after in [*pads, (0, 0)]])
    height, width = (x.shape[axis] + min(pads[axis][1], 0) for axis in (1, 2))
    kernel = tf.transpose(upstream, (1, 2, 0, 3))
    return tf.transpose(tf.nn.conv2d(x[:, :height, :width], kernel, 1, "VALID", dilations=strides), (1, 2, 0, 3))


def kernel_gradient_by_products(
    images: tf.Tensor, upstream: tf.Tensor, kernel_size: tuple[int, int], strides: tuple[int, int], padding: str
) -> tf.Tensor:
    """Returns what `kernel_gradient` does, as a matrix product for each place of the kernel.

    Each is that of the upstream gradient with the images as this place sees them, over all positions. Arguments are
    those of `kernel_gradient`.
    """
    (rows, columns), channels = upstream.shape[1:3], images.shape[3]
    (down, right), pads = strides, _pads(images, upstream, kernel_size, strides, padding)
    # In whole blocks of the strides, what a place sees lies together: TensorFlow gathers every second pixel slowly.
    blocks = rows + (kernel_size[0] - 1) // down, columns + (kernel_size[1] - 1) // right
    sides = blocks[0] * down, blocks[1] * right
    margins = [(pads[axis][0], max(0, sides[axis] - images.shape[axis + 1] - pads[axis][0])) for axis in (0, 1)]
    images = tf.slice(tf.pad(images, [(0, 0), *margins, (0, 0)]), (0, 0, 0, 0), (-1, *sides, -1))
    images = tf.reshape(images, (-1, blocks[0], down, blocks[1], right, channels))
    images = tf.transpose(images, (2, 4, 0, 1, 3, 5)) if max(strides) > 1 else images[None, None, :, :, 0, :, 0]
    seen = [
        tf.slice(images, (y % down, x % right, 0, y // down, x // right, 0), (1, 1, -1, rows, columns, -1))
        for y in range(kernel_size[0])
        for x in range(kernel_size[1])
    ]
    seen = tf.reshape(tf.concat(seen, 0), (len(seen), -1, channels))
    products = tf.matmul(seen, tf.reshape(upstream, (1, -1, upstream.shape[3])), transpose_a=True)
    return tf.reshape(products, (*kernel_size, channels, upstream.shape[3]))


def _pads(images, upstream, kernel_size, strides, padding):
    """Returns how a convolution pads height and width, `(before, after)` each; negative for what no kernel reaches."""
    pads = []
    for side, new_side, kernel, stride in zip(
        images.shape[1:3], upstream.shape[1:3], kernel_size, strides, strict=True
    ):
        # TensorFlow pads more at the end where the padding is uneven.
        needed = (new_side - 1) * stride + kernel - side
        before = max(needed, 0) // 2 if padding == "same" else 0
        pads.append((before, needed - before))
    return pads


def _is_stepped_over(layer, images):
    """Whether a side is shorter than the stride.

    In half precision on a CPU TensorFlow 2.21 then returns gradients of the kernel from memory that nobody wrote to,
    NaN among them.
    """
    sides = zip(images[1:3], layer.strides, strict=True)
    return (
        layer.compute_dtype in ("bfloat16", "float16")
        and layer.data_format == "channels_last"
        and None not in images[1:3]
        and any(side < stride for side, stride in sides)
    )


def _faster_gradient(layer, larger, smaller):
    """Returns a faster gradient of the kernel than TensorFlow's, for shapes of a convolution's two sides, or None."""
    if not _can_gain(layer, larger, smaller):
        return None
    few, width = smaller[1] * smaller[2] <= _POSITIONS, min(larger[3], smaller[3])
    many = larger[0] is None or larger[0] >= _IMAGES
    if few and (many or width < _WIDE):
        return kernel_gradient if width >= _CHANNELS else None
    wide = _WIDE_UNSTRIDED if set(layer.strides) == {1} and not few else _WIDE
    return kernel_gradient_by_products if width >= wide else None


def _can_gain(layer, larger, smaller):
    return (
        layer.compute_dtype == "bfloat16"
        and max(layer.kernel_size) > 1
        and set(layer.dilation_rate) == {1}
        and layer.data_format == "channels_last"
        and None not in (*larger[1:3], *smaller[1:3])
        and not tf.config.list_physical_devices("GPU")
    )
