"""What a Sampler makes of latents that move: `edit`, `styles`, and the exported signatures of both."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import LATENT_DIM, SHAPE, tiny_gan, tiny_model, tiny_networks
from test_export_files import computed, every_format, shaken

import tfgan_app as tg
from tfgan_app.base.errors import UsageError
from tfgan_app.base.latents import moved
from tfgan_app.export import SavedGAN

# What some of the models here are told.
TOLD = tg.conditions.Attributes.of({"age": [20, 30, 60, 50], "hair": ["fair", "dark", "fair", "dark"]})


def styled(num_classes=None, attributes=None):
    """A tiny StyleGAN2 whose weights all have an effect, and whose average style is not zero."""
    keras.utils.set_random_seed(0)
    gan = tiny_model("StyleGAN2", num_classes=num_classes, attributes=attributes)
    gan.compile()
    return shaken(gan)


@pytest.fixture(scope="module")
def gan():
    return styled(3)


@pytest.fixture(scope="module")
def folder(gan, tmp_path_factory):
    """Where it is exported to."""
    return gan.export(tmp_path_factory.mktemp("exported") / "1")


@pytest.fixture(scope="module", params=["gan", "saved"])
def sampler(request, gan, folder):
    return gan if request.param == "gan" else SavedGAN(folder)


def linear_gan(singular_values, activation="tanh"):
    """A GAN whose first weights have these singular values, and the directions that they belong to."""
    keras.utils.set_random_seed(0)
    num = len(singular_values)
    right, left = (np.linalg.qr(normal(rows, rows, seed=rows))[0] for rows in (num, 64))
    z = keras.Input((num,), name="latents")
    dense = keras.layers.Dense(64)
    x = keras.layers.Activation(activation)(dense(z))
    dense.kernel.assign((right * singular_values) @ left[:num])
    gan = tg.GAN(keras.Model(z, keras.layers.Reshape(SHAPE)(x)), tiny_networks()[1])
    gan.compile()
    return gan, right.T


def labels_of(sampler, num):
    return None if sampler.num_classes is None else np.arange(num) % sampler.num_classes


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# Where they move to.


def test_latents_move_by_strength_times_direction():
    z, direction = normal(3, 4), normal(4, seed=1)
    expected = z + np.array([[-1.0], [0.0], [2.5]]) * direction
    np.testing.assert_allclose(moved(z, direction, tf.constant([-1.0, 0.0, 2.5])), expected, atol=1e-6)
    np.testing.assert_allclose(moved(z, direction, 0.5), z + 0.5 * direction, atol=1e-6)


def test_styles_move_in_all_layers_or_in_those_named():
    styles, direction = normal(3, 6, 4), normal(4, seed=1)
    np.testing.assert_allclose(moved(styles, direction, 2.0), styles + 2 * direction, atol=1e-6)
    for layers in ([0, 3], [3, 0, 0]):
        expected = styles.copy()
        expected[:, [0, 3]] += 2 * direction
        np.testing.assert_allclose(moved(styles, direction, 2.0, layers), expected, atol=1e-6)
    of_each = normal(6, 4, seed=2)
    np.testing.assert_allclose(moved(styles, of_each, -1.0), styles - of_each, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "direction", "layers", "message"),
    [
        ((2, 4), (5,), None, r"`direction` must have the shape \(4,\)\. Received: \(5,\)"),
        ((2, 6, 4), (6,), None, r"`direction` must have the shape \(6, 4\) or \(4,\)\. Received: \(6,\)"),
        ((2, 6, 4), (4,), [6], r"`layers` must be of 0 to 5\. Received: \[6\]"),
        ((2, 6, 4), (4,), [], r"`layers` must be of 0 to 5\. Received: \[\]"),
        ((2, 4), (4,), [0], r"`layers` must be None: latents have none, only styles have\. Received: \[0\]"),
    ],
)
def test_what_does_not_fit_is_refused(shape, direction, layers, message):
    with pytest.raises(ValueError, match=message):
        moved(normal(*shape), normal(*direction), 1.0, layers)


# What is drawn there.


def test_styles_draw_what_their_latents_do(sampler, gan):
    z, labels = sampler.latents(3, seed=4), labels_of(sampler, 3)
    styles = sampler.styles(z, labels)
    assert styles.shape == (3, *gan.style_shape) == (3, 6, 4) and styles.dtype == np.float32
    np.testing.assert_array_equal(styles, np.repeat(styles[:, :1], 6, axis=1))
    np.testing.assert_allclose(styles, gan.styles(z, labels), atol=1e-6)
    np.testing.assert_allclose(sampler.generate(styles), sampler.generate(z, labels), atol=1e-5)
    np.testing.assert_allclose(
        sampler.generate(styles, truncation=0.5), sampler.generate(z, labels, truncation=0.5), atol=1e-5
    )
    assert np.std(sampler.generate(styles), axis=0).mean() > 1e-3
    assert sampler.generate(styles[:0]).shape == (0, 28, 28, 1)


def test_edits_are_the_samples_of_where_latents_move(sampler):
    z, labels = sampler.latents(3, seed=4), labels_of(sampler, 3)
    strengths, direction = [-1.0, 0.0, 2.0], normal(4, seed=5)
    moved_z = np.asarray(z) + np.array(strengths)[:, None] * direction
    received = sampler.edit(z, direction, strengths, labels, truncation=0.7)
    np.testing.assert_allclose(received, sampler.generate(moved_z, labels, truncation=0.7), atol=1e-5)
    styles = sampler.styles(z, labels)
    received = sampler.edit(styles, direction, 2.0, layers=[4, 5])
    expected = styles.copy()
    expected[:, 4:] += 2 * direction
    np.testing.assert_allclose(received, sampler.generate(expected), atol=1e-5)
    np.testing.assert_allclose(sampler.edit(styles, direction, 0.0), sampler.generate(z, labels), atol=1e-5)
    assert np.abs(received - sampler.generate(z, labels)).max() > 1e-3


def test_exported_signatures_edit_and_mix(gan, folder):
    signatures = tf.saved_model.load(str(folder)).signatures
    z, labels = gan.latents(3, seed=4), labels_of(gan, 3)
    given = {} if labels is None else {"labels": tf.constant(labels, tf.int32)}
    styles = signatures["styles"](latents=z, **given)["styles"]
    np.testing.assert_allclose(styles, gan.styles(z, labels), atol=1e-6)
    mixed = tf.concat([styles[:1, :2], styles[1:2, 2:]], axis=1)
    np.testing.assert_allclose(signatures["synthesize"](styles=mixed)["images"], gan.generate(mixed), atol=1e-5)
    direction, strengths = normal(6, 4, seed=5), tf.constant([-1.0, 0.0, 2.0])
    received = signatures["edit"](styles=styles, direction=tf.constant(direction), strength=strengths)["images"]
    np.testing.assert_allclose(received, gan.edit(styles, direction, strengths), atol=1e-5)
    received = signatures["synthesize_truncated"](styles=styles, truncation=tf.constant(0.5))["images"]
    np.testing.assert_allclose(received, gan.generate(z, labels, truncation=0.5), atol=1e-5)


@every_format
@pytest.mark.parametrize("signature", ["edit", "styles"])
def test_files_edit(signature, format, tmp_path):
    gan = shaken(tiny_gan(3)) if signature == "edit" else styled()
    path = gan.export(tmp_path / ("gan.onnx" if format == "onnx" else "gan.tflite"), format, signature=signature)
    z = np.array(gan.latents(2, seed=1))
    if signature == "styles":
        np.testing.assert_allclose(computed(path, signature, {"latents": z})["styles"], gan.styles(z), atol=1e-4)
        return
    arguments = {"latents": z, "direction": normal(LATENT_DIM), "strength": np.array([1.0, -2.0], np.float32)}
    labels = np.array([2, 1], np.int32)
    expected = gan.edit(z, arguments["direction"], arguments["strength"], labels)
    received = computed(path, signature, {**arguments, "labels": labels})["images"]
    np.testing.assert_allclose(received, expected, atol=1e-4)


# What there is not.


def test_models_without_styles_say_so(tmp_path):
    gan = tiny_gan()
    saved = SavedGAN(gan.export(tmp_path / "1"))
    for sampler, message in (
        (gan, "GAN has no styles: its layers take latents. StyleGAN2 has styles."),
        (saved, "This SavedModel has no styles: its model has none, or an earlier version wrote it."),
    ):
        for call in (sampler.styles, lambda z, sampler=sampler: sampler.generate(normal(2, 6, 4))):
            with pytest.raises(UsageError) as error:
                call(sampler.latents(1))
            assert str(error.value) == message
        # Latents move all the same.
        np.testing.assert_allclose(
            sampler.edit(sampler.latents(2), np.ones(LATENT_DIM), [1, -1]),
            gan.generate(np.asarray(gan.latents(2)) + np.array([[1], [-1]])),
            atol=1e-6,
        )


def test_a_saved_model_of_before_edits_all_the_same(tmp_path):
    gan = tiny_gan()
    saved = SavedGAN(gan.export(tmp_path / "1"))
    saved._module.signatures = {name: f for name, f in saved._module.signatures.items() if name != "edit"}
    assert "edit" not in saved.signatures()
    expected = gan.edit(gan.latents(2), np.ones(LATENT_DIM), 0.5)
    np.testing.assert_allclose(saved.edit(saved.latents(2), np.ones(LATENT_DIM), 0.5), expected, atol=1e-6)


def test_styles_of_another_shape_and_labels_beside_styles_are_refused(sampler):
    with pytest.raises(ValueError, match=r"Styles must have the shape \(num, 6, 4\)\. Received: \(2, 6, 5\)"):
        sampler.generate(normal(2, 6, 5))
    with pytest.raises(ValueError, match=r"Styles know their labels already: give them without\. Received: labels"):
        sampler.generate(normal(2, 6, 4), [1, 1])


# Of those that are told attributes.


@pytest.mark.parametrize("saved", [False, True], ids=["gan", "saved"])
def test_attributes_go_wherever_labels_go(saved, tmp_path):
    gan = styled(attributes=TOLD)
    sampler = SavedGAN(gan.export(tmp_path / "1")) if saved else gan
    assert sampler.style_shape == gan.style_shape and sampler.attributes == TOLD
    z, told = sampler.latents(3, seed=4), {"age": [20, 40, 60], "hair": "dark"}
    rows = TOLD.encode({"age": [20, 40, 60], "hair": ["dark"] * 3})
    styles = sampler.styles(z, attributes=told)
    np.testing.assert_allclose(styles, gan.map_styles([z, tf.constant(rows)]), atol=1e-5)
    np.testing.assert_allclose(sampler.generate(styles), sampler.generate(z, attributes=rows), atol=1e-5)
    # Where nothing is asked for, styles are those of the conditions that samples have.
    np.testing.assert_allclose(sampler.generate(sampler.styles(z)), sampler.sample(3, seed=4), atol=1e-5)
    direction, strengths = normal(4), np.float32([-1, 0, 2])
    edited = sampler.edit(z, direction, strengths, attributes=told, truncation=0.7)
    expected = sampler.generate(z + strengths[:, None] * direction, truncation=0.7, attributes=rows)
    np.testing.assert_allclose(edited, expected, atol=1e-5)
    assert np.abs(edited - sampler.edit(z, direction, strengths, truncation=0.7)).max() > 1e-3
    with pytest.raises(ValueError, match=r"Styles know their attributes already: give them without\. Received: attrib"):
        sampler.generate(styles, attributes=told)
    with pytest.raises(ValueError, match=r"`labels`: .* is told `attributes`: age \(number, 20 to 60\), hair"):
        sampler.styles(z, [0, 1, 2])


def test_signatures_of_what_is_told_attributes_take_conditions(tmp_path):
    z, direction, strength = normal(3, 4), normal(4, seed=1), np.float32([-1, 0, 2])
    rows = TOLD.in_turn(3)
    gan = styled(attributes=TOLD)
    loaded = tf.saved_model.load(str(gan.export(tmp_path / "styles")))
    received = loaded.signatures["styles"](latents=tf.constant(z), conditions=tf.constant(rows))["styles"]
    np.testing.assert_allclose(received, gan.styles(z, attributes=rows), atol=1e-5)
    keras.utils.set_random_seed(0)
    plain = tiny_model("CGAN", num_classes=None, attributes=TOLD)
    plain.compile()
    loaded = tf.saved_model.load(str(shaken(plain).export(tmp_path / "plain")))
    arguments = {"latents": z, "direction": direction, "strength": strength, "conditions": rows}
    received = loaded.signatures["edit"](**{name: tf.constant(value) for name, value in arguments.items()})["images"]
    np.testing.assert_allclose(received, plain.edit(z, direction, strength, attributes=rows), atol=1e-5)
