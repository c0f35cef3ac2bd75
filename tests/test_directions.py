"""tfgan_app.study.directions and kept_latents: against linear algebra by hand, and files that know whose they are."""

import keras
import numpy as np
import pytest
from conftest import LATENT_DIM, SHAPE, tiny_gan, tiny_model, tiny_networks
from keras import layers
from test_edits import TOLD, linear_gan, normal, styled
from test_export_files import shaken
from test_projection import lively

import tfgan_app as tg
from tfgan_app.base.errors import UsageError
from tfgan_app.export import SavedGAN
from tfgan_app.sampler import Sampler
from tfgan_app.study import Directions, KeptLatents, between, fingerprint, load_latents, pca, save_latents, sefa


def kernels(network, kind):
    return [np.asarray(layer.kernel, np.float64) for layer in network._flatten_layers() if isinstance(layer, kind)]


def cosines(one, other):
    """Of each row of one to that of the other, whatever the signs."""
    return np.abs(np.sum(one * other, axis=1)) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


# The first weights.


@pytest.mark.parametrize("name", ["DCGAN", "CGAN"])
def test_first_weights_are_those_of_the_first_layer(name):
    gan = shaken(compiled(name))
    kernel = kernels(gan.ema_generator, layers.Dense)[0][: gan.latent_dim]  # not those of the label's embedding
    np.testing.assert_allclose(gan.latent_gram(), kernel @ kernel.T, rtol=1e-4, atol=1e-4)
    z = normal(3, gan.latent_dim)
    labels = None if gan.num_classes is None else np.array([2, 2, 2])
    rows = gan.first_activations(z, labels)
    np.testing.assert_allclose(rows[1] - rows[0], (z[1] - z[0]) @ kernel, rtol=1e-3, atol=1e-4)


def compiled(name):
    gan = tiny_model(name)
    gan.compile()
    return gan


