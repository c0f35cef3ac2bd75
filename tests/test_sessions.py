"""tfgan_app.runs.train, evaluate and generate: Python does what the commands do."""

import dataclasses
import json
import signal
import types

import commands
import keras
import numpy as np
import pytest
from PIL import Image

from tfgan_app import callbacks, runs
from tfgan_app.base.errors import DataError, Error, NotFinite, UsageError
from tfgan_app.runs import session as session_module

TINY = {
    "model": "MLPGAN",
    "model_arg": ["g_units=(8,)", "d_units=(8,)"],
    "latent_dim": 4,
    "batch_size": 8,
    "jit_compile": "false",
    "dataset": "mnist_5k",
    "split": "train[:64]",
    "eval_split": "test[:64]",
    "score_every": 1,
    "train_steps": 4,
    "steps_per_epoch": 2,
}


def test_a_run_trains_on_mirrored_images_and_keeps_to_it(tmp_path):
    settings = runs.Settings(**TINY, mirror=True, run_dir=str(tmp_path / "run"))
    with runs.Session(settings) as session:
        session.open()
        batches, images = session._batches()(0, 1), session.images
        expected = images.batches(8, seed=0, mirror=True)
        for (got, _), (mirrored, _) in zip(batches.take(3), expected, strict=False):
            np.testing.assert_array_equal(got, mirrored)
        assert any(np.any(x != y) for (x, _), (y, _) in zip(batches.take(3), images.batches(8), strict=False))
        session.run.write(settings, images.describe(), "test", "", 0)
        with pytest.raises(UsageError, match="`mirror`: the run has True, asked for False"):
            session.run.check(dataclasses.replace(settings, mirror=False), images.describe())


def test_trained_scored_and_drawn_from_in_one_process(tmp_path, capsys):
    said, folder = [], tmp_path / "run"
    trained = runs.train(**TINY, run_dir=folder, say=said.append)
    assert (trained.step, trained.run.directory) == (4, folder)
    shown = "64 images of mnist_5k (train[:64]), (28, 28, 1); scores on test[:64] every epoch and at the end."
    assert said[0].startswith("Precision ") and shown in said
    assert said[-1] == f"Samples in {trained.samples}, SavedModel in {trained.saved_model}."
    assert (trained.samples / "step_00000004.png").is_file() and (trained.saved_model / "saved_model.pb").is_file()
    (receipt,) = trained.receipts
    command = "tfgan_app.runs.train(model='MLPGAN', model_arg=('g_units=(8,)', 'd_units=(8,)'), latent_dim=4, "
    assert trained.run.record["sessions"][0]["command"].startswith(command)
    assert keras.config.dtype_policy().name == "float32", "the precision of the run is its own"

    found = runs.evaluate(run=folder, metrics=["fd"], checkpoint=4)
    assert found.receipt["scores"]["fd"] == pytest.approx(receipt["scores"]["fd"], rel=1e-4)
    assert json.loads(found.path.read_text())["scores"] == found.receipt["scores"]
    assert found.path == folder / "scores" / "step_00000004.json" and found.report is None
    exported = runs.evaluate(
        **{"saved_model": trained.saved_model, "dataset": "mnist_5k", "split": "test[:64]", "metrics": ["fd"]},
        out=tmp_path / "saved.json",
        report=tmp_path / "report",
    )
    assert exported.receipt["scores"]["fd"] == pytest.approx(receipt["scores"]["fd"], rel=1e-3)
    assert exported.report == tmp_path / "report" / "index.html" and exported.report.is_file()

    drawn = runs.generate(run=folder, num_images=3, seed=7, out=tmp_path / "three.npz")
    assert drawn == runs.Generated(tmp_path / "three.npz", 3)
    expected = np.round(255 * trained.gan.sample(3, 7)).astype(np.uint8)
    np.testing.assert_array_equal(np.load(drawn.out)["images"], expected)

    # The folder is free again, and nothing is left to do.
    again = runs.train(**TINY, run_dir=folder, say=said.append)
    assert again.step == 4 and again.receipts == [json.loads(found.path.read_text())]
    assert said[-1] == f"{folder} is trained to step 4 already. Ask for more with `train_steps`."
    assert capsys.readouterr().out == ""


