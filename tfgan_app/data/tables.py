"""Tables of attributes beside images: CSV and JSON of any dialect; the lists of CelebA, StyleGAN, Hugging Face."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfgan_app.base.errors import DataError
from tfgan_app.conditions import Attributes, Column, did_you_mean, is_missing
from tfgan_app.data.labels import NONE
from tfgan_app.data.trees import Folder, Tree, counted, listed, paths
from tfgan_app.modalities.image_files import ENDINGS

AUTO = ("auto",)

# What a table is asked for: names of columns, all that can be learnt from, or the attributes of another split.
Asked = Sequence[str] | Attributes

_HEAD = 2**20  # bytes that are read of a table that nobody asked for
_MAX_JSON, _MAX_TEXT = 2**23, 2**26  # of such a table that is looked at
_LOOKED_AT = 2000  # rows, to see which column names files
_DELIMITERS = "\t;,|"
_FILE_WORDS = ("file_name", "filename", "file", "image", "image_id", "image_name", "img", "path", "id", "name")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


class Table(NamedTuple):
    """A table whose rows name files.

    Attributes:
        path: Where it lies, from the root of the images.
        files: The file that each row names.
        columns: The other columns, by name; None or a text such as `NA` where a value is missing.
    """

    path: str
    files: list[str]
    columns: dict[str, list[Any]]


class Told(NamedTuple):
    """What images are told by.

    Attributes:
        attributes: The attributes, None where images have none.
        rows: Theirs as networks take them, float32 `(num, K)`; NaN in those of images to leave out.
        notes: What was found, assumed and left out, in clauses.
    """

    attributes: Attributes | None
    rows: np.ndarray
    notes: list[str]

    @property
    def numbers(self) -> np.ndarray:
        """The number of each image's row, int32 `(num,)`; -1 of those to leave out."""
        return np.where(np.isfinite(self.rows).all(axis=1), np.arange(len(self.rows)), NONE).astype(np.int32)


def told_by_tables(tree: Tree, images: Sequence[str], asked: Asked, where: str) -> Told:
    """Reads the attributes of images from the table that lists most of them.

    Args:
        tree: The folder or archive.
        images: The paths of the images of a split.
        asked: What is wanted. The attributes of another split encode those of this one alike.
        where: What the images are called in messages.

    Raises:
        DataError: If there is no such table or column, or nothing can be learnt from it.
    """
    found, reasons = _tables(tree)
    wanted = [] if isinstance(asked, Attributes) or tuple(asked) == AUTO else list(asked)
    having = [table for table in found if not _lacking(table, wanted)] or found
    matches = [(_match(table, tree, images), table) for table in having]
    matched, table = max(matches, key=lambda one: one[0].closeness, default=(None, None))
    if table is None or matched is None or not matched.num:
        if isinstance(asked, Attributes):
            return Told(
                None, np.zeros((len(images), 0)), ["no table lists its images: they are taken without attributes"]
            )
        named = f" It has: {'; '.join(reasons + [f'{one.path}, which lists none of them' for one in found])}."
        raise DataError(
            f"`attributes={_shown(asked)}`: no table lists the images of {where}. Put attributes.csv beside them, "
            f"with a first line such as file,smiling,age and one for each image.{named if reasons or found else ''}"
        )
    others = [one.path for match, one in matches if one is not table and match.num]
    tree.others.tables = [path for path in tree.others.tables if path not in (table.path, *others)]
    have = np.flatnonzero(matched.rows >= 0)
    columns = {name: [values[row] for row in matched.rows[have]] for name, values in table.columns.items()}
    part = told_by_columns(columns, len(have), asked, table.path)
    if part.attributes is None:
        return Told(None, np.zeros((len(images), 0)), part.notes)
    rows = np.full((len(images), *part.rows.shape[1:]), np.nan, np.float32)
    rows[have] = part.rows
    notes = [*part.notes, *matched.notes(table.path)]
    if without := [image for image, row in zip(images, matched.rows, strict=True) if row < 0]:
        notes.append(
            f"left out {len(without)} of {counted(len(images))} that {table.path} does not list, such as {without[0]}"
        )
    if others:
        notes.append(f"left out attributes of other tables: {listed(others)}")
    return Told(part.attributes, rows, notes)


