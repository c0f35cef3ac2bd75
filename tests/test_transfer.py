"""`init_from`: each layer that fits is taken from its place in the source, and nothing else changes."""

import json
import re

import keras
import numpy as np
import pytest
from conftest import (
    assert_all_close,
    parsed_settings,
    random_images,
    tiny_gan,
    tiny_model,
    train,
    values,
)

import tfgan_app as tg
from tfgan_app import runs
from tfgan_app.base.errors import UsageError
from tfgan_app.export import SavedGAN
from tfgan_app.runs.record import Run, open_parent
from tfgan_app.runs.session import Session

NETWORKS = ("generator", "ema_generator", "discriminator")


def trained(name="CGAN", **arguments):
    """A model of which every weight differs from a new one's, the average's from the generator's too."""
    keras.utils.set_random_seed(4)
    gan = tiny_model(name, **arguments)
    gan.compile(run_eagerly=True)
    for index, variable in enumerate(v for network in NETWORKS for v in getattr(gan, network).weights):
        variable.assign(variable + (1 + index % 7) / 16)
    gan.iterations.assign(7)
    return gan


def fresh(name="CGAN", **arguments):
    keras.utils.set_random_seed(5)
    gan = tiny_model(name, **arguments)
    gan.compile(run_eagerly=True)
    return gan


def shapes(network, kinds):
    return {
        v.path.removeprefix("ema/"): tuple(v.shape) for v in network.weights if any(kind in v.path for kind in kinds)
    }


def test_every_weight_is_taken_from_its_place_and_training_is_new():
    source, gan = trained(), fresh()
    line = tg.init_from(gan, source)
    taken = "Took 6 of 6 layers of the generator and 5 of 5 layers of the discriminator"
    assert line == f"{taken} from a CGAN of step 7; anew begin none."
    for name in NETWORKS:
        assert_all_close(values(getattr(gan, name)), values(getattr(source, name)))
    assert np.any(values(gan.generator)[1] != values(gan.ema_generator)[1])
    assert gan.step == 0
    assert all(np.all(v == 0) for v in values(gan.g_optimizer) if v.ndim)


def test_an_exported_model_gives_its_average_to_both_and_its_discriminator(tmp_path):
    source, gan = trained(), fresh()
    source.export(tmp_path / "1")
    saved = SavedGAN(tmp_path / "1")
    assert tg.init_from(gan, tmp_path / "1").startswith(
        "Took 6 of 6 layers of the generator and 5 of 5 layers of the disc"
    )
    np.testing.assert_allclose(gan.sample(4, seed=3), saved.sample(4, seed=3), atol=1e-6)
    assert_all_close(values(gan.discriminator), values(source.discriminator))
    # Statistics of batches are measured anew for the average.
    assert_all_close(values(gan.generator), values(source.ema_generator), 1e-6)


@pytest.mark.parametrize("name", ["BigGAN", "StyleGAN2", pytest.param("FastGAN", marks=pytest.mark.slow)])
def test_layers_of_all_kinds_find_their_place(name, tmp_path):
    source, gan = trained(name), fresh(name)
    source.save(tmp_path / "gan.keras")
    tg.init_from(gan, tmp_path / "gan.keras")
    for network in NETWORKS:
        assert_all_close(values(getattr(gan, network)), values(getattr(source, network)))


def test_without_its_discriminator_an_exported_model_says_so(tmp_path):
    source, gan = trained(), fresh()
    source.export(tmp_path / "1")
    saved = SavedGAN(tmp_path / "1")
    own = [v for v in saved.variables if v.name.startswith("ema/")]
    type(saved).variables, before = property(lambda self: own), type(saved).variables
    try:
        line = tg.init_from(gan, saved)
    finally:
        del type(saved).variables
    assert "0 of 5 layers of the discriminator" in line
    assert line.endswith("anew begin the discriminator, which the exported model lacks.")
    assert before is not None


def test_another_number_of_classes_renews_what_depends_on_it():
    source, gan = trained(num_classes=3), fresh(num_classes=5)
    before = values(gan.generator)
    line = tg.init_from(gan, source)
    assert "Took 5 of 6 layers of the generator and 4 of 5 layers of the discriminator" in line
    assert line.count("embedding") == 2
    for own, other, old in zip(gan.generator.weights, source.generator.weights, before, strict=True):
        expected = np.asarray(other) if "embedding" not in own.path else old
        np.testing.assert_array_equal(np.asarray(own), expected)


