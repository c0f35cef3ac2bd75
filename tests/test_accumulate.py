"""`compile(accumulate=)`: one update from the parts of a batch is that of the batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import assert_all_close, random_images, state, tiny_gan, tiny_model, train, values
from keras import layers

import tfgan_app as tg
from tfgan_app.base import randomness, replicas
from tfgan_app.base.errors import UsageError


def alone(name, **arguments):
    """A model without a layer that looks at the batch, or draws."""
    batch_norm = {"batch_norm": False} if name == "MLPGAN" else {}
    keras.utils.set_random_seed(1)
    gan = tiny_model(name, **batch_norm)
    # With Adam's own epsilon rounding decides about the steps of parameters that have almost no gradient.
    optimizers = {key: tg.optimizers.Adam(1e-3, 0.5, epsilon=1e-2) for key in ("g_optimizer", "d_optimizer")}
    gan.compile(**{**optimizers, "jit_compile": False, **arguments})
    return gan


def assert_learns_alike(name, parts=4, batch_size=8, tolerance=1e-5, **arguments):
    found = []
    for accumulate in (1, parts):
        terms = {"terms": arguments["terms"]()} if "terms" in arguments else {}
        gan = alone(name, accumulate=accumulate, **{**arguments, **terms})
        images = random_images(3 * batch_size * gan.batches_a_step, gan.image_shape)
        labels = None
        history = train(gan, images, labels, batch_size=batch_size).history
        found.append((state(gan), {key: each[-1] for key, each in history.items()}))
    (one, logs), (other, other_logs) = found
    assert_all_close(other, one, tolerance)
    assert other_logs == pytest.approx(logs, rel=1e-4, abs=1e-5)


# Optimizers' slots, iterations and the moving average are compared too.


def test_parts_learn_what_the_batch_learns():
    assert_learns_alike("MLPGAN", loss=tg.losses.NonSaturating())


def test_terms_of_every_update_and_lazy_ones_count_in_parts():
    assert_learns_alike("MLPGAN", terms=lambda: [tg.terms.R1(5.0), tg.terms.GradientPenalty(1.0, interval=2)])


def test_critics_of_several_updates_take_parts_of_each_batch():
    assert_learns_alike("MLPGAN", parts=2, batch_size=4, n_critic=2, loss="hinge")


@pytest.mark.slow
def test_r3gan_learns_the_same_in_parts():
    assert_learns_alike("R3GAN", parts=2, batch_size=4)


@pytest.mark.slow
def test_labels_go_with_their_images():
    found = []
    for accumulate in (1, 3):
        keras.utils.set_random_seed(1)
        gan = tiny_model("R3GAN", num_classes=3)
        gan.compile("sgd", "sgd", accumulate=accumulate)
        train(gan, random_images(12, gan.image_shape), np.arange(12) % 3, batch_size=6)
        found.append(state(gan))
    assert_all_close(found[1], found[0], 1e-5)


def test_float16_scales_the_loss_of_parts():
    keras.config.set_dtype_policy("mixed_float16")
    found = []
    for accumulate in (1, 2):
        gan = alone("MLPGAN", accumulate=accumulate)
        before = values(gan.generator, gan.discriminator)
        train(gan, random_images(8, gan.image_shape), batch_size=8)
        found.append(values(gan.generator, gan.discriminator))
        assert float(gan.d_optimizer.dynamic_scale) > 1
    moved = [new - old for new, old in zip(found[0], before, strict=True)]
    largest = max(np.abs(x).max() for x in moved)
    assert largest > 1e-4
    assert_all_close(found[1], found[0], 0.05 * largest)


def test_parts_draw_what_the_batch_draws():
    whole = randomness.normal((6, 5), (3, 7))
    drawn = []
    for index in range(3):
        with replicas.part(index, 3):
            drawn.append(randomness.normal((2, 5), (3, 7)))
            assert replicas.num_parts() == 3 and replicas.place() == index
    assert replicas.num_parts() == 1 and replicas.place() == 0
    np.testing.assert_allclose(np.concatenate(drawn), whole, atol=1e-6)


def test_no_convolution_of_a_step_sees_more_than_a_part():
    latents, images = keras.Input((3,), name="latents"), keras.Input((4, 4, 1), name="images")
    generator = keras.Model(
        latents, layers.Conv2D(1, 3, padding="same")(layers.Reshape((4, 4, 1))(layers.Dense(16)(latents)))
    )
    discriminator, found = keras.Model(images, layers.Flatten()(layers.Conv2D(2, 3)(images))), {}
    for accumulate in (1, 4):
        gan = tg.GAN(generator, discriminator, seed=1)
        gan.compile("sgd", "sgd", accumulate=accumulate)
        graph = tf.function(gan.train_step, autograph=False).get_concrete_function(tf.TensorSpec((8, 4, 4, 1))).graph
        convolutions = [one for one in graph.get_operations() if one.type == "Conv2D"]
        found[accumulate] = {one.outputs[0].shape[0] for one in convolutions}
        # Of each part for D a pass of G and two of D, for G one of each.
        assert len(convolutions) == {1: 4, 4: 4 * 5}[accumulate]
    assert found == {1: {8}, 4: {2}}


@pytest.mark.parametrize("accumulate", [0, 1.5, -1])
def test_parts_must_be_a_number_of_them(accumulate):
    with pytest.raises(UsageError, match=f"`accumulate` must be an integer of at least 1. .*accumulate={accumulate}"):
        tiny_gan(accumulate=accumulate)


def test_parts_must_divide_the_batch():
    gan = tiny_gan(accumulate=3)
    with pytest.raises(
        UsageError, match=r"`accumulate=3` must divide the batch that a device takes\. Received: a batch of 4"
    ):
        gan.train_on_batch(random_images(4))


def test_it_is_saved(tmp_path):
    gan = tiny_gan(accumulate=2)
    gan.save(tmp_path / "gan.keras")
    assert keras.models.load_model(tmp_path / "gan.keras").accumulate == 2


def test_embeddings_add_up():
    labels, latents = keras.Input((), dtype="int32", name="labels"), keras.Input((3,), name="latents")
    images = layers.Reshape((2, 2, 1))(layers.Add()([layers.Dense(4)(latents), layers.Embedding(3, 4)(labels)]))
    generator = keras.Model([latents, labels], images)
    shown, given = keras.Input((2, 2, 1), name="images"), keras.Input((), dtype="int32", name="labels")
    logits = layers.Add()([layers.Dense(1)(layers.Flatten()(shown)), layers.Embedding(3, 1)(given)])
    discriminator, found = keras.Model([shown, given], logits), []
    start = generator.get_weights(), discriminator.get_weights()
    for accumulate in (1, 2):
        generator.set_weights(start[0])
        discriminator.set_weights(start[1])
        gan = tg.GAN(generator, discriminator, num_classes=3, seed=1)
        gan.compile("sgd", "sgd", accumulate=accumulate)
        train(gan, random_images(8, (2, 2, 1)), np.arange(8) % 3, batch_size=4)
        found.append(values(generator, discriminator))
    assert_all_close(found[1], found[0], 1e-6)
