"""tfgan_app.optimizers: Adam against Keras's and against calculations by hand."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgan_app.optimizers import Adam
from tfgan_app.schedules import CosineRamp


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("beta_1", [0.0, 0.5])
def test_adam_under_schedules_equals_a_calculation_by_hand(jit_compile, beta_1):
    rate, beta = (0.1, 0.01, 4), (0.5, 0.9, 5)
    optimizer = Adam(CosineRamp(*rate), beta_1=beta_1, beta_2=CosineRamp(*beta), epsilon=1e-8)
    weight = keras.Variable([1.0, -2.0])
    optimizer.build([weight])
    gradients = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    update = tf.function(lambda gradient: optimizer.apply([gradient], [weight]), jit_compile=jit_compile)

    expected, m, v = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for step, gradient in enumerate(gradients):
        update(tf.constant(gradient))
        beta_2 = float(CosineRamp(*beta)(step))
        m = beta_1 * m + (1 - beta_1) * gradient
        v = beta_2 * v + (1 - beta_2) * gradient.astype(np.float64) ** 2
        corrected = m / (1 - beta_1 ** (step + 1)), v / (1 - beta_2 ** (step + 1))
        expected = expected - float(CosineRamp(*rate)(step)) * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
        np.testing.assert_allclose(np.array(weight), expected, rtol=2e-5)
    assert float(optimizer.beta_2) == pytest.approx(0.9)


@pytest.mark.parametrize("options", [{"clipnorm": 1.0}, {"amsgrad": True}, {"weight_decay": 0.1, "epsilon": 0.1}])
def test_adam_with_numbers_is_that_of_keras(options):
    weights = []
    for kind in (Adam, keras.optimizers.Adam):
        optimizer, weight = kind(0.1, beta_1=0.3, beta_2=0.8, **options), keras.Variable([1.0, -2.0])
        for gradient in ([0.3, -4.0], [1.0, 0.5], [-2.0, 0.0]):
            optimizer.apply([tf.constant(gradient)], [weight])
        weights.append(np.array(weight))
    np.testing.assert_allclose(*weights, rtol=1e-6)


@pytest.mark.parametrize("beta_2", [0.97, CosineRamp(0.5, 0.9, 6)])
def test_a_saved_model_goes_on_with_the_schedule(beta_2, tmp_path):
    x, y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(Adam(CosineRamp(0.1, 0.01, 6), beta_1=0.2, beta_2=beta_2, epsilon=1e-6), "mse")
    model.fit(x, y, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert type(copy.optimizer) is Adam
    assert copy.optimizer.get_config() == model.optimizer.get_config()
    assert (copy.optimizer.beta_1, copy.optimizer.epsilon) == (0.2, 1e-6)
    for each in (model, copy):
        each.fit(x, y, epochs=2, verbose=0)
    assert float(copy.optimizer.beta_2) == float(model.optimizer.beta_2)
    assert float(copy.optimizer.learning_rate) == pytest.approx(float(CosineRamp(0.1, 0.01, 6)(5)))
    np.testing.assert_array_equal(np.array(copy.layers[0].kernel), np.array(model.layers[0].kernel))


def test_adam_under_schedules_scales_losses_in_float16():
    optimizer = keras.optimizers.LossScaleOptimizer(Adam(0.1, beta_2=CosineRamp(0.5, 0.9, 2)))
    weight = keras.Variable([1.0])
    optimizer.build([weight])
    for gradient in (1.0, math.inf, 1.0, 1.0):
        optimizer.apply([optimizer.scale_loss(tf.constant([gradient]))], [weight])
    # The overflow is no update.
    assert float(weight[0]) < 1.0
    assert float(optimizer.inner_optimizer.beta_2) == pytest.approx(0.9)


def test_adam_adds_up_the_gradients_of_an_embedding():
    rows = []
    for dense in (False, True):
        optimizer, layer = Adam(0.1, beta_1=0.3, epsilon=0.1), keras.layers.Embedding(5, 3, "ones")
        layer.build(())
        for _ in range(3):
            with tf.GradientTape() as tape:
                value = tf.reduce_sum(tf.square(layer(tf.constant([1, 3, 3]))))
            (gradient,) = tape.gradient(value, layer.trainable_variables)
            assert isinstance(gradient, tf.IndexedSlices)
            optimizer.apply([tf.convert_to_tensor(gradient) if dense else gradient], layer.trainable_variables)
        rows.append(layer.embeddings.numpy())
    np.testing.assert_array_equal(*rows)
    assert (rows[0][3] < rows[0][1]).all() and (rows[0][1] < 1).all() and (rows[0][[0, 2, 4]] == 1).all()
