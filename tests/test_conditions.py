"""tfgan_app.conditions: classes and attributes as what a GAN is told, in every model that is told them."""

import inspect
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import FAMILY, SHAPE, assert_all_close, random_images, state, tiny_model, tiny_networks, train
from PIL import Image

import tfgan_app as tg
from tfgan_app import data, runs, study
from tfgan_app.base.errors import UsageError
from tfgan_app.base.networks import apply, images_of
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.conditions import Attributes, Classes, Column
from tfgan_app.export import SavedGAN
from tfgan_app.runs import Run

MODELS = [name for name in FAMILY if "attributes" in inspect.signature(getattr(tg.models, name)).parameters]
TABLE = {
    "smiling": ["yes", "no", "no", "yes", "no", "yes"],
    "age": [20, 37.5, 61, 44, 28, 50],
    "hair": ["blond", "black", "black", "blond", "Black", "blond"],
}


def attributes(*names):
    return Attributes.of({name: TABLE[name] for name in names or TABLE})


# Columns and rows.


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-1", "1"], "yes/no"),  # CelebA
        ([1, 0, 1.0], "yes/no"),
        ([True, False], "yes/no"),
        (["Yes", "no"], "yes/no"),
        ([-1, 0, 1], "number"),
        (["0.5", "1e2"], "number"),
        (["a", "b", "a", "b"], "category"),
    ],
)
def test_columns_are_told_by_their_values(values, kind):
    assert Column.of("x", values).kind == kind


def test_few_whole_numbers_are_categories_where_they_are_called_so():
    values = [3, 10, 3, 10, 2, 2]
    assert Column.of("dose", values).kind == "number"
    assert Column.of("label", values).categories == Column.of("skin_type", values).categories == ("2", "3", "10")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["1", "1"], "all of its values are 1"),
        ([], "it has no values"),
        (["a nose", "an ear", "a hat", "an eye", "a brow"], "its 5 values are 5 different texts"),
    ],
)
def test_what_nothing_can_be_learnt_from_is_refused(values, why):
    with pytest.raises(ValueError, match=why):
        Column.of("x", values)
    with pytest.raises(UsageError, match=f"`x` is no attribute to learn from: {why}"):
        Attributes.of({"x": values})


def test_rows_are_standardised_and_one_hot():
    found, ages = attributes(), np.array(TABLE["age"])
    assert found.names == ("smiling", "age", "hair=black", "hair=blond") and found.shape == (4,)
    assert str(found) == "smiling (yes/no), age (number, 20 to 61), hair (black, blond)"
    rows = found.encode(TABLE)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows[:, 0], [1, 0, 0, 1, 0, 1])
    np.testing.assert_allclose(rows[:, 1], (ages - ages.mean()) / ages.std(), rtol=1e-6)
    np.testing.assert_array_equal(rows[:, 2:], [[0, 1], [1, 0], [1, 0], [0, 1], [1, 0], [0, 1]])
    assert found.decode(rows)[1] == ["no", "37.5", "black"]
    copy = Attributes.from_config(found.get_config())
    assert copy == found and copy.get_config() == found.get_config() and hash(copy) == hash(found)
    np.testing.assert_array_equal(copy.in_turn(9), found.in_turn(9))


def test_conditions_in_turn_are_those_of_training():
    found = attributes()
    rows, drawn = {tuple(row) for row in found.encode(TABLE)}, found.in_turn(6)
    assert {tuple(row) for row in drawn} == rows
    np.testing.assert_array_equal(found.in_turn(6, 4), np.concatenate([drawn[4:], drawn[:4]]))


