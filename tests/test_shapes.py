"""Images of any shape: sizes as people write them, and what each model draws."""

import inspect
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from conftest import FAMILY, GANS, ROOT, random_labels, tiny_model
from PIL import Image

import tfgan_app as tg
from tfgan_app import runs
from tfgan_app.augment import rotation, warp
from tfgan_app.base.errors import DataError, UsageError
from tfgan_app.base.sizes import as_size, compact, is_size
from tfgan_app.models.sides import start_and_doublings
from tfgan_app.study.report import power_spectrum


@pytest.mark.parametrize(
    ("given", "size", "kept"),
    [
        (64, (64, 64), 64),
        ("64", (64, 64), 64),
        ("96x64", (64, 96), "96x64"),
        ("96X64", (64, 96), "96x64"),
        ((64, 96), (64, 96), "96x64"),
        ([64, 64], (64, 64), 64),
        (np.int64(32), (32, 32), 32),
    ],
)
def test_sizes_are_written_width_first_and_held_height_first(given, size, kept):
    assert as_size(given) == size and compact(given) == kept
    assert as_size(compact(given)) == size


@pytest.mark.parametrize(
    "given", ["", "x", "64x", "x64", "64x0", "1x2x3", "6.4", "-3", 0, -1, 6.4, (64,), (1, 2, 3), (0, 4), None]
)
def test_what_is_no_size_is_told(given):
    assert not is_size(given)


@pytest.mark.parametrize(
    ("shape", "start", "doublings"),
    [
        # The published ones.
        ((28, 28), (7, 7), 2),
        ((16, 16), (4, 4), 2),
        ((32, 32), (4, 4), 3),
        ((64, 64), (4, 4), 4),
        ((128, 128), (4, 4), 5),
        ((1024, 1024), (4, 4), 8),
        # Others.
        ((48, 48), (6, 6), 3),
        ((80, 80), (5, 5), 4),
        ((64, 96), (4, 6), 4),
        ((60, 100), (15, 25), 2),
        ((480, 640), (15, 20), 5),
        ((16, 1024), (4, 256), 2),
    ],
)
def test_the_smallest_map_is_found_by_halving(shape, start, doublings):
    assert start_and_doublings("A", (*shape, 3)) == (start, doublings)


@pytest.mark.parametrize(
    ("shape", "why", "proposed"),
    [
        ((30, 30), "30x30 (width x height) halves once, to 15x15", ["28", "32"]),
        ((27, 27), "27x27 (width x height) halves not at all, to 27x27", ["24", "28"]),
        ((150, 150), "halves once, to 75x75", ["144", "152"]),
        ((300, 300), "halves twice, to 75x75", ["288", "304"]),  # of which 5 625 positions are too many
        ((63, 97), "97x63 (width x height) halves not at all", ["96x60", "100x64"]),
        ((1080, 1920), "1920x1080 (width x height) halves 3 times, to 240x135", ["1920x1024", "1920x1088"]),
        ((8, 8), "halves once, to 4x4", ["16"]),
    ],
)
def test_other_shapes_are_refused_with_the_nearest_that_work(shape, why, proposed):
    with pytest.raises(ValueError, match=r"^A draws images whose sides both halve at least twice") as error:
        start_and_doublings("A", (*shape, 3))
    assert why in str(error.value) and f"Received: image_shape={(*shape, 3)}" in str(error.value)
    assert "`model=MLPGAN`" in str(error.value)
    assert re.findall(r"image_size=(\w+)", str(error.value)) == proposed
    for size in proposed:
        start_and_doublings("A", (*as_size(size), 3))


def documented():
    """Returns what docs/models.md says of shapes: sizes that each model draws, the smallest first."""
    page = (ROOT / "docs" / "models.md").read_text()
    table = page.partition("## Which shapes they draw")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return {name: [row[2], *row[3].split(", ")] for row in rows for name in re.findall(r"`(\w+)`", row[0])}


def test_the_page_names_the_shapes_of_every_model():
    assert sorted(documented()) == sorted(GANS)


