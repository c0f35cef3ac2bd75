"""The two players of the step: a network with its optimizer and terms, and the judge that the discriminator is."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfgan_app.base.networks import apply, in_float32
from tfgan_app.base.replicas import call_where, num_parts, num_replicas, part
from tfgan_app.schedules import value_at
from tfgan_app.terms import Play, Term, total_of

__all__ = ["Judge", "Optimizers", "Part", "Player"]

# Plays a part of a batch for one player; see `Player.update`.
Round = Callable[[], tuple[tf.GradientTape, tf.Tensor, Play]]


class Part:
    """One of the equal parts of a batch, and the fakes that are played on it.

    Where a batch is one part, both players share its fakes, and the generator's tape is entered again. Of several,
    each player has them drawn anew from the same inputs: the generator has not changed, and memory holds one part.

    Args:
        play: Draws and generates; returns the record of the step.
        shared: Whether the batch is one part.
    """

    def __init__(self, play: Callable[[], Play], shared: bool):
        self._play = play
        self._shared = self._record() if shared else None

    def played(self) -> tuple[tf.GradientTape, Play]:
        """Returns the record of the step, and the tape that saw the generator."""
        return self._shared or self._record()

    def _record(self):
        with tf.GradientTape() as tape:
            play = self._play()
        return tape, play


class Player:
    """A network, the optimizer that updates it, and its terms.

    Args:
        name: "generator" or "discriminator".
        network: What it plays with.
        optimizer: An optimizer, its name or its config. Where the network computes in float16 it gets a loss scale.
        terms: The terms of both players; this one's are kept.
        by_itself: Whether the network judges each sample by itself, so that its pass can give samples' gradients.

    Raises:
        ValueError: For float16 on several devices.
    """

    def __init__(self, name: str, network: keras.Model, optimizer: Any, terms: Iterable[Term], by_itself: bool = False):
        self.network = network
        self.optimizer = _prepared(optimizer, network, name)
        self.terms = [term for term in terms if term.player == name]
        in_float16 = any(layer.compute_dtype == "float16" for layer in network._flatten_layers())
        self._in_pass = by_itself and not in_float16

    @property
    def wants_gradients(self) -> bool:
        """Whether there are terms that the pass can give samples' gradients to."""
        return any(term.own_tape and not self._has_own_tape(term) for term in self.terms)

    def _has_own_tape(self, term):
        return term.own_tape and not (self._in_pass and term.in_pass and term.interval == 1)

    def scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns what to take the gradients of, which are added up: over replicas by Keras, over parts by `update`."""
        return self.optimizer.scale_loss(loss / (num_replicas() * num_parts()))

    def with_terms(self, loss: tf.Tensor, play: Play, step: tf.Tensor, track: Callable[..., None]) -> tf.Tensor:
        """Returns a loss with those terms added that share its tape, and tracks them by their names."""
        for term in self.terms:
            # Penalties have no part in an evaluation.
            if not self._has_own_tape(term) and (play.training or not term.own_tape):
                value = value_at(term.weight, step) * term(play)
                track(**{term.name: value})
                loss += value
        return loss

    def update(
        self,
        rounds: Sequence[Round],
        step: tf.Tensor,
        update: tf.Tensor,
        seed: Callable[[str, tf.Tensor], tf.Tensor],
        track: Callable[..., None],
    ) -> None:
        """Updates the network once by the gradients of losses, and by the terms with tapes of their own.

        Those of every update join the loss's step of the optimizer. Lazy ones, those with an interval, take steps of
        their own after it, where they are due, so from the weights that it led to; those of one interval share a step.

        Args:
            rounds: One for each part of the batch: plays it, and returns a tape, on which it recorded the loss that it
                returns as `scaled` made it, and the record of the step.
            step: The generator's updates made so far, by which weights go.
            update: This player's, by which seeds and intervals go.
            seed: Returns a term's seed for its name and the update.
            track: Called with a term's value by its name.
        """
        plays: list[Play] = []
        totals: list[Any] = []
        for index, play_part in enumerate(rounds):
            # A part begins when the gradients of the one before are there, so memory need not hold both.
            with part(index, len(rounds)), tf.control_dependencies([x for x in totals if x is not None]):
                tape, loss, play = play_part()
                found = [totals] if totals else []
                for term in self.terms:
                    if self._has_own_tape(term) and term.interval == 1:
                        value, gradients = self._evaluated(play, step, term, seed(term.name, update))
                        track(**{term.name: value})
                        found.append(gradients)
                own = tape.gradient(loss, self.network.trainable_variables)
                totals = _sum([own if len(rounds) == 1 else _dense(own), *found])
                plays.append(play)
        self._apply(totals)
        for interval, terms in self._lazy_terms().items():
            # `seed` makes tensors, which must not be made in a branch and used outside of it.
            seeds = [seed(term.name, update) for term in terms]

            def due_now(terms=terms, seeds=seeds):
                return self._evaluated_together(plays, step, terms, seeds)

            def rest(terms=terms):
                return [tf.constant(0.0)] * len(terms), self._zeros()

            # The branch takes the gradients too: what a tape records across one, XLA compiles anew at each step, or not
            # at all.
            due = update % interval == 0
            values, gradients = tf.cond(due, due_now, rest)
            call_where(due, self._apply, gradients)
            for term, value in zip(terms, values, strict=True):
                track(**{term.name: value})

    def optimizer_steps(self, updates: int) -> int:
        """Returns how many steps the optimizer takes in the first updates, those of lazy terms included."""
        return updates + sum(-(-updates // interval) for interval in self._lazy_terms())

    def _lazy_terms(self) -> dict[int, list[Term]]:
        found: dict[int, list[Term]] = {}
        for term in self.terms:
            if term.interval > 1:
                found.setdefault(term.interval, []).append(term)
        return found

    def _evaluated_together(self, plays, step, terms, seeds):
        """Returns the terms' values, means over the parts of a batch, and the sum of all gradients."""
        values: list[list[tf.Tensor]] = []
        totals: list[tf.Tensor] = []
        for index, play in enumerate(plays):
            with part(index, len(plays)), tf.control_dependencies(totals):
                pairs = [self._evaluated(play, step, term, own) for term, own in zip(terms, seeds, strict=True)]
                totals = _sum([*([totals] if totals else []), *(gradients for _, gradients in pairs)])
            values.append([value for value, _ in pairs])
        return [sum(each) / len(plays) for each in zip(*values, strict=True)], totals

    def _evaluated(self, play, step, term, seed):
        """Returns a term's value, weighted, and the gradients of what `scaled` makes of it."""
        # `replace` drops outputs that are computed already, so that the term computes its own on its own tape.
        play = dataclasses.replace(play, seed=seed)
        variables = self.network.trainable_variables
        with in_float32(self.network), tf.GradientTape() as tape:
            value = term.interval * value_at(term.weight, step) * term(play)
            scaled = self.scaled(value)
        pairs = zip(tape.gradient(scaled, variables), self._zeros(), strict=True)
        return value, [zero if gradient is None else tf.convert_to_tensor(gradient) for gradient, zero in pairs]

    def _zeros(self):
        return [tf.zeros(variable.shape, variable.dtype) for variable in self.network.trainable_variables]

    def _apply(self, gradients):
        # Every update waits for all gradients, or updates are lost: Keras joins them in one operation, TensorFlow drops
        # the order of a variable's reads and updates as that operation implies it, and then takes the operation apart.
        with tf.control_dependencies([gradient for gradient in gradients if gradient is not None]):
            gradients = [None if gradient is None else tf.identity(gradient) for gradient in gradients]
        self.optimizer.apply(gradients, self.network.trainable_variables)


