"""By which statistics batch normalisation of the averaged generator scores best.

    python benchmarks/batch_statistics.py --steps=3000 --score_every=3000 --truncation 2 1 0.5

A run is scored by Frechet distance to the test digits with three kinds of statistics: copied from the generator, as the
step leaves them; averaged with the weights, at their decay; and measured for the averaged weights, as
`GAN.calibrate` does. With truncations the statistics of untruncated latents are set against those of truncated ones. A
line of JSON for each score of a run.
"""

import argparse
import functools
import json

import keras
import numpy as np
import tensorflow as tf

from tfgan_app import cli, data
from tfgan_app.base.latents import draw_latents, truncate_normal
from tfgan_app.base.networks import apply
from tfgan_app.base.randomness import stream
from tfgan_app.layers.batch_norm import measured_statistics
from tfgan_app.metrics import FrechetDistance
from tfgan_app.metrics.extractors import load_extractor
from tfgan_app.runs import Settings, build_gan

REPEATS = 4  # draws of fakes for a score


class Averages(keras.callbacks.Callback):
    """The generator's batch statistics, averaged as its weights are."""

    def __init__(self, gan):
        super().__init__()
        self.gan = gan
        self.current = moving(gan.generator)
        self.averages = [tf.Variable(value) for value in self.current]

    @tf.function
    def _move(self):
        step = tf.cast(self.gan.iterations, tf.float32)
        decay = tf.minimum(tf.cast(self.gan.ema_decay, tf.float32), (1.0 + step) / (10.0 + step))
        for average, value in zip(self.averages, self.current, strict=True):
            average.assign_add((1.0 - decay) * (value - average))

    def on_train_batch_end(self, batch, logs=None):
        self._move()


def moving(network):
    """Returns the moving means and variances of a network."""
    layers = [one for one in network._flatten_layers() if isinstance(one, keras.layers.BatchNormalization)]
    return [value for one in layers for value in (one.moving_mean, one.moving_variance)]


def distance(gan, test, extractor, draw):
    """Returns the mean Frechet distance of `REPEATS` draws, of fakes that `draw` returns for latents and labels."""
    values = []
    for repeat in range(REPEATS):
        metric = FrechetDistance(extractor)
        for index, (images, labels) in enumerate(test):
            latents = draw_latents(len(images), gan.latent_dim, stream((repeat, index), "scored"))
            fakes = draw([latents, *([tf.constant(labels)] if gan.num_classes else [])])
            metric.update_state(extractor(images), extractor(gan.modality.clip(fakes)))
        values.append(float(metric.result()))
    return float(np.mean(values))


def scores(gan, averages, test, extractor, truncations):
    """Returns the distances by kind of statistics; the EMA generator is left with those that are measured."""
    own, found = moving(gan.ema_generator), {}
    for name, values in (("copied", averages.current), ("averaged", averages.averages), ("measured", None)):
        if values is None:
            gan.calibrate()
        else:
            for variable, value in zip(own, values, strict=True):
                variable.assign(value)
        found[name] = distance(gan, test, extractor, lambda inputs: apply(gan.ema_generator, inputs))
    norms = [one for one in gan.ema_generator._flatten_layers() if isinstance(one, keras.layers.BatchNormalization)]
    for truncation in truncations:

        def truncated(inputs, truncation=truncation):
            latents, *labels = inputs
            return apply(gan.ema_generator, [truncate_normal(latents, truncation), *labels])

        latents, labels = draw_latents(1024, gan.latent_dim, stream((0, 0), "statistics")), tf.range(1024)
        inputs = [latents, *([labels % gan.num_classes] if gan.num_classes else [])]
        fitting = measured_statistics(norms, functools.partial(truncated, inputs))
        found[f"at {truncation:g}"] = distance(gan, test, extractor, truncated)
        before = [tf.convert_to_tensor(variable) for variable in own]
        for variable, value in zip(own, [value for pair in fitting for value in pair], strict=True):
            variable.assign(value)
        found[f"at {truncation:g}, measured so"] = distance(gan, test, extractor, truncated)
        for variable, value in zip(own, before, strict=True):
            variable.assign(value)
    return found


def main():
    """Trains, and prints a line for each score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="mnist", help="a recipe of this package, without its ending")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--score_every", type=int, default=1500)
    parser.add_argument("--truncation", type=float, nargs="*", default=[])
    args = parser.parse_args()
    train, extractor = data.open_images("mnist_5k"), load_extractor("mnist_cnn")
    test = list(data.open_images("mnist_5k", split="test").pairs(250))
    for seed in args.seeds:
        flags = [f"--flagfile={cli.RECIPES / args.recipe}.flags", f"--seed={seed}", "--dataset=mnist_5k"]
        settings = cli.parsed(Settings, flags)
        keras.utils.set_random_seed(seed)
        gan = build_gan(settings, train.image_shape, train.num_classes)
        averages = Averages(gan)
        for step in range(args.score_every, args.steps + 1, args.score_every):
            batches = train.batches(settings.batch_size, seed=seed, start_step=gan.step * gan.n_critic)
            gan.fit(batches, steps_per_epoch=args.score_every, shuffle=False, verbose=0, callbacks=[averages])
            found = scores(gan, averages, test, extractor, args.truncation)
            rounded = {name: round(value, 4) for name, value in found.items()}
            print(json.dumps({"recipe": args.recipe, "seed": seed, "step": step, **rounded}), flush=True)


if __name__ == "__main__":
    main()
