"""tfgan_app.adversarial: the step against one written by hand, and what surrounds it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    LATENT_DIM,
    SHAPE,
    assert_all_close,
    random_images,
    random_labels,
    state,
    tiny_extractor,
    tiny_gan,
    tiny_networks,
    train,
    values,
)

import tfgan_app as tg
from tfgan_app.base.latents import draw_latents
from tfgan_app.base.networks import float32_copy
from tfgan_app.base.randomness import stream

# A large epsilon: Adam would blow rounding errors of tiny gradients up to whole steps.
ADAM = {"learning_rate": 1e-2, "beta_1": 0.5, "epsilon": 1e-3}


def optimizers(cls=keras.optimizers.Adam, **kwargs):
    return {name: cls(**kwargs) for name in ("g_optimizer", "d_optimizer")}


class Adam:
    """Kingma and Ba 2014, Algorithm 1 in the form at the end of section 2."""

    def __init__(self, learning_rate, beta_1, epsilon, beta_2=0.999):
        self.rate, self.beta_1, self.beta_2, self.epsilon = learning_rate, beta_1, beta_2, epsilon
        self.step, self.moments = 0, {}

    def apply(self, gradients, variables):
        self.step += 1
        rate = self.rate * np.sqrt(1 - self.beta_2**self.step) / (1 - self.beta_1**self.step)
        for index, (gradient, variable) in enumerate(zip(gradients, variables, strict=True)):
            gradient = np.asarray(gradient, np.float64)
            first, second = self.moments.get(index, (0.0, 0.0))
            first = self.beta_1 * first + (1 - self.beta_1) * gradient
            second = self.beta_2 * second + (1 - self.beta_2) * gradient**2
            self.moments[index] = first, second
            variable.assign(np.asarray(variable) - rate * first / (np.sqrt(second) + self.epsilon))


def cross_entropy(logits, label):
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(label * tf.ones_like(logits), logits))


def decay_at(step, ema_decay):
    return min(ema_decay, (1 + step) / (10 + step))


def train_by_hand(generator, discriminator, batches, seed, ema_decay):
    """Trains in place; returns the average of the generator's weights and each step's terms."""
    g_adam, d_adam = Adam(**ADAM), Adam(**ADAM)
    average = [np.array(weight, np.float64) for weight in generator.weights]
    logs = []
    for step, real in enumerate(batches):
        latents = draw_latents(len(real), LATENT_DIM, stream((seed, step), "latents"))
        with tf.GradientTape() as g_tape:
            fake = generator(latents, training=True)
        constant = tf.constant(fake.numpy())
        with tf.GradientTape() as tape:
            d_real, d_fake = discriminator(real, training=True), discriminator(constant, training=True)
            d_loss = cross_entropy(d_real, 0.9) + cross_entropy(d_fake, 0.0)
        variables = discriminator.trainable_variables
        d_adam.apply(tape.gradient(d_loss, variables), variables)
        with g_tape:
            g_loss = cross_entropy(discriminator(fake, training=True), 1.0)
        variables = generator.trainable_variables
        g_adam.apply(g_tape.gradient(g_loss, variables), variables)
        decay = decay_at(step + 1, ema_decay)
        average = [
            decay * old + (1 - decay) * np.array(weight) if weight.trainable else np.array(weight)
            for old, weight in zip(average, generator.weights, strict=True)
        ]
        means = d_loss, g_loss, tf.sigmoid(d_real), tf.sigmoid(d_fake)
        logs.append([np.mean(term, dtype=np.float64) for term in means])
    return average, logs


def learned(gan, *weights):
    """Leaves out of lists of the generator's weights those that no step learns: the statistics of batches."""
    return [[x for x, own in zip(part, gan.generator.weights, strict=True) if own.trainable] for part in weights]


@pytest.mark.parametrize("d_batch_norm", [False, True])
@pytest.mark.parametrize("steps", [1, 3])
def test_step_equals_one_written_by_hand(steps, d_batch_norm):
    gan = tiny_gan(d_batch_norm=d_batch_norm, seed=11, ema_decay=0.2, **optimizers(**ADAM))
    generator, discriminator = tiny_networks(d_batch_norm=d_batch_norm)
    generator.set_weights(gan.generator.get_weights())
    discriminator.set_weights(gan.discriminator.get_weights())
    images = random_images(4 * steps)
    history = train(gan, images).history
    average, logs = train_by_hand(generator, discriminator, np.split(images, steps), seed=11, ema_decay=0.2)

    assert_all_close(values(gan.generator), values(generator), 1e-6)
    assert_all_close(values(gan.discriminator), values(discriminator), 1e-6)
    assert_all_close(*learned(gan, values(gan.ema_generator), average), 1e-6)
    for name, expected in zip(("d_loss", "g_loss", "d_real", "d_fake"), np.mean(logs, axis=0), strict=True):
        np.testing.assert_allclose(history[name], [expected], rtol=1e-5)
    assert [int(v) for v in (gan.iterations, gan.g_optimizer.iterations, gan.d_optimizer.iterations)] == [steps] * 3


