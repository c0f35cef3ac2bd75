"""Runs of translators: from a folder of pairs to a receipt, pictures and a SavedModel, stopped and gone on with."""

import json

import commands
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfgan_app as tg
from tfgan_app import runs
from tfgan_app.base.errors import UsageError

PIX2PIX = {
    "model": "Pix2Pix",
    "model_arg": ["g_channels=4", "d_channels=4"],
    "batch_size": 4,
    "jit_compile": "false",
    "mixed_precision": "none",
    "score_every": 1,
    "train_steps": 4,
    "steps_per_epoch": 2,
}
DIGITS = {**PIX2PIX, "dataset": "mnist_5k", "split": "train[:32]", "eval_split": "test[:16]", "degrade": "noise(30)"}
SUPER = {
    **DIGITS,
    "degrade": "shrink(2)",
    "model": "SRGAN",
    "model_arg": ["g_channels=4", "d_channels=4", "blocks=1", "perceptual_weight=0"],
}


def write_pairs(folder, num=12, size=(24, 20)):
    random = np.random.default_rng(0)
    for split, count in (("train", num), ("test", 4)):
        for side in "AB":
            (folder / split / side).mkdir(parents=True)
        for index in range(count):
            picture = random.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(picture).save(folder / split / "A" / f"{index}.png")
            Image.fromarray(255 - picture).save(folder / split / "B" / f"{index}.png")
    return folder


def test_a_folder_of_pairs_is_translated_scored_and_exported(tmp_path):
    said = []
    pairs = write_pairs(tmp_path / "pairs")
    trained = runs.train(**PIX2PIX, dataset=str(pairs), crop=16, run_dir=tmp_path / "run", say=said.append)
    assert trained.step == 4 and trained.gan.source.shape == trained.gan.target.shape == (16, 16, 3)
    assert any(line.startswith("12 pairs of pairs (train), (16, 16, 3); scores on test every epoch") for line in said)
    (receipt,) = trained.receipts
    assert {"psnr", "ssim", "psnr_y", "ssim_y", "mae"} <= receipt["scores"].keys()
    # The source itself is a picture that is as wrong as can be.
    assert receipt["baseline"]["name"] == "source" and receipt["baseline"]["scores"].keys() >= {"psnr", "mae"}
    assert receipt["real"]["used"] == 4
    header, *rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert {"l1", "val_mae", "val_psnr"} <= set(header.split(",")) and len(rows) == 2
    for name in ("step_00000002.png", "step_00000004.png", "samples.gif"):
        assert (trained.samples / name).is_file()
    best = runs.Run.existing(tmp_path / "run").restored_gan("best")
    column = header.split(",").index("val_mae")
    assert best.step == 2 * (1 + int(np.argmin([float(row.split(",")[column]) for row in rows])))

    saved = tf.saved_model.load(str(trained.saved_model))
    pictures = np.random.default_rng(1).random((1, 9, 30, 3), np.float32)
    outputs = saved.signatures["translate"](images=tf.constant(pictures))["images"]
    np.testing.assert_allclose(outputs, trained.gan.translate(pictures), atol=1e-5)

    found = runs.evaluate(run=tmp_path / "run", report=tmp_path / "report")
    assert found.receipt["scores"]["psnr"] == pytest.approx(receipt["scores"]["psnr"], rel=1e-5)
    assert found.report.is_file() and list((tmp_path / "report").glob("*worst*.png"))
    exported = runs.evaluate(
        saved_model=trained.saved_model, dataset=str(pairs), metrics=["psnr"], out=tmp_path / "receipt.json"
    )
    assert exported.receipt["scores"]["psnr"] == pytest.approx(receipt["scores"]["psnr"], rel=1e-4)


def test_a_run_that_stopped_goes_on_to_the_same_bits(tmp_path):
    for name, steps in (("whole", (6,)), ("parts", (3, 6))):
        for train_steps in steps:
            runs.train(**{**DIGITS, "train_steps": train_steps}, run_dir=tmp_path / name)
    received, expected = (commands.weights(tmp_path / name, 6) for name in ("parts", "whole"))
    for name, value in expected.items():
        np.testing.assert_array_equal(received[name], value, err_msg=name)


def test_two_sides_go_there_and_back(tmp_path):
    cycle = {**PIX2PIX, "model": "CycleGAN", "model_arg": ["g_channels=2", "d_channels=2", "blocks=1", "pool_size=6"]}
    pairs = write_pairs(tmp_path / "pairs")
    trained = runs.train(**cycle, dataset=str(pairs), crop=16, run_dir=tmp_path / "run")
    (receipt,) = trained.receipts
    # Nobody knows the truth, so nothing is compared with it.
    assert {"fd", "cycle_mae", "fd_back"} <= receipt["scores"].keys() and "psnr" not in receipt["scores"]
    known = runs.evaluate(run=tmp_path / "run", truth=True, out=tmp_path / "truth.json").receipt
    assert known["real"]["paired"] and {"psnr", "mae", "psnr_back"} <= known["scores"].keys()
    assert {"translate", "translate_back"} <= set(tf.saved_model.load(str(trained.saved_model)).signatures)


