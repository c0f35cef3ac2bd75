"""tfgan_app.metrics: the Frechet distance against formulas, extractors, and receipts."""

import hashlib
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SHAPE, random_images, tiny_extractor

from tfgan_app.data import open_images
from tfgan_app.metrics import FeatureExtractor, FrechetDistance, extractors, frechet_distance, load_extractor
from tfgan_app.metrics.classifier import load_classifier
from tfgan_app.metrics.receipts import describe_score, drawing, score, write_receipt
from tfgan_app.models import MLPGAN

DIM = 4


def spread(rank=DIM, seed=0):
    """Returns a covariance of the given rank."""
    factor = np.random.default_rng(seed).normal(size=(DIM, rank))
    return factor @ factor.T


def by_eigenvalues(mean_1, covariance_1, mean_2, covariance_2):
    """The definition: tr (C1 C2)^(1/2) sums the roots of the product's eigenvalues."""
    roots = np.sqrt(np.maximum(np.linalg.eigvals(covariance_1 @ covariance_2).real, 0)).sum()
    return np.sum((mean_1 - mean_2) ** 2) + np.trace(covariance_1 + covariance_2) - 2 * roots


def test_distance_of_independent_gaussians():
    mean_1, mean_2 = np.array([1.0, 2.0, 0.0]), np.array([0.0, 4.0, 0.0])
    variance_1, variance_2 = np.array([4.0, 1.0, 0.0]), np.array([9.0, 0.25, 0.0])
    # 1 + 4, (2 - 3)^2 + (1 - 0.5)^2
    assert frechet_distance(mean_1, np.diag(variance_1), mean_2, np.diag(variance_2)) == pytest.approx(6.25)


@pytest.mark.parametrize("ranks", [(DIM, DIM), (2, DIM), (DIM, 2), (1, 2)])
def test_distance_of_any_gaussians(ranks):
    gaussians = np.ones(DIM), spread(ranks[0], 1), np.zeros(DIM), spread(ranks[1], 2)
    assert frechet_distance(*gaussians) == pytest.approx(by_eigenvalues(*gaussians), rel=1e-6)


@pytest.mark.parametrize("rank", [DIM, 1])
def test_distance_to_itself_is_zero(rank):
    distance = frechet_distance(np.ones(DIM), spread(rank), np.ones(DIM), spread(rank))
    assert 0 <= distance < 1e-6


def features(num, seed):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(num, 3)) @ rng.normal(size=(3, 3)) + 100 * rng.normal(size=3)).astype(np.float32)


