"""tfgan_app.data: sources, images of every kind, the pipeline's order, and what a user is told."""

import http.server
import io
import itertools
import json
import os
import pathlib
import shutil
import threading
import time
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import tensorflow as tf
from absl import logging
from PIL import Image

from tfgan_app import data, runs
from tfgan_app.base import hosts
from tfgan_app.data import decoding, named, records, splits
from tfgan_app.modalities import image_files
from tfgan_app.runs import build


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
    with pytest.raises(data.DataError, match=r"has no split 'val'\. It has: test, train\."):  # nor 'validation'
        data.open_images(str(tmp_path), split="val")


def test_labels_asked_of_an_unlabelled_set(tmp_path, classes):
    save(tmp_path / "flat" / "0.png", grey(1))
    images = data.open_images(str(tmp_path / "flat"))
    assert images.num_classes is None and images.class_names is None
    with pytest.raises(data.DataError, match=r"'flat' have no labels.*one sub-folder a class"):
        images.require_labels()
    assert data.open_images(str(classes)).require_labels() == 2


# ---------------------------------------------------------------------------------------------------- layouts


def lay(folder, *names, start=0):
    """Writes a grey image for each name, of one level more each; a text for names of texts."""
    for level, name in enumerate(names, start=start):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".txt", ".xml", ".csv", ".json", ".DS_Store") or path.name.startswith("."):
            path.write_text("text")
        else:
            Image.fromarray(grey(level)).save(path, "PNG")
    return str(folder)


