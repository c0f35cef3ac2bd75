"""Pix2Pix, CycleGAN and StarGAN: networks as their programs have them, their losses, what is theirs alone."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_data, tiny_model
from keras import layers

import tfgan_app as tg
from tfgan_app.base.colour import luminance_grey
from tfgan_app.base.errors import UsageError
from tfgan_app.models import cycle_gan, patch_gan, pix2pix, stargan

# Networks. What PyTorch computes, as the programs call it.


def convolved(x, layer, stride=1, pad=0):
    """`torch.nn.Conv2d` on `(batch, height, width, channels)`."""
    kernel = np.asarray(layer.kernel, np.float64)
    x = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    rows, columns = ((side - size) // stride + 1 for side, size in zip(x.shape[1:3], kernel.shape, strict=False))
    found = sum(
        x[:, i : i + stride * rows : stride, j : j + stride * columns : stride][:, :rows, :columns] @ kernel[i, j]
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    )
    return found + (np.asarray(layer.bias) if layer.use_bias else 0.0)


def transposed(x, layer, pad, output_padding=0):
    """`torch.nn.ConvTranspose2d` of stride 2."""
    kernel = np.asarray(layer.kernel, np.float64)  # (height, width, out, in)
    size, (batch, rows, columns, _) = kernel.shape[0], x.shape
    full = np.zeros((batch, 2 * rows + size, 2 * columns + size, kernel.shape[2]))
    for i in range(size):
        for j in range(size):
            full[:, i : i + 2 * rows : 2, j : j + 2 * columns : 2] += x @ kernel[i, j].T
    sides = [(side - 1) * 2 + size - 2 * pad + output_padding for side in (rows, columns)]
    found = full[:, pad : pad + sides[0], pad : pad + sides[1]]
    return found + (np.asarray(layer.bias) if layer.use_bias else 0.0)


def reflected(x, pad):
    return np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)], "reflect")


def normalized(x, layer=None):
    """`torch.nn.InstanceNorm2d`."""
    x = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    return x if layer is None or not layer.affine else x * np.asarray(layer.gamma) + np.asarray(layer.beta)


def relu(x, alpha=0.0):
    return np.where(x > 0, x, alpha * x)


def parts_of(network, *kinds):
    """Returns a network's layers of some kinds in the order in which it was built, with weights that show mistakes."""
    for index, weight in enumerate(network.weights):
        weight.assign(np.random.default_rng(index).normal(0.1, 0.3, weight.shape))
    return [[layer for layer in network._flatten_layers() if isinstance(layer, kind)] for kind in kinds]


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize(("norm", "side"), [("instance", 16), ("plain", 18)])
def test_patch_gan_computes_what_the_program_does(norm, side):
    images = keras.Input((None, None, 3))
    network = keras.Model(images, patch_gan.patch_logits(images, 2, 2, norm))
    convolutions, norms = parts_of(network, layers.Conv2D, tg.layers.InstanceNormalization)
    images = pictures(2, side, side + 2, 3)
    first, second, third, last = convolutions
    x = relu(convolved(images, first, 2, 1), 0.2)
    x = relu(normalized(convolved(x, second, 2, 1), norms[0]), 0.2)
    x = relu(normalized(convolved(x, third, 1, 1), norms[1]), 0.2)
    np.testing.assert_allclose(network(images), convolved(x, last, 1, 1), atol=1e-4)
    assert network(images).shape == (2, side // 4 - 2, (side + 2) // 4 - 2, 1)


def test_u_net_computes_what_the_program_does():
    network = pix2pix.build_generator(1, 3, base_channels=2, depth=3)
    down, up, norms = parts_of(network, tg.layers.Conv2D, tg.layers.Conv2DTranspose, tg.layers.InstanceNormalization)
    source = pictures(2, 8, 16, 1)
    one = convolved(source, down[0], 2, 1)
    two = normalized(convolved(relu(one, 0.2), down[1], 2, 1), norms[0])
    x = convolved(relu(two, 0.2), down[2], 2, 1)
    x = np.concatenate([two, normalized(transposed(relu(x), up[0], 1), norms[1])], -1)
    x = np.concatenate([one, normalized(transposed(relu(x), up[1], 1), norms[2])], -1)
    np.testing.assert_allclose(network(source), np.tanh(transposed(relu(x), up[2], 1)), atol=1e-4)


def test_cycle_gans_translator_computes_what_the_program_does():
    network = cycle_gan.build_translator(3, 1, base_channels=2, blocks=1)
    convolutions, up = parts_of(network, tg.layers.Conv2D, tg.layers.Conv2DTranspose)
    source = pictures(2, 12, 8, 3)
    x = relu(normalized(convolved(reflected(source, 3), convolutions[0])))
    for layer in convolutions[1:3]:
        x = relu(normalized(convolved(x, layer, 2, 1)))
    y = relu(normalized(convolved(reflected(x, 1), convolutions[3])))
    x = x + normalized(convolved(reflected(y, 1), convolutions[4]))
    for layer in up:
        x = relu(normalized(transposed(x, layer, 1, 1)))
    np.testing.assert_allclose(network(source), np.tanh(convolved(reflected(x, 3), convolutions[5])), atol=1e-4)


def test_stargans_networks_compute_what_the_program_does():
    network = stargan.build_translator(1, 2, base_channels=2, blocks=1)
    convolutions, up, norms = parts_of(
        network, tg.layers.Conv2D, tg.layers.Conv2DTranspose, tg.layers.InstanceNormalization
    )
    source, labels = pictures(2, 8, 12, 1), np.float32([[0, 1], [1, 1]])
    norms = iter(norms)
    x = np.concatenate([source, np.broadcast_to(labels[:, None, None], (2, 8, 12, 2))], -1)
    x = relu(normalized(convolved(x, convolutions[0], 1, 3), next(norms)))
    for layer in convolutions[1:3]:
        x = relu(normalized(convolved(x, layer, 2, 1), next(norms)))
    y = relu(normalized(convolved(x, convolutions[3], 1, 1), next(norms)))
    x = x + normalized(convolved(y, convolutions[4], 1, 1), next(norms))
    for layer in up:
        x = relu(normalized(transposed(x, layer, 1), next(norms)))
    expected = np.tanh(convolved(x, convolutions[5], 1, 3))
    np.testing.assert_allclose(network([source, labels]), expected, atol=1e-4)

    critic = stargan.build_discriminator((12, 28, 1), 3, base_channels=2, number=2)
    (convolutions,) = parts_of(critic, tg.layers.Conv2D)
    images = pictures(2, 12, 28, 1)
    x = images
    for layer in convolutions[:2]:
        x = relu(convolved(x, layer, 2, 1), 0.01)
    found = critic(images)
    heads = {layer.filters: layer for layer in convolutions[2:]}
    np.testing.assert_allclose(found["logits"], convolved(x, heads[1], 1, 1), atol=1e-4)
    np.testing.assert_allclose(found["class_logits"], convolved(x, heads[3])[:, 0, 0], atol=1e-4)


def counted(network):
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


def kernels(network, kind):
    """Returns the kernels' shapes of a network's convolutions of a kind, as PyTorch has them: side, in, out."""
    found = [tuple(layer.kernel.shape) for layer in network._flatten_layers() if type(layer) is kind]
    assert all(height == width for height, width, *_ in found)
    return [(side, *(channels if kind is tg.layers.Conv2D else channels[::-1])) for side, _, *channels in found]


def sides(network, side):
    """Returns the sides of what a network's convolutions return of a square picture."""
    kinds = tg.layers.Conv2D, tg.layers.Conv2DTranspose, layers.Cropping2D
    found = [layer.output for layer in network.layers if isinstance(layer, kinds)]
    shapes = [keras.KerasTensor((1, side, side, x.shape[-1])) if x.shape.count(None) > 1 else x for x in network.inputs]
    return [x.shape[1] for x in keras.Model(network.inputs, found)(shapes)]


@pytest.fixture
def without_values():
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.backend.clear_session(free_memory=False)


def test_u_nets_have_the_published_blocks(without_values):
    network = pix2pix.build_generator(3, 3, 64, depth=8)
    widths = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    assert counted(network) == 54_413_955
    assert counted(pix2pix.build_generator(1, 3, 64, depth=8)) == 54_411_907
    assert counted(pix2pix.build_generator(3, 3, 64, depth=7)) == 41_828_995
    assert kernels(network, tg.layers.Conv2D) == [(4, a, b) for a, b in itertools.pairwise(widths)]
    assert kernels(network, tg.layers.Conv2DTranspose) == [
        (4, 512, 512),
        *[(4, 1024, 512)] * 3,
        (4, 1024, 256),
        (4, 512, 128),
        (4, 256, 64),
        (4, 128, 3),
    ]
    halves = [128, 64, 32, 16, 8, 4, 2, 1]
    assert sides(network, 256) == [*halves, *halves[-2::-1], 256]
    assert sides(network, 512) == [2 * side for side in (*halves, *halves[-2::-1], 256)]
    dropped = [layer for layer in network.layers if isinstance(layer, tg.layers.SeededDropout)]
    assert [layer.output.shape[-1] for layer in dropped] == [512] * 3


def test_patch_gans_have_the_published_blocks(without_values):
    network = pix2pix.build_discriminator(3, 3, 64, number=3)
    assert counted(network) == 2_768_705
    assert counted(pix2pix.build_discriminator(1, 2, 64, number=3)) == 2_765_633
    assert counted(pix2pix.build_discriminator(3, 3, 64, number=0)) == 9_024
    assert counted(cycle_gan.build_discriminator(3, 3, 64, number=3)) == 2 * 2_764_737
    assert kernels(network, tg.layers.Conv2D) == [
        (4, 6, 64),
        (4, 64, 128),
        (4, 128, 256),
        (4, 256, 512),
        (4, 512, 1),
    ]
    assert sides(network, 256) == [128, 64, 32, 31, 30]
    assert sides(network, 70) == [35, 17, 8, 7, 6]
    assert kernels(pix2pix.build_discriminator(3, 3, 64, number=0), tg.layers.Conv2D) == [
        (1, 6, 64),
        (1, 64, 128),
        (1, 128, 1),
    ]


def test_cycle_gans_translators_have_the_published_blocks(without_values):
    network = cycle_gan.build_translator(3, 3, 64, blocks=9)
    assert counted(network) == 11_378_179
    assert counted(cycle_gan.build_translator(3, 3, 64, blocks=6)) == 7_837_699
    assert kernels(network, tg.layers.Conv2D) == [
        (7, 3, 64),
        (3, 64, 128),
        (3, 128, 256),
        *[(3, 256, 256)] * 18,
        (7, 64, 3),
    ]
    assert kernels(network, tg.layers.Conv2DTranspose) == [(3, 256, 128), (3, 128, 64)]
    for side in (256, 128):
        up = [side // 2 + 1, side // 2, side + 1, side]  # before and after what is cropped
        assert sides(network, side) == [side, side // 2, side // 4, *[side // 4] * 18, *up, side]


def test_stargans_networks_have_the_published_blocks(without_values):
    # The published program's last convolution has no offset.
    network = stargan.build_translator(3, 5, 64, blocks=6)
    assert counted(network) == 8_430_528
    assert kernels(network, tg.layers.Conv2D) == [
        (7, 8, 64),
        (4, 64, 128),
        (4, 128, 256),
        *[(3, 256, 256)] * 12,
        (7, 64, 3),
    ]
    assert kernels(network, tg.layers.Conv2DTranspose) == [(4, 256, 128), (4, 128, 64)]
    for side in (128, 256):
        assert sides(network, side) == [side, side // 2, *[side // 4] * 13, side // 2, side, side]
    critic = stargan.build_discriminator((128, 128, 3), 5, 64, number=6)
    assert counted(critic) == 44_762_048
    widths = [3, 64, 128, 256, 512, 1024, 2048]
    down = [(4, a, b) for a, b in itertools.pairwise(widths)]
    assert sorted(kernels(critic, tg.layers.Conv2D)) == sorted([*down, (3, 2048, 1), (2, 2048, 5)])
    assert critic.output["logits"].shape == (None, 2, 2, 1)
    larger = stargan.build_discriminator((256, 256, 3), 5, 64, number=6)
    assert larger.output["logits"].shape == (None, 4, 4, 1)
    assert larger.output["class_logits"].shape == (None, 5)


# What they minimise.


def bce(logits, label):
    return np.mean(np.log1p(np.exp(logits)) - label * logits)


def logs_of(gan):
    """Returns what `evaluate` tells of a batch, and its arrays."""
    data = random_data(gan, 4)
    return gan.evaluate(*data, return_dict=True, verbose=0), data


def test_pix2pix_losses():
    gan = tiny_model("Pix2Pix", d_layers=1)
    gan.compile(run_eagerly=True)
    logs, (source, target) = logs_of(gan)
    images = np.asarray(gan.forward(tf.constant(source), seed=gan._seed("test latents", 0)))
    real, fake = (np.asarray(gan.discriminator([source, x]), np.float64) for x in (target, images))
    np.testing.assert_allclose(logs["d_loss"], bce(real, 1.0) + bce(fake, 0.0), rtol=1e-5)
    np.testing.assert_allclose(logs["g_loss"], bce(fake, 1.0), rtol=1e-5)
    np.testing.assert_allclose(logs["l1"], 100.0 * np.mean(np.abs(images - target)), rtol=1e-5)


def test_cycle_gan_losses():
    gan = tiny_model("CycleGAN")
    gan.compile(run_eagerly=True)
    logs, (a, b) = logs_of(gan)

    def translated(name, x):
        return np.asarray(gan.ema_generator.get_layer(name)(x), np.float64)

    to_b, to_a = (functools.partial(translated, name) for name in ("a_to_b", "b_to_a"))
    images, back = to_b(a), to_a(b)
    judge_a, judge_b = (gan.discriminator.get_layer(f"judge_{side}") for side in "ab")
    pairs = [(judge_a(a), judge_a(back)), (judge_b(b), judge_b(images))]
    d_loss = sum(np.mean((np.asarray(real) - 1) ** 2) + np.mean(np.square(fake)) for real, fake in pairs) / 2
    # The program's translators minimise twice this.
    g_loss = sum(np.mean((np.asarray(fake) - 1) ** 2) for _, fake in pairs) / 2

    def distance(*sides):
        return sum(np.mean(np.abs(x - y)) for x, y in sides)

    np.testing.assert_allclose(logs["d_loss"], d_loss, rtol=1e-4)
    np.testing.assert_allclose(logs["g_loss"], g_loss, rtol=1e-4)
    assert gan.adversarial_weight == 2.0
    np.testing.assert_allclose(logs["cycle"], 10.0 * distance((to_a(images), a), (to_b(back), b)), rtol=1e-4)
    np.testing.assert_allclose(logs["identity"], 5.0 * distance((to_a(a), a), (to_b(b), b)), rtol=1e-4)


@pytest.mark.parametrize("multi_label", [False, True])
def test_stargan_losses(multi_label):
    gan = tiny_model("StarGAN", multi_label=multi_label)
    gan.compile(run_eagerly=True)
    logs, (images, labels) = logs_of(gan)
    own = np.float32(labels if multi_label else np.eye(3)[labels])
    _, wanted, same = gan.draw(tf.constant(images), (tf.constant(own),), gan._seed("test latents", 0))
    wanted = np.asarray(wanted)
    np.testing.assert_array_equal(same, own)
    translator = gan.ema_generator.get_layer("translator")
    fake = np.asarray(translator([images, wanted]))
    outputs = [{name: np.asarray(x, np.float64) for name, x in gan.discriminator(x).items()} for x in (images, fake)]

    def named(found, labels):
        logits = found["class_logits"]
        if multi_label:
            return np.mean(np.sum(np.log1p(np.exp(logits)) - labels * logits, axis=1))
        return np.mean(np.log(np.exp(logits).sum(1)) - (labels * logits).sum(1))

    real, made = outputs
    np.testing.assert_allclose(logs["d_loss"], made["logits"].mean() - real["logits"].mean(), rtol=1e-4)
    np.testing.assert_allclose(logs["g_loss"], -made["logits"].mean(), rtol=1e-4)
    np.testing.assert_allclose(logs["d_class"], named(real, own), rtol=1e-4)
    np.testing.assert_allclose(logs["g_class"], named(made, wanted), rtol=1e-4)
    np.testing.assert_allclose(logs["cycle"], 10.0 * np.mean(np.abs(translator([fake, own]) - images)), rtol=1e-4)


def test_stargan_wants_the_batchs_labels_in_another_order():
    gan = tiny_model("StarGAN", num_classes=8)
    real, own = tf.zeros((8, 16, 16, 1)), tf.one_hot(range(8), 8)
    orders = [np.argmax(gan.draw(real, (own,), tf.constant([5, draw], tf.int64))[1], axis=1) for draw in (0, 1, 0)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(8))
    np.testing.assert_array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], range(8))


def test_discriminators_of_a_cycle_gan_learn_from_earlier_fakes():
    gan = tiny_model("CycleGAN", pool_size=3)
    gan.compile(run_eagerly=True)
    a, b = (tf.constant(pictures(2, 16, 16, 1, seed=seed)) for seed in range(2))
    made, shown = [], []
    for step in range(8):
        play = gan.play((a + step / 100, b), (), tf.constant([0, step], tf.int64))
        gan.iterations.assign(step)
        constant = gan.shown(play)
        np.testing.assert_array_equal(constant.real[0], play.real[0])
        made += [np.asarray(x) for x in play.fake[1]]
        shown += [np.asarray(x) for x in constant.fake[1]]
    # Every one is a fake that was made by then, the first are themselves, and later ones partly older.
    places = [[np.array_equal(x, y) for y in made].index(True) for x in shown]
    assert places[:3] == [0, 1, 2]
    assert all(place <= index for index, place in enumerate(places))
    assert any(place < index - 1 for index, place in enumerate(places))
    # Scores see what the generator makes now.
    play = gan.play((a, b), (), tf.constant([0, 0], tf.int64), training=False)
    np.testing.assert_array_equal(gan.shown(play).fake[1], play.fake[1])


def test_pix2pix_keeps_dropout_by_a_seed():
    gan = tiny_model("Pix2Pix")
    gan.compile()
    sources = (pictures(2, 64, 64, 1) + 1) / 2
    one, again, other, none = (gan.translate(sources, seed=seed) for seed in (1, 1, 2, None))
    np.testing.assert_array_equal(one, again)
    assert len({x.tobytes() for x in (one, other, none)}) == 3
    undropped = tiny_model("Pix2Pix", dropout=0.0)
    undropped.compile()
    undropped.ema_generator.set_weights(gan.ema_generator.get_weights())
    np.testing.assert_allclose(undropped.translate(sources, seed=1), none, atol=1e-5)
    assert undropped.describe()["draws"] is False


def test_colours_keep_the_lightness_of_their_source():
    gan = tiny_model("Pix2Pix", target_shape=(64, 64, 3), keep_lightness=True)
    gan.compile()
    for weight in gan.ema_generator.weights:
        weight.assign(weight * 5)  # to strong colours
    source = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1)).astype(np.uint8)
    result = np.round(255 * gan.translate(source)).astype(np.uint8)
    assert np.abs(np.ptp(result.astype(int), axis=-1)).mean() > 20
    assert np.abs(luminance_grey(result[0]).astype(int).squeeze() - source[0, ..., 0]).max() <= 1


