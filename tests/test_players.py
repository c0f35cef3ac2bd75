"""Players of several networks, samples that are trees, and terms of one's own, against steps written by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import assert_all_close, train, values
from keras import layers

import tfgan_app as tg
from tfgan_app.base.latents import draw_latents
from tfgan_app.base.randomness import stream

RATE = 0.1


def cross_entropy(logits, label):
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(label * tf.ones_like(logits), logits))


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def optimizers():
    return {"g_optimizer": keras.optimizers.SGD(RATE), "d_optimizer": keras.optimizers.SGD(RATE)}


def descend(variables, loss):
    """Updates variables by the gradients of a function."""
    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, [variable.value for variable in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        variable.assign(variable - RATE * gradient)
    return float(value)


def copy_of(network):
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy


def dense_network(inputs, units, name):
    """A network of one hidden layer that maps vectors, concatenated, to a vector."""
    tensors = [keras.Input((size,), name=key) for key, size in inputs.items()]
    x = layers.Concatenate()(tensors) if len(tensors) > 1 else tensors[0]
    outputs = layers.Dense(units)(layers.Dense(5, activation="tanh")(x))
    return keras.Model(tensors if len(tensors) > 1 else tensors[0], outputs, name=name)


# A pair: the generator is given the source, and an L1 term holds it to the target.


class L1(tg.terms.Term):
    name, player = "l1", "generator"

    def __call__(self, play):
        return tf.reduce_mean(tf.abs(play.fake - play.real))


class Translation(tg.AdversarialModel):
    def unpack(self, data):
        source, target = data
        return target, (source,)

    def draw(self, real, condition, seed):
        return list(condition)


def test_an_l1_term_on_pairs():
    keras.utils.set_random_seed(1)
    gan = Translation(
        dense_network({"source": 4}, 3, "generator"), dense_network({"target": 3, "source": 4}, 1, "critic")
    )
    gan.compile(terms=[L1(weight=2.0)], **optimizers())
    g, d = copy_of(gan.generator), copy_of(gan.discriminator)
    source, target = random(12, 4), random(12, 3, seed=1)
    history = train(gan, source, target).history

    losses = []
    for x, y in zip(tf.split(source, 3), tf.split(target, 3), strict=True):
        fake = g(x)
        descend(
            d.trainable_variables,
            lambda x=x, y=y, fake=fake: cross_entropy(d([y, x]), 0.9) + cross_entropy(d([fake, x]), 0.0),
        )
        losses.append(float(tf.reduce_mean(tf.abs(g(x) - y))))
        descend(
            g.trainable_variables,
            lambda x=x, y=y: cross_entropy(d([g(x), x]), 1.0) + 2.0 * tf.reduce_mean(tf.abs(g(x) - y)),
        )
    assert_all_close(values(gan.generator, gan.discriminator), values(g, d), 1e-6)
    np.testing.assert_allclose(history["l1"], [2.0 * np.mean(losses)], rtol=1e-5)


def test_what_terms_add_stands_in_evaluation_too():
    keras.utils.set_random_seed(1)
    gan = Translation(
        dense_network({"source": 4}, 3, "generator"), dense_network({"target": 3, "source": 4}, 1, "critic")
    )
    gan.compile(terms=[L1()])
    source, target = random(8, 4), random(8, 3, seed=1)
    logs = gan.evaluate(source, target, batch_size=4, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["l1"], np.mean(np.abs(gan.ema_generator(source) - target)), rtol=1e-5)


# Two sides: a generator each way, a critic each, and cycles.


class Cycle(tg.terms.Term):
    name, player = "cycle", "generator"

    def __call__(self, play):
        return sum(tf.reduce_mean(tf.abs(play.outputs[f"cycled_{side}"] - play.real[side])) for side in "ab")


class TwoSides(tg.AdversarialModel):
    def __init__(self, to_b, to_a, critic_a, critic_b, **kwargs):
        a, b = (keras.Input((3,), name=side) for side in "ab")
        fake_b, fake_a = to_b(a), to_a(b)
        outputs = {"a": fake_a, "b": fake_b, "cycled_a": to_a(fake_b), "cycled_b": to_b(fake_a)}
        logits = {"a": critic_a(a), "b": critic_b(b)}
        super().__init__(
            keras.Model({"a": a, "b": b}, outputs, name="generators"),
            keras.Model({"a": a, "b": b}, {"logits": logits}, name="critics"),
            **kwargs,
        )

    def unpack(self, data):
        a, b = data
        return {"a": a, "b": b}, ()

    def draw(self, real, condition, seed):
        return [real["a"], real["b"]]

    def judged(self, real, inputs, outputs):
        return real, {side: outputs[side] for side in "ab"}


@pytest.mark.parametrize("joint_pass", [False, True])
@pytest.mark.parametrize("n_critic", [1, 2])
def test_two_generators_with_cycles_and_two_critics(joint_pass, n_critic):
    keras.utils.set_random_seed(2)
    networks = [dense_network({"x": 3}, 3, "to_b"), dense_network({"x": 3}, 3, "to_a")]
    critics = [dense_network({"x": 3}, 1, "critic_a"), dense_network({"x": 3}, 1, "critic_b")]
    to_b, to_a, d_a, d_b = map(copy_of, [*networks, *critics])
    gan = TwoSides(*networks, *critics)
    gan.joint_pass = joint_pass
    gan.compile(loss=tg.losses.LeastSquares(), terms=[Cycle(weight=10.0)], n_critic=n_critic, **optimizers())
    a, b = random(8 * n_critic, 3), 0.5 + random(8 * n_critic, 3, seed=1)
    history = train(gan, a, b).history

    def squared(logits, label):
        return 0.5 * tf.reduce_mean(tf.square(logits - label))

    cycles = []
    for step in range(2):
        for index in range(n_critic):
            batch = slice(4 * (step * n_critic + index), 4 * (step * n_critic + index + 1))
            x, y = a[batch], b[batch]
            fake_a, fake_b = to_a(y), to_b(x)
            descend(
                d_a.trainable_variables + d_b.trainable_variables,
                lambda x=x, y=y, fa=fake_a, fb=fake_b: (
                    squared(d_a(x), 1.0) + squared(d_a(fa), 0.0) + squared(d_b(y), 1.0) + squared(d_b(fb), 0.0)
                ),
            )

        def cycle(x=x, y=y):
            return tf.reduce_mean(tf.abs(to_a(to_b(x)) - x)) + tf.reduce_mean(tf.abs(to_b(to_a(y)) - y))

        cycles.append(float(cycle()))
        descend(
            to_b.trainable_variables + to_a.trainable_variables,
            lambda x=x, y=y, cycle=cycle: squared(d_a(to_a(y)), 1.0) + squared(d_b(to_b(x)), 1.0) + 10.0 * cycle(),
        )
    assert_all_close(values(*networks, *critics), values(to_b, to_a, d_a, d_b), 1e-6)
    np.testing.assert_allclose(history["cycle"], [10.0 * np.mean(cycles)], rtol=1e-5)


def test_penalties_reach_every_leaf_of_a_sample():
    keras.utils.set_random_seed(2)
    networks = [dense_network({"x": 3}, 3, name) for name in ("to_b", "to_a")]
    critics = [dense_network({"x": 3}, 1, name) for name in ("critic_a", "critic_b")]
    gan = TwoSides(*networks, *critics)
    gan.compile(terms=[tg.terms.R1(weight=1.0), tg.terms.GradientPenalty()], g_optimizer="sgd", d_optimizer="sgd")
    a, b = random(4, 3), random(4, 3, seed=1)
    expected = 0.0
    for critic, x in zip(critics, map(tf.constant, (a, b)), strict=True):
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = tf.reduce_sum(critic(x))
        expected += tf.reduce_mean(tf.reduce_sum(tf.square(tape.gradient(logits, x)), axis=1))
    # Measured after the critic's update by the very gradients that precede it, so with a rate of 0.
    gan.d_optimizer.learning_rate = 0.0
    logs = train(gan, a, b).history
    np.testing.assert_allclose(logs["r1"], [expected], rtol=1e-5)
    assert np.isfinite(logs["gradient_penalty"]).all()


# What is real depends on a player: an encoder beside the generator.


class Swapped(tg.losses.NonSaturating):
    """Both networks of the generator's player want D to be wrong of real pairs and of generated ones."""

    needs_real_logits = True

    def generator(self, fake_logits, real_logits=None):
        return cross_entropy(fake_logits, 1.0) + cross_entropy(real_logits, 0.0)


