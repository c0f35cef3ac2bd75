"""tfgan_app.augment: every transform against NumPy, exact gradients, and the rule of p by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgan_app import augment
from tfgan_app.augment import AdaptiveAugment, Augment, DiffAugment

LAYERS = {
    "DiffAugment": lambda: DiffAugment(seed=5),
    "AdaptiveAugment": lambda: AdaptiveAugment(initial_p=0.7, color=0.5, cutout=1.0, seed=5),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
every_channels = pytest.mark.parametrize("channels", [1, 3, 5])


def random_images(*shape, dtype=np.float32):
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(dtype)


def constants(*arrays):
    return [tf.constant(array, tf.float64) for array in arrays]


# Transforms with given parameters.


def translated(image, down, right):
    height, width, _ = image.shape
    moved = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                moved[y, x] = image[y - down, x - right]
    return moved


def test_translate():
    images, down, right = random_images(5, 4, 6, 3), [0, 1, -2, 3, -5], [0, -1, 2, 7, 1]
    expected = [translated(*arguments) for arguments in zip(images, down, right, strict=True)]
    np.testing.assert_array_equal(augment.translate(images, tf.constant(down), tf.constant(right)), expected)


def test_cut_out():
    images = random_images(4, 5, 6, 2)
    expected = images.copy()
    for image, top, left in zip(expected, [-1, 0, 2, 4], [0, -2, 3, 5], strict=True):
        image[max(top, 0) : top + 3, max(left, 0) : left + 2] = 0
    got = augment.cut_out(images, tf.constant([-1, 0, 2, 4]), tf.constant([0, -2, 3, 5]), 3, 2)
    np.testing.assert_array_equal(got, expected)


@every_channels
def test_jitter_color(channels):
    images = random_images(3, 4, 5, channels, dtype=np.float64)
    parameters = brightness, saturation, contrast = np.array([[0.3, -0.5, 0.0], [0.0, 1.7, 1.0], [0.6, 1.4, 1.0]])
    x = images + brightness[:, None, None, None]
    grey = x.mean(3, keepdims=True)
    x = grey + saturation[:, None, None, None] * (x - grey)
    mean = x.mean((1, 2, 3), keepdims=True)
    expected = mean + contrast[:, None, None, None] * (x - mean)
    np.testing.assert_allclose(augment.jitter_color(images, *constants(*parameters)), expected, atol=1e-14)


COLORS = np.array([[0.2, -0.3, 0.0], [1.3, 0.6, 1.0], [1, 0, 0], [0.9, -2.5, 0.0], [0.4, 2.0, 1.0]])


def color_matrix(channels, brightness, contrast, luma_flip, hue, saturation):
    """C of appendix B, from homogeneous matrices in the paper's order."""

    def affine(linear, offset=0.0):
        matrix = np.eye(channels + 1)
        matrix[:-1, :-1], matrix[:-1, -1] = linear, offset
        return matrix

    identity, v = np.eye(channels), np.full((channels, 1), channels**-0.5)
    c = affine(contrast * identity) @ affine(identity, brightness)
    c = affine(identity - 2 * v @ v.T * luma_flip) @ c
    if channels == 3:
        # Any orthonormal frame whose third axis is v.
        a = np.array([[1, -1, 0]]).T / np.sqrt(2)
        frame = np.concatenate([a, np.cross(v.T, a.T).T, v], axis=1)
        turn = [[np.cos(hue), -np.sin(hue), 0], [np.sin(hue), np.cos(hue), 0], [0, 0, 1]]
        c = affine(frame @ turn @ frame.T) @ c
    return affine(v @ v.T + saturation * (identity - v @ v.T)) @ c