def test_attributes_in_the_place_of_classes_renew_what_depends_on_them():
    told = tg.conditions.Attributes.of({"age": [20, 30, 60, 50], "on": [1, 0, 0, 1]})
    for source, gan in (
        (trained(num_classes=3), fresh(num_classes=None, attributes=told)),
        (trained(num_classes=None, attributes=told), fresh(num_classes=3)),
    ):
        line = tg.init_from(gan, source)
        assert "Took 5 of 6 layers of the generator and 4 of 5 layers of the discriminator" in line
        assert re.search(r"anew begin (embedding|dense)\w*; \1\w*\.$", line)
        taken = [np.array_equal(*pair) for pair in zip(values(gan.generator), values(source.generator), strict=True)]
        assert taken == [False] + [True] * (len(taken) - 1)


def sides_of(network):
    return {
        id(w): layer.output.shape[1] for layer in network.layers for w in layer.weights if len(layer.output.shape) == 4
    }


def test_another_size_takes_the_maps_in_common():
    source, gan = (
        trained("FastGAN", image_shape=(32, 32, 3), base_channels=4),
        fresh("FastGAN", image_shape=(64, 64, 3), base_channels=4),
    )
    untouched = {id(v): np.array(v) for v in gan.generator.weights + gan.discriminator.weights}
    tg.init_from(gan, source)

    def taken(network):
        found = {}
        for layer in network.layers:
            if isinstance(layer, tg.layers.SpectralConv2D):
                side = layer.output.shape[1]
                new = np.array_equal(np.asarray(layer.kernel), untouched[id(layer._kernel)])
                found.setdefault(side, []).append(not new)
        return found

    # Convolutions that return a map of a side, from 4x4 (the latents) to what is new.
    of_generator = taken(gan.generator)
    assert all(all(of_generator[side]) for side in (8, 16))
    assert not any(of_generator[64])
    of_discriminator = taken(gan.discriminator)
    # All but the small image's first one, which sees pixels in the source.
    assert of_discriminator[8].count(False) == 1 and not any(of_discriminator[64])
    # They are those of the same side in the source, in their order.
    for network in ("generator", "discriminator"):
        for side in (8, 16):
            own, other = (
                [
                    x
                    for x in getattr(one, network).layers
                    if isinstance(x, tg.layers.SpectralConv2D) and x.output.shape[1] == side
                ]
                for one in (gan, source)
            )
            same = [x for x in own if any(x.kernel.shape == y.kernel.shape for y in other)]
            for layer in same:
                assert any(
                    np.array_equal(np.asarray(layer.kernel), np.asarray(y.kernel))
                    for y in other
                    if y.kernel.shape == layer.kernel.shape
                )


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(
        UsageError, match=r"No layer of the generator of a FastGAN of step 0 fits GAN here\. `init_from` takes"
    ):
        tg.init_from(tiny_gan(), fresh("FastGAN"))
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "dense.keras")
    with pytest.raises(UsageError, match=r"holds a Sequential, and must hold a GAN of this package"):
        tg.init_from(tiny_gan(), tmp_path / "dense.keras")
    (tmp_path / "broken.keras").write_text("no zip")
    with pytest.raises(UsageError, match=r"`init_from=.*broken\.keras` cannot be loaded"):
        tg.init_from(tiny_gan(), tmp_path / "broken.keras")
    with pytest.raises(UsageError, match=r"`init_from=nowhere` must be a run's folder, that of an exported model"):
        open_parent("nowhere")


# Runs.


def settings(folder, *arguments):
    return parsed_settings(
        "--model=CGAN", "--model_arg=base_channels=2", "--latent_dim=4", "--dataset=mnist_5k", "--split=train[:32]",
        "--batch_size=8", "--train_steps=2", "--steps_per_epoch=2", "--extractor=none", "--jit_compile=false",
        f"--run_dir={folder}", *arguments,
    )  # fmt: skip


