"""tfgan_app.data.degradations: what makes sources of pictures, and the naive ways back."""

import concurrent.futures
import io
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from tfgan_app import data
from tfgan_app.base.errors import DataError, UsageError
from tfgan_app.data import blurring, canny, degradations, masks, resampling
from tfgan_app.data.degradations import DEGRADATIONS, Chain, Degradation, Mask, Shrink, generator, parse_degradation

# One at least of each, and of each of its forms.
TEXTS = (
    "shrink(2)",
    "shrink(3, bilinear)",
    "shrink(4, box)",
    "shrink(2, filter=lanczos)",
    "grey",
    "edges",
    "edges(2.0, high=0.3)",
    "mask(centre)",
    "mask(centre, 0.3)",
    "mask(boxes)",
    "mask(boxes, 0.2, 0.3, 2)",
    "mask(strokes)",
    "mask(strokes, num=1)",
    "noise(25)",
    "noise(5, 50, 0.5)",
    "poisson",
    "poisson(0.5, grey=1.0)",
    "blur(1.2)",
    "blur(0.2, 3)",
    "blur(2, 3, anisotropic)",
    "blur(1.5, shape=generalised)",
    "blur(0.2, 3, plateau)",
    "blur(0.2, 3, mixed)",
    "sinc(1.5)",
    "sinc(1, 3)",
    "jpeg(60)",
    "jpeg(30, 95)",
    "real_esrgan",
    "real_esrgan(2)",
    "real_esrgan(1)",
    "blur(1.2), shrink(4), noise(10), jpeg(60)",
    "grey, shrink(2)",
    "mask(boxes), mask(strokes)",
    "shrink(2), mask(strokes)",
)
# They draw nothing.
FIXED = {
    *TEXTS[:9],
    "blur(1.2)",
    "sinc(1.5)",
    "jpeg(60)",
    "grey, shrink(2)",
}


def picture(height=32, width=24, channels=3, seed=0):
    """A smooth picture with some noise on it, as photographs are."""
    rng = np.random.default_rng(seed)
    waves = np.sin(np.arange(height)[:, None, None] / 5 + rng.uniform(0, 6, channels)) + np.cos(
        np.arange(width)[None, :, None] / 7
    )
    return np.clip(127 + 50 * waves + rng.normal(0, 8, (height, width, channels)), 0, 255).astype(np.uint8)


def constant(level, height=16, width=16, channels=3):
    return np.full((height, width, channels), level, np.uint8)


# ------------------------------------------------------------------------------------------------------- of all of them


def test_each_is_tried():
    used = {type(stage) for text in TEXTS for stage in getattr(parse_degradation(text), "stages", [None])}
    used |= {type(parse_degradation(text)) for text in TEXTS}
    assert used >= {*DEGRADATIONS.values(), Chain}


@pytest.mark.parametrize("text", TEXTS)
def test_text_and_object_are_one(text):
    degradation = parse_degradation(text)
    assert parse_degradation(str(degradation)) == degradation
    assert eval(repr(degradation), vars(degradations)) == degradation
    assert pickle.loads(pickle.dumps(degradation)) == degradation
    assert hash(degradation) == hash(parse_degradation(text))
    assert parse_degradation(degradation) is degradation


