"""Layers that Keras lacks or that are faster here."""

from tfgan_app.layers.attention import SelfAttention
from tfgan_app.layers.batch_norm import BatchNormalization, ConditionalBatchNormalization
from tfgan_app.layers.clipping import ClipWeights
from tfgan_app.layers.contextual_attention import ContextualAttention
from tfgan_app.layers.convolution import Conv2D, Conv2DTranspose
from tfgan_app.layers.equalized import EqualizedConv2D, EqualizedDense
from tfgan_app.layers.fir import FIRDownsample, FIRFilter, FIRUpsample
from tfgan_app.layers.gated import GatedConv2D
from tfgan_app.layers.grouped import GroupedConv2D
from tfgan_app.layers.minibatch_stddev import MinibatchStdDev
from tfgan_app.layers.packing import Pack
from tfgan_app.layers.pixel_norm import PixelNorm
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
    "ClipWeights",
    "ConditionalBatchNormalization",
    "ContextualAttention",
    "Conv2D",
    "Conv2DTranspose",
    "EqualizedConv2D",
    "EqualizedDense",
    "FIRDownsample",
    "FIRFilter",
    "FIRUpsample",
    "GatedConv2D",
    "GroupedConv2D",
    "LearnedConstant",
    "MinibatchStdDev",
    "ModulatedConv2D",
    "Noise",
    "Pack",
    "PixelNorm",
    "Redraw",
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
