"""Which pictures belong together: the two sides of a tree, and the partner of each picture, by names alone.

What is given is the source, what it should become the target. The table of layouts is in `docs/images.md`.
"""

import collections
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from tfgan_app.data.layouts import TRAIN, role_of_word, says_nothing, words_of
from tfgan_app.data.trees import among, counted, listed

__all__ = ["Arranged", "Match", "Place", "by_names", "in_sides", "in_two", "matched", "places_of", "side_of"]

SOURCE, TARGET = "source", "target"

_SOURCES = among(
    "a source sources src input inputs in lr lq low lowres blur blurred blurry noise noisy degraded corrupted edge "
    "edges sketch sketches before rain rainy haze hazy gray grey bw"
)
_TARGETS = among(
    "b target targets tgt dst output outputs out hr hq high highres sharp clean clear after gt truth groundtruth mask "
    "masks label labels annotation annotations segmentation segmentations seg color colour coloured colored"
)
_OTHER = {SOURCE: TARGET, TARGET: SOURCE}
# What editors and phones put into the name of what they save.
_EDITED = among("copy of edited edit kopie von copie de copia final enhanced nr")
_COPY = re.compile(r"\s*\(\d+\)$")
_IPHONE = re.compile(r"(?<=^IMG_)E(?=\d+)")  # before the number of a photograph that was edited
_ENOUGH = 0.5  # share of the pictures that must find partners for names to be taken for those of pairs


class Place(NamedTuple):
    """Where a picture lies.

    Attributes:
        path: Its path from the root of its tree.
        split: Which split its folders say, or None.
        parts: Its folders from where not all are alike, the splits' words left out.
    """

    path: str
    split: str | None
    parts: tuple[str, ...]


class Arranged(NamedTuple):
    """The pictures of both sides.

    Attributes:
        source: Places of the sources.
        target: Places of the targets.
        notes: Clauses on what was found and left out.
    """

    source: list[Place]
    target: list[Place]
    notes: list[str]


class Match(NamedTuple):
    """Partners.

    Attributes:
        pairs: Places of a source and its target, in the order of the sources.
        alone: Paths without a partner.
        notes: Clauses on names that are not quite equal.
    """

    pairs: list[tuple[Place, Place]]
    alone: list[str]
    notes: list[str]


def places_of(images: Iterable[str]) -> tuple[list[Place], list[str]]:
    """Returns where images lie, those beside the splits left out, and clauses on the splits.

    Args:
        images: Paths from the root of a tree, with slashes between their parts.
    """
    found = [(path, path.split("/")[:-1]) for path in images]
    common = len(_common([folders for _, folders in found]))
    places = []
    for path, folders in found:
        roles = [role for folder in folders for role in map(role_of_word, map(str.lower, words_of(folder))) if role]
        parts = tuple(" ".join(_without_roles(folder)) for folder in folders[common:])
        places.append(Place(path, roles[0] if roles else None, parts))
    splits = collections.Counter(place.split for place in places)
    if TRAIN not in splits:  # what is no other split
        places = [place._replace(split=place.split or TRAIN) for place in places]
        splits = collections.Counter(place.split for place in places)
        if set(splits) == {TRAIN}:
            return places, []
    notes = []
    if beside := [place for place in places if place.split is None]:
        notes.append(f"left out {counted(len(beside))} beside the splits ({beside[0].path})")
        places = [place for place in places if place.split is not None]
    counts = [f"{split} ({splits[split]})" for split in sorted(filter(None, splits))]
    return places, [f"splits (pictures): {', '.join(counts)}", *notes]


def in_sides(places: list[Place]) -> Arranged | None:
    """Returns the sides that folders name, or None: those of opposite names, or one such name and one other."""
    for depth in _depths(places):
        sides = _opposites({_name_at(depth, place) for place in places})
        if sides is not None:
            return _arranged_at(depth, places, sides)
    return None


def in_two(places: list[Place], pairs: bool) -> Arranged | None:
    """Returns two folders as sides, in the order of their names, or None where there are no two.

    If they are to be `pairs`, names of files must be equal in both.
    """
    for depth in _depths(places):
        names = {_name_at(depth, place) for place in places}
        if len(names) != 2 or "" in names:
            continue
        arranged = _arranged_at(depth, places, dict(zip(sorted(names), (SOURCE, TARGET), strict=True)), guessed=True)
        if not pairs or _pair_up(arranged):
            said = f"{arranged.notes[0]}, in the order of their names (`reverse=True` exchanges them)"
            return arranged._replace(notes=[said])
    return None


