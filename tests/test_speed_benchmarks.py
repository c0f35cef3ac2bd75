"""benchmarks/speed.py, costs.py and scaling.py: what is counted, what tables say, and that the workers work."""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import pytest
from conftest import FAMILY, ROOT, load_benchmark, tiny_networks

import tfgan_app as tg


@pytest.fixture(scope="module")
def speed():
    return load_benchmark("speed")


@pytest.fixture(scope="module")
def costs():
    return load_benchmark("costs")


@pytest.fixture(scope="module")
def scaling():
    return load_benchmark("scaling")


# speed.py.


def test_operations_are_those_of_products_and_convolutions(speed):
    dense = keras.Sequential([keras.Input((10,)), keras.layers.Dense(20, "relu"), keras.layers.Dense(3)])
    assert speed.forward_flops(dense) == 2 * (10 * 20 + 20 * 3)
    images = keras.Input((8, 8, 3))
    strided = keras.layers.Conv2D(5, 4, 2, "same", use_bias=False)(images)
    assert speed.forward_flops(keras.Model(images, strided)) == 2 * 4 * 4 * 4 * 4 * 3 * 5
    gan = tg.GAN(*tiny_networks())
    g_flops, d_flops = speed.forward_flops(gan.generator), speed.forward_flops(gan.discriminator)
    assert speed.step_flops(gan, 7) == 7 * (3 * g_flops + 8 * d_flops)
    # Two updates of D pass G forward once more, and D six times.
    assert speed.step_flops(gan, 7, n_critic=2) == 7 * (4 * g_flops + 14 * d_flops)


def test_rows_name_what_both_sides_have(speed):
    for row in speed.ROWS.values():
        script = "pytorch_translation.py" if row.source_side else "pytorch_gans.py"
        assert f'"{row.torch_model}": ' in (ROOT / "benchmarks" / script).read_text()
        assert row.steps % row.steps_per_execution == 0
    for row in map(speed.ROWS.get, speed.SMALL_ROWS + speed.RECENT_ROWS):
        gan = getattr(tg.models, row.model)((row.side, row.side, row.channels), **row.arguments)
        assert gan.generator.output_shape[1:] == (row.side, row.side, row.channels)


RECENT = """
import functools, json, sys, torch
import pytorch_gans, pytorch_networks
small = {
    "biggan128": (functools.partial(pytorch_networks.biggan, 32, 3, 10, 40, 8, 16, 16), 3, 40, 10),
    "stylegan2_256": (functools.partial(pytorch_networks.stylegan2, 32, 3, 64, 32, 2, 256, 64), 3, 64, 0),
}
found = {}
for name, recipe in pytorch_gans.TIMED.items():
    if name in small:
        build, channels, latent_dim, classes = small[name]
        recipe = recipe._replace(build=build, side=32, channels=channels, latent_dim=latent_dim, classes=classes)
    trainer = pytorch_gans.Trainer(recipe, 8, best=False)
    if sys.argv[1:]:
        trainer.go(*sys.argv[1].split(":"))
    weights = [p for network in trainer.networks for p in network.parameters()]
    before = [p.detach().clone() for p in weights]
    for _ in range(3):
        shape = (8 * recipe.n_critic, recipe.channels, recipe.side, recipe.side)
        trainer.step(torch.randint(0, 256, shape, dtype=torch.uint8))
    assert all(torch.isfinite(p).all() for p in weights)
    # BigGAN's attention starts at nothing, so that what it attends to learns from the second step on.
    assert all((p != old).any() for p, old in zip(weights, before)), name
    found[name] = [sum(p.numel() for p in network.parameters()) for network in trainer.networks]
print(json.dumps(found))
"""


def counts(gan):
    """Returns how many numbers G and D learn."""
    networks = gan.generator, gan.discriminator
    return [sum(keras.ops.size(v) for v in network.trainable_variables) for network in networks]


