"""tfgan_app.modes: what counts as a mode, GANs on mixtures and stacked digits, and the command that compares them."""

import dataclasses
import json
import math
import pathlib

import commands
import keras
import numpy as np
import pytest

from tfgan_app import modes
from tfgan_app.modes import digits, mixtures

TINY = modes.Setting(steps=10, batch_size=8, g_width=5, d_width=3)


def command(*arguments, code=0):
    return commands.run("benchmark", *arguments, code=code)


def run_of(method, seed=0, found=8, high_quality=0.5, kl=0.1, seconds=2.0):
    return {
        "method": method,
        "seed": seed,
        "modes": found,
        "high_quality": high_quality,
        "kl": kl,
        "seconds": seconds,
    }


# Coverage.


@pytest.mark.parametrize(("task", "count", "sigma"), [("ring", 8, 0.01), ("grid", 25, 0.05)])
def test_mixtures_are_those_of_the_paper(task, count, sigma):
    mixture = modes.TASKS[task]
    points = mixture.sample(20_000, seed=0)
    found = mixture.coverage(points)
    assert found.modes == len(mixture.centers) == count
    # Within three deviations of a Gaussian in the plane.
    assert found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert found.kl < 0.002
    centers = np.array(mixture.centers)
    nearest = centers[np.linalg.norm(points[:, None] - centers, axis=2).argmin(axis=1)]
    assert np.std(points - nearest) == pytest.approx(sigma, rel=0.02)


def test_coverage_of_a_collapsed_and_of_a_poor_generator():
    mixture = modes.TASKS["ring"]
    assert mixture.coverage(np.tile([[1.0, 0.0]], (50, 1))) == modes.Coverage(1, 1.0, pytest.approx(math.log(8)))
    far = mixture.coverage(np.array([[1.04, 0.0], [0.0, 1.0]]))
    assert far == modes.Coverage(1, 0.5, pytest.approx(math.log(4)))


def test_stacked_digits_cover_all_modes_and_one_image_covers_one():
    task = modes.StackedDigits(num_samples=3000)
    images = task.sample(task.num_samples, seed=0)
    assert images.shape == (3000, 28, 28, 3) and images.min() == -1.0 and images.max() == 1.0
    found = task.coverage(images)
    assert found.modes > 930 and found.high_quality is None
    # The mean of the divergence of as many draws from 1000 equally likely modes, to first order in 1 / draws.
    assert found.kl == pytest.approx(999 / 2 / 3000, rel=0.3)
    assert task.coverage(np.tile(images[:1], (600, 1, 1, 1))) == modes.Coverage(1, None, pytest.approx(math.log(1000)))


def test_each_channel_is_a_digit_of_its_own():
    images = modes.TASKS["stacked_mnist"].sample(300, seed=0)
    ones = np.tile(images[:1, ..., :1], (1, 1, 1, 3))
    mixed = np.concatenate([ones, images])
    classes = [digits.classes_of(mixed[..., [k]])[:, 0] for k in range(3)]
    np.testing.assert_array_equal(digits.classes_of(mixed), np.stack(classes, axis=1))
    assert len(set(digits.classes_of(ones)[0])) == 1


# Networks.


def test_networks_in_the_plane_have_the_papers_sizes():
    generator, discriminator = mixtures.build_networks([0])
    assert sum(int(np.prod(v.shape)) for v in generator.trainable_variables) == (
        2 * 400 + 3 * 400 * 400 + 4 * 2 * 400 + 400 * 2 + 2
    )
    assert sum(int(np.prod(v.shape)) for v in discriminator.trainable_variables) == (
        (2 + 1) * 1000 + 2 * (200 + 1) * 1000 + 200 + 1
    )
    packed = mixtures.build_networks([0], packing=4)[1]
    assert packed(np.zeros((8, 2), np.float32)).shape == (2, 1)
    units = np.random.default_rng(0).normal(size=(3, 7, 5)).astype(np.float32)
    np.testing.assert_array_equal(mixtures.Maximum()(units), units.max(axis=-1))


@pytest.mark.parametrize("packing", [1, 2])
def test_networks_of_several_seeds_equal_those_of_each(packing):
    together = mixtures.build_networks([3, 5], packing, True, 6, 4)
    rng = np.random.default_rng(0)
    for network, shape in zip(together, [(8, 2), (8, 2)], strict=True):
        x = rng.normal(size=shape).astype(np.float32)
        found = np.split(np.asarray(network(x, training=True)), 2)
        for seed, half, got in zip((3, 5), np.split(x, 2), found, strict=True):
            alone = {n.name: n for n in mixtures.build_networks([seed], packing, True, 6, 4)}[network.name]
            np.testing.assert_allclose(got, alone(half, training=True), atol=1e-5)


