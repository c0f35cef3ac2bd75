"""The Inception networks: what they see of an image, where they come from, and which of them may say FID."""

import tarfile
import urllib.error

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_images

from tfgan_app.data import open_images
from tfgan_app.metrics import FeatureExtractor, FrechetDistance, KernelDistance, extractors, inception, load_extractor
from tfgan_app.models import MLPGAN
from tfgan_app.study.fakes import ArrayFakes
from tfgan_app.study.receipts import compare, describe_score, score


def seen(images):
    """Stands in for the network: 1587 of the pixels that it is given, and 461 zeros."""
    pixels = tf.reshape(images[:, ::13, ::13, :], (-1, 23 * 23 * 3))
    return {
        "pool_3": tf.pad(pixels, [(0, 0), (0, 461)])[:, None, None, :],
        "logits": tf.pad(pixels, [(0, 0), (1, 0)])[:, :1008],
    }


class StandIn(tf.Module):
    def __init__(self, outputs=seen, shift=0.0):
        super().__init__()
        self.outputs, self.shift = outputs, tf.Variable(shift)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
    def __call__(self, images):
        return self.outputs(images + self.shift)


def save(folder, *args, **kwargs):
    module = StandIn(*args, **kwargs)
    tf.saved_model.save(module, str(folder), signatures=module.__call__.get_concrete_function())
    return folder


def save_in_the_first_format(folder):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, (None, None, None, 3))
        signature = tf.compat.v1.saved_model.predict_signature_def({"images": images}, seen(images))
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [], {"default": signature})
        builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return folder


def pack(folder, archive):
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=".")
    return archive


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A Keras folder of the test's own; stand-ins need not be as large as Inception, and nothing is downloaded."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(inception, "_WEIGHT_BYTES", 0)
    monkeypatch.setattr(inception, "_URLS", (f"file://{tmp_path}/nowhere.tar.gz",))
    yield tmp_path / "keras" / "tfgan_app"
    extractors._inception.cache_clear()
    extractors._keras_inception.cache_clear()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A stand-in for TF-GAN's module, which is the one to load."""
    folder = save(tmp_path / "module")
    monkeypatch.setenv("TFGAN_INCEPTION", str(folder))
    return folder


# What the network is given.


def legacy_bilinear(pixels, size):
    """TensorFlow 1's: pixel i of the result lies at i * scale, not at (i + 1/2) * scale - 1/2."""

    def resized(line):
        return np.interp(np.arange(size) * len(line) / size, np.arange(len(line)), line)

    return np.apply_along_axis(resized, 1, np.apply_along_axis(resized, 0, pixels))


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 40, 3), (400, 299, 3), (299, 299, 3), (1, 1, 3)])
def test_images_are_resized_and_scaled_as_tensorflow_1_did(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape)
    expected = (legacy_bilinear(pixels.astype(np.float64), 299) - 128) / 128
    received = inception.module_inputs(tf.constant([pixels / 127.5 - 1], tf.float32))
    assert received.shape == (1, 299, 299, 3)
    np.testing.assert_allclose(received[0], expected, atol=1e-4)


def test_images_that_have_the_size_are_only_scaled():
    images = np.stack([np.full((299, 299, 3), value, np.float32) for value in (-1, 0, 1)])
    received = inception.module_inputs(images)
    np.testing.assert_allclose(received[:, 0, 0, 0], [-1, -0.5 / 128, 127 / 128], atol=1e-6)


@pytest.mark.parametrize("make", [save, save_in_the_first_format])
def test_features_and_logits_are_the_modules(tmp_path, monkeypatch, make):
    monkeypatch.setenv("TFGAN_INCEPTION", str(make(tmp_path / "module")))
    extractor = load_extractor("inception")
    assert (extractor.feature_dim, extractor.num_logits) == (2048, 1008)
    for size in (28, 32):
        images = random_images(2, (size, size, 3))
        expected = seen(inception.module_inputs(images))
        found = extractor.outputs(images)
        np.testing.assert_allclose(found["features"], expected["pool_3"][:, 0, 0], atol=1e-5)
        np.testing.assert_allclose(found["logits"], expected["logits"], atol=1e-5)