def told_by_columns(columns: Mapping[str, Sequence[Any]], num: int, asked: Asked, source: str) -> Told:
    """Makes attributes of columns, `num` values each, whose source a message names.

    Raises:
        DataError: If there is no such column, or nothing can be learnt from it.
    """
    notes: list[str] = []
    if isinstance(asked, Attributes):
        names = [column.name for column in asked.columns]
        if lacking := [name for name in names if name not in columns]:
            return Told(
                None,
                np.zeros((num, 0)),
                [f"no column {listed(lacking)} in {source}: its images are taken without attributes"],
            )
    elif tuple(asked) == AUTO:
        reasons = {name: _why_not(name, values) for name, values in columns.items()}
        names = [name for name, why in reasons.items() if not why]
        if unfit := [f"{name}, as {why}" for name, why in reasons.items() if why]:
            notes.append(f"left out of {source}: {listed(unfit, 4)}")
        if not names:
            raise DataError(f"`attributes=auto`: {source} has no column to learn from. {'; '.join(unfit)}.")
    else:
        names = [_column_of(name, columns, source) for name in dict.fromkeys(asked)]
    table = {name: columns[name] for name in names}
    gaps = {name: np.array([is_missing(value) for value in values], bool) for name, values in table.items()}
    missing = np.any([*gaps.values()], axis=0)
    lacks = {name: int(gap.sum()) for name, gap in gaps.items() if gap.any()}
    if 2 * missing.sum() > num:
        raise DataError(
            f"`attributes={_shown(asked)}`: of {counted(num)} {int(missing.sum())} have no value in {source} "
            f"({_counts(lacks)}). Leave those columns out: `attributes={','.join(n for n in names if n not in lacks)}`."
        )
    if missing.any():
        verb = "lacks" if missing.sum() == 1 else "lack"
        notes.append(f"left out {counted(int(missing.sum()))} that {verb} a value in {source} ({_counts(lacks)})")
    have = np.flatnonzero(~missing)
    given = {name: [values[index] for index in have.tolist()] for name, values in table.items()}
    attributes = asked if isinstance(asked, Attributes) else _fitted(given, asked, source)
    parts = {column.name: column.encoded(given[column.name]) for column in attributes.columns}
    rows = np.full((num, *attributes.shape), np.nan, np.float32)
    rows[have] = np.concatenate([*parts.values()], axis=1)
    strange = {name: np.flatnonzero(~np.isfinite(part).all(axis=1)) for name, part in parts.items()}
    for name, places in strange.items():
        if len(places):
            notes.append(
                f"left out {counted(len(places))} whose {name} is none of training, such as {given[name][places[0]]}"
            )
    notes.insert(0, f"attributes by {source}: {listed([str(column) for column in attributes.columns], 12)}")
    return Told(attributes, rows, notes)


def mentioned(tree: Tree, images: Sequence[str]) -> list[str]:
    """Returns a clause on the table that lists most of the images, where nobody asked for one; the rest is left out."""
    found, _ = _tables(tree, _HEAD)
    stems = {_stem(image) for image in images}
    listing = [table for table in found if any(_key(file)[1] in stems for file in table.files)]
    tree.others.tables = [path for path in tree.others.tables if path not in {table.path for table in listing[:1]}]
    return [
        f"the table {table.path} has attributes of its images ({listed(list(table.columns), 6)}): `attributes=auto`, "
        "or some of these names, tells them to a model such as CGAN"
        for table in listing[:1]
    ]