def test_the_command_goes_on_with_what_python_began_and_the_other_way_round(tmp_path):
    folder = tmp_path / "run"
    flags = [*commands.TINY, "--mixed_precision=none", "--steps_per_epoch=2", f"--run_dir={folder}"]
    runs.train(**TINY, mixed_precision="none", run_dir=folder)
    assert "Going on from step 4" in commands.run("train", *flags, "--train_steps=6")
    said = []
    trained = runs.train(**{**TINY, "train_steps": 8}, mixed_precision="none", run_dir=folder, say=said.append)
    assert trained.step == 8 and any(line.startswith("Going on from step 6") for line in said)
    runs.train(**{**TINY, "train_steps": 8}, mixed_precision="none", run_dir=tmp_path / "whole")
    received, expected = commands.weights(folder, 8), commands.weights(tmp_path / "whole", 8)
    for name, value in expected.items():
        np.testing.assert_array_equal(received[name], value, err_msg=name)


def test_a_dry_run_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = []
    logs = runs.Session(runs.Settings(**TINY), said.append).dry_run()
    assert {"d_loss", "g_loss"} <= logs.keys()
    assert "--model=MLPGAN\n" in said[1] and said[-1].startswith("One step on noise: ")
    assert not list(tmp_path.iterdir())


def test_a_session_that_is_stopped_says_what_is_saved_and_goes_on(tmp_path, monkeypatch):
    def stopping(self, batch, logs=None):
        if self.model.step == 3:
            raise callbacks.Stopped(signal.SIGTERM)

    settings = {**TINY, "extractor": "none", "on_collapse": "ignore", "run_dir": tmp_path}
    with monkeypatch.context() as patched:
        patched.setattr(callbacks.StopOnSignal, "on_train_batch_end", stopping)
        with pytest.raises(callbacks.Stopped, match=r"^SIGTERM at step 3; saved .*step_00000003$") as stop:
            runs.train(**settings)
    assert stop.value.signum == signal.SIGTERM
    assert runs.train(**settings).step == 4


