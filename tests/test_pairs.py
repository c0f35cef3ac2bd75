"""Pairs and sides: which pictures belong together, what is cut out of them, and what a user is told."""

import contextlib
import json
import math
import shutil
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from absl import logging
from PIL import Image

from tfgan_app import data
from tfgan_app.data import named, partners, records


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path, **options)
    return path


def flat(level, height=8, width=8):
    return np.full((height, width), level, np.uint8)


def levels(pairs):
    """The levels of the sources and of the targets of a set of flat pictures, in its order."""
    sides = [data.to_uint8(np.concatenate(side)).numpy() for side in zip(*pairs.pairs(64), strict=True)]
    return list(zip(*(side[:, 0, 0, 0].tolist() for side in sides), strict=True))


def every(dataset, count=-1):
    """All sources and all targets of a dataset of batches, as uint8."""
    batches = [tuple(map(np.asarray, batch)) for batch in dataset.take(count)]
    return [data.to_uint8(np.concatenate(side)).numpy() for side in zip(*batches, strict=True)]


class Halve:
    """A stand-in for a degradation: every second pixel, a random level brighter."""

    scale, baseline_name = 2, "nothing"

    def __call__(self, image, rng):
        return (image[::2, ::2] + rng.integers(0, 100, dtype=np.uint8)).astype(np.uint8)

    def channels(self, channels):
        return channels

    def __str__(self):
        return "halve"


@pytest.fixture
def streamed(monkeypatch):
    """Makes every set too large for memory."""
    monkeypatch.setattr(records, "MEMORY_LIMIT", 0)


@pytest.fixture
def noise(tmp_path):
    """A folder of 6 pairs of different sizes; each target is the negative of its source."""
    random = np.random.RandomState(0)
    for number in range(6):
        source = random.randint(0, 256, (20 + number, 30 - number, 3))
        save(tmp_path / "noise" / "A" / f"{number}.png", source)
        save(tmp_path / "noise" / "B" / f"{number}.png", 255 - source)
    return str(tmp_path / "noise")


# ------------------------------------------------------------------------------------------- which belong together

