"""What a tree of images means: which folders are splits, which are classes, and which are neither.

Everything goes by the names of folders and by what lies where, so a rule holds on disk and in archives alike. The table
of layouts is in `docs/images.md`.
"""

import collections
import re
import unicodedata
from collections.abc import Iterable

from tfgan_app.data.decoding import MAX_SKIPPED
from tfgan_app.data.trees import Folder, among, counted, listed, paths

TRAIN = "train"

_WORDS = {
    TRAIN: "train training trn trainval",
    "validation": "validation valid val vld dev devel development eval evaluation",
    "test": "test testing tst holdout",
}
_ROLES = {word: role for role, words in _WORDS.items() for word in words.split()}
# What says nothing but that there are images.
_PLAIN = among(
    "image images img imgs picture pictures pic pics photo photos data dataset datasets set split folder jpg jpeg "
    "jpegs png pngs files all raw zip archive seg"
)
# What comes with images and is none of the set.
_BESIDE = among(
    "mask masks label labels annotation annotations segmentation segmentations truth groundtruth gt trimap trimaps "
    "bbox bboxes landmarks attributes"
)
# What its names may have as well: SegmentationClass, ground_truth.
_BESIDE_TOO = _BESIDE | among("ground class object binary instance")
_JOINED = re.compile(r"(?P<role>[a-z]+?)(?:set|sets|data|images|imgs)")


def role_of(name: str) -> str | None:
    """Returns which split a name is one of: `train`, `validation`, `test`, or one of those with an A or B, or None.

    Case, numbers and words that only say that there are images do not matter: `Testing`, `val2017`, `train_images`.
    """
    words = words_of(name)
    domain = words.pop() if len(words) > 1 and words[-1] in ("A", "B") else ""
    roles = [role_of_word(word) for word in words]
    found = {role for role in roles if role}
    if len(found) != 1 or not all(role or says_nothing(word) for word, role in zip(words, roles, strict=True)):
        return None
    return found.pop() + domain


def splits_of(root: Folder) -> tuple[dict[str, Folder], list[str]]:
    """Returns the splits of a set by name, `train` alone where there are none, and what is to be said of them."""
    notes: list[str] = []
    base = _core(root, notes, _split_names)
    names = _split_names(base)
    if names is None and (by_class := _class_first(base)):
        splits = by_class
    elif names is None:
        notes += [
            f"the folder {name}/ is taken for a class, like those beside it: a split comes with others"
            for name in base.folders
            if role_of(name)
        ]
        return {TRAIN: base}, notes
    else:
        splits = {names[name]: folder for name, folder in base.folders.items()}
    named = [name for name in splits if role_of(name)]
    notes.append(f"splits (images): {', '.join(_split_fact(name, splits[name]) for name in sorted(named))}")
    notes += [
        f"left out {folder.name}/ ({counted(folder.count)}), which is no split; `split={name}` takes it"
        for name, folder in splits.items()
        if name not in named
    ]
    if base.images:
        notes.append(_left_out(base.images, "beside the splits"))
    return splits, notes


def classes_of(folder: Folder) -> tuple[dict[str, list[str]] | None, list[str], list[str]]:
    """Returns the images of a split by class, or None; all of them; and what is to be said of them."""
    notes: list[str] = []
    folder = labels_folder(folder, notes)
    if not folder.folders:
        return None, sorted(folder.images), notes
    if folder.images:
        if all(map(_is_beside, folder.folders)):
            notes += _beside_images(folder.folders.values())
            return None, sorted(folder.images), notes
        if not _strays(folder):
            notes.append(
                f"images lie beside sub-folders ({_last(folder.images[0])}) as well as in them "
                f"({next(iter(folder.folders))}/): all are taken, without labels"
            )
            return None, list(_all(folder, notes)), notes
        notes.append(_left_out(folder.images, "beside the class folders"))
    if _are_parts(folder):
        notes.append("its sub-folders are parts of one numbered list, and no classes")
        return None, [path for inner in folder.folders.values() for path in paths(inner)], notes
    classes: dict[str, list[str]] = {}
    for name, inner in folder.folders.items():  # macOS and others spell one name differently
        classes.setdefault(unicodedata.normalize("NFC", name), []).extend(_all(inner, notes))
    return classes, [path for images in classes.values() for path in images], notes


def labels_folder(folder: Folder, notes: list[str]) -> Folder:
    """Returns the folder below that holds a split's images or classes."""
    return _core(folder, notes, lambda folder: None)