def test_generator_meets_the_updated_discriminator():
    gan = tiny_gan(g_optimizer=keras.optimizers.SGD(0.0), d_optimizer=keras.optimizers.SGD(1.0))
    fake = gan.generator(draw_latents(4, LATENT_DIM, stream((3, 0), "latents")), training=True)
    old = cross_entropy(gan.discriminator(fake), 1.0)
    g_loss = train(gan, random_images(4)).history["g_loss"][0]
    updated = cross_entropy(gan.discriminator(fake), 1.0)
    assert abs(updated - old) > 0.01
    np.testing.assert_allclose(g_loss, updated, rtol=1e-5)


@pytest.mark.parametrize("frozen", ["generator", "discriminator"])
def test_gradients_reach_only_the_network_that_is_updated(frozen):
    rates = {"generator": 0.0, "discriminator": 0.0} | {"discriminator" if frozen == "generator" else "generator": 0.1}
    gan = tiny_gan(
        g_optimizer=keras.optimizers.SGD(rates["generator"]), d_optimizer=keras.optimizers.SGD(rates["discriminator"])
    )
    before = {name: [np.array(v) for v in getattr(gan, name).trainable_variables] for name in rates}
    train(gan, random_images(8))
    for name, variables in before.items():
        after = getattr(gan, name).trainable_variables
        moved = [np.any(old != np.array(new)) for old, new in zip(variables, after, strict=True)]
        assert not any(moved) if name == frozen else all(moved)


@pytest.mark.parametrize("ema_decay", [0, 0.25, 0.999])
def test_ema_warms_up(ema_decay):
    gan = tiny_gan(ema_decay=ema_decay, **optimizers(**ADAM))
    trainable = [weight.trainable for weight in gan.generator.weights]
    average = values(gan.generator)
    for step in range(1, 4):
        train(gan, random_images(4, seed=step))
        decay = decay_at(step, ema_decay)
        current = values(gan.generator)
        average = [
            decay * old + (1 - decay) * new if moves else new
            for old, new, moves in zip(average, current, trainable, strict=True)
        ]
        assert_all_close(*learned(gan, values(gan.ema_generator), average), 1e-6)
    assert trainable.count(False) == 2
    if ema_decay == 0:
        assert_all_close(*learned(gan, values(gan.ema_generator), current), 1e-7)


# Compilation.


@pytest.mark.parametrize("ema_decay", [-0.1, 1, 1.5, float("nan")])
def test_ema_decay_out_of_range(ema_decay):
    with pytest.raises(ValueError, match=r"`ema_decay` must lie in \[0, 1\)\. Received: ema_decay="):
        tiny_gan(ema_decay=ema_decay)


def test_one_optimizer_cannot_serve_both_networks():
    optimizer = keras.optimizers.Adam()
    with pytest.raises(ValueError, match=r"must be two objects.*Received: the same Adam twice"):
        tiny_gan(g_optimizer=optimizer, d_optimizer=optimizer)


def test_compile_builds_both_optimizers_with_the_papers_settings():
    gan = tiny_gan()
    for optimizer, network in ((gan.g_optimizer, gan.generator), (gan.d_optimizer, gan.discriminator)):
        assert optimizer.built
        assert len(optimizer.variables) == 2 + 2 * len(network.trainable_variables)
        config = optimizer.get_config()
        assert type(optimizer) is tg.optimizers.Adam
        np.testing.assert_allclose([config["learning_rate"], config["beta_1"]], [2e-4, 0.5], rtol=1e-6)
    assert type(gan.loss) is tg.losses.NonSaturating
    assert gan.loss.real_label == 0.9


def test_optimizers_by_name_are_two_objects():
    gan = tiny_gan(g_optimizer="sgd", d_optimizer="sgd")
    assert type(gan.g_optimizer) is type(gan.d_optimizer) is keras.optimizers.SGD
    assert gan.g_optimizer is not gan.d_optimizer