def test_weights_after_a_normalisation_are_differentiated_where_draws_lie():
    gan = compiled("PGGAN")
    kernel = kernels(gan.ema_generator, layers.Dense)[0]
    kernel = kernel * 2**0.5 / 7 / kernel.shape[0] ** 0.5  # the equalised learning rate, of sides of 7
    expected = 0
    for z in np.asarray(gan.latents(4, seed=0), np.float64):
        # z / sqrt(mean z^2), differentiated.
        size = np.mean(z**2)
        jacobian = np.eye(4) / size**0.5 - np.outer(z, z) / 4 / size**1.5
        expected = expected + jacobian @ kernel @ kernel.T @ jacobian / 4
    np.testing.assert_allclose(gan.latent_gram(), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_split_latents_reach_layers_of_their_own():
    gram = compiled("BigGAN").latent_gram()  # 6 latents: three parts of two
    same = np.kron(np.eye(3), np.ones((2, 2))) > 0
    assert np.abs(gram[~same]).max() < 1e-6 and np.diag(gram).min() > 1e-3


def test_first_weights_of_styles_are_those_of_all_layers_or_some():
    gan = styled()
    found = kernels(gan.ema_generator.get_layer("synthesis"), tg.layers.EqualizedDense)
    index = [layer.index for layer in gan.ema_generator.get_layer("synthesis").layers if hasattr(layer, "units")]
    assert sorted(set(index)) == list(range(6))
    for chosen in (None, [0, 1]):
        parts = [k @ k.T for k, i in zip(found, index, strict=True) if chosen is None or i in chosen]
        np.testing.assert_allclose(gan.latent_gram(chosen), sum(parts) / 4, rtol=1e-5)
    with pytest.raises(ValueError, match=r"`layers` must be of 0 to 5\. Received: \[6\]"):
        gan.latent_gram([6])
    with pytest.raises(UsageError, match="DCGAN has no styles"):
        compiled("DCGAN").latent_gram([0])


def test_weights_within_another_model_are_refused():
    z = keras.Input((LATENT_DIM,), name="latents")
    inner = keras.Sequential([keras.Input((LATENT_DIM,)), layers.Dense(64, "tanh"), layers.Reshape(SHAPE)])
    gan = tg.GAN(keras.Model(z, inner(z), name="outer"), tiny_networks()[1])
    gan.compile()
    with pytest.raises(UsageError, match="outer has no layer of its own with a kernel that its latents reach"):
        sefa(gan)
    # One that is the generator itself does.
    gan = tg.GAN(inner, tiny_networks()[1])
    gan.compile()
    assert sefa(gan, 2).vectors.shape == (2, LATENT_DIM)


# Directions.


def test_sefa_finds_what_the_first_weights_lengthen_most():
    gan, right = linear_gan([9.0, 4.0, 1.0, 0.5])
    found = sefa(gan, 3)
    np.testing.assert_allclose(cosines(found.vectors, right[:3]), 1, atol=1e-4)
    np.testing.assert_allclose(found.values, [9, 4, 1], rtol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    assert (found.names, found.space, found.method) == (("1", "2", "3"), "latents", "sefa")
    # The sign is that of the largest number.
    assert all(vector[np.abs(vector).argmax()] > 0 for vector in found.vectors)
    with pytest.raises(UsageError, match=r"There are 4 directions\. Received: 5"):
        sefa(gan, 5)


def test_pca_finds_the_same_where_the_first_weights_only_multiply():
    gan, right = linear_gan([9.0, 4.0, 1.0, 0.5])
    found = pca(gan, 3)
    assert cosines(found.vectors, right[:3]).min() > 0.99
    np.testing.assert_allclose(found.values, [9, 4, 1], rtol=0.1)


def test_pca_of_labels_looks_within_classes():
    gan = lively(3)
    # Labels shift what the first layer makes, far more than latents do.
    embedding = next(weight for weight in gan.ema_generator.weights if "embedding" in weight.path)
    embedding.assign(100 * normal(*embedding.shape))
    kernel = kernels(gan.ema_generator, layers.Dense)[0][:LATENT_DIM]
    vectors = np.linalg.svd(kernel)[0].T
    assert cosines(pca(gan, 2).vectors, vectors[:2]).min() > 0.95


def test_what_is_told_attributes_has_directions_within_those_told_alike():
    keras.utils.set_random_seed(0)
    gan = tiny_model("CGAN", num_classes=None, attributes=TOLD)
    gan.compile()
    embedding, dense = (x for x in shaken(gan).ema_generator.layers if isinstance(x, layers.Dense))
    # They shift what the first layer makes, far more than latents do.
    embedding.kernel.assign(100 * normal(*embedding.kernel.shape))
    kernel = np.asarray(dense.kernel, np.float64)
    np.testing.assert_allclose(gan.latent_gram(), kernel[:4] @ kernel[:4].T, rtol=1e-4, atol=1e-4)
    assert cosines(pca(gan, 2).vectors, np.linalg.svd(kernel[:4])[0].T[:2]).min() > 0.95
    z, rows = normal(3, 4), np.repeat(TOLD.in_turn(1), 3, axis=0)
    made = gan.first_activations(z, attributes=rows)
    np.testing.assert_allclose(made[1] - made[0], (z[1] - z[0]) @ kernel[:4], rtol=1e-3, atol=1e-3)


def test_pca_of_styles_finds_the_components_of_w():
    gan = styled()
    found = pca(gan, 3, seed=2, draws=500)
    styles = gan.styles(gan.latents(500, seed=2))[:, 0].astype(np.float64)
    variances, vectors = np.linalg.eigh(np.cov(styles.T, ddof=0))
    np.testing.assert_allclose(cosines(found.vectors, vectors.T[::-1][:3]), 1, atol=1e-3)
    np.testing.assert_allclose(found.values, np.sqrt(variances[::-1][:3]), rtol=1e-3)
    # Each is as long as w varies along it.
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), found.values, rtol=0.15)
    assert found.space == "styles"


