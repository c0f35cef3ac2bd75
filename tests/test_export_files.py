"""tfgan_app.export.files: ONNX and LiteRT files that compute what the SavedModel does, and exports that are whole."""

import importlib.util
import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from commands import run
from conftest import GANS, LATENT_DIM, SHAPE, random_images, random_labels, tiny_gan, tiny_model, train

import tfgan_app as tg
from tfgan_app import runs
from tfgan_app.base.errors import Failure, UsageError
from tfgan_app.export import SavedGAN, export_file
from tfgan_app.gan import GAN

ENDINGS = {"onnx": ".onnx", "litert": ".tflite"}
# Of the extra `onnx`; LiteRT needs TensorFlow alone.
needs_onnx = pytest.mark.skipif(not importlib.util.find_spec("tf2onnx"), reason="tf2onnx is not installed")
every_format = pytest.mark.parametrize("format", [pytest.param("onnx", marks=needs_onnx), "litert"])
TINY = {
    **{"model": "MLPGAN", "model_arg": ["g_units=(8,)", "d_units=(8,)"], "latent_dim": 4, "batch_size": 8},
    **{"dataset": "mnist_5k", "split": "train[:64]", "eval_split": "test[:64]", "extractor": "none"},
    **{"jit_compile": "false", "train_steps": 2, "steps_per_epoch": 2, "on_collapse": "ignore"},
}


def computed(path, signature, arguments):
    """Returns what a file computes, by name."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return dict(zip([x.name for x in session.get_outputs()], session.run(None, arguments), strict=True))
    with warnings.catch_warnings():
        # Of the interpreter in TensorFlow, in favour of that of ai-edge-litert, which is the same.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = tf.lite.Interpreter(str(path))
    return interpreter.get_signature_runner(signature)(**arguments)


def assert_computes_the_same(path, saved, signature="generate"):
    """Holds a file against a SavedModel, in batches of 1 and of 4."""
    for num in (1, 4):
        arguments = {"latents": np.array(saved.latents(num, seed=num))}
        if saved.num_classes is not None:
            arguments["labels"] = random_labels(num, saved.num_classes)
        if signature == "generate_truncated":
            arguments["truncation"] = np.array(0.7, np.float32)
        expected = saved._module.signatures[signature](**{name: tf.constant(x) for name, x in arguments.items()})
        found = computed(path, signature, arguments)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name].dtype == value.dtype and np.std(value) > 1e-4
            np.testing.assert_allclose(found[name], value, atol=1e-4)


def shaken(gan):
    """Gives every weight of the average a value of its own, as zeros would hide what they are multiplied with."""
    generator = np.random.default_rng(0)
    for weight in gan.ema_generator.weights:
        if weight.dtype == "float32" and "variance" not in weight.path and "alpha" not in weight.path:
            weight.assign_add(generator.normal(0, 0.1, weight.shape))
    return gan


@pytest.fixture(scope="module", params=[None, 3], ids=["unconditional", "conditional"])
def case(request, tmp_path_factory):
    """A GAN trained in bfloat16, and its SavedModel."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    gan = tiny_gan(request.param)
    train(gan, random_images(8), random_labels(8) if request.param else None)
    keras.config.set_dtype_policy("float32")
    return gan, SavedGAN(gan.export(tmp_path_factory.mktemp("exported") / "1"))


@every_format
@pytest.mark.parametrize(
    ("signature", "loaded"),
    [("generate", False), ("generate_uint8", False), ("generate_truncated", False), ("generate", True)],
)
def test_a_file_computes_what_the_saved_model_does(case, format, signature, loaded, tmp_path):
    path = tmp_path / f"gan{ENDINGS[format]}"
    assert case[loaded].export(path, format=format, signature=signature) == path
    assert_computes_the_same(path, case[1], signature)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@every_format