def test_a_subclass_must_define_the_data_contract():
    model = tg.AdversarialModel(*tiny_networks())
    with pytest.raises(NotImplementedError, match="AdversarialModel must define `unpack`"):
        model.unpack(None)
    with pytest.raises(NotImplementedError, match="AdversarialModel must define `draw`"):
        model.draw(None, (), None)


def test_seed_comes_from_keras_by_default():
    seeds = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        seeds.append([tg.GAN(*tiny_networks()).seed for _ in range(2)])
    assert seeds[0] == seeds[1]
    assert seeds[0][0] != seeds[0][1]


# Precision.


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_and_averages_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    gan = tiny_gan()
    before = values(gan.generator, gan.discriminator)
    train(gan, random_images(40))
    after = values(gan.generator, gan.discriminator)
    assert all(np.isfinite(weight).all() for weight in after)
    assert sum(np.any(old != new) for old, new in zip(before, after, strict=True)) == len(before)
    for optimizer in (gan.g_optimizer, gan.d_optimizer):
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
        # Float16 may skip steps while the loss scale is too large.
        assert 5 < int(optimizer.iterations) <= 10
    assert "float32" not in {layer.compute_dtype for layer in gan.generator.layers if "dense" in layer.name}
    assert {layer.compute_dtype for layer in gan.ema_generator.layers[1:]} == {"float32"}

    # The same weights in a network that never knew of a policy.
    keras.config.set_dtype_policy("float32")
    exact = tiny_networks()[0]
    exact.set_weights(gan.ema_generator.get_weights())
    latents = draw_latents(4, LATENT_DIM, (1, 2))
    expected = exact(latents)
    for drawn in (gan.ema_generator(latents), gan(latents), gan.generate(latents) * 2 - 1):
        np.testing.assert_allclose(drawn, expected, atol=1e-6)


def test_float16_scales_the_loss_but_not_the_gradient_or_the_log():
    images = random_images(4)
    results = []
    for scale in (1.0, 1024.0):
        scaled = {
            name: keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=scale)
            for name, optimizer in optimizers(keras.optimizers.SGD, learning_rate=0.1).items()
        }
        gan = tiny_gan(**scaled)
        history = train(gan, images).history
        assert gan.g_optimizer is scaled["g_optimizer"]
        results.append([*values(gan.generator, gan.discriminator), *history.values()])
    assert_all_close(*results, tolerance=1e-6)


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_float16_skips_a_step_that_overflows(bad):
    keras.config.set_dtype_policy("mixed_float16")
    gan = tiny_gan()
    before = values(gan.discriminator)
    # Of data that `fit` itself would refuse.
    keras.Model.fit(gan, np.full((4, *SHAPE), bad, np.float32), verbose=0)
    assert_all_close(values(gan.discriminator), before)
    assert float(gan.d_optimizer.dynamic_scale) == 2**14


def test_float32_copy_keeps_weights_labels_and_structure():
    keras.config.set_dtype_policy("mixed_float16")
    network = tiny_networks(num_classes=3)[0]
    copy = float32_copy(network)
    assert_all_close(values(copy), values(network))
    assert [tensor.dtype for tensor in copy.inputs] == ["float32", "int32"]
    assert [tensor.name for tensor in copy.inputs] == ["latents", "labels"]
    computing = [layer for layer in copy.layers if not isinstance(layer, keras.layers.InputLayer)]
    assert {layer.compute_dtype for layer in computing} == {"float32"}
    assert not {id(v) for v in copy.weights} & {id(v) for v in network.weights}


# Ways to run.


def test_xla_draws_the_same_latents():
    seed = tf.constant([3, 0], tf.int64)
    drawn = tf.function(lambda seed: draw_latents(4, LATENT_DIM, seed), jit_compile=True)(seed)
    np.testing.assert_allclose(drawn, draw_latents(4, LATENT_DIM, seed), atol=1e-5)


def test_xla_gives_the_same_weights():
    results = []
    for jit_compile in (False, True):
        gan = tiny_gan(jit_compile=jit_compile, **optimizers(keras.optimizers.SGD, learning_rate=0.1))
        train(gan, random_images(12))
        results.append(values(gan))
    assert_all_close(*results, tolerance=1e-5)


def test_steps_per_execution_equals_single_steps():
    results = []
    for kwargs in ({}, {"steps_per_execution": 3}):
        gan = tiny_gan(**kwargs)
        history = train(gan, random_images(12)).history
        results.append([*state(gan), *(np.array(value) for value in history.values())])
    assert_all_close(*results, tolerance=1e-7)