def test_texts_are_short():
    def text_of(text):
        return str(parse_degradation(text))

    assert text_of("shrink(factor=4, filter='bicubic')") == "shrink(4)"
    assert text_of(" real_esrgan( ) ") == text_of("real_esrgan(4)") == "real_esrgan"
    assert text_of("noise(5,grey=.5)") == "noise(5, grey=0.5)"
    assert text_of("mask('boxes', num=2)") == "mask(boxes, num=2)"
    assert text_of("grey,shrink(2,box),") == "grey, shrink(2, box)"


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_ways_back(text, channels):
    degradation = parse_degradation(text)
    if "grey" in text.split(", ") and channels == 1:
        with pytest.raises(DataError, match="`degrade=grey` needs images in RGB"):
            degradation(picture(channels=1), generator(0, 0))
        return
    image = picture(48, 24, channels)
    before = image.copy()
    source = degradation(image, generator(0, 0))
    scale = degradation.scale
    assert source.dtype == np.uint8 and source.shape == (48 // scale, 24 // scale, degradation.channels(channels))
    back = degradation.baseline(source, channels)
    assert back.dtype == np.uint8 and back.shape == image.shape
    np.testing.assert_array_equal(image, before)
    if not text.startswith("edges") or channels == 3:  # of edges, no one knows
        np.testing.assert_array_equal(degradation.baseline(source), back)


@pytest.mark.parametrize("text", TEXTS)
def test_seed_and_number_alone_decide(text):
    degradation = parse_degradation(text)
    images = [picture(seed=k, height=48) for k in range(8)]
    once = [degradation(image, generator(3, k)) for k, image in enumerate(images)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda k: degradation(images[k], generator(3, k)), range(8)))
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one, other)
    others = [degradation(images[0], generator(3, k)) for k in range(1, 8)]
    assert all(np.array_equal(other, once[0]) for other in others) == (text in FIXED)


@hypothesis_settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from([text for text in TEXTS if text != "grey" and not text.startswith("grey")]),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([1, 3]),
    st.integers(-(2**70), 2**70),
)
def test_any_size(text, height, width, channels, seed):
    degradation = parse_degradation(text)
    image = picture(height * degradation.scale, width * degradation.scale, channels, seed=abs(seed) % 1000)
    source = degradation(image, generator(seed, 1))
    assert source.shape[:2] == (height, width)
    assert degradation.baseline(source, channels).shape == image.shape


@pytest.mark.parametrize(
    "text",
    ["shrink(4)", "grey", "blur(3)", "blur(0.5, 4, mixed)", "sinc(1)", "jpeg(95)", "shrink(2, lanczos)", "noise(0)"],
)
@pytest.mark.parametrize("level", [0, 1, 77, 254, 255])
def test_flat_pictures_stay_flat(text, level):
    source = parse_degradation(text)(constant(level), generator(0, 0))
    assert np.unique(source).tolist() == [level]


# ---------------------------------------------------------------------------------------------------------------- sizes


# The top left of the green channel of the picture "baboon", and what `imresize` of MATLAB made of the whole picture
# (xinntao/matlab_functions_verification).
BABOON = np.array(
    [
        [6, 6, 6, 6, 6, 6, 6, 6, 6],
        [104, 150, 50, 22, 42, 106, 134, 80, 55],
        [104, 107, 50, 75, 42, 75, 75, 134, 40],
        [22, 75, 42, 75, 50, 72, 42, 104, 135],
        [72, 42, 135, 135, 22, 50, 42, 42, 138],
        [80, 75, 104, 150, 11, 42, 22, 22, 42],
        [72, 42, 22, 72, 80, 50, 22, 55, 72],
        [134, 50, 22, 42, 75, 106, 72, 42, 106],
        [135, 50, 22, 22, 22, 42, 75, 22, 42],
    ],
    np.uint8,
)[..., None]


def test_sizes_are_matlabs():
    assert resampling.shrink(BABOON[:8, :8], 2)[:2, :2, 0].tolist() == [[59, 23], [80, 67]]
    assert resampling.shrink(BABOON, 3)[0, 0, 0] == 58
    assert resampling.enlarge(BABOON, 2)[:3, :3, 0].tolist() == [[0, 0, 0], [25, 29, 36], [80, 94, 122]]
    # MATLAB makes [3.125 4.875; 10.125 11.875] of the numbers 0 to 15.
    numbers = (8 * np.arange(16).reshape(4, 4, 1)).astype(np.uint8)
    assert resampling.shrink(numbers, 2, "bilinear")[..., 0].tolist() == [[25, 39], [81, 95]]


def test_box_is_the_mean():
    image = picture(12, 20)
    means = image.reshape(3, 4, 5, 4, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(Shrink(4, "box")(image, generator(0, 0)), np.floor(means + 0.5))


@pytest.mark.parametrize("filter", ["bicubic", "bilinear", "lanczos"])
def test_filters_are_pillows_within_borders(filter):
    image = picture(96, 96)
    how = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR, "lanczos": Image.LANCZOS}[filter]
    expected = np.asarray(Image.fromarray(image).resize((24, 24), how)).astype(int)
    difference = np.abs(Shrink(4, filter)(image, generator(0, 0)).astype(int) - expected)
    assert difference[4:-4, 4:-4].max() <= 1


