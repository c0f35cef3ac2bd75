"""What `keras.Model` takes: it does for a GAN what it does elsewhere, or is refused with what to write."""

import importlib.util
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import logging
from conftest import (
    LATENT_DIM,
    SHAPE,
    assert_all_close,
    random_images,
    random_labels,
    tiny_extractor,
    tiny_gan,
    tiny_networks,
    train,
    values,
)
from keras import layers

import tfgan_app as tg
from tfgan_app.base.errors import UsageError

IMAGES = random_images(8)
# Five batches of two: where the size of a batch is not known before, several critic updates leave the last one out.
MORE = random_images(10)


def eager(num_classes=None, **kwargs):
    return tiny_gan(num_classes, run_eagerly=True, **kwargs)


def sgd(g_rate=0.1, d_rate=0.4, **kwargs):
    rates = {"g_optimizer": g_rate, "d_optimizer": d_rate}
    return {name: keras.optimizers.SGD(rate, **kwargs) for name, rate in rates.items()}


def rates(gan):
    return [float(gan.g_optimizer.learning_rate), float(gan.d_optimizer.learning_rate)]


@pytest.fixture
def warnings(monkeypatch):
    """Returns a list that fills with what the library warns of."""
    found = []
    monkeypatch.setattr(logging, "warning", lambda message, *parts: found.append(message % parts))
    return found


# Callbacks.


def test_schedules_of_learning_rates_reach_both_players():
    gan = eager(**sgd())
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    history = train(gan, IMAGES, epochs=2, callbacks=[scheduler]).history
    np.testing.assert_allclose(rates(gan), [0.025, 0.1])
    np.testing.assert_allclose(history["learning_rate_g_optimizer"], [0.05, 0.025])
    np.testing.assert_allclose(history["learning_rate_d_optimizer"], [0.2, 0.1])


def test_a_plateau_lowers_both_rates_and_keeps_their_ratio():
    gan = eager(**sgd())
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="d_real", mode="min", factor=0.5, patience=1, min_delta=9.0)
    train(gan, IMAGES, epochs=2, callbacks=[plateau])
    np.testing.assert_allclose(rates(gan), [0.05, 0.2])


def test_a_gan_has_no_one_learning_rate():
    gan = eager()
    with pytest.raises(AttributeError, match=r"two learning rates: `gan\.g_optimizer\.learning_rate` and"):
        gan.optimizer.learning_rate = 0.1
    assert not hasattr(gan.optimizer, "learning_rate")


def test_averages_of_the_optimizer_are_swapped_for_evaluation_and_stay_at_the_end():
    gan = eager(**sgd(use_ema=True, ema_momentum=0.5))
    kernel = gan.discriminator.weights[0]
    seen = []

    class Look(keras.callbacks.Callback):
        def on_test_batch_begin(self, batch, logs=None):
            seen.append(np.array(kernel))

        def on_epoch_end(self, epoch, logs=None):
            seen.append(np.array(kernel))

    train(gan, IMAGES, validation_data=IMAGES, callbacks=[keras.callbacks.SwapEMAWeights(), Look()])
    averaged, trained = seen[0], seen[-1]
    assert np.abs(averaged - trained).max() > 1e-4
    np.testing.assert_allclose(kernel, averaged, atol=1e-6)


def test_tensorboard_counts_the_steps(tmp_path, monkeypatch):
    # TensorBoard itself need not be installed.
    written, summary = {}, mock.MagicMock()
    summary.scalar = lambda name, value, step: written.update({name: (float(value), int(step))})
    monkeypatch.setattr(keras.callbacks.TensorBoard, "summary", summary)
    board = keras.callbacks.TensorBoard(tmp_path, write_graph=False, write_steps_per_second=True, update_freq=1)
    train(eager(), IMAGES, validation_data=IMAGES, callbacks=[board])
    assert written["evaluation_d_loss_vs_iterations"][1] == 2
    assert written["epoch_steps_per_second"][0] > 0
    assert {"epoch_learning_rate_g_optimizer", "epoch_learning_rate_d_optimizer"} <= set(written)