def as_dataset(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(4)


FORMS = {
    "array": lambda images, labels: images,
    "images": lambda images, labels: as_dataset(images),
    "tuple": lambda images, labels: as_dataset(images).map(lambda x: (x,)),
    "labels": as_dataset,
}


@pytest.mark.parametrize("form", FORMS)
def test_takes_images_in_every_form_and_ignores_labels(form):
    images, labels = random_images(8), random_labels(8)
    gan, expected = tiny_gan(run_eagerly=True), tiny_gan(run_eagerly=True)
    train(expected, images)
    gan.fit(FORMS[form](images, labels), batch_size=4 if form == "array" else None, shuffle=False, verbose=0)
    assert_all_close(values(gan), values(expected))
    results = gan.evaluate(FORMS[form](images, labels), verbose=0)
    assert results == expected.evaluate(images, batch_size=4 if form != "array" else None, verbose=0)


def test_conditional_gan_learns_from_labels():
    images, results = random_images(4), []
    # Two classes a batch: batch normalisation would cancel what one class adds to all of it.
    for labels in (np.array([0.0, 2, 2, 0]), np.array([0.0, 1, 1, 0]), np.array([0, 1, 1, 0])):
        gan = tiny_gan(num_classes=3, **optimizers(keras.optimizers.SGD, learning_rate=0.1))
        before = [np.array(network.weights[0]) for network in (gan.generator, gan.discriminator)]
        train(gan, images, labels)
        for network, embeddings in zip((gan.generator, gan.discriminator), before, strict=True):
            assert embeddings.shape == (3, 2)
            moved = np.any(np.array(network.weights[0]) != embeddings, axis=1)
            assert moved.tolist() == [index in labels for index in range(3)]
        results.append(values(gan))
    assert_all_close(results[1], results[2])


def test_conditional_gan_needs_labels():
    gan = tiny_gan(num_classes=3)
    with pytest.raises(ValueError, match=r"GAN is conditional on 3 classes and needs batches of \(images, labels\)"):
        train(gan, random_images(4))


def test_relativistic_loss_compares_real_with_fake():
    loss = tg.losses.Relativistic()
    gan = tiny_gan(
        loss=loss, g_optimizer=keras.optimizers.SGD(0.0), d_optimizer=keras.optimizers.SGD(0.0), run_eagerly=True
    )
    images = random_images(4)
    fake = gan.discriminator(gan.generator(draw_latents(4, LATENT_DIM, stream((3, 0), "latents")), training=True))
    history = train(gan, images).history
    real = gan.discriminator(images)
    np.testing.assert_allclose(history["d_loss"], [loss.discriminator(real, fake)], rtol=1e-5)
    np.testing.assert_allclose(history["g_loss"], [loss.generator(fake, real)], rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in tg.losses.__all__ if name != "AdversarialLoss"])
def test_every_loss_trains_both_networks(name):
    gan = tiny_gan(loss=getattr(tg.losses, name)(), run_eagerly=True)
    before = values(gan.generator, gan.discriminator)
    train(gan, random_images(4))
    after = values(gan.generator, gan.discriminator)
    # Some losses are differences of logits: blind to the last bias.
    assert all(np.any(old != new) for old, new in zip(before[:-1], after[:-1], strict=True))


def test_train_on_batch_and_test_on_batch():
    gan = tiny_gan(run_eagerly=True)
    trained = gan.train_on_batch(random_images(4), return_dict=True)
    tested = gan.test_on_batch(random_images(4), return_dict=True)
    assert set(trained) == set(tested) == {"d_loss", "g_loss", "d_real", "d_fake"}
    assert int(gan.iterations) == 1


# Evaluation.


class Recorder(tg.metrics.ImageMetric):
    """Keeps the images that it sees."""

    def __init__(self):
        super().__init__(None, "recorder")
        self.fed = tuple([] for _ in range(2))

    def observe(self, batch):
        for seen, images in zip(self.fed, (batch.real, batch.fake), strict=True):
            seen.append(np.array(images))

    def result(self):
        return sum(map(len, self.fed[1]))