def test_what_is_asked_for_goes_by_name_in_the_units_of_training():
    found, ages = attributes(), np.array(TABLE["age"])
    rows = found.chosen({"AGE": [20, 30], "hair": "BLOND"}, 2)
    np.testing.assert_allclose(rows[:, 1], (np.array([20, 30]) - ages.mean()) / ages.std(), rtol=1e-6)
    np.testing.assert_array_equal(rows[:, 2:], [[0, 1], [0, 1]])
    np.testing.assert_array_equal(rows[:, 0], found.in_turn(2)[:, 0])
    for no in (0, "no", False, -1):
        assert found.chosen({"smiling": no}, 1)[0, 0] == 0
    assert found.chosen({"smiling": 0.5}, 1)[0, 0] == 0.5
    np.testing.assert_array_equal(found.chosen(rows, 2), rows)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"smilin": 1}, r"there is no 'smilin'\. Did you mean 'smiling'\? There are: smiling \(yes/no\), age"),
        ({"smiling": 2}, r"smiling=2 is no value of smiling \(yes/no\)"),
        ({"age": "old"}, r"age=old is no value of age \(number, 20 to 61\)"),
        ({"age": float("nan")}, "age=nan is no value of age"),
        ({"hair": "red"}, r"hair=red is no value of hair \(black, blond\)"),
        ({"age": [20, 30, 40]}, "age must have one value, or 2, one for each image. Received: 3"),
        (
            np.zeros((2, 3)),
            r"must be a dict of values by name.* or 2 rows of 4 numbers.*Received: float64 of shape \(2, 3\)",
        ),
        (np.full((2, 4), np.nan), "Received: float64 of shape"),
    ],
)
def test_what_cannot_be_asked_for_is_said(wanted, message):
    with pytest.raises(ValueError, match=f"`attributes`.*{message}"):
        attributes().chosen(wanted, 2)


def test_beyond_what_training_saw_is_warned_of(caplog):
    attributes().chosen({"age": 61}, 1)
    assert not caplog.records
    attributes().chosen({"age": 99}, 1)
    assert "training saw nothing beyond age (number, 20 to 61)" in caplog.text


def test_tables_that_do_not_fit_are_said():
    found = attributes()
    with pytest.raises(UsageError, match=r"`table` lacks age, hair\. It must have: smiling"):
        found.encode({"smiling": [1]})
    with pytest.raises(UsageError, match="`hair=red` is no value of hair"):
        found.encode({**TABLE, "hair": ["red"] * 6})
    with pytest.raises(UsageError, match="`age` lacks 2 of 3 values: leave those samples out"):
        Attributes.of({"age": [3, None, "NA"]})
    with pytest.raises(UsageError, match="`table` must have as many values in each column"):
        Attributes.of({"age": [3, 4], "size": [1, 2, 3]})
    with pytest.raises(ValueError, match="`columns` must be one at least"):
        Attributes([], [])
    good = found.get_config()
    for damaged in ([], {}, {**good, "columns": [3]}, {**good, "columns": [{"name": "x"}]}, {**good, "examples": [3]}):
        with pytest.raises(ValueError, match="its attributes cannot be read"):
            Attributes.from_config(damaged)
    with pytest.raises(ValueError):
        Attributes.from_config({**good, "examples": ["1,2"]})


# Models.


def test_those_that_are_told_attributes():
    assert MODELS == ["BigGAN", "CGAN", "ProjectionGAN", "R3GAN", "SAGAN", "StyleGAN2"]


def tiny(name, told, **kwargs):
    row = {argument: value for argument, value in FAMILY[name][0].items() if argument != "num_classes"}
    keras.utils.set_random_seed(1)
    return getattr(tg.models, name)(**{"seed": 3, **row, **told, **kwargs})


