"""tfgan_app.study.collapse: each failure provoked by a GAN that is made to fail."""

import io

import keras
import numpy as np
import pytest
from conftest import random_images, tiny_gan, train

import tfgan_app as tg
from tfgan_app import cli, runs
from tfgan_app.base.errors import TrainingCollapsed
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.study.collapse import CollapseGuard

# Images with as many degrees of freedom as the GAN under test has latents.
_FACTORS = np.random.default_rng(9)
REAL = np.tanh(_FACTORS.normal(size=(200, 3)) @ _FACTORS.normal(size=(3, 64))).reshape(200, 8, 8, 1).astype(np.float32)


def classifier():
    """Two classes: dark and bright images."""
    inputs = keras.Input((8, 8, 1))
    features = keras.layers.Flatten(name="features")(inputs)
    logits = keras.layers.Dense(2, kernel_initializer="zeros")(features)
    network = keras.Model(inputs, logits, name="brightness")
    network.layers[-1].kernel.assign(np.stack([-np.ones(64), np.ones(64)], axis=1))
    return network


def guarded(gan, logs=None, **arguments):
    """Returns a guard on a GAN and what it wrote at the end of an epoch."""
    stream = io.StringIO()
    guard = CollapseGuard(REAL, num_samples=64, stream=stream, **{"grace_steps": 0, **arguments})
    guard.set_model(gan)
    guard.on_epoch_end(0, {"d_real": 0.6, "d_fake": 0.4, **(logs or {})})
    return guard, stream.getvalue()


def varied(spread=2.0, bias=0.0):
    """A GAN whose generator draws images that differ as its latents do."""
    gan = tiny_gan()
    *_, last = (layer for layer in gan.generator.layers if layer.weights)
    kernel, offset = last.get_weights()
    rng = np.random.default_rng(0)
    last.set_weights([spread * rng.normal(size=kernel.shape), np.full_like(offset, bias)])
    return gan


def test_a_healthy_gan_is_left_alone():
    _, text = guarded(varied())
    assert text == ""


def test_samples_that_are_all_alike():
    _, text = guarded(varied(spread=1e-3))
    assert "step 0: mode collapse: samples differ 0.00 times as much as real images" in text
    assert "duplicates: 100% of samples have a twin" in text


def test_classes_that_are_not_drawn():
    network = classifier()
    _, text = guarded(varied(), extractor=network)
    assert text == ""
    _, text = guarded(varied(spread=5.0, bias=30.0), extractor=network, min_classes=0.6)
    assert "mode collapse: 1 of 2 classes drawn" in text


def test_a_discriminator_that_is_always_right():
    gan = varied()
    for real, fake, loss, saturated in (
        (0.9, 0.001, None, True),
        (0.6, 0.001, None, False),
        (0.9, 0.1, None, False),
        (0.999, 0.001, tg.losses.Wasserstein(), False),
    ):
        gan.compile(loss=loss)
        _, text = guarded(gan, {"d_real": real, "d_fake": fake})
        assert ("discriminator saturated: D(x)" in text) == saturated


def test_numbers_that_are_not_finite():
    _, text = guarded(varied(), {"g_loss": float("nan"), "val_fd": float("inf")})
    assert "not finite: g_loss is nan" in text and "val_fd" not in text
    gan = varied()
    gan.generator.weights[0].assign(np.full(gan.generator.weights[0].shape, np.nan))
    _, text = guarded(gan)
    assert "not finite: the generator's images" in text


def test_stops_after_its_patience():
    gan = varied(spread=1e-3)
    guard, _ = guarded(gan, action="stop", patience=2)
    with pytest.raises(TrainingCollapsed, match="mode collapse: samples differ"):
        guard.on_epoch_end(1, {})


def test_rolls_back_to_the_best_checkpoint_with_lower_learning_rates(tmp_path):
    gan = varied()
    gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(2e-3))
    checkpoints = Checkpoints(gan, tmp_path, keep=1)
    guard, text = guarded(gan, action="rollback", checkpoints=checkpoints, max_rollbacks=1)
    assert text == "" and len(checkpoints.folders()) == 1
    good = gan.generator.get_weights()
    train(gan, random_images(8))
    gan.generator.set_weights([np.zeros_like(w) for w in good])
    guard.on_epoch_end(1, {})
    for weight, expected in zip(gan.generator.get_weights(), good, strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert int(gan.iterations) == 0
    assert [float(o.learning_rate) for o in (gan.g_optimizer, gan.d_optimizer)] == pytest.approx([5e-4, 1e-3])
    assert "rolled back to step 0" in guard.stream.getvalue()
    gan.generator.set_weights([np.zeros_like(w) for w in good])
    with pytest.raises(TrainingCollapsed, match="1 rollbacks did not help"):
        guard.on_epoch_end(2, {})


def test_the_best_epoch_is_the_one_of_the_lowest_score_in_whatever_session(tmp_path):
    gan = varied()
    checkpoints = Checkpoints(gan, tmp_path, keep=1)
    steps = []
    for session in ([3.0, 2.0], [2.5, float("nan"), 1.0]):
        guard = CollapseGuard(REAL, num_samples=8, checkpoints=checkpoints, monitor="val_fd", stream=io.StringIO())
        guard.set_model(gan)
        guard.on_train_begin()
        for value in session:
            train(gan, random_images(4))
            guard.on_epoch_end(0, {"val_fd": value})
            steps.append(int(checkpoints.folders()[0].name.removeprefix("step_")))
    assert steps == [1, 2, 2, 2, 5]
    assert checkpoints.facts() == {"val_fd": 1.0}


def test_there_is_nothing_to_roll_back_to(tmp_path):
    gan = varied(spread=1e-3)
    with pytest.raises(TrainingCollapsed, match="twin; there is no epoch to roll back to"):
        guarded(gan, action="rollback", checkpoints=Checkpoints(gan, tmp_path))


def test_rollback_refuses_a_learning_rate_schedule(tmp_path):
    gan = varied()
    gan.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 10)), keras.optimizers.Adam(1e-3))
    guard = CollapseGuard(REAL, action="rollback", checkpoints=Checkpoints(gan, tmp_path))
    guard.set_model(gan)
    with pytest.raises(ValueError, match="lowers constant learning rates; this GAN's follow a schedule"):
        guard.on_train_begin()


