"""tfgan_app.runs: what flags make of a model."""

import dataclasses
import errno

import filelock
import keras
import numpy as np
import pytest
from conftest import parsed_settings, random_images

import tfgan_app as tg
from tfgan_app import runs
from tfgan_app.base.errors import UsageError

SHAPE = (28, 28, 1)
TINY = ("--model_arg=base_channels=2", "--latent_dim=4")


def build(*arguments, num_classes=3, model="DCGAN", **kwargs):
    return runs.build_gan(parsed_settings(f"--model={model}", *TINY, *arguments), SHAPE, num_classes, **kwargs)


def test_what_is_not_given_is_the_models_own():
    gan = build(model="WGAN")
    assert type(gan.loss) is tg.losses.Wasserstein
    assert (gan.n_critic, gan.terms, gan.augment, gan.ema_decay) == (5, [], None, 0.999)


def test_flags_swap_every_part():
    gan = build(
        "--loss=Hinge",
        "--penalty=R1(weight=2, interval=16)",
        "--penalty=GradientPenalty",
        "--augment=DiffAugment(policy=('color',))",
        "--n_critic=2",
        "--ema_decay=0.5",
        "--g_learning_rate=0.25",
        model="WGAN",
    )
    assert type(gan.loss) is tg.losses.Hinge
    assert [type(penalty) for penalty in gan.terms] == [tg.terms.R1, tg.terms.GradientPenalty]
    assert gan.terms[0].get_config() == {"weight": 2, "interval": 16}
    assert gan.terms[1].weight == 10
    assert type(gan.augment) is tg.augment.DiffAugment
    assert gan.augment.get_config()["policy"] == ("color",)
    assert (gan.n_critic, gan.ema_decay) == (2, 0.5)
    assert float(gan.g_optimizer.learning_rate) == 0.25
    assert float(gan.d_optimizer.learning_rate) == pytest.approx(5e-5)


def test_the_generator_learns_from_the_best_fakes_by_a_flag():
    for flags, inner in (((), tg.losses.Wasserstein), (("--loss=LeastSquares",), tg.losses.LeastSquares)):
        gan = build("--top_k=0.25", "--penalty=LeCam(weight=0.1)", *flags, model="WGAN")
        assert (type(gan.loss), type(gan.loss.loss), gan.loss.least) == (tg.losses.TopK, inner, 0.25)
        assert [type(term) for term in gan.terms] == [tg.terms.LeCam]
        assert f"'loss': '{inner.__name__}'" in gan.describe()["loss"]
    with pytest.raises(UsageError, match=r"`top_k=0.0` must lie in \(0, 1\]"):
        runs.Settings(top_k=0.0)


def test_none_takes_a_models_own_parts_away():
    settings = parsed_settings("--model=WGANGP", "--model_arg=g_channels=4", "--model_arg=d_channels=4")
    assert len(runs.build_gan(settings, SHAPE, None).terms) == 1
    assert runs.build_gan(dataclasses.replace(settings, penalty=["none"], augment="none"), SHAPE, None).terms == []


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--penalty=R3", r"`penalty=R3` must be like DRAGAN or DRAGAN\(name=value\): R3 is not one of DRAGAN, R1"),
        ("--penalty=R1(5)", r"`penalty=R1\(5\)` must be like .*: arguments go by name"),
        ("--penalty=R1(weight=-1)", "`weight` must be at least 0"),
        ("--penalty=R1(speed=2)", "unexpected keyword argument 'speed'"),
        ("--penalty=R1(", "`penalty=R1[(]` must be like"),
        ("--penalty=R1(weight=open)", "`penalty=R1[(]weight=open[)]` must be like"),
        ("--penalty=Term", "Term is not one of"),
        ("--augment=Flip", r"`augment=Flip` must be like AdaptiveAugment or .*: Flip is not one of"),
        ("--augment=tf.image", "this is not one of"),
        ("--conditional", "`model=DCGAN` takes no labels, so `conditional` has no meaning for it"),
        ("--model_arg=width=3", "DCGAN takes no width. It takes latent_dim, base_channels"),
    ],
)
def test_mistaken_parts_are_refused(flag, message):
    with pytest.raises(UsageError, match=message):
        build(flag)