@pytest.mark.parametrize("in_graph", [False, True])
def test_streamed_moments_equal_those_of_all_at_once(in_graph):
    metric = FrechetDistance(tiny_extractor())
    update = tf.function(metric.update_state, reduce_retracing=True) if in_graph else metric.update_state
    real, fake = features(50, 1), features(37, 2)
    for part in zip(np.split(real, [7, 8, 30]), np.split(fake, [0, 20, 21]), strict=True):
        update(*map(tf.constant, part))
    exact = [x.astype(np.float64) for x in (real, fake)]
    moments = [moment for x in exact for moment in (np.mean(x, axis=0), np.cov(x, rowvar=False))]
    streamed = [*metric._moments("real", metric._real), *metric._moments("fake", metric._fake)]
    for got, expected in zip(streamed, moments, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
    assert float(metric.result()) == pytest.approx(by_eigenvalues(*moments), rel=1e-9)
    assert float(metric.result()) > 1


def test_reset_forgets():
    metric = FrechetDistance(tiny_extractor())
    metric.update_state(features(9, 1), features(9, 2))
    first = float(metric.result())
    metric.update_state(features(9, 3), features(9, 4))
    assert float(metric.result()) != first
    metric.reset_state()
    metric.update_state(features(9, 1), features(9, 2))
    assert float(metric.result()) == first


@pytest.mark.parametrize(("real", "fake", "side", "count"), [(0, 5, "real", 0), (1, 5, "real", 1), (5, 1, "fake", 1)])
def test_too_few_images(real, fake, side, count):
    metric = FrechetDistance(tiny_extractor())
    metric.update_state(features(real, 1), features(fake, 2))
    with pytest.raises(ValueError, match=f"needs at least 2 {side} images. Received: {count}"):
        metric.result()


def test_two_images_suffice():
    metric = FrechetDistance(tiny_extractor())
    real = features(2, 1)
    metric.update_state(real, real + 3)
    assert float(metric.result()) == pytest.approx(27, abs=1e-2)


@pytest.mark.parametrize("extractor", ["mnist_cnn", "path"])
def test_metric_survives_serialization(tmp_path, extractor):
    if extractor == "path":
        extractor = str(tmp_path / "tiny.keras")
        tiny_extractor().save(extractor)
    metric = FrechetDistance(extractor, name="distance")
    copy = FrechetDistance.from_config(json.loads(json.dumps(metric.get_config())))
    assert (copy.name, copy.dtype, copy.extractor.sha256) == ("distance", "float64", metric.extractor.sha256)


# Extractors.


@pytest.mark.parametrize("name", extractors.SHIPPED)
def test_shipped_extractor(name):
    extractor = load_extractor(name)
    stored = hashlib.sha256((extractors._FOLDER / f"{name}.npz").read_bytes()).hexdigest()
    assert extractor.sha256 == stored == json.loads((extractors._FOLDER / f"{name}.json").read_text())["sha256"]
    assert extractor.image_shape == (28, 28, 1)
    features = extractor(random_images(4, (28, 28, 1)))
    assert features.shape == (4, extractor.feature_dim)
    assert np.min(features) >= 0  # rectified
    assert np.std(features) > 0
    assert extractor.describe()["test_accuracy"] > 0.9
    for dataset in extractors.SHIPPED[name]:
        assert extractors.shipped_for(dataset) == name


def test_no_extractor_for_other_datasets():
    assert extractors.shipped_for("cifar10") is None


def test_shipped_classifier_is_as_accurate_as_stated():
    facts = json.loads((extractors._FOLDER / "mnist_cnn.json").read_text())
    network = load_classifier(extractors._FOLDER / "mnist_cnn.npz")
    right = []
    for images, labels in open_images("mnist_5k", split="test").in_order(250):
        right.extend(np.argmax(network(images, training=False), axis=1) == labels.numpy())
    assert len(right) == 1000
    assert np.mean(right) == pytest.approx(facts["test_accuracy"], abs=0.002)


def test_a_damaged_shipped_file_is_refused(tmp_path, monkeypatch):
    shutil.copytree(extractors._FOLDER, tmp_path / "classifiers")
    monkeypatch.setattr(extractors, "_FOLDER", tmp_path / "classifiers")
    load_extractor("mnist_cnn")
    path = tmp_path / "classifiers" / "mnist_cnn.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"mnist_cnn\.npz is damaged: its SHA-256 is [0-9a-f]{64}\. Install the"):
        load_extractor("mnist_cnn")


@pytest.mark.parametrize("name", ["inception", "missing.keras", "conftest.py"])
def test_unknown_extractor(name):
    with pytest.raises(ValueError, match=rf"Expected one of \[.*'mnist_cnn'\] or the path .* Received: '{name}'"):
        load_extractor(name)


@pytest.mark.parametrize("shape", [(9, 8, 1), (8, 8, 3), (8, 8)])
def test_images_must_have_the_extractors_shape(shape):
    with pytest.raises(ValueError, match="extractor tiny_extractor takes images of shape") as error:
        load_extractor(tiny_extractor())(random_images(2, shape))
    assert str(error.value).endswith(f"Received: {shape}")


def test_extractor_of_any_size():
    images = keras.Input((None, None, 1))
    extractor = load_extractor(keras.Model(images, keras.layers.GlobalAveragePooling2D()(images)))
    for size in (4, 9):
        np.testing.assert_allclose(extractor(np.full((2, size, size, 1), 0.5, np.float32)), 0.5)


def test_a_classifier_is_cut_at_its_features(tmp_path):
    inputs = keras.Input(SHAPE)
    features = keras.layers.Dense(5, name="features")(keras.layers.Flatten()(inputs))
    classifier = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dropout(0.5)(features)), name="mine")
    classifier.save(tmp_path / "mine.keras")
    images = random_images(3)
    expected = keras.Model(inputs, features)(images)
    for source in (classifier, str(tmp_path / "mine.keras"), tmp_path / "mine.keras", load_extractor(classifier)):
        extractor = load_extractor(source)
        assert isinstance(extractor, FeatureExtractor)
        assert (extractor.name, extractor.feature_dim) == ("mine", 5)
        np.testing.assert_allclose(extractor(images), expected, atol=1e-6)
    assert load_extractor(tmp_path / "mine.keras").sha256 is not None
    assert load_extractor(classifier).sha256 is None


