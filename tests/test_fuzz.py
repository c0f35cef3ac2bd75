"""Whatever a file from elsewhere holds, reading it works or raises what is documented, and nothing else."""

import contextlib
import copy
import io
import json
import zipfile

import numpy as np
import pytest
from absl import flags
from conftest import random_images, tiny_gan, train
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from PIL import Image

from tfgan_app import cli, runs
from tfgan_app.base import errors
from tfgan_app.base.errors import CheckpointError
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.data import DataError, open_images
from tfgan_app.export.loaded import SavedGAN
from tfgan_app.runs import build
from tfgan_app.study.receipts import compare, read_receipt, write_receipt

pytestmark = pytest.mark.parametrize("cases", [200, pytest.param(2000, marks=pytest.mark.nightly)])


def fuzz(cases, strategy):
    """Runs the decorated function on so many values, the same ones each time where they are few."""
    options = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    limits = hypothesis_settings(max_examples=cases, derandomize=cases <= 200, **options)
    return lambda holds: limits(given(strategy)(holds))()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def edited(draw, valid):
    """JSON with some values of a valid object replaced or left out."""
    found = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        place = found
        while place:
            key = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
            if isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            if draw(st.booleans()):
                place[key] = draw(JSON)
            else:
                del place[key]
            break
    return json.dumps(found).encode()


