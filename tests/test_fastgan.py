"""FastGAN: the authors' sizes, what its decoders learn from, and images of all sides."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import play, random_images, tiny_model, train, values
from keras import layers

import tfgan_app as tg
from tfgan_app.augment import Augment
from tfgan_app.base.errors import UsageError
from tfgan_app.models import fastgan


def build(side, base_channels=64, channels=3):
    """The networks without values, so that any size can be counted."""
    with keras.StatelessScope(initialize_variables=False):
        shape = (side, side, channels)
        networks = fastgan.build_generator(shape, 256, base_channels), fastgan.build_discriminator(shape, base_channels)
    return networks


def count(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


# What the authors' program counts, run with PyTorch: `Generator(ngf=64, nz=256)`, `Discriminator(ndf=64)`.
@pytest.mark.parametrize(
    ("side", "published"),
    [(256, (29_127_846, 11_526_160)), (512, (29_174_392, 11_526_496)), (1024, (29_176_512, 11_528_192))],
)
def test_published_parameter_counts(side, published):
    assert tuple(map(count, build(side))) == published
    keras.backend.clear_session(free_memory=False)


def maps(network, kind):
    return [tuple(layer.output.shape[1:]) for layer in network.layers if isinstance(layer, kind)]


def excitations(network):
    """Returns `(source, map)` of each skip-layer excitation: the sides of what scales and of what is scaled."""
    found = []
    for layer in network.layers:
        if isinstance(layer, fastgan.Excite):
            x, tensor = layer._inbound_nodes[0].input_tensors
            while tensor.shape[1] == 1:  # the excitation's own layers
                tensor = tensor._keras_history.operation._inbound_nodes[0].input_tensors[0]
            if isinstance(tensor._keras_history.operation, layers.AveragePooling2D):
                tensor = tensor._keras_history.operation._inbound_nodes[0].input_tensors[0]
            found.append((tensor.shape[1], x.shape[1]))
    return found


# The maps that the authors' networks return at 256 and 1024, from the program run with PyTorch.
G_MAPS = [(4, 1024), (8, 512), (16, 256), (32, 128), (64, 128), (128, 64), (256, 32), (512, 16), (1024, 8)]
D_MAPS = [(128, 32), (64, 64), (32, 128), (16, 256), (8, 512)]


@pytest.mark.parametrize("side", [256, 1024])
def test_feature_maps_and_excitations_are_the_authors(side):
    generator, discriminator = build(side)
    ladder = [(side, width) for side, _, width in maps(generator, fastgan.GLU)]
    # A map of side 8, 32, 128 or 512 is gated twice.
    assert ladder == [each for each in G_MAPS if each[0] <= side for _ in range(1 + (each[0] in (8, 32, 128, 512)))]
    assert [(side, width) for side, _, width in maps(discriminator, layers.Average)] == D_MAPS
    assert excitations(generator) == [(4, 64), (8, 128), (16, 256), *([(32, 512)] if side == 1024 else [])]
    assert excitations(discriminator) == [(256, 32), (128, 16), (64, 8)]
    assert {name: x.shape[1:] for name, x in discriminator.output.items()} == {
        "logits": (50,),  # 5x5 of the image and 5x5 of the small one
        "images": (side, side, 3),
        "small": (128, 128, 3),
        "features": (8, 8, 512),
        "small_features": (8, 8, 256),
        "part_features": (16, 16, 256),
    }
    keras.backend.clear_session(free_memory=False)


@pytest.mark.parametrize(
    ("side", "of_generator", "of_discriminator", "patches"),
    [
        (28, [(7, 28)], [(28, 7)], 2 * 4 * 4),
        (32, [(4, 32)], [(32, 8)], 2 * 5 * 5),
        (64, [(4, 64)], [(64, 8)], 2 * 5 * 5),
        (128, [(4, 64), (8, 128)], [(128, 16), (64, 8)], 2 * 5 * 5),
    ],
)
def test_smaller_images_shorten_the_ladder(side, of_generator, of_discriminator, patches):
    generator, discriminator = build(side, 2, channels=2)
    assert excitations(generator) == of_generator
    assert excitations(discriminator) == of_discriminator
    assert {name: x.shape[1:] for name, x in generator.output.items()} == {
        "images": (side, side, 2),
        "small": (side // 2, side // 2, 2),
    }
    assert discriminator.output["logits"].shape[1:] == (patches,)
    decoders = discriminator.get_layer("decoders").decoders
    assert [decoder.output.shape[1:] for decoder in decoders] == [(side // 2, side // 2, 2)] * 3
    keras.backend.clear_session(free_memory=False)


@pytest.mark.parametrize("shape", [(16, 16, 3), (48, 48, 3), (64, 32, 3)])
def test_other_sides_are_refused(shape):
    message = r"FastGAN draws squares of side 28, or of a power of two from 32 to 1024\. .* such as DCGAN"
    with pytest.raises(ValueError, match=message):
        tg.models.FastGAN(shape, base_channels=2)


def test_every_convolution_is_spectrally_normalised():
    gan = tiny_model("FastGAN")
    for network in (gan.generator, gan.discriminator):
        kinds = {type(layer).__name__ for layer in network._flatten_layers() if hasattr(layer, "kernel")}
        assert kinds <= {"SpectralConv2D", "SpectralDense"}


class Half(Augment):
    def call(self, images):
        return 0.5 * images


def test_decoders_learn_what_the_discriminator_saw_of_real_images():
    gan = tiny_model("FastGAN")
    gan.compile(augment=Half())
    images = random_images(4, (28, 28, 1))
    real, _ = gan.judged(tf.constant(images), [], None)
    np.testing.assert_array_equal(real["small"], images[:, ::2, ::2])
    drawn = [np.full((4, 14, 14, 1), value, np.float32) for value in (0.1, 0.2, 0.3)]
    term = fastgan.Reconstruction(gan.discriminator.get_layer("decoders"), 1.0, None)

    received = {}

    class Fixed:
        @staticmethod
        def decode(features, training):
            received.update(zip(("whole", "small", "part"), features, strict=True))
            return drawn

    term.decoders = Fixed
    record = play(real=real, seed=tf.constant([3, 4], tf.int64), discriminate=gan.discriminate)
    found = float(term(record))
    outputs = record.real_outputs
    np.testing.assert_allclose(outputs["images"], 0.5 * images, rtol=1e-6)
    # Whose quarter it was shows in the features: the image's is the same one.
    shrunk = 0.5 * images[:, ::2, ::2]
    expected = np.mean(np.abs(drawn[0] - shrunk)) + np.mean(np.abs(drawn[1] - shrunk))
    quarters = []
    for index in range(4):
        wholes, part = np.asarray(outputs["part_features"][index]), np.asarray(received["part"][index])
        places = [(y, x) for y in (0, 1) for x in (0, 1)]
        (place,) = [(y, x) for y, x in places if np.array_equal(wholes[7 * y : 7 * y + 7, 7 * x : 7 * x + 7], part)]
        quarters.append(0.5 * images[index, 14 * place[0] :][:14, 14 * place[1] :][:, :14])
    expected += np.mean(np.abs(drawn[2] - np.stack(quarters)))
    assert found == pytest.approx(expected, rel=1e-5)


def test_every_quarter_is_drawn_alike_often():
    x = tf.constant(np.kron(np.arange(4).reshape(2, 2), np.ones((2, 2)))[None, :, :, None] * np.ones((4000, 1, 1, 1)))
    quarters = np.asarray(fastgan._quarter(tf.constant([1, 2], tf.int64), x))
    assert quarters.shape == (4000, 2, 2, 1)
    assert np.ptp(quarters, axis=(1, 2)).max() == 0
    counts = np.bincount(quarters[:, 0, 0, 0].astype(int), minlength=4)
    assert np.all(np.abs(counts - 1000) < 4 * np.sqrt(4000 * 0.25 * 0.75))


def test_decoders_learn_and_are_never_called_on_fakes():
    gan = tiny_model("FastGAN")
    gan.compile(run_eagerly=True)
    decoders, calls = gan.discriminator.get_layer("decoders"), []
    decode = decoders.decode
    object.__setattr__(decoders, "decode", lambda *args: calls.append(1) or decode(*args))
    before = values(decoders)
    train(gan, random_images(8, (28, 28, 1)))
    assert len(calls) == 2  # one a step
    # A unit vector of one number stays.
    moved = [np.any(old != new) or old.shape == (1,) for old, new in zip(before, values(decoders), strict=True)]
    assert all(moved)


def test_features_are_compared_where_an_extractor_is_given(tmp_path):
    keras.utils.set_random_seed(5)
    network = keras.Sequential([keras.Input((14, 14, 1)), layers.Flatten(), layers.Dense(3)])
    network.save(tmp_path / "seen.keras")
    gan = tiny_model("FastGAN", extractor=str(tmp_path / "seen.keras"))
    gan.compile(run_eagerly=True)
    a, b = random_images(4, (14, 14, 1), 1), random_images(4, (14, 14, 1), 2)
    gan.reconstruction.prepare()
    found = float(gan.reconstruction._distance(tf.constant(a), tf.constant(b)))
    expected = np.mean(np.abs(np.asarray(network(a)) - np.asarray(network(b))))
    assert found == pytest.approx(float(expected), rel=1e-5)
    train(gan, random_images(4, (28, 28, 1)))
    with pytest.raises(UsageError, match=r"`extractor` must be vgg19, a keras\.Model or the path"):
        tiny_model("FastGAN", extractor="nowhere").reconstruction.prepare()


def test_a_saved_file_holds_the_decoders(tmp_path):
    gan = tiny_model("FastGAN")
    gan.compile(run_eagerly=True)
    train(gan, random_images(4, (28, 28, 1)))
    gan.save(tmp_path / "gan.keras")
    copy = keras.models.load_model(tmp_path / "gan.keras")
    for one, other in zip(values(gan, gan.d_optimizer), values(copy, copy.d_optimizer), strict=True):
        np.testing.assert_array_equal(one, other)
