"""The version, readable without importing TensorFlow, and those of what numbers depend on."""

import platform

__all__ = ["versions"]

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """Returns the versions that a number may depend on, by name."""
    import keras
    import numpy
    import tensorflow

    return {
        "tfgan_app": __version__,
        "tensorflow": tensorflow.__version__,
        "keras": keras.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
    }
