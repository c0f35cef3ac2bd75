"""tfgan_app.data: sources, images of every kind, the pipeline's order, and what a user is told."""

import http.server
import itertools
import json
import os
import pathlib
import threading
import time
import warnings
import zlib

import numpy as np
import pytest
import tensorflow as tf
from absl import logging
from PIL import Image

from tfgan_app import data
from tfgan_app.data import named, records, splits
from tfgan_app.modalities import image_files


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path, **options)
    return path


def grey(value, height=8, width=8):
    return np.full((height, width), value, np.uint8)


def color(value, height=8, width=8):
    return np.broadcast_to(np.asarray(value, np.uint8), (height, width, 3))


@pytest.fixture
def numbered(tmp_path):
    """An array of 10 images, each of one grey level: its number; the label is the number's parity."""
    images = np.arange(10, dtype=np.uint8).repeat(16).reshape(10, 4, 4)
    path = tmp_path / "numbered.npz"
    np.savez(path, images=images, labels=np.arange(10) % 2)
    return str(path)


@pytest.fixture
def classes(tmp_path):
    """A folder with 12 grey images of class a (levels 0-11) and 8 of class b (levels 100-107)."""
    for level in range(12):
        save(tmp_path / "two" / "a" / f"{level:02}.png", grey(level))
    for level in range(100, 108):
        save(tmp_path / "two" / "b" / f"{level}.png", grey(level))
    return tmp_path / "two"


@pytest.fixture
def streamed(monkeypatch):
    """Makes every set too large for memory."""
    monkeypatch.setattr(records, "MEMORY_LIMIT", 0)


def levels(batches, count=None):
    """The level of the first pixel of every image, and the labels, of the first `count` batches."""
    taken = list(batches.take(-1 if count is None else count).as_numpy_iterator())
    images = [batch[0] if isinstance(batch, tuple) else batch for batch in taken]
    labels = [batch[1] if isinstance(batch, tuple) else np.zeros(len(batch)) for batch in taken]
    return [data.to_uint8(batch).numpy()[:, 0, 0, 0].tolist() for batch in images], np.concatenate(labels).tolist()


def flat(nested):
    return [level for batch in nested for level in batch]


def only(images):
    """The images of a set in its order, as uint8."""
    batches = images.in_order(64).as_numpy_iterator()
    return np.concatenate([data.to_uint8(b[0] if isinstance(b, tuple) else b).numpy() for b in batches])


# ---------------------------------------------------------------------------------------------- normalisation


def test_normalisation_endpoints_and_inverse():
    everything = np.arange(256, dtype=np.uint8)
    floats = data.to_float(everything).numpy()
    assert floats.dtype == np.float32
    assert floats[0] == -1.0 and floats[255] == 1.0
    np.testing.assert_allclose(floats[1:] - floats[:-1], 1 / 127.5, rtol=1e-4)
    np.testing.assert_array_equal(data.to_uint8(floats).numpy(), everything)
    np.testing.assert_array_equal(data.to_uint8([-7.0, 0.0, 7.0]).numpy(), [0, 128, 255])


# -------------------------------------------------------------------------------------------------- mnist_5k


def test_mnist_5k_is_balanced_and_described():
    train, test = (data.open_images("mnist_5k", split=split) for split in ("train", "test"))
    for images, each in ((train, 400), (test, 100)):
        labels = np.concatenate([labels for _, labels in images.in_order(500).as_numpy_iterator()])
        assert labels.dtype == np.int32
        np.testing.assert_array_equal(np.bincount(labels), [each] * 10)
        assert images.num_images == 10 * each
    assert (train.image_shape, train.num_classes, train.class_names[3]) == ((28, 28, 1), 10, "3")
    assert train.licence == "CC BY-SA 3.0" and train.fallback_for is None and train.skipped == 0
    assert 0.12 < only(train).mean() / 255 < 0.14  # MNIST's mean is 0.1307
    assert train.fingerprint != test.fingerprint and len(train.fingerprint) == 64
    assert len(np.unique(np.concatenate([only(train), only(test)]), axis=0)) == 5000


def test_describe_is_json_and_reproducible():
    first, second = (data.open_images("mnist_5k", split="test[:50%]").describe() for _ in range(2))
    assert first == second == json.loads(json.dumps(first))
    assert first["num_images"] == 500 and first["image_shape"] == [28, 28, 1] and first["split"] == "test[:50%]"


def test_tfds_images_take_any_size_and_channels():
    small = data.open_images("mnist_5k", split="test[:20]", image_size=14, channels=3)
    assert small.image_shape == (14, 14, 3)
    full = only(data.open_images("mnist_5k", split="test[:20]")).astype(float)
    np.testing.assert_array_equal(only(small)[..., 0], only(small)[..., 2])
    halved = full.reshape(20, 14, 2, 14, 2).mean((2, 4))
    assert np.corrcoef(halved.ravel(), only(small)[..., 1].ravel())[0, 1] > 0.97
    with pytest.raises(data.DataError, match=r"`split=test\[7:7\]` selects none of the images of 'mnist_5k'"):
        data.open_images("mnist_5k", split="test[7:7]")