def test_a_file_judges_as_the_saved_model_does(case, format, tmp_path):
    gan, saved = case
    arguments = {"images": random_images(4)}
    if gan.num_classes:
        arguments["labels"] = random_labels(4)
    expected = saved._module.signatures["discriminate"](**{name: tf.constant(x) for name, x in arguments.items()})
    for source in case:
        path = source.export(tmp_path / f"judge{ENDINGS[format]}", format=format, signature="discriminate")
        found = computed(path, "discriminate", arguments)
        np.testing.assert_allclose(found["logits"], expected["logits"], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", GANS)
@every_format
def test_every_model_becomes_a_file(name, format, tmp_path):
    gan = shaken(tiny_model(name))
    gan.compile()
    saved = SavedGAN(gan.export(tmp_path / "1"))
    for signature in ("generate", "generate_truncated"):
        path = gan.export(tmp_path / f"{signature}{ENDINGS[format]}", format=format, signature=signature)
        assert_computes_the_same(path, saved, signature)


@needs_onnx
def test_an_onnx_file_tells_what_it_is(case, tmp_path):
    import onnx

    gan, saved = case
    model = onnx.load(gan.export(tmp_path / "gan.onnx", "onnx", opset_version=15))
    assert [opset.version for opset in model.opset_import if not opset.domain] == [15]
    assert json.loads({x.key: x.value for x in model.metadata_props}["tfgan_app"]) == saved.facts
    sides = {
        x.name: [side.dim_param or side.dim_value for side in x.type.tensor_type.shape.dim] for x in model.graph.input
    }
    labels = {"labels": ["batch"]} if gan.num_classes else {}
    assert sides == {"latents": ["batch", LATENT_DIM], **labels}
    (output,) = model.graph.output
    assert [side.dim_param or side.dim_value for side in output.type.tensor_type.shape.dim] == ["batch", *SHAPE]


def test_pggan_exports_the_weights_of_its_stage_alone(tmp_path):
    gan = tiny_model("PGGAN")
    gan.compile()
    part = gan.ema_generator.get_layer("progressive")
    sizes = []
    for stage in (0, 1):
        part.stage.assign(stage)
        part.alpha.assign(0.5)
        folder = gan.export(tmp_path / str(stage))
        np.testing.assert_allclose(SavedGAN(folder).sample(3), gan.sample(3), atol=1e-6)
        sizes.append((folder / "variables" / "variables.data-00000-of-00001").stat().st_size)
    assert sizes[0] < sizes[1]


def test_an_export_traces_the_generator_twice(tmp_path, monkeypatch):
    gan, calls = tiny_gan(3), []
    forward = GAN.forward

    @tf.autograph.experimental.do_not_convert
    def counted(self, *inputs):
        calls.append(inputs)
        return forward(self, *inputs)

    monkeypatch.setattr(GAN, "forward", counted)
    gan.export(tmp_path / "1")
    # Plain and truncated; TensorFlow traces each once more as it saves.
    assert len(calls) == 4


# Refusals.


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("gan", {"format": "torch"}, r"^`format=torch` must be one of tf_saved_model, onnx, litert\.$"),
        ("gan", {"format": "openvino"}, "^`format=openvino` must be one of"),
        ("gan.onnx", {"format": "litert"}, r"`format=litert` is a file that ends in \.tflite\. Received: .*gan\.onnx"),
        ("gan.tflite", {}, r"`format=tf_saved_model` is a folder\. Received: .*gan\.tflite"),
        (
            "gan",
            {"verbose": True},
            r"^`verbose=True`: an export says nothing\. It returns its path: `print\(gan\.export",
        ),
        ("gan", {"input_signature": []}, "^`input_signature` cannot be chosen: .*batches of any size"),
        ("gan", {"signature": "generate"}, "^`signature`: a SavedModel has all signatures"),
        ("gan", {"opset_version": 18}, "^`opset_version`: a SavedModel has all signatures"),
        ("gan", {"is_static": True}, "^`is_static`: neither `export` nor a model card takes that"),
        ("g.tflite", {"format": "litert", "data": {}}, "^`data`: a model card goes with a SavedModel"),
        ("g.tflite", {"format": "litert", "opset_version": 18}, "^`opset_version=18` goes with `format=onnx`"),
        (
            "g.tflite",
            {"format": "litert", "signature": "sample"},
            "^`signature=sample` must be one of generate, generate_uint8, generate_truncated, edit, discriminate: ",
        ),
    ],
)
def test_what_cannot_be_exported_is_refused_before_anything_is_written(name, arguments, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        tiny_gan().export(tmp_path / name, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_verbose_false_is_what_an_export_is_anyway(tmp_path):
    assert tiny_gan().export(tmp_path / "g.tflite", "litert", verbose=False).is_file()


def test_a_saved_model_is_not_exported_as_one(case, tmp_path):
    with pytest.raises(UsageError, match=r"^`format=tf_saved_model`: it is a SavedModel already\. Copy its folder\.$"):
        case[1].export(tmp_path / "1", "tf_saved_model")


def test_without_its_converter_onnx_says_what_to_install(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tf2onnx" else find(name, *rest)
    )
    message = r"^ONNX files need onnx and tf2onnx: pip install 'tfgan_app\[onnx\]'\.$"
    with pytest.raises(UsageError, match=message):
        tiny_gan().export(tmp_path / "gan.onnx", format="onnx")
    # Before it trains, rather than after.
    with pytest.raises(UsageError, match=message):
        runs.train(**TINY, run_dir=tmp_path / "run", export=["onnx"])
    assert list(tmp_path.iterdir()) == []


# Whole or not at all.


@every_format
def test_what_cannot_be_translated_leaves_the_file_as_it_was(format, tmp_path):
    path = tmp_path / f"gan{ENDINGS[format]}"
    path.write_text("as it was")
    signatures = {"generate": (lambda x: {"y": tf.math.erfinv(x)}, [tf.TensorSpec((None, 2), tf.float32, "x")])}
    with pytest.raises(Failure, match=f"^`signature=generate` cannot be converted to {format}: "):
        export_file(path, signatures, {"step": 1}, format=format)
    assert path.read_text() == "as it was" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("folder", "place", "error"),
    [
        ("1", "tensorflow.saved_model.save", KeyboardInterrupt),
        ("1", "pathlib.Path.write_text", OSError),
        ("gan", "pathlib.Path.write_text", KeyboardInterrupt),
    ],
)
def test_an_export_that_fails_leaves_the_one_before(folder, place, error, tmp_path, monkeypatch):
    gan = tiny_gan()

    def files():
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail():
        def broken(*arguments, **options):
            raise error

        before = files()
        with monkeypatch.context() as patched:
            patched.setattr(place, broken)
            with pytest.raises(error):
                gan.export(tmp_path / folder)
        assert files() == before

    fail()
    gan.export(tmp_path / folder)
    (tmp_path / folder / "mine.txt").write_text("kept")
    fail()
    train(gan, random_images(4))
    gan.export(tmp_path / folder)
    assert SavedGAN(tmp_path / folder).facts["step"] == 1
    assert (tmp_path / folder / "mine.txt").read_text() == "kept"


def test_the_card_names_the_version_that_it_tells_of(tmp_path):
    for version in ("2", "10"):
        tiny_gan().export(tmp_path / version)
        assert f'tf.saved_model.load("{version}")' in (tmp_path / "README.md").read_text()


# Runs and the command.


@pytest.fixture(scope="module")
def exported_run(tmp_path_factory):
    said = []
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    runs.train(**TINY, run_dir=folder, export=["litert"], say=said.append)
    return folder, said


def test_a_run_exports_files_beside_its_saved_model(exported_run):
    folder, _ = exported_run
    saved = folder / "saved_model"
    assert sorted(path.name for path in saved.iterdir()) == ["1", "README.md", "generate.tflite", "samples.png"]
    assert_computes_the_same(saved / "generate.tflite", SavedGAN(saved / "1"))
    card = (saved / "README.md").read_text()
    assert "| latents | float32 | (batch, 4) | drawn from N(0, 1) |" in card
    assert "| returns images | float32 | (batch, 28, 28, 1) | in [0, 1] |" in card
    assert 'Interpreter("generate.tflite")' in card and "onnxruntime" not in card


def test_a_run_that_lacks_a_file_makes_it_when_asked_again(exported_run):
    folder, _ = exported_run
    said = []
    runs.train(**TINY, run_dir=folder, export=["litert"], say=said.append)
    assert any("is trained to step 2 already" in text for text in said)
    (folder / "saved_model" / "generate.tflite").unlink()
    runs.train(**TINY, run_dir=folder, export=["litert"])
    assert (folder / "saved_model" / "generate.tflite").is_file()


def test_a_file_that_fails_costs_the_run_nothing_else(tmp_path, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no such operation")

    monkeypatch.setattr(tg.export.files, "_litert", broken)
    with pytest.raises(
        Failure, match=r"^All else is done, but `signature=generate` cannot be converted to litert: no such operation$"
    ):
        runs.train(**TINY, run_dir=tmp_path, export=["litert"])
    assert SavedGAN(tmp_path / "saved_model" / "1").facts["step"] == 2
    assert "tflite" not in (tmp_path / "saved_model" / "README.md").read_text()


@pytest.mark.parametrize(
    ("file", "module"), [("generate.onnx", "onnxruntime"), ("generate.tflite", "ai_edge_litert.interpreter")]
)
def test_the_cards_lines_on_a_file_run(file, module, case, tmp_path, monkeypatch):
    pytest.importorskip(module)
    if file.endswith(".onnx"):
        pytest.importorskip("tf2onnx")
    gan, saved = case
    gan.export(tmp_path / file, format={"onnx": "onnx", "tflite": "litert"}[file.partition(".")[2]])
    gan.export(tmp_path / "1", files=[file])
    monkeypatch.chdir(tmp_path)
    *_, code = (tmp_path / "README.md").read_text().split("```python\n")
    scope = {}
    exec(code.split("```")[0], scope)
    arguments = scope["arguments"]
    assert scope["images"].shape == (16, *SHAPE)
    np.testing.assert_allclose(scope["images"], saved.generate(*arguments.values()), atol=1e-4)


def test_the_command_exports_runs_and_saved_models(exported_run, tmp_path):
    folder, _ = exported_run
    saved, out = folder / "saved_model" / "1", tmp_path / "gan.tflite"
    said = run("export", f"--run={folder}", "--format=litert", f"--out={out}")
    assert said == f"generate in {out}.\n"
    assert_computes_the_same(out, SavedGAN(saved))
    said = run("export", f"--saved_model={saved}", "--format=litert", "--signature=generate_truncated", cwd=tmp_path)
    assert said == "generate_truncated in generate_truncated.tflite.\n"
    assert_computes_the_same(tmp_path / "generate_truncated.tflite", SavedGAN(saved), "generate_truncated")
    again = runs.export(run=folder, format="tf_saved_model", out=tmp_path / "again" / "1")
    np.testing.assert_allclose(SavedGAN(again).sample(3), SavedGAN(saved).sample(3), atol=1e-6)
    assert "mnist_5k" in (tmp_path / "again" / "README.md").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "export: give either --run or --saved_model. Received: neither"),
        (["--run=a", "--saved_model=b"], "give either --run or --saved_model. Received: both"),
        (["--format=torch"], "flag --format=torch: value should be one of <tf_saved_model|onnx|litert>"),
        (["--out=gan.png"], "An export with --format=litert is a file that ends in .tflite. Received: gan.png"),
        (["--run=nowhere"], "--run=nowhere is not a run folder"),
        (["--saved_model=nowhere"], "nowhere is not a GAN exported by this package"),
    ],
)
def test_the_command_refuses_in_one_line(flags, message):
    assert message in run("export", "--format=litert", *flags, code=2)


def test_a_run_as_a_saved_model_needs_a_folder(exported_run):
    with pytest.raises(UsageError, match=r"^`format=tf_saved_model` needs `out`, the folder to write\.$"):
        runs.export(run=exported_run[0], format="tf_saved_model")


def test_a_file_that_lost_an_axis_on_its_way_is_made_again(tmp_path, monkeypatch):
    onnx, tf2onnx = pytest.importorskip("onnx"), pytest.importorskip("tf2onnx")
    gan, convert, calls = tiny_gan(), tf2onnx.convert.from_function, []

    def losing(*arguments, **options):
        model, other = convert(*arguments, **options)
        calls.append(None)
        if len(calls) % 6:
            model.graph.output[0].type.tensor_type.shape.dim.add()
        return model, other

    monkeypatch.setattr(tf2onnx.convert, "from_function", losing)
    with pytest.raises(Failure, match=r"tf2onnx makes results of \{'images': 5\} axes in place of \{'images': 4\}"):
        gan.export(tmp_path / "a.onnx", format="onnx")
    assert len(calls) == 5
    path = gan.export(tmp_path / "a.onnx", format="onnx")
    assert len(calls) == 6 and len(onnx.load(path).graph.output[0].type.tensor_type.shape.dim) == 4
