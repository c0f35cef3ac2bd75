"""The commands on runs, each run as a user runs it: in a process of its own."""

import json
import signal
import time

import numpy as np
import pytest
from commands import TINY, read_csv, run, start, weights
from PIL import Image


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny conditional run of four steps."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run(
        "train",
        *(flag for flag in TINY if not flag.startswith(("--model", "--jit"))),
        "--model=CGAN",
        "--model_arg=base_channels=2",
        "--mixed_precision=none",
        "--train_steps=4",
        "--steps_per_epoch=2",
        f"--run_dir={folder}",
        fresh=True,
    )
    return folder


# Flags.


@pytest.mark.parametrize("command", ["train", "evaluate", "generate", "export"])
def test_help_and_wrong_flags_answer_before_tensorflow_loads(command, tmp_path):
    for library in ("tensorflow", "keras"):
        (tmp_path / f"{library}.py").write_text("raise SystemExit('loaded too early')")
    mistyped = ("--formt=onnx", "Did you mean: format") if command == "export" else ("--sed=1", "Did you mean: seed")
    for flag, text in (("--help", "python -m tfgan_app"), mistyped):
        process = start(command, flag, fresh=True, PYTHONPATH=str(tmp_path))
        out, error = process.communicate(timeout=60)
        assert text in out + error
    assert process.returncode == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=StyleGAN9"], "flag --model=StyleGAN9: value should be one of"),
        (["--flagfile=missing.flags"], "--flagfile=missing.flags cannot be read as text"),
        (["runs/mnist"], "unexpected arguments: runs/mnist"),
        (["--channels=9"], "must be 1 (greyscale), 3 (RGB), 4 (RGBA)"),
        (["--real_label=1.5"], "flag --real_label=1.5"),
        (["--model_arg=depth=3", "--dry_run"], "DCGAN takes no depth. It takes latent_dim, base_channels."),
        (["--model_arg=base_channels", "--dry_run"], "must be NAME=VALUE"),
        (["--model_arg=base_channels=wide", "--dry_run"], "must be a Python literal"),
        (["--loss=Hinge", "--real_label=0.9", "--dry_run"], "--real_label=0.9 has no meaning for --loss=Hinge"),
        (
            ["--image_size=30", "--dry_run"],
            "Give --image_size=28 or --image_size=32, or --model=MLPGAN",
        ),
        (["--ema_decay=1", "--dry_run"], "--ema_decay must lie in [0, 1)"),
        (["--dataset=mnits", "--dry_run"], "Unknown dataset 'mnits'. Did you mean 'mnist'"),
        (["--steps_per_execution=3", "--train_steps=6"], "--steps_per_epoch=1000 must be a multiple of"),
        (["--extractor=vgg", "--train_steps=1"], "--extractor: Unknown feature extractor"),
    ],
)
def test_train_refuses_wrong_flags_in_one_line(flags, message, tmp_path):
    error = run("train", *flags, f"--run_dir={tmp_path / 'run'}", code=2)
    assert message in error
    assert not (tmp_path / "run").exists()


def test_a_step_leaves_no_noise_on_standard_error(tmp_path, monkeypatch):
    # Residual convolutions with biases, at which TensorFlow's graph optimiser logs an error that is none.
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    flags = ["--model=SNGAN", "--model_arg=g_channels=4", "--model_arg=d_channels=4", "--batch_size=2", "--dry_run"]
    process = start("train", *flags, cwd=tmp_path, fresh=True)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0 and "One step on noise: " in out and error == ""


# test_recipes.py builds and trains every recipe; these two also go through the command.
@pytest.mark.parametrize("flagfile", ["mnist.flags", "wgan_gp.flags"])
def test_every_recipe_passes_its_dry_run_and_writes_nothing(flagfile, tmp_path):
    out = run("train", f"--flagfile={flagfile}", "--batch_size=4", "--dry_run", cwd=tmp_path)
    assert "--model=" in out
    assert "One step on noise: d_loss" in out or "One step on noise:" in out
    assert not list(tmp_path.iterdir())


