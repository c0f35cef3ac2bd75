"""tfgan_app.runs.generate: images by thousands, in the memory of one batch, and whole or not at all."""

import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfgan_app import pictures, runs
from tfgan_app.base.errors import UsageError
from tfgan_app.modalities import Images
from tfgan_app.runs import generation
from tfgan_app.sampler import Sampler


class Flat(Sampler):
    """Draws images that are of one grey level each, that of their first latent."""

    latent_dim, num_classes = 4, None

    def __init__(self, shape, num_classes=None, fails_after=None):
        self.modality, self.num_classes = Images(shape), num_classes
        self.left = fails_after

    def forward(self, inputs, truncation=None):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise OSError(28, "No space left on device")
        level = tf.tanh(inputs[0][:, 0])
        if self.num_classes:
            level = level / 9 + tf.cast(inputs[1], tf.float32) / 10
        return tf.ones((1, *self.modality.shape)) * tf.reshape(level, (-1, 1, 1, 1))


def draw(monkeypatch, sampler, out, **arguments):
    monkeypatch.setattr(generation, "open_trained", lambda *asked: sampler)
    return runs.generate(saved_model="any", out=out, **arguments)


@pytest.mark.parametrize("name", ["images.npz", "images.npy", "folder"])
def test_memory_does_not_grow_with_the_number_of_images(name, tmp_path, monkeypatch):
    sampler, peaks = Flat((64, 64, 3)), []
    for num in (512, 1280):
        tracemalloc.start()
        draw(monkeypatch, sampler, tmp_path / str(num) / name, num_images=num)
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    # All of them, as float32, are 60 MiB.
    assert peaks[1] < peaks[0] + 8 and peaks[1] < 50, peaks


@pytest.mark.parametrize("num_classes", [None, 3])
def test_every_form_holds_what_sample_draws(num_classes, tmp_path, monkeypatch):
    sampler, lines = Flat((4, 4, 1), num_classes), []
    expected = pictures.grid(sampler.sample(300, seed=5), 1, border=0).reshape(300, 4, 4, 1)
    for name in ("images.npz", "images.npy", "folder"):
        found = draw(monkeypatch, sampler, tmp_path / name, num_images=300, seed=5, progress=lines.append)
        assert found == runs.Generated(tmp_path / name, 300)
    with np.load(tmp_path / "images.npz", allow_pickle=False) as arrays:
        assert set(arrays.files) == ({"images"} if num_classes is None else {"images", "labels"})
        np.testing.assert_array_equal(arrays["images"], expected)
        if num_classes:
            np.testing.assert_array_equal(arrays["labels"], np.arange(300) % 3)
    array = np.load(tmp_path / "images.npy", mmap_mode="r", allow_pickle=False)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, expected)
    paths = sorted((tmp_path / "folder").iterdir())
    assert [paths[0].name, paths[-1].name, len(paths)] == ["000.png", "299.png", 300]
    np.testing.assert_array_equal([np.asarray(Image.open(path))[..., None] for path in paths], expected)
    assert lines == ["256/300 images", "300/300 images"] * 3


@pytest.mark.parametrize("name", ["images.npz", "images.npy", "folder"])
def test_a_draw_that_fails_leaves_nothing(name, tmp_path, monkeypatch):
    with pytest.raises(OSError, match="No space left"):
        draw(monkeypatch, Flat((4, 4, 1), fails_after=1), tmp_path / name, num_images=300)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_files_is_not_drawn_into(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    draw(monkeypatch, Flat((4, 4, 1)), tmp_path / "mine", num_images=2)
    with pytest.raises(UsageError, match=r"`out=.*mine` is a folder that holds files already"):
        draw(monkeypatch, Flat((4, 4, 1)), tmp_path / "mine", num_images=2)


@pytest.mark.parametrize("name", ["file/x.npz", "file/folder", "file/grid.png"])
def test_where_it_goes_is_tried_before_anything_is_drawn(name, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"`out=.*` cannot be written: .*Not a directory"):
        runs.generate(run="nowhere", out=tmp_path / name)


def test_batches_are_the_outputs():
    sampler = Flat((2, 2, 1), 3)
    labels = np.arange(600) % 2
    parts = list(sampler.batches(600, 7, labels, 0.5))
    assert [len(part) for part in parts] == [256, 256, 88]
    np.testing.assert_array_equal(np.concatenate(parts), sampler.outputs(sampler.latents(600, 7), labels, 0.5))
    # Vector units round the last of a batch apart.
    np.testing.assert_allclose(
        sampler.latents(600, 7)[123:200], sampler.latents(77, 7, start=123), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(ValueError, match="`labels` must be 5 integers"):
        next(sampler.batches(5, labels=labels))