@every_channels
def test_transform_color(channels):
    images = random_images(3, 4, 5, channels, dtype=np.float64)
    got = augment.transform_color(images, *constants(*COLORS))
    for image, output, parameters in zip(images, got, COLORS.T, strict=True):
        c = color_matrix(channels, *parameters)
        np.testing.assert_allclose(output, image @ c[:-1, :-1].T + c[:-1, -1], atol=1e-14)
    np.testing.assert_allclose(got[2], images[2], atol=1e-14)


def test_sym6_is_the_least_asymmetric_wavelet_with_6_vanishing_moments():
    low = augment._SYM6
    np.testing.assert_allclose([low[2 * k :] @ low[: 12 - 2 * k] for k in range(6)], [1, 0, 0, 0, 0, 0], atol=1e-11)
    signs = (-1.0) ** np.arange(12)
    for power in range(6):
        moments = signs * low * (np.arange(12) / 11) ** power
        np.testing.assert_allclose(moments.sum(), 0, atol=1e-10)
    assert low.argmax() == 5  # Daubechies's own, of extremal phase, have their maximum at the end.


def warped(image, inverse, margin=40):
    """`warp` of one image by zero-stuffing and convolution of a widely padded image."""
    kernel = np.convolve(augment._SYM6, augment._SYM6[::-1])
    fine = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    for axis in (0, 1):
        stuffed = np.insert(fine, np.arange(1, fine.shape[axis]), 0, axis=axis)
        fine = np.apply_along_axis(np.convolve, axis, stuffed, kernel, mode="same")
    height, width, _ = image.shape
    output = np.empty_like(image)
    for row in range(height):
        for column in range(width):
            centre = np.array([(width - 1) / 2, (height - 1) / 2])
            position = inverse[:2, :2] @ ([column, row] - centre) + inverse[:2, 2] + centre
            (left, top), (right, down) = divmod(2 * (position + margin), 1)[0].astype(int), 2 * position % 1
            patch = fine[top : top + 2, left : left + 2]
            output[row, column] = np.einsum("yxc,y,x->c", patch, [1 - down, down], [1 - right, right])
    return output


@pytest.mark.parametrize("shape", [(6, 9, 3), (7, 7, 1), (9, 4, 4)])
def test_warp(shape):
    rng = np.random.default_rng(2)
    images = rng.uniform(-1, 1, (4, *shape))
    inverse = np.tile(np.eye(3), (4, 1, 1))
    inverse[1:, :2] += rng.normal(0, [0.7, 0.7, 5], (3, 2, 3))
    got = augment.warp(tf.constant(images), tf.constant(inverse))
    np.testing.assert_allclose(got[0], images[0], atol=1e-9)
    for output, image, matrix in zip(got, images, inverse, strict=True):
        np.testing.assert_allclose(output, warped(image, matrix), atol=1e-9)


def test_warp_interpolates_smooth_images_far_better_than_bilinearly():
    x = np.arange(40) - 19.5
    wave = np.tile(np.cos(1.5 * x)[None, None, :, None], (1, 3, 1, 1))  # period 4.2 pixels
    half = augment.translation(*constants([-0.5], [0.0]))
    error = np.abs(augment.warp(tf.constant(wave), half)[0, 1, 12:-12, 0] - np.cos(1.5 * (x - 0.5))[12:-12])
    assert error.max() < 0.02  # bilinear: 1 - cos(0.75) = 0.27


@pytest.mark.parametrize(
    ("inverse", "expected"),
    [
        (augment.scaling(tf.constant([-1.0]), tf.constant([1.0])), lambda image: image[:, ::-1]),
        (augment.rotation(tf.constant([np.pi / 2], tf.float32)), lambda image: np.rot90(image, 1)),
        (augment.rotation(tf.constant([np.pi], tf.float32)), lambda image: np.rot90(image, 2)),
        (
            augment.translation(tf.constant([-2.0]), tf.constant([1.0])),
            lambda image: np.pad(image, ((0, 1), (2, 0), (0, 0)), mode="reflect")[1:, :-2],
        ),
    ],
    ids=["flip", "quarter", "half", "shift"],
)
def test_blitting_copies_pixels(inverse, expected):
    image = random_images(8, 8, 3)
    np.testing.assert_allclose(augment.warp(image[None], inverse)[0], expected(image), atol=1e-5)


