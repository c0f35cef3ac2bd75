"""benchmarks/: how systems are named, how runs are read and tabulated, and what a mistaken command is told."""

import json
import pathlib
import re
import sys
import types

import numpy as np
import pytest
from conftest import FAMILY, GANS, ROOT, load_benchmark

from tfgan_app import cli
from tfgan_app.runs import Settings, build


@pytest.fixture(scope="module")
def equal_time():
    return load_benchmark("equal_time")


def run(system, seed, *values, rate=6400.0):
    marks = [{"images_per_second": rate, "value": value, "patch_swd": 2 * value} for value in values]
    return {"system": system, "seed": seed, "date": "2026-11-28", "marks": marks}


def recipes_for_two_cores():
    folder = ROOT / "tfgan_app" / "flags"
    drawing = {recipe for name in GANS for recipe in FAMILY[name][1]}
    return drawing & {path.stem for path in folder.glob("*.flags") if "--dataset=fashion_mnist\n" in path.read_text()}


def test_system_has_framework_name_and_arguments(equal_time):
    assert equal_time.parse_system("tfgan:DCGAN") == ("tfgan", "DCGAN", {})
    assert equal_time.parse_system("tfgan:MLPGAN g_units=(128,256) batch_norm=True learning_rate=1e-3") == (
        "tfgan",
        "MLPGAN",
        {"g_units": (128, 256), "batch_norm": True, "learning_rate": 1e-3},
    )
    assert equal_time.parse_system("torch:dcgan best=True") == ("torch", "dcgan", {"best": True})
    assert equal_time.parse_system("recipe:cgan") == ("recipe", "cgan", {})


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ("", "A system is"),
        ("DCGAN", "A system is"),
        ("jax:DCGAN", "Received: jax:DCGAN"),
        ("torch:biggan", "ROW one of mlp_small"),
        ("recipe:dcgan base_channels=32", "A system is recipe:NAME"),
        ("tfgan:DCGAN best", "NAME=VALUE"),
        ("tfgan:DCGAN base_channels=wide", "wide is no Python value"),
    ],
)
def test_mistaken_system_is_refused(equal_time, system, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        equal_time.parse_system(system)


def test_default_systems_are_all_recipes_for_two_cores_and_every_torch_row(equal_time):
    parsed = [equal_time.parse_system(system) for system in equal_time.SYSTEMS]
    source = (ROOT / "benchmarks" / "pytorch_gans.py").read_text()
    rows = re.findall(r'^    "(\w+)": Recipe\(', source, re.MULTILINE)
    assert tuple(rows) == equal_time.TORCH_ROWS
    for best in ({}, {"best": True}):
        assert [name for framework, name, arguments in parsed if (framework, arguments) == ("torch", best)] == rows
    assert {name for framework, name, _ in parsed if framework == "recipe"} == recipes_for_two_cores()


def test_result_is_the_last_line(equal_time):
    assert equal_time.parse_result('a note\n{"steps": 3}\n') == {"steps": 3}


@pytest.mark.parametrize("output", ["", "3 steps\n", "[1, 2]\n", '{"steps": 3}\nKilled\n'])
def test_output_without_result_is_an_error(equal_time, output):
    with pytest.raises(equal_time.RunError, match="printed no result"):
        equal_time.parse_result(output)


def test_table_has_means_and_spread_at_each_time(equal_time):
    runs = [
        run("torch:mlp", 0, 40.0, 30.0, rate=1000.0),
        run("tfgan:MLPGAN", 0, 30.0, 20.0, rate=2000.4),
        run("torch:mlp", 1, 44.0, 30.0, rate=1100.0),
    ]
    assert equal_time.markdown_table(["tfgan:MLPGAN", "torch:mlp"], [60, 240], runs).splitlines() == [
        "| system | images/s | 60 s | 240 s |",
        "|---|---:|---:|---:|",
        "| tfgan:MLPGAN | 2,000 | 30.00 | 20.00 |",
        "| torch:mlp | 1,050 | 42.00 ± 2.83 | 30.00 ± 0.00 |",
    ]


def test_table_shows_failures_and_what_has_not_run(equal_time):
    runs = [run("torch:mlp", 0, 40.0), {"system": "torch:mlp", "seed": 1, "error": "exit code 1"}]
    runs.append({"system": "torch:dcgan28", "seed": 0, "error": "exit code 1"})
    assert equal_time.markdown_table(["torch:mlp", "torch:dcgan28", "torch:dcgan"], [60], runs).splitlines()[2:] == [
        "| torch:mlp | 6,400 | 40.00 |",
        "| torch:dcgan28 | - | failed |",
        "| torch:dcgan | - | - |",
    ]


def test_orders_are_counted_by_how_far_apart_two_generators_are(equal_time):
    scores = {"a": (1.0, 10.0), "b": (1.2, 9.0), "c": (6.0, 30.0)}
    runs = [{"system": x, "marks": [{"value": value, "patch_swd": patch}]} for x, (value, patch) in scores.items()]
    # a and b are 1.2 apart and patches have them the wrong way round; c is far from both, and worse by both.
    assert equal_time.orders_table([*runs, {"system": "d", "error": "exit code 1"}]).splitlines()[2:] == [
        "| 1 to 1.1 | 0 | - |",
        "| 1.1 to 1.25 | 1 | 0% |",
        "| 1.25 to 1.5 | 0 | - |",
        "| 1.5 to 2 | 0 | - |",
        "| 2 to 4 | 0 | - |",
        "| 4 and more | 2 | 100% |",
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--systems", "keras:DCGAN"], "A system is recipe:NAME, tfgan:CLASS or torch:ROW"),
        (["--systems", "tfgan:DCGAN", "--seconds", "0"], "--seconds must be positive"),
        (["--systems", "tfgan:DCGAN", "--seconds", "60", "30"], "each more than the one before"),
        (["--systems", "torch:mlp", "--torch_python=no_such_python"], "cannot import torch"),
    ],
)
def test_mistaken_command_is_one_line(equal_time, capsys, argv, message):
    with pytest.raises(SystemExit, match="2"):
        equal_time.parse_arguments(argv)
    assert message in capsys.readouterr().err