def test_interpolation_without_antialiasing():
    row = np.array([0, 1, 4, 9, 16], np.float32).reshape(1, 5, 1)
    made = {how: resampling.resample(row, 1, 3, how)[0, :, 0] for how in ("area", "bilinear", "bicubic")}
    np.testing.assert_allclose(made["area"], [0.5, 14 / 3, 12.5], rtol=1e-6)  # of pixels 0 and 1, 1 to 3, 3 and 4
    np.testing.assert_allclose(made["bilinear"], [1 / 3, 4, 9 + 7 * 2 / 3], rtol=1e-6)
    # A third of the way from pixel 0 to 1, Keys's weights for a = -3/4 are -1/9, 43/54, 10/27 and -1/18.
    np.testing.assert_allclose(made["bicubic"][:2], [10 / 27 - 4 / 18, 4], rtol=1e-5)
    np.testing.assert_array_equal(resampling.resample(row, 1, 5, "bicubic"), row)
    assert resampling.resample(row, 4, 9, "area").shape == (4, 9, 1)


# -------------------------------------------------------------------------------------------------------------- colours


def test_grey_keeps_luminance():
    primaries = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    # CIE L* 53.24, 87.73, 32.30 and 100: those of these greys, to half a level.
    assert parse_degradation("grey")(primaries, generator(0, 0)).ravel().tolist() == [127, 220, 76, 255]
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    np.testing.assert_array_equal(parse_degradation("grey")(levels, generator(0, 0)), levels[..., :1])


def test_edges():
    image = constant(20, 40, 40, 1)
    image[10:30, 12:32] = 220
    drawn = parse_degradation("edges")(image, generator(0, 0))[..., 0]
    assert set(np.unique(drawn)) == {0, 255} and 68 <= (drawn == 0).sum() <= 80
    rows, columns = np.nonzero(drawn == 0)
    assert 9 <= rows.min() <= 10 and 29 <= rows.max() <= 30 and 11 <= columns.min() <= 12 and 31 <= columns.max() <= 32
    assert ((drawn == 0)[15:25].sum(axis=1) == 2).all()  # one pixel thin
    np.testing.assert_array_equal(parse_degradation("edges")(np.repeat(image, 3, 2), generator(0, 0))[..., 0], drawn)
    assert (parse_degradation("edges")(constant(90), generator(0, 0)) == 255).all()


def test_edges_need_one_strong_place():
    slopes = np.linspace(0.3, 1, 60)[:, None] * np.where(np.arange(40) < 20, 0, 255)  # a step that grows
    found = canny.canny(slopes, 1.0, 0.1, 0.3)
    assert found.any(axis=1).all()
    assert not canny.canny(slopes, 1.0, 0.1, 0.9).any()
    assert 0 < canny.canny(slopes, 1.0, 0.3, 0.3).any(axis=1).sum() < 60


# ---------------------------------------------------------------------------------------------------------------- holes


def holes_of(text, num=50, height=64, width=48):
    image = picture(height, width)
    for k in range(num):
        source = parse_degradation(text)(image, generator(0, k))
        holes = source[..., 3] == 0
        assert set(np.unique(source[..., 3])) == {0, 255}
        assert (source[holes, :3] == 0).all() and (source[~holes, :3] == image[~holes]).all()
        yield holes


def test_shares_of_holes():
    (holes,) = holes_of("mask(centre)", 1)
    assert holes.mean() == 0.25 and holes[16:48, 12:36].all()
    for holes in holes_of("mask(boxes, 0.25, 0.5, 1)"):
        rows, columns = holes.any(axis=1).sum(), holes.any(axis=0).sum()
        assert rows * columns == holes.sum() and 16 <= rows <= 32 and 12 <= columns <= 24
    assert 0.08 < np.mean([holes.mean() for holes in holes_of("mask(boxes)")]) < 0.25
    shares = [holes.mean() for holes in holes_of("mask(strokes)")]
    assert 0.08 < np.mean(shares) < 0.25 and min(shares) > 0 and max(shares) < 1
    both = [holes.mean() for holes in holes_of("mask(centre), mask(strokes)")]
    assert min(both) >= 0.25 and np.mean(both) > 0.3