def test_labels_are_taken_where_needed_or_asked_for():
    small = ("--model=SAGAN", "--model_arg=g_channels=8", "--model_arg=d_channels=8")
    assert runs.build_gan(parsed_settings(*small), SHAPE, 3).num_classes is None
    assert runs.build_gan(parsed_settings(*small, "--conditional"), SHAPE, 3).num_classes == 3
    with pytest.raises(UsageError, match="`model=SAGAN` needs labelled images, and `dataset=mnist_5k` has none"):
        runs.build_gan(parsed_settings(*small, "--conditional"), SHAPE, None)


def test_learning_rates_fall_to_zero_at_the_last_step():
    gan = build("--decay_learning_rates", "--train_steps=4", "--n_critic=2", "--g_learning_rate=0.5", run_eagerly=True)
    seen = []
    for _ in range(4):
        seen.append([float(optimizer.learning_rate) for optimizer in (gan.g_optimizer, gan.d_optimizer)])
        gan.fit(random_images(8, SHAPE), batch_size=4, verbose=0)
    np.testing.assert_allclose(np.array(seen) / seen[0], np.repeat([[1], [0.75], [0.5], [0.25]], 2, axis=1), rtol=1e-5)
    assert seen[0] == pytest.approx([0.5, 2e-4])
    assert float(gan.g_optimizer.learning_rate) == 0
    runs.set_learning_rates(gan, parsed_settings("--decay_learning_rates", "--g_learning_rate=0.5"))
    assert float(gan.g_optimizer.learning_rate) == 0, "a resumed run goes on with the schedule"


def test_learning_rates_may_stay_for_a_while_before_they_fall():
    gan = build("--decay_learning_rates", "--decay_from=2", "--train_steps=4", "--n_critic=2", "--g_learning_rate=0.5")
    rates = [[float(gan.g_optimizer.learning_rate), float(gan.d_optimizer.learning_rate)]]
    for step in range(1, 5):
        gan.g_optimizer.iterations.assign(step)
        gan.d_optimizer.iterations.assign(2 * step)
        rates.append([float(gan.g_optimizer.learning_rate), float(gan.d_optimizer.learning_rate)])
    np.testing.assert_allclose(np.array(rates) / rates[0], np.repeat([[1], [1], [1], [0.5], [0]], 2, axis=1), atol=1e-6)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--decay_from=2"], "`decay_from=2` has no meaning without `decay_learning_rates`"),
        (
            ["--decay_from=4", "--decay_learning_rates", "--train_steps=4"],
            "`decay_from=4` must be less than `train_steps=4`",
        ),
    ],
)
def test_a_decay_that_never_begins_is_refused(flags, message):
    with pytest.raises(UsageError, match=message):
        build(*flags)


def test_learning_rates_fall_over_the_steps_of_lazy_penalties_too():
    gan = build("--decay_learning_rates", "--train_steps=3", "--penalty=R1(interval=2)", run_eagerly=True)
    seen = []
    for _ in range(3):
        seen.append(float(gan.d_optimizer.learning_rate))
        gan.fit(random_images(4, SHAPE), batch_size=4, verbose=0)
    # Five steps: the first and the third update are followed by one of the penalty.
    np.testing.assert_allclose(np.array(seen) / seen[0], [1, 0.6, 0.4], rtol=1e-5)
    assert float(gan.d_optimizer.learning_rate) == float(gan.g_optimizer.learning_rate) == 0


def test_a_models_own_schedule_is_not_overwritten():
    narrow = ("--model=R3GAN", "--model_arg=widths=(4,4,4)", "--model_arg=cardinalities=(2,2,2)")
    for setting in ("decay_learning_rates", "g_learning_rate=0.1"):
        with pytest.raises(UsageError, match=f"`{setting}` cannot be set: R3GAN trains with a schedule"):
            runs.build_gan(parsed_settings(*narrow, f"--{setting}"), SHAPE, None)


def test_a_file_system_without_locks_is_no_reason_not_to_train(tmp_path, monkeypatch, caplog):
    def acquire(self, timeout=None):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with caplog.at_level("WARNING", logger="absl"):
        runs.Run(tmp_path).lock()
    assert f"{tmp_path} cannot be locked: [Errno {errno.ENOLCK}] No locks available." in caplog.text


def test_help_names_every_part():
    text = runs.Settings.row("penalty").help + runs.Settings.row("augment").help
    penalties = {name for name in tg.terms.__all__ if getattr(getattr(tg.terms, name), "own_tape", False)}
    for name in penalties | {*tg.augment.__all__} - {"Augment"}:
        assert name in text, name
    assert keras.saving.get_registered_object("tfgan_app>R1") is tg.terms.R1