def test_load_for_fit():
    train, test = data.load("mnist_5k", 64)
    images, labels = next(iter(train))
    assert images.shape == (64, 28, 28, 1) and images.dtype == tf.float32 and labels.dtype == tf.int32
    assert (float(tf.reduce_min(images)), float(tf.reduce_max(images))) == (-1.0, 1.0)
    assert (len(list(train)), len(list(test))) == (4000 // 64, 16)
    assert [len(labels) for _, labels in test][-1] == 1000 - 15 * 64


# -------------------------------------------------------------------------------------------------- pipeline


@pytest.mark.parametrize("memory_limit", [records.MEMORY_LIMIT, 0], ids=["held", "read"])
@pytest.mark.parametrize("source", ["array", "folder", "tfds"])
def test_batches_of_every_source(source, memory_limit, monkeypatch, request):
    monkeypatch.setattr(records, "MEMORY_LIMIT", memory_limit)
    tf.random.set_seed(1)  # as `keras.utils.set_random_seed` does
    if source == "array":
        images, expected = data.open_images(request.getfixturevalue("numbered")), list(range(10))
    elif source == "folder":
        images = data.open_images(str(request.getfixturevalue("classes")))
        expected = [*range(12), *range(100, 108)]
    else:
        images, expected = data.open_images(request.getfixturevalue("prepared")), list(range(20))
    count = len(expected)
    assert images.num_images == count

    in_order, labels = levels(images.in_order(7))
    assert flat(in_order) == expected and [len(b) for b in in_order] == [7] * (count // 7) + [count % 7]
    label_of = dict(zip(expected, labels, strict=True))
    assert set(labels) == {0, 1}

    endless, labels = levels(images.batches(4, seed=5), 3 * count)
    assert labels == [label_of[level] for level in flat(endless)]
    passes = np.reshape(flat(endless), (-1, count))  # 12 passes, of which batches may span two
    np.testing.assert_array_equal(np.sort(passes), [expected] * 12)
    assert len({tuple(one_pass) for one_pass in passes}) == 12
    assert levels(images.batches(4, seed=5), 9)[0] == endless[:9]
    assert levels(images.batches(4, seed=6), 9)[0] != endless[:9]
    for step in (1, 4, 17):
        assert levels(images.batches(4, seed=5, start_step=step), 5)[0] == endless[step : step + 5]

    finite = images.passes(3, seed=1)
    first, second = levels(finite)[0], levels(finite)[0]
    assert levels(images.passes(3, seed=1, mirror=True))[0] == first, "the order is that of the seed"
    assert first != second and {len(batch) for batch in first} == {3}
    assert len(set(flat(first))) == count // 3 * 3 and set(flat(first)) <= set(expected)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the memory as Linux tells it")
def test_held_images_are_not_copied():
    def resident():
        with open("/proc/self/status") as file:
            status = file.read()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    images = np.ones((20_000, 64, 64, 3), np.uint8)
    next(iter(records.hold((images[:64], np.zeros(64, np.int32))).records.batches(64, 0, 0)))
    before = resident()
    held = records.hold((images, np.zeros(len(images), np.int32))).records
    for batches in (held.batches(64, 0, 0), held.in_order(64)):
        iterator = iter(batches)
        next(iterator)
    assert resident() - before < 1.5 * images.nbytes  # one, as that of NumPy is not aligned


def test_resume_is_exact_to_the_bit():
    images = data.open_images("mnist_5k")
    tail = list(images.batches(64, seed=3).skip(100).take(5))
    resumed = list(images.batches(64, seed=3, start_step=100).take(5))
    for (x, y), (resumed_x, resumed_y) in zip(tail, resumed, strict=True):
        assert x.numpy().tobytes() == resumed_x.numpy().tobytes()
        assert y.numpy().tobytes() == resumed_y.numpy().tobytes()


@pytest.fixture(params=["held", "read", "streamed"])
def ramps(request, tmp_path, monkeypatch):
    """A set of 40 images, from every kind of source, that brighten to the right: 10 * column + a number."""
    images = np.add.outer(np.arange(40), np.tile(10 * np.arange(6), (4, 1))).astype(np.uint8)
    if request.param == "held":
        path = tmp_path / "ramps.npz"
        np.savez(path, images=images, labels=np.arange(40))
        return data.open_images(str(path))
    monkeypatch.setattr(records, "MEMORY_LIMIT", 0)
    if request.param == "read":
        for number, image in enumerate(images):
            save(tmp_path / "ramps" / f"{number:02}" / "image.png", image)
        return data.open_images(str(tmp_path / "ramps"))
    encoded = tf.data.Dataset.from_tensor_slices((images[..., None], np.arange(40, dtype=np.int32)))
    stream = records.Streamed(encoded, lambda *sample: sample, 40, records.labelled_images((4, 6, 1)))
    names = tuple(map(str, range(40)))
    return data.ImageSet("ramps", "train", (4, 6, 1), names, "", "", "", stream)


def turned(batches, count=None):
    """Which of the images of `ramps` are mirrored, `(batches, batch)`; each must be one of the two in whole."""
    found = []
    for images, labels in batches.take(-1 if count is None else count):
        pixels = data.to_uint8(images).numpy()[..., 0].astype(int)
        straight = labels.numpy()[:, None, None] + 10 * np.arange(6)
        mirrored = np.all(pixels == straight[:, :, ::-1], axis=(1, 2))
        assert np.all(mirrored ^ np.all(pixels == straight, axis=(1, 2)))
        found.append(mirrored)
    return np.array(found)


def test_mirrored_images_are_a_function_of_seed_and_step(ramps):
    assert not turned(ramps.batches(8, seed=3), 10).any() and not turned(ramps.in_order(8)).any()
    chosen = turned(ramps.batches(8, seed=3, mirror=True), 60)
    assert 0.42 < chosen.mean() < 0.58  # four standard deviations of 480 tosses
    assert (chosen[:5] != chosen[5:10]).any(), "each pass tosses anew"
    np.testing.assert_array_equal(turned(ramps.batches(8, seed=3, mirror=True, start_step=17), 5), chosen[17:22])
    parts = [turned(ramps.batches(8, seed=3, mirror=True, part=(index, 2)), 5) for index in range(2)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), chosen[:5])
    assert (turned(ramps.batches(8, seed=4, mirror=True), 5) != chosen[:5]).any()
    assert levels(ramps.batches(8, seed=3, mirror=True), 5)[1] == levels(ramps.batches(8, seed=3), 5)[1]

    finite = ramps.passes(8, seed=3, mirror=True)
    first, second = turned(finite), turned(finite)
    assert first.shape == (5, 8) and (first != second).any() and 0.2 < np.mean([first, second]) < 0.8
    np.testing.assert_array_equal(turned(ramps.passes(8, seed=3, mirror=True)), first)


def test_loading_mirrors_training_images_alone():
    plain, test = data.load("mnist_5k", 500, seed=2)
    mirrored, same = data.load("mnist_5k", 500, seed=2, mirror=True)
    (images, labels), (turned, others) = next(iter(plain)), next(iter(mirrored))
    np.testing.assert_array_equal(labels, others)
    is_turned = np.all(turned == images[:, :, ::-1], axis=(1, 2, 3))
    assert np.all(is_turned | np.all(turned == images, axis=(1, 2, 3))) and 0.4 < is_turned.mean() < 0.6
    np.testing.assert_array_equal(next(iter(same))[0], next(iter(test))[0])


def test_passes_are_independent_orders():
    indexed = data.open_images("mnist_5k").records
    orders = np.array([indexed._indices(tf.constant(n, tf.int64), 4000, 0, (0, 1)) for n in range(20)], float)
    between = [np.corrcoef(a, b)[0, 1] for a, b in itertools.pairwise(orders)]
    assert np.max(np.abs(between)) < 5 / np.sqrt(4000)


def test_batches_have_static_shapes(numbered):
    images, labels = data.open_images(numbered).batches(4).element_spec
    assert (images.shape, labels.shape) == ((4, 4, 4, 1), (4,))


def test_fewer_images_than_a_batch(numbered):
    images = data.open_images(numbered)
    for method in (images.batches, images.passes):
        with pytest.raises(data.DataError, match=r"`batch_size=11` .* 10 images .* at most `batch_size=10`"):
            method(11)
    assert len(levels(images.in_order(11))[1]) == 10


def test_input_is_fast_enough():
    batches = iter(data.open_images("mnist_5k").batches(64))
    next(batches)
    start = time.perf_counter()
    for _ in range(500):
        next(batches)
    assert 500 * 64 / (time.perf_counter() - start) > 50_000  # 600 000/s on two idle cores


# -------------------------------------------------------------------------------------------- splits, labels


def test_slices_share_nothing_leave_nothing_out_and_are_fair(classes):
    most, rest = (data.open_images(str(classes), split=f"train[{s}]") for s in (":75%", "75%:"))
    assert (most.num_images, rest.num_images) == (15, 5)
    values = [levels(images.in_order(8)) for images in (most, rest)]
    assert sorted(flat(values[0][0]) + flat(values[1][0])) == [*range(12), *range(100, 108)]
    assert set(values[1][1]) == {0, 1}
    assert most.class_names == rest.class_names == ("a", "b")
    assert [len(splits.split_indices(s, 20)) for s in ("train[3:5]", "train[-4:]", "train[:50%]")] == [
        2,
        4,
        10,
    ]


@pytest.mark.parametrize(
    "split, message",
    [
        ("test", r"has no split 'test'\. It has: train\."),
        ("train[:9", r"`split=train\[:9` is not a split\. Write one as train, train\[:90%\]"),
        ("train[7:7]", r"`split=train\[7:7\]` selects none of the 10 images"),
    ],
)
def test_wrong_splits(numbered, split, message):
    with pytest.raises(data.DataError, match=message):
        data.open_images(numbered, split=split)


def test_split_folders_share_their_classes(tmp_path):
    save(tmp_path / "train" / "ant" / "0.png", grey(1))
    save(tmp_path / "train" / "bee" / "0.png", grey(2))
    save(tmp_path / "test" / "bee" / "0.png", grey(3))
    train, test = (data.open_images(str(tmp_path), split=split) for split in ("train", "test"))
    assert train.class_names == test.class_names == ("ant", "bee")
    assert levels(train.in_order(2)) == ([[1, 2]], [0, 1]) and levels(test.in_order(2)) == ([[3]], [1])
    with pytest.raises(data.DataError, match=r"has no split 'val'\. It has: test, train\."):
        data.open_images(str(tmp_path), split="val")


def test_labels_asked_of_an_unlabelled_set(tmp_path, classes):
    save(tmp_path / "flat" / "0.png", grey(1))
    images = data.open_images(str(tmp_path / "flat"))
    assert images.num_classes is None and images.class_names is None
    with pytest.raises(data.DataError, match=r"'flat' have no labels.*one sub-folder a class"):
        images.require_labels()
    assert data.open_images(str(classes)).require_labels() == 2


# ---------------------------------------------------------------------------------------------------- folders


def test_formats_endings_hidden_links_and_order(tmp_path):
    folder = tmp_path / "füße 猫"
    for number, ending in enumerate(["PNG", "bmp", "gif", "tif", "TIFF"]):
        save(folder / f"{number}.{ending}", grey(40 * number))
    for number, ending in enumerate(["jpg", "JPEG", "webp"], start=5):
        save(folder / f"{number}.{ending}", color([30 * number] * 3), quality=100)
    save(folder / ".hidden.png", grey(0, 3, 3))
    (folder / "notes.txt").write_text("not an image")
    (folder / "album.png").mkdir()
    save(tmp_path / "elsewhere.png", grey(250))
    (folder / "8 link.png").symlink_to(tmp_path / "elsewhere.png")
    images = data.open_images(str(folder))
    assert (images.num_images, images.image_shape, images.skipped) == (9, (8, 8, 3), 0)
    expected = [0, 40, 80, 120, 160, 150, 180, 210, 250]
    np.testing.assert_allclose(only(images)[:, 4, 4, 0], expected, atol=2)
    assert images.name == "füße 猫" and "folder" in images.origin


def test_channels_default_to_what_the_images_are(tmp_path):
    save(tmp_path / "0.png", grey(10))
    assert data.open_images(str(tmp_path)).image_shape == (8, 8, 1)
    assert data.open_images(str(tmp_path), channels=3).image_shape == (8, 8, 3)
    save(tmp_path / "1.png", color([255, 0, 0]))
    assert data.open_images(str(tmp_path)).image_shape == (8, 8, 3)
    greyscale = only(data.open_images(str(tmp_path), channels=1))
    assert greyscale[:, 0, 0, 0].tolist() == [10, 76]  # ITU-R 601: 0.299 of red


def fitted(path, channels=3, size=None):
    return image_files.read_image(path, channels, size)


def test_colour_modes(tmp_path):
    def pixel(image, name, channels=3, **options):
        image.save(tmp_path / name, **options)
        result = fitted(tmp_path / name, channels)
        assert result.dtype == np.uint8 and result.shape == (2, 2, channels)
        return result[0, 0].tolist()

    assert pixel(Image.new("RGBA", (2, 2), (255, 0, 0, 0)), "clear.png") == [255, 255, 255]
    assert pixel(Image.new("RGBA", (2, 2), (255, 0, 0, 255)), "opaque.png") == [255, 0, 0]
    assert pixel(Image.new("LA", (2, 2), (0, 0)), "la.png", 1) == [255]
    assert pixel(Image.new("1", (2, 2), 1), "bit.png", 1) == [255]
    assert pixel(Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "cmyk.tif") == [255, 0, 0]
    assert pixel(Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "cmyk.jpg", quality=100)[0] > 250
    palette = Image.new("RGB", (2, 2), (0, 0, 200)).quantize(4)
    assert pixel(palette, "palette.png") == [0, 0, 200]
    assert pixel(palette, "clear palette.png", transparency=palette.getpixel((0, 0))) == [255] * 3
    for level, expected in ((65535, 255), (32896, 128), (255, 0)):
        deep = Image.fromarray(np.full((2, 2), level, np.uint16))
        assert pixel(deep, "deep.png", 1) == [expected] and pixel(deep, "deep.tif", 1) == [expected]
    assert image_files.read_header(tmp_path / "deep.png").grey
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    assert pixel(frames[0], "moving.gif", save_all=True, append_images=frames[1:]) == [255, 0, 0]


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter, clockwise
    picture = color([0, 0, 0], 8, 16).copy()
    picture[:, :8] = 255  # left half white: the upper half once turned
    save(tmp_path / "phone.jpg", picture, exif=exif, quality=100)
    assert data.open_images(str(tmp_path)).image_shape == (16, 8, 3)
    turned = fitted(tmp_path / "phone.jpg")
    assert turned[:7].min() > 240 and turned[9:].max() < 15


def test_crop_is_centred_and_resizing_antialiased(tmp_path):
    picture = np.zeros((16, 48), np.uint8)
    picture[:, 16:32] = 200
    assert np.all(fitted(save(tmp_path / "wide.png", picture), 1, 8) == 200)
    checks = 255 * (np.indices((64, 64)).sum(0) % 2)
    assert np.ptp(fitted(save(tmp_path / "checks.png", checks), 1, 8).astype(int)) <= 30
    assert abs(int(fitted(tmp_path / "checks.png", 1, 8).mean()) - 127) <= 2
    assert fitted(tmp_path / "checks.png", 3, 100).shape == (100, 100, 3)


def test_different_sizes_need_an_image_size(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.png", grey(0, 32, 40))
    save(tmp_path / "3.png", grey(0, 64, 48))
    with pytest.raises(data.DataError, match=r"2 different sizes .*40x32 \(3\), 48x64 \(1\).*`image_size=32`"):
        data.open_images(str(tmp_path))
    assert data.open_images(str(tmp_path), image_size=16).image_shape == (16, 16, 1)


def test_one_unreadable_image_in_a_hundred_is_left_out(tmp_path, monkeypatch):
    for number in range(199):
        save(tmp_path / "many" / f"{number:03}.png", grey(number))
    whole = (tmp_path / "many" / "150.png").read_bytes()
    (tmp_path / "many" / "150.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "many" / "page.png").write_text("<html>404</html>")
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: said.append(text % args))
    images = data.open_images(str(tmp_path / "many"))
    assert (images.num_images, images.skipped, images.describe()["skipped"]) == (198, 2, 2)
    assert 150 not in only(images)[:, 0, 0, 0]
    assert len(said) == 1
    assert "2 of the 200 images" in said[0] and "150.png: " in said[0] and "page.png: not an image" in said[0]

    (tmp_path / "many" / "empty.png").touch()
    with pytest.raises(data.DataError, match=r"3 of the 201 images .* more than 1%: repair or remove"):
        data.open_images(str(tmp_path / "many"))


def test_truncated_images_do_not_end_a_streamed_run(tmp_path, streamed):
    rng = np.random.default_rng(0)
    for number in range(3):
        save(tmp_path / f"{number}.png", rng.integers(0, 256, (8, 8)))
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[:60])
    first, second, third = only(data.open_images(str(tmp_path)))
    np.testing.assert_array_equal(second, third)
    assert np.any(first != second)


def test_declared_size_is_limited(tmp_path):
    chunk = b"IHDR" + (20000).to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    bomb = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(bomb + b"\0\0\0\0IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big"))
    with pytest.raises(data.DataError, match=r"1 of the 1 images .* bomb\.png: .*400000000 pixels"):
        data.open_images(str(tmp_path))
    large = b"IHDR" + (9000).to_bytes(4, "big") + (8000).to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    large = bomb[:12] + large + zlib.crc32(large).to_bytes(4, "big") + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"
    (tmp_path / "bomb.png").write_bytes(large)
    with pytest.raises(data.DataError, match=r"bomb\.png: 9000x8000 pixels, over the limit of 64 megapixels"):
        data.open_images(str(tmp_path))