class Optimizers:
    """The optimizers of the players, as Keras's callbacks know several at `model.optimizer`.

    They read and set the learning rate of each: `ReduceLROnPlateau` multiplies both by its factor, so that the rates
    keep their ratio. The class has no part in the step, and holds nothing that is saved.

    Args:
        players: The players, the generator first.
        iterations: The generator's updates made so far, a variable.
    """

    built = True

    def __init__(self, players: Sequence[Player], iterations: keras.Variable):
        self.iterations = iterations
        self._players = tuple(players)

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """Each optimizer, without the loss scale around it."""
        found = [getattr(player.optimizer, "inner_optimizer", player.optimizer) for player in self._players]
        return [one for outer in found for one in getattr(outer, "optimizers", [outer])]

    @property
    def variables(self) -> list[keras.Variable]:
        return [variable for player in self._players for variable in player.optimizer.variables]

    @property
    def learning_rate(self) -> float:
        raise AttributeError(_TWO_RATES)

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        raise AttributeError(_TWO_RATES)

    def finalize_variable_values(self) -> None:
        """Gives networks their averages at the end of training, where an optimizer has `use_ema`, as Keras does."""
        for player in self._players:
            player.optimizer.finalize_variable_values(player.network.trainable_variables)


_TWO_RATES = "A GAN has two learning rates: `gan.g_optimizer.learning_rate` and `gan.d_optimizer.learning_rate`."


