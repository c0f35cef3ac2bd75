"""saved_models/: what is shipped loads, is small, and scores what its card says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image

import tfgan_app as tg
from tfgan_app.export.loaded import SavedGAN, SavedTranslator
from tfgan_app.metrics import PSNR, SSIM, FrechetDistance
from tfgan_app.modalities.image_files import read_image
from tfgan_app.study import SampledFakes, score

ROOT = Path(__file__).parent.parent
FOLDERS = sorted(path.parent for path in (ROOT / "saved_models").glob("*/README.md"))

every_model = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
drawing = pytest.mark.parametrize("name", ["fashion_mnist", "mnist"])


def test_all_are_there():
    assert [folder.name for folder in FOLDERS] == ["fashion_mnist", "mnist", "superres"]


@every_model
def test_is_small_and_trained_by_a_recipe(folder):
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 12e6
    (flagfile,) = re.findall(r"--flagfile=(\S+)", (folder / "README.md").read_text())
    recipe = (ROOT / "tfgan_app" / "flags" / flagfile).read_text()
    facts = json.loads((folder / "1" / "assets.extra" / "gan.json").read_text())
    assert f"--model={facts['model']}\n" in recipe
    assert f"--train_steps={facts['step']}\n" in recipe


@drawing
def test_draws_the_samples_of_its_picture(name):
    folder = ROOT / "saved_models" / name
    gan = SavedGAN(folder / "1")
    expected = gan.picture(80, 10)[..., 0]
    with Image.open(folder / "samples.png") as picture:
        received = np.asarray(picture)[::2, ::2]
    # Other processors round otherwise in the last bits.
    assert np.mean(np.abs(expected.astype(float) - received)) < 0.5
    assert gan.sample(10, truncation=0.1).std(axis=0).mean() < gan.sample(10).std(axis=0).mean()


def test_digits_score_what_their_card_says():
    gan = SavedGAN(ROOT / "saved_models" / "mnist" / "1")
    images = tg.data.open_images("mnist_5k", split="test")
    receipt = score(SampledFakes(gan, 1000), images, [FrechetDistance("mnist_cnn")])
    card = (ROOT / "saved_models" / "mnist" / "README.md").read_text()
    (stated,) = re.findall(r"Frechet distance ([\d.]+) ± [\d.]+ with", card)
    assert receipt["scores"]["fd"] == pytest.approx(float(stated), abs=0.02)


def test_photographs_are_enlarged_better_than_by_bicubic():
    # One that nobody trained on: Grace Hopper, 512x600, in the public domain.
    photograph = read_image(Path(get_sample_data("grace_hopper.jpg", asfileobj=False)), 3) / 255
    shrink = tg.data.degradations.parse_degradation("shrink(4)")
    small = tg.data.degrade(photograph, shrink)
    enlarged = {
        "model": SavedTranslator(ROOT / "saved_models" / "superres" / "1").translate(small[None])[0],
        "bicubic": shrink.baseline(np.uint8(np.round(255 * small))) / 255,
    }
    scores = {}
    for name, picture in enlarged.items():
        for metric in (PSNR(channel="y", border=4), SSIM(channel="y", border=4)):
            metric.update_state(*(2 * x[None].astype("float32") - 1 for x in (photograph, picture)))
            scores[name, type(metric).__name__] = float(metric.result())
    assert scores["model", "PSNR"] > scores["bicubic", "PSNR"] + 0.7
    assert scores["model", "SSIM"] > scores["bicubic", "SSIM"] + 0.02
