"""What goes by the name of a dataset: a folder, an archive, arrays, a folder that TFDS prepared, or a name of TFDS."""

import enum
import zipfile
from pathlib import Path
from typing import NamedTuple

from tfgan_app.base.errors import DataError, UnknownDataset
from tfgan_app.modalities.image_files import DICOM_ENDINGS, ENDINGS

__all__ = ["Kind", "Located", "located"]

_ARRAYS = (".npz", ".npy")
STACKS = (".tif", ".tiff", *DICOM_ENDINGS)
_PACKED = (".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")

_BUNDLED = Path(__file__).parent.parent / "datasets" / "mnist_5k" / "1.0.0"


class Kind(enum.Enum):
    """What a dataset is read from."""

    FOLDER = "folder or archive"
    ARRAY = "array"
    STACK = "file of several images"
    PREPARED = "prepared by TFDS"
    NAMED = "name"


class Located(NamedTuple):
    """A dataset: what it is read from, and where that lies, the current folder for a name."""

    kind: Kind
    path: Path


def located(name: str) -> Located:
    """Finds what goes by a name.

    Raises:
        UnknownDataset: If there is no such file.
        DataError: If it is a file of another kind.
    """
    if name == "mnist_5k":
        return Located(Kind.PREPARED, _BUNDLED)
    path = Path(name).expanduser().absolute()
    if path.is_dir():
        prepared = [folder for folder in (path, *sorted(path.iterdir())) if (folder / "dataset_info.json").exists()]
        return Located(Kind.PREPARED, prepared[-1]) if prepared else Located(Kind.FOLDER, path)
    ending = path.suffix.lower()
    if path.exists():
        if ending in _ARRAYS:
            return Located(Kind.ARRAY, path)
        if ending == ".zip" or zipfile.is_zipfile(path):
            return Located(Kind.FOLDER, path)
        if ending in STACKS:
            return Located(Kind.STACK, path)
        packed = "Unpack it, or pack it as a .zip" if ending in _PACKED else f"Give the folder, '{path.parent}'"
        advice = f" {packed}." if ending in _PACKED or ending in ENDINGS else ""
        raise DataError(f"'{name}' is neither a folder nor a .zip of images, nor an .npz or .npy file.{advice}")
    if name.startswith((".", "/", "~")) or ending in (*_ARRAYS, ".zip"):
        raise UnknownDataset(f"There is no file or folder '{name}'.")
    return Located(Kind.NAMED, Path())