LAYOUTS = {
    "folders": ("A/{n}.png", "B/{n}.png"),
    "words": ("source/{n}.png", "target/{n}.png"),
    "endings": ("input/{n}.png", "output/{n}.bmp"),
    "classes": ("A/dog/{n}.png", "B/dog/{n}.png"),
    "splits above": ("train/A/{n}.png", "train/B/{n}.png", "test"),
    "splits below": ("A/train/{n}.png", "B/train/{n}.png", "test"),
    "splits within": ("trainA/{n}.png", "trainB/{n}.png", "test"),
    "a wrapping": ("my set/data/lr/{n}.png", "my set/data/hr/{n}.png"),
    "plain beside masks": ("images/{n}.png", "masks/{n}.png"),
    "plain beside edges": ("edges/{n}.png", "photos/{n}.png"),
    "labels of tools": ("images/train/{n}.png", "labels/train/{n}.png", "val"),
    "masks below": ("{n}.png", "masks/{n}.png"),
    "masks and more": ("images/{n}.png", "masks/{n}.png", "", "notes/{n}.png"),
    "DIV2K": ("DIV2K_train_LR_bicubic/X4/{n:04}x4.png", "DIV2K_train_HR/{n:04}.png", "valid"),
    "GoPro": (
        "train/GOPR01_{n}/blur/000{n}.png",
        "train/GOPR01_{n}/sharp/000{n}.png",
        "test",
        "train/a/blur_gamma/{n}.png",
    ),
    "LOL": ("our485/low/{n}.png", "our485/high/{n}.png"),
    "SIDD": ("Data/{n}/NOISY_SRGB_{n}.PNG", "Data/{n}/GT_SRGB_{n}.PNG"),
    "Carvana": ("train/c{n}_01.jpg", "train_masks/c{n}_01_mask.png"),
    "ISIC": (
        "ISIC2018_Task1-2_Training_Input/ISIC_{n:07}.jpg",
        "ISIC2018_Task1_Training_GroundTruth/ISIC_{n:07}_segmentation.png",
    ),
    "suffixes": ("{n}_A.png", "{n}_B.png"),
    "a suffix": ("{n}.png", "{n}_mask.png"),
    "prefixes": ("train/input_{n}.png", "train/target_{n}.png", "test"),
    "shrunk beside": ("{n:04}x4.png", "{n:04}.png"),
    "suffixes in folders": ("A/{n}_A.png", "B/{n}_B.png"),
    "zeros": ("A/{n:03}.png", "B/{n}.png"),
    "other words": ("images/img{n}.png", "masks/mask{n}.png"),
    "no words": ("day/{n}.png", "night/{n}.png"),
    "copies": ("A/photo ({n}).jpg", "B/photo ({n}).PNG"),
    "editors": ("A/Größe {n}.png", "B/Gro\u0308ße {n} - Copy.png"),
    "copies of": ("A/picture {n}.png", "B/Copy of picture {n}.png"),
    "case": ("A/IMG_{n}.JPG", "B/img_{n}.jpg"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_pairs(tmp_path, layout):
    source, target, test, other = (*LAYOUTS[layout], "", "")[:4]
    for split in ["train", *filter(None, [test])]:
        for number in range(1, 5):
            shift = 50 * (split != "train")
            for pattern, level in ((source, 10), (target, 110), (other, 0)):
                if pattern:
                    name = pattern.format(n=number).replace("train", split)
                    array = flat(level + number + shift)
                    save(tmp_path / "set" / name, array, **({"quality": 100} if name.lower().endswith("jpg") else {}))
    opened = data.open_pairs(str(tmp_path / "set"))
    assert levels(opened) == [(10 + number, 110 + number) for number in range(1, 5)]
    assert opened.paired and opened.skipped == 0 and opened.num_images == 4
    assert (opened.source_shape, opened.target_shape) == ((8, 8, 1), (8, 8, 1))
    if test:
        other = data.open_pairs(str(tmp_path / "set"), split=test)
        assert levels(other) == [(60 + number, 160 + number) for number in range(1, 5)]
    else:
        with pytest.raises(data.UnknownSplit, match=r"has no split 'test'. It has: train\."):
            data.open_pairs(str(tmp_path / "set"), split="test")
    # The other way round, and in an archive.
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "set")
    assert levels(data.open_pairs(archive, reverse=True)) == [(110 + number, 10 + number) for number in range(1, 5)]


# As Google Photos, Lightroom, Photoshop, Windows, a browser and an iPhone call what they save.
EDITED = ("IMG_{}-edited", "IMG_{}-Edit", "IMG_{} copy", "IMG_{} - Copy", "IMG_{} (1)", "IMG_E{}")


@pytest.mark.parametrize("name", EDITED)
@pytest.mark.parametrize("folders", [("before", "after"), ("", "")])
def test_pictures_find_their_edited_copies(name, folders, tmp_path):
    for number in range(2041, 2045):
        save(tmp_path / folders[0] / f"IMG_{number}.png", flat(number - 2000))
        save(tmp_path / folders[1] / f"{name.format(number)}.png", flat(number - 1900))
    found = data.open_pairs(str(tmp_path))
    assert levels(found) == [(number, 100 + number) for number in range(41, 45)]
    assert any("4 pairs by nearly equal names" in note for note in found.notes)


def test_what_was_found_is_said(tmp_path):
    for number in range(4):
        save(tmp_path / "night" / f"{number}.png", flat(number))
        save(tmp_path / "day" / f"0{number}.png", flat(100 + number))
    notes = " ".join(data.open_pairs(str(tmp_path)).notes)
    assert "Sources are those of day/ (4), targets those of night/ (4), in the order of their names" in notes
    assert "4 pairs by nearly equal names, such as 00.png and 0.png" in notes


def test_copies_of_different_pictures_are_no_partners():
    def match(sources, targets):
        places = [partners.places_of(names)[0] for names in (sources, targets)]
        found = partners.matched(*places)
        return [(source.path, target.path) for source, target in found.pairs], found.alone

    assert match(["x (1).png", "y.png"], ["x (2).png", "y.jpg"]) == ([("y.png", "y.jpg")], ["x (1).png", "x (2).png"])
    # Nor are those of other folders, nor one of two that would fit.
    pairs, alone = match(["a/1.png", "a/2.png", "b/1.png"], ["a/1.png", "a/2.png", "c/1.png"])
    assert len(pairs) == 2 and alone == ["b/1.png", "c/1.png"]
    assert match(["1.png", "2.png"], ["1.jpg", "1.gif", "2.png"]) == ([("2.png", "2.png")], ["1.png", "1.jpg", "1.gif"])


def test_two_folders(tmp_path):
    for number in range(4):
        save(tmp_path / "drawn" / "train" / f"{number}.png", flat(number))
        save(tmp_path / "seen" / "train" / f"{number}.jpg", flat(100 + number), quality=100)
        save(tmp_path / "seen" / "test" / f"{number}.jpg", flat(200 + number), quality=100)
    names = str(tmp_path / "drawn"), str(tmp_path / "seen")
    opened = data.open_pairs(names[0], targets=names[1])
    assert levels(opened) == [(number, 100 + number) for number in range(4)]
    assert "Sources are those of drawn/ (4), targets those of seen/ (4)." in opened.notes
    with pytest.raises(data.UnknownSplit, match=r"drawn' has no split 'test'"):
        data.open_pairs(names[0], targets=names[1], split="test")
    with pytest.raises(data.DataError, match="`targets=mnist_5k` say nothing of which belong together"):
        data.open_pairs(names[0], targets="mnist_5k")


def test_slices_share_nothing(tmp_path):
    for number in range(10):
        save(tmp_path / "A" / f"{number}.png", flat(number))
        save(tmp_path / "B" / f"{number}.png", flat(100 + number))
    parts = [levels(data.open_pairs(str(tmp_path), split=split)) for split in ("train[:70%]", "train[70%:]")]
    assert [len(part) for part in parts] == [7, 3]
    assert sorted(parts[0] + parts[1]) == [(number, 100 + number) for number in range(10)]


# --------------------------------------------------------------------------------------------------- side by side


def test_side_by_side(tmp_path):
    for number in range(3):
        save(tmp_path / "wide" / f"{number}.png", np.concatenate([flat(number), flat(100 + number)], axis=1))
    path = str(tmp_path / "wide")
    with pytest.raises(data.DataError, match=r"twice as wide as high, such as 0\.png\. .* say `paired=side_by_side`"):
        data.open_pairs(path)
    opened = data.open_pairs(path, paired="side_by_side")
    assert opened.source_shape == opened.target_shape == (8, 8, 1)
    assert levels(opened) == [(number, 100 + number) for number in range(3)]
    assert levels(data.open_pairs(path, paired="side_by_side", reverse=True)) == [(100 + n, n) for n in range(3)]
    small = data.open_pairs(path, paired="side_by_side", image_size=4, channels=3)
    assert small.source_shape == (4, 4, 3) and levels(small) == levels(opened)
    save(tmp_path / "wide" / "odd.png", flat(0, 8, 17))
    with pytest.raises(data.DataError, match=r"1 of the 4 pairs of .* odd\.png: its width is odd, so that"):
        data.open_pairs(path, paired="side_by_side")


# ----------------------------------------------------------------------------------------------- what cannot be used


def test_pictures_without_a_partner(tmp_path, caplog):
    for number in range(120):
        save(tmp_path / "A" / f"{number:03}.png", flat(number, 2, 2))
        save(tmp_path / "B" / f"{number:03}.png", flat(100 + number, 2, 2))
    save(tmp_path / "A" / "alone.png", flat(0, 2, 2))
    opened = data.open_pairs(str(tmp_path))
    assert opened.num_images == 120 and opened.skipped == 1
    assert "Left out 1 picture without a partner: A/alone.png." in opened.notes
    save(tmp_path / "B" / "other.png", flat(0, 2, 2))
    message = r"2 of the 122 pictures of .* A/alone\.png: has no partner; B/other\.png: has no partner\. That is"
    with pytest.raises(data.DataError, match=message):
        data.open_pairs(str(tmp_path))


def test_no_partner_at_all(tmp_path):
    save(tmp_path / "A" / "x.png", flat(0))
    save(tmp_path / "B" / "y.png", flat(1))
    with pytest.raises(data.DataError, match=r"No source of .* has a target of its name: .* such as A/x\.png and B/y"):
        data.open_pairs(str(tmp_path))
    for number in range(3):
        save(tmp_path / "flat" / f"{number}.png", flat(1))
    with pytest.raises(data.DataError, match=r"No pairs are found in .*: 3 pictures in /, such as 0\.png\. Expected"):
        data.open_pairs(str(tmp_path / "flat"))
    with pytest.raises(data.DataError, match=r"No images found in"):
        (tmp_path / "empty").mkdir()
        data.open_pairs(str(tmp_path / "empty"))


def test_sizes_that_differ(tmp_path):
    for number in range(5):
        save(tmp_path / "A" / f"{number}.png", flat(number))
        save(tmp_path / "B" / f"{number}.png", flat(number, 8, 9 if number == 3 else 8))
    message = r"1 of the 5 pairs .* 3\.png: its source has 8x8 pixels and its target 9x8; expected 8x8"
    with pytest.raises(data.DataError, match=message):
        data.open_pairs(str(tmp_path))
    for number in range(5, 300):
        save(tmp_path / "A" / f"{number}.png", flat(7))
        save(tmp_path / "B" / f"{number}.png", flat(number % 256))
    said = []
    with contextlib.ExitStack() as stack:
        stack.callback(setattr, logging, "warning", logging.warning)
        logging.warning = lambda message, *values: said.append(message % values)
        opened = data.open_pairs(str(tmp_path))
    assert opened.num_images == 299 and opened.skipped == 1
    assert any("1 of the 300 pairs" in line and "Going on without them" in line for line in said)


def test_pictures_smaller_than_the_crop(tmp_path):
    for number, side in enumerate((12, 9, 20)):
        save(tmp_path / f"{number}.png", flat(number, side, 30))
    message = r"1 of the 3 pictures .* 1\.png: 30x9 pixels, smaller than 12x12\. .*: give a smaller `crop` than 12, or"
    with pytest.raises(data.DataError, match=message):
        data.open_pairs(str(tmp_path), degrade=Halve(), crop=12)
    with pytest.raises(data.DataError, match=r"3 different sizes .* `crop=8`, or resize them all with `image_size=8`"):
        data.open_pairs(str(tmp_path), degrade=Halve())
    assert data.open_pairs(str(tmp_path), degrade=Halve(), crop=8).target_shape == (8, 8, 1)
    assert data.open_pairs(str(tmp_path), degrade=Halve(), image_size=8).source_shape == (4, 4, 1)
    (tmp_path / "3.png").write_bytes(b"no picture")
    with pytest.raises(data.DataError, match=r"1 of the 4 pictures .* 3\.png: not an image"):
        data.open_pairs(str(tmp_path), degrade=Halve(), crop=8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"paired": "twins"}, "`paired=twins` is unknown. There are: auto, folders, names, side_by_side"),
        ({"paired": "names", "sides": True}, "`paired=names` says how partners are found, and two sides have none"),
        ({"paired": "names", "targets": "x"}, "`paired=names` is of one folder"),
        ({"degrade": Halve(), "targets": "x"}, "`degrade` makes the sources of the targets: give it or `targets`"),
        ({"degrade": Halve(), "reverse": True}, "`reverse=True` has no meaning with `degrade`"),
        ({"degrade": Halve(), "paired": "names"}, "`paired=names` has no meaning with `degrade`"),
        ({"degrade": Halve(), "crop": 7}, "`crop=7` must be a multiple of 2, by which `degrade` divides its sides"),
        ({"crop": 0}, "`crop=0` must be at least 1"),
        ({"image_size": -1}, "`image_size=-1` must be a side of at least 1 pixel"),
        ({"crop": 9, "image_size": 8}, "`crop=9` is larger than `image_size=8`"),
        ({"channels": 2}, "`channels=2` must be 1"),
        ({"value_range": (1, 0)}, r"`value_range=\(1, 0\)` must be two numbers"),
        ({"targets": "./nowhere"}, r"There is no file or folder './nowhere'"),
    ],
)
def test_what_is_refused(noise, options, message):
    with pytest.raises(data.DataError, match=message):
        data.open_pairs(noise, **options)