def test_a_flagfile_in_the_working_folder_comes_before_the_packaged_one(tmp_path):
    assert "--dataset=mnist\n" in run("train", "--flagfile=mnist.flags", "--print_config", cwd=tmp_path)
    (tmp_path / "mnist.flags").write_text("--dataset=mine\n")
    out = run("train", "--flagfile", "mnist.flags", "--print_config", cwd=tmp_path)
    assert "--dataset=mine\n" in out
    (tmp_path / "printed.flags").write_text(out)
    assert run("train", "--flagfile=printed.flags", "--print_config", cwd=tmp_path) == out


# Training.


def test_run_folder_holds_all_that_a_run_leaves(trained):
    record = json.loads((trained / "run.json").read_text())
    assert record["settings"]["model"] == "CGAN"
    assert record["data"]["name"] == "mnist_5k" and record["data"]["num_images"] == 64
    assert record["sessions"][0]["from_step"] == 0
    rows = read_csv(trained / "metrics.csv")
    assert [row["step"] for row in rows] == ["2", "4"]
    assert {"d_loss", "g_loss", "d_real", "d_fake", "val_fd", "seconds"} <= rows[0].keys()
    assert sorted(path.name for path in (trained / "samples").iterdir()) == [
        "samples.gif",
        "step_00000002.png",
        "step_00000004.png",
    ]
    assert sorted(path.name for path in (trained / "checkpoints").iterdir()) == ["step_00000002", "step_00000004"]
    assert (trained / "saved_model" / "1" / "saved_model.pb").is_file()
    card = (trained / "saved_model" / "README.md").read_text()
    assert "4,000" not in card and "64 images" not in card.replace("Caution: 64 images", "")
    assert "| Images seen | 32 (4 steps of 8) |" in card
    receipt = json.loads((trained / "scores" / "step_00000004.json").read_text())
    assert receipt["real"]["used"] == receipt["fake"]["used"] == 64
    assert f"{receipt['scores']['fd']:.4g}" in card


def test_scores_as_rare_as_asked_for(tmp_path):
    folder = tmp_path / "run"
    run("train", *TINY, "--train_steps=5", "--steps_per_epoch=1", "--score_every=2", f"--run_dir={folder}")
    rows = read_csv(folder / "metrics.csv")
    assert [row["step"] for row in rows if row["val_fd"]] == ["2", "4"]
    assert [path.name for path in (folder / "scores").iterdir()] == ["step_00000005.json"]
    (best,) = (folder / "best").iterdir()
    assert best.name == f"step_0000000{min(rows[1::2], key=lambda row: float(row['val_fd']))['step']}"


def test_by_default_a_score_takes_a_fiftieth_of_the_images(tmp_path):
    folder = tmp_path / "run"
    given = [flag for flag in TINY if not flag.startswith("--score_every")]
    output = run("train", *given, "--train_steps=600", "--steps_per_epoch=200", f"--run_dir={folder}")
    # 50 times 64 images are two epochs of 200 steps of 8.
    assert "scores on test[:64] every 2 epochs and at the end" in output
    assert [row["step"] for row in read_csv(folder / "metrics.csv") if row["val_fd"]] == ["400"]


def test_going_on_refuses_another_architecture_and_accepts_more_steps(tmp_path):
    folder = tmp_path / "run"
    base = [*TINY, "--mixed_precision=none", "--extractor=none", "--steps_per_epoch=3", f"--run_dir={folder}"]
    assert "XLA off, as asked for." in run("train", *base, "--train_steps=3")
    assert "is trained to step 3 already. Ask for more with --train_steps" in run("train", *base, "--train_steps=3")
    error = run("train", *base, "--train_steps=9", "--latent_dim=5", "--seed=1", "--split=train[:32]", code=2)
    assert "--latent_dim: the run has 4, asked for 5" in error
    assert "--seed: the run has 0, asked for 1" in error
    assert "images: the run has" in error
    out = run("train", *base, "--train_steps=5", "--g_learning_rate=0.001", "--jit_compile=auto")
    assert "Going on from step 3" in out and "XLA on, the faster for this model here." in out
    assert [row["step"] for row in read_csv(folder / "metrics.csv")] == ["3", "5"]
    assert len(json.loads((folder / "run.json").read_text())["sessions"]) == 2
    # `run.flags` carries on as well.
    assert "is trained to step 5 already" in run("train", f"--flagfile={folder / 'run.flags'}")


