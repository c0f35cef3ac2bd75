"""tfgan_app.layers for pictures from pictures: instance norm, padding, shuffling, dropout by a seed, colour."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_images

import tfgan_app as tg
from tfgan_app.base.colour import luminance_grey
from tfgan_app.base.networks import float32_copy
from tfgan_app.base.randomness import stream, uniform


def normal_images(shape, seed=0):
    return np.random.default_rng(seed).normal(1, 2, shape).astype(np.float32)


def saved(layer, tmp_path, *shapes):
    """Returns what a model of one layer gives, and what it gives when saved and loaded."""
    inputs = [keras.Input(shape) for shape in shapes]
    model = keras.Model(inputs, layer(inputs if len(inputs) > 1 else inputs[0]))
    model.save(tmp_path / "model.keras")
    batch = [random_images(2, tuple(side or 5 for side in shape)) for shape in shapes]
    return model(batch), keras.models.load_model(tmp_path / "model.keras")(batch)


# Instance normalisation.


def normalised(x, epsilon=1e-5):
    x = np.asarray(x, np.float64)
    return (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + epsilon)


@pytest.mark.parametrize("shape", [(1, 4, 6, 3), (5, 7, 3, 2), (2, 1, 1, 3), (3, 1, 2, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_instance_normalisation_takes_the_statistics_of_each_channel_of_each_image(shape, training):
    x = normal_images(shape)
    np.testing.assert_allclose(tg.layers.InstanceNormalization()(x, training=training), normalised(x), atol=1e-5)
    layer = tg.layers.InstanceNormalization(affine=True, epsilon=0.1)
    layer.build((None, None, None, shape[-1]))
    scale, offset = (normal_images(shape[-1:], seed) for seed in (1, 2))
    layer.set_weights([scale, offset])
    np.testing.assert_allclose(layer(x), normalised(x, 0.1) * scale + offset, atol=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_statistics_of_images_are_float32_under_mixed_precision(dtype):
    x = tf.constant(100 + normal_images((3, 16, 16, 4)), dtype.removeprefix("mixed_"))
    layer = tg.layers.InstanceNormalization(affine=True, dtype=dtype)
    y = layer(x)
    assert y.dtype == x.dtype and {weight.dtype for weight in layer.weights} == {"float32"}
    # Far from 0 a mean of 8 bits would be off by as much as the images differ.
    np.testing.assert_allclose(tf.cast(y, tf.float32), normalised(tf.cast(x, tf.float32)), atol=0.02)


def test_instance_normalisation_has_no_weights_unless_affine_and_takes_any_size(tmp_path):
    assert not tg.layers.InstanceNormalization().weights
    layer = tg.layers.InstanceNormalization(affine=True)
    model = keras.Model(inputs := keras.Input((None, None, 3)), layer(inputs))
    assert model.output.shape == (None, None, None, 3) and [w.name for w in layer.weights] == ["gamma", "beta"]
    x = random_images(2, (5, 9, 3))
    whole = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3))])
    np.testing.assert_allclose(whole(x), normalised(x), atol=1e-5)
    np.testing.assert_allclose(whole(x[:1]), whole(x)[:1], atol=1e-6)
    one, other = saved(tg.layers.InstanceNormalization(affine=True, epsilon=0.5), tmp_path, (None, None, 3))
    np.testing.assert_array_equal(one, other)


def penalised_discriminator(layer):
    """A discriminator of tanh, which has second derivatives everywhere, around a layer."""
    images = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3, activation="tanh")(layer(images))
    return keras.Model(images, keras.layers.Dense(1)(keras.layers.Flatten()(x)))


@pytest.mark.parametrize("term", [tg.terms.R1(1.0), tg.terms.GradientPenalty(1.0)])
@pytest.mark.parametrize(
    "make",
    [
        lambda: tg.layers.InstanceNormalization(),
        lambda: tg.layers.InstanceNormalization(affine=True),
        lambda: tg.layers.ReflectionPadding2D(2),
        lambda: tg.layers.ReflectionPadding2D(7),
    ],
)
def test_penalties_differentiate_twice(make, term):
    model = penalised_discriminator(make())
    real, fake = (tf.constant(normal_images((3, 6, 6, 2), seed)) for seed in (1, 2))

    @tf.function
    def value():
        play = tg.terms.Play(
            real,
            fake,
            (),
            [],
            fake,
            None,
            lambda samples, _: {"logits": model(samples, training=True)},
            seed=tf.constant([1, 2], tf.int64),
        )
        with tf.GradientTape() as tape:
            penalty = term(play)
        return penalty, [tf.convert_to_tensor(x) for x in tape.gradient(penalty, kernels)]

    kernels = [weight.value for weight in model.trainable_variables if len(weight.shape) > 1]
    directions = [normal_images(kernel.shape, 5 + index) for index, kernel in enumerate(kernels)]
    slope = sum(float(tf.reduce_sum(x * y)) for x, y in zip(value()[1], directions, strict=True))
    ends = []
    for sign in (1, -1):
        for kernel, direction in zip(kernels, directions, strict=True):
            kernel.assign_add(sign * 3e-4 * direction)
        ends.append(float(value()[0]))
        for kernel, direction in zip(kernels, directions, strict=True):
            kernel.assign_sub(sign * 3e-4 * direction)
    assert abs(slope) > 0.1
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 6e-4, rtol=2e-2)


# Pixel shuffle.


def test_pixel_shuffle_has_tensorflows_order(tmp_path):
    x = np.arange(2 * 2 * 3 * 8, dtype=np.float32).reshape(2, 2, 3, 8)
    y = tg.layers.PixelShuffle(2)(x)
    assert y.shape == (2, 4, 6, 2)
    for row, column, channel in np.ndindex(4, 6, 2):
        source = x[:, row // 2, column // 2, (row % 2 * 2 + column % 2) * 2 + channel]
        np.testing.assert_array_equal(y[:, row, column, channel], source)
    assert tg.layers.PixelShuffle(3)(keras.Input((None, 4, 18))).shape == (None, None, 12, 2)
    np.testing.assert_array_equal(tg.layers.PixelShuffle(1)(x), x)
    np.testing.assert_array_equal(*saved(tg.layers.PixelShuffle(2), tmp_path, (None, None, 4)))


def test_pixel_shuffle_refuses_other_factors_and_channels():
    for factor in (0, 1.5):
        with pytest.raises(ValueError, match=f"`factor` must be an integer of at least 1. Received: factor={factor}"):
            tg.layers.PixelShuffle(factor)
    with pytest.raises(ValueError, match=r"multiple of 4, the square of `factor`. Received: factor=2 for .* 4, 6\)"):
        tg.layers.PixelShuffle(2)(np.zeros((1, 4, 4, 6)))


# Reflection.


@pytest.mark.parametrize("sides", [(5, 7), (1, 1), (2, 1), (3, 4), (1, 9)])
@pytest.mark.parametrize("padding", [1, 3, (4, 0), ((1, 0), (2, 7))])
def test_reflection_is_numpys_whatever_the_side(sides, padding):
    x = random_images(2, (*sides, 3))
    pairs = [(p, p) if isinstance(p, int) else p for p in (padding if isinstance(padding, tuple) else (padding,) * 2)]
    expected = np.pad(x, [(0, 0), *pairs, (0, 0)], "reflect")
    layer = tg.layers.ReflectionPadding2D(padding)
    unknown = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 3))])
    for call in (layer, unknown):
        np.testing.assert_array_equal(call(x), expected)


@pytest.mark.parametrize("padding", [1, ((2, 0), (1, 3))])
def test_reflections_gradient_is_tensorflows(padding):
    x, upstream = tf.constant(random_images(2, (6, 7, 3))), None
    layer, gradients = tg.layers.ReflectionPadding2D(padding), []
    for pad in (layer, lambda x: tf.pad(x, [(0, 0), *layer.padding, (0, 0)], "REFLECT")):
        with tf.GradientTape() as tape:
            tape.watch(x)
            padded = pad(x)
        upstream = tf.random.stateless_normal(padded.shape, (1, 2)) if upstream is None else upstream
        gradients.append(tape.gradient(padded, x, upstream))
    np.testing.assert_allclose(*gradients, atol=1e-6)


def test_cropping_is_kerass(tmp_path):
    x = tf.constant(random_images(2, (6, 7, 3)))
    found = []
    for layer in (tg.layers.Cropping2D(((1, 0), (2, 3))), keras.layers.Cropping2D(((1, 0), (2, 3)))):
        with tf.GradientTape() as tape:
            tape.watch(x)
            cropped = layer(x)
        found.append((cropped, tape.gradient(cropped, x, cropped)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert tg.layers.Cropping2D(1)(keras.Input((None, 5, 3))).shape == (None, None, 3, 3)
    np.testing.assert_array_equal(*saved(tg.layers.Cropping2D(1), tmp_path, (None, 5, 3)))


def test_reflection_knows_its_shape_and_is_saved(tmp_path):
    layer = tg.layers.ReflectionPadding2D((2, 1))
    assert layer(keras.Input((None, 5, 3))).shape == (None, None, 7, 3)
    assert layer(tf.cast(random_images(1, (3, 3, 1)), tf.bfloat16)).dtype == layer.compute_dtype
    np.testing.assert_array_equal(*saved(tg.layers.ReflectionPadding2D(((2, 0), (1, 3))), tmp_path, (None, 5, 3)))


@pytest.mark.parametrize("padding", [-1, (1, -2), (1, 2, 3), 1.5, ((1, 2, 3), 1)])
def test_reflection_refuses_what_is_no_padding(padding):
    with pytest.raises(ValueError, match=r"`padding` must be pixels of at least 0: .* Received: padding="):
        tg.layers.ReflectionPadding2D(padding)


# Dropout that stays.

SEED = tf.constant([3, 4], tf.int64)


def test_in_training_each_sample_has_a_mask_of_its_own():
    x = np.ones((4, 8, 8, 16), np.float32)
    layer = tg.layers.SeededDropout(0.25, number=2)
    y = np.array(layer([x, SEED], training=True))
    expected = (np.array(uniform(x.shape, stream(SEED, "dropout 2"))) >= 0.25) / 0.75
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert abs(np.mean(y == 0) - 0.25) < 0.02 and (y[0] != y[1]).any()
    for other in (layer([x, SEED + 1], training=True), tg.layers.SeededDropout(0.25, 3)([x, SEED], training=True)):
        assert abs(np.mean((np.array(other) == 0) == (y == 0)) - (0.25**2 + 0.75**2)) < 0.03


def test_after_training_a_picture_does_not_depend_on_its_neighbours():
    x = random_images(4, (8, 8, 3))
    layer = tg.layers.SeededDropout(0.5)
    y = np.array(layer([x, SEED]))
    for index in range(4):
        np.testing.assert_array_equal(layer([x[index : index + 1], SEED])[0], y[index])
    np.testing.assert_array_equal(y[0] == 0, y[1] == 0)
    assert (y != np.array(layer([x, SEED + 1]))).any()


@pytest.mark.parametrize("training", [True, False])
def test_a_negative_seed_or_no_rate_drops_nothing(training):
    x = random_images(2, (4, 4, 3))
    np.testing.assert_array_equal(
        tg.layers.SeededDropout(0.5)([x, tf.constant([-1, 0], tf.int64)], training=training), x
    )
    np.testing.assert_array_equal(tg.layers.SeededDropout(0.0)([x, SEED], training=training), x)


def test_the_seed_is_an_input_of_a_network(tmp_path):
    source, seed = keras.Input((None, None, 3)), keras.Input(batch_shape=(2,), dtype="int64", name="seed")
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = keras.Model([source, seed], tg.layers.SeededDropout(0.5, 7)([source, seed]))
    x = tf.constant(random_images(3, (5, 6, 3)))
    y = model([x, SEED])
    assert y.dtype == tf.bfloat16
    model.save(tmp_path / "model.keras")
    for copy in (float32_copy(model), keras.models.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(np.array(copy([x, SEED]), np.float32), np.array(y, np.float32), rtol=1e-2)


def test_dropout_refuses_other_rates():
    for rate in (-0.1, 1.0):
        with pytest.raises(ValueError, match=rf"`rate` must lie in \[0, 1\). Received: rate={rate}"):
            tg.layers.SeededDropout(rate)


# Colour.

COLOURS = np.uint8(
    [[255, 0, 0], [0, 0, 255], [12, 200, 100], [250, 240, 10], [3, 2, 1], [90, 120, 200], [128, 128, 128]]
)
# By scikit-image 0.26's rgb2lab.
LAB = np.array(
    [
        [53.24059, 80.09231, 67.20275],
        [32.29567, 79.18559, -107.8573],
        [71.0801, -63.29844, 38.37419],
        [92.8695, -16.35436, 90.44394],
        [0.58687, 0.12242, 0.47063],
        [51.58177, 12.65948, -44.96926],
        [53.58501, -0.00147, 0.00279],
    ]
)
LINEAR_TO_LUMINANCE = np.array([0.212671, 0.715160, 0.072169])


def luminance(stored):
    """Returns the relative luminance of sRGB in [0, 1]."""
    stored = np.asarray(stored, np.float64)
    return np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4) @ LINEAR_TO_LUMINANCE


def lightness(stored):
    light = luminance(stored)
    return np.where(light > (6 / 29) ** 3, 116 * np.cbrt(light) - 16, (29 / 3) ** 3 * light)


def test_greys_are_as_light_as_the_colours():
    np.testing.assert_allclose(lightness(COLOURS / 255), LAB[:, 0], atol=1e-4)
    greys = luminance_grey(COLOURS)
    assert greys.dtype == np.uint8 and greys.shape == (7, 1)
    assert greys[:, 0].tolist() == [127, 76, 174, 234, 2, 123, 128]
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    np.testing.assert_array_equal(luminance_grey(ramp)[:, 0], ramp[:, 0])
    # No other level is nearer.
    colours = np.random.default_rng(0).integers(0, 256, (500, 3), dtype=np.uint8)
    levels = np.repeat(np.arange(256)[:, None] / 255, 3, axis=1)
    light = luminance(colours / 255)
    stored = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(levels[luminance_grey(colours)[:, 0], 0] - stored).max() < 0.5001 / 255


def grey_of(lightness):
    """Returns the sRGB value in [0, 1] of a grey."""
    light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * (3 / 29) ** 3)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def coloured(grey, ab, **arguments):
    """Returns sRGB in [0, 1] for greys in [0, 1] and a*, b*."""
    layer = tg.layers.LabColour(**arguments)
    grey = tf.constant(2 * np.reshape(grey, (1, -1, 1, 1)) - 1, tf.float32)
    return (np.array(layer([grey, tf.constant(np.reshape(ab, (1, -1, 1, 2)) / 110, tf.float32)]))[0, :, 0] + 1) / 2


def test_lab_colours_are_scikit_images():
    np.testing.assert_allclose(coloured(grey_of(LAB[:, 0]), LAB[:, 1:]), COLOURS / 255, atol=1.5e-3)


def test_the_lightness_stays_where_the_colour_leaves_the_gamut():
    rng = np.random.default_rng(0)
    grey = np.concatenate([rng.uniform(0, 1, 2000), np.linspace(0, 1e-3, 200), 1 - np.linspace(0, 1e-3, 200)])
    ab = rng.uniform(-200, 200, (len(grey), 2))
    colours = coloured(grey, ab)
    assert colours.min() >= 0 and colours.max() <= 1
    np.testing.assert_allclose(lightness(colours), lightness(np.repeat(grey[:, None], 3, 1)), atol=1e-3)
    # At the edge of the gamut, not short of it.
    edge = np.minimum(colours.min(axis=1), 1 - colours.max(axis=1))
    assert np.median(edge) < 1e-3 and np.ptp(colours[:2000], axis=1).mean() > 0.2
    # Without chroma there is the grey.
    np.testing.assert_allclose(coloured(grey, 0 * ab), np.repeat(grey[:, None], 3, 1), atol=1e-5)


@pytest.mark.parametrize("grey", [-1.5, -1.0, -1 + 1e-6, -0.99, 0.0, 1 - 1e-6, 1.0, 1.2])
def test_colour_has_finite_gradients_at_black_and_white(grey):
    source = tf.fill((1, 5, 5, 1), grey)
    ab = np.stack(np.meshgrid(*[np.linspace(-1, 1, 5)] * 2), axis=-1)[np.newaxis].astype(np.float32)
    inputs = [source, tf.constant(ab)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        images = tg.layers.LabColour()(inputs)
    assert np.isfinite(images).all()
    for gradient in tape.gradient(images, inputs):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() < 1e3


def test_colour_is_float32_under_mixed_precision_and_saved(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = tg.layers.LabColour(chroma=80.0)
    grey, ab = random_images(1, (4, 4, 1)), random_images(1, (4, 4, 2))
    assert layer([grey, tf.cast(ab, tf.bfloat16)]).dtype == tf.float32
    keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(*saved(layer, tmp_path, (None, None, 1), (None, None, 2)))


# The pool.


def pooled_by_turns(images, size, seeds):
    """What the program of CycleGAN does, image by image, on the draws of `ImagePool`."""
    pool, shown = [], []
    for batch, seed in zip(images, seeds, strict=True):
        swap, place = (np.array(uniform((len(batch),), stream(seed, name))) for name in ("swap", "place"))
        shown.append([])
        for image, p, where in zip(batch, swap, place, strict=True):
            if len(pool) < size:
                pool.append(image)
                shown[-1].append(image)
            elif p > 0.5:
                shown[-1].append(pool[int(where * size)])
                pool[int(where * size)] = image
            else:
                shown[-1].append(image)
    return np.array(shown), np.array(pool)


def seeds(num):
    return [tf.constant([5, number], tf.int64) for number in range(num)]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(("size", "batch_size"), [(4, 1), (5, 3), (2, 8), (1, 4)])
def test_the_pool_takes_images_in_turn(size, batch_size, jit_compile):
    batches = np.arange(40 * batch_size, dtype=np.float32).reshape(40, batch_size, 1, 1, 1)
    pool = tg.layers.ImagePool(size)
    pool.build(batches.shape[1:])
    step = tf.function(pool, jit_compile=jit_compile)
    shown = [np.array(step(batch, seed)) for batch, seed in zip(batches, seeds(40), strict=True)]
    expected, kept = pooled_by_turns(batches, size, seeds(40))
    np.testing.assert_array_equal(shown, expected)
    np.testing.assert_array_equal(pool.images, kept)
    assert 0.25 < np.mean(expected != batches) < 0.65


def test_the_pool_passes_no_gradient_and_draws_by_the_seed_alone():
    images = tf.constant(random_images(6))
    pools = [tg.layers.ImagePool(3) for _ in range(3)]
    firsts = [np.array(pool(images, seed)) for pool, seed in zip(pools, (SEED, SEED, SEED + 1), strict=True)]
    np.testing.assert_array_equal(firsts[0], firsts[1])
    assert (firsts[0] != firsts[2]).any()
    with tf.GradientTape() as tape:
        tape.watch(images)
        shown = pools[0](images, SEED + 2) * 1.0
    assert tape.gradient(shown, images) is None
    assert not pools[0].trainable_variables


def test_an_empty_pool_returns_the_images():
    pool = tg.layers.ImagePool(0)
    images = random_images(3)
    np.testing.assert_array_equal(pool(images, SEED), images)
    assert not pool.weights
    for size in (-1, 2.5):
        with pytest.raises(ValueError, match=f"`size` must be an integer of at least 0. Received: size={size}"):
            tg.layers.ImagePool(size)


def test_the_pool_goes_on_from_a_checkpoint(tmp_path):
    class Holder(keras.Model):
        def __init__(self):
            super().__init__()
            self.pool = tg.layers.ImagePool(3)
            self.pool.build((None, 8, 8, 1))

    whole, resumed = Holder(), Holder()
    images = random_images(20).reshape(10, 2, 8, 8, 1)
    for batch, seed in zip(images[:5], seeds(5), strict=True):
        whole.pool(batch, seed)
    tf.train.Checkpoint(whole).write(tmp_path / "state")
    tf.train.Checkpoint(resumed).read(tmp_path / "state").assert_consumed()
    for number in range(5, 10):
        args = images[number], seeds(10)[number]
        np.testing.assert_array_equal(whole.pool(*args), resumed.pool(*args))
    assert len(whole.weights) == 2 and int(whole.pool.count) == 3
