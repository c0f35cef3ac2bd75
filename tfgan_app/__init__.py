"""GANs for TensorFlow 2 and Keras 3.

    import tfgan_app as tg

    train, test = tg.data.load("fashion_mnist", batch_size=64)
    gan = tg.models.DCGAN(image_shape=(28, 28, 1))
    gan.compile(metrics=[tg.metrics.FrechetDistance("fashion_mnist_cnn")])
    gan.fit(train, validation_data=test, epochs=20)

Names are imported when first used, so that `--help` answers before TensorFlow has loaded.
"""

import importlib

from tfgan_app.version import __version__

_MODULES = ("callbacks", "checkpoints", "data", "export", "layers", "losses", "metrics", "models")
_CLASSES = {"AdversarialModel": "adversarial", "GAN": "gan"}

__all__ = ["GAN", "AdversarialModel", "__version__", *_MODULES]


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _CLASSES:
        return getattr(importlib.import_module(f"{__name__}.{_CLASSES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