class Judge:
    """A discriminator behind an augmentation, if there is one: samples to its float32 outputs by name.

    Args:
        discriminator: Returns logits, or a dict with such `logits` among them.
        augment: A layer that its samples, each leaf of a tree, pass through in training, or None.
    """

    def __init__(self, discriminator: keras.Model, augment: Callable | None):
        self.discriminator, self.augment = discriminator, augment

    def __call__(self, samples: Any, condition: tuple[tf.Tensor, ...], training: bool = True) -> dict[str, Any]:
        """Returns the outputs for samples, a tensor or a tree of them."""
        return self._outputs(self._augmented(samples, training), condition, training)

    def together(self, play: Play, gradients: bool = False) -> tuple[Any, ...]:
        """Returns the outputs for a step's real samples and for its fakes, in one pass.

        Args:
            play: The record of the step.
            gradients: Whether to return those of the logits at both sides' samples, too, as a pair.
        """
        sides = play.real, play.fake
        if not gradients:
            return _halves(self._jointly(sides, play))
        with tf.GradientTape() as tape:
            tape.watch(sides)
            outputs = self._jointly(sides, play)
            # Each logit depends on its own sample alone.
            total = total_of(outputs["logits"])
        return (*_halves(outputs), tape.gradient(total, sides))

    def _jointly(self, sides, play):
        shown = [self._augmented(samples, play.training) for samples in sides]
        samples = keras.tree.map_structure(lambda *parts: tf.concat(parts, axis=0), *shown)
        condition = tuple(tf.concat([part, part], axis=0) for part in play.condition)
        return self._outputs(samples, condition, play.training)

    def _augmented(self, samples, training):
        if not training or self.augment is None:
            return samples
        return keras.tree.map_structure(self.augment, samples)

    def _outputs(self, samples, condition, training):
        # Some discriminators have no input for the condition: they predict it, or do without.
        inputs = [*keras.tree.flatten(samples), *condition][: len(self.discriminator.inputs)]
        outputs = apply(self.discriminator, inputs, training)
        outputs = outputs if isinstance(outputs, dict) else {"logits": outputs}
        return keras.tree.map_structure(lambda x: tf.cast(x, tf.float32), outputs)


def _halves(outputs):
    return tuple(keras.tree.map_structure(lambda x, side=side: tf.split(x, 2)[side], outputs) for side in range(2))


def _sum(parts):
    """Adds lists of gradients up, in which None stands for none."""
    total, *rest = parts
    for other in rest:
        total = [_added(*pair) for pair in zip(total, other, strict=True)]
    return total


def _added(a, b):
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _dense(gradients):
    """Makes tensors of gradients of rows alone, as embeddings have them: only these add up."""
    return [x if x is None else tf.convert_to_tensor(x) for x in gradients]


def _prepared(optimizer, network, name):
    """Returns the optimizer with its slots built and, where the network computes in float16, with loss scaling."""
    optimizer = keras.optimizers.get(optimizer)
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if not scaled and any(layer.compute_dtype == "float16" for layer in network._flatten_layers()):
        optimizer, scaled = keras.optimizers.LossScaleOptimizer(optimizer, name=f"{name}_loss_scale"), True
    if scaled and num_replicas() > 1:
        # Measured with Keras 3.15: an overflow on one replica goes unnoticed, and NaN reaches every weight.
        raise ValueError(
            "float16 trains on one device: its loss scale does not hear of another replica's overflow. Take bfloat16 "
            "(`mixed_precision=bfloat16`) or float32 (`mixed_precision=none`)."
        )
    # Keras leaves unbuilt slots out when it saves the model.
    optimizer.build(network.trainable_variables)
    return optimizer