def test_evaluation_draws_a_fake_for_each_real_image():
    recorder = Recorder()
    gan = tiny_gan(metrics=[recorder], run_eagerly=True, seed=20)
    images = random_images(10)
    train(gan, images)
    trained = state(gan)
    assert recorder.fed == ([], [])
    logs = gan.evaluate(images, batch_size=4, verbose=0, return_dict=True)
    assert logs["recorder"] == 10
    reals, fakes = recorder.fed
    np.testing.assert_array_equal(np.concatenate(reals), images)
    assert [len(batch) for batch in fakes] == [4, 4, 2]
    assert np.all(np.abs(fakes[0] - fakes[1]).max(axis=(1, 2, 3)) > 0.01)
    for index, batch in enumerate(fakes):
        latents = draw_latents(len(batch), LATENT_DIM, stream((20, index), "test latents"))
        np.testing.assert_allclose(batch, gan.ema_generator(latents, training=False), atol=1e-6)
    # What was learned is left alone.
    after = state(gan)
    assert sum(np.any(a != b) for a, b in zip(trained, after, strict=True)) == 1

    means = []
    for start, fake in zip(range(0, 10, 4), fakes, strict=True):
        real, fake = gan.discriminator(images[start : start + 4]), gan.discriminator(fake)
        means.append([cross_entropy(real, 0.9) + cross_entropy(fake, 0.0), cross_entropy(fake, 1.0)])
    np.testing.assert_allclose([logs["d_loss"], logs["g_loss"]], np.mean(means, axis=0), rtol=1e-5)


def test_evaluate_is_repeatable_and_gives_a_list_or_a_dict():
    gan = tiny_gan(metrics=[tg.metrics.FrechetDistance(tiny_extractor())])
    images = random_images(8)
    logs = gan.evaluate(images, batch_size=4, verbose=0, return_dict=True)
    assert set(logs) == {"d_loss", "g_loss", "d_real", "d_fake", "fd"}
    # In the order of Keras's own list.
    results = gan.evaluate(images, batch_size=4, verbose=0)
    assert dict(zip(gan.metrics_names, results, strict=True)) == logs, "not in the order of metrics_names"
    reals = gan._scores[0].extractor(images)
    seeds = [stream((3, index), "test latents") for index in range(2)]
    fakes = np.concatenate([gan.ema_generator(draw_latents(4, LATENT_DIM, seed)) for seed in seeds])
    fakes = gan._scores[0].extractor(fakes)
    moments = [moment for x in (reals, fakes) for moment in (np.mean(x, 0), np.cov(x, rowvar=False))]
    np.testing.assert_allclose(logs["fd"], tg.metrics.frechet_distance(*moments), rtol=1e-4)
    gan.ema_generator.weights[0].assign_add(tf.ones((LATENT_DIM, 6)))
    assert gan.evaluate(images, batch_size=4, verbose=0, return_dict=True)["fd"] != logs["fd"]


def test_evaluate_without_metrics_returns_the_losses():
    gan = tiny_gan()
    losses = gan.evaluate(random_images(4), verbose=0)
    assert len(losses) == 4
    assert all(isinstance(value, float) and np.isfinite(value) for value in losses)


def test_validation_serves_keras_callbacks(tmp_path):
    def build(**kwargs):
        metric = tg.metrics.FrechetDistance(tiny_extractor())
        return tiny_gan(metrics=[metric], ema_decay=0, **optimizers(keras.optimizers.SGD, learning_rate=0.1), **kwargs)

    gan = build()
    watch = {"monitor": "val_fd", "mode": "min"}
    path = tmp_path / "best.weights.h5"
    callbacks = [
        keras.callbacks.ModelCheckpoint(path, save_best_only=True, save_weights_only=True, **watch),
        keras.callbacks.EarlyStopping(min_delta=1e9, patience=2, restore_best_weights=True, **watch),
    ]
    validation = as_dataset(random_images(8, seed=1))
    history = train(gan, random_images(8), epochs=9, validation_data=validation, callbacks=callbacks).history
    assert {"val_fd", "val_d_loss", "d_loss"} <= set(history)
    assert "fd" not in history
    scores = history["val_fd"]
    assert len(scores) == 3
    assert len(set(scores)) == 3
    copy = build(init=5)
    copy.load_weights(path)
    for model, expected in ((copy, min(scores)), (gan, scores[0])):
        score = model.evaluate(validation, verbose=0, return_dict=True)["fd"]
        np.testing.assert_allclose(score, expected, rtol=1e-5)


# Several updates of the discriminator.


def record_batches(gan):
    """Returns a list that fills with the real images of each update as the step runs eagerly."""
    seen, judged = [], gan.discriminator_loss

    def discriminator_loss(play):
        seen.append(np.array(play.real))
        return judged(play)

    gan.discriminator_loss = discriminator_loss
    return seen


