"""tfgan_app.metrics: the Frechet distance against formulas, extractors, and receipts."""

import hashlib
import importlib.util
import json
import shutil

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from conftest import SHAPE, random_images, tiny_extractor

from tfgan_app import metrics
from tfgan_app.base.latents import slerp
from tfgan_app.data import open_images
from tfgan_app.metrics import FeatureExtractor, FrechetDistance, extractors, frechet_distance, load_extractor
from tfgan_app.metrics.classifier import load_classifier
from tfgan_app.models import CGAN, MLPGAN
from tfgan_app.observation import Observation
from tfgan_app.study.fakes import ArrayFakes, SampledFakes
from tfgan_app.study.receipts import (
    METRICS,
    build_metrics,
    compare,
    describe_score,
    score,
    write_receipt,
)

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


@pytest.mark.parametrize("groups", [1, 10])
def test_a_reference_gives_the_distance_and_is_looked_at_once(groups):
    looked_at = []

    class Counting(FeatureExtractor):
        def outputs(self, images):
            looked_at.append(len(images))
            return super().outputs(images)

    extractor = load_extractor(tiny_extractor())
    counting = Counting(extractor.function, "counting", None, SHAPE)
    real = [random_images(20, seed=1), (random_images(5, seed=2), np.zeros(5))]
    expected = FrechetDistance(extractor, groups=groups)
    metric = FrechetDistance(counting, groups=groups, reference=real)
    for evaluation in range(2):
        fakes = [random_images(20, seed=3 + evaluation), random_images(5, seed=5 + evaluation)]
        for each in (expected, metric):
            each.reset_state()
            for batch, fake in zip((real[0], real[1][0]), fakes, strict=True):
                each.observe(Observation(tf.constant(batch), tf.constant(fake)))
        assert metric.results() == pytest.approx(expected.results(), rel=1e-6)
        # The fakes of each evaluation, and the real images once.
        assert looked_at == [20, 5, 20, 5, *[20, 5] * evaluation]


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


@pytest.mark.parametrize("name", ["vgg", "missing.keras", "conftest.py"])
def test_unknown_extractor(name):
    with pytest.raises(
        ValueError,
        match=rf"Expected one of \[.*'mnist_cnn'\], the path of a .keras file or the folder .* Received: '{name}'",
    ):
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


class Drawn:
    """Fakes that are given, and a record of what was asked for."""

    labelled, latent_dim = True, None

    def __init__(self, images):
        self.images, self.asked = images, []

    def batch(self, start, stop, labels):
        self.asked.append((start, labels))
        return self.images[start:stop]


@pytest.mark.parametrize(("num_images", "used"), [(None, 70), (45, 45), (2, 2), (1000, 70)])
def test_score_equals_the_distance_of_all_at_once(digits, extractor, num_images, used):
    fakes, lines = Drawn(np.random.default_rng(0).uniform(-1, 1, size=(used, 28, 28, 1)).astype(np.float32)), []
    receipt = score(
        fakes,
        digits,
        [FrechetDistance(extractor)],
        batch_size=20,
        num_images=num_images,
        facts={"seed": 7},
        progress=lines.append,
    )
    chosen = digits.sample(used)
    reals, labels = next(iter(chosen.in_order(70)))
    moments = []
    for images in (reals, fakes.images):
        x = np.asarray(extractor(tf.cast(images, tf.float32)), np.float64)
        moments += [x.mean(0), np.cov(x, rowvar=False)]
    assert receipt["scores"] == {"fd": pytest.approx(by_eigenvalues(*moments), rel=1e-4, abs=1e-4)}
    assert [start for start, _ in fakes.asked] == list(range(0, used, 20))
    np.testing.assert_array_equal(np.concatenate([part for _, part in fakes.asked]), labels)
    assert lines[-2:] == [f"{used}/{used} images", "computing fd"]
    assert receipt["metrics"] == [{"name": "fd", "metric": "FrechetDistance", "version": 1}]
    facts = {"name": "tiny", "sha256": None, "feature_dim": 3, "resizer": None, "canonical": False}
    assert receipt["extractor"] == facts
    assert receipt["real"] == {**digits.describe(), "used": used, "chosen": chosen.chosen}
    assert (chosen.chosen == "all") == (used == 70)
    assert receipt["fake"] == {"used": used, "seed": 7}
    assert {"tfgan_app", "tensorflow", "keras"} <= set(receipt["versions"])


