"""tfgan_app.terms: closed forms, second-order gradients, schedules, and the step that adds them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    SHAPE,
    play,
    random_images,
    state,
    tiny_extractor,
    tiny_gan,
    tiny_model,
    tiny_networks,
    train,
    values,
)

from tfgan_app import features, terms
from tfgan_app.base.errors import UsageError
from tfgan_app.base.networks import in_float32
from tfgan_app.base.randomness import stream, uniform
from tfgan_app.checkpoints import Checkpoints

TERMS = [name for name in terms.__all__ if name not in ("Play", "Term")]
# The penalties on the discriminator.
NAMES = [name for name in TERMS if getattr(terms, name).own_tape]
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


def convolutional_gan(**compile_arguments):
    """A GAN whose discriminator judges each image by itself, and curves; its weights are its seed's."""
    keras.utils.set_random_seed(0)
    gan = tiny_model("R3GAN")
    gan.compile(**{"d_optimizer": keras.optimizers.SGD(0.01), "augment": False, **compile_arguments})
    # Branches that start at zero would hide much of it.
    rng = np.random.default_rng(0)
    for network in (gan.generator, gan.discriminator):
        network.set_weights([rng.normal(0, 0.3, weight.shape) for weight in network.get_weights()])
    gan.ema_generator.set_weights(gan.generator.get_weights())
    return gan


def test_penalties_in_the_discriminators_pass_are_those_of_tapes_of_their_own(monkeypatch):
    images, found = random_images(8, (28, 28, 1)), []
    for in_pass in (True, False):
        for name in ("R1", "R2"):
            monkeypatch.setattr(getattr(terms, name), "in_pass", in_pass)
        gan = convolutional_gan(terms=[terms.R1(2.0), terms.R2(3.0)])
        assert gan._d_player.wants_gradients == in_pass
        logs = train(gan, images, batch_size=8).history
        found.append(({name: logs[name] for name in ("d_loss", "r1", "r2")}, values(gan.discriminator)))
    (logs, weights), (own_logs, own_weights) = found
    assert logs["r1"][0] > 0 and logs["r2"][0] > 0
    for name, value in logs.items():
        np.testing.assert_allclose(value, own_logs[name], rtol=1e-4)
    for one, other in zip(weights, own_weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * np.abs(other).max())


def test_which_penalties_join_the_discriminators_pass():
    def joins(penalty, build=convolutional_gan):
        return build(terms=[penalty])._d_player.wants_gradients

    assert joins(terms.R1()) and joins(terms.R2())
    assert not joins(terms.R1(interval=2))
    assert not joins(terms.GradientPenalty())
    assert not joins(terms.R1(), tiny_gan), "nothing says that it judges images one by one"
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert joins(terms.R1())
    keras.config.set_dtype_policy("mixed_float16")
    assert not joins(terms.R1()), "squares of gradients leave its range"


def test_penalties_in_the_pass_have_no_part_in_an_evaluation():
    images = random_images(8, (28, 28, 1))
    with_penalty, without = convolutional_gan(terms=[terms.R1(2.0)]), convolutional_gan(terms=[])
    logs = with_penalty.evaluate(images, batch_size=8, verbose=0, return_dict=True)
    expected = without.evaluate(images, batch_size=8, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["d_loss"], expected["d_loss"], rtol=1e-5)
    assert logs["r1"] == 0


def test_a_penalty_in_the_pass_goes_through_the_augmentation():
    images = random_images(8, (28, 28, 1))

    class Half(keras.layers.Layer):
        def call(self, images):
            return images / 2

        def update(self, real_logits):
            pass

    gan = convolutional_gan(terms=[terms.R1(1.0)], augment=Half())
    expected = float(terms.R1()(play(real=tf.constant(images), seed=SEED, discriminate=gan.discriminate)))
    logs = train(gan, images, batch_size=8).history
    np.testing.assert_allclose(logs["r1"], expected, rtol=1e-4)


