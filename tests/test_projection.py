"""tfgan_app.study.project: the latents of a picture, found."""

import keras
import numpy as np
import pytest
from conftest import LATENT_DIM, SHAPE, tiny_extractor, tiny_gan, tiny_model, values
from test_edits import TOLD, linear_gan, normal, styled
from test_export_files import shaken
from test_modalities import waves_gan

import tfgan_app as tg
from tfgan_app.base.errors import UsageError
from tfgan_app.export import SavedGAN
from tfgan_app.study import project
from tfgan_app.study.projection import _Loss


def lively(num_classes=None):
    """A tiny GAN whose images differ visibly."""
    gan = shaken(tiny_gan(num_classes))
    for weight in gan.ema_generator.weights:
        if weight.path.endswith("kernel"):
            weight.assign(6 * np.random.default_rng(1).normal(size=weight.shape) / weight.shape[0])
    return gan


def psnr(one, other):
    """In dB, of images in [0, 1] rounded to 8 bits."""
    levels = [np.round(255 * np.asarray(x, np.float64)) for x in (one, other)]
    return 10 * np.log10(255**2 / max(1e-5, np.mean((levels[0] - levels[1]) ** 2)))


@pytest.fixture(scope="module")
def gan():
    return lively()


@pytest.fixture(scope="module")
def conditional():
    return lively(3)


def test_latents_of_a_drawn_picture_are_found():
    gan, _ = linear_gan([3.0, 2.0, 1.0])
    image = gan.sample(1, seed=5)[0]
    found = project(gan, image, steps=300)
    assert found.latents.shape == (1, 3) and found.told == {} and found.weights is None
    np.testing.assert_allclose(found.latents, gan.latents(1, seed=5), atol=0.02)
    assert found.scores["psnr"] > 45 and psnr(gan.generate(found.latents)[0], image) > 45
    np.testing.assert_allclose((found.image + 1) / 2, gan.generate(found.latents)[0], atol=1e-6)
    np.testing.assert_allclose(found.target, 2 * image - 1, atol=1e-6)
    # The way begins far off and ends there.
    assert found.frames.shape == (60, *SHAPE)
    assert np.abs(found.frames[0] - found.target).mean() > 10 * np.abs(found.frames[-1] - found.target).mean()


def test_its_score_is_that_of_the_picture_as_files_hold_it(gan):
    image = np.uint8(np.random.default_rng(0).integers(0, 256, SHAPE))
    found = project(gan, image, steps=20)
    assert found.scores == {"psnr": pytest.approx(psnr((found.image + 1) / 2, image / 255), rel=1e-5)}


def classes_of_styles():
    """A tiny StyleGAN2 of three classes, whose styles and classes differ visibly."""
    gan = styled(3)
    for weight in gan.ema_generator.get_layer("mapping").weights:
        if weight.path.endswith("kernel"):
            weight.assign_add(100 * normal(*weight.shape, seed=4))
        if "embed" in weight.path:
            weight.assign(9 * np.eye(3, 4))
    for layer in gan.ema_generator.get_layer("synthesis").layers:
        if isinstance(layer, tg.layers.ModulatedConv2D) and not layer.demodulate:
            layer.kernel.assign(0.2 * layer.kernel)
    return gan


def test_styles_and_the_class_of_a_drawn_picture_are_found():
    gan = classes_of_styles()
    image = gan.sample(1, seed=5, labels=[1])[0]
    found = project(gan, np.uint8(np.round(255 * image)), steps=150)
    assert found.latents.shape == (1, *gan.style_shape) and found.told["labels"].tolist() == [1]
    average = gan.generate(gan.styles(gan.latents(500), np.ones(500, np.int32)).mean(0, keepdims=True))[0]
    assert found.scores["psnr"] > max(28, 10 + psnr(average, image))
    assert psnr(gan.generate(found.latents)[0], image) > 28


def test_the_class_is_found_or_given(conditional):
    for label in (0, 1):
        image = conditional.sample(1, seed=6, labels=[label])[0]
        found = project(conditional, image, steps=150)
        assert found.told["labels"].tolist() == [label] and found.told["labels"].dtype == np.int32
        assert psnr(conditional.generate(found.latents, **found.told)[0], image) > 40
        other = project(conditional, image, label=1 - label, steps=150)
        assert other.told["labels"].tolist() == [1 - label] and other.scores["psnr"] < found.scores["psnr"]


def test_what_lies_beyond_the_range_counts_as_its_end_where_the_picture_is_there():
    raw = 2 * normal(3, 28, 28, 1)
    target = np.clip(raw[0], -1, 1)
    losses = _Loss(target, None)(raw)
    assert losses[0] == 0 and losses[1] > 0.5
    # Elsewhere it counts in full, so that something draws it back.
    assert float(_Loss(np.full((8, 8, 1), 0.5, np.float32), None)(np.full((1, 8, 8, 1), 2.0))[0]) == 1.5**2