def test_several_steps_in_one_call_leave_the_same_run(tmp_path):
    base = [*TINY, "--extractor=none", "--steps_per_epoch=6", "--on_collapse=ignore"]
    several = [*base, "--steps_per_execution=3", f"--run_dir={tmp_path / 'several'}"]
    run("train", *several, "--train_steps=6")
    assert "Going on from step 6" in run("train", *several, "--train_steps=12")
    run("train", *base, "--train_steps=12", f"--run_dir={tmp_path / 'single'}")
    for folder in ("checkpoints", "samples"):
        names = [{path.name for path in (tmp_path / kind / folder).iterdir()} for kind in ("several", "single")]
        assert names[0] == names[1]
    rows = [read_csv(tmp_path / kind / "metrics.csv") for kind in ("several", "single")]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]] == ["6", "12"]
    for one, other in zip(*rows, strict=True):
        assert float(one["d_loss"]) == pytest.approx(float(other["d_loss"]), rel=1e-4)
    expected, received = (weights(tmp_path / kind, 12) for kind in ("single", "several"))
    for name, value in expected.items():
        np.testing.assert_allclose(received[name], value, atol=1e-6, err_msg=name)


LONG = (*TINY, "--extractor=none", "--train_steps=4000", "--steps_per_epoch=500")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    run("train", *LONG, f"--run_dir={folder}", fresh=True)
    return folder


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_goes_on_to_the_same_weights(signum, code, uninterrupted, tmp_path):
    interrupted = tmp_path / "interrupted"
    process = start("train", *LONG, f"--run_dir={interrupted}", PYTHONUNBUFFERED="1")
    while not list(interrupted.glob("checkpoints/step_00000500")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signum)
    out, error = process.communicate(timeout=60)
    assert process.returncode == code, out + error
    assert "Stopped by" in out and f"--run_dir={interrupted}" in out
    saved = max((interrupted / "checkpoints").iterdir())
    assert 500 <= int(saved.name.removeprefix("step_")) < 4000

    run("train", *LONG, f"--run_dir={interrupted}")
    expected, received = weights(uninterrupted, 4000), weights(interrupted, 4000)
    assert expected.keys() == received.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(received[name], value, err_msg=name)


