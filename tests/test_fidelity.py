"""tfgan_app.metrics.fidelity: PSNR, SSIM and distances of pictures, against references and definitions."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_images, tiny_gan

import tfgan_app as tg
from tfgan_app import metrics
from tfgan_app.base.errors import UsageError
from tfgan_app.metrics import L1, PSNR, SSIM, Back, CycleError, PerceptualDistance, PictureMetric
from tfgan_app.observation import Observation
from tfgan_app.translation import TranslationGAN


def pictures():
    """Two 8-bit RGB pictures of 37 by 29 pixels: waves, and the same with noise and a shift of colour."""
    y, x, c = np.meshgrid(np.arange(37), np.arange(29), np.arange(3), indexing="ij")
    real = np.round(127.5 + 100 * np.sin(0.31 * x + 0.17 * c) * np.cos(0.23 * y - 0.4 * c)).astype(np.uint8)
    noise = np.random.RandomState(3).randint(-25, 26, real.shape)
    return real, np.clip(real + noise + 6 * c, 0, 255).astype(np.uint8)


def floats(image):
    """Returns a batch of one in the network's range."""
    return (np.asarray(image, np.float32) / 127.5 - 1.0)[None]


REAL, FAKE = map(floats, pictures())
# scikit-image 0.26: peak_signal_noise_ratio; structural_similarity(gaussian_weights=True, sigma=1.5,
# use_sample_covariance=False, data_range=255). Of the pictures, of their Y, and of their first channel.
SCIKIT_IMAGE = {
    0: {
        **{"psnr": 23.588323814075473, "psnr_y": 28.552237840429765, "psnr_grey": 24.7536158021248},
        **{"ssim": 0.8613790232789843, "ssim_y": 0.9323531450448612, "ssim_grey": 0.8640019960224584},
    },
    4: {
        **{"psnr": 23.505840117299215, "psnr_y": 28.570505366384076, "psnr_grey": 24.899451547606233},
        **{"ssim": 0.8607494826463525, "ssim_y": 0.9348065784140139, "ssim_grey": 0.8669007684446094},
    },
}


def measured(metric, real=REAL, fake=FAKE, **more):
    metric.observe(Observation(tf.constant(real), tf.constant(fake), **more))
    return metric.result()


@pytest.mark.parametrize("border", SCIKIT_IMAGE)
@pytest.mark.parametrize("kind", [PSNR, SSIM])
def test_equal_to_scikit_image(kind, border):
    expected, name = SCIKIT_IMAGE[border], kind.short
    tolerance = {"rel": 2e-6} if kind is PSNR else {"abs": 2e-5}
    assert measured(kind(border=border)) == pytest.approx(expected[name], **tolerance)
    assert measured(kind("y", border)) == pytest.approx(expected[f"{name}_y"], **tolerance)
    grey = REAL[..., :1], FAKE[..., :1]
    assert measured(kind(border=border), *grey) == pytest.approx(expected[f"{name}_grey"], **tolerance)


def test_equal_to_tensorflow_of_the_stored_pictures():
    real, fake = random_images(3, (16, 14, 3), 1), random_images(3, (16, 14, 3), 2) * 1.3
    stored = [np.round((np.clip(x, -1, 1) + 1) * 127.5).astype(np.uint8) for x in (real, fake)]
    assert measured(PSNR(), real, fake) == pytest.approx(np.mean(tf.image.psnr(*stored, 255)), rel=1e-6)
    assert measured(SSIM(), real, fake) == pytest.approx(np.mean(tf.image.ssim(*stored, 255)), abs=1e-6)
    difference = np.abs(stored[0].astype(float) - stored[1])
    assert measured(L1(), real, fake) == pytest.approx(difference.mean() / 255, rel=1e-6)


def test_values_are_rounded_to_8_bits():
    real = floats(np.full((12, 12, 3), 100))
    assert measured(L1(), real, real + 0.9 / 255) == 0.0
    assert measured(L1(), real, real + 1.1 / 255) == pytest.approx(1 / 255)


def test_a_picture_that_equals_its_truth_is_100_db_and_does_not_drown_the_others():
    assert measured(PSNR(), REAL, REAL) == 100.0
    both = [np.concatenate(x) for x in ((REAL, REAL), (REAL, FAKE))]
    assert measured(PSNR(), *both) == pytest.approx((100 + SCIKIT_IMAGE[0]["psnr"]) / 2)
    # One value of a large picture that is off by one level has no more than that.
    large = floats(np.full((400, 400, 1), 100))
    other = large.copy()
    other[0, 0, 0] += 1 / 127.5
    assert measured(PSNR(), large, other) == 100.0
    assert measured(SSIM(), REAL, REAL) == pytest.approx(1.0, abs=1e-6)
    assert measured(L1(), REAL, REAL) == 0.0