@pytest.mark.parametrize("name", MODELS)
def test_one_category_is_told_as_classes_are_to_the_bit(name):
    hair = Attributes.of({"hair": ["a", "b", "c"] * 2})
    by_class, by_row = tiny(name, {"num_classes": 3}), tiny(name, {"attributes": hair})
    for role in ("generator", "discriminator"):
        networks = [getattr(gan, role) for gan in (by_class, by_row)]
        # The same seed has drawn the same weights; those that begin at zero take part too.
        weights = [
            w + 0.3 * np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(networks[0].get_weights())
        ]
        for one, other in zip(*(network.get_weights() for network in networks), strict=True):
            np.testing.assert_array_equal(one, other)
        for network in networks:
            network.set_weights(weights)
    labels = np.array([2, 0, 1, 1, 0, 2])
    rows = hair.encode({"hair": [("a", "b", "c")[label] for label in labels]})
    firsts = {"generator": by_class.latents(6), "discriminator": tf.constant(random_images(6, by_class.image_shape))}
    for role, first in firsts.items():
        one = apply(getattr(by_class, role), [first, tf.constant(labels)])
        other = apply(getattr(by_row, role), [first, tf.constant(rows)])
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["CGAN", "R3GAN", "StyleGAN2"])
def test_zeros_and_lengths_of_rows_are_told_too(name):
    """Without a bias R3GAN's critic would be blind where all is no and average; PixelNorm takes lengths away."""
    ages = Attributes.of({"age": [1, 2, 3], "old": [0, 0, 1]})
    gan = tiny(name, {"attributes": ages})
    for network in (gan.generator, gan.discriminator):
        noise = np.random.default_rng(0)
        network.set_weights([weight + 0.3 * noise.normal(size=weight.shape) for weight in network.get_weights()])
    images, nothing = random_images(4, gan.image_shape), np.zeros((4, 2), np.float32)
    logits = np.ravel(gan.judge(tf.constant(images), (tf.constant(nothing),), training=False))
    assert np.ptp(logits) > 1e-6
    rows = [tf.constant(ages.chosen({"age": age, "old": "no"}, 1)) for age in (2.2, 3)]
    first, second = (apply(gan.generator, [gan.latents(1), row]) for row in rows)
    assert np.abs(first - second).max() > 1e-6


# Those of SAGAN are ProjectionGAN's.
@pytest.mark.parametrize("name", [name for name in MODELS if name != "SAGAN"])
def test_trains_saves_resumes_and_exports(name, tmp_path):
    gan = tiny(name, {"attributes": attributes()})
    rates = {key: keras.optimizers.Adam(1e-3) for key in ("g_optimizer", "d_optimizer")}
    gan.compile(**rates, n_critic=1, run_eagerly=True)
    rows = gan.attributes.encode(TABLE)
    train(gan, random_images(6, gan.image_shape), rows, batch_size=6)
    assert gan.num_classes is None and gan.generator.inputs[1].name == gan.discriminator.inputs[1].name == "conditions"
    wanted = {"smiling": "yes", "age": [25, 40, 55]}
    drawn = gan.sample(3, seed=2, attributes=wanted)

    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    assert loaded.attributes == gan.attributes and loaded.get_config() == gan.get_config()
    np.testing.assert_array_equal(loaded.sample(3, seed=2, attributes=wanted), drawn)
    Checkpoints(gan, tmp_path / "checkpoints").save()
    for variable in [*loaded.weights, *loaded.g_optimizer.variables, *loaded.d_optimizer.variables]:
        variable.assign(tf.ones_like(variable))
    Checkpoints(loaded, tmp_path / "checkpoints").restore()
    assert_all_close(state(loaded), state(gan))

    saved = SavedGAN(gan.export(tmp_path / "1"))
    assert saved.attributes == gan.attributes and saved.num_classes is None
    np.testing.assert_allclose(saved.sample(3, seed=2, attributes=wanted), drawn, atol=1e-5)
    np.testing.assert_allclose(saved.sample(5), gan.sample(5), atol=1e-5)
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    given = signatures["sample"].structured_input_signature[1]["conditions"]
    assert (given.shape.as_list(), given.dtype) == ([None, 4], tf.float32)
    assert "discriminate" in signatures and "labels" not in signatures["generate"].structured_input_signature[1]


def test_the_card_tells_how_to_ask(tmp_path):
    gan = tg.GAN(*told_networks(4), attributes=attributes(), seed=3)
    gan.compile()
    folder = gan.export(tmp_path / "gan" / "1")
    card = (tmp_path / "gan" / "README.md").read_text()
    ages = np.array(TABLE["age"])
    assert f"| 1 `age` | (age - {ages.mean():.6g}) / {ages.std():.6g} | age 20 to 61 |" in card
    assert "| 2 `hair=black` | 1 where it is this one, else 0 | 0, 1 |" in card
    assert "| conditions | float32 | (batch, 4) | smiling, age, hair=black, hair=blond |" in card
    assert "| Attributes | smiling (yes/no), age (number, 20 to 61), hair (black, blond) |" in card
    code = card.partition("```python\n")[2].partition("```")[0].replace('"1"', repr(str(folder)))
    names: dict = {}
    exec(code, names)
    expected = gan.sample(16, seed=7, attributes=np.repeat(gan.attributes.in_turn(1), 16, axis=0))
    np.testing.assert_allclose(names["images"], expected, atol=1e-4)