def test_a_term_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tmp_path):
    base = [*TINY, "--extractor=none", "--steps_per_epoch=2", f"--run_dir={tmp_path / 'run'}"]
    run("train", *base, "--train_steps=2")
    error = run("train", *base, "--train_steps=20", "--d_learning_rate=1e38", "--g_learning_rate=1e38", code=1)
    assert "at step" in error and ("became" in error or "holds NaN or Inf" in error)
    assert "step_00000002" in {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    for name, value in weights(tmp_path / "run", 2).items():
        assert np.isfinite(value).all(), name


def test_a_run_that_fails_is_rolled_back_to_its_best_checkpoint(tmp_path):
    folder = tmp_path / "run"
    base = [*TINY, "--steps_per_epoch=2", f"--run_dir={folder}"]
    run("train", *base, "--train_steps=4")
    (best,) = (folder / "best").iterdir()
    assert best.name in ("step_00000002", "step_00000004")
    more = ["--train_steps=20", "--d_learning_rate=1e38", "--g_learning_rate=1e38", "--on_collapse=rollback"]
    error = run("train", *base, *more, code=1)
    assert f"rolled back to step {int(best.name[-8:])} " in error and "learning rates 5e+37" in error
    assert "3 rollbacks did not help" in error
    rollbacks = json.loads((folder / "run.json").read_text())["rollbacks"]
    assert [rollback["to_step"] for rollback in rollbacks] == [int(best.name[-8:])] * 3
    # The newest checkpoint is the one gone back to, so the same command does not go on from a later one.
    assert max(path.name for path in (folder / "checkpoints").iterdir()) == best.name
    for name, value in weights(folder, int(best.name[-8:])).items():
        assert np.isfinite(value).all(), name


def test_rollback_is_refused_where_learning_rates_follow_a_schedule(tmp_path):
    flags = [*TINY, "--decay_learning_rates", "--on_collapse=rollback", f"--run_dir={tmp_path}"]
    assert "--on_collapse=rollback lowers constant learning rates" in run("train", *flags, code=2)


def test_a_data_set_that_cannot_be_downloaded_falls_back_only_where_told_to(tmp_path):
    offline = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    base = [*TINY, "--dataset=mnist", f"--data_dir={tmp_path}", "--train_steps=1", f"--run_dir={tmp_path / 'run'}"]
    began = time.monotonic()
    error = run("train", *base, code=1, **offline)
    assert time.monotonic() - began < 25  # 15 s for the answer, and the start of TensorFlow
    for text in ("'mnist'", "--manual_dir", "mnist_5k"):
        assert text in error
    run("train", *base, "--fallback_dataset=mnist_5k", **offline)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["fallback_for"] == "mnist"
    assert "standing in for mnist" in (tmp_path / "run" / "saved_model" / "README.md").read_text()
    (receipt,) = (tmp_path / "run" / "scores").iterdir()
    assert json.loads(receipt.read_text())["real"]["fallback_for"] == "mnist"


def test_training_on_a_folder_of_images(tmp_path):
    noise = np.random.default_rng(0)
    for index in range(12):
        path = tmp_path / "mine" / ("cats", "dogs")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    base = ["--batch_size=4", "--train_steps=2", "--mixed_precision=none", "--model_arg=base_channels=2"]
    out = run("train", f"--dataset={tmp_path / 'mine'}", "--image_size=32", *base, cwd=tmp_path)
    said = "Scores compare patches of images, as no feature extractor is shipped for mine. Name one with --extractor."
    assert said in out and "mine has no split test: scores compare with the training images." in out
    assert "val_patch_swd" in out and "Sliced Wasserstein distance of patches " in out
    assert (tmp_path / "runs" / "dcgan_mine" / "saved_model" / "1" / "saved_model.pb").is_file()
    out = run("train", f"--dataset={tmp_path / 'mine'}", "--image_size=32", "--model=cgan", *base, cwd=tmp_path)
    assert json.loads((tmp_path / "runs" / "cgan_mine" / "run.json").read_text())["data"]["class_names"] == [
        "cats",
        "dogs",
    ]


def test_a_run_knows_its_images_whatever_they_are_called_and_wherever_they_are(tmp_path):
    here, moved, away = (tmp_path / name for name in ("here", "moved", "away"))
    away.mkdir()
    for index, image in enumerate(np.random.default_rng(0).integers(0, 256, (8, 28, 28), dtype=np.uint8)):
        path = here / "photos" / ("cat", "dog")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    base = [flag for flag in TINY if not flag.startswith(("--dataset", "--split", "--eval"))]
    base += ["--extractor=none", "--on_collapse=ignore", "--batch_size=4", "--steps_per_epoch=1"]
    run("train", *base, "--dataset=photos/", "--train_steps=1", cwd=here)
    folder = here / "runs" / "mlpgan_photos"
    record = json.loads((folder / "run.json").read_text())["settings"]
    assert (record["dataset"], record["run_dir"]) == (str(here / "photos"), str(folder))
    run("train", *base, f"--dataset={here}/../here/photos", "--train_steps=2", cwd=here)
    # Its own flagfile reruns it from anywhere; what moves with it is found.
    out = run("train", f"--flagfile={folder}/run.flags", "--train_steps=3", cwd=away)
    assert "Going on from step 2" in out and not list(away.iterdir())
    here.rename(moved)
    folder = moved / "runs" / "mlpgan_photos"
    out = run("train", f"--flagfile={folder}/run.flags", "--train_steps=4", cwd=away)
    assert "Going on from step 3" in out and str(moved / "photos") in (folder / "run.json").read_text()
    scored = [f"--run={folder}", "--metrics=fd", "--extractor=mnist_cnn"]
    run("evaluate", *scored, "--out=~/scores/a.json", cwd=away, HOME=str(away))
    receipt = json.loads((away / "scores" / "a.json").read_text())
    assert receipt["real"]["used"] == 8 and receipt["real"]["name"] == "photos"
    # Where they are gone, it says where it looked, and is told.
    (moved / "photos").rename(away / "pictures")
    error = run("evaluate", *scored, cwd=away, code=2)
    assert error == (
        f"evaluate: The images of {folder} are gone: looked for {moved}/photos. Say where they are with --dataset.\n"
    )
    run("evaluate", *scored, f"--dataset={away}/pictures", f"--report={away}/report", cwd=away)
    assert "Nearest training images" in (away / "report" / "index.html").read_text()
    run("train", f"--flagfile={folder}/run.flags", "--dataset=pictures", "--train_steps=5", cwd=away)
    run("generate", f"--run={folder}", "--grid=1x1", "--out=$HOME/one.png", cwd=tmp_path, HOME=str(away))
    assert (away / "one.png").is_file()


def test_a_conditional_model_asks_for_labels(tmp_path):
    np.savez(tmp_path / "images.npz", images=np.zeros((8, 28, 28, 1), np.uint8))
    error = run("train", f"--dataset={tmp_path / 'images.npz'}", "--model=CGAN", "--batch_size=4", cwd=tmp_path, code=2)
    assert "--model=CGAN needs labelled images" in error


# Evaluation.


def test_evaluate_scores_a_run_its_export_and_its_images_alike(trained, tmp_path):
    out = run("evaluate", f"--run={trained}", f"--out={tmp_path / 'run.json'}", fresh=True)
    assert "not FID" in out and "mnist_cnn" in out and "step 4" in out and "EMA" in out
    receipt = json.loads((tmp_path / "run.json").read_text())
    at_end = json.loads((trained / "scores" / "step_00000004.json").read_text())
    assert receipt["scores"]["fd"] == pytest.approx(at_end["scores"]["fd"], rel=1e-6)
    assert {"fd", "fd_error", "kd", "kd_error", "precision", "recall", "density", "coverage"} == set(receipt["scores"])
    assert receipt["extractor"]["sha256"] == at_end["extractor"]["sha256"]

    data = ["--dataset=mnist_5k", "--split=test[:64]"]
    export = trained / "saved_model" / "1"
    run("evaluate", f"--saved_model={export}", *data, f"--out={tmp_path / 'saved.json'}")
    saved = json.loads((tmp_path / "saved.json").read_text())
    assert saved["scores"] == pytest.approx(receipt["scores"], rel=1e-3)
    out = run("evaluate", f"--compare={tmp_path / 'run.json'},{tmp_path / 'saved.json'}")
    assert [line.split()[0] for line in out.splitlines()] == ["fd", "kd", "precision", "recall", "density", "coverage"]
    assert " -> " in out and " ± " in out

    narrow = ["--num_images=32", "--seed=5", "--truncation=0.5"]
    out = run("evaluate", f"--run={trained}", "--raw", "--checkpoint=2", *narrow)
    assert "truncation 0.5" in out
    raw = json.loads((trained / "scores" / "step_00000002_raw_truncation_0.5.json").read_text())
    facts = {"source": str(trained), "step": 2, "checkpoint": "2", "weights": "raw", "seed": 5, "truncation": 0.5}
    assert raw["fake"] == {"used": 32, **facts}

    real = np.stack([np.full((28, 28, 1), level, np.uint8) for level in range(40)])
    np.savez(tmp_path / "flat.npz", images=real)
    run("evaluate", f"--images={tmp_path / 'flat.npz'}", *data, f"--out={tmp_path / 'images.json'}")
    assert json.loads((tmp_path / "images.json").read_text())["fake"]["used"] == 40
    error = run("evaluate", f"--compare={tmp_path / 'run.json'},{tmp_path / 'images.json'}", code=2)
    assert "differ in protocol" in error and "fake.used: 64 against 40" in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give one of --run, --saved_model and --images. Received: none"),
        (["--run=nowhere"], "--run=nowhere is not a run folder"),
        (["--saved_model=nowhere"], "--saved_model needs --dataset"),
        (["--images=x.npz", "--dataset=mnist_5k", "--truncation=1"], "--truncation has no meaning for --images"),
        (["--saved_model=nowhere", "--dataset=mnist_5k"], "nowhere is not a GAN exported by this package"),
        (["--run=nowhere", "--checkpoint=worst"], "flag --checkpoint=worst: must be last, best or a step"),
        (["--compare=a.json"], "--compare takes two receipts, A.json,B.json. Received: 1"),
        (["--compare=a.json,b.json"], "--compare: [Errno 2] No such file or directory: 'a.json'"),
    ],
)
def test_evaluate_refuses_wrong_flags_in_one_line(flags, message):
    assert message in run("evaluate", *flags, code=2)