class Hidden(Sampler):
    """A GAN that hides its weights, as a SavedModel does."""

    def __init__(self, gan):
        self.modality, self.latent_dim, self.num_classes = gan.modality, gan.latent_dim, gan.num_classes
        self.style_shape, self.forward, self.map_styles = gan.style_shape, gan.forward, gan.map_styles


def test_what_hides_its_weights_has_components_of_w_alone():
    gan = styled()
    saved, plain = Hidden(gan), Hidden(tiny_gan())
    np.testing.assert_allclose(pca(saved, 2, draws=300).vectors, pca(gan, 2, draws=300).vectors, atol=1e-4)
    for find, name, sampler in ((sefa, "sefa", saved), (pca, "pca", plain)):
        with pytest.raises(UsageError, match=f"`directions={name}` needs the generator's weights, which a SavedModel"):
            find(sampler)


def two_kinds(num, dim=4):
    """Latents of two kinds that differ along one axis, and both vary far more along a slanted one."""
    generator = np.random.default_rng(0)
    slanted = np.outer(generator.normal(size=2 * num), [3.0, 3.0, 0, 0])
    latents = (slanted + generator.normal(size=(2 * num, dim))).astype(np.float32)
    latents[:num, 0] += 2.0
    return latents[:num], latents[num:]


def test_differences_go_from_mean_to_mean_and_separators_across_what_varies_in_both():
    gan, _ = linear_gan([1.0, 1.0, 1.0, 1.0])
    positive, negative = two_kinds(2000)
    difference, separator = (between(gan, positive, negative, method) for method in ("difference", "separator"))
    expected = positive.mean(0) - negative.mean(0)
    np.testing.assert_allclose(difference.vectors[0], expected / np.linalg.norm(expected), rtol=1e-4)
    # Fisher's discriminant of the true covariance.
    covariance = np.eye(4) + 9 * np.outer([1, 1, 0, 0], [1, 1, 0, 0])
    fisher = np.linalg.solve(covariance, [2.0, 0, 0, 0])
    assert separator.vectors[0] @ fisher / np.linalg.norm(fisher) > 0.99
    assert fisher @ difference.vectors[0] / np.linalg.norm(fisher) < 0.95
    # Of a few it still points to the same side.
    few = between(gan, positive[:3], negative[:3], "separator").vectors[0]
    assert np.isfinite(few).all() and few @ (positive[:3].mean(0) - negative[:3].mean(0)) > 0


