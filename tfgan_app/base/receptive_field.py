"""How far a network of convolutions sees."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

__all__ = ["Span", "receptive_radius"]

# The longest side of a picture on which a network's reach is looked for, in pixels.
_LONGEST = 2**16
_NEVER = 2**40  # before the first pixel or after the last: nothing is seen

# Layers and operations whose outputs see the position that they are at, whatever that sees.
_POINTWISE = (
    layers.Activation,
    layers.BatchNormalization,
    layers.Dense,
    layers.Dropout,
    layers.ELU,
    layers.GaussianNoise,
    layers.Identity,
    layers.LeakyReLU,
    layers.PReLU,
    layers.ReLU,
    layers.Rescaling,
)
_MERGES = (layers.Add, layers.Average, layers.Maximum, layers.Minimum, layers.Multiply, layers.Subtract)
_ARITHMETIC = {"Add", "Clip", "Divide", "Maximum", "Minimum", "Multiply", "Negative", "Subtract", "TrueDivide"}
_FUNCTIONS = {"Absolute", "Cast", "Elu", "Exp", "Gelu", "LeakyRelu", "Relu", "Sigmoid", "Silu", "Square", "Tanh"}


class Span:
    """What the positions along an axis of a feature map see of a network's input: from which pixel to which.

    A layer that `receptive_radius` does not know, and that is no function of the whole picture, has a method
    `span(span)`, which returns the span of its outputs made of its input's by the methods here.

    Args:
        axis: 0 for the height, 1 for the width, by which a layer picks the size of its kernel.
        first: The first pixel that each position sees, an integer array.
        last: The last one.
    """

    def __init__(self, axis: int, first: np.ndarray, last: np.ndarray):
        self.axis, self.first, self.last = axis, first, last

    def __len__(self) -> int:
        return len(self.first)

    def padded(self, before: int, after: int) -> Span:
        """Returns it with positions at both ends that see nothing; with less of them where numbers are negative.

        Mirrored pixels count as nothing, too: from the border they lie no further than what is seen anyway.
        """

        def padded(values, nothing):
            values = values[max(-before, 0) : len(values) - max(-after, 0)]
            return np.pad(values, (max(before, 0), max(after, 0)), constant_values=nothing)

        return Span(self.axis, padded(self.first, _NEVER), padded(self.last, -_NEVER))

    def at(self, positions: np.ndarray) -> Span:
        """Returns what windows see: of positions, an integer array `(num, window)`, those that there are."""
        inside = (positions >= 0) & (positions < len(self))
        positions = np.where(inside, positions, 0)
        first = np.where(inside, self.first[positions], _NEVER).min(axis=1)
        return Span(self.axis, first, np.where(inside, self.last[positions], -_NEVER).max(axis=1))

    def convolved(self, kernel: int, stride: int = 1, dilation: int = 1, padding: str = "same") -> Span:
        """Returns what a convolution, or a pooling, of a size sees."""
        reach = (kernel - 1) * dilation + 1
        num = -(-len(self) // stride) if padding == "same" else (len(self) - reach) // stride + 1
        before = max((num - 1) * stride + reach - len(self), 0) // 2 if padding == "same" else 0
        return self.at(np.arange(num)[:, None] * stride - before + np.arange(kernel) * dilation)

    def repeated(self, factor: int) -> Span:
        """Returns what positions see that each come from one, so many of them."""
        return self.at(np.arange(len(self) * factor)[:, None] // factor)

    def interpolated(self, factor: int, taps: int) -> Span:
        """Returns what an enlargement sees that weights so many neighbours of each position: 2 bilinear, 4 bicubic."""
        twice = 2 * np.arange(len(self) * factor) + 1 - factor  # where it lies, in positions times 2 * factor
        nearest = np.floor_divide(twice, 2 * factor)[:, None]
        on_one = (twice % (2 * factor) == 0)[:, None]  # the others weigh nothing there
        window = nearest + np.arange(1 - taps // 2, taps // 2 + 1)
        return self.at(np.clip(np.where(on_one, nearest, window), 0, len(self) - 1))


def receptive_radius(network: keras.Model) -> int | None:
    """Returns how many pixels of the input away from its own a pixel of a network's output sees, at most.

    It follows a functional model's layers, at each phase of strides and enlargements, and does not look at weights. Of
    several outputs it is that of `images`, or of the first. A pixel of an enlarged output has the input pixel as its
    own that it lies in.

    Args:
        network: A functional model of images `(batch, height, width, channels)`; what its inputs of other ranks tell
            holds everywhere.

    Returns:
        An integer; None where an output sees the whole picture, through a norm over it or a dense layer for example,
        or where a layer is unknown.
    """
    radii = [_radius(network, axis) for axis in (0, 1)]
    return None if None in radii else max(radii)


def _radius(network, axis):
    length = 256
    while length <= _LONGEST:
        pixels = np.arange(length)
        span = _through(network, Span(axis, pixels, pixels))
        if not isinstance(span, Span) or not len(span):
            return None
        # The positions of the middle eighth, so that all phases are among them.
        chosen = np.arange(len(span) * 7 // 16, len(span) * 9 // 16)
        first, last = span.first[chosen], span.last[chosen]
        if first.min() > 0 and last.max() < length - 1:
            own = (2 * chosen + 1) * length // (2 * len(span))
            return max(int((own - first).max()), int((last - own).max()), 0)
        length *= 2
    return None


# What sees nothing of the picture: labels, and what is made of them.
_CONSTANT = "constant"


def _through(network, span):
    """Returns the span of a network's output, `_CONSTANT`, or None where it sees everything."""
    network = getattr(network, "_functional", None) or network
    seen: dict[int, Any] = {id(x): span if len(x.shape) == 4 else _CONSTANT for x in network.inputs}
    for depth in sorted(network._nodes_by_depth, reverse=True):
        for node in network._nodes_by_depth[depth]:
            if not node.is_input:
                inputs = [seen[id(x)] for x in node.input_tensors]
                result = _CONSTANT if all(x is _CONSTANT for x in inputs) else _after(node.operation, inputs)
                seen.update((id(x), result) for x in node.outputs)
    named = network.output if isinstance(getattr(network, "output", None), dict) else {}
    return seen[id(named.get("images", network.outputs[0]))]


