"""README and docs/: short enough to be read, and nothing in them leads nowhere."""

import ast
import operator
import re
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import FAMILY, LATENT_DIM, ROOT, SHAPE, random_images, tiny_networks, train

import tfgan_app as tg

INDEX = ROOT / "docs" / "README.md"
# Pages stand in docs/ itself; its folders hold what they are made of.
DOCS = sorted((ROOT / "docs").glob("*.md"))
OTHERS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "notebooks/README.md")
PAGES = [*(ROOT / name for name in OTHERS), *DOCS]

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page):
    """Returns a page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def links(page):
    """Returns where a page's relative links and pictures lead: `(path, anchor)`, the path resolved."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    parts = [target.partition("#") for target in targets if "://" not in target]
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in parts]


def anchors(page):
    """Returns the names by which a page's headings are linked to, as GitHub makes them, and those given in HTML."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"<[^>]*>", "", heading).lower() for heading in headings]
    named = re.findall(r'<a name="([^"]+)">', page.read_text())
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in plain} | set(named)


def python(page):
    """Returns a page's Python examples."""
    return [textwrap.dedent(code) for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]


def test_readme_is_a_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@every_page
def test_links_lead_somewhere(page):
    for path, anchor in links(page):
        assert path.exists(), path
        assert not anchor or anchor in anchors(path), f"{path}#{anchor}"


def test_every_page_is_reached_from_the_index():
    reached, waiting = set(), [INDEX]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md" and page.is_relative_to(INDEX.parent):
            reached.add(page)
            waiting += [path for path, _ in links(page)]
    assert reached == set(DOCS)
    assert (INDEX, "") in links(ROOT / "README.md")


def test_readme_has_every_model_with_its_recipes():
    (table,) = re.findall(r"^\| Model \|.*?\n\n", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    found: dict[str, list[str]] = {}
    for row in table.strip().splitlines()[2:]:
        model, _, recipes = row.strip("|").split("|")
        found.setdefault(model.split("`")[1], []).extend(re.findall(r"`(\w+)`", recipes))
    assert {name: sorted(recipes) for name, recipes in found.items()} == {
        name: sorted(recipes) for name, (_, recipes) in FAMILY.items()
    }


def test_the_page_of_translation_has_every_recipe_of_a_translator():
    (table,) = re.findall(
        r"^\| You want \|.*?\n\n", (ROOT / "docs" / "translation.md").read_text(), re.DOTALL | re.MULTILINE
    )
    found = {}
    for row in table.strip().splitlines()[2:]:
        _, _, model, *recipes = row.strip("|").split("|")
        found.setdefault(model.split("`")[1], set()).update(re.findall(r"`(\w+)`", "".join(recipes)))
    translators = [name for name in FAMILY if issubclass(getattr(tg.models, name), tg.TranslationGAN)]
    assert found == {name: set(FAMILY[name][1]) for name in translators}


@every_page
def test_python_is_whole_and_names_what_there_is(page):
    for code in python(page):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("tg."):
                operator.attrgetter(ast.unparse(node).removeprefix("tg."))(tg)
            if isinstance(node, ast.ImportFrom) and node.module.startswith("tfgan_app."):
                module = operator.attrgetter(node.module.removeprefix("tfgan_app."))(tg)
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def test_the_examples_of_contributing_train():
    model, translator, term = python(ROOT / "CONTRIBUTING.md")
    generator, discriminator = tiny_networks()
    names = {
        "build_generator": lambda image_shape, latent_dim, width: generator,
        "build_discriminator": lambda image_shape, width: discriminator,
        **{"Term": tg.terms.Term, "tf": tf},
    }
    exec(model, names)
    exec(term, names)
    gan = names["MyGAN"](SHAPE, latent_dim=LATENT_DIM, seed=3)
    gan.compile(terms=[*gan.compile_defaults()["terms"], names["L1"](weight=100.0)])
    logs = train(gan, random_images(4)).history
    assert logs.keys() >= {"r1", "l1"} and all(np.isfinite(values).all() for values in logs.values())

    source = keras.Input((None, None, 1), name="source")
    names |= {
        "TranslationGAN": tg.TranslationGAN,
        "NonSaturating": tg.losses.NonSaturating,
        "L1": tg.terms.L1,
        "build_generator": lambda source_channels, channels, width: keras.Model(
            source, keras.layers.Conv2D(channels, 3, padding="same", activation="tanh")(source)
        ),
        "build_discriminator": lambda target_shape, width: tiny_networks()[1],
    }
    exec(translator, names)
    gan = names["MyTranslator"](SHAPE, SHAPE, seed=3)
    gan.compile()
    images = random_images(4)
    logs = gan.fit(images, images, batch_size=2, verbose=0).history
    assert "l1" in logs and all(np.isfinite(values).all() for values in logs.values())
    assert gan.translate(np.zeros((1, 3, 5, 1))).shape == (1, 3, 5, 1)
