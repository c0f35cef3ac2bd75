"""Types: whatever a module's `__all__` names says what it takes and what it returns."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1] / "tfgan_app"


def name_of(path):
    parts = ("tfgan_app", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_of(path): ast.parse(path.read_text()) for path in ROOT.rglob("*.py")}


def exported(module):
    """Returns the names that a module's `__all__` spells out."""
    for node in TREES[module].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [element.value for element in getattr(node.value, "elts", ()) if isinstance(element, ast.Constant)]
    return []


def functions(module, name):
    """Yields the functions that a name of a module stands for, with what to call them.

    Those of a class are its public methods and its bases'; imports from our modules are followed.
    """
    for node in TREES[module].body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            yield f"{module}.{name}", node, 0
        elif isinstance(node, ast.ClassDef) and node.name == name:
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and (part.name[0] != "_" or part.name in ("__init__", "__call__")):
                    static = "staticmethod" in map(ast.unparse, part.decorator_list)
                    yield f"{module}.{name}.{part.name}", part, 0 if static else 1
            for base in node.bases:
                yield from functions(module, ast.unparse(base))
        elif isinstance(node, ast.ImportFrom) and node.module in TREES:
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    yield from functions(node.module, alias.name)


def lacking(function, own):
    """Returns the parameters of a function that have no type, but for its first `own`, and `return` where it has none.

    That of a constructor goes without saying.
    """
    arguments = function.args
    parameters = [*arguments.posonlyargs, *arguments.args][own:] + arguments.kwonlyargs
    names = [parameter.arg for parameter in parameters if parameter.annotation is None]
    return names + ["return"] * (function.returns is None and function.name != "__init__")


def public():
    """Returns all that is to have types, by name."""
    return {
        (name, node.lineno): lacking(node, own)
        for module in TREES
        for exported_name in exported(module)
        for name, node, own in functions(module, exported_name)
    }


def test_what_is_exported_has_types():
    untyped = [f"{name}: {', '.join(names)}" for (name, _), names in sorted(public().items()) if names]
    assert untyped == []


def test_bases_and_what_packages_pass_on_are_looked_at():
    names = {name for name, _ in public()}
    assert len(names) > 300
    assert {
        "tfgan_app.sampler.Sampler.sample",
        "tfgan_app.layers.spectral._SpectralNorm.build",  # of a private base
        "tfgan_app.data.image_set.ImageSet.batches",  # of a module without `__all__`
    } <= names
    assert lacking(ast.parse("def f(a, b: int, *c, d, **e): ...").body[0], 0) == ["a", "d", "return"]
