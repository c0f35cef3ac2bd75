"""The house: who imports whom, and who may speak of flags."""

import ast
import functools
import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1] / "tfgan_app"

# From the roof down; what stands on one floor may import each other, without a circle. A name is that of a module or of
# a package with all that it holds.
FLOORS = (
    ("train", "evaluate", "generate", "export.__main__", "benchmark", "metrics.train_classifier"),
    ("runs",),
    ("study", "modes"),
    ("models",),
    ("transfer",),
    ("gan", "translation"),
    ("exportable",),
    ("export",),
    ("sampler", "translator"),
    ("tiling",),
    ("adversarial",),
    ("players",),
    ("callbacks", "checkpoints", "cli"),
    ("metrics",),
    ("data",),
    ("conditions",),
    ("losses", "terms", "features", "augment", "schedules", "optimizers", "layers", "observation", "pictures"),
    ("modalities",),
    ("base",),
)
# The commands, and what they share, alone speak of flags.
COMMANDS = ("train", "evaluate", "generate", "export.__main__", "benchmark", "cli", "metrics.train_classifier")
# These import what they name when it is first asked for.
LAZY = ("", "export", "models", "runs")


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in ROOT.rglob("*.py")}


@functools.cache
def tree_of(name):
    return ast.parse(MODULES[name].read_text())


def imports_of(name):
    """Returns our modules that a module imports anywhere, functions included, with the names taken from each."""
    found = set()
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports relative to itself"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner.removeprefix("tfgan_app.") in MODULES else node.module)
    ours = {x.removeprefix("tfgan_app").removeprefix(".") for x in found if x.partition(".")[0] == "tfgan_app"}
    assert ours <= set(MODULES), (name, ours - set(MODULES))
    return ours


def floor_of(name):
    for index, floor in enumerate(FLOORS):
        if any(name == room or name.startswith(f"{room}.") for room in floor):
            return index
    return None


def modules():
    return sorted(name for name in MODULES if name)


def test_every_module_has_a_floor():
    assert [name for name in modules() if floor_of(name) is None] == []


@pytest.mark.parametrize("name", modules())
def test_no_arrow_points_up(name):
    # The package itself gives the version to those who must not load anything else.
    up = [other for other in imports_of(name) if other and floor_of(other) < floor_of(name)]
    assert up == []


def test_no_circle_of_imports():
    # A package is loaded before what it holds.
    edges = {name: imports_of(name) - {name} for name in modules()}
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done or name not in edges:
            return
        path.append(name)
        for other in sorted(edges[name]):
            # From within a package, a sibling's import is no circle through the package's own `__init__`.
            visit(other)
        path.pop()
        done.add(name)

    for name in edges:
        visit(name)


def test_what_loads_lazily_does_so_by_one_function():
    assert sorted(name for name in MODULES if "base.lazy" in imports_of(name)) == sorted(LAZY)
    defined = {name for name in MODULES for node in tree_of(name).body if getattr(node, "name", "") == "__getattr__"}
    dynamic = {name for name in MODULES if "import_module" in MODULES[name].read_text()}
    assert not defined and dynamic == {"base.lazy"}
    for name in LAZY:
        assert f"`{name or 'tfgan_app'}`" in MODULES["base.lazy"].read_text()


def strings_of(name):
    """Returns the string literals of a module, docstrings and parts of f-strings included, with their lines."""
    nodes = ast.walk(tree_of(name))
    return [
        (node.lineno, node.value) for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.parametrize("name", [name for name in modules() if name not in COMMANDS])
def test_the_library_names_no_flag(name):
    flags = [(line, text) for line, text in strings_of(name) if re.search(r"(?<![\w-])--[a-z]\w+", text)]
    assert flags == []


@pytest.mark.parametrize("name", [name for name in modules() if name not in COMMANDS])
def test_the_library_prints_nothing_by_itself(name):
    calls = [node for node in ast.walk(tree_of(name)) if isinstance(node, ast.Call)]
    prints = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    # To a stream that was handed over is not by itself.
    assert [call.lineno for call in prints if not any(keyword.arg == "file" for keyword in call.keywords)] == []


def calls_of(name):
    return [node for node in ast.walk(tree_of(name)) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("name", modules())
def test_texts_are_utf_8_whatever_the_system_has(name):
    for call in calls_of(name):
        function = getattr(call.func, "attr", getattr(call.func, "id", ""))
        # `open(path, mode)` and `path.open(mode)`; `archive.open(name, mode)` is of bytes.
        mode = [
            node.value for node in call.args[isinstance(call.func, ast.Name) :][:1] if isinstance(node, ast.Constant)
        ]
        if function in ("read_text", "write_text") or (function == "open" and mode in (["r"], ["w"], ["a"])):
            assert any(keyword.arg == "encoding" for keyword in call.keywords), (name, call.lineno)


@pytest.mark.parametrize("name", modules())
def test_nothing_is_loaded_that_only_some_systems_have(name):
    found = {alias.name for node in ast.walk(tree_of(name)) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module for node in ast.walk(tree_of(name)) if isinstance(node, ast.ImportFrom)}
    assert not found & {"fcntl", "grp", "msvcrt", "pty", "pwd", "resource", "termios", "winreg"}


def test_the_ground_floor_loads_nothing_else():
    assert importlib.util.find_spec("tfgan_app.base.errors") is not None
    for name in MODULES:
        if name.startswith("base."):
            assert {other.partition(".")[0] for other in imports_of(name)} <= {"base"}


def test_no_two_classes_are_saved_by_one_name():
    names = []
    for name in modules():
        for node in [node for node in ast.walk(tree_of(name)) if isinstance(node, ast.ClassDef)]:
            for call in [call for call in node.decorator_list if isinstance(call, ast.Call)]:
                if ast.unparse(call.func).endswith("register_keras_serializable"):
                    given = [keyword.value.value for keyword in call.keywords if keyword.arg == "name"]
                    names.append(given[0] if given else node.name)
    # Keras takes the class that was registered last.
    assert len(names) > 50 and sorted({name for name in names if names.count(name) > 1}) == []