def test_the_small_discriminator_has_a_quarter_of_the_channels():
    sizes = {}
    for d_channels in (16, 4):
        generator, discriminator = digits.build_networks(g_channels=16, d_channels=d_channels)
        first = discriminator.get_layer(index=2)
        assert first.kernel.shape == (4, 4, 3, d_channels)
        sizes[d_channels] = discriminator.count_params()
        assert generator.output.shape == (None, 28, 28, 3)
    assert sizes[4] < sizes[16] / 4


# Methods.


# Each compiles for seconds: the quick ones are those that differ most.
def quick(names, task):
    return [
        name if name in names else pytest.param(name, marks=pytest.mark.slow) for name in modes.methods(task, "short")
    ]


@pytest.mark.parametrize("name", quick(("wgan_gp", "pacgan2", "best"), "ring"))
def test_every_method_trains_in_the_plane(name):
    mixture = dataclasses.replace(modes.TASKS["ring"], num_samples=20)
    together = mixture.train(modes.methods("ring", "short")[name], TINY, [1, 2])
    assert together.shape == (2, 20, 2) and np.isfinite(together).all()
    assert np.abs(together[0] - together[1]).max() > 1e-3
    if name == "pacgan2":
        # As it is trained alone, up to rounding, which Adam's first steps can enlarge to a learning rate.
        alone = mixture.train(modes.methods("ring", "short")[name], TINY, [2])
        np.testing.assert_allclose(alone[0], together[1], atol=2e-3)


@pytest.mark.parametrize("name", quick(("best",), "stacked_mnist"))
def test_every_method_trains_on_stacked_digits(name):
    task = modes.StackedDigits(num_samples=40)
    setting = dataclasses.replace(TINY, steps=5, g_width=2, d_width=2)
    (images,) = task.train(modes.methods("stacked_mnist", "short")[name], setting, [1])
    assert images.shape == (40, 28, 28, 3) and np.abs(images).max() <= 1.0
    assert task.shown(images).dtype == np.uint8
    assert keras.config.dtype_policy().name == "float32"


class Recorder:
    def compile(self, g_optimizer, d_optimizer, **arguments):
        self.g_optimizer, self.d_optimizer, self.arguments = g_optimizer, d_optimizer, arguments


def test_the_budget_counts_updates_of_the_discriminator():
    gan = Recorder()
    assert modes.METHODS["wgan_gp"].compile(gan, TINY, copies=2) == TINY.steps // 5
    assert gan.arguments["n_critic"] == 5
    assert gan.arguments["steps_per_execution"] == 2
    assert modes.METHODS["gan"].compile(gan, TINY) == TINY.steps


def test_methods_train_with_the_optimizer_of_task_and_setting():
    gan = Recorder()
    modes.methods("ring", "paper")["gan"].compile(gan, TINY, copies=2)
    for optimizer in (gan.g_optimizer, gan.d_optimizer):
        assert float(optimizer.learning_rate) == pytest.approx(1e-4)
        assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.8, 0.999, 5e-8)
    assert gan.g_optimizer is not gan.d_optimizer and gan.arguments["ema_decay"] == 0.0
    falling = dataclasses.replace(modes.METHODS["wgan_gp"], adam=modes.Adam(0.1, 0.0, end=0.2, ema_decay=0.9))
    steps = falling.compile(gan, TINY)
    rate = gan.g_optimizer._learning_rate
    np.testing.assert_allclose([rate(0), rate(steps)], [0.1, 0.02], rtol=1e-6)
    assert gan.arguments["ema_decay"] == 0.9


def test_methods_know_what_they_are():
    facts = modes.methods("ring", "paper")["wgan_gp"].facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["loss"]["class_name"] == "Wasserstein"
    assert [(p["class_name"], p["config"]["weight"]) for p in facts["penalties"]] == [("GradientPenalty", 10.0)]
    assert facts["adam"]["learning_rate"] == 1e-4 and facts["n_critic"] == 5 and facts["batch_norm"] is False


# Reports.