@pytest.mark.parametrize("as_data", [lambda x: x, lambda x: tf.data.Dataset.from_tensor_slices(x).batch(4)])
def test_each_critic_update_sees_fresh_images(as_data):
    gan = tiny_gan(n_critic=3, run_eagerly=True)
    seen = record_batches(gan)
    images = random_images(29)
    data = as_data(images)
    gan.fit(data, batch_size=None if isinstance(data, tf.data.Dataset) else 4, shuffle=False, verbose=0)
    # Two whole steps; the last five images do not fill a third.
    assert int(gan.iterations) == 2
    np.testing.assert_array_equal(np.concatenate(seen), images[:24])
    assert [len(batch) for batch in seen] == [4] * 6
    assert len(gan.g_optimizer.variables) > 0
    assert (int(gan.g_optimizer.iterations), int(gan.d_optimizer.iterations)) == (2, 6)


def test_critic_updates_draw_fresh_latents():
    gan = tiny_gan(n_critic=2, run_eagerly=True)
    seeds, drawn = [], gan.draw
    gan.draw = lambda real, condition, seed: seeds.append(tuple(np.array(seed))) or drawn(real, condition, seed)
    train(gan, random_images(16))
    # After training statistics are measured, on latents of their own.
    assert seeds[:4] == [tuple(np.array(stream((3, update), "latents"))) for update in range(4)]
    assert seeds[4:] == [tuple(np.array(stream((3, index), "statistics"))) for index in range(4)]


def test_streams_of_a_seed_and_of_its_neighbours_have_nothing_in_common():
    class Drawing(tg.terms.Term):
        own_tape = True

        def __init__(self, name, player):
            super().__init__()
            self.name, self.player = name, player

        def __call__(self, play):
            seen.append(tuple(np.array(play.seed)))
            return tf.reduce_sum(play.judge(play.generator(play.inputs[0], training=True)))

    seen = []
    for seed in (3, 4, 5):
        terms = [Drawing(f"{player}_{index}", player) for player in ("discriminator", "generator") for index in (0, 1)]
        gan = tiny_gan(seed=seed, terms=terms, run_eagerly=True)
        drawn, observed = gan.draw, gan.observation
        gan.draw = lambda *args, drawn=drawn: (seen.append(tuple(np.array(args[-1]))), drawn(*args))[1]
        gan.observation = lambda *args, observed=observed: (seen.append(tuple(np.array(args[-1]))), observed(*args))[1]
        train(gan, random_images(8))
        gan.evaluate(random_images(8), batch_size=4, verbose=0)
    # Of two steps, and two batches of an evaluation: latents, what else is drawn, and four terms.
    assert len(seen) == len(set(seen)) == 3 * (2 * (1 + 4) + 2 * 2 + 4)
    # Those that people draw samples by.
    assert not set(seen) & {(seed, count) for seed in range(100) for count in range(10)}


def test_n_critic_with_labels_shuffles_arrays_once_an_epoch():
    gan = tiny_gan(num_classes=3, n_critic=2, run_eagerly=True)
    seen = record_batches(gan)
    images = random_images(16)
    gan.fit(images, random_labels(16), batch_size=4, epochs=2, verbose=0)
    first, second = np.concatenate(seen[:4]), np.concatenate(seen[4:])

    def ordered(x):
        return sorted(map(bytes, x))

    assert ordered(first) == ordered(second) == ordered(images)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, images)


def test_n_critic_equals_the_steps_taken_apart():
    images = random_images(8)
    settings = {"d_optimizer": keras.optimizers.SGD(0.1), "g_optimizer": keras.optimizers.SGD(0.0), "ema_decay": 0}
    whole = tiny_gan(n_critic=2, **settings)
    train(whole, images)
    apart = tiny_gan(d_optimizer=keras.optimizers.SGD(0.1), g_optimizer=keras.optimizers.SGD(0.0), ema_decay=0)
    train(apart, images)
    # With a generator that stands still, two critic updates are two steps.
    assert_all_close(values(whole.discriminator), values(apart.discriminator), 1e-6)


@pytest.mark.parametrize("n_critic", [-1, 1.5])
def test_n_critic_out_of_range(n_critic):
    with pytest.raises(ValueError, match=f"`n_critic` must be an integer of at least 0. Received: n_critic={n_critic}"):
        tiny_gan(n_critic=n_critic)


class Distance(tg.terms.Term):
    name, player = "distance", "generator"

    def __call__(self, play):
        return tf.reduce_mean(tf.square(play.outputs - play.target))


