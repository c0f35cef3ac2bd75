"""SRGAN and ESRGAN: their networks against the official programs', and their two phases."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import assert_all_close, random_data, tiny_model, train, values
from keras import layers

import tfgan_app as tg
from tfgan_app.base.errors import UsageError
from tfgan_app.base.receptive_field import receptive_radius
from tfgan_app.models import esrgan, srgan

# Layers.


def test_pixel_unshuffle_undoes_pixel_shuffle():
    images = tf.random.stateless_normal((2, 6, 4, 3), (1, 2))
    blocks = tg.layers.PixelUnshuffle(2)(images)
    assert blocks.shape == (2, 3, 2, 12)
    # Row 2, column 3 is in block (1, 1), its pixel 0, 1.
    np.testing.assert_array_equal(blocks[:, 1, 1, 3:6], images[:, 2, 3])
    np.testing.assert_array_equal(tg.layers.PixelShuffle(2)(blocks), images)
    np.testing.assert_array_equal(tg.layers.PixelUnshuffle(1)(images), images)
    with pytest.raises(ValueError, match=r"`factor` must be an integer of at least 1. Received: factor=0"):
        tg.layers.PixelUnshuffle(0)
    with pytest.raises(ValueError, match=r"The sides must be multiples of `factor`. Received: factor=4 for inputs of"):
        tg.layers.PixelUnshuffle(4)(images)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("side", [1, 2, 5])
def test_bilinear_upsampling_is_keras_own(side, factor):
    images = tf.random.stateless_normal((2, side, 3, 2), (1, 2))
    expected = layers.UpSampling2D(factor, interpolation="bilinear")(images)
    np.testing.assert_allclose(tg.layers.BilinearUpsample(factor)(images), expected, atol=1e-5)
    assert tg.layers.BilinearUpsample(factor)(keras.Input((None, 3, 2))).shape == (None, None, 3 * factor, 2)
    with pytest.raises(ValueError, match=r"`factor` must be an integer of at least 1. Received: factor=0"):
        tg.layers.BilinearUpsample(0)


def test_bilinear_upsampling_has_second_derivatives():
    images, layer = tf.random.stateless_normal((1, 4, 4, 1), (1, 2)), tg.layers.BilinearUpsample()
    with tf.GradientTape() as outer:
        outer.watch(images)
        with tf.GradientTape() as inner:
            inner.watch(images)
            outputs = tf.reduce_sum(layer(images) ** 3)
        squares = tf.reduce_sum(inner.gradient(outputs, images) ** 2)
    got = outer.gradient(squares, images)
    # By differences of the gradient's squares.
    step = np.zeros(images.shape, np.float32)
    step[0, 1, 2, 0] = 1e-2

    def squares_at(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = tf.reduce_sum(layer(x) ** 3)
        return float(tf.reduce_sum(tape.gradient(outputs, x) ** 2))

    expected = (squares_at(images + step) - squares_at(images - step)) / 2e-2
    np.testing.assert_allclose(got[0, 1, 2, 0], expected, rtol=1e-2)


@pytest.mark.parametrize("shared", [(1, 2), (1, 2, 3), None])
def test_prelu_is_keras_own(shared):
    x = tf.random.stateless_normal((2, 3, 4, 5), (1, 2))
    found = []
    for cls in (keras.layers.PReLU, tg.layers.PReLU):
        layer = cls(keras.initializers.RandomUniform(0.1, 0.9, seed=3), shared_axes=shared)
        layer.build(x.shape)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            outputs = layer(x)
            [slope] = layer.trainable_variables
            first = tape.gradient(tf.reduce_sum(outputs**2), x)
            squares = tf.reduce_sum(first**2)
        by_slope = tape.gradient(outputs, slope.value, output_gradients=outputs)
        found.append([outputs, first, by_slope, tape.gradient(squares, x), tape.gradient(squares, slope.value)])
    for expected, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_prelu_sums_its_gradients_in_float32():
    layer = tg.layers.PReLU("zeros", shared_axes=(1, 2), dtype="mixed_bfloat16")
    x = tf.fill((1, 64, 64, 1), tf.constant(-1.0, tf.bfloat16))
    with tf.GradientTape() as tape:
        outputs = layer(x)
    [slope] = layer.trainable_variables
    # One by one, bfloat16 would stop counting at 256.
    np.testing.assert_allclose(np.ravel(tape.gradient(outputs, slope.value)), [-4096.0])


# Networks.


def counted(network):
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


COUNTS = {
    # By the official programs: XPixelGroup/BasicSR, and xinntao/Real-ESRGAN for the U-Net.
    "MSRResNet x4": (lambda: srgan.build_generator((24, 24, 3), (96, 96, 3)), 1_517_571),
    "MSRResNet x2": (lambda: srgan.build_generator((24, 24, 3), (48, 48, 3)), 1_369_859),
    "MSRResNet x3": (lambda: srgan.build_generator((24, 24, 3), (72, 72, 3)), 1_554_499),
    "SRVGGNetCompact x4": (lambda: srgan.build_generator((24, 24, 3), (96, 96, 3), "compact"), 621_424),
    "RRDBNet x4": (lambda: esrgan.build_generator((32, 32, 3), (128, 128, 3)), 16_697_987),
    "RRDBNet x2": (lambda: esrgan.build_generator((64, 64, 3), (128, 128, 3)), 16_703_171),
    "VGG-style 128": (lambda: esrgan.build_vgg_discriminator((128, 128, 3)), 14_499_401),
    "VGG-style 256": (lambda: esrgan.build_vgg_discriminator((256, 256, 3)), 21_055_049),
    "U-Net": (lambda: esrgan.build_unet_discriminator((128, 128, 3)), 4_376_897),
    # By the paper's text and figure 4.
    "SRResNet x4": (lambda: srgan.build_generator((24, 24, 3), (96, 96, 3), "srresnet"), 1_549_462),
    "SRResNet x4, by channel": (
        lambda: srgan.build_generator((24, 24, 3), (96, 96, 3), "srresnet", slope="channel"),
        1_550_659,
    ),
    "SRGAN's D at 96": (lambda: srgan.build_discriminator((96, 96, 3)), 23_565_505),
    "SRGAN's D at 128": (lambda: srgan.build_discriminator((128, 128, 3)), 38_245_569),
}


@pytest.mark.parametrize("name", COUNTS)
def test_networks_have_their_published_size(name):
    build, expected = COUNTS[name]
    with keras.StatelessScope(initialize_variables=False):
        network = build()
    assert counted(network) == expected


def shapes(network):
    """Returns the kernels' shapes of a network's convolutions and dense layers, in the order in which it computes."""
    return [tuple(layer.kernel.shape) for layer in network.layers if hasattr(layer, "kernel")]


@pytest.mark.parametrize("factor", [1, 2])
def test_blocks_have_the_programs_shapes(factor):
    c = 4 * factor
    source, target = (8, 8, 3), (32, 32, 3)
    assert shapes(srgan.build_generator(source, target, g_channels=c, blocks=2)) == [
        (3, 3, 3, c), *[(3, 3, c, c)] * 4, (3, 3, c, 4 * c), (3, 3, c, 4 * c), (3, 3, c, c), (3, 3, c, 3)
    ]  # fmt: skip
    assert shapes(srgan.build_generator(source, target, "srresnet", c, 1)) == [
        (9, 9, 3, c), *[(3, 3, c, c)] * 3, (3, 3, c, 4 * c), (3, 3, c, 4 * c), (9, 9, c, 3)
    ]  # fmt: skip
    dense = [(3, 3, c, 2), (3, 3, c + 2, 2), (3, 3, c + 4, 2), (3, 3, c + 6, 2), (3, 3, c + 8, c)]
    assert shapes(esrgan.build_generator(source, target, c, 2, 2)) == [
        (3, 3, 3, c), *dense * 6, *[(3, 3, c, c)] * 4, (3, 3, c, 3)
    ]  # fmt: skip
    # At x2 and x1 blocks of pixels come first, and the two doublings stay.
    for scale, channels in ((2, 12), (1, 48)):
        x = esrgan.build_generator((16, 16, 3), (16 * scale, 16 * scale, 3), c, 2, 1)
        assert shapes(x) == [(3, 3, channels, c), *dense * 3, *[(3, 3, c, c)] * 4, (3, 3, c, 3)]
    side = 32 * factor
    critic = srgan.build_discriminator((side, side, 3), c, 5)
    wide = [(c, c), (c, 2 * c), (2 * c, 2 * c), (2 * c, 4 * c), (4 * c, 4 * c), (4 * c, 8 * c), (8 * c, 8 * c)]
    units = (side // 16) ** 2 * 8 * c
    assert shapes(critic) == [(3, 3, 3, c), *((3, 3, *pair) for pair in wide), (units, 5), (5, 1)]
    critic = esrgan.build_vgg_discriminator((side, side, 3), c)
    pairs = [(3, c), (c, c), (c, 2 * c), (2 * c, 2 * c), (2 * c, 4 * c), (4 * c, 4 * c), (4 * c, 8 * c), (8 * c, 8 * c)]
    pairs = pairs[:6] if factor == 1 else pairs
    sized = [(3 if index % 2 == 0 else 4,) * 2 for index in range(len(pairs))]
    kernels = [(*size, *pair) for size, pair in zip(sized, pairs, strict=True)]
    assert shapes(critic) == [*kernels, (16 * pairs[-1][1], 100), (100, 1)]
    critic = esrgan.build_unet_discriminator((side, side, 3), c)
    down = [(4, 4, c, 2 * c), (4, 4, 2 * c, 4 * c), (4, 4, 4 * c, 8 * c)]
    up = [(3, 3, 8 * c, 4 * c), (3, 3, 4 * c, 2 * c), (3, 3, 2 * c, c), (3, 3, c, c), (3, 3, c, c)]
    assert shapes(critic) == [(3, 3, 3, c), *down, *up, (3, 3, c, 1)]
    assert critic.output_shape == (None, side, side, 1)


def test_weights_start_as_in_the_programs():
    first, *_, last = kernels = [
        x.kernel for x in srgan.build_generator((8, 8, 3), (32, 32, 3)).layers if hasattr(x, "kernel")
    ]
    # He et al.'s normal for ReLU, times 0.1.
    for kernel in (first, kernels[1], last):
        expected = 0.1 * np.sqrt(2 / np.prod(kernel.shape[:3]))
        assert abs(np.std(kernel) / expected - 1) < 0.1
    network = esrgan.build_generator((8, 8, 3), (32, 32, 3), blocks=1)
    convolutions = [x for x in network.layers if hasattr(x, "kernel")]
    for layer in (convolutions[0], *convolutions[-5:]):
        bound = np.prod(layer.kernel.shape[:3]) ** -0.5
        assert 0.9 * bound < np.max(np.abs(layer.kernel)) <= bound and 0 < np.max(np.abs(layer.bias)) <= bound
    for layer in convolutions[1:16]:
        assert abs(np.std(layer.kernel) / (0.1 * np.sqrt(2 / np.prod(layer.kernel.shape[:3]))) - 1) < 0.1
        assert not np.any(layer.bias)


def weights_of(network):
    """Returns an iterator over a network's convolutions in their order, with weights that show mistakes."""
    for index, weight in enumerate(network.weights):
        weight.assign(np.random.default_rng(index).normal(0.05, 0.2, weight.shape))
    return iter([layer for layer in network.layers if hasattr(layer, "kernel")])


