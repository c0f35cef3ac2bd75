"""How near pictures are to what they should be: PSNR, SSIM, distances, and what is left of a source there and back.

Each picture is compared with its own truth, where other metrics compare sets. Pixels are compared as files hold them:
after rounding to 8 bits.
"""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.base.errors import UsageError
from tfgan_app.metrics.base import ImageMetric
from tfgan_app.metrics.extractors import ExtractorLike
from tfgan_app.modalities.images import to_uint8
from tfgan_app.modalities.modality import Array
from tfgan_app.observation import Observation

__all__ = ["L1", "PSNR", "SSIM", "Back", "CycleError", "PerceptualDistance", "PictureMetric"]

# What a picture that equals its truth in every value counts as, in dB: its PSNR is infinite, and so would the mean be.
MOST_DB = 100.0
# Side of the window of SSIM.
WINDOW = 11
# Weights of red, green and blue in Y, by ITU-R BT.601 in studio range: from 16, black, to 235, white.
_Y, _BLACK = (65.481 / 255.0, 128.553 / 255.0, 24.966 / 255.0), 16.0


class PictureMetric(ImageMetric):
    """A metric that is the mean of a value for each picture.

    Subclasses define `values`. `results` gives the mean's standard error over the pictures besides, of two and more.

    Args:
        extractor: As in `ImageMetric`.
        name: As in `ImageMetric`.
    """

    def __init__(self, extractor: ExtractorLike | None, name: str, **kwargs: Any):
        super().__init__(extractor, name, **kwargs)
        # How many pictures, the sum of their values, and that of the squares.
        self._sums = [
            self.add_variable((), initializer="zeros", dtype="float64", name=suffix)
            for suffix in ("count", "sum", "squares")
        ]

    def values(self, batch: Observation) -> tf.Tensor:
        """Returns the value of each picture, `(batch,)`."""
        raise NotImplementedError(f"{type(self).__name__} must define `values`.")

    def counted(self, batch: Observation) -> tf.Tensor | None:
        """Returns which pictures there is something to compare in, booleans `(batch,)`; None, as here, for all."""
        return None

    def observe(self, batch: Observation) -> None:
        self.add(self.values(batch), self.counted(batch))

    def add(self, values: Array, counted: Array | None = None) -> None:
        """Adds what `values` and `counted` return."""
        values = tf.cast(values, tf.float64)
        counted = tf.ones_like(values, tf.bool) if counted is None else counted
        values = tf.where(counted, values, 0.0)
        sums = tf.reduce_sum(tf.cast(counted, tf.float64)), tf.reduce_sum(values), tf.reduce_sum(tf.square(values))
        for variable, addend in zip(self._sums, sums, strict=True):
            variable.assign_add(addend)

    def update_state(self, real: Array, fake: Array, sample_weight: Any = None) -> None:
        """Adds pictures `(batch, height, width, channels)` in [-1, 1] and what is compared with them, likewise."""
        self.observe(Observation(real, fake))

    def result(self) -> float:
        """Returns the mean over the pictures, a float.

        Raises:
            ValueError: If there were none.
        """
        return self._measured()[0]

    def results(self) -> dict[str, float]:
        mean, error = self._measured()
        return {self.name: mean} if error is None else {self.name: mean, f"{self.name}_error": error}

    def _measured(self):
        count, total, squares = (float(np.asarray(variable)) for variable in self._sums)
        if not count:
            raise ValueError(f"{type(self).__name__} needs at least 1 picture that it can compare. Received: 0")
        mean = total / count
        if count < 2:
            return mean, None
        variance = max(squares - count * mean**2, 0.0) / (count - 1)
        return mean, math.sqrt(variance / count)


