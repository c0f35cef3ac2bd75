"""tfgan_app.models.pggan: what grows, when, and what it costs."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import assert_all_close, play, random_images, state, train, values

from tfgan_app.checkpoints import Checkpoints
from tfgan_app.layers.minibatch_stddev import MinibatchStdDev
from tfgan_app.losses import Wasserstein
from tfgan_app.models import pggan
from tfgan_app.models.pggan import PGGAN, Drift, ProgressiveDown, ProgressiveUp
from tfgan_app.terms import GradientPenalty

# Levels at which a network of three stages stands at each, and between each two.
LEVELS = (0.0, 0.3, 1.0, 1.6, 2.0)


def tiny(side=8, **kwargs):
    arguments = {"latent_dim": 3, "channel_base": 8, "stabilize_steps": 0, "fade_steps": 1, "seed": 3, **kwargs}
    return PGGAN((side, side, 1), **arguments)


def set_level(part, level):
    part.stage.assign(int(np.ceil(level)))
    part.alpha.assign(level - np.ceil(level) + 1)


def at_level(part, level, inputs):
    set_level(part, level)
    return part(inputs)


def up(dtype="float32"):
    part = ProgressiveUp((4, 3, 2), 1, dtype=dtype)
    part.build((None, 2, 2, 4))
    return part, tf.random.stateless_normal((3, 2, 2, 4), (1, 2), dtype=dtype)


def down(dtype="float32"):
    part = ProgressiveDown((4, 3, 2), dtype=dtype)
    part.build((None, 8, 8, 1))
    return part, tf.random.stateless_normal((3, 8, 8, 1), (1, 2), dtype=dtype)


def halved(x):
    batch, side, _, channels = x.shape
    return tf.reduce_mean(tf.reshape(x, (batch, side // 2, 2, side // 2, 2, channels)), axis=(2, 4))


def doubled(x):
    return np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)


# The schedule.


@pytest.mark.parametrize(
    ("stabilize_steps", "fade_steps", "levels"),
    [
        (0, 1, [0.5, 1.5, 2, 2]),
        (2, 4, [0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1, 9 / 8, 11 / 8, 13 / 8, 15 / 8, 2, 2]),
        ((1, 2), [2, 1], [0, 0.25, 0.75, 1, 1, 1.5, 2]),
    ],
)
def test_level_follows_the_schedule(stabilize_steps, fade_steps, levels):
    gan = tiny(16, stabilize_steps=stabilize_steps, fade_steps=fade_steps)
    got = []
    for step in range(len(levels)):
        gan.iterations.assign(step)
        gan._grow()
        got.append(gan.level)
    np.testing.assert_allclose(got, levels, atol=1e-6)
    gan.iterations.assign(10**7)
    gan._grow()
    assert gan.level == 2


def test_fit_grows_all_networks_alike():
    gan = tiny(stabilize_steps=1, fade_steps=2)
    gan.compile()
    levels = [gan.level]
    for _ in range(4):
        train(gan, random_images(4))
        parts = [network.get_layer("progressive") for network in (gan.generator, gan.discriminator, gan.ema_generator)]
        assert len({(int(part.stage), float(part.alpha)) for part in parts}) == 1
        levels.append(gan.level)
    assert levels == [0, 0.25, 0.75, 1, 1]


def test_critic_updates_share_a_level():
    gan = tiny(fade_steps=2)
    gan.compile(n_critic=2, run_eagerly=True)
    levels = []
    discriminate = gan.discriminate
    gan.discriminate = lambda *args, **kwargs: (levels.append(gan.level), discriminate(*args, **kwargs))[1]
    train(gan, random_images(8), batch_size=4)
    assert set(levels) == {0.25}
    assert gan.level == 0.75


# What is computed at a level.


@pytest.mark.parametrize("fade", [0, 1])
def test_fading_generator_is_the_blend_of_two_resolutions(fade):
    part, features = up()
    low, high, between = (at_level(part, level, features) for level in (fade, fade + 1, fade + 0.3))
    assert np.abs(high - low).max() > 0.01
    np.testing.assert_allclose(between, 0.7 * low + 0.3 * high, atol=1e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_generator_upsamples_the_image_of_its_stage(level):
    part, features = up()
    images = at_level(part, level, features)
    assert images.shape == (3, 8, 8, 1)
    stage = int(np.ceil(level))
    side = 2 << stage
    assert len(np.unique(images[0])) == side * side
    for _ in range(stage, 2):
        np.testing.assert_array_equal(images, doubled(halved(images)))
        images = halved(images)


def test_generator_normalises_after_each_convolution():
    part, features = up()
    x = doubled(features)
    for conv in part.convs[:2]:
        x = conv(x)
        x = x / np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + 1e-8)
    np.testing.assert_allclose(at_level(part, 1.0, features), doubled(part.to_rgb[1](x)), atol=1e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_discriminator_blends_features_of_two_resolutions(level):
    part, images = down()
    got = at_level(part, level, images)
    stage, alpha = int(np.ceil(level)), level - np.ceil(level) + 1
    for _ in range(stage, 2):
        images = halved(images)
    x = part.from_rgb[stage](images)
    for index in range(stage, 0, -1):
        x = halved(part.convs[2 * index - 1](part.convs[2 * index - 2](x)))
        if index == stage:
            x = (1 - alpha) * part.from_rgb[stage - 1](halved(images)) + alpha * x
    assert got.shape == (3, 2, 2, 4)
    np.testing.assert_allclose(got, x, atol=1e-5)


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("make", [up, down])
def test_only_the_present_stage_is_computed(make, stage):
    part, inputs = make()
    rgb = part.to_rgb if make is up else part.from_rgb
    expected = at_level(part, float(stage), inputs)
    # A NaN passes through whatever is computed, were it times zero.
    asleep = [*part.convs[2 * stage :], *rgb[stage + 1 :], *rgb[: max(stage - 1, 0)]]
    for conv in asleep:
        conv.kernel.assign(np.full(conv.kernel.shape, np.nan))

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            outputs = part(inputs)
        return outputs, tape.gradient(outputs, part.trainable_variables)

    outputs, got = gradients()
    np.testing.assert_array_equal(outputs, expected)
    sleeping = {id(weight) for conv in asleep for weight in conv.weights}
    for weight, gradient in zip(part.trainable_variables, got, strict=True):
        assert np.isfinite(gradient).all()
        if id(weight) in sleeping:
            assert not np.any(gradient), weight.path
    # At a whole level the image of the stage below has no weight.
    used = [conv.kernel for conv in (*part.convs[: 2 * stage], rgb[stage])]
    for weight, gradient in zip(part.trainable_variables, got, strict=True):
        assert np.any(gradient) == (any(weight is kernel for kernel in used)) or "bias" in weight.path


def test_real_images_fade_as_the_generators_do():
    gan = tiny(16)
    images = tf.constant(random_images(2, (16, 16, 1)))
    part = gan.discriminator.get_layer("progressive")
    for level, factor in ((0.0, 1), (1.0, 1), (0.25, 4), (1.25, 2), (2.0, 1)):
        set_level(part, level)
        coarse = images
        for _ in range(factor // 2):
            coarse = halved(coarse)
        for _ in range(factor // 2):
            coarse = doubled(coarse)
        alpha = level - np.ceil(level) + 1
        np.testing.assert_allclose(gan._blended(images), (1 - alpha) * coarse + alpha * images, atol=1e-6)


def test_discriminator_is_trained_on_the_blend():
    gan = tiny(fade_steps=2)
    gan.compile(run_eagerly=True)
    images, seen = random_images(4), []
    loss = gan.discriminator_loss
    gan.discriminator_loss = lambda play: (seen.append(play.real), loss(play))[1]
    train(gan, images)
    np.testing.assert_allclose(seen[0], 0.75 * doubled(halved(images)) + 0.25 * images, atol=1e-6)


# Gradients.


def test_gradient_penalty_has_the_gradient_of_finite_differences():
    part, images = down("float64")
    weights = part.trainable_variables
    mix = tf.random.stateless_normal((3, 2, 2, 4), (5, 6), dtype="float64")

    @tf.function
    def penalty():
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(images)
                logits = tf.reduce_sum(part(images) * mix)
            gradient = inner.gradient(logits, images)
            value = tf.reduce_mean(tf.square(tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=(1, 2, 3))) - 1.0))
        return value, outer.gradient(value, weights)

    direction = [tf.random.stateless_normal(weight.shape, (7, i), dtype="float64") for i, weight in enumerate(weights)]
    # The penalty jumps where a unit changes sides of its leaky ReLU, so the step is short.
    step = 1e-7
    for level in LEVELS:
        set_level(part, level)
        _, gradients = penalty()
        pairs = zip(gradients, direction, strict=True)
        expected = sum(float(tf.reduce_sum(a * b)) for a, b in pairs if a is not None)
        ends = []
        for move in (step, -2 * step, step):
            for weight, along in zip(weights, direction, strict=True):
                weight.assign_add(move * along)
            ends.append(float(penalty()[0]))
        assert abs(expected) > 1e-3
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(expected, rel=1e-4)


# Training, saving, precisions.


def test_resumes_in_a_fade_as_if_never_stopped(tmp_path):
    images = random_images(4)

    def fresh():
        keras.utils.set_random_seed(0)
        gan = tiny(stabilize_steps=1, fade_steps=4)
        gan.compile(run_eagerly=True)
        return gan

    through, stopped, resumed = fresh(), fresh(), fresh()
    train(through, images, epochs=3)
    train(stopped, images, epochs=2)
    assert stopped.level == 0.375
    Checkpoints(stopped, tmp_path).save()
    Checkpoints(resumed, tmp_path).restore()
    assert resumed.level == 0.375
    train(resumed, images)
    assert resumed.level == through.level == 0.625
    assert_all_close(state(resumed), state(through))


def test_saves_its_level_with_the_weights(tmp_path):
    gan = tiny(stabilize_steps=(0,), fade_steps=[4])
    gan.compile(run_eagerly=True)
    train(gan, random_images(4))
    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    assert loaded.get_config() == gan.get_config()
    assert loaded.level == gan.level == 0.375
    assert_all_close(values(loaded), values(gan))
    np.testing.assert_array_equal(loaded.sample(2), gan.sample(2))
    assert [type(term) for term in loaded.terms] == [Drift, GradientPenalty]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_trains_in_16_bit(policy):
    keras.config.set_dtype_policy(policy)
    gan = tiny()
    gan.compile(run_eagerly=True)
    before = values(gan.generator, gan.discriminator)
    for _ in range(3):
        train(gan, random_images(4))
    assert gan.generator.get_layer("progressive").compute_dtype == policy.removeprefix("mixed_")
    for weight, old in zip([*gan.generator.weights, *gan.discriminator.weights], before, strict=True):
        assert np.isfinite(weight).all()
        assert weight.dtype in ("float32", "int32")
        assert weight.name == "stage" or np.any(np.array(weight) != old), weight.path
    assert gan.judge(tf.constant(random_images(2)), ()).dtype == "float32"


@pytest.mark.slow
def test_compiles_with_xla_and_keeps_its_results():
    def trained(**kwargs):
        keras.utils.set_random_seed(0)
        gan = tiny(stabilize_steps=1, fade_steps=1)
        # The penalty's random points differ under XLA.
        gan.compile(terms=[], **kwargs)
        train(gan, random_images(4), epochs=3)
        assert gan.level == 1
        return gan

    plain, compiled = trained(run_eagerly=True), trained(jit_compile=True)
    expected, got = (values(gan.generator, gan.discriminator) for gan in (plain, compiled))
    assert_all_close(got, expected, 1e-3)


@pytest.mark.parametrize("make", [up, down])
def test_xla_computes_what_tensorflow_does(make):
    part, inputs = make()

    def gradients(inputs):
        with tf.GradientTape() as tape:
            outputs = part(inputs)
        return outputs, *tape.gradient(tf.square(outputs), part.trainable_variables)

    signature = [tf.TensorSpec((None, *inputs.shape[1:]))]
    plain, compiled = (tf.function(gradients, signature, jit_compile=jit) for jit in (False, True))
    for level in (0.3, 0.7, 2.0):
        set_level(part, level)
        assert_all_close(compiled(inputs), plain(inputs), 1e-4)


def test_defaults_are_the_papers():
    gan = tiny()
    gan.compile()
    for optimizer in (gan.g_optimizer, gan.d_optimizer):
        config = optimizer.get_config()
        assert [config[name] for name in ("beta_1", "beta_2", "epsilon")] == [0, 0.99, 1e-8]
        assert config["learning_rate"] == pytest.approx(1e-3)
    assert [(type(term).__name__, term.weight) for term in gan.terms] == [("Drift", 0.001), ("GradientPenalty", 10)]
    assert (type(gan.loss), gan.n_critic, gan.ema_decay, gan.jit_compile) == (Wasserstein, 1, 0.999, False)
    assert (gan.stabilize_steps, gan.fade_steps) == ((0,), (1,))
    assert PGGAN((8, 8, 1), channel_max=2).stabilize_steps == (50_000,)


def test_drift_holds_real_logits_near_zero():
    gan = tiny()
    real, fake = tf.constant([[1.0], [3.0]]), tf.constant([[2.0], [6.0]])
    logits = {"real": real, "fake": fake}

    def loss(**arguments):
        gan.compile(**arguments)
        step = play(real="real", fake="fake", discriminate=lambda samples, condition: {"logits": logits[samples]})
        return float(gan.discriminator_loss(step)), float(gan.generator_loss(step))

    assert loss() == pytest.approx((4 - 2 + 0.001 * 5, -4))
    assert loss(terms=[Drift(0.5)]) == pytest.approx((4 - 2 + 0.5 * 5, -4))
    assert loss(terms=[]) == (4 - 2, -4)
    assert Drift.from_config(Drift(0.5).get_config()).weight == 0.5


# The networks.


def count(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


def test_networks_have_the_sizes_of_table_2():
    with keras.StatelessScope():
        generator = pggan.build_generator((1024, 1024, 3), 512, 8192, 512)
        discriminator = pggan.build_discriminator((1024, 1024, 3), 8192, 512)

    def conv(before, after, side):
        return (side * side * before + 1) * after

    # Channels from 4x4 to 1024x1024. The table lists the last stage's toRGB and fromRGB only.
    widths = (512, 512, 512, 512, 256, 128, 64, 32, 16)
    steps = list(itertools.pairwise(widths))
    g_table = conv(512, 512, 4) + conv(512, 512, 3) + conv(16, 3, 1)
    g_table += sum(conv(before, after, 3) + conv(after, after, 3) for before, after in steps)
    d_table = conv(3, 16, 1) + conv(513, 512, 3) + conv(512, 512, 4) + conv(512, 1, 1)
    d_table += sum(conv(after, after, 3) + conv(after, before, 3) for before, after in steps)
    assert (g_table, d_table) == (23_071_507, 23_077_137)
    assert count(generator) == g_table + sum(conv(width, 3, 1) for width in widths[:-1]) == 23_079_115
    assert count(discriminator) == d_table + sum(conv(3, width, 1) for width in widths[:-1]) == 23_087_249


def test_networks_have_equalised_layers_of_unit_variance():
    keras.utils.set_random_seed(0)
    gan = PGGAN((8, 8, 1), latent_dim=64, channel_base=128)
    for network in (gan.generator, gan.discriminator):
        for weight in network.trainable_variables:
            if weight.name == "kernel":
                assert np.std(weight) == pytest.approx(1, abs=0.35), weight.path
            else:
                assert not np.any(weight), weight.path
        kernels = np.concatenate([np.ravel(v) for v in network.trainable_variables])
        assert kernels[kernels != 0].std() == pytest.approx(1, abs=0.01)
    # The generator's latents lie on a sphere: their length has no influence.
    latents = tf.random.stateless_normal((4, 64), (1, 2))
    np.testing.assert_allclose(gan.generator(3.0 * latents), gan.generator(latents), atol=1e-5)


def test_discriminator_sees_the_variety_of_its_batch():
    gan = tiny()
    images = random_images(4)
    assert np.abs(gan.discriminator(images)[0] - gan.discriminator(images[:1])[0]) > 1e-6


@pytest.mark.parametrize("side", [8, 28, 32])
def test_draws_images_of_its_side(side):
    gan = tiny(side, channel_base=32)
    assert gan.sample(2).shape == (2, side, side, 1)
    assert len(gan.stabilize_steps) == {8: 1, 28: 2, 32: 3}[side]
    start = gan.generator.get_layer("progressive").input.shape[1]
    assert start == (7 if side == 28 else 4)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"image_shape": (27, 27, 1)}, r"halve at least once, .*Received: image_shape=\(27, 27, 1\)"),
        ({"image_shape": (16, 6, 1)}, r"6x16 \(width x height\) halves not at all.*`image_size=8x16`"),
        ({"image_shape": (4, 4, 1)}, r"halves not at all.*`image_size=8`.*Received: image_shape=\(4, 4, 1\)"),
        ({"channel_base": 4}, r"no channels. Give `channel_base` of at least 8. Received: channel_base=4"),
        ({"stabilize_steps": -1}, r"`stabilize_steps` must be an integer of at least 0, or 2 of them.*Received: .*=-1"),
        ({"stabilize_steps": (1, 2, 3)}, r"fade in a stage 2 times. Received: stabilize_steps=\(1, 2, 3\)"),
        ({"fade_steps": 0}, r"`fade_steps` must be an integer of at least 1, or 2 of them.*Received: fade_steps=0"),
        ({"fade_steps": (1, 0.5)}, r"Received: fade_steps=\(1, 0.5\)"),
    ],
)
def test_refuses_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        PGGAN(**{"image_shape": (16, 16, 1), "channel_max": 2, **kwargs})


def test_the_whole_batch_of_the_paper_is_one_group():
    for arguments, size in (({}, 16), ({"group_size": 4}, 4)):
        gan = PGGAN((8, 8, 1), channel_max=2, **arguments)
        (layer,) = [layer for layer in gan.discriminator.layers if isinstance(layer, MinibatchStdDev)]
        assert layer.group_size == size