def tiny_score(extractor, digits, seed, **kwargs):
    gan = MLPGAN((28, 28, 1), latent_dim=2, g_units=(2,), d_units=(2,), seed=1)
    return score(SampledFakes(gan, 30, seed), digits, [FrechetDistance(extractor)], num_images=30, **kwargs)


def test_receipt_is_written_and_never_called_fid(tmp_path, digits, extractor):
    receipt = tiny_score(extractor, digits, 3, facts={"source": "a run", "seed": 3})
    lines = describe_score(receipt)
    assert "FID" not in lines.replace("not FID", "")
    for part in (f"Frechet distance {receipt['scores']['fd']:.4g}", "tiny (in memory; not FID)", "30 fakes"):
        assert part in lines
    assert "30 real images of mnist_5k" in lines
    assert lines.endswith("(source a run, seed 3)")
    stand_in = {**receipt, "real": {**receipt["real"], "fallback_for": "mnist"}}
    assert "standing in for mnist" in describe_score(stand_in)
    path = write_receipt(tmp_path / "new" / "score.json", receipt)
    assert json.loads(path.read_text()) == json.loads(json.dumps(receipt))


def test_fakes_are_those_of_sample():
    gan = MLPGAN((8, 8, 1), latent_dim=2, g_units=(2,), d_units=(2,))
    fakes = SampledFakes(gan, 10, seed=5)
    received = np.concatenate([fakes.batch(0, 4, None), fakes.batch(4, 10, None)])
    np.testing.assert_allclose(gan.modality.decode(received), gan.sample(10, seed=5), atol=1e-6)


# Comparing receipts.


def altered(receipt, section, **values):
    return {**receipt, section: {**receipt[section], **values}}


@pytest.fixture
def receipt():
    return {
        "scores": {"fd": 10.0, "fd_error": 0.3, "precision": 0.5},
        "metrics": [{"name": "fd", "version": 1, "groups": 10}, {"name": "precision", "version": 1, "neighbours": 3}],
        "extractor": {"name": "cnn", "sha256": "abc"},
        "real": {"name": "digits", "split": "test", "fingerprint": "f", "image_shape": [8, 8, 1], "used": 100},
        "fake": {"used": 100, "seed": 1},
    }


def test_comparison_gives_the_difference_and_its_uncertainty(receipt):
    other = altered(altered(receipt, "scores", fd=8.0, fd_error=0.4), "fake", seed=2, source="another")
    assert compare(receipt, other) == {
        "fd": (10.0, 8.0, -2.0, pytest.approx(0.5)),
        "precision": (0.5, 0.5, 0.0, None),
    }


@pytest.mark.parametrize(
    ("section", "change", "line"),
    [
        ("extractor", {"sha256": "xyz"}, "extractor.sha256: abc against xyz"),
        ("extractor", {"resizer": "nearest"}, "extractor.resizer: None against nearest"),
        ("real", {"split": "train"}, "real.split: test against train"),
        ("real", {"fingerprint": "g"}, "real.fingerprint: f against g"),
        ("real", {"used": 99}, "real.used: 100 against 99"),
        ("fake", {"used": 99}, "fake.used: 100 against 99"),
    ],
)
def test_comparison_refuses_another_protocol(receipt, section, change, line):
    with pytest.raises(ValueError, match="differ in protocol") as error:
        compare(receipt, altered(receipt, section, **change))
    assert str(error.value).splitlines()[1:] == [f"  {line}"]


def test_comparison_refuses_other_settings_of_a_metric_and_other_metrics(receipt):
    other = {**receipt, "metrics": [receipt["metrics"][0], {"name": "precision", "version": 2, "neighbours": 5}]}
    with pytest.raises(ValueError, match=r"precision\.neighbours: 3 against 5\n  precision\.version: 1 against 2"):
        compare(receipt, other)
    with pytest.raises(ValueError, match=r"share no metric: \['fd', 'precision'\] against \['kd'\]"):
        compare(receipt, {**receipt, "metrics": [{"name": "kd"}]})


# Agreement with the reference implementations.


GOLDEN = json.loads(oracles.PATH.read_text())