def test_a_difference_of_styles_is_one_of_their_means_over_layers():
    gan = styled()
    positive, negative = normal(5, 6, 4) + 1, normal(4, 6, 4, seed=1)
    found = between(gan, positive, negative)
    expected = positive.mean((0, 1)) - negative.mean((0, 1))
    assert found.space == "styles" and cosines(found.vectors, expected[None])[0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("positive", "method", "message"),
    [
        (
            normal(3, 5),
            "difference",
            r"Latents of both kinds must have the shape \(num, \(4,\)\)\. Received: \(3, 5\) and",
        ),
        (normal(0, 4), "difference", "Latents of both kinds must have the shape"),
        (normal(3, 4), "svm", "`method` must be difference or separator. Received: method='svm'"),
        (normal(2, 4, seed=1), "difference", "Latents of both kinds are equal, and so point nowhere"),
    ],
)
def test_kinds_that_do_not_fit_are_refused(positive, method, message):
    gan, _ = linear_gan([1.0, 1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=message):
        between(gan, positive, normal(2, 4, seed=1), method)


# Names and files.


def test_directions_go_by_name_or_number_and_keep_them_in_files(tmp_path):
    gan, _ = linear_gan([9.0, 4.0, 1.0, 0.5])
    found = sefa(gan, 3).named(["smile", "", "1"])
    assert found.names == ("smile", "2", "1")
    np.testing.assert_array_equal(found["smile"], found.vectors[0])
    np.testing.assert_array_equal(found[2], found.vectors[1])
    np.testing.assert_array_equal(found["1"], found.vectors[2])  # a name before a number
    found.save(tmp_path / "found.npz")
    loaded = Directions.load(tmp_path / "found.npz", gan)
    assert (loaded.names, loaded.method, loaded.space) == (found.names, "sefa", "latents")
    np.testing.assert_array_equal(loaded.vectors, found.vectors)
    np.testing.assert_array_equal(loaded.values, found.values)
    with pytest.raises(
        UsageError, match=r"no direction 'age'\. It must be a name \(smile, 2, 1\) or a number from 1 to 3"
    ):
        found["age"]
    with pytest.raises(UsageError, match=r"`names` must be at most 3, one a direction\. Received: 4"):
        found.named("abcd")
    with pytest.raises(UsageError, match=r"`names` must differ from each other\. Received: a, a, 1"):
        found.named(["a", "a"])


def test_files_know_whose_they_are(tmp_path):
    gan, other = lively(), lively()
    other.ema_generator.weights[0].assign_add(np.full(other.ema_generator.weights[0].shape, 0.5))
    saved = SavedGAN(gan.export(tmp_path / "1"))
    np.testing.assert_allclose(fingerprint(saved), fingerprint(gan), atol=1e-5)
    assert fingerprint(gan).shape == (8, 8, 1)
    kept = KeptLatents(normal(2, LATENT_DIM), weights=[normal(2), normal(3, 4)])
    save_latents(tmp_path / "latent.npz", gan, kept)
    loaded = load_latents(tmp_path / "latent.npz", saved)
    np.testing.assert_array_equal(loaded.latents, kept.latents)
    assert loaded.told == {} and [weight.shape for weight in loaded.weights] == [(2,), (3, 4)]
    with pytest.raises(UsageError, match=r"latent\.npz is of another generator, or of another checkpoint of this run"):
        load_latents(tmp_path / "latent.npz", other)
    with pytest.raises(UsageError, match=r"latent\.npz is no file of directions: it has no 'directions'"):
        Directions.load(tmp_path / "latent.npz", gan)
    sefa(gan, 2).save(tmp_path / "found.npz")
    with pytest.raises(UsageError, match=r"found\.npz has no latents of the shape that the model takes"):
        load_latents(tmp_path / "found.npz", gan)
    for content in (b"", b"no archive", (tmp_path / "latent.npz").read_bytes()[:200]):
        (tmp_path / "damaged.npz").write_bytes(content)
        with pytest.raises(UsageError, match=r"damaged\.npz cannot be read as a file of latents"):
            load_latents(tmp_path / "damaged.npz", gan)


def test_latents_with_classes_and_styles_come_back(tmp_path):
    gan = styled(3)
    save_latents(tmp_path / "a.npz", gan, KeptLatents(normal(2, 4), {"labels": np.array([1, 2], np.int32)}))
    loaded = load_latents(tmp_path / "a.npz", gan)
    assert loaded.given == loaded.told
    assert loaded.told["labels"].tolist() == [1, 2] and loaded.weights is None
    save_latents(tmp_path / "b.npz", gan, KeptLatents(normal(2, 6, 4), {"labels": np.array([1, 2], np.int32)}))
    loaded = load_latents(tmp_path / "b.npz", gan)
    assert loaded.latents.shape == (2, 6, 4) and loaded.told["labels"].tolist() == [1, 2] and loaded.given == {}


def test_latents_with_attributes_come_back(tmp_path):
    gan, rows = styled(attributes=TOLD), TOLD.in_turn(2)
    save_latents(tmp_path / "a.npz", gan, KeptLatents(normal(2, 4), {"attributes": rows}))
    loaded = load_latents(tmp_path / "a.npz", gan)
    np.testing.assert_array_equal(loaded.told["attributes"], rows)
    received = gan.generate(loaded.latents, **loaded.given)
    np.testing.assert_allclose(received, gan.generate(normal(2, 4), attributes=rows), atol=1e-6)
    assert pca(gan, 2, draws=200).vectors.shape == (2, 4)