# Gradients.


@pytest.mark.parametrize(
    "transform",
    [
        lambda x: augment.translate(x, tf.constant([1, -2]), tf.constant([0, 3])),
        lambda x: augment.cut_out(x, tf.constant([1, -1]), tf.constant([2, 0]), 2, 2),
        lambda x: augment.jitter_color(x, *constants([0.1, -0.4], [1.6, 0.3], [0.7, 1.3])),
        lambda x: augment.warp(x, augment._product(*WARP)),
        lambda x: augment.transform_color(x, *constants(*COLORS[:, :2])),
    ],
    ids=["translate", "cut_out", "jitter_color", "warp", "transform_color"],
)
def test_gradients_of_first_and_second_order_equal_finite_differences(transform):
    def value(x):
        return tf.reduce_sum(tf.sin(3.0 * transform(x)))

    def penalty(x):
        """The squared norm of the gradient, as in R1."""
        return tf.reduce_sum(tf.square(gradient(value, x)))

    @tf.function
    def difference_and_gradient(x, direction):
        step = 1e-5 * direction
        return [
            ((f(x + step) - f(x - step)) / 2e-5, tf.reduce_sum(direction * gradient(f, x))) for f in (value, penalty)
        ]

    rng = np.random.default_rng(4)
    for _ in range(5):
        x, direction = constants(rng.uniform(-1, 1, (2, 4, 5, 3)), rng.normal(size=(2, 4, 5, 3)))
        for numeric, exact in difference_and_gradient(x, direction):
            assert abs(exact) > 0.01
            np.testing.assert_allclose(exact, numeric, rtol=1e-5, atol=1e-6)


def gradient(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x)


WARP = [augment.rotation(*constants([0.3, 2.0])), augment.translation(*constants([0.4, -3.3], [2.1, 0.2]))]


@every_layer
def test_second_order_gradients_flow_through_the_layer(make):
    # T x + t for the images of one pixel, and for none.
    basis = np.eye(9, dtype=np.float32).reshape(9, 1, 3, 3, 1)
    columns = [make()(image) - make()(0 * image) for image in basis]
    transform = np.stack([np.ravel(column) for column in columns], axis=1)

    # Of D(x) = <w, T x + t> the penalty is |T' w|^2, and its gradient 2 T T' w.
    weights, image = tf.constant(random_images(1, 3, 3, 1) + 0.5), tf.constant(basis[4])
    expected = 2 * transform @ transform.T @ np.ravel(weights)
    for jit_compile in (False, True):
        layer = make()

        def penalty(weights, layer=layer):
            return tf.reduce_sum(tf.square(gradient(lambda x: tf.reduce_sum(weights * layer(x)), image)))

        got = tf.function(lambda: gradient(penalty, weights), jit_compile=jit_compile)()
        np.testing.assert_allclose(np.ravel(got), expected, rtol=1e-4, atol=1e-4)
        assert np.abs(got).max() > 0.1


# Random parameters.


