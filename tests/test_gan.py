"""tfgan_app.gan: GANs of any two networks: drawing, saving, and what a user is told."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    GANS,
    LATENT_DIM,
    SHAPE,
    assert_all_close,
    random_images,
    random_labels,
    state,
    tiny_extractor,
    tiny_gan,
    tiny_model,
    tiny_networks,
    train,
)
from keras import layers

import tfgan_app as tg
from tfgan_app.base import latents
from tfgan_app.base.latents import draw_latents, truncate_normal

# Drawing.


def test_latents_depend_on_the_seed_alone_and_are_standard_normal():
    z = draw_latents(20_000, 5, (7, 0)).numpy()
    np.testing.assert_array_equal(z, draw_latents(20_000, 5, tf.constant([7, 0], tf.int64)))
    for other in ((8, 0), (7, 1)):
        assert np.abs(z - draw_latents(20_000, 5, other)).mean() > 0.5
    np.testing.assert_allclose(z[:3], draw_latents(3, 5, (7, 0)), atol=1e-6)
    np.testing.assert_allclose(z.mean(0), 0, atol=0.03)
    np.testing.assert_allclose(np.cov(z, rowvar=False), np.eye(5), atol=0.04)
    np.testing.assert_allclose((z**4).mean(), 3, atol=0.15)


@pytest.mark.parametrize("seed", [0, -1, 2**31 + 5, 2**40])
def test_any_integer_is_a_seed(seed):
    gan = tiny_gan()
    gan.calibrate()
    expected = (gan.ema_generator(draw_latents(2, LATENT_DIM, tf.constant([seed, 0], tf.int64))) + 1) / 2
    np.testing.assert_allclose(gan.sample(2, seed), expected, atol=1e-6)


def test_sample_draws_from_the_average_in_batches():
    gan = tiny_gan()
    train(gan, random_images(4))
    images = gan.sample(300, seed=5)
    assert images.shape == (300, *SHAPE)
    assert images.dtype == np.float32
    expected = gan.ema_generator(draw_latents(300, LATENT_DIM, (5, 0)), training=False)
    np.testing.assert_allclose(images, (expected + 1) / 2, atol=1e-6)
    assert 0 <= images.min() < 0.5 < images.max() <= 1
    np.testing.assert_array_equal(images, gan.sample(300, seed=5))
    assert np.abs(images[:9] - gan.sample(9, seed=6)).max() > 0.01
    assert gan.sample(0).shape == (0, *SHAPE)
    np.testing.assert_allclose(gan(draw_latents(300, LATENT_DIM, (5, 0))), expected, atol=1e-6)


def test_generate_takes_latents_of_numpy():
    gan = tiny_gan()
    latents = np.random.default_rng(0).normal(size=(5, LATENT_DIM))
    expected = gan.generate(tf.constant(latents, tf.float32))
    np.testing.assert_allclose(gan.generate(latents), expected, atol=1e-6)


def test_images_are_clipped_where_a_generator_is_unbounded():
    latents = keras.Input((2,), name="latents")
    wide = layers.Reshape((1, 2, 1))(layers.Rescaling(1.0)(latents))
    images = keras.Input((1, 2, 1), name="images")
    gan = tg.GAN(keras.Model(latents, wide), keras.Model(images, layers.Dense(1)(layers.Flatten()(images))))
    drawn = gan.generate(np.array([[-5.0, -0.5], [0.0, 5.0]], np.float32))
    np.testing.assert_allclose(drawn.ravel(), [0, 0.25, 0.5, 1])


def test_labels_default_to_the_classes_in_turn():
    gan = tiny_gan(num_classes=3)
    images = gan.sample(300, seed=2)
    np.testing.assert_array_equal(images, gan.sample(300, seed=2, labels=np.arange(300) % 3))
    np.testing.assert_array_equal(images, gan.sample(300, seed=2, labels=list(np.arange(300) % 3)))
    latents, labels = draw_latents(300, LATENT_DIM, (2, 0)), tf.constant(random_labels(300))
    np.testing.assert_allclose(images, (gan.ema_generator([latents, labels]) + 1) / 2, atol=1e-6)
    assert np.abs(images - gan.sample(300, seed=2, labels=(labels + 1) % 3)).max() > 0.01


# Messages.


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 3], [0, -1, 2], [[0], [1], [2]], [0.5, 1.0, 2.0]])
def test_bad_labels(labels):
    gan = tiny_gan(num_classes=3)
    with pytest.raises(ValueError, match=r"`labels` must be 3 integers from 0 to 2, one for each image\. Received: "):
        gan.sample(3, labels=labels)


def test_bad_labels_are_described():
    with pytest.raises(ValueError, match=r"Received: shape \(2,\), values 1 to 5$"):
        tiny_gan(num_classes=3).sample(2, labels=[5, 1])


def test_an_unconditional_gan_takes_no_labels():
    with pytest.raises(ValueError, match=r"GAN is unconditional\. Received: labels=\[1\]"):
        tiny_gan().sample(1, labels=[1])


@pytest.mark.parametrize("num_classes", [None, 3])
@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_number_of_inputs(num_classes, role):
    networks = list(tiny_networks(num_classes))
    wrong = tiny_networks(None if num_classes else 3)
    index = ("generator", "discriminator").index(role)
    networks[index] = wrong[index]
    want, got = (2, 1) if num_classes else (1, 2)
    with pytest.raises(
        ValueError, match=rf"`{role}` must take {want} input\(s\) for num_classes={num_classes} .* Received: {got} "
    ):
        tg.GAN(*networks, num_classes=num_classes)


def test_shapes_must_fit():
    images = keras.Input((8, 8, 3), name="images")
    discriminator = keras.Model(images, layers.Dense(1)(layers.Flatten()(images)))
    with pytest.raises(
        ValueError, match=r"draws samples of shape \(8, 8, 1\), but the discriminator takes \(8, 8, 3\)"
    ):
        tg.GAN(tiny_networks()[0], discriminator)


@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_networks_must_be_functional(role):
    class Network(keras.Model):
        pass

    networks = dict(zip(("generator", "discriminator"), tiny_networks(), strict=True)) | {role: Network()}
    with pytest.raises(ValueError, match=rf"`{role}` must be a functional keras.Model with defined inputs"):
        tg.GAN(**networks)


def test_sequential_networks_serve():
    generator = keras.Sequential([keras.Input((2,)), layers.Dense(4, activation="tanh"), layers.Reshape((2, 2, 1))])
    discriminator = keras.Sequential([keras.Input((2, 2, 1)), layers.Flatten(), layers.Dense(1)])
    gan = tg.GAN(generator, discriminator, seed=1)
    gan.compile()
    train(gan, random_images(4, (2, 2, 1)))
    assert gan.sample(3).shape == (3, 2, 2, 1)


# Saving.


def assert_goes_on_alike(one, other, images, labels):
    """Two models have equal state, and still do after two more steps."""
    assert type(one) is type(other)
    assert_all_close(state(other), state(one))
    for model in (one, other):
        train(model, images, labels)
    assert_all_close(state(other), state(one), 1e-6)
    assert int(other.iterations) == int(one.iterations) == 4


@pytest.mark.parametrize("name", ["GAN", *GANS])
def test_a_loaded_model_trains_on(tmp_path, name):
    settings = {
        "g_optimizer": keras.optimizers.RMSprop(1e-3),
        "d_optimizer": keras.optimizers.Adam(2e-3, beta_1=0.3),
        "loss": tg.losses.NonSaturating(0.8),
        "ema_decay": 0.5,
        "n_critic": 1,
    }
    if name == "GAN":
        gan = tiny_gan(**settings)
    else:
        gan = tiny_model(name)
        # Graphs are test_models.py's affair, and take ten times as long; MLPGAN's is compiled by XLA, and stays.
        gan.compile(**settings, run_eagerly=name != "MLPGAN")
    images = random_images(8 * gan.n_critic, gan.image_shape)
    labels = None if gan.num_classes is None else random_labels(len(images), gan.num_classes)
    train(gan, images, labels)
    gan.save(tmp_path / "gan.keras")
    copy = keras.models.load_model(tmp_path / "gan.keras")

    assert (type(copy.g_optimizer), type(copy.d_optimizer)) == (keras.optimizers.RMSprop, keras.optimizers.Adam)
    assert copy.d_optimizer.get_config() == gan.d_optimizer.get_config()
    assert copy.loss.get_config() == {"real_label": 0.8}
    assert (copy.ema_decay, copy.seed, copy.num_classes) == (0.5, 3, gan.num_classes)
    assert copy.jit_compile == gan.jit_compile
    np.testing.assert_array_equal(copy.sample(4, seed=1), gan.sample(4, seed=1))
    copy.run_eagerly = gan.run_eagerly
    assert_goes_on_alike(gan, copy, images, labels)


def test_a_loaded_conditional_gan_of_ones_own_networks_trains_on(tmp_path):
    gan = tiny_gan(num_classes=3)
    images, labels = random_images(8), random_labels(8)
    train(gan, images, labels)
    gan.save(tmp_path / "gan.keras")
    assert_goes_on_alike(gan, keras.models.load_model(tmp_path / "gan.keras"), images, labels)


def test_loss_scales_are_saved(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    gan = tiny_gan()
    for optimizer in (gan.g_optimizer, gan.d_optimizer):
        optimizer.dynamic_scale.assign(256.0)
    train(gan, random_images(8))
    gan.save(tmp_path / "gan.keras")
    keras.config.set_dtype_policy("float32")
    copy = keras.models.load_model(tmp_path / "gan.keras")
    for optimizer in (copy.g_optimizer, copy.d_optimizer):
        assert type(optimizer) is keras.optimizers.LossScaleOptimizer
        assert type(optimizer.inner_optimizer) is tg.optimizers.Adam
        assert float(optimizer.dynamic_scale) == 256
    assert_goes_on_alike(gan, copy, random_images(8), None)


@pytest.mark.parametrize("extractor", ["mnist_cnn", "path"])
def test_metrics_are_saved(tmp_path, extractor):
    if extractor == "path":
        extractor = str(tmp_path / "tiny.keras")
        tiny_extractor().save(extractor)
    gan = tiny_model("DCGAN") if extractor == "mnist_cnn" else tiny_gan()
    metric = tg.metrics.FrechetDistance(extractor, name="distance")
    gan.compile(metrics=[metric])
    gan.save(tmp_path / "gan.keras")
    copy = keras.models.load_model(tmp_path / "gan.keras")
    images = random_images(6, gan.image_shape)
    scores = [model.evaluate(images, verbose=0, return_dict=True)["distance"] for model in (gan, copy)]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-6)


def test_a_metric_with_an_extractor_in_memory_refuses_to_be_saved(tmp_path):
    gan = tiny_gan(metrics=[tg.metrics.FrechetDistance(tiny_extractor())])
    with pytest.raises(ValueError, match="cannot be saved: its feature extractor tiny_extractor is held in memory"):
        gan.save(tmp_path / "gan.keras")


def test_integer_images_are_refused():
    with pytest.raises(ValueError, match=r"floating point in \[-1, 1\].*Received: uint8"):
        train(tiny_gan(), np.zeros((4, *SHAPE), np.uint8))


def test_an_uncompiled_gan_is_saved(tmp_path):
    gan = tg.GAN(*tiny_networks(), seed=9)
    gan.save(tmp_path / "gan.keras")
    copy = keras.models.load_model(tmp_path / "gan.keras")
    np.testing.assert_array_equal(copy.sample(3), gan.sample(3))
    assert not copy.compiled


def test_weights_alone_are_saved(tmp_path):
    gan = tiny_gan()
    train(gan, random_images(8))
    gan.save_weights(tmp_path / "gan.weights.h5")
    copy = tiny_gan(init=9)
    copy.load_weights(tmp_path / "gan.weights.h5")
    assert_goes_on_alike(gan, copy, random_images(8), None)


# Truncation.


def test_truncated_latents_follow_the_truncated_normal():
    latents = draw_latents(20_000, 1, (3, 0))
    truncated = np.sort(np.ravel(truncate_normal(latents, 0.8)))
    assert -0.8 <= truncated[0] < -0.79 < 0.79 < truncated[-1] <= 0.8
    # Its distribution function, (Phi(t) - Phi(-0.8)) / (Phi(0.8) - Phi(-0.8)), at the sample's quantiles.
    phi = [0.5 * (1 + math.erf(t / math.sqrt(2))) for t in truncated]
    low, high = (0.5 * (1 + math.erf(t / math.sqrt(2))) for t in (-0.8, 0.8))
    quantiles = (np.arange(20_000) + 0.5) / 20_000
    assert np.abs((np.array(phi) - low) / (high - low) - quantiles).max() < 0.015
    order = np.argsort(np.ravel(latents))
    assert np.diff(np.ravel(truncate_normal(latents, 0.8))[order]).min() > -1e-6
    # Far out it changes nothing, and nothing is infinite.
    np.testing.assert_allclose(truncate_normal(latents, 20.0), latents, atol=1e-2)
    assert np.isfinite(truncate_normal(tf.constant([[30.0, -30.0]]), 20.0)).all()


def test_truncation_is_exact_to_the_tails():
    points = np.linspace(-4, 4, 20_001).astype(np.float32)
    exact = np.vectorize(math.erf)(points.astype(np.float64))
    np.testing.assert_allclose(latents._erf(tf.constant(points)), exact, atol=5e-7)
    values = np.concatenate([np.linspace(-0.9999, 0.9999, 20_001), 1 - np.logspace(-6, -1, 100)]).astype(np.float32)
    exact = tf.math.erfinv(tf.constant(values, tf.float64))
    np.testing.assert_allclose(latents._erfinv(tf.constant(values)), exact, rtol=1e-6, atol=1e-7)
    assert np.isfinite(latents._erfinv(tf.constant([-1.0, 1.0]))).all()


def test_samples_truncated():
    gan = tiny_gan(num_classes=3)
    latents = draw_latents(6, LATENT_DIM, (7, 0))
    labels = np.arange(6) % 3
    expected = gan.generate(truncate_normal(latents, 0.5), labels)
    np.testing.assert_allclose(gan.sample(6, seed=7, truncation=0.5), expected, atol=1e-6)
    assert np.abs(gan.sample(6, seed=7) - expected).max() > 1e-3
    average = gan.sample(6, seed=7, truncation=0)
    np.testing.assert_allclose(average[:3], average[3:], atol=1e-6)
    for truncation in (-1, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"must be a number of at least 0. Received: truncation={truncation}"):
            gan.sample(1, truncation=truncation)
