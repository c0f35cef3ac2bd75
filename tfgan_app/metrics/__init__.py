"""Metrics of generated images, as `keras.metrics.Metric` objects fed with features of real and fake images."""

from tfgan_app.metrics.accuracy_score import ClassificationAccuracyScore
from tfgan_app.metrics.base import ImageMetric
from tfgan_app.metrics.classifier_score import ClassifierScore, classifier_score
from tfgan_app.metrics.extractors import FeatureExtractor, load_extractor
from tfgan_app.metrics.fidelity import L1, PSNR, SSIM, Back, CycleError, PerceptualDistance, PictureMetric
from tfgan_app.metrics.frechet import FrechetDistance, IntraClassFrechetDistance, frechet_distance
from tfgan_app.metrics.kernel import KernelDistance, kernel_distance
from tfgan_app.metrics.manifold import DensityCoverage, PrecisionRecall, density_coverage, precision_recall
from tfgan_app.metrics.patches import PatchSlicedWasserstein, patch_distance
from tfgan_app.metrics.path_length import PerceptualPathLength, path_length
from tfgan_app.metrics.sliced import SlicedWasserstein, sliced_wasserstein
from tfgan_app.observation import Observation

__all__ = [
    "L1",
    "PSNR",
    "SSIM",
    "Back",
    "ClassificationAccuracyScore",
    "ClassifierScore",
    "CycleError",
    "DensityCoverage",
    "FeatureExtractor",
    "FrechetDistance",
    "ImageMetric",
    "IntraClassFrechetDistance",
    "KernelDistance",
    "Observation",
    "PatchSlicedWasserstein",
    "PerceptualDistance",
    "PerceptualPathLength",
    "PictureMetric",
    "PrecisionRecall",
    "SlicedWasserstein",
    "classifier_score",
    "density_coverage",
    "frechet_distance",
    "kernel_distance",
    "load_extractor",
    "patch_distance",
    "path_length",
    "precision_recall",
    "sliced_wasserstein",
]
