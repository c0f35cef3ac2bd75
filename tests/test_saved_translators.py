"""SavedModels of translators: with TensorFlow alone, loaded here, as one file, and on their cards."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from commands import outputs, run, start
from keras import layers
from PIL import Image

import tfgan_app as tg
from tfgan_app.base.errors import UsageError
from tfgan_app.export import SavedGAN, SavedTranslator, open_saved
from tfgan_app.export.formats import ENDINGS
from tfgan_app.runs.record import open_trained

SIZES = ((1, 1), (4, 6), (9, 5), (30, 41))

SERVE = """
import sys
import numpy as np
import tensorflow as tf

module = tf.saved_model.load(sys.argv[1])
results = {}
with np.load(sys.argv[2]) as pictures:
    for name, picture in pictures.items():
        for signature in ("translate", "serving_default"):
            results[f"{signature}/{name}"] = module.signatures[signature](images=tf.constant(picture / 255, tf.float32))["images"]
        results[f"translate_uint8/{name}"] = module.translate_uint8(images=picture)["images"]
        seeded = module.signatures["translate_seeded"](images=tf.constant(picture / 255, tf.float32), seed=tf.constant(5, tf.int64))
        results[f"translate_seeded/{name}"] = seeded["images"]
assert "tfgan_app" not in sys.modules
np.savez(sys.argv[3], **results)
"""  # noqa: E501


@keras.saving.register_keras_serializable("test_saved_translators")
class Shift(layers.Layer):
    """Adds a number that goes by a seed; none where that is negative."""

    def call(self, inputs):
        x, seed = inputs
        shift = tf.random.stateless_uniform((), seed, -0.2, 0.2)
        return x + tf.cast(tf.where(seed[0] < 0, 0.0, shift), x.dtype)


def build(scale=2):
    """A translator that draws, of colours with opacity to colours, twice as large, by halves."""
    keras.utils.set_random_seed(3)
    sources = keras.Input((None, None, 4), name="source")
    seed = keras.Input(batch_shape=(2,), dtype="int64", name="seed")
    x = layers.Conv2D(4, 3, 2, padding="same", activation="relu")(sources)
    x = layers.UpSampling2D(2 * scale)(Shift()([x, seed]))
    generator = keras.Model([sources, seed], layers.Conv2D(3, 3, padding="same", activation="tanh", dtype="float32")(x))
    targets = keras.Input((8 * scale, 8 * scale, 3), name="target")
    discriminator = keras.Model(targets, layers.Conv2D(1, 3, 2, padding="same", dtype="float32")(targets))
    gan = tg.TranslationGAN(generator, discriminator, source_shape=(8, 8, 4), multiple=2)
    gan.compile()
    return gan


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    gan, folder = build(), tmp_path_factory.mktemp("exported") / "1"
    return gan, gan.export(folder)


def pictures():
    rng = np.random.default_rng(0)
    return {f"{height}x{width}": rng.integers(0, 256, (2, height, width, 4), np.uint8) for height, width in SIZES}


def test_tensorflow_alone_translates_any_size(exported, tmp_path):
    gan, folder = exported
    np.savez(tmp_path / "in.npz", **pictures())
    (tmp_path / "serve.py").write_text(SERVE, encoding="utf-8")
    command = [sys.executable, tmp_path / "serve.py", folder, tmp_path / "in.npz", tmp_path / "out.npz"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-2000:]
    with np.load(tmp_path / "out.npz") as results:
        for name, picture in pictures().items():
            expected = gan.translate(picture)
            assert expected.shape == (2, *(2 * side for side in picture.shape[1:3]), 3)
            for signature in ("translate", "serving_default"):
                np.testing.assert_allclose(results[f"{signature}/{name}"], expected, atol=1e-5)
            np.testing.assert_allclose(results[f"translate_uint8/{name}"], expected * 255, atol=0.51)
            np.testing.assert_allclose(results[f"translate_seeded/{name}"], gan.translate(picture, seed=5), atol=1e-5)


def test_a_loaded_one_is_the_same_translator(exported):
    gan, folder = exported
    loaded = open_saved(folder)
    assert isinstance(loaded, SavedTranslator) and isinstance(open_trained(None, str(folder), "last"), SavedTranslator)
    facts = ("scale", "multiple", "radius", "ways", "draws", "num_classes", "keeps_colours", "tileable")
    assert [getattr(loaded, name) for name in facts] == [getattr(gan, name) for name in facts]
    assert (loaded.source.shape, loaded.target.shape) == ((8, 8, 4), (16, 16, 3))
    assert set(loaded.signatures()) == set(gan.signatures())
    found = set()
    for seed in (0, 5, None):
        for name, picture in pictures().items():
            translated = loaded.translate(picture, seed=seed)
            np.testing.assert_allclose(translated, gan.translate(picture, seed=seed), atol=1e-5)
            found.add((name, translated.tobytes()))
    assert len(found) == 3 * len(SIZES)
    large = np.random.default_rng(0).integers(0, 256, (1, 60, 50, 4), np.uint8)
    np.testing.assert_allclose(loaded.translate(large, tile=16), gan.translate(large, tile=16), atol=1e-5)


def test_what_draws_is_loaded_as_before():
    assert isinstance(open_saved("saved_models/mnist/1"), SavedGAN)


def test_facts_that_do_not_fit_have_their_message(exported, tmp_path):
    _, folder = exported
    facts = json.loads((folder / "assets.extra" / "gan.json").read_text(encoding="utf-8"))
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"")
    for change, message in (
        ({"scale": "2"}, "does not describe a translator: its 'scale' is str"),
        ({"source_shape": [0, 8, 4]}, "does not describe a translator: it has no 'source_shape'"),
        ({}, "cannot be loaded as a SavedModel"),
    ):
        (tmp_path / "assets.extra" / "gan.json").write_text(json.dumps({**facts, **change}), encoding="utf-8")
        with pytest.raises(UsageError, match=message):
            open_saved(tmp_path)


def test_the_card_says_how_to_translate(exported):
    _, folder = exported
    text = (folder.parent / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: image-to-image" in text and "latents" not in text
    assert "Makes pictures of 3 channels, 2 times as high and wide of pictures of 4, of any height and width." in text
    assert "| images | float32 | (batch, height, width, 4) | in [0, 1] |" in text
    assert "| returns images | float32 | (batch, 2 height, 2 width, 3) | in [0, 1] |" in text
    assert "`translate_seeded` takes a `seed` (int64) beside" in text


def test_the_code_of_the_card_runs(exported, tmp_path):
    _, folder = exported
    card = (folder.parent / "README.md").read_text(encoding="utf-8")
    code = card.split("```python\n")[1].split("```")[0].replace('load("1")', f"load({str(folder)!r})")
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    tf.io.write_file(str(tmp_path / "picture.png"), tf.io.encode_png(picture))
    found = {}
    exec(code.replace('"picture.png"', repr(str(tmp_path / "picture.png"))), found)
    assert found["images"].shape == (1, 10, 14, 3) and found["images"].dtype == tf.uint8


@pytest.mark.parametrize("format", ENDINGS)
def test_one_file_translates_any_size(format, tmp_path):
    runtime = {"onnx": "onnxruntime", "litert": "ai_edge_litert.interpreter"}[format]
    runtime = pytest.importorskip(runtime)
    keras.utils.set_random_seed(3)
    sources = keras.Input((None, None, 3), name="source")
    # Sides are padded here to multiples, and there by mirror images, in whole numbers of each runtime's own rounding.
    x = layers.Conv2D(12, 4, 2, activation="relu")(tg.layers.ReflectionPadding2D(1)(sources))
    generator = keras.Model(sources, layers.Conv2DTranspose(3, 4, 2, padding="same", activation="tanh")(x))
    targets = keras.Input((8, 8, 3), name="target")
    discriminator = keras.Model(targets, layers.Conv2D(1, 3, 2, padding="same")(targets))
    gan = tg.TranslationGAN(generator, discriminator, source_shape=(8, 8, 3), multiple=4)
    gan.compile()
    path = open_saved(gan.export(tmp_path / "1")).export(tmp_path / f"one{ENDINGS[format]}", format)
    for height, width in SIZES:
        images = np.random.default_rng(0).uniform(0, 1, (2, height, width, 3)).astype(np.float32)
        if format == "onnx":
            session = runtime.InferenceSession(str(path))
            assert session.get_inputs()[0].shape == ["batch", "height", "width", 3]
            (found,) = session.run(None, {"images": images})
        else:
            found = runtime.Interpreter(str(path)).get_signature_runner("translate")(images=images)["images"]
        np.testing.assert_allclose(found, gan.translate(images), atol=1e-5)


def test_the_command_translates_a_folder(exported, tmp_path):
    gan, folder = exported
    (tmp_path / "in").mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    picture[..., 3] = 255
    picture[1, 2:4, 3] = 0
    Image.fromarray(picture).save(tmp_path / "in" / "a.png")
    arguments = ("generate", f"--saved_model={folder}", f"--input={tmp_path / 'in'}", f"--out={tmp_path / 'out'}")
    assert run(*arguments, "--seed=5") == f"1 picture in {tmp_path / 'out'}.\n"
    expected = np.round(gan.translate(picture[None], seed=5)[0] * 255)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), expected)
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    out, _ = outputs(start(*arguments, "--seed=5"), code=1)
    assert out == (f"0 pictures in {tmp_path / 'out'}, 1 there before; left out 1:\n  b.png: not an image\n")
    error = run(*arguments, "--grid=2x2", code=2)
    assert error == "generate: --grid=2x2 is for pictures that are drawn: it does not go with --input.\n"
