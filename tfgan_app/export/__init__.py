"""Trained models for other programs, and such models loaded to draw from."""

from tfgan_app.export.card import card_path, write_card
from tfgan_app.export.loaded import SavedGAN
from tfgan_app.export.saved_model import export_model, exported_step

__all__ = ["SavedGAN", "card_path", "export_model", "exported_step", "write_card"]
