"""Images of 16 bits: stored, trained and written at full depth."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfgan_app as tg
from tfgan_app import runs
from tfgan_app.base.errors import DataError, UsageError
from tfgan_app.base.pictures import save_png, viewable
from tfgan_app.modalities import Images
from tfgan_app.modalities.image_files import read_image
from tfgan_app.modalities.values import scaled

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)
TINY = {
    **{"model": "MLPGAN", "model_arg": ["g_units=(8,)", "d_units=(8,)"], "latent_dim": 4, "extractor": "none"},
    **{"batch_size": 4, "train_steps": 1, "steps_per_epoch": 1, "holdout": 0},
}


def stored(path, **options):
    opened = tg.data.open_images(str(path), depth=16, **options)
    assert opened.modality.dtype is np.uint16
    return np.asarray(opened.modality.store(opened.first(opened.num_images)[0]))


def saved(path, values, ending):
    if ending == "npy":
        np.save(path.with_suffix(".npy"), values[None])
        return path.with_suffix(".npy")
    path.mkdir()
    Image.fromarray(values).save(path / f"a.{ending}")
    return path


@pytest.mark.parametrize("ending", ["png", "tif", "npy"])
@pytest.mark.parametrize("limit", [2**32, 10])
def test_a_ramp_survives_to_the_level(tmp_path, monkeypatch, ending, limit):
    monkeypatch.setattr("tfgan_app.data.records.MEMORY_LIMIT", limit)
    (found,) = stored(saved(tmp_path / "a", RAMP, ending))
    np.testing.assert_array_equal(found[..., 0], RAMP)


def test_colours_survive_to_the_level(tmp_path):
    colours = np.random.default_rng(0).integers(0, 65536, (16, 16, 3)).astype(np.uint16)
    colours[0, 0], colours[0, 1] = 0, 65535
    (tmp_path / "a").mkdir()
    save_png(tmp_path / "a" / "a.png", colours)
    np.testing.assert_array_equal(read_image(tmp_path / "a" / "a.png", 3, depth=16), colours)
    np.testing.assert_array_equal(stored(tmp_path / "a")[0], colours)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_written_pngs_hold_what_other_programs_read(tmp_path, channels):
    modality = Images((5, 7, channels), depth=16)
    image = np.random.default_rng(1).integers(0, 65536, (5, 7, channels)).astype(np.uint16)
    modality.write(tmp_path / "a.png", modality.encode(image))
    np.testing.assert_array_equal(modality.read(tmp_path / "a.png"), image)
    # TensorFlow's own decoder.
    decoded = tf.io.decode_png(tf.io.read_file(str(tmp_path / "a.png")), channels, tf.uint16)
    np.testing.assert_array_equal(decoded, image)
    if channels == 1:
        with Image.open(tmp_path / "a.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), image[..., 0])


def test_eight_bits_become_sixteen_by_their_share_of_white(tmp_path):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(stored(saved(tmp_path / "a", levels, "png"))[0, ..., 0], 257 * levels.astype(int))
    np.testing.assert_array_equal(stored(saved(tmp_path / "b", levels, "npy"))[0, ..., 0], 257 * levels.astype(int))


def test_other_values_are_scaled_to_all_levels(tmp_path):
    values = np.linspace(-1, 1, 4096).reshape(64, 64).astype(np.float32)
    np.save(tmp_path / "a.npy", values[None])
    found = stored(tmp_path / "a.npy")[0, ..., 0]
    np.testing.assert_allclose(found, (values + 1) / 2 * 65535, atol=0.51)
    assert len(np.unique(found)) == 4096
    notes = tg.data.open_images(str(tmp_path / "a.npy"), depth=16).notes
    assert any("from -1 (black) to 1 (white) are scaled to 16 bits" in note for note in notes)
    twelve = (np.arange(4096) % 4096).reshape(64, 64).astype(np.uint16)
    assert len(np.unique(stored(saved(tmp_path / "b", twelve, "png")))) == 4096
    # Without it, as ever.
    assert len(np.unique(tg.data.open_images(str(tmp_path / "a.npy")).first(1)[0])) == 256


def test_values_are_scaled_to_the_nearest_level():
    values = np.array([0.0, 0.25, 1.0, 2.0, -1.0])
    assert scaled(values, (0.0, 1.0), 16).tolist() == [0, 16384, 65535, 65535, 0]
    assert scaled(values, (0.0, 1.0)).tolist() == [0, 64, 255, 255, 0]


def test_resizing_keeps_the_depth(tmp_path):
    smooth = np.round(np.linspace(1000, 1200, 64))[None].repeat(64, 0).astype(np.uint16)  # less than a level of 8 bits
    (found,) = stored(saved(tmp_path / "a", smooth, "png"), image_size=32, value_range=(0, 65535))
    middle = found[16, 4:-4, 0].astype(int)
    assert len(np.unique(middle)) > 20 and (np.diff(middle) >= 0).all()
    np.testing.assert_allclose(middle, smooth.reshape(64, 32, 2).mean(-1)[16, 4:-4], atol=2)


def test_opacity_of_deep_images_is_kept(tmp_path):
    image = np.full((8, 8, 4), 30_000, np.uint16)
    image[:4, :, 3] = 0
    save_png(tmp_path / "a.png", image)
    found = read_image(tmp_path / "a.png", 4, depth=16)
    np.testing.assert_array_equal(found[4:], image[4:])
    assert not found[:4].any()
    white = read_image(tmp_path / "a.png", 3, depth=16)
    assert (white[:4] == 65535).all()
    share = 30_000 / 65535
    np.testing.assert_allclose(white[4:], 30_000 * share + 65535 * (1 - share), atol=1)
    grey = read_image(tmp_path / "a.png", 1, depth=16)
    np.testing.assert_allclose(grey[4:], white[4:, :, :1], atol=1)


def test_deep_images_are_seen_in_8_bits():
    np.testing.assert_array_equal(viewable(RAMP[None, ..., None])[0, ..., 0], np.round(RAMP / 257.0))


def test_the_range_of_networks_is_the_same():
    modality = Images((256, 256, 1), depth=16)
    encoded = modality.encode(RAMP[None, ..., None])
    assert encoded.dtype == tf.float32
    np.testing.assert_allclose(encoded[0, ..., 0], RAMP / 32767.5 - 1, atol=1e-6)
    np.testing.assert_allclose(modality.decode(encoded)[0, ..., 0], RAMP / 65535, atol=1e-6)
    np.testing.assert_array_equal(modality.store(tf.constant([-2.0, -1.0, 0.0, 1.0, 3.0])), [0, 0, 32768, 65535, 65535])
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(modality))
    assert copy.depth == 16 and copy.dtype is np.uint16
    assert "depth" not in Images((2, 2, 1)).get_config()  # as saved models of earlier versions have it


def test_a_run_of_16_bits_agrees_throughout(tmp_path, monkeypatch):
    monkeypatch.setattr("tfgan_app.base.precision._automatic", lambda: ("bfloat16", "as on some machines"))
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "a.npz",
        images=rng.integers(0, 65536, (120, 8, 8)).astype(np.uint16),
    )
    run_dir, path = tmp_path / "run", str(tmp_path / "a.npz")
    settings = {**TINY, "image_size": 16, "mirror": True}
    runs.train(**settings, dataset=path, depth=16, run_dir=run_dir)
    record = json.loads((run_dir / "run.json").read_text())
    assert record["settings"]["depth"] == record["data"]["depth"] == 16
    assert record["settings"]["precision"] == "none"  # half precision has fewer digits
    runs.generate(run=run_dir, num_images=3, seed=7, out=tmp_path / "some.npy")
    images = np.load(tmp_path / "some.npy")
    assert images.dtype == np.uint16 and images.shape == (3, 16, 16, 1)
    runs.generate(run=run_dir, num_images=3, seed=7, out=tmp_path / "single")
    with Image.open(tmp_path / "single" / "1.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), images[1, ..., 0])
    # The exported model.
    saved_model = run_dir / "saved_model" / "1"
    runs.generate(saved_model=saved_model, num_images=3, seed=7, out=tmp_path / "exported.npy")
    exported = np.load(tmp_path / "exported.npy")
    assert exported.dtype == np.uint16 and np.abs(exported.astype(int) - images).max() <= 1
    loaded = tf.saved_model.load(str(saved_model))
    assert "generate_uint16" in loaded.signatures and "generate_uint8" not in loaded.signatures
    assert "(16 bits a value)" in (run_dir / "saved_model" / "README.md").read_text()
    # Scores read at the same depth.
    runs.generate(run=run_dir, num_images=20, out=tmp_path / "fakes.npy")
    asked = {"images": tmp_path / "fakes.npy", "out": tmp_path / "score.json", "dataset": path, "split": "train"}
    by_array = runs.evaluate(**asked, image_size=16, depth=16, metrics=["patch_swd"])
    by_run = runs.evaluate(run=run_dir, split="train", metrics=["patch_swd"], num_images=20, seed=0)
    scores = [scored.receipt["scores"]["patch_swd"] for scored in (by_array, by_run)]
    assert scores[0] == pytest.approx(scores[1], rel=0.02)


def test_the_classification_score_keeps_the_depth():
    images = np.random.default_rng(0).uniform(-1, 1, (100, 8, 8, 1)).astype(np.float32)
    for depth, levels in ((8, 256), (16, 65536)):
        score = tg.metrics.ClassificationAccuracyScore((8, 8, 1), 2, num_images=100, steps=1, depth=depth)
        score.update_state(images, images, np.arange(100) % 2)
        kept = score._real.array(np.uint16)
        np.testing.assert_array_equal(kept, np.round((images + 1) / 2 * (levels - 1)))
        assert ("depth" in score.settings()) == (depth == 16)
    assert 0 <= score.result() <= 1


@pytest.mark.parametrize("depth", [1, 12, 32])
def test_other_depths_are_refused(tmp_path, depth):
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(DataError, match=rf"`depth={depth}` must be 8 or 16, the bits of a value"):
        tg.data.open_images(str(tmp_path / "a.npy"), depth=depth)
    with pytest.raises(UsageError, match=rf"`depth={depth}` must be 8 or 16"):
        runs.Settings(depth=depth)


def test_translators_say_that_they_work_in_8_bits(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 64, 64, 3), np.uint8))
    with pytest.raises(UsageError, match=r"`depth=16` has no meaning for `model=Pix2Pix`: translators work in 8 bits"):
        runs.train(model="Pix2Pix", dataset=str(tmp_path / "a.npy"), degrade="grey", depth=16, run_dir=tmp_path / "run")
