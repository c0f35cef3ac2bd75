"""Scores of minutes that are kept: where a metric cannot be computed, a file cannot be written, images are few."""

import json

import commands
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgan_app import cli, metrics, models, runs
from tfgan_app.base.errors import UsageError
from tfgan_app.data import open_images
from tfgan_app.metrics import FrechetDistance, KernelDistance, load_extractor
from tfgan_app.runs import evaluation
from tfgan_app.study import receipts
from tfgan_app.study.fakes import ArrayFakes
from tfgan_app.study.memorisation import copying_test, examine
from tfgan_app.study.receipts import describe_score, score

TINY = {
    "model": "MLPGAN",
    "model_arg": ["g_units=(8,)", "d_units=(8,)"],
    "latent_dim": 4,
    "jit_compile": "false",
    "mixed_precision": "none",
    "train_steps": 2,
    "steps_per_epoch": 1,
    "score_every": 1,
}


@pytest.fixture(scope="module")
def fakes(tmp_path_factory):
    """A file of 60 images of noise."""
    path = tmp_path_factory.mktemp("fakes") / "fakes.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (60, 28, 28, 1), dtype=np.uint8))
    return path


def asked(fakes, folder, **more):
    digits = {"dataset": "mnist_5k", "split": "test[:60]", "metrics": ["fd", "kd", "precision"]}
    return {"images": fakes, **digits, "out": folder / "receipt.json", **more}


class Failing(KernelDistance):
    def __init__(self, error, **kwargs):
        super().__init__("mnist_cnn", **kwargs)
        self.error = error

    def result(self):
        raise self.error

    results = result


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("kd needs more."), "kd needs more"),
        (MemoryError(), "out of memory: MemoryError"),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"), "out of memory: OOM when allocating"),
        (np.linalg.LinAlgError("Eigenvalues did not converge"), "Eigenvalues did not converge"),
    ],
)
def test_a_metric_that_fails_is_left_out_and_the_others_are_reported(error, text):
    digits, said = open_images("mnist_5k", split="test[:60]"), []
    found = score(ArrayFakes(digits), digits, [Failing(error), FrechetDistance("mnist_cnn")], say=said.append)
    assert list(found["scores"]) == ["fd"] and found["left_out"] == {"kd": text}
    assert [metric["name"] for metric in found["metrics"]] == ["fd"]
    assert said[-1] == f"Left out: kd: {text}." and said == describe_score(found).splitlines()
    with pytest.raises(ValueError, match=f"No score can be computed. kd: {text}"):
        score(ArrayFakes(digits), digits, [Failing(error)])


def test_a_metric_that_fails_in_the_midst_is_left_out():
    class Late(FrechetDistance):
        def observe(self, batch):
            if len(batch.real) < 20:
                raise MemoryError
            super().observe(batch)

    digits = open_images("mnist_5k", split="test[:50]")
    found = score(ArrayFakes(digits), digits, [Late("mnist_cnn", "late"), FrechetDistance("mnist_cnn")], batch_size=20)
    assert found["left_out"] == {"late": "out of memory: MemoryError"} and found["real"]["used"] == 50


def test_numbers_that_are_not_finite_are_no_scores():
    class Endless(FrechetDistance):
        def results(self):
            return {"endless": float("inf"), "endless_error": 1.0}

    digits = open_images("mnist_5k", split="test[:2]")
    metrics_ = [Endless("mnist_cnn", "endless"), KernelDistance("mnist_cnn")]
    found = score(ArrayFakes(digits), digits, metrics_)
    # Of two images there is no error of the kernel distance.
    assert list(found["scores"]) == ["kd"] and found["left_out"] == {"endless": "it came to inf"}
    assert "Left out: endless, as it came to inf." in describe_score(found)
    json.dumps(found, allow_nan=False)


def test_metrics_that_do_not_apply_are_left_out_by_name(fakes, tmp_path):
    found = runs.evaluate(**asked(fakes, tmp_path, metrics=["fd", "ppl", "intra_fd"])).receipt
    assert set(found["scores"]) == {"fd", "fd_error"}
    assert found["left_out"] == {
        "ppl": "it needs a generator, not images that are drawn already",
        "intra_fd": "it needs a conditional generator and labelled images",
    }
    with pytest.raises(UsageError, match=r"No score can be computed. cas, as it needs a conditional generator"):
        runs.evaluate(**asked(fakes, tmp_path, metrics=["cas"]))
    with pytest.raises(UsageError, match="There is no metric fid"):
        runs.evaluate(**asked(fakes, tmp_path, metrics=["fid"]))