def tiny(name, shape):
    """Returns a tiny model for a shape, whatever depends on the number of doublings left to it or said for each."""
    changes = {"image_shape": shape}
    if name == "R3GAN":
        stages = start_and_doublings(name, shape)[1] + 1
        changes |= {"widths": (4,) * stages, "cardinalities": (2,) * stages}
    if name == "BigGAN":
        changes |= {"latent_dim": start_and_doublings(name, shape)[1] + 1, "attention_at": "auto"}
    if name in ("PGGAN", "StyleGAN2"):
        changes |= {"channel_base": 4096, "channel_max": 4}
    return tiny_model(name, **changes)


# FastGAN draws squares alone: test_fastgan.py.
SHAPED = [name for name in GANS if name != "FastGAN"]


@pytest.mark.parametrize("name", SHAPED)
def test_models_draw_the_shapes_that_the_page_names(name):
    for size in documented()[name][::2]:  # the smallest, and oblong ones
        shape = (*as_size(size), 2)
        gan = tiny(name, shape)
        latents = tf.zeros((4, gan.latent_dim))
        labels = [] if gan.num_classes is None else [tf.constant(random_labels(4, gan.num_classes))]
        images = gan.generator([latents, *labels] if len(gan.generator.inputs) > 1 else latents)
        assert images.shape == (4, *shape)
        judged = [images, *labels] if len(gan.discriminator.inputs) > 1 else images
        outputs = gan.discriminator(judged)
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs
        assert logits.shape == (2 if name == "PacGAN" else 4, 1)


@pytest.mark.parametrize("name", [name for name in SHAPED if name != "MLPGAN"])
def test_models_refuse_in_one_line(name):
    with pytest.raises(ValueError, match=r"halve at least (once|twice), .*`image_size=28`.*\(27, 27, 1\)") as error:
        tiny_model(name, image_shape=(27, 27, 1))
    assert "\n" not in str(error.value)


def test_sngan_at_48x48_has_the_widths_of_its_paper():
    # Miyato et al. 2018, appendix B, for STL-10: G 512 at 6x6, 256, 128, 64; D 64, 128, 256, 512, and 1024 at 3x3.
    gan = tg.models.SNGAN((48, 48, 3), seed=0)

    def outputs(network, kind):
        return [layer.output.shape[1:] for layer in network.layers if type(layer).__name__ == kind]

    assert outputs(gan.generator, "Add") == [(12, 12, 256), (24, 24, 128), (48, 48, 64)]
    assert outputs(gan.generator, "Reshape") == [(6, 6, 512)]
    assert outputs(gan.discriminator, "Add") == [(24, 24, 64), (12, 12, 128), (6, 6, 256), (3, 3, 512), (3, 3, 1024)]


def test_self_attention_of_oblong_images_goes_by_the_shorter_side():
    gan = tiny_model("SAGAN", image_shape=(64, 96, 1))
    for network in (gan.generator, gan.discriminator):
        (layer,) = [layer for layer in network.layers if type(layer).__name__ == "SelfAttention"]
        assert layer.output.shape[1:3] == (16, 24)


@pytest.mark.parametrize("name", SHAPED)
def test_docstrings_say_what_shapes_a_model_takes(name):
    text = inspect.getdoc(getattr(tg.models, name))
    assert "halve at least" in text or "as in `DCGAN`" in text or name == "MLPGAN", FAMILY[name]


# How an image gets a size.


def bars(height, width):
    """A picture whose columns and rows tell where they are: red goes by the column, green by the row."""
    rows, columns = np.indices((height, width))
    return np.stack([columns, rows, np.full((height, width), 90)], -1).astype(np.uint8)


def saved(folder, image, name="a.png"):
    folder.mkdir(exist_ok=True)
    Image.fromarray(image).save(folder / name)
    return str(folder)


def opened(path, **options):
    images, _ = tg.data.open_images(path, **options).first(1)
    return np.asarray(tg.data.to_uint8(images))[0]


@pytest.mark.parametrize(
    ("size", "part"),
    [
        ((32, 32), np.s_[:, 16:48]),  # the height is the shorter side
        ((64, 32), np.s_[:, 24:40]),
        ((16, 64), np.s_[8:24, :]),
        ((8, 24), np.s_[5:26, :]),  # 64 x 8 / 24 = 21.3 rows
    ],
)
def test_crop_takes_the_largest_centred_part_of_the_aspect_ratio(tmp_path, size, part):
    image = bars(32, 64)
    expected = Image.fromarray(image[part]).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(opened(saved(tmp_path / "a", image), image_size=size), np.asarray(expected))