def read_table(path: str, content: bytes, stems: frozenset[str] | set[str]) -> Table:
    """Reads a table.

    Args:
        path: What it is called; its ending says what it is.
        content: Its bytes.
        stems: The names of the images, without folders and endings, in lower case: what tells which column names files.

    Raises:
        ValueError: If it is none, in words.
    """
    text = _decoded(content)
    if path.lower().endswith((".json", ".jsonl")):
        names, rows = _json_rows(text, path.lower().endswith(".jsonl"))
    else:
        names, rows = _csv_rows(text)
    if not rows:
        raise ValueError("it has no rows")
    step = max(1, len(rows) // _LOOKED_AT)
    looked_at = rows[::step]

    def score(index: int) -> tuple[int, bool, int, int]:
        cells = [str(row[index]) for row in looked_at if row[index] is not None]
        fits = [cell for cell in cells if _key(cell)[1] in stems or _unpadded(_key(cell)[1]) in stems]
        whole = sum(_has_ending(cell) for cell in fits)
        return whole, bool(fits) and names[index].casefold() in _FILE_WORDS, len(fits), -index

    place = max(range(len(names)), key=score)
    if not score(place)[2]:
        # Those of another split, perhaps.
        place = next((i for i, name in enumerate(names) if name.casefold() in _FILE_WORDS), 0)
    if _key(names[place])[1] in stems and _has_ending(names[place]):  # a table without headings
        rows, names = [list(names), *rows], [str(index) for index in range(len(names))]
    files = ["" if row[place] is None else str(row[place]) for row in rows]
    # What pandas writes beside is a number of each row.
    kept = [index for index, name in enumerate(names) if index != place and name and not name.startswith("Unnamed:")]
    columns = {names[index]: [row[index] for row in rows] for index in kept}
    if len(columns) < len(kept):
        raise ValueError("two of its columns have one name")
    if not columns:
        raise ValueError("it has no column beside the names of files")
    return Table(path, files, columns)


class _Match(NamedTuple):
    rows: np.ndarray  # of each image the number of its row, or -1
    closeness: tuple[int, int]
    strangers: list[str]
    unclear: list[str]
    again: list[str]

    @property
    def num(self) -> int:
        """How many images have a row."""
        return self.closeness[0]

    def notes(self, path: str) -> list[str]:
        clauses = (
            (self.strangers, "have no image"),
            (self.unclear, "fit several images: give their folders"),
            (self.again, "name an image again, whose first row stands"),
        )
        return [
            f"of {path} {counted(len(files), 'row')} {what if len(files) > 1 else _singular(what)}, such as {files[0]}"
            for files, what in clauses
            if files
        ]


def _singular(text: str) -> str:
    verb, _, rest = text.partition(" ")
    return f"{ {'have': 'has', 'fit': 'fits', 'name': 'names'}[verb] } {rest}"


def _match(table: Table, tree: Tree, images: Sequence[str]) -> _Match:
    """Finds the image that each row of a table names, with or without its folders and its ending."""
    every = list(paths(tree.root))
    number = {image: index for index, image in enumerate(images)}
    by_stem: dict[str, list[str]] = {}
    for image in every:
        by_stem.setdefault(_stem(image), []).append(image)
    unpadded: dict[str, list[str]] = {}
    for stem, found in by_stem.items():
        unpadded.setdefault(_unpadded(stem), []).extend(found)
    here = table.path.rpartition("/")[0]
    rows = np.full(len(images), -1, np.int64)
    strangers, unclear, again, taken = [], [], [], set()
    for row, file in enumerate(table.files):
        folders, stem = _key(file)
        near = by_stem.get(stem) or unpadded.get(_unpadded(stem), [])
        if len(near) > 1:
            near = _nearest(near, folders, here, file)
        if not near:
            strangers.append(file)
        elif len(near) > 1:
            unclear.append(file)
        elif near[0] in taken:
            again.append(file)
        else:
            taken.add(near[0])
            if (index := number.get(near[0])) is not None:
                rows[index] = row
    # Of two tables that list as many, the deeper one around the images.
    around = bool(images) and images[0].startswith(f"{here}/" if here else "")
    depth = len(here) + 1 if around else 0
    return _Match(rows, (int((rows >= 0).sum()), depth), strangers, unclear, again)


def _nearest(images: list[str], folders: list[str], here: str, file: str) -> list[str]:
    """Returns those of several images of one name that a row of a table in the folder `here` means."""

    def score(image: str) -> tuple[int, bool, bool]:
        own = [_folded(part) for part in image.split("/")[:-1]]
        same = 0
        while same < min(len(own), len(folders)) and own[-1 - same] == folders[-1 - same]:
            same += 1
        ending = _has_ending(file) and _folded(image).endswith(_folded(file).rpartition("/")[2])
        return same, ending, image.startswith(f"{here}/") if here else True

    best = max(map(score, images))
    return [image for image in images if score(image) == best]


def _tables(tree: Tree, head: int | None = None) -> tuple[list[Table], list[str]]:
    """Returns the tables of a tree, and of files that might have been some what is wrong with them.

    With `head` no more than that is read of each, and large ones are left alone.
    """
    stems = {_stem(image) for image in paths(tree.root)}
    stems |= {_unpadded(stem) for stem in stems}
    found, reasons = [], []
    lists = [] if head else list(_lists(tree.root))
    for path in [*tree.others.tables, *lists]:
        try:
            whole = path.lower().endswith(".json")
            if head and tree.size(path) > (_MAX_JSON if whole else _MAX_TEXT):
                raise ValueError("it is large")
            content = tree.read(path)
            if head and len(content) > head and not whole:
                content = content[: content.rfind(b"\n", 0, head)]
            found.append(read_table(path, content, stems))
        except Exception as error:  # of many kinds: the system's, zipfile's, JSON's, csv's
            reasons.append(f"{path}, which is no table: {str(error).rstrip('.')}")
    return found, reasons


def _lists(folder: Folder) -> Iterable[str]:
    if folder.labels is not None:
        yield folder.labels
    for inner in folder.folders.values():
        yield from _lists(inner)


def _csv_rows(text: str) -> tuple[list[str], list[list[Any]]]:
    """Returns the headings and the rows of a table of any delimiter."""
    lines = text.splitlines()
    while lines and (not lines[0].strip(" ,;\t|") or lines[0].strip().isdecimal()):  # CelebA's first line is a number
        lines.pop(0)
    if not lines:
        raise ValueError("it is empty")
    delimiter = None
    if stated := re.fullmatch(r"sep=(.)", lines[0].strip().strip('"')):  # of Excel
        delimiter = stated[1]
        lines.pop(0)
    delimiter = delimiter or max(_DELIMITERS, key=lambda one: len(next(csv.reader(lines[:1], delimiter=one))))
    if len(next(csv.reader(lines[:1], delimiter=delimiter))) == 1:
        rows = [line.split() for line in lines]
    else:
        rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter))
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    head, *rows = rows
    if rows and len(rows[0]) == len(head) + 1 and rows[0][-1]:  # CelebA's files have no heading
        head = ["", *head]
    if len(head) < 2:
        raise ValueError("it has one column")
    for number, row in enumerate(rows):
        while len(row) > len(head) and not row[-1]:
            row.pop()
        if len(row) != len(head):
            shown = " ".join(row)[:60]
            raise ValueError(f"row {number + 1} has {len(row)} cells in place of {len(head)}: {shown}")
    if delimiter != ",":
        rows = [[cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell for cell in row] for row in rows]
    return head, rows


