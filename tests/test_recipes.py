"""tfgan_app/flags: every recipe trains, and its networks have the right size."""

import dataclasses

import numpy as np
import pytest
from conftest import FAMILY, parsed_settings, random_images, random_labels, tiny_model

import tfgan_app as tg
from tfgan_app import cli, runs
from tfgan_app.runs import build

RECIPES = sorted(path.stem for path in cli.RECIPES.glob("*.flags"))

# Images of the data sets that recipes name: shape as they come (None: of many sizes), channels, classes.
DATASETS = {
    "celeb_a": (None, 3, None),
    "celeb_a_hq/1024": (1024, 3, None),
    "cifar10": (32, 3, 10),
    "colorectal_histology": (150, 3, 8),
    "eurosat/rgb": (64, 3, 10),
    "fashion_mnist": (28, 1, 10),
    "ffhq": (1024, 3, None),
    "imagenet2012": (None, 3, 1000),
    "lsun/bedroom": (None, 3, None),
    "lsun/church_outdoor": (None, 3, None),
    "mnist": (28, 1, 10),
    "patch_camelyon": (96, 3, 2),
    "places365_small": (256, 3, 365),
    # Of one's own.
    "path/to/dicom": (None, 1, None),
    "path/to/ffhq": (None, 3, None),
    "path/to/icons": (None, 4, None),
    "path/to/paintings": (None, 3, None),
    "path/to/textures": (None, 3, None),
    # Of translators.
    "cycle_gan/horse2zebra": (256, 3, None),
    "cycle_gan/vangogh2photo": (256, 3, None),
    "div2k/bicubic_x4": (None, 3, None),
    "path/to/faces": (None, 3, 8),
    "path/to/night2day": (None, 3, None),
    "path/to/pairs": (None, 3, None),
    "path/to/photographs": (None, 3, None),
    "path/to/pictures": (None, 3, None),
    "path/to/slices": (None, 1, None),
}
# By how much the targets of a set are larger than its sources.
SCALES = {"div2k/bicubic_x4": 4}


def settings_of(recipe):
    return parsed_settings(f"--flagfile={cli.RECIPES / recipe}.flags")


def images_of(settings):
    """Returns what `build_gan` is told of a recipe's images."""
    side, channels, classes = DATASETS[settings.dataset]
    side, channels = settings.crop or settings.image_size or side, settings.channels or channels
    if build.data_of(settings) == "images":
        return {"image_shape": (side, side, channels), "num_classes": classes}
    scale, depth = SCALES.get(settings.dataset, 1), channels
    if settings.degrade:
        degradation = tg.data.degradations.parse_degradation(settings.degrade)
        scale, depth = degradation.scale, degradation.channels(channels)
    source_shape = (side // scale, side // scale, depth)
    return {"image_shape": (side, side, channels), "num_classes": None, "source_shape": source_shape}


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_trains(recipe):
    settings = settings_of(recipe)
    # Everything but the width, the side of the images and the batch is the recipe's.
    of = images_of(settings)
    tiny = {name: value for name, value in FAMILY[settings.model][0].items() if name not in build.GIVEN}
    kept = [text for text in settings.model_arg if text.startswith(("keep_lightness", "central", "discriminator"))]
    arguments = (*(f"{name}={value!r}" for name, value in tiny.items()), *kept)
    settings = dataclasses.replace(settings, model_arg=arguments, latent_dim=None, jit_compile="false")
    shapes = {"image_shape": (28, 28, of["image_shape"][-1]), "num_classes": of["num_classes"] and 3}
    if "source_shape" in of:
        scale = of["image_shape"][0] // of["source_shape"][0]
        side = 64 if kept == ["central=True"] else 32
        shapes["image_shape"] = (side, side, of["image_shape"][-1])
        shapes["source_shape"] = (side // scale, side // scale, of["source_shape"][-1])
    gan = runs.build_gan(settings, **shapes, run_eagerly=True)
    assert gan.terms or not hasattr(gan, "translate")
    num = 4 * gan.batches_a_step
    images = random_images(num, shapes["image_shape"])
    if "source_shape" in shapes:
        sources = random_images(num, shapes["source_shape"])
        if sources.shape[-1] in (2, 4):  # a hole in the middle
            sources[..., -1] = 1
            middle = slice(3 * side // 8, 5 * side // 8)
            sources[:, middle, middle, -1] = -1
        batch = sources, images
    else:
        batch = images, None if gan.num_classes is None else random_labels(num, gan.num_classes)
    logs = gan.fit(*batch, batch_size=4, verbose=0, shuffle=False).history
    assert int(gan.iterations) == 1
    assert all(np.isfinite(values).all() for values in logs.values())


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_has_networks_of_the_right_size(recipe, unallocated):
    settings = settings_of(recipe)
    gan = unallocated(lambda: runs.build_model(settings, **images_of(settings)))
    counts = (
        sum(int(np.prod(v.shape)) for v in network.trainable_variables)
        for network in (gan.generator, gan.discriminator)
    )
    assert tuple(counts) == FAMILY[settings.model][1][recipe]


def test_labels_are_smoothed_for_two_cores_only():
    smoothed, defaults = [], {name: tiny_model(name).compile_defaults() for name in FAMILY}
    for recipe in RECIPES:
        settings = settings_of(recipe)
        loss = {"loss": tg.losses.NonSaturating()} | defaults[settings.model]
        loss = getattr(tg.losses, settings.loss)() if settings.loss else loss["loss"]
        label = settings.real_label or getattr(loss, "real_label", 1.0)
        smoothed += [recipe] if label != 1.0 else []
    assert smoothed == ["acgan", "cgan", "dcgan", "dragan", "fashion_mnist", "infogan", "mlp_gan", "mnist", "pacgan"]


def test_every_row_is_used():
    assert sorted(FAMILY) == sorted(tg.models.__all__)
    assert sorted(recipe for _, recipes in FAMILY.values() for recipe in recipes) == RECIPES


def test_every_model_has_a_recipe_for_two_cores_and_one_of_its_paper():
    for name, (_, recipes) in FAMILY.items():
        data = [settings_of(recipe).dataset for recipe in recipes]
        assert "fashion_mnist" in data, name
        assert len(set(data)) > 1, name