class _Compared(PictureMetric):
    """A picture metric of pixels. What its subclasses share: which channel, which part, and rounding.

    Args:
        channel: "rgb" for all channels as they are, "y" for the luma of RGB pictures alone.
        border: Pixels at each edge that are left out.
        region: "all", or "hole" for the pixels alone that the source does not show: those where its last channel,
            alpha, is below 0. Pictures without a hole do not count.
        name: As in `ImageMetric`.
    """

    def __init__(self, channel: str, border: int, region: str, name: str | None, **kwargs: Any):
        if channel not in ("rgb", "y"):
            raise UsageError(f"`channel` must be rgb or y. Received: channel={channel!r}")
        if region not in ("all", "hole"):
            raise UsageError(f"`region` must be all or hole. Received: region={region!r}")
        if border != int(border) or border < 0:
            raise UsageError(f"`border` must be an integer of at least 0. Received: border={border}")
        suffix = ("_y" if channel == "y" else "") + ("_hole" if region == "hole" else "")
        super().__init__(None, self.short + suffix if name is None else name, **kwargs)
        self.channel, self.border, self.region = channel, int(border), region

    # The name without what is chosen.
    short: str
    # The smallest side that can be compared.
    least = 1

    def values(self, batch: Observation) -> tf.Tensor:
        return self.compared(self._levels(batch.real), self._levels(batch.fake), self._mask(batch))

    def counted(self, batch: Observation) -> tf.Tensor | None:
        mask = self._mask(batch)
        return None if mask is None else tf.reduce_any(mask > 0, axis=(1, 2, 3))

    def compared(self, real: tf.Tensor, fake: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        """Returns the value of each picture, `(batch,)`.

        Args:
            real: Levels in [0, 255], float32 `(batch, height, width, channels)`.
            fake: Likewise.
            mask: 1 where they are compared, 0 elsewhere, `(batch, height, width, 1)`; None for everywhere.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `compared`.")

    def _levels(self, pictures):
        levels = tf.cast(to_uint8(pictures), tf.float32)
        # A NaN has no level, and must not pass for one.
        levels = tf.where(tf.math.is_finite(tf.cast(pictures, tf.float32)), levels, math.nan)
        if self.channel == "y":
            if levels.shape[-1] != 3:
                raise UsageError(f"`channel='y'` needs RGB pictures. Received: shape {tuple(pictures.shape)}")
            levels = _BLACK + tf.reduce_sum(levels * tf.constant(_Y), axis=-1, keepdims=True)
        return self._inner(levels)

    def _inner(self, pictures):
        """Returns pictures without their border."""
        least = self.least + 2 * self.border
        if any(side is not None and side < least for side in pictures.shape[1:3]):
            within = f" within a border of {self.border}" if self.border else ""
            raise UsageError(
                f"{self.name} needs pictures of at least {self.least}x{self.least} pixels{within}. "
                f"Received: {pictures.shape[1]}x{pictures.shape[2]}"
            )
        sides = tf.shape(pictures)[1:3]
        tf.debugging.assert_greater_equal(sides, least, f"{self.name} needs sides of at least {least} pixels")
        return pictures[:, self.border : sides[0] - self.border, self.border : sides[1] - self.border]

    def _mask(self, batch):
        if self.region == "all":
            return None
        if batch.source is None or batch.source.shape[-1] not in (2, 4):
            found = "none" if batch.source is None else f"shape {tuple(batch.source.shape)}"
            raise UsageError(
                f"{self.name} needs sources whose last channel, alpha, says where holes are. Received: {found}"
            )
        return self._inner(tf.cast(batch.source[..., -1:] < 0.0, tf.float32))

    def settings(self) -> dict[str, Any]:
        own = {"channel": self.channel, "border": self.border, "region": self.region}
        usual = {"channel": "rgb", "border": 0, "region": "all"}
        return {name: value for name, value in own.items() if value != usual[name]}


def _mean(x, mask):
    """Returns the mean of each picture where a mask is 1."""
    if mask is None:
        return tf.reduce_mean(x, axis=(1, 2, 3))
    compared = tf.reduce_sum(mask, axis=(1, 2, 3)) * tf.cast(tf.shape(x)[-1], tf.float32)
    return tf.reduce_sum(x * mask, axis=(1, 2, 3)) / tf.maximum(compared, 1.0)


@keras.saving.register_keras_serializable("tfgan_app")
class PSNR(_Compared):
    """Peak signal-to-noise ratio in dB: 10 log10(255^2 / mean squared error), averaged over pictures; higher is better.

    Equal to `tf.image.psnr` and scikit-image of the 8-bit pictures. A picture that equals its truth in every value
    counts as 100 dB, as its ratio is infinite; none counts as more.

    Args:
        channel: "rgb" for all channels as they are, or "y" for the luma of RGB pictures alone, as papers on
            super-resolution report it: by ITU-R BT.601, 16 + (65.481 R + 128.553 G + 24.966 B) / 255, unrounded, and
            still with 255 as the peak.
        border: Pixels at each edge that are left out; those papers leave out as many as the factor of enlargement.
        region: "all", or "hole" for holes alone: the pixels where the last channel of the source, alpha, is
            transparent. Pictures without a hole do not count.
        name: The metric's name, and its key in logs; by default "psnr", "psnr_y", "psnr_hole".

    Raises:
        UsageError: For another channel or region, or a negative border.
    """

    short, _direction = "psnr", "up"

    def __init__(
        self, channel: str = "rgb", border: int = 0, region: str = "all", name: str | None = None, **kwargs: Any
    ):
        super().__init__(channel, border, region, name, **kwargs)

    def compared(self, real: tf.Tensor, fake: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        error = _mean(tf.math.squared_difference(real, fake), mask)
        # Where nothing differs the least will do, as it is above what counts; a NaN stays one.
        error = tf.where(error > 0.0, error, error + 1e-9)
        return tf.minimum(10.0 / math.log(10.0) * tf.math.log(255.0**2 / error), MOST_DB)


@keras.saving.register_keras_serializable("tfgan_app")
class SSIM(_Compared):
    """Structural similarity. Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861. At most 1; higher is better.

    With the paper's window, a Gaussian of deviation 1.5 on 11x11 pixels, and constants .01 and .03, averaged over
    channels and over the places where the window lies within the picture. Equal to `tf.image.ssim`, and to
    `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)` of scikit-image, of the 8-bit
    pictures.

    Args:
        channel: As in `PSNR`.
        border: As in `PSNR`. A picture must have 11 pixels a side within it.
        name: The metric's name, and its key in logs; by default "ssim" or "ssim_y".

    Raises:
        UsageError: As `PSNR`; when it observes pictures that are smaller than the window.
    """

    short, least, _direction = "ssim", WINDOW, "up"

    def __init__(self, channel: str = "rgb", border: int = 0, name: str | None = None, **kwargs: Any):
        super().__init__(channel, border, "all", name, **kwargs)

    def compared(self, real: tf.Tensor, fake: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        return tf.image.ssim(real, fake, max_val=255.0)


# By another name than the term of that name.
@keras.saving.register_keras_serializable("tfgan_app", name="L1Metric")
class L1(_Compared):
    """Mean absolute error of pixels, of values in [0, 1], averaged over pictures: 0 is best.

    It is half of the term of that name, which compares in the network's range [-1, 1], and is called "mae" in logs,
    where the term is "l1".

    Args:
        channel: As in `PSNR`.
        border: As in `PSNR`.
        region: As in `PSNR`.
        name: The metric's name, and its key in logs; by default "mae", "mae_y", "mae_hole".

    Raises:
        UsageError: As `PSNR`.
    """

    short = "mae"

    def __init__(
        self, channel: str = "rgb", border: int = 0, region: str = "all", name: str | None = None, **kwargs: Any
    ):
        super().__init__(channel, border, region, name, **kwargs)

    def compared(self, real: tf.Tensor, fake: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        return _mean(tf.abs(real - fake), mask) / 255.0


@keras.saving.register_keras_serializable("tfgan_app")
class CycleError(_Compared):
    """Mean absolute error between sources and what becomes of them there and back, of values in [0, 1]: 0 is best.

    A translator that changes nothing has an error of 0: it says what is lost on the way, not whether the way is right.

    Args:
        border: As in `PSNR`.
        name: The metric's name, and its key in logs.
    """

    short = "cycle_mae"

    def __init__(self, border: int = 0, name: str | None = None, **kwargs: Any):
        super().__init__("rgb", border, "all", name, **kwargs)

    def values(self, batch: Observation) -> tf.Tensor:
        if batch.source is None or batch.cycle is None:
            raise UsageError(f"{self.name} needs a translator with a way back.")
        return super().values(Observation(batch.source, batch.cycle))

    def compared(self, real: tf.Tensor, fake: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        return _mean(tf.abs(real - fake), mask) / 255.0

    def update_state(self, source: Array, cycle: Array, sample_weight: Any = None) -> None:
        """Adds sources `(batch, height, width, channels)` in [-1, 1] and their translations there and back."""
        self.observe(Observation(source, cycle, source=source, cycle=cycle))


@keras.saving.register_keras_serializable("tfgan_app")
class PerceptualDistance(PictureMetric):
    """Euclidean distance between an extractor's features of a picture and of its truth, each scaled to length 1.

    From 0, best, to 2; averaged over pictures. Another scale for each extractor, and not that of LPIPS, which weighs
    the layers of one network.

    Args:
        extractor: A shipped one's name, a path, a `keras.Model` or a `FeatureExtractor`.
        name: The metric's name, and its key in logs.
    """

    def __init__(self, extractor: ExtractorLike, name: str = "perceptual_distance", **kwargs: Any):
        super().__init__(extractor, name, **kwargs)

    def values(self, batch: Observation) -> tf.Tensor:
        outputs = batch.real_outputs(self.extractor), batch.fake_outputs(self.extractor)
        first, second = (tf.math.l2_normalize(tf.cast(x["features"], tf.float64), axis=1) for x in outputs)
        return tf.norm(first - second, axis=1)


@keras.saving.register_keras_serializable("tfgan_app")
class Back(ImageMetric):
    """A metric of the other direction: of what targets are translated back to, beside sources.

    Args:
        metric: A `tfgan_app.metrics.ImageMetric`. Its name is followed by "_back" in logs and scores.
        name: The metric's name, where it is to be another.
    """

    def __init__(self, metric: ImageMetric, name: str | None = None, **kwargs: Any):
        super().__init__(metric.extractor, f"{metric.name}_back" if name is None else name, **kwargs)
        self.metric, self.version, self._direction = metric, metric.version, metric._direction

    def observe(self, batch: Observation) -> None:
        """Adds an `Observation`.

        Raises:
            UsageError: If it has no other direction.
        """
        if batch.back is None:
            raise UsageError(f"{self.name} needs a translator with a way back.")
        self.metric.observe(batch.back)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Adds what the metric takes, of the other direction."""
        self.metric.update_state(*args, **kwargs)

    def reset_state(self) -> None:
        self.metric.reset_state()

    def result(self) -> float:
        return self.metric.result()

    def results(self) -> dict[str, float]:
        own = self.metric.name
        return {
            f"{self.name}{key.removeprefix(own)}" if key.startswith(own) else f"{key}_back": value
            for key, value in self.metric.results().items()
        }

    def settings(self) -> dict[str, Any]:
        return self.metric.settings()

    def copy(self) -> "Back":
        return Back(self.metric.copy(), self.name)

    def get_config(self) -> dict[str, Any]:
        return {"metric": keras.saving.serialize_keras_object(self.metric), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Back":
        return cls(**{**config, "metric": keras.saving.deserialize_keras_object(config["metric"])})