def test_crop_takes_parts_of_that_size_as_they_are(tmp_path):
    image = bars(32, 64)
    path = saved(tmp_path / "a", image)
    np.testing.assert_array_equal(opened(path, image_size="64x32"), image)
    np.testing.assert_array_equal(opened(path, image_size=32), image[:, 16:48])


@pytest.mark.parametrize(
    ("size", "inner"),
    [((32, 32), np.s_[8:24, :]), ((64, 32), np.s_[24:40, :]), ((16, 64), np.s_[:, 16:48]), ((30, 20), np.s_[10:20, :])],
)
def test_pad_keeps_all_and_is_black_around(tmp_path, size, inner):
    image = bars(32, 64) + 20
    found = opened(saved(tmp_path / "a", image), image_size=size, fit="pad")
    height, width = found[inner].shape[:2]
    expected = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(found[inner], np.asarray(expected))
    assert found.any(-1).sum() == height * width


def test_stretch_takes_each_side_by_its_own_factor(tmp_path):
    image = bars(32, 64)
    found = opened(saved(tmp_path / "a", image), image_size=(64, 32), fit="stretch")
    np.testing.assert_array_equal(found, np.asarray(Image.fromarray(image).resize((32, 64), Image.Resampling.LANCZOS)))


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_an_image_of_one_pixel_gets_any_size(tmp_path, fit):
    found = opened(saved(tmp_path / "a", np.full((1, 1, 3), 7, np.uint8)), image_size=(6, 10), fit=fit)
    assert found.shape == (6, 10, 3) and set(np.unique(found)) == ({0, 7} if fit == "pad" else {7})


def test_arrays_are_fitted_as_files_are(tmp_path):
    image = bars(32, 64)
    np.save(tmp_path / "a.npy", image[None])
    path = saved(tmp_path / "a", image)
    for fit in ("crop", "pad", "stretch"):
        form = {"image_size": (24, 20), "fit": fit}
        np.testing.assert_array_equal(opened(str(tmp_path / "a.npy"), **form), opened(path, **form))


def test_what_is_done_to_images_is_said(tmp_path):
    path = saved(tmp_path / "a", bars(32, 64))
    for fit, done in (("crop", "cropped and resized"), ("pad", "resized and padded"), ("stretch", "stretched")):
        notes = tg.data.open_images(path, image_size=(16, 24), fit=fit).notes
        assert f"All images are {done} to 24x16, from 64x32." in notes


def test_every_fit_is_another_set(tmp_path, monkeypatch):
    path = saved(tmp_path / "a", bars(32, 64))

    def fingerprints():
        return [tg.data.open_images(path, image_size=16, fit=fit).fingerprint for fit in ("crop", "pad", "stretch")]

    assert len(set(fingerprints())) == 3
    monkeypatch.setattr("tfgan_app.data.records.MEMORY_LIMIT", 10)
    assert len(set(fingerprints())) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "cover"}, "`fit=cover` is unknown. There are: crop, pad, stretch"),
        ({"image_size": "64x"}, "`image_size=64x` must be a side of at least 1 pixel, WIDTHxHEIGHT or"),
        ({"image_size": (64, 0)}, r"`image_size=\(64, 0\)` must be a side of at least 1 pixel"),
    ],
)
def test_what_is_no_form_is_refused(tmp_path, options, message):
    path = saved(tmp_path / "a", bars(8, 8))
    for use in (tg.data.open_images, tg.data.peek):
        with pytest.raises(DataError, match=message):
            use(path, **options)
    with pytest.raises(DataError, match=message):
        tg.data.open_pairs(path, degrade="grey", **options)


def test_partners_and_masks_are_fitted_alike(tmp_path):
    image = bars(32, 64)
    mask = (image[..., 0] > 31).astype(np.uint8) * 255
    saved(tmp_path / "pairs", image, "1_A.png")
    Image.fromarray(mask).save(tmp_path / "pairs" / "1_B.png")
    for fit in ("crop", "pad", "stretch"):
        pairs = tg.data.open_pairs(str(tmp_path / "pairs"), image_size="24x16", fit=fit)
        assert pairs.source_shape == (16, 24, 3) and pairs.target_shape == (16, 24, 1)
        source, target = (np.asarray(tg.data.to_uint8(side))[0] for side in next(iter(pairs.in_order(1))))
        np.testing.assert_array_equal(source, opened(saved(tmp_path / "a", image), image_size=(16, 24), fit=fit))
        np.testing.assert_array_equal(target, opened(saved(tmp_path / "b", mask), image_size=(16, 24), fit=fit))


