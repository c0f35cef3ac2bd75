"""Scores with receipts: what was measured, on what, with what."""

import datetime
import json
import pathlib
import platform

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.gan import draw_latents
from tfgan_app.metrics.frechet import FrechetDistance
from tfgan_app.version import __version__

__all__ = ["describe_score", "drawing", "score", "versions", "write_receipt"]


def score(draw, images, extractor, *, batch_size=250, num_images=None, fake=None, progress=None):
    """Scores generated images against a set of real ones.

    Args:
        draw: `draw(start, stop, labels)` returns the fakes of that range, `(stop - start, height, width, channels)`
            float images in [0, 1]. `labels` are those of the real batch, or None.
        images: The `tfgan_app.data.ImageSet` of real images, read in order.
        extractor: A `tfgan_app.metrics.FeatureExtractor`.
        batch_size: Images at a time.
        num_images: How many real images to use, from the first on; all of them by default.
        fake: Facts about the fakes that the receipt repeats (source, step, weights, seed, truncation).
        progress: Called with `(done, total)` images after each batch.

    Returns:
        The receipt: a dict that JSON takes, with the value under `"value"`.

    Raises:
        ValueError: If fewer than two images are compared.
    """
    total = min(num_images or images.num_images, images.num_images)
    metric = FrechetDistance(extractor)
    update = tf.function(
        lambda real, fakes: metric.update_state(extractor(real), extractor(fakes)), reduce_retracing=True
    )
    done = 0
    for batch in images.in_order(batch_size):
        real, labels = batch if images.num_classes else (batch, None)
        real = real[: total - done]
        labels = None if labels is None else np.asarray(labels[: total - done])
        fakes = np.asarray(draw(done, done + len(real), labels), np.float32)
        update(real, tf.constant(fakes * 2.0 - 1.0))
        done += len(real)
        if progress:
            progress(done, total)
        if done == total:
            break
    return {
        "metric": "frechet_distance",
        "value": float(metric.result()),
        "extractor": extractor.describe(),
        "real": {**images.describe(), "used": done},
        "fake": {"used": done, **(fake or {})},
        "versions": versions(),
        "measured": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def drawing(gan, num_images, seed, truncation=None):
    """Returns the `draw` of `score` that gives the images of `gan.sample(num_images, seed)`, whatever the batches.

    A conditional GAN, a `tfgan_app.GAN` or a `SavedGAN`, draws them with the labels of the real images.
    """
    latents = draw_latents(num_images, gan.latent_dim, (seed, 0)).numpy()

    def draw(start, stop, labels):
        labels = labels if gan.num_classes and gan.supervised else None
        return gan.images_from(latents[start:stop], labels, truncation)

    return draw


def versions():
    """Returns the versions that a number may depend on."""
    return {
        "tfgan_app": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def describe_score(receipt):
    """Returns a receipt as one line."""
    extractor, real, fake = receipt["extractor"], receipt["real"], receipt["fake"]
    stand_in = f", standing in for {real['fallback_for']}" if real["fallback_for"] else ""
    details = ", ".join(f"{key} {value}" for key, value in fake.items() if key != "used" and value is not None)
    sha256 = (extractor["sha256"] or "in memory")[:12]
    return (
        f"Frechet distance {receipt['value']:.2f} with features of {extractor['name']} ({sha256}; not FID): "
        f"{real['used']} real images of {real['name']} {real['split']}{stand_in}, {fake['used']} fakes ({details})"
    )


def write_receipt(path, receipt):
    """Writes a receipt as JSON and returns its path."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(receipt, indent=2) + "\n")
    return path
