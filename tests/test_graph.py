"""A training step compiled to a graph does what it does eagerly."""

import os
import pathlib
import subprocess
import sys

import numpy as np

CODE = """
import sys
import tensorflow as tf
# One operation after the other: what control dependencies leave open has one outcome, not the one of a lucky race.
tf.config.threading.set_inter_op_parallelism_threads(1)
import keras, numpy as np
from conftest import random_images, tiny_model
from tfgan_app.terms import R1
keras.utils.set_random_seed(1)
gan = tiny_model("WGAN")
gan.compile(keras.optimizers.SGD(1e-3), keras.optimizers.SGD(1e-3), terms=[R1(10.0, interval=2)], jit_compile=False)
images = random_images(8 * gan.n_critic, gan.image_shape)
batches = tf.data.Dataset.from_tensor_slices(images).batch(8, drop_remainder=True)
before = [v.numpy() for v in gan.variables]
gan.fit(batches.repeat(), steps_per_epoch=1, verbose=0, shuffle=False)
graph = [w.numpy() for w in gan.weights]
for variable, value in zip(gan.variables, before, strict=True):
    variable.assign(value)
gan.train_step(tf.constant(images))
gan.calibrate()  # as `fit` does at its end
np.savez(sys.argv[1], *graph, **{f"eager_{i}": w.numpy() for i, w in enumerate(gan.weights)})
"""


def test_no_update_is_lost_in_a_graph(tmp_path):
    here = pathlib.Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    subprocess.run([sys.executable, "-c", CODE, tmp_path / "weights.npz"], check=True, env=environment)
    weights = np.load(tmp_path / "weights.npz")
    for index in range(len(weights.files) // 2):
        np.testing.assert_allclose(weights[f"arr_{index}"], weights[f"eager_{index}"], atol=1e-6)