def words_of(name: str) -> list[str]:
    """Returns the words of a name, in lower case but for single letters: trainA, SegmentationClass, val-2017."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return [word if len(word) == 1 else word.lower() for word in re.findall(r"[^\W\d_]+|\d+", name)]


def role_of_word(word: str) -> str | None:
    """Returns which split a single word of a name says, or None."""
    joined = _JOINED.fullmatch(word)
    return _ROLES.get(word) or (_ROLES.get(joined["role"]) if joined else None)


def says_nothing(word: str) -> bool:
    """Whether a word of a name says no more than that there are images, or which number they have."""
    return word in _PLAIN or word.isdecimal()


def _is_plain(name: str) -> bool:
    words = words_of(name)
    return bool(words) and all(word in _PLAIN or re.fullmatch(r"(jpe?g|png)?(images|imgs)", word) for word in words)


def _is_beside(name: str) -> bool:
    words = words_of(name)
    return any(word in _BESIDE for word in words) and all(word in _BESIDE_TOO or says_nothing(word) for word in words)


def _split_names(folder: Folder) -> dict[str, str] | None:
    """Returns which split each sub-folder is, or None where they are classes.

    They are splits where two different ones stand together, or one whose neighbours are no classes: masks and the like,
    or another test. Or where it alone has sub-folders of its own. A lone `train` beside `bus` and `car` is a class.
    """
    roles = {name: role for name in folder.folders if (role := role_of(name))}
    if not roles:
        return None
    others = folder.folders.keys() - roles.keys()
    kinds = {role.rstrip("AB") for role in roles.values()}
    several = len(kinds) > 1 or all(_is_beside(name) or any(map(role_of_word, words_of(name))) for name in others)
    nested = {name: not inner.images and len(inner.folders) > 1 for name, inner in folder.folders.items()}
    if not several and not (all(nested[name] for name in roles) and not any(nested[name] for name in others)):
        return None
    counts = collections.Counter(roles.values())
    return {name: roles[name] if counts[roles.get(name, "")] == 1 else name for name in folder.folders}


def _class_first(folder: Folder) -> dict[str, Folder] | None:
    """Returns the splits where each class has folders for them, as in dog/train and dog/test, else None."""
    names = {name: _split_names(inner) for name, inner in folder.folders.items()}
    if not names or not all(found and TRAIN in found.values() and len(found) > 1 for found in names.values()):
        return None
    splits: dict[str, Folder] = {}
    for class_name, inner in folder.folders.items():
        for name, part in inner.folders.items():
            split = (names[class_name] or {})[name]
            splits.setdefault(split, Folder(split)).folders[class_name] = part
    return splits


def _core(folder, notes, split_names):
    """Goes down through folders that hold everything there is, as archives and labelling tools make them."""
    while folder.labels is None and split_names(folder) is None:
        main = [inner for name, inner in folder.folders.items() if not _is_beside(name)]
        if len(main) != 1:
            break
        (inner,) = main
        splits = split_names(inner)
        # A split within a split is its wrapping: seg_train/seg_train.
        plain = _is_plain(inner.name) or inner.name.casefold() == folder.name.casefold() or bool(role_of(inner.name))
        nested = not inner.images and len(folder.folders) == 1
        if not (splits or plain or nested or inner.labels) or not (splits or _strays(folder)):
            break
        if folder.images:
            notes.append(_left_out(folder.images, f"beside {inner.name}/"))
        notes += _beside_images(other for other in folder.folders.values() if other is not inner)
        folder = inner
    return folder


def _all(folder, notes):
    """Yields all images of a class, in order of their paths, without masks that lie beside a folder of images."""
    if any(map(_is_plain, folder.folders)) and (beside := [n for n in folder.folders if _is_beside(n)]):
        notes += _beside_images(folder.folders[name] for name in beside)
        folders = {name: inner for name, inner in folder.folders.items() if name not in beside}
        folder = Folder(folder.name, folder.images, folders)
    if not folder.folders:
        yield from sorted(folder.images)
    else:
        yield from paths(folder)


def _are_parts(folder: Folder) -> bool:
    """Whether sub-folders are 00000, 01000, ... with the images of one numbered list, which large sets are cut into."""
    if not all(re.fullmatch(r"\d{5,}", name) for name in folder.folders):
        return False
    end = -1
    for _, inner in sorted(folder.folders.items()):
        numbers = [re.search(r"(\d+)\.?[^.]*$", _last(path)) for path in paths(inner)]
        values = [int(number[1]) for number in numbers if number]
        if len(values) < len(numbers) or min(values) <= end:
            return False
        end = max(values)
    return True


def _strays(folder: Folder) -> bool:
    """Whether the images beside sub-folders are as few as may be left out."""
    return len(folder.images) <= MAX_SKIPPED * folder.count


def _split_fact(name: str, folder: Folder) -> str:
    return f"{name} ({folder.count}{'' if folder.name == name else f', from {folder.name}/'})"


def _left_out(images: list[str], where: str) -> str:
    return f"left out {counted(len(images))} {where} ({_last(images[0])}{', ...' if len(images) > 1 else ''})"


def _beside_images(folders: Iterable[Folder]) -> list[str]:
    found = [f"{folder.name}/ ({folder.count})" for folder in folders]
    return [f"left out images that belong to others: {listed(found)}"] if found else []


def _last(path: str) -> str:
    return path.rpartition("/")[2]
