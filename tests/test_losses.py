"""tfgan_app.losses: every loss against its formula."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgan_app import losses

REAL = np.array([[-3.0], [0.2], [1.7], [4.0]], np.float32)
FAKE = np.array([[-1.5], [0.0], [0.9], [-6.0]], np.float32)


def softplus(x):
    return np.logaddexp(0, x)


def mean(values):
    return np.mean(values, dtype=np.float64)


CROSS_ENTROPY = mean(0.9 * softplus(-REAL) + 0.1 * softplus(REAL)) + mean(softplus(FAKE))
FORMULAS = {
    "NonSaturating": (CROSS_ENTROPY, mean(softplus(-FAKE))),
    "Minimax": (CROSS_ENTROPY, mean(-softplus(FAKE))),
    "LeastSquares": (0.5 * mean((REAL - 1) ** 2) + 0.5 * mean(FAKE**2), 0.5 * mean((FAKE - 1) ** 2)),
    "Hinge": (mean(np.maximum(0, 1 - REAL)) + mean(np.maximum(0, 1 + FAKE)), -mean(FAKE)),
    # Before its first step, of all fakes.
    "TopK": (CROSS_ENTROPY, mean(softplus(-FAKE))),
    # In an evaluation, with the mean of margins from 0.8 to 1.
    "SmoothedHinge": (mean(np.maximum(0, 0.9 - REAL)) + mean(np.maximum(0, 0.9 + FAKE)), -mean(FAKE)),
    "Wasserstein": (mean(FAKE) - mean(REAL), -mean(FAKE)),
    "Relativistic": (mean(softplus(FAKE - REAL)), mean(softplus(REAL - FAKE))),
    "RelativisticAverage": (
        0.5 * mean(softplus(mean(FAKE) - REAL)) + 0.5 * mean(softplus(FAKE - mean(REAL))),
        0.5 * mean(softplus(mean(REAL) - FAKE)) + 0.5 * mean(softplus(REAL - mean(FAKE))),
    ),
}
NAMES = [name for name in losses.__all__ if name != "AdversarialLoss"]


@pytest.mark.parametrize("name", NAMES)
def test_formula(name):
    loss = getattr(losses, name)()
    d_loss, g_loss = FORMULAS[name]
    assert loss.needs_real_logits == name.startswith("Relativistic")
    np.testing.assert_allclose(loss.discriminator(REAL, FAKE), d_loss, rtol=1e-6)
    np.testing.assert_allclose(loss.generator(FAKE, REAL), g_loss, rtol=1e-6)
    if not loss.needs_real_logits:
        np.testing.assert_allclose(loss.generator(FAKE), g_loss, rtol=1e-6)


@pytest.mark.parametrize("name", ["NonSaturating", "Minimax"])
@pytest.mark.parametrize("label", [0.7, 0.9, 1])
def test_label_smoothing_is_one_sided(name, label):
    loss = getattr(losses, name)(real_label=label)
    smoothed = mean(label * softplus(-REAL) + (1 - label) * softplus(REAL))
    np.testing.assert_allclose(loss.discriminator(REAL, FAKE), smoothed + mean(softplus(FAKE)), rtol=1e-6)
    np.testing.assert_allclose(loss.generator(FAKE), FORMULAS[name][1], rtol=1e-6)


def test_smoothed_hinge_draws_a_margin_for_each_logit():
    loss = losses.SmoothedHinge(0.5).at(tf.constant(3), tf.constant([1, 2], tf.int64))
    logits = tf.zeros((1000, 4))
    # Where logits are 0 the loss is the mean of both margins, each uniform in [0.5, 1].
    margins = np.stack([loss._margins(logits, side) for side in ("real", "fake")])
    assert 0.5 < margins.min() < 0.51 < 0.99 < margins.max() < 1
    np.testing.assert_allclose(margins.mean(axis=(1, 2)), 0.75, atol=4 * 0.5 / np.sqrt(12 * 4000))
    np.testing.assert_allclose(loss.discriminator(logits, logits), 2 * margins.mean(), rtol=1e-5)
    assert abs(np.corrcoef(margins.reshape(2, -1))[0, 1]) < 4 / np.sqrt(4000)
    other = losses.SmoothedHinge(0.5).at(tf.constant(3), tf.constant([1, 3], tf.int64))
    assert np.any(other._margins(logits, "real") != margins[0])


TOP_K_SEED = tf.constant([1, 2], tf.int64)


@pytest.mark.parametrize(("step", "k"), [(0, 8), (9, 8), (10, 7), (20, 6), (30, 6), (50, 5), (70, 4), (10_000, 4)])
def test_top_k_falls_to_a_share_of_the_batch(step, k):
    # 8 * 0.9^n: 8, 7.2, 6.48, 5.83, 5.25, 4.72, 4.25, 3.83; never below half.
    loss = losses.TopK("Wasserstein", least=0.5, decay=0.9, every=10).at(tf.constant(step, tf.int64), TOP_K_SEED)
    fake = np.random.default_rng(0).permutation(np.arange(8.0, dtype=np.float32))[:, None]
    with tf.GradientTape() as tape:
        logits = tf.Variable(fake)
        value = loss.generator(logits)
    best = fake >= 8 - k
    assert float(value) == pytest.approx(-fake[best].mean())
    np.testing.assert_allclose(tf.convert_to_tensor(tape.gradient(value, logits)), np.where(best, -1 / k, 0))


def test_top_k_goes_by_the_mean_logit_and_keeps_pairs():
    fake = np.array([[[5.0], [-5.0]], [[1.0], [1.5]], [[-2.0], [9.0]], [[-3.0], [0.0]]], np.float32)
    real = np.arange(8, dtype=np.float32).reshape(4, 2, 1)
    loss = losses.TopK("relativistic", least=0.5, decay=0.5, every=1).at(tf.constant(1), TOP_K_SEED)
    assert loss.needs_real_logits
    best = [1, 2]
    assert float(loss.generator(fake, real)) == pytest.approx(mean(softplus(real[best] - fake[best])), rel=1e-6)
    np.testing.assert_allclose(loss.discriminator(real, fake), mean(softplus(fake - real)), rtol=1e-6)
    # Evaluations have no seed, and count all fakes.
    everything = losses.TopK("relativistic", least=0.5, decay=0.5, every=1).at(tf.constant(1))
    assert float(everything.generator(fake, real)) == pytest.approx(mean(softplus(real - fake)), rel=1e-6)


def test_top_k_passes_steps_on():
    inner = losses.TopK(losses.SmoothedHinge(0.5)).at(tf.constant(3), TOP_K_SEED).loss
    np.testing.assert_array_equal(inner._seed, TOP_K_SEED)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"least": 0}, r"`least` must lie in \(0, 1\]\. Received: least=0"),
        ({"decay": 1.5}, r"`decay` must lie in \(0, 1\]\. Received: decay=1.5"),
        ({"every": 0}, r"`every` must be an integer of at least 1\. Received: every=0"),
        ({"loss": "hing"}, r"`loss` must be a tfgan_app.losses.AdversarialLoss"),
    ],
)
def test_top_k_refuses(given, expected):
    with pytest.raises(ValueError, match=expected):
        losses.TopK(**given)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_smoothing_out_of_range(smoothing):
    with pytest.raises(ValueError, match=rf"`smoothing` must lie in \[0, 1\]. Received: smoothing={smoothing}"):
        losses.SmoothedHinge(smoothing)


@pytest.mark.parametrize("label", [0, -0.1, 1.1, float("nan")])
def test_real_label_out_of_range(label):
    with pytest.raises(ValueError, match=rf"`real_label` must lie in \(0, 1\]. Received: real_label={label}"):
        losses.NonSaturating(label)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("magnitude", [1e4, -1e4])
def test_extreme_logits_keep_losses_and_gradients_finite(name, magnitude):
    loss = getattr(losses, name)()
    real, fake = tf.constant([magnitude, 0.0]), tf.constant([-magnitude, 0.0])
    with tf.GradientTape() as tape:
        tape.watch([real, fake])
        terms = tf.stack([loss.discriminator(real, fake), loss.generator(fake, real)])
    assert np.isfinite(terms).all()
    assert np.isfinite(tape.gradient(terms, [real, fake])).all()


@pytest.mark.parametrize("loss", [getattr(losses, name)() for name in NAMES] + [losses.Minimax(0.7)])
def test_survives_serialization(loss):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()
    assert float(copy.discriminator(REAL, FAKE)) == float(loss.discriminator(REAL, FAKE))


def test_a_loss_must_define_both_methods():
    class Half(losses.AdversarialLoss):
        pass

    with pytest.raises(NotImplementedError, match="Half must define `discriminator`"):
        Half().discriminator(REAL, FAKE)
    with pytest.raises(NotImplementedError, match="Half must define `generator`"):
        Half().generator(FAKE)