def test_evaluate_of_the_best_checkpoint_writes_a_report(trained, tmp_path):
    out = run(
        "evaluate", f"--run={trained}", "--checkpoint=best", "--metrics=fd,intra_fd", f"--report={tmp_path / 'report'}"
    )
    assert f"Report in {tmp_path / 'report' / 'index.html'}." in out and "checkpoint best" in out
    page = (tmp_path / "report" / "index.html").read_text()
    for heading in ("Scores", "Samples", "By class", "Losses", "Nearest training images", "Interpolation", "Spectrum"):
        assert f"<h2>{heading}</h2>" in page
    receipt = json.loads(next((trained / "scores").glob("step_*_best.json")).read_text())
    assert receipt["fake"]["checkpoint"] == "best"
    assert receipt["memorisation"]["train"] == receipt["memorisation"]["samples"] == 64


def test_evaluate_of_a_missing_checkpoint_is_an_error(trained):
    assert "has no checkpoint of step 3. It has [4, 2]." in run(
        "evaluate", f"--run={trained}", "--checkpoint=3", code=1
    )


# Generation.


def test_generate_writes_what_the_ending_says(trained, tmp_path):
    draw = [f"--run={trained}", "--seed=7"]
    run("generate", *draw, "--grid=2x3", "--scale=1", f"--out={tmp_path / 'grid.png'}", fresh=True)
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (3 * 30 + 2, 2 * 30 + 2)
    run("generate", *draw, "--num_images=5", "--labels=3,1", f"--out={tmp_path / 'five.npz'}")
    with np.load(tmp_path / "five.npz") as arrays:
        assert arrays["images"].shape == (5, 28, 28, 1) and arrays["images"].dtype == np.uint8
        assert arrays["labels"].tolist() == [3, 1, 3, 1, 3]
        five = arrays["images"]
    export = f"--saved_model={trained / 'saved_model' / '1'}"
    run("generate", export, "--seed=7", "--num_images=5", "--labels=3,1", f"--out={tmp_path / 'singles'}")
    singles = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "singles").iterdir())]
    # Both come from the same weights in float32, so at most the rounding to uint8 differs.
    assert np.abs(np.stack(singles)[..., None].astype(int) - five).max() <= 1
    narrow = ["--seed=7", "--num_images=5", "--labels=3,1", "--truncation=0.1"]
    for index, source in enumerate((draw[0], export)):
        run("generate", source, *narrow, f"--out={tmp_path / f'narrow{index}.npz'}")
    run_images, saved_images = (np.load(tmp_path / f"narrow{index}.npz")["images"].astype(int) for index in range(2))
    assert np.abs(run_images - saved_images).max() <= 1
    assert np.any(run_images != five)
    run("generate", export, "--grid=1x2", "--frames=6", f"--out={tmp_path / 'walk.gif'}")
    with Image.open(tmp_path / "walk.gif") as walk:
        assert walk.n_frames == 6


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give either --run or --saved_model. Received: neither"),
        (["--out=grid.jpg"], "must end in .png, .gif, .mp4, .npz or .npy, or name a folder"),
        (["--grid=8"], "--grid=8 must be ROWSxCOLUMNS"),
        (["--num_images=3"], "--num_images goes with --out=NAME.npz, NAME.npy or a folder"),
    ],
)
def test_generate_refuses_wrong_flags_in_one_line(flags, message):
    assert message in run("generate", *flags, code=2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            "cat",
            "--labels=cat: there is no class 'cat'. It must be a name (0, 1, 2, 3, 4, 5, 6, 7, 8, 9) or an integer",
        ),
        ("10", "--labels=10: there is no class '10'. Did you mean"),
    ],
)
def test_generate_refuses_labels_that_there_are_not(labels, message, trained, tmp_path):
    error = run("generate", f"--run={trained}", f"--labels={labels}", f"--out={tmp_path / 'x.png'}", code=2)
    assert message in error
