"""Training over several devices and processes: what they learn together is what one would learn alone."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import assert_all_close, random_data, random_images, tiny_model, tiny_networks, train, values

import tfgan_app as tg
from tfgan_app import data
from tfgan_app.base import randomness, strategies
from tfgan_app.base.errors import UsageError
from tfgan_app.base.replicas import mean_over_replicas, num_replicas, place
from tfgan_app.callbacks import ContinueEpoch, StopOnNonFinite
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.data import steps
from tfgan_app.layers.batch_norm import synchronize
from tfgan_app.metrics import FrechetDistance
from tfgan_app.runs import Run


# One in a process, whatever the order of tests: another would number its collective operations as the first did.
@pytest.fixture(scope="session")
def two():
    """A strategy of the two logical processors that conftest.py sets up."""
    return strategies.build_strategy("mirrored")


def on_each(strategy, step):
    """Returns what a step returns on each replica."""
    return [np.asarray(x) for x in strategy.experimental_local_results(tf.function(lambda: strategy.run(step))())]


# What a step knows.


def test_a_step_knows_its_place(two):
    assert num_replicas() == 1 and place() == 0 and mean_over_replicas(3.0) == 3.0
    assert on_each(two, lambda: tf.identity(place())) == [0, 1]
    assert on_each(two, lambda: tf.constant(num_replicas())) == [2, 2]
    assert on_each(two, lambda: mean_over_replicas(tf.cast(place(), tf.float32))) == [0.5, 0.5]


def test_the_average_that_logits_are_compared_with_is_that_of_all_replicas(two):
    loss, (real, fake) = tg.losses.RelativisticAverage(), np.random.default_rng(0).normal(size=(2, 2, 3))

    def part():
        # A replica has a row of each.
        own = [tf.gather(logits, place()) for logits in (real, fake)]
        return tf.stack([loss.discriminator(*own), loss.generator(*own[::-1])])

    whole = [loss.discriminator(real, fake), loss.generator(fake, real)]
    np.testing.assert_allclose(np.mean(on_each(two, part), axis=0), whole)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3), (1, 1, 1, 1), (5,), (4, 7, 3)])
@pytest.mark.parametrize("draw", [randomness.uniform, randomness.normal, lambda *args: randomness.integers(*args, 10)])
def test_replicas_draw_the_parts_of_one_batch(two, draw, shape):
    parts = on_each(two, lambda: draw(shape, tf.constant([3, 7], tf.int64)))
    whole = draw((2 * shape[0], *shape[1:]), (3, 7))
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_what_is_no_batch_is_drawn_alike(two):
    first, second = on_each(two, lambda: randomness.normal((1, 4), (3, 7), whole=True))
    np.testing.assert_array_equal(first, second)


def test_synchronised_batch_normalisation_takes_the_statistics_of_all(two):
    images = random_images(8, (3, 3, 2))
    alone = tg.layers.BatchNormalization()
    expected = alone(images, training=True)
    with two.scope():
        layer = tg.layers.BatchNormalization(synchronized=True)
        layer.build(images.shape)
    parts = on_each(two, lambda: layer(tf.gather(images, 4 * place() + tf.range(4)), training=True))
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-5)
    assert_all_close([w.numpy() for w in layer.weights], [w.numpy() for w in alone.weights], 1e-6)
    local = tg.layers.BatchNormalization()
    with two.scope():
        local.build(images.shape)
    apart = on_each(two, lambda: local(tf.gather(images, 4 * place() + tf.range(4)), training=True))
    assert np.abs(np.concatenate(apart) - expected).max() > 1e-2


def test_replicas_keep_one_pool_and_drop_their_parts(two):
    images, seed = random_images(12).reshape(3, 4, 8, 8, 1), tf.constant([1, 2], tf.int64)
    alone = tg.layers.ImagePool(3)
    dropout = tg.layers.SeededDropout(0.5)
    expected = [alone(batch, seed + step) for step, batch in enumerate(images)]
    with two.scope():
        pool = tg.layers.ImagePool(3)
        pool.build(images.shape[1:])
    for step, batch in enumerate(images):
        parts = on_each(two, lambda x=batch, k=step: pool(tf.gather(x, 2 * place() + tf.range(2)), seed + k))
        np.testing.assert_array_equal(np.concatenate(parts), expected[step])
        for copy in two.experimental_local_results(pool.images.value):
            assert (copy.numpy() != 0).any()
    for copy in two.experimental_local_results(pool.images.value):
        np.testing.assert_array_equal(copy, alone.images)
    parts = on_each(two, lambda: dropout([tf.gather(images[0], 2 * place() + tf.range(2)), seed], training=True))
    np.testing.assert_array_equal(np.concatenate(parts), dropout([images[0], seed], training=True))


# Training.


def trained(name, strategy, steps, batch_norm=True, **arguments):
    """Returns the weights and the last losses of a tiny model after some steps on 8 samples each."""
    keras.utils.set_random_seed(1)
    with strategy.scope():
        # With Adam's own epsilon rounding decides about the steps of parameters that have almost no gradient; WGAN's
        # clipped weights leave batch normalisation hardly more than rounding to work on. With a rate of 1e-3, weights
        # that differ by 1e-6 at first differ by 1e-4 after six of PGGAN's steps.
        optimizers = {key: tg.optimizers.Adam(5e-5, 0.5, epsilon=1e-2) for key in ("g_optimizer", "d_optimizer")}
        gan = tiny_model(name, **({} if batch_norm else {"batch_norm": False}))
        gan.compile(**optimizers, jit_compile=False, **arguments)
    synchronize(gan.generator)
    synchronize(gan.discriminator)
    images, other = random_data(gan, 8 * gan.batches_a_step * steps)
    samples = images if other is None else (images, other)
    batches = tf.data.Dataset.from_tensor_slices(samples).batch(8, drop_remainder=True)
    # As the command trains: from an endless data set, by epochs.
    logs = gan.fit(batches.repeat(), steps_per_epoch=steps // 2, epochs=2, verbose=0, shuffle=False).history
    return [w.numpy() for w in gan.weights], {name: values[-1] for name, values in logs.items()}


def assert_trains_alike(name, strategy, steps, tolerance=1e-5, **arguments):
    weights, logs = trained(name, tf.distribute.get_strategy(), steps, **arguments)
    shared_weights, shared_logs = trained(name, strategy, steps, **arguments)
    assert_all_close(shared_weights, weights, tolerance)
    assert shared_logs == pytest.approx(logs, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", ["MLPGAN", "WGAN"])
def test_two_devices_learn_what_one_learns(two, name):
    assert_trains_alike(name, two, 4)


def test_two_devices_take_the_steps_of_lazy_terms_together(two):
    assert_trains_alike("MLPGAN", two, 4, terms=[tg.terms.R1(weight=5.0, interval=2)])


def test_two_devices_keep_the_averages_of_all_logits(two):
    found = []
    for strategy in (tf.distribute.get_strategy(), two):
        with strategy.scope():
            term = tg.terms.LeCam(weight=1.0, decay=0.5)
        weights, logs = trained("MLPGAN", strategy, 4, terms=[term])
        found.append((weights, logs, [x.numpy() for x in term.state.weights]))
    assert_all_close(found[1][0], found[0][0], 1e-5)
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-3, abs=1e-5)
    assert found[1][2] == pytest.approx(found[0][2], rel=1e-4)
    assert found[0][2][2] == 4


def test_two_devices_learn_in_parts_what_one_learns_of_the_batch(two):
    # Networks without a layer that looks at the batch.
    arguments, found = {"steps": 4, "batch_norm": False}, []
    for strategy, accumulate in ((tf.distribute.get_strategy(), 1), (two, 2)):
        terms = [tg.terms.R1(1.0, interval=2)]
        found.append(trained("MLPGAN", strategy, **arguments, terms=terms, accumulate=accumulate))
    assert_all_close(found[1][0], found[0][0], 1e-5)
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-3, abs=1e-5)


def test_two_devices_see_by_a_network_of_a_file_as_one(two, tmp_path):
    images = keras.Input((None, None, 1))
    keras.Model(images, keras.layers.Conv2D(2, 3)(images)).save(tmp_path / "network.keras")
    found = []
    for strategy in (tf.distribute.get_strategy(), two):
        # Each loads its own, when training begins.
        found.append(trained("MLPGAN", strategy, 4, terms=[tg.terms.Perceptual(tmp_path / "network.keras")]))
    assert_all_close(found[1][0], found[0][0], 1e-5)
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-3, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", tg.models.__all__)
def test_two_devices_learn_what_one_learns_with_every_model(two, name):
    # On one device, too, weights of BigGAN's that differ by 3e-7 of themselves at first are 2e-5 apart at the end.
    assert_trains_alike(name, two, 20, tolerance=3e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ESRGAN", "SRGAN"])
def test_two_devices_learn_what_one_learns_while_the_discriminator_rests(two, name):
    assert_trains_alike(name, two, 6, n_critic=0)


@pytest.mark.slow
@pytest.mark.parametrize("augment", ["DiffAugment", "AdaptiveAugment"])
def test_two_devices_augment_as_one(two, augment):
    def build():
        options = {"interval": 2, "initial_p": 0.5, "speed": 100} if augment == "AdaptiveAugment" else {}
        return getattr(tg.augment, augment)(seed=5, **options)

    weights, _ = trained("MLPGAN", tf.distribute.get_strategy(), 6, augment=build())
    with two.scope():
        shared = build()
    shared_weights, _ = trained("MLPGAN", two, 6, augment=shared)
    assert_all_close(shared_weights, weights, 1e-5)


def test_half_lives_count_the_images_of_all_devices(two):
    found = []
    for strategy in (tf.distribute.get_strategy(), two):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            gan = tg.GAN(*tiny_networks(), seed=3)
            gan.compile(ema_half_life=2)
            # Past the first steps, which average over fewer.
            gan.iterations.assign(1000)
        synchronize(gan.generator)
        gan.fit(random_images(4), batch_size=4, verbose=0)
        found.append([w.numpy() for w in gan.ema_generator.weights])
    assert_all_close(*found, 1e-5)


def test_scores_are_those_of_all_images(two):
    extractor = tg.metrics.load_extractor("mnist_cnn")
    found = []
    for strategy in (tf.distribute.get_strategy(), two):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            gan = tiny_model("DCGAN")
            gan.compile(metrics=[FrechetDistance(extractor)])
        batches = tf.data.Dataset.from_tensor_slices(random_images(12, gan.image_shape)).batch(4)
        found.append(gan.evaluate(batches, return_dict=True, verbose=0))
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_float16_on_several_devices_is_refused(two):
    keras.config.set_dtype_policy("mixed_float16")
    with two.scope():
        gan = tg.GAN(*tiny_networks())
        with pytest.raises(ValueError, match=r"float16 trains on one device: .* Take bfloat16"):
            gan.compile()


def test_nan_on_one_of_two_devices_stops_both(two, tmp_path):
    images = random_images(24)
    # The second half of the second batch is the second device's.
    images[14, 0, 0, 0] = np.nan
    with two.scope():
        gan = tg.GAN(*tiny_networks())
        gan.compile()
        checkpoints = Checkpoints(gan, tmp_path)
    train(gan, images[:8], batch_size=8)
    checkpoints.save()
    with pytest.raises(FloatingPointError, match="became nan at step 2"):
        # Past the look that `gan.fit` takes at its data.
        keras.Model.fit(gan, images[8:], batch_size=8, shuffle=False, verbose=0, callbacks=[StopOnNonFinite()])
    with pytest.raises(FloatingPointError, match="holds NaN or Inf at step 2"):
        checkpoints.save()
    checkpoints.restore()
    assert gan.step == 1
    assert all(np.isfinite(value).all() for value in values(gan.generator, gan.discriminator))


def test_an_epoch_of_two_devices_goes_on_with_its_averages(two, tmp_path):
    images = random_images(24)

    def build():
        keras.utils.set_random_seed(0)
        with two.scope():
            gan = tg.GAN(*tiny_networks())
            gan.compile()
        return gan

    whole, first, second = build(), build(), build()
    expected = train(whole, images, batch_size=8).history
    train(first, images[:8], batch_size=8)
    with two.scope():
        Checkpoints(first, tmp_path).save()
        Checkpoints(second, tmp_path).restore()
    received = train(second, images[8:], batch_size=8, callbacks=[ContinueEpoch(second)]).history
    for name, averages in expected.items():
        assert received[name] == pytest.approx(averages, rel=1e-5), name


def test_shares_of_a_step_hold_parts_of_each_batch():
    batches = tf.data.Dataset.range(16).batch(4, drop_remainder=True)
    assert [list(x.numpy()) for x in steps.by_replica(batches, 2, 1)] == [list(range(8)), list(range(8, 16))]
    assert next(list(x.numpy()) for x in steps.by_replica(batches, 2, 2)) == [0, 1, 4, 5, 2, 3, 6, 7]
    assert [list(x.numpy()) for x in steps.by_replica(batches, 2, 2, split=True)][:2] == [[0, 1, 4, 5], [2, 3, 6, 7]]
    with pytest.raises(ValueError, match="3 replicas cannot share batches of 4 images equally"):
        steps.by_replica(batches, 2, 3)


# Data.


def records(kind):
    images = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    held = data.records.hold((images, np.arange(20, dtype=np.int32))).records
    if kind == "indexed":
        return held
    encoded = tf.data.Dataset.range(20)
    return data.records.Streamed(encoded, lambda i: (tf.cast(tf.reshape(i, (-1, 1, 1, 1)), tf.uint8), i), 20, None)


@pytest.mark.parametrize("kind", ["indexed", "streamed"])
def test_parts_of_batches_make_up_the_batches(kind):
    def labels(part):
        return np.array([y for _, y in records(kind).batches(6, 3, 2, part).take(9)])

    whole = labels((0, 1))
    assert whole.shape == (9, 6)
    np.testing.assert_array_equal(np.concatenate([labels((index, 3)) for index in range(3)], axis=1), whole)


# Strategies by name.


def test_no_strategy_is_tensorflows_default():
    strategy = strategies.build_strategy("none")
    assert strategy.num_replicas_in_sync == 1 and strategies.is_chief(strategy)


def test_one_device_is_no_mirror(monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["one"] if kind == "CPU" else [])
    with pytest.raises(UsageError, match="`strategy=mirrored` needs two devices or more; this machine has one"):
        strategies.build_strategy("mirrored")


@pytest.mark.parametrize("config", [None, "", "{}", '{"cluster": {"worker": ["a:1"]}}', "no json"])
def test_workers_must_know_each_other(monkeypatch, config):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UsageError, match="`strategy=multi_worker` needs the environment variable TF_CONFIG"):
        strategies.build_strategy("multi_worker")


# Processes.

RECIPE = [
    *("--model=DCGAN", "--model_arg=base_channels=2", "--dataset=mnist_5k", "--batch_size=8", "--steps_per_epoch=4"),
    *("--mixed_precision=none", "--eval_images=130", "--sync_batch_norm", "--on_collapse=ignore"),
]


def free_ports(num):
    sockets = [socket.socket() for _ in range(num)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def command(*flags, environment=None):
    return subprocess.Popen(
        [sys.executable, "-m", "tfgan_app.train", *RECIPE, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **(environment or {})},
    )


def workers(*flags, num=2):
    """Starts a command in several processes that train together."""
    hosts = [f"localhost:{port}" for port in free_ports(num)]
    configs = [{"cluster": {"worker": hosts}, "task": {"type": "worker", "index": i}} for i in range(num)]
    return [
        command("--strategy=multi_worker", *flags, environment={"TF_CONFIG": json.dumps(config)}) for config in configs
    ]


def finish(process, code=0):
    out, _ = process.communicate(timeout=600)
    assert process.returncode == code, out
    return out


def final_weights(folder):
    gan = Run.existing(folder).restored_gan()
    assert Checkpoints(gan, folder / "checkpoints").folders()
    return [w.numpy() for w in gan.weights]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path):
    # Rates at which rounding stays rounding: with Adam's epsilon it decides about some steps.
    flags = ["--train_steps=20", "--g_learning_rate=1e-5", "--d_learning_rate=1e-5"]
    finish(command(*flags, f"--run_dir={tmp_path / 'one'}"))
    chief, other = workers(*flags, f"--run_dir={tmp_path / 'two'}")
    assert "Frechet distance" in finish(chief)
    out = finish(other)
    assert "Frechet distance" not in out and "step 20/20" not in out
    assert_all_close(final_weights(tmp_path / "two"), final_weights(tmp_path / "one"), 1e-5)


@pytest.mark.slow
def test_the_others_stop_where_a_worker_is_killed_and_the_command_goes_on(tmp_path):
    flags = ["--train_steps=100000", f"--run_dir={tmp_path}"]
    chief, other = workers(*flags)
    while not list(tmp_path.glob("checkpoints/step_*")):
        assert chief.poll() is None, finish(chief)
        time.sleep(0.02)
    other.send_signal(signal.SIGKILL)
    began = time.monotonic()
    out = finish(chief, 1)
    assert time.monotonic() - began < 120
    assert "Another worker stopped after step" in out and "Traceback" not in out
    finish(other, -signal.SIGKILL)
    step = int(Checkpoints(None, tmp_path / "checkpoints").folders()[0].name.removeprefix("step_"))
    chief, other = workers(f"--train_steps={step + 4}", *flags[1:])
    assert f"Going on from step {step}" in finish(chief)
    finish(other)
