"""GANs for TensorFlow 2 and Keras 3.

    import tfgan_app as tg

    train, test = tg.data.load("fashion_mnist", batch_size=64)
    gan = tg.models.DCGAN(image_shape=(28, 28, 1))
    gan.compile(metrics=[tg.metrics.FrechetDistance("fashion_mnist_cnn")])
    gan.fit(train, validation_data=test, epochs=20)

`python -m tfgan_app.train` and its fellows do the same from the command line.
"""

import sys

from tfgan_app.base.lazy import lazily
from tfgan_app.base.versions import __version__

_MODULES = (
    "augment",
    "callbacks",
    "checkpoints",
    "conditions",
    "data",
    "export",
    "layers",
    "losses",
    "metrics",
    "modalities",
    "models",
    "optimizers",
    "pictures",
    "runs",
    "schedules",
    "study",
    "terms",
)
_CLASSES = {
    "AdversarialModel": "adversarial",
    "GAN": "gan",
    "TranslationGAN": "translation",
    "init_from": "transfer",
}

__all__ = ["GAN", "AdversarialModel", "TranslationGAN", "__version__", "init_from", *_MODULES]
__getattr__, __dir__ = lazily(__name__, _CLASSES, _MODULES)


def _is_command():
    """Whether this process is one of the package's own commands."""
    program = sys.argv[0].replace("\\", "/").rpartition("/")[2]
    return program.startswith("tfgan-") or any(part.startswith("tfgan_app.") for part in sys.orig_argv)


# A command answers `--help` before TensorFlow has loaded. Everywhere else all is imported at once, as Keras can load a
# saved GAN only when its class, losses and metrics have been.
if not _is_command():
    for _name in (*_MODULES, *_CLASSES):
        __getattr__(_name)
    for _name in __getattr__("models").__all__:
        getattr(__getattr__("models"), _name)