@pytest.mark.parametrize("case", oracles.CASES)
def test_agrees_with_the_reference_implementations(case):
    found = oracles.measured(**oracles.CASES[case]())
    assert {name: found[name] for name in GOLDEN[case]} == pytest.approx(GOLDEN[case], rel=1e-4)


@pytest.mark.parametrize("case", oracles.CASES)
def test_the_golden_values_are_those_of_the_installed_references(case):
    if importlib.util.find_spec("torch_fidelity") is None:
        pytest.skip("needs the extra `oracles`")
    assert oracles.in_a_process(oracles.CASES[case]()) == pytest.approx(GOLDEN[case], rel=1e-4)


# Each metric against its definition.


def identity(dim=DIM):
    inputs = keras.Input((dim,))
    return load_extractor(keras.Model(inputs, inputs, name="identity"))


def two_sets(num=40, other=30, shift=0.5):
    rng = np.random.default_rng(5)
    return rng.normal(size=(num, DIM)), rng.normal(size=(other, DIM)) + shift


def test_error_of_the_frechet_distance_is_the_spread_over_draws():
    rng = np.random.default_rng(0)
    values, errors = [], []
    for _ in range(40):
        metric = FrechetDistance(identity(), groups=10)
        for _ in range(20):
            metric.update_state(rng.normal(size=(25, DIM)), rng.normal(size=(25, DIM)) * 1.5 + 1)
        found = metric.results()
        values.append(found["fd"])
        errors.append(found["fd_error"])
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.3)
    assert FrechetDistance(identity()).settings() == {}
    assert metric.settings() == {"groups": 10}


def test_kernel_distance_by_its_definition():
    real, fake = two_sets()

    def kernel(x, y):
        return (x @ y / DIM + 1) ** 3

    def mean(first, second, same):
        return np.mean([kernel(x, y) for i, x in enumerate(first) for j, y in enumerate(second) if not same or i != j])

    expected = mean(real, real, True) + mean(fake, fake, True) - 2 * mean(real, fake, False)
    value, error = metrics.kernel_distance(real, fake)
    assert value == pytest.approx(expected, rel=1e-9)
    left = [[metrics.kernel_distance(np.delete(real, i, 0), fake)[0] for i in range(len(real))]]
    left += [[metrics.kernel_distance(real, np.delete(fake, i, 0))[0] for i in range(len(fake))]]
    variance = sum((len(x) - 1) / len(x) * np.sum((np.array(x) - np.mean(x)) ** 2) for x in left)
    assert error == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_kernel_distance_is_unbiased_and_states_its_error():
    rng = np.random.default_rng(0)
    found = [metrics.kernel_distance(*rng.normal(size=(2, 50, DIM))) for _ in range(200)]
    values, _errors = np.array(found).T
    assert np.mean(values) == pytest.approx(0, abs=3 * np.std(values) / np.sqrt(200))
    assert np.min(values) < 0
    pairs = (rng.normal(loc=[[[0]], [[1]]], size=(2, 60, DIM)) for _ in range(100))
    shifted = np.array([metrics.kernel_distance(*pair) for pair in pairs])
    assert np.mean(shifted[:, 1]) == pytest.approx(np.std(shifted[:, 0]), rel=0.25)


def test_kernel_distance_of_a_few_images():
    assert np.isnan(metrics.kernel_distance(*np.random.default_rng(0).normal(size=(2, 2, DIM)))[1])
    metric = metrics.KernelDistance(identity(), subsets=3, subset_size=50)
    metric.update_state(*two_sets())
    with pytest.raises(ValueError, match=r"Subsets of 50 images need as many of each side. Received: 30"):
        metric.result()


def test_precision_and_recall_of_a_generator_that_draws_part_of_the_data():
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(size=(100, DIM)), rng.normal(size=(100, DIM)) + 50])
    precision, recall = metrics.precision_recall(real, real[:100] + 1e-6)
    assert (precision, recall) == (1.0, pytest.approx(0.5, abs=0.02))
    far = metrics.precision_recall(real, real + 1000)
    assert far == (0.0, 0.0)
    density, coverage = metrics.density_coverage(real, np.repeat(real[:100], 2, axis=0))
    assert density == pytest.approx(1.0, abs=0.25)
    assert coverage == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("function", ["precision_recall", "density_coverage"])
def test_neighbours_need_enough_images(function):
    with pytest.raises(ValueError, match=r"5 neighbours need more images than that. Received: 5"):
        getattr(metrics, function)(np.ones((5, 2)), np.ones((9, 2)), 5)


