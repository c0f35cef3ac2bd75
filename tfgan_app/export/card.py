"""Model cards in the format that model hubs read: a YAML header, then Markdown."""

import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from tfgan_app.base.files import PathLike, local_path
from tfgan_app.base.versions import versions
from tfgan_app.conditions import NUMBER, Attributes, are_numbers
from tfgan_app.export.formats import ENDINGS, inputs

__all__ = ["card_path", "carded", "model_card"]

_MARK = "tags: [gan, tfgan_app"


def card_path(folder: PathLike) -> pathlib.Path:
    """Returns where the card of a model goes: beside its folder where that is named by a version, otherwise in it.

    Raises:
        FileExistsError: If there is a README.md that is not a card.
    """
    folder = local_path(folder)
    path = (folder.parent if folder.name.isdigit() else folder) / "README.md"
    if path.exists() and _MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise FileExistsError(
            f"{path} is not a model card and would be replaced. Export to a folder of its own, such as "
            f"{folder.parent / 'my_gan' / '1'}."
        )
    return path


def carded(folder: PathLike) -> dict[str, str]:
    """Returns what the card of an exported model tells of its training data, `name` and `licence`, where it does."""
    folder = local_path(folder)
    header = ""
    for path in (folder / "README.md", folder.parent / "README.md"):
        if path.is_file() and _MARK in (text := path.read_text(encoding="utf-8", errors="replace")):
            header = text.split("---")[1]
            break
    found = {}
    for key, pattern in (("name", r"^datasets: \[(.*)\]$"), ("licence", r"^license: (.*)$")):
        if match := re.search(pattern, header, re.MULTILINE):
            found[key] = match[1].strip('"')
    return found


def model_card(
    facts: dict[str, Any],
    *,
    folder: str = ".",
    files: Sequence[str] = (),
    data: dict[str, Any] | None = None,
    command: str | None = None,
    batch_size: int | None = None,
    scores: Sequence[dict[str, Any]] = (),
    picture: str | None = None,
    parent: dict[str, Any] | None = None,
) -> str:
    """Returns the text of a model card.

    Args:
        facts: `describe()` of the model, a `tfgan_app.GAN` or a `tfgan_app.TranslationGAN`.
        folder: The SavedModel's folder, from where the card is.
        files: Names of the ONNX and LiteRT files of the first signature beside the card.
        data: `ImageSet.describe()` of the training images.
        command: The command line that trained it.
        batch_size: Images a step, from which the images seen follow.
        scores: `tfgan_app.study.summary()` of receipts.
        picture: Name of a picture beside the card: samples, or pictures before and after translation.
        parent: Whose weights training began with: `source`, `model`, `step`, `data` and `licence`.
    """
    data = data or {"name": "not recorded", "licence": "not recorded", "origin": "not recorded"}
    model, steps = facts["model"], facts["step"]
    stand_in = f" (standing in for {data['fallback_for']})" if data.get("fallback_for") else ""
    seen = "not recorded" if batch_size is None else f"{steps * batch_size:,} ({steps:,} steps of {batch_size})"
    name, names = facts["modality"], facts.get("class_names")
    range_ = "in [0, 1]" if name == "images" else "as the data has them"
    translates = "source_shape" in facts
    lines = [
        "---",
        "library_name: tensorflow",
        f"pipeline_tag: {_task(facts)}",
        f"{_MARK}, {model.lower()}]",
        f"datasets: [{json.dumps(data['name'])}]",
        f"license: {json.dumps(data['licence'])}",
        *_model_index(facts, scores),
        "---",
        "",
        f"# {model} trained on {data['name']}{stand_in}",
        "",
        *([f"![{'Before and after' if translates else 'Samples'}]({picture})", ""] if picture else []),
        *(_translating if translates else _drawing)(facts, folder, files, range_),
        "| | |",
        "|---|---|",
        f"| Training {name} | {data['name']}{stand_in}, split {data.get('split')}, {data.get('num_images', 0):,} |",
        f"| Origin, licence | {data['origin']}; {data['licence']} |",
        f"| Fingerprint of the {name} | `{data.get('fingerprint')}` |",
        *([_values_row(data["value_range"])] if data.get("value_range") else []),
        *([_parent_row(parent)] if parent else []),
        f"| {name.capitalize()} seen | {seen} |",
        *([f"| Classes | {_classes(names)} |"] if names and not are_numbers(names) else []),
        *([f"| Attributes | {_attributes(facts['attributes'])} |"] if facts.get("attributes") else []),
        f"| Seed | {facts['seed']} |",
        f"| Loss | {facts['loss']} |",
        *([f"| Terms | {', '.join(facts['terms'])} |"] if facts["terms"] else []),
        *([f"| Augmentation | {facts['augment']} |"] if facts["augment"] else []),
        f"| Weights | generator {facts['parameters'][0]:,}, discriminator {facts['parameters'][1]:,}; "
        f"the generator's moving average ({facts['average']}) is exported |",
        f"| Versions | {', '.join(f'{name} {version}' for name, version in versions().items())} |",
        "",
    ]
    if command:
        lines += ["Trained by", "", "```", command, "```", ""]
    lines += [f"- {score['text']}" for score in scores]
    return "\n".join(lines).rstrip() + "\n"


