"""tfgan_app.terms: closed forms, second-order gradients, schedules, and the step that adds them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SHAPE, play, random_images, tiny_gan, tiny_networks, train, values

from tfgan_app import terms
from tfgan_app.base.networks import in_float32
from tfgan_app.base.randomness import stream, uniform

NAMES = [name for name in terms.__all__ if name not in ("Play", "Term")]
SEED = tf.constant([1, 2], tf.int64)
REAL, FAKE = (tf.constant(random_images(5, seed=seed)) for seed in (0, 1))
WEIGHTS = np.random.default_rng(3).normal(size=64).astype(np.float32)


def linear(images, condition):
    return tf.matmul(tf.reshape(images, (-1, 64)), WEIGHTS[:, None])


def quadratic(images, condition):
    """A critic of gradient x."""
    return 0.5 * tf.reduce_sum(tf.square(images), axis=(1, 2, 3))


@pytest.mark.parametrize("name", ["GradientPenalty", "DRAGAN"])
def test_one_centred_penalties_of_a_linear_critic(name):
    value = getattr(terms, name)()(play(linear, REAL, FAKE, SEED))
    np.testing.assert_allclose(value, (np.linalg.norm(WEIGHTS) - 1) ** 2, rtol=1e-5)


@pytest.mark.parametrize("name", ["R1", "R2", "ZeroCentered"])
def test_zero_centred_penalties_of_a_linear_critic(name):
    value = getattr(terms, name)()(play(linear, REAL, FAKE, SEED))
    np.testing.assert_allclose(value, np.sum(WEIGHTS**2), rtol=1e-5)


def test_where_the_gradient_is_taken():
    def squares(x):
        return np.sum(np.square(x), axis=(1, 2, 3))

    np.testing.assert_allclose(terms.R1()(play(quadratic, REAL, FAKE, SEED)), squares(REAL).mean(), rtol=1e-5)
    np.testing.assert_allclose(terms.R2()(play(quadratic, REAL, FAKE, SEED)), squares(FAKE).mean(), rtol=1e-5)
    # Between real and fake, uniformly: the same share for all pixels of an image, another for each image.
    mix = uniform((5, 1, 1, 1), SEED)
    points = squares(REAL + mix * (FAKE - REAL))
    np.testing.assert_allclose(terms.ZeroCentered()(play(quadratic, REAL, FAKE, SEED)), points.mean(), rtol=1e-5)
    expected = np.mean((np.sqrt(points) - 1) ** 2)
    np.testing.assert_allclose(terms.GradientPenalty()(play(quadratic, REAL, FAKE, SEED)), expected, rtol=1e-5)
    # Above the real image by up to half the batch's standard deviation, times the image's share of that way.
    noise = 0.5 * np.std(REAL) * uniform(REAL.shape, stream(SEED, "noise"))
    expected = np.mean((np.sqrt(squares(REAL + mix * noise)) - 1) ** 2)
    np.testing.assert_allclose(terms.DRAGAN()(play(quadratic, REAL, FAKE, SEED)), expected, rtol=1e-5)


def test_the_mix_is_uniform():
    mixes = []

    def record(images, condition):
        mixes.append(np.array(images)[:, 0, 0, 0])
        return linear(images, condition)

    real, fake = tf.zeros((4000, *SHAPE)), tf.ones((4000, *SHAPE))
    terms.GradientPenalty()(play(record, real, fake, SEED))
    (mix,) = mixes
    counts, _ = np.histogram(mix, 10, (0, 1))
    assert counts.sum() == 4000
    assert np.abs(counts - 400).max() < 80
    terms.GradientPenalty()(play(record, real, fake, SEED + 1))
    assert not np.allclose(mixes[1], mix)


def test_dragan_looks_at_points_from_the_real_image_to_half_a_deviation_away():
    points = []
    real = tf.constant(random_images(2000))
    terms.DRAGAN()(play(lambda x, _: (points.append(np.array(x)), linear(x, ()))[1], real, None, SEED))
    share = (points[0] - np.array(real)) / (0.5 * np.std(real))
    assert -1e-6 < share.min() < share.max() < 1 + 1e-6
    # The product of two uniform numbers, one for the image and one for each pixel of it.
    np.testing.assert_allclose([share.mean(), share.std()], [1 / 4, np.sqrt(1 / 9 - 1 / 16)], atol=0.01)
    means = share.mean(axis=(1, 2, 3))
    np.testing.assert_allclose([means.mean(), means.std()], [1 / 4, np.sqrt(1 / 48)], atol=0.015)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_finite_where_the_norm_is_zero(name):
    scale = tf.Variable(0.0)
    with tf.GradientTape() as tape:
        value = getattr(terms, name)()(play(lambda x, _: scale * linear(x, ()), REAL, FAKE, SEED))
    assert np.isfinite(value)
    assert np.isfinite(tape.gradient(value, scale))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_second_order_gradient_equals_finite_differences(name, jit_compile):
    keras.config.set_floatx("float64")
    try:
        images = keras.Input(SHAPE)
        x = keras.layers.Conv2D(3, 3, 2, activation="tanh")(images)
        critic = keras.Model(images, keras.layers.Dense(1)(keras.layers.Flatten()(x)))
    finally:
        keras.config.set_floatx("float32")
    penalty = getattr(terms, name)()

    @tf.function(jit_compile=jit_compile)
    def gradients():
        with tf.GradientTape() as tape:
            # Only the critic is in float64, where the differences need it.
            value = penalty(play(lambda x, _: critic(tf.cast(x, tf.float64)), REAL, FAKE, SEED))
        return value, tape.gradient(value, critic.trainable_variables[0].value)

    _, gradient = gradients()
    kernel = critic.trainable_variables[0]
    start, step = np.array(kernel), 1e-2
    for index in [(0, 0, 0, 0), (1, 2, 0, 1), (2, 1, 0, 2)]:
        ends = []
        for sign in (1, -1):
            moved = start.copy()
            moved[index] += sign * step
            kernel.assign(moved)
            ends.append(float(gradients()[0]))
        kernel.assign(start)
        np.testing.assert_allclose(gradient[index], (ends[0] - ends[1]) / (2 * step), rtol=2e-2, atol=1e-5)


def test_the_step_adds_and_tracks_weighted_penalties():
    gan = tiny_gan(terms=[terms.R1(weight=3.0)], d_optimizer="sgd")
    images = random_images(4)
    before = values(gan.discriminator)
    raw = float(terms.R1()(play(lambda x, _: gan.discriminator(x), tf.constant(images), None, SEED)))
    logs = train(gan, images).history
    np.testing.assert_allclose(logs["r1"], 3 * raw, rtol=1e-5)
    plain = tiny_gan(d_optimizer="sgd")
    train(plain, images)
    # Stronger than the loss alone: the update differs from the plain one by the penalty's gradient.
    copy = tiny_networks()[1]
    copy.set_weights(before)
    with tf.GradientTape() as tape:
        value = 3 * terms.R1()(play(lambda x, _: copy(x), tf.constant(images), None, SEED))
    rate = float(gan.d_optimizer.learning_rate)
    weights = zip(values(gan.discriminator), values(plain.discriminator), strict=True)
    gradients = tape.gradient(value, copy.trainable_variables)
    for (penalised, unpenalised), gradient in zip(weights, gradients, strict=True):
        expected = 0 if gradient is None else -rate * np.array(gradient)
        np.testing.assert_allclose(penalised - unpenalised, expected, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_lazy_penalties_are_paid_in_full_every_interval(jit_compile):
    images = random_images(4)
    logs = []

    def record(penalty):
        gan = tiny_gan(terms=[penalty], jit_compile=jit_compile, d_optimizer=keras.optimizers.SGD(0.0))
        logs.append(train(gan, images, epochs=5).history["r1"])

    record(terms.R1())
    record(terms.R1(interval=2))
    every, lazy = logs
    np.testing.assert_allclose(lazy, [2 * every[0], 0, 2 * every[0], 0, 2 * every[0]], rtol=1e-5)


def test_weight_may_be_a_schedule():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [2.0, 5.0])
    gan = tiny_gan(terms=[terms.R1(weight=schedule)], d_optimizer=keras.optimizers.SGD(0.0))
    logs = train(gan, random_images(4), epochs=3).history["r1"]
    np.testing.assert_allclose(np.array(logs) / logs[0], [1, 1, 2.5], rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_penalties_are_computed_in_float32(policy):
    exact = tiny_gan(terms=[terms.GradientPenalty()])
    weights = exact.get_weights()
    keras.config.set_dtype_policy(policy)
    gan = tiny_gan(terms=[terms.GradientPenalty()])
    gan.set_weights(weights)
    seen = []

    def judge(images, condition):
        logits = gan.judge(images, condition)
        seen.append({layer.compute_dtype for layer in gan.discriminator.layers})
        return logits

    with in_float32(gan.discriminator):
        value = terms.GradientPenalty()(play(judge, REAL, FAKE, SEED))
    assert seen == [{"float32"}]
    assert {layer.compute_dtype for layer in gan.discriminator.layers} > {"float32"}
    expected = terms.GradientPenalty()(play(exact.judge, REAL, FAKE, SEED))
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_penalties_differ_from_step_to_step_by_the_seed_alone():
    logs = []
    for seed in (3, 3, 4):
        gan = tiny_gan(terms=[terms.GradientPenalty()], seed=seed, d_optimizer=keras.optimizers.SGD(0.0))
        logs.append(train(gan, random_images(4), epochs=2).history["gradient_penalty"])
    assert logs[0] == logs[1] != logs[2]
    assert logs[0][0] != logs[0][1]


@pytest.mark.parametrize("name", NAMES)
def test_survives_serialization(name):
    schedule = keras.optimizers.schedules.CosineDecay(3.0, 10)
    for penalty in (getattr(terms, name)(2.0, interval=4), getattr(terms, name)(schedule)):
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(penalty))
        assert type(copy) is type(penalty)
        assert copy.get_config() == penalty.get_config()


def test_a_loaded_gan_keeps_its_penalties(tmp_path):
    gan = tiny_gan(terms=[terms.R1(3.0, interval=2), terms.R2(1.0)])
    train(gan, random_images(4))
    gan.save(tmp_path / "gan.keras")
    copy = keras.models.load_model(tmp_path / "gan.keras")
    assert [(type(p), p.get_config()) for p in copy.terms] == [(type(p), p.get_config()) for p in gan.terms]


def test_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match=r"`weight` must be at least 0\. Received: weight=-1"):
        terms.R1(-1)
    for interval in (0, 1.5):
        with pytest.raises(
            ValueError, match=f"`interval` must be an integer of at least 1. Received: interval={interval}"
        ):
            terms.R1(1, interval=interval)
    with pytest.raises(ValueError, match=r"Each term and metric must have a `name` of .* Received: \['r1', 'r1'\]"):
        tiny_gan(terms=[terms.R1(), terms.R1()])