class Bidirectional(tg.AdversarialModel):
    """D judges a sample with its code: (x, E(x)) against (G(z), z)."""

    def __init__(self, decoder, encoder, discriminator, **kwargs):
        z, x = keras.Input((2,), name="codes"), keras.Input((3,), name="data")
        player = keras.Model({"codes": z, "data": x}, {"data": decoder(z), "codes": encoder(x)}, name="generator")
        super().__init__(player, discriminator, **kwargs)

    def unpack(self, data):
        return keras.utils.unpack_x_y_sample_weight(data)[0], ()

    def draw(self, real, condition, seed):
        return [draw_latents(tf.shape(real)[0], 2, seed), real]

    def judged(self, real, inputs, outputs):
        codes, data = inputs
        return {"data": data, "codes": outputs["codes"]}, {"data": outputs["data"], "codes": codes}


def test_an_encoder_learns_through_what_is_real():
    keras.utils.set_random_seed(3)
    decoder, encoder = dense_network({"z": 2}, 3, "decoder"), dense_network({"x": 3}, 2, "encoder")
    judge = dense_network({"codes": 2, "data": 3}, 1, "discriminator")
    g, e, d = map(copy_of, (decoder, encoder, judge))
    gan = Bidirectional(decoder, encoder, judge, seed=7)
    gan.compile(loss=Swapped(1.0), **optimizers())
    data = random(8, 3)
    before = values(encoder)
    train(gan, data)

    for step, x in enumerate(tf.split(data, 2)):
        z = draw_latents(4, 2, stream((7, step), "latents"))
        code, fake = e(x), g(z)
        descend(
            d.trainable_variables,
            lambda x=x, z=z, code=code, fake=fake: cross_entropy(d([code, x]), 1.0) + cross_entropy(d([z, fake]), 0.0),
        )
        descend(
            g.trainable_variables + e.trainable_variables,
            lambda x=x, z=z: cross_entropy(d([z, g(z)]), 1.0) + cross_entropy(d([e(x), x]), 0.0),
        )
    assert all(np.any(old != new) for old, new in zip(before, values(encoder), strict=True))
    assert_all_close(values(decoder, encoder, judge), values(g, e, d), 1e-6)


