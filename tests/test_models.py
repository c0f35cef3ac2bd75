"""tfgan_app.models: one harness that every exported model that draws passes, and the numbers of the papers."""

import inspect
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    FAMILY,
    GANS,
    assert_all_close,
    play,
    random_data,
    random_images,
    state,
    tiny_gan,
    tiny_model,
    train,
    values,
)
from keras import layers

import tfgan_app as tg
from tfgan_app.base.networks import apply, images_of
from tfgan_app.base.precision import dtype_policy
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.export.loaded import SavedGAN

# The harness: a model is covered as soon as it is exported; conftest.FAMILY must hold its row. Translators have one of
# their own, test_translators.py; the long tests here are of all models.


def kinds():
    """Returns a parameter for each model, and another for those that may be conditional or not."""
    for name in GANS:
        yield pytest.param((name, {}), id=name)
        model = getattr(tg.models, name)
        if "num_classes" in inspect.signature(model.__init__).parameters and not model.needs_condition:
            conditional = "num_classes" in FAMILY[name][0]
            other, suffix = (None, "unconditional") if conditional else (3, "conditional")
            yield pytest.param((name, {"num_classes": other}), id=f"{name}-{suffix}")


@pytest.fixture(scope="module", params=kinds())
def trained(request):
    """A tiny model after two steps, its data, and its weights from before."""
    name, arguments = request.param
    keras.utils.set_random_seed(1)
    gan = tiny_model(name, **arguments)
    # One graph a model: the other of its kinds trains eagerly, which takes a fifth of the time.
    rates = {key: keras.optimizers.Adam(1e-3) for key in ("g_optimizer", "d_optimizer")}
    # Two updates of the critic pass where the model's five do, in a graph of half the size.
    critic = {} if gan.compile_defaults().get("n_critic", 1) == 1 else {"n_critic": 2}
    gan.compile(**rates, **critic, run_eagerly=bool(arguments))
    num = 8 * gan.n_critic
    data = random_data(gan, num)
    before = {name: values(getattr(gan, name)) for name in ("generator", "discriminator", "ema_generator")}
    train(gan, *data)
    data = data[0][:8], None if data[1] is None else data[1][:8]
    return gan, data, before


def test_networks_fit_their_contract(trained):
    gan, (images, labels), _ = trained
    assert gan.generator.inputs[0].shape == (None, gan.latent_dim)
    assert [x.name for x in gan.generator.inputs] == ["latents", "labels"][: len(gan.generator.inputs)]
    judged, _ = gan.judged(tf.constant(images), [], None)
    of_samples = sorted(judged) if isinstance(judged, dict) else ["images"]
    assert [x.name for x in gan.discriminator.inputs] == [*of_samples, "labels"][: len(gan.discriminator.inputs)]
    assert len(gan.generator.inputs) == 1 + (gan.num_classes is not None)
    _, condition = gan.unpack((tf.constant(images), labels if labels is None else tf.constant(labels)))
    seed = tf.constant([0, 0], tf.int64)
    drawn = images_of(apply(gan.generator, gan.draw(images, condition, seed)))
    assert drawn.shape == images.shape
    assert np.min(drawn) < 0 < np.max(drawn)
    logits = gan.judge(judged, condition)
    patches = 32 if isinstance(gan, tg.models.FastGAN) else 1
    assert logits.shape == (8 // gan.arguments.get("packing", 1), patches)
    assert logits.dtype == "float32"
    sample = gan.sample(9)
    assert sample.shape == (9, *gan.image_shape)
    assert 0 <= sample.min() < 0.5 < sample.max() <= 1


def test_a_step_moves_the_networks_and_nothing_else(trained):
    gan, _, before = trained
    for name, weights in before.items():
        network = getattr(gan, name)
        for variable, old in zip(network.weights, weights, strict=True):
            # Where it is linear, a loss is the same for all values of the logit's bias; one number is a unit vector.
            linear = isinstance(gan.loss, (tg.losses.Wasserstein, tg.losses.Hinge))
            free = (linear or variable.name == "u") and variable.shape == (1,)
            assert free or np.any(np.array(variable) != old), variable.path
    covered = {id(v) for name in before for v in getattr(gan, name).weights}
    others = [v for v in gan.weights if id(v) not in covered]
    assert {v.name: int(v) for v in others} == {"iterations": 2, "test_batches": 0}


def test_resumes_from_a_checkpoint(trained, tmp_path):
    gan, _, _ = trained
    keras.utils.set_random_seed(2)
    copy = type(gan).from_config(gan.get_config())
    copy.compile(g_optimizer=keras.optimizers.Adam(1e-3), d_optimizer=keras.optimizers.Adam(1e-3))
    folder = Checkpoints(gan, tmp_path).save()
    assert Checkpoints(copy, tmp_path).restore() == folder
    assert_all_close(state(copy), state(gan))
    np.testing.assert_array_equal(copy.sample(4, seed=1), gan.sample(4, seed=1))


def test_exports_what_it_draws(trained, tmp_path):
    gan, _, _ = trained
    saved = SavedGAN(gan.export(tmp_path / "1"))
    np.testing.assert_allclose(saved.sample(5, seed=3), gan.sample(5, seed=3), atol=1e-6)


def test_config_rebuilds_the_architecture(trained):
    gan, _, _ = trained
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(gan))
    assert type(copy) is type(gan)
    assert copy.get_config() == gan.get_config() == type(gan).from_config(gan.get_config()).get_config()
    assert [v.shape for v in copy.weights] == [v.shape for v in gan.weights]
    assert copy.seed == 3


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", tg.models.__all__)
def test_fifty_steps_in_16_bits_leave_finite_weights(name, policy):
    keras.config.set_dtype_policy(policy)
    gan = tiny_model(name)
    gan.compile()
    images, other = random_data(gan, 4 * gan.n_critic * 50)
    before = values(gan.generator)
    train(gan, images, other)
    assert int(gan.iterations) == 50
    for variable in gan.weights:
        assert np.isfinite(np.array(variable)).all(), variable.path
    if policy == "mixed_float16":
        for optimizer in (gan.g_optimizer, gan.d_optimizer):
            assert float(optimizer.dynamic_scale) > 1
    for variable, old in zip(gan.generator.weights, before, strict=True):
        # A unit vector of one number.
        assert (variable.name == "u" and variable.shape == (1,)) or np.any(np.array(variable) != old), variable.path