def test_penalties_differ_from_step_to_step_by_the_seed_alone():
    logs = []
    for seed in (3, 3, 4):
        gan = tiny_gan(terms=[terms.GradientPenalty()], seed=seed, d_optimizer=keras.optimizers.SGD(0.0))
        logs.append(train(gan, random_images(4), epochs=2).history["gradient_penalty"])
    assert logs[0] == logs[1] != logs[2]
    assert logs[0][0] != logs[0][1]


@pytest.mark.parametrize("name", TERMS)
def test_survives_serialization(name):
    schedule = keras.optimizers.schedules.CosineDecay(3.0, 10)
    interval = 4 if name in NAMES else 1
    for penalty in (getattr(terms, name)(weight=2.0, interval=interval), getattr(terms, name)(weight=schedule)):
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(penalty))
        assert type(copy) is type(penalty)
        assert copy.get_config() == penalty.get_config()


def test_a_loaded_gan_keeps_its_penalties(tmp_path):
    gan = tiny_gan(terms=[terms.R1(3.0, interval=2), terms.R2(1.0)])
    train(gan, random_images(4))
    gan.save(tmp_path / "gan.keras")
    copy = keras.models.load_model(tmp_path / "gan.keras")
    assert [(type(p), p.get_config()) for p in copy.terms] == [(type(p), p.get_config()) for p in gan.terms]


def lecam_by_hand(batches, decay, one_sided):
    """Returns the term's values over updates, each with the averages that hold its own batch."""
    averages, found = np.zeros(2), []
    for update, (real, fake) in enumerate(batches):
        keep = min(decay, update / (update + 1))
        averages = keep * averages + (1 - keep) * np.array([real.mean(), fake.mean()])
        parts = real - averages[1], averages[0] - fake
        found.append(sum(np.mean(np.square(np.maximum(x, 0) if one_sided else x)) for x in parts))
    return averages, found


@pytest.mark.parametrize("one_sided", [False, True])
def test_lecam_charges_the_distance_to_the_other_sides_average(one_sided):
    batches = [random_images(6, (2, 5), seed).astype(np.float64) for seed in range(6)]
    batches = [(3 * x[:, 0], x[:, 1] - 0.5) for x in batches]
    term = terms.LeCam(decay=0.6, one_sided=one_sided)
    term.state.build()

    def record(batch, **facts):
        outputs = {id(side): {"logits": tf.constant(side, tf.float32)} for side in batch}
        return play(real=batch[0], fake=batch[1], discriminate=lambda x, condition: outputs[id(x)], **facts)

    found = [float(term(record(batch))) for batch in batches]
    averages, expected = lecam_by_hand(batches, 0.6, one_sided)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose([float(term.state.real), float(term.state.fake)], averages, rtol=1e-5)
    # The first three are plain means: 1 / (1 - 0.6) = 2.5.
    assert float(term.state.updates) == 6
    term(record(batches[0], training=False))
    np.testing.assert_allclose([float(term.state.real), float(term.state.fake)], averages, rtol=1e-5)


def test_lecam_goes_on_where_it_stopped(tmp_path):
    images = random_images(24)
    gans = [tiny_gan(terms=[terms.LeCam(0.1)]) for _ in range(3)]
    train(gans[0], images)
    train(gans[1], images[:12])
    Checkpoints(gans[1], tmp_path).save()
    Checkpoints(gans[2], tmp_path).restore()
    assert float(gans[2].terms[0].state.updates) == 3
    train(gans[2], images[12:])
    for one, other in zip(state(gans[2]), state(gans[0]), strict=True):
        np.testing.assert_array_equal(one, other)
    gans[0].save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras").terms[0].state
    assert float(loaded.updates) == 6
    assert float(loaded.real) == float(gans[0].terms[0].state.real) != 0


