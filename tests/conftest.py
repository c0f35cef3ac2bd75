"""What the tests share: tiny models, and the state that each test starts from."""

import dataclasses
import importlib.util
import os
import pathlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfgan_app as tg
from tfgan_app import adversarial, cli
from tfgan_app.models.inpainting import InpaintingGAN
from tfgan_app.runs import Settings

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Before TensorFlow starts: two devices, for what several of them share.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

# A row for each exported model: arguments so small that it trains in a second, and its recipes with the trainable
# parameters that their generator and discriminator must have.
FAMILY = {
    "ACGAN": (
        {"image_shape": (28, 28, 1), "num_classes": 3, "latent_dim": 4, "base_channels": 2},
        {"acgan": (661_672, 67_914), "acgan_cifar10": (1_479_528, 704_266)},
    ),
    "BigGAN": (
        {
            "image_shape": (28, 28, 1),
            "num_classes": 3,
            "latent_dim": 6,
            "base_channels": 2,
            "embedding_dim": 3,
            "attention_at": 14,
        },
        # Published: Brock et al. 2018 with 1000 classes at 128x128, by the authors' PyTorch program.
        {
            **dict.fromkeys(("biggan", "quick_labels"), (123_778, 67_810)),
            "biggan_imagenet": (70_433_988, 87_982_370),
        },
    ),
    "CGAN": (
        {"image_shape": (28, 28, 1), "num_classes": 3, "latent_dim": 4, "base_channels": 2},
        {
            "cgan": (661_672, 44_896),
            "cgan_mnist": (1_387_880, 147_488),
            "fashion_mnist": (1_387_880, 147_488),
            "mnist": (1_387_880, 147_488),
        },
    ),
    "ContextEncoder": (
        {"source_shape": (28, 28, 2), "target_shape": (28, 28, 1), "base_channels": 2, "bottleneck": 4},
        {"context_encoder": (1_673_473, 36_641), "context_encoder_imagenet": (71_130_531, 2_766_529)},
    ),
    "CycleGAN": (
        # A pool so small that the second step takes from it.
        {
            "source_shape": (16, 16, 1),
            "target_shape": (16, 16, 1),
            "g_channels": 2,
            "d_channels": 2,
            "blocks": 1,
            "pool_size": 3,
        },
        # Published: 11 378 179 for each of two translators, 2 764 737 for each of two discriminators.
        {
            **dict.fromkeys(("cycle_gan", "cycle_gan_vangogh"), (22_756_358, 5_529_474)),
            "cycle_gan_edges": (686_466, 68_802),
            "cycle_gan_slices": (22_731_266, 5_525_378),
        },
    ),
    "DCGAN": (
        {"image_shape": (28, 28, 1), "latent_dim": 4, "base_channels": 2},
        {
            **dict.fromkeys(("dcgan", "dragan", "hinge_gan", "lsgan", "relativistic_gan"), (347_072, 36_544)),
            **dict.fromkeys(("dragan_cifar10", "relativistic_gan_cifar10"), (1_068_928, 663_296)),
            "dcgan_lsun": (12_658_432, 11_036_160),
            "hinge_gan_celeba": (3_576_704, 2_765_568),
            "lsgan_lsun": (27_925_376, 11_164_416),
        },
    ),
    "DeepFillV2": (
        {
            "source_shape": (28, 28, 2),
            "target_shape": (28, 28, 1),
            "g_channels": 8,
            "d_channels": 2,
            "dilations": (2,),
        },
        {"deepfill": (341_050, 372_304), "deepfill_places": (4_052_478, 5_946_816)},
    ),
    "ESRGAN": (
        {
            "source_shape": (8, 8, 1),
            "target_shape": (16, 16, 1),
            "g_channels": 4,
            "growth": 2,
            "blocks": 1,
            "d_channels": 2,
            "pixel_weight": 0.5,
            "perceptual_weight": 0.0,
        },
        # Published: see test_superres.py.
        {
            "esrgan": (223_897, 212_233),
            "esrgan_div2k": (16_697_987, 14_499_401),
            "esrgan_real": (16_697_987, 4_376_897),
        },
    ),
    "FastGAN": (
        {"image_shape": (28, 28, 1), "latent_dim": 4, "base_channels": 2},
        # Published: see test_fastgan.py.
        {
            "fastgan": (1_264_098, 193_600),
            "fastgan_64": (9_153_668, 2_686_336),
            **dict.fromkeys(("art", "fastgan_few"), (29_127_846, 11_526_160)),
            "icons": (3_339_140, 678_144),
            "textures": (3_338_820, 677_056),
        },
    ),
    "InfoGAN": (
        {"image_shape": (28, 28, 1), "categories": 3, "latent_dim": 4, "base_channels": 2},
        {"infogan": (265_536, 440_014), "infogan_mnist": (596_608, 943_502)},
    ),
    "MLPGAN": (
        {"image_shape": (8, 8, 1), "latent_dim": 4, "g_units": (6, 5), "d_units": (5,), "batch_norm": True},
        {"mlp_gan": (1_486_352, 533_505), "mlp_gan_mnist": (1_486_352, 533_505)},
    ),
    "PGGAN": (
        # Two steps: one fades the second stage in, the other the third.
        {
            "image_shape": (28, 28, 1),
            "latent_dim": 4,
            "channel_base": 32,
            "stabilize_steps": 0,
            "fade_steps": 1,
            "group_size": 4,
        },
        {"pggan": (85_437, 38_695), "pggan_celeba_hq": (23_079_115, 23_087_249)},
    ),
    "PacGAN": (
        {"image_shape": (28, 28, 1), "latent_dim": 4, "base_channels": 2},
        {"pacgan": (347_072, 37_056), "pacgan_celeba": (3_576_704, 2_768_640)},
    ),
    "Pix2Pix": (
        # Six halvings, as of those depths that drop out.
        {"source_shape": (64, 64, 1), "target_shape": (64, 64, 1), "g_channels": 2, "d_channels": 2},
        {
            # Published: see test_translation_models.py.
            **dict.fromkeys(("pix2pix", "pix2pix_night"), (54_413_955, 2_768_705)),
            "pix2pix_colours": (7_312_706, 168_353),
            **dict.fromkeys(("pix2pix_denoise", "pix2pix_edges"), (4_164_929, 34_977)),
        },
    ),
    "ProjectionGAN": (
        {"image_shape": (28, 28, 1), "num_classes": 3, "latent_dim": 4, "g_channels": 4, "d_channels": 4},
        {"projection_gan": (244_289, 66_529), "projection_gan_imagenet": (41_996_931, 30_041_857)},
    ),
    "R3GAN": (
        {
            "image_shape": (28, 28, 1),
            "latent_dim": 4,
            "widths": (8, 4, 4),
            "cardinalities": (4, 2, 2),
            "blocks_per_stage": 1,
            "augment_p": 0.0,
        },
        # Published without labels: see test_r3gan.py.
        {"r3gan": (65_384, 61_288), "r3gan_cifar10": (20_781_952, 21_280_512)},
    ),
    "SAGAN": (
        {"image_shape": (28, 28, 1), "num_classes": 3, "latent_dim": 4, "g_channels": 8, "d_channels": 8},
        {"sagan": (245_570, 67_810), "sagan_imagenet": (42_078_852, 39_463_618)},
    ),
    "SNGAN": (
        {"image_shape": (28, 28, 1), "latent_dim": 4, "g_channels": 4, "d_channels": 4},
        # Published for these networks: see test_models.py.
        {**dict.fromkeys(("quick", "sngan"), (241_985, 66_209)), "sngan_cifar10": (4_276_739, 1_053_825)},
    ),
    "SRGAN": (
        {
            "source_shape": (8, 8, 1),
            "target_shape": (16, 16, 1),
            "g_channels": 4,
            "blocks": 1,
            "d_channels": 2,
            "d_units": 4,
            "pixel_weight": 0.5,
            "perceptual_weight": 0.0,
        },
        # Published: see test_superres.py.
        {"srgan": (157_825, 359_953), "srgan_div2k": (1_517_571, 23_565_505), "superres": (272_160, 1_474_609)},
    ),
    "StarGAN": (
        {"source_shape": (16, 16, 1), "num_classes": 3, "g_channels": 2, "d_channels": 2, "blocks": 1},
        {"stargan": (1_528_832, 177_248), "stargan_faces": (8_439_936, 44_786_624)},
    ),
    "StyleGAN2": (
        {
            "image_shape": (28, 28, 1),
            "latent_dim": 4,
            "style_dim": 4,
            "mapping_layers": 2,
            "channel_base": 56,
            "channel_max": 4,
        },
        {
            "faces": (8_389_272, 5_854_593),
            "faces_128": (24_525_213, 23_882_369),
            "faces_ffhq": (24_767_458, 24_001_089),
            "medical": (24_791_453, 26_249_856),
            "medical_dicom": (24_520_337, 23_882_113),
            "medical_patches": (8_910_274, 7_978_070),
            "satellite": (8_656_536, 6_449_024),
            "stylegan2": (74_980, 155_221),
            "stylegan2_ffhq": (30_370_060, 29_012_513),
        },
    ),
    "WGAN": (
        {"image_shape": (28, 28, 1), "latent_dim": 4, "base_channels": 2},
        {"wgan": (347_072, 36_544), "wgan_lsun": (3_576_704, 2_765_568)},
    ),
    "WGANGP": (
        {"image_shape": (28, 28, 1), "latent_dim": 4, "g_channels": 4, "d_channels": 4},
        {"wgan_gp": (241_985, 66_209), "wgan_gp_cifar10": (1_204_483, 1_053_825)},
    ),
}
LATENT_DIM = 3
SHAPE = (8, 8, 1)

