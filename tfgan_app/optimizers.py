"""Adam, as one operation for each variable."""

from typing import Any

import keras
import tensorflow as tf

from tfgan_app.schedules import Number

__all__ = ["Adam"]


@keras.saving.register_keras_serializable("tfgan_app")
class Adam(keras.optimizers.Adam):
    """`keras.optimizers.Adam`, whose update of a variable is one operation, and whose `beta_2` may be a schedule.

    Kingma and Ba 2014, https://arxiv.org/abs/1412.6980, Algorithm 1, as at the end of its section 2. With a schedule
    the bias correction takes the present beta_2: 1 - beta_2(t)^t.

    Args:
        learning_rate: A number, or a `keras.optimizers.schedules.LearningRateSchedule`.
        beta_1: As in `keras.optimizers.Adam`.
        beta_2: A number in [0, 1), or a schedule of the updates made so far.
        **kwargs: As in `keras.optimizers.Adam`.
    """

    def __init__(self, learning_rate: Number = 0.001, beta_1: float = 0.9, beta_2: Number = 0.999, **kwargs: Any):
        super().__init__(learning_rate, beta_1, beta_2, **kwargs)

    # Keras reads the attribute in every update, and sets it once, in its constructor.
    @property
    def beta_2(self) -> Number:
        return self._beta_2(self.iterations) if callable(self._beta_2) else self._beta_2

    @beta_2.setter
    def beta_2(self, beta_2: Number) -> None:
        self._beta_2 = beta_2

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable | tf.Variable, learning_rate: float | tf.Tensor
    ) -> None:
        if self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        index, dtype = self._get_variable_index(variable), variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = tf.cast(self.beta_1, dtype), tf.cast(self.beta_2, dtype)
        tf.raw_ops.ResourceApplyAdam(
            # Keras's `apply` gives TensorFlow's variable, whoever else calls this Keras's.
            var=(variable.value if isinstance(variable, keras.Variable) else variable).handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
        )

    def get_config(self) -> dict[str, Any]:
        beta_2 = keras.saving.serialize_keras_object(self._beta_2) if callable(self._beta_2) else self._beta_2
        return {**super().get_config(), "beta_2": beta_2}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "Adam":
        beta_2 = keras.saving.deserialize_keras_object(config["beta_2"], custom_objects=custom_objects)
        return super().from_config({**config, "beta_2": beta_2}, custom_objects=custom_objects)