def told_networks(width):
    latents, told = keras.Input((3,), name="latents"), keras.Input((width,), name="conditions")
    x = keras.layers.Dense(64, activation="tanh")(keras.layers.Concatenate()([latents, told]))
    generator = keras.Model([latents, told], keras.layers.Reshape(SHAPE)(x))
    images, told = keras.Input(SHAPE, name="images"), keras.Input((width,), name="conditions")
    x = keras.layers.LeakyReLU()(keras.layers.Dense(16)(keras.layers.Flatten()(images)))
    x = keras.layers.Concatenate()([x, told, keras.layers.Multiply()([x, keras.layers.Dense(16)(told)])])
    return generator, keras.Model([images, told], keras.layers.Dense(1)(x))


def test_what_is_drawn_follows_what_is_asked_for():
    """A network of someone's own, told a brightness: its images' mean grows with it, as the training images' does."""
    keras.utils.set_random_seed(0)
    noise = np.random.default_rng(0)
    levels = noise.uniform(0, 100, 512)
    images = (levels[:, None, None, None] / 50 - 1) * 0.8 + noise.normal(0, 0.05, (512, *SHAPE))
    bright = Attributes.of({"brightness": levels})
    gan = tg.GAN(*told_networks(1), attributes=bright, seed=3)
    gan.compile(keras.optimizers.Adam(2e-3, 0.5), keras.optimizers.Adam(2e-3, 0.5), ema_decay=0.9)
    gan.fit(images.astype("float32"), bright.encode({"brightness": levels}), batch_size=32, epochs=25, verbose=0)
    asked = np.array([10, 30, 50, 70, 90])
    found = [gan.sample(64, seed=1, attributes={"brightness": level}).mean() for level in asked]
    # Those of the training images go from 0.18 to 0.82.
    assert np.all(np.diff(found) > 0.05) and found[0] < 0.4 and found[-1] > 0.6, found


def test_conditions_that_do_not_fit_are_refused_before_training():
    gan = tg.GAN(*told_networks(4), attributes=attributes(), seed=3)
    gan.compile()
    images, rows = random_images(6), attributes().encode(TABLE)
    with pytest.raises(UsageError, match=r"conditional on smiling .* needs batches of \(images, conditions\)"):
        gan.fit(images)
    for wrong, received in (
        (rows[:, :3], r"shape \(6, 3\)"),
        (rows[:, 0], r"shape \(6,\)"),
        (np.full_like(rows, np.nan), "values that are NaN"),
        (rows.astype(str), "string"),
    ):
        with pytest.raises(
            UsageError, match=rf"`conditions` must be numbers of shape \(batch, 4\).*Received: {received}"
        ):
            gan.fit(images, wrong)
    gan.fit(images, rows.astype(np.float64), verbose=0)
    with pytest.raises(ValueError, match="`labels`: GAN is told `attributes`: smiling"):
        gan.sample(2, labels=[0, 1])


def test_models_that_are_told_classes_or_nothing_say_so():
    with pytest.raises(ValueError, match="`attributes`: CGAN is told `labels`: 3 classes"):
        tiny_model("CGAN").sample(2, attributes={"age": 3})
    with pytest.raises(ValueError, match=r"DCGAN is unconditional\. Received: attributes=\{'age': 3\}"):
        tiny_model("DCGAN").sample(2, attributes={"age": 3})
    with pytest.raises(UsageError, match=r"CGAN must be told what to draw: `num_classes=10`, or `attributes=`"):
        tg.models.CGAN((28, 28, 1))
    with pytest.raises(UsageError, match=r"`attributes` take the place of `num_classes`\. Received: both"):
        tiny_model("ACGAN", attributes=attributes())
    with pytest.raises(UsageError, match=r"must take 2 input\(s\) for attributes .*take conditions as the second"):
        tg.GAN(*tiny_networks(), attributes=attributes())