# Receipts.


@pytest.fixture(scope="module")
def digits():
    return open_images("mnist_5k", split="test[:70]")


@pytest.fixture(scope="module")
def extractor():
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(3)], name="tiny")
    return load_extractor(network)


@pytest.mark.parametrize(("num_images", "used"), [(None, 70), (45, 45), (2, 2), (1000, 70)])
def test_score_equals_the_distance_of_all_at_once(digits, extractor, num_images, used):
    drawn, asked, done = np.random.default_rng(0).uniform(size=(used, 28, 28, 1)), [], []

    def draw(start, stop, labels):
        asked.append((start, labels))
        return drawn[start:stop]

    receipt = score(
        draw,
        digits,
        extractor,
        batch_size=20,
        num_images=num_images,
        fake={"seed": 7},
        progress=lambda *counts: done.append(counts),
    )
    reals, labels = next(iter(digits.in_order(70)))
    moments = []
    for images in (reals[:used], drawn * 2 - 1):
        x = np.asarray(extractor(tf.cast(images, tf.float32)), np.float64)
        moments += [x.mean(0), np.cov(x, rowvar=False)]
    assert receipt["value"] == pytest.approx(by_eigenvalues(*moments), rel=1e-4, abs=1e-4)
    assert [start for start, _ in asked] == list(range(0, used, 20))
    np.testing.assert_array_equal(np.concatenate([part for _, part in asked]), labels[:used])
    assert done[-1] == (used, used)
    assert receipt["metric"] == "frechet_distance"
    assert receipt["extractor"] == {"name": "tiny", "sha256": None, "feature_dim": 3}
    assert receipt["real"] == {**digits.describe(), "used": used}
    assert receipt["fake"] == {"used": used, "seed": 7}
    assert {"tfgan_app", "tensorflow", "keras"} <= set(receipt["versions"])


def test_receipt_is_written_and_never_called_fid(tmp_path, digits, extractor):
    gan = MLPGAN((28, 28, 1), latent_dim=2, g_units=(2,), d_units=(2,))
    facts = {"source": "a run", "seed": 3}
    receipt = score(drawing(gan, 30, seed=3), digits, extractor, num_images=30, fake=facts)
    again = score(drawing(gan, 30, seed=3), digits, extractor, num_images=30, batch_size=7)
    assert receipt["value"] == pytest.approx(again["value"], rel=1e-4)
    assert score(drawing(gan, 30, seed=4), digits, extractor, num_images=30)["value"] != receipt["value"]
    line = describe_score(receipt)
    assert "FID" not in line.replace("not FID", "")
    for part in (f"{receipt['value']:.2f}", "tiny (in memory; not FID)", "30 real images of mnist_5k", "30 fakes"):
        assert part in line
    assert line.endswith("(source a run, seed 3)")
    stand_in = {**receipt, "real": {**receipt["real"], "fallback_for": "mnist"}}
    assert "standing in for mnist" in describe_score(stand_in)
    path = write_receipt(tmp_path / "new" / "score.json", receipt)
    assert json.loads(path.read_text()) == json.loads(json.dumps(receipt))


def test_fakes_are_those_of_sample():
    gan = MLPGAN((8, 8, 1), latent_dim=2, g_units=(2,), d_units=(2,))
    draw = drawing(gan, 10, seed=5)
    received = np.concatenate([draw(0, 4, None), draw(4, 10, None)])
    np.testing.assert_allclose(received, gan.sample(10, seed=5), atol=1e-6)