def test_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match=r"`decay` must lie in \[0, 1\)\. Received: decay=1"):
        terms.LeCam(decay=1)
    with pytest.raises(ValueError, match=r"`weight` must be at least 0\. Received: weight=-1"):
        terms.R1(-1)
    for interval in (0, 1.5):
        with pytest.raises(
            ValueError, match=f"`interval` must be an integer of at least 1. Received: interval={interval}"
        ):
            terms.R1(1, interval=interval)
    with pytest.raises(ValueError, match=r"Each term and metric must have a `name` of .* Received: \['r1', 'r1'\]"):
        tiny_gan(terms=[terms.R1(), terms.R1()])


# Terms of the generator.

TARGET = tf.constant(random_images(3, seed=5))
MADE = tf.constant(random_images(3, seed=6))


def made(outputs=MADE, target=TARGET, inputs=(), **facts):
    return play(None, None, outputs, outputs=outputs, target=target, inputs=list(inputs), **facts)


def mean_absolute(a, b):
    return np.abs(np.asarray(a, np.float64) - b).mean()


@pytest.mark.parametrize("outputs", [MADE, {"images": MADE, "other": TARGET}])
def test_the_generators_images_are_compared_with_their_targets(outputs):
    np.testing.assert_allclose(terms.L1()(made(outputs)), mean_absolute(MADE, TARGET), rtol=1e-5)
    np.testing.assert_allclose(terms.L2()(made(outputs)), np.mean((MADE - TARGET) ** 2), rtol=1e-5)
    x = np.array(MADE)
    expected = np.abs(np.diff(x, axis=1)).mean() + np.abs(np.diff(x, axis=2)).mean()
    np.testing.assert_allclose(terms.TotalVariation()(made(outputs)), expected, rtol=1e-5)


def test_terms_are_float32_whatever_the_images():
    half = tf.cast(MADE, tf.bfloat16)
    for term in (terms.L1(), terms.L2(), terms.TotalVariation()):
        value = term(made(half))
        assert value.dtype == tf.float32
        np.testing.assert_allclose(value, term(made(tf.cast(half, tf.float32))), rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 1, 1, 3), (2, 1, 4, 1), (2, 4, 1, 1)])
