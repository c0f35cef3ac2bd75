"""Metrics of generated images, as `keras.metrics.Metric` objects fed with features of real and fake images."""

from tfgan_app.metrics.extractors import FeatureExtractor, load_extractor
from tfgan_app.metrics.frechet import FrechetDistance, frechet_distance

__all__ = ["FeatureExtractor", "FrechetDistance", "frechet_distance", "load_extractor"]
