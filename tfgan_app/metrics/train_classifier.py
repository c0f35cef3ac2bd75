"""Trains a small classifier whose features serve the Frechet distance. Made the files in `classifiers/`.

python -m tfgan_app.metrics.train_classifier --dataset=fashion_mnist --out=fashion_mnist_cnn.keras
"""

import functools
import hashlib
import json
import pathlib
import sys

from absl import flags

from tfgan_app import cli

__all__ = ["build_classifier", "main", "run"]

cli.define_data_flags(dataset="mnist_5k", split="train")
flags.DEFINE_string("test_split", "test", "Held-out split that the accuracy is measured on.")
flags.DEFINE_integer("epochs", 15, "Passes over the training images.", lower_bound=1)
flags.DEFINE_integer("batch_size", 128, "Images a step.", lower_bound=1)
flags.DEFINE_float("learning_rate", 2e-3, "Adam's learning rate at the start; it falls to zero as a cosine.")
flags.DEFINE_integer("seed", 0, "Seed of weights, order and augmentation.")
flags.DEFINE_string("out", None, "The .keras file; facts go beside it as .json.", required=True)


def build_classifier(image_shape, num_classes):
    """Returns images `(batch, *image_shape)` in [-1, 1] -> class logits; the layer `features` holds 128 features.

    They are averages over the image of a rectified convolution's output, as those of Inception that FID uses.
    """
    import keras
    from keras import layers

    images = x = keras.Input(image_shape, name="images")
    for channels, pool in ((32, True), (64, True), (128, False), (128, False)):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x) if pool else x
    features = layers.GlobalAveragePooling2D(name="features", dtype="float32")(x)
    logits = layers.Dense(num_classes, dtype="float32")(layers.Dropout(0.3)(features))
    return keras.Model(images, logits, name=f"classifier_{num_classes}")


def main(argv):
    """Carries out the command; returns its exit code."""
    import keras

    from tfgan_app import runs
    from tfgan_app.adversarial import float32_copy
    from tfgan_app.gan import GAN
    from tfgan_app.precision import choose_precision

    settings = {name: flags.FLAGS[name].value for name in cli.DATA_FLAGS}
    train = runs.open_split(settings, flags.FLAGS.split)
    test = runs.open_split(settings, flags.FLAGS.test_split)
    keras.utils.set_random_seed(flags.FLAGS.seed)
    keras.config.set_dtype_policy(choose_precision("auto", GAN).policy)
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

    path = pathlib.Path(flags.FLAGS.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A copy carries no optimizer, whose state is twice the weights.
    float32_copy(network).save(path)
    facts = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "test_accuracy": round(accuracy, 4),
        "trained_on": train.describe(),
        "tested_on": test.describe(),
        "command": "python -m tfgan_app.metrics.train_classifier " + " ".join(sys.argv[1:]),
    }
    path.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n")
    print(f"{path}: accuracy {accuracy:.4f} on {test.num_images} images of {test.name} {test.split}.")
    return 0


run = functools.partial(cli.run, main)

if __name__ == "__main__":
    run()