def test_classes_and_attributes_share_what_a_condition_is():
    for condition in (Classes(3), attributes()):
        rows = condition.in_turn(5)
        assert rows.dtype == condition.dtype and rows.shape == (5, *condition.shape)
        assert condition.input().name == condition.name == condition.spec.name
        condition.check(rows)
        np.testing.assert_array_equal(condition.tensor(rows), rows)
        np.testing.assert_array_equal(condition.chosen(None, 5), rows)


# Runs.


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 24 images of grey levels, told a number and a category; its settings."""
    path = tmp_path_factory.mktemp("levels")
    levels = np.arange(24) * 10
    lines = [f"{level},{level}.png,{'dark' if level < 120 else 'bright'}" for level in levels]
    (path / "images").mkdir()
    (path / "images" / "labels.csv").write_text("level,file,kind\n" + "\n".join(lines))
    for level in levels:
        Image.fromarray(np.full((28, 28), level, np.uint8)).save(path / "images" / f"{level}.png")
    settings = {
        **{
            "model": "CGAN",
            "dataset": str(path / "images"),
            "attributes": ("level", "kind"),
            "run_dir": str(path / "run"),
        },
        **{"model_arg": ("base_channels=2",), "latent_dim": 4, "batch_size": 8, "steps_per_epoch": 2, "holdout": 50},
        **{"extractor": "auto", "mixed_precision": "none", "on_collapse": "warn"},
    }
    said = []
    runs.train(**settings, train_steps=2, say=said.append)
    return settings, said


def test_a_run_says_what_it_is_told_and_goes_on(run):
    settings, said = run
    assert "attributes by labels.csv: level (number, " in " ".join(said).replace("Attributes", "attributes")
    record = json.loads((pathlib.Path(settings["run_dir"]) / "run.json").read_text())
    (level, kind) = record["data"]["attributes"]["columns"]
    assert (level["name"], kind) == ("level", {"name": "kind", "kind": "category", "categories": ["bright", "dark"]})
    trained = runs.train(**settings, train_steps=4)
    assert (
        trained.step == 4 and trained.receipts[0]["scores"] and trained.gan.attributes.columns[0].mean == level["mean"]
    )
    with pytest.raises(UsageError, match=r"`attributes`: the run has \['level', 'kind'\], asked for \['level'\]"):
        runs.train(**{**settings, "attributes": ("level",)}, train_steps=4)


def test_a_run_and_its_saved_model_are_scored_on_conditions_of_the_real_images(run, tmp_path):
    settings, _ = run
    of_run = runs.evaluate(run=settings["run_dir"], out=str(tmp_path / "run.json"), report=str(tmp_path / "report"))
    saved = f"{settings['run_dir']}/saved_model/1"
    of_saved = runs.evaluate(
        saved_model=saved, dataset=settings["dataset"], split="train[50%:]", out=str(tmp_path / "saved.json")
    )
    assert of_run.receipt["scores"] == pytest.approx(of_saved.receipt["scores"], rel=1e-3)
    assert (tmp_path / "report" / "index.html").is_file()
    images = data.open_images(settings["dataset"], split="train[50%:]", attributes=SavedGAN(saved).attributes)
    _, rows = images.first(12)
    sampler = SavedGAN(saved)
    drawn = study.SampledFakes(sampler, 12).batch(0, 12, rows)
    np.testing.assert_array_equal(drawn, sampler.outputs(sampler.latents(12), attributes=rows))


def test_pictures_and_arrays_of_what_is_asked_for(run, tmp_path):
    folder = run[0]["run_dir"]
    runs.generate(run=folder, num_images=5, attributes=("kind=dark", "level=30"), out=str(tmp_path / "x.npz"))
    arrays = np.load(tmp_path / "x.npz")
    assert arrays["attribute_names"].tolist() == ["level", "kind"]
    assert arrays["attributes"].tolist() == [["30", "dark"]] * 5
    again = data.open_images(str(tmp_path / "x.npz"), attributes=Run.existing(folder).restored_gan().attributes)
    assert again.num_images == 5

    runs.generate(run=folder, grid="3x4", scale=1, attributes=("kind=dark", "level=0..90"), out=str(tmp_path / "x.png"))
    picture = np.asarray(Image.open(tmp_path / "x.png"))[-3 * 30 - 2 :]
    gan = Run.existing(folder).restored_gan()
    drawn = gan.outputs(gan.latents(3)[2:], attributes={"kind": "dark", "level": 60})
    cell = picture[2 + 2 * 30 : 2 + 2 * 30 + 28, 2 + 2 * 30 : 2 + 2 * 30 + 28]
    np.testing.assert_allclose(cell, np.asarray(gan.modality.store(drawn))[0, ..., 0], atol=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attributes": ("kind",)}, r"`attributes=kind` must be NAME=VALUE, with commas between"),
        ({"attributes": ("kind=blue",)}, r"`attributes=kind=blue`: kind=blue is no value of kind \(bright, dark\)"),
        ({"attributes": ("level=0..9",), "out": "x.gif"}, r"varies along a grid: give `out=NAME.png`"),
        ({"labels": ("1",)}, r"`labels=1`: this GAN is told `attributes`: level \(number"),
    ],
)
def test_what_cannot_be_drawn_is_refused(run, tmp_path, arguments, message):
    out = str(tmp_path / arguments.pop("out", "x.png")) if "out" in arguments else str(tmp_path / "x.png")
    with pytest.raises(UsageError, match=message):
        runs.generate(run=run[0]["run_dir"], out=out, **arguments)


def test_runs_refuse_what_is_told_nothing(tmp_path):
    for model in ("ACGAN", "InfoGAN", "DCGAN", "FastGAN", "StarGAN"):
        with pytest.raises(
            UsageError, match=rf"`attributes=auto`: `model={model}` is told none\. Those that are: BigGAN, CGAN"
        ):
            runs.train(model=model, dataset="mnist_5k", attributes=("auto",), run_dir=str(tmp_path / "run"))
    with pytest.raises(UsageError, match=r"`attributes=\(\)` must name columns of a table, or be auto"):
        runs.Settings(attributes=())


# With what else there is.


@pytest.mark.parametrize("name", MODELS)
def test_oblong_images_are_told_attributes(name):
    changes = {"R3GAN": {"widths": (4,) * 3, "cardinalities": (2,) * 3}, "BigGAN": {"latent_dim": 3, "attention_at": 8}}
    changes["StyleGAN2"] = {"channel_base": 4096, "channel_max": 4}
    gan = tiny(name, {"attributes": attributes()}, image_shape=(16, 24, 2), **changes.get(name, {}))
    gan.compile(n_critic=1, run_eagerly=True)
    logs = train(gan, random_images(4, gan.image_shape), attributes().in_turn(4), batch_size=4).history
    assert np.isfinite([logs["d_loss"], logs["g_loss"]]).all()
    assert gan.sample(2, attributes={"age": 40}).shape == (2, 16, 24, 2)


class Halving(tg.GAN):
    """A GAN whose generator returns images and half as large ones, of which D judges the former."""

    def judged(self, real, inputs, outputs):
        return real, images_of(outputs)


def test_generators_that_return_more_are_told_attributes(tmp_path):
    told, latents = attributes("smiling"), keras.Input((4,), name="latents")
    inputs = [latents, told.input()]
    x = keras.layers.Dense(64)(keras.layers.Concatenate()([latents, told.embed(inputs[1], 3, "normal")]))
    images = keras.layers.Activation("tanh")(keras.layers.Reshape(SHAPE)(x))
    judged = [keras.Input(SHAPE, name="images"), told.input()]
    features = [keras.layers.Flatten()(judged[0]), told.embed(judged[1], 3, "normal")]
    discriminator = keras.Model(judged, keras.layers.Dense(1)(keras.layers.Concatenate()(features)))
    gan = Halving(
        keras.Model(inputs, {"images": images, "half": keras.layers.AveragePooling2D(2)(images)}),
        discriminator,
        attributes=told,
    )
    gan.compile()
    train(gan, random_images(8), told.in_turn(8))
    drawn = gan.sample(3, attributes={"smiling": ["yes", "no", 1]})
    saved = SavedGAN(gan.export(tmp_path / "1"))
    np.testing.assert_allclose(saved.sample(3, attributes={"smiling": [1, 0, 1]}), drawn, atol=1e-5)