def test_a_stroke_is_connected():
    for holes in holes_of("mask(strokes, num=1)", 20):
        (first, *_) = np.flatnonzero(holes)
        reached = np.zeros_like(holes)
        reached.flat[first] = True
        while True:
            padded = np.pad(reached, 1)
            grown = sum(padded[i : i + 64, j : j + 48] for i in range(3) for j in range(3)).astype(bool) & holes
            if (grown == reached).all():
                break
            reached = grown
        assert (reached == holes).all()


@pytest.mark.parametrize("text", ["mask(centre, 0.95)", "mask(boxes, 0.95)", "mask(strokes, num=20)"])
@pytest.mark.parametrize("size", [(1, 2), (2, 1), (2, 2), (3, 5)])
def test_something_is_known_and_something_missing(text, size):
    for k in range(8):
        known = parse_degradation(text)(picture(*size), generator(0, k))[..., 3]
        assert known.any() and not known.all()
    assert (parse_degradation(text)(picture(1, 1), generator(0, 0))[..., 3] == 255).all()


def test_masks_leave_earlier_holes():
    holes = np.zeros((4, 4), bool)
    holes[0] = True
    assert masks.leave_some(lambda: np.ones((4, 4), bool), holes)[0].all()


def test_mean_fill():
    source = np.zeros((2, 2, 4), np.uint8)
    source[0] = [[10, 20, 30, 255], [21, 40, 50, 255]]
    assert Mask("centre").baseline(source)[1, 1].tolist() == [16, 30, 40]  # the half is rounded up
    assert (Mask("centre").baseline(np.zeros((2, 2, 2), np.uint8)) == 128).all()


# ------------------------------------------------------------------------------------------------- noise, blur and JPEG


def test_noise_has_its_deviation():
    image = constant(128, 256, 256)
    noise = parse_degradation("noise(25)")(image, generator(0, 0)).astype(float) - 128
    assert abs(noise.mean()) < 0.3 and abs(noise.std() - 25) < 0.3
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02
    alike = parse_degradation("noise(25, grey=1)")(image, generator(0, 0))
    assert (alike == alike[..., :1]).all()
    deviations = [parse_degradation("noise(5, 50)")(image[:64], generator(0, k)).std() for k in range(40)]
    assert 4 < min(deviations) < 15 and 38 < max(deviations) < 51


def test_shot_noise_grows_with_light():
    for level in (32, 128):
        image = constant(level, 256, 256)
        made = parse_degradation("poisson")(image, generator(0, 0)).astype(float)
        # The variance of a count is its mean.
        assert abs(made.mean() - level) < 0.2 and made.var() == pytest.approx(level, rel=0.02)
        twice = parse_degradation("poisson(2.0, grey=1.0)")(image, generator(0, 0)).astype(float)
        assert twice.std() == pytest.approx(2 * math.sqrt(level), rel=0.02)
    assert (parse_degradation("poisson")(constant(0), generator(0, 0)) == 0).all()


def test_blur_of_a_point():
    image = constant(0, 31, 31, 1)
    image[15, 15] = 255
    blurred = blurring.gaussian(image, 1.5)[..., 0]
    x, y = np.meshgrid(np.arange(31) - 15, np.arange(31) - 15)
    expected = np.exp(-(x**2 + y**2) / (2 * 1.5**2)) / (2 * math.pi * 1.5**2) * 255
    np.testing.assert_allclose(blurred, expected, atol=0.02)
    np.testing.assert_allclose(
        blurring.convolve(image.astype(np.float32), blurring.kernel_of("gaussian", 13, 1.5))[..., 0], blurred, atol=0.01
    )