@pytest.mark.parametrize("make", [PSNR, SSIM, L1])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_not_hidden(make, value):
    broken = FAKE.copy()
    broken[0, 15, 15, 0] = value
    assert math.isnan(measured(make(), REAL, broken))


@pytest.mark.parametrize("in_graph", [False, True])
def test_mean_over_pictures_and_its_standard_error(in_graph):
    real, fake = random_images(7, (12, 12, 1), 1), random_images(7, (12, 12, 1), 2)
    metric = PSNR()
    update = tf.function(metric.update_state, reduce_retracing=True) if in_graph else metric.update_state
    for part in (slice(3), slice(3, 7)):
        update(tf.constant(real[part]), tf.constant(fake[part]))
    each = [measured(PSNR(), real[i : i + 1], fake[i : i + 1]) for i in range(7)]
    expected = {"psnr": np.mean(each), "psnr_error": np.std(each, ddof=1) / np.sqrt(7)}
    assert metric.results() == pytest.approx(expected, rel=1e-5)
    metric.reset_state()
    with pytest.raises(ValueError, match=r"PSNR needs at least 1 picture that it can compare\. Received: 0"):
        metric.result()
    assert list(one(metric).results()) == ["psnr"]


def one(metric):
    metric.update_state(REAL, FAKE)
    return metric


def test_holes_alone():
    real, fake = random_images(3, (8, 8, 3), 1), random_images(3, (8, 8, 3), 2)
    alpha = np.ones((3, 8, 8, 1), np.float32)
    alpha[0, 2:5, 1:4], alpha[1, 0, 0] = -1, -1  # the last has no hole
    source = np.concatenate([real * (alpha > 0), alpha], axis=-1)
    levels = [np.round((x + 1) * 127.5) for x in (real, fake)]
    difference = levels[0] - levels[1]
    holes = [difference[0, 2:5, 1:4], difference[1, 0, 0]]
    expected = np.mean([np.abs(hole).mean() / 255 for hole in holes])
    assert measured(L1(region="hole"), real, fake, source=source) == pytest.approx(expected, rel=1e-5)
    expected = np.mean([10 * np.log10(255**2 / np.mean(hole**2)) for hole in holes])
    metric = PSNR(region="hole")
    assert measured(metric, real, fake, source=source) == pytest.approx(expected, rel=1e-5)
    assert metric.name == "psnr_hole" and "psnr_hole_error" in metric.results()
    # What lies in the border is no hole, and the fake outside of holes does not matter.
    outside = np.where(alpha < 0, fake, 1.0).astype(np.float32)
    inner = measured(PSNR(border=1, region="hole"), real, outside, source=source)
    assert inner == pytest.approx(10 * np.log10(255**2 / np.mean(holes[0] ** 2)), rel=1e-5)
    fake[0, 3, 3] = np.nan
    assert math.isnan(measured(L1(region="hole"), real, fake, source=source))


@pytest.mark.parametrize("source", [None, REAL])
def test_holes_need_alpha(source):
    found = "none" if source is None else r"shape \(1, 37, 29, 3\)"
    with pytest.raises(UsageError, match=rf"psnr_hole needs sources whose last channel, alpha, .* Received: {found}"):
        measured(PSNR(region="hole"), source=source)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channel": "Y"}, "`channel` must be rgb or y. Received: channel='Y'"),
        ({"region": "holes"}, "`region` must be all or hole. Received: region='holes'"),
        ({"border": -1}, "`border` must be an integer of at least 0. Received: border=-1"),
        ({"border": 0.5}, "`border` must be an integer of at least 0. Received: border=0.5"),
    ],
)
def test_arguments_that_mean_nothing(arguments, message):
    with pytest.raises(UsageError) as error:
        PSNR(**arguments)
    assert str(error.value) == message


