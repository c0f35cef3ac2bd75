"""tfgan_app.export and tfgan_app.export.loaded: SavedModels that need TensorFlow alone, and their cards."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import LATENT_DIM, SHAPE, random_images, random_labels, tiny_gan, train

import tfgan_app as tg
from tfgan_app.base.errors import UsageError
from tfgan_app.export.loaded import SavedGAN
from tfgan_app.study import summary

DATA = {
    "name": "digits",
    "split": "train",
    "num_images": 4000,
    "licence": "CC BY-SA 3.0",
    "origin": "somewhere",
    "fingerprint": "abc123",
    "value_range": [0.0, 4095.0],
    "fallback_for": "mnist",
}
RECEIPT = {
    "scores": {"fd": 12.345678, "fd_error": 0.5},
    "extractor": {"name": "tiny_cnn", "sha256": "0123456789abcdef", "feature_dim": 3},
    "real": {"name": "digits", "split": "test", "used": 100, "fallback_for": None},
    "fake": {"used": 100, "seed": 7},
}

# Runs where nothing but TensorFlow has been imported.
SERVE = """
import sys
import numpy as np
import tensorflow as tf

results = {}
for folder in sys.argv[2:]:
    module = tf.saved_model.load(folder)
    signatures = module.signatures
    names = {name: sorted(signature.structured_input_signature[1]) for name, signature in signatures.items()}
    results[folder + "/names"] = np.array(repr(names))
    labels = {"labels": tf.constant([2, 0, 1, 1, 2])} if "labels" in names["generate"] else {}
    latents = tf.reshape(tf.linspace(-2.0, 2.0, 15), (5, 3))
    images = tf.reshape(tf.linspace(0.0, 1.0, 5 * 64), (5, 8, 8, 1))
    one = {name: value[:1] for name, value in labels.items()}
    calls = {
        "serving_default": dict(latents=latents, **labels),
        "generate": dict(latents=latents, **labels),
        "generate_uint8": dict(latents=latents, **labels),
        "sample": dict(num_images=tf.constant(5), seed=tf.constant(2**40 + 7, tf.int64), **labels),
        "discriminate": dict(images=images, **labels),
    }
    for name, arguments in calls.items():
        for key, value in signatures[name](**arguments).items():
            results[f"{folder}/{name}/{key}"] = value.numpy()
    # As Keras's TFSMLayer calls it.
    results[folder + "/called"] = module.generate(latents, **labels)["images"].numpy()
    results[folder + "/one"] = signatures["generate"](latents=latents[:1], **one)["images"].numpy()
assert "tfgan_app" not in sys.modules
np.savez(sys.argv[1], **results)
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """GANs trained in bfloat16, by number of classes; their folders; and what a bare TensorFlow made of them."""
    root = tmp_path_factory.mktemp("exported")
    keras.config.set_dtype_policy("mixed_bfloat16")
    gans = {}
    for num_classes in (None, 3):
        gan = tiny_gan(num_classes, d_batch_norm=True)
        train(gan, random_images(8), random_labels(8) if num_classes else None)
        gans[num_classes] = gan, gan.export(root / str(num_classes) / "1", data=DATA, batch_size=4)
    keras.config.set_dtype_policy("float32")
    folders = [str(folder) for _, folder in gans.values()]
    (root / "serve.py").write_text(SERVE)
    command = [sys.executable, root / "serve.py", root / "results.npz", *folders]
    process = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-2000:]
    with np.load(root / "results.npz") as results:
        return gans, dict(results)


@pytest.fixture(params=[None, 3], ids=["unconditional", "conditional"])
def case(request, exported):
    gans, results = exported
    gan, folder = gans[request.param]
    prefix = f"{folder}/"
    labels = None if request.param is None else np.array([2, 0, 1, 1, 2], np.int32)
    return gan, folder, labels, {k.removeprefix(prefix): v for k, v in results.items() if k.startswith(prefix)}


def latents():
    return tf.reshape(tf.linspace(-2.0, 2.0, 15), (5, LATENT_DIM))


def test_signatures_name_their_arguments(case):
    _, _, labels, results = case
    more = [] if labels is None else ["labels"]
    assert eval(str(results["names"])) == {
        "serving_default": sorted(["latents", *more]),
        "generate": sorted(["latents", *more]),
        "generate_uint8": sorted(["latents", *more]),
        "sample": sorted(["num_images", "seed", *more]),
        "generate_truncated": sorted(["latents", "truncation", *more]),
        "edit": sorted(["latents", "direction", "strength", *more]),
        "discriminate": sorted(["images", *more]),
    }


