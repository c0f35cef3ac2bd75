"""Trained models for other programs, and such models loaded to draw from."""

from tfgan_app.base.lazy import lazily

_FILES = {
    "SavedGAN": "loaded",
    "SavedTranslator": "loaded",
    "card_path": "card",
    "check_format": "formats",
    "export_file": "files",
    "export_model": "saved_model",
    "exported_step": "saved_model",
    "model_card": "card",
    "open_saved": "loaded",
}

__all__ = list(_FILES)
__getattr__, __dir__ = lazily(__name__, _FILES)
