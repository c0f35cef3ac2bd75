"""tfgan_app.tiling: tiles that give the result of the whole, or none that is seen."""

import itertools
import tracemalloc

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfgan_app import tiling
from tfgan_app.modalities import Images
from tfgan_app.tiling import count_tiles, tiled
from tfgan_app.translator import Translator


@pytest.mark.parametrize("radius", [None, 0, 3, 9, 40])
@pytest.mark.parametrize(("multiple", "scale"), [(1, 1), (1, 2), (4, 1), (4, 3)])
def test_tiles_share_every_pixel_and_keep_their_distance(radius, multiple, scale):
    for whole in (1, 5, 16, 37, 64, 101, 250, 399):
        side = -(-whole // multiple) * multiple
        for tile in (1, 8, 33, 64, 300):
            spans = tiling._spans(side, tile, scale, multiple, radius)
            total = np.zeros(scale * side)
            for span in spans:
                total[span.first : span.first + len(span.share)] += span.share
                assert span.start % multiple == 0 and (span.share > 0).any()
                assert 0 <= span.inner.start < span.inner.stop <= scale * (span.stop - span.start)
                if radius is not None and 2 * radius <= tile:
                    assert span.start == 0 or span.inner.start >= scale * radius
                    assert span.stop == side or span.inner.stop <= scale * (span.stop - span.start - radius)
            np.testing.assert_allclose(total, 1, atol=1e-6)
            # No more than two meet anywhere.
            for one, other in zip(spans, spans[2:], strict=False):
                assert other.first >= one.first + len(one.share)


def network(*after, channels=3):
    sources = keras.Input((None, None, channels))
    x = sources
    for layer in after:
        x = layer(x)
    return keras.Model(sources, x)


def conv(filters=4, size=3, **options):
    return layers.Conv2D(filters, size, padding="same", activation="tanh", **options)


def halve():
    return conv(strides=2)


def shuffle():
    return layers.Lambda(lambda x: tf.nn.depth_to_space(x, 2))


# Networks with how far they see and what their sides must be multiples of.
BOUNDED = {
    "convolutions": (lambda: network(conv(), conv(size=5), conv(3)), 1, 1, 4),
    "dilated": (lambda: network(conv(dilation_rate=3), conv(3)), 1, 1, 4),
    "enlarging": (lambda: network(conv(), conv(12), shuffle(), conv()), 2, 1, 3),
    "strided": (lambda: network(conv(), halve(), halve(), conv(), layers.UpSampling2D(4), conv()), 1, 4, 14),
}


@pytest.mark.parametrize("kind", BOUNDED)
def test_tiles_give_what_the_whole_does(kind):
    make, scale, multiple, radius = BOUNDED[kind]
    forward = make()
    rng = np.random.default_rng(0)
    for height, width, tile in ((40, 72, 30), (64, 32, 32), (100, 96, 28), (8, 4, 60)):
        image = rng.uniform(-1, 1, (height, width, 3)).astype(np.float32)
        whole = np.asarray(forward(image[None]))[0]
        options = {"tile": tile, "scale": scale, "multiple": multiple, "radius": radius}
        bands = list(tiled(forward, image, **options))
        assert len(bands) > 1 or height < 100
        np.testing.assert_allclose(np.concatenate(bands), whole, atol=1e-5, rtol=0)
    # Less context than it sees is not enough, so that the agreement above means something.
    image = rng.uniform(-1, 1, (100, 96, 3)).astype(np.float32)
    short = np.concatenate(list(tiled(forward, image, tile=24, scale=scale, multiple=multiple, radius=0)))
    assert np.abs(short - np.asarray(forward(image[None]))[0]).max() > 1e-3


def photograph(height, width):
    """Returns a smooth picture with a flat half, as a sky, and a busy one."""
    y, x = np.mgrid[:height, :width] / 64
    busy = 0.5 * np.sin(3 * x + np.cos(2 * y)) * np.cos(4 * y)
    flat = 0.6 - 0.2 * y / y.max()
    mix = 1 / (1 + np.exp(6 * (y.max() / 2 - y)))
    grey = mix * busy + (1 - mix) * flat
    return np.stack([grey, 0.8 * grey + 0.1, grey * 0.6 - 0.2], -1).astype(np.float32)


def normalising():
    """A small generator as CycleGAN has them, which normalises each picture by itself."""
    keras.utils.set_random_seed(2)

    def block(x, filters, size=3, strides=1):
        x = layers.Conv2D(filters, size, strides, padding="same")(x)
        return layers.GroupNormalization(-1)(x)

    sources = keras.Input((None, None, 3))
    x = layers.ReLU()(block(layers.ReLU()(block(sources, 8, 7)), 16, strides=2))
    for _ in range(2):
        x = x + block(layers.ReLU()(block(x, 16)), 16)
    x = layers.ReLU()(block(layers.UpSampling2D(2, interpolation="bilinear")(x), 8))
    small = keras.initializers.RandomNormal(0, 0.02)
    last = layers.Conv2D(3, 7, padding="same", activation="tanh", kernel_initializer=small)
    return keras.Model(sources, last(x))


def seams(tiles, whole, lines):
    """Returns how much what tiles change jumps at lines, in the jumps that are about the largest elsewhere."""
    jumps = np.abs(np.diff(tiles - whole, axis=0)).mean((1, 2))
    at = np.unique(lines) - 1
    return jumps[at].max() / np.quantile(np.delete(jumps, at), 0.99)


def test_tiles_of_networks_that_see_the_whole_leave_no_seam():
    forward, image = normalising(), photograph(224, 160)
    whole = np.asarray(forward(image[None]))[0]
    for turn in (lambda x: x, lambda x: x.transpose(1, 0, 2)):
        found = {}
        for radius in (None, 0):  # 0: tiles that end where the next begins
            bands = tiled(forward, image, tile=64, multiple=2, radius=radius)
            spans = tiling._spans(turn(image).shape[0], 64, 1, 2, radius)
            lines = [edge for a, b in itertools.pairwise(spans) for edge in (b.first, a.first + len(a.share))]
            found[radius] = seams(turn(np.concatenate(list(bands))), turn(whole), lines)
        assert found[None] < 0.6 and found[0] > 4 * found[None], found


def test_memory_goes_by_a_row_of_tiles():
    seen, peaks = [], []

    def forward(part):
        seen.append(part.shape)
        return np.repeat(np.repeat(part, 2, 1), 2, 2)

    for height in (400, 3200):
        image = np.zeros((height, 256, 3), np.float32)
        tracemalloc.start()
        for band in tiled(forward, image, tile=64, scale=2, radius=8):
            assert band.shape[1:] == (512, 3)
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    assert max(shape[1] * shape[2] for shape in seen) <= 80**2
    assert peaks[1] < peaks[0] + 0.5, peaks  # the result grows by 34 MiB


def test_tiles_are_counted():
    parts = []
    image = np.zeros((90, 200, 1), np.float32)
    options = {"tile": 32, "multiple": 2, "radius": None}
    list(tiled(lambda part: parts.append(0) or part, image, **options))
    assert len(parts) == count_tiles(90, 200, **options) > 10


class Blurring(Translator):
    """Looks three pixels far, and wants sides that are multiples of 4."""

    scale, multiple, radius = 2, 4, 3

    def __init__(self):
        self.source = self.target = Images((16, 16, 3))
        self.largest = 0

    def forward(self, sources, way="translate", seed=None, labels=None):
        assert all(side % 4 == 0 for side in sources.shape[1:3])
        self.largest = max(self.largest, sources.shape[1] * sources.shape[2])
        blurred = tf.nn.avg_pool2d(sources, 7, 1, "SAME")
        return tf.repeat(tf.repeat(blurred, 2, 1), 2, 2)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 70), (50, 50), (61, 47)])
def test_a_translator_gives_the_same_in_tiles(height, width):
    translator = Blurring()
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    whole = translator.translate(images, tile=0)
    largest, translator.largest = translator.largest, 0
    assert whole.shape == (2, 2 * height, 2 * width, 3)
    np.testing.assert_allclose(translator.translate(images, tile=16), whole, atol=1e-6, rtol=0)
    assert translator.largest <= 24**2 and (translator.largest < largest) == (height * width > 200)


def test_a_translator_that_cannot_do_in_tiles_is_given_the_whole():
    translator = Blurring()
    translator.tileable = False
    translator.translate(np.zeros((1, 60, 40, 3), np.uint8), tile=16)
    assert translator.largest == 60 * 40


def test_a_translator_takes_tiles_for_large_pictures_by_itself(monkeypatch):
    translator = Blurring()
    translator.translate(np.zeros((1, 600, 700, 3), np.uint8))
    assert translator.largest == 600 * 700
    translator.largest = 0
    translator.translate(np.zeros((1, 900, 700, 3), np.uint8))
    assert 512**2 <= translator.largest <= 520**2