def test_backups_restore_both_optimizers(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    one, other, whole = eager(), eager(init=5), eager()
    with pytest.raises(KeyboardInterrupt):
        train(one, IMAGES, epochs=2, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup"), Interrupt()])
    train(other, IMAGES, epochs=2, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup")])
    train(whole, IMAGES, epochs=2)
    assert_all_close(values(other, other.g_optimizer), values(whole, whole.g_optimizer), 1e-6)


def test_logs_are_written_and_sent(tmp_path):
    seen = []
    callbacks = [
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs))),
        keras.callbacks.ModelCheckpoint(tmp_path / "epoch_{epoch}.keras"),
    ]
    train(eager(), IMAGES, callbacks=callbacks)
    assert set((tmp_path / "log.csv").read_text().splitlines()[0].split(",")) >= {"epoch", *seen[0]}
    assert "loss" not in seen[0]
    assert keras.models.load_model(tmp_path / "epoch_1.keras").step == 2


@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_nan_ends_training(steps_per_execution):
    gan = tiny_gan(steps_per_execution=steps_per_execution)
    gan.generator.weights[0].assign(np.full(gan.generator.weights[0].shape, np.nan))
    train(gan, IMAGES, epochs=3, callbacks=keras.callbacks.TerminateOnNaN())
    assert gan.step == steps_per_execution
    with pytest.raises(RuntimeError, match="NaN or Inf loss"):
        train(gan, IMAGES, callbacks=[keras.callbacks.TerminateOnNaN(raise_error=True)])


def test_finite_losses_do_not_end_training():
    gan = eager()
    history = train(gan, IMAGES, callbacks=[keras.callbacks.TerminateOnNaN()]).history
    assert gan.step == 2 and "loss" not in history


def test_a_monitored_metric_knows_its_direction():
    gan = eager(metrics=[tg.metrics.FrechetDistance(tiny_extractor())])
    stopping = keras.callbacks.EarlyStopping("val_fd", patience=1, min_delta=1e9, restore_best_weights=True)
    history = train(gan, IMAGES, epochs=4, validation_data=IMAGES, callbacks=[stopping])
    assert len(history.epoch) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.callbacks.EarlyStopping("loss"),
        lambda: keras.callbacks.ReduceLROnPlateau(),
        lambda: keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True),
    ],
)
def test_there_is_no_loss_to_monitor(make):
    with pytest.raises(UsageError, match=r"monitors `(val_)?loss`, but a GAN has two losses.*`monitor=\"val_fd\"`"):
        train(eager(), IMAGES, callbacks=[make()])


def test_a_direction_must_be_known_before_training():
    gan = eager()
    with pytest.raises(UsageError, match=r'EarlyStopping cannot tell whether `g_loss` should .*`mode="min"`'):
        train(gan, IMAGES, callbacks=[keras.callbacks.EarlyStopping("g_loss")])
    assert gan.step == 0


def test_the_state_has_a_name_for_each_variable():
    gan = eager()
    tree = gan.get_state_tree()
    assert set(tree["optimizer_variables"]) >= {"g_optimizer", "d_optimizer"}
    assert "ema" in tree["non_trainable_variables"]


# What `compile` takes.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "adam"}, r"`compile\(g_optimizer=\.\.\., d_optimizer=\.\.\.\)`"),
        (
            {"loss": "binary_crossentropy"},
            r"NonSaturating, .*Write `loss=tfgan_app\.losses\.NonSaturating\(real_label=1",
        ),
        (
            {"loss": keras.losses.BinaryCrossentropy()},
            r"Write `loss=tfgan_app\.losses\.NonSaturating\(real_label=1\.0\)",
        ),
        ({"loss": keras.losses.mean_squared_error}, r"Write `loss=tfgan_app\.losses\.LeastSquares\(\)`"),
        ({"loss": "huber"}, r"name of one of Hinge, .*Wasserstein\. Received: loss='huber'"),
        ({"loss_weights": [1.0]}, r"Give terms their weight: `compile\(terms="),
        ({"metrics": ["accuracy"]}, r"`metrics` must be a list .*FrechetDistance.*Received: 'accuracy'"),
        ({"metrics": [keras.metrics.BinaryAccuracy()]}, "`metrics` must be a list .*BinaryAccuracy"),
        ({"metrics": "accuracy"}, "`metrics` must be a list "),
        ({"weighted_metrics": ["accuracy"]}, "`weighted_metrics` means nothing"),
        ({"auto_scale_loss": False}, "`auto_scale_loss` must be True"),
        ({"terms": ["r1"]}, r"`terms` must be a list of tfgan_app\.terms\.Term\. Received: \['r1'\]"),
        ({"terms": tg.terms.R1()}, "`terms` must be a list"),
        ({"augment": "diffaugment"}, r"`augment` must be a layer .*Received: 'diffaugment'"),
    ],
)
def test_what_compile_refuses(arguments, message):
    with pytest.raises(UsageError, match=message):
        tg.GAN(*tiny_networks()).compile(**arguments)


