"""Exports a run, or a SavedModel, in another format."""

import pathlib
from typing import Any

from tfgan_app.base.errors import UsageError
from tfgan_app.base.table import takes
from tfgan_app.export import SavedGAN, SavedTranslator, check_format
from tfgan_app.export.formats import ENDINGS, SAVED_MODEL
from tfgan_app.runs.record import Run, open_trained
from tfgan_app.runs.settings import Exporting
from tfgan_app.translator import Translator

__all__ = ["export"]


@takes(Exporting)
def export(**settings: Any) -> pathlib.Path:
    """Exports a run or a SavedModel as an ONNX or a LiteRT file: `python -m tfgan_app.export` as a function.

    A run is also exported as a SavedModel, such as one of its best checkpoint.

    Args:
        **settings: What to export and where to, as below: one of `run` and `saved_model`.

    Returns:
        The path of the file or the folder.

    Raises:
        UsageError: For settings that cannot be carried out.
        CheckpointError: If the run has no such checkpoint.
        Failure: If the converter cannot translate an operation.
    """
    asked = Exporting(**settings)
    out = pathlib.Path(asked.out or asked.signature + ENDINGS.get(asked.format, ""))
    check_format(asked.format, out)
    gan = open_trained(asked.run, asked.saved_model, asked.checkpoint)
    if isinstance(gan, (SavedGAN, SavedTranslator)) or asked.format != SAVED_MODEL:
        first = isinstance(gan, Translator) and asked.signature == Exporting().signature
        return gan.export(out, asked.format, signature=None if first else asked.signature)
    if asked.out is None:
        raise UsageError(f"`format={SAVED_MODEL}` needs `out`, the folder to write.")
    run = Run.existing(str(asked.run))
    settings_, command = run.settings, run.record["sessions"][-1]["command"]
    images = settings_.batch_size * gan.batches_a_step
    return gan.export(out, data=run.record["data"], command=command, batch_size=images, parent=run.parent)
