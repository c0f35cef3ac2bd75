"""Layers that Keras lacks or that are faster here."""

from tfgan_app.layers.attention import SelfAttention
from tfgan_app.layers.batch_norm import BatchNormalization, ConditionalBatchNormalization
from tfgan_app.layers.bilinear import BilinearUpsample
from tfgan_app.layers.clipping import ClipWeights
from tfgan_app.layers.colour import LabColour
from tfgan_app.layers.contextual_attention import ContextualAttention
from tfgan_app.layers.convolution import Conv2D, Conv2DTranspose
from tfgan_app.layers.cropping import Cropping2D
from tfgan_app.layers.dropout import SeededDropout
from tfgan_app.layers.equalized import EqualizedConv2D, EqualizedDense
from tfgan_app.layers.fir import FIRDownsample, FIRFilter, FIRUpsample
from tfgan_app.layers.gated import GatedConv2D
from tfgan_app.layers.grouped import GroupedConv2D
from tfgan_app.layers.instance_norm import InstanceNormalization
from tfgan_app.layers.minibatch_stddev import MinibatchStdDev
from tfgan_app.layers.packing import Pack
from tfgan_app.layers.pixel_norm import PixelNorm
from tfgan_app.layers.pixel_shuffle import PixelShuffle
from tfgan_app.layers.pixel_unshuffle import PixelUnshuffle
from tfgan_app.layers.pool import ImagePool
from tfgan_app.layers.prelu import PReLU
from tfgan_app.layers.reflection import ReflectionPadding2D
from tfgan_app.layers.spectral import SpectralConv2D, SpectralDense, SpectralEmbedding
from tfgan_app.layers.stacked import StackedBatchNormalization, StackedDense
from tfgan_app.layers.style import (
    LearnedConstant,
    ModulatedConv2D,
    Noise,
    Redraw,
    Style,
    StyleMixing,
    StyleStatistics,
)

__all__ = [
    "BatchNormalization",
    "BilinearUpsample",
    "ClipWeights",
    "ConditionalBatchNormalization",
    "ContextualAttention",
    "Conv2D",
    "Conv2DTranspose",
    "Cropping2D",
    "EqualizedConv2D",
    "EqualizedDense",
    "FIRDownsample",
    "FIRFilter",
    "FIRUpsample",
    "GatedConv2D",
    "GroupedConv2D",
    "ImagePool",
    "InstanceNormalization",
    "LabColour",
    "LearnedConstant",
    "MinibatchStdDev",
    "ModulatedConv2D",
    "Noise",
    "PReLU",
    "Pack",
    "PixelNorm",
    "PixelShuffle",
    "PixelUnshuffle",
    "Redraw",
    "ReflectionPadding2D",
    "SeededDropout",
    "SelfAttention",
    "SpectralConv2D",
    "SpectralDense",
    "SpectralEmbedding",
    "StackedBatchNormalization",
    "StackedDense",
    "Style",
    "StyleMixing",
    "StyleStatistics",
]