def test_pipeline_is_the_papers():
    """Appendix B's pseudocode in its own order, G forwards and C step by step, from the layer's uniform numbers."""
    p, size, num = 0.6, 8, 24
    layer = AdaptiveAugment(initial_p=p)
    uniform = np.random.default_rng(3).random((augment._NUM_UNIFORM, num)).astype(np.float32)
    images = random_images(num, size, size, 3)
    got = layer._transform(tf.constant(images), tf.constant(uniform))
    for image, output, numbers in zip(images, got, uniform.T.astype(float), strict=True):
        draw = iter(numbers)

        def sample(*values, probability=p, draw=draw):
            return values if next(draw) < probability else [0] * len(values)

        def between(low, high, draw=draw):
            return low + (high - low) * next(draw)

        def normal(draw=draw):
            return np.sqrt(-2 * np.log(next(draw))) * np.cos(2 * np.pi * next(draw))

        def scale(x, y):
            return np.diag([x, y, 1])

        def rotate(angle):
            return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])

        def translate(x, y):
            return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])

        (i,) = sample(int(between(0, 2)))
        g = scale(1 - 2 * i, 1)
        (i,) = sample(int(between(0, 4)))
        g = rotate(-np.pi / 2 * i) @ g
        t = sample(between(-0.125, 0.125), between(-0.125, 0.125))
        g = translate(*np.round(np.multiply(t, size))) @ g
        (log2,) = sample(0.2 * normal())
        g = scale(2**log2, 2**log2) @ g
        p_rotation = 1 - np.sqrt(1 - p)
        (angle,) = sample(between(-np.pi, np.pi), probability=p_rotation)
        g = rotate(-angle) @ g
        (log2,) = sample(0.2 * normal())
        g = scale(2**log2, 2**-log2) @ g
        (angle,) = sample(between(-np.pi, np.pi), probability=p_rotation)
        g = rotate(-angle) @ g
        t = sample(0.125 * normal(), 0.125 * normal())
        g = translate(*np.multiply(t, size)) @ g
        (brightness,) = sample(0.2 * normal())
        (log2_contrast,) = sample(0.5 * normal())
        (i,) = sample(int(between(0, 2)))
        (hue,) = sample(between(-np.pi, np.pi))
        (log2_saturation,) = sample(normal())
        assert not list(draw)
        c = color_matrix(3, brightness, 2**log2_contrast, i, hue, 2**log2_saturation)
        expected = warped(image.astype(float), np.linalg.inv(g)) @ c[:3, :3].T + c[:3, 3]
        np.testing.assert_allclose(output, expected, atol=1e-4)


def share_unchanged(layer, images):
    return np.mean(np.all(np.isclose(layer(images), images, atol=1e-4), axis=(1, 2, 3)))


@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize(
    ("group", "expected"),
    [
        # Half of the flips, a quarter of the turns and, at 8 pixels, a quarter of the shifts leave all in place.
        ("blit", lambda p: (1 - p / 2) * (1 - 3 * p / 4) ** 2),
        ("geometric", lambda p: (1 - p) ** 4),
        ("color", lambda p: (1 - p) ** 4 * (1 - p / 2)),
        ("cutout", lambda p: 1 - p),
    ],
)
@pytest.mark.parametrize("p", [0.2, 0.6])
def test_each_group_changes_images_as_often_as_its_share_of_p_says(group, expected, p, strength):
    off = dict.fromkeys(("blit", "geometric", "color"), 0.0)
    images = np.tile(random_images(1, 8, 8, 3), (4000, 1, 1, 1))
    got = share_unchanged(AdaptiveAugment(initial_p=p, seed=1, **{**off, group: strength}), images)
    share = expected(strength * p)
    assert abs(got - share) < 4 * np.sqrt(share / 4000)  # 4 standard deviations


def test_adaptive_cutout_is_a_half_of_each_side_about_any_centre():
    layer = AdaptiveAugment(initial_p=1.0, blit=False, geometric=False, color=False, cutout=True, seed=1)
    num = 6000
    holes = 1 - np.asarray(layer(np.ones((num, 8, 12, 1), np.float32)))[..., 0]
    heights, widths = holes.max(2).sum(1), holes.max(1).sum(1)
    assert (heights.max(), heights.min(), widths.max(), widths.min()) == (4, 2, 6, 3)
    # A pixel is cut where the centre lies within a quarter of a side: half the time along both, in the middle.
    np.testing.assert_allclose(holes[:, 4, 6].mean(), 0.25, atol=4 * np.sqrt(0.25 / num))
    np.testing.assert_allclose(holes[:, 0, 0].mean(), (2.5 / 8) * (3.5 / 12), atol=4 * np.sqrt(0.1 / num))
    # Along a side the corner is any of 8 or 12 places and their two ends, which are half as likely.
    tops = np.argmax(holes[heights == 4].max(2), axis=1)
    counts = np.bincount(tops, minlength=5)
    np.testing.assert_allclose(counts, num / 8, atol=5 * np.sqrt(num / 8))