def test_keras_finds_every_model_under_its_name():
    assert dir(tg.models) == tg.models.__all__
    for name in tg.models.__all__:
        assert keras.saving.get_registered_object(f"tfgan_app>{name}") is getattr(tg.models, name)
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        _ = tg.models.Missing


# The models.


def count(network):
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


# What the authors' programs, or the reference implementations in PyTorch, count of networks that no recipe has. (The
# authors' own of SNGAN and of the projection discriminator have a bias less in D at 32x32.)
PUBLISHED = {
    ("SNGAN", 64, None): (12_220_675, 10_141_441),
    ("SNGAN", 128, None): (32_150_787, 29_017_857),
    ("SNGAN", 256, None): (37_135_107, 34_000_129),
    ("ProjectionGAN", 32, 10): (4_304_387, 1_055_105),
    ("ProjectionGAN", 64, 1000): (17_974_915, 11_165_441),
    ("SAGAN", 32, 10): (4_386_308, 1_075_586),
    ("WGANGP", 128, None): (32_150_787, 29_017_857),
    ("BigGAN", 64, 1000): (70_193_027, 45_500_449),
}


@pytest.mark.parametrize("case", PUBLISHED, ids=str)
def test_published_parameter_counts(case, unallocated):
    name, side, num_classes = case
    labels = {} if num_classes is None else {"num_classes": num_classes}
    gan = unallocated(lambda: getattr(tg.models, name)((side, side, 3), **labels))
    assert (count(gan.generator), count(gan.discriminator)) == PUBLISHED[case]


# What the blocks of the authors' residual networks return, from the first on: widths in units of the width beside the
# image, and the sides of D's. A block of G doubles the side.
BLOCKS = {
    ("SNGAN", 32): ((1, 1, 1), (1, 1, 1, 1), (16, 8, 8, 8)),
    ("SNGAN", 64): ((8, 4, 2, 1), (1, 2, 4, 8, 16), (32, 16, 8, 4, 2)),
    ("SNGAN", 128): ((16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), (64, 32, 16, 8, 4, 4)),
    ("SNGAN", 256): ((16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16, 16), (128, 64, 32, 16, 8, 4, 4)),
    ("BigGAN", 32): ((4, 4, 4), (4, 4, 4, 4), (16, 8, 8, 8)),
    ("BigGAN", 64): ((16, 8, 4, 2), (1, 2, 4, 8, 16), (32, 16, 8, 4, 4)),
    ("BigGAN", 128): ((16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), (64, 32, 16, 8, 4, 4)),
    ("BigGAN", 256): ((16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16, 16), (128, 64, 32, 16, 8, 4, 4)),
    ("BigGAN", 512): (
        (16, 8, 8, 4, 2, 1, 1),
        (1, 1, 2, 4, 8, 8, 16, 16),
        (256, 128, 64, 32, 16, 8, 4, 4),
    ),
}
BLOCKS |= {(name, side): BLOCKS["SNGAN", side] for name in ("ProjectionGAN", "SAGAN", "WGANGP") for side in (64, 128)}
# The width of G's dense layer, likewise.
STARTS = {("SNGAN", 32): 1, ("BigGAN", 32): 4}


