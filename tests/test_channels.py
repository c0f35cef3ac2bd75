"""Images of other channels than grey and RGB: transparent ones, and those of several bands."""

import builtins
import json
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfgan_app as tg
from tfgan_app import runs
from tfgan_app.base.errors import DataError, UsageError
from tfgan_app.base.pictures import viewable
from tfgan_app.metrics.extractors import load_extractor
from tfgan_app.modalities import Images
from tfgan_app.modalities.image_files import read_header, read_image, read_values

RNG = np.random.default_rng(0)
TINY = {
    **{"model": "MLPGAN", "model_arg": ["g_units=(8,)", "d_units=(8,)"], "latent_dim": 4, "extractor": "none"},
    **{"batch_size": 4, "train_steps": 1, "steps_per_epoch": 1, "holdout": 0},
}


def folder_of(path, images):
    path.mkdir(exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(path / f"{number}.png")
    return str(path)


def levels(path, **options):
    opened = tg.data.open_images(str(path), **options)
    return np.asarray(opened.modality.store(opened.first(opened.num_images)[0]))


def disc(colour, hidden, size=64):
    """An RGBA disc of a colour, of another colour where nothing is to be seen."""
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    inside = np.hypot(rows, columns) < size / 3
    return np.where(inside[..., None], (*colour, 255), (*hidden, 0)).astype(np.uint8)


# RGBA.


def test_rgba_is_kept_and_black_where_nothing_is_to_be_seen(tmp_path):
    images = RNG.integers(0, 256, (3, 8, 8, 4)).astype(np.uint8)
    images[:, :4, :, 3] = 0
    found = levels(folder_of(tmp_path / "a", images), channels=4)
    np.testing.assert_array_equal(found[:, 4:], images[:, 4:])
    assert not found[:, :4].any()


def test_without_channels_it_is_laid_on_white_and_a_line_says_so(tmp_path):
    images = [disc((255, 0, 0), (0, 255, 0), 8), disc((0, 0, 255), (0, 0, 0), 8)]
    path = folder_of(tmp_path / "a", images)
    opened = tg.data.open_images(path)
    assert opened.image_shape == (8, 8, 3)
    assert "2 of 2 images can be transparent, and are laid on white (`channels=4` keeps it)." in opened.notes
    assert (levels(path)[:, 0, 0] == 255).all()
    assert not any("transparent" in note for note in tg.data.open_images(path, channels=4).notes)


@pytest.mark.parametrize("hidden", [(0, 255, 0), (0, 0, 0), (255, 255, 255)])
@pytest.mark.parametrize("size", [16, 20, 100, (24, 40)])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_no_fringe_comes_of_what_is_not_to_be_seen(tmp_path, hidden, size, fit):
    (found,) = levels(folder_of(tmp_path / "a", [disc((200, 30, 40), hidden)]), channels=4, image_size=size, fit=fit)
    seen = found[..., 3] > 0
    assert 0.2 * seen.size < seen.sum() < 0.7 * seen.size and len(np.unique(found[..., 3])) > 2
    # A level of rounding where hardly anything is to be seen.
    assert np.abs(found[seen][:, :3].astype(int) - (200, 30, 40)).max() <= 1
    assert not found[~seen].any()


def test_premultiplied_resizing_agrees_with_pillows(tmp_path):
    image = RNG.integers(0, 256, (32, 32, 4)).astype(np.uint8)
    (found,) = levels(folder_of(tmp_path / "a", [image]), channels=4, image_size=12)
    expected = np.asarray(Image.fromarray(image).resize((12, 12), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(found[..., 3] - expected[..., 3]).max() <= 1
    plain = expected[..., 3] > 120  # Pillow rounds what is multiplied to 8 bits
    assert np.abs(found[plain][:, :3] - expected[plain][:, :3]).max() <= 4


def test_every_kind_of_file_becomes_rgba(tmp_path):
    path = tmp_path / "a"
    folder_of(path, [np.full((4, 4), 50, np.uint8), np.full((4, 4, 3), 60, np.uint8)])
    Image.fromarray(np.array([[[70, 128]] * 4] * 4, np.uint8)).save(path / "2.png")
    palette = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).convert("P")
    palette.save(path / "3.png", transparency=0)
    deep = np.full((4, 4), 257 * 80, np.uint16)
    Image.fromarray(deep).save(path / "4.png")
    found = levels(path, channels=4)
    assert found[0, 0, 0].tolist() == [50, 50, 50, 255] and found[1, 0, 0].tolist() == [60, 60, 60, 255]
    assert found[2, 0, 0].tolist() == [70, 70, 70, 128] and found[4, 0, 0].tolist() == [80, 80, 80, 255]
    assert found[3, 0, 0].tolist() == [0, 0, 0, 0] and found[3, 0, 1].tolist() == [1, 1, 1, 255]
    notes = tg.data.open_images(str(path), channels=4).notes
    assert "3 of 5 images have no opacity: they are opaque throughout." in notes


def test_padding_of_rgba_is_transparent(tmp_path):
    image = np.full((8, 16, 4), 255, np.uint8)
    (found,) = levels(folder_of(tmp_path / "a", [image]), channels=4, image_size=16, fit="pad")
    assert (found[4:12] == 255).all() and not found[:4].any() and not found[12:].any()


def test_arrays_of_rgba_are_cleared_as_files_are(tmp_path):
    images = RNG.integers(0, 256, (3, 8, 8, 4)).astype(np.uint8)
    images[:, :4, :, 3] = 0
    np.save(tmp_path / "a.npy", images)
    found = levels(tmp_path / "a.npy")
    np.testing.assert_array_equal(found, levels(folder_of(tmp_path / "a", images), channels=4))
    assert (
        "Its images have 4 channels, red, green, blue and opacity (to four bands of another kind append a fifth)."
        in tg.data.open_images(str(tmp_path / "a.npy")).notes
    )
    np.testing.assert_array_equal(levels(tmp_path / "a.npy", channels=3), levels(tmp_path / "a", channels=3))


def test_transparency_is_seen_on_a_board():
    images = np.zeros((1, 32, 32, 4), np.uint8)
    images[:, :16] = (10, 20, 30, 255)
    images[:, 16:] = (10, 20, 30, 0)
    shown = viewable(images)[0]
    assert shown.shape == (32, 32, 3) and (shown[:16] == (10, 20, 30)).all()
    assert sorted(set(shown[16:, :, 0].ravel().tolist())) == [204, 255]
    assert shown[16, 0, 0] != shown[16, 8, 0] != shown[16, 16, 0] and shown[16, 0, 0] != shown[24, 0, 0]
    images[..., 3] = 51  # a fifth
    assert set(viewable(images)[..., 0].ravel().tolist()) == {round(0.2 * 10 + 0.8 * shade) for shade in (204, 255)}


def test_samples_of_rgba_are_written_and_read_with_their_opacity(tmp_path):
    modality = Images((8, 8, 4))
    image = RNG.integers(0, 256, (8, 8, 4)).astype(np.uint8)
    image[..., 3] |= 1  # none wholly transparent
    modality.write(tmp_path / f"a{modality.ending}", modality.encode(image))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(picture), image)
    np.testing.assert_array_equal(modality.read(tmp_path / "a.png"), image)


@pytest.mark.parametrize(
    "layer",
    [
        tg.augment.DiffAugment(("color",), seed=3),
        tg.augment.AdaptiveAugment(initial_p=1.0, blit=0.0, geometric=0.0, seed=3),
    ],
    ids=["DiffAugment", "AdaptiveAugment"],
)
def test_colour_changes_leave_opacity_alone(layer):
    images = tf.constant(RNG.uniform(-1, 1, (16, 8, 8, 4)).astype(np.float32))
    changed = layer(images)
    np.testing.assert_array_equal(changed[..., 3], images[..., 3])
    moved = np.abs(np.asarray(changed - images)[..., :3]).max((1, 2, 3))
    assert (moved > 0.01).mean() > 0.8
    # The same as of its colours alone.
    alone = type(layer).from_config({**layer.get_config(), "seed": 7})(images[..., :3])
    beside = type(layer).from_config({**layer.get_config(), "seed": 7})(images)
    np.testing.assert_allclose(beside[..., :3], alone, atol=1e-6)


def test_a_run_on_rgba_draws_exports_and_scores(tmp_path):
    path = folder_of(tmp_path / "icons", [disc((20 * n, 30, 200), (0, 0, 0), 16) for n in range(8)])
    run_dir = tmp_path / "run"
    runs.train(**TINY, dataset=path, channels=4, image_size="12x8", fit="pad", run_dir=run_dir)
    assert json.loads((run_dir / "run.json").read_text())["data"]["image_shape"] == [8, 12, 4]
    runs.generate(run=run_dir, num_images=3, out=tmp_path / "single")
    with Image.open(tmp_path / "single" / "0.png") as picture:
        assert picture.mode == "RGBA" and picture.size == (12, 8)
    runs.generate(run=run_dir, grid="2x2", scale=1, out=tmp_path / "grid.png")
    runs.generate(run=run_dir, grid="2x2", scale=1, frames=2, out=tmp_path / "walk.gif")
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.mode == "RGB" and grid.size == (2 * 14 + 2, 2 * 10 + 2)
    runs.generate(run=run_dir, num_images=3, out=tmp_path / "some.npy")
    assert np.load(tmp_path / "some.npy").shape == (3, 8, 12, 4)
    asked = {"images": tmp_path / "some.npy", "out": tmp_path / "score.json", "dataset": path, "split": "train"}
    assert runs.evaluate(**asked, channels=4, image_size="12x8")
    assert runs.evaluate(run=run_dir, report=tmp_path / "report").receipt["scores"]
    card = (run_dir / "saved_model" / "README.md").read_text()
    assert "Draws images of shape (8, 12, 4) (RGBA) from" in card
    loaded = tf.saved_model.load(str(run_dir / "saved_model" / "1"))
    drawn = loaded.signatures["sample"](num_images=tf.constant(2), seed=tf.constant(7, tf.int64))["images"]
    assert drawn.shape == (2, 8, 12, 4)


def test_extractors_say_that_they_take_no_opacity():
    extractor = load_extractor("mnist_cnn")
    with pytest.raises(ValueError, match=r"takes images of shape \(28, 28, 1\). Received: \(28, 28, 4\)"):
        extractor.require((28, 28, 4))


# Bands.


@pytest.mark.parametrize("bands", [2, 5, 8])
@pytest.mark.parametrize("first", [False, True])
def test_arrays_of_bands_stay_as_they_are(tmp_path, bands, first):
    images = RNG.integers(0, 256, (6, 10, 12, bands)).astype(np.uint8)
    np.save(tmp_path / "a.npy", np.moveaxis(images, 3, 1) if first else images)
    opened = tg.data.open_images(str(tmp_path / "a.npy"))
    assert opened.image_shape == (10, 12, bands)
    assert f"Its images have {bands} channels, none of them colours." in opened.notes
    np.testing.assert_array_equal(levels(tmp_path / "a.npy"), images)
    resized = levels(tmp_path / "a.npy", image_size=(5, 6))
    plane = Image.fromarray(images[0, ..., 1]).resize((6, 5), Image.Resampling.LANCZOS)
    assert np.abs(resized[0, ..., 1].astype(int) - np.asarray(plane)).max() <= 1
    with pytest.raises(DataError, match=rf"have {bands} channels, which become no 3. Leave `channels` out"):
        tg.data.open_images(str(tmp_path / "a.npy"), channels=3)


def test_more_bands_are_refused_with_advice(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 16, 16, 9), np.uint8))
    with pytest.raises(DataError, match=r"of 1 to 8 channels, none of them 0. Choose at most 8 channels"):
        tg.data.open_images(str(tmp_path / "a.npy"))
    np.save(tmp_path / "b.npy", np.zeros((3, 16, 16, 4), np.uint8))
    with pytest.raises(DataError, match=r"have 4 channels. Translators take 1 or 3"):
        tg.data.open_pairs(str(tmp_path / "b.npy"), degrade="grey")