def test_generates_the_images_of_the_average(case):
    gan, _, labels, results = case
    expected = gan.generate(latents(), labels)
    for name in ("generate", "serving_default"):
        np.testing.assert_allclose(results[f"{name}/images"], expected, atol=1e-6)
        assert results[f"{name}/images"].dtype == np.float32
    assert results["generate_uint8/images"].dtype == np.uint8
    np.testing.assert_array_equal(results["generate_uint8/images"], np.round(results["generate/images"] * 255))
    np.testing.assert_allclose(results["one"], expected[:1], atol=1e-6)
    np.testing.assert_allclose(results["called"], expected, atol=1e-6)
    np.testing.assert_allclose(results["sample/images"], gan.sample(5, 2**40 + 7, labels), atol=1e-6)


def test_discriminates_in_float32(case):
    gan, _, labels, results = case
    images = np.linspace(0, 1, 5 * 64, dtype=np.float32).reshape(5, *SHAPE)
    exact = tg.adversarial.float32_copy(gan.discriminator)
    expected = exact([2 * images - 1, labels] if labels is not None else 2 * images - 1, training=False)
    np.testing.assert_allclose(results["discriminate/logits"], expected, atol=1e-6)
    # Float32 throughout: rounding to bfloat16 would show.
    weights = [np.array(weight, np.float64) for weight in gan.discriminator.weights]
    x = (2 * images - 1).reshape(5, -1)
    if labels is not None:
        x = np.concatenate([x, weights.pop(0)[labels]], axis=1)
    kernel, gamma, beta, mean, variance, last, bias = weights
    x = (x @ kernel - mean) / np.sqrt(variance + 1.001e-5) * gamma + beta
    np.testing.assert_allclose(results["discriminate/logits"], np.where(x > 0, x, 0.2 * x) @ last + bias, atol=1e-5)


def test_saved_gan_draws_the_same(case):
    gan, folder, labels, results = case
    saved = SavedGAN(folder)
    assert saved.facts == {
        "model": "GAN",
        "modality": "images",
        "shape": [*SHAPE],
        "latent_dim": LATENT_DIM,
        "num_classes": gan.num_classes,
        "supervised": True,
        "class_names": None,
        "style_shape": None,
        "step": 2,
        "average": "decay 0.999",
        "seed": 3,
        "loss": "NonSaturating {'real_label': 0.9}",
        "terms": [],
        "augment": None,
        "parameters": [
            sum(int(np.prod(v.shape)) for v in network.trainable_variables)
            for network in (gan.generator, gan.discriminator)
        ],
    }
    assert saved.modality.shape == SHAPE
    np.testing.assert_allclose(saved.sample(7, seed=2), gan.sample(7, seed=2), atol=1e-6)
    np.testing.assert_allclose(saved.generate(latents(), labels), results["generate/images"], atol=1e-6)
    np.testing.assert_allclose(saved.sample(7, 2, truncation=0.5), gan.sample(7, 2, truncation=0.5), atol=1e-6)
    with pytest.raises(ValueError, match=r"`truncation` must be a number of at least 0\. Received: truncation=-1"):
        saved.sample(2, truncation=-1)
    of_float64 = saved.generate(latents().numpy().astype(np.float64), labels)
    np.testing.assert_array_equal(of_float64, saved.generate(latents(), labels))
    if labels is not None:
        with pytest.raises(ValueError, match="`labels` must be 2 integers from 0 to 2"):
            saved.sample(2, labels=[0, 3])
    signatures = saved._module.signatures
    saved._module.signatures = {name: f for name, f in signatures.items() if name != "generate_truncated"}
    with pytest.raises(
        UsageError, match=r"^This SavedModel has no signature `generate_truncated`: an earlier version wro"
    ):
        saved.sample(2, truncation=1)


def test_saved_gan_without_labels_refuses_them(exported):
    gans, _ = exported
    with pytest.raises(ValueError, match="unconditional"):
        SavedGAN(gans[None][1]).sample(1, labels=[0])


def test_saved_gan_wants_the_version_folder(exported, tmp_path):
    gans, _ = exported
    for folder in (gans[None][1].parent, tmp_path):
        with pytest.raises(UsageError, match=r"is not a GAN exported by this package: .*Name the version folder"):
            SavedGAN(folder)


def test_card_tells_the_facts(case):
    gan, folder, labels, _ = case
    card = (folder.parent / "README.md").read_text()
    assert not (folder / "README.md").exists()
    assert card.startswith("---\nlibrary_name: tensorflow\n")
    header = dict(line.split(": ", 1) for line in card.split("---\n")[1].splitlines())
    assert header["tags"] == "[gan, tfgan_app, gan]"
    assert header["datasets"] == '["digits"]'
    assert header["license"] == '"CC BY-SA 3.0"'
    parameters = [sum(int(np.prod(v.shape)) for v in n.trainable_variables) for n in (gan.generator, gan.discriminator)]
    kind = "unconditional" if labels is None else "conditional on 3 classes"
    for fact in (
        "# GAN trained on digits (standing in for mnist)",
        f"Draws images of shape (8, 8, 1) from 3 latents, {kind}.",
        "split train, 4,000",
        "somewhere; CC BY-SA 3.0",
        "`abc123`",
        "| Images seen | 8 (2 steps of 4) |",
        "| Stored values | 0 became black, 4095 white |",
        "| Seed | 3 |",
        "NonSaturating {'real_label': 0.9}",
        f"generator {parameters[0]:,}, discriminator {parameters[1]:,}",
        "moving average (decay 0.999)",
        f"tensorflow {tf.__version__}",
        'tf.saved_model.load("1")',
    ):
        assert fact in card


