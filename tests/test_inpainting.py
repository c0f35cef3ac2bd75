"""Networks that fill holes: ContextEncoder and DeepFillV2, and their layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfgan_app as tg
from tfgan_app.base.errors import UsageError
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


@pytest.mark.parametrize("activation", ["elu", "relu"])
def test_gates_pass_on_as_much_as_they_get(activation):
    keras.utils.set_random_seed(0)
    x = tf.random.stateless_normal((4, 32, 32, 64), (0, 1))
    y = tg.layers.GatedConv2D(64, 3, padding="same", activation=activation)(x)
    assert tf.sqrt(tf.reduce_mean(tf.square(y))).numpy() == pytest.approx(1, abs=0.15)


def test_what_a_new_deepfill_paints_goes_by_its_source():
    """With Glorot's kernels nothing came through, and the first steps then drove a stage's tanh to -1 for good."""
    keras.utils.set_random_seed(0)
    painted = deepfill.build_generator(1, 16, (2, 4))(sources(4, 32, 32))
    for stage in ("coarse", "refined"):
        assert 0.05 < tf.math.reduce_std(painted[stage]) < 0.9, stage


def attended(features, holes, scale=10.0, fuse=True):
    """Contextual attention of one picture, position by position."""
    height, width, channels = features.shape
    rows, columns = height // 2, width // 2
    small = np.pad(features[::2, ::2], ((1, 1), (1, 1), (0, 0)))
    shares = np.pad(holes.reshape(rows, 2, columns, 2).mean((1, 3)), 1)
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
    touched = np.array([shares[i : i + 3, j : j + 3].sum() for i, j in places])
    known = touched == touched.min()
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


def test_contextual_attention_takes_what_holes_touch_least_where_they_touch_everything():
    features = np.random.default_rng(0).normal(size=(1, 8, 8, 2)) * 0.3
    holes = np.zeros((8, 8))
    holes[::2, ::2] = 1.0
    holes[4:, 4:] = 0.5
    got = tg.layers.ContextualAttention()([tf.constant(features), tf.constant(holes[None, ..., None])])
    assert np.abs(got).mean() > 0
    np.testing.assert_allclose(got[0], attended(features[0], holes), atol=2e-5)


def test_contextual_attention_has_gradients_where_features_are_zero_and_takes_any_side():
    layer = tg.layers.ContextualAttention()
    features = tf.concat([tf.zeros((1, 8, 8, 2)), tf.ones((1, 8, 8, 2))], axis=0)
    with tf.GradientTape() as tape:
        tape.watch(features)
        total = tf.reduce_sum(layer([features, tf.zeros((2, 8, 8, 1))]))
    assert np.isfinite(tape.gradient(total, features)).all()
    for side in (1, 2, 3):
        assert np.isfinite(layer([tf.ones((1, side, side, 2)), tf.ones((1, side, side, 1))])).all()


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


# Models.

MODELS = {
    "context": lambda **kwargs: tg.models.ContextEncoder(
        (28, 28, 2), (28, 28, 1), base_channels=2, bottleneck=4, **kwargs
    ),
    "central": lambda **kwargs: tg.models.ContextEncoder(
        (28, 28, 2), (28, 28, 1), base_channels=2, bottleneck=4, central=True, **kwargs
    ),
    "deepfill": lambda **kwargs: tg.models.DeepFillV2(
        (28, 28, 2), (28, 28, 1), g_channels=8, d_channels=2, dilations=(2,), **kwargs
    ),
}


def pairs(name, num=4, seed=0):
    """Returns sources with holes where the model takes them, and their targets."""
    source = sources(num, 28, 28, seed)
    target = np.array(source[..., :1])
    if name == "central":
        alpha = np.ones((num, 28, 28), np.float32)
        alpha[:, 8:20, 8:20] = -1
        source[..., 1] = alpha
    return source, target


@pytest.mark.parametrize("name", MODELS)
def test_known_pixels_stay(name):
    model = MODELS[name](seed=0)
    source, _ = pairs(name)
    images = (source + 1) / 2
    known = images[..., 1:] >= 0.5
    stored = np.round(255 * images).astype(np.uint8)
    # In Python and in what is exported.
    signatures = {key: call for key, (call, _) in model.signatures().items()}
    for filled in (model.translate(images), signatures["translate"](tf.constant(images))["images"]):
        np.testing.assert_array_equal(np.asarray(filled)[known], images[..., :1][known])
    for filled in (255 * model.translate(stored), signatures["translate_uint8"](tf.constant(stored))["images"]):
        np.testing.assert_array_equal(np.round(filled)[known], stored[..., :1][known])
    whole = np.concatenate([images[..., :1], np.ones_like(images[..., :1])], axis=-1)
    np.testing.assert_array_equal(model.translate(whole), whole[..., :1])


@pytest.mark.parametrize("name", MODELS)
def test_scores_see_the_picture_that_was_filled(name):
    model = MODELS[name](seed=0)
    source, target = pairs(name)
    real, condition = model.unpack((source, target))
    seed = tf.constant([0, 0], tf.int64)
    play = model.play(real, condition, seed, training=False)
    seen = model.observation(real, play.fake, condition, play.inputs, seed)
    np.testing.assert_array_equal(seen.real, target)
    np.testing.assert_allclose((seen.fake + 1) / 2, model.translate((source + 1) / 2), atol=1e-5)


def test_large_pictures_are_filled_in_tiles_or_brought_to_the_networks_size():
    images = np.array((sources(1, 40, 64) + 1) / 2)
    known = images[..., 1:] >= 0.5
    model = MODELS["deepfill"](seed=0)
    filled = model.translate(images, tile=16)
    assert filled.shape == (1, 40, 64, 1)
    np.testing.assert_array_equal(filled[known], images[..., :1][known])
    model = MODELS["context"](seed=0)
    np.testing.assert_array_equal(model.translate(images, tile=16), model.translate(images, tile=0))


def test_pictures_of_which_nothing_is_known_are_refused():
    model = MODELS["context"]()
    images = np.ones((3, 5, 5, 2), np.float32)
    images[1, ..., 1] = 0.0
    with pytest.raises(
        UsageError, match=r"`images` must have something that is known.*a picture all of which is transparent"
    ):
        model.translate(images)


def test_holes_where_nothing_is_painted_are_refused():
    model = MODELS["central"]()
    images = np.ones((3, 28, 28, 2), np.float32)
    images[:, 7:21, 7:21, 1] = 0.0
    model.translate(images)
    images[2, 6, 14, 1] = 0.0
    message = r"`central=True` holes must lie in the middle.*Received: a picture with a hole outside.*`central=False`"
    with pytest.raises(UsageError, match=message):
        model.translate(images)
    model.compile()
    with pytest.raises(UsageError, match=message):
        model.fit(2 * images - 1, np.zeros((3, 28, 28, 1), np.float32), verbose=0, shuffle=False)


@pytest.mark.parametrize("model", ["ContextEncoder", "DeepFillV2"])
def test_sources_without_alpha_are_refused(model):
    with pytest.raises(
        UsageError,
        match=rf"{model} fills holes: .*alpha.*Expected: source_shape=\(28, 28, 4\).*Received.*\(28, 28, 3\)",
    ):
        getattr(tg.models, model)((28, 28, 3), (28, 28, 3))


def test_deepfill_says_which_widths_can_be_split():
    with pytest.raises(ValueError, match=r"`g_channels` must be a multiple of 4.*Received: g_channels=6"):
        tg.models.DeepFillV2((28, 28, 2), (28, 28, 1), g_channels=6)


# Losses, on numbers worked out by hand.


def step(source, target, outputs):
    return tg.terms.Play(
        None, None, (), [tf.constant(source)], outputs, None, lambda *_: {}, target=tf.constant(target, tf.float32)
    )


def test_deepfill_compares_what_both_stages_painted_everywhere():
    model = MODELS["deepfill"](l1_weight=2.0)
    coarse, refined = model.compile_defaults()["terms"]
    target = np.zeros((1, 2, 2, 1))
    outputs = {"coarse": tf.fill((1, 2, 2, 1), 0.5), "refined": tf.constant([[[[1.0], [0.0]], [[-1.0], [1.0]]]])}
    play = step(np.ones((1, 2, 2, 2), np.float32), target, outputs)
    assert (coarse.name, float(coarse(play)), coarse.weight) == ("l1_coarse", 0.5, 2.0)
    assert (refined.name, float(refined(play)), refined.weight) == ("l1_refined", 0.75, 2.0)
    assert type(refined).from_config(refined.get_config()).name == "l1_refined"


def test_deepfill_judges_filled_pictures_with_their_holes():
    model = MODELS["deepfill"]()
    source, target = (tf.constant(x) for x in pairs("deepfill"))
    outputs = model.generator(source)
    real, fake = model.judged((source, target), [source], outputs)
    np.testing.assert_array_equal(real[0], source[..., 1:] < 0)
    np.testing.assert_array_equal(fake[0], real[0])
    assert real[1] is target and fake[1] is outputs["images"]
    defaults = model.compile_defaults()
    assert isinstance(defaults["loss"], tg.losses.Hinge)
    assert float(defaults["g_optimizer"].learning_rate) == pytest.approx(1e-4)


def test_context_encoder_weighs_what_is_known_at_the_edge_of_the_middle():
    # The middle of 8x8 is 4x4; a margin of one pixel in it is known: 12 of 16 pixels.
    model = MODELS["central"]()
    (term,) = model.compile_defaults()["terms"]
    source = np.ones((1, 8, 8, 2), np.float32)
    source[:, 3:5, 3:5, 1] = -1.0
    target = np.zeros((1, 8, 8, 1))
    target[:, 3:5, 3:5] = 1.0
    painted = np.full((1, 4, 4, 1), 0.5, np.float32)
    play = step(source, target, {"painted": tf.constant(painted)})
    assert float(term(play)) == pytest.approx((12 * 10 + 4) * 0.25 / 16)
    assert term.weight == 0.999
    again = type(term).from_config(term.get_config())
    assert float(again(play)) == float(term(play))
    (anywhere,) = MODELS["context"]().compile_defaults()["terms"]
    assert float(anywhere(step(source, target, {"painted": tf.fill((1, 8, 8, 1), 0.5)}))) == pytest.approx(0.25)


def test_context_encoder_judges_the_middle_and_weighs_as_the_program():
    model = MODELS["central"]()
    source, target = (tf.constant(x) for x in pairs("central"))
    outputs = model.generator(source)
    real, fake = model.judged((source, target), [source], outputs)
    np.testing.assert_array_equal(real, target[:, 7:21, 7:21])
    assert fake is outputs["painted"] and fake.shape == real.shape
    defaults = model.compile_defaults()
    assert defaults["adversarial_weight"] == 0.001 and defaults["loss"].real_label == 1.0
    assert float(defaults["g_optimizer"].learning_rate) == pytest.approx(2e-3)


def test_models_are_saved_by_their_arguments(tmp_path):
    model = MODELS["central"](seed=0, known_weight=3.0)
    model.compile()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.terms[0].known_weight == 3.0
    source, _ = pairs("central")
    np.testing.assert_array_equal(loaded.translate((source + 1) / 2), model.translate((source + 1) / 2))
