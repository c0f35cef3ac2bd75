"""Notices when a GAN fails: mode collapse, copies, a saturated discriminator, numbers that are not finite."""

import math
import sys
from collections.abc import Callable
from typing import Any, TextIO

import keras
import numpy as np
import tensorflow as tf

from tfgan_app.base.errors import CheckpointError, TrainingCollapsed
from tfgan_app.base.networks import with_weights_of
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.losses import Minimax, NonSaturating
from tfgan_app.metrics.extractors import ExtractorLike, FeatureExtractor, load_extractor
from tfgan_app.modalities.modality import Array
from tfgan_app.schedules import has_schedule

__all__ = ["ROLLBACK_FACTOR", "CollapseGuard", "shrunk"]

_NOT_FINITE = "not finite"

# What a rollback multiplies the learning rates with.
ROLLBACK_FACTOR = 0.5


class CollapseGuard(keras.callbacks.Callback):
    """Examines samples and logs each epoch, names what is wrong, and warns, stops or rolls back.

    Samples are those of the generator itself, as its moving average shows a failure only later. It looks for

    - `mode collapse`: samples differ from each other less than `min_diversity` times what real images do (mean distance
      of features), or fewer than `min_classes` of the classes among the real images are drawn, where the extractor is a
      classifier;
    - `duplicates`: more than `max_duplicates` of the samples have another four times closer than real images have;
    - `discriminator saturated`: D tells all images apart, so that its gradient says little to G. Only with the losses
      under which its logits are those of a probability, `NonSaturating` and `Minimax`;
    - `not finite`: a logged value is NaN or infinite.

    A GAN that has learnt nothing yet draws images that are all alike, so of the others it says and does nothing before
    samples have been well once, or `grace_steps` have passed. What `real` cannot tell it does not look for:
    `duplicates` where there are fewer of them than samples, as a GAN that has learnt them all draws each again, and how
    much samples differ where all of `real` are alike.

    Args:
        real: Real images `(num, height, width, channels)` in [-1, 1], a few hundred.
        extractor: As in `tfgan_app.metrics`; by default images shrunk to 8x8.
        action: "warn", "stop" by raising `TrainingCollapsed`, or "rollback" to the best checkpoint.
        checkpoints: A `tfgan_app.checkpoints.Checkpoints` of a folder of its own, needed for "rollback". The guard
            saves each epoch there that is the best so far.
        monitor: Name of the log that is lowest in the best epoch, such as "val_fd"; an epoch without it is not the
            best. By default the best is the last in which nothing was wrong.
        learning_rate_factor: What a rollback multiplies both learning rates with.
        max_rollbacks: After so many it stops as by "stop".
        grace_steps: As above. Half of the digits are drawn by `mnist.flags` after 260 steps, by `mlp_gan.flags`
            before 2 000.
        patience: How many epochs in a row something must be wrong before anything is done about it.
        min_diversity: As above.
        min_classes: As above, as a share of the classes.
        max_duplicates: As above.
        saturation: D(x) above this share of the real label and D(G(z)) below one minus this, on the epoch's average.
        num_samples: How many samples are examined.
        seed: Seed of their latents.
        stream: Where warnings go, standard error by default.
        draw: Returns fakes of the model in the place of samples, in [-1, 1]: translations of fixed sources, for
            example. By default `num_samples` of fixed latents.

    Raises:
        ValueError: For an unknown action, or a rollback without checkpoints.
    """

    def __init__(
        self,
        real: Array,
        extractor: ExtractorLike | None = None,
        action: str = "warn",
        checkpoints: Checkpoints | None = None,
        monitor: str | None = None,
        learning_rate_factor: float = ROLLBACK_FACTOR,
        max_rollbacks: int = 3,
        grace_steps: int = 2000,
        patience: int = 1,
        min_diversity: float = 0.4,
        min_classes: float = 0.5,
        max_duplicates: float = 0.25,
        saturation: float = 0.995,
        num_samples: int = 256,
        seed: int = 0,
        stream: TextIO | None = None,
        draw: Callable[[Any], np.ndarray] | None = None,
    ):
        super().__init__()
        if action not in ("warn", "stop", "rollback"):
            raise ValueError(f"`action` must be warn, stop or rollback. Received: action={action!r}")
        if action == "rollback" and checkpoints is None:
            raise ValueError("`action='rollback'` needs `checkpoints`, to roll back to.")
        self.extractor = shrunk(real.shape[1:]) if extractor is None else load_extractor(extractor)
        self.checkpoints: Any = checkpoints
        self.action, self.monitor = action, monitor
        self.learning_rate_factor, self.max_rollbacks, self.patience = learning_rate_factor, max_rollbacks, patience
        self.min_diversity, self.min_classes = min_diversity, min_classes
        self.max_duplicates, self.saturation = max_duplicates, saturation
        self.draw = draw or (lambda gan: gan.outputs(gan.latents(num_samples, seed)))
        self.stream = stream or sys.stderr
        self.grace_steps = grace_steps
        self.rollbacks = self._wrong = 0
        self._well = False
        self._best = math.inf
        self._real = _Look(self.extractor.outputs(tf.constant(real, tf.float32)))

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self.action == "rollback" and any(map(has_schedule, self._optimizers())):
            raise ValueError("`action='rollback'` lowers constant learning rates; this GAN's follow a schedule.")
        saved = self.checkpoints and self.checkpoints.facts()
        self._best = (saved or {}).get(self.monitor, math.inf)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        found = self.diagnose(logs or {})
        self._save(found, logs or {})
        self._well = self._well or not found
        if not self._well and self.model.step < self.grace_steps:
            found = [text for text in found if text.startswith(_NOT_FINITE)]
        self._wrong = self._wrong + 1 if found else 0
        if not found:
            return
        message = f"step {self.model.step}: {'; '.join(found)}"
        print(f"Collapse guard: {message}", file=self.stream, flush=True)
        if self._wrong < self.patience or self.action == "warn":
            return
        if self.action == "stop":
            raise TrainingCollapsed(message)
        self.roll_back(message)

    def _save(self, found, logs):
        if self.checkpoints is None:
            return
        value = logs.get(self.monitor, math.inf)
        try:
            if self.monitor is None:
                if not found:
                    self.checkpoints.save()
            elif value < self._best:
                self.checkpoints.save({self.monitor: float(value)})
                self._best = float(value)
        except CheckpointError as error:
            print(f"Collapse guard: {error}", file=self.stream, flush=True)

    def diagnose(self, logs: dict[str, float]) -> list[str]:
        """Returns what is wrong now, as a list of texts.

        Args:
            logs: The epoch's logs.
        """
        terms = {name: value for name, value in logs.items() if not name.startswith("val_")}
        found = [f"{_NOT_FINITE}: {name} is {value}" for name, value in terms.items() if not math.isfinite(value)]
        if isinstance(self.model.loss, (NonSaturating, Minimax)):
            right = terms.get("d_real", 0.0) / getattr(self.model.loss, "real_label", 1.0)
            if right > self.saturation and terms.get("d_fake", 1.0) < 1.0 - self.saturation:
                found.append(f"discriminator saturated: D(x) {terms['d_real']:.4f}, D(G(z)) {terms['d_fake']:.4f}")
        samples = self._samples()
        if not np.isfinite(samples).all():
            return [*found, f"{_NOT_FINITE}: the generator's images"]
        look = _Look(self.extractor.outputs(tf.constant(samples)))
        if look.classes is not None and self._real.classes is not None:
            drawn, there = set(look.classes), set(self._real.classes)
            if len(drawn & there) < self.min_classes * len(there):
                found.append(f"mode collapse: {len(drawn & there)} of {len(there)} classes drawn")
        if look.spread < self.min_diversity * self._real.spread:
            diversity = look.spread / self._real.spread
            found.append(f"mode collapse: samples differ {diversity:.2f} times as much as real images")
        duplicates = look.duplicates(self._real.near)
        if duplicates > self.max_duplicates and self._real.num >= look.num:
            found.append(f"duplicates: {duplicates:.0%} of samples have a twin")
        return found

    def _samples(self):
        gan = self.model
        with with_weights_of(gan.generator, gan.ema_generator):
            return self.draw(gan)

    def roll_back(self, message: str) -> None:
        """Restores the best checkpoint and lowers the learning rates.

        Args:
            message: What is wrong.

        Raises:
            TrainingCollapsed: If there is no checkpoint, or it has been rolled back often enough.
        """
        if not self.checkpoints.folders():
            raise TrainingCollapsed(f"{message}; there is no epoch to roll back to")
        if self.rollbacks >= self.max_rollbacks:
            raise TrainingCollapsed(f"{message}; {self.rollbacks} rollbacks did not help")
        gan = self.model
        optimizers = self._optimizers()
        # The checkpoint may be from before earlier rollbacks, and its rates with it.
        rates = [float(optimizer.learning_rate) * self.learning_rate_factor for optimizer in optimizers]
        folder = self.checkpoints.restore()
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.learning_rate = rate
        self.rollbacks += 1
        self._wrong = 0
        text = f"rolled back to step {gan.step} ({folder}), learning rates {rates[0]:.2g} and {rates[1]:.2g}"
        print(f"Collapse guard: {text}", file=self.stream, flush=True)

    def _optimizers(self):
        return self.model.g_optimizer, self.model.d_optimizer