def test_where_a_score_goes_is_tried_first(fakes, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(receipts, "score", None)
    for name, path in (("out", tmp_path / "file" / "x.json"), ("out", tmp_path), ("report", tmp_path / "file")):
        with pytest.raises(UsageError, match=f"`{name}={path}.*` cannot be written: "):
            runs.evaluate(**asked(fakes, tmp_path, **{name: path}))


def test_a_receipt_that_cannot_be_written_after_all_is_returned(fakes, tmp_path, monkeypatch, caplog):
    def full(path, receipt):
        raise OSError(28, "No space left on device")

    said = []
    monkeypatch.setattr(receipts, "write_receipt", full)
    with caplog.at_level("WARNING", logger="absl"):
        found = runs.evaluate(**asked(fakes, tmp_path), say=said.append)
    assert found.path is None and "fd" in found.receipt["scores"]
    assert said == describe_score(found.receipt).splitlines()
    assert "The receipt cannot be written: [Errno 28] No space left on device." in caplog.text


def test_a_report_that_fails_leaves_the_receipt(fakes, tmp_path, monkeypatch, caplog):
    def failing(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evaluation, "write_report", failing)
    with caplog.at_level("WARNING", logger="absl"):
        found = runs.evaluate(**asked(fakes, tmp_path, report=tmp_path / "report", train_split="nowhere"))
    assert "The report will show no nearest training images: " in caplog.text
    assert "The report cannot be written: [Errno 28] No space left on device." in caplog.text
    assert found.report is None and json.loads(found.path.read_text()) == found.receipt


def test_a_part_of_the_report_that_fails_is_left_out(fakes, tmp_path, monkeypatch):
    def failing(*arguments):
        raise MemoryError

    monkeypatch.setattr("tfgan_app.study.report._spectrum", failing)
    monkeypatch.setattr(evaluation, "examine", failing)
    found = runs.evaluate(**asked(fakes, tmp_path, report=tmp_path / "report", train_split="train[:50]"))
    page = found.report.read_text()
    assert "Left out: out of memory: MemoryError." in page and "<h2>By class</h2>" in page
    assert found.receipt["left_out"] == {"memorisation": "out of memory: MemoryError"}
    assert json.loads(found.path.read_text()) == found.receipt


def test_classes_with_a_single_image_are_left_out_of_the_mean():
    inputs = keras.Input((3,))
    extractor = load_extractor(keras.Model(inputs, inputs))
    rng = np.random.default_rng(0)
    labels = np.append(np.arange(60) % 3, 3)
    real, fake = rng.normal(size=(2, 61, 3))
    whole, part = (metrics.IntraClassFrechetDistance(extractor, num) for num in (3, 5))
    whole.update_state(real[:60], fake[:60], labels[:60])
    part.update_state(real, fake, labels)
    assert part.results() == {**whole.results(), "intra_fd_left_out": 2.0}
    assert part.result() == whole.result()
    part.reset_state()
    part.update_state(real[60:], fake[60:], labels[60:])
    with pytest.raises(ValueError, match="needs at least 2 images of a class"):
        part.results()


def test_copies_are_not_told_by_one_image():
    digits = open_images("mnist_5k", split="test[:3]")
    images, _ = digits.first(3)
    with pytest.raises(ValueError, match=r"at least 2 held-out images. Received: 1"):
        examine(images, images[:1], digits, load_extractor("mnist_cnn"))
    assert copying_test(np.ones(3), np.ones(3)).z == 0


def few(tmp_path, counts):
    """A file of a class for each of `counts`, of so many images."""
    num = sum(counts)
    images = np.random.default_rng(0).integers(0, 256, (num, 28, 28, 1), dtype=np.uint8)
    np.savez(tmp_path / "few.npz", images=images, labels=np.repeat(np.arange(len(counts)), counts))
    return tmp_path / "few.npz"


@pytest.mark.parametrize(("counts", "scored"), [((1,), False), ((12,), True), ((1,) + (2,) * 20, True)])
def test_training_and_scores_on_few_images(counts, scored, tmp_path, capfd):
    said, dataset = [], few(tmp_path, counts)
    more = {"dataset": dataset, "extractor": "mnist_cnn", "batch_size": min(sum(counts), 4), "say": said.append}
    trained = runs.train(**TINY, **more, run_dir=tmp_path / "run")
    assert trained.step == 2 and bool(trained.receipts) == scored
    assert ("No score: few.npz train has one image; scores compare 2 at least." in said) != scored
    assert "twin" not in capfd.readouterr().err
    if scored:
        found = runs.evaluate(run=tmp_path / "run", extractor="mnist_cnn", metrics=["all"], report=tmp_path / "report")
        assert "fd" in found.receipt["scores"] and found.report.is_file()
    else:
        with pytest.raises(UsageError, match=r"No score can be computed. fd: .* at least 2 real images. Received: 1"):
            runs.evaluate(run=tmp_path / "run", extractor="mnist_cnn")


def test_classes_of_others_are_not_compared(tmp_path):
    gan = models.CGAN((28, 28, 1), num_classes=2, latent_dim=4, base_channels=2)
    gan.class_names = ("1", "0")
    gan.compile()
    gan.export(tmp_path / "saved")
    message = (
        r"`dataset=few.npz` has the classes 0, 1, the generator draws 1, 0: they must be the same in the same order"
    )
    with pytest.raises(UsageError, match=message):
        runs.evaluate(
            saved_model=tmp_path / "saved", dataset=few(tmp_path, (4, 4)), split="train", extractor="mnist_cnn"
        )


def test_a_last_score_that_fails_does_not_keep_the_gan_from_its_export(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(receipts, "score", lambda *arguments, **named: (_ for _ in ()).throw(MemoryError()))
    settings = {"dataset": "mnist_5k", "split": "train[:8]", "eval_split": "test[:8]", "batch_size": 4}
    trained = runs.train(**TINY, **settings, on_collapse="ignore", run_dir=tmp_path / "run", say=said.append)
    assert trained.receipts == [] and "No score: out of memory: MemoryError." in said
    assert (trained.saved_model / "saved_model.pb").is_file()


def test_an_extractor_that_cannot_take_the_images_is_not_chosen(tmp_path):
    said = []
    settings = {"dataset": "mnist_5k", "split": "train[:8]", "channels": 3, "batch_size": 4, "on_collapse": "ignore"}
    trained = runs.train(**TINY, **settings, run_dir=tmp_path / "run", say=said.append)
    why = "mnist_cnn is shipped for mnist_5k at (28, 28, 1), not at (28, 28, 3)"
    assert f"Scores compare patches of images, as {why}. Name one with `extractor`." in said
    found = runs.evaluate(run=tmp_path / "run").receipt
    for receipt in (found, *trained.receipts):
        assert [metric["name"] for metric in receipt["metrics"]] == ["patch_swd"] and receipt["extractor"] is None
    with pytest.raises(UsageError, match=r"No score can be computed. fd, as it needs a feature extractor"):
        runs.evaluate(run=tmp_path / "run", metrics=["fd"])
    named = "`extractor=mnist_cnn` does not serve for mnist_5k. The feature extractor mnist_cnn takes images of shape"
    with pytest.raises(UsageError, match=named):
        runs.evaluate(run=tmp_path / "run", extractor="mnist_cnn")
    with pytest.raises(UsageError, match=named):
        runs.train(**TINY, **settings, extractor="mnist_cnn", run_dir=tmp_path / "named")
    assert not (tmp_path / "named").exists()


def test_a_command_whose_receipt_cannot_be_written_prints_the_scores_and_fails(fakes, tmp_path):
    fault = "from tfgan_app.study import receipts\n"
    fault += "def full(path, receipt): raise OSError(28, 'No space left on device')\n"
    fault += "receipts.write_receipt = full"
    flags = [f"--{name}={value}" for name, value in asked(fakes, tmp_path, metrics="fd").items()]
    out, error = commands.outputs(commands.start("evaluate", *flags, fault=fault), code=1)
    assert out.startswith("Frechet distance ") and "Receipt in" not in out
    assert "The receipt cannot be written: [Errno 28] No space left on device." in error


def test_progress_is_a_line_a_minute_where_there_is_no_terminal(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(cli.time, "monotonic", lambda: now[0])
    progress = cli.Progress()
    for now[0] in (1.0, 59.0, 61.0, 100.0, 122.0):
        progress(f"at {now[0]:.0f} s")
    progress.say("done with `run`")
    shown = capsys.readouterr()
    assert shown.err == "at 61 s\nat 122 s\n" and shown.out == "done with `run`\n"