def test_depths_and_patches_follow_the_size():
    def depth(side, **kwargs):
        return tg.models.Pix2Pix((*side, 1), (*side, 1), g_channels=1, d_channels=1, **kwargs).multiple

    assert [depth(side) for side in ((28, 28), (32, 64), (96, 96), (512, 256))] == [4, 32, 32, 256]
    assert depth((64, 64), depth=3) == 8
    assert [patch_gan.patch_layers(*side) for side in ((8, 8), (28, 28), (64, 34), (70, 256))] == [1, 1, 2, 3]
    assert [patch_gan.patch_side(number) for number in range(4)] == [1, 16, 34, 70]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_logit_sees_its_patch(number):
    images = keras.Input((None, None, 1))
    x = patch_gan.patch_logits(images, 2, number, "plain")
    network = keras.Model(images, x)
    pictures_ = tf.constant(pictures(1, 64, 64, 1))
    with tf.GradientTape() as tape:
        tape.watch(pictures_)
        # Without the norms, which see all.
        convolutions = [layer for layer in network.layers if not isinstance(layer, tg.layers.InstanceNormalization)]
        y = pictures_
        for layer in convolutions[1:]:
            y = layer(y)
        logit = y[0, y.shape[1] // 2, y.shape[2] // 2, 0]
    rows = np.flatnonzero(np.abs(tape.gradient(logit, pictures_)).sum((0, 2, 3)))
    assert rows[-1] - rows[0] + 1 == patch_gan.patch_side(number)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Pix2Pix", {"target_shape": (32, 32, 1)}, "Pix2Pix keeps a picture's size"),
        ("Pix2Pix", {"source_shape": (30, 30, 1), "target_shape": (30, 30, 1)}, "30x30 can be halved 1 times"),
        ("Pix2Pix", {"depth": 7}, "`depth`: .* depth=7"),
        ("Pix2Pix", {"norm": "layer"}, "`norm` must be instance or batch. Received: norm='layer'"),
        ("Pix2Pix", {"keep_lightness": True}, "sources have 1 channel and targets 3"),
        ("CycleGAN", {"source_shape": (18, 16, 1)}, "whose height and width are multiples of 4"),
        ("CycleGAN", {"source_shape": (4, 4, 1), "target_shape": (4, 4, 1)}, "at least 8"),
        ("CycleGAN", {"target_shape": (16, 16, 3), "identity_weight": 1.0}, "`identity_weight` must be 0"),
        ("StarGAN", {"target_shape": (32, 32, 1)}, "StarGAN's domains have pictures of one shape"),
        ("StarGAN", {"source_shape": (18, 16, 1)}, "multiples of 4"),
        ("StarGAN", {"d_layers": 5}, "`d_layers` must lie from 1 to 4"),
    ],
)
def test_what_cannot_be_built_is_refused(name, arguments, message):
    with pytest.raises(UsageError, match=message):
        tiny_model(name, **arguments)


def test_stargan_refuses_other_labels():
    gan = tiny_model("StarGAN", multi_label=True)
    gan.compile()
    images = pictures(4, 16, 16, 1)
    with pytest.raises(UsageError, match="images and their labels"):
        gan.fit(images, verbose=0)
    with pytest.raises(UsageError, match="rows of 3 attributes"):
        gan.fit(images, np.zeros(4, np.int32), verbose=0)
    with pytest.raises(UsageError, match="values from 0 to 2"):
        gan.fit(images, np.full((4, 3), [0, 1, 2]), verbose=0)
    with pytest.raises(ValueError, match=r"4 rows of 3 attributes.* Received: None"):
        gan.translate(np.zeros((4, 16, 16, 1), np.float32))
    with pytest.raises(ValueError, match=r"Received: shape \(4,\)"):
        gan.translate(np.zeros((4, 16, 16, 1), np.float32), labels=[0, 1, 0, 1])