def test_pictures_side_by_side_are_fitted_by_halves(tmp_path):
    left, right = bars(20, 16), bars(20, 16)[::-1]
    path = saved(tmp_path / "pairs", np.concatenate([left, right], axis=1))
    pairs = tg.data.open_pairs(path, paired="side_by_side", image_size="24x12", fit="pad")
    found = [np.asarray(tg.data.to_uint8(side))[0] for side in next(iter(pairs.in_order(1)))]
    for side, half in zip(found, (left, right), strict=True):
        np.testing.assert_array_equal(side, opened(saved(tmp_path / "a", half), image_size=(12, 24), fit="pad"))


# Runs.


OBLONG = {
    **{"model": "MLPGAN", "model_arg": ["g_units=(8,)", "d_units=(8,)"], "latent_dim": 4, "extractor": "none"},
    **{"batch_size": 4, "train_steps": 1, "steps_per_epoch": 1, "holdout": 0},
}


def test_a_run_on_oblong_images_goes_on_and_draws_and_scores(tmp_path):
    for number in range(8):
        saved(tmp_path / "photos", bars(20 + number, 40), f"{number}.png")
    run_dir = tmp_path / "run"
    settings = {**OBLONG, "dataset": str(tmp_path / "photos"), "run_dir": str(run_dir), "image_size": "16x12"}
    runs.train(**settings, fit="pad")
    record = json.loads((run_dir / "run.json").read_text())
    assert record["settings"]["image_size"] == "16x12" and record["settings"]["fit"] == "pad"
    assert record["data"]["image_shape"] == [12, 16, 3]
    assert "--image_size=16x12\n" in (run_dir / "run.flags").read_text()
    runs.train(**{**settings, "image_size": (12, 16), "train_steps": 2}, fit="pad")
    with pytest.raises(UsageError, match="fit"):
        runs.train(**{**settings, "train_steps": 3})
    runs.generate(run=run_dir, grid="2x3", scale=1, out=tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (3 * 18 + 2, 2 * 14 + 2)  # two pixels between
    scored = runs.evaluate(run=run_dir, metrics=["patch_swd"], report=tmp_path / "report")
    assert scored.receipt["real"]["image_shape"] == [12, 16, 3] and (tmp_path / "report" / "index.html").is_file()


def test_settings_keep_one_form_of_a_size():
    for given, kept in ((64, 64), ("64", 64), ((64, 64), 64), ((64, 96), "96x64"), ("96x64", "96x64")):
        assert runs.Settings(image_size=given).image_size == kept
        assert runs.Scoring(image_size=given).image_size == kept
    for given in ("x", 0, (1, 2, 3), 6.4):
        with pytest.raises(UsageError, match=r"`image_size=.*` must be a side of at least 1 pixel, WIDTHxHEIGHT"):
            runs.Settings(image_size=given)


# What images pass through.


def test_spectrum_of_oblong_images_goes_by_frequency():
    # A wave of 4 pixels along either side is a quarter of a cycle a pixel: of 16 bins to half, the eighth.
    rows, columns = np.indices((32, 64))
    for phase in (rows, columns):
        power = power_spectrum(np.cos(2 * np.pi * phase / 4)[None, ..., None])
        assert len(power) == 16 and power.argmax() == 8


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_oblong_image_keeps_its_pixels_and_is_mirrored_beyond(turns):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(6, 10, 1)).astype(np.float32)
    found = warp(image[None], rotation(tf.constant([0.5 * np.pi * turns])))[0]
    # What lies at (cos x - sin y, sin x + cos y) from the centre comes to (x, y); edges are mirrored without end.
    cos, sin = round(np.cos(0.5 * np.pi * turns)), round(np.sin(0.5 * np.pi * turns))
    y, x = np.indices((6, 10)) - np.array([2.5, 4.5])[:, None, None]

    def mirrored(position, size):
        position = np.abs(position.astype(int)) % (2 * size - 2)
        return np.where(position < size, position, 2 * size - 2 - position)

    expected = image[mirrored(sin * x + cos * y + 2.5, 6), mirrored(cos * x - sin * y + 4.5, 10)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
