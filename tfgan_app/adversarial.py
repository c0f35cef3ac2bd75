"""The adversarial training step, shared by every GAN here."""

import random

import keras
import tensorflow as tf

from tfgan_app import losses

__all__ = ["AdversarialModel"]


class AdversarialModel(keras.Model):
    """A generator and a discriminator trained against each other.

    The step is Algorithm 1 of Goodfellow et al. 2014 (https://arxiv.org/abs/1406.2661): the discriminator's update,
    then the generator's, each with its own optimizer. One generated batch serves both updates, as the
    generator does not change in between. After them the EMA generator moves towards the generator.

    Subclasses define what a batch is and how a fake is made, in `unpack` and `generate`. The step knows nothing
    else about them.

    Args:
        generator: A built `keras.Model` whose images lie in [-1, 1].
        discriminator: A built `keras.Model` that returns logits (no sigmoid) of shape `(batch, ...)`.
        seed: Seed of what the generator draws. That of step k depends on (seed, k) alone, so a resumed run draws
            what an uninterrupted one would have. By default from the generator that
            `keras.utils.set_random_seed` seeds.
        **kwargs: `name` and `dtype`, as in `keras.Model`.
    """

    def __init__(self, generator, discriminator, seed=None, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.generator = generator
        self.discriminator = discriminator
        self.seed = random.randint(1, 2**31 - 1) if seed is None else int(seed)
        self.ema_generator = float32_copy(generator)
        self.ema_generator.trainable = False
        # Generator updates made so far, and batches seen by the current evaluation.
        self.iterations = self._add_counter("iterations")
        self._test_batches = self._add_counter("test_batches")
        # The networks are built, and a GAN has no input of its own that Keras could build it from.
        self.built = True

    # What subclasses define.

    def unpack(self, data):
        """Splits a batch as `fit` delivers it.

        Returns:
            `(real, condition)`: images `(batch, height, width, channels)` in [-1, 1], and a tuple of what both
            networks are conditioned on, empty where nothing is.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `unpack`.")

    def generate(self, generator, real, condition, seed, training):
        """Returns one fake for each image of `real`.

        Args:
            generator: The trained generator or its EMA.
            real: The batch's images.
            condition: What `unpack` returned beside them.
            seed: An int64 tensor of two elements: the source of all randomness.
            training: As in `keras.layers.Layer.call`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `generate`.")

    # Compilation.

    def compile(
        self,
        g_optimizer=None,
        d_optimizer=None,
        loss=None,
        ema_decay=0.999,
        metrics=(),
        **kwargs,
    ):
        """Configures training.

        Args:
            g_optimizer: The generator's optimizer: an object, a name or a config. By default Adam with learning rate
                2e-4 and beta_1 0.5, DCGAN's choice (https://arxiv.org/abs/1511.06434).
            d_optimizer: The discriminator's, likewise.
            loss: A `tfgan_app.losses.AdversarialLoss`; by default `NonSaturating(real_label=0.9)`.
            ema_decay: Weight of the old average in the EMA generator, in [0, 1); 0 makes it a copy. The first steps
                use min(ema_decay, (1 + step) / (10 + step)), or the average would keep its random start.
            metrics: `keras.metrics.Metric` objects with an `extractor`, updated by `evaluate` and validation with
                features of real images and of as many fakes from the EMA generator.
            **kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution` as in `keras.Model.compile`.

        Raises:
            ValueError: If one optimizer is given for both networks, or `ema_decay` is out of range.
        """
        if not 0 <= ema_decay < 1:
            raise ValueError(f"`ema_decay` must lie in [0, 1). Received: ema_decay={ema_decay}")
        if g_optimizer is d_optimizer and isinstance(g_optimizer, keras.optimizers.Optimizer):
            raise ValueError(
                "`g_optimizer` and `d_optimizer` must be two objects: an optimizer's state belongs to one network. "
                f"Received: the same {type(g_optimizer).__name__} twice."
            )
        super().compile(optimizer=None, **kwargs)
        self.loss = loss or losses.NonSaturating()
        self.ema_decay = float(ema_decay)
        self.g_optimizer = _prepared_optimizer(g_optimizer, self.generator)
        self.d_optimizer = _prepared_optimizer(d_optimizer, self.discriminator)
        self._loss_trackers = [keras.metrics.Mean(name=name) for name in ("d_loss", "g_loss", "d_real", "d_fake")]
        self._scores = list(metrics or ())
        self._compile_arguments = {
            "ema_decay": self.ema_decay,
            "jit_compile": kwargs.get("jit_compile", "auto"),
            "steps_per_execution": kwargs.get("steps_per_execution", 1),
        }

    def get_compile_config(self):
        if not self.compiled:
            return None
        serialize = keras.saving.serialize_keras_object
        return {
            "g_optimizer": serialize(self.g_optimizer),
            "d_optimizer": serialize(self.d_optimizer),
            "loss": serialize(self.loss),
            "metrics": [serialize(metric) for metric in self._scores],
            **self._compile_arguments,
        }

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    # The step.

    def judge(self, images, condition, training=True):
        """Returns the discriminator's float32 logits."""
        logits = self.discriminator([images, *condition] if condition else images, training=training)
        return tf.cast(logits, tf.float32)

    def discriminator_loss(self, real, fake, condition, training=True):
        """Returns the discriminator's loss on a batch, and tracks it with D(x) and D(G(z))."""
        real_logits = self.judge(real, condition, training)
        fake_logits = self.judge(tf.stop_gradient(fake), condition, training)
        loss = self.loss.discriminator(real_logits, fake_logits)
        self._track(d_loss=loss, d_real=tf.sigmoid(real_logits), d_fake=tf.sigmoid(fake_logits))
        return loss

    def generator_loss(self, fake, real, condition, training=True):
        """Returns the generator's loss on a batch, and tracks it."""
        real_logits = self.judge(real, condition, training) if self.loss.needs_real_logits else None
        loss = self.loss.generator(self.judge(fake, condition, training), real_logits)
        self._track(g_loss=loss)
        return loss

    def train_step(self, data):
        """Updates the discriminator, then the generator, then the EMA generator, on one batch."""
        real, condition = self.unpack(data)
        with tf.GradientTape() as g_tape:
            fake = self.generate(self.generator, real, condition, self._seeds(0, self.iterations), training=True)

        with tf.GradientTape() as d_tape:
            d_loss = self.d_optimizer.scale_loss(self.discriminator_loss(real, fake, condition))
        _minimize(self.d_optimizer, self.discriminator, d_tape, d_loss)

        with g_tape:
            g_loss = self.g_optimizer.scale_loss(self.generator_loss(fake, real, condition))
        _minimize(self.g_optimizer, self.generator, g_tape, g_loss)

        self.iterations.assign_add(1)
        self._update_ema()
        return self.get_metrics_result()

    def test_step(self, data):
        """Updates losses and metrics with a batch of real images and as many fakes from the EMA generator."""
        real, condition = self.unpack(data)
        seed = self._seeds(1, self._test_batches)
        fake = self.generate(self.ema_generator, real, condition, seed, training=False)
        self._test_batches.assign_add(1)
        self.discriminator_loss(real, fake, condition, training=False)
        self.generator_loss(fake, real, condition, training=False)
        for score in self._scores:
            score.update_state(score.extractor(real), score.extractor(fake))
        return self.get_metrics_result()

    def evaluate(self, *args, return_dict=False, **kwargs):
        """Returns the losses and metrics on `x`, as `keras.Model.evaluate`.

        The metrics' results are computed once, here: those such as the Frechet distance cost more than a batch.
        """
        logs = super().evaluate(*args, return_dict=True, **kwargs)
        logs.update({score.name: score.result() for score in self._scores})
        logs = {name: float(value) for name, value in logs.items()}
        return logs if return_dict else [logs[name] for name in self.metrics_names]

    @property
    def metrics(self):
        return [*self._loss_trackers, *self._scores] if self.compiled else []

    def reset_metrics(self):
        super().reset_metrics()
        # Every evaluation draws the same fakes, so scores differ by the weights alone.
        self._test_batches.assign(0)

    def get_metrics_result(self):
        return {tracker.name: tracker.result() for tracker in self._loss_trackers}

    def _add_counter(self, name):
        return self.add_weight(name=name, shape=(), dtype="int64", initializer="zeros", trainable=False)

    def _seeds(self, stream, count):
        return tf.stack([tf.constant(self.seed + stream, tf.int64), tf.convert_to_tensor(count)])

    def _track(self, **values):
        for tracker in self._loss_trackers:
            if tracker.name in values:
                tracker.update_state(values[tracker.name])

    def _update_ema(self):
        step = tf.cast(self.iterations, tf.float32)
        decay = tf.minimum(self.ema_decay, (1.0 + step) / (10.0 + step))
        pairs = zip(self.ema_generator.weights, self.generator.weights, strict=True)
        for average, current in pairs:
            if current.trainable:
                average.assign_add((1.0 - decay) * (current - average))
            else:
                average.assign(current)


def float32_copy(network):
    """Returns a copy of a functional model, weights included, that computes in float32.

    The EMA generator and exported networks are such copies: a score or an export must not depend on the precision
    that training happened to use.
    """

    def convert(layer):
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(network, clone_function=convert, recursive=True)
    # Or the model as a whole would round its inputs.
    copy.dtype_policy = "float32"
    copy.set_weights(network.get_weights())
    return copy


def _prepared_optimizer(optimizer, network):
    """Returns the optimizer with its slots built and, where the network computes in float16, with loss scaling."""
    optimizer = keras.optimizers.get(optimizer or keras.optimizers.Adam(2e-4, beta_1=0.5))
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if not scaled and any(layer.compute_dtype == "float16" for layer in network._flatten_layers()):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # Unbuilt slots are left out when Keras saves the model.
    optimizer.build(network.trainable_variables)
    return optimizer


def _minimize(optimizer, network, tape, scaled_loss):
    variables = network.trainable_variables
    optimizer.apply(tape.gradient(scaled_loss, variables), variables)