def pack(folder, path):
    """Packs a folder as a .zip, with paths from the folder itself on."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return str(path)


# Files of a set, and of each split the levels of its images and their classes, None where it is unlabelled; what is
# said of the first.
LAYOUTS = {
    "flat": (["1.png", "2.png"], {"train": ([0, 1], None)}, ""),
    "classes": (["a/1.png", "b/1.png"], {"train": ([0, 1], "ab")}, "2 classes, each a sub-folder: a, b"),
    "one class": (["cats/1.png"], {"train": ([0], ["cats"])}, "1 class, a sub-folder: cats"),
    "deeper": (["dog/kennel_a/1.png", "dog/2.png", "cat/3.png"], {"train": ([2, 1, 0], ["cat", "dog", "dog"])}, ""),
    "labelling tools": (
        ["train/a/1.png", "train/b/1.png", "valid/b/2.png", "test/a/3.png", "README.txt"],
        {"train": ([0, 1], "ab"), "validation": ([2], "b"), "val": ([2], "b"), "valid": ([2], "b"), "test": ([3], "a")},
        "Splits (images): test (1), train (2), validation (1, from valid/). 2 classes, each a sub-folder: a, b. "
        "Left out files that are no images (1 .txt, such as ",
    ),
    "any case": (["Training/1.png", "Testing/2.png"], {"train": ([0], None), "test": ([1], None)}, ""),
    "years": (["train2017/1.png", "val2017/2.png"], {"train": ([0], None), "val": ([1], None)}, ""),
    "own names": (["train/1.png", "val/2.png", "dev/3.png"], {"val": ([1], None), "dev": ([2], None)}, ""),
    "domains": (["trainA/1.png", "trainB/2.png", "testA/3.png"], {"trainA": ([0], None), "testA": ([2], None)}, ""),
    "YOLO": (
        ["train/images/1.png", "train/labels/1.txt", "valid/images/2.png", "valid/labels/2.txt"],
        {"train": ([0], None), "valid": ([2], None)},
        "Left out files that are no images (2 .txt, such as ",
    ),
    "YOLOv5": (
        ["images/train/1.png", "images/val/2.png", "labels/train/1.txt", "labels/val/2.txt"],
        {"train": ([0], None), "val": ([1], None)},
        "Splits (images): train (1), validation (1, from val/)",
    ),
    "masks beside splits": (
        ["train/1.png", "test/2.png", "masks/3.png"],
        {"train": ([0], None), "test": ([1], None), "masks": ([2], None)},
        "Left out masks/ (1 image), which is no split; `split=masks` takes it",
    ),
    "masks beside images": (
        ["images/1.png", "annotations/trimaps/1.png", "annotations/xmls/1.xml"],
        {"train": ([0], None)},
        "Left out images that belong to others: annotations/ (1)",
    ),
    "masks in a class": (
        ["a/images/1.png", "a/masks/1.png", "b/images/2.png"],
        {"train": ([0, 2], "ab")},
        "Left out images that belong to others: masks/ (1)",
    ),
    "masks that are classes": (["mask/1.png", "no_mask/2.png"], {"train": ([0, 1], ["mask", "no_mask"])}, ""),
    "a class named train": (
        ["bus/1.png", "car/2.png", "train/3.png"],
        {"train": ([0, 1, 2], ["bus", "car", "train"])},
        "The folder train/ is taken for a class, like those beside it",
    ),
    "a lone split with classes": (
        ["train/a/1.png", "train/b/2.png", "unlabeled/3.png"],
        {"train": ([0, 1], "ab")},
        "Left out unlabeled/ (1 image)",
    ),
    "several tests": (
        ["Training/a/1.png", "Training/b/2.png", "PublicTest/a/3.png", "PrivateTest/a/4.png"],
        {"train": ([0, 1], "ab"), "PublicTest": ([2], "a")},
        "Left out PublicTest/ (1 image)",
    ),
    "competition": (
        ["train/train/a/1.png", "train/train/b/2.png", "test1/test1/3.png", "sample.csv"],
        {"train": ([0, 1], "ab"), "test": ([2], None)},
        "test (1, from test1/)",
    ),
    "splits in classes": (
        ["cat/train/1.png", "cat/test/2.png", "dog/train/3.png", "dog/test/4.png"],
        {"train": ([0, 2], ["cat", "dog"]), "test": ([1, 3], ["cat", "dog"])},
        "Splits (images): test (2), train (2)",
    ),
    "ImageNet": (
        [
            "ILSVRC/Data/CLS-LOC/train/n01/1.JPEG",
            "ILSVRC/Data/CLS-LOC/train/n02/2.JPEG",
            "ILSVRC/Data/CLS-LOC/val/3.JPEG",
        ],
        {"train": ([0, 1], ["n01", "n02"]), "validation": ([2], None)},
        "2 classes, each a sub-folder: n01, n02",
    ),
    "Tiny ImageNet": (
        ["train/n1/images/1.png", "train/n2/images/2.png", "val/images/3.png", "val/val.txt"],
        {"train": ([0, 1], ["n1", "n2"]), "validation": ([2], None)},
        "",
    ),
    "CelebA": (["img_align/img_align/1.jpg", "img_align/img_align/2.jpg", "list.csv"], {"train": ([0, 1], None)}, ""),
    "parts": (
        ["00000/img00000000.png", "00000/img00000001.png", "00001/img00001000.png"],
        {"train": ([0, 1, 2], None)},
        "Its sub-folders are parts of one numbered list, and no classes",
    ),
    "macOS and Windows": (
        ["set/a/1.png", "set/b/2.png", "__MACOSX/set/a/._1.png", "set/a/.DS_Store", "set/a/Thumbs.db"],
        {"train": ([0, 1], "ab")},
        "2 classes, each a sub-folder: a, b",
    ),
    "mixed": (
        ["a/1.png", "b/2.png", "loose.png"],
        {"train": ([0, 1, 2], None)},
        "Images lie beside sub-folders (loose.png) as well as in them (a/): all are taken, without labels",
    ),
    "classes of the test alone": (
        ["train/a/1.png", "train/b/2.png", "test/A/3.png", "test/c/4.png"],
        {"test": ([2], "a"), "train": ([0, 1], "ab")},
        "Left out images of test whose classes train has not: c (1). No images of b in test",
    ),
    "classes in the test alone": (
        ["train/1.png", "test/a/2.png", "test/b/2.png"],
        {"test": ([1, 2], None)},
        "Those of train lie in no class folders: the images of test are taken without labels",
    ),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, packed, tmp_path):
    names, expected, said = LAYOUTS[layout]
    path = lay(tmp_path / "mine", *names)
    if packed:
        path = pack(tmp_path / "mine", tmp_path / "mine.zip")
    for split, (values, class_names) in expected.items():
        images = data.open_images(path, split=split)
        found, labels = levels(images.in_order(64))
        assert flat(found) == values, split
        named = None if images.class_names is None else [images.class_names[int(label)] for label in labels]
        assert named == (None if class_names is None else list(class_names)), split
    assert said in data.open_images(path, split=next(iter(expected))).remarks()
    assert data.open_images(path, split=next(iter(expected))).describe()["notes"] is not None


def test_a_few_stray_images_do_not_take_the_labels_away(tmp_path):
    lay(tmp_path / "mine", *(f"{'ab'[number % 2]}/{number}.png" for number in range(200)), "preview.png")
    images = data.open_images(str(tmp_path / "mine"))
    assert (images.num_images, images.class_names) == (200, ("a", "b"))
    assert "Left out 1 image beside the class folders (preview.png)" in images.remarks()


def test_files_are_told_by_their_content(tmp_path):
    """Whatever a viewer shows is read, and what is no image is counted in one line."""
    folder = tmp_path / "mine"
    lay(folder, "1.png", "2", "3.final", "4.JFIF", "5.ppm", "6.jpg", "7.webp")
    for number in range(1000):
        (folder / f"{number}.txt").touch()
    (folder / "drawing.svg").write_text("<svg/>")
    (folder / "notes").write_text("no image")
    (folder / ".hidden.png").write_bytes((folder / "1.png").read_bytes())
    (folder / "circle").symlink_to(folder, target_is_directory=True)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe")  # reading it would wait for ever
    images = data.open_images(str(folder))
    assert sorted(only(images)[:, 0, 0, 0].tolist()) == list(range(7)) and images.skipped == 0
    assert len(images.remarks()) < 400
    for text in ("1000 .txt", "such as 0.txt", "1 .svg, such as drawing.svg", "convert them", "1 hidden image"):
        assert text in images.remarks()


def test_one_image_and_a_thousand_classes(tmp_path):
    assert data.open_images(lay(tmp_path / "one", "1.png")).num_images == 1
    labels = np.append(np.repeat(np.arange(999), 2), 999)
    np.savez(tmp_path / "many.npz", images=np.tile(np.eye(2, dtype=np.uint8) * 255, (1999, 1, 1)), labels=labels)
    many = data.open_images(str(tmp_path / "many.npz"))
    assert (many.num_classes, many.class_names[999]) == (1000, "999")


def test_what_is_resized_or_loses_its_colours_is_said(tmp_path):
    save(tmp_path / "0.png", color([9, 0, 0], 8, 12))
    save(tmp_path / "1.png", grey(9, 4, 4))
    remarks = data.open_images(str(tmp_path), image_size=4, channels=1).remarks()
    assert "1 of 2 images are cropped and resized to 4x4, from 12x8. 1 of 2 images lose their colours" in remarks
    assert "1 of 2 images are greyscale, taken in three" in data.open_images(str(tmp_path), image_size=4).remarks()


def test_load_says_what_was_left_out_once(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: said.append(text % args))
    data.load(lay(tmp_path / "mine", "train/1.png", "test/1.png", "masks/1.png"), batch_size=1)
    (line,) = said
    assert line.startswith(
        "mine (train, test): Splits (images): test (1), train (1). Left out masks/ (1 image), which is no split; "
        "`split=masks` takes it."
    )
    assert line.count("masks/") == 1


# ------------------------------------------------------------------------------------------------------- zips


def encoded(level):
    stream = io.BytesIO()
    Image.fromarray(grey(level)).save(stream, "PNG")
    return stream.getvalue()


def archive(path, entries):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return str(path)


@pytest.mark.parametrize("memory_limit", [records.MEMORY_LIMIT, 0], ids=["held", "read"])
def test_archives_of_dataset_tools(tmp_path, memory_limit, monkeypatch):
    monkeypatch.setattr(records, "MEMORY_LIMIT", memory_limit)
    names = [f"0000{number // 2}/img0000000{number}.png" for number in range(4)]
    entries = {name: encoded(level) for level, name in enumerate(names)}
    for labels, expected in (([6, 3, 6, 3], [1, 0, 1, 0]), ([[1, 0], [0, 1], [0, 1], [1, 0]], [0, 1, 1, 0])):
        listed = json.dumps({"labels": list(zip(names, labels, strict=True))})
        images = data.open_images(archive(tmp_path / "x.zip", {**entries, "dataset.json": listed}))
        assert levels(images.in_order(4)) == ([[0, 1, 2, 3]], expected)
        assert "2 classes, by dataset.json" in images.remarks()
        assert levels(images.batches(4, seed=1), 50)[0] != [[0, 1, 2, 3]] * 50  # many threads, one file
    images = data.open_images(archive(tmp_path / "x.zip", {**entries, "dataset.json": '{"labels": null}'}))
    assert images.class_names is None and "By dataset.json there are no labels" in images.remarks()
    some = json.dumps({"labels": [[names[0], 0], [names[3], 1]]})
    images = data.open_images(archive(tmp_path / "x.zip", {**entries, "dataset.json": some}))
    assert images.num_images == 2 and "Left out 2 of 4 images that dataset.json does not list" in images.remarks()
    images = data.open_images(archive(tmp_path / "x.zip", {"a/1.png": encoded(1), "dataset.json": "[1]"}))
    assert images.class_names == ("a",) and "1 .json, such as dataset.json" in images.remarks()


def test_archives_that_are_refused(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(data.DataError, match=r"cannot be read as a \.zip archive: .* Pack it again"):
        data.open_images(str(path))
    archive(path, {"1.png": encoded(1)})
    whole = path.read_bytes()
    for at in (whole.index(b"PK\x03\x04") + 6, whole.index(b"PK\x01\x02") + 8):
        whole = whole[:at] + bytes([whole[at] | 1]) + whole[at + 1 :]  # the flag of encrypted entries
    path.write_bytes(whole)
    with pytest.raises(data.DataError, match=r"is encrypted \(1\.png\)\. Unpack it"):
        data.open_images(str(path))


def test_damaged_and_swollen_entries_are_counted(tmp_path, monkeypatch):
    from tfgan_app.data import trees

    entries = {f"{number}.png": encoded(number) for number in range(200)}
    monkeypatch.setattr(trees, "_MAX_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
        file.writestr("bomb.png", bytes(20_000))
    whole = bytearray((tmp_path / "x.zip").read_bytes())
    at = whole.index(b"77.png") + 30
    whole[at : at + 8] = bytes(8)
    (tmp_path / "x.zip").write_bytes(whole)
    images = data.open_images(str(tmp_path / "x.zip"))
    assert (images.num_images, images.skipped) == (199, 2)


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
    for level, expected in ((65535, 255), (32896, 128), (257, 1)):
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
    with pytest.raises(data.DataError, match=r"No images found in '.*empty' nor .* by their first bytes\.|bytes\.$"):
        data.open_images(str(tmp_path / "empty"))
    (tmp_path / "empty" / "photos.zip").touch()
    (tmp_path / "empty" / "readme.txt").touch()
    with pytest.raises(
        data.DataError, match=r"no images \(1 \.txt, 1 \.zip, .*\)\. It holds photos\.zip: give the path"
    ):
        data.open_images(str(tmp_path / "empty"))


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
        (
            {"images": np.where(np.arange(32) < 3, np.nan, 0.5).reshape(2, 4, 4)},
            r"1 of the 2 images of .* cannot be used: 3 of its 32 values are NaN or infinite",
        ),
        ({"images": np.full((2, 4, 4), -np.inf)}, r"2 of the 2 images .* 32 of its 32 values are NaN or infinite"),
        ({"images": np.zeros((2, 4, 4), complex)}, r"are complex128\. Expected numbers, such as uint8"),
        ({"images": np.zeros((4, 4), np.uint8)}, r"shape \(4, 4\)\. Expected \(N, H, W\)"),
        ({"images": np.zeros((4, 16, 16, 9), np.uint8)}, r"shape \(4, 16, 16, 9\)\. Expected .* Choose at most 8"),
        ({"images": np.zeros((0, 4, 4), np.uint8)}, r"none of them 0"),
        (
            {"a": np.zeros(3), "b": np.zeros(3)},
            r"has no array 'images'\. It has: a \(3,\), b \(3,\)\. Name .* train_im",
        ),
        ({"a": np.zeros((2, 4, 4)), "b": np.zeros((2, 4, 4))}, r"has no array 'images'\. It has: a \(2, 4, 4\), b"),
        ({"images": np.zeros((8, 8, 3), np.uint8)}, r"If it is one colour image, save images\[np\.newaxis\]"),
        ({"images": np.zeros((2, 784), np.uint8)}, r"Save images\.reshape\(-1, 28, 28\)\."),
        ({"images": np.zeros((2, 3072), np.uint8)}, r"Save images\.reshape\(-1, 32, 32, 3\)"),
        ({"images": np.array([{}, None])}, r"cannot be read as arrays without pickled objects"),
        (
            {"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(3, int)},
            r"labels .* for each of the 2 images",
        ),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(2, complex)}, r"labels .* are complex128"),
    ],
)
def test_arrays_that_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "refused.npz", **arrays)
    with pytest.raises(data.DataError, match=message):
        data.open_images(str(tmp_path / "refused.npz"))


@pytest.mark.parametrize(
    "labels, names, classes, said",
    [
        (np.array([0, 255, 254, 0], np.uint8), ["0", "254", "255"], [0, 2, 1, 0], "3 numbers from 0 to 255"),
        (np.arange(4).reshape(4, 1), ["0", "1", "2", "3"], [0, 1, 2, 3], ""),
        (np.array([True, False, True, True]), ["0", "1"], [1, 0, 1, 1], ""),
        (np.array([0.0, 1, 1, 0], np.float16), ["0", "1"], [0, 1, 1, 0], ""),
        (np.eye(3)[[0, 1, 1, 0]], ["0", "1", "2"], [0, 1, 1, 0], "No image has the label 2"),
        (np.array([1, 2, 10, 1]), ["1", "2", "10"], [0, 1, 2, 0], "3 numbers from 1 to 10"),
        (np.array([1, -1, 1, -1], np.int8), ["-1", "1"], [1, 0, 1, 0], "2 numbers from -1 to 1"),
        (np.array(["dog", "cat", "cat", "dog"]), ["cat", "dog"], [1, 0, 0, 1], ""),
        (np.array([b"dog", b"cat", b"cat", b"dog"]), ["cat", "dog"], [1, 0, 0, 1], ""),
        (np.array([0, -1, 1, 0]), ["0", "1"], [0, 1, 0], "Left out 1 of 4 images, which have no label"),
        (np.array([0, np.nan, 1, 0]), ["0", "1"], [0, 1, 0], "Left out 1 of 4 images, which have no label"),
        (np.full(4, -1), None, [0] * 4, "All of its labels say that there is none"),
        (np.ones((4, 3), int), None, [0] * 4, "3 numbers an image, and no classes"),
        (np.array([0, 0.5, 1, 2]), None, [0] * 4, "fractions, and no classes"),
    ],
)
def test_labels_of_every_kind(labels, names, classes, said, tmp_path):
    np.savez(tmp_path / "x.npz", images=np.arange(16, dtype=np.uint8).reshape(4, 2, 2) * 17, labels=labels)
    images = data.open_images(str(tmp_path / "x.npz"))
    assert images.class_names == (None if names is None else tuple(names))
    assert levels(images.in_order(4))[1] == classes
    assert said in images.remarks() if said else not images.notes


def test_class_names_beside_arrays(tmp_path):
    arrays = {"images": np.zeros((2, 2, 2), np.uint8), "class_names": np.array(["cat", "cow", "dog"])}
    np.savez(tmp_path / "x.npz", labels=np.array([2, 0]), **arrays)
    assert data.open_images(str(tmp_path / "x.npz")).class_names == ("cat", "cow", "dog")
    np.savez(tmp_path / "x.npz", labels=np.array([3, 0]), **arrays)
    images = data.open_images(str(tmp_path / "x.npz"))
    assert images.class_names == ("0", "3")
    assert "Its 3 class names are left out, as labels go up to 3" in images.remarks()


NAMED_ARRAYS = {
    "MedMNIST": ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
    "Keras": ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),
    "camels": ("XTrain", "YTrain", "XValid", "YValid", "XTest", "YTest"),
}


@pytest.mark.parametrize("names", NAMED_ARRAYS.values(), ids=NAMED_ARRAYS)
def test_arrays_with_splits(names, tmp_path):
    pictures = np.arange(6, dtype=np.uint8).repeat(4).reshape(6, 2, 2)
    labels = np.array([[7], [8], [9], [7], [9], [5]], np.uint8)
    values = (pictures[:3], labels[:3], pictures[3:4], labels[3:4], pictures[4:], labels[4:])
    np.savez(tmp_path / "x.npz", **dict(zip(names, values, strict=True)))
    for split, expected in (("train", ([[0, 1, 2]], [0, 1, 2])), ("val", ([[3]], [0])), ("test", ([[4]], [2]))):
        images = data.open_images(str(tmp_path / "x.npz"), split=split)
        assert levels(images.in_order(6)) == expected and images.class_names == ("7", "8", "9")
        assert f"Splits (images): test (2, from {names[4]}), train (3, from {names[0]})" in images.remarks()
    assert "Left out 1 image of classes that the training images have not, such as 5" in images.remarks()
    with pytest.raises(data.UnknownSplit, match=r"has no split 'extra'\. It has: test, train, validation\."):
        data.open_images(str(tmp_path / "x.npz"), split="extra")


def test_arrays_by_other_names_and_axes(tmp_path):
    pictures = np.arange(2, dtype=np.uint8).repeat(16).reshape(2, 4, 4)
    path = tmp_path / "x.npz"
    np.savez(path, pictures, np.array([1, 0]))
    images = data.open_images(str(path))
    assert levels(images.in_order(2)) == ([[0, 1]], [1, 0]) and "arr_0 is taken for the images." in images.remarks()
    np.savez(path, faces=pictures, codes=np.zeros((2, 7)))
    images = data.open_images(str(path))
    assert images.num_images == 2 and images.class_names is None
    assert "The array faces is taken for the images. Left out arrays that are neither images nor labels: codes" in (
        images.remarks()
    )
    channels_first = np.zeros((2, 3, 8, 5), np.uint8)
    channels_first[:, 1, 2, 3] = 9
    for name in ("x.npy", "x.npz"):
        np.save(tmp_path / name, channels_first) if name == "x.npy" else np.savez(path, images=channels_first)
        images = data.open_images(str(tmp_path / name))
        assert images.image_shape == (8, 5, 3) and "channels are taken to the end" in images.remarks()
        np.testing.assert_array_equal(only(images)[0, 2, 3], [0, 9, 0])


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


@pytest.mark.parametrize("name", ["LICENSE", "licence.txt", "COPYING.md"])
def test_the_licence_that_lies_in_a_folder_is_its(name, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "1.png")
    assert data.open_images(str(folder)).licence == "not stated: the user's own images"
    (folder / name).write_text("\n# CC BY 4.0, the makers of Example\nMore words.\n")
    assert data.open_images(str(folder)).licence == "CC BY 4.0, the makers of Example"
    assert data.open_pairs(str(folder), degrade="grey").licence == "CC BY 4.0, the makers of Example"
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "photos")
    for opened in (data.open_images(str(folder)), data.open_images(str(tmp_path / "packed.zip"))):
        assert opened.licence == "CC BY 4.0, the makers of Example"
        assert name not in " ".join(opened.notes)  # it is no file that was left out


def test_the_licences_of_two_sides_are_both_theirs(tmp_path):
    for side in "AB":
        (tmp_path / side).mkdir()
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / side / "1.png")
        (tmp_path / side / "LICENSE").write_bytes(f"\ufeff\r\nTerms of {side}\r\n".encode())
    for more in ({}, {"targets": str(tmp_path / "B")}):
        assert data.open_pairs(str(tmp_path / ("A" if more else "")), **more).licence == "Terms of A; Terms of B"


@pytest.mark.parametrize("memory_limit", [records.MEMORY_LIMIT, 0], ids=["held", "read"])
def test_labels_that_tfds_lacks(tmp_path, memory_limit, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(records, "MEMORY_LIMIT", memory_limit)
    features = {"image": tfds.features.Image(shape=(2, 2, 1)), "label": tfds.features.ClassLabel(num_classes=2)}
    rows = [
        examples(image=[np.full((2, 2, 1), n % 256, np.uint8) for n in range(len(labels))], label=labels)
        for labels in ([0, 1, -1, 1], [-1, -1], [0] * 300 + [-1])
    ]
    path = store(tmp_path, "partly", features, dict(zip(("train", "validation", "test"), rows, strict=True)))
    some = data.open_images(path)
    assert levels(some.in_order(4)) == ([[0, 1, 3]], [0, 1, 1])
    assert (some.num_images, some.notes[0]) == (3, "Left out 1 of 4 images, which have no label.")
    none = data.open_images(path, split="val[:50%]")
    assert (none.num_images, none.class_names) == (1, None)
    assert "All of its labels say that there is none" in none.remarks()
    last = data.open_images(path, split="test")
    if memory_limit:
        assert last.num_images == 300
    else:
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"DataError: The first images have labels, and one of"
        ):
            list(last.in_order(301))


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
    monkeypatch.setattr(named, "unreachable", lambda urls: "example.org: no answer" if urls else None)


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
    monkeypatch.setattr(hosts, "_PROBE_SECONDS", 0.2)
    asked = threading.Event()

    def never(*args, **kwargs):
        asked.wait(5)
        raise hosts.requests.ConnectionError

    monkeypatch.setattr(hosts.requests, "get", never)
    start = time.perf_counter()
    assert hosts.unreachable(["http://slow.example/x"]) == "slow.example: no answer within 0 s"
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
        assert hosts.unreachable([f"{url}/here"]) is None
        assert "127.0.0.1: 404" in hosts.unreachable([f"{url}/gone"])
        server.shutdown()
    assert "refused" in hosts.unreachable([f"{url}/here"])


def test_fallback(tmp_path, unreachable, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: said.append(text % args))
    images = data.open_images("fashion_mnist", data_dir=str(tmp_path), fallback_dataset="mnist_5k")
    assert (images.name, images.fallback_for, images.num_images) == ("mnist_5k", "fashion_mnist", 4000)
    assert said == ["fashion_mnist cannot be downloaded (no answer from example.org); taking mnist_5k."]
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
    with pytest.raises(data.DataError, match=r"neither a folder nor a \.zip of images, nor an \.npz or \.npy file\.$"):
        data.open_images(str(tmp_path / "notes.txt"))
    (tmp_path / "photos.tar.gz").touch()
    with pytest.raises(data.DataError, match=r"Unpack it, or pack it as a \.zip\."):
        data.open_images(str(tmp_path / "photos.tar.gz"))
    with pytest.raises(data.DataError, match=r"Give the folder, '.*'\."):
        data.open_images(str(save(tmp_path / "one.png", grey(0))))
    with pytest.raises(data.DataError, match="`image_size=0` must be a side of at least 1 pixel"):
        data.open_images("mnist_5k", image_size=0)
    with pytest.raises(data.DataError, match="`channels=9` must be 1"):
        data.open_images("mnist_5k", channels=9)
    with pytest.raises(data.DataError, match="become no 2 channels: `channels` must be 1, 3 or 4"):
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


# ---------------------------------------------------------------------------------------------- stored values


def deep(folder, arrays, ending="png"):
    for number, array in enumerate(arrays):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / f"{number}.{ending}")
    return str(folder)


TWELVE_BITS = [np.linspace(0, high, 64).reshape(8, 8).astype(np.uint16) for high in (1200, 4000)]


@pytest.mark.parametrize("memory_limit", [records.MEMORY_LIMIT, 0], ids=["held", "read"])
@pytest.mark.parametrize("source", ["png", "tif", "npy", "tfds"])
def test_deep_values_are_scaled_by_one_range_for_the_set(source, memory_limit, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(records, "MEMORY_LIMIT", memory_limit)
    if source == "npy":
        path = str(tmp_path / "deep.npy")
        np.save(path, TWELVE_BITS)
    elif source == "tfds":
        features = {"image": tfds.features.Image(shape=(8, 8, 1), dtype=np.uint16)}
        path = store(tmp_path, "deep", features, {"train": examples(image=[x[..., None] for x in TWELVE_BITS])})
    else:
        path = deep(tmp_path / "deep", TWELVE_BITS, source)
    images = data.open_images(path)
    assert images.value_range == (0, 4095) and images.describe()["value_range"] == [0, 4095]
    np.testing.assert_array_equal(only(images)[..., 0], np.round(np.array(TWELVE_BITS) / 4095 * 255))
    assert images.notes == (
        "Stored values from 0 (black) to 4095 (white) are scaled to 8 bits, as the images hold 0 to 4000 "
        "(`value_range=LOW,HIGH` sets another).",
    )
    asked = data.open_images(path, value_range=(0, 4000))
    np.testing.assert_array_equal(only(asked)[..., 0], np.round(np.array(TWELVE_BITS) / 4000 * 255))
    assert "as `value_range` says" in asked.notes[0] and asked.value_range == (0, 4000)
    prints = {data.open_images(path, value_range=limits).fingerprint for limits in (None, (0, 4000), (0, 65535))}
    assert len(prints) == 3
    dark = data.open_images(path, value_range=(0, 65535))
    assert dark.notes[1].startswith("The images use the levels 0 to 16 of 0 to 255 only")


@pytest.mark.parametrize("memory_limit", [records.MEMORY_LIMIT, 0], ids=["held", "read"])
def test_floats_of_every_source(tmp_path, memory_limit, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(records, "MEMORY_LIMIT", memory_limit)
    stored = np.linspace(-1, 1, 128).reshape(2, 8, 8).astype(np.float32)
    np.save(tmp_path / "floats.npy", stored)
    features = {"image": tfds.features.Image(shape=(8, 8, 1), dtype=np.float32)}
    sources = [
        deep(tmp_path / "floats", stored, "tif"),
        str(tmp_path / "floats.npy"),
        store(tmp_path, "floating", features, {"train": examples(image=list(stored[..., None]))}),
    ]
    for path in sources:
        images = data.open_images(path)
        assert images.value_range == (-1, 1)
        np.testing.assert_array_equal(only(images)[..., 0], np.round((stored + 1) / 2 * 255))
        small = data.open_images(path, image_size=4, channels=3)
        assert small.image_shape == (4, 4, 3) and np.ptp(only(small)) > 200


@pytest.mark.parametrize(
    ("array", "value_range"),
    [
        (np.arange(32).reshape(2, 4, 4) % 3 == 0, (0, 1)),
        (np.linspace(0, 1, 32).reshape(2, 4, 4), (0, 1)),
        (np.linspace(0, 255, 32).reshape(2, 4, 4), (0, 255)),
        (np.linspace(0, 255, 32).reshape(2, 4, 4).astype(np.int64), (0, 255)),
        (np.linspace(-1, 1, 32).reshape(2, 4, 4).astype(np.float16), (-1, 1)),
        (np.linspace(0, 65535, 32).reshape(2, 4, 4).astype(np.uint16), (0, 65535)),
        (np.linspace(-1000, 3000, 32).reshape(2, 4, 4).astype(np.int16), (-1000, 3000)),
        (np.linspace(0, 255, 32).reshape(2, 4, 4).astype(np.uint8), None),
    ],
)
def test_arrays_of_every_range(array, value_range, tmp_path):
    np.savez(tmp_path / "x.npz", images=array)
    images = data.open_images(str(tmp_path / "x.npz"))
    assert images.value_range == value_range
    low, high = value_range or (0, 255)
    np.testing.assert_array_equal(only(images)[..., 0], np.round((array.astype(float) - low) / (high - low) * 255))
    as_stored = value_range in (None, (0, 1)) or array.dtype == np.uint16
    assert len(images.notes) == (0 if as_stored else 1)


def test_other_splits_are_scaled_as_the_first(tmp_path):
    deep(tmp_path / "set" / "train", TWELVE_BITS)
    deep(tmp_path / "set" / "test", [np.full((8, 8), 1000, np.uint16)])
    _, test = data.load(str(tmp_path / "set"), 2)
    assert data.to_uint8(next(iter(test))).numpy().max() == 62  # of 4095
    settings = runs.Settings(dataset=str(tmp_path / "set"))
    facts = json.loads(json.dumps(build.open_split(settings, "train").describe()))
    assert only(build.open_split_like(facts, settings, "test")).max() == 62
    asked = runs.Settings(dataset=str(tmp_path / "set"), value_range=(0, 1000))
    assert only(build.open_split(asked, "train")).min() == 0
    assert only(build.open_split_like(facts, asked, "test")).max() == 255


def test_sets_of_mixed_depths(tmp_path):
    mixed = deep(tmp_path / "mixed", [np.full((8, 8), 257 * 40, np.uint16), grey(40)])
    images = data.open_images(mixed)
    assert images.value_range is None and set(only(images).ravel()) == {40}
    assert images.notes[0] == "1 of the images have 16 bits and the others 8: 65535 and 255 are white in them."
    Image.fromarray(np.float32(grey(1))).save(tmp_path / "mixed" / "2.tif")
    with pytest.raises(data.DataError, match=r"1 images of .* have 8 bits, and 1 have 32, .*give the `value_range`"):
        data.open_images(mixed)
    assert data.open_images(mixed, value_range=(0, 255)).num_images == 3


def test_the_range_of_many_images_is_that_of_a_seeded_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "_MEASURED", 4)
    path = deep(tmp_path / "deep", [np.full((8, 8), 500 * n, np.uint16) for n in range(9)], "tif")
    first = data.open_images(path)
    assert first.value_range == (0, 4095) and first.notes == data.open_images(path).notes
    assert "the images hold 500 to 3500" in first.notes[0]  # not 4000, which the sample does not have


def test_images_with_nan_are_named_and_counted(tmp_path):
    good, bad = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8), np.full((8, 8), np.nan, np.float32)
    path = deep(tmp_path / "floats", [good, bad], "tif")
    with pytest.raises(data.DataError, match=r"1 of the 2 images .* 1\.tif: 64 of its 64 values are NaN or infinite"):
        data.open_images(path)
    one = deep(tmp_path / "bad", [bad], "tif")
    with pytest.raises(data.DataError, match=r"1 of the 1 images .* 0\.tif: 64 of its 64 values are NaN"):
        data.open_images(one)


@pytest.mark.parametrize("value_range", [(1, 0), (0, float("inf")), (0,), "0,1,2", 5])
def test_wrong_ranges(numbered, value_range):
    with pytest.raises(data.DataError, match=r"`value_range=.*` must be two numbers, the first the smaller"):
        data.open_images(numbered, value_range=value_range)


@pytest.mark.parametrize("memory_limit", [records.MEMORY_LIMIT, 0], ids=["held", "read"])
def test_sets_that_look_wrong_have_a_note(tmp_path, memory_limit, monkeypatch):
    monkeypatch.setattr(records, "MEMORY_LIMIT", memory_limit)

    def notes(array):
        np.save(tmp_path / "x.npy", array)
        return data.open_images(str(tmp_path / "x.npy")).notes

    noise = np.random.default_rng(0).integers(0, 256, (9, 16, 16), dtype=np.uint8)
    assert notes(noise) == () and notes(noise[:1]) == ()
    assert notes(np.where(noise > 250, 255, 0).astype(np.uint8)) == ()  # two levels, far apart
    assert notes(np.repeat(noise[:1], 9, 0)) == ("All 9 images looked at are the same.",)
    assert "levels 0 to 9 of 0 to 255 only" in notes(noise % 10)[0]
    assert len(notes(np.zeros_like(noise))) == 2
    assert data.open_images("mnist_5k").notes == ()