def by_names(places: list[Place]) -> Arranged | None:
    """Returns the sides that the names of files say, `1_A.png` and `1_B.png`, or None where they do not."""
    marks = {place: _mark(place.path) for place in places}
    found = set(marks.values())
    if not found & {SOURCE, TARGET} or len(found) < 2:
        return None
    rest = None if {SOURCE, TARGET} <= found else _OTHER[SOURCE if SOURCE in found else TARGET]
    arranged = _arranged(places, lambda place: marks[place] or rest)
    if not _pair_up(arranged):
        return None
    first, second = arranged.source[0].path, arranged.target[0].path
    notes = [f"sources and targets are told by their names, such as {first} and {second}"]
    if None in found and rest is None:
        alone = [path for path, mark in ((place.path, marks[place]) for place in places) if mark is None]
        notes.append(f"left out {counted(len(alone), 'picture')} that are of neither side ({alone[0]})")
    return arranged._replace(notes=notes)


def matched(source: list[Place], target: list[Place]) -> Match:
    """Returns which target belongs to which source: of the same name, or of the only one that is nearly so."""
    by_folder = _match(source, target, folders=True)
    if len(by_folder.pairs) < _ENOUGH * max(len(source), len(target)):
        by_name = _match(source, target, folders=False)
        if len(by_name.pairs) > len(by_folder.pairs):
            return by_name
    return by_folder


def _match(source: list[Place], target: list[Place], folders: bool) -> Match:
    left = (dict.fromkeys(source), dict.fromkeys(target))
    partner: dict[Place, Place] = {}
    nearly: list[str] = []
    # Each key is looser than the one before; it holds only for names that are then the only ones of their side.
    for number, keys in enumerate(_KEYS):
        tables = []
        for places, key in zip(left, keys, strict=True):
            table: dict[object, list[Place]] = collections.defaultdict(list)
            for place in places:
                table[key(place.path), place.split, place.parts if folders else ()].append(place)
            tables.append({name: only[0] for name, only in table.items() if len(only) == 1})
        for name, first in tables[0].items():
            if second := tables[1].get(name):
                partner[first] = second
                del left[0][first], left[1][second]
                nearly += [f"{_name(first.path)} and {_name(second.path)}"] if number >= _NEARLY else []
    notes = [f"{counted(len(nearly), 'pair')} by nearly equal names, such as {nearly[0]}"] if nearly else []
    pairs = [(first, partner[first]) for first in source if first in partner]
    return Match(pairs, [place.path for place in itertools.chain(*left)], notes)


def _pair_up(arranged: Arranged) -> bool:
    most = max(len(arranged.source), len(arranged.target))
    return len(matched(arranged.source, arranged.target).pairs) >= _ENOUGH * most > 0


def _arranged(places: list[Place], side: Callable[[Place], str | None]) -> Arranged:
    source, target = ([place for place in places if side(place) == which] for which in (SOURCE, TARGET))
    return Arranged(source, target, [])


def _depths(places: list[Place]) -> range:
    return range(max((len(place.parts) for place in places), default=0))


def _arranged_at(depth: int, places: list[Place], sides: Mapping[str, str | None], guessed: bool = False) -> Arranged:
    """Returns the sides that the folders of one depth say, by their names."""
    source, target, _ = _arranged(places, lambda place: sides[_name_at(depth, place)])
    notes = [f"sources are those of {_folders(source, depth)}, targets those of {_folders(target, depth)}"]
    if others := [name or "no folder" for name, side in sorted(sides.items()) if side is None]:
        notes.append(f"left out pictures that are of neither side: {listed(others)}")
    trimmed = ([_trimmed(place, depth, guessed) for place in side] for side in (source, target))
    first, second = trimmed
    return Arranged(first, second, notes)