def _parent_row(parent):
    text = f"{parent['model']} trained on {parent['data']}, step {parent['step']:,} (`{parent['source']}`)"
    return f"| Began with the weights of | {text}; {parent['licence']} |"


def _task(facts):
    return "image-to-image" if "source_shape" in facts else "unconditional-image-generation"


def _drawing(facts, folder, files, range_):
    """Returns the lines on how to draw samples."""
    classes, name, told = facts["num_classes"], facts["modality"], facts.get("attributes")
    kind = "unconditional" if classes is None else f"conditional on {classes} classes"
    arguments = f"num_{name}=tf.constant(16), seed=tf.constant(7, tf.int64)"
    given: list[str] = []
    if classes is not None:
        arguments += f", labels=tf.range(16) % {classes}"
    if told:
        kind = "conditional on attributes"
        given = [f"conditions = tf.constant([[{_row(told)}]] * 16)  # {told['examples'][0]}"]
        arguments += ", conditions=conditions"
    return [
        f"Draws {name} of shape {tuple(facts['shape'])}{_kind(facts)} from {facts['latent_dim']} latents, {kind}.",
        "",
        "```python",
        "import tensorflow as tf",
        "",
        f'gan = tf.saved_model.load("{folder}")',
        *given,
        f'outputs = gan.signatures["sample"]({arguments})',
        f'{name} = outputs["{name}"]  # float32 {range_}',
        "```",
        "",
        *(_conditions(told) if told else []),
        *_calls(facts, files, range_),
    ]


def _translating(facts, folder, files, range_):
    """Returns the lines on how to translate pictures."""
    channels, made, scale = facts["source_shape"][-1], facts["shape"][-1], facts["scale"]
    larger = f", {scale} times as high and wide" if scale > 1 else ""
    label = "" if facts["num_classes"] is None else ", labels=tf.constant([0])"
    others = [f"`{way}` goes the other way" for way in facts["ways"][1:]]
    seeded = ["`translate_seeded` takes a `seed` (int64) beside"] if facts["draws"] else []
    others = ["`translate` takes and returns float32 in [0, 1]", *seeded, *others]
    lines = [
        f"Makes pictures of {made} channels{larger} of pictures of {channels}, of any height and width.",
        "",
        "```python",
        "import tensorflow as tf",
        "",
        f'gan = tf.saved_model.load("{folder}")',
        f'picture = tf.io.decode_png(tf.io.read_file("picture.png"), {channels})',
        f'images = gan.signatures["translate_uint8"](images=picture[None]{label})["images"]  # uint8',
        "```",
        "",
        f"{'; '.join(others)}.",
        "",
    ]
    return [*lines, *_rows(facts, range_, "translate", f"(batch, {_sides(scale)}, {made})"), *_files(facts, files)]


def _kind(facts):
    """Returns what images are besides greyscale or RGB of 8 bits, in brackets."""
    channels = facts["shape"][-1] if facts["modality"] == "images" else 1
    kinds = {1: [], 3: [], 4: ["RGBA"]}.get(channels, [f"{channels} bands"])
    kinds += [f"{facts['depth']} bits a value"] if facts.get("depth", 8) != 8 else []
    return f" ({', '.join(kinds)})" if kinds else ""


def _sides(scale):
    return "height, width" if scale == 1 else f"{scale} height, {scale} width"