def test_table_gives_mean_and_standard_error():
    real = {"modes": 8, "high_quality": 0.989, "kl": 0.001}
    runs = [run_of("gan", 0, 6), run_of("gan", 1, 8), run_of("best", 0, 8, 0.99, 0.01, 3.0)]
    assert modes.table(json.loads(json.dumps(runs)), real).splitlines() == [
        "| | modes | high quality, % | reverse KL | seconds |",
        "|---|---:|---:|---:|---:|",
        "| real samples | 8.0 | 98.9 | 0.001 | |",
        "| gan | 7.0 ± 1.0 | 50.0 ± 0.0 | 0.100 ± 0.000 | 2 ± 0 |",
        "| best | 8.0 | 99.0 | 0.010 | 3 |",
    ]
    without = [run_of("gan", high_quality=None)]
    lines = modes.table(without, {"modes": 8, "high_quality": None, "kl": 0.0}).splitlines()
    assert lines[0] == "| | modes | reverse KL | seconds |"
    assert lines[2] == "| real samples | 8.0 | 0.000 | |"


def test_a_report_goes_on_where_it_stopped(tmp_path):
    report = modes.Report(tmp_path, "ring", {"steps": 5})
    assert report.missing("gan", [0, 1]) == [0, 1]
    report.add(run_of("gan", 0), np.zeros((4, 2)))
    again = modes.Report(tmp_path, "ring", {"steps": 5})
    assert again.missing("gan", [0, 1, 2]) == [1, 2]
    assert again.missing("best", [0]) == [0]
    again.plot(modes.TASKS["ring"], ["gan"])
    assert (tmp_path / "ring.png").read_bytes().startswith(b"\x89PNG")
    # Without samples of the first seed there is nothing to draw.
    (tmp_path / "ring.npz").unlink()
    assert modes.Report(tmp_path, "ring", {"steps": 5}).missing("gan", [0, 1]) == [0, 1]
    with pytest.raises(ValueError, match=r"holds runs of other settings \(steps 5 -> 6\)"):
        modes.Report(tmp_path, "ring", {"steps": 6})


def test_a_report_takes_no_runs_of_a_method_that_has_changed(tmp_path):
    report = modes.Report(tmp_path, "ring", {})
    report.begin("gan", {"packing": 1, "adam": {"beta_1": 0.5}})
    report.save()
    again = modes.Report(tmp_path, "ring", {})
    again.begin("gan", {"packing": 1, "adam": {"beta_1": 0.5}})
    again.begin("other", {"packing": 2})
    with pytest.raises(ValueError, match=r"holds runs of another gan \(packing 1 -> 2\). Give another folder"):
        again.begin("gan", {"packing": 2, "adam": {"beta_1": 0.5}})


# The command.


def test_the_command_writes_results_and_does_not_repeat_them(tmp_path):
    setting = dataclasses.replace(modes.SETTINGS["ring"]["short"], steps=2, batch_size=4)
    report = modes.Report(tmp_path, "ring", {"task": "ring", **dataclasses.asdict(setting)})
    report.begin("gan", modes.methods("ring", "short")["gan"].facts())
    report.add(run_of("gan", 0), np.zeros((4, 2)))
    arguments = ("modes", "--setting=short", "--model=gan", "--seeds=2", "--batch_size=4", f"--out={tmp_path}")
    out = command(*arguments, "--steps=2")
    content = json.loads((tmp_path / "ring.json").read_text())
    assert content["runs"][0] == run_of("gan", 0)
    assert [(run["method"], run["seed"]) for run in content["runs"]] == [("gan", 0), ("gan", 1)]
    assert content["settings"]["steps"] == 2 and content["settings"]["batch_size"] == 4
    assert content["real"]["modes"] == 8 and content["versions"]["tensorflow"]
    assert (tmp_path / "ring.md").read_text() == out
    assert {path.name for path in pathlib.Path(tmp_path).iterdir()} == {"ring.json", "ring.md", "ring.npz", "ring.png"}
    assert "--out: " in command(*arguments, "--steps=3", code=2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=gan,began"], "--model=began is not among gan, wgan_gp, pacgan2, pacgan4, r3gan, best"),
        (["--small_discriminator"], "--small_discriminator is for --task=stacked_mnist, not ring"),
        (["--task=spiral"], "value should be one of <ring|grid|stacked_mnist>"),
    ],
)
def test_the_command_refuses_wrong_flags_in_one_line(flags, message, tmp_path):
    error = command("modes", *flags, f"--out={tmp_path / 'out'}", code=2)
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_can_do():
    assert "say what to do: modes" in command(code=2)


# The target.


@pytest.mark.slow
@pytest.mark.parametrize("task", ["ring", "grid"])
def test_the_best_setting_covers_the_plane(task):
    mixture = modes.TASKS[task]
    drawn = mixture.train(modes.methods(task, "short")["best"], modes.SETTINGS[task]["short"], [0, 1, 2])
    for points in drawn:
        found = mixture.coverage(points)
        assert found.modes == len(mixture.centers)
        assert found.high_quality >= 0.95
        assert found.kl <= 0.04
