"""One harness that every exported translator passes: what it learns, keeps, translates and exports."""

import dataclasses
import pickle
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    TRANSLATORS,
    assert_all_close,
    holed,
    random_data,
    random_domains,
    random_images,
    state,
    tiny_model,
    values,
)

import tfgan_app as tg
from tfgan_app.base.errors import Failure
from tfgan_app.base.networks import images_of
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.metrics import L1, Back, CycleError
from tfgan_app.models.inpainting import InpaintingGAN

# A model is covered as soon as it is exported; conftest.FAMILY must hold its row. Besides, what its arguments change.
KINDS = [
    *((name, {}) for name in TRANSLATORS),
    ("ContextEncoder", {"central": True}),
    ("CycleGAN", {"target_shape": (16, 16, 3)}),
    ("ESRGAN", {"discriminator": "unet"}),
    ("Pix2Pix", {"norm": "batch", "target_shape": (64, 64, 3), "keep_lightness": True}),
    ("SRGAN", {"form": "srresnet"}),
    ("SRGAN", {"form": "compact"}),
    ("StarGAN", {"multi_label": True}),
]
BATCH = 4

# What takes long, and goes by no argument.
of_each_model = pytest.mark.parametrize(
    "kind", KINDS[: len(TRANSLATORS)], ids=TRANSLATORS, indirect=True, scope="module"
)


@dataclasses.dataclass
class Trained:
    """A tiny model after two steps, what it learned from, and its weights from before and its state after."""

    gan: tg.TranslationGAN
    data: tuple[np.ndarray, np.ndarray]
    before: dict[str, list[np.ndarray]]
    after: list[np.ndarray]
    logs: dict[str, Any]


def metrics_of(gan):
    return [CycleError(), Back(CycleError())] if gan.data == "sides" else [L1()]


def build(name, arguments, run_eagerly=True):
    keras.utils.set_random_seed(1)
    gan = tiny_model(name, **arguments)
    rates = {key: keras.optimizers.Adam(1e-3) for key in ("g_optimizer", "d_optimizer")}
    gan.compile(**rates, n_critic=1, run_eagerly=run_eagerly, metrics=metrics_of(gan))
    return gan


def fit(gan, source, other, **kwargs):
    return gan.fit(source, other, batch_size=BATCH, shuffle=False, verbose=0, **kwargs).history


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: "-".join([kind[0], *map(str, kind[1].values())]))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def trained(kind):
    gan = build(*kind)
    data = random_data(gan, 2 * BATCH)
    before = {network: values(getattr(gan, network)) for network in ("generator", "discriminator", "ema_generator")}
    logs = fit(gan, *data)
    return Trained(gan, data, before, state(gan), logs)


def pictures(gan, num, size, way="translate"):
    """Returns decoded sources of a size, with holes where they are what is filled."""
    images = (random_images(num, (*size, gan.modality_of(way, "source").shape[-1]), seed=5) + 1) / 2
    return holed(images, hidden=0.0) if isinstance(gan, InpaintingGAN) else images


def domains(gan, num):
    """Returns what a model is asked beside pictures."""
    return {} if gan.num_classes is None else {"labels": random_domains(gan, num)}


def test_two_steps_move_all_weights(trained):
    for name, before in trained.before.items():
        network = getattr(trained.gan, name)
        moved = [np.any(old != new) for old, new in zip(before, values(network), strict=True)]
        # One number is a unit vector.
        still = [v.path for v, there in zip(network.weights, moved, strict=True) if not there and v.shape != (1,)]
        assert not still, name
    assert all(np.isfinite(value).all() for value in trained.after)
    assert {"d_loss", "g_loss"} <= trained.logs.keys()
    assert all(np.isfinite(losses).all() for losses in trained.logs.values())


def test_training_goes_on_as_if_it_had_not_stopped(kind, trained, tmp_path):
    source, other = trained.data
    first, second = build(*kind), build(*kind)
    fit(first, source[:BATCH], other[:BATCH])
    assert any(np.any(one != last) for one, last in zip(state(first), trained.after, strict=True))
    folder = Checkpoints(first, tmp_path).save()
    assert Checkpoints(second, tmp_path).restore() == folder
    # Arrays or a data set, it is the same.
    rest = tf.data.Dataset.from_tensor_slices((source, other)).batch(BATCH).skip(1)
    second.fit(rest, shuffle=False, verbose=0)
    assert_all_close(state(second), trained.after)


@of_each_model
def test_a_graph_learns_what_single_operations_do(kind, trained):
    gan = build(*kind, run_eagerly=False)
    logs = fit(gan, *trained.data)
    assert int(gan.iterations) == 2
    for loss, value in logs.items():
        np.testing.assert_allclose(value, trained.logs[loss], rtol=1e-2, err_msg=loss)


@of_each_model
def test_files_rebuild_the_model(trained, tmp_path):
    gan, last = trained.gan, trained.gan
    assert type(gan).from_config(gan.get_config()).get_config() == gan.get_config()
    # A loaded model is saved as it was.
    for number in range(2):
        last.save(tmp_path / f"{number}.keras")
        last = keras.models.load_model(tmp_path / f"{number}.keras")
    assert type(last) is type(gan) and last.get_config() == gan.get_config()
    assert_all_close(state(last), state(gan))
    for way in gan.ways:
        sources, asked = pictures(gan, 1, gan.source.shape[:2], way), domains(gan, 1)
        np.testing.assert_array_equal(*(one.translate(sources, way=way, **asked) for one in (last, gan)))