@pytest.mark.parametrize(
    ("name", "cls"), [("hinge", "Hinge"), ("least_squares", "LeastSquares"), ("NonSaturating", "NonSaturating")]
)
def test_a_loss_goes_by_its_name(name, cls):
    gan = eager(loss=name, auto_scale_loss=True)
    assert type(gan.loss) is getattr(tg.losses, cls)
    train(gan, IMAGES)


# Weights, splits, sources.

WEIGHTS = np.ones(8, np.float32)


@pytest.mark.parametrize(
    "call",
    [
        lambda gan: gan.fit(IMAGES, sample_weight=WEIGHTS),
        lambda gan: gan.fit(IMAGES, random_labels(8), class_weight={0: 2.0}),
        lambda gan: gan.fit(IMAGES, validation_data=(IMAGES, random_labels(8), WEIGHTS)),
        lambda gan: gan.fit(tf.data.Dataset.from_tensor_slices((IMAGES, random_labels(8), WEIGHTS)).batch(4)),
        lambda gan: gan.evaluate(IMAGES, sample_weight=WEIGHTS),
        lambda gan: gan.train_on_batch(IMAGES, sample_weight=WEIGHTS),
        lambda gan: gan.test_on_batch(IMAGES, sample_weight=WEIGHTS),
    ],
)
def test_weights_are_refused_with_what_to_write(call):
    with pytest.raises(UsageError, match=r"`(sample|class)_weight` has no meaning .*`fit\(x\[index\], y\[index\]\)`"):
        call(eager())


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return MORE[2 * index : 2 * index + 2]


def generator():
    for index in range(5):
        yield (MORE[2 * index : 2 * index + 2],)


SOURCES = {
    "array": lambda: MORE,
    "tensor": lambda: tf.constant(MORE),
    "float64": lambda: MORE.astype(np.float64),
    "tf.data": lambda: tf.data.Dataset.from_tensor_slices(MORE).batch(2),
    "tf.data of float64": lambda: tf.data.Dataset.from_tensor_slices(MORE.astype(np.float64)).batch(2),
    "tfds": lambda: tf.data.Dataset.from_tensor_slices({"image": MORE, "label": random_labels(10)}).batch(2),
    "PyDataset": Batches,
    "generator": generator,
}


@pytest.mark.parametrize("n_critic", [1, 2])
@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_trains_alike(kind, n_critic):
    gan, expected = eager(n_critic=n_critic), eager(n_critic=n_critic)
    train(expected, MORE, batch_size=2)
    source = SOURCES[kind]()
    steps = 5 // n_critic
    options = {"batch_size": 2} if hasattr(source, "shape") else {"steps_per_epoch": steps}
    gan.fit(source, shuffle=False, verbose=0, **options)
    assert gan.step == expected.step == steps
    assert_all_close(values(gan), values(expected), 1e-6)


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="needs torch")
def test_a_loader_of_torch_trains():
    import torch

    gan = eager(n_critic=2)
    gan.fit(torch.utils.data.DataLoader(torch.tensor(IMAGES), batch_size=2), shuffle=False, verbose=0)
    assert gan.step == 2


def test_half_precision_images_train():
    train(eager(), IMAGES.astype(np.float16))
    gan = eager()
    gan.fit(tf.data.Dataset.from_tensors(tf.cast(IMAGES, tf.bfloat16)), shuffle=False, verbose=0)
    assert gan.step == 1