def test_a_generator_that_is_trained_alone_first_is_joined_by_its_critic(tmp_path):
    said = []
    settings = {**SUPER, "pretrain_steps": 2, "train_steps": 4}
    trained = runs.train(**settings, run_dir=tmp_path / "whole", say=said.append)
    assert "The discriminator joins in at step 2, with new optimizers." in said
    assert int(trained.gan.g_optimizer.iterations) == 2 and trained.step == 4
    header, _first, _second = (tmp_path / "whole" / "metrics.csv").read_text().splitlines()
    assert "d_loss" in header
    # Stopped within the first phase, and just between the two.
    for train_steps in (1, 2, 4):
        runs.train(**{**settings, "train_steps": train_steps}, run_dir=tmp_path / "parts")
    received, expected = (commands.weights(tmp_path / name, 4) for name in ("parts", "whole"))
    for name, value in expected.items():
        np.testing.assert_array_equal(received[name], value, err_msg=name)
    with pytest.raises(UsageError, match=r"`pretrain_steps=3` must be a multiple of `steps_per_epoch=2`"):
        runs.train(**{**settings, "pretrain_steps": 3}, run_dir=tmp_path / "odd")


def test_settings_of_translators_mean_nothing_for_other_models(tmp_path):
    for setting in ({"degrade": "grey"}, {"crop": 8}, {"targets": str(tmp_path)}, {"pretrain_steps": 2}):
        (name,) = setting
        with pytest.raises(UsageError, match=f"`{name}=.*has no meaning for `model=MLPGAN`, which translates no pairs"):
            runs.train(dataset="mnist_5k", model="MLPGAN", **setting, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_to_what_makes_its_sources(tmp_path):
    runs.train(**DIGITS, run_dir=tmp_path)
    with pytest.raises(UsageError, match=r"`degrade`: the run has noise\(30\), asked for noise\(9\)"):
        runs.train(**{**DIGITS, "degrade": "noise(9)", "train_steps": 6}, run_dir=tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["data"]["degrade"] == "noise(30)"


def test_a_dry_run_of_a_translator(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logs = runs.Session(runs.Settings(**SUPER)).dry_run()
    assert {"d_loss", "g_loss"} <= logs.keys()
    assert not list(tmp_path.iterdir())


def test_networks_of_ones_own_translate():
    keras.utils.set_random_seed(0)
    source = keras.Input((None, None, 1), name="source")
    generator = keras.Model(source, keras.layers.Conv2D(3, 3, padding="same", activation="tanh")(source))
    images = keras.Input((8, 8, 3), name="images")
    discriminator = keras.Model(images, keras.layers.Conv2D(1, 4, 2)(images))
    gan = tg.TranslationGAN(generator, discriminator, source_shape=(8, 8, 1))
    gan.compile(terms=[tg.terms.L1(100.0)], metrics=[tg.metrics.PSNR()])
    random = np.random.default_rng(0)
    sources = random.uniform(-1, 1, (16, 8, 8, 1)).astype(np.float32)
    targets = np.repeat(sources, 3, axis=-1)
    history = gan.fit(sources, targets, batch_size=4, epochs=2, verbose=0, validation_data=(sources, targets)).history
    assert history["val_psnr"][1] > history["val_psnr"][0]
    assert gan.translate(random.random((2, 3, 5, 1))).shape == (2, 3, 5, 3)
    with pytest.raises(UsageError, match=r"takes batches of two, sources and their targets. Received: ndarray"):
        gan.fit(sources, batch_size=4)
    with pytest.raises(UsageError, match=r"Images must have the shape \(batch, 8, 8, 3\)"):
        gan.fit(sources, sources, batch_size=4)
    with pytest.raises(UsageError, match="`source_shape` must be three sides"):
        tg.TranslationGAN(generator, discriminator)
    with pytest.raises(UsageError, match="The sides of targets must be those of sources, or the same whole number"):
        tg.TranslationGAN(generator, discriminator, source_shape=(5, 8, 1))


def test_a_translator_between_classes_trains_on_labelled_images(tmp_path):
    settings = {
        **PIX2PIX,
        "model": "StarGAN",
        "model_arg": ["g_channels=2", "d_channels=2", "blocks=1"],
        "n_critic": 1,
        "dataset": "mnist_5k",
        "split": "train[:32]",
        "eval_split": "test[:16]",
        "train_steps": 2,
    }
    trained = runs.train(**settings, run_dir=tmp_path)
    assert trained.gan.num_classes == 10 and trained.gan.class_names == tuple("0123456789")
    (receipt,) = trained.receipts
    found = runs.evaluate(run=tmp_path, metrics=["fd", "cas"])
    assert found.receipt["scores"]["fd"] == pytest.approx(receipt["scores"]["fd"], rel=1e-3)
    picture = np.asarray(Image.open(trained.samples / "step_00000002.png"))
    # Eight images, each in ten classes beside itself.
    assert picture.shape[1] == 2 + 11 * 30 and picture.shape[0] > 8 * 30
    saved = tf.saved_model.load(str(trained.saved_model)).signatures["translate"]
    assert saved(images=tf.zeros((2, 9, 5, 1)), labels=tf.constant([3, 4]))["images"].shape == (2, 9, 5, 1)


def test_dropout_goes_by_the_seed_and_can_be_turned_off(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    settings = {**DIGITS, "image_size": 64, "train_steps": 1, "steps_per_epoch": 1}
    trained = runs.train(**settings, run_dir=tmp_path / "run")
    found = {}
    for name, drawn in {"0": {}, "again": {}, "1": {"seed": 1}, "none": {"dropout": False}}.items():
        out = tmp_path / f"{name}.png"
        runs.generate(run=tmp_path / "run", input=tmp_path / "a.png", out=out, **drawn)
        found[name] = np.asarray(Image.open(out)).astype(int)
    assert np.any(found["0"] != found["1"]) and np.any(found["0"] != found["none"])
    np.testing.assert_array_equal(found["0"], found["again"])
    mean = trained.gan.translate(picture[None, :, :, None], seed=None)
    assert np.abs(found["none"] - 255 * mean[0, ..., 0]).max() <= 1
