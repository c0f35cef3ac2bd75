"""One page on a GAN: samples, curves, scores by class, nearest training images, interpolation, spectrum."""

import pathlib

import numpy as np

from tfgan_app.base import pictures
from tfgan_app.base.files import PathLike
from tfgan_app.base.latents import slerp
from tfgan_app.metrics.extractors import FeatureExtractor
from tfgan_app.modalities import Images, Modality
from tfgan_app.modalities.modality import Array
from tfgan_app.sampler import Sampler
from tfgan_app.study.memorisation import Memorisation
from tfgan_app.study.page import PAGE, Page, chart, finished, table
from tfgan_app.study.receipts import Receipt

__all__ = ["PAGE", "power_spectrum", "write_report"]


def write_report(
    folder: PathLike,
    *,
    title: str,
    receipt: Receipt,
    samples: np.ndarray,
    real: np.ndarray,
    modality: Modality,
    extractor: FeatureExtractor | None = None,
    memorisation: Memorisation | None = None,
    sampler: Sampler | None = None,
    history: PathLike | None = None,
) -> pathlib.Path:
    """Writes `index.html`, which needs no other file, and the pictures in it as PNG files.

    A part that fails is left out, with the reason in its place.

    Args:
        folder: Where to; made if missing.
        title: The page's heading.
        receipt: Of `tfgan_app.study.receipts.score`.
        samples: Generated samples `(num, ...)` in the network's range.
        real: As many held-out real ones.
        modality: What they are.
        extractor: A `FeatureExtractor`; where it is a classifier there is a table by class.
        memorisation: What `tfgan_app.study.memorisation.examine` found of the samples, for the nearest training images.
        sampler: What drew them, for interpolation.
        history: Path of a run's `metrics.csv`, for curves.

    Returns:
        The page's path.
    """
    page = Page(folder, title)
    page.scores(receipt)
    columns = pictures.columns(None if sampler is None else sampler.num_classes)
    with page.part("Samples"):
        page.picture("Samples", "samples", modality.show(samples[: 8 * columns], columns), "The first, not chosen.")
    with page.part("Real images"):
        page.picture("Real images", "real", modality.show(real[: 4 * columns], columns), "Held out from training.")
    if extractor is not None and extractor.num_logits is not None:
        with page.part("By class"):
            page.add("By class", _by_class(receipt, extractor, samples, real), _CLASSES_NOTE)
    page.curves(history)
    if memorisation is not None:
        with page.part("Nearest training images"):
            sheet = _neighbours(samples, memorisation, modality)
            page.picture("Nearest training images", "neighbours", sheet, _verdict(memorisation))
    if sampler is not None:
        with page.part("Interpolation"):
            sheet = _interpolation(sampler)
            page.picture("Interpolation", "interpolation", sheet, "On great circles between two latents.")
    if isinstance(modality, Images):
        with page.part("Spectrum"):
            figure = _spectrum(modality.decode(samples), modality.decode(real))
            page.chart("Spectrum", "spectrum", figure, _SPECTRUM_NOTE)
    return page.write()


_CLASSES_NOTE = (
    "Share of the real images and of the samples that the classifier takes for the class; where the GAN is conditional "
    "and intra_fd was measured, the Frechet distance between real and generated images of the class."
)


def _by_class(receipt, extractor, samples, real):
    shares = []
    for images in (real, samples):
        found = np.argmax(extractor.outputs(images)["logits"], axis=1)
        shares.append(np.bincount(found, minlength=extractor.num_logits) / len(images))
    names = receipt["real"].get("class_names") or []
    distances = [receipt["scores"].get(f"intra_fd_{index}") for index in range(extractor.num_logits)]
    rows = []
    for index, (of_real, of_samples) in enumerate(zip(*shares, strict=True)):
        rows.append([names[index] if index < len(names) else str(index), f"{of_real:.1%}", f"{of_samples:.1%}"])
        if any(distance is not None for distance in distances):
            rows[-1].append("" if distances[index] is None else f"{distances[index]:.4g}")
    return table(("class", "real", "samples", "Frechet distance")[: len(rows[0])], rows)


def _neighbours(samples, memorisation, modality):
    """Returns a grid: the first ten samples over their neighbours, then the ten samples nearest to theirs."""
    suspects = np.argsort(memorisation.distances)[:10]
    rows = [
        pictures_of[chosen] for chosen in (slice(10), suspects) for pictures_of in (samples, memorisation.neighbours)
    ]
    return modality.show(np.concatenate(rows), 10)


def _verdict(memorisation):
    test = memorisation.copying
    nearer = "Samples lie nearer to training images than held-out images do: the generator copies."
    verdict = nearer if test.p_value < 0.01 else "Samples do not lie nearer to training images than held-out images do."
    return (
        "Above samples, below the training image nearest to each in features: the first ten, then the ten nearest of "
        f"{len(memorisation.distances):,}. {verdict} Median distances {test.fake:.3g} and {test.held_out:.3g}, rank "
        f"test z = {test.z:.1f}, p = {test.p_value:.2g}. Birthday-paradox estimate of different images: "
        f"{_estimate(memorisation.support)}; of as many real images: {_estimate(memorisation.real_support)}."
    )


def _estimate(support):
    return f"{support.estimate:,.0f}" if support.duplicates else "unbounded, no two are alike"


def _interpolation(sampler, rows=6, steps=10):
    start, end = (sampler.latents(rows, seed) for seed in (1, 2))
    labels = None if sampler.num_classes is None else np.arange(rows) % sampler.num_classes
    parts = np.linspace(0.0, 1.0, steps, dtype=np.float32)
    frames = [sampler.outputs(slerp(start, end, part), labels) for part in parts]
    return sampler.modality.show(np.stack(frames, axis=1).reshape(-1, *frames[0].shape[1:]), steps)


_SPECTRUM_NOTE = (
    "Power by spatial frequency, averaged over directions; upsampling that repeats pixels shows as an excess at the "
    "right (Durall et al. 2020, https://arxiv.org/abs/2003.01826)."
)


# Images that are transformed at a time.
_BATCH = 64


def power_spectrum(images: Array) -> np.ndarray:
    """Returns the mean power of images `(num, height, width, channels)` by frequency.

    The azimuthal average of equation 4 in Durall et al. 2020, https://arxiv.org/abs/2003.01826, as an array of half the
    shorter side.
    """
    height, width = images.shape[1:3]
    power = np.zeros((height, width))
    for start in range(0, len(images), _BATCH):
        grey = np.asarray(images[start : start + _BATCH], np.float64).mean(axis=3)
        power += np.sum(np.abs(np.fft.fft2(grey, norm="ortho")) ** 2, axis=0)
    power /= len(images)
    side = min(height, width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None] * side, np.fft.fftfreq(width)[None] * side)
    bins = radius.round().astype(int)
    sums, counts = np.bincount(bins.ravel(), power.ravel()), np.bincount(bins.ravel())
    return (sums / counts)[: min(height, width) // 2]


def _spectrum(samples, real):
    figure, (axes,) = chart()
    for images, label in ((real, "real"), (samples, "samples")):
        axes.semilogy(power_spectrum(images), label=label, linewidth=1.5)
    return finished(figure, [axes], "cycles per image")