def test_borders_mirror():
    image = picture(5, 7, 1).astype(np.float32)
    kernel = blurring.kernel_of("plateau", 9, 1.0, 2.0, 0.5, 1.5)
    padded = np.pad(image[..., 0], 4, "reflect")
    expected = [[(padded[i : i + 9, j : j + 9] * kernel).sum() for j in range(7)] for i in range(5)]
    np.testing.assert_allclose(blurring.convolve(image, kernel)[..., 0], expected, rtol=1e-5)


def test_kernels():
    x = np.arange(21) - 10
    stretched = blurring.kernel_of("gaussian", 21, 3.0, 1.0)
    assert stretched.sum() == pytest.approx(1)
    assert math.sqrt((stretched.sum(axis=0) * x**2).sum()) == pytest.approx(3, rel=0.03)  # along the rows
    assert math.sqrt((stretched.sum(axis=1) * x**2).sum()) == pytest.approx(1, rel=0.01)
    np.testing.assert_allclose(blurring.kernel_of("gaussian", 21, 3.0, 1.0, math.pi / 2), stretched.T, atol=1e-12)
    np.testing.assert_allclose(blurring.kernel_of("generalised", 9, 1.3), blurring.kernel_of("gaussian", 9, 1.3))
    plateau = blurring.kernel_of("plateau", 9, 2.0, beta=2.0)
    assert plateau[4, 6] / plateau[4, 4] == pytest.approx(0.5)
    # J1(1) = .44005, J1(5) = -.32758.
    np.testing.assert_allclose(blurring._bessel(np.array([0.0, 1.0, 5.0])), [0, 0.4400506, -0.3275791], atol=1e-7)
    sinc = blurring.sinc_kernel(21, 2.0)
    assert sinc[10, 12] / sinc[10, 10] == pytest.approx(2 * -0.0660433 / (4 * math.pi) / (4 / (4 * math.pi)), rel=1e-5)


def test_sinc_rings():
    image = constant(50, 32, 32, 1)
    image[:, 16:] = 200
    made = parse_degradation("sinc(1.0)")(image, generator(0, 0))
    assert made.min() < 45 and made.max() > 205


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillows(channels):
    image = picture(channels=channels)
    memory = io.BytesIO()
    Image.fromarray(image.squeeze()).save(memory, "JPEG", quality=40)
    made = parse_degradation("jpeg(40)")(image, generator(0, 0))
    np.testing.assert_array_equal(made, np.asarray(Image.open(memory)).reshape(image.shape))
    worse = parse_degradation("jpeg(5)")(image, generator(0, 0))
    assert np.abs(worse.astype(int) - image).mean() > np.abs(made.astype(int) - image).mean() > 0


# --------------------------------------------------------------------------------------------------------------- chains


def test_chains_go_from_left_to_right():
    image = picture()
    first, second = Shrink(2), parse_degradation("jpeg(20)")
    chain = parse_degradation("shrink(2), jpeg(20)")
    expected = second(first(image, generator(0, 0)), generator(0, 0))
    np.testing.assert_array_equal(chain(image, generator(0, 0)), expected)
    assert not np.array_equal(parse_degradation("jpeg(20), shrink(2)")(image, generator(0, 0)), expected)
    assert parse_degradation("shrink(2), shrink(4)").scale == 8


def test_a_chain_draws_from_one_generator():
    image = constant(128, 64, 64)
    once = parse_degradation("noise(9)")(image, generator(0, 0)).astype(int) - 128
    twice = parse_degradation("noise(9), noise(9)")(image, generator(0, 0)).astype(int) - 128
    assert twice.std() == pytest.approx(once.std() * math.sqrt(2), rel=0.05)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("jpeg(60)", "source"),
        ("shrink(4)", "bicubic"),
        ("grey", "grey"),
        ("edges", "source"),
        ("mask(boxes)", "mean fill"),
        ("real_esrgan", "bicubic"),
        ("real_esrgan(1)", "source"),
        ("blur(2), noise(5)", "source"),
        ("blur(2), shrink(2), shrink(2), jpeg(60)", "bicubic"),
        ("grey, shrink(2), mask(boxes)", "mean fill and bicubic and grey"),
    ],
)
def test_baselines_have_names(text, name):
    assert parse_degradation(text).baseline_name == name