def test_folders_that_hold_no_set_of_images(tmp_path, classes):
    (tmp_path / "empty").mkdir()
    with pytest.raises(data.DataError, match=r"No images found in '.*empty' nor .* end in \.bmp, .*\.webp"):
        data.open_images(str(tmp_path / "empty"))
    save(classes / "loose.png", grey(0))
    with pytest.raises(data.DataError, match=r"beside and inside sub-folders \(loose\.png; a/\)"):
        data.open_images(str(classes))


# ----------------------------------------------------------------------------------------------------- arrays


def test_arrays_of_every_accepted_kind(tmp_path):
    levels_ = np.array([0, 51, 255], np.uint8)
    cubes = np.broadcast_to(levels_[:, None, None], (3, 4, 6))
    for name, array in (
        ("rank3", cubes),
        ("rank4", cubes[..., None]),
        ("float", (cubes / 255).astype(np.float32)),
    ):
        np.save(tmp_path / f"{name}.npy", array)
        images = data.open_images(str(tmp_path / f"{name}.npy"))
        assert images.image_shape == (4, 6, 1) and images.class_names is None
        np.testing.assert_array_equal(only(images)[:, 0, 0, 0], levels_)
    resized = data.open_images(str(tmp_path / "rank4.npy"), image_size=8, channels=3)
    assert resized.image_shape == (8, 8, 3)
    np.testing.assert_array_equal(only(resized)[:, 7, 7, 2], levels_)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"images": np.full((2, 4, 4), 1.5)}, r"float64 from 1\.5 to 1\.5.*must lie in \[0, 1\]"),
        ({"images": np.full((2, 4, 4), -1.0)}, r"must lie in \[0, 1\]"),
        ({"images": np.full((2, 4, 4), np.nan)}, r"from nan to nan.*without NaN"),
        ({"images": np.zeros((2, 4, 4), np.int64)}, r"are int64\. Save them as uint8"),
        ({"images": np.zeros((4, 4), np.uint8)}, r"shape \(4, 4\)\. Expected \(N, H, W\)"),
        ({"images": np.zeros((4, 4, 4, 2), np.uint8)}, r"shape \(4, 4, 4, 2\)\. Expected"),
        ({"images": np.zeros((0, 4, 4), np.uint8)}, r"none of them 0"),
        ({"x": np.zeros(3), "y": np.zeros(3)}, r"has no array 'images'\. It has: x, y\."),
        ({"images": np.array([{}, None])}, r"cannot be read as arrays without pickled objects"),
        (
            {"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(3, int)},
            r"labels .* for each of the 2 images",
        ),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array([0, -1])}, r"integers from 0 up"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(2)}, r"labels .* are float64"),
    ],
)
def test_arrays_that_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "refused.npz", **arrays)
    with pytest.raises(data.DataError, match=message):
        data.open_images(str(tmp_path / "refused.npz"))


