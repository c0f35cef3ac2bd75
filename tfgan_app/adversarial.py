"""The adversarial training step, shared by every GAN here."""

import contextlib
import dataclasses
import functools
import inspect
import operator
import random
from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf
from absl import logging

from tfgan_app import losses
from tfgan_app.augment import Augment
from tfgan_app.base.errors import UsageError
from tfgan_app.base.networks import apply, call_hooks, final_activations, float32_copy, move_average, pass_losses
from tfgan_app.base.randomness import stream
from tfgan_app.base.replicas import num_replicas
from tfgan_app.callbacks import adapted
from tfgan_app.data import steps
from tfgan_app.data.batches import Inspection, as_dataset, refuse_weights, split
from tfgan_app.metrics.base import ImageMetric
from tfgan_app.observation import Observation
from tfgan_app.optimizers import Adam
from tfgan_app.players import Judge, Optimizers, Part, Player
from tfgan_app.schedules import Number, value_at
from tfgan_app.terms import Play, Term

__all__ = ["AdversarialModel"]


class AdversarialModel(keras.Model):
    """Two players trained against each other: a generator and a discriminator.

    The step is Algorithm 1 of Goodfellow et al. 2014 (https://arxiv.org/abs/1406.2661): `n_critic` updates of the
    discriminator, then the generator's, each player with its own optimizer. The last generated batch serves
    both, as the generator does not change in between. After them the EMA generator moves towards the generator.

    A player is one functional `keras.Model`, which may join several networks: a generator and an encoder, or two
    discriminators whose logits are a dict. A sample is what the discriminator judges, any tree of tensors
    `(batch, ...)`. What a player's loss holds beside the adversarial loss is a `tfgan_app.terms.Term`.

    Subclasses define what a batch is, what the generator is given and what is judged, in `unpack`, `draw` and `judged`,
    and their paper's settings in `compile_defaults`. The step knows nothing else about them. A layer that changes once
    per update of its network, such as spectral normalisation, has a method `begin_update()`, which the step calls, and
    a layer of the generator that learns of several replicas may have one `end_update()`.

    Args:
        generator: A built `keras.Model` whose images lie in [-1, 1].
        discriminator: A built `keras.Model` that returns logits (no sigmoid) of shape `(batch, ...)`, or a dict of
            outputs with such `logits` among them, for those that predict something besides. Logits may themselves be a
            tree, whose adversarial losses are added.
        seed: Seed of what the generator draws. That of step k depends on (seed, k) alone, so a resumed run draws
            what an uninterrupted one would have. By default from the generator that
            `keras.utils.set_random_seed` seeds.
        **kwargs: `name` and `dtype`, as in `keras.Model`.
    """

    # Whether the discriminator judges each sample by itself, with no layer that normalises, packs or compares over a
    # batch. Its update then passes real samples and fakes as one batch: the same, in fewer and larger operations.
    joint_pass = False

    def __init__(self, generator: keras.Model, discriminator: keras.Model, seed: int | None = None, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.generator = generator
        self.discriminator = discriminator
        self.seed = random.randint(1, 2**31 - 1) if seed is None else int(seed)
        # Its variables go by other names than the generator's.
        with keras.name_scope("ema"):
            self.ema_generator = float32_copy(generator)
        self.ema_generator.trainable = False
        # Generator updates made so far, and batches seen by the current evaluation.
        self.iterations = self._add_counter("iterations")
        self._test_batches = self._add_counter("test_batches")
        self._judge = Judge(discriminator, None)
        # Keras has nothing to build: the networks are built, and a GAN has no input of its own.
        self.built = True

    # What subclasses define.

    def unpack(self, data: Any) -> tuple[Any, tuple[tf.Tensor, ...]]:
        """Splits a batch as `fit` delivers it.

        Returns:
            `(real, condition)`: what is real of the batch, a tensor or a tree of them, and a tuple of what both
            networks are conditioned on, empty where nothing is.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `unpack`.")

    def draw(self, real: Any, condition: tuple[tf.Tensor, ...], seed: tf.Tensor) -> list[tf.Tensor]:
        """Returns the list of the generator's inputs for one fake beside each sample of `real`.

        Args:
            real: What `unpack` returned as such.
            condition: What it returned beside.
            seed: An int64 tensor of two elements: the source of all randomness.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `draw`.")

    def judged(self, real: Any, inputs: list[tf.Tensor], outputs: Any) -> tuple[Any, Any]:
        """Returns the samples that the discriminator judges, `(real, fake)`: here what is real, and the outputs.

        Called inside the generator's tape: what is real of a sample may depend on the generator, as the code of an
        image does in a BiGAN.

        Args:
            real: What `unpack` returned as such.
            inputs: What the generator drew from, a list.
            outputs: What it returned.
        """
        return real, outputs

    def target_of(self, real: Any) -> Any:
        """Returns what the generator's outputs should be, which terms such as L1 compare them with; here what is real.

        Args:
            real: What `unpack` returned as such.
        """
        return real

    def shown(self, play: Play) -> Play:
        """Returns the record that the discriminator learns from: that of the generator's, whose gradients end here.

        A model that shows it other fakes, such as those of earlier steps, changes it here. Called once an update.
        """
        real, fake = keras.tree.map_structure(tf.stop_gradient, (play.real, play.fake))
        return dataclasses.replace(play, real=real, fake=fake)

    def calibrate(self) -> None:
        """Gives the EMA generator what its layers must know of its weights; called before it is scored, and by `fit`.

        Here it does nothing: statistics of batches stay the generator's, as the step copies them, since no fake can be
        drawn without data. `GAN` measures them.
        """

    def compile_defaults(self) -> dict[str, Any]:
        """Returns the arguments of `compile` that this model's paper sets, by name; those left out are DCGAN's."""
        return {}

    def inherent_terms(self) -> list[Term]:
        """Returns the terms without which the networks make no sense, whatever is given to `compile`: a list.

        Those of what a discriminator predicts besides its logits, for example.
        """
        return []

    def observation(
        self, real: Any, fake: Any, condition: tuple[tf.Tensor, ...], inputs: list[tf.Tensor], seed: tf.Tensor
    ) -> Observation:
        """Returns the `tfgan_app.metrics.Observation` that metrics see of a batch of `evaluate`.

        Args:
            real: The real samples of the batch.
            fake: As many from the EMA generator.
            condition: What `unpack` returned beside the real ones.
            inputs: What the fakes were drawn from.
            seed: An int64 tensor of two elements, of what else is drawn.
        """
        return Observation(real, fake)

    # Compilation.

    def compile(
        self,
        g_optimizer: keras.optimizers.Optimizer | str | dict[str, Any] | None = None,
        d_optimizer: keras.optimizers.Optimizer | str | dict[str, Any] | None = None,
        loss: losses.AdversarialLoss | str | None = None,
        terms: Sequence[Term] | None = None,
        augment: Augment | Literal[False] | None = None,
        n_critic: int | None = None,
        adversarial_weight: Number | None = None,
        ema_decay: Number | None = None,
        ema_half_life: Number | None = None,
        metrics: Sequence[ImageMetric] = (),
        accumulate: int | None = None,
        freeze_d: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Configures training. What is None is the model's own choice, its paper's; the defaults below are `GAN`'s.

        Args:
            g_optimizer: The generator's optimizer: an object, a name or a config. By default Adam with learning rate
                2e-4 and beta_1 0.5, DCGAN's choice (https://arxiv.org/abs/1511.06434).
            d_optimizer: The discriminator's, likewise.
            loss: A `tfgan_app.losses.AdversarialLoss` or its name; by default `NonSaturating(real_label=0.9)`.
            terms: What the players minimise besides, a list of `tfgan_app.terms.Term`: `[tfgan_app.terms.R1(5.0)]`. By
                default none. Those that the networks make no sense without, as ACGAN's, need not be given.
            augment: A layer `images -> images` between images and discriminator, `tfgan_app.augment.DiffAugment()` or
                `AdaptiveAugment()` for example, or False for none. By default none.
            n_critic: Updates of the discriminator before each of the generator, all on fresh batches. By default 1;
                with 0 the discriminator rests, and the generator minimises its terms alone.
            adversarial_weight: The factor of the adversarial loss in the generator's, beside its terms: a number, or a
                schedule of the step. By default 1.
            ema_decay: Weight of the old average in the EMA generator, in [0, 1), or a schedule of the step; 0 makes it
                a copy. The first steps use min(ema_decay, (1 + step) / (10 + step)), or the average would keep its
                random start. By default 0.999.
            ema_half_life: Images after which the average has forgotten half, or a schedule of the step; it takes the
                place of `ema_decay`.
            metrics: A list of `tfgan_app.metrics.ImageMetric`, updated by `evaluate` and validation with real images
                and as many fakes from the EMA generator.
            accumulate: Equal parts in which each batch goes through the networks, one after the other, for one update
                by their mean gradients: memory is that of a part, and the update that of the batch. It is another
                where a layer or a loss looks at a whole batch, as batch normalisation does, or a layer draws. By
                default 1.
            freeze_d: How many layers of the discriminator stay as they are, those nearest the images of those that have
                weights: FreezeD, Mo et al. 2020, https://arxiv.org/abs/2002.10964, for training that goes on from
                another model's weights. By default 0. Layers stay frozen when it is compiled again.
            **kwargs: `jit_compile`, `run_eagerly`, `steps_per_execution` as in `keras.Model.compile`.

        Raises:
            UsageError: If one optimizer is given for both networks, a number is out of range, or an argument is
                `keras.Model.compile`'s and means nothing here.
        """
        _check_compile(terms, augment, metrics, kwargs)
        given = {
            "g_optimizer": g_optimizer,
            "d_optimizer": d_optimizer,
            "loss": loss,
            "terms": terms,
            "augment": augment,
            "n_critic": n_critic,
            "accumulate": accumulate,
            "freeze_d": freeze_d,
            "adversarial_weight": adversarial_weight,
            "ema_decay": ema_decay,
            "ema_half_life": ema_half_life,
            **kwargs,
        }
        given = {name: value for name, value in given.items() if value is not None}
        own = self.compile_defaults()
        if "ema_decay" in given:
            own.pop("ema_half_life", None)
        if num_replicas() > 1:
            # XLA does not compile the way in which Keras's optimizers add gradients up over replicas.
            own = {name: value for name, value in own.items() if name != "jit_compile"}
        defaults = _defaults()
        chosen = {**defaults, **own, **given}
        if chosen["n_critic"] != int(chosen["n_critic"]) or chosen["n_critic"] < 0:
            raise UsageError(f"`n_critic` must be an integer of at least 0. Received: n_critic={chosen['n_critic']}")
        if chosen["accumulate"] != int(chosen["accumulate"]) or chosen["accumulate"] < 1:
            raise UsageError(
                f"`accumulate` must be an integer of at least 1. Received: accumulate={chosen['accumulate']}"
            )
        weight = chosen["adversarial_weight"]
        if not callable(weight) and not weight >= 0:
            raise UsageError(f"`adversarial_weight` must be at least 0. Received: adversarial_weight={weight}")
        if not callable(chosen["ema_decay"]) and not 0 <= chosen["ema_decay"] < 1:
            raise UsageError(f"`ema_decay` must lie in [0, 1). Received: ema_decay={chosen['ema_decay']}")
        if g_optimizer is d_optimizer and isinstance(g_optimizer, keras.optimizers.Optimizer):
            raise UsageError(
                "`g_optimizer` and `d_optimizer` must be two objects: an optimizer's state belongs to one network. "
                f"Received: the same {type(g_optimizer).__name__} twice."
            )
        super().compile(optimizer=None, **{name: value for name, value in chosen.items() if name not in defaults})
        self.loss: losses.AdversarialLoss = losses.get(chosen["loss"])
        chosen["loss"] = self.loss
        self.terms: list[Term] = [*self.inherent_terms(), *chosen["terms"]]
        # Keras finds their variables among the model's attributes.
        self._term_states = [term.state for term in self.terms if term.state is not None]
        for state in self._term_states:
            if not state.built:
                state.build(None)
        self.augment: Augment | None = chosen["augment"] or None
        self.n_critic = int(chosen["n_critic"])
        self.accumulate = int(chosen["accumulate"])
        self.adversarial_weight: Number = weight
        if not self.n_critic and not any(term.player == "generator" for term in self.terms):
            raise UsageError("With `n_critic=0` the generator minimises its terms alone, and it has none: give some.")
        self.ema_decay: Number = chosen["ema_decay"]
        self.ema_half_life: Number | None = chosen["ema_half_life"]
        if self.augment is not None and not self.augment.built:
            self.augment.build((None, *self.generator.outputs[0].shape[1:]))
        _freeze(self.discriminator, chosen["freeze_d"])
        self._judge = Judge(self.discriminator, self.augment)
        of_g, of_d = _named({name: chosen[name] for name in ("g_optimizer", "d_optimizer")})
        self._g_player = Player("generator", self.generator, of_g, self.terms)
        self._d_player = Player("discriminator", self.discriminator, of_d, self.terms, by_itself=self.joint_pass)
        # What Keras's callbacks look for.
        self.optimizer = Optimizers((self._g_player, self._d_player), self.iterations)
        # Keras finds optimizers among the model's attributes.
        self.g_optimizer: keras.optimizers.Optimizer = self._g_player.optimizer
        self.d_optimizer: keras.optimizers.Optimizer = self._d_player.optimizer
        names = ["d_loss", "g_loss", "d_real", "d_fake", *(term.name for term in self.terms)]
        logged = [*names, *(metric.name for metric in metrics or ())]
        if len(set(logged)) < len(logged):
            raise ValueError(f"Each term and metric must have a `name` of its own. Received: {logged[4:]}")
        for term in self.terms:
            if term.player not in ("generator", "discriminator"):
                raise ValueError(f"`player` of {term.name} must be generator or discriminator. Received: {term.player}")
        self._loss_trackers = [keras.metrics.Mean(name=name) for name in names]
        self._scores = list(metrics or ())
        self._compile_arguments = chosen
        squashed = final_activations(self.discriminator) & _SQUASHING
        if squashed and type(self.loss).__module__ == losses.__name__:
            logging.warning(
                "The discriminator ends in %s, but %s takes logits: leave the last activation out.",
                ", ".join(sorted(squashed)),
                type(self.loss).__name__,
            )

    @property
    def step(self) -> int:
        """The generator updates made so far, an integer."""
        return int(self.iterations.numpy())

    @property
    def batches_a_step(self) -> int:
        """The fresh batches that a step takes: one for each update of the discriminator, or one where it rests."""
        return max(self.n_critic, 1)

    def optimizer_steps(self, steps: int) -> tuple[int, int]:
        """Returns how many steps the generator's and the discriminator's optimizer take in the first training steps.

        A schedule of a learning rate counts them. Lazy terms, those with an interval, take steps of their own.
        """
        return self._g_player.optimizer_steps(steps), self._d_player.optimizer_steps(steps * self.n_critic)

    def get_compile_config(self) -> dict[str, Any] | None:
        if not self.compiled:
            return None
        arguments = {
            **self._compile_arguments,
            "g_optimizer": self.g_optimizer,
            "d_optimizer": self.d_optimizer,
            "metrics": self._scores,
        }
        return {name: keras.saving.serialize_keras_object(value) for name, value in arguments.items()}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def random_state(self) -> list[keras.Variable]:
        """The state variables of random layers, which Keras keeps out of `weights` and of its files."""
        weights = {id(variable) for variable in self.weights}
        return [variable for variable in self.non_trainable_variables if id(variable) not in weights]

    @property
    def loss_state(self) -> list[keras.Variable]:
        """The variables of the losses' averages over an epoch, scalars.

        There are none where several processes train, as all of them would have to read a variable together.
        """
        if isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return []
        return [variable for tracker in self._loss_trackers for variable in tracker.variables]

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        for index, variable in enumerate(self.random_state):
            store[f"random_{index}"] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        own = {key: store[key] for key in sorted(store.keys()) if not key.startswith("random_")}
        super().load_own_variables(own)
        for index, variable in enumerate(self.random_state):
            variable.assign(store[f"random_{index}"])

    def check(self, data: Any) -> None:
        """Refuses data that cannot be trained on; called before training and evaluation.

        Args:
            data: A batch as `fit` delivers it, of `tf.TensorSpec`s or of NumPy arrays. Here any will do.
        """

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, *args: Any, **kwargs: Any
    ) -> keras.callbacks.History:
        """Trains as `keras.Model.fit`; where `n_critic` is above 1, a step takes that many batches of fresh images.

        Images that do not fill such a step are left out. What `x` holds is looked at before, in arrays all of it,
        otherwise the first batch.

        Args:
            x: What `keras.Model.fit` takes: an array, or what yields batches.
            y: What belongs to each sample of an array.
            batch_size: Samples in a batch of an array; 32 by default.
            *args: As in `keras.Model.fit`.
            **kwargs: Likewise.

        Raises:
            UsageError: For data of another kind than the networks take, arguments that mean nothing for a GAN, and
                callbacks that monitor what a GAN has not.
        """
        self._assert_compile_called("fit")
        given = inspect.signature(keras.Model.fit).bind(self, x, y, batch_size, *args, **kwargs).arguments
        given.pop("self")
        refuse_weights(**{name: given.pop(name, None) for name in ("sample_weight", "class_weight")})
        part, validation = given.pop("validation_split", 0.0), given.get("validation_data")
        if part and validation is None:
            (x, y), validation = split(x, y, part)
        inspection = Inspection(self.check)
        x = inspection(x, y, given.get("steps_per_epoch"), "steps_per_epoch")
        if validation is not None:
            val_x, val_y, weights = keras.utils.unpack_x_y_sample_weight(validation)
            refuse_weights(sample_weight=weights)
            val_x = inspection(val_x, val_y, given.get("validation_steps"), "validation_steps")
            given["validation_data"] = keras.utils.pack_x_y_sample_weight(val_x, val_y)
        if self.n_critic > 1 and not isinstance(x, tf.distribute.DistributedDataset):
            replicas = self.distribute_strategy.num_replicas_in_sync
            x = steps.grouped(as_dataset(x), y, batch_size, given.get("shuffle", True), self.n_critic, replicas)
            # Keras takes the size of a batch of the validation's arrays from that of training.
            given.setdefault("validation_batch_size", batch_size)
            y = given["batch_size"] = None
            given["shuffle"] = False
        given |= {"x": x, "y": y, "callbacks": adapted(given.get("callbacks"), self._scores)}
        begin = self.step
        with _first_error(inspection):
            history = super().fit(**given)
        if history.epoch and self.step == begin:
            raise UsageError("There is no batch to take: the data are empty.")
        self.optimizer.finalize_variable_values()
        self.calibrate()
        return history

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Makes a step, as `keras.Model.train_on_batch`; `x` then holds `n_critic` batches, one after the other.

        Raises:
            UsageError: As `fit`, and for samples that are no such number of equal batches.
        """
        refuse_weights(sample_weight=sample_weight, class_weight=class_weight)
        Inspection(self.check)(x, y, None, "")
        num = len(keras.tree.flatten(x)[0])
        if num % self.batches_a_step:
            raise UsageError(f"A step takes n_critic={self.n_critic} batches of equal size. Received: {num} samples")
        return super().train_on_batch(x, y, return_dict=return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Returns the losses on a batch, as `keras.Model.test_on_batch`.

        Raises:
            UsageError: As `fit`.
        """
        refuse_weights(sample_weight=sample_weight)
        Inspection(self.check)(x, y, None, "")
        return super().test_on_batch(x, y, return_dict=return_dict)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing: all is built. Under a strategy Keras 3.15 would take a batch from training for it."""

    def make_train_function(self, force: bool = False) -> Any:
        self._prepare()
        return super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> Any:
        self._prepare()
        return super().make_test_function(force)

    def _prepare(self):
        """Lets terms load what they need: as the first thing, and not on each replica."""
        with self.distribute_strategy.scope():
            for term in self.terms:
                term.prepare()

    # The step.

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Updates the discriminator `n_critic` times, then the generator, then the EMA generator."""
        g_player, d_player = self._g_player, self._d_player
        call_hooks(self.generator, "begin_update")
        for index in range(self.batches_a_step):
            update = self.iterations * self.batches_a_step + index
            real, condition = self.unpack(steps.minibatch(data, index, self.batches_a_step))
            parts = self._parts(real, condition, self._seed("latents", update))
            if not self.n_critic:
                break

            call_hooks(self.discriminator, "begin_update")
            rounds = [functools.partial(self._judge_round, part) for part in parts]
            d_player.update(rounds, self.iterations, update, self._seed, self._track)

        rounds = [functools.partial(self._generate_round, part) for part in parts]
        g_player.update(rounds, self.iterations, self.iterations, self._seed, self._track)

        call_hooks(self.generator, "end_update")
        self.iterations.assign_add(1)
        move_average(self.ema_generator, self.generator, self._ema_decay(real))
        return self.get_metrics_result()

    def _judge_round(self, part):
        _, play = part.played()
        constant = self.shown(play)
        with tf.GradientTape() as tape:
            loss = self._d_player.scaled(self.discriminator_loss(constant))
        return tape, loss, constant

    def _generate_round(self, part):
        tape, play = part.played()
        with tape:
            loss = self._g_player.scaled(self.generator_loss(play) + sum(self.generator.losses))
        return tape, loss, play

    def _parts(self, real, condition, seed):
        """Returns the `Part`s of a batch that go through the networks one after the other."""
        num = self.accumulate
        if num == 1:
            return [Part(lambda: self.play(real, condition, seed), shared=True)]
        size = keras.tree.flatten(real)[0].shape[0]
        if size is not None and size % num:
            raise UsageError(
                f"`accumulate={num}` must divide the batch that a device takes. Received: a batch of {size} samples"
            )
        parts = [keras.tree.map_structure(lambda x, i=i: tf.split(x, num)[i], (real, condition)) for i in range(num)]
        return [Part(functools.partial(self.play, real, condition, seed), shared=False) for real, condition in parts]

    def play(self, real: Any, condition: tuple[tf.Tensor, ...], seed: tf.Tensor, training: bool = True) -> Play:
        """Generates one fake for each real sample; returns the `tfgan_app.terms.Play` of it.

        Args:
            real: What `unpack` returned as such.
            condition: What it returned beside.
            seed: An int64 tensor of two elements.
            training: Whether to use the generator as in training; else the EMA generator.
        """
        generator = self.generator if training else self.ema_generator
        inputs = self.draw(real, condition, seed)
        outputs = apply(generator, inputs, training=training)
        target = self.target_of(real)
        real, fake = self.judged(real, inputs, outputs)
        discriminate = functools.partial(self.discriminate, training=training)
        own = stream(seed, "play") if training else None
        return Play(real, fake, condition, inputs, outputs, generator, discriminate, training, own, target)

    def discriminator_loss(self, play: Play) -> tf.Tensor:
        """Returns the discriminator's loss but for terms with a tape of their own; tracks it with D(x) and D(G(z))."""
        if self.joint_pass:
            play.know(*self._judge.together(play, gradients=play.training and self._d_player.wants_gradients))
        # The next pass clears what layers add to the loss in this one, by Keras's custom the mean over a batch: of real
        # samples and of fakes, or over both at once.
        real_logits, added = play.real_outputs["logits"], pass_losses(self.discriminator)
        fake_logits = play.fake_outputs["logits"]
        added += added if self.joint_pass else pass_losses(self.discriminator)
        if play.training and self.augment is not None:
            self.augment.update(real_logits)
        loss = _added(self._loss_of(play).discriminator, real_logits, fake_logits)
        self._track(d_loss=loss, d_real=_probability(real_logits), d_fake=_probability(fake_logits))
        loss += sum(added) + sum(self.discriminator._get_regularization_losses())
        return self._d_player.with_terms(loss, play, self.iterations, self._track)

    def generator_loss(self, play: Play) -> tf.Tensor:
        """Returns the generator's loss but for terms with a tape of their own, and tracks it."""
        loss = tf.constant(0.0)
        if self.n_critic:
            real_logits = [play.real_outputs["logits"]] if self.loss.needs_real_logits else []
            loss = _added(self._loss_of(play).generator, play.fake_outputs["logits"], *real_logits)
            self._track(g_loss=loss)
            loss *= value_at(self.adversarial_weight, self.iterations)
        return self._g_player.with_terms(loss, play, self.iterations, self._track)

    def discriminate(self, samples: Any, condition: tuple[tf.Tensor, ...], training: bool = True) -> dict[str, Any]:
        """Returns the discriminator's float32 outputs by name; in training it sees augmented images."""
        return self._judge(samples, condition, training)

    def judge(self, samples: Any, condition: tuple[tf.Tensor, ...], training: bool = True) -> Any:
        """Returns the discriminator's logits, as `discriminate`."""
        return self.discriminate(samples, condition, training)["logits"]

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Updates losses and metrics with a batch of real samples and as many fakes from the EMA generator."""
        real, condition = self.unpack(data)
        play = self.play(real, condition, self._seed("test latents", self._test_batches), training=False)
        if self.n_critic:
            self.discriminator_loss(play)
        self.generator_loss(play)
        seed = self._seed("test", self._test_batches)
        observation = self.observation(real, play.fake, condition, play.inputs, seed)
        for score in self._scores:
            score.observe(observation)
        self._test_batches.assign_add(1)
        return self.get_metrics_result()

    def evaluate(
        self, x: Any = None, y: Any = None, *args: Any, return_dict: bool = False, **kwargs: Any
    ) -> dict[str, float] | list[float]:
        """Returns the losses and metrics on `x`, as `keras.Model.evaluate`.

        Terms with a tape of their own have no part in them. The metrics' results are computed once, here: those such as
        the Frechet distance cost more than a batch.

        A discriminator with batch normalisation judges by its moving averages, which hold two batches of fakes for each
        of real samples: its `d_loss`, `d_real` and `d_fake` are not comparable with those of training, which each batch
        normalises by itself. The metrics do not depend on it.

        Args:
            x: What `keras.Model.evaluate` takes.
            y: What belongs to each sample of an array.
            *args: As in `keras.Model.evaluate`.
            return_dict: Whether to return values by name rather than a list.
            **kwargs: As `args`.

        Raises:
            UsageError: As `fit`.
        """
        self._assert_compile_called("evaluate")
        given = inspect.signature(keras.Model.evaluate).bind(self, x, y, *args, return_dict=True, **kwargs).arguments
        given |= given.pop("kwargs", {})
        given.pop("self")
        refuse_weights(sample_weight=given.pop("sample_weight", None))
        inspection = Inspection(self.check)
        # In `fit` the validation data have been looked at already.
        if not given.get("_use_cached_eval_dataset"):
            given["x"] = inspection(x, y, given.get("steps"), "steps")
        self.calibrate()
        with _first_error(inspection):
            logs = super().evaluate(**given)
        if not self._test_batches.numpy():
            raise UsageError("There is no batch to take: the data are empty.")
        logs = {name: float(value) for name, value in logs.items()}
        for score in self._scores:
            logs.update(score.results())
        return logs if return_dict else [logs[name] for name in self.metrics_names]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [*self._played_trackers(), *self._scores] if self.compiled else []

    def reset_metrics(self) -> None:
        super().reset_metrics()
        # Every evaluation draws the same fakes, so scores differ by the weights alone.
        self._test_batches.assign(0)

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        results = {tracker.name: tracker.result() for tracker in self._played_trackers()}
        strategy = tf.distribute.get_strategy()
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and tf.distribute.get_replica_context():
            # Keras averages over workers along the first axis, which scalars lack.
            results = {name: tf.reshape(value, (1,)) for name, value in results.items()}
        return results

    def _played_trackers(self):
        """Returns the trackers of what there is: where the discriminator rests, of the generator's terms."""
        names = {term.name for term in self.terms if term.player == "generator"}
        return [tracker for tracker in self._loss_trackers if self.n_critic or tracker.name in names]

    def _add_counter(self, name):
        return self.add_weight(name=name, shape=(), dtype="int64", initializer="zeros", trainable=False)

    def _seed(self, name, count):
        """Returns the seed of draw `count` of the model's stream of a name."""
        return stream([tf.constant(self.seed, tf.int64), tf.cast(count, tf.int64)], name)

    def _loss_of(self, play):
        return losses.in_step(self.loss, self.iterations, play.seed)

    def _track(self, **values):
        for tracker in self._loss_trackers:
            if tracker.name in values:
                tracker.update_state(values[tracker.name])

    def _ema_decay(self, real):
        """Returns the weight of the old average after the present step."""
        step = tf.cast(self.iterations, tf.float32)
        if self.ema_half_life is None:
            decay = value_at(self.ema_decay, step)
        else:
            num = tf.shape(keras.tree.flatten(real)[0])[0] * num_replicas()
            decay = 0.5 ** (tf.cast(num, tf.float32) / value_at(self.ema_half_life, step))
        return tf.minimum(decay, (1.0 + step) / (10.0 + step))


def _defaults():
    return {
        "g_optimizer": Adam(2e-4, beta_1=0.5),
        "d_optimizer": Adam(2e-4, beta_1=0.5),
        "loss": losses.NonSaturating(),
        "terms": (),
        "augment": None,
        "n_critic": 1,
        "accumulate": 1,
        "freeze_d": 0,
        "adversarial_weight": 1.0,
        "ema_decay": 0.999,
        "ema_half_life": None,
    }


# Activations after which outputs are no logits: bounded, or of one sign.
_SQUASHING = frozenset({"sigmoid", "hard_sigmoid", "hardsigmoid", "softmax", "tanh", "relu", "relu6", "softplus"})


def _check_compile(terms, augment, metrics, others):
    """Refuses what `keras.Model.compile` takes and a GAN does not; takes what changes nothing from `others`."""
    if others.pop("optimizer", None) is not None:
        raise UsageError(
            "A GAN has two players with an optimizer each: write `compile(g_optimizer=..., d_optimizer=...)`. "
            "Received: `optimizer`"
        )
    if others.pop("loss_weights", None) is not None:
        raise UsageError(
            "`loss_weights` means nothing for a GAN, whose players have a loss each. Give terms their weight: "
            "`compile(terms=[tfgan_app.terms.R1(weight=5.0)])`."
        )
    wanted = (
        "Write `compile(metrics=[tfgan_app.metrics.FrechetDistance(...)])`; `d_real` and `d_fake` are logged anyway."
    )
    if others.pop("weighted_metrics", None):
        raise UsageError(f"`weighted_metrics` means nothing for a GAN, whose samples have no weights. {wanted}")
    if not others.pop("auto_scale_loss", True):
        raise UsageError("`auto_scale_loss` must be True: float16 gradients of a GAN vanish without a loss scale.")
    for metric in metrics if isinstance(metrics, Sequence) and not isinstance(metrics, str) else [metrics or ()]:
        if metric != () and not (hasattr(metric, "observe") and hasattr(metric, "results")):
            raise UsageError(
                "`metrics` must be a list of tfgan_app.metrics.ImageMetric, which compare fakes with real images, not "
                f"predictions with labels. {wanted} Received: {metric!r}"
            )
    if terms is not None and not (isinstance(terms, Sequence) and all(isinstance(term, Term) for term in terms)):
        raise UsageError(f"`terms` must be a list of tfgan_app.terms.Term. Received: {terms!r}")
    if augment and not callable(augment):
        raise UsageError(
            f"`augment` must be a layer such as tfgan_app.augment.DiffAugment(), or False. Received: {augment!r}"
        )


def _freeze(discriminator, num):
    """Freezes the layers nearest the images, which Keras has first."""
    layers = [layer for layer in discriminator.layers if layer.weights]
    if num != int(num) or not 0 <= num < max(len(layers), 1):
        raise UsageError(
            f"`freeze_d` must be an integer from 0 to {len(layers) - 1}, as the discriminator has {len(layers)} layers "
            f"with weights. Received: freeze_d={num}"
        )
    for layer in layers[: int(num)]:
        layer.trainable = False


def _named(given):
    """Returns optimizers by the names of their arguments, by which callbacks log rates and variables are told apart."""
    optimizers = {name: keras.optimizers.get(optimizer) for name, optimizer in given.items()}
    for name, optimizer in optimizers.items():
        getattr(optimizer, "inner_optimizer", optimizer).name = name
    return optimizers.values()


@contextlib.contextmanager
def _first_error(inspection):
    """Raises what an inspection found in a dataset's own thread, of which TensorFlow tells in its own words."""
    try:
        yield
    except tf.errors.OpError:
        if inspection.error is None:
            raise
        raise inspection.error from None


def _added(loss, *logits):
    """Returns the sum of a loss over the leaves of logits, which are one tensor or trees of equal structure."""
    parts = zip(*map(keras.tree.flatten, logits), strict=True)
    return functools.reduce(operator.add, [loss(*part) for part in parts])


def _probability(logits):
    parts = [tf.sigmoid(x) for x in keras.tree.flatten(logits)]
    return parts[0] if len(parts) == 1 else tf.concat([tf.reshape(x, (-1,)) for x in parts], axis=0)
