"""tfgan_app.pictures: grids, PNG and GIF files."""

import numpy as np
import pytest
from PIL import Image

from tfgan_app import pictures


@pytest.mark.parametrize(("classes", "columns"), [(None, 10), (0, 10), (2, 8), (3, 9), (10, 10), (16, 16), (17, 10)])
def test_columns_show_a_few_classes_each(classes, columns):
    assert pictures.columns(classes) == columns


def test_grid_places_images_row_by_row():
    images = np.arange(1, 6).reshape(5, 1, 1, 1) / 10 * np.ones((1, 3, 2, 1))
    sheet = pictures.grid(images, columns=2, border=1)
    assert sheet.shape == (3 * (3 + 1) + 1, 2 * (2 + 1) + 1, 1)
    assert sheet.dtype == np.uint8
    expected = np.full(sheet.shape, 255)
    for index, (top, left) in enumerate([(1, 1), (1, 4), (5, 1), (5, 4), (9, 1)]):
        expected[top : top + 3, left : left + 2] = round(255 * (index + 1) / 10)
    np.testing.assert_array_equal(sheet, expected)


@pytest.mark.parametrize(("num", "columns", "shape"), [(9, None, (3, 3)), (7, None, (3, 3)), (2, 5, (1, 5))])
def test_grid_size(num, columns, shape):
    sheet = pictures.grid(np.zeros((num, 4, 4, 3)), columns, border=2)
    assert sheet.shape == (shape[0] * 6 + 2, shape[1] * 6 + 2, 3)


def test_grid_clips_and_rounds():
    sheet = pictures.grid(np.array([-1.0, 0.5, 2.0]).reshape(3, 1, 1, 1), columns=3, border=0)
    assert sheet.ravel().tolist() == [0, 128, 255]


@pytest.mark.parametrize("channels", [1, 3])
def test_png_holds_the_pixels(tmp_path, channels):
    image = np.random.default_rng(0).integers(0, 256, (4, 5, channels), np.uint8)
    pictures.save_png(tmp_path / "new" / "image.png", image, scale=3)
    read = np.asarray(Image.open(tmp_path / "new" / "image.png"))
    expected = image.repeat(3, 0).repeat(3, 1)
    np.testing.assert_array_equal(read, expected if channels == 3 else expected[..., 0])


def test_gif_holds_the_frames(tmp_path):
    frames = [np.full((4, 5, 1), level, np.uint8) for level in (0, 100, 200)]
    pictures.save_gif(tmp_path / "new" / "walk.gif", frames, frames_per_second=4, scale=2)
    with Image.open(tmp_path / "new" / "walk.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"], gif.info["loop"]) == (3, (10, 8), 250, 0)
        for index, frame in enumerate(frames):
            gif.seek(index)
            assert set(np.asarray(gif.convert("L")).ravel()) == {frame[0, 0, 0]}
