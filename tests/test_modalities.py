"""tfgan_app.modalities: there and back, and one of someone's own from files to an exported model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_images, state, train
from keras import layers

import tfgan_app as tg
from tfgan_app import modalities
from tfgan_app.base.pictures import tile
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.data.records import fetch_with, hold
from tfgan_app.export import SavedGAN
from tfgan_app.modalities import Images, Modality, Points
from tfgan_app.study import SampledFakes

# Images and points.


def test_images_come_back_as_they_went(tmp_path):
    images = Images((4, 5, 3))
    stored = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    encoded = images.encode(stored)
    assert encoded.dtype == tf.float32 and np.min(encoded) >= -1 and np.max(encoded) <= 1
    np.testing.assert_array_equal(images.store(encoded), stored)
    np.testing.assert_allclose(images.decode(encoded), stored / 255, atol=1e-6)
    np.testing.assert_allclose(images.encode(images.decode(encoded)), encoded, atol=1e-6)
    images.write(tmp_path / "one.png", encoded[0])
    np.testing.assert_array_equal(images.read(tmp_path / "one.png"), stored[0])
    with pytest.raises(ValueError, match=r"one.png holds an image of shape \(4, 5, 3\). Expected \(4, 4, 3\)"):
        Images((4, 4, 3)).read(tmp_path / "one.png")


def test_what_leaves_the_range_is_clipped():
    images = Images((1, 1, 1))
    wide = tf.reshape(tf.constant([-7.0, 0.0, 7.0]), (3, 1, 1, 1))
    assert np.ravel(images.clip(wide)).tolist() == [-1, 0, 1]
    assert np.ravel(images.decode(wide)).tolist() == [0, 0.5, 1]
    assert np.ravel(images.store(wide)).tolist() == [0, 128, 255]


def test_images_are_shown_in_rows():
    sheet = Images((3, 3, 1)).show(random_images(5, (3, 3, 1)), columns=2)
    assert sheet.shape == (3 * 5 + 2, 2 * 5 + 2, 1) and sheet.dtype == np.uint8


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_points_are_as_the_data_has_them(tmp_path, dim):
    points = Points((dim,))
    values = np.random.default_rng(0).normal(scale=9, size=(6, dim)).astype(np.float32)
    for there in (points.encode, points.clip, points.decode, points.store):
        np.testing.assert_array_equal(there(values), values)
    points.write(tmp_path / "one.npy", values[0])
    np.testing.assert_array_equal(points.read(tmp_path / "one.npy"), values[0])
    picture = points.show(values)
    assert picture.shape == (400, 400, 3) and picture.dtype == np.uint8 and len(np.unique(picture)) > 10
    np.save(tmp_path / "other.npy", np.zeros(9))
    with pytest.raises(ValueError, match=rf"array of shape \(9,\)\. Expected \({dim},\)"):
        points.read(tmp_path / "other.npy")


def test_a_modality_is_known_by_the_rank_of_its_samples():
    assert type(modalities.infer((8, 8, 1))) is Images and type(modalities.infer((2,))) is Points
    with pytest.raises(ValueError, match=r"`modality` must be given for samples of shape \(16, 1\): only points"):
        modalities.infer((16, 1))


def test_points_train_sample_and_export(tmp_path):
    latents, points = keras.Input((2,), name="latents"), keras.Input((2,), name="points")
    gan = tg.GAN(keras.Model(latents, layers.Dense(2)(latents)), keras.Model(points, layers.Dense(1)(points)), seed=1)
    gan.compile(terms=[tg.terms.GradientPenalty(), tg.terms.DRAGAN(), tg.terms.R1()])
    data = 5.0 + np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
    logs = train(gan, data).history
    assert all(np.isfinite(values).all() for values in logs.values())
    drawn = gan.sample(50)
    assert drawn.shape == (50, 2) and drawn.min() < -1 and drawn.max() > 1
    saved = SavedGAN(gan.export(tmp_path / "1"))
    assert type(saved.modality) is Points
    np.testing.assert_allclose(saved.sample(50), drawn, atol=1e-6)
    assert set(saved._module.signatures) == {
        "serving_default",
        "generate",
        "sample",
        "generate_truncated",
        "edit",
        "discriminate",
    }
    assert "# float32 as the data has them" in (tmp_path / "README.md").read_text()


# A kind of someone's own: signals of 16 values, of about unit scale, in .npy files.


class Waves(Modality):
    name = "waves"

    def show(self, samples, columns=None):
        bars = np.clip((np.asarray(samples) + 1) * 127.5, 0, 255).astype(np.uint8)
        return tile(np.repeat(bars[:, None], 4, axis=1), columns)


def waves_gan():
    keras.utils.set_random_seed(0)
    z, x = keras.Input((3,), name="latents"), keras.Input((16, 1), name="waves")
    generator = keras.Model(z, layers.Reshape((16, 1))(layers.Dense(16, activation="tanh")(z)))
    discriminator = keras.Model(x, layers.Dense(1)(layers.Flatten()(layers.Conv1D(4, 5, 2)(x))))
    gan = tg.GAN(generator, discriminator, modality=Waves((16, 1)), seed=4)
    features = keras.Sequential([keras.Input((16, 1)), layers.Flatten(), layers.Dense(3)], name="features")
    gan.compile(metrics=[tg.metrics.FrechetDistance(features)], terms=[tg.terms.R1(interval=2)])
    return gan


def test_a_modality_of_ones_own_trains_samples_scores_saves_resumes_and_exports(tmp_path):
    waves, time = Waves((16, 1)), np.linspace(0, 6, 16)[:, None]
    for index in range(12):
        waves.write(tmp_path / "data" / f"{index:02}.npy", np.sin(time + index).astype(np.float32))
    files = sorted((tmp_path / "data").glob("*.npy"))
    records = hold(np.stack([waves.read(path) for path in files])).records
    batches = records.batches(4, seed=1, start_step=0).map(waves.encode)

    gan = waves_gan()
    grid = tg.callbacks.SampleGrid(tmp_path / "samples", rows=2, columns=3)
    gan.fit(batches, steps_per_epoch=3, epochs=2, shuffle=False, verbose=0, callbacks=[grid])
    assert len(list((tmp_path / "samples").glob("step_*.png"))) == 2
    assert gan.sample(5, seed=1).shape == (5, 16, 1)
    assert np.isfinite(gan.evaluate(records.in_order(6).map(waves.encode), verbose=0, return_dict=True)["fd"])

    # Goes on from a checkpoint to the same weights.
    Checkpoints(gan, tmp_path / "checkpoints").save()
    copy = waves_gan()
    Checkpoints(copy, tmp_path / "checkpoints").restore()
    for model in (gan, copy):
        later = records.batches(4, seed=1, start_step=6).map(waves.encode)
        model.fit(later, steps_per_epoch=2, shuffle=False, verbose=0)
    for one, other in zip(state(gan), state(copy), strict=True):
        np.testing.assert_array_equal(one, other)

    gan.compile()  # An extractor in memory cannot be saved along.
    gan.save(tmp_path / "gan.keras")
    with keras.utils.custom_object_scope({"Waves": Waves}):
        loaded = keras.models.load_model(tmp_path / "gan.keras")
    np.testing.assert_array_equal(loaded.sample(5, seed=1), gan.sample(5, seed=1))
    saved = SavedGAN(gan.export(tmp_path / "exported" / "1"), modality=waves)
    np.testing.assert_allclose(saved.sample(5, seed=1), gan.sample(5, seed=1), atol=1e-6)
    drawn = SampledFakes(saved, 5, seed=1).batch(0, 5, None)
    waves.write(tmp_path / "one.npy", drawn[0])
    np.testing.assert_allclose(waves.read(tmp_path / "one.npy"), gan.sample(1, seed=1)[0], atol=1e-6)


def test_a_modality_must_say_how_it_is_shown():
    with pytest.raises(NotImplementedError, match="Modality must define `show`"):
        Modality((3,)).show(np.zeros((2, 3)))


# Records of any dtype and any tree.

TREE = {
    "pair": (np.arange(40, dtype=np.int16).reshape(10, 2, 2), np.linspace(0, 1, 10)),
    "label": np.arange(10, dtype=np.int64) % 3,
}


def read(indices):
    return keras.tree.map_structure(lambda array: array[indices], TREE)


def held():
    return hold(TREE).records


def fetched():
    spec = keras.tree.map_structure(lambda array: tf.TensorSpec(array.shape[1:], array.dtype), TREE)
    return fetch_with(read, 10, spec)


@pytest.mark.parametrize("records", [held, fetched])
def test_records_carry_any_tree_of_any_dtype(records):
    records = records()
    whole = next(iter(records.in_order(10)))
    keras.tree.map_structure(np.testing.assert_array_equal, whole, TREE)
    assert keras.tree.map_structure(lambda x: x.dtype.name, whole) == {"pair": ("int16", "float64"), "label": "int64"}
    assert records.spec["pair"][0].shape == (2, 2)
    batches = records.batches(4, seed=2, start_step=0)
    assert batches.element_spec["pair"][0].shape == (4, 2, 2)
    seen = [batch["pair"][1].numpy() for batch in batches.take(5)]
    # Two passes, each of which sees every sample once.
    np.testing.assert_allclose(np.sort(np.concatenate(seen)[:10]), TREE["pair"][1])
    for index, batch in enumerate(records.batches(4, seed=2, start_step=3).take(2)):
        np.testing.assert_array_equal(batch["pair"][1], seen[3 + index])
        np.testing.assert_array_equal(batch["label"], np.round(batch["pair"][1].numpy() * 9).astype(int) % 3)


def test_fingerprints_tell_samples_apart():
    changed = {**TREE, "label": TREE["label"][::-1].copy()}
    assert hold(TREE).fingerprint == hold(read(np.arange(10))).fingerprint != hold(changed).fingerprint