def test_damaged_array_file(tmp_path):
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(data.DataError, match="cannot be read as arrays"):
        data.open_images(str(tmp_path / "damaged.npz"))


def test_fingerprint_follows_pixels_and_labels(tmp_path):
    images, labels = np.zeros((4, 4, 4), np.uint8), np.array([0, 1, 0, 1])
    prints = set()
    for change in (images, images + (np.arange(64).reshape(4, 4, 4) == 9).astype(np.uint8)):
        for order in (labels, labels[::-1]):
            np.savez(tmp_path / "x.npz", images=change, labels=order)
            prints.add(data.open_images(str(tmp_path / "x.npz")).fingerprint)
    assert len(prints) == 4


# ---------------------------------------------------------------------------------------------- TFDS datasets


def store(folder, name, features, records_, disable_shuffling=True, **options):
    import tensorflow_datasets as tfds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="1.0.0",
            features=tfds.features.FeaturesDict(features),
            split_datasets={split: list(enumerate(rows)) for split, rows in records_.items()},
            data_dir=folder,
            disable_shuffling=disable_shuffling,
            **options,
        )
    return str(folder / name / "1.0.0")


def examples(**columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@pytest.fixture
def prepared(tmp_path):
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=(4, 4, 1)),
        "label": tfds.features.ClassLabel(names=["even", "odd"]),
    }
    train = examples(image=[np.full((4, 4, 1), n, np.uint8) for n in range(20)], label=[n % 2 for n in range(20)])
    return store(tmp_path, "tiny", features, {"train": train, "trainB": train[:3]})