def test_systems_take_turns_a_failure_stops_none_and_a_report_goes_on(equal_time, tmp_path, monkeypatch, capsys):
    order = []

    def fake_run(args, system, seed, data):
        order.append((seed, system))
        if (system, seed) == ("tfgan:MLPGAN", 0) and len(order) < 5:
            raise equal_time.RunError("exit code 1: out of memory")
        return {"marks": run(system, seed, 20.0, rate=64.0)["marks"], "versions": {"keras": "3"}}

    monkeypatch.setattr(equal_time, "_run", fake_run)
    monkeypatch.setattr(equal_time, "call", lambda command: "")
    monkeypatch.setattr(equal_time, "busy_fraction", lambda: 0.5)
    page = tmp_path / "equal_time.md"
    names = "chip", "chip_patches"
    parts = [f"<!-- {name}: made by benchmarks/equal_time.py -->\nold\n<!-- end of {name} -->\n" for name in names]
    page.write_text("before\n" + "".join(parts) + "after\n")
    monkeypatch.setattr(equal_time, "PAGE", page)
    out = tmp_path / "equal_time" / "chip.json"
    systems = ["tfgan:DCGAN", "tfgan:MLPGAN"]
    args = equal_time.parse_arguments(["--systems", *systems, "--seeds", "0", "1", "--seconds", "1", f"--out={out}"])
    assert equal_time.benchmark(args) == 1
    assert order == [(0, systems[0]), (0, systems[1]), (1, systems[0]), (1, systems[1])]
    report = json.loads(out.read_text())
    assert report["versions"] == {"keras": "3"} and report["settings"]["seconds"] == [1]
    assert report["runs"][1]["error"] == "exit code 1: out of memory"
    printed = capsys.readouterr()
    assert "| tfgan:MLPGAN | 64 | 20.00 |" in printed.out and "Other processes are busy" in printed.err
    assert equal_time.benchmark(args) == 0
    assert order[4:] == [(0, systems[1])], "what is done is not done again"
    text = page.read_text()
    assert "| tfgan:MLPGAN | 64 | 20.00 ± 0.00 |" in text and "old" not in text and text.endswith("after\n")
    assert "| 1 to 1.1 | 6 | 0% |" in text
    assert equal_time.benchmark(equal_time.parse_arguments(["--seconds", "2", f"--out={out}"])) == 2


def test_busy_fraction_is_a_fraction(equal_time):
    assert 0 <= equal_time.busy_fraction(0.05) <= 1