def test_bands_are_shown_side_by_side_and_written_as_arrays(tmp_path):
    modality = Images((4, 6, 3 + 2))
    image = RNG.integers(0, 256, (4, 6, 5)).astype(np.uint8)
    shown = viewable(image[None])[0]
    assert shown.shape == (4, 5 * 7 - 1, 1)
    for band in range(5):
        np.testing.assert_array_equal(shown[:, 7 * band : 7 * band + 6, 0], image[..., band])
    assert (shown[:, 6::7] == 255).all()
    assert modality.ending == ".npy"
    modality.write(tmp_path / "a.npy", modality.encode(image))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), image)
    np.testing.assert_array_equal(modality.read(tmp_path / "a.npy"), image)
    assert modality.show(modality.encode(image[None])).shape == (4 + 4, 34 + 4, 1)
    assert tg.pictures.grid(image[None] / 255.0, border=0).shape == (4, 34, 1)


def test_a_run_on_bands_draws_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", images=RNG.integers(0, 256, (8, 8, 8, 2)).astype(np.uint8))
    run_dir = tmp_path / "run"
    runs.train(**TINY, dataset=str(tmp_path / "a.npz"), augment="AdaptiveAugment(initial_p=0.5)", run_dir=run_dir)
    runs.generate(run=run_dir, num_images=3, out=tmp_path / "single")
    assert np.load(tmp_path / "single" / "0.npy").shape == (8, 8, 2)
    assert "(2 bands)" in (run_dir / "saved_model" / "README.md").read_text()