def test_recent_networks_have_the_weights_of_ours(speed):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs PyTorch")
    # A process of its own, as PyTorch does not load beside TensorFlow.
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")}
    done = subprocess.run([sys.executable, "-c", RECENT], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    biggan = {"latent_dim": 40, "base_channels": 8, "embedding_dim": 16, "attention_at": 16, "orthogonal": 0.0}
    stylegan2 = {"latent_dim": 64, "style_dim": 32, "mapping_layers": 2, "channel_base": 256, "channel_max": 64}
    ours = {
        "biggan128": tg.models.BigGAN((32, 32, 3), num_classes=10, **biggan),
        "stylegan2_256": tg.models.StyleGAN2((32, 32, 3), **stylegan2),
    }
    for name in speed.RECENT_ROWS:
        row = speed.ROWS[name]
        ours[name] = getattr(tg.models, row.model)((row.side, row.side, row.channels), **row.arguments)
    assert json.loads(done.stdout) == {name: counts(gan) for name, gan in ours.items()}


def test_rows_at_recipes_sizes_are_the_recipes(speed):
    for name in speed.RECENT_ROWS:
        row = speed.ROWS[name]
        gan = getattr(tg.models, row.model)((row.side, row.side, row.channels), **row.arguments)
        recipe = name.removesuffix("28").removesuffix("_")
        assert counts(gan) == [*FAMILY[row.model][1][recipe]], name


TRANSLATORS = """
import json, torch
import pytorch_translation as networks
def counts(recipe):
    parts = map(torch.nn.ModuleList, recipe.build())
    return [sum(p.numel() for p in part.parameters()) for part in parts]
def cycle():
    norm = torch.nn.InstanceNorm2d
    return [networks.resnet(8, 2) for _ in range(2)], [networks.patch_gan(3, 8, norm) for _ in range(2)]
def srgan():
    return [networks.MSRResNet(8, 2)], [networks.srgan_discriminator(32, 8, 16)]
small = {
    "pix2pix256": (lambda: ([networks.UNet(8, 6)], [networks.patch_gan(6, 8)]), 128, 128),
    "cycle128": (cycle, 64, 64),
    "srgan96": (srgan, 8, 32),
    "srgan96_pixels": (srgan, 8, 32),
}
found = {"full": {name: counts(recipe) for name, recipe in networks.RECIPES.items()}, "small": {}}
for name, (build, source_side, side) in small.items():
    recipe = networks.RECIPES[name]._replace(build=build, source_side=source_side, side=side)
    found["small"][name] = counts(recipe)
    for best in (False, True):
        trainer = networks.Translation(recipe, 2, best)
        trained = trainer.networks[:1] if name == "srgan96_pixels" else trainer.networks
        weights = [p for part in trained for p in part.parameters() if p.ndim > 1]
        before = [p.detach().clone() for p in weights]
        trainer.step(next(networks.pairs(recipe, 2)))
        assert all(torch.isfinite(p).all() and (p != old).any() for p, old in zip(weights, before)), name
print(json.dumps(found))
"""


def test_translators_have_the_weights_of_ours():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs PyTorch")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")}
    done = subprocess.run([sys.executable, "-c", TRANSLATORS], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    srgan = tg.models.SRGAN((8, 8, 3), (32, 32, 3), g_channels=8, blocks=2, d_channels=8, d_units=16)
    ours = {
        "pix2pix256": tg.models.Pix2Pix((128, 128, 3), (128, 128, 3), g_channels=8, d_channels=8, depth=6, d_layers=3),
        "cycle128": tg.models.CycleGAN(
            (64, 64, 3), (64, 64, 3), g_channels=8, d_channels=8, blocks=2, d_layers=3, identity_weight=1.0
        ),
        "srgan96": srgan,
        "srgan96_pixels": srgan,
    }
    assert found["small"] == {
        name: [sum(keras.ops.size(v) for v in net.trainable_variables) for net in (gan.generator, gan.discriminator)]
        for name, gan in ours.items()
    }
    # The published sizes, to which the tests of the models hold ours.
    assert found["full"] == {
        "pix2pix256": [54_413_955, 2_768_705],
        "cycle128": [2 * 7_837_699, 2 * 2_764_737],
        "srgan96": [1_517_571, 23_565_505],
        "srgan96_pixels": [1_517_571, 23_565_505],
    }


def test_operations_of_translators_are_counted_at_their_sides(speed):
    gan = tg.models.CycleGAN((16, 16, 3), (16, 16, 3), g_channels=4, d_channels=4, blocks=1)
    g_flops, d_flops = (speed.forward_flops(network, (16, 16)) for network in (gan.generator, gan.discriminator))
    # Six passes of a translator: of each side's pictures through both, and of what comes back.
    assert g_flops == 3 * speed.forward_flops(gan.generator.get_layer("a_to_b"), (16, 16)) * 2
    assert speed.step_flops(gan, 2) == 2 * (3 * g_flops + 8 * d_flops)
    assert speed.step_flops(gan, 2, n_critic=0) == 2 * 3 * g_flops


def test_ratios_are_medians_over_rounds(speed):
    systems = {
        "ours": {"mode": "mixed_bfloat16", "flops": 64e9, "versions": {"tensorflow": "2", "keras": "3"}},
        "torch": {"mode": "float32, eager", "versions": {"torch": "2"}},
    }
    row = {"systems": systems, "seconds": {"ours": [0.5, 0.4, 0.8], "torch": [1.0, 1.2, 1.2]}}
    report = {"rows": {"dcgan28": row}, "peaks": {"float32": 128e9, "bfloat16": 256e9}}
    lines = speed.table(report).splitlines()
    assert lines[2] == "| dcgan28 | ours | mixed_bfloat16 | 128 |  | 50% |"
    assert lines[3] == "| dcgan28 | torch | float32, eager | 53 | 2.00 (1.50-3.00) | 42% |"


def test_python_without_torch_is_refused(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no torch here >&2\nexit 1\n")
    python.chmod(0o755)
    command = [sys.executable, ROOT / "benchmarks" / "speed.py", f"--torch_python={python}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot import torch (pip install torch==2.13.0): exit code 1: no torch here" in done.stderr


def test_a_worker_trains_as_many_steps_as_it_is_told(speed, costs):
    worker = speed.Worker(costs._command("feed", gan="mlp", feed="held batch"))
    try:
        assert worker.ready() == {}
        few, many = worker.turn(10), worker.turn(200)
    finally:
        worker.close()
    assert 0 < few < many


def test_a_worker_that_fails_says_why(speed):
    worker = speed.Worker([sys.executable, "-c", "import sys; sys.exit('the reason')"])
    with pytest.raises(speed.RunError, match="exit code 1: the reason"):
        worker.ready()
    worker.close()


# costs.py.


def test_every_row_has_a_place_on_the_page(costs):
    page = costs.PAGE.read_text()
    for row in costs.ROWS:
        for mark in costs.marks(row):
            assert page.count(mark) == 1, mark


def test_tables_of_costs(costs):
    rounds = [{"held batch": 0.010, "memory": 0.0101, "TFRecords": 0.0105}] * 2
    assert "| mlp | 10.00 ms | +1.0% (+1.0% to +1.0%) | +5.0% (+5.0% to +5.0%) |" in costs.table_input({"mlp": rounds})
    seconds = {"training": 90.0, "batch": 1.0, "epoch": 2.0, "scoring": 7.0}
    memory = {"1000": 800.0, "5000": 810.2, "10000": 811.0}
    row = costs.table_loop({"dcgan": {"steps": 9000, "seconds": seconds, "memory": memory}}).splitlines()[-1]
    assert row == "| `dcgan.flags` | 10.0 ms | 1.0% | 2.0% | 7.0% | 1,000: 800 MB, 5,000: 810 MB, 10,000: 811 MB |"
    assert "| `mnist.flags` | 9.0 (8.5-12.0) |" in costs.table_start({"mnist": [9.0, 8.5, 12.0]})
    size = {"batch": 64, "side": 32, "width": 16, "seconds": [0.02, 0.02], "flops": 2e9}
    assert "| 64 | 32 | 16 | 20.0 ms | 3,200 | 2.0 | 100 |" in costs.table_size([size])
    data = {"images": 5000, "held": True, "first": 1.25, "rate": 12345.0, "memory": 700.4}
    assert "| 5,000 | yes | 1.2 s | 12,345 | 700 MB |" in costs.table_data([data])
    assert "| all | 70.0 (70.0-70.0) | 1,700 MB |" in costs.table_scoring({"all": [{"seconds": 70, "memory": 1700}]})
    assert costs.table_sampling({"x": {"1": [10.0], "64": [2000.0]}}).splitlines()[2] == "| x | 10 | 2,000 |"
    scores = {"dcgan": {"none": [1.0, 2.0, 3.0], "auto": [2.0, 2.0, 2.0]}}
    assert "| dcgan | 2.00 ± 1.00 | 2.00 ± 0.00 |" in costs.table_precision(scores)


@pytest.mark.parametrize(("side", "channels"), [(28, 1), (64, 3)])
def test_generated_data_sets_are_read(costs, tmp_path, side, channels):
    costs.write(str(tmp_path), 23, side)
    images = tg.data.open_images(str(tmp_path))
    assert images.num_images == 23 and images.image_shape == (side, side, channels)


@pytest.mark.slow
def test_the_loop_is_measured(costs, tmp_path):
    given = ["--model=MLPGAN", "--model_arg=g_units=(8,)", "--model_arg=d_units=(8,)", "--dataset=mnist_5k"]
    given += ["--train_steps=30", "--steps_per_epoch=10", "--eval_images=20", f"--run_dir={tmp_path}"]
    done = subprocess.run(list(map(str, costs._command("loop", flags=given))), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["steps"] == 20 and list(found["memory"]) == ["10", "20", "30"]
    assert all(seconds > 0 for seconds in found["seconds"].values())


# scaling.py.


def test_a_ring_moves_twice_the_gradients(scaling):
    machine = scaling.Machine(link=1e9, network=1e8, latency=0.0)
    assert scaling.exchange_seconds(1e9, 1, machine) == 0
    assert scaling.exchange_seconds(1e9, 2, machine) == pytest.approx(1.0)
    assert scaling.exchange_seconds(1e9, 8, machine) == pytest.approx(2 * 7 / 8)
    # From host to host through the slower network.
    assert scaling.exchange_seconds(1e9, 16, machine) == pytest.approx(2 * 15 / 16 * 10)
    late = machine._replace(latency=0.01)
    assert scaling.exchange_seconds(0, 8, late) == pytest.approx(2 * 7 * 0.01)
    assert scaling.efficiency(1.0, 1e9, 2, machine) == pytest.approx(0.5)


def test_table_of_efficiencies(scaling):
    machine = scaling.Machine(rate=1e12, link=1e9, network=1e9, latency=0.0)
    line = scaling.table([(scaling.Job("gan", 4, 2), (20_000_000, 5_000_000), 1e12)], machine).splitlines()[2]
    assert line.startswith("| `gan.flags` | 4 | 120 MB | 1000 ms | 83% | 82% |")