def test_run_scores_what_a_process_drew(equal_time, tmp_path, monkeypatch):
    commands = []

    def fake_call(command):
        command = [str(part) for part in command]
        commands.append(command)
        if "tfgan_app.evaluate" in command:
            out = next(part.removeprefix("--out=") for part in command if part.startswith("--out="))
            receipt = {
                "scores": {"fd": 12.5, "patch_swd": 30.0},
                "extractor": {"name": "cnn", "sha256": "0"},
                "real": {"used": 9},
                "fake": {"used": 9},
            }
            pathlib.Path(out).write_text(json.dumps(receipt | {"versions": {"keras": "3"}}))
            return ""
        marks = [{"mark": mark, "steps": 7, "images_per_second": 64.0} for mark in (3.0, 9.0)]
        return json.dumps({"marks": marks, "versions": {"torch": "2"}}) + "\n"

    monkeypatch.setattr(equal_time, "call", fake_call)
    args = types.SimpleNamespace(
        torch_python="python_with_torch", seconds=[3.0, 9.0], num_samples=10, dataset="mnist", data_dir="prepared"
    )
    result = equal_time._run(args, "torch:mlp best=True real_label=0.9", 5, tmp_path / "train.npz")
    assert [mark["value"] for mark in result["marks"]] == [12.5, 12.5]
    assert result["versions"] == {"torch": "2", "keras": "3"}
    train, *scores = commands
    assert train[0] == "python_with_torch"
    assert {"--model=mlp", "--best", "--real_label=0.9", "--seed=5", "--seconds", "3.0", "9.0"} <= set(train)
    for score, mark in zip(scores, (3, 9), strict=True):
        assert score[0] == sys.executable
        assert {"--dataset=mnist", "--split=test", "--data_dir=prepared"} <= set(score)
        assert f"--images={tmp_path}/samples_{mark}.npz" in score


# The family.


@pytest.fixture(scope="module")
def family():
    return load_benchmark("family")


def family_run(recipe, seed, value, rate=1000.0, conditional=False, images=640):
    sizes = {"g_parameters": 12_345, "d_parameters": 678, "versions": {"tensorflow": "2.21.0", "keras": "3.15.0"}}
    facts = {"value": value, "images_per_second": rate, "conditional": conditional}
    return {"recipe": recipe, "images": images, "seed": seed} | facts | sizes


def test_family_covers_every_recipe_for_two_cores(family):
    # Models of other recipes once more, for another length: the exported one, and the shortest way to good samples.
    again = {"fashion_mnist", "quick", "quick_labels"}
    assert set(family.RECIPES) == recipes_for_two_cores() - again


def test_family_table_sorts_by_the_mean_and_parts_by_labels(family):
    runs = [
        family_run("dcgan", 0, 3.0, rate=900),
        family_run("dcgan", 1, 5.0, rate=1100),
        family_run("dcgan", 2, 4.0, rate=5000),
        family_run("dcgan", 0, 1.5, images=1280),
        family_run("sngan", 0, 2.0),
        family_run("cgan", 0, 1.0, conditional=True),
        {"recipe": "wgan", "images": 640, "seed": 0, "error": "exit code 1"},
    ]
    assert family.table({"runs": runs}).splitlines() == [
        "| | 640 images | 1,280 images | images/s | parameters of G | of D |",
        "|---|---:|---:|---:|---:|---:|",
        "| *without labels* | | | | | |",
        "| [SNGAN](#sngan) | 2.00 |  | 1,000 | 12,345 | 678 |",
        "| [DCGAN](#dcgan) | 4.00 ± 1.00 | 1.50 | 5,000 | 12,345 | 678 |",
        "| *with labels* | | | | | |",
        "| [CGAN](#cgan) | 1.00 |  | 1,000 | 12,345 | 678 |",
    ]