def test_classifier_score_of_certain_and_of_uncertain_classes():
    certain = 1000.0 * np.eye(4)[np.arange(80) % 4]
    assert metrics.classifier_score(certain, splits=1) == (pytest.approx(4.0), 0.0)
    assert metrics.classifier_score(np.zeros((80, 4)), splits=2) == (pytest.approx(1.0), pytest.approx(0.0))
    assert metrics.classifier_score(certain[:1].repeat(80, 0), splits=1)[0] == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"10 splits need as many images. Received: 9"):
        metrics.classifier_score(np.zeros((9, 4)))


def test_classifier_score_needs_logits():
    with pytest.raises(ValueError, match="extractor identity has no class logits"):
        metrics.ClassifierScore(identity())


def test_sliced_wasserstein_in_one_dimension():
    real, fake = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[5.0], [4.0], [3.0], [2.0]])
    assert metrics.sliced_wasserstein(real, fake) == pytest.approx(2 / real.std())
    assert metrics.sliced_wasserstein(real, np.repeat(fake, 3, axis=0)) == pytest.approx(2 / real.std())
    assert metrics.sliced_wasserstein(real, real[::-1]) == 0
    constant = np.ones((4, 1))
    assert metrics.sliced_wasserstein(constant, constant + 1) == pytest.approx(1)


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection():
    real, _ = two_sets(3000)
    real = (real - real.mean(0)) / real.std(0)
    # E|u_1| for a unit vector u in four dimensions is 4 / (3 pi).
    found = metrics.sliced_wasserstein(real, real + np.array([3, 0, 0, 0]), directions=4000)
    assert found == pytest.approx(3 * 4 / (3 * np.pi), rel=0.02)


def test_path_length_of_a_linear_generator():
    rng = np.random.default_rng(0)
    matrix, latents, others = rng.normal(size=(6, DIM)), *rng.normal(size=(2, 500, 6))
    metric = metrics.PerceptualPathLength(identity(), epsilon=0.01, discard=0.0)
    pair = [z.astype(np.float32) for z in (latents, slerp(latents, others, 0.01).numpy())]
    metric.update_state(*(z @ matrix.astype(np.float32) for z in pair))
    angle = np.arccos(np.sum(latents * others, 1) / np.linalg.norm(latents, axis=1) / np.linalg.norm(others, axis=1))
    # The velocity at the start of the great circle.
    velocity = (angle / np.sin(angle))[:, None] * (others - np.cos(angle)[:, None] * latents)
    expected = np.mean(np.sum((velocity @ matrix) ** 2, axis=1))
    assert metric.result() == pytest.approx(expected, rel=0.02)


def test_path_length_leaves_out_both_ends():
    steps = oracles.STEPS
    low, high = np.percentile(steps, 1, method="lower"), np.percentile(steps, 99, method="higher")
    assert metrics.path_length(steps) == pytest.approx(steps[(steps >= low) & (steps <= high)].mean())
    assert metrics.path_length(steps, 0.0) == pytest.approx(steps.mean())
    with pytest.raises(ValueError, match=r"needs at least 1 pair of images. Received: 0"):
        metrics.path_length(np.array([]))


def test_intra_class_distance_sees_classes_that_are_swapped():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    real = rng.normal(size=(200, DIM)) + 10 * labels[:, None]
    whole, within = FrechetDistance(identity()), metrics.IntraClassFrechetDistance(identity(), 2)
    for metric, more in ((whole, ()), (within, (labels,))):
        metric.update_state(real, real[::-1], *more)
    assert whole.result() == pytest.approx(0, abs=1e-6)
    found = within.results()
    assert found["intra_fd"] == pytest.approx((found["intra_fd_0"] + found["intra_fd_1"]) / 2)
    assert found["intra_fd"] > 300
    within.reset_state()
    within.update_state(real, real, labels)
    assert within.result() == pytest.approx(0, abs=1e-6)