# The exported models by what their generators are given: latents, or pictures.
GANS, TRANSLATORS = (
    [name for name in tg.models.__all__ if issubclass(getattr(tg.models, name), kind)]
    for kind in (tg.GAN, tg.TranslationGAN)
)


def tiny_model(name, **kwargs):
    assert name in FAMILY, f"Give {name} a row in conftest.FAMILY, so that the tests cover it."
    return getattr(tg.models, name)(**{"seed": 3, **FAMILY[name][0], **kwargs})


def random_images(num, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (num, *shape)).astype(np.float32)


def random_labels(num, num_classes=3):
    return (np.arange(num) % num_classes).astype(np.int32)


def holed(images, hidden=-1.0):
    """Makes the middle of sources a hole, where every model that fills holes may have one; returns them."""
    rows, columns = (slice(-(-side // 3), side - -(-side // 3)) for side in images.shape[1:3])
    images[..., -1] = 1.0
    images[:, rows, columns, -1] = hidden
    return images


def random_data(gan, num, seed=0):
    """Returns what a model of any kind is fitted to: images, or sources; and labels, targets or None."""
    if isinstance(gan, tg.GAN):
        labels = None if gan.num_classes is None else random_labels(num, gan.num_classes)
        return random_images(num, gan.image_shape, seed), labels
    source = random_images(num, gan.source.shape, seed)
    if gan.data == "labelled":
        return source, random_domains(gan, num)
    source = holed(source) if isinstance(gan, InpaintingGAN) else source
    return source, random_images(num, gan.target.shape, seed + 1)


def random_domains(gan, num):
    """Returns labels as a translator to many domains takes them: one of each picture, or a row of attributes."""
    if not gan.multi_label:
        return random_labels(num, gan.num_classes)
    return np.random.default_rng(2).integers(0, 2, (num, gan.num_classes)).astype(np.int32)


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


def play(judge=None, real=None, fake=None, seed=None, **facts):
    """A record of a step as terms are called with, whose discriminator is a function `judge(samples, condition)`."""
    blank = {"condition": (), "inputs": [], "outputs": fake, "generator": None}
    discriminate = facts.pop("discriminate", lambda samples, condition: {"logits": judge(samples, condition)})
    return tg.terms.Play(real, fake, discriminate=discriminate, seed=seed, **{**blank, **facts})


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


def parsed_settings(*arguments):
    """Returns the settings that the command `train` would have from flags."""
    return dataclasses.replace(cli.parsed(Settings, arguments), precision="none")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes():
    """Gives each worker, and the commands that it starts, one thread: there is a worker for each core already."""
    os.environ |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")


@pytest.fixture(autouse=True)
def fresh_state():
    """Seeds a test, and undoes its dtype policy."""
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def unallocated(monkeypatch):
    """Returns a function that builds a GAN whose weights have shapes but no values, so that any size can be counted."""

    def build(make):
        # Values are all that the EMA generator would copy.
        monkeypatch.setattr(adversarial, "float32_copy", keras.models.clone_model)
        # The end of a scope would make up for the values, and Keras keeps what lacks them in a list.
        with keras.StatelessScope(initialize_variables=False):
            return make()

    yield build
    keras.backend.clear_session(free_memory=False)


def load_benchmark(name):
    """Returns a script of `benchmarks/` as a module."""
    # Where a script's own imports are found.
    if str(ROOT / "benchmarks") not in sys.path:
        sys.path.append(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