def test_cutout_leaves_the_other_draws_as_they_were():
    plain, images = AdaptiveAugment(initial_p=0.7, seed=5), random_images(64, 8, 8, 3)
    uniform = np.random.default_rng(3).random((augment._NUM_UNIFORM + 3, 64)).astype(np.float32)
    cut = AdaptiveAugment(initial_p=0.7, cutout=True)._transform(tf.constant(images), tf.constant(uniform))
    whole = plain._transform(tf.constant(images), tf.constant(uniform[: augment._NUM_UNIFORM]))
    kept = cut != 0
    np.testing.assert_array_equal(cut[kept], whole[kept])
    assert 0.7 < np.mean(kept) < 0.9


def test_brightness_is_normal():
    layer = AdaptiveAugment(initial_p=1.0, blit=False, geometric=False, seed=1)
    brightness = np.ravel(layer(np.zeros((8000, 1, 1, 1), np.float32)))
    # Contrast and luma flips multiply it.
    rng = np.random.default_rng(5)
    expected = rng.normal(0, 0.2, 8000) * 2 ** rng.normal(0, 0.5, 8000)
    assert abs(brightness.mean()) < 0.02
    for part in (0.25, 0.5, 0.9):
        np.testing.assert_allclose(*(np.quantile(np.abs(x), part) for x in (brightness, expected)), rtol=0.1)
    assert 0.48 < np.mean(brightness > 0) < 0.52


def test_diff_augment_draws_the_papers_ranges():
    num = 6000
    brightness = np.ravel(DiffAugment(["color"], seed=1)(np.zeros((num, 1, 1, 1), np.float32)))
    assert -0.5 <= brightness.min() < -0.49 and 0.49 < brightness.max() < 0.5
    assert abs(brightness.mean()) < 0.02

    marker = np.zeros((num, 8, 12, 1), np.float32)
    marker[:, 4, 6] = 1
    _, rows, columns, _ = np.nonzero(DiffAugment(("translation",), seed=1)(marker))
    assert len(rows) == num
    counts = np.histogram2d(rows - 4, columns - 6, [np.arange(-1.5, 2), np.arange(-2.5, 3)])[0]
    assert counts.sum() == num  # at most 1 of 8 and 2 of 12 pixels
    np.testing.assert_allclose(counts, num / 15, atol=4 * np.sqrt(num / 15))

    for size in (8, 9):
        holes = 1 - np.asarray(DiffAugment(("cutout",), seed=1)(np.ones((num, size, size, 1), np.float32)))[..., 0]
        heights = holes.max(2).sum(1)
        extent = (size + 1) // 2
        assert heights.max() == extent and heights.min() == (extent + 1) // 2
        # The centre lies on any pixel, or for an even extent on any corner of one, along both axes.
        places = size + 1 - extent % 2
        np.testing.assert_allclose(holes[:, 4, 4].mean(), (extent / places) ** 2, atol=0.03)


def test_contrast_and_saturation_of_diff_augment():
    """From what becomes of an image with one bright and one dark, one red and one green pixel."""
    image = np.array([[[1, 1, 1], [-1, -1, -1], [1, 0, 0], [0, 1, 0]]], np.float32)
    got = np.asarray(DiffAugment(("color",), seed=1)(np.tile(image, (4000, 1, 1, 1))))[:, 0]
    contrast = (got[:, 0, 0] - got[:, 1, 0]) / 2
    saturation = (got[:, 2, 0] - got[:, 3, 0]) / contrast
    for factor, low, high in ((contrast, 0.5, 1.5), (saturation, 0, 2)):
        assert low - 1e-4 <= factor.min() < low + 0.01 and high - 0.01 < factor.max() <= high + 1e-4
        assert abs(factor.mean() - 1) < 0.05