def distance(images, others):
    """Returns the mean absolute difference of decoded pictures as files hold them."""
    return np.abs(np.round(255 * np.asarray(images)) - np.round(255 * np.asarray(others))).mean() / 255


def test_evaluation_scores_what_is_translated(trained):
    gan, (source, other) = trained.gan, trained.data
    logs = gan.evaluate(source, other, batch_size=2 * BATCH, return_dict=True, verbose=0)
    assert {"d_loss", "g_loss"} <= logs.keys() and np.isfinite(list(logs.values())).all()
    if gan.data == "sides":
        for key, images, ways in (("cycle_mae", source, gan.ways), ("cycle_mae_back", other, gan.ways[::-1])):
            images = (images + 1) / 2
            home = gan.translate(gan.translate(images, way=ways[0]), way=ways[1])
            np.testing.assert_allclose(logs[key], distance(home, images), rtol=1e-2)
        return
    play = gan.play(*gan.unpack((source, other)), gan._seed("test latents", 0), training=False)
    images, truth = gan.target.decode(images_of(play.outputs)), other if gan.data == "pairs" else source
    np.testing.assert_allclose(logs["mae"], distance(images, (truth + 1) / 2), rtol=1e-2)


def test_a_picture_s_result_depends_on_no_other(trained):
    gan = trained.gan
    for way in gan.ways:
        takes = gan.modality_of(way, "source")
        sources = takes.encode(pictures(gan, 3, takes.shape[:2], way))
        others = tf.concat([-sources[:2], sources[2:]], axis=0)
        asked = domains(gan, 3)
        results = [gan.forward(x, way, **asked)[2:] for x in (sources, others)]
        results += [gan.forward(sources[2:], way, **{name: x[2:] for name, x in asked.items()})]
        for result in results[1:]:
            np.testing.assert_allclose(result, results[0], atol=1e-6)


SERVE = """
import pickle, sys
import tensorflow as tf

while True:
    folder, calls = pickle.load(sys.stdin.buffer)
    signatures = tf.saved_model.load(folder).signatures
    results = []
    for name, arguments in calls:
        arguments = {key: tf.constant(value) for key, value in arguments.items()}
        results.append(signatures[name](**arguments)["images"].numpy())
    assert "tfgan_app" not in sys.modules
    pickle.dump((sorted(signatures), results), sys.stdout.buffer)
    sys.stdout.flush()
"""


@pytest.fixture(scope="module")
def bare_tensorflow(tmp_path_factory):
    """Returns a function that has TensorFlow alone call the signatures of a SavedModel."""
    folder = tmp_path_factory.mktemp("serve")
    (folder / "serve.py").write_text(SERVE, encoding="utf-8")
    command = [sys.executable, "serve.py"]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

        def call(path, calls):
            pickle.dump((str(path), calls), process.stdin)
            process.stdin.flush()
            return pickle.load(process.stdout)

        yield call
        process.kill()


def test_tensorflow_alone_translates_pictures_of_any_size(trained, bare_tensorflow, tmp_path):
    gan, calls, expected = trained.gan, [], []
    for way in gan.ways:
        makes = gan.modality_of(way, "target").shape[-1]
        for size in ((1, 1), (7, 19), gan.source.shape[:2]):
            images, asked = pictures(gan, 2, size, way), domains(gan, 2)
            found = gan.translate(images, way=way, **asked)
            assert found.shape == (2, *(gan.scale * side for side in size), makes)
            assert found.dtype == np.float32 and 0 <= found.min() <= found.max() <= 1
            # A batch there, one picture after the other here.
            calls.append((way, {"images": images, **asked}))
            expected.append((found, 1e-5))
            if gan.draws:
                calls.append((f"{way}_seeded", {"images": images, "seed": np.int64(5), **asked}))
                expected.append((gan.translate(images, way=way, seed=5, **asked), 1e-5))
        stored = np.round(255 * images).astype(np.uint8)
        calls.append((f"{way}_uint8", {"images": stored, **asked}))
        expected.append((255 * gan.translate(stored, way=way, **asked), 0.51))
    names, results = bare_tensorflow(gan.export(tmp_path / "model"), calls)
    assert names == sorted([*gan.signatures(), "serving_default"])
    for (call, _), found, (wanted, tolerance) in zip(calls, results, expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=tolerance, err_msg=call)


# Its random numbers, and the filter that brings a picture to the network's size.
NOT_IN_ONNX = {"Pix2Pix": "StatelessRandomUniform", "ContextEncoder": "ScaleAndTranslate"}


@pytest.mark.slow
@of_each_model
def test_one_file_translates_pictures_of_any_size(trained, tmp_path):
    onnxruntime, gan = pytest.importorskip("onnxruntime"), trained.gan
    if type(gan).__name__ in NOT_IN_ONNX:
        with pytest.raises(Failure, match=f"`signature=translate` cannot .*{NOT_IN_ONNX[type(gan).__name__]}"):
            gan.export(tmp_path / "model.onnx", format="onnx")
        return
    for way in gan.ways:
        path = gan.export(tmp_path / f"{way}.onnx", format="onnx", signature=way)
        session = onnxruntime.InferenceSession(str(path))
        # None so small that instance normalisation is left with one pixel: it would enlarge mere rounding.
        for size in ((7, 19), gan.source.shape[:2]):
            images, asked = pictures(gan, 2, size, way), domains(gan, 2)
            (found,) = session.run(None, {"images": images, **asked})
            np.testing.assert_allclose(found, gan.translate(images, way=way, **asked), atol=1e-5)