def test_classification_accuracy_of_true_and_of_false_labels():
    images, labels = next(iter(open_images("mnist_5k", split="test").in_order(1000)))
    metric = metrics.ClassificationAccuracyScore((28, 28, 1), 10, num_images=600, steps=150)
    metric.update_state(images[500:], images[:500], labels[:500])
    # Labels are shared: the real half must be in the order of the generated one for that, which it is not.
    assert metric.result() < 0.3
    metric.reset_state()
    metric.update_state(images[:500], images[:500], labels[:500])
    first = metric.result()
    assert first > 0.8
    assert metric.result() == pytest.approx(first, abs=0.02)
    metric.reset_state()
    metric.update_state(images[:50], images[:50], labels[:50])
    with pytest.raises(ValueError, match=r"needs at least 100 images of each side. Received: 50"):
        metric.result()


# What keeps features.


@pytest.mark.parametrize("in_graph", [False, True])
def test_stored_features_are_all_or_a_sample_that_no_batch_size_changes(in_graph):
    metric = metrics.KernelDistance(identity(), num_images=25)
    update = tf.function(metric.update_state, reduce_retracing=True) if in_graph else metric.update_state
    real, fake = (x.astype(np.float32) for x in two_sets(400, 20))
    found = []
    for size in (10, 170, 399):
        metric.reset_state()
        for start in range(0, 400, size):
            part = slice(start, start + size)
            update(tf.constant(real[part]), tf.constant(fake[part]))
        stored = metric.stored()
        np.testing.assert_allclose(stored[1], fake)
        found.append(stored[0])
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    numbers = [int(np.flatnonzero((real == row.astype(np.float32)).all(axis=1))[0]) for row in found[0]]
    assert len(set(numbers)) == 25 and 100 < np.mean(numbers) < 300 and max(numbers) > 300
    metric.reset_state()
    fake, real = fake[:10], real[:10]
    update(tf.constant(fake), tf.constant(real))
    np.testing.assert_allclose(metric.stored()[0], fake)
    metric.reset_state()
    with pytest.raises(ValueError, match=r"KernelDistance needs at least 2 real images. Received: 0"):
        metric.result()


# All of them, on a GAN.


@pytest.mark.parametrize("num_classes", [None, 10])
def test_every_metric_in_fit_and_in_a_receipt(digits, num_classes):
    extractor = load_extractor("mnist_cnn")
    make = MLPGAN if num_classes is None else CGAN
    arguments = {"g_units": (4,), "d_units": (4,)} if num_classes is None else {"num_classes": 10, "base_channels": 2}
    gan = make((28, 28, 1), latent_dim=3, seed=1, **arguments)
    images = open_images("mnist_5k", split="test[:300]")
    fakes = SampledFakes(gan, 300, seed=0)
    names = [name for name in METRICS if num_classes or name not in ("intra_fd", "cas")]

    def build():
        built = build_metrics(names, extractor, images, fakes, 300)
        for metric in built:
            if metric.name == "cas":
                metric.steps = 20  # it need not learn here
        return built

    gan.compile(metrics=build())
    logs = gan.evaluate(images.in_order(100), verbose=0, return_dict=True)
    receipt = score(fakes, images, build(), batch_size=100)
    assert set(logs) == {"d_loss", "g_loss", "d_real", "d_fake", *receipt["scores"]}
    assert all(np.isfinite(value) for value in receipt["scores"].values())
    for name, value in receipt["scores"].items():
        # Other latents, the same kind of images.
        assert logs[name] == pytest.approx(value, rel=0.5, abs=0.3), name
    for name in names:
        assert name in receipt["scores"]
    json.dumps(receipt)


def test_metrics_that_do_not_apply_are_refused(digits, extractor):
    fakes = ArrayFakes(digits)
    for name, message in (("ppl", "The metric ppl does not apply: it needs a generator"), ("fid", "is no metric fid")):
        with pytest.raises(ValueError, match=message):
            build_metrics([name], extractor, digits, fakes, 10)
    names = [metric.name for metric in build_metrics(["fd", "kd"], extractor, digits, fakes, 10)]
    assert names == ["fd", "kd"]


def test_metrics_say_what_they_need():
    batch = metrics.Observation(np.zeros((2, 4)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="PerceptualPathLength needs a generator of latents"):
        metrics.PerceptualPathLength(identity()).observe(batch)
    for metric in (
        metrics.IntraClassFrechetDistance(identity(), 2),
        metrics.ClassificationAccuracyScore((28, 28, 1), 2),
    ):
        with pytest.raises(ValueError, match="needs labels, of the real images and of the fakes"):
            metric.observe(batch)
