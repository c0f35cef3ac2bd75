"""tfgan_app.layers: fused batch normalisation against Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import LATENT_DIM, assert_all_close, random_images, tiny_gan, train, values

from tfgan_app.base.latents import draw_latents
from tfgan_app.base.randomness import stream
from tfgan_app.layers import BatchNormalization
from tfgan_app.layers.batch_norm import ConditionalBatchNormalization, measured_statistics

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


# Statistics that are measured for given weights.


class Users(keras.layers.BatchNormalization):
    """A layer of someone's own."""


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (BatchNormalization(), (4, 5, 6, 3)),
        (BatchNormalization(), (8, 3)),
        (keras.layers.BatchNormalization(), (4, 5, 6, 3)),
        (keras.layers.BatchNormalization(axis=1), (4, 3, 5, 6)),
        (Users(), (8, 3)),
        (ConditionalBatchNormalization(), (4, 5, 6, 3)),
    ],
    ids=["ours", "dense", "keras", "channels first", "a user's", "conditional"],
)
def test_statistics_are_measured_where_no_variable_changes(layer, shape):
    x = tf.constant(np.random.default_rng(2).normal(3, 2, shape), tf.float32)
    conditional = isinstance(layer, ConditionalBatchNormalization)
    inputs = [x, 0.5 * tf.ones((4, 3)), tf.ones((4, 3))] if conditional else x
    plain = np.array(layer(inputs))
    before = values(layer)
    outputs = []
    ((mean, variance),) = measured_statistics([layer], lambda: outputs.append(np.array(layer(inputs, training=False))))
    others = tuple(axis for axis in range(x.ndim) if axis != layer.axis % x.ndim)
    np.testing.assert_allclose(mean, np.mean(x, others), rtol=1e-5)
    # Ours keep the unbiased variance, Keras's the other.
    ddof = isinstance(layer, BatchNormalization)
    np.testing.assert_allclose(variance, np.var(x, others, ddof=ddof), rtol=1e-4)
    assert all(np.array_equal(old, new) for old, new in zip(before, values(layer), strict=True))
    np.testing.assert_array_equal(layer(inputs), plain)
    assert "call" not in vars(layer) and isinstance(layer.moving_mean, keras.Variable)
    np.testing.assert_allclose(layer(inputs, training=True), outputs[0], atol=1e-4)


def test_only_these_layers_act_as_in_training():
    inputs = keras.Input((3,))
    norm, unused = BatchNormalization(), BatchNormalization()
    unused.build((None, 3))
    network = keras.Model(inputs, keras.layers.Dropout(0.9)(norm(inputs)))
    x = tf.constant(np.random.default_rng(2).normal(3, 2, (64, 3)), tf.float32)
    outputs = []
    found = measured_statistics([norm, unused], lambda: outputs.append(network(x, training=False)))
    assert np.count_nonzero(outputs[0]) == 64 * 3, "dropout dropped"
    np.testing.assert_array_equal(found[1], [np.zeros(3), np.ones(3)])
    # An error leaves the layers as they were.
    with pytest.raises(ZeroDivisionError):
        measured_statistics([norm], lambda: 1 / 0)
    assert "call" not in vars(norm)


def before_norm(gan, inputs):
    """What reaches the EMA generator's batch normalisation."""
    (layer,) = [one for one in gan.ema_generator.layers if isinstance(one, BatchNormalization)]
    return layer, np.array(keras.Model(gan.ema_generator.input, layer.input)(inputs))


@pytest.mark.parametrize("num_classes", [None, 3])
def test_the_average_has_the_statistics_of_its_own_weights(num_classes):
    gan = tiny_gan(num_classes=num_classes, ema_decay=0.9)
    train(gan, *([random_images(24)] if num_classes is None else [random_images(24), np.arange(24) % 3]))

    def expected():
        batches = []
        for index in range(4):
            latents = draw_latents(256, LATENT_DIM, stream((gan.seed, index), "statistics"))
            labels = [] if num_classes is None else [tf.range(256 * index, 256 * (index + 1)) % 3]
            layer, x = before_norm(gan, [latents, *labels] if labels else latents)
            batches.append((x.mean(0), x.var(0, ddof=1)))
        return layer, [np.mean(part, axis=0) for part in zip(*batches, strict=True)]

    def assert_fit():
        layer, statistics = expected()
        assert_all_close([np.array(layer.moving_mean), np.array(layer.moving_variance)], statistics, 1e-5)

    assert_fit()
    raw = [np.array(w) for w in gan.generator.weights if not w.trainable]
    assert np.abs(raw[0] - expected()[1][0]).max() > 1e-3
    # Other weights are measured when they are sampled, scored or exported.
    for use in (lambda: gan.sample(1), lambda: gan(np.zeros((1, LATENT_DIM), np.float32)), gan.signatures):
        if num_classes is None:
            gan.ema_generator.set_weights([1.1 * w for w in values(gan.ema_generator)])
            use()
            assert_fit()


def test_measuring_leaves_training_as_it_is():
    images = random_images(16)
    alone, watched = tiny_gan(), tiny_gan()
    for part in np.split(images, 4):
        train(alone, part)
        train(watched, part)
        watched.sample(3)
        watched.sample(3, truncation=0.5)
        watched.evaluate(part, verbose=0)
    holders = ("generator", "discriminator", "ema_generator", "g_optimizer", "d_optimizer")
    for one, other in zip(
        *(values(*(getattr(gan, name) for name in holders)) for gan in (alone, watched)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_frozen_layer_keeps_its_statistics():
    gan = tiny_gan()
    next(one for one in gan.generator.layers if isinstance(one, BatchNormalization)).trainable = False
    layer, _ = before_norm(gan, np.zeros((1, LATENT_DIM), np.float32))
    gan.sample(2)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(6))