def _json_rows(text: str, by_line: bool) -> tuple[list[str], list[list[Any]]]:
    """Returns names and rows of what JSON holds of each file: objects, lists of numbers or one value."""
    found = [json.loads(line) for line in text.splitlines() if line.strip()] if by_line else json.loads(text)
    # StyleGAN's
    if isinstance(found, dict) and isinstance(labels := found.get("labels", 0), (list, dict, type(None))):
        found = dict(labels or {})
    if isinstance(found, dict):
        found = [{"file_name": name, **_named(value)} for name, value in found.items()]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("it is no list of objects, one for each file")
    records = [dict(_flat(one)) for one in found]
    names = list(dict.fromkeys(name for record in records for name in record))
    if not names:
        raise ValueError("it has no rows")
    return names, [[record.get(name) for name in names] for record in records]


def _named(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    return {str(index): one for index, one in enumerate(value)} if isinstance(value, list) else {"label": value}


def _flat(record: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Yields the plain values of an object, and those of objects in it."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value)
        elif not isinstance(value, list):
            yield str(name), value


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:  # Excel's, in western Europe
        return content.decode("cp1252", "replace")


def _fitted(table: dict[str, list[Any]], asked: Sequence[str], source: str) -> Attributes:
    for name, values in table.items():
        if why := _why_not(name, values):
            raise DataError(
                f"`attributes={_shown(asked)}`: nothing can be learnt from {name} of {source}, as {why}. Leave it out."
            )
    return Attributes.of(table)


def _why_not(name: str, values: Sequence[Any]) -> str:
    """Returns why a column can be no attribute, an empty text where it can."""
    given = [value for value in values if not is_missing(value)]
    if 2 * len(given) < len(values):
        return f"{len(values) - len(given)} of {len(values)} values are missing"
    try:
        Column.of(name, given)
    except ValueError as error:
        return str(error)
    return ""


def _column_of(name: str, columns: Iterable[str], source: str) -> str:
    names = list(columns)
    alike = [own for own in names if own.casefold() == name.casefold()]
    if name in names:
        return name
    if len(alike) == 1:
        return alike[0]
    raise DataError(
        f"`attributes`: {source} has no column {name!r}.{did_you_mean(name, names)} It has: {listed(names, 50)}."
    )


def _lacking(table: Table, wanted: list[str]) -> list[str]:
    names = {name.casefold() for name in table.columns}
    return [name for name in wanted if name.casefold() not in names]


def _shown(asked: Asked) -> str:
    return ",".join(column.name for column in asked.columns) if isinstance(asked, Attributes) else ",".join(asked)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _key(file: str) -> tuple[list[str], str]:
    """Returns the folders and the name without ending that a cell of a table spells."""
    *folders, name = [part for part in _folded(file).split("/") if part not in ("", ".")] or [""]
    return folders, _stem(name)


def _stem(path: str) -> str:
    name = _folded(path.rpartition("/")[2])
    return name.rpartition(".")[0] if _has_ending(name) else name


def _has_ending(name: str) -> bool:
    return name.lower().endswith(tuple(ENDINGS))


def _unpadded(stem: str) -> str:
    """Returns a number without zeros in front, which spreadsheets take away."""
    return (stem.lstrip("0") or "0") if stem.isdecimal() else stem


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip().replace("\\", "/")).casefold()