def test_a_run_begins_with_anothers_weights_once(tmp_path):
    said = []
    with Session(settings(tmp_path / "first")) as first:
        first.train()
    arguments = settings(tmp_path / "second", f"--init_from={tmp_path / 'first'}", "--freeze_d=1", "--seed=1")
    with Session(arguments, said.append) as second:
        second.open()
        for name in NETWORKS:
            assert_all_close(values(getattr(second.gan, name)), values(getattr(first.gan, name)))
        assert second.gan.step == 0
        second.fit()
        second.finish()
    assert sum(line.startswith("Took 6 of 6 layers of the generator") for line in said) == 1
    frozen = values(first.gan.discriminator)[0]
    np.testing.assert_array_equal(values(second.gan.discriminator)[0], frozen)
    record = json.loads((tmp_path / "second" / "run.json").read_text())
    parent = {
        "source": str(tmp_path / "first"),
        "model": "CGAN",
        "step": 2,
        "data": "mnist_5k",
        "licence": "CC BY-SA 3.0",
    }
    assert record["parent"] == parent
    card = (tmp_path / "second" / "saved_model" / "README.md").read_text()
    assert (
        f"| Began with the weights of | CGAN trained on mnist_5k, step 2 (`{tmp_path / 'first'}`); CC BY-SA 3.0 |"
        in card
    )
    # The same command goes on, without the source.
    (tmp_path / "first").rename(tmp_path / "gone")
    said.clear()
    with Session(
        settings(
            tmp_path / "second", f"--init_from={tmp_path / 'first'}", "--freeze_d=1", "--seed=1", "--train_steps=4"
        ),
        said.append,
    ) as again:
        again.open()
        assert_all_close(values(again.gan), values(second.gan))
        again.fit()
    assert not any(line.startswith("Took") for line in said)
    assert Run(tmp_path / "second").parent == parent
    assert [layer.trainable for layer in again.gan.discriminator.layers if layer.weights][:2] == [False, True]
    np.testing.assert_array_equal(values(again.gan.discriminator)[0], frozen)


def test_a_card_tells_what_is_known_of_a_parent():
    _, facts = open_parent("saved_models/mnist/1")
    assert facts == {
        "source": "saved_models/mnist/1",
        "model": "CGAN",
        "step": 6000,
        "data": "mnist_5k",
        "licence": "CC BY-SA 3.0",
    }


# FreezeD.


@pytest.mark.parametrize("name", ["DCGAN", "SNGAN"])
def test_frozen_layers_stay_to_the_bit_and_take_no_slots(name, tmp_path):
    gan = fresh(name)
    gan.compile(freeze_d=2, run_eagerly=True)
    layers = [layer for layer in gan.discriminator.layers if layer.weights]
    assert [layer.trainable for layer in layers] == [False, False] + [True] * (len(layers) - 2)
    before = [values(layer) for layer in layers]
    learned = sum(len(layer.trainable_variables) for layer in layers[2:])
    assert len(gan.d_optimizer.variables) == 2 + 2 * learned  # iterations and rate; Adam's two slots
    num = 4 * gan.batches_a_step
    train(gan, random_images(num, gan.image_shape))
    for layer, old in zip(layers[:2], before, strict=False):
        assert_all_close(values(layer), old)
    assert any(np.any(new != old) for new, old in zip(values(layers[2]), before[2], strict=True))
    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    assert [layer.trainable for layer in loaded.discriminator.layers if layer.weights] == [
        layer.trainable for layer in layers
    ]


@pytest.mark.parametrize("freeze_d", [-1, 1.5, 99])
def test_freezing_leaves_a_layer(freeze_d):
    with pytest.raises(
        UsageError, match=rf"`freeze_d` must be an integer from 0 to 1, .* Received: freeze_d={freeze_d}"
    ):
        tiny_gan(freeze_d=freeze_d)


def test_settings_reach_the_model():
    gan = runs.build_gan(settings("x", "--freeze_d=2", "--accumulate=2"), (28, 28, 1), 3)
    assert gan.accumulate == 2
    assert sum(not layer.trainable for layer in gan.discriminator.layers) == 2
    with pytest.raises(UsageError, match=r"`batch_size=8` must be a multiple of the parts .*`accumulate=3`"):
        Session(settings("x", "--accumulate=3"))