def test_greyscale_is_repeated_and_other_channels_are_refused(module):
    extractor = load_extractor("inception")
    grey = random_images(2, (8, 8, 1))
    np.testing.assert_array_equal(extractor(grey), extractor(np.repeat(grey, 3, axis=-1)))
    with pytest.raises(ValueError, match="extractor inception takes images of shape") as error:
        extractor(random_images(2, (8, 8, 4)))
    assert str(error.value).endswith("(None, None, 3). Received: (8, 8, 4)")


@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_evaluate(module, jit_compile):
    gan = MLPGAN((8, 8, 1), latent_dim=2, g_units=(2,), d_units=(2,))
    metric = KernelDistance("inception", num_images=4)
    gan.compile(metrics=[metric], jit_compile=jit_compile)
    real = random_images(4, (8, 8, 1))
    assert np.isfinite(gan.evaluate(real, batch_size=2, verbose=0, return_dict=True)["kd"])
    np.testing.assert_allclose(metric.stored()[0], load_extractor("inception")(real), atol=1e-5)


# Where the module comes from.


def test_loaded_once_and_again_after_a_change(module):
    first = load_extractor("inception")
    assert load_extractor("inception") is first
    assert load_extractor(first) is first
    copy = FrechetDistance.from_config(FrechetDistance("inception").get_config())
    assert copy.extractor is first


def test_an_archive_is_the_same_as_its_folder(module, monkeypatch, tmp_path):
    first = load_extractor("inception")
    monkeypatch.setenv("TFGAN_INCEPTION", str(pack(module, tmp_path / "mine.tar.gz")))
    again = load_extractor("inception")
    assert again is not first
    assert again.describe() == first.describe()


def test_the_archive_is_downloaded_once(tmp_path, home, monkeypatch, capsys):
    archive = pack(save(tmp_path / "module"), tmp_path / "served.tar.gz")
    monkeypatch.setattr(inception, "_URLS", ("file:///nowhere", archive.as_uri()))
    load_extractor("inception")
    assert f"Downloading {archive.as_uri()} to {home / 'inception.tar.gz'}." in capsys.readouterr().err
    assert {path.name for path in home.iterdir()} == {"inception.tar.gz", "inception.sha256"}
    archive.unlink()
    extractors._inception.cache_clear()
    assert load_extractor("inception").sha256 == (home / "inception.sha256").read_text().strip()


@pytest.mark.parametrize("damage", ["page", "cut"])
def test_what_arrives_damaged_is_not_kept(tmp_path, home, monkeypatch, damage):
    served = tmp_path / "served.tar.gz"
    if damage == "page":
        served.write_text("<html>Sign in</html>")
    else:
        pack(save(tmp_path / "module"), served)
        served.write_bytes(served.read_bytes()[:-2000])
    monkeypatch.setattr(inception, "_URLS", (served.as_uri(),))
    with pytest.raises(ValueError, match=r"cannot be downloaded \(file:.*inception.tar.gz is no complete .tar.gz"):
        load_extractor("inception")
    assert not list(home.iterdir())


def test_no_copy_and_no_network(home, monkeypatch):
    def fail(url, timeout):
        raise urllib.error.URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr("urllib.request.urlopen", fail)
    monkeypatch.setattr(inception, "_URLS", ("https://one", "https://two"))
    with pytest.raises(ValueError, match="no copy of the Inception module in") as error:
        load_extractor("inception")
    message = str(error.value)
    assert "\n" not in message
    for part in (str(home / "inception.tar.gz"), "https://one: <urlopen error", "https://two", "TFGAN_INCEPTION"):
        assert part in message


def test_another_copy_than_the_first_is_refused(module, tmp_path, home, monkeypatch):
    first = load_extractor("inception").sha256
    assert (home / "inception.sha256").read_text() == f"{first}\n"
    monkeypatch.setenv("TFGAN_INCEPTION", str(save(tmp_path / "other", shift=1.0)))
    with pytest.raises(ValueError, match=r"other has changed: its SHA-256 is [0-9a-f]{64}, that of the copy first"):
        load_extractor("inception")
    (home / "inception.sha256").unlink()
    assert load_extractor("inception").sha256 != first