@pytest.mark.parametrize("n_critic", [1, 2])
def test_a_part_of_arrays_validates(n_critic):
    gan, expected = eager(3, n_critic=n_critic), eager(3, n_critic=n_critic)
    labels = random_labels(8)
    # By position too, as Keras takes them: epochs, verbose, callbacks, validation_split.
    history = gan.fit(IMAGES, labels, 2, 1, 0, None, 0.5, None, False).history
    train(expected, IMAGES[:4], labels[:4], batch_size=2)
    scores = expected.evaluate(IMAGES[4:], labels[4:], batch_size=2, verbose=0, return_dict=True)
    np.testing.assert_allclose(history["val_d_loss"], [scores["d_loss"]], rtol=1e-5)
    assert_all_close(values(gan), values(expected), 1e-6)


def test_a_part_of_a_dataset_cannot_be_told():
    with pytest.raises(UsageError, match=r"`validation_split` is for arrays.*dataset\.skip"):
        eager(n_critic=2).fit(SOURCES["tf.data"](), validation_split=0.5)
    with pytest.raises(UsageError, match=r"`validation_split=0\.9` leaves no samples .*Received: 8 samples"):
        eager().fit(IMAGES, validation_split=0.9)


def test_sets_without_end_or_content():
    endless, gan = SOURCES["tf.data"]().repeat(), eager()
    with pytest.raises(UsageError, match="repeats without end: give `steps_per_epoch`"):
        gan.fit(endless)
    with pytest.raises(UsageError, match="repeats without end: give `validation_steps`"):
        gan.fit(IMAGES, validation_data=endless)
    with pytest.raises(UsageError, match="repeats without end: give `steps`"):
        gan.evaluate(endless)
    gan.fit(endless, steps_per_epoch=2, epochs=2, initial_epoch=1, shuffle=False, verbose=0)
    assert gan.step == 2
    nothing = tf.data.Dataset.from_tensor_slices(IMAGES).batch(4).filter(lambda x: False)
    for call in (gan.fit, gan.evaluate):
        for source in (IMAGES[:0], SOURCES["tf.data"]().take(0), (x for x in ())):
            with pytest.raises(UsageError, match="There is no batch to take"):
                call(source)
    with pytest.warns(UserWarning, match="ran out of data"), pytest.raises(UsageError, match="no batch"):
        gan.fit(nothing, shuffle=False, verbose=0)


def test_a_step_on_a_batch_takes_equal_parts():
    with pytest.raises(UsageError, match=r"n_critic=3 batches of equal size\. Received: 8 samples"):
        eager(n_critic=3).train_on_batch(IMAGES)


# Samples and labels.