class _Look:
    """What features and class logits tell of a set of images."""

    def __init__(self, outputs):
        features = np.asarray(outputs["features"], np.float64)
        squares = np.sum(features * features, axis=1)
        distances = np.sqrt(np.maximum(squares[:, None] + squares - 2.0 * features @ features.T, 0.0))
        num = self.num = len(features)
        self.spread = distances.sum() / max(num * (num - 1), 1)
        np.fill_diagonal(distances, np.inf)
        self.nearest = distances.min(axis=1)
        # Much closer than real images are to each other.
        self.near = 0.25 * np.median(self.nearest)
        self.classes = np.argmax(outputs["logits"], axis=1).tolist() if "logits" in outputs else None

    def duplicates(self, near):
        """Returns the share of images that have another nearer than `near`."""
        return float(np.mean(self.nearest < near))


def shrunk(image_shape: tuple[int, ...]) -> FeatureExtractor:
    """Returns an extractor whose features are images shrunk to 8x8, or nearly."""
    inputs = keras.Input(image_shape)
    factors = [max(1, side // 8) for side in image_shape[:2]]
    x = keras.layers.AveragePooling2D(factors, dtype="float32")(inputs)
    return load_extractor(keras.Model(inputs, keras.layers.Flatten(dtype="float32")(x), name="shrunk"))
