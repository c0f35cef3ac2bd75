"""The GANs of the literature, one paper a file.

To add one: write its file, and add its line here (`CONTRIBUTING.md` has an example).
"""

from tfgan_app.base.lazy import lazily

_FILES = {
    "ACGAN": "acgan",
    "BigGAN": "biggan",
    "CGAN": "cgan",
    "ContextEncoder": "context_encoder",
    "CycleGAN": "cycle_gan",
    "DCGAN": "dcgan",
    "DeepFillV2": "deepfill",
    "ESRGAN": "esrgan",
    "FastGAN": "fastgan",
    "InfoGAN": "infogan",
    "MLPGAN": "mlp_gan",
    "PGGAN": "pggan",
    "PacGAN": "pacgan",
    "Pix2Pix": "pix2pix",
    "ProjectionGAN": "projection_gan",
    "R3GAN": "r3gan",
    "SAGAN": "sagan",
    "SNGAN": "sngan",
    "SRGAN": "srgan",
    "StarGAN": "stargan",
    "StyleGAN2": "stylegan2",
    "WGAN": "wgan",
    "WGANGP": "wgan_gp",
}

__all__ = list(_FILES)
__getattr__, __dir__ = lazily(__name__, _FILES)