def test_prepared_folder_and_name_are_one_dataset(prepared, tmp_path):
    by_path, by_name = data.open_images(prepared), data.open_images("tiny", data_dir=str(tmp_path))
    above = data.open_images(os.path.dirname(prepared))
    assert by_path.describe() == by_name.describe() == above.describe()
    assert by_path.class_names == ("even", "odd") and by_path.licence == "not stated"
    assert data.open_images(prepared, split="trainB").num_images == 3
    assert data.open_images(prepared, split="train[:80%]").num_images == 16
    with pytest.raises(data.DataError, match=r"'tiny' has no split 'test'\. It has: train, trainB\."):
        data.open_images(prepared, split="test")


@pytest.mark.parametrize("memory_limit", [records.MEMORY_LIMIT, 0], ids=["held", "read"])
def test_unlabelled_faces_of_many_sizes(tmp_path, memory_limit, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(records, "MEMORY_LIMIT", memory_limit)
    features = {
        "photo": tfds.features.Image(),
        "attributes": {"Smiling": tf.bool},
        "label": tfds.features.Text(),
    }
    photos = [np.full((8 + n, 10, 3), [n, 0, 9], np.uint8) for n in range(3)]
    rows = examples(photo=photos, attributes=[{"Smiling": True}] * 3, label=["x"] * 3)
    path = store(tmp_path, "faces", features, {"train": rows})
    with pytest.raises(data.DataError, match=r"'faces' have 3 different sizes .*`image_size=8`"):
        data.open_images(path)
    images = data.open_images(path, image_size=8)
    assert images.image_shape == (8, 8, 3) and images.class_names is None
    assert only(images)[:, 5, 5].tolist() == [[0, 0, 9], [1, 0, 9], [2, 0, 9]]


@pytest.mark.parametrize("encoding", ["jpeg", "png"])
def test_stored_images_are_the_same_held_and_read(encoding, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    features = {"image": tfds.features.Image(shape=(24, 16, 3), encoding_format=encoding)}
    photos = list(np.random.default_rng(0).integers(0, 256, (6, 24, 16, 3), dtype=np.uint8))
    path = store(tmp_path, "photos", features, {"train": examples(image=photos)})
    held = only(data.open_images(path))
    monkeypatch.setattr(records, "MEMORY_LIMIT", 0)
    np.testing.assert_array_equal(only(data.open_images(path)), held)


def test_many_shards_are_read_in_the_order_of_tfds(tmp_path, streamed):
    import tensorflow_datasets as tfds

    features = {"image": tfds.features.Image(shape=(1, 1, 1)), "label": tfds.features.ClassLabel(num_classes=200)}
    rows = examples(image=list(np.arange(200, dtype=np.uint8).reshape(200, 1, 1, 1)), label=list(range(200)))
    config = tfds.download.DownloadConfig(num_shards=3)
    path = store(tmp_path, "many", features, {"train": rows}, disable_shuffling=False, download_config=config)
    for split in ("train", "train[15:-20]", "train[:30%]+train[50%:]"):
        dataset = tfds.builder_from_directory(path).as_dataset(split=split)
        expected = [int(row["label"]) for row in dataset.as_numpy_iterator()]
        in_order, labels = levels(data.open_images(path, split=split).in_order(32))
        assert flat(in_order) == labels == expected
    assert len(list(pathlib.Path(path).glob("*.tfrecord*"))) == 3


def test_a_file_format_without_tf_data(prepared):
    info = pathlib.Path(prepared, "dataset_info.json")
    info.write_text(info.read_text().replace('"tfrecord"', '"array_record"'))
    with pytest.raises(data.DataError, match=r"'tiny' is stored as array_record, which .* prepare it as tfrecord\."):
        data.open_images(prepared)


def test_two_images_and_none_called_image(tmp_path):
    import tensorflow_datasets as tfds

    picture = np.zeros((2, 2, 3), np.uint8)
    features = {"hr": tfds.features.Image(), "lr": tfds.features.Image()}
    path = store(tmp_path, "pairs", features, {"train": examples(hr=[picture], lr=[picture])})
    with pytest.raises(data.DataError, match=r"no feature 'image'.* It has: hr \(Image\), lr \(Image\)\."):
        data.open_images(path)


def test_damaged_prepared_folder(tmp_path):
    (tmp_path / "dataset_info.json").write_text("{")
    with pytest.raises(data.DataError, match="is not a folder that TFDS can read"):
        data.open_images(str(tmp_path))


@pytest.fixture
def unreachable(monkeypatch):
    monkeypatch.setattr(named, "_unreachable", lambda urls: "example.org: no answer" if urls else None)


def test_offline_says_what_to_do_at_once(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    # An address of TEST-NET-1 (RFC 5737), which nothing answers.
    infos = dict.fromkeys(["http://192.0.2.1/a.gz"], next(iter(tfds.builder_cls("mnist").url_infos.values())))
    monkeypatch.setattr(named, "_archives", lambda builder: infos)
    start = time.perf_counter()
    with pytest.raises(data.NotDownloadable) as caught:
        data.open_images("mnist", data_dir=str(tmp_path))
    assert time.perf_counter() - start < 15
    message = str(caught.value)
    for part in ("'mnist'", "192.0.2.1", "`data_dir=", "`manual_dir=", "ubyte.gz", "`dataset=mnist_5k`"):
        assert part in message


def test_a_host_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(named, "_PROBE_SECONDS", 0.2)
    asked = threading.Event()

    def never(*args, **kwargs):
        asked.wait(5)
        raise named.requests.ConnectionError

    monkeypatch.setattr(named.requests, "get", never)
    start = time.perf_counter()
    assert named._unreachable(["http://slow.example/x"]) == "slow.example: no answer within 0 s"
    assert time.perf_counter() - start < 1
    asked.set()


def test_hosts_are_asked(monkeypatch):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/here" else 404)
            self.end_headers()

        def log_message(self, *args):
            pass

    monkeypatch.setenv("NO_PROXY", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert named._unreachable([f"{url}/here"]) is None
        assert "127.0.0.1: 404" in named._unreachable([f"{url}/gone"])
        server.shutdown()
    assert "refused" in named._unreachable([f"{url}/here"])


def test_fallback(tmp_path, unreachable, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: said.append(text % args))
    images = data.open_images("fashion_mnist", data_dir=str(tmp_path), fallback_dataset="mnist_5k")
    assert (images.name, images.fallback_for, images.num_images) == ("mnist_5k", "fashion_mnist", 4000)
    assert len(said) == 1 and said[0].startswith("Using 'mnist_5k' instead of 'fashion_mnist': ")
    train, test = data.load("fashion_mnist", 64, data_dir=str(tmp_path), fallback_dataset="mnist_5k")
    assert (len(list(train)), len(list(test)), len(said)) == (62, 16, 2)
    with pytest.raises(data.UnknownDataset):  # only for what cannot be downloaded
        data.open_images("fashon_mnist", fallback_dataset="mnist_5k")


def test_archives_of_another_dataset_are_not_taken(tmp_path, unreachable):
    import tensorflow_datasets as tfds

    for archive in tfds.builder_cls("mnist").url_infos.values():
        (tmp_path / archive.filename).write_bytes(b"not it")
    with pytest.raises(data.NotDownloadable, match=r"train-images-idx3-ubyte\.gz"):
        data.open_images("mnist", data_dir=str(tmp_path), manual_dir=str(tmp_path))


def test_damaged_archive(tmp_path):
    import tensorflow_datasets as tfds

    for archive in tfds.builder_cls("mnist").url_infos.values():
        with open(tmp_path / archive.filename, "wb") as file:
            file.truncate(archive.size)
    with pytest.raises(data.DataError, match=r"'mnist' cannot be prepared from .*`data_dir="):
        data.open_images("mnist", data_dir=str(tmp_path), manual_dir=str(tmp_path))


@pytest.mark.parametrize(
    "name, message",
    [
        ("fashon_mnist", r"Unknown dataset 'fashon_mnist'\. Did you mean 'fashion_mnist'"),
        ("mnist_5", r"Did you mean .*'mnist_5k'"),
        ("qqqqqqq", r"Unknown dataset 'qqqqqqq'\. Give `dataset=mnist_5k`"),
        ("cycle_gan/horse2zebr", r"Did you mean 'horse2zebra'\? There are: apple2orange"),
        ("./nowhere", r"There is no file or folder '\./nowhere'"),
        ("nowhere.npz", r"There is no file or folder 'nowhere\.npz'"),
    ],
)
def test_misspelt_names(name, message):
    with pytest.raises(data.UnknownDataset, match=message):
        data.open_images(name)


def test_wrong_options(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(data.DataError, match=r"neither a folder of images nor an \.npz or \.npy file"):
        data.open_images(str(tmp_path / "notes.txt"))
    with pytest.raises(data.DataError, match="`image_size=0` must be at least 1"):
        data.open_images("mnist_5k", image_size=0)
    with pytest.raises(data.DataError, match="`channels=2` must be 1"):
        data.open_images("mnist_5k", channels=2)


def test_peek_tells_shapes_without_preparing_anything(tmp_path):
    assert data.peek("mnist_5k") == ((28, 28, 1), 10)
    assert data.peek("fashion_mnist", data_dir=str(tmp_path)) == ((28, 28, 1), 10)
    assert data.peek("celeb_a", data_dir=str(tmp_path), image_size=64) == ((64, 64, 3), None)
    with pytest.raises(data.DataError, match=r"'cats_vs_dogs' differ in size. Give one, for example `image_size=64`"):
        data.peek("cats_vs_dogs", data_dir=str(tmp_path))
    assert not list(tmp_path.iterdir())
    np.save(tmp_path / "mine.npy", np.zeros((4, 16, 16, 3), np.uint8))
    assert data.peek(str(tmp_path / "mine.npy"), channels=1) == ((16, 16, 1), None)


def test_batches_end_at_once():
    """tf.data's autotuning may let an iterator wait that is given up."""
    for batches in (
        data.open_images("mnist_5k").batches(8, seed=0),
        *data.load("mnist_5k", batch_size=8),
    ):
        assert batches.options().autotune.enabled is False