def without_logits(images):
    return {"pool_3": seen(images)["pool_3"]}


def with_1000_logits(images):
    return {**seen(images), "logits": seen(images)["logits"][:, :1000]}


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            without_logits,
            r"is not https://tfhub.dev/.*: it does not map images to \{'pool_3': 2048, 'logits': 1008\}\.",
        ),
        (with_1000_logits, r"does not map images to .* Received: \{'pool_3': 2048, 'logits': 1000\}"),
    ],
)
def test_another_network_is_refused_and_not_remembered(tmp_path, home, monkeypatch, outputs, message):
    monkeypatch.setenv("TFGAN_INCEPTION", str(save(tmp_path / "module", outputs)))
    with pytest.raises(ValueError, match=message):
        load_extractor("inception")
    assert not home.exists()


def test_a_network_too_small_for_inception_is_refused(module, monkeypatch):
    monkeypatch.setattr(inception, "_WEIGHT_BYTES", 95_262_080)
    with pytest.raises(ValueError, match="bytes cannot hold its weights, 95262080 bytes"):
        load_extractor("inception")


def test_what_is_no_copy_at_all(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tar.gz").write_text("text")
    with tarfile.open(tmp_path / "outside.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "text.tar.gz", arcname="../evil")
    for name, message in (
        ("missing", "TFGAN_INCEPTION names no file or folder. Received: .*missing"),
        ("empty", r"empty must hold one SavedModel\. Received: 0"),
        ("text.tar.gz", r"text\.tar\.gz is no complete \.tar\.gz"),
        ("outside.tar.gz", r"outside\.tar\.gz is no complete \.tar\.gz: \.\./evil lies outside of it"),
    ):
        monkeypatch.setenv("TFGAN_INCEPTION", str(tmp_path / name))
        with pytest.raises(ValueError, match=message):
            load_extractor("inception")


def test_a_folder_that_cannot_be_written(module, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"SHA-256 of Inception cannot be kept: .* Set KERAS_HOME to another folder"):
        load_extractor("inception")


# Keras's own.


def tiny_inception(weights, classifier_activation):
    assert (weights, classifier_activation) == ("imagenet", None)
    images = keras.Input((299, 299, 3))
    # The largest: a mean of so many would be less exact than what is looked for.
    features = keras.layers.GlobalMaxPooling2D(name="avg_pool")(images)
    return keras.Model(images, keras.layers.Dense(1000, name="predictions")(features))


def test_keras_inception(monkeypatch):
    monkeypatch.setattr(keras.applications, "InceptionV3", tiny_inception)
    keras.config.set_dtype_policy("mixed_bfloat16")
    extractor = load_extractor("keras_inception_v3")
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert load_extractor("keras_inception_v3") is extractor
    assert (extractor.name, extractor.feature_dim, extractor.num_logits) == ("keras_inception_v3", 3, 1000)
    assert (extractor.canonical, extractor.resizer, len(extractor.sha256)) == (False, "antialiased_bilinear_299", 64)
    # In [-1, 1] as they are; bfloat16 would give 0.3008, and grey is repeated.
    np.testing.assert_allclose(extractor(np.full((2, 16, 16, 1), 0.3, np.float32)), np.full((2, 3), 0.3), atol=1e-5)


def test_keras_inception_is_what_is_expected_of_it():
    network = keras.applications.InceptionV3(weights=None, classifier_activation=None)
    assert network.get_layer("avg_pool").output.shape == (None, 2048)
    assert network.output.shape == (None, 1000)
    kernels = sum(np.prod(x.kernel.shape) for x in network.layers if isinstance(x, keras.layers.Conv2D))
    # TF-GAN's network has the same convolutions: this is where the smallest size of its copy is from.
    assert kernels == 21_751_136


def test_images_are_made_smaller_with_antialiasing():
    stripes = np.tile(np.array([-1.0, 1.0], np.float32), 299)[None, None, :, None] * np.ones((1, 598, 1, 3), np.float32)
    resized = inception.antialiased_resize(stripes)
    assert resized.shape == (1, 299, 299, 3)
    np.testing.assert_allclose(resized[:, 5:-5, 5:-5], 0, atol=1e-5)


def test_keras_inception_without_a_network(monkeypatch):
    def fail(**kwargs):
        raise Exception("URL fetch failure on https://storage/inception.h5: None -- Name or service not known")

    monkeypatch.setattr(keras.applications, "InceptionV3", fail)
    with pytest.raises(ValueError, match="keras_inception_v3 is not in Keras's folder and cannot be downloaded: URL"):
        load_extractor("keras_inception_v3")


def test_other_failures_of_keras_are_not_taken_for_a_missing_network(monkeypatch):
    def fail(**kwargs):
        raise ValueError("Incomplete or corrupted file detected.")

    monkeypatch.setattr(keras.applications, "InceptionV3", fail)
    with pytest.raises(ValueError, match=r"^Incomplete or corrupted file detected\.$"):
        load_extractor("keras_inception_v3")


# Who may say FID.

SCORES = {"fd": 3.0, "fd_error": 0.1, "kd": 0.01, "cs": 5.0, "intra_fd": 9.0, "precision": 0.5}


def printed(extractor):
    """Returns what would be printed of scores with an extractor."""
    real = {"used": 5000, "name": "digits", "split": "test", "fallback_for": None}
    return describe_score(
        {"scores": SCORES, "extractor": extractor.describe(), "real": real, "fake": {"used": 5000, "seed": 1}}
    )


def test_the_canonical_one_says_fid(module):
    extractor = load_extractor("inception")
    assert printed(extractor).splitlines() == [
        "FID 3 ± 0.1",
        "KID 0.01",
        "Precision 0.5",
        "Inception score 5",
        "Intra-class FID 9",
        f"with features of inception ({extractor.sha256[:12]}; tf1_bilinear_299): 5000 real images of digits test, "
        "5000 fakes (seed 1)",
    ]


@pytest.mark.parametrize("source", ["mnist_cnn", "inception.keras", "inception", "model", "extractor", "keras"])
def test_no_other_one_does(source, module, tmp_path, monkeypatch):
    images = keras.Input((8, 8, 3))
    network = keras.Model(images, keras.layers.GlobalAveragePooling2D()(images), name="inception")
    monkeypatch.setattr(keras.applications, "InceptionV3", tiny_inception)
    network.save(tmp_path / "inception.keras")
    network.export(tmp_path / "inception", verbose=False)
    extractor = load_extractor(
        {
            "inception.keras": tmp_path / "inception.keras",
            "inception": str(tmp_path / "inception"),
            "model": network,
            "extractor": FeatureExtractor(lambda images: {"features": images}, "inception", "inception", (3,)),
            "keras": "keras_inception_v3",
        }.get(source, source),
        trust_extractor=source == "inception",
    )
    text = printed(extractor)
    for name in ("FID", "KID", "Inception score"):
        assert name not in text.replace("; not FID)", ")")
    assert "; not FID): 5000 real images" in text
    assert text.startswith("Frechet distance 3 ± 0.1\nKernel distance 0.01\n")


def test_receipts_state_the_resizer_and_comparisons_heed_it(module):
    digits = open_images("mnist_5k", split="test[:4]")
    metric = FrechetDistance(load_extractor("mnist_cnn"))
    receipt = score(ArrayFakes(digits), digits, [metric])
    assert (receipt["extractor"]["resizer"], receipt["extractor"]["canonical"]) == (None, False)
    described = load_extractor("inception").describe()
    assert (described["resizer"], described["canonical"]) == ("tf1_bilinear_299", True)
    other = {**receipt, "extractor": {**receipt["extractor"], "resizer": "tf1_bilinear_299"}}
    with pytest.raises(ValueError, match=r"\n  extractor\.resizer: None against tf1_bilinear_299$"):
        compare(receipt, other)


@pytest.mark.parametrize("name", extractors.NAMES)
def test_unknown_names_are_answered_with_all_known(name):
    with pytest.raises(ValueError, match=rf"Expected one of \[.*'{name}'.*\], the path of a .keras file"):
        load_extractor("vgg")