def test_what_makes_one_doubt(tmp_path):
    for number in range(4):
        save(tmp_path / "A" / f"{number}.png", flat(number % 2, 4, 4))
        save(tmp_path / "B" / f"{number}.png", flat(number % 2, 4, 4))
    notes = " ".join(data.open_pairs(str(tmp_path)).notes)
    assert "Of the targets, the images use the levels 0 to 1 of 0 to 255 only" in notes
    assert "Each source looked at (4) is its target: there is nothing to learn." in notes


# --------------------------------------------------------------------------------------------------- what is cut out


def test_partners_are_cut_and_mirrored_alike(noise):
    opened = data.open_pairs(noise, crop=16)
    sources, targets = every(opened.batches(4, seed=3, mirror=True), 30)
    np.testing.assert_array_equal(sources, 255 - targets)
    assert len(np.unique(sources.reshape(len(sources), -1), axis=0)) > 100  # of 120: anywhere, and either way
    pictures = [source for _, source, _ in opened.whole()]
    views = np.lib.stride_tricks.sliding_window_view
    places = np.concatenate([views(picture, (16, 16, 3)).reshape(-1, 16, 16, 3) for picture in pictures])
    known = {part.tobytes() for part in places}
    turned = [source.tobytes() not in known for source in sources]
    assert all(source[:, ::-1].tobytes() in known for source, other in zip(sources, turned, strict=True) if other)
    assert 40 < sum(turned) < 80
    # The middle, for evaluation.
    middles = [picture[(len(picture) - 16) // 2 :][:16, (picture.shape[1] - 16) // 2 :][:, :16] for picture in pictures]
    np.testing.assert_array_equal(every(opened.in_order(4))[0], middles)


def test_every_place_has_the_same_chance(tmp_path):
    ramp = np.arange(6, dtype=np.uint8)[:, np.newaxis] * 10 + np.arange(5, dtype=np.uint8)
    for number in range(2):
        save(tmp_path / f"{number}.png", ramp)

    class Same(Halve):
        scale = 1

        def __call__(self, image, rng):
            return image

    opened = data.open_pairs(str(tmp_path), degrade=Same(), crop=4)
    _, targets = every(opened.batches(2, seed=1), 300)
    corners, counts = np.unique(targets[:, 0, 0, 0], return_counts=True)
    assert corners.tolist() == [0, 1, 10, 11, 20, 21] and counts.min() > 70  # 100 each


@pytest.mark.parametrize("memory", [True, False])
def test_batches_are_functions_of_seed_and_number(noise, memory, monkeypatch):
    held = data.open_pairs(noise, crop=16)
    if not memory:
        monkeypatch.setattr(records, "MEMORY_LIMIT", 0)
    opened = data.open_pairs(noise, crop=16)
    assert (opened.fingerprint == held.fingerprint) == memory
    whole = every(held.batches(4, seed=5, mirror=True), 12)
    for start in (0, 1, 7):  # across the ends of passes
        found = every(opened.batches(4, seed=5, start_step=start, mirror=True), 12 - start)
        for side, expected in zip(found, whole, strict=True):
            np.testing.assert_array_equal(side, expected[4 * start :])
    parts = [every(opened.batches(4, seed=5, part=(index, 2), mirror=True), 12) for index in range(2)]
    for side, expected in enumerate(whole):
        joined = np.stack([part[side].reshape(12, 2, *expected.shape[1:]) for part in parts], axis=1)
        np.testing.assert_array_equal(joined.reshape(expected.shape), expected)
    assert not np.array_equal(every(opened.batches(4, seed=6, mirror=True), 12)[0], whole[0])


def test_every_pair_once_a_pass(tmp_path):
    for number in range(12):
        save(tmp_path / "A" / f"{number}.png", flat(number))
        save(tmp_path / "B" / f"{number}.png", flat(100 + number))
    opened = data.open_pairs(str(tmp_path))
    sources, targets = every(opened.batches(4, seed=2), 6)
    order = sources[:, 0, 0, 0]
    np.testing.assert_array_equal(targets[:, 0, 0, 0], 100 + order)
    assert sorted(order[:12]) == sorted(order[12:]) == list(range(12)) and not np.array_equal(order[:12], order[12:])
    passes = opened.passes(5, seed=1)
    first, second = every(passes), every(passes)
    assert int(passes.cardinality()) == 2 and len(set(first[0][:, 0, 0, 0])) == 10
    np.testing.assert_array_equal(first[1], first[0] + 100)
    assert not np.array_equal(first[0], second[0])
    assert [len(source) for source, _ in opened.in_order(5)] == [5, 5, 2]
    with pytest.raises(data.DataError, match=r"`batch_size=13` is more than the 12 pairs of '.*' \(train\)"):
        opened.batches(13)


def test_scales_of_pairs(tmp_path):
    random = np.random.RandomState(1)
    for number in range(4):
        small = random.randint(0, 256, (9 + number, 11))
        save(tmp_path / "lr" / f"{number}x3.png", small)
        save(tmp_path / "hr" / f"{number}.png", small.repeat(3, 0).repeat(3, 1))
    opened = data.open_pairs(str(tmp_path), crop=18)
    assert (opened.source_shape, opened.target_shape) == ((6, 6, 1), (18, 18, 1))
    sources, targets = every(opened.batches(4, mirror=True), 10)
    np.testing.assert_array_equal(sources.repeat(3, 1).repeat(3, 2), targets)
    with pytest.raises(data.DataError, match=r"`crop=16` must be a multiple of 3: targets of .* that many times"):
        data.open_pairs(str(tmp_path), crop=16)
    small = data.open_pairs(str(tmp_path), image_size=24, crop=12)
    assert (small.source_shape, small.target_shape) == ((4, 4, 1), (12, 12, 1))
    # The other way round targets would be smaller.
    with pytest.raises(data.DataError, match=r"pairs .* its source has 33x27 pixels and its target 11x9"):
        data.open_pairs(str(tmp_path), reverse=True)


def test_what_gives_out_is_replaced(noise, streamed):
    opened = data.open_pairs(noise, crop=16)
    expected = every(opened.in_order(6))
    opened = data.open_pairs(noise, crop=16)
    path = f"{noise}/B/2.png"
    with open(path, "rb") as file:
        head = file.read(200)
    with open(path, "wb") as file:
        file.write(head)
    for side, other in zip(every(opened.in_order(6)), expected, strict=True):
        np.testing.assert_array_equal(side, other[[0, 1, 3, 3, 4, 5]])


def test_pictures_turned_by_exif(tmp_path):
    turned = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "A").mkdir()
    turned.save(tmp_path / "A" / "1.png", exif=exif)
    save(tmp_path / "B" / "1.png", np.asarray(turned.transpose(Image.Transpose.ROTATE_270)))
    ((_, source, target),) = data.open_pairs(str(tmp_path)).whole()
    assert source.shape == (8, 6, 1)
    np.testing.assert_array_equal(source, target)


def test_channels_of_each_side(tmp_path):
    for number in range(3):
        save(tmp_path / "A" / f"{number}.png", flat(number))
        save(tmp_path / "B" / f"{number}.png", np.full((8, 8, 3), (number, 50, 100)))
    opened = data.open_pairs(str(tmp_path))
    assert (opened.source_shape, opened.target_shape) == ((8, 8, 1), (8, 8, 3))
    assert not [note for note in opened.notes if "greyscale" in note or "colours" in note]
    both = data.open_pairs(str(tmp_path), channels=3)
    assert "3 of 3 sources are greyscale, taken in three channels." in both.notes
    assert "3 of 3 targets lose their colours." in data.open_pairs(str(tmp_path), channels=1).notes
    assert (both.source_shape, both.target_shape) == ((8, 8, 3), (8, 8, 3))
    np.testing.assert_array_equal(every(both.in_order(3))[1], every(opened.in_order(3))[1])
    save(tmp_path / "B" / "1.png", flat(0))
    with pytest.raises(data.DataError, match=r"1 of the 3 targets of .* are greyscale and the others have colours\."):
        data.open_pairs(str(tmp_path))
    assert data.open_pairs(str(tmp_path), channels=3).target_shape == (8, 8, 3)
    for number in range(3, 120):
        save(tmp_path / "A" / f"{number}.png", flat(number))
        save(tmp_path / "B" / f"{number}.png", np.full((8, 8, 3), (number, 50, 100)))
    assert "1 of 120 targets are greyscale, taken in three channels." in data.open_pairs(str(tmp_path)).notes


def test_deep_targets_open_like_those_of_training(tmp_path):
    for split, top in (("train", 4000), ("test", 2000)):
        for number in range(3):
            save(tmp_path / split / "images" / f"{number}.png", flat(10 * number))
            depth = np.linspace(0, top, 64).reshape(8, 8).astype(np.uint16)
            path = tmp_path / split / "truth" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(depth).save(path)
    train = data.open_pairs(str(tmp_path))
    assert train.value_range == (None, (0, 4095))
    facts = json.loads(json.dumps(train.describe()))
    test = data.open_pairs(str(tmp_path), split="test", value_range=facts["value_range"])
    assert every(test.in_order(3))[1].max() == round(255 * 2000 / 4095)
    both = data.open_pairs(str(tmp_path), value_range=(0, 8000))
    assert both.value_range == (0, 8000) and every(both.in_order(3))[1].max() == round(255 * 4000 / 8000)


# -------------------------------------------------------------------------------------------------------- two sides


@pytest.mark.parametrize(
    "layout", ["trainA/{n}.png trainB/{n}.png", "A/{n}.png B/x{n}.png", "monet/{n}.png photo/p{n}.png", "two"]
)
def test_two_sides(tmp_path, layout):
    first, second = ["a/{n}.png", "b/{n}.png"] if layout == "two" else layout.split()
    for number in range(5):
        save(tmp_path / first.format(n=number), flat(number))
    for number in range(12):
        save(tmp_path / second.format(n=number), flat(100 + number))
        save(tmp_path / second.replace("trainB", "testB").format(n=number), flat(100 + number))
    if layout == "two":
        opened = data.open_pairs(str(tmp_path / "a"), targets=str(tmp_path / "b"), sides=True)
    else:
        opened = data.open_pairs(str(tmp_path), sides=True)
    assert not opened.paired and opened.num_images == 12
    assert (opened.describe()["num_sources"], opened.describe()["num_targets"]) == (5, 12)
    sources, targets = (side[:, 0, 0, 0] for side in every(opened.batches(6, seed=4), 10))
    for side, count, base in ((sources, 5, 0), (targets, 12, 100)):
        passes = side[: 60 // count * count].reshape(-1, count)
        assert all(sorted(each) == [base + number for number in range(count)] for each in passes)
        assert not np.array_equal(passes[0], passes[1])
    later = every(opened.batches(6, seed=4, start_step=7), 3)
    np.testing.assert_array_equal(later[0][:, 0, 0, 0], sources[42:])
    np.testing.assert_array_equal(later[1][:, 0, 0, 0], targets[42:])
    assert levels(opened) == [(number % 5, 100 + int(name)) for number, name in enumerate(sorted(map(str, range(12))))]
    one_pass = every(opened.passes(4, seed=1))
    assert len(one_pass[0]) == 12 and len(set(one_pass[1][:, 0, 0, 0])) == 12 and set(one_pass[0].flat) == set(range(5))
    assert [(source[0, 0, 0], target) for _, source, target in opened.whole()] == [(n, None) for n in range(5)]
    assert len(list(opened.whole(back=True))) == 12
    sample = opened.sample(5)
    assert sample.num_images == 5 and {source for source, _ in levels(sample)} == set(range(5))


def test_sides_that_are_not_there(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.png", flat(number))
    with pytest.raises(data.DataError, match=r"No two sides are found in .* Expected trainA/ and trainB/"):
        data.open_pairs(str(tmp_path), sides=True)
    with pytest.raises(data.DataError, match=r"'mnist_5k' has no two sides: neither splits trainA and trainB, nor"):
        data.open_pairs("mnist_5k", sides=True)


def test_sides_of_one_set_share_no_picture():
    opened = data.open_pairs("mnist_5k", split="test", sides=True, degrade=Halve())
    assert not opened.paired and opened.degrade == "halve"
    assert [part.count for part in opened.records] == [500, 500]
    kinds = [{gallery[number][0].tobytes() for number in range(500)} for gallery in opened.reader.galleries]
    assert not kinds[0] & kinds[1] and len(kinds[0] | kinds[1]) == 1000
    assert opened.source_shape == (14, 14, 1) and opened.target_shape == (28, 28, 1)


# ------------------------------------------------------------------------------------------------ made by degradation


def test_sources_are_made_of_any_images(tmp_path):
    images = data.open_images("mnist_5k", split="test[:50]")
    opened = data.open_pairs("mnist_5k", split="test[:50]", degrade=Halve())
    np.testing.assert_array_equal(every(opened.in_order(20))[1], every(images.in_order(20).map(lambda x, y: (x, x)))[0])
    assert opened.licence == "CC BY-SA 3.0" and opened.name == "mnist_5k"
    np.savez(tmp_path / "own.npz", images=np.arange(4 * 49, dtype=np.uint8).reshape(4, 7, 7), labels=[0, 1, 0, 1])
    array = data.open_pairs(str(tmp_path / "own.npz"), degrade=Halve())
    assert array.target_shape == (6, 6, 1) and "Of 7x7 pixels 6x6 are used, multiples of 2." in array.notes
    for number in range(4):
        save(tmp_path / "pets" / "dog" / f"{number}.png", flat(number))
        save(tmp_path / "pets" / "cat" / f"{number}.png", flat(number))
    assert data.open_pairs(str(tmp_path / "pets"), degrade=Halve()).num_images == 8


def test_degradations_are_drawn_by_seed_and_number(tmp_path):
    for number in range(20):
        save(tmp_path / f"{number:02}.png", flat(number, 5, 7))
    opened = data.open_pairs(str(tmp_path), degrade=Halve(), crop=4)
    added = [source - target for source, target in levels(opened)]
    assert added == [source - target for source, target in levels(opened)] and len(set(added)) > 10
    # In a part of a set, and in whole pictures, as in all of it.
    part = opened.sample(7)
    assert {target: source - target for source, target in levels(part)}.items() <= dict(enumerate(added)).items()
    assert part.chosen.startswith("seeded sample") and part.num_images == 7
    whole = [(name, source, target) for name, source, target in opened.whole()]
    assert [name for name, *_ in whole[:2]] == ["00.png", "01.png"]
    assert {source.shape for _, source, _ in whole} == {(2, 3, 1)} and {t.shape for *_, t in whole} == {(4, 6, 1)}
    assert [int(source[0, 0, 0]) - int(target[0, 0, 0]) for _, source, target in whole] == added
    # As a notebook has it.
    noise = np.random.Generator(np.random.Philox(key=np.array([0, 3], np.uint64))).integers(0, 100, dtype=np.uint8)
    assert added[3] == noise
    # Anew in training.
    sources, targets = (side[:, 0, 0, 0] for side in every(opened.batches(20, seed=9), 2))
    drawn = [dict(zip(targets[part], sources[part], strict=True)) for part in (slice(20), slice(20, 40))]
    assert sum(drawn[0][number] == drawn[1][number] for number in range(20)) < 5


# ------------------------------------------------------------------------------------------------- arrays and names


def test_arrays_of_pairs(tmp_path):
    sources = np.arange(6, dtype=np.uint8).repeat(16).reshape(6, 4, 4)
    targets = np.stack([sources + 100] * 3, axis=-1)
    np.savez(tmp_path / "one.npz", sources=sources, targets=targets, labels_of=np.zeros(6))
    opened = data.open_pairs(str(tmp_path / "one.npz"))
    assert levels(opened) == [(number, 100 + number) for number in range(6)]
    assert (opened.source_shape, opened.target_shape) == ((4, 4, 1), (4, 4, 3))
    names = {"train_sources": sources[:4], "train_targets": targets[:4]}
    np.savez(tmp_path / "split.npz", **names, test_sources=sources[4:], test_targets=targets[4:] / 255.0)
    assert levels(data.open_pairs(str(tmp_path / "split.npz"), split="test", value_range=(None, (0, 1)))) == [
        (4, 104),
        (5, 105),
    ]
    sides = data.open_pairs(str(tmp_path / "split.npz"), sides=True)
    assert not sides.paired and sides.num_images == 4
    np.save(tmp_path / "a.npy", sources)
    np.save(tmp_path / "b.npy", targets)
    assert levels(data.open_pairs(str(tmp_path / "a.npy"), targets=str(tmp_path / "b.npy"))) == levels(opened)
    with pytest.raises(data.DataError, match=r"a\.npy' holds one array\. Give the other as `targets`"):
        data.open_pairs(str(tmp_path / "a.npy"))
    np.savez(tmp_path / "odd.npz", sources=sources, targets=targets[:5])
    with pytest.raises(data.DataError, match=r"has 6 sources and 5 targets"):
        data.open_pairs(str(tmp_path / "odd.npz"))
    np.savez(tmp_path / "none.npz", images=sources)
    with pytest.raises(data.DataError, match=r"has no arrays of sources and targets\. It has: images \(6, 4, 4\)\."):
        data.open_pairs(str(tmp_path / "none.npz"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Folders that TFDS prepared, of the kind of div2k and of that of cycle_gan."""
    import tensorflow_datasets as tfds

    root = tmp_path_factory.mktemp("prepared")

    def store(name, features, splits):
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="1.0.0",
            features=tfds.features.FeaturesDict(features),
            split_datasets={split: tf.data.Dataset.from_tensor_slices(rows) for split, rows in splits.items()},
            data_dir=root,
            config=None,
        )
        return str(root / name / "1.0.0")

    image = tfds.features.Image(shape=(None, None, 1))
    lr = np.arange(5, dtype=np.uint8).repeat(16).reshape(5, 4, 4, 1)
    hr = (100 + lr).repeat(2, 1).repeat(2, 2)
    pairs = store("super", {"hr": image, "lr": image}, {"train": {"hr": hr, "lr": lr}})
    side = tfds.features.Image(shape=(4, 4, 1))
    sides = store("horses", {"image": side}, {"trainA": {"image": lr}, "trainB": {"image": lr[:3] + 50}})
    return pairs, sides


def test_names_of_tfds(prepared):
    opened = data.open_pairs(prepared[0])
    assert (opened.source_shape, opened.target_shape) == ((4, 4, 1), (8, 8, 1))
    assert sorted(levels(opened)) == [(number, 100 + number) for number in range(5)]
    assert "Sources are its images 'lr', targets 'hr'." in opened.notes
    part = data.open_pairs(prepared[0], split="train[:3]")
    assert levels(part) == levels(opened)[:3]
    with pytest.raises(data.UnknownSplit, match=r"has no split 'test'. It has: train"):
        data.open_pairs(prepared[0], split="test")
    sides = data.open_pairs(prepared[1], sides=True)
    assert (sides.describe()["num_sources"], sides.describe()["num_targets"]) == (5, 3)
    assert {target for _, target in levels(sides)} == {50, 51, 52}
    with pytest.raises(data.DataError, match=r"has 1 images an example \(image\), and pairs are two"):
        data.open_pairs(prepared[1], split="trainA")


def test_records_are_found_by_number(prepared, streamed):
    opened = data.open_pairs(prepared[0])
    assert sorted(levels(opened)) == [(number, 100 + number) for number in range(5)]
    found = every(opened.batches(2, seed=1), 5)
    later = every(opened.batches(2, seed=1, start_step=3), 2)
    np.testing.assert_array_equal(later[0], found[0][6:])


def test_peek_pairs(noise):
    assert data.peek_pairs(noise, crop=16) == ((16, 16, 3), (16, 16, 3))
    assert data.peek_pairs("fashion_mnist", degrade=Halve()) == ((14, 14, 1), (28, 28, 1))
    assert data.peek_pairs("cycle_gan/horse2zebra", sides=True, crop=128) == ((128, 128, 3),) * 2
    assert data.peek_pairs("cycle_gan/horse2zebra", sides=True, crop=64, targets="mnist")[1] == (64, 64, 1)
    with pytest.raises(data.DataError, match="sizes of the images of 'div2k' are known only once it is prepared"):
        data.peek_pairs("div2k", crop=96)


def test_fallback(monkeypatch):
    def down(name, *args):
        raise data.NotDownloadable("no", f"{name} cannot be downloaded")

    monkeypatch.setattr(named, "_prepare", down)
    with pytest.raises(data.NotDownloadable):
        data.open_pairs("div2k/bicubic_x4", data_dir="/nowhere")
    options = {"data_dir": "/nowhere", "degrade": Halve(), "split": "test"}
    opened = data.open_pairs("div2k/bicubic_x4", fallback_dataset="mnist_5k", **options)
    assert opened.fallback_for == "div2k/bicubic_x4" and opened.name == "mnist_5k"


# -------------------------------------------------------------------------------------------------------- for people


def test_load_pairs(tmp_path):
    for split in ("train", "test"):
        for number in range(6):
            save(tmp_path / split / "A" / f"{number}.png", flat(number))
            save(tmp_path / split / "B" / f"{number}.png", flat(100 + number))
    train, test = data.load_pairs(str(tmp_path), 4, crop=4, mirror=True)
    source, target = next(iter(train))
    assert source.shape == target.shape == (4, 4, 4, 1) and source.dtype == tf.float32
    assert math.isclose(float(source[0, 0, 0, 0]) + 100 / 127.5, float(target[0, 0, 0, 0]), abs_tol=1e-6)
    assert [len(source) for source, _ in test] == [4, 2]


def test_describe_is_json_and_reproducible(noise):
    first, second = (data.open_pairs(noise, crop=16).describe() for _ in range(2))
    assert first == second == json.loads(json.dumps(first))
    assert first["num_images"] == 6 and first["image_shape"] == [16, 16, 3] and first["paired"] is True
    assert "anywhere in training" in data.open_pairs(noise, crop=16).remarks()


def test_an_archive_is_read_without_unpacking(noise, tmp_path):
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        for number in range(6):
            for side in "AB":
                archive.write(f"{noise}/{side}/{number}.png", f"set/{side}/{number}.png")
    packed, folder = (data.open_pairs(path, crop=16) for path in (str(tmp_path / "packed.zip"), noise))
    assert packed.fingerprint == folder.fingerprint
    for side, other in zip(every(packed.batches(4), 3), every(folder.batches(4), 3), strict=True):
        np.testing.assert_array_equal(side, other)
