"""Pictures of any size from files to files: tfgan_app.runs.translating, and the PNGs that it writes."""

import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageCms

from tfgan_app import runs
from tfgan_app.base.errors import DataError, UsageError
from tfgan_app.base.png import write_png
from tfgan_app.modalities import Images
from tfgan_app.modalities.image_files import read_picture
from tfgan_app.runs import generation, translating
from tfgan_app.translator import Translator

RNG = np.random.default_rng(0)


class Fake(Translator):
    """Returns the first channels of its source, enlarged; sources that are shown to it are kept."""

    def __init__(self, channels=3, scale=1, made=3, ways=("translate",), num_classes=None, class_names=None):
        self.source, self.target = Images((8, 8, channels)), Images((8 * scale, 8 * scale, made))
        self.scale, self.radius, self.ways = scale, 0, ways
        self.num_classes, self.class_names = num_classes, class_names
        self.seen = []

    def forward(self, sources, way="translate", seed=None, labels=None):
        self.seen.append(np.asarray(sources)[0])
        made = self.modality_of(way, "target").shape[-1]
        x = tf.repeat(tf.repeat(sources, self.scale, 1), self.scale, 2)
        x = x[..., :made] if x.shape[-1] >= made else tf.repeat(x[..., :1], made, -1)
        return -x if way == "translate_back" else x


def picture(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def translate(monkeypatch, translator, source, out, **settings):
    monkeypatch.setattr(generation, "open_trained", lambda *asked: translator)
    return runs.generate(saved_model="any", input=source, out=out, **settings)


def opened(path):
    return np.asarray(Image.open(path))


# PNGs in bands.


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pngs_in_bands_hold_what_is_written(channels):
    for height, width, cuts in ((1, 1, []), (5, 3, [1]), (90, 70, [40, 41, 64])):
        levels = np.cumsum(picture(height, width, channels), 1).astype(np.uint8)
        levels[height // 2 :] = np.linspace(0, 255, width, dtype=np.uint8)[:, None]
        stream = io.BytesIO()
        write_png(stream, np.split(levels, cuts), height, width, b"any profile")
        with Image.open(stream) as image:
            image.load()
            assert image.info["icc_profile"] == b"any profile"
            np.testing.assert_array_equal(np.asarray(image).reshape(levels.shape), levels)


def test_pngs_are_about_as_small_as_pillows():
    y, x = np.mgrid[:400, :400]
    levels = np.stack([100 + 50 * np.sin(x / 30), 100 + 50 * np.cos(y / 20), (x + y) / 4], -1)
    levels = np.round(levels + RNG.normal(0, 2, levels.shape)).clip(0, 255).astype(np.uint8)
    own, pillow = io.BytesIO(), io.BytesIO()
    write_png(own, [levels], 400, 400)
    Image.fromarray(levels).save(pillow, "PNG")
    assert own.tell() < 1.1 * pillow.tell() < 0.8 * levels.size


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ([np.zeros((2, 3, 3), np.uint8)], r"4 rows together. Received: 2"),
        ([np.zeros((4, 2, 3), np.uint8)], r"uint8 \(rows, 3, 3\)\. Received: uint8 \(4, 2, 3\)"),
        ([np.zeros((4, 3, 3))], r"Received: float64"),
    ],
)
def test_pngs_of_other_bands_are_refused(bands, message):
    with pytest.raises(ValueError, match=message):
        write_png(io.BytesIO(), bands, 4, 3)


# What a picture has besides colours.