def test_pictures_that_are_too_small():
    small = random_images(1, (10, 30, 3))
    with pytest.raises(UsageError, match=r"^ssim needs pictures of at least 11x11 pixels\. Received: 10x30$"):
        measured(SSIM(), small, small)
    assert measured(SSIM(), *[random_images(1, (11, 11, 3))] * 2) == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(UsageError, match=r"ssim_y needs .* 11x11 pixels within a border of 4. Received: 18x30"):
        measured(SSIM("y", 4), *[random_images(1, (18, 30, 3))] * 2)
    with pytest.raises(UsageError, match=r"psnr needs pictures of at least 1x1 pixels within a border of 5\. Received"):
        measured(PSNR(border=5), small, small)
    spec = tf.TensorSpec((None, None, None, 3))
    update = tf.function(SSIM().update_state, input_signature=[spec, spec])
    with pytest.raises(tf.errors.InvalidArgumentError, match="ssim needs sides of at least 11 pixels"):
        update(small, small)


def test_y_is_of_rgb_pictures():
    with pytest.raises(UsageError, match=r"`channel='y'` needs RGB pictures. Received: shape \(1, 37, 29, 1\)"):
        measured(PSNR("y"), REAL[..., :1], FAKE[..., :1])


def mean_colour():
    images = keras.Input((None, None, 3))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(images))


def test_perceptual_distance_by_its_definition():
    real, fake = random_images(4, (6, 6, 3), 1), random_images(4, (6, 6, 3), 2)
    features = [x.mean(axis=(1, 2), dtype=np.float64) for x in (real, fake)]
    first, second = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in features)
    metric = PerceptualDistance(mean_colour())
    expected = np.mean(np.linalg.norm(first - second, axis=1))
    assert measured(metric, real, fake) == pytest.approx(expected, rel=1e-5)
    assert measured(PerceptualDistance(mean_colour()), real, real) == 0.0


def test_cycle_error_is_of_sources():
    source, cycle = random_images(2, (6, 6, 1), 1), random_images(2, (6, 6, 1), 2)
    other = random_images(2, (6, 6, 3), 3)
    expected = measured(L1(), source, cycle)
    assert measured(CycleError(), other, other, source=source, cycle=cycle) == expected
    metric = CycleError()
    metric.update_state(source, cycle)
    assert metric.results()["cycle_mae"] == expected
    for given in ({}, {"source": source}):
        with pytest.raises(UsageError, match="cycle_mae needs a translator with a way back"):
            measured(CycleError(), source, source, **given)


def test_the_other_direction():
    back = Observation(tf.constant(REAL), tf.constant(FAKE))
    metric = Back(PSNR("y"))
    value = measured(metric, FAKE, FAKE, back=back)
    assert value == pytest.approx(SCIKIT_IMAGE[0]["psnr_y"])
    assert metric.results() == {"psnr_y_back": value} and metric._direction == "up"
    metric.reset_state()
    assert not np.asarray(metric.metric._sums[0])
    sets = Back(metrics.PrecisionRecall(mean_colour(), num_images=20))
    real, fake = (tf.constant(random_images(9, (6, 6, 3), seed)) for seed in (1, 2))
    measured(sets, REAL, FAKE, back=Observation(real, fake))
    assert list(sets.results()) == ["precision_back", "recall_back"]
    with pytest.raises(UsageError, match="psnr_back needs a translator with a way back"):
        measured(Back(PSNR()))


@pytest.mark.parametrize(
    "make",
    [
        lambda: PSNR("y", 4, name="mine"),
        lambda: L1(region="hole", border=2),
        lambda: SSIM("y", 3),
        lambda: CycleError(1),
        lambda: Back(PSNR(border=2)),
        lambda: PerceptualDistance("mnist_cnn"),
    ],
)
def test_survives_serialization_and_copies_have_seen_nothing(make):
    metric = make()
    if isinstance(metric, PictureMetric):
        metric.add(np.array([1.0, 2.0]))
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(metric)))
    for copy in (metric.copy(), keras.saving.deserialize_keras_object(saved)):
        assert type(copy) is type(metric) and copy.name == metric.name
        assert copy.settings() == metric.settings() and copy.get_config() == metric.get_config()
        with pytest.raises(ValueError, match="at least 1 picture"):
            copy.result()


def test_other_metrics_copy_too():
    extractor = metrics.load_extractor("mnist_cnn")
    metric = metrics.FrechetDistance(extractor, groups=3)
    copy = metric.copy()
    assert copy.extractor is extractor and copy.settings() == {"groups": 3} and copy.fewest() == 0
    copy = metrics.ClassificationAccuracyScore((8, 8, 1), 3, num_images=9).copy()
    assert copy.num_classes == 3 and copy.settings()["num_images"] == 9