def test_without_critic_updates_the_generator_minimises_its_terms_alone():
    with pytest.raises(ValueError, match="With `n_critic=0` the generator minimises its terms alone, and it has none"):
        tiny_gan(n_critic=0)
    gan = tiny_gan(n_critic=0, terms=[Distance()])
    d_before, g_before = values(gan.discriminator), values(gan.generator)
    images = random_images(16, gan.image_shape)
    before = gan.fit(images, batch_size=8, verbose=0, epochs=2, validation_data=images).history
    assert sorted(before) == ["distance", "val_distance"]
    assert_all_close(values(gan.discriminator), d_before, 0)
    assert any(np.any(a != b) for a, b in zip(values(gan.generator), g_before, strict=True))
    assert gan.step == 4
    after = gan.fit(images, batch_size=8, verbose=0, epochs=20).history
    assert after["distance"][-1] < before["distance"][0]


def test_adversarial_weight_is_a_factor_of_the_generators_loss_alone():
    with pytest.raises(ValueError, match=r"`adversarial_weight` must be at least 0. Received: adversarial_weight=-1"):
        tiny_gan(adversarial_weight=-1)
    judges, moved = [], []
    for weight in (1.0, 0.0):
        keras.utils.set_random_seed(1)
        gan = tiny_gan(adversarial_weight=weight, terms=[Distance(0.0)])
        before = [np.array(v) for v in gan.generator.trainable_variables]
        gan.train_on_batch(random_images(8, gan.image_shape))
        judges.append(values(gan.discriminator))
        pairs = zip(gan.generator.trainable_variables, before, strict=True)
        moved.append(any(np.any(np.array(now) != old) for now, old in pairs))
    assert_all_close(judges[0], judges[1], 0)
    assert moved == [True, False]


def test_n_critic_needs_enough_images_of_a_kind_that_can_be_grouped():
    gan = tiny_gan(n_critic=3)
    with pytest.raises(ValueError, match=r"n_critic \* batch_size = 3 \* 4 images, and there are fewer"):
        train(gan, random_images(11))
    with pytest.raises(ValueError, match=r"With n_critic=3, `x` must be a tf\.data\.Dataset of batches or an array"):
        gan.fit(iter([random_images(4)]))


# Hooks.


def test_half_life_of_the_average_is_in_images():
    gan = tiny_gan(ema_half_life=8.0)
    # Far from the start, where the warm-up has ended.
    gan.iterations.assign(10**6)
    gan.ema_generator.set_weights([np.zeros_like(w) for w in gan.ema_generator.get_weights()])
    train(gan, random_images(4))
    for average, current in zip(*learned(gan, gan.ema_generator.weights, gan.generator.weights), strict=True):
        np.testing.assert_allclose(average, (1 - 0.5 ** (4 / 8)) * np.array(current), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["ema_decay", "ema_half_life"])
def test_average_follows_a_schedule(name):
    values_ = [0.9, 0.2] if name == "ema_decay" else [1e9, 1e-9]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([10**6 + 1], values_)
    gan = tiny_gan(**{name: schedule})
    gan.iterations.assign(10**6)
    gan.ema_generator.set_weights([np.zeros_like(w) for w in gan.ema_generator.get_weights()])
    train(gan, random_images(8))
    trained = [w for w in gan.generator.weights if w.trainable]
    averages = [w for w, g in zip(gan.ema_generator.weights, gan.generator.weights, strict=True) if g.trainable]
    for average, current in zip(averages, trained, strict=True):
        share = np.abs(np.array(average)).sum() / np.abs(np.array(current)).sum()
        assert 0.8 < share < 0.9 if name == "ema_decay" else share == pytest.approx(1)


def test_an_explicit_decay_takes_the_place_of_a_models_half_life():
    class Half(tg.GAN):
        def compile_defaults(self):
            return {"ema_half_life": 100.0, "n_critic": 2}

    gan = Half(*tiny_networks())
    gan.compile()
    assert (gan.ema_half_life, gan.n_critic) == (100.0, 2)
    gan.compile(ema_decay=0.5, n_critic=1)
    assert (gan.ema_half_life, gan.ema_decay, gan.n_critic) == (None, 0.5, 1)