def test_a_side_of_one_pixel_has_no_variation(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = sum(np.abs(np.diff(x, axis=axis)).mean() for axis in (1, 2) if shape[axis] > 1)
    np.testing.assert_allclose(terms.TotalVariation()(made(tf.constant(x), None)), expected, rtol=1e-6)


@pytest.mark.parametrize(("term", "name", "weight"), [(terms.Cycle, "cycle", 10), (terms.Identity, "identity", 5)])
def test_what_comes_back_is_compared_with_the_inputs_in_their_order(term, name, weight):
    a, b = (tf.constant(random_images(3, (4, 5, channels), seed=channels)) for channels in (1, 3))
    back, forth = a + 0.25, b * 0.5
    assert term().weight == weight
    value = term()(made({"images": MADE, name: (back, forth)}, None, [a, b, SEED]))
    np.testing.assert_allclose(value, 0.25 + mean_absolute(forth, b), rtol=1e-5)
    np.testing.assert_allclose(term()(made({"images": MADE, name: back}, None, [a, SEED])), 0.25, rtol=1e-5)


def test_features_of_fakes_come_to_those_of_real_samples():
    scale = tf.Variable(2.0)

    def discriminate(samples, condition):
        return {"logits": samples, "features": [scale * samples, {"deep": samples[:, 0]}]}

    record = play(None, TARGET, MADE, discriminate=discriminate)
    with tf.GradientTape() as tape:
        tape.watch([TARGET, MADE])
        value = terms.FeatureMatching()(record)
    expected = 2 * mean_absolute(MADE, TARGET) + mean_absolute(MADE[:, 0], TARGET[:, 0])
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    of_real, of_fake = tape.gradient(value, [TARGET, MADE])
    assert of_real is None and np.abs(of_fake).max() > 0


def test_what_terms_of_the_generator_lack_they_say():
    for term in (terms.L1(), terms.L2(), terms.Perceptual(tiny_extractor())):
        with pytest.raises(UsageError, match=rf"{type(term).__name__} compares .* here there is none. Without pairs"):
            term(made(target=None))
        with pytest.raises(UsageError, match=r"of one shape. Received: \(8, 8, 1\) from the generator, .* \(8, 8, 3\)"):
            term(made(target=tf.repeat(TARGET, 3, -1)))
    with pytest.raises(UsageError, match=r"TotalVariation needs `images` among .* Received: \['picture'\]"):
        terms.TotalVariation()(made({"picture": MADE}))
    for outputs, found in (({"images": MADE}, r"\['images'\]"), (MADE, "no dict"), ({"cycle": [MADE] * 3}, "cycle")):
        with pytest.raises(UsageError, match=f"Cycle needs `cycle` among .* Received: .*{found}"):
            terms.Cycle()(made(outputs, inputs=[MADE]))
    with pytest.raises(UsageError, match=r"FeatureMatching needs .* with `features`.* Received: \['logits'\]"):
        terms.FeatureMatching()(play(linear, REAL, FAKE))


# A trained network's view.


def seeing_network():
    """A small network of RGB images of any size."""
    keras.utils.set_random_seed(5)
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="shallow")(images)
    x = keras.layers.Dropout(0.5)(keras.layers.MaxPooling2D()(x))
    return keras.Model(images, keras.layers.Conv2D(2, 3, name="deep")(x), name="seeing")


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_perceptual_distance_is_that_of_features(distance, tmp_path):
    network = seeing_network()
    network.save(tmp_path / "seeing.keras")
    grey, target = (tf.repeat(x, 3, -1) for x in (MADE, TARGET))

    def expected(layer):
        cut = keras.Model(network.inputs, network.get_layer(layer).output)
        difference = np.array(cut(grey)) - np.array(cut(target))
        return np.mean(np.abs(difference) if distance == "l1" else difference**2)

    for extractor in (network, tmp_path / "seeing.keras"):
        for layers, value in (
            (None, expected("deep")),
            ("shallow", expected("shallow")),
            (["deep", "shallow"], expected("deep") + expected("shallow")),
            ({"shallow": 0.1, "deep": 2.0}, 0.1 * expected("shallow") + 2 * expected("deep")),
        ):
            term = terms.Perceptual(extractor, layers, distance=distance)
            # Of greyscale images the network is shown three equal channels.
            np.testing.assert_allclose(term(made()), value, rtol=1e-4)
            np.testing.assert_allclose(term(made(grey, target)), value, rtol=1e-4)


def test_the_seeing_network_is_no_part_of_the_gan(tmp_path):
    network = seeing_network()
    network.save(tmp_path / "seeing.keras")
    before = values(network)
    term = terms.Perceptual(tmp_path / "seeing.keras", ["deep"], weight=0.5)
    gan, plain = tiny_gan(terms=[term]), tiny_gan()
    history = train(gan, random_images(8)).history
    assert history["perceptual"][0] > 0
    assert len(gan.weights) == len(plain.weights) and len(gan.variables) == len(plain.variables)
    assert len(gan.trainable_variables) == len(plain.trainable_variables)
    gan.save(tmp_path / "gan.keras")
    copy = keras.models.load_model(tmp_path / "gan.keras")
    (again,) = copy.terms
    assert again.get_config() == term.get_config() and again.weight == 0.5
    train(copy, random_images(8))
    # Nor does one that is held in memory learn, or lose what of it is trainable.
    held = tiny_gan(terms=[terms.Perceptual(network)])
    train(held, random_images(8))
    for old, new in zip(before, values(network), strict=True):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(ValueError, match="Perceptual cannot be saved: its network seeing is held in memory"):
        held.save(tmp_path / "held.keras")
    assert "Perceptual {'weight': 1.0, 'interval': 1, 'extractor': 'seeing'" in held.describe()["terms"][0]