# TIFFs of bands.


def tiff(values, planar=False, kind=1, extra=()):
    """Writes a TIFF by hand: uncompressed, `(height, width, samples)` of 8 or 16 bits."""
    height, width, samples = values.shape
    bits = 8 * values.dtype.itemsize
    stored = np.moveaxis(values, -1, 0) if planar else values
    data = np.ascontiguousarray(stored).tobytes()
    planes = samples if planar else 1
    start = 8 + len(data)
    more, entries = b"", []

    def entry(tag, size, *numbers):
        nonlocal more
        packed = struct.pack(f"<{len(numbers)}{'HI'[size == 4]}", *numbers)
        if len(packed) > 4:
            position = start + len(more)
            more += packed + b"\0" * (len(packed) % 2)
            packed = struct.pack("<I", position)
        entries.append(struct.pack("<HHI", tag, 3 if size == 2 else 4, len(numbers)) + packed.ljust(4, b"\0"))

    entry(256, 4, width)
    entry(257, 4, height)
    entry(258, 2, *[bits] * samples)
    entry(259, 2, 1)
    entry(262, 2, kind)
    entry(273, 4, *[8 + plane * (len(data) // planes) for plane in range(planes)])
    entry(277, 2, samples)
    entry(278, 4, height)
    entry(279, 4, *[len(data) // planes] * planes)
    entry(284, 2, 2 if planar else 1)
    if extra:
        entry(338, 2, *extra)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", start + len(more)) + data + more + directory


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("bands", [2, 4, 5, 7])
def test_tiffs_of_bands_are_read_as_they_are(bands, planar, dtype):
    pytest.importorskip("tifffile")
    values = RNG.integers(0, np.iinfo(dtype).max + 1, (6, 9, bands)).astype(dtype)
    kind = 2 if bands == 4 else 1
    data = tiff(values, planar, kind, (0,) * (bands - (3 if kind == 2 else 1)))
    found = read_image(data, bands, depth=8 * values.dtype.itemsize)
    assert found.dtype == dtype
    if bands == 4:  # red, green, blue and what has no name are taken for RGBA where four channels are asked for
        found, values = found[values[..., 3] > 0], values[values[..., 3] > 0]
    np.testing.assert_array_equal(found, values)


def test_a_folder_of_tiffs_has_the_channels_of_their_bands(tmp_path):
    pytest.importorskip("tifffile")
    values = RNG.integers(0, 65536, (4, 8, 8, 7)).astype(np.uint16)
    values[0, 0, 0], values[0, 0, 1] = 0, 65535
    for number, one in enumerate(values):
        (tmp_path / f"{number}.tif").write_bytes(tiff(one, extra=(0,) * 6))
    opened = tg.data.open_images(str(tmp_path))
    assert opened.image_shape == (8, 8, 7)
    np.testing.assert_array_equal(levels(tmp_path), np.round(values / 257.0))
    header = read_header(tmp_path / "0.tif")
    assert (header.height, header.width, header.bands, header.bits) == (8, 8, 7, 16)
    np.testing.assert_array_equal(read_values(tmp_path / "0.tif"), values[0])
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "9.png")
    with pytest.raises(DataError, match=r"differ in channels: 7 \(4\), colours \(1\)"):
        tg.data.open_images(str(tmp_path))


def test_without_tifffile_a_line_says_what_to_install(tmp_path, monkeypatch):
    imported = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith("tifffile"):
            raise ImportError(name)
        return imported(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "a.tif").write_bytes(tiff(np.zeros((8, 8, 7), np.uint8), extra=(0,) * 6))
    with pytest.raises(DataError, match=r"a\.tif: a TIFF of several bands.*pip install 'tfgan_app\[tiff\]'"):
        tg.data.open_images(str(tmp_path))
    # What Pillow reads is read as before.
    assert read_image(tiff(np.full((8, 8, 5), 9, np.uint8), kind=2, extra=(0, 0)), 3).shape == (8, 8, 3)


def test_bands_become_no_colours(tmp_path):
    pytest.importorskip("tifffile")
    (tmp_path / "a.tif").write_bytes(tiff(np.zeros((8, 8, 7), np.uint8), extra=(0,) * 6))
    with pytest.raises(DataError, match=r"it has 7 channel\(s\), which become no 3: give `channels=7`"):
        tg.data.open_images(str(tmp_path), channels=3)


@pytest.mark.parametrize("channels", [0, 9, -1])
def test_channels_that_no_image_has_are_refused(tmp_path, channels):
    path = folder_of(tmp_path / "a", [np.zeros((4, 4), np.uint8)])
    with pytest.raises(DataError, match=rf"`channels={channels}` must be 1 \(greyscale\), 3 \(RGB\), 4 \(RGBA\), or 2"):
        tg.data.open_images(path, channels=channels)
    with pytest.raises(
        UsageError, match=rf"`channels={channels}` must be 1 \(greyscale\), 3 \(RGB\), 4 \(RGBA\), or 2"
    ):
        runs.Settings(channels=channels)
    with pytest.raises(DataError, match=r"a.*: it has 1 channel\(s\), which become no 5"):
        tg.data.open_images(path, channels=5)