@pytest.mark.parametrize("case", BLOCKS, ids=str)
def test_residual_networks_have_the_authors_feature_maps(case, unallocated):
    name, side = case
    parameters = inspect.signature(getattr(tg.models, name).__init__).parameters
    width = {"base_channels": 8} if name == "BigGAN" else {"g_channels": 8, "d_channels": 8}
    labels = {"num_classes": 3} if "num_classes" in parameters else {}
    latents = {"latent_dim": 840}  # what all numbers of blocks divide
    gan = unallocated(lambda: getattr(tg.models, name)((side, side, 3), **width, **labels, **latents))

    def maps(network):
        outputs = [layer.output.shape[1:] for layer in network.layers if isinstance(layer, layers.Add)]
        return [shape for shape in outputs if len(shape) == 3]

    g_widths, d_widths, d_sides = BLOCKS[case]
    assert maps(gan.generator) == [(8 << i, 8 << i, 8 * factor) for i, factor in enumerate(g_widths)]
    assert maps(gan.discriminator) == [(s, s, 8 * factor) for s, factor in zip(d_sides, d_widths, strict=True)]
    start = next(layer for layer in gan.generator.layers if isinstance(layer, layers.Reshape))
    assert start.output.shape[1:] == (4, 4, 8 * STARTS.get(case, 16))
    # A block that widens does so in its second convolution; those of SAGAN and BigGAN do in their first.
    hidden = [
        layer.output.shape[-1] // 8 for layer in gan.discriminator.layers if getattr(layer, "kernel_size", 0) == (3, 3)
    ]
    before = [d_widths[0], *d_widths[:-1]]
    assert hidden[::2] == list(d_widths if name in ("SAGAN", "BigGAN") else before)
    assert hidden[1::2] == list(d_widths)