# The rule of p.


def test_p_follows_the_rule_step_by_step():
    layer = AdaptiveAugment(target=0.5, speed=100, interval=2)
    history = []
    for logits in (
        [[3.0], [1.0], [2.0], [0.1]],
        [[3.0], [1.0], [2.0], [-0.1]],  # r = 6/8 > 0.5: + 8/100
        [[-1.0], [1.0]],
        [[1.0], [1.0]],  # r = 2/4, the target: + 0
        [[1.0], [1.0]],
        [[1.0], [1.0], [1.0], [1.0]],  # r = 1: + 6/100
        [[1.0]],
        [[0.0]],  # r = 1/2: + 0
        [[-1.0]] * 8,
        [[-1.0]] * 8,  # - 16/100, to 0
        [[1.0]] * 60,
        [[1.0]] * 60,  # + 120/100, to 1
        [[1.0]] * 4,
        [[-1.0]] * 4,  # r = 0: - 8/100
    ):
        layer.update(tf.constant(logits))
        history.append(float(layer.p))
    expected = [0, 0.08, 0.08, 0.08, 0.08, 0.14, 0.14, 0.14, 0.14, 0, 0, 1, 1, 0.92]
    np.testing.assert_allclose(history, expected, atol=1e-6)


def test_p_rises_from_0_to_1_in_speed_images():
    layer = AdaptiveAugment(speed=6400)

    @tf.function(jit_compile=True)
    def update():
        layer.update(tf.ones((64, 3, 3, 1)))  # logits of patches: an image counts once

    for _ in range(96):
        update()
    np.testing.assert_allclose(layer.p, 0.96, atol=1e-5)
    for _ in range(4):
        update()
    np.testing.assert_allclose(layer.p, 1, atol=1e-5)


def test_diff_augment_has_nothing_to_adapt():
    layer = DiffAugment()
    assert layer.update(tf.ones((4, 1))) is None
    assert not layer.weights


# Layers.


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_p_0_returns_the_images_bit_for_bit(dtype):
    images = tf.cast(random_images(4, 5, 5, 3, dtype=np.float64), dtype)
    assert np.array_equal(AdaptiveAugment()(images), images)


@every_layer
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_keeps_shape_and_dtype_under_any_policy(make, policy, dtype):
    images = random_images(3, 6, 4, 2)
    expected = make()(images)
    keras.config.set_dtype_policy(policy)
    got = make()(tf.cast(images, dtype))
    assert (got.shape, got.dtype) == (images.shape, dtype)
    assert {weight.dtype for weight in make().weights} <= {"float32"}
    np.testing.assert_allclose(tf.cast(got, tf.float32), expected, atol=0 if dtype == "float32" else 0.05)


@every_layer
@pytest.mark.parametrize("channels", [1, 3])
def test_xla_and_a_batch_of_unknown_size_make_no_difference(make, channels):
    images = random_images(5, 8, 7, channels)
    expected = [make_(images) for make_ in [make()] for _ in range(2)]
    unknown = [tf.TensorSpec((None, *images.shape[1:]))]
    for kwargs in ({"input_signature": unknown}, {"jit_compile": True}):
        layer = make()

        @tf.function(**kwargs)
        def run(images, layer=layer):
            outputs = layer(images)
            assert outputs.shape[1:] == images.shape[1:]
            return outputs

        for first in expected:
            np.testing.assert_allclose(run(images), first, atol=2e-5)


