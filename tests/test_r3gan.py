"""R3GAN, and its layers: the published sizes, the initialisation, and derivatives to the second order."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_images, random_labels, train, values
from keras import layers

from tfgan_app.conditions import Classes
from tfgan_app.layers import grouped
from tfgan_app.layers.grouped import GroupedConv2D
from tfgan_app.models.r3gan import R3GAN, build_discriminator, build_generator

TINY = {
    "image_shape": (28, 28, 1),
    "latent_dim": 4,
    "widths": (8, 4, 4),
    "cardinalities": (4, 2, 2),
    "blocks_per_stage": 1,
    "augment_p": 0.0,
    "seed": 3,
}
SMALL = {name: TINY[name] for name in ("widths", "cardinalities", "blocks_per_stage")}


def count(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def randomize(network, scale=0.2):
    """Gives every weight a value, as the zeros of a new network hide what stands before them."""
    for index, variable in enumerate(network.trainable_variables):
        variable.assign(variable + scale * tf.random.stateless_normal(variable.shape, (0, index)))


# The grouped convolution.


def dense_kernel(kernel, groups):
    """Returns the kernel of the ungrouped convolution that computes the same."""
    height, width, depth, filters = kernel.shape
    dense = np.zeros((height, width, depth * groups, filters), kernel.dtype)
    for group, part in enumerate(np.split(kernel, groups, axis=-1)):
        rows, columns = (slice(group * size, (group + 1) * size) for size in (depth, filters // groups))
        dense[:, :, rows, columns] = part
    return dense


def derivatives(function, x, kernel):
    """Returns the output, a squared input gradient, and the gradients of that: what a gradient penalty takes."""
    x, kernel = tf.constant(x), tf.constant(kernel)
    with tf.GradientTape() as outer:
        outer.watch([x, kernel])
        with tf.GradientTape() as inner:
            inner.watch(x)
            outputs = function(x, kernel)
            score = tf.reduce_sum(tf.nn.leaky_relu(outputs) ** 2)
        penalty = tf.reduce_sum(inner.gradient(score, x) ** 2)
    return outputs, penalty, *outer.gradient(penalty, [x, kernel])


@pytest.fixture(params=["kernels", "group by group"])
def path(request, monkeypatch):
    """Either way of computing the groups, whatever this machine's kernels can do."""
    if request.param == "group by group":
        monkeypatch.setattr(grouped, "_has_gradients", lambda dtype: False)
    elif not grouped._has_gradients(tf.float32):
        pytest.skip("this TensorFlow has no gradient of grouped convolutions")


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"padding": "valid"}])
def test_grouped_convolution_equals_a_dense_one_to_the_second_derivative(path, options, jit_compile):
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 6, 6, 6), (3, 3, 2, 9)))
    options = {"strides": 1, "padding": "same", **options}
    layer = GroupedConv2D(9, 3, groups=3, **options)
    layer.build((None, 6, 6, 6))

    def dense(x, kernel):
        # Differentiable in the grouped kernel, unlike `dense_kernel`.
        mask = tf.constant(dense_kernel(np.ones(kernel.shape, np.float32), 3))
        return tf.nn.conv2d(x, tf.tile(kernel, (1, 1, 3, 1)) * mask, options["strides"], options["padding"].upper())

    got = tf.function(lambda: derivatives(layer.convolution_op, x, kernel), jit_compile=jit_compile)()
    for one, other in zip(got, derivatives(dense, x, kernel), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


def test_grouped_convolution_equals_the_sum_that_defines_it(path):
    layer = GroupedConv2D(4, 3, padding="same", groups=2, bias_initializer="normal")
    x = random_images(2, (5, 4, 6))
    outputs = np.array(layer(x))
    kernel, bias, padded = np.array(layer.kernel), np.array(layer.bias), np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    assert kernel.shape == (3, 3, 3, 4)
    for n, i, j, filter_ in np.ndindex(*outputs.shape):
        channels = slice(3 * (filter_ // 2), 3 * (filter_ // 2) + 3)
        expected = np.sum(padded[n, i : i + 3, j : j + 3, channels] * kernel[..., filter_]) + bias[filter_]
        assert outputs[n, i, j, filter_] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(outputs, tf.nn.conv2d(x, dense_kernel(kernel, 2), 1, "SAME") + bias, atol=1e-5)


def test_second_derivative_of_a_grouped_convolution_agrees_with_finite_differences():
    rng = np.random.default_rng(1)
    x, kernel, direction = (rng.normal(size=shape) for shape in ((2, 4, 4, 4), (3, 3, 2, 6), (3, 3, 2, 6)))
    layer = GroupedConv2D(6, 3, padding="same", groups=2, dtype="float64")
    layer.build((None, 4, 4, 4))

    def penalty(kernel):
        return derivatives(layer.convolution_op, x, kernel)

    step = 1e-6
    slope = (penalty(kernel + step * direction)[1] - penalty(kernel - step * direction)[1]) / (2 * step)
    assert float(slope) == pytest.approx(np.sum(penalty(kernel)[3] * direction), rel=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_grouped_convolution_trains_in_16_bits(policy):
    layer = GroupedConv2D(6, 3, padding="same", groups=2, dtype=policy)
    x = random_images(2, (4, 4, 4))
    with tf.GradientTape() as tape:
        outputs = layer(x)
        score = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 2)
    gradient = tape.gradient(score, layer.kernel.value)
    assert outputs.dtype == layer.compute_dtype
    assert gradient.dtype == tf.float32
    exact = GroupedConv2D.from_config({**layer.get_config(), "dtype": "float32"})
    exact.build(x.shape)
    exact.set_weights(layer.get_weights())
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), exact(x), atol=0.03)


def test_ungrouped_convolution_is_that_of_keras():
    one, other = (kind(4, 3, padding="same", activation="relu") for kind in (GroupedConv2D, layers.Conv2D))
    x = random_images(2, (5, 5, 3))
    one(x), other(x)
    other.set_weights(one.get_weights())
    np.testing.assert_array_equal(one(x), other(x))


# The networks.


def test_networks_have_the_published_sizes():
    with keras.StatelessScope():
        networks = build_generator((32, 32, 3)), build_discriminator((32, 32, 3))
    assert [count(network) for network in networks] == [20_732_160, 20_683_776]


def test_labels_add_their_embeddings_and_the_projection():
    with keras.StatelessScope():
        classes = Classes(10)
        networks = build_generator((32, 32, 3), condition=classes), build_discriminator((32, 32, 3), classes)
    # An embedding beside the latents and the map of both; an embedding and features in place of one logit.
    added = 10 * 64 + 64 * 768, 10 * 768 + 767 * 768
    assert [count(network) for network in networks] == [20_732_160 + added[0], 20_683_776 + added[1]]


def test_widths_halve_beyond_32():
    with keras.StatelessScope():
        network = build_generator((256, 256, 3))
    convolutions = [layer for layer in network.layers if isinstance(layer, GroupedConv2D)][::2]
    got = [(layer.input.shape[1], layer.filters // 2, layer.groups) for layer in convolutions]
    widths = [768, 768, 768, 768, 384, 192, 96]
    assert got == [(4 << index, width, width // 8) for index, width in enumerate(widths)]


@pytest.mark.parametrize(("side", "start", "stages"), [(28, 7, 3), (16, 4, 3), (32, 4, 4), (64, 4, 5)])
def test_discriminator_mirrors_the_generators_feature_maps(side, start, stages):
    widths = (16, 12, 8, 4, 2)[:stages]
    options = {"widths": widths, "cardinalities": (2,) * stages, "blocks_per_stage": tuple(range(1, stages + 1))}
    maps = [
        [tuple(layer.output.shape[1:]) for layer in network.layers if isinstance(layer, layers.Add)]
        for network in (build_generator((side, side, 3), 4, **options), build_discriminator((side, side, 3), **options))
    ]
    expected = [(start << k, start << k, width) for k, width in enumerate(widths) for _ in range(k + 1)]
    assert maps == [expected, expected[::-1]]


def test_residual_branches_start_at_zero():
    gan = R3GAN(**TINY)
    for network, inputs in ((gan.generator, tf.ones((2, 4))), (gan.discriminator, random_images(2, (28, 28, 1)))):
        before = np.array(network(inputs))
        for layer in network.layers:
            if isinstance(layer, GroupedConv2D):
                layer.kernel.assign(layer.kernel + 1.0)
        np.testing.assert_array_equal(network(inputs), before)
        randomize(network)
        assert np.abs(network(inputs) - before).max() > 0.1


def test_weights_start_with_fixups_scales():
    gan = R3GAN(
        (32, 32, 3),
        latent_dim=64,
        num_classes=4,
        widths=(64, 48, 32, 32),
        cardinalities=(4, 4, 2, 2),
        blocks_per_stage=2,
    )
    gain = np.sqrt(2 / 1.04) * 8**-0.25
    for network in (gan.generator, gan.discriminator):
        grouped_inputs = [layer for layer in network.layers if isinstance(layer, GroupedConv2D)]
        assert len(grouped_inputs) == 8
        for layer in grouped_inputs:
            inner = layer.filters
            assert np.std(layer.kernel) * np.sqrt(9 * inner / layer.groups) == pytest.approx(gain, rel=0.1)
        for layer in network.layers:
            if isinstance(layer, layers.Conv2D) and layer.use_bias:
                assert not np.any(layer.bias)
                if not isinstance(layer, GroupedConv2D):
                    assert np.std(layer.kernel) * np.sqrt(layer.kernel.shape[2]) == pytest.approx(gain, rel=0.1)
    stds = [np.std(v) for v in gan.discriminator.trainable_variables if "embedding" in v.path]
    assert stds == pytest.approx([1 / np.sqrt(64 * 4)], rel=0.2)
    # A linear network at first: unit variance in, unit variance in the feature maps, less what interpolation takes.
    assert np.std(gan.generator([tf.random.normal((64, 64)), tf.zeros(64, tf.int32)])) == pytest.approx(0.75, abs=0.4)


def penalty_and_gradients(network, images, variables):
    """Returns R1 and its gradients, those None for variables that it does not depend on."""
    images = tf.cast(images, network.compute_dtype)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(images)
            logits = network(images)
            assert logits.dtype == network.compute_dtype
            score = tf.reduce_sum(logits)
        penalty = tf.reduce_sum(inner.gradient(score, images) ** 2)
    return penalty, outer.gradient(penalty, [v.value for v in variables])


def test_gradient_penalty_of_the_discriminator_agrees_with_finite_differences():
    def in_float64(layer):
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float64"})

    single = build_discriminator((16, 16, 1), **SMALL)
    randomize(single)
    # In float64 steps may be too short to cross kinks, where the penalty jumps.
    double = keras.models.clone_model(single, clone_function=in_float64)
    double.dtype_policy = "float64"
    double.set_weights(single.get_weights())
    images = random_images(2, (16, 16, 1))
    # The penalty depends on biases through the kinks alone.
    kernels, biases = (
        [v for v in double.trainable_variables if (v.name == "bias") is which] for which in (False, True)
    )
    assert len(biases) == 6
    penalty, gradients = penalty_and_gradients(double, images, kernels)
    for variable, gradient in zip(kernels, gradients, strict=True):
        start, step = tf.convert_to_tensor(variable), 1e-5 * gradient / tf.norm(gradient)
        ends = []
        for end in (start + step, start - step):
            variable.assign(end)
            ends.append(float(penalty_and_gradients(double, images, [])[0]))
        variable.assign(start)
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float(tf.norm(gradient)), rel=5e-3), variable.path

    penalty_32, gradients_32 = penalty_and_gradients(
        single, images, [v for v in single.trainable_variables if v.name != "bias"]
    )
    assert float(penalty_32) == pytest.approx(float(penalty), rel=1e-3)
    for one, other in zip(gradients_32, gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=0.01 * np.abs(other).max())


def test_gradient_penalty_compiles_with_xla():
    discriminator = build_discriminator((16, 16, 1), **{**SMALL, "blocks_per_stage": (0, 0, 1)})
    randomize(discriminator)
    images = random_images(2, (16, 16, 1))
    kernels = [v for v in discriminator.trainable_variables if v.name != "bias"]

    def gradients():
        return penalty_and_gradients(discriminator, images, kernels)[1]

    for one, other in zip(tf.function(gradients, jit_compile=True)(), gradients(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3 * np.abs(other).max())


def test_labels_steer_both_networks():
    gan = R3GAN(num_classes=3, **TINY)
    latents = tf.ones((2, 4))
    same, different = (gan.generator([latents, tf.constant(labels)]) for labels in ([1, 1], [1, 2]))
    np.testing.assert_allclose(same[0], same[1], atol=1e-6)
    assert np.abs(different[1] - same[1]).max() > 1e-3
    images = tf.repeat(random_images(1, gan.image_shape), 2, axis=0)
    logits = np.ravel(gan.discriminator([images, tf.constant([1, 2])]))
    assert logits[0] != logits[1]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_networks_compute_the_lowest_stage_in_float32_and_the_rest_in_16_bits(policy):
    keras.config.set_dtype_policy(policy)
    gan = R3GAN(num_classes=3, **TINY)
    for network, inputs in (
        (gan.generator, [tf.ones((2, 4)), tf.constant([0, 1])]),
        (gan.discriminator, [tf.constant(random_images(2, (28, 28, 1))), tf.constant([0, 1])]),
    ):
        randomize(network)
        outputs = network(inputs)
        assert outputs.dtype == tf.float32
        assert np.all(np.isfinite(outputs))
        dtypes = {layer.output.shape[1]: layer.compute_dtype for layer in network.layers if "add" in layer.name}
        assert dtypes == {7: "float32", 14: policy[6:], 28: policy[6:]}
        assert {v.dtype for v in network.trainable_variables} == {"float32"}


# Training.


def test_defaults_are_the_papers():
    gan = R3GAN(**{name: value for name, value in TINY.items() if name != "augment_p"})
    defaults = gan.compile_defaults()
    assert defaults["g_optimizer"] is not defaults["d_optimizer"]
    for name in ("g_optimizer", "d_optimizer"):
        optimizer = defaults[name]
        assert (optimizer.beta_1, optimizer.epsilon) == (0.0, 1e-8)
        for step, rate, beta_2 in ((0, 2e-4, 0.9), (39_063, 5e-5, 0.99)):
            optimizer.iterations.assign(step)
            assert float(optimizer.learning_rate) == pytest.approx(rate)
            assert float(optimizer.beta_2) == pytest.approx(beta_2)
    assert [type(penalty).__name__ for penalty in defaults["terms"]] == ["R1", "R2"]
    for penalty in defaults["terms"]:
        assert penalty.interval == 1
        assert [float(penalty.weight(step)) for step in (0, 10**6)] == pytest.approx([0.025, 0.0025])
    assert type(defaults["loss"]).__name__ == "Relativistic"
    assert [float(defaults["augment"].schedule(step)) for step in (0, 10**6)] == pytest.approx([0.0, 0.55])
    strengths = {name: defaults["augment"].get_config()[name] for name in ("blit", "geometric", "color", "cutout")}
    assert strengths == {"blit": 1.0, "geometric": 1.0, "color": 0.5, "cutout": 1.0}
    assert [float(defaults["ema_half_life"](step)) for step in (0, 10**6)] == pytest.approx([0.0, 5e6])


def test_a_step_of_the_defaults_trains_both_networks_in_float16():
    keras.config.set_dtype_policy("mixed_float16")
    gan = R3GAN(num_classes=3, learning_rate=(1e-2, 1e-3), ramp_steps=2, **{**TINY, "image_shape": (16, 16, 1)})
    gan.compile()
    before = values(gan.generator), values(gan.discriminator)
    logs = train(gan, random_images(12, gan.image_shape), random_labels(12)).history
    assert {"d_loss", "g_loss", "r1", "r2"} <= logs.keys()
    assert np.all(np.isfinite(list(logs.values())))
    assert logs["r1"][0] > 0
    for network, old in zip((gan.generator, gan.discriminator), before, strict=True):
        for variable, value in zip(network.weights, old, strict=True):
            assert np.any(np.array(variable) != value), variable.path


def test_configurations_keep_every_argument_and_schedule():
    arguments = {"gamma": (0.5, 0.1), "learning_rate": (1e-3, 1e-4), "augment_p": 0.3, "ema_half_life": 100.0}
    gan = R3GAN(**{**TINY, **arguments}, ramp_steps=4)
    gan.compile()
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(gan))
    assert copy.get_config() == gan.get_config()
    assert {name: copy.get_config()[name] for name in (*TINY, *arguments)} == {**TINY, **arguments}
    copy.compile_from_config(gan.get_compile_config())
    for name in gan.compile_defaults():
        assert copy.get_compile_config()[name] == gan.get_compile_config()[name], name
    copy.d_optimizer.iterations.assign(4)
    assert float(copy.d_optimizer.beta_2) == pytest.approx(0.99)
    assert float(copy.d_optimizer.learning_rate) == pytest.approx(1e-4)
    assert [float(penalty.weight(4)) for penalty in copy.terms] == pytest.approx([0.05, 0.05])
    assert float(copy.ema_half_life(2)) == pytest.approx(50.0)
    assert float(copy.augment.schedule(2)) == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_shape": (22, 22, 1)}, r"R3GAN draws images .*Received: image_shape=\(22, 22, 1\)"),
        ({"image_shape": (8, 8, 1)}, "halves once, to 4x4. Give `image_size=16`"),
        ({"widths": (8, 4)}, r"side 28 take 3 stages, of sides \[7, 14, 28\], and `widths` must.*widths=\(8, 4\)"),
        ({"cardinalities": (2, 2, 2, 2)}, "`cardinalities` must have a number for each"),
        ({"blocks_per_stage": (1, 1)}, "`blocks_per_stage` must have a number for each"),
        ({"cardinalities": (3, 2, 2)}, r"must divide expansion \* width. Received: 3 groups of 2 \* 8 = 16 channels"),
        ({"gamma": 0.1}, "`gamma` must be a pair: its first value, and its last. Received: gamma=0.1"),
        ({"learning_rate": (1, 2, 3)}, "`learning_rate` must be a pair"),
    ],
)
def test_refuses_what_does_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        R3GAN(**{**TINY, **change})