@keras.saving.register_keras_serializable("tests")
class Brighten(keras.layers.Layer):
    """An augmentation that remembers what it was told."""

    def build(self, input_shape):
        self.mean_logit = self.add_weight(name="mean_logit", shape=(), initializer="zeros", trainable=False)
        self.calls = self.add_weight(name="calls", shape=(), initializer="zeros", trainable=False)

    def call(self, images):
        return images + 0.25

    def update(self, real_logits):
        self.mean_logit.assign(tf.reduce_mean(real_logits))
        self.calls.assign_add(1.0)


def test_augmentation_stands_between_images_and_discriminator_in_training_alone(tmp_path):
    gan = tiny_gan(augment=Brighten(), d_optimizer=keras.optimizers.SGD(0.0), n_critic=2)
    images = tf.constant(random_images(8))
    np.testing.assert_allclose(gan.judge(images, ()), gan.discriminator(images + 0.25), rtol=1e-5)
    np.testing.assert_allclose(gan.judge(images, (), training=False), gan.discriminator(images), rtol=1e-5)
    train(gan, images)
    assert float(gan.augment.calls) == 2, "told once an update, not when the generator is judged or in validation"
    np.testing.assert_allclose(gan.augment.mean_logit, np.mean(gan.judge(images[4:], ())), rtol=1e-5)
    gan.evaluate(images, verbose=0)
    assert float(gan.augment.calls) == 2
    gan.save(tmp_path / "gan.keras")
    copy = keras.models.load_model(tmp_path / "gan.keras")
    assert float(copy.augment.calls) == 2
    gan.compile(augment=False)
    assert gan.augment is None


def test_losses_of_layers_and_weights_count():
    def build(factor):
        keras.utils.set_random_seed(0)
        generator, _ = tiny_networks()
        images = keras.Input(SHAPE)
        x = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(factor))(keras.layers.Flatten()(images))
        gan = tg.GAN(generator, keras.Model(images, x), seed=3)
        gan.compile(d_optimizer=keras.optimizers.SGD(0.1))
        start = np.array(gan.discriminator.weights[0])
        train(gan, random_images(4))
        return start, np.array(gan.discriminator.weights[0])

    (start, plain), (_, regularised) = build(0.0), build(3.0)
    np.testing.assert_allclose(regularised, plain - 0.1 * 2 * 3.0 * start, atol=1e-5)


def test_layers_begin_each_update_of_their_network():
    class Counting(keras.layers.Layer):
        def build(self, input_shape):
            self.count = self.add_weight(name="count", shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            return x

        def begin_update(self):
            self.count.assign_add(1.0)

    generator, discriminator = tiny_networks()
    networks = [
        keras.Model(network.inputs, Counting(name="counting")(network.output)) for network in (generator, discriminator)
    ]
    with keras.utils.custom_object_scope({"Counting": Counting}):
        gan = tg.GAN(*networks)
    gan.compile(n_critic=3)
    train(gan, random_images(24))
    counts = [float(network.get_layer("counting").count) for network in (gan.generator, gan.discriminator)]
    assert counts == [2, 6]


def test_what_a_discriminator_predicts_has_its_own_loss():
    class Brightness(tg.terms.Term):
        def __init__(self, player):
            super().__init__()
            self.player, self.name = player, f"{player[0]}_brightness"

        def __call__(self, play):
            assert set(play.fake_outputs) == {"logits", "brightness"}
            of_fakes = tf.reduce_mean(play.fake_outputs["brightness"]) + 10.0
            if self.player == "generator":
                return of_fakes
            return of_fakes + tf.reduce_mean(play.real_outputs["brightness"]) + 1.0

    class Predicting(tg.GAN):
        def inherent_terms(self):
            return [Brightness("discriminator"), Brightness("generator")]

    generator, _ = tiny_networks()
    images = keras.Input(SHAPE)
    features = keras.layers.Flatten()(images)
    outputs = {"logits": keras.layers.Dense(1)(features), "brightness": keras.layers.Dense(1)(features)}
    gan = Predicting(generator, keras.Model(images, outputs), seed=3)
    gan.compile(d_optimizer=keras.optimizers.SGD(0.0), g_optimizer=keras.optimizers.SGD(0.0))
    real = random_images(4)
    logs = train(gan, real).history
    fake = gan.generator(gan.draw(real, (), stream((3, 0), "latents"))[0], training=True)
    means = [float(tf.reduce_mean(gan.discriminator(x)["brightness"])) for x in (real, fake)]
    np.testing.assert_allclose(logs["d_brightness"], sum(means) + 11, rtol=1e-5)
    np.testing.assert_allclose(logs["g_brightness"], means[1] + 10, rtol=1e-5)
