"""tfgan_app.layers: fused batch normalisation against Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import values

from tfgan_app.layers import BatchNormalization

SHAPES = [(8, 3), (4, 5, 3), (4, 6, 5, 3)]


def pair(shape, **kwargs):
    """Returns our layer and Keras's with equal, uneven weights, and an input."""
    rng = np.random.default_rng(1)
    ours, theirs = (
        cls(momentum=0.9, epsilon=1.001e-5, **kwargs) for cls in (BatchNormalization, keras.layers.BatchNormalization)
    )
    for layer in (ours, theirs):
        layer.build((None, *shape[1:]))
    weights = [rng.uniform(0.5, 2, weight.shape) for weight in ours.weights]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs, tf.constant(rng.normal(2, 3, shape), tf.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_equals_keras_with_its_gradients(shape, training, jit_compile):
    ours, theirs, x = pair(shape)
    before = [np.array(weight) for weight in ours.non_trainable_variables]

    @tf.function(jit_compile=jit_compile)
    def run(layer, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            loss = tf.reduce_sum(y**3)
        return y, tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])

    (y, gradients), (expected, expected_gradients) = run(ours, x), run(theirs, x)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, atol=1e-5)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-3)

    axes = tuple(range(len(shape) - 1))
    momentum = 0.9 if training else 1.0
    moments = [np.mean(x, axes), np.var(x, axes, ddof=1)]  # unbiased, which Keras's is not
    for variable, old, batch in zip(ours.non_trainable_variables, before, moments, strict=True):
        np.testing.assert_allclose(variable, momentum * old + (1 - momentum) * batch, rtol=1e-5)


@pytest.mark.parametrize("kwargs", [{"scale": False}, {"center": False}, {"scale": False, "center": False}])
def test_without_scale_or_offset(kwargs):
    ours, theirs, x = pair((4, 6, 5, 3), **kwargs)
    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), atol=1e-5)


@pytest.mark.parametrize(("dtype", "training"), [("bfloat16", True), ("bfloat16", False), ("float16", True)])
@pytest.mark.parametrize("shape", SHAPES)
def test_keeps_statistics_in_float32(dtype, shape, training):
    ours, exact, x = pair(shape)[0], pair(shape)[0], pair(shape)[2]
    mixed = BatchNormalization(momentum=0.9, dtype=f"mixed_{dtype}")
    mixed.build(x.shape)
    mixed.set_weights(ours.get_weights())
    x = tf.cast(x, dtype)
    y, expected = mixed(x, training=training), exact(tf.cast(x, tf.float32), training=training)
    assert y.dtype == dtype
    assert {weight.dtype for weight in mixed.weights} == {"float32"}
    np.testing.assert_allclose(np.asarray(y, np.float32), expected, atol=0.05)
    # No 16-bit rounding on the way.
    np.testing.assert_allclose(mixed.moving_mean, exact.moving_mean, rtol=1e-5)
    np.testing.assert_allclose(mixed.moving_variance, exact.moving_variance, rtol=1e-5)


def test_frozen_uses_and_keeps_its_moving_statistics():
    ours, _, x = pair((4, 6, 5, 3))
    ours.trainable = False
    before, expected = values(ours), ours(x, training=False)
    np.testing.assert_array_equal(ours(x, training=True), expected)
    np.testing.assert_array_equal(np.stack(values(ours)), np.stack(before))


@pytest.mark.parametrize("kwargs", [{"axis": 1}, {"renorm": True}])
def test_unsupported_argument(kwargs):
    ((name, value),) = kwargs.items()
    with pytest.raises(ValueError, match=f"supports only {name}=.*Received: {name}={value}"):
        BatchNormalization(**kwargs)


def test_survives_saving(tmp_path):
    inputs = keras.Input((5, 4, 3))
    model = keras.Model(inputs, BatchNormalization(momentum=0.8, epsilon=2e-3, name="norm")(inputs))
    x = np.random.default_rng(0).normal(size=(4, 5, 4, 3)).astype(np.float32)
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert type(copy.get_layer("norm")) is BatchNormalization
    assert copy.get_layer("norm").get_config() == model.get_layer("norm").get_config()
    np.testing.assert_array_equal(copy(x), model(x))