@every_layer
def test_draws_anew_in_every_call_and_alike_from_an_equal_state(make):
    images = np.tile(random_images(1, 8, 8, 3), (6, 1, 1, 1))
    layer = make()
    first, second = np.asarray(layer(images)), np.asarray(layer(images))
    assert not np.allclose(first, second)
    assert all(not np.allclose(first[0], other) for other in first[1:])
    np.testing.assert_array_equal(make()(images), first)

    # The variables that a checkpoint stores bring the second call back.
    states = {id(v): np.array(v) for v in layer.non_trainable_variables}
    third = np.asarray(layer(images))
    for variable in layer.non_trainable_variables:
        variable.assign(states[id(variable)])
    np.testing.assert_array_equal(layer(images), third)


def test_draws_depend_on_set_random_seed_by_default():
    images = random_images(4, 8, 8, 1)

    def run(seed):
        keras.utils.set_random_seed(seed)
        return np.asarray(DiffAugment()(images))

    np.testing.assert_array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))


def test_saving_keeps_p_and_what_it_counts(tmp_path):
    layer = AdaptiveAugment(target=0.3, speed=100, interval=2, name="ada", seed=4)
    for _ in range(5):
        layer.update(tf.ones((8, 1)))
    model = keras.Sequential([keras.Input((4, 4, 1)), layer])
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras").get_layer("ada")
    assert copy.get_config() == layer.get_config()
    np.testing.assert_allclose(copy.p, 0.32)
    for one in (layer, copy):
        one.update(tf.ones((8, 1)))
        np.testing.assert_allclose(one.p, 0.48)


@pytest.mark.parametrize(
    "layer",
    [
        DiffAugment(("cutout", "color"), seed=2, name="cut"),
        AdaptiveAugment(0.4, 1000, 2, blit=False, geometric=True, color=False, initial_p=0.25, seed=3),
    ],
    ids=["DiffAugment", "AdaptiveAugment"],
)
def test_config(layer):
    images = random_images(4, 8, 8, 3)
    config = layer.get_config()
    copy = type(layer).from_config(config)
    assert copy.get_config() == config
    np.testing.assert_array_equal(copy(images), type(layer).from_config(config)(images))
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert restored.get_config() == config


def test_all_groups_off_and_an_empty_policy_change_nothing():
    images = random_images(4, 8, 8, 3)
    np.testing.assert_array_equal(
        AdaptiveAugment(blit=False, geometric=False, color=False, initial_p=1)(images), images
    )
    np.testing.assert_array_equal(DiffAugment(())(images), images)


def test_ones_own_augmentation():
    class Mirror(Augment):
        def call(self, images):
            flip = self.draw_uniform((tf.shape(images)[0], 1, 1, 1)) < 0.5
            return tf.where(flip, images[:, :, ::-1], images)

    images = np.tile(random_images(1, 3, 4, 1), (1000, 1, 1, 1))
    layer = Mirror(seed=1)
    assert abs(share_unchanged(layer, images) - 0.5) < 0.06
    layer.update(tf.ones((3, 1)))
    assert layer.get_config()["seed"] == 1


@pytest.mark.parametrize("policy", [("color", "colour"), "color", ["blur"]])
def test_unknown_policy(policy):
    with pytest.raises(ValueError, match=r"a tuple of color, translation, cutout\. Received: policy=") as error:
        DiffAugment(policy)
    assert repr(policy) in str(error.value)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"target": 1.0}, r"`target` .* lie in \(-1, 1\)\. Received: target=1.0"),
        ({"speed": 0}, "`speed` must be a positive number of images. Received: speed=0"),
        ({"interval": 0}, "`interval` must be at least 1 update. Received: interval=0"),
        ({"color": 1.5}, r"`color` is a share of p and must lie in \[0, 1\]\. Received: color=1.5"),
        ({"initial_p": 1.5}, r"`initial_p` .* lie in \[0, 1\]\. Received: initial_p=1.5"),
    ],
)
def test_arguments_out_of_range(kwargs, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveAugment(**kwargs)