def test_what_takes_days_comes_with_what_would_be_faster_here(tmp_path, monkeypatch):
    said = []
    settings = {**TINY, "mixed_precision": "none", "batch_size": 64, "run_dir": tmp_path}
    session = runs.Session(runs.Settings(**settings), said.append)
    session.images = types.SimpleNamespace(image_shape=(64, 64, 3))
    session.gan = types.SimpleNamespace(arguments={"base_channels": 64})
    monkeypatch.setattr(session_module.tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(session_module, "choose_precision", lambda name: types.SimpleNamespace(name="bfloat16"))
    session._advise(86_400, 100)
    assert said[1:] == []
    session._advise(4.5 * 86_400, 9_000)
    (line,) = said[1:]
    assert line == (
        "At this rate it ends in 4.5 days, as a day makes about 2000 steps. Faster: fewer steps (`train_steps`); or, "
        "in another `run_dir`, a GPU, of which there is none here, `mixed_precision=bfloat16`, `image_size=32`, "
        "narrower networks (`model_arg=base_channels=32`), `batch_size=32`."
    )
    # Nothing that it has already, and nothing that cannot be.
    monkeypatch.setattr(session_module.tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    session.settings = dataclasses.replace(session.settings, precision="bfloat16", batch_size=8)
    session.images = types.SimpleNamespace(image_shape=(28, 28, 1))
    session.gan = types.SimpleNamespace(arguments={"base_channels": 8})
    session._advise(2 * 86_400, 1_000)
    assert said[-1].endswith("Faster: fewer steps (`train_steps`).")


def test_what_is_not_finite_is_an_error_of_the_family(tmp_path):
    with pytest.raises(NotFinite, match=r"became .*Lower the learning rates \(`g_learning_rate`, ") as error:
        runs.train(**TINY, extractor="none", d_learning_rate=1e38, g_learning_rate=1e38, run_dir=tmp_path)
    assert isinstance(error.value, FloatingPointError) and error.value.exit_code == 1


def opened(folder, images, **settings):
    """Opens a session on a folder of images, given as their sizes by path; returns it and what it says."""
    for path, size in images.items():
        (folder / "mine" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L" if len(size) == 1 else "RGB", (size[0], size[-1])).save(folder / "mine" / path)
    said = []
    base = {"dataset": str(folder / "mine"), "batch_size": 2, "extractor": "none", "run_dir": str(folder / "run")}
    session = runs.Session(runs.Settings(**{**base, **settings}), said.append)
    session.open()
    return session, said


def test_a_part_of_a_set_without_splits_is_held_out(tmp_path):
    images = {f"{'ab'[index % 2]}/{index}.png": [28] for index in range(100)}
    more = {"model": "DCGAN", "model_arg": ["base_channels=2"], "extractor": "mnist_cnn", "train_steps": 2}
    more |= {"steps_per_epoch": 2, "on_collapse": "ignore"}
    session, said = opened(tmp_path, images, **more)
    assert "mine has no split test: 10 of it are held out to score on." in said
    assert (session.images.num_images, session.test.num_images) == (90, 10)
    assert (session.images.split, session.test.split) == ("train[:90%]", "train[90%:]")
    session.fit()
    session.run.unlock()
    # The same command goes on with the same images; the record says which they were.
    again, _ = opened(tmp_path, {}, **more)
    assert again.images.describe() == session.images.describe() == again.run.record["data"]
    assert again.run.record["eval_split"] == "train[90%:]"
    again.run.unlock()
    for settings in ({"holdout": 0}, {"extractor": "none"}, {"split": "train[:100%]"}):
        other, said = opened(tmp_path, {}, **{**more, "run_dir": str(tmp_path / "other"), **settings})
        assert other.images.num_images == 100 and not any("held out" in line for line in said)
    with pytest.raises(UsageError, match=r"`split`: the run has train\[:90%\], asked for train\[:80%\]"):
        opened(tmp_path, {}, **more, holdout=20)


def test_one_pair_is_scored_and_one_image_is_not(tmp_path):
    pairs = {f"{split}/{side}/1.png": [28] for split in ("train", "test") for side in "AB"}
    settings = {"model": "Pix2Pix", "model_arg": ["g_channels=2", "d_channels=2"], "extractor": "auto"}
    session, said = opened(tmp_path / "pairs", pairs, **settings, batch_size=1)
    assert session.task.metrics(1) and not any("No score" in line for line in said)
    images = {"train/1.png": [28], "train/2.png": [28], "test/1.png": [28]}
    settings = {"model": "DCGAN", "model_arg": ["base_channels=2"], "extractor": "auto"}
    session, said = opened(tmp_path / "images", images, **settings)
    assert not session.task.metrics(1) and session.task.monitor is None
    assert [line for line in said if "core" in line] == [
        "No score: mine test has one image; scores compare 2 at least."
    ]


def test_a_run_that_began_with_all_images_goes_on_with_all(tmp_path):
    images = {f"{index}.png": [28] for index in range(100)}
    more = {"model": "DCGAN", "model_arg": ["base_channels=2"], "extractor": "mnist_cnn", "train_steps": 4}
    more |= {"steps_per_epoch": 2, "on_collapse": "ignore"}
    session, _ = opened(tmp_path, images, holdout=0, **{**more, "train_steps": 2})
    session.fit()
    session.run.unlock()
    again, said = opened(tmp_path, {}, **more)
    assert again.gan.step == 2 and again.images.num_images == 100
    assert "mine has no split test: scores compare with the training images." in said


@pytest.mark.parametrize(("num", "test"), [(94, {}), (110, {"val/a.png": [28]}), (110, {"test/a.png": [28]})])
def test_nothing_is_held_out_of_few_images_or_beside_a_split(num, test, tmp_path):
    images = {**{f"{'train/' if test else ''}{index}.png": [28] for index in range(num)}, **test}
    session, said = opened(tmp_path, images, model="DCGAN", model_arg=["base_channels=2"], extractor="mnist_cnn")
    assert session.images.num_images == num and not any("held out" in line for line in said)


def test_pairs_and_arrays_are_held_out_too(tmp_path):
    images = {f"{side}/{index}.png": [28] for side in "AB" for index in range(100)}
    pairs, _ = opened(tmp_path, images, model="Pix2Pix", model_arg=["g_channels=2", "d_channels=2"], extractor="auto")
    assert (pairs.images.num_images, pairs.test.num_images) == (90, 10)
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).integers(0, 256, (200, 28, 28, 1), dtype=np.uint8))
    said, more = [], {"model": "DCGAN", "model_arg": ("base_channels=2",), "holdout": 25, "batch_size": 4}
    settings = runs.Settings(dataset=str(tmp_path / "mine.npy"), run_dir=str(tmp_path / "array"), **more)
    session = runs.Session(settings, said.append)
    session.open()
    assert (session.images.num_images, session.test.num_images) == (150, 50)
    assert "mine.npy has no split test: 50 of it are held out to score on." in said


@pytest.mark.parametrize(
    ("test", "scored", "text"),
    [
        (
            {"test/3.png": [28]},
            "train",
            "`model=CGAN` needs labels, and test has none: scores compare with the training",
        ),
        ({"val/a/3.png": [28]}, "validation", "mine has no split test: scores compare with validation."),
        ({}, "train", "mine has no split test: scores compare with the training images."),
    ],
)
def test_what_a_run_does_not_need_does_not_stop_it(test, scored, text, tmp_path):
    images = {"train/a/1.png": [28], "train/b/2.png": [28], **test}
    more = {"model_arg": ["base_channels=2"], "extractor": "mnist_cnn"}
    session, said = opened(tmp_path, images, model="CGAN", **more)
    assert session.test.split == scored and session.test.num_classes == 2
    assert any(line.startswith(text) for line in said)
    session, said = opened(tmp_path, images, model="DCGAN", model_arg=["base_channels=2"])
    assert session.test.split == ("test" if "test/3.png" in images else scored)
    assert any("2 classes, each a sub-folder: a, b" in line for line in said)


def test_test_images_are_made_like_those_of_training(tmp_path):
    images = {"train/1.png": [28], "train/2.png": [28], "test/3.png": [40, 60]}
    session, said = opened(tmp_path, images, model="DCGAN", model_arg=["base_channels=2"])
    assert session.test.image_shape == session.images.image_shape == (28, 28, 1)
    assert any("All images are cropped and resized to 28x28, from 40x60. 1 of 1 images lose" in line for line in said)
    images = {"train/1.png": [32, 48], "train/2.png": [32, 48], "test/3.png": [40, 64]}
    session, said = opened(tmp_path / "oblong", images, model="DCGAN", model_arg=["base_channels=2"])
    assert session.test.image_shape == session.images.image_shape == (48, 32, 3)
    assert any("All images are cropped and resized to 32x48, from 40x64" in line for line in said)


def test_test_pairs_of_another_size_are_refused(tmp_path):
    images = {"train/1.png": [32], "train/2.png": [32], "test/3.png": [40]}
    with pytest.raises(
        DataError,
        match=r"\(test\) have shape \(40, 40, 2\) to \(40, 40, 1\), and those of training \(32, 32, 2\) to .*Give",
    ):
        opened(tmp_path, images, model="DeepFillV2", degrade="mask(centre)")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("function", "arguments", "kind", "message"),
    [
        (runs.train, {"batch_size": 99999}, DataError, "`batch_size=99999` is more than the 64 images of 'mnist_5k'"),
        (runs.train, {"dataset": "mnits"}, DataError, "Give `dataset=mnist_5k`, a name from"),
        (runs.train, {"model_arg": ["width=3"]}, UsageError, "MLPGAN takes no width. It takes "),
        (runs.train, {"steps_per_execution": 3}, UsageError, "`train_steps=4` must be a multiple of `steps_per_exec"),
        (runs.train, {"extractor": "vgg"}, UsageError, "`extractor`: Unknown feature extractor"),
        (runs.train, {"image_size": 32, "extractor": "mnist_cnn"}, UsageError, "takes images of shape (28, 28, 1)"),
        (runs.evaluate, {}, UsageError, "give one of `run`, `saved_model` and `images`. Received: none"),
        (runs.evaluate, {"run": "nowhere"}, UsageError, "`run=nowhere` is not a run folder"),
        (runs.evaluate, {"saved_model": "nowhere"}, UsageError, "`saved_model` needs `dataset`"),
        (runs.evaluate, {"run": "x", "checkpoint": "worst"}, UsageError, "must be last, best or a step"),
        (runs.generate, {}, UsageError, "give either `run` or `saved_model`. Received: neither"),
        (runs.generate, {"grid": "8"}, UsageError, "`grid=8` must be ROWSxCOLUMNS"),
        (runs.generate, {"num_images": 3}, UsageError, "`num_images` goes with `out=NAME.npz`, NAME.npy or a folder."),
        (runs.generate, {"out": f"{__file__}/x.npz"}, UsageError, f"`out={__file__}/x.npz` cannot be written: "),
    ],
)
def test_errors_name_arguments_and_no_flags(function, arguments, kind, message, tmp_path):
    if function is runs.train:
        arguments = {**TINY, "run_dir": tmp_path / "run", **arguments}
    with pytest.raises(kind) as error:
        function(**arguments)
    assert message in str(error.value) and "--" not in str(error.value)
    assert isinstance(error.value, Error)
