"""tfgan_app.schedules: the ramp's closed form, and what follows it against calculations by hand."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_images

from tfgan_app.schedules import CosineRamp, ScheduledAdam, ScheduledAugment


def by_hand(start, end, steps, step):
    return start + (end - start) * (1 - math.cos(math.pi * min(step / steps, 1))) / 2


@pytest.mark.parametrize(("start", "end"), [(2e-4, 5e-5), (0.0, 5e6), (0.9, 0.99), (1.0, 1.0)])
def test_ramp_follows_half_a_cosine_and_stays(start, end):
    ramp = CosineRamp(start, end, 40)
    values = [float(ramp(step)) for step in range(100)]
    np.testing.assert_allclose(values, [by_hand(start, end, 40, step) for step in range(100)], rtol=1e-5, atol=1e-9)
    assert values[0] == pytest.approx(start)
    assert values[20] == pytest.approx((start + end) / 2)
    assert values[40:] == pytest.approx([end] * 60)


def test_ramp_takes_variables_and_tensors_of_any_kind():
    ramp = CosineRamp(1.0, 0.0, 4)
    for step in (1, np.int64(1), tf.constant(1, tf.int64), tf.constant(1.0), keras.Variable(1, dtype="int64")):
        value = tf.function(lambda step=step: ramp(step))()
        assert value.dtype == tf.float32
        assert float(value) == pytest.approx(by_hand(1, 0, 4, 1))


@pytest.mark.parametrize("steps", [0, -3])
def test_ramp_refuses_a_length_of_none(steps):
    with pytest.raises(ValueError, match=f"`steps` must be more than 0. Received: steps={steps}"):
        CosineRamp(0.0, 1.0, steps)


def test_ramp_survives_serialization():
    ramp = CosineRamp(0.9, 0.99, 7)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ramp))
    assert type(copy) is CosineRamp
    assert copy.get_config() == ramp.get_config() == {"start": 0.9, "end": 0.99, "steps": 7}


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("beta_1", [0.0, 0.5])
def test_adam_under_schedules_equals_a_calculation_by_hand(jit_compile, beta_1):
    rate, beta = (0.1, 0.01, 4), (0.5, 0.9, 5)
    optimizer = ScheduledAdam(CosineRamp(*rate), beta_1=beta_1, beta_2=CosineRamp(*beta), epsilon=1e-8)
    weight = keras.Variable([1.0, -2.0])
    optimizer.build([weight])
    gradients = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    update = tf.function(lambda gradient: optimizer.apply([gradient], [weight]), jit_compile=jit_compile)

    expected, m, v = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    for step, gradient in enumerate(gradients):
        update(tf.constant(gradient))
        beta_2 = by_hand(*beta, step)
        m = beta_1 * m + (1 - beta_1) * gradient
        v = beta_2 * v + (1 - beta_2) * gradient.astype(np.float64) ** 2
        corrected = m / (1 - beta_1 ** (step + 1)), v / (1 - beta_2 ** (step + 1))
        expected = expected - by_hand(*rate, step) * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
        np.testing.assert_allclose(np.array(weight), expected, rtol=2e-5)
    assert float(optimizer.beta_2) == pytest.approx(0.9)


def test_adam_with_numbers_is_that_of_keras():
    weights = []
    for kind in (ScheduledAdam, keras.optimizers.Adam):
        optimizer, weight = kind(0.1, beta_1=0.3, beta_2=0.8, clipnorm=1.0), keras.Variable([1.0, -2.0])
        for gradient in ([0.3, -4.0], [1.0, 0.5], [-2.0, 0.0]):
            optimizer.apply([tf.constant(gradient)], [weight])
        weights.append(np.array(weight))
    np.testing.assert_array_equal(*weights)


@pytest.mark.parametrize("beta_2", [0.97, CosineRamp(0.5, 0.9, 6)])
def test_a_saved_model_goes_on_with_the_schedule(beta_2, tmp_path):
    x, y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(ScheduledAdam(CosineRamp(0.1, 0.01, 6), beta_1=0.2, beta_2=beta_2, epsilon=1e-6), "mse")
    model.fit(x, y, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert type(copy.optimizer) is ScheduledAdam
    assert copy.optimizer.get_config() == model.optimizer.get_config()
    assert (copy.optimizer.beta_1, copy.optimizer.epsilon) == (0.2, 1e-6)
    for each in (model, copy):
        each.fit(x, y, epochs=2, verbose=0)
    assert float(copy.optimizer.beta_2) == float(model.optimizer.beta_2)
    assert float(copy.optimizer.learning_rate) == pytest.approx(by_hand(0.1, 0.01, 6, 5))
    np.testing.assert_array_equal(np.array(copy.layers[0].kernel), np.array(model.layers[0].kernel))


def test_adam_under_schedules_scales_losses_in_float16():
    optimizer = keras.optimizers.LossScaleOptimizer(ScheduledAdam(0.1, beta_2=CosineRamp(0.5, 0.9, 2)))
    weight = keras.Variable([1.0])
    optimizer.build([weight])
    for gradient in (1.0, math.inf, 1.0, 1.0):
        optimizer.apply([optimizer.scale_loss(tf.constant([gradient]))], [weight])
    # The overflow is no update.
    assert float(weight[0]) < 1.0
    assert float(optimizer.inner_optimizer.beta_2) == pytest.approx(0.9)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_augmentation_follows_its_schedule_whatever_the_logits(sign):
    augment = ScheduledAugment(CosineRamp(0.0, 0.5, 4), color=False)
    images = tf.constant(random_images(8))
    np.testing.assert_array_equal(augment(images), images)
    update = tf.function(lambda: augment.update(sign * tf.ones((8, 1))))
    for count in range(1, 7):
        update()
        assert float(augment.p) == pytest.approx(by_hand(0.0, 0.5, 4, count))
    assert np.any(augment(images) != images)


def test_augmentation_survives_serialization():
    augment = ScheduledAugment(CosineRamp(0.2, 0.5, 4), color=False, seed=5)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(augment))
    assert type(copy) is ScheduledAugment
    assert copy.get_config() == augment.get_config()
    assert (copy.color, float(copy.p)) == (False, pytest.approx(0.2))
    np.testing.assert_array_equal(copy(random_images(4)), augment(random_images(4)))