def test_a_chains_way_back():
    source = parse_degradation("grey, shrink(2)")(picture(), generator(0, 0))
    back = parse_degradation("grey, shrink(2)").baseline(source)
    np.testing.assert_array_equal(back, np.repeat(resampling.enlarge(source, 2), 3, axis=2))


# ------------------------------------------------------------------------------------------------------------ notebooks


def test_degrade():
    images = np.stack([picture(seed=k) for k in range(3)])
    text = "blur(0.2, 2), shrink(2), noise(5, 20)"
    made = data.degrade(images, text, seed=7, first=5)
    expected = [parse_degradation(text)(image, generator(7, 5 + k)) for k, image in enumerate(images)]
    np.testing.assert_array_equal(made, expected)
    np.testing.assert_array_equal(data.degrade(images[0], text, seed=7, first=5), made[0])
    shares = data.degrade((images / 255).astype(np.float32), Chain(parse_degradation(text).stages), seed=7, first=5)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, made / 255, atol=1e-6)


def test_streams_differ():
    draws = [generator(*key).random() for key in ((0, 0), (0, 1), (1, 0), (0, 0, 1), (-1, 0), (2**64 - 1, 0))]
    assert len(set(draws)) == 5 and draws[4] == draws[5]
    assert generator(3, 4).integers(1000, size=4).tolist() == [469, 985, 229, 745]  # on every machine


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 4)), r"`images` must be `\(height, width, channels\)` or .* Received: shape \(4, 4\)\."),
        (np.full((4, 4, 3), 1.5), r"`images` must be uint8, or lie in \[0, 1\]\. Received: values from 1.5 to 1.5\."),
        (np.full((4, 4, 3), np.nan), r"lie in \[0, 1\]\. Received: values from nan to nan\."),
        (np.zeros((0, 4, 4, 3), np.uint8), "`images` must hold at least one"),
        (np.zeros((4, 4, 3), np.int64), r"takes uint8 images .* Received: int64 of shape \(4, 4, 3\)\."),
        (np.zeros((4, 0, 3), np.uint8), r"takes uint8 images .* Received: uint8 of shape \(4, 0, 3\)\."),
        (np.zeros((4, 4, 4), np.uint8), r"`degrade=shrink\(2\)` takes grey or RGB images\. Received: images of 4 ch"),
        (
            np.zeros((5, 4, 3), np.uint8),
            r"`degrade=shrink\(2\)` needs sides that 2 divides\. Received: an image of 5x4",
        ),
    ],
)
def test_images_that_cannot_be(images, message):
    with pytest.raises((UsageError, DataError), match=message):
        data.degrade(images, "shrink(2)")


def test_sources_that_are_of_another():
    with pytest.raises(DataError, match="`degrade=grey` makes no sources of 3 channels"):
        parse_degradation("grey").baseline(picture())