def as_dataset(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(4)


WAYS = {
    "fit": lambda gan, *data: gan.fit(*data, verbose=0),
    "fit steps": lambda gan, *data: gan.fit(as_dataset(*data), shuffle=False, verbose=0),
    "validation": lambda gan, *data: gan.fit(
        IMAGES, random_labels(8), validation_data=data[0] if len(data) == 1 else data, verbose=0
    ),
    "evaluate": lambda gan, *data: gan.evaluate(*data, verbose=0),
    "evaluate steps": lambda gan, *data: gan.evaluate(as_dataset(*data), verbose=0),
    "train_on_batch": lambda gan, *data: gan.train_on_batch(*data),
    "test_on_batch": lambda gan, *data: gan.test_on_batch(*data),
}
BAD_IMAGES = {
    r"floating point in \[-1, 1\].*Received: uint8": (IMAGES * 255).astype(np.uint8),
    r"write `images / 127\.5 - 1`\. Received: values from 0 to ": np.linspace(0, 255, 512).reshape(8, *SHAPE),
    "NaN or infinity": np.where(IMAGES > 0.9, np.nan, IMAGES),
    r"write `images\[\.\.\., numpy\.newaxis\]`. Received: \(\S+ 8, 8\)": IMAGES[..., 0],
    r"The channels come last: write `numpy\.moveaxis\(images, 1, -1\)`": np.moveaxis(IMAGES, -1, 1),
    r"Resize them, `tf\.image\.resize\(images, \(8, 8\)\)`": random_images(8, (9, 8, 1)),
    r"must have the shape \(batch, 8, 8, 1\)\. Received: \(\S+ 8, 8, 3\)": random_images(8, (8, 8, 3)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("message", BAD_IMAGES)
def test_images_that_cannot_be_trained_on(message, way):
    gan = eager()
    with pytest.raises(UsageError, match=message):
        WAYS[way](gan, BAD_IMAGES[message].astype(np.uint8 if "uint8" in message else np.float32))
    assert gan.step == 0 or way == "validation"


def test_a_set_must_be_batched():
    for n_critic in (1, 2):
        with pytest.raises(UsageError, match=r"Give them in batches: `dataset\.batch\(64\)`"):
            eager(n_critic=n_critic).fit(tf.data.Dataset.from_tensor_slices(IMAGES))


def test_data_are_looked_at_in_compiled_steps_too():
    gan = tiny_gan(steps_per_execution=2, jit_compile=True)
    with pytest.raises(UsageError, match=r"write `images / 127\.5 - 1`"):
        gan.fit(as_dataset(np.abs(IMAGES) * 255), shuffle=False, verbose=0)
    assert gan.step == 0


@pytest.mark.parametrize("way", ["fit", "fit steps", "evaluate", "train_on_batch"])
@pytest.mark.parametrize(
    ("images", "message"),
    [(np.abs(IMAGES), r"No image is below 0.*write `images \* 2 - 1`"), (3 * IMAGES, r"far outside \[-1, 1\]")],
)
def test_another_range_is_warned_of_once(images, message, way, warnings):
    WAYS[way](eager(), images)
    assert len(warnings) == 1
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(warnings[0])


def test_usual_images_and_points_of_any_range_raise_no_warning(warnings):
    train(eager(), IMAGES)
    latents, points = keras.Input((2,)), keras.Input((2,))
    gan = tg.GAN(keras.Model(latents, layers.Dense(2)(latents)), keras.Model(points, layers.Dense(1)(points)))
    gan.compile(run_eagerly=True)
    train(gan, np.array([[0.0, 300.0]] * 4, np.float32))
    assert warnings == []
    with pytest.raises(UsageError, match=r"Points must be floating point\. Received: int64"):
        train(gan, np.zeros((4, 2), np.int64))


LABELS = {
    "uint8": lambda x: x.astype(np.uint8),
    "int64": lambda x: x.astype(np.int64),
    "column": lambda x: x[:, np.newaxis],
    "whole floats": lambda x: x.astype(np.float32),
    "one-hot": lambda x: np.eye(3, dtype=np.float32)[x],
}


@pytest.mark.parametrize("way", ["fit", "fit steps"])
@pytest.mark.parametrize("form", LABELS)
def test_labels_in_every_form(form, way):
    gan, expected, labels = eager(3), eager(3), random_labels(8)
    gan.fit(*([IMAGES, LABELS[form](labels), 4] if way == "fit" else [as_dataset(IMAGES, LABELS[form](labels))]),
            shuffle=False, verbose=0)  # fmt: skip
    train(expected, IMAGES, labels)
    assert_all_close(values(gan), values(expected))


BAD_LABELS = {
    "values from 0 to 3": np.arange(8) % 4,
    "values from -1 to 1": np.arange(8) % 3 - 1,
    "values from 0 to 1.5": np.arange(8) % 4 / 2,
    r"shape \(\S+ 2\)": np.zeros((8, 2), np.int32),
    "rows that are not one-hot": np.full((8, 3), 1 / 3),
    r"return_inverse=True\)` makes them of strings\. Received: string": np.array(["dog", "cat"] * 4),
}


@pytest.mark.parametrize("way", ["fit", "fit steps", "validation", "evaluate", "train_on_batch"])
@pytest.mark.parametrize("message", BAD_LABELS)
def test_labels_that_are_no_classes(message, way):
    with pytest.raises(UsageError, match=rf"`labels` must be integers from 0 to 2, one for each sample.*{message}"):
        WAYS[way](eager(3), IMAGES, BAD_LABELS[message])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (((IMAGES, random_labels(8)),), r"`fit\(images, labels\)`\. Received: (tuple|list)"),
        (({"picture": IMAGES},), r"A dict must hold `image`.*Received: \['picture'\]"),
    ],
)
def test_structures_that_hold_no_images(data, message):
    with pytest.raises(UsageError, match=message):
        eager().fit(*data)


# Networks.


def of_activation(role, activation):
    networks = dict(zip(("generator", "discriminator"), tiny_networks(), strict=True))
    network = networks[role]
    networks[role] = keras.Model(network.input, activation(network.output))
    gan = tg.GAN(**networks)
    gan.compile()
    gan.compile(loss="hinge")
    return gan


@pytest.mark.parametrize(
    "activation",
    [
        layers.Activation("sigmoid"),
        layers.Dense(1, activation="sigmoid"),
        keras.ops.sigmoid,
        lambda x: layers.Reshape(tuple(x.shape[1:]))(layers.Activation("sigmoid")(x)),
        lambda x: keras.Sequential([keras.Input(x.shape[1:]), layers.Activation("sigmoid")])(x),
    ],
)
def test_sigmoids_at_the_end_are_warned_of(activation, warnings):
    of_activation("discriminator", activation)
    expected = "The discriminator ends in sigmoid, but {} takes logits: leave the last activation out."
    assert warnings == [expected.format("NonSaturating"), expected.format("Hinge")]
    warnings.clear()
    of_activation("generator", activation)
    assert len(warnings) == 1
    assert "The generator ends in sigmoid, but images lie in [-1, 1]" in warnings[0]


def test_other_ends_are_as_they_should_be(warnings):
    of_activation("discriminator", layers.Rescaling(2.0))
    of_activation("generator", layers.Activation("tanh"))
    gan = of_activation("discriminator", layers.ReLU())
    assert "ends in relu" in warnings.pop()

    class Own(tg.losses.AdversarialLoss):
        pass

    warnings.clear()
    gan.compile(loss=Own())
    assert warnings == []


class Scaled(layers.Layer):
    """A layer of someone's own, neither registered nor with what Keras gives every layer."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor


class Whole(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(64, activation="tanh")

    def call(self, inputs):
        return self.dense(inputs)


def squash(x):
    return tf.nn.tanh(x)


GENERATORS = {
    "lambda": lambda x: layers.Lambda(lambda x: tf.nn.tanh(x))(layers.Dense(64)(x)),
    "function": lambda x: layers.Lambda(squash)(layers.Dense(64)(x)),
    "activation": lambda x: layers.Dense(64, activation=squash)(x),
    "anonymous activation": lambda x: layers.Dense(64, activation=lambda x: tf.nn.tanh(x))(x),
    "own layer": lambda x: Scaled(0.5)(layers.Dense(64, activation="tanh")(x)),
    "own model": lambda x: Whole()(x),
    "operations": lambda x: keras.ops.tanh(keras.ops.reshape(layers.Dense(64)(x), (-1, 64))),
    "recurrent": lambda x: layers.Flatten()(
        layers.Bidirectional(layers.LSTM(4, return_sequences=True))(layers.Reshape((8, 8))(layers.Dense(64)(x)))
    ),
    "noise": lambda x: layers.GaussianNoise(0.1)(layers.Dropout(0.2)(layers.BatchNormalization()(layers.Dense(64)(x)))),
    "shared": lambda x: (lambda dense: dense(dense(layers.Dense(64)(x))))(layers.Dense(64)),
}


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("name", GENERATORS)
def test_networks_of_layers_of_ones_own_train(name, policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    latents = keras.Input((LATENT_DIM,), name="latents")
    images = layers.Activation("linear", dtype="float32")(layers.Reshape(SHAPE)(GENERATORS[name](latents)))
    gan = tg.GAN(keras.Model(latents, images), tiny_networks()[1], seed=3)
    gan.compile(run_eagerly=True, ema_decay=0)
    train(gan, IMAGES)
    assert {layer.compute_dtype for layer in gan.ema_generator._flatten_layers()} == {"float32"}
    keras.config.set_dtype_policy("float32")
    gan.ema_generator.set_weights(gan.generator.get_weights())  # `fit` has measured statistics of batches
    np.testing.assert_allclose(
        gan.ema_generator(np.ones((2, LATENT_DIM))), gan.generator(np.ones((2, LATENT_DIM))), atol=2e-2
    )
    assert gan.sample(2).shape == (2, *SHAPE)
    gan.save_weights(tmp_path / "gan.weights.h5")
    gan.load_weights(tmp_path / "gan.weights.h5")


def test_a_layer_that_cannot_be_made_again_is_named():
    class Stubborn(layers.Layer):
        def __init__(self, network):
            super().__init__(name="stubborn")
            self.network = network

        def call(self, inputs):
            return inputs

        def get_config(self):
            return {}

    generator, discriminator = tiny_networks()
    with pytest.raises(UsageError, match=r"The layer stubborn cannot be copied.*Stubborn\.get_config\(\) must return"):
        tg.GAN(keras.Model(generator.input, Stubborn(3)(generator.output)), discriminator)


def test_unbuilt_networks_are_refused_with_what_to_write():
    unbuilt = keras.Sequential([layers.Flatten(), layers.Dense(1)])
    with pytest.raises(UsageError, match=r"Begin a Sequential one with `keras\.Input\(shape\)`"):
        tg.GAN(tiny_networks()[0], unbuilt)


def test_both_passes_of_a_discriminator_add_to_its_loss():
    class Joint(tg.GAN):
        joint_pass = True

    def moved(cls, factor):
        keras.utils.set_random_seed(0)
        images = keras.Input(SHAPE)
        x = layers.Dense(1, activity_regularizer=lambda y: factor * tf.reduce_sum(y))(layers.Flatten()(images))
        gan = cls(tiny_networks()[0], keras.Model(images, x), seed=3)
        before = np.array(gan.discriminator.weights[1])
        gan.compile(run_eagerly=True, d_optimizer=keras.optimizers.SGD(1.0))
        train(gan, IMAGES[:4])
        return np.array(gan.discriminator.weights[1]) - before

    for cls in (tg.GAN, Joint):
        # The bias is in every output; Keras takes the mean over the batch, here over real images and over fakes.
        np.testing.assert_allclose(moved(cls, 0.01) - moved(cls, 0.0), [-0.02], atol=1e-5)


@pytest.mark.parametrize("packing", [2, 3])
def test_a_last_batch_smaller_than_a_pack(packing):
    pack = tg.layers.Pack(packing)
    one = np.full((1, 2, 2, 1), 5.0, np.float32)
    np.testing.assert_array_equal(pack(one), np.full((1, 2, 2, packing), 5.0))
    assert pack.compute_output_shape((1, 2, 2, 1)) == (1, 2, 2, packing)
    assert pack(one[:0]).shape == (0, 2, 2, packing)
    images = keras.Input(SHAPE)
    gan = tg.GAN(tiny_networks()[0], keras.Model(images, layers.Dense(1)(layers.Flatten()(pack(images)))))
    gan.compile(run_eagerly=True)
    history = train(gan, random_images(4 + 1)).history
    assert all(np.isfinite(history[name]).all() for name in history)


# The rest of a model's methods.


def test_a_gan_is_a_model_in_other_ways():
    gan = eager(3)
    gan.calibrate()
    latents, labels = np.ones((2, LATENT_DIM), np.float32), np.array([0, 2])
    expected = gan.ema_generator([latents, labels])
    np.testing.assert_allclose(gan.predict([latents, labels], verbose=0), expected, atol=1e-6)
    np.testing.assert_allclose(gan([latents, labels]), expected, atol=1e-6)
    lines = []
    gan.summary(print_fn=lines.append)
    assert "discriminator" in "\n".join(lines)
    assert {layer.name for layer in gan.layers} == {"generator", "discriminator"}
    assert gan.count_params() == sum(np.size(weight) for weight in gan.get_weights())
    copy = keras.models.clone_model(gan)
    copy.set_weights(gan.get_weights())
    np.testing.assert_array_equal(copy.sample(2), gan.sample(2))
