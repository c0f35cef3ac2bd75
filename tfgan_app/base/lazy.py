"""Names that load when they are first asked for, so that a command answers `help` before TensorFlow has loaded.

The packages that do so are `tfgan_app` itself, `export`, `models` and `runs`.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["lazily"]


def lazily(
    package: str, files: Mapping[str, str], modules: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns the functions `__getattr__` and `__dir__` of a package.

    Args:
        package: The package's name.
        files: For each name of a class or a function the module in the package that it is from.
        modules: Modules in the package that are names by themselves.
    """
    names = sorted([*files, *modules])

    def load(name: str) -> Any:
        if name in files:
            return getattr(importlib.import_module(f"{package}.{files[name]}"), name)
        if name in names:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load, lambda: names