def test_others_beside_share_what_is_known_of_the_real_ones():
    calls = []

    class Counting:
        def outputs(self, images):
            calls.append(images)
            return {"features": images}

    extractor = Counting()
    batch = Observation(1, 2, source=3)
    beside = batch.beside(4)
    for each in (batch, beside, batch):
        each.real_outputs(extractor), each.fake_outputs(extractor)
    assert sorted(calls) == [1, 2, 4] and beside.source == 3


def test_in_training_they_are_logged_and_know_their_direction():
    gan, images = tiny_gan(), random_images(8)
    gan.compile(metrics=[PSNR(), L1()], run_eagerly=True)
    stopping = keras.callbacks.EarlyStopping("val_psnr", patience=5)
    history = gan.fit(images, batch_size=4, epochs=2, verbose=0, validation_data=images, callbacks=[stopping]).history
    assert {"val_psnr", "val_psnr_error", "val_mae"} <= set(history) and stopping.mode == "max"
    assert all(4 < value < 40 for value in history["val_psnr"])


class Both(TranslationGAN):
    """Translators of two sides: one adds .25 in the network's range, the other takes .5 away."""

    ways = ("translate", "translate_back")

    def __init__(self):
        a, b = (keras.Input((None, None, 1), name=name) for name in "ab")
        outputs = {"images": keras.layers.Rescaling(1.0, 0.25)(a), "back": keras.layers.Rescaling(1.0, -0.5)(b)}
        critic = [keras.Input((8, 8, 1), name=name) for name in "ab"]
        logits = keras.layers.Dense(1)(keras.layers.Flatten()(keras.layers.Concatenate()(critic)))
        shape = (8, 8, 1)
        super().__init__(
            keras.Model([a, b], outputs), keras.Model(critic, logits), source_shape=shape, target_shape=shape
        )

    def draw(self, real, condition, seed):
        return list(real)

    def judged(self, real, inputs, outputs):
        return real, (outputs["back"], outputs["images"])

    def forward(self, sources, way="translate", seed=None, labels=None):
        return sources + (0.25 if way == "translate" else -0.5)


def test_a_gan_of_both_ways_shows_metrics_both():
    source, target = random_images(4, (8, 8, 1), 1) * 0.25, random_images(4, (8, 8, 1), 2) * 0.25
    gan = Both()
    gan.compile(metrics=[L1(), Back(L1()), CycleError(), Back(CycleError())], run_eagerly=True)
    logs = gan.evaluate(tf.data.Dataset.from_tensor_slices((source, target)).batch(2), return_dict=True, verbose=0)
    assert logs["mae"] == pytest.approx(np.mean(np.abs(source + 0.25 - target)) / 2, abs=2e-3)
    assert logs["mae_back"] == pytest.approx(np.mean(np.abs(target - 0.5 - source)) / 2, abs=2e-3)
    assert logs["cycle_mae"] == pytest.approx(0.125, abs=2e-3) == logs["cycle_mae_back"]


def test_a_gan_of_one_way_shows_metrics_the_source():
    source = keras.Input((8, 8, 2), name="source")
    generator = keras.Model(source, keras.layers.Conv2D(1, 1)(source))
    images = keras.Input((8, 8, 1), name="images")
    gan = TranslationGAN(generator, keras.Model(images, keras.layers.Dense(1)(keras.layers.Flatten()(images))))
    gan.compile(metrics=[L1(region="hole")], run_eagerly=True)
    sources, targets = random_images(4, (8, 8, 2), 1), random_images(4, (8, 8, 1), 2)
    logs = gan.evaluate(tf.data.Dataset.from_tensor_slices((sources, targets)).batch(2), return_dict=True, verbose=0)
    difference = np.abs(gan.translate((sources + 1) / 2) - (targets + 1) / 2)
    holes = sources[..., 1:] < 0
    expected = np.mean([x[hole].mean() for x, hole in zip(difference, holes, strict=True)])
    assert logs["mae_hole"] == pytest.approx(expected, abs=2e-3)


def test_a_metric_must_not_go_by_the_name_of_a_term():
    with pytest.raises(ValueError, match=r"must have a `name` of its own. Received: \['r1', 'r1'\]"):
        tiny_gan().compile(terms=[tg.terms.R1(1.0)], metrics=[L1(name="r1")])
