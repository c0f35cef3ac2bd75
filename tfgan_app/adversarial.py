"""The adversarial training step, shared by every GAN here."""

import contextlib
import functools
import random

import keras
import tensorflow as tf

from tfgan_app import losses
from tfgan_app.metrics.base import Batch
from tfgan_app.optimizers import Adam
from tfgan_app.replicas import num_replicas

__all__ = ["AdversarialModel"]


class AdversarialModel(keras.Model):
    """A generator and a discriminator trained against each other.

    The step is Algorithm 1 of Goodfellow et al. 2014 (https://arxiv.org/abs/1406.2661): `n_critic` updates of the
    discriminator, then the generator's, each network with its own optimizer. The last generated batch serves
    both, as the generator does not change in between. After them the EMA generator moves towards the generator.

    Subclasses define what a batch is and what the generator is given, in `unpack` and `draw`, and their paper's
    settings in `compile_defaults`. The step knows nothing else about them. A layer that changes once per update of its
    network, such as spectral normalisation, has a method `begin_update()`, which the step calls, and a layer of the
    generator that learns of several replicas may have one `end_update()`.

    Args:
        generator: A built `keras.Model` whose images lie in [-1, 1].
        discriminator: A built `keras.Model` that returns logits (no sigmoid) of shape `(batch, ...)`, or a dict of
            outputs with such `logits` among them, for those that predict something besides.
        seed: Seed of what the generator draws. That of step k depends on (seed, k) alone, so a resumed run draws
            what an uninterrupted one would have. By default from the generator that
            `keras.utils.set_random_seed` seeds.
        **kwargs: `name` and `dtype`, as in `keras.Model`.
    """

    # Whether the discriminator judges each image by itself: no layer of it normalises, packs or compares over a batch.
    # Its update then passes real images and fakes together: the same, in fewer and larger operations.
    joint_pass = False

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

    def draw(self, real, condition, seed):
        """Returns the list of the generator's inputs for one fake beside each image of `real`.

        Args:
            real: The batch's images.
            condition: What `unpack` returned beside them.
            seed: An int64 tensor of two elements: the source of all randomness.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `draw`.")

    def compile_defaults(self):
        """Returns the arguments of `compile` that this model's paper sets, by name; those left out are DCGAN's."""
        return {}

    def auxiliary_loss(self, outputs, condition, inputs):
        """Returns the loss of what a discriminator with a dict of outputs predicts besides its logits.

        Called with the outputs for real images in the discriminator's update, and for fakes in both.

        Args:
            outputs: The discriminator's outputs by name, float32.
            condition: What `unpack` returned beside the real images; fakes share it.
            inputs: What the generator drew the fakes from; None for real images.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `auxiliary_loss`.")

    def observation(self, real, fake, condition, inputs, seed):
        """Returns the `tfgan_app.metrics.Batch` that metrics see of a batch of `evaluate`.

        Args:
            real: The batch's images.
            fake: As many from the EMA generator.
            condition: What `unpack` returned beside the real images.
            inputs: What the fakes were drawn from.
            seed: An int64 tensor of two elements, of what else is drawn.
        """
        return Batch(real, fake)

    # Compilation.

    def compile(
        self,
        g_optimizer=None,
        d_optimizer=None,
        loss=None,
        penalties=None,
        g_penalties=None,
        augment=None,
        n_critic=None,
        ema_decay=None,
        ema_half_life=None,
        metrics=(),
        **kwargs,
    ):
        """Configures training. What is None is the model's own choice, its paper's; the defaults below are `GAN`'s.

        Args:
            g_optimizer: The generator's optimizer: an object, a name or a config. By default Adam with learning rate
                2e-4 and beta_1 0.5, DCGAN's choice (https://arxiv.org/abs/1511.06434).
            d_optimizer: The discriminator's, likewise.
            loss: A `tfgan_app.losses.AdversarialLoss`; by default `NonSaturating(real_label=0.9)`.
            penalties: The discriminator's, a list of `tfgan_app.penalties.Penalty`. By default none.
            g_penalties: The generator's, likewise.
            augment: A layer `images -> images` between images and discriminator, `tfgan_app.augment.DiffAugment()` or
                `AdaptiveAugment()` for example, or False for none. By default none.
            n_critic: Updates of the discriminator before each of the generator, all on fresh batches. By default 1.
            ema_decay: Weight of the old average in the EMA generator, in [0, 1), or a schedule of the step; 0 makes it
                a copy. The first steps use min(ema_decay, (1 + step) / (10 + step)), or the average would keep its
                random start. By default 0.999.
            ema_half_life: Images after which the average has forgotten half, or a schedule of the step; it takes the
                place of `ema_decay`.
            metrics: A list of `tfgan_app.metrics.ImageMetric`, updated by `evaluate` and validation with real images
                and as many fakes from the EMA generator.
            **kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution` as in `keras.Model.compile`.

        Raises:
            ValueError: If one optimizer is given for both networks, or a number is out of range.
        """
        given = {
            "g_optimizer": g_optimizer,
            "d_optimizer": d_optimizer,
            "loss": loss,
            "penalties": penalties,
            "g_penalties": g_penalties,
            "augment": augment,
            "n_critic": n_critic,
            "ema_decay": ema_decay,
            "ema_half_life": ema_half_life,
            **kwargs,
        }
        given = {name: value for name, value in given.items() if value is not None}
        own = self.compile_defaults()
        if "ema_decay" in given:
            own.pop("ema_half_life", None)
        if num_replicas() > 1:
            # Keras's optimizers add gradients up over replicas in a way that XLA does not compile.
            own = {name: value for name, value in own.items() if name != "jit_compile"}
        defaults = _defaults()
        chosen = {**defaults, **own, **given}
        if chosen["n_critic"] != int(chosen["n_critic"]) or chosen["n_critic"] < 1:
            raise ValueError(f"`n_critic` must be an integer of at least 1. Received: n_critic={chosen['n_critic']}")
        if not callable(chosen["ema_decay"]) and not 0 <= chosen["ema_decay"] < 1:
            raise ValueError(f"`ema_decay` must lie in [0, 1). Received: ema_decay={chosen['ema_decay']}")
        if g_optimizer is d_optimizer and isinstance(g_optimizer, keras.optimizers.Optimizer):
            raise ValueError(
                "`g_optimizer` and `d_optimizer` must be two objects: an optimizer's state belongs to one network. "
                f"Received: the same {type(g_optimizer).__name__} twice."
            )
        super().compile(optimizer=None, **{name: value for name, value in chosen.items() if name not in defaults})
        self.loss = chosen["loss"]
        self.penalties = list(chosen["penalties"])
        self.g_penalties = list(chosen["g_penalties"])
        self.augment = chosen["augment"] or None
        self.n_critic = int(chosen["n_critic"])
        self.ema_decay = chosen["ema_decay"]
        self.ema_half_life = chosen["ema_half_life"]
        if self.augment is not None and not self.augment.built:
            self.augment.build((None, *self.generator.outputs[0].shape[1:]))
        self.g_optimizer = _prepared_optimizer(chosen["g_optimizer"], self.generator)
        self.d_optimizer = _prepared_optimizer(chosen["d_optimizer"], self.discriminator)
        terms = ["d_loss", "g_loss", "d_real", "d_fake"]
        terms += ["d_auxiliary", "g_auxiliary"] if predicts(self.discriminator) else []
        terms += [penalty.name for penalty in (*self.penalties, *self.g_penalties)]
        if len(set(terms)) < len(terms):
            raise ValueError(f"Each penalty must have a `name` of its own. Received: {terms[4:]}")
        self._loss_trackers = [keras.metrics.Mean(name=name) for name in terms]
        self._scores = list(metrics or ())
        self._compile_arguments = chosen

    @property
    def step(self):
        """The generator updates made so far, an integer."""
        return int(self.iterations.numpy())

    def get_compile_config(self):
        if not self.compiled:
            return None
        arguments = {
            **self._compile_arguments,
            "g_optimizer": self.g_optimizer,
            "d_optimizer": self.d_optimizer,
            "metrics": self._scores,
        }
        return {name: keras.saving.serialize_keras_object(value) for name, value in arguments.items()}

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def random_state(self):
        """The state variables of random layers, which Keras keeps out of `weights` and of its files."""
        weights = {id(variable) for variable in self.weights}
        return [variable for variable in self.non_trainable_variables if id(variable) not in weights]

    @property
    def loss_state(self):
        """The variables of the losses' averages over an epoch, scalars.

        Of several processes' none: all of them together would have to read one.
        """
        if isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return []
        return [variable for tracker in self._loss_trackers for variable in tracker.variables]

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for index, variable in enumerate(self.random_state):
            store[f"random_{index}"] = variable.numpy()

    def load_own_variables(self, store):
        own = {key: store[key] for key in sorted(store.keys()) if not key.startswith("random_")}
        super().load_own_variables(own)
        for index, variable in enumerate(self.random_state):
            variable.assign(store[f"random_{index}"])

    def fit(self, x=None, y=None, batch_size=None, **kwargs):
        """Trains as `keras.Model.fit`; where `n_critic` is above 1, a step takes that many batches of fresh images.

        Then `x` must be a `tf.data.Dataset` or arrays, and images that do not fill a step are left out.
        """
        if self.n_critic > 1 and not isinstance(x, tf.distribute.DistributedDataset):
            x, y, batch_size = self._grouped(x, y, batch_size, kwargs.get("shuffle", True)), None, None
            kwargs["shuffle"] = False
        return super().fit(x, y, batch_size=batch_size, **kwargs)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing: all is built. Under a strategy Keras 3.15 would take a batch from training for it."""

    # The step.

    def judge(self, images, condition, training=True):
        """Returns the discriminator's float32 logits; in training it sees augmented images."""
        return self._outputs(images, condition, training)["logits"]

    def _outputs(self, images, condition, training):
        """Returns the discriminator's float32 outputs by name."""
        return self._discriminate(self._augmented(images, training), condition, training)

    def _outputs_of_both(self, real, fake, condition, training):
        """Returns `_outputs` for real images and for fakes."""
        if not self.joint_pass:
            return self._outputs(real, condition, training), self._outputs(fake, condition, training)
        images = tf.concat([self._augmented(real, training), self._augmented(fake, training)], axis=0)
        outputs = self._discriminate(images, [tf.concat([part, part], axis=0) for part in condition], training)
        halves = {name: tf.split(value, 2) for name, value in outputs.items()}
        return tuple({name: half[index] for name, half in halves.items()} for index in range(2))

    def _augmented(self, images, training):
        return self.augment(images) if training and self.augment is not None else images

    def _discriminate(self, images, condition, training):
        # A discriminator without an input for the condition predicts it, if anything.
        outputs = apply(self.discriminator, [images, *condition][: len(self.discriminator.inputs)], training)
        outputs = outputs if isinstance(outputs, dict) else {"logits": outputs}
        return {name: tf.cast(value, tf.float32) for name, value in outputs.items()}

    def discriminator_loss(self, real, fake, condition, inputs, training=True):
        """Returns the discriminator's loss on a batch without penalties, and tracks it with D(x) and D(G(z))."""
        real_outputs, fake_outputs = self._outputs_of_both(real, tf.stop_gradient(fake), condition, training)
        real_logits, fake_logits = real_outputs["logits"], fake_outputs["logits"]
        if training and self.augment is not None:
            self.augment.update(real_logits)
        loss = self.loss.discriminator(real_logits, fake_logits)
        self._track(d_loss=loss, d_real=tf.sigmoid(real_logits), d_fake=tf.sigmoid(fake_logits))
        if len(real_outputs) > 1:
            auxiliary = self.auxiliary_loss(real_outputs, condition, None)
            auxiliary += self.auxiliary_loss(fake_outputs, condition, inputs)
            self._track(d_auxiliary=auxiliary)
            loss += auxiliary
        return loss

    def generator_loss(self, fake, real, condition, inputs, training=True):
        """Returns the generator's loss on a batch without penalties, and tracks it."""
        real_logits = self.judge(real, condition, training) if self.loss.needs_real_logits else None
        outputs = self._outputs(fake, condition, training)
        loss = self.loss.generator(outputs["logits"], real_logits)
        self._track(g_loss=loss)
        if len(outputs) > 1:
            auxiliary = self.auxiliary_loss(outputs, condition, inputs)
            self._track(g_auxiliary=auxiliary)
            loss += auxiliary
        return loss

    def train_step(self, data):
        """Updates the discriminator `n_critic` times, then the generator, then the EMA generator."""
        _call_hooks(self.generator, "begin_update")
        for index in range(self.n_critic):
            update = self.iterations * self.n_critic + index
            real, condition = self.unpack(self._minibatch(data, index))
            inputs = self.draw(real, condition, self._seeds(0, update))
            with tf.GradientTape() as g_tape:
                fake = apply(self.generator, inputs, training=True)

            _call_hooks(self.discriminator, "begin_update")
            with tf.GradientTape() as d_tape:
                d_loss = self.discriminator_loss(real, fake, condition, inputs) + sum(self.discriminator.losses)
                d_loss = _scaled(self.d_optimizer, d_loss)
            judged = self.judge, real, tf.stop_gradient(fake), condition
            more = self._penalty_gradients(self.penalties, self.d_optimizer, self.discriminator, update, *judged)
            _minimize(self.d_optimizer, self.discriminator, d_tape, d_loss, more)

        with g_tape:
            g_loss = self.generator_loss(fake, real, condition, inputs) + sum(self.generator.losses)
            g_loss = _scaled(self.g_optimizer, g_loss)
        more = self._penalty_gradients(
            self.g_penalties, self.g_optimizer, self.generator, self.iterations, self.generator, inputs
        )
        _minimize(self.g_optimizer, self.generator, g_tape, g_loss, more)

        _call_hooks(self.generator, "end_update")
        self.iterations.assign_add(1)
        self._update_ema(tf.shape(real)[0] * num_replicas())
        return self.get_metrics_result()

    def test_step(self, data):
        """Updates losses and metrics with a batch of real images and as many fakes from the EMA generator."""
        real, condition = self.unpack(data)
        inputs = self.draw(real, condition, self._seeds(1, self._test_batches))
        fake = apply(self.ema_generator, inputs, training=False)
        self.discriminator_loss(real, fake, condition, inputs, training=False)
        self.generator_loss(fake, real, condition, inputs, training=False)
        observation = self.observation(real, fake, condition, inputs, self._seeds(2, self._test_batches))
        for score in self._scores:
            score.observe(observation)
        self._test_batches.assign_add(1)
        return self.get_metrics_result()

    def evaluate(self, *args, return_dict=False, **kwargs):
        """Returns the losses and metrics on `x`, as `keras.Model.evaluate`; penalties have no part in them.

        The metrics' results are computed once, here: those such as the Frechet distance cost more than a batch.
        """
        logs = super().evaluate(*args, return_dict=True, **kwargs)
        logs = {name: float(value) for name, value in logs.items()}
        for score in self._scores:
            logs.update(score.results())
        return logs if return_dict else [logs[name] for name in self.metrics_names]

    @property
    def metrics(self):
        return [*self._loss_trackers, *self._scores] if self.compiled else []

    def reset_metrics(self):
        super().reset_metrics()
        # Every evaluation draws the same fakes, so scores differ by the weights alone.
        self._test_batches.assign(0)

    def get_metrics_result(self):
        results = {tracker.name: tracker.result() for tracker in self._loss_trackers}
        strategy = tf.distribute.get_strategy()
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and tf.distribute.get_replica_context():
            # Keras takes the mean over workers along the first axis.
            results = {name: tf.reshape(value, (1,)) for name, value in results.items()}
        return results

    def _add_counter(self, name):
        return self.add_weight(name=name, shape=(), dtype="int64", initializer="zeros", trainable=False)

    def _seeds(self, stream, count):
        return tf.stack([tf.constant(self.seed + stream, tf.int64), tf.convert_to_tensor(count)])

    def _track(self, **values):
        for tracker in self._loss_trackers:
            if tracker.name in values:
                tracker.update_state(values[tracker.name])

    def _grouped(self, x, y, batch_size, shuffle):
        """Returns a dataset whose elements are `n_critic` batches of `x`, one after the other."""
        if not isinstance(x, tf.data.Dataset):
            if not hasattr(x, "shape"):
                raise ValueError(
                    f"With n_critic={self.n_critic}, `x` must be a tf.data.Dataset of batches or an array. "
                    f"Received: {type(x).__name__}"
                )
            images = len(x)
            x = tf.data.Dataset.from_tensor_slices(x if y is None else (x, y))
            x = (x.shuffle(images) if shuffle else x).batch(batch_size or 32, drop_remainder=True)
        size, batches = keras.tree.flatten(x.element_spec)[0].shape[0], int(x.cardinality())
        if size is None:
            size = len(keras.tree.flatten(next(iter(x)))[0])
            x = x.rebatch(size, drop_remainder=True)
            # The last batch may be smaller.
            batches -= batches > 0
        if 0 <= batches < self.n_critic:
            raise ValueError(
                f"A step takes n_critic * batch_size = {self.n_critic} * {size} images, and there are fewer. "
                "Give more, or a smaller batch size."
            )
        groups = self.by_replica(x, self.distribute_strategy.num_replicas_in_sync)
        if batches < 0:
            return groups
        # `rebatch` loses the count, which Keras needs to tell the end of an epoch.
        steps = batches // self.n_critic
        return groups.take(steps).apply(tf.data.experimental.assert_cardinality(steps))

    def by_replica(self, batches, replicas, split=False):
        """Joins the batches of each step, in such an order that a replica's share holds its part of every one.

        Args:
            batches: A `tf.data.Dataset` of batches whose type tells their size.
            replicas: How many share a step, and divide that size.
            split: Whether elements are to be shares rather than steps.
        """
        size = keras.tree.flatten(batches.element_spec)[0].shape[0]
        if size % replicas:
            raise ValueError(f"{replicas} replicas cannot share batches of {size} images equally.")

        def reorder(x):
            parts = tf.reshape(x, tf.concat([[self.n_critic, replicas, size // replicas], tf.shape(x)[1:]], axis=0))
            order = [1, 0, *range(2, x.shape.rank + 2)]
            return tf.ensure_shape(tf.reshape(tf.transpose(parts, order), tf.shape(x)), x.shape)

        steps = batches.rebatch(size * self.n_critic, drop_remainder=True)
        if replicas > 1:
            steps = steps.map(lambda *data: keras.tree.map_structure(reorder, data if len(data) > 1 else data[0]))
        return steps.rebatch(size * self.n_critic // replicas) if split else steps

    def _minibatch(self, data, index):
        """Returns the batch that the discriminator's update `index` of this step is made on."""
        if self.n_critic == 1:
            return data

        def part(x):
            size = tf.shape(x)[0] // self.n_critic
            return x[index * size : (index + 1) * size]

        return keras.tree.map_structure(part, data)

    def _penalty_gradients(self, penalties, optimizer, network, update, *arguments):
        """Tracks each penalty; returns for each the gradients of its weighted, scaled value."""
        variables = network.trainable_variables

        def evaluate(penalty, seed):
            with in_float32(network), tf.GradientTape() as tape:
                weight = penalty.interval * value_at(penalty.weight, self.iterations)
                value = weight * penalty(*arguments, seed)
                scaled_value = _scaled(optimizer, value)
            gradients = tape.gradient(scaled_value, variables)
            pairs = zip(gradients, zeros(), strict=True)
            return value, [zero if gradient is None else tf.convert_to_tensor(gradient) for gradient, zero in pairs]

        def zeros():
            return [tf.zeros(variable.shape, variable.dtype) for variable in variables]

        found = []
        for index, penalty in enumerate(penalties):
            term = functools.partial(evaluate, penalty, self._seeds(2 + index, update))
            # A penalty of every update needs no branch. The gradients are taken inside it, as XLA compiles anew at each
            # step, or not at all, what a tape records across one.
            due = update % penalty.interval == 0
            value, gradients = term() if penalty.interval == 1 else tf.cond(due, term, lambda: (0.0, zeros()))
            self._track(**{penalty.name: value})
            found.append(gradients)
        return found

    def _update_ema(self, batch_size):
        step = tf.cast(self.iterations, tf.float32)
        if self.ema_half_life is None:
            decay = value_at(self.ema_decay, step)
        else:
            decay = 0.5 ** (tf.cast(batch_size, tf.float32) / value_at(self.ema_half_life, step))
        decay = tf.minimum(decay, (1.0 + step) / (10.0 + step))
        pairs = zip(self.ema_generator.weights, self.generator.weights, strict=True)
        for average, current in pairs:
            if current.trainable:
                average.assign_add((1.0 - decay) * (current - average))
            else:
                average.assign(current)


def apply(network, inputs, training=False):
    """Returns a functional model's outputs for a list of inputs."""
    return network(inputs if len(inputs) > 1 else inputs[0], training=training)


def predicts(discriminator):
    """Returns whether a discriminator predicts something besides its logits."""
    return isinstance(getattr(discriminator, "output", None), dict)


def value_at(setting, step):
    """Returns a number, or a schedule's value at a step, as float32."""
    return tf.cast(setting(step) if callable(setting) else setting, tf.float32)


@contextlib.contextmanager
def in_float32(network):
    """Lets a network's layers compute in float32 as long as the block lasts, whatever their policy."""
    layers = list(network._flatten_layers())
    policies = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = "float32"
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer.dtype_policy = policy


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


def _defaults():
    return {
        "g_optimizer": Adam(2e-4, beta_1=0.5),
        "d_optimizer": Adam(2e-4, beta_1=0.5),
        "loss": losses.NonSaturating(),
        "penalties": (),
        "g_penalties": (),
        "augment": None,
        "n_critic": 1,
        "ema_decay": 0.999,
        "ema_half_life": None,
    }


def _prepared_optimizer(optimizer, network):
    """Returns the optimizer with its slots built and, where the network computes in float16, with loss scaling."""
    optimizer = keras.optimizers.get(optimizer)
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if not scaled and any(layer.compute_dtype == "float16" for layer in network._flatten_layers()):
        optimizer, scaled = keras.optimizers.LossScaleOptimizer(optimizer), True
    if scaled and num_replicas() > 1:
        # Measured with Keras 3.15: an overflow on one replica alone is seen by none, and NaN reaches every weight.
        raise ValueError(
            "float16 trains on one device: its loss scale does not hear of another replica's overflow. Take bfloat16 "
            "(--mixed_precision=bfloat16) or float32 (--mixed_precision=none)."
        )
    # Unbuilt slots are left out when Keras saves the model.
    optimizer.build(network.trainable_variables)
    return optimizer


def _scaled(optimizer, loss):
    """Returns what to take the gradients of: over replicas Keras's optimizers add them up."""
    return optimizer.scale_loss(loss / num_replicas())


def _call_hooks(network, name):
    for layer in network._flatten_layers():
        if hasattr(layer, name):
            getattr(layer, name)()


def _minimize(optimizer, network, tape, scaled_loss, more):
    """Updates a network by the gradients of a loss on a tape, and those of `more`, lists of them."""
    variables = network.trainable_variables
    gradients = tape.gradient(scaled_loss, variables)
    for others in more:
        pairs = zip(gradients, others, strict=True)
        gradients = [other if gradient is None else gradient + other for gradient, other in pairs]
    # Updates wait for every gradient. Keras joins them in one operation; TensorFlow drops the order of a variable's
    # reads and updates where that operation implies it, then takes the operation apart, and updates are lost.
    with tf.control_dependencies([gradient for gradient in gradients if gradient is not None]):
        gradients = [None if gradient is None else tf.identity(gradient) for gradient in gradients]
    optimizer.apply(gradients, variables)