def test_the_card_tells_how_a_model_with_schedules_was_trained(tmp_path):
    gan = tiny_gan(
        terms=[tg.terms.R1(weight=tg.schedules.CosineRamp(2, 1, 10), interval=4), tg.terms.Term(weight=3.0)],
        augment=tg.augment.DiffAugment(("translation",)),
        ema_half_life=tg.schedules.CosineRamp(100, 200, 10),
    )
    saved = SavedGAN(gan.export(tmp_path / "1"))
    assert saved.facts["average"] == "half-life CosineRamp {'start': 100.0, 'end': 200.0, 'steps': 10} images"
    card = (tmp_path / "README.md").read_text()
    assert f"moving average ({saved.facts['average']})" in card
    assert "| Augmentation | DiffAugment {'seed': None, 'policy': ('translation',)} |" in card
    (line,) = [line for line in card.splitlines() if line.startswith("| Terms |")]
    assert "R1 {'weight': " in line and "CosineRamp" in line and "'interval': 4}, Term {'weight': 3.0" in line


def test_the_cards_example_runs(case, monkeypatch):
    gan, folder, _, _ = case
    monkeypatch.chdir(folder.parent)
    code = (folder.parent / "README.md").read_text().split("```python\n")[1].split("```")[0]
    scope = {}
    exec(code, scope)
    np.testing.assert_allclose(scope["images"], gan.sample(16, seed=7), atol=1e-6)


def test_card_of_a_scored_run(tmp_path):
    gan = tiny_gan()
    gan.export(tmp_path / "gan", command="tfgan-train --x=1", scores=[summary(RECEIPT)], picture="samples.png")
    card = (tmp_path / "gan" / "README.md").read_text()
    header = card.split("---\n")[1]
    assert header.endswith(
        "model-index:\n- name: GAN\n  results:\n  - task: {type: unconditional-image-generation}\n"
        '    dataset: {name: "digits", type: "digits"}\n    metrics:\n'
        '    - name: "Frechet distance (tiny_cnn)"\n      type: frechet_distance\n      value: 12.3457\n'
    )
    assert "```\ntfgan-train --x=1\n```" in card
    assert "![Samples](samples.png)" in card
    assert "- Frechet distance 12.35 ± 0.5 with features of tiny_cnn (0123456789ab; not FID)" in card
    assert "FID" not in card.replace("not FID", "")
    assert "| Images seen | not recorded |" in card
    assert 'tf.saved_model.load(".")' in card


@pytest.mark.parametrize("folder", ["gan", "gan/1"])
def test_a_foreign_readme_is_not_replaced(tmp_path, folder):
    readme = tmp_path / "gan" / "README.md"
    readme.parent.mkdir()
    readme.write_text("# Mine\n")
    with pytest.raises(
        FileExistsError, match=r"README\.md is not a model card and would be replaced\. Export to a fol"
    ):
        tiny_gan().export(tmp_path / folder)
    assert readme.read_text() == "# Mine\n"
    assert [p.name for p in readme.parent.iterdir()] == ["README.md"]


def test_export_replaces_an_earlier_one(tmp_path):
    tiny_gan().export(tmp_path / "gan" / "1")
    gan = tiny_gan(init=5)
    train(gan, random_images(4))
    gan.export(tmp_path / "gan" / "1")
    saved = SavedGAN(tmp_path / "gan" / "1")
    assert saved.facts["step"] == 1
    np.testing.assert_allclose(saved.sample(3), gan.sample(3), atol=1e-6)


def test_a_version_beside_another_shares_the_card(tmp_path):
    for version in ("1", "2"):
        tiny_gan().export(tmp_path / "gan" / version)
    assert 'tf.saved_model.load("2")' in (tmp_path / "gan" / "README.md").read_text()
    assert json.loads((tmp_path / "gan" / "1" / "assets.extra" / "gan.json").read_text())["model"] == "GAN"


def test_export_leaves_the_gan_as_it_is(tmp_path):
    gan = tiny_gan(num_classes=3)
    before = gan.sample(4, seed=1)
    gan.export(tmp_path / "gan")
    np.testing.assert_array_equal(gan.sample(4, seed=1), before)
    train(gan, random_images(4), random_labels(4))
    assert np.any(gan.sample(4, seed=1) != before)
    saved = SavedGAN(tmp_path / "gan").sample(4, seed=1)
    np.testing.assert_allclose(saved, before, atol=1e-6)
