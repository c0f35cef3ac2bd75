"""tfgan_app.metrics.patches: Laplacian pyramids, and the distance of their patches against a slow program."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import random_images

from tfgan_app import metrics
from tfgan_app.metrics import patches
from tfgan_app.observation import Observation


def convolved(images, kernel):
    """Convolves images, mirrored at their edges."""
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    height, width = images.shape[1:3]
    return sum(kernel[i, j] * padded[:, i : i + height, j : j + width] for i in range(5) for j in range(5))


def pyramid(images, num):
    """A Laplacian pyramid, as Burt and Adelson define it."""
    weights = np.array([1, 4, 6, 4, 1]) / 16
    kernel, levels = np.outer(weights, weights), [images.astype(np.float64)]
    for _ in range(num - 1):
        levels.append(convolved(levels[-1], kernel)[:, ::2, ::2])
        larger = np.zeros_like(levels[-2])
        larger[:, ::2, ::2] = levels[-1]
        levels[-2] = levels[-2] - convolved(larger, 4 * kernel)
    return levels


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        ((28, 28, 1), [(28, 28), (14, 14)]),
        ((64, 64, 3), [(64, 64), (32, 32), (16, 16)]),
        ((29, 57, 3), [(29, 57), (15, 29)]),
        ((27, 80, 1), [(27, 80)]),
        ((128, 64, 3), [(128, 64), (64, 32), (32, 16)]),
    ],
)
def test_levels_are_those_of_laplacian_pyramids(shape, sizes):
    images = random_images(3, shape)
    found = patches.laplacian_pyramid(tf.constant(images))
    assert [tuple(level.shape[1:3]) for level in found] == sizes
    for level, expected in zip(found, pyramid(images, len(sizes)), strict=True):
        np.testing.assert_allclose(level, expected, atol=1e-5)


def test_patches_are_parts_of_their_image_from_everywhere():
    height, width = 9, 12
    numbers = np.arange(5 * height * width, dtype=np.float32).reshape(5, height, width, 1)
    found = patches._patches(tf.constant(numbers), 200, tf.constant(0, tf.int64), 0).numpy()
    corners = found[:, :, 0, 0, 0].astype(int)
    for image in range(5):
        rows, columns = np.divmod(corners[image] - image * height * width, width)
        assert set(rows) == set(range(3)) and set(columns) == set(range(6))
        for patch, row, column in zip(found[image], rows, columns, strict=True):
            np.testing.assert_array_equal(patch, numbers[image, row : row + 7, column : column + 7])


def test_distance_is_the_mean_over_directions_of_sorted_projections():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(300, 7, 7, 3)), rng.gamma(1.0, size=(300, 7, 7, 3)) * [1, 2, 3] + 5
    scaled = [(x - x.mean((0, 1, 2))) / x.std((0, 1, 2)) for x in (real, fake)]
    axes = np.random.default_rng(4).normal(size=(147, 64))
    axes /= np.linalg.norm(axes, axis=0)
    first, second = (np.sort(x.reshape(300, -1) @ axes, axis=0) for x in scaled)
    found = metrics.patch_distance(real, fake, directions=64, seed=4)
    assert found == pytest.approx(1000 * np.abs(first - second).mean(), rel=1e-4)
    assert metrics.patch_distance(real, real[::-1]) == 0
    # A generator that draws one colour is far off, and no division by 0.
    assert 100 < metrics.patch_distance(real, np.zeros_like(fake)) < 1000


def test_it_does_not_depend_on_batches_and_is_saved():
    real, fake = random_images(60, (16, 18, 3), seed=1), random_images(60, (16, 18, 3), seed=2) ** 3
    metric = metrics.PatchSlicedWasserstein((16, 18, 3), num_images=60)
    metric.observe(Observation(real, fake))
    expected = metric.results()
    assert list(expected) == ["patch_swd", "patch_swd_16"] and expected["patch_swd"] == metric.result() > 20
    again = type(metric).from_config(metric.get_config())
    for start in range(0, 60, 7):
        again.update_state(real[start : start + 7], fake[start : start + 7])
    assert again.results() == expected
    metric.reset_state()
    metric.update_state(real, real)
    assert metric.result() == 0


def test_blurred_and_noisy_images_are_told_by_the_level_where_they_differ():
    rng = np.random.default_rng(0)
    base = np.repeat(np.repeat(rng.uniform(-1, 1, (400, 8, 8, 3)), 8, 1), 8, 2).astype(np.float32)
    real, same = base[:200], base[200:]

    def levels(fake):
        metric = metrics.PatchSlicedWasserstein((64, 64, 3), num_images=200, num_patches=4000, directions=64)
        metric.update_state(real, fake)
        return np.array(list(metric.results().values())[1:])

    alike, blurred = levels(same), levels(convolved(same, np.full((5, 5), 1 / 25)))
    ratio = blurred / alike
    assert ratio[0] > 2 and ratio[0] > 2 * ratio[2]


def test_more_patches_bring_two_real_sets_nearer():
    values = []
    for num in (40, 4000):
        metric = metrics.PatchSlicedWasserstein((16, 16, 1), num_images=100, num_patches=num)
        metric.update_state(random_images(100, (16, 16, 1), seed=1), random_images(100, (16, 16, 1), seed=2))
        values.append(metric.result())
    assert values[1] < values[0] / 4


def test_errors():
    with pytest.raises(ValueError, match=r"Patches are of 7x7 pixels. Received: image_shape=\(6, 8, 1\)"):
        metrics.PatchSlicedWasserstein((6, 8, 1))
    with pytest.raises(ValueError, match="PatchSlicedWasserstein needs images of each side"):
        metrics.PatchSlicedWasserstein((8, 8, 1)).result()