def _calls(facts, files, range_):
    """Returns the lines on how to call `generate`, of the SavedModel and of each file."""
    shape = ", ".join(map(str, ("batch", *facts["shape"])))
    return [*_rows(facts, range_, "generate", f"({shape})", " takes latents of one's own"), *_files(facts, files)]


def _rows(facts, range_, signature, shape, takes=""):
    """Returns a table of what a signature takes and returns."""
    rows = [*inputs(facts), (f"returns {facts['modality']}", "float32", shape, range_)]
    lines = [f"The signature `{signature}`{takes}:", "", "| | dtype | shape | values |", "|---|---|---|---|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _files(facts, files):
    """Returns the lines on how to call the first signature of each file."""
    name, lines = facts["modality"], []
    signature, num = "generate", 16
    if "source_shape" in facts:
        signature, num = "translate", 1
        height, width, channels = facts["source_shape"]
        arguments = [f'"images": np.zeros((1, {height}, {width}, {channels}), np.float32)']
    else:
        arguments = [f'"latents": np.random.default_rng(7).standard_normal((16, {facts["latent_dim"]}), np.float32)']
    if facts["num_classes"] is not None:
        arguments.append(f'"labels": np.arange({num}, dtype=np.int32) % {facts["num_classes"]}')
    if facts.get("attributes"):
        arguments.append(f'"conditions": np.array([[{_row(facts["attributes"])}]] * {num}, np.float32)')
    given = ["arguments = {", *(f"    {argument}," for argument in arguments), "}"]
    for file in files:
        if file.endswith(ENDINGS["onnx"]):
            runtime = "import onnxruntime"
            call = [f'session = onnxruntime.InferenceSession("{file}")', f"({name},) = session.run(None, arguments)"]
        else:
            runtime = "from ai_edge_litert.interpreter import Interpreter"
            call = [
                f'{signature} = Interpreter("{file}").get_signature_runner("{signature}")',
                f'{name} = {signature}(**arguments)["{name}"]',
            ]
        lines += ["```python", "import numpy as np", runtime, "", *given, *call, "```", ""]
    return lines


def _classes(names):
    """Returns names of classes with their numbers, the first of many, as a cell of a table."""
    shown = [f"{index} {' '.join(name.split())}".replace("|", "\\|") for index, name in enumerate(names[:30])]
    rest = [f"and {len(names) - 30} more: `assets.extra/gan.json`"] if names[30:] else []
    return ", ".join([*shown, *rest])


def _attributes(config):
    """Returns the columns that a model is told, as a cell of a table."""
    return _cell(", ".join(map(str, Attributes.from_config(config).columns)))


def _conditions(config):
    """Returns a table of what each number of a row of conditions means."""
    lines = ["A row of `conditions` holds", "", "| | what it is | values in training |", "|---|---|---|"]
    number = 0
    for column in Attributes.from_config(config).columns:
        for name in column.names:
            meaning, values = "1 for yes, 0 for no", "0, 1"
            if column.categories:
                meaning = "1 where it is this one, else 0"
            elif column.kind == NUMBER:
                meaning = f"({column.name} - {column.mean:.6g}) / {column.deviation:.6g}"
                values = f"{column.name} {column.low:g} to {column.high:g}"
            lines.append(f"| {' | '.join(map(_cell, [f'{number} `{name}`', meaning, values]))} |")
            number += 1
    return [*lines, ""]


def _cell(text):
    """Returns a text as a table has it: in a line, without a bar of its own."""
    return " ".join(text.split()).replace("|", "\\|")


def _row(config):
    """Returns the numbers of a row of conditions, that of the first example."""
    (row,) = Attributes.from_config(config).in_turn(1)
    return ", ".join(f"{float(number):.6g}" if number % 1 else f"{float(number):.1f}" for number in row)


def _values_row(value_range):
    black, white = value_range
    return f"| Stored values | {black:g} became black, {white:g} white |"


def _model_index(facts, scores):
    if not scores:
        return []
    lines = ["model-index:", f"- name: {facts['model']}", "  results:"]
    for score in scores:
        name = json.dumps(score["dataset"])
        lines += [
            f"  - task: {{type: {_task(facts)}}}",
            f"    dataset: {{name: {name}, type: {name}}}",
            "    metrics:",
            f"    - name: {json.dumps(score['metric'])}",
            f"      type: {score['type']}\n      value: {score['value']:.4f}",
        ]
    return lines