def test_family_goes_on_where_it_stopped_and_writes_its_page(family, monkeypatch, tmp_path):
    for name, path in (("RESULTS", tmp_path / "results"), ("PAGE", tmp_path / "results.md")):
        monkeypatch.setattr(family, name, path)
    done = []

    def run(args, recipe, seed):
        done.append((recipe, seed))
        if (recipe, seed) == ("wgan", 0) and len(done) < 4:
            raise sys.modules["processes"].RunError("exit code 1: killed")
        return family_run(recipe, seed, 2.0 + seed, images=args.images)

    monkeypatch.setattr(family, "_run", run)
    monkeypatch.setattr(family, "busy_fraction", lambda: 0.0)
    args = family.parse_arguments(["--recipes", "dcgan", "wgan", "--seeds", "0", "1", "--images=640"])
    assert family.benchmark(args) == 1
    assert done == [("dcgan", 0), ("wgan", 0), ("dcgan", 1), ("wgan", 1)]
    assert family.benchmark(args) == 0
    assert done[4:] == [("wgan", 0)], "what is done is not done again"
    longer = family.parse_arguments(["--recipes", "dcgan", "--seeds", "0", "--images=1280"])
    assert family.benchmark(longer) == 0
    assert done[5:] == [("dcgan", 0)], "another budget is another run"
    for images in (640, 1280):
        (tmp_path / "results" / f"dcgan_{images}.png").write_bytes(b"")
    (tmp_path / "results" / "notes.json").write_text(json.dumps({"dcgan": "A sentence on why."}))
    args.report_only = True
    family.benchmark(args)
    page = (tmp_path / "results.md").read_text()
    grids = "| ![Samples of DCGAN](results/dcgan_640.png) | ![Samples of DCGAN](results/dcgan_1280.png) |"
    assert f"| 640 images | 1,280 images |\n|---|---|\n{grids}" in page and "A sentence on why." in page
    assert "family.py --images=640 --seeds 0 1\npython benchmarks/family.py --images=1280 --seeds 0\n" in page
    assert "| [WGAN](#wgan) | 2.50 ± 0.71 |" in page


# The page on mode coverage.


def test_the_page_on_modes_has_every_task_and_its_command(tmp_path):
    page = load_benchmark("modes_page")
    setting = {"steps": 5, "batch_size": 100, "g_width": 64, "d_width": 32}
    found = {"modes": 8, "high_quality": 0.5, "kl": 0.25}
    ring = {
        "settings": {"task": "ring", **setting},
        "setting": "short",
        "date": "2026-11-21",
        "versions": {"tensorflow": "2.21.0", "keras": "3.15.1"},
        "real": found,
        "runs": [{"method": "gan", "seed": seed, **found, "seconds": 1.0} for seed in (0, 1)],
    }
    digits = {
        **ring,
        "settings": {"task": "stacked_mnist", **setting, "batch_size": 64, "d_width": 4},
        "runs": [{"method": "best", "seed": 0, **found, "high_quality": None, "seconds": 1.0}],
        "real": {**found, "high_quality": None},
    }
    where = {"cores": 2, "cpu": "Chip"}
    tuning = {"digits": {"gan": {"constant": {"stacked_mnist": [0.5]}, "slow": {"stacked_mnist": [0.25]}}}}
    text = page.page({"ring": ring, "stacked_mnist_small_discriminator": digits}, tuning, where, "modes")
    assert "2 cores of Chip, 2026-11-21, TensorFlow 2.21.0" in " ".join(text.split())
    assert "--task=ring --setting=short --seeds=2 --steps=5 \\\n  --model=gan --out=docs/modes" in text
    assert "--task=stacked_mnist --setting=short --seeds=1 --small_discriminator --steps=5 \\\n  --model=best" in text
    assert "| gan | 8, 50.0%, 0.250 |  |" in text and "| best |  | 8, 0.250 |" in text
    assert "| gan | 8.0 ± 0.0 | 50.0 ± 0.0 | 0.250 ± 0.000 | 1 ± 0 |" in text
    assert "| Adam(0.5, 0.999) at 0.0002 | **0.50** |" in text
    assert "![samples](modes/ring.png)" in text


# modes_tuning.py


@pytest.fixture(scope="module")
def modes_tuning():
    return load_benchmark("modes_tuning")


def test_the_best_candidate_is_that_of_the_highest_mean(modes_tuning):
    scores = {
        "gan": {
            "constant": {"ring": [0.5, 0.7], "grid": [0.9, 0.9]},
            "fast": {"ring": [0.8, 0.8], "grid": [0.7, 0.78]},
        },
        "r3gan": {"constant": {"ring": [0.1], "grid": [0.1]}, "fast": {"ring": [0.0], "grid": [0.3]}},
    }
    assert modes_tuning.chosen(scores) == {"gan": "fast", "r3gan": "fast"}
    scores["gan"]["constant"]["ring"] = [0.7, 0.7]
    assert modes_tuning.chosen(scores)["gan"] == "constant"
    slow = {"slow": {"ring": [0.0], "grid": [0.0]}}
    lines = modes_tuning.table("plane", {name: own | slow for name, own in scores.items()}).splitlines()
    assert lines[0] == "| | gan | r3gan |"
    assert lines[2] == "| Adam(0.8, 0.999) at 0.001 | **0.80** | 0.10 |"
    assert lines[4].endswith("0.003, falling to 0.0003, samples of the average (0.999) | 0.77 | **0.15** |")


