"""Convolutions whose kernels' gradients come fast in bfloat16 on a CPU."""

from typing import Any, Literal

import keras
import tensorflow as tf

from tfgan_app.base.networks import BatchShape
from tfgan_app.layers.bias import add_bias

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
    """`keras.layers.Conv2D`, faster to train in bfloat16 on a CPU where images have become small, and right there.

    With `resample` it doubles or halves the sides, too. That is one convolution of stride 2, whose kernel is wider by
    one, the sum of four shifted copies of this one: 16 products where the two operations take 36, for 3x3.

    Args:
        *args: As in `keras.layers.Conv2D`.
        resample: "up": before the convolution each pixel becomes 2x2. "down": after it the mean of each 2x2 is taken.
        **kwargs: As in `keras.layers.Conv2D`.

    Raises:
        ValueError: For another `resample`, or one with strides, dilation, groups, an even kernel or other padding than
            `same`.
    """

    def __init__(self, *args: Any, resample: Literal["up", "down"] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.resample = resample
        if resample not in (None, "up", "down"):
            raise ValueError(f'`resample` must be "up", "down" or None. Received: resample={resample!r}')
        plain = {*self.strides, *self.dilation_rate, self.groups} == {1} and self.data_format == "channels_last"
        if resample and not (plain and self.padding == "same" and all(side % 2 for side in self.kernel_size)):
            raise ValueError(
                f"`resample={resample!r}` takes an odd kernel and padding='same', and no strides, dilation, groups or "
                f"channels_first. Received: kernel_size={self.kernel_size}, padding={self.padding!r}, "
                f"strides={self.strides}, dilation_rate={self.dilation_rate}, groups={self.groups}, "
                f"data_format={self.data_format!r}"
            )

    def build(self, input_shape: BatchShape) -> None:
        sides = input_shape[1:3]
        if self.resample and (None in sides or (self.resample == "down" and any(side % 2 for side in sides))):
            raise ValueError(
                f"`resample={self.resample!r}` takes images of known sides, to halve even ones. "
                f"Received: shape {tuple(input_shape)}"
            )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if not self.use_bias or (self.resample is None and self._own_gradient(inputs.shape) is None):
            return super().call(inputs)
        outputs = add_bias(self.convolution_op(inputs, self.kernel), tf.convert_to_tensor(self.bias))
        return outputs if self.activation is None else self.activation(outputs)

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor | keras.Variable) -> tf.Tensor:
        if self.resample == "up":
            return _upsample_and_convolve(self, inputs, tf.convert_to_tensor(kernel))
        if self.resample == "down":
            return _convolve_and_pool(self, inputs, tf.convert_to_tensor(kernel))
        gradient = self._own_gradient(inputs.shape)
        if gradient is None:
            return super().convolution_op(inputs, kernel)
        return _convolve(inputs, tf.convert_to_tensor(kernel), self.strides, self.padding, gradient)

    def _own_gradient(self, input_shape):
        """Returns the function of the kernel's gradient where that is not TensorFlow's."""
        if self.groups > 1:
            return None
        sides = input_shape, self.compute_output_shape(input_shape)
        gradient = _faster_gradient(self, self.kernel_size, self.strides, *sides)
        return kernel_gradient if gradient is None and _is_stepped_over(self, input_shape) else gradient

    def compute_output_shape(self, input_shape: BatchShape) -> BatchShape:
        batch, *sides, channels = super().compute_output_shape(input_shape)
        if self.resample is not None:
            sides = [side and (2 * side if self.resample == "up" else side // 2) for side in sides]
        return (batch, *sides, channels)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config if self.resample is None else {**config, "resample": self.resample}


@keras.saving.register_keras_serializable("tfgan_app")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose`, faster to train in bfloat16 on a CPU while images are small."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        shape = self.compute_output_shape(inputs.shape)
        gradient = _faster_gradient(self, self.kernel_size, self.strides, shape, inputs.shape)
        if gradient is None or self.output_padding is not None:
            return super().call(inputs)
        kernel = tf.convert_to_tensor(self.kernel)
        outputs = _convolve_transposed(inputs, kernel, shape[1:], self.strides, self.padding, gradient)
        return self.activation(add_bias(outputs, tf.convert_to_tensor(self.bias)) if self.use_bias else outputs)


def _upsample_and_convolve(layer, inputs, kernel):
    _, height, width, _ = inputs.shape
    # A transposed convolution turns its kernel, and has its channels the other way round.
    kernel = tf.transpose(_widened(tf.reverse(kernel, (0, 1))), (0, 1, 3, 2))
    shape = (2 * height, 2 * width, kernel.shape[2])
    gradient = _faster_gradient(layer, kernel.shape[:2], (2, 2), (None, *shape), inputs.shape)
    return _convolve_transposed(inputs, kernel, shape, (2, 2), "same", gradient)


def _convolve_and_pool(layer, inputs, kernel):
    kernel = _widened(kernel) / 4
    sides = inputs.shape, layer.compute_output_shape(inputs.shape)
    gradient = _faster_gradient(layer, kernel.shape[:2], (2, 2), *sides)
    return _convolve(inputs, kernel, (2, 2), "same", gradient)


def _widened(kernel):
    """Returns the kernel that does to an image what the sum of this one's at each of 2x2 neighbours does."""
    shifts = [[(0, 1), (0, 1)], [(0, 1), (1, 0)], [(1, 0), (0, 1)], [(1, 0), (1, 0)]]
    return tf.add_n([tf.pad(kernel, [*shift, (0, 0), (0, 0)]) for shift in shifts])


def _convolve(images, kernel, strides, padding, gradient):
    """Returns a convolution whose kernel's gradient a function computes; None: TensorFlow."""
    if gradient is None:
        return tf.nn.conv2d(images, kernel, strides, padding.upper())

    @tf.custom_gradient
    def operation(x, kernel):
        def gradients(upstream):
            of_x = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x),
                filter=kernel,
                out_backprop=upstream,
                strides=(1, *strides, 1),
                padding=padding.upper(),
            )
            return of_x, gradient(x, upstream, kernel.shape[:2], strides, padding)

        return tf.nn.conv2d(x, kernel, strides, padding.upper()), gradients

    return operation(images, kernel)


def _convolve_transposed(images, kernel, shape, strides, padding, gradient):
    """Returns the transposed convolution to images of a shape, likewise."""

    def convolve(x, kernel):
        return tf.nn.conv2d_transpose(x, kernel, (tf.shape(x)[0], *shape), strides, padding.upper())

    if gradient is None:
        return convolve(images, kernel)

    @tf.custom_gradient
    def operation(x, kernel):
        def gradients(upstream):
            of_x = tf.nn.conv2d(upstream, kernel, strides, padding.upper())
            return of_x, gradient(upstream, x, kernel.shape[:2], strides, padding)

        return convolve(x, kernel), gradients

    return operation(images, kernel)


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


def _faster_gradient(layer, kernel_size, strides, larger, smaller):
    """Returns a faster gradient of a layer's kernel than TensorFlow's, or None.

    Args:
        layer: Tells precision and layout.
        kernel_size: `(height, width)`.
        strides: Likewise.
        larger: The shape of the side that the kernel steps over.
        smaller: That of the other.
    """
    if not _can_gain(layer, kernel_size, larger, smaller):
        return None
    few, width = smaller[1] * smaller[2] <= _POSITIONS, min(larger[3], smaller[3])
    many = larger[0] is None or larger[0] >= _IMAGES
    if few and (many or width < _WIDE):
        return kernel_gradient if width >= _CHANNELS else None
    wide = _WIDE_UNSTRIDED if set(strides) == {1} and not few else _WIDE
    return kernel_gradient_by_products if width >= wide else None


def _can_gain(layer, kernel_size, larger, smaller):
    return (
        layer.compute_dtype == "bfloat16"
        and max(kernel_size) > 1
        and set(layer.dilation_rate) == {1}
        and layer.data_format == "channels_last"
        and None not in (*larger[1:3], *smaller[1:3])
        and not tf.config.list_physical_devices("GPU")
    )
