"""Trains a small classifier whose features serve the Frechet distance. Made the files in `classifiers/`.

python -m tfgan_app.metrics.train_classifier --dataset=fashion_mnist --out=fashion_mnist_cnn.npz
"""

import functools
import hashlib
import json
import sys

from absl import flags

from tfgan_app import cli
from tfgan_app.base.files import local_path
from tfgan_app.runs.settings import SOURCE, Settings

__all__ = ["main", "run"]

cli.define(Settings.rows(*SOURCE))
flags.DEFINE_string("test_split", "test", "Held-out split that the accuracy is measured on.")
flags.DEFINE_integer("epochs", 15, "Passes over the training images.", lower_bound=1)
flags.DEFINE_integer("batch_size", 128, "Images a step.", lower_bound=1)
flags.DEFINE_float("learning_rate", 2e-3, "Adam's learning rate at the start; it falls to zero as a cosine.")
flags.DEFINE_integer("seed", 0, "Seed of weights, order and augmentation.")
flags.DEFINE_string("out", None, "The .npz of weights; facts go beside it as .json.", required=True)


def main(argv: list[str]) -> int:
    """Carries out the command; returns its exit code."""
    import keras

    from tfgan_app.base.precision import choose_precision
    from tfgan_app.metrics.classifier import build_classifier, save_classifier
    from tfgan_app.runs.build import open_images

    settings = Settings(**cli.given(Settings.rows(*SOURCE)))
    train, test = (open_images(settings, split) for split in (settings.split, flags.FLAGS.test_split))
    keras.utils.set_random_seed(flags.FLAGS.seed)
    keras.config.set_dtype_policy(choose_precision("auto").policy)
    network = build_classifier(train.image_shape, train.require_labels())
    batch_size, epochs = flags.FLAGS.batch_size, flags.FLAGS.epochs
    steps = train.num_images // batch_size
    shift = keras.layers.RandomTranslation(0.08, 0.08, fill_mode="constant", fill_value=-1.0)
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(flags.FLAGS.learning_rate, steps * epochs)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    batches = train.batches(batch_size, seed=flags.FLAGS.seed)
    augmented = batches.map(lambda images, labels: (shift(images, training=True), labels))
    network.fit(augmented, epochs=epochs, steps_per_epoch=steps, verbose=2)
    accuracy = network.evaluate(test.in_order(250), return_dict=True, verbose=0)["accuracy"]

    path = local_path(flags.FLAGS.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_classifier(path, network)
    facts = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "test_accuracy": round(accuracy, 4),
        "trained_on": train.describe(),
        "tested_on": test.describe(),
        "command": "python -m tfgan_app.metrics.train_classifier " + " ".join(sys.argv[1:]),
    }
    path.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(f"{path}: accuracy {accuracy:.4f} on {test.num_images} images of {test.name} {test.split}.")
    return 0


run = functools.partial(cli.run, main)

if __name__ == "__main__":
    run()