# ------------------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "`degrade` must describe a degradation, such as 'shrink(4)'. Received: ''."),
        (None, "`degrade` must describe a degradation, such as 'shrink(4)'. Received: None."),
        ("x" * 1001, "`degrade` must describe a degradation, such as 'shrink(4)'. Received: 1001 characters."),
        ("shrink(4", "`degrade=shrink(4` cannot be read. Expected degradations and their numbers in brackets"),
        ("a\0b", "cannot be read"),
        ("()", "`degrade=()` cannot be read."),
        ("4", "`degrade=4` cannot be read."),
        ("os.system('x')", "`degrade=os.system('x')` cannot be read."),
        ("shrink(open('x'))", "cannot be read"),
        ("shrink(2 * 2)", "cannot be read"),
        ("shrink(*[4])", "cannot be read"),
        ("noise(sigma=1, sigma=2)", "cannot be read"),
        ("(" * 300 + ")" * 300, "cannot be read"),
        ("shrink(4`)", "`degrade=shrink(4')` cannot be read."),
        (r"shrink('\d')", "the factor must be a whole number"),
        ("shirnk(4)", "`degrade=shirnk(4)`: there is no 'shirnk'. Did you mean shrink? There are shrink, grey, edges,"),
        ("gray", "`degrade=gray`: there is no 'gray'. Did you mean grey?"),
        ("zzz", "there is no 'zzz'. There are shrink"),
        (
            "shrink",
            "`degrade=shrink`: shrink takes shrink(factor, filter=bicubic); missing a required argument: 'factor'.",
        ),
        ("grey(1)", "`degrade=grey(1)`: grey takes nothing; too many positional arguments."),
        ("jpeg(60, kind=1)", "jpeg takes jpeg(quality, high=None); got an unexpected keyword argument 'kind'."),
        ("noise(**{})", "noise takes noise(sigma, high=None, grey=0.0)"),
        ("shrink(1)", "`degrade=shrink(1)`: the factor must be a whole number from 2 to 16. Received: 1."),
        ("shrink(2.0)", "the factor must be a whole number from 2 to 16. Received: 2.0."),
        ("shrink(True)", "the factor must be a whole number from 2 to 16. Received: True."),
        ("shrink(four)", "the factor must be a whole number from 2 to 16. Received: 'four'."),
        ("shrink(4, cubic)", "the filter must be one of bicubic, bilinear, box, lanczos. Received: 'cubic'."),
        ("shrink(4, [1])", "the filter must be one of bicubic, bilinear, box, lanczos. Received: [1]."),
        ("edges(0)", "the sigma must be a number above 0 and up to 20. Received: 0."),
        ("edges(1, 0.5, 0.2)", "the thresholds must be two numbers, the first the smaller. Received: (0.5, 0.2)."),
        ("mask(center)", "the kind must be one of centre, boxes, strokes. Received: 'center'."),
        ("mask(strokes, 0.5)", "`degrade=mask(strokes, 0.5)`: strokes takes num alone. Received: 'size'."),
        ("mask(centre, 1)", "the size must be a number above 0 and up to 0.95. Received: 1."),
        ("mask(boxes, 0.5, 0.2)", "the size must be two numbers, the first the smaller. Received: (0.5, 0.2)."),
        ("mask(boxes, num=0)", "the num must be a whole number from 1 to 100. Received: 0."),
        ("noise(-1)", "the sigma must be a number from 0 to 255. Received: -1."),
        ("noise(1e999)", "the sigma must be a number from 0 to 255. Received: inf."),
        ("noise(1j)", "the sigma must be a number from 0 to 255. Received: 1j."),
        ("noise(9, 3)", "the sigma must be two numbers, the first the smaller. Received: (9, 3)."),
        ("noise(9, grey=2)", "the share of grey must be a number from 0 to 1. Received: 2."),
        ("poisson(11)", "the strength must be a number from 0 to 10. Received: 11."),
        ("blur(0)", "the sigma must be a number from 0.1 to 20. Received: 0."),
        ("blur(1, 2, round)", "the shape must be one of isotropic, anisotropic, generalised, plateau, mixed."),
        ("sinc(4)", "the cutoff must be a number from 0.1 to 3.14159. Received: 4."),
        ("jpeg(0)", "the quality must be a whole number from 1 to 100. Received: 0."),
        ("jpeg(60, 30)", "the quality must be two numbers, the first the smaller. Received: (60, 30)."),
        ("real_esrgan(0)", "the scale must be a whole number from 1 to 16. Received: 0."),
        ("blur(1), shrink(1)", "`degrade=shrink(1)`: the factor must be"),
        (
            "mask(boxes), jpeg(60)",
            "`degrade=mask(boxes), jpeg(60)`: only another mask can follow a mask: put masks last.",
        ),
    ],
)
def test_messages(text, message):
    with pytest.raises(UsageError) as caught:
        parse_degradation(text)
    assert message in str(caught.value) and caught.value.argument == "degrade"


def test_an_empty_chain():
    with pytest.raises(UsageError, match="a chain needs at least one degradation"):
        Chain(())


def test_the_base_is_abstract():
    with pytest.raises(NotImplementedError):
        Degradation()._degrade(picture(), generator(0, 0))
