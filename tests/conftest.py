"""What the tests share: tiny models, and the state that each test starts from."""

import keras
import numpy as np
import pytest
from keras import layers

import tfgan_app as tg

# Arguments of each exported model, small enough to train in a second.
TINY = {
    "ACGAN": {"image_shape": (28, 28, 1), "num_classes": 3, "latent_dim": 4, "base_channels": 2},
    "BigGAN": {
        "image_shape": (28, 28, 1),
        "num_classes": 3,
        "latent_dim": 6,
        "base_channels": 2,
        "embedding_dim": 3,
        "attention_at": 14,
    },
    "CGAN": {"image_shape": (28, 28, 1), "num_classes": 3, "latent_dim": 4, "base_channels": 2},
    "DCGAN": {"image_shape": (28, 28, 1), "latent_dim": 4, "base_channels": 2},
    "InfoGAN": {"image_shape": (28, 28, 1), "categories": 3, "latent_dim": 4, "base_channels": 2},
    "MLPGAN": {"image_shape": (8, 8, 1), "latent_dim": 4, "g_units": (6, 5), "d_units": (5,), "batch_norm": True},
    "PacGAN": {"image_shape": (28, 28, 1), "latent_dim": 4, "base_channels": 2},
    "ProjectionGAN": {"image_shape": (28, 28, 1), "num_classes": 3, "latent_dim": 4, "g_channels": 4, "d_channels": 4},
    "SAGAN": {"image_shape": (28, 28, 1), "num_classes": 3, "latent_dim": 4, "g_channels": 8, "d_channels": 8},
    "SNGAN": {"image_shape": (28, 28, 1), "latent_dim": 4, "g_channels": 4, "d_channels": 4},
    "WGAN": {"image_shape": (28, 28, 1), "latent_dim": 4, "base_channels": 2},
    "WGANGP": {"image_shape": (28, 28, 1), "latent_dim": 4, "g_channels": 4, "d_channels": 4},
}
LATENT_DIM = 3
SHAPE = (8, 8, 1)


def tiny_model(name, **kwargs):
    assert name in TINY, f"Give tiny arguments for {name} in conftest.py, so that the tests cover it."
    return getattr(tg.models, name)(**{"seed": 3, **TINY[name], **kwargs})


def random_images(num, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (num, *shape)).astype(np.float32)


def random_labels(num, num_classes=3):
    return (np.arange(num) % num_classes).astype(np.int32)


def tiny_networks(num_classes=None, dropout=0.0, d_batch_norm=False):
    """Dense networks of someone's own; no biases before batch normalisation, which leaves them without a gradient."""

    def inputs(name, shape):
        first = keras.Input(shape, name=name)
        x = layers.Flatten()(first)
        if num_classes is None:
            return first, x
        labels = keras.Input((), dtype="int32", name="labels")
        return [first, labels], layers.Concatenate()([x, layers.Embedding(num_classes, 2)(labels)])

    latents, x = inputs("latents", (LATENT_DIM,))
    x = layers.ReLU()(tg.layers.BatchNormalization()(layers.Dense(6, use_bias=False)(x)))
    x = layers.Reshape(SHAPE)(layers.Dense(64)(x))
    generator = keras.Model(latents, layers.Activation("tanh", dtype="float32")(x), name="generator")
    images, x = inputs("images", SHAPE)
    x = layers.Dense(6, use_bias=not d_batch_norm)(x)
    x = layers.LeakyReLU(0.2)(tg.layers.BatchNormalization()(x) if d_batch_norm else x)
    x = layers.Dropout(dropout)(x) if dropout else x
    return generator, keras.Model(images, layers.Dense(1, dtype="float32")(x), name="discriminator")


def tiny_gan(num_classes=None, dropout=0.0, d_batch_norm=False, init=0, seed=3, **compile_args):
    """A compiled GAN of `tiny_networks`; equal arguments give equal weights."""
    keras.utils.set_random_seed(init)
    gan = tg.GAN(*tiny_networks(num_classes, dropout, d_batch_norm), num_classes=num_classes, seed=seed)
    gan.compile(**compile_args)
    return gan


def tiny_extractor():
    """A network of someone's own that maps images to three features."""
    keras.utils.set_random_seed(7)
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3)], name="tiny_extractor")


def train(gan, images, labels=None, batch_size=4, **kwargs):
    return gan.fit(images, labels, batch_size=batch_size, shuffle=False, verbose=0, **kwargs)


def values(*holders):
    """Returns copies of the weights of networks, or of the variables of optimizers."""
    variables = [v for holder in holders for v in getattr(holder, "weights", None) or holder.variables]
    return [np.array(variable) for variable in variables]


def state(gan):
    """Returns copies of everything that training changes."""
    return values(gan, gan.g_optimizer, gan.d_optimizer)


def assert_all_close(got, expected, tolerance=0.0):
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(np.asarray(one, np.float64), np.asarray(other, np.float64), atol=tolerance, rtol=0)


@pytest.fixture(autouse=True)
def fresh_state():
    """Seeds a test, and undoes its dtype policy."""
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