def convolved(x, layer, stride=1):
    """`torch.nn.Conv2d` of padding 1, or 4 for kernels of 9."""
    pad = 4 if layer.kernel.shape[0] == 9 else 1
    x = tf.pad(tf.constant(x, tf.float32), [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    x = tf.nn.conv2d(x, layer.kernel.value, stride, "VALID")
    return np.asarray(x + layer.bias.value if layer.use_bias else x)


def leaky(x, slope=0.2):
    return np.where(x > 0, x, slope * x)


def shuffled(x, factor=2):
    """Sub-pixels, channels last."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, factor, factor, channels // factor**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * factor, width * factor, -1)


def nearest(x, factor=2):
    return x.repeat(factor, 1).repeat(factor, 2)


def pictures(*shape):
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def test_msrresnet_computes_what_the_program_does():
    network = srgan.build_generator((8, 8, 3), (32, 32, 3), g_channels=4, blocks=1)
    source, one = pictures(2, 5, 7, 3), weights_of(network)
    x = leaky(convolved(source, next(one)), 0.1)
    x = x + convolved(np.maximum(convolved(x, next(one)), 0), next(one))
    for _ in range(2):
        x = leaky(shuffled(convolved(x, next(one))), 0.1)
    x = convolved(leaky(convolved(x, next(one)), 0.1), next(one))
    base = tf.image.resize(source, (20, 28), "bilinear")
    np.testing.assert_allclose(network(source), x + base, atol=1e-4)


def test_srvgg_computes_what_the_program_does():
    network = srgan.build_generator((8, 8, 3), (24, 24, 3), "compact", 4, 2)
    source, one = pictures(2, 5, 7, 3), weights_of(network)
    slopes = [layer.alpha for layer in network.layers if isinstance(layer, tg.layers.PReLU)]
    x = source
    for slope in slopes:
        x = leaky(convolved(x, next(one)), np.asarray(slope))
    np.testing.assert_allclose(network(source), shuffled(convolved(x, next(one)), 3) + nearest(source, 3), atol=1e-4)


@pytest.mark.parametrize("scale", [2, 4])
def test_rrdbnet_computes_what_the_program_does(scale):
    network = esrgan.build_generator((8, 8, 3), (8 * scale, 8 * scale, 3), 4, 2, 2)
    source, one = pictures(2, 6, 8, 3), weights_of(network)
    x = source if scale == 4 else source.reshape(2, 3, 2, 4, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 3, 4, 12)
    x = first = convolved(x, next(one))
    for _ in range(2):
        block = x
        for _ in range(3):
            known = [block]
            for _ in range(4):
                known.append(leaky(convolved(np.concatenate(known, -1), next(one))))
            block = block + 0.2 * convolved(np.concatenate(known, -1), next(one))
        x = x + 0.2 * block
    x = first + convolved(x, next(one))
    for _ in range(2):
        x = leaky(convolved(nearest(x), next(one)))
    x = convolved(leaky(convolved(x, next(one))), next(one))
    np.testing.assert_allclose(network(source), x, atol=1e-4)


def test_the_u_net_computes_what_the_program_does():
    network = esrgan.build_unet_discriminator((16, 24, 3), 2)
    images, convolutions = pictures(2, 16, 24, 3), list(weights_of(network))
    for layer in convolutions[1:-1]:
        # As after many iterations.
        _, _, right = np.linalg.svd(np.asarray(layer.kernel).reshape(-1, layer.kernel.shape[-1]))
        layer.u.assign(right[0])
    one = iter(convolutions)

    def normalised(x, stride=1):
        layer = next(one)
        sigma = np.linalg.svd(np.asarray(layer.kernel).reshape(-1, layer.kernel.shape[-1]))[1][0]
        return leaky(convolved(x, layer, stride) / sigma)

    def doubled(x):
        return np.asarray(tf.image.resize(x, (2 * x.shape[1], 2 * x.shape[2]), "bilinear"))

    x = first = leaky(convolved(images, next(one)))
    second = normalised(first, 2)
    third = normalised(second, 2)
    x = normalised(third, 2)
    for skip in (third, second, first):
        x = normalised(doubled(x)) + skip
    x = normalised(normalised(x))
    np.testing.assert_allclose(network(images), convolved(x, next(one)), atol=1e-4)


RADII = {
    "msrresnet": lambda: srgan.build_generator((8, 8, 1), (32, 32, 1), "msrresnet", 2, 2),
    "srresnet": lambda: srgan.build_generator((8, 8, 1), (16, 16, 1), "srresnet", 2, 1),
    "compact": lambda: srgan.build_generator((8, 8, 1), (24, 24, 1), "compact", 2, 2),
    "rrdb x4": lambda: esrgan.build_generator((8, 8, 1), (32, 32, 1), 2, 2, 1),
    "rrdb x2": lambda: esrgan.build_generator((8, 8, 1), (16, 16, 1), 2, 2, 1),
}


@pytest.mark.parametrize("name", RADII)
def test_nothing_beyond_the_radius_changes_a_pixel_and_what_is_at_it_does(name):
    network = RADII[name]()
    for weight in network.trainable_variables:
        weight.assign(tf.abs(weight) + 0.05)
    radius, side = receptive_radius(network), 96
    source = tf.Variable(tf.random.stateless_uniform((1, side, side, 1), (1, 2), 0.5, 1.0))
    reached = []
    scale = network(source).shape[1] // side
    for pixel in range(scale * side // 2, scale * side // 2 + 4 * scale):
        with tf.GradientTape() as tape:
            output = network(source)[0, pixel, pixel, 0]
        rows = np.flatnonzero(np.abs(tape.gradient(output, source)[0, :, :, 0].numpy()).sum(1))
        reached += [pixel // scale - rows[0], rows[-1] - pixel // scale]
    assert max(reached) == radius


# The GANs. That both phases follow each other in a run is tested in test_translation_runs.py.


@pytest.mark.parametrize("model", ["SRGAN", "ESRGAN"])
def test_shapes_of_another_scale_are_refused(model):
    build = getattr(tg.models, model)
    scales = "1, 2, 3, 4 or 8" if model == "SRGAN" else "1, 2, 4 or 8"
    for target in ((40, 40, 3), (16, 32, 3), (4, 4, 3), (17, 17, 3)):
        with pytest.raises(
            UsageError, match=f"{model} enlarges both sides by one factor, {scales}: .*Received: source_"
        ):
            build((8, 8, 3), target)


def test_mistakes_are_told():
    with pytest.raises(
        UsageError, match=r"`form` must be one of msrresnet, srresnet, compact, .*form=edsr, slope=layer"
    ):
        tg.models.SRGAN((8, 8, 3), (16, 16, 3), form="edsr")
    with pytest.raises(UsageError, match=r"`form=compact` adds to its enlarged source.*sources of 1, targets of 3"):
        tg.models.SRGAN((8, 8, 1), (16, 16, 3), form="compact")
    with pytest.raises(UsageError, match=r"`discriminator` must be vgg or unet. Received: discriminator=patch"):
        tg.models.ESRGAN((8, 8, 3), (16, 16, 3), discriminator="patch")
    with pytest.raises(
        UsageError, match=r"Sides of training sources must be multiples of 2 where ESRGAN enlarges by 2"
    ):
        tg.models.ESRGAN((7, 7, 3), (14, 14, 3))
    with pytest.raises(
        UsageError, match=r"`discriminator=unet` halves sides three times: take crops of multiples of 8"
    ):
        tg.models.ESRGAN((7, 7, 3), (28, 28, 3), discriminator="unet", g_channels=2, growth=2, blocks=1)


VARIANTS = {
    "msrresnet": ("SRGAN", {}),
    "srresnet": ("SRGAN", {"form": "srresnet"}),
    "compact": ("SRGAN", {"form": "compact"}),
    "vgg": ("ESRGAN", {}),
    "unet": ("ESRGAN", {"discriminator": "unet"}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_generator_learns_alone_before_it_is_judged(name):
    model, arguments = VARIANTS[name]
    gan = tiny_model(model, **arguments)
    assert gan.radius == receptive_radius(gan.generator)
    critic, start = values(gan.discriminator), values(gan.generator)
    gan.compile(**gan.pretrain_arguments(), run_eagerly=True)
    logs = train(gan, *random_data(gan, 8)).history
    assert set(logs) == {"l1"} and int(gan.iterations) == 2
    assert_all_close(values(gan.discriminator), critic)
    assert all(np.any(a != b) for a, b in zip(start, values(gan.generator), strict=True))


@pytest.mark.parametrize("name", VARIANTS)
def test_all_outputs_are_float32(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model, arguments = VARIANTS[name]
    gan = tiny_model(model, **arguments)
    outputs = keras.tree.flatten([gan.generator.output, gan.discriminator.output])
    assert all(output.dtype == "float32" for output in outputs)


def test_the_papers_settings():
    for model, loss in (("SRGAN", "NonSaturating"), ("ESRGAN", "RelativisticAverage")):
        gan = tiny_model(model, pixel_weight=5e-3)
        defaults = gan.compile_defaults()
        assert type(defaults["loss"]).__name__ == loss and getattr(defaults["loss"], "real_label", 1.0) == 1.0
        assert defaults["adversarial_weight"] == 5e-3
        [term] = defaults["terms"]
        assert isinstance(term, tg.terms.L1) and term.weight == 5e-3
        for name in ("g_optimizer", "d_optimizer"):
            optimizer = defaults[name]
            np.testing.assert_allclose(optimizer.learning_rate, 1e-4)
            assert (optimizer.beta_1, optimizer.beta_2) == (0.9, 0.99)
        first = gan.pretrain_arguments()
        np.testing.assert_allclose(first["g_optimizer"].learning_rate, 2e-4)
        assert first["n_critic"] == 0 and [term.weight for term in first["terms"]] == [1.0]
