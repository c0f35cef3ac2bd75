"""Networks that fill holes: ContextEncoder and DeepFillV2, and their layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfgan_app as tg
from tfgan_app.base.networks import float32_copy
from tfgan_app.models import context_encoder, deepfill

# Small networks of both kinds, of sources with one colour and holes.
SMALL = {
    "context": lambda: context_encoder.build_generator((28, 28, 1), 2, 4, False),
    "central": lambda: context_encoder.build_generator((28, 28, 1), 2, 4, True),
    "deepfill": lambda: deepfill.build_generator(1, 8, (2, 4)),
}


def sources(num, height, width, seed=0):
    """Returns sources with holes here and there, whose colours lie under them as files may have it."""
    rng = np.random.default_rng(seed)
    colours = rng.uniform(-1, 1, (num, height, width, 1))
    return np.concatenate([colours, np.where(rng.random(colours.shape) < 0.3, -1, 1)], axis=-1).astype(np.float32)


def kernels(network):
    """Returns the shapes of kernels in the order of the layers, those inside others left out."""
    return [tuple(layer.kernel.shape) for layer in network.layers if hasattr(layer, "kernel")]


def num_parameters(network):
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


# Layers.


def test_gated_convolution_multiplies_features_with_gates():
    layer = tg.layers.GatedConv2D(3, 3, strides=2, padding="same", activation="relu")
    x = tf.random.stateless_normal((2, 5, 6, 2), (0, 1))
    y = layer(x)
    plain = tf.nn.conv2d(x, layer.kernel, 2, "SAME") + layer.bias
    np.testing.assert_allclose(y, tf.nn.relu(plain[..., :3]) * tf.sigmoid(plain[..., 3:]), atol=1e-6)
    assert layer.compute_output_shape((None, 5, 6, 2)) == (None, 3, 3, 3)
    again = tg.layers.GatedConv2D.from_config(layer.get_config())
    assert again.compute_output_shape((None, 5, 6, 2)) == (None, 3, 3, 3)
    assert again.feature_activation is layer.feature_activation


def attended(features, holes, scale=10.0, fuse=True):
    """Contextual attention of one picture, position by position."""
    height, width, channels = features.shape
    rows, columns = height // 2, width // 2
    small = np.pad(features[::2, ::2], ((1, 1), (1, 1), (0, 0)))
    touched = np.pad(holes.reshape(rows, 2, columns, 2).max((1, 3)), 1)
    places = [(i, j) for i in range(rows) for j in range(columns)]
    patches = np.stack([small[i : i + 3, j : j + 3].ravel() for i, j in places])
    norms = np.maximum(np.linalg.norm(patches, axis=1, keepdims=True), 1e-4)
    scores = (patches @ (patches / norms).T).reshape(rows, columns, rows, columns)

    def summed(get, lines, length):
        # Neighbours are those in the order of lines one behind the other, as the program has it.
        order = [(i, j) for i in range(lines) for j in range(length)]
        total = np.zeros((rows, columns, rows, columns))
        for p in range(len(order)):
            for q in range(len(order)):
                for d in (-1, 0, 1):
                    if 0 <= p + d < len(order) and 0 <= q + d < len(order):
                        total[(*get(order[p]), *get(order[q]))] += scores[(*get(order[p + d]), *get(order[q + d]))]
        return total

    if fuse:
        scores = summed(lambda place: place, rows, columns)
        scores = summed(lambda place: place[::-1], columns, rows)
    known = np.array([touched[i : i + 3, j : j + 3].max() == 0 for i, j in places])
    large = np.pad(features, ((1, 1), (1, 1), (0, 0)))
    result = np.zeros((height + 2, width + 2, channels))
    for i, j in places:
        logits = scale * scores[i, j].ravel() * known
        weights = np.exp(logits - logits.max())
        weights = weights / weights.sum() * known
        for weight, (k, m) in zip(weights, places, strict=True):
            result[2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += weight * large[2 * k : 2 * k + 4, 2 * m : 2 * m + 4] / 4
    return result[1:-1, 1:-1]


@pytest.mark.parametrize("fuse", [True, False])
def test_contextual_attention_equals_loops_over_positions(fuse):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 12, 10, 3)) * 0.3
    holes = np.zeros((2, 12, 10))
    holes[0, 3:5, 2:4] = holes[1, 8, 9] = 1.0  # each picture has its own
    got = tg.layers.ContextualAttention(fuse=fuse)([tf.constant(features), tf.constant(holes[..., None])])
    for index in range(2):
        np.testing.assert_allclose(got[index], attended(features[index], holes[index], fuse=fuse), atol=2e-5)


def test_contextual_attention_at_odd_sides_takes_nothing_from_the_edge_it_adds():
    features = np.random.default_rng(0).normal(size=(1, 9, 11, 2))
    got = tg.layers.ContextualAttention()([tf.constant(features), tf.zeros((1, 9, 11, 1))])
    padded = np.pad(features[0], ((0, 1), (0, 1), (0, 0)))
    holes = np.pad(np.zeros((9, 11)), ((0, 1), (0, 1)), constant_values=1)
    np.testing.assert_allclose(got[0], attended(padded, holes)[:9, :11], atol=2e-5)


def test_contextual_attention_fills_a_hole_with_the_pattern_around_it():
    rows, columns = np.indices((24, 24)) % 4
    pattern = np.stack([rows == columns, rows == 0, columns == 1], axis=-1).astype(np.float32) - 0.5
    holes = np.zeros((24, 24, 1), np.float32)
    holes[10:14, 10:14] = 1.0
    # The hole is grey, and its neighbourhood tells what belongs there.
    torn = np.where(holes > 0, 0.0, pattern)
    got = tg.layers.ContextualAttention(softmax_scale=50.0)([torn[None], holes[None]])
    np.testing.assert_allclose(got[0, 10:14, 10:14], pattern[10:14, 10:14], atol=0.05)


def test_contextual_attention_without_anything_known_is_zero_and_has_gradients_where_features_are():
    layer = tg.layers.ContextualAttention()
    features = tf.concat([tf.zeros((1, 8, 8, 2)), tf.ones((1, 8, 8, 2))], axis=0)
    np.testing.assert_array_equal(layer([features, tf.ones((2, 8, 8, 1))]), np.zeros((2, 8, 8, 2)))
    with tf.GradientTape() as tape:
        tape.watch(features)
        total = tf.reduce_sum(layer([features, tf.zeros((2, 8, 8, 1))]))
    assert np.isfinite(tape.gradient(total, features)).all()
    for side in (1, 2, 3):
        assert layer([tf.ones((1, side, side, 2)), tf.zeros((1, side, side, 1))]).shape == (1, side, side, 2)


# Networks.


def test_deepfill_has_the_blocks_of_the_program(unallocated):
    generator = unallocated(lambda: deepfill.build_generator(3, 48, (2, 4, 8, 16)))
    assert num_parameters(generator) == 4_052_478
    assert num_parameters(unallocated(lambda: deepfill.build_discriminator(3, 64))) == 5_946_816
    # Of both stages, from the program's own widths: half of what a convolution computes goes on.
    encoder = [(5, 5, 5, 48), (3, 3, 24, 96), (3, 3, 48, 96), (3, 3, 48, 192), *[(3, 3, 96, 192)] * 2]
    decoder = [(3, 3, 96, 96), (3, 3, 48, 96), (3, 3, 48, 48), (3, 3, 24, 24), (3, 3, 12, 3)]
    coarse = [*encoder, *[(3, 3, 96, 192)] * 6, *decoder]
    found = kernels(generator)
    assert found[: len(coarse)] == coarse
    shared = [*[(3, 3, 48, 192), (3, 3, 96, 192)], *[(3, 3, 96, 192)] * 4]
    imagined = [(5, 5, 3, 48), (3, 3, 24, 48), (3, 3, 24, 96), (3, 3, 48, 96), *shared]
    copied = [(5, 5, 3, 48), (3, 3, 24, 48), (3, 3, 24, 96), (3, 3, 48, 192), *[(3, 3, 96, 192)] * 4]
    rest = [*imagined, *copied, (3, 3, 192, 192), (3, 3, 96, 192), *decoder]
    assert sorted(found[len(coarse) :]) == sorted(rest)
    rates = [layer.dilation_rate[0] for layer in generator.layers if isinstance(layer, tg.layers.GatedConv2D)]
    assert sorted(rate for rate in rates if rate > 1) == [2, 2, 4, 4, 8, 8, 16, 16]


def test_context_encoder_has_the_blocks_of_the_program(unallocated):
    # The program's `train.lua` with a bottleneck of 4000, which paints the central 64x64 of 128x128.
    generator = unallocated(lambda: context_encoder.build_generator((128, 128, 3), 64, 4000, True))
    assert num_parameters(generator) == 71_130_531
    encoder = [(4, 4, 3, 64), (4, 4, 64, 64), (4, 4, 64, 128), (4, 4, 128, 256), (4, 4, 256, 512), (4, 4, 512, 4000)]
    decoder = [(4, 4, 512, 4000), (4, 4, 256, 512), (4, 4, 128, 256), (4, 4, 64, 128), (4, 4, 3, 64)]
    assert kernels(generator) == [*encoder, *decoder]
    assert generator.output["painted"].shape[1:] == (None, None, 3)
    discriminator = unallocated(lambda: context_encoder.build_discriminator((128, 128, 3), 64, True))
    assert num_parameters(discriminator) == 2_766_529
    assert kernels(discriminator) == [encoder[0], *encoder[2:5], (4, 4, 512, 1)]
    # `train_random.lua` paints all of it, by a layer more in the decoder and in D.
    generator = unallocated(lambda: context_encoder.build_generator((128, 128, 3), 64, 4000, False))
    assert kernels(generator) == [*encoder, *decoder[:4], (4, 4, 64, 64), decoder[4]]
    discriminator = unallocated(lambda: context_encoder.build_discriminator((128, 128, 3), 64, False))
    assert kernels(discriminator)[:3] == [(4, 4, 3, 64), (4, 4, 64, 64), (4, 4, 64, 128)]
    # At 64x64 that program leaves the second layer out.
    generator = unallocated(lambda: context_encoder.build_generator((64, 64, 3), 64, 4000, False))
    assert kernels(generator)[:3] == [(4, 4, 3, 64), (4, 4, 64, 128), (4, 4, 128, 256)]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_what_is_known_is_kept_and_what_lies_under_holes_does_not_matter(name, policy):
    keras.config.set_dtype_policy(policy)
    network = SMALL[name]()
    source = sources(2, 28, 28)
    images = np.array(network(source)["images"])
    hole = source[..., 1:] < 0
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images[~hole], source[..., :1][~hole])
    if name == "central":
        hole[:, :7] = hole[:, 21:] = hole[:, :, :7] = hole[:, :, 21:] = False
    assert (images[hole] != 0.0).mean() > 0.9
    other = np.where(source[..., 1:] < 0, [0.7, -0.2], source).astype(np.float32)
    np.testing.assert_array_equal(network(other)["images"], images)


@pytest.mark.parametrize("name", SMALL)
def test_networks_take_pictures_of_any_size_one_by_one(name):
    network = SMALL[name]()
    step = 4 if name == "deepfill" else 1
    for height, width in ((1, 1), (2, 7), (9, 13)):
        source = sources(3, height * step, width * step)
        images = network(source)["images"]
        assert images.shape == (3, height * step, width * step, 1) and np.isfinite(images).all()
        # Neighbours in the batch have no part in it.
        np.testing.assert_allclose(network(source[1:2])["images"], images[1:2], atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_networks_are_copied_and_saved(name, tmp_path):
    network = SMALL[name]()
    source = sources(2, 28, 28)
    expected = network(source)["images"]
    np.testing.assert_array_equal(float32_copy(network)(source)["images"], expected)
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(source)["images"], expected)


@pytest.mark.parametrize("name", SMALL)
def test_all_weights_get_gradients(name):
    network = SMALL[name]()
    source = sources(4, 28, 28)
    with tf.GradientTape() as tape:
        outputs = network(source, training=True)
        total = sum(tf.reduce_sum(tf.square(output)) for output in outputs.values())
    gradients = tape.gradient(total, network.trainable_weights)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_shrinking_takes_the_mean_of_what_is_known():
    colours = tf.reshape(tf.constant([1.0, 0.0, 0.5, 0.0, -1.0, -1.0, 0.0, 0.0], tf.float32), (1, 2, 4, 1))
    holes = tf.reshape(tf.constant([0.0, 1, 0, 1, 0, 0, 1, 1]), (1, 2, 4, 1))
    layer = context_encoder.Shrink((1, 1))
    np.testing.assert_allclose(layer([tf.ones((1, 8, 8, 1)), tf.zeros((1, 8, 8, 1))]), [[[[1.0]]]], atol=1e-6)
    assert -1 <= float(layer([colours, holes])[0, 0, 0, 0]) <= 1
    np.testing.assert_array_equal(layer([colours * 0, holes * 0 + 1]), [[[[0.0]]]])
    # A picture of the network's sides stays what it is.
    np.testing.assert_array_equal(context_encoder.Shrink((2, 4))([colours, holes]), colours)


def test_context_encoder_says_which_sides_it_works_at():
    with pytest.raises(ValueError, match=r"3 to 8 pixels: 28, 64, 96 or 128.*Received: target_shape=\(50, 50, 1\)"):
        context_encoder.build_generator((50, 50, 1), 2, 4, False)
