"""tfgan_app.layers: spectral normalisation, attention, packing, conditional normalisation, clipping."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_images, tiny_gan, train, values
from keras import layers

import tfgan_app as tg
from tfgan_app.base.networks import in_float32

SPECTRAL = {
    "dense": (lambda: tg.layers.SpectralDense(4), layers.Dense, (5, 6)),
    "conv": (lambda: tg.layers.SpectralConv2D(4, 3, padding="same"), layers.Conv2D, (2, 5, 5, 3)),
}


def built(name, dtype=None):
    layer, _, shape = SPECTRAL[name]
    layer = layer()
    if dtype:
        layer.dtype_policy = dtype
    layer.build((None, *shape[1:]))
    x = tf.constant(np.random.default_rng(0).normal(size=shape), tf.float32)
    return layer, x


def true_sigma(kernel):
    return np.linalg.svd(np.array(kernel).reshape(-1, kernel.shape[-1]), compute_uv=False)[0]


@pytest.mark.parametrize("name", SPECTRAL)
def test_sigma_converges_from_below(name):
    layer, _ = built(name)
    truth, estimates = true_sigma(layer.kernel), []
    for _ in range(60):
        estimates.append(float(layer.sigma()))
        layer.begin_update()
    assert max(estimates) <= truth * (1 + 1e-5)
    np.testing.assert_allclose(layer.sigma(), truth, rtol=1e-3)


def test_sigma_of_a_known_matrix():
    layer, _ = built("dense")
    left, right = (np.linalg.qr(np.random.default_rng(seed).normal(size=(n, 4)))[0] for seed, n in ((1, 6), (2, 4)))
    layer.kernel.assign(left @ np.diag([3.0, 2.0, 1.0, 0.5]) @ right.T)
    for _ in range(30):
        layer.begin_update()
    np.testing.assert_allclose(layer.sigma(), 3.0, atol=1e-3)
    # One iteration does what Algorithm 1 says.
    matrix, u = np.array(layer.kernel), np.array([1.0, 0, 0, 0], np.float32)
    layer.u.assign(u)
    layer.begin_update()
    v = matrix @ u / np.linalg.norm(matrix @ u)
    np.testing.assert_allclose(layer.u, matrix.T @ v / np.linalg.norm(matrix.T @ v), rtol=1e-5)


@pytest.mark.parametrize("name", SPECTRAL)
def test_equals_the_plain_layer_with_divided_weights(name):
    layer, x = built(name)
    plain = SPECTRAL[name][1].from_config(
        {k: v for k, v in layer.get_config().items() if k not in ("name", "registered_name")}
    )
    plain.build(x.shape)
    plain.kernel.assign(layer.kernel / layer.sigma())
    layer.bias.assign(tf.range(4, dtype=tf.float32))
    plain.bias.assign(layer.bias)
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-5, atol=1e-6)


def test_embedding_is_divided_as_a_whole():
    layer = tg.layers.SpectralEmbedding(5, 3)
    layer.build()
    for _ in range(60):
        layer.begin_update()
    table = np.array(layer.embeddings)
    np.testing.assert_allclose(layer(tf.constant([1, 4])), table[[1, 4]] / true_sigma(table), rtol=1e-3)


@pytest.mark.parametrize("name", SPECTRAL)
def test_gradient_flows_through_sigma(name):
    layer, x = built(name)
    for _ in range(100):
        layer.begin_update()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) ** 3)
    gradient = np.array(tape.gradient(loss, layer.kernel.value))
    # Scaling the weights changes nothing, so their gradient has no part along them.
    kernel = np.array(layer.kernel)
    assert abs(np.sum(gradient * kernel)) < 1e-4 * np.linalg.norm(gradient) * np.linalg.norm(kernel)
    assert np.linalg.norm(gradient) > 0.1
    start, step, index = kernel.copy(), 1e-3, (0,) * kernel.ndim
    ends = []
    for sign in (1, -1):
        moved = start.copy()
        moved[index] += sign * step
        layer.kernel.assign(moved)
        for _ in range(100):  # with u fully converged, the derivative of sigma is that of equation 12
            layer.begin_update()
        ends.append(float(tf.reduce_sum(layer(x) ** 3)))
    np.testing.assert_allclose(gradient[index], (ends[0] - ends[1]) / (2 * step), rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize("training", [True, False])
def test_calls_change_nothing(training):
    layer, x = built("conv")
    before = values(layer)
    for network in (layer, keras.Sequential([layer])):
        network(x, training=training)
    for old, new in zip(before, values(layer), strict=True):
        np.testing.assert_array_equal(old, new)


def spectral_gan(**kwargs):
    images = keras.Input((8, 8, 1))
    x = tg.layers.SpectralConv2D(4, 3, activation="tanh")(images)
    discriminator = keras.Model(images, tg.layers.SpectralDense(1, dtype="float32")(layers.Flatten()(x)))
    gan = tiny_gan()
    gan = tg.GAN(gan.generator, discriminator, seed=3)
    gan.compile(**kwargs)
    return gan


@pytest.mark.parametrize("n_critic", [1, 3])
def test_one_iteration_for_each_update_of_the_network(n_critic):
    gan = spectral_gan(n_critic=n_critic, d_optimizer=keras.optimizers.SGD(0.0))
    layer = gan.discriminator.layers[1]
    expected = tg.layers.SpectralConv2D.from_config(layer.get_config())
    expected.build((None, 8, 8, 1))
    expected.set_weights(layer.get_weights())
    train(gan, random_images(4 * n_critic))
    for _ in range(n_critic):
        expected.begin_update()
    np.testing.assert_allclose(layer.u, expected.u, rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", SPECTRAL)
def test_sigma_is_float32_under_mixed_precision(policy, name):
    layer, x = built(name, policy)
    for _ in range(30):
        layer.begin_update()
    exact, _ = built(name)
    exact.set_weights(layer.get_weights())
    y = layer(x)
    assert y.dtype == policy.removeprefix("mixed_")
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    np.testing.assert_allclose(tf.cast(y, tf.float32), exact(x), atol=0.05)
    with in_float32(layer):
        np.testing.assert_allclose(layer(x), exact(x), rtol=1e-5, atol=1e-6)


def test_saves_the_undivided_weights(tmp_path):
    inputs = keras.Input((5, 5, 3))
    x = tg.layers.SelfAttention(name="attention")(tg.layers.SpectralConv2D(8, 3, name="conv")(inputs))
    model = keras.Model(inputs, tg.layers.SpectralDense(2)(layers.Flatten()(x)))
    for layer in model._flatten_layers():
        if hasattr(layer, "begin_update"):
            layer.begin_update()
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    for old, new in zip(values(model), values(copy), strict=True):
        np.testing.assert_array_equal(old, new)
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(copy(x), model(x), rtol=1e-6)


# Attention.


def test_attention_starts_as_the_identity_and_equals_a_direct_computation():
    layer = tg.layers.SelfAttention()
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 6, 16)), tf.float32)
    np.testing.assert_array_equal(layer(x), x)
    layer.gamma.assign(0.7)

    def kernel(part):
        return np.array(part.kernel / part.sigma())[0, 0]

    def pooled(maps):
        return maps.reshape(2, 2, 2, 3, 2, -1).max(axis=(2, 4)).reshape(2, 6, -1)

    query = (x.numpy() @ kernel(layer.query)).reshape(2, 24, 2)
    key, hidden = pooled(x.numpy() @ kernel(layer.key)), pooled(x.numpy() @ kernel(layer.values))
    scores = np.exp(query @ key.transpose(0, 2, 1))
    attended = (scores / scores.sum(-1, keepdims=True)) @ hidden
    expected = x + 0.7 * (attended @ kernel(layer.project)).reshape(2, 4, 6, 16)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_attention_starts_its_convolutions_apart_and_keeps_how():
    layer = tg.layers.SelfAttention("orthogonal", keras.regularizers.L2(0.5))
    copy = tg.layers.SelfAttention.from_config(layer.get_config())
    for one in (layer, copy):
        one(tf.zeros((1, 4, 4, 16)))
        query, key = (np.array(part.kernel)[0, 0] for part in (one.query, one.key))
        np.testing.assert_allclose(query.T @ query, np.eye(2), atol=1e-5)
        assert np.abs(query - key).max() > 0.01
        kernels = [np.array(part.kernel) for part in (one.query, one.key, one.values, one.project)]
        np.testing.assert_allclose(sum(one.losses), 0.5 * sum(np.sum(x**2) for x in kernels), rtol=1e-5)


@pytest.mark.parametrize("make", [lambda: tg.layers.SelfAttention(), lambda: tg.layers.SpectralConv2D(8, 3)])
def test_second_order_gradient_equals_finite_differences(make):
    layer = make()
    x = tf.Variable(0.3 * np.random.default_rng(0).normal(size=(1, 4, 4, 8)).astype(np.float32))
    layer(x)
    for part in layer._flatten_layers():
        for _ in range(20):
            getattr(part, "begin_update", int)()
    if hasattr(layer, "gamma"):
        layer.gamma.assign(1.0)
    direction = tf.constant(np.random.default_rng(1).normal(size=x.shape), tf.float32)

    def squared_gradient():
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(tf.tanh(layer(x)))
        return tf.reduce_sum(tf.square(tape.gradient(y, x)))

    with tf.GradientTape() as tape:
        value = squared_gradient()
    slope = tf.reduce_sum(tape.gradient(value, x) * direction)
    start, ends = tf.identity(x), []
    for sign in (1, -1):
        x.assign(start + sign * 1e-4 * direction)  # small: max-pooling has kinks
        ends.append(squared_gradient())
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-4, rtol=5e-2, atol=0.2)


# Packing.


@pytest.mark.parametrize("packing", [1, 2, 3])
def test_packs_neighbours_along_the_channels(packing):
    x = tf.reshape(tf.range(7 * 2 * 2 * 2, dtype=tf.float32), (7, 2, 2, 2))
    y = tg.layers.Pack(packing)(x)
    assert y.shape == (7 // packing, 2, 2, 2 * packing)
    for pack in range(7 // packing):
        parts = [x[pack * packing + i] for i in range(packing)]
        np.testing.assert_array_equal(y[pack], np.concatenate(parts, axis=-1))
    inputs = keras.Input((2, 2, 2))
    assert tg.layers.Pack(packing)(inputs).shape == (None, 2, 2, 2 * packing)


@pytest.mark.parametrize("packing", [0, 1.5])
def test_packing_is_a_positive_integer(packing):
    with pytest.raises(ValueError, match=f"`packing` must be an integer of at least 1. Received: packing={packing}"):
        tg.layers.Pack(packing)


# Conditional batch normalisation.


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_conditional_normalisation_scales_each_image_by_its_own(dtype):
    layer = tg.layers.ConditionalBatchNormalization(dtype=dtype)
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(2, 3, (4, 5, 5, 3)), tf.float32)
    scale, offset = (tf.constant(rng.normal(size=(4, 3)), tf.float32) for _ in range(2))
    y = layer([x, scale, offset], training=True)
    assert [w.name for w in layer.weights] == ["moving_mean", "moving_variance"]
    normalised = (x - np.mean(x, (0, 1, 2))) / np.std(x, (0, 1, 2))
    expected = normalised * (1 + scale)[:, None, None] + offset[:, None, None]
    np.testing.assert_allclose(tf.cast(y, tf.float32), expected, atol=1e-3 if dtype == "float32" else 0.1)


# Clipping.


def test_clips_after_each_update():
    clip = tg.layers.ClipWeights(0.25)
    np.testing.assert_array_equal(clip(np.float32([-2, -0.25, 0.1, 3])), np.float32([-0.25, -0.25, 0.1, 0.25]))
    copy = keras.constraints.get(keras.constraints.serialize(clip))
    assert copy.limit == 0.25
    with pytest.raises(ValueError, match=r"`limit` must be positive\. Received: limit=0"):
        tg.layers.ClipWeights(0)