def test_a_run_is_scored_by_modes_and_quality(modes_tuning):
    (found,) = modes_tuning.score("ring", "gan", modes_tuning.modes.Adam(1e-3, 0.0), 1, [5])
    assert 0.0 <= found <= 1.0


@pytest.mark.parametrize("kind", ["plane", "digits"])
def test_methods_have_the_optimizer_that_the_committed_scores_choose(modes_tuning, kind):
    from tfgan_app import modes

    scores = json.loads((ROOT / "docs" / "modes" / "tuning.json").read_text())[kind]
    methods = modes.methods({"plane": "ring", "digits": "stacked_mnist"}[kind], "short")
    for name, candidate in modes_tuning.chosen(scores).items():
        assert methods[name].adam == modes.CANDIDATES[kind][candidate], name
    assert set(scores) == set(modes_tuning.METHODS)


# what_helped.py.


@pytest.fixture(scope="module")
def what_helped():
    return load_benchmark("what_helped")


def test_a_checkerboard_finds_grain_and_grids(what_helped):
    noise = np.random.default_rng(0).normal(size=(200, 28, 28, 1))
    # Four independent values of variance 1 at every place.
    np.testing.assert_allclose(what_helped.checkerboard(noise), np.full((2, 2), 4.0), rtol=0.05)
    rows, columns = np.indices((28, 28))
    gridded = noise + 2.0 * ((rows % 2 == 0) & (columns % 2 == 0))[None, :, :, None]
    assert what_helped.checkerboard(gridded).mean() == pytest.approx(4 + 4, rel=0.05)
    smooth = np.broadcast_to(rows + columns, (1, 28, 28))[..., None].astype(float)
    assert not what_helped.checkerboard(smooth).any()
    # Blocks of 2x2 pixels meet at odd rows and columns alone.
    blocks = noise[:, :14, :14].repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(what_helped.checkerboard(blocks), [[0, 0], [0, 4]], rtol=0.05, atol=1e-9)


def test_table_of_what_helped_has_means_by_row_in_order(what_helped):
    def run(row, seed, value, grain=1.0):
        return {"row": row, "flags": what_helped.ROWS[row], "seed": seed, "value": value, "grain": grain, "grid": 1.5}

    runs = [run("non-saturating loss", 0, 3.0), run("as it is", 1, 2.0, 0.9), run("as it is", 0, 1.0, 1.0)]
    assert what_helped.table([*runs, {"row": "non-saturating loss", "seed": 1, "error": "exit code 1"}]).splitlines()[
        2:
    ] == [
        "| as it is | 1.50 ± 0.71 | 1.00, 2.00 | 0.95 | 1.50 |",
        "| non-saturating loss | 3.00 | 3.00 | 1.00 | 1.50 |",
    ]


def test_what_helped_goes_on_where_it_stopped_and_writes_its_page(what_helped, tmp_path, monkeypatch):
    order = []

    def fake_run(args, run):
        order.append((run["row"], run["seed"]))
        if order == [("as it is", 0)]:
            raise sys.modules["processes"].RunError("exit code 1: out of memory")
        return {"value": 2.0, "grain": 1.0, "grid": 1.0, "versions": {"tensorflow": "2"}}

    monkeypatch.setattr(what_helped, "_run", fake_run)
    monkeypatch.setattr(what_helped, "PAGE", tmp_path / "samples.md")
    what_helped.PAGE.write_text("<!-- one: made by benchmarks/what_helped.py -->\nold\n<!-- end of one -->\nafter\n")
    out = tmp_path / "samples" / "one.json"
    argv = ["--rows", "as it is", "non-saturating loss", "--seeds", "0", f"--out={out}"]
    assert what_helped.benchmark(what_helped.parse_arguments(argv)) == 1
    assert what_helped.benchmark(what_helped.parse_arguments(argv)) == 0
    assert order == [("as it is", 0), ("non-saturating loss", 0), ("as it is", 0)]
    text = what_helped.PAGE.read_text()
    assert (
        "| non-saturating loss | 2.00 | 2.00 | 1.00 | 1.00 |" in text and "old" not in text and text.endswith("after\n")
    )
    assert "seeds 0; TensorFlow 2." in text


def test_rows_of_what_helped_are_flags_of_the_train_command(what_helped):
    for flags in what_helped.ROWS.values():
        settings = cli.parsed(Settings, flags)
        build.build_model(settings, (28, 28, 1), 10)