def _opposites(names: set[str]) -> dict[str, str | None] | None:
    """Returns which side each name is of, where some are of one and the others of the other."""
    sides = {name: side_of(name.split()) for name in names}
    found = set(sides.values()) - {None}
    for side in found:  # of blur/ and blur_gamma/ the first alone
        own = [name for name in names if sides[name] == side]
        if pure := [name for name in own if all(_of_side(word.lower()) for word in name.split())]:
            sides |= {name: None for name in own if name not in pure}
    if len(found) == 2:
        return sides
    others = [name for name, side in sides.items() if side is None]
    if len(others) > 1:  # images/ beside masks/ and more
        others = [name for name in others if name and all(says_nothing(word.lower()) for word in name.split())]
    if not found or len(others) != 1:
        return None
    return sides | {others[0]: _OTHER[SOURCE if SOURCE in found else TARGET]}


def side_of(words: Iterable[str]) -> str | None:
    """Returns the side that the words of a name say, `source` or `target`, or None."""
    words = {word.lower() for word in words}
    found = [side for side, known in ((SOURCE, _SOURCES), (TARGET, _TARGETS)) if words & known]
    return found[0] if len(found) == 1 else None


def _mark(path: str) -> str | None:
    """Returns the side that the last or the first word of a file's name says; an edited copy is a target."""
    words = words_of(_stem(path))
    if len(words) > 2 and words[-2].lower() == "x" and words[-1].isdecimal():  # of how many times it was shrunk
        return SOURCE
    if len(words) > 1 and (side := side_of(words[-1:]) or side_of(words[:1])):
        return side
    return TARGET if _uncopied(path) != _bare(path) else None


def _name_at(depth: int, place: Place) -> str:
    return place.parts[depth] if depth < len(place.parts) else ""


def _folders(places: list[Place], depth: int) -> str:
    """Returns the folders of a side as they are called, with the number of its pictures."""
    folders = [place.path.split("/")[:-1] for place in places]
    skipped = len(folders[0]) - len(places[0].parts)
    names = sorted({"/".join(folder[skipped + depth : skipped + depth + 1]) for folder in folders})
    return f"{listed([f'{name}/' if name else 'no folder' for name in names], 3)} ({len(places)})"


def _common(folders: list[list[str]]) -> list[str]:
    if not folders:
        return []
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(min(folders), max(folders), strict=False))
    return [part for part, _ in pairs]


def _without_roles(folder: str) -> list[str]:
    return [word for word in words_of(folder) if not role_of_word(word.lower())]


def _trimmed(place: Place, depth: int, guessed: bool) -> Place:
    """Returns a place without what its folders say of its side."""
    words = [] if guessed else [word for word in _name_at(depth, place).split() if not _of_side(word.lower())]
    parts = (*place.parts[:depth], " ".join(words), *place.parts[depth + 1 :])
    return place._replace(parts=tuple(part for part in parts if part))


def _of_side(word: str) -> bool:
    return word in _SOURCES or word in _TARGETS or (says_nothing(word) and not word.isdecimal())


# Names as they are compared.


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _full(path: str) -> str:
    return _name(path)


def _stem(path: str) -> str:
    stem, dot, _ = _name(path).rpartition(".")
    return stem if dot and stem else _name(path)


def _plain(path: str) -> str:
    return unicodedata.normalize("NFC", _stem(path)).casefold().strip()


def _bare(path: str) -> tuple[str, ...]:
    return _core(words_of(unicodedata.normalize("NFC", _stem(path))))


def _uncopied(path: str) -> tuple[str, ...]:
    words = words_of(_IPHONE.sub("", _COPY.sub("", unicodedata.normalize("NFC", _stem(path)))))
    return _core([word for word in words if word.lower() not in _EDITED] or words)


def _core(words: list[str]) -> tuple[str, ...]:
    """Returns the words of a name without those at its ends that say which side it is of, numbers without zeros."""
    words = [word.lower() for word in words]
    if len(words) > 2 and words[-2] == "x" and words[-1].isdecimal():
        words = words[:-2]
    while len(words) > 1 and _of_side(words[-1]):
        words = words[:-1]
    while len(words) > 1 and _of_side(words[0]):
        words = words[1:]
    return tuple(str(int(word)) if word.isdecimal() else word for word in words)


# By which names are compared, of sources and of targets; from `_NEARLY` on they are not quite equal.
_KEYS: tuple[tuple[Callable[[str], object], Callable[[str], object]], ...] = (
    (_full, _full),
    (_stem, _stem),
    (_plain, _plain),
    (_bare, _bare),
    (_uncopied, _bare),
    (_bare, _uncopied),
)
_NEARLY = 3