def test_a_gan_is_loaded_and_draws_without_the_network(tmp_path):
    seeing_network().save(tmp_path / "seeing.keras")
    gan = tiny_gan(terms=[terms.Perceptual(tmp_path / "seeing.keras")])
    gan.save(tmp_path / "gan.keras")
    (tmp_path / "seeing.keras").unlink()
    copy = keras.models.load_model(tmp_path / "gan.keras")
    np.testing.assert_array_equal(copy.sample(2, seed=1), gan.sample(2, seed=1))
    for use in (copy.fit, copy.evaluate):
        with pytest.raises(UsageError, match=r"`extractor` must be vgg19, .* Received: extractor='.*seeing.keras'"):
            use(random_images(4), verbose=0)


def test_perceptual_refuses_what_it_cannot_see():
    with pytest.raises(UsageError, match=r"`distance` must be one of l1, l2. Received: distance=l3"):
        terms.Perceptual(seeing_network(), distance="l3")
    with pytest.raises(UsageError, match=r"seeing has no layer 'middle'. It has: .*shallow, .*deep"):
        terms.Perceptual(seeing_network(), ["deep", "middle"]).prepare()
    with pytest.raises(UsageError, match=r"tiny_extractor takes images of shape \(8, 8, 1\). Received: \(6, 6, 1\)"):
        terms.Perceptual(tiny_extractor())(made(MADE[:, :6, :6], TARGET[:, :6, :6]))
    with pytest.raises(UsageError, match="a functional model of one input"):
        terms.Perceptual(tiny_gan(num_classes=3).generator).prepare()


@pytest.fixture
def vgg19(monkeypatch, tmp_path):
    """VGG19 with random weights, in the place where Keras would have it."""
    network = keras.applications.VGG19(include_top=False, weights=None)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.applications, "VGG19", lambda **kwargs: network)
    return network


def test_vgg19_is_kerass_before_its_relu(vgg19):
    images = random_images(2, (32, 48, 3))
    layers = ["block1_conv2", "block3_conv4", "block5_conv4"]
    cut = keras.Model(vgg19.inputs[0], [vgg19.get_layer(layer).output for layer in layers])
    expected = [np.array(x) for x in cut(keras.applications.vgg19.preprocess_input((images + 1) * 127.5))]
    found = features.layer_outputs("vgg19", layers)(tf.constant(images))
    assert all(np.min(x) < 0 for x in found)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.maximum(x, 0), y, rtol=1e-4, atol=1e-4)
    (last,) = features.layer_outputs("vgg19", [])(tf.constant(images))
    np.testing.assert_allclose(last, found[2], rtol=1e-4, atol=1e-4)
    with pytest.raises(UsageError, match=r"vgg19 has no layer 'conv5_4'. It has: block1_conv1, "):
        features.layer_outputs("vgg19", ["conv5_4"])
    with pytest.raises(UsageError, match=r"Images of shape \(8, 8, 3\) are too small for vgg19"):
        features.layer_outputs("vgg19", [])(tf.zeros((1, 8, 8, 3)))


def test_vgg19_that_cannot_be_had_is_said_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(features, "unreachable", lambda urls: "storage.googleapis.com: no answer")
    gan = tiny_gan(terms=[terms.Perceptual("vgg19")])
    expected = r"weights of VGG19 are not there .*notop.h5\), and cannot be downloaded: storage.* no answer. Copy "
    with pytest.raises(UsageError, match=expected):
        train(gan, random_images(4))

    def breaks_off(**kwargs):
        raise Exception("URL fetch failure on https://example.org: None -- gone")

    monkeypatch.setattr(features, "unreachable", lambda urls: None)
    monkeypatch.setattr(keras.applications, "VGG19", breaks_off)
    with pytest.raises(UsageError, match=r"cannot be downloaded: URL fetch failure .* gone. Copy .* or none"):
        terms.Perceptual().prepare()
