"""Trees of files, on disk or in a .zip: which of them are images, and what the others are."""

import dataclasses
import functools
import os
import re
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tfgan_app.base.errors import DataError
from tfgan_app.modalities.image_files import ENDINGS, MAX_PIXELS, File, looks_like_image


def among(text: str) -> frozenset[str]:
    """Returns the words of a text as a set."""
    return frozenset(text.split())


# The file in which StyleGAN's programs list the labels of images.
LABELS = "dataset.json"

# What may be a table of attributes: texts by name alone, as there are many of other kinds.
_TABLE = re.compile(
    r".*\.(csv|tsv|json|jsonl)|(.*[^a-z])?(attr|attribute|label|annotation)s?([^a-z].*)?\.txt", re.IGNORECASE
)
_MAX_TABLES = 20  # more are a file for each image

_LICENCE = re.compile(r"(licen[cs]e|copying)(\.(txt|md))?", re.IGNORECASE)
_HEAD = 132  # bytes that tell an image from anything else
_MAX_DEPTH = 64  # folders within folders
_MAX_BYTES = 8 * MAX_PIXELS  # of a file unpacked: 16 bits a channel, with alpha
_ENDINGS = frozenset(ENDINGS)
# What systems and viewers leave behind.
_CLUTTER = frozenset(
    {"__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
    | {"thumbs.db", "ehthumbs.db", "desktop.ini", "dicomdir"}
)
# What is no image, or none that can be read, without looking into it.
_OTHER_IMAGES = among(
    ".ai .arw .cr2 .cr3 .djvu .dng .emf .eps .exr .hdr .heic .heif .hif .jxl .nef .nii .nrrd .orf .pdf .psd .raf "
    ".raw .rw2 .svg .wmf .xcf"
)
_NO_IMAGES = among(
    ".7z .avi .bz2 .c .cfg .conf .csv .db .doc .docx .gz .h5 .hdf5 .htm .html .ini .ipynb .js .json .jsonl .lnk .log "
    ".m4v .mat .md .mkv .mov .mp3 .mp4 .npy .npz .onnx .parquet .pickle .pkl .pt .pth .py .pyc .rar .rst .sh .sqlite "
    ".tar .tfrecord .tgz .toml .tsv .txt .url .wav .webm .xls .xlsx .xml .xz .yaml .yml .zip"
)


@dataclasses.dataclass
class Folder:
    """A folder with images in it or below.

    Attributes:
        name: Its name.
        images: Its own images, as paths from the root with slashes between the parts.
        folders: Those in it, by name.
        labels: The path of its `dataset.json`, or None.
        licences: The paths of its LICENSE, LICENSE.txt or alike.
    """

    name: str
    images: list[str] = dataclasses.field(default_factory=list)
    folders: dict[str, "Folder"] = dataclasses.field(default_factory=dict)
    labels: str | None = None
    licences: list[str] = dataclasses.field(default_factory=list)

    @functools.cached_property
    def count(self) -> int:
        """How many images are in it or below."""
        return len(self.images) + sum(folder.count for folder in self.folders.values())


class Others:
    """Files that are left out: how many of each ending, with the first of each as an example.

    Attributes:
        tables: The paths of those that may be tables of the images; whoever reads one takes it out.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, str] = {}
        self.tables: list[str] = []
        self.hidden = 0
        self.closed: list[str] = []

    def add(self, path: str) -> None:
        """Counts a file."""
        ending = _ending(path)
        self.counts[ending] = self.counts.get(ending, 0) + 1
        self.examples.setdefault(ending, path)

    def notes(self) -> list[str]:
        """Returns what is left out in a sentence or two."""
        while self.tables:
            self.add(self.tables.pop(0))
        found = [self._note(_OTHER_IMAGES, "image files of kinds that are not read here: convert them to PNG or JPEG")]
        found.append(self._note(self.counts.keys() - _OTHER_IMAGES, "files that are no images"))
        if self.hidden:
            found.append(f"left out {counted(self.hidden, 'hidden image')}")
        if self.closed:
            found.append(f"left out folders that cannot be opened: {listed(self.closed)}")
        return [note for note in found if note]

    def _note(self, endings: frozenset[str] | set[str], what: str) -> str:
        counts = {ending: self.counts[ending] for ending in endings if ending in self.counts}
        most = sorted(counts, key=lambda ending: (-counts[ending], ending))
        kinds = listed([f"{counts[ending]} {ending or 'without ending'}" for ending in most], 3)
        return f"left out {what} ({kinds}, such as {self.examples[most[0]]})" if counts else ""


@dataclasses.dataclass(frozen=True)
class Tree:
    """Images on disk or in an archive.

    Attributes:
        root: The folder that holds all.
        others: What is not among the images.
        file: From the path of an image to what `image_files` reads.
        read: From the path of any file to its bytes.
        size: From the path of an image to its size in bytes.
    """

    root: Folder
    others: Others
    file: Callable[[str], File | Callable[[], bytes]]
    read: Callable[[str], bytes]
    size: Callable[[str], int]


def listed(names: list[str], most: int = 8) -> str:
    """Returns names with commas between, those after the first ones as dots."""
    return ", ".join([*names[:most], *(["..."] if len(names) > most else [])])


def sentence(clause: str) -> str:
    """Returns a clause as a sentence."""
    return f"{clause[0].upper()}{clause[1:]}."


def counted(number: int, what: str = "image") -> str:
    """Returns `1 image`, `2 images`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def scan_folder(path: Path) -> Tree:
    """Finds the images below a folder; links are followed, and hidden entries left out.

    A file is told by its ending where that is one of images or of something else, and otherwise by its first bytes.
    """
    others = Others()

    def visit(folder: Folder, place: str, inner: str, above: tuple[tuple[int, int], ...]) -> None:
        try:
            with os.scandir(place) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if not inner:
                raise DataError(f"'{path}' cannot be opened: {error.strerror}.") from error
            others.closed.append(inner)
            return
        for entry in found:
            if _ignored(entry.name, others):
                continue
            relative = inner + entry.name
            try:
                is_folder = entry.is_dir()
                here = _identity(entry.path) if is_folder else (0, 0)
            except OSError:  # links in a circle
                others.add(relative)
                continue
            if not is_folder:
                _sort_in(folder, relative, others, functools.partial(_head, entry.path))
            elif here not in above and len(above) < _MAX_DEPTH:  # else a link to where it came from
                below = Folder(entry.name)
                visit(below, entry.path, f"{relative}/", (*above, here))
                if below.count:
                    folder.folders[entry.name] = below

    root = Folder(path.name)
    visit(root, os.fspath(path), "", (_identity(path),))

    def absolute(name: str) -> str:
        return os.path.join(path, *name.split("/"))

    return Tree(
        root,
        others,
        lambda name: Path(absolute(name)),
        lambda name: Path(absolute(name)).read_bytes(),
        lambda name: os.path.getsize(absolute(name)),
    )


def scan_zip(path: Path) -> Tree:
    """Finds the images in a .zip, which stays open; see `scan_folder`.

    Raises:
        DataError: If it is damaged or encrypted.
    """
    try:
        archive = zipfile.ZipFile(path)
        entries = {entry.filename.replace("\\", "/").strip("/"): entry for entry in archive.infolist()}
    except Exception as error:  # of many kinds: zipfile's, struct's, Unicode's
        raise DataError(f"'{path}' cannot be read as a .zip archive: {error}. Pack it again.") from error
    lock = threading.Lock()  # threads share one file

    def read(name: str) -> bytes:
        entry = entries[name]
        if entry.file_size > _MAX_BYTES:
            raise ValueError(f"{entry.file_size} bytes, over the limit of {_MAX_BYTES // 1_000_000} megabytes")
        with lock:
            return archive.read(entry)

    def head(name: str) -> bytes:
        try:
            with lock, archive.open(entries[name]) as file:
                return file.read(_HEAD)
        except Exception:  # of a damaged entry
            return b""

    root, others = Folder(path.stem), Others()
    for name, entry in sorted(entries.items(), key=lambda item: item[0].split("/")):
        parts = name.split("/")
        if entry.is_dir() or any(_ignored(part, others) for part in parts):
            continue
        if entry.flag_bits & 1:
            raise DataError(f"'{path}' is encrypted ({name}). Unpack it, and give the folder.")
        if len(parts) > _MAX_DEPTH:
            others.add(name)
            continue
        folder = root
        for part in parts[:-1]:
            folder = folder.folders.setdefault(part, Folder(part))
        _sort_in(folder, name, others, functools.partial(head, name))
    _prune(root)
    return Tree(root, others, lambda name: functools.partial(read, name), read, lambda name: entries[name].file_size)


def paths(folder: Folder) -> Iterator[str]:
    """Yields all images in a folder and below, in the order of their paths."""
    own: dict[str, str | Folder] = {name.rpartition("/")[2]: name for name in folder.images}
    for _, found in sorted((own | folder.folders).items()):
        if isinstance(found, Folder):
            yield from paths(found)
        else:
            yield found


def _sort_in(folder: Folder, relative: str, others: Others, head: Callable[[], bytes]) -> None:
    """Puts a file among the images of its folder, or among what is left out."""
    ending = _ending(relative)
    if ending in _ENDINGS:
        folder.images.append(relative)
        return
    name = relative.rpartition("/")[2]
    if name == LABELS:
        folder.labels = relative
        return
    if _LICENCE.fullmatch(name) and (first := head()) and not looks_like_image(first):
        folder.licences.append(relative)
        return
    if _TABLE.fullmatch(name) and len(others.tables) < _MAX_TABLES:
        others.tables.append(relative)
        return
    if ending not in _NO_IMAGES and ending not in _OTHER_IMAGES and looks_like_image(head()):
        folder.images.append(relative)
    else:
        others.add(relative)


def _ending(path: str) -> str:
    return os.path.splitext(path.rpartition("/")[2])[1].lower()


def _ignored(name: str, others: Others) -> bool:
    if name.startswith("."):
        others.hidden += not name.startswith("._") and _ending(name) in _ENDINGS  # those are macOS's
        return True
    return name.casefold() in _CLUTTER


def _identity(path: str | Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _head(path: str) -> bytes:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would wait for ever
            return b""
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def _prune(folder: Folder) -> None:
    for inner in folder.folders.values():
        _prune(inner)
    folder.folders = {name: inner for name, inner in folder.folders.items() if inner.count}
