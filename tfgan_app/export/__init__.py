"""Trained models for other programs, and such models loaded to draw from."""

from tfgan_app.export.loaded import SavedGAN
from tfgan_app.export.saved_model import export_gan, exported_step, write_card

__all__ = ["SavedGAN", "export_gan", "exported_step", "write_card"]