@st.composite
def cut(draw, valid):
    """Bytes with some overwritten, or the end cut off."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, max(len(data) - 1, 0)))
        piece = draw(st.binary(min_size=1, max_size=4))
        data[begin : begin + len(piece)] = piece
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


def documents(valid):
    text = json.dumps(valid).encode()
    deep = st.integers(1, 20_000).map(lambda depth: b"[" * depth)
    return edited(valid) | cut(text) | JSON.map(lambda value: json.dumps(value).encode()) | st.binary() | deep


# Images.


def encoded(kind):
    stream = io.BytesIO()
    Image.fromarray(np.uint8(random_images(1, (9, 9, 3))[0] * 127 + 127)).save(stream, kind)
    return stream.getvalue()


KINDS = "PNG JPEG GIF BMP TIFF WEBP PPM TGA QOI PCX SGI DDS JPEG2000 AVIF"
PICTURES = {kind.lower(): encoded(kind) for kind in KINDS.split()}
FILES = st.one_of(
    *(st.tuples(st.just(ending), cut(data)) for ending, data in PICTURES.items()),
    st.tuples(st.sampled_from(list(PICTURES)), st.binary(max_size=64)),
)


def test_folders_of_images(cases, tmp_path):
    @fuzz(cases, st.tuples(st.lists(FILES, min_size=1, max_size=3), st.sampled_from([None, 4]), st.booleans()))
    def holds(found):
        files, image_size, padded = found
        for path in tmp_path.iterdir():
            path.unlink()
        for index, (ending, data) in enumerate(files):
            (tmp_path / f"{index}.{ending}").write_bytes(data)
        for index in range(3 * padded):
            (tmp_path / f"good{index}.png").write_bytes(PICTURES["png"])
        with contextlib.suppress(DataError):
            images = open_images(str(tmp_path), image_size=image_size)
            first, _ = images.first(1)
            assert first.shape == (1, *images.image_shape)
            assert -1 <= first.min() <= first.max() <= 1


def zipped(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_archives_of_images(cases, tmp_path):
    labels = json.dumps({"labels": [["a/1.png", 0], ["b/2.png", 1]]})
    valid = {"a/1.png": PICTURES["png"], "b/2.png": PICTURES["png"]}
    lists = documents(json.loads(labels)).map(lambda text: zipped(**valid, **{"dataset.json": text}))
    names = st.dictionaries(st.text(min_size=1, max_size=12), st.just(PICTURES["png"]), min_size=1, max_size=4)

    @fuzz(cases, cut(zipped(**valid, **{"dataset.json": labels})) | lists | names.map(lambda files: zipped(**files)))
    def holds(data):
        path = tmp_path / "images.zip"
        path.write_bytes(data)
        with contextlib.suppress(DataError):
            images = open_images(str(path))
            first, _ = images.first(1)
            assert first.shape == (1, *images.image_shape)


# Arrays.


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


ARRAYS = numpy_strategies.arrays(
    numpy_strategies.scalar_dtypes(), numpy_strategies.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5)
)
GOOD_ARRAYS = {"images": np.zeros((5, 4, 4, 1), np.uint8), "labels": np.arange(5)}


def test_arrays(cases, tmp_path):
    arrays = st.fixed_dictionaries({"images": ARRAYS | st.just(GOOD_ARRAYS["images"])}, optional={"labels": ARRAYS})

    @fuzz(cases, cut(npz(**GOOD_ARRAYS)) | arrays.map(lambda found: npz(**found)) | st.binary())
    def holds(data):
        path = tmp_path / "images.npz"
        path.write_bytes(data)
        with contextlib.suppress(DataError):
            images = open_images(str(path))
            first, _ = images.first(1)
            assert first.shape == (1, *images.image_shape)
            assert -1 <= first.min() <= first.max() <= 1


def test_single_arrays(cases, tmp_path):
    stream = io.BytesIO()
    np.save(stream, GOOD_ARRAYS["images"])

    @fuzz(cases, cut(stream.getvalue()) | st.binary())
    def holds(data):
        path = tmp_path / "images.npy"
        path.write_bytes(data)
        with contextlib.suppress(DataError):
            open_images(str(path)).first(1)


# Flags.


LINES = st.one_of(
    st.text(max_size=20),
    st.builds("--{}={}".format, st.sampled_from([row.name for row in runs.Settings.rows()]), st.text(max_size=12)),
    st.builds("--flagfile={}".format, st.sampled_from(["fuzz.flags", "mnist.flags", "nowhere", ""])),
)


def test_flagfiles(cases, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    @fuzz(
        cases, st.lists(LINES, max_size=4).map("\n".join).map(lambda text: text.encode(errors="replace")) | st.binary()
    )
    def holds(data):
        (tmp_path / "fuzz.flags").write_bytes(data)
        with contextlib.suppress(errors.UsageError, flags.Error):
            cli.parsed(runs.Settings, ["--flagfile=fuzz.flags"])


PARTS = st.text("R1(weigh=5,.)[]{}'\"-+*_ \x00é", max_size=16) | st.integers(1, 3000).map(lambda depth: "(" * depth)


def test_arguments_within_flags(cases):
    @fuzz(cases, PARTS)
    def holds(text):
        for read in (
            lambda: build._terms((text,), tiny_gan()),
            lambda: build._augment(text),
            lambda: build._model_arguments((text,)),
        ):
            with contextlib.suppress(errors.UsageError):
                read()
        with contextlib.suppress(errors.UsageError):
            build._model_arguments((f"units={text}",))


# What runs leave behind.


RECEIPT = {
    "scores": {"fd": 1.5, "fd_error": 0.1, "precision": 0.5},
    "metrics": [{"name": "fd", "metric": "FrechetDistance", "version": 1, "groups": 10}],
    "extractor": {"name": "mnist_cnn", "sha256": "0", "feature_dim": 64, "resizer": None, "canonical": False},
    "real": {"name": "mnist_5k", "split": "test", "fingerprint": "1", "image_shape": [28, 28, 1], "used": 1000},
    "fake": {"used": 1000, "source": "runs/mnist", "step": 6000},
}


def test_receipts(cases, tmp_path):
    good = read_receipt(write_receipt(tmp_path / "good.json", RECEIPT))

    @fuzz(cases, documents(RECEIPT))
    def holds(data):
        path = tmp_path / "receipt.json"
        path.write_bytes(data)
        with contextlib.suppress(ValueError):
            receipt = read_receipt(path)
            compare(receipt, receipt)
            compare(receipt, good)


def record():
    settings = runs.Settings(model_arg=["base_channels=2"], batch_size=8, train_steps=4, precision="none").values()
    facts = {
        "name": "mnist_5k",
        "fingerprint": "1",
        "image_shape": [28, 28, 1],
        "num_classes": 10,
        "fallback_for": None,
    }
    return {"settings": settings, "data": facts, "eval_split": "test", "sessions": [{"from_step": 0}], "rollbacks": []}


def test_records_of_runs(cases, tmp_path):
    valid = record()
    path = tmp_path / "run.json"
    path.write_text(json.dumps(valid))
    settings = runs.Settings.read(valid["settings"])
    runs.Run(tmp_path).check(settings, valid["data"])

    @fuzz(cases, documents(valid))
    def holds(data):
        path.write_bytes(data)
        with contextlib.suppress(errors.Failure, errors.UsageError):
            found = runs.Run(tmp_path)
            found.check(settings, valid["data"])


def test_manifests_of_checkpoints(cases, tmp_path):
    gan = tiny_gan(run_eagerly=True)
    checkpoints = Checkpoints(gan, tmp_path)
    for _ in range(2):
        train(gan, random_images(4))
        folder = checkpoints.save({"val_fd": 1.0})
    path = folder / "manifest.json"

    @fuzz(cases, documents(json.loads(path.read_text())))
    def holds(data):
        path.write_bytes(data)
        with contextlib.suppress(CheckpointError):
            checkpoints.restore(2)
        assert checkpoints.restore() in checkpoints.folders()
        assert isinstance(checkpoints.facts(), dict)


def test_facts_of_saved_models(cases, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    (tmp_path / "assets.extra").mkdir()
    valid = {"model": "DCGAN", "image_shape": [28, 28, 1], "latent_dim": 4, "num_classes": None, "step": 2}

    @fuzz(cases, documents(valid))
    def holds(data):
        (tmp_path / "assets.extra" / "gan.json").write_bytes(data)
        # The model itself is empty, so nothing is ever loaded.
        with pytest.raises(errors.UsageError):
            SavedGAN(tmp_path)
