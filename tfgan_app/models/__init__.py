"""The GANs of the literature, one paper a file.

To add one: write its file, and add its line here (`CONTRIBUTING.md` has an example).
"""

import importlib

_FILES = {
    "ACGAN": "acgan",
    "BigGAN": "biggan",
    "CGAN": "cgan",
    "DCGAN": "dcgan",
    "InfoGAN": "infogan",
    "MLPGAN": "mlp_gan",
    "PGGAN": "pggan",
    "PacGAN": "pacgan",
    "ProjectionGAN": "projection_gan",
    "R3GAN": "r3gan",
    "SAGAN": "sagan",
    "SNGAN": "sngan",
    "StyleGAN2": "stylegan2",
    "WGAN": "wgan",
    "WGANGP": "wgan_gp",
}

__all__ = list(_FILES)  # one line a model; imported when first used, as the flags list the names


def __getattr__(name):
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)


def __dir__():
    return __all__