def test_wgan_gp_averages_its_features_where_the_others_add_them_up():
    ends = {}
    for name in ("SNGAN", "WGANGP"):
        gan = tiny_model(name)
        of_kind = {type(layer): layer.output for layer in gan.discriminator.layers}  # the last of each
        features = keras.Model(gan.discriminator.inputs, [of_kind[layers.ReLU], of_kind[layers.Rescaling]])
        ends[name] = [np.array(x) for x in features([random_images(2, gan.image_shape)])]
    for name, reduce in (("SNGAN", np.sum), ("WGANGP", np.mean)):
        maps, found = ends[name]
        assert maps.shape[1:3] == (7, 7)
        np.testing.assert_allclose(found, reduce(maps, axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize(("side", "rate"), [(32, 2e-4), (64, 1e-4)])
def test_wgan_gp_learns_at_the_rates_of_its_authors(side, rate):
    gan = tiny_model("WGANGP", image_shape=(side, side, 3))
    for optimizer in ("g_optimizer", "d_optimizer"):
        assert float(gan.compile_defaults()[optimizer].learning_rate) == pytest.approx(rate)


@pytest.mark.parametrize("name", ["BigGAN", "ProjectionGAN", "SAGAN", "SNGAN", "WGANGP"])
def test_a_width_of_nothing_is_not_taken_for_the_default(name):
    for width in ("base_channels",) if name == "BigGAN" else ("g_channels", "d_channels"):
        with pytest.raises(ValueError, match=r"positive|greater than 0|> 0"):
            tiny_model(name, **{width: 0})


def test_the_last_layer_of_a_residual_generator_starts_with_gain_one():
    gan = tg.models.SNGAN((32, 32, 3), g_channels=32, d_channels=4)
    *_, before, last = [layer for layer in gan.generator.layers if getattr(layer, "kernel_size", 0) == (3, 3)]
    for layer, gain in ((before, np.sqrt(2)), (last, 1)):
        kernel = np.array(layer.kernel)
        fans = 9 * sum(kernel.shape[2:])
        np.testing.assert_allclose(kernel.std(), gain * np.sqrt(2 / fans), rtol=0.1)


def test_attention_acts_once_in_each_network_or_is_refused():
    def attended(network):
        return [layer.output.shape[1] for layer in network.layers if isinstance(layer, tg.layers.SelfAttention)]

    for name in ("BigGAN", "SAGAN"):
        for side in (8, 16):
            gan = tiny_model(name, image_shape=(32, 32, 3), attention_at=side, latent_dim=8)
            assert attended(gan.generator) == attended(gan.discriminator) == [side]
        for side in (0, 4, 12, 32, 64):
            with pytest.raises(ValueError, match=rf"`attention_at` must be one of \[8, 16\].*attention_at={side}"):
                tiny_model(name, image_shape=(32, 32, 3), attention_at=side, latent_dim=8)


@pytest.mark.parametrize(("side", "expected"), [(32, []), (64, []), (128, [64])])
def test_biggan_attends_at_64_from_images_of_128_on(side, expected, unallocated):
    gan = unallocated(lambda: tg.models.BigGAN((side, side, 3), num_classes=3, base_channels=8))
    for network in (gan.generator, gan.discriminator):
        found = [layer.output.shape[1] for layer in network.layers if isinstance(layer, tg.layers.SelfAttention)]
        assert found == expected


def test_biggan_starts_orthogonal_and_regularises_all_but_the_shared_embedding():
    gan = tiny_model("BigGAN")
    for network in (gan.generator, gan.discriminator):
        kernels = [v for v in network.trainable_variables if v.name in ("kernel", "embeddings")]
        for variable in kernels:
            matrix = np.array(variable).reshape(-1, variable.shape[-1])
            gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
            np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-4, err_msg=variable.path)
    charged = {v.path for v in gan.generator.trainable_variables if v.regularizer is not None}
    assert charged == {v.path for v in gan.generator.trainable_variables if v.name == "kernel"}
    assert sum("attention" in path for path in charged) == 4
    assert not any(v.regularizer for v in gan.discriminator.trainable_variables)


@pytest.mark.parametrize("shape", [(5, 40), (3, 3, 4, 6), (6, 6)])
def test_orthogonal_regularisation_is_equation_3(shape):
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    variable = tf.Variable(weights)
    with tf.GradientTape() as tape:
        value = tg.models.biggan.OrthogonalRegularizer(0.5)(variable)
    matrix = weights.reshape(-1, shape[-1]).astype(np.float64)
    off_diagonal = (matrix.T @ matrix) * (1 - np.eye(shape[-1]))
    np.testing.assert_allclose(value, 0.5 * (off_diagonal**2).sum(), rtol=1e-5)
    gradient = np.reshape(tape.gradient(value, variable), matrix.shape)
    np.testing.assert_allclose(gradient, 0.5 * 4 * matrix @ off_diagonal, rtol=1e-3, atol=1e-3)


def test_dcgan_has_the_published_sizes():
    gan = tg.models.DCGAN((64, 64, 3), base_channels=64)
    assert (count(gan.generator), count(gan.discriminator)) == (3_576_704, 2_765_568)


@pytest.mark.parametrize("side", [28, 32, 64, 128])
def test_dcgan_mirrors_its_feature_maps(side):
    gan = tg.models.DCGAN((side, side, 3), latent_dim=4, base_channels=2)
    maps = {
        name: [tuple(layer.output.shape[1:]) for layer in getattr(gan, name).layers if "conv2d" in layer.name]
        for name in ("generator", "discriminator")
    }
    steps = 2 if side == 28 else side.bit_length() - 3
    assert maps["discriminator"] == [(side >> i, side >> i, 2 << (i - 1)) for i in range(1, steps + 1)]
    assert maps["generator"] == [*maps["discriminator"][-2::-1], (side, side, 3)]
    assert gan.sample(1).shape == (1, side, side, 3)


def test_dcgan_follows_the_papers_architecture():
    keras.utils.set_random_seed(0)
    gan = tg.models.DCGAN((32, 32, 3), base_channels=16)
    for network in (gan.generator, gan.discriminator):
        weighted = [layer for layer in network.layers if hasattr(layer, "kernel")]
        assert not any(layer.use_bias for layer in weighted)
        kernels = np.concatenate([np.ravel(layer.kernel) for layer in weighted])
        np.testing.assert_allclose([kernels.mean(), kernels.std()], [0, 0.02], atol=5e-4)
        norms = [layer for layer in network.layers if isinstance(layer, tg.layers.BatchNormalization)]
        # All but the generator's last layer, and the discriminator's first and last.
        assert len(norms) == len(weighted) - (1 if network is gan.generator else 2)
    kinds = {type(layer).__name__ for layer in gan.discriminator.layers} & {"LeakyReLU", "ReLU"}
    assert kinds == {"LeakyReLU"}
    leaky = next(layer for layer in gan.discriminator.layers if type(layer).__name__ == "LeakyReLU")
    assert leaky.negative_slope == pytest.approx(0.2)


@pytest.mark.parametrize("shape", [(27, 27, 1), (8, 8, 1), (64, 30, 3)])
@pytest.mark.parametrize("name", ["DCGAN", "CGAN"])
def test_dcgan_refuses_other_sizes(name, shape):
    with pytest.raises(ValueError, match=r"DCGAN draws images .*Received: image_shape=\(") as error:
        tiny_model(name, image_shape=shape)
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("g_units", [(256, 512, 1024), (128, 256)])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_mlp_gan_has_the_sizes_of_its_widths(g_units, batch_norm):
    gan = tg.models.MLPGAN((28, 28, 1), g_units=g_units, batch_norm=batch_norm)

    def dense(*widths):
        return sum(width * (before + 1) for before, width in itertools.pairwise(widths))

    assert count(gan.generator) == dense(100, *g_units, 784) + 2 * sum(g_units[1:]) * batch_norm
    assert count(gan.discriminator) == dense(784, 512, 256, 1)


@pytest.mark.parametrize("name", [name for name in FAMILY if getattr(tg.models, name).joint_pass])
def test_real_images_and_fakes_that_pass_d_together_are_judged_as_apart(name):
    gan = tiny_model(name)
    gan.compile(augment=False)
    # Away from branches that begin at zero.
    shaken = [weight + tf.random.stateless_normal(weight.shape, (1, 2)) for weight in gan.discriminator.get_weights()]
    gan.discriminator.set_weights(shaken)
    real, condition = gan.unpack(random_data(gan, 4))

    def loss():
        return gan.discriminator_loss(gan.play(real, condition, tf.constant([1, 2], tf.int64))).numpy()

    together = loss()
    gan.joint_pass = False
    np.testing.assert_allclose(together, loss(), rtol=1e-4)


def test_a_discriminator_that_looks_at_the_batch_meets_real_images_alone():
    gan = tiny_gan(d_batch_norm=True)
    seen, call = [], gan.discriminator.call
    gan.discriminator.call = lambda images, *rest, **kwargs: (
        seen.append(images.shape[0]),
        call(images, *rest, **kwargs),
    )[1]
    gan.discriminator_loss(play(real=random_images(4), fake=random_images(4), discriminate=gan.discriminate))
    assert seen == [4, 4]
    gan.joint_pass = True
    gan.discriminator_loss(play(real=random_images(4), fake=random_images(4), discriminate=gan.discriminate))
    assert seen == [4, 4, 8]


def test_mlp_gan_compiles_with_xla_unless_told_otherwise():
    gan = tiny_model("MLPGAN")
    gan.compile()
    assert gan.jit_compile is True
    gan.compile(jit_compile=False)
    assert gan.jit_compile is False


def test_mlp_gan_leaves_xla_in_bfloat16_on_a_cpu():
    with dtype_policy("mixed_bfloat16"):
        gan = tiny_model("MLPGAN")
    gan.compile()
    assert gan.jit_compile is False


def test_cgan_draws_and_judges_by_the_label():
    gan = tiny_model("CGAN")
    latents = tf.ones((2, 4))
    same, different = (gan.generate(latents, labels) for labels in ([1, 1], [1, 2]))
    np.testing.assert_allclose(same[0], same[1], atol=1e-6)
    np.testing.assert_allclose(different[0], same[0], atol=1e-6)
    assert np.abs(different[1] - same[1]).max() > 1e-5
    images = tf.repeat(random_images(1, gan.image_shape), 2, axis=0)
    logits = [gan.judge(images, (tf.constant(labels),), training=False) for labels in ([1, 1], [1, 2])]
    assert logits[0][0] == logits[0][1] == logits[1][0] != logits[1][1]


def test_acgan_weighs_what_it_says_of_fakes():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]], np.float32)
    outputs = {"logits": tf.zeros((2, 1)), "class_logits": tf.math.log(probabilities)}
    condition = (tf.constant([0, 2]),)
    expected = -np.log([0.5, 0.7]).mean()
    for weight in (1.0, 0.1):
        gan = tiny_model("ACGAN", fake_weight=weight)
        step = play(condition=condition, discriminate=lambda samples, condition: outputs)
        losses = [term(step) for term in gan.inherent_terms()]
        np.testing.assert_allclose(losses, [(1 + weight) * expected, weight * expected], rtol=1e-6)
