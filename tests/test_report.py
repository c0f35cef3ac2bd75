"""tfgan_app.study.report: one page that needs nothing else."""

import base64
import dataclasses
import io
import math
import re

import numpy as np
import pytest
from conftest import random_images, tiny_gan
from PIL import Image

from tfgan_app.data import open_images
from tfgan_app.metrics import load_extractor
from tfgan_app.modalities import Images
from tfgan_app.study.memorisation import SupportSize, examine
from tfgan_app.study.report import power_spectrum, write_report

RECEIPT = {
    "scores": {
        **{"fd": 1.234567, "fd_error": 0.0321, "cs": 2.5, "cs_std": 0.5, "intra_fd": 2.0},
        **{f"intra_fd_{index}": index + 1.5 for index in range(10)},
    },
    "extractor": {"name": "mnist_cnn", "sha256": "ab" * 32},
    "real": {"name": "<digits>", "split": "test", "used": 40, "fallback_for": None, "class_names": list("0123456789")},
    "fake": {"used": 40, "source": "a & b"},
}


@pytest.fixture(scope="module")
def digits():
    images, _ = open_images("mnist_5k", split="test").first(80)
    return images


def test_page_holds_every_part_and_escapes_names(tmp_path, digits):
    extractor = load_extractor("mnist_cnn")
    train = open_images("mnist_5k", split="train[:100]")
    (tmp_path / "metrics.csv").write_text("step,d_loss,g_loss,val_fd,val_d_loss\n2,1.5,0.7,,1\n4,1.2,0.9,3.5,1\n")
    page = write_report(
        tmp_path / "report",
        title="<mine>",
        receipt=RECEIPT,
        samples=digits[:40],
        real=digits[40:],
        modality=Images((28, 28, 1)),
        extractor=extractor,
        memorisation=examine(digits[:40], digits[40:], train, extractor),
        history=tmp_path / "metrics.csv",
    )
    text = page.read_text()
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert headings == [
        *("Scores", "Samples", "Real images", "By class", "Losses", "Scores by step"),
        *("Nearest training images", "Spectrum"),
    ]
    assert "&lt;mine&gt;" in text and "<mine>" not in text and "<digits>" not in text and "a &amp; b" in text
    assert "<td>Frechet distance</td><td>1.235 ± 0.032</td>" in text
    assert "<td>Classifier score</td><td>2.5 ± 0.5</td>" in text
    assert re.search(r"<td>3</td><td>[\d.]+%</td><td>[\d.]+%</td><td>4.5</td>", text)
    assert "rank test z =" in text
    # Nothing is fetched: every picture is in the page, and beside it as a file.
    assert not re.search(r'(src|href)="(?!data:)', text)
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(pictures) == len(list((tmp_path / "report").glob("*.png"))) == 6
    for data in pictures:
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert len(np.unique(np.asarray(picture))) > 10


def test_page_without_distances_by_class_and_without_twins(tmp_path, digits):
    extractor = load_extractor("mnist_cnn")
    receipt = {**RECEIPT, "scores": {"fd": 1.0}}
    found = examine(digits[:10], digits[40:50], open_images("mnist_5k", split="train[:50]"), extractor)
    found = dataclasses.replace(found, support=SupportSize(math.inf, 0, 1.0))
    page = write_report(
        tmp_path,
        title="t",
        receipt=receipt,
        samples=digits[:10],
        real=digits[40:50],
        modality=Images((28, 28, 1)),
        extractor=extractor,
        memorisation=found,
    ).read_text()
    assert "<th>class</th><th>real</th><th>samples</th></tr>" in page
    assert "different images: unbounded, no two are alike; of as many real images:" in page


def test_page_of_a_gan_interpolates_and_leaves_out_what_it_has_not(tmp_path):
    gan = tiny_gan(num_classes=3)
    images = random_images(8)
    page = write_report(
        tmp_path, title="t", receipt=RECEIPT, samples=images, real=images, modality=gan.modality, sampler=gan
    )
    headings = re.findall("<h2>(.*?)</h2>", page.read_text())
    assert headings == ["Scores", "Samples", "Real images", "Interpolation", "Spectrum"]


def test_power_spectrum_finds_a_wave():
    wave = np.cos(2 * np.pi * 3 * np.arange(16) / 16)
    images = np.broadcast_to(wave[None, None, :, None], (2, 16, 16, 1))
    spectrum = power_spectrum(images)
    assert spectrum.shape == (8,) and spectrum.argmax() == 3
    assert spectrum[[0, 1, 2, 5, 6, 7]] == pytest.approx(0, abs=1e-12)
