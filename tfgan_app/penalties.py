"""Penalties: terms beside the adversarial loss, on any network pair.

A penalty is called as `penalty(judge, real, fake, condition, seed)` and returns a float32 scalar, to which the training
step gives `weight`. `judge(images, condition)` returns logits, with augmentation where there is one. A generator's
penalty is called as `penalty(generator, inputs, seed)`. The step runs both in float32 under every precision: squared
gradients leave float16's range. Gradients are taken per image, and their squares summed over its pixels.
"""

import keras
import tensorflow as tf

from tfgan_app.randomness import uniform

__all__ = ["DRAGAN", "R1", "R2", "GradientPenalty", "Penalty", "ZeroCentered"]


class Penalty:
    """Base of the penalties.

    Args:
        weight: The factor in the loss: a number, or a `keras.optimizers.schedules.LearningRateSchedule` of the step.
        interval: Updates from one evaluation to the next, at least 1. The term is multiplied by it, so its mean
            strength stays: "lazy regularisation", Karras et al. 2019, https://arxiv.org/abs/1912.04958, section 3.1.

    Raises:
        ValueError: For a negative weight, or an interval below 1.
    """

    # The term's name in logs.
    name = "penalty"

    def __init__(self, weight, interval=1):
        if not callable(weight) and not weight >= 0:
            raise ValueError(f"`weight` must be at least 0. Received: weight={weight}")
        if interval != int(interval) or interval < 1:
            raise ValueError(f"`interval` must be an integer of at least 1. Received: interval={interval}")
        self.weight = weight
        self.interval = int(interval)

    def get_config(self):
        """Returns the constructor's arguments."""
        weight = keras.saving.serialize_keras_object(self.weight) if callable(self.weight) else self.weight
        return {"weight": weight, "interval": self.interval}

    @classmethod
    def from_config(cls, config):
        """Rebuilds the penalty from `get_config`."""
        return cls(**{**config, "weight": keras.saving.deserialize_keras_object(config["weight"])})


@keras.saving.register_keras_serializable("tfgan_app")
class GradientPenalty(Penalty):
    """E[(|grad D(x)| - 1)^2] at points x drawn uniformly between a real image and a fake.

    WGAN-GP, Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, equation 3 and Algorithm 1.
    """

    name = "gradient_penalty"

    def __init__(self, weight=10.0, interval=1):
        super().__init__(weight, interval)

    def __call__(self, judge, real, fake, condition, seed):
        mix = uniform((tf.shape(real)[0], 1, 1, 1), seed)
        gradient = _squared_gradient(judge, real + mix * (fake - real), condition)
        return tf.reduce_mean(tf.square(_sqrt(gradient) - 1.0))


@keras.saving.register_keras_serializable("tfgan_app")
class DRAGAN(GradientPenalty):
    """E[(|grad D(x)| - 1)^2] around real images: x = real + u * std * 0.5, u uniform in [0, 1) for each pixel.

    Kodali et al. 2017, https://arxiv.org/abs/1705.07215, with the noise of the authors' program: half the batch's
    standard deviation.
    """

    name = "dragan"

    def __call__(self, judge, real, fake, condition, seed):
        noise = 0.5 * tf.math.reduce_std(real) * uniform(tf.shape(real), seed)
        gradient = _squared_gradient(judge, real + noise, condition)
        return tf.reduce_mean(tf.square(_sqrt(gradient) - 1.0))


@keras.saving.register_keras_serializable("tfgan_app")
class R1(Penalty):
    """E[|grad D(x)|^2] at real images; the papers' gamma is twice the weight.

    Mescheder et al. 2018, https://arxiv.org/abs/1801.04406, equation 9.
    """

    name = "r1"

    def __init__(self, weight=5.0, interval=1):
        super().__init__(weight, interval)

    def __call__(self, judge, real, fake, condition, seed):
        return tf.reduce_mean(_squared_gradient(judge, real, condition))


@keras.saving.register_keras_serializable("tfgan_app")
class R2(R1):
    """E[|grad D(x)|^2] at fakes. Mescheder et al. 2018, https://arxiv.org/abs/1801.04406, equation 10."""

    name = "r2"

    def __call__(self, judge, real, fake, condition, seed):
        return tf.reduce_mean(_squared_gradient(judge, fake, condition))


@keras.saving.register_keras_serializable("tfgan_app")
class ZeroCentered(GradientPenalty):
    """E[|grad D(x)|^2] at points drawn uniformly between a real image and a fake.

    GAN-0-GP, Thanh-Tung et al. 2019, https://arxiv.org/abs/1902.03984, section 5.
    """

    name = "zero_centered"

    def __call__(self, judge, real, fake, condition, seed):
        mix = uniform((tf.shape(real)[0], 1, 1, 1), seed)
        return tf.reduce_mean(_squared_gradient(judge, real + mix * (fake - real), condition))


def _squared_gradient(judge, images, condition):
    """Returns |d D(x) / dx|^2 of each image, `(batch,)`."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        # Each logit depends on its own image, so the gradient of the sum holds every image's. (Layers that mix a batch,
        # such as the minibatch standard deviation, add their cross terms, as they do in the papers' programs.)
        logits = tf.reduce_sum(judge(images, condition))
    return tf.reduce_sum(tf.square(tape.gradient(logits, images)), axis=(1, 2, 3))


def _sqrt(x):
    """Returns the square root, with gradient 0 instead of infinity at 0."""
    safe = tf.where(x > 0, x, 1.0)
    return tf.where(x > 0, tf.sqrt(safe), 0.0)
