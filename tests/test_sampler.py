"""tfgan_app.sampler: what every trained generator can do, a GAN and a loaded SavedModel alike."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import LATENT_DIM, SHAPE, random_images, random_labels, tiny_gan, train

import tfgan_app as tg
from tfgan_app.base.latents import truncate_normal
from tfgan_app.conditions import Classes
from tfgan_app.data import ImageSet
from tfgan_app.data.records import hold
from tfgan_app.export import SavedGAN, export_model
from tfgan_app.metrics import FrechetDistance, PerceptualPathLength
from tfgan_app.sampler import Sampler
from tfgan_app.study import SampledFakes, examine, score, write_report


@pytest.fixture(scope="module", params=[None, 3], ids=["unconditional", "conditional"])
def gan(request):
    keras.utils.set_random_seed(0)
    gan = tiny_gan(num_classes=request.param)
    train(gan, random_images(8), random_labels(8) if request.param else None)
    return gan


@pytest.fixture(scope="module", params=["gan", "saved"])
def sampler(request, gan, tmp_path_factory):
    return gan if request.param == "gan" else SavedGAN(gan.export(tmp_path_factory.mktemp("exported") / "1"))


@pytest.fixture(scope="module")
def images():
    stored = np.random.default_rng(1).integers(0, 256, (12, *SHAPE), dtype=np.uint8)
    opened = hold((stored, random_labels(12)))
    return ImageSet("noise", "train", SHAPE, ("a", "b", "c"), "none", "here", opened.fingerprint, opened.records)


@pytest.fixture(scope="module")
def extractor():
    keras.utils.set_random_seed(7)
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)], name="tiny")
    return tg.metrics.load_extractor(network)


def test_is_a_sampler_that_says_what_it_draws(sampler, gan):
    assert isinstance(sampler, Sampler)
    assert sampler.modality.shape == SHAPE and sampler.modality.name == "images"
    assert (sampler.latent_dim, sampler.num_classes, sampler.supervised) == (LATENT_DIM, gan.num_classes, True)


def test_samples_are_decoded_outputs_of_its_latents(sampler, gan):
    outputs = sampler.outputs(sampler.latents(300, seed=5))
    assert outputs.shape == (300, *SHAPE) and outputs.dtype == np.float32 and -1 <= outputs.min() < -0.1
    samples = sampler.sample(300, seed=5)
    np.testing.assert_allclose(samples, (outputs + 1) / 2, atol=1e-6)
    np.testing.assert_allclose(samples, gan.sample(300, seed=5), atol=1e-6)
    np.testing.assert_array_equal(samples, sampler.generate(sampler.latents(300, seed=5)))
    assert sampler.sample(0).shape == (0, *SHAPE)


def test_truncation(sampler):
    latents = sampler.latents(6, seed=2)
    expected = sampler.generate(truncate_normal(latents, 0.5))
    np.testing.assert_allclose(sampler.sample(6, seed=2, truncation=0.5), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"`truncation` must be a number of at least 0\. Received: truncation=-1"):
        sampler.sample(1, truncation=-1)


def test_labels(sampler):
    if sampler.num_classes is None:
        with pytest.raises(ValueError, match=r"is unconditional\. Received: labels=\[1\]"):
            sampler.sample(1, labels=[1])
        return
    np.testing.assert_array_equal(sampler.sample(4, seed=2), sampler.sample(4, seed=2, labels=[0, 1, 2, 0]))
    assert np.abs(sampler.sample(3, labels=[0, 0, 0]) - sampler.sample(3, labels=[1, 1, 1])).max() > 1e-3
    with pytest.raises(ValueError, match="`labels` must be 2 integers from 0 to 2, one for each image"):
        sampler.sample(2, labels=[0, 3])


def test_a_picture_of_its_samples(sampler):
    picture = sampler.picture(6, columns=3, seed=4)
    assert picture.shape == (2 * 10 + 2, 3 * 10 + 2, 1) and picture.dtype == np.uint8
    expected = sampler.modality.store(sampler.outputs(sampler.latents(6, seed=4)))[0]
    np.testing.assert_array_equal(picture[2:10, 2:10], expected)


def test_scores(sampler, gan, images, extractor):
    metrics = [FrechetDistance(extractor), PerceptualPathLength(extractor)]
    scores = score(SampledFakes(sampler, 12), images, metrics, batch_size=5)["scores"]
    again = [FrechetDistance(extractor), PerceptualPathLength(extractor)]
    expected = score(SampledFakes(gan, 12), images, again, batch_size=4)["scores"]
    assert scores == pytest.approx(expected, rel=1e-2)


def test_is_examined_and_reported(sampler, images, extractor, tmp_path):
    fakes = SampledFakes(sampler, 12)
    real, labels = images.first(12)
    samples = fakes.batch(0, 12, labels)
    found = examine(samples, real, images, extractor)
    assert found.neighbours.shape == samples.shape
    receipt = score(fakes, images, [FrechetDistance(extractor)])
    page = write_report(
        tmp_path,
        title="tiny",
        receipt=receipt,
        samples=samples,
        real=real,
        modality=sampler.modality,
        memorisation=found,
        sampler=sampler,
    )
    assert "<h2>Interpolation</h2>" in page.read_text()


def test_its_signatures_are_functions_of_tensors(sampler, tmp_path):
    signatures = sampler.signatures()
    assert {"generate", "generate_uint8", "sample", "generate_truncated"} <= set(signatures)
    labels = [] if sampler.num_classes is None else [tf.constant([2, 0])]
    function, specs = signatures["generate"]
    assert [spec.name for spec in specs] == ["latents", *(["labels"] if labels else [])]
    latents = sampler.latents(2, seed=9)
    expected = sampler.generate(latents, *(np.array(x) for x in labels))
    np.testing.assert_allclose(function(latents, *labels)["images"], expected, atol=1e-6)
    # Export takes any named functions, whoever they are of.
    folder = export_model(tmp_path / "1", {"mine": (function, specs)}, {"step": 5})
    loaded = tf.saved_model.load(str(folder)).signatures["mine"]
    arguments = dict(zip(("latents", "labels"), [latents, *labels], strict=False))
    np.testing.assert_allclose(loaded(**arguments)["images"], expected, atol=1e-6)


def test_a_sampler_must_say_how_it_draws():
    with pytest.raises(NotImplementedError, match="Sampler must define `forward`"):
        Sampler().forward([])


def test_fakes_are_those_of_sample_whatever_the_batches():
    # Codes that a model gives a meaning itself are drawn in turn, over all batches.
    gan = tg.models.InfoGAN((28, 28, 1), categories=3, latent_dim=4, base_channels=2)
    expected = gan.outputs(gan.latents(10, 5))
    for fakes, labels in ((SampledFakes(gan, 10, 5), np.zeros(10, np.int32)), (SampledFakes(gan, 10, 5), None)):
        parts = [fakes.batch(start, min(start + 4, 10), labels) for start in (0, 4, 8)]
        np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-5)


NAMES = ("Tabby cat", "dog, wet", "1")


def test_classes_go_by_name_wherever_the_gan_goes(tmp_path):
    gan = tiny_gan(num_classes=3)
    assert gan.class_names is None
    gan.class_names = list(NAMES)
    gan.save(tmp_path / "gan.keras")
    gan.export(tmp_path / "saved")
    expected = gan.sample(5, labels=[0, 1, 2, 2, 1])
    for sampler in (gan, keras.models.load_model(tmp_path / "gan.keras"), SavedGAN(tmp_path / "saved")):
        assert sampler.class_names == NAMES and sampler.describe()["class_names"] == list(NAMES)
        # In whatever case; names before numbers, and numbers where no name is one.
        received = sampler.sample(5, labels=["tabby CAT", "dog, wet", "1", "2", 1])
        np.testing.assert_allclose(received, expected, atol=1e-6)
    card = (tmp_path / "saved" / "README.md").read_text(encoding="utf-8")
    assert "| Classes | 0 Tabby cat, 1 dog, wet, 2 1 |" in card


@pytest.mark.parametrize(
    ("names", "label", "message"),
    [
        (
            ("cat", "dog"),
            "cta",
            "no class 'cta'. Did you mean 'cat'? It must be a name (cat, dog) or an integer from 0 to 1.",
        ),
        (("cat", "dog"), "2", "no class '2'. It must be a name (cat, dog) or an integer from 0 to 1."),
        (("A", "a"), "á", "no class 'á'. It must be a name (A, a) or"),
        (("Ab", "aB"), "AB", "no class 'AB'. Did you mean 'Ab' or 'aB'?"),
        (None, "cat", "no class 'cat'. It must be an integer from 0 to 1."),
        (tuple(map(str, range(30))), "x", "17, 18, 19, ...) or an integer from 0 to 29."),
    ],
)
def test_a_class_that_there_is_not_is_told_from_those_there_are(names, label, message):
    num_classes = 2 if names is None else len(names)
    with pytest.raises(ValueError) as error:
        Classes(num_classes, names).chosen([label], 1)
    assert str(error.value).startswith("`labels`: there is no class ") and message in str(error.value)


@pytest.mark.parametrize("names", [["cat"], ["cat", "dog", 3], "abc"])
def test_names_of_classes_are_one_for_each(names):
    gan = tiny_gan(num_classes=3)
    with pytest.raises(ValueError, match=r"`class_names` must be texts, one for each class of num_classes=3. Received"):
        gan.class_names = names


def test_columns_of_one_class_have_its_name_above(tmp_path):
    gan = tiny_gan(num_classes=3)
    plain = gan.picture(6, 3)
    gan.class_names = ("0", "1", "2")
    np.testing.assert_array_equal(gan.picture(6, 3), plain)
    gan.class_names = ("a", "b", "c")
    np.testing.assert_array_equal(gan.picture(6, 4), SavedGAN(gan.export(tmp_path / "saved")).picture(6, 4))
    assert gan.picture(6, 4).shape == tiny_gan(num_classes=3).picture(6, 4).shape, "columns of several classes"
    heights = []
    for names in (("a", "b", "c"), ("cat", "Ankle boot", "猫 of a name longer than there is room for")):
        gan.class_names = names
        titled = gan.picture(6, 3)
        heights.append(len(titled) - len(plain))
        np.testing.assert_array_equal(titled[-len(plain) :], plain)
        for column in range(3):  # each has letters, within its own width
            assert titled[: heights[-1], 2 + 10 * column : 10 + 10 * column].min() < 128
    assert 10 < heights[0] < 20 < heights[1] <= 98