def test_guards_a_fit(capsys):
    gan = tiny_gan()
    train(gan, random_images(8), callbacks=[CollapseGuard(REAL, num_samples=32, min_diversity=5.0, grace_steps=0)])
    assert "step 2: mode collapse" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": "panic"}, "must be warn, stop or rollback. Received: action='panic'"),
        ({"action": "rollback"}, "needs `checkpoints`, to roll back to"),
    ],
)
def test_refuses_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CollapseGuard(REAL, **arguments)


# What nobody can have learnt yet, and what a few images cannot tell.


def test_is_silent_until_samples_have_been_well_or_its_grace_is_over():
    gan = varied(spread=1e-3)
    guard, text = guarded(gan, {"d_real": 0.999, "d_fake": 0.0}, grace_steps=2, action="stop")
    assert text == ""
    train(gan, random_images(8))
    with pytest.raises(TrainingCollapsed, match="step 2: mode collapse: samples differ"):
        guard.on_epoch_end(1, {})


def test_speaks_at_once_when_samples_have_been_well():
    gan = varied()
    guard, text = guarded(gan, grace_steps=1000)
    assert text == ""
    gan.generator.set_weights([np.zeros_like(w) for w in gan.generator.get_weights()])
    guard.on_epoch_end(1, {})
    assert "step 0: mode collapse: samples differ 0.00 times" in guard.stream.getvalue()


def test_what_is_not_finite_has_no_grace():
    _, text = guarded(varied(spread=1e-3), {"g_loss": float("nan")}, grace_steps=1000)
    assert text == "Collapse guard: step 0: not finite: g_loss is nan\n"


def test_an_epoch_of_the_grace_is_not_taken_for_a_good_one(tmp_path):
    gan = varied(spread=1e-3)
    checkpoints = Checkpoints(gan, tmp_path, keep=1)
    _, text = guarded(gan, action="rollback", checkpoints=checkpoints, grace_steps=1000)
    assert text == "" and checkpoints.folders() == []


@pytest.mark.parametrize("num", [1, 2, 40])
def test_of_a_few_real_images_samples_may_be_twins(num):
    real = np.repeat(REAL[:num], 1 if num > 2 else 2, axis=0)
    guard = CollapseGuard(real, num_samples=64, stream=io.StringIO(), grace_steps=0)
    guard.set_model(varied(spread=1e-3))
    found = guard.diagnose({})
    assert not any("twin" in text for text in found)
    # Images that are all alike are what there is to learn.
    assert bool(found) == (num > 1)


def watched(capfd, tmp_path, **settings):
    runs.train(dataset="mnist_5k", mixed_precision="none", score_every=1000, run_dir=tmp_path / "run", **settings)
    return [line for line in capfd.readouterr().err.splitlines() if line.startswith("Collapse guard")]


def test_a_run_that_learns_nothing_is_named_when_it_should_have(capfd, tmp_path):
    tiny = {"model": "MLPGAN", "model_arg": ["g_units=(8,)", "d_units=(8,)"], "latent_dim": 4, "batch_size": 8}
    long = {"train_steps": 2000, "steps_per_epoch": 1000, "split": "train[:600]", "eval_split": "test[:64]"}
    (line,) = watched(capfd, tmp_path, **tiny, **long, g_learning_rate=0.0, jit_compile="false")
    assert line.startswith("Collapse guard: step 2000: mode collapse: ")


@pytest.mark.parametrize("steps", [20, pytest.param(400, marks=pytest.mark.slow)])
def test_the_shipped_recipe_raises_no_alarm(steps, capfd, tmp_path):
    settings = cli.parsed(runs.Settings, ["--flagfile=mnist.flags"])
    short = {"model": settings.model, "train_steps": steps, "steps_per_epoch": 10, "eval_split": "test[:200]"}
    assert watched(capfd, tmp_path, **short) == []