def _after(operation, inputs):
    """Returns what an operation's outputs see, for what its inputs see."""
    spans = [span for span in inputs if span is not _CONSTANT]
    if None in spans or len({len(span) for span in spans}) > 1:
        return None
    span, axis = spans[0], spans[0].axis
    if hasattr(operation, "span"):
        return operation.span(_union(spans))
    if isinstance(operation, keras.Model) and getattr(operation, "inputs", None):
        return _through(operation, span) if len(spans) == 1 else None
    if getattr(operation, "data_format", "channels_last") != "channels_last":
        return None
    if isinstance(operation, layers.Conv2DTranspose):
        return _transposed(operation, span)
    if isinstance(operation, (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)):
        sizes = operation.kernel_size, operation.strides, operation.dilation_rate
        return span.convolved(*(size[axis] for size in sizes), operation.padding)
    if isinstance(operation, (layers.AveragePooling2D, layers.MaxPooling2D)):
        return span.convolved(operation.pool_size[axis], operation.strides[axis], 1, operation.padding)
    if isinstance(operation, layers.ZeroPadding2D):
        return span.padded(*operation.padding[axis])
    if isinstance(operation, layers.Cropping2D):
        return span.padded(*(-number for number in operation.cropping[axis]))
    if isinstance(operation, layers.UpSampling2D):
        taps = {"nearest": 1, "bilinear": 2, "bicubic": 4}.get(operation.interpolation)
        factor = operation.size[axis]
        return span.repeated(factor) if taps == 1 else taps and span.interpolated(factor, taps)
    along_channels = getattr(operation, "axis", None) in (-1, 3, [-1], [3])
    if isinstance(operation, (layers.Concatenate, layers.LayerNormalization)) and along_channels:
        return _union(spans)
    if isinstance(operation, (*_POINTWISE, *_MERGES)):
        return _union(spans)
    # `keras.ops` and operators between tensors are operations, and no layers.
    if isinstance(operation, layers.Layer) or not type(operation).__module__.startswith("keras."):
        return None
    name = type(operation).__name__
    return _union(spans) if name in _ARITHMETIC | _FUNCTIONS or (name == "Concatenate" and along_channels) else None


def _union(spans):
    first = np.min([span.first for span in spans], axis=0)
    return Span(spans[0].axis, first, np.max([span.last for span in spans], axis=0))


def _transposed(layer, span):
    kernel, stride = (sizes[span.axis] for sizes in (layer.kernel_size, layer.strides))
    if layer.output_padding is not None or layer.dilation_rate[span.axis] != 1:
        return None
    overlap = max(kernel - stride, 0)
    before, num = (overlap // 2, len(span) * stride) if layer.padding == "same" else (0, len(span) * stride + overlap)
    # Position i sees those at j where i = j * stride + tap - before.
    offset = (np.arange(num) + before)[:, None] - np.arange(kernel)
    return span.at(np.where(offset % stride == 0, offset // stride, -1))
