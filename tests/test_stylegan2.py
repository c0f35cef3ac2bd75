"""tfgan_app.models.StyleGAN2 and its layers: against direct computations, finite differences and published sizes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import play

from tfgan_app.base import randomness
from tfgan_app.base.networks import apply, float32_copy
from tfgan_app.layers.equalized import EqualizedConv2D, EqualizedDense
from tfgan_app.layers.fir import FIRDownsample, FIRFilter, FIRUpsample, fir_filter
from tfgan_app.layers.minibatch_stddev import MinibatchStdDev
from tfgan_app.layers.pixel_norm import PixelNorm
from tfgan_app.layers.style import (
    LearnedConstant,
    ModulatedConv2D,
    Noise,
    Redraw,
    Style,
    StyleMixing,
    StyleStatistics,
    scaled_leaky_relu,
)
from tfgan_app.losses import NonSaturating
from tfgan_app.models.stylegan2 import PathLength, StyleGAN2, build_discriminator, build_generator
from tfgan_app.terms import R1

TINY = {
    "image_shape": (16, 16, 3),
    "latent_dim": 4,
    "style_dim": 6,
    "mapping_layers": 2,
    "channel_base": 64,
    "channel_max": 8,
    "seed": 3,
}


@pytest.fixture(scope="module")
def gan():
    """A tiny model whose noise has an effect, and whose average of w is not zero."""
    keras.utils.set_random_seed(0)
    gan = StyleGAN2(**TINY)
    gan.compile()
    for generator in (gan.generator, gan.ema_generator):
        for layer in generator.get_layer("synthesis").layers:
            if isinstance(layer, Noise):
                layer.strength.assign(0.5)
        generator.get_layer("mapping").get_layer("statistics").mean.assign(normal(6, seed=8))
    return gan


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def count(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def spread(x):
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(x))))


# The layers with an equalised learning rate.


@pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
def test_equalized_dense_scales_its_weights_as_it_computes(lr_multiplier):
    layer = EqualizedDense(300, lr_multiplier, gain=2.0, activation="relu")
    x = normal(50, 200)
    y = layer(x)
    assert np.std(layer.kernel) == pytest.approx(1 / lr_multiplier, rel=0.02)
    assert spread(layer(x)) == pytest.approx(2 / np.sqrt(2), rel=0.05)  # ReLU halves the mean square
    layer.bias.assign(normal(300))
    kernel, bias = np.array(layer.kernel), np.array(layer.bias)
    y = np.maximum(lr_multiplier * (2 / np.sqrt(200) * x @ kernel + bias), 0)
    np.testing.assert_allclose(layer(x), y, atol=1e-4)


def test_equalized_conv_scales_its_weights_as_it_computes():
    layer = EqualizedConv2D(40, 3, gain=2.0, strides=2, padding="same", bias_initializer="ones")
    plain = keras.layers.Conv2D(40, 3, strides=2, padding="same", bias_initializer="ones")
    x = normal(2, 8, 8, 30)
    y = layer(x)
    plain.build(x.shape)
    plain.kernel.assign(2 / np.sqrt(9 * 30) * np.array(layer.kernel))
    np.testing.assert_allclose(y, plain(x), atol=1e-5)
    assert np.std(layer.kernel) == pytest.approx(1, rel=0.02)


def test_one_step_moves_a_slowed_layer_by_its_multiplier():
    """Adam's step has the length of the learning rate, whatever the gradient's."""
    moves = []
    for lr_multiplier in (1.0, 0.01):
        layer = EqualizedDense(1, lr_multiplier, kernel_initializer="zeros")
        layer.build((None, 4))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(np.ones((1, 4), np.float32)))
        keras.optimizers.Adam(0.1).apply(tape.gradient(loss, layer.trainable_variables), layer.trainable_variables)
        moves.append(float(layer(np.ones((1, 4), np.float32))[0, 0]))
    assert moves[0] == pytest.approx(-0.1 * (2 + 1), rel=1e-3)
    assert moves[1] == pytest.approx(0.01 * moves[0], rel=1e-3)


# Normalisation and statistics.


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float16", 2e-3), ("bfloat16", 1e-2)])
def test_pixel_norm(dtype, tolerance):
    x = tf.cast(normal(2, 3, 3, 5) * 300, dtype)  # whose squares leave float16's range
    y = PixelNorm(dtype=dtype)(x)
    exact = np.array(x, np.float64)
    assert y.dtype == dtype
    np.testing.assert_allclose(
        np.array(y, float), exact / np.sqrt(np.mean(exact**2, -1, keepdims=True)), atol=tolerance
    )
    assert not np.any(PixelNorm()(np.zeros((2, 5), np.float32)))


def stddev_of_groups(x, group_size, num_features):
    groups = max(1, len(x) // group_size)
    features = np.zeros((len(x), num_features))
    for own in np.split(np.arange(len(x)), [-(-len(x) * i // groups) for i in range(1, groups)]):
        stddev = np.std(x[own].astype(np.float64), axis=0)
        features[own] = stddev.reshape(*x.shape[1:3], num_features, -1).mean((0, 1, 3))
    return features


@pytest.mark.parametrize("num_features", [1, 2])
@pytest.mark.parametrize("num", [1, 3, 4, 6, 8, 9])
def test_minibatch_stddev(num, num_features):
    layer = MinibatchStdDev(4, num_features)
    x = normal(num, 3, 2, 4)
    expected = stddev_of_groups(x, 4, num_features)
    for call in (layer, tf.function(layer, input_signature=[tf.TensorSpec((None, 3, 2, 4))])):
        y = np.array(call(x))
        np.testing.assert_array_equal(y[..., :4], x)
        np.testing.assert_allclose(y[..., 4:] - expected[:, None, None], 0, atol=2e-4)  # the epsilon's root is 1e-4
    low = np.array(MinibatchStdDev(4, num_features, dtype="float16")(x * 1000), np.float32)
    np.testing.assert_allclose(low[:, 0, 0, 4:], 1000 * expected, rtol=2e-3, atol=1e-3)


def test_minibatch_stddev_has_gradients_where_all_images_agree():
    x = tf.ones((4, 2, 2, 3))
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(MinibatchStdDev()(x) ** 2)
        penalty = tf.reduce_sum(tape.gradient(y, x) ** 2)
    assert np.all(np.isfinite(outer.gradient(penalty, x)))


def test_minibatch_stddev_refuses_features_that_do_not_divide_the_channels():
    with pytest.raises(ValueError, match=r"must divide the channels. Received: num_features=2 .* \(4, 2, 2, 3\)"):
        MinibatchStdDev(4, 2)(np.zeros((4, 2, 2, 3), np.float32))


# Resampling.


def filtered(x, taps, padding):
    """Filters by definition, in float64."""
    taps = np.array(taps) / np.sum(taps)
    x = np.pad(x.astype(np.float64), [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    for axis in (1, 2):
        size = x.shape[axis] - len(taps) + 1
        x = sum(tap * np.take(x, range(i, i + size), axis) for i, tap in enumerate(taps))
    return x


def with_zeros(x):
    """Puts a row and a column of zeros after each."""
    y = np.zeros((len(x), 2 * x.shape[1], 2 * x.shape[2], x.shape[3]))
    y[:, ::2, ::2] = x
    return y


def test_fir_layers_resample_with_1_3_3_1():
    x = normal(2, 6, 8, 3)
    np.testing.assert_allclose(FIRFilter()(x), filtered(x, [1, 3, 3, 1], 2), atol=1e-6)
    np.testing.assert_allclose(FIRDownsample()(x), filtered(x, [1, 3, 3, 1], 1)[:, ::2, ::2], atol=1e-6)
    np.testing.assert_allclose(FIRUpsample()(x), 4 * filtered(with_zeros(x), [1, 3, 3, 1], 2)[:, :-1, :-1], atol=1e-6)
    np.testing.assert_allclose(FIRUpsample()(x)[:, 1:-1, 1:-1], tf.image.resize(x, (12, 16))[:, 1:-1, 1:-1], atol=1e-5)


@pytest.mark.parametrize(("taps", "padding"), [((1, 3, 3, 1), 0), ((1, 3, 3, 1), 2), ((1, 2, 1), 1)])
def test_a_filters_own_gradients_are_those_of_its_convolution(taps, padding):
    kernel = np.tile(np.outer(taps, taps)[:, :, None, None] / np.sum(taps) ** 2, (1, 1, 3, 1)).astype(np.float32)
    zeros = [[0, 0], [padding] * 2, [padding] * 2, [0, 0]]

    def plain(x):
        return tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), zeros)

    def gradients(function, x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = tf.reduce_sum(function(x) ** 3)
            first = tape.gradient(y, x)
            penalty = tf.reduce_sum(first**2)
        return first, outer.gradient(penalty, x)

    x = tf.constant(normal(2, 5, 6, 3))
    for own, expected in zip(gradients(lambda x: fir_filter(x, taps, padding), x), gradients(plain, x), strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-5, rtol=1e-4)


def test_fir_layers_refuse_sides_that_they_cannot_resample():
    with pytest.raises(ValueError, match=r"halves images of even sides. Received: shape \(1, 5, 4, 2\)"):
        FIRDownsample()(np.zeros((1, 5, 4, 2), np.float32))
    with pytest.raises(ValueError, match=r"doubles images of known sides. Received: shape \(None, None, 4, 2\)"):
        FIRUpsample()(keras.Input((None, 4, 2)))


# The generator's layers.


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulated_convolution_equals_one_convolution_for_each_image(upsample, demodulate):
    layer = ModulatedConv2D(5, 3, demodulate, upsample, gain=1.5)
    x, style = normal(3, 6, 6, 4), normal(3, 4, seed=1)
    y = layer([x, style])
    layer.bias.assign(normal(5, seed=2))
    y = np.array(layer([x, style]))
    for image, scale, got in zip(x, style, y, strict=True):
        kernel = np.array(layer.kernel) / np.sqrt(9 * 4) * scale[:, None]  # equation 1
        if demodulate:
            kernel /= np.sqrt(np.sum(kernel**2, axis=(0, 1, 2)))  # equation 3
        if upsample:
            # A transposed convolution is one with the flipped kernel, on the image with zeros in between.
            wide = np.pad(with_zeros(image[None]), [(0, 0), (2, 1), (2, 1), (0, 0)])
            out = tf.nn.conv2d(wide, kernel[::-1, ::-1].astype(float), 1, "VALID")
            out = 4 * filtered(np.array(out), [1, 3, 3, 1], 1)
        else:
            out = np.array(tf.nn.conv2d(image[None], kernel, 1, "SAME"))
        np.testing.assert_allclose(got, 1.5 * out[0] + np.array(layer.bias), atol=1e-5)


@pytest.mark.parametrize("upsample", [False, True])
def test_demodulation_gives_unit_variance(upsample):
    layer = ModulatedConv2D(400, 3, upsample=upsample)
    x, style = normal(2, 12, 12, 30), 100 * np.exp(normal(2, 30, seed=1))
    if upsample:
        x = np.broadcast_to(x[:, :1, :1], x.shape)  # the filter would take white noise's high frequencies
    inner = np.array(layer([x, style]))[:, 3:-3, 3:-3]
    assert spread(inner) == pytest.approx(1, rel=0.2)
    assert spread(ModulatedConv2D(400, 3, demodulate=False)([x, style])) > 50


def test_styles_are_about_one_at_first_and_take_their_own_w():
    styles = normal(200, 3, 500)
    layer = Style(40, index=1)
    scale = np.array(layer(styles))
    assert scale.shape == (200, 40)
    assert np.mean(scale) == pytest.approx(1, abs=0.05)
    assert np.std(scale) == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(scale, layer(np.repeat(styles[:, 1:2], 3, axis=1)))


def test_noise_is_fresh_in_training_and_one_map_otherwise():
    layer, other = Noise(0), Noise(1)
    x = np.zeros((3, 40, 40, 2), np.float32)
    assert not np.any(layer(x, training=True))  # its strength starts from 0
    other(x)
    layer.strength.assign(2.0)
    other.strength.assign(2.0)
    fresh = np.array(layer(x, training=True))
    np.testing.assert_array_equal(fresh[..., 0], fresh[..., 1])
    assert spread(fresh) == pytest.approx(2, rel=0.05)
    assert abs(np.corrcoef(fresh[0, :, :, 0].ravel(), fresh[1, :, :, 0].ravel())[0, 1]) < 0.1
    assert np.any(fresh != layer(x, training=True))
    still = np.array(layer(x))
    assert spread(still) == pytest.approx(2, rel=0.05)
    np.testing.assert_array_equal(still[0], still[2])
    np.testing.assert_array_equal(still, Noise.from_config(layer.get_config())(x) + still)
    assert abs(np.corrcoef(still[0, :, :, 0].ravel(), np.array(other(x))[0, :, :, 0].ravel())[0, 1]) < 0.1


def test_the_learned_constant_is_every_images_start():
    layer = LearnedConstant((4, 4, 500))
    y = np.array(layer(normal(3, 2, 6)))
    assert y.shape == (3, 4, 4, 500)
    assert np.std(y) == pytest.approx(1, rel=0.05)
    np.testing.assert_array_equal(y[0], y[2])


def test_the_activation_keeps_the_mean_square():
    x = normal(10_000)
    np.testing.assert_allclose(scaled_leaky_relu(x), np.sqrt(2) * np.where(x > 0, x, 0.2 * x), rtol=1e-6)


def test_styles_mix_in_training_at_a_uniform_layer():
    layer = StyleMixing(num_styles=5, probability=0.8)
    first, second = np.zeros((4000, 2), np.float32), np.ones((4000, 2), np.float32)
    mixed = np.array(layer([first, second], training=True))
    assert mixed.shape == (4000, 5, 2)
    np.testing.assert_array_equal(mixed[..., 0], mixed[..., 1])
    assert np.all(np.diff(mixed[..., 0]) >= 0)  # once the second, always the second
    starts = np.bincount(5 - mixed[..., 0].sum(1).astype(int), minlength=6) / 4000
    np.testing.assert_allclose(starts, [0, 0.2, 0.2, 0.2, 0.2, 0.2], atol=0.03)
    np.testing.assert_array_equal(layer([first, second]), np.zeros((4000, 5, 2)))


def test_the_second_draw_is_another_in_training_only():
    layer, z = Redraw(), normal(1000, 4)
    np.testing.assert_array_equal(layer(z), z)
    drawn = np.array(layer(z, training=True))
    assert abs(np.mean(drawn * z)) < 0.1
    assert spread(drawn) == pytest.approx(1, rel=0.05)


def test_the_average_of_w_follows_training():
    layer = StyleStatistics(decay=0.9)
    w = normal(8, 3)
    np.testing.assert_array_equal(layer(w), w)
    assert not np.any(layer.mean)
    for _ in range(2):
        np.testing.assert_array_equal(layer(w, training=True), w)
    np.testing.assert_allclose(layer.mean, (1 - 0.9**2) * w.mean(0), atol=1e-6)
    np.testing.assert_allclose(layer.truncate(w, 0.25), layer.mean + 0.25 * (w - layer.mean), atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        EqualizedDense(3, 0.1, gain=2.0),
        EqualizedConv2D(3, 3, gain=2.0, strides=2),
        PixelNorm(1e-6),
        MinibatchStdDev(2, 3),
        FIRFilter(1),
        LearnedConstant((2, 2, 3)),
        ModulatedConv2D(3, 1, False, True, 2.0),
        Noise(4),
        Style(3, 2),
        StyleMixing(4, 0.5),
        StyleStatistics(0.5),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_configs_rebuild_the_layers(layer):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()


# The networks.


@pytest.mark.parametrize(
    ("side", "channel_base", "g_size", "d_size"),
    [(1024, 32768, 30_370_060, 29_012_513), (256, 16384, 24_767_458, 24_001_089)],
)
def test_has_the_published_sizes(side, channel_base, g_size, d_size):
    channels = {4 << i: min(channel_base // (4 << i), 512) for i in range(side.bit_length() - 2)}
    with keras.StatelessScope():
        generator = build_generator((side, side, 3), 512, None, 512, 8, channels)
        discriminator = build_discriminator((side, side, 3), None, 8, channels)
    assert (count(generator), count(discriminator)) == (g_size, d_size)
    assert count(generator.get_layer("mapping")) == 2_101_248
    assert generator.get_layer("synthesis").inputs[0].shape == (None, 2 * len(channels), 512)


def test_28x28_images_start_from_7x7():
    gan = StyleGAN2(**{**TINY, "image_shape": (28, 28, 1)})
    shapes = [layer.output.shape[1] for layer in gan.generator.get_layer("synthesis").layers if "noise" in layer.name]
    assert shapes == [7, 14, 14, 28, 28]
    statistics = [layer for layer in gan.discriminator.layers if isinstance(layer, MinibatchStdDev)]
    assert [layer.output.shape[1:3] for layer in statistics] == [(7, 7)]


@pytest.mark.parametrize("shape", [(27, 27, 1), (8, 8, 1), (64, 30, 3)])
def test_refuses_other_sizes(shape):
    with pytest.raises(ValueError, match=r"StyleGAN2 draws images .*Received: image_shape=\(") as error:
        StyleGAN2(**{**TINY, "image_shape": shape})
    assert str(shape) in str(error.value)


def test_activations_keep_their_scale_at_the_start():
    keras.utils.set_random_seed(0)
    channels = dict.fromkeys((4, 8, 16, 32), 64)
    generator = build_generator((32, 32, 3), 64, None, 64, 4, channels)
    synthesis, mapping = (generator.get_layer(name) for name in ("synthesis", "mapping"))
    styles = mapping(normal(16, 64))
    assert 0.5 < spread(styles) < 2
    sums = [layer.output for layer in synthesis.layers if isinstance(layer, Noise)]
    for feature_map in keras.Model(synthesis.input, sums)(styles):
        assert 0.3 < spread(feature_map) < 1.5
    discriminator = build_discriminator((32, 32, 3), None, 4, channels)
    sums = [layer.output for layer in discriminator.layers if "rescaling" in layer.name]
    for feature_map in keras.Model(discriminator.input, sums)(normal(16, 32, 32, 3)):
        assert 0.2 < spread(feature_map) < 1.5


def test_images_depend_on_latents_alone_outside_of_training(gan):
    z = normal(4, 4)
    images = apply(gan.generator, [z])
    np.testing.assert_array_equal(images, apply(gan.generator, [z]))
    np.testing.assert_allclose(images[:2], apply(gan.generator, [z[:2]]), atol=1e-5)
    assert np.abs(images - apply(gan.generator, [z], training=True)).max() > 0.1
    copy = float32_copy(gan.generator)
    np.testing.assert_allclose(images, apply(copy, [z]), atol=1e-5)


def test_truncation_goes_from_the_average_image_to_each_its_own(gan):
    z = normal(4, 4)

    @tf.function
    def truncated(psi):
        return gan.truncate(gan.ema_generator, [z], psi)

    plain = apply(gan.ema_generator, [z])
    np.testing.assert_allclose(truncated(tf.constant(1.0)), plain, atol=1e-5)
    average = truncated(tf.constant(0.0))
    np.testing.assert_allclose(average, np.repeat(average[:1], 4, axis=0), atol=1e-6)
    mean = gan.ema_generator.get_layer("mapping").get_layer("statistics").mean
    styles = tf.repeat(mean[None, None], 6, axis=1)
    np.testing.assert_allclose(average[:1], gan.ema_generator.get_layer("synthesis")(styles), atol=1e-5)
    assert spread(truncated(tf.constant(0.5)) - average) < spread(plain - average)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_computes_in_16_bits(gan, dtype):
    keras.config.set_dtype_policy(f"mixed_{dtype}")
    low = StyleGAN2(**TINY)
    low.set_weights(gan.get_weights())
    z, images = normal(4, 4), normal(4, 16, 16, 3)
    for name, inputs in (("generator", z), ("discriminator", images)):
        network, exact = getattr(low, name), getattr(gan, name)(inputs)
        got = network(inputs)
        assert got.dtype == "float32"
        assert {v.dtype for v in network.weights} == {"float32"}
        np.testing.assert_allclose(got, exact, atol=0.1 * spread(exact))
    assert {layer.compute_dtype for layer in low.generator.get_layer("synthesis").layers} >= {dtype}


def test_compiles_with_xla(gan):
    z, images = tf.constant(normal(2, 4)), tf.constant(normal(2, 16, 16, 3))
    for network, x in ((gan.generator, z), (gan.discriminator, images)):
        np.testing.assert_allclose(tf.function(network, jit_compile=True)(x), network(x), atol=1e-4)


def test_draws_and_judges_by_the_label():
    gan = StyleGAN2(num_classes=3, **TINY)
    gan.compile()
    z, images = tf.repeat(normal(1, 4), 2, axis=0), tf.repeat(normal(1, 16, 16, 3), 2, axis=0)
    drawn = {labels: np.array(apply(gan.generator, [z, tf.constant(labels)])) for labels in ((1, 1), (1, 2))}
    np.testing.assert_allclose(drawn[1, 1][0], drawn[1, 1][1], atol=1e-6)
    assert np.abs(drawn[1, 2][0] - drawn[1, 2][1]).max() > 1e-3
    logits = [np.array(gan.judge(images, (tf.constant(labels),))) for labels in ((1, 1), (1, 2))]
    assert logits[0].shape == (2, 1)
    np.testing.assert_allclose(logits[0][0], logits[0][1], atol=1e-6)
    assert abs(logits[1][0] - logits[1][1]) > 1e-4
    sizes = [count(network) for network in (gan.generator, gan.discriminator)]
    # Embeddings of as many latents; the first dense layer of f takes both; D has two dense layers for the label, and
    # width products instead of one logit.
    plain = StyleGAN2(**TINY)
    assert sizes[0] - count(plain.generator) == 3 * 4 + 4 * 6
    assert sizes[1] - count(plain.discriminator) == 3 * 8 + 2 * (8 * 8 + 8) + 7 * (8 + 1)


# Training.


def test_r1_has_the_gradient_of_finite_differences(gan):
    def smooth(layer):
        # The kinks of leaky ReLU would make the penalty jump between two finite differences.
        kinked = isinstance(layer, keras.layers.LeakyReLU)
        return keras.layers.Activation("gelu") if kinked else type(layer).from_config(layer.get_config())

    discriminator = keras.models.clone_model(gan.discriminator, clone_function=smooth)
    images = tf.constant(normal(6, 16, 16, 3))

    def judge(images, condition):
        return discriminator(images, training=True)

    variables = discriminator.trainable_variables
    before = [np.array(v) for v in variables]
    for index, variable in enumerate(variables):
        direction = normal(*variable.shape, seed=index)
        with tf.GradientTape() as tape:
            value = R1()(play(judge, images))
        gradient = tape.gradient(value, variable.value)
        slope = 0.0 if gradient is None else float(np.sum(gradient * direction))  # None: the last bias has no part
        values = []
        for step in (1e-2, -1e-2):
            variable.assign(before[index] + step * direction)
            values.append(float(R1()(play(judge, images))))
        variable.assign(before[index])
        assert slope == pytest.approx((values[0] - values[1]) / 2e-2, rel=0.01, abs=1e-3 * float(value)), variable.path


def linear_generator(scale=1.0):
    """Images that are a linear map of the styles of two layers."""
    latents = keras.Input((3,), name="latents")
    w = StyleStatistics(name="statistics")(latents)
    mapping = keras.Model(latents, StyleMixing(2, probability=0.0)([w, w]), name="mapping")
    styles = keras.Input((2, 3), name="styles")
    x = keras.layers.Dense(16 * 2, use_bias=False)(keras.layers.Flatten()(styles))
    synthesis = keras.Model(styles, keras.layers.Reshape((4, 4, 2))(x), name="synthesis")
    generator = keras.Model(latents, synthesis(mapping(latents)))
    synthesis.layers[2].kernel.assign(scale * normal(6, 32))
    return generator, synthesis.layers[2].kernel


def test_path_length_of_a_linear_generator():
    generator, kernel = linear_generator()
    seed = tf.constant([5, 6], tf.int64)
    noise = np.array(randomness.normal((3, 4, 4, 2), seed))  # half of 5 or 6 images
    jacobian = (noise.reshape(3, 32) / 4) @ np.array(kernel).T  # sqrt(4 * 4) pixels
    lengths = np.sqrt(np.mean(np.sum(jacobian.reshape(3, 2, 3) ** 2, axis=2), axis=1))
    path_length = PathLength()
    average = 0.0
    for _ in range(3):
        got = path_length(play(generator=generator, inputs=[normal(5, 3)], seed=seed))
        average += 0.01 * (lengths.mean() - average)
        assert float(got) == pytest.approx(np.mean((lengths - average) ** 2), rel=1e-4)
    statistics = generator.get_layer("mapping").get_layer("statistics")
    assert float(statistics.path_length) == pytest.approx(average, rel=1e-5)
    assert np.any(statistics.mean)  # it is training


def test_path_length_moves_the_generator_towards_the_average():
    generator, kernel = linear_generator(scale=3.0)
    generator.get_layer("mapping").get_layer("statistics").path_length.assign(1.0)
    with tf.GradientTape() as tape:
        value = PathLength()(play(generator=generator, inputs=[normal(64, 3)], seed=(0, 1)))
    gradient = tape.gradient(value, kernel.value)
    assert float(tf.reduce_sum(gradient * kernel)) > 0  # paths are too long, so shrinking the map helps


def test_path_lengths_average_is_saved_with_the_generator(gan, tmp_path):
    gan.generator.get_layer("mapping").get_layer("statistics").path_length.assign(0.75)
    gan.save(tmp_path / "gan.keras")
    copy = keras.models.load_model(tmp_path / "gan.keras")
    assert float(copy.generator.get_layer("mapping").get_layer("statistics").path_length) == 0.75
    np.testing.assert_allclose(copy.sample(2, truncation=0.7), gan.sample(2, truncation=0.7), atol=1e-6)
    assert [type(term) for term in copy.terms] == [R1, PathLength]


def test_compiles_with_the_papers_settings(gan):
    r1, path_length = gan.terms
    assert (type(r1), r1.weight, r1.interval) == (R1, 5.0, 16)
    assert (path_length.weight, path_length.interval) == (2.0, 4)
    assert isinstance(gan.loss, NonSaturating) and gan.loss.real_label == 1
    assert gan.ema_half_life == 10_000
    for optimizer, c in ((gan.g_optimizer, 4 / 5), (gan.d_optimizer, 16 / 17)):
        assert float(optimizer.learning_rate) == pytest.approx(0.002 * c)
        assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0, pytest.approx(0.99**c), 1e-8)
