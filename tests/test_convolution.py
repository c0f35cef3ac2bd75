"""tfgan_app.layers.convolution: gradients of kernels as convolutions."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_images

from tfgan_app.layers import (
    Conv2D,
    Conv2DTranspose,
    EqualizedConv2D,
    GatedConv2D,
    GroupedConv2D,
    ModulatedConv2D,
    SpectralConv2D,
)
from tfgan_app.layers.convolution import kernel_gradient, kernel_gradient_by_products


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "side"),
    [
        (4, 2, "same", 8),
        (3, 1, "same", 7),
        (4, 1, "same", 7),
        (4, 1, "valid", 7),
        (3, 2, "same", 7),
        (3, 2, "same", 8),
        (3, 2, "valid", 8),
        (5, 2, "valid", 10),
        (2, 3, "same", 7),
        (1, 2, "same", 4),
    ],
)
def test_gradient_of_the_kernel_is_tensorflows(kernel, stride, padding, side):
    images = random_images(3, (side, side + 1, 4))
    weights = tf.Variable(tf.random.stateless_normal((kernel, kernel, 4, 5), (1, 2)))
    with tf.GradientTape() as tape:
        outputs = tf.nn.conv2d(images, weights, stride, padding.upper())
        upstream = tf.random.stateless_normal(outputs.shape, (3, 4))
        value = tf.reduce_sum(outputs * upstream)
    expected = tape.gradient(value, weights)
    for gradient in (kernel_gradient, kernel_gradient_by_products):
        found = gradient(tf.constant(images), upstream, (kernel, kernel), (stride, stride), padding)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_gradient_of_a_kernel_that_is_not_square():
    images = tf.constant(random_images(3, (9, 12, 4)))
    weights = tf.Variable(tf.random.stateless_normal((5, 2, 4, 6), (1, 2)))
    for padding in ("same", "valid"):
        with tf.GradientTape() as tape:
            outputs = tf.nn.conv2d(images, weights, (2, 3), padding.upper())
            value = tf.reduce_sum(tf.square(outputs)) / 2
        expected = tape.gradient(value, weights)
        for gradient in (kernel_gradient, kernel_gradient_by_products):
            np.testing.assert_allclose(
                gradient(images, outputs, (5, 2), (2, 3), padding), expected, rtol=1e-4, atol=1e-3
            )


def operations_and_gradients(layer, images):
    """Returns the kinds of convolutions in training, the outputs and all gradients in float32."""

    @tf.function
    def train(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x)
            value = tf.reduce_sum(tf.square(tf.cast(outputs, tf.float32)))
        return [tf.cast(tensor, tf.float32) for tensor in (outputs, *tape.gradient(value, [x, *layer.weights]))]

    function = train.get_concrete_function(images)
    return [op.type for op in function.graph.get_operations()], train(images)


LAYERS = [(Conv2D, keras.layers.Conv2D, (8, 8, 32)), (Conv2DTranspose, keras.layers.Conv2DTranspose, (4, 4, 32))]


@pytest.mark.parametrize(
    ("ours", "theirs", "shape", "arguments"),
    [
        (Conv2D, keras.layers.Conv2D, (2, 12, 12, 256), {"use_bias": True}),
        (Conv2D, keras.layers.Conv2D, (2, 20, 20, 128), {"strides": 2, "padding": "same"}),
        (Conv2D, keras.layers.Conv2D, (2, 4, 4, 128), {"strides": 2, "padding": "same"}),
        (Conv2DTranspose, keras.layers.Conv2DTranspose, (2, 1, 1, 128), {"strides": 2, "padding": "same"}),
        (Conv2DTranspose, keras.layers.Conv2DTranspose, (2, 10, 10, 128), {"strides": 2, "padding": "same"}),
    ],
)
def test_wide_convolutions_take_products_for_their_kernels(ours, theirs, shape, arguments):
    keras.config.set_dtype_policy("mixed_bfloat16")
    images = tf.constant(random_images(2, shape[1:]))
    # Sums of many gradients in bfloat16 differ by more than is compared here, which is not the kernel's affair.
    layers = [cls(256, 4, **{"use_bias": False, **arguments}) for cls in (ours, theirs)]
    for layer in layers:
        layer.build(images.shape)
    layers[1].set_weights(layers[0].get_weights())
    (operations, found), (others, expected) = (operations_and_gradients(layer, images) for layer in layers)
    assert "Conv2DBackpropFilter" in others and "Conv2DBackpropFilter" not in operations
    assert any("MatMul" in name for name in operations)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= 0.02 * np.abs(other).max()


@pytest.mark.parametrize(("ours", "theirs", "shape"), LAYERS)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float32"])
def test_layers_compute_what_keras_does(ours, theirs, shape, policy):
    keras.config.set_dtype_policy(policy)
    images = tf.constant(random_images(4, shape))
    layers = [cls(64, 4, 2, "same", activation="relu") for cls in (ours, theirs)]
    for layer in layers:
        layer.build(images.shape)
    layers[0].set_weights([tf.random.stateless_normal(w.shape, (1, 2), stddev=0.1) for w in layers[1].weights])
    layers[1].set_weights(layers[0].get_weights())
    (operations, found), (_, expected) = (operations_and_gradients(layer, images) for layer in layers)
    assert ("Conv2DBackpropFilter" in operations) == (policy == "float32")
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= 0.02 * np.abs(other).max()


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((32, 32, 32), {}),
        ((8, 8, 16), {}),
        ((8, 8, 32), {"dilation_rate": 2, "strides": 1}),
        ((8, 8, 32), {"groups": 2}),
    ],
)
def test_other_convolutions_are_left_to_keras(shape, arguments):
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = Conv2D(64, 4, **{"strides": 2, "padding": "same", **arguments})
    layer.build((4, *shape))
    operations, _ = operations_and_gradients(layer, tf.constant(random_images(4, shape)))
    assert layer.groups > 1 or "Conv2DBackpropFilter" in operations


def test_second_derivatives_pass():
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = Conv2D(32, 3, 1, "same", use_bias=False, kernel_initializer=keras.initializers.RandomNormal(seed=1))
    images = tf.constant(random_images(4, (4, 4, 32)))
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(images)
            value = tf.reduce_sum(tf.cast(layer(images), tf.float32) ** 2)
        penalty = tf.reduce_sum(inner.gradient(value, images) ** 2)
    gradient = outer.gradient(penalty, layer.kernel)
    # The penalty is of the fourth degree in the kernel.
    inner_product = float(tf.reduce_sum(gradient * layer.kernel))
    assert inner_product == pytest.approx(4 * float(penalty), rel=0.02)


def test_layers_are_saved_as_their_own():
    for layer in (Conv2D(3, 3), Conv2DTranspose(3, 3)):
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert type(copy) is type(layer)


@pytest.mark.parametrize("sides", [(1, 1), (4, 1)])
def test_gradients_in_bfloat16_are_right_where_the_stride_steps_over_a_side(sides):
    layer = Conv2D(8, 5, 2, "same", dtype="mixed_bfloat16")
    images = tf.constant(random_images(4, (*sides, 8)))
    layer.build(images.shape)
    exact = keras.layers.Conv2D(8, 5, 2, "same")
    exact.build(images.shape)
    exact.set_weights(layer.get_weights())

    def gradient(layer):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(tf.square(tf.cast(layer(images), tf.float32)))
        return tape.gradient(value, layer.kernel)

    expected = gradient(exact)
    for _ in range(10):
        # Memory that is taken next holds NaN.
        for size in (256, 1024, 4096, 16384):
            tf.fill((size,), tf.constant(float("nan"), tf.bfloat16))
        np.testing.assert_allclose(gradient(layer), expected, atol=0.05 * np.abs(expected).max())


# Biases.

# Maps large enough for a sum in bfloat16 to go wrong, and layers that add their biases in different ways.
BIASED = [
    (lambda **kwargs: Conv2D(32, 3, padding="same", **kwargs), (16, 16, 32)),
    (lambda **kwargs: Conv2D(32, 4, strides=2, padding="same", **kwargs), (16, 16, 32)),
    (lambda **kwargs: Conv2D(32, 3, padding="same", resample="up", **kwargs), (8, 8, 32)),
    (lambda **kwargs: Conv2D(32, 3, padding="same", resample="down", **kwargs), (16, 16, 32)),
    (lambda **kwargs: Conv2DTranspose(32, 4, strides=2, padding="same", **kwargs), (8, 8, 32)),
    (lambda **kwargs: EqualizedConv2D(32, 4, strides=2, padding="same", **kwargs), (16, 16, 32)),
    (lambda **kwargs: SpectralConv2D(32, 3, padding="same", resample="down", **kwargs), (16, 16, 32)),
    (lambda **kwargs: GatedConv2D(16, 4, strides=2, padding="same", **kwargs), (16, 16, 32)),
    (lambda **kwargs: GroupedConv2D(32, 3, padding="same", groups=2, **kwargs), (16, 16, 32)),
    (lambda **kwargs: ModulatedConv2D(32, 3, **kwargs), (16, 16, 32)),
    (lambda **kwargs: ModulatedConv2D(32, 3, upsample=True, **kwargs), (8, 8, 32)),
]


@pytest.mark.parametrize(("build", "shape"), BIASED)
def test_gradients_of_biases_are_right_in_bfloat16(build, shape):
    images = tf.constant(random_images(64, shape))
    found = {}
    for dtype in ("float32", "mixed_bfloat16"):
        layer = build(dtype=dtype)
        style = tf.ones((64, shape[-1]), layer.compute_dtype)
        inputs = tf.cast(images, layer.compute_dtype)
        inputs = [inputs, style] if isinstance(layer, ModulatedConv2D) else inputs
        outputs = layer(inputs)
        upstream = 0.1 + tf.random.stateless_normal(outputs.shape, (3, 4))
        layer.bias.assign(tf.random.stateless_normal(layer.bias.shape, (5, 6)))
        kernel = layer.weights[0]
        kernel.assign(tf.random.stateless_normal(kernel.shape, (1, 2)) / 10)

        @tf.function
        def gradient(layer=layer, inputs=inputs, upstream=upstream):
            with tf.GradientTape() as tape:
                value = tf.reduce_sum(tf.cast(layer(inputs), tf.float32) * upstream)
            return tape.gradient(value, [layer.bias, layer.weights[0]])

        found[dtype], _ = gradient()
    error = np.sqrt(np.mean(np.square(found["mixed_bfloat16"] - found["float32"])))
    assert error < 0.01 * np.sqrt(np.mean(np.square(found["float32"])))


# Resampling within a convolution.

RESAMPLED = {
    "up": lambda layer: keras.Sequential([keras.layers.UpSampling2D(), layer]),
    "down": lambda layer: keras.Sequential([layer, keras.layers.AveragePooling2D(2)]),
}


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("kernel", [1, 3, 5, (3, 1)])
@pytest.mark.parametrize("resample", ["up", "down"])
def test_resampling_is_that_of_two_layers(resample, kernel, dtype):
    images = tf.constant(random_images(3, (8, 12, 32)))
    options = {"padding": "same", "activation": "tanh" if resample == "up" else None}
    ours = Conv2D(32, kernel, resample=resample, dtype=dtype, **options)
    theirs = keras.layers.Conv2D(32, kernel, **options)
    two = RESAMPLED[resample](theirs)
    for network in (ours, two):
        network.build(images.shape)
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=weight.shape, scale=0.1) for weight in ours.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    _, found = operations_and_gradients(ours, images)
    _, expected = operations_and_gradients(two, images)
    assert tuple(found[0].shape) == ours.compute_output_shape(images.shape)
    for one, other in zip(found, expected, strict=True):
        tolerance = 1e-5 if dtype == "float32" else 4e-2
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


def test_resampling_can_be_differentiated_twice():
    images = tf.constant(random_images(2, (4, 4, 3)))
    for resample, build in RESAMPLED.items():
        ours, theirs = (cls(3, 3, padding="same") for cls in (Conv2D, keras.layers.Conv2D))
        ours.resample = resample
        two = build(theirs)
        for network in (ours, two):
            network.build(images.shape)
        theirs.set_weights(ours.get_weights())
        found = []
        for network, layer in ((ours, ours), (two, theirs)):
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    inner.watch(images)
                    value = tf.reduce_sum(tf.square(network(images)))
                penalty = tf.reduce_sum(tf.square(inner.gradient(value, images)))
            found.append(outer.gradient(penalty, layer.kernel))
        np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-3)


def test_resampling_is_saved(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 3)), Conv2D(2, 3, padding="same", resample="up")])
    model.save(tmp_path / "model.keras")
    images = random_images(2, (4, 4, 3))
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resample": "left"}, 'must be "up", "down" or None. Received: resample=\'left\''),
        ({"resample": "up", "strides": 2}, "no strides.*Received: .*strides=\\(2, 2\\)"),
        ({"resample": "down", "padding": "valid"}, "padding='same'.*Received: .*padding='valid'"),
        ({"resample": "down", "kernel_size": 4}, "an odd kernel.*Received: kernel_size=\\(4, 4\\)"),
    ],
)
def test_resampling_of_other_convolutions_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Conv2D(**{"filters": 2, "kernel_size": 3, "padding": "same", **arguments})


def test_images_that_cannot_be_resampled_are_refused():
    for resample, shape in (("down", (2, 7, 8, 3)), ("down", (2, None, 8, 3)), ("up", (2, None, 8, 3))):
        with pytest.raises(ValueError, match=r"known sides, to halve even ones\. Received: shape"):
            Conv2D(2, 3, padding="same", resample=resample).build(shape)