def test_a_picture_is_read_with_opacity_and_profile(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colours = picture(6, 9, 4)
    found = read_picture(save(tmp_path / "a.png", colours, icc_profile=profile))
    np.testing.assert_array_equal(np.concatenate([found.colours, found.opacity], -1), colours)
    assert found.bits == 8 and found.profile == profile
    # A profile of other colours than those that are handed on.
    Image.new("CMYK", (3, 3)).save(tmp_path / "b.jpg", icc_profile=profile[:16] + b"CMYK" + profile[20:])
    assert read_picture(tmp_path / "b.jpg").profile is None
    colours[..., 3] = 255
    assert read_picture(save(tmp_path / "c.png", colours)).opacity is None


# Names, folders, going on.


def test_a_folder_keeps_its_names(tmp_path, monkeypatch):
    names = ["a.png", "b/a.jpg", "b/a.PNG", "b/ü (1).webp", "c/d/e.tiff"]
    for seed, name in enumerate(names):
        save(tmp_path / "in" / name, picture(5 + seed, 7, 3, seed=seed))
    (tmp_path / "in" / "notes.txt").write_text("no picture", encoding="utf-8")
    lines = []
    monkeypatch.setattr(generation, "open_trained", lambda *asked: Fake(scale=2))
    found = runs.generate(saved_model="any", input=tmp_path / "in", out=tmp_path / "out", progress=lines.append)
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert written == {"a.png", "b/a.jpg.png", "b/a.PNG.png", "b/ü (1).png", "c/d/e.png"}
    assert found == runs.Translated(tmp_path / "out", 5)
    assert lines[-1] == "5/5 pictures, 100%, 0:00 left"
    expected = np.repeat(np.repeat(opened(tmp_path / "in" / "c/d/e.tiff"), 2, 0), 2, 1)
    np.testing.assert_array_equal(opened(tmp_path / "out" / "c/d/e.png"), expected)


def test_names_that_are_made_alike_stay_apart(tmp_path, monkeypatch):
    for seed, name in enumerate(["a.jpg", "a.png", "a.jpg.png", "A.webp"]):
        save(tmp_path / "in" / name, picture(5, 5, 3, seed=seed))
    found = translate(monkeypatch, Fake(), tmp_path / "in", tmp_path / "out")
    written = [path.name.casefold() for path in (tmp_path / "out").glob("*.png")]
    assert found.num_images == 4 == len(set(written))


def test_an_archive_is_read_without_unpacking_it_and_leads_nowhere_else(tmp_path, monkeypatch):
    content = save(tmp_path / "a.png", picture(4, 6, 3)).read_bytes()
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("x/a.png", content)
        archive.writestr("../../b.png", content)
    found = translate(monkeypatch, Fake(), tmp_path / "in.zip", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*.png")] == ["a.png"]
    assert found.num_images == 1
    assert not (tmp_path.parent / "b.png").exists()


def test_it_goes_on_where_it_was_broken_off(tmp_path, monkeypatch):
    for index in range(4):
        save(tmp_path / "in" / f"{index}.png", picture(6, 6, 3, seed=index))
    translator, bands = Fake(), Fake.bands

    def failing(self, image, **options):
        if len(self.seen) == 2:
            raise KeyboardInterrupt
        return bands(self, image, **options)

    monkeypatch.setattr(Fake, "bands", failing)
    with pytest.raises(KeyboardInterrupt):
        translate(monkeypatch, translator, tmp_path / "in", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png", translating.RECORD]
    monkeypatch.setattr(Fake, "bands", bands)
    found = translate(monkeypatch, Fake(), tmp_path / "in", tmp_path / "out")
    assert (found.num_images, found.kept) == (2, 2)
    assert found.summary() == f"2 pictures in {tmp_path / 'out'}, 2 there before."
    # Once more there is nothing to do.
    assert translate(monkeypatch, Fake(), tmp_path / "in", tmp_path / "out").kept == 4
    # Another model's would pass for this one's.
    with pytest.raises(UsageError, match=r"holds files made with another `model`\. Give another, or empty it"):
        translate(monkeypatch, Fake(scale=2), tmp_path / "in", tmp_path / "out")
    with pytest.raises(UsageError, match="made with another `seed`"):
        translate(monkeypatch, Fake(), tmp_path / "in", tmp_path / "out", seed=1)


def test_a_picture_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    save(tmp_path / "a.png", picture(60, 6, 3))
    translator = Fake()

    def broken(image, **options):
        yield np.zeros((4, 6, 3), np.float32)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(translator, "bands", broken)
    with pytest.raises(OSError, match="No space"):
        translate(monkeypatch, translator, tmp_path / "a.png", tmp_path / "out" / "a.png")
    assert list((tmp_path / "out").iterdir()) == []


def test_damaged_pictures_are_left_out_and_named(tmp_path, monkeypatch):
    whole = save(tmp_path / "in" / "a.png", picture(60, 60, 3)).read_bytes()
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    (tmp_path / "in" / "c.png").write_bytes(whole[: len(whole) // 2])
    found = translate(monkeypatch, Fake(), tmp_path / "in", tmp_path / "out")
    assert found.num_images == 1 and set(found.left_out) == {"b.png", "c.png"}
    text = found.summary()
    assert text.startswith(f"1 picture in {tmp_path / 'out'}; left out 2:\n  b.png: ") and "c.png: " in text
    for name in ("b.png", "c.png"):
        with pytest.raises(DataError, match=rf"cannot be translated: {name}: "):
            translate(monkeypatch, Fake(), tmp_path / "in" / name, tmp_path / "one.png")
    (tmp_path / "in" / "a.png").unlink()
    with pytest.raises(DataError, match=r"none of 2 pictures, as [bc]\.png: "):
        translate(monkeypatch, Fake(), tmp_path / "in", tmp_path / "other")


# Colours, opacity, depth, turns.


def test_opacity_is_enlarged_along(tmp_path, monkeypatch):
    levels = picture(30, 20, 4)
    levels[:10, :10] = (255, 0, 255, 0)  # colours that nobody sees
    levels[10:] |= np.array([0, 0, 0, 128], np.uint8)
    save(tmp_path / "a.png", levels)
    translator = Fake(scale=2)
    translate(monkeypatch, translator, tmp_path / "a.png", tmp_path / "b.png", tile=8)
    found = opened(tmp_path / "b.png")
    expected = Image.fromarray(levels[..., 3]).resize((40, 60), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found[..., 3], np.asarray(expected))
    seen = np.repeat(np.repeat(levels[..., 3:] > 0, 2, 0), 2, 1)
    colours = np.repeat(np.repeat(levels[..., :3], 2, 0), 2, 1)
    np.testing.assert_array_equal(np.where(seen, found[..., :3], 0), np.where(seen, colours, 0))
    hidden = found[:20, :20, :3].reshape(-1, 3)
    assert not (hidden == (255, 0, 255)).all(1).any()
    # All that nobody sees has to stay something.
    save(tmp_path / "c.png", np.zeros((3, 3, 4), np.uint8))
    translate(monkeypatch, Fake(), tmp_path / "c.png", tmp_path / "d.png")
    assert not opened(tmp_path / "d.png").any()


def test_grey_stays_grey_where_colours_are_kept(tmp_path, monkeypatch):
    grey = picture(5, 6)
    save(tmp_path / "a.png", grey)
    translate(monkeypatch, Fake(scale=2), tmp_path / "a.png", tmp_path / "b.png")
    np.testing.assert_array_equal(opened(tmp_path / "b.png"), np.repeat(np.repeat(grey, 2, 0), 2, 1))
    # What paints has its colours kept.
    translate(monkeypatch, Fake(), tmp_path / "a.png", tmp_path / "c.png")
    assert opened(tmp_path / "c.png").shape == (5, 6, 3)
    with_opacity = np.stack([grey, grey | 1], -1)
    save(tmp_path / "d.png", with_opacity)
    translate(monkeypatch, Fake(scale=2), tmp_path / "d.png", tmp_path / "e.png")
    assert opened(tmp_path / "e.png").shape == (10, 12, 2)


def test_colours_that_a_network_does_not_take_are_said_once(tmp_path, monkeypatch, caplog):
    for index in range(3):
        save(tmp_path / "in" / f"{index}.png", picture(5, 6, 3, seed=index))
    translator = Fake(channels=1)
    translate(monkeypatch, translator, tmp_path / "in", tmp_path / "out")
    assert [image.shape for image in translator.seen] == [(5, 6, 1)] * 3
    told = [record.getMessage() for record in caplog.records if "taken as grey" in record.getMessage()]
    assert told == [
        "0.png: its colours are taken as grey, which is all that the model takes; so it is with others like it."
    ]


@pytest.mark.parametrize("ending", ["gif", "webp", "tif", "png"])
def test_the_first_of_several_pictures_is_taken_and_said(ending, tmp_path, monkeypatch, caplog):
    frames = [Image.fromarray(np.full((5, 6, 3), level, np.uint8)) for level in (0, 255)]
    options = {} if ending == "tif" else {"lossless": True} if ending == "webp" else {"duration": 40}
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:], **options)
    save(tmp_path / "one.png", picture(5, 6, 3))
    translate(monkeypatch, Fake(), tmp_path / f"a.{ending}", tmp_path / "b.png")
    assert not opened(tmp_path / "b.png").any()
    assert caplog.text.count("of the pictures in it the first one alone is translated") == 1
    translate(monkeypatch, Fake(), tmp_path / "one.png", tmp_path / "c.png")
    assert caplog.text.count("of the pictures in it") == 1


def test_sixteen_bits_become_eight(tmp_path, monkeypatch, caplog):
    values = np.linspace(0, 65535, 30).reshape(5, 6).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    translate(monkeypatch, Fake(scale=2), tmp_path / "a.png", tmp_path / "b.png")
    np.testing.assert_array_equal(opened(tmp_path / "b.png")[::2, ::2], np.round(values / 257))
    assert "its 16 bits are scaled to 8" in caplog.text


def test_modes_turns_and_profiles(tmp_path, monkeypatch):
    levels, exif = picture(4, 7, 3), Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    save(tmp_path / "in" / "turned.png", levels, exif=exif, icc_profile=profile)
    Image.fromarray(levels).quantize(4).save(tmp_path / "in" / "palette.gif")
    Image.fromarray(levels).convert("CMYK").save(tmp_path / "in" / "print.jpg")
    translate(monkeypatch, Fake(), tmp_path / "in", tmp_path / "out")
    np.testing.assert_array_equal(opened(tmp_path / "out" / "turned.png"), np.rot90(levels, -1))
    with Image.open(tmp_path / "out" / "turned.png") as image:
        assert image.info["icc_profile"] == profile and not image.getexif()
    for name in ("palette", "print"):
        assert opened(tmp_path / "out" / f"{name}.png").shape == (4, 7, 3)
    # Of colours that the source had not, its profile says nothing.
    translate(monkeypatch, Fake(channels=1), tmp_path / "in" / "turned.png", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert "icc_profile" not in image.info


def test_the_smallest_picture(tmp_path, monkeypatch):
    save(tmp_path / "a.png", picture(1, 1, 3))
    translate(monkeypatch, Fake(scale=2), tmp_path / "a.png", tmp_path / "b.png")
    assert opened(tmp_path / "b.png").shape == (2, 2, 3)


def test_a_photograph_of_twelve_megapixels(tmp_path, monkeypatch):
    height, width = 3024, 4032
    levels = np.empty((height, width, 3), np.uint8)
    levels[...] = np.arange(width, dtype=np.uint16)[:, None] // 16
    levels[..., 1] = (np.arange(height) // 12)[:, None]
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a.jpg", levels, exif=exif)
    del levels
    tracemalloc.start()
    translate(monkeypatch, Fake(), tmp_path / "a.jpg", tmp_path / "b.png")
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    # The picture has 35 MiB, and twice that while it is turned. As float32 source and result would have 280 more.
    assert peak < 200, peak
    with Image.open(tmp_path / "b.png") as image:
        assert image.size == (height, width)


# Holes.


def test_transparent_is_a_hole(tmp_path, monkeypatch):
    levels = picture(6, 8, 4)
    levels[..., 3] = 255
    levels[2:4, 2:5, 3] = 0
    levels[0, 0, 3] = 252  # of formats that lose
    save(tmp_path / "a.png", levels)
    translator = Fake(channels=4)
    translate(monkeypatch, translator, tmp_path / "a.png", tmp_path / "b.png")
    expected = np.ones((6, 8))
    expected[2:4, 2:5] = -1
    np.testing.assert_array_equal(translator.seen[0][..., 3], expected)
    assert opened(tmp_path / "b.png").shape == (6, 8, 3)


def test_a_mask_is_white_where_holes_are(tmp_path, monkeypatch):
    save(tmp_path / "in" / "x" / "a.jpg", picture(6, 8, 3))
    mask = np.zeros((6, 8), np.uint8)
    mask[1, 2:5] = 255
    save(tmp_path / "masks" / "x" / "a.png", mask)
    expected = np.where(mask, -1.0, 1.0)
    for out, masks in (("one", tmp_path / "masks"), ("two", tmp_path / "masks" / "x" / "a.png")):
        translator = Fake(channels=4)
        translate(monkeypatch, translator, tmp_path / "in", tmp_path / out, mask=masks)
        np.testing.assert_array_equal(translator.seen[0][..., 3], expected)


def test_masks_that_do_not_fit_have_their_message(tmp_path, monkeypatch):
    source = save(tmp_path / "a.png", picture(6, 8, 3))

    def refused(message, mask=None, given=source):
        path = None if mask is None else save(tmp_path / "mask.png", mask)
        with pytest.raises(DataError, match=message):
            translate(monkeypatch, Fake(channels=4), given, tmp_path / "b.png", mask=path)

    refused("it has no hole to fill: none of it is transparent. Make it so there, or give .* as `mask`")
    refused("it has no hole to fill: its `mask` is black", np.zeros((6, 8), np.uint8))
    refused("all of it is a hole", np.full((6, 8), 255, np.uint8))
    refused("it has 8x6 pixels and its `mask` 6x8. Expected as many", np.zeros((8, 6), np.uint8))
    refused("all of it is a hole", given=save(tmp_path / "c.png", np.zeros((3, 3, 4), np.uint8)))
    (tmp_path / "masks").mkdir()
    save(tmp_path / "masks" / "other.png", np.zeros((6, 8), np.uint8))
    with pytest.raises(DataError, match="has no picture of its name"):
        translate(monkeypatch, Fake(channels=4), source, tmp_path / "b.png", mask=tmp_path / "masks")
    with pytest.raises(UsageError, match=r"`mask=m`: this model fills no holes; its sources have 3 channels"):
        translate(monkeypatch, Fake(), source, tmp_path / "b.png", mask="m")


# What does not go together.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid": "2x2"}, "`grid=2x2` is for pictures that are drawn: it does not go with `input`"),
        ({"num_images": 4}, "`num_images=4` is for pictures that are drawn"),
        ({"frames": 4}, "`frames=4` is for pictures that are drawn"),
        ({"truncation": 0.5}, "`truncation=0.5` is for pictures that are drawn"),
        ({"scale": 4}, "`scale=4` is for pictures that are drawn"),
        ({"out": "grid.png"}, "`input` needs `out`, which says where to"),
        ({"out": "b.jpg"}, "`out=b.jpg` must end in .png or name a folder"),
        ({"way": "translate_back"}, "`way=translate_back`: this model goes one way only, translate"),
        ({"labels": (1,)}, "`labels=1`: this model takes no labels"),
        ({"dropout": False}, "`dropout=False`: this model has none that it keeps"),
        ({"tile": -1}, "`tile=-1` must be an integer of at least 0"),
    ],
)
def test_settings_that_do_not_go_together(settings, message, tmp_path, monkeypatch):
    source = save(tmp_path / "a.png", picture(4, 4, 3))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        translate(monkeypatch, Fake(), source, **{"out": "b.png", **settings})
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_what_is_translated_needs_an_input(monkeypatch):
    for name, value in (("mask", "m.png"), ("tile", 64), ("way", "translate_back")):
        with pytest.raises(UsageError, match=f"`{name}={value}` is for pictures that are translated"):
            runs.generate(saved_model="any", **{name: value})
    monkeypatch.setattr(generation, "open_trained", lambda *asked: Fake())
    with pytest.raises(UsageError, match="makes pictures of pictures: give them as `input`"):
        runs.generate(saved_model="any", out="never.png")
    monkeypatch.setattr(generation, "open_trained", lambda *asked: object())
    with pytest.raises(UsageError, match=r"`input=any.png`: this GAN draws from latents"):
        runs.generate(saved_model="any", input="any.png", out="never.png")


def test_places_that_cannot_be(tmp_path, monkeypatch):
    source = save(tmp_path / "in" / "a.png", picture(4, 4, 3))
    with pytest.raises(DataError, match=r"`input=.*nowhere` is neither a picture nor a folder or .zip"):
        translate(monkeypatch, Fake(), tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(UsageError, match=r"is one picture, and `input` many. Name a folder"):
        translate(monkeypatch, Fake(), tmp_path / "in", tmp_path / "b.png")
    with pytest.raises(UsageError, match="lies in `input`, whose pictures it would be among the next time"):
        translate(monkeypatch, Fake(), tmp_path / "in", tmp_path / "in" / "out")
    with pytest.raises(UsageError, match="would take the place of the picture itself"):
        translate(monkeypatch, Fake(), source, tmp_path / "in")
    with pytest.raises(UsageError, match="would take the place of the picture itself"):
        translate(monkeypatch, Fake(), source, source)
    save(tmp_path / "full" / "b.png", picture(4, 4, 3))
    with pytest.raises(UsageError, match=r"is a folder that holds files already. Give another, or empty it"):
        translate(monkeypatch, Fake(), tmp_path / "in", tmp_path / "full")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"`input=.*empty` holds no pictures"):
        translate(monkeypatch, Fake(), tmp_path / "empty", tmp_path / "out")
    with pytest.raises(UsageError, match=r"goes with models of pictures, which have 1 to 4 channels. This one takes 6"):
        translate(monkeypatch, Fake(channels=6), source, tmp_path / "b.png")


def test_a_class_is_named_where_there_are_some(tmp_path, monkeypatch):
    source = save(tmp_path / "a.png", picture(4, 4, 3))
    translator = Fake(num_classes=2, class_names=("young", "old"))
    with pytest.raises(UsageError, match="`labels` must name one class, that pictures are translated to"):
        translate(monkeypatch, translator, source, tmp_path / "b.png")
    with pytest.raises(UsageError, match=r"`labels`: there is no class 'ole'. Did you mean 'old'"):
        translate(monkeypatch, translator, source, tmp_path / "b.png", labels=["ole"])
    assert translate(monkeypatch, translator, source, tmp_path / "b.png", labels=["old"]).num_images == 1


def test_attributes_are_named_together(tmp_path, monkeypatch):
    source = save(tmp_path / "a.png", picture(4, 4, 3))
    translator, seen = Fake(num_classes=3, class_names=("blond", "young", "glasses")), []
    translator.multi_label = True
    monkeypatch.setattr(Fake, "forward", lambda self, sources, way, labels: seen.append(np.asarray(labels)) or sources)
    translate(monkeypatch, translator, source, tmp_path / "b.png", labels=["Glasses", "blond"])
    np.testing.assert_array_equal(seen, [[[1, 0, 1]]])
    with pytest.raises(UsageError, match="`labels` must name the attributes that pictures are translated to"):
        translate(monkeypatch, translator, source, tmp_path / "b.png")


def test_the_way_back_takes_and_makes_the_other_side(tmp_path, monkeypatch):
    source = save(tmp_path / "a.png", picture(4, 4))
    translator = Fake(channels=3, made=1, ways=("translate", "translate_back"))
    translate(monkeypatch, translator, source, tmp_path / "b.png", way="translate_back")
    assert translator.seen[0].shape == (4, 4, 1) and opened(tmp_path / "b.png").shape == (4, 4, 3)
    np.testing.assert_array_equal(opened(tmp_path / "b.png")[..., 0], 255 - opened(source))


def test_the_record_tells_what_made_a_folder(tmp_path, monkeypatch):
    save(tmp_path / "in" / "a.png", picture(4, 4, 3))
    translate(monkeypatch, Fake(scale=2), tmp_path / "in", tmp_path / "out", seed=5)
    record = json.loads((tmp_path / "out" / translating.RECORD).read_text(encoding="utf-8"))
    assert record["seed"] == 5 and record["model"]["scale"] == 2