def test_pixels_are_compared_as_they_are_and_shrunk():
    one, other = normal(28, 28, 1) / 9, normal(1, 28, 28, 1, seed=1) / 9
    difference = (other[0] - one)[..., 0]
    scales = [difference]
    for _ in range(2):  # to 14 and 7 pixels
        x = scales[-1]
        scales.append((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4)
    expected = np.mean([np.mean(x**2) for x in scales])
    assert float(_Loss(one, None)(other)[0]) == pytest.approx(expected, rel=1e-5)


def test_equal_seeds_find_the_same_and_saved_models_too(conditional, tmp_path):
    image = conditional.sample(1, seed=6, labels=[1])[0]
    found = [project(conditional, image, label=1, steps=40, seed=seed) for seed in (3, 3, 4)]
    np.testing.assert_allclose(found[0].latents, found[1].latents, atol=1e-6)
    assert np.abs(found[0].frames[0] - found[2].frames[0]).max() > 1e-3
    saved = project(SavedGAN(conditional.export(tmp_path / "1")), image, label=1, steps=40, seed=3)
    np.testing.assert_allclose(saved.latents, found[0].latents, atol=1e-3)


def test_latents_stay_where_draws_lie(gan):
    # No sample is like it, and latents would go on for ever.
    found = project(gan, (np.indices(SHAPE).sum(0) % 2).astype(np.uint8) * 255, steps=150, starts=4)
    assert np.linalg.norm(found.latents) < LATENT_DIM**0.5 + 3 * 0.5**0.5 + 1e-4


def test_what_an_extractor_sees_counts_and_is_scored(gan):
    extractor = tg.metrics.load_extractor(tiny_extractor())
    image = gan.sample(1, seed=5)[0]
    found = project(gan, image, steps=100, extractor=extractor)
    features = [np.asarray(extractor(x[None])) for x in (found.target, found.image)]
    first, second = (x / np.linalg.norm(x) for x in features)
    assert found.scores["perceptual_distance"] == pytest.approx(np.linalg.norm(first - second), abs=1e-5)
    without = project(gan, image, steps=100)
    assert not np.allclose(found.latents, without.latents, atol=1e-6)


def test_the_generator_is_tuned_to_the_picture_and_stays_as_it_was(conditional):
    gan, image = conditional, np.uint8(np.random.default_rng(0).integers(0, 256, SHAPE))
    before = values(gan.ema_generator)
    plain = project(gan, image, label=1, steps=60)
    tuned = project(gan, image, label=1, steps=60, tune=200)
    np.testing.assert_allclose(tuned.latents, plain.latents, atol=1e-6)
    assert tuned.scores["psnr"] > plain.scores["psnr"] + 0.5
    for one, other in zip(values(gan.ema_generator), before, strict=True):
        np.testing.assert_array_equal(one, other)
    try:
        gan.adopt(tuned.weights)
        # Its statistics are those that it was tuned with.
        np.testing.assert_allclose(gan.generate(tuned.latents, [1])[0], (tuned.image + 1) / 2, atol=1e-6)
        np.testing.assert_allclose(gan.sample(2), gan.sample(2), atol=0)
    finally:
        gan.adopt(before)


def test_progress_is_told(gan):
    lines = []
    found = project(gan, gan.sample(1)[0], steps=30, frames=3, progress=lines.append)
    assert len(found.frames) == 3 and [line.split("  ")[0] for line in lines] == [
        "step 0/30",
        "step 10/30",
        "step 20/30",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"image": np.zeros((4, 8, 1))},
            r"`image` must have the shape \(8, 8, 1\) of the model's. Received: \(4, 8, 1\)",
        ),
        ({"image": np.full(SHAPE, 200.0)}, r"`image` must be uint8, or lie in \[0, 1\]\. Received: 200 to 200"),
        ({"label": 1}, "`label=1`: this GAN is unconditional"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(gan, arguments, message):
    with pytest.raises(UsageError, match=message):
        project(gan, **{"image": np.zeros(SHAPE), "steps": 1, **arguments})


def test_only_images_are_looked_for_and_only_gans_tuned(gan, tmp_path):
    with pytest.raises(UsageError, match="Only images can be looked for: this model draws waves"):
        project(waves_gan(), np.zeros((16, 1)))
    keras.utils.set_random_seed(0)
    with pytest.raises(UsageError, match=r"`tune=5`: the weights of a SavedModel do not change\. Take the run"):
        project(SavedGAN(gan.export(tmp_path / "1")), np.zeros(SHAPE), tune=5)


def test_attributes_are_found_or_given():
    on = tg.conditions.Attributes.of({"on": ["yes", "no", "no", "yes"]})
    keras.utils.set_random_seed(0)
    gan = tiny_model("CGAN", num_classes=None, attributes=on)
    gan.compile()
    embedding = next(x for x in shaken(gan).ema_generator.layers if isinstance(x, keras.layers.Dense))
    embedding.kernel.assign(9 * normal(*embedding.kernel.shape, seed=4))
    for value in (0, 1):
        image = gan.sample(1, seed=6, attributes={"on": value})[0]
        found = project(gan, image, steps=100)
        assert found.told["attributes"].tolist() == [[value]]
        assert psnr(gan.generate(found.latents, **found.told)[0], image) > 30
        other = project(gan, image, attributes={"on": 1 - value}, steps=100, tune=5)
        assert other.told["attributes"].tolist() == [[1 - value]] and other.scores["psnr"] < found.scores["psnr"]


def test_attributes_of_styles_are_found():
    gan = styled(attributes=TOLD)
    image = gan.sample(1, seed=5, attributes={"age": 60})[0]
    found = project(gan, image, steps=4)
    assert found.latents.shape == (1, *gan.style_shape) and found.told["attributes"].shape == (1, 3)
    assert tuple(found.told["attributes"][0]) in {tuple(row) for row in TOLD.in_turn(4)}