# Lazy terms: steps of their own.


class Smooth(tg.terms.R1):
    """R1 of a discriminator without a condition, on the generator's fakes, of another name."""

    name = "smooth"

    def __call__(self, play):
        return tf.reduce_mean(tf.square(play.judge(play.fake)))


class Small(tg.terms.Term):
    """The mean square of the fakes."""

    name, player, own_tape = "small", "generator", True

    def __call__(self, play):
        return tf.reduce_mean(tf.square(play.generator(play.inputs[0], training=True)))


def adam():
    return tg.optimizers.Adam(RATE, beta_1=0.5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_lazy_terms_are_steps_of_their_own_after_the_updates(jit_compile):
    keras.utils.set_random_seed(4)
    networks = dense_network({"z": 2}, 3, "generator"), dense_network({"x": 3}, 1, "discriminator")
    g, d = map(copy_of, networks)
    gan = tg.GAN(*networks, seed=7)
    # Two discriminator terms due together share a step; the third has another interval.
    lazy = [tg.terms.R1(0.5, interval=2), Smooth(0.3, interval=2), tg.terms.R2(0.7, interval=3)]
    gan.compile(
        loss=tg.losses.LeastSquares(),
        terms=[*lazy, Small(0.2, interval=2)],
        n_critic=2,
        jit_compile=jit_compile,
        g_optimizer=adam(),
        d_optimizer=adam(),
    )
    data = random(8 * 3, 3)
    train(gan, data)
    optimizers = [adam(), adam()]
    for optimizer, network in zip(optimizers, (g, d), strict=True):
        optimizer.build(network.trainable_variables)

    def minimise(player, loss):
        variables = (g, d)[player].trainable_variables
        with tf.GradientTape() as tape:
            value = loss()
        gradients = tape.gradient(value, [variable.value for variable in variables])
        nothing = [tf.zeros(variable.shape) for variable in variables]
        found = [zero if x is None else x for x, zero in zip(gradients, nothing, strict=True)]
        optimizers[player].apply(found, variables)

    def squared_gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = tf.reduce_sum(d(x))
        return tf.reduce_mean(tf.reduce_sum(tf.square(tape.gradient(logits, x)), axis=1))

    def squared(x, label=0.0):
        return tf.reduce_mean(tf.square(x - label))

    for update, x in enumerate(tf.split(data, 6)):
        z = draw_latents(4, 2, stream((7, update), "latents"))
        fake = g(z)
        minimise(1, lambda x=x, fake=fake: 0.5 * squared(d(x), 1.0) + 0.5 * squared(d(fake)))
        if update % 2 == 0:
            minimise(1, lambda x=x, fake=fake: 2 * (0.5 * squared_gradient(x) + 0.3 * squared(d(fake))))
        if update % 3 == 0:
            minimise(1, lambda fake=fake: 3 * 0.7 * squared_gradient(fake))
        step, last = divmod(update, 2)
        if last:
            minimise(0, lambda z=z: 0.5 * squared(d(g(z)), 1.0))
            if step % 2 == 0:
                minimise(0, lambda z=z: 2 * 0.2 * squared(g(z)))
    assert_all_close(values(*networks), values(g, d), 1e-5)
    steps = tuple(int(optimizer.iterations) for optimizer in (gan.g_optimizer, gan.d_optimizer))
    assert steps == gan.optimizer_steps(3) == (3 + 2, 6 + 3 + 2)


# Messages.


class Nameless(L1):
    player = "both"


def test_a_term_must_belong_to_a_player():
    gan = Translation(
        dense_network({"source": 4}, 3, "generator"), dense_network({"target": 3, "source": 4}, 1, "critic")
    )
    with pytest.raises(ValueError, match=r"`player` of l1 must be generator or discriminator. Received: both"):
        gan.compile(terms=[Nameless()])


def test_a_term_without_a_tape_of_its_own_is_part_of_every_update():
    with pytest.raises(ValueError, match=r"`interval` must be 1: L1 is part of every update. Received: interval=2"):
        L1(interval=2)


def test_a_term_must_say_what_it_is():
    with pytest.raises(NotImplementedError, match="Term must define `__call__`"):
        tg.terms.Term()(None)
