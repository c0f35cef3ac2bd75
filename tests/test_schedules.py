"""tfgan_app.schedules: the ramp's closed form, and what follows it against calculations by hand."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import random_images

from tfgan_app.schedules import CosineRamp, LinearDecay, ScheduledAugment


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


def test_decay_stays_then_falls_linearly_to_zero():
    decay = LinearDecay(2e-4, 400_000, 450_000)
    steps = (0, 399_999, 400_000, tf.constant(425_000, tf.int64), np.int32(449_999), 450_000, 10**6)
    expected = [2e-4, 2e-4, 2e-4, 1e-4, 2e-4 / 50_000, 0, 0]
    np.testing.assert_allclose([float(decay(step)) for step in steps], expected, rtol=1e-4)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(decay))
    assert type(copy) is LinearDecay
    assert copy.get_config() == decay.get_config()


@pytest.mark.parametrize(("begin", "end"), [(-1, 4), (4, 4), (5, 4)])
def test_decay_refuses_steps_out_of_order(begin, end):
    with pytest.raises(ValueError, match=f"`begin` must lie from 0 to below `end`. Received: begin={begin}, end={end}"):
        LinearDecay(1.0, begin, end)


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
