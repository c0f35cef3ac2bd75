"""A trained GAN as a SavedModel that needs TensorFlow alone, with its model card."""

import json
import pathlib

import numpy as np
import tensorflow as tf

from tfgan_app.base.files import written_whole
from tfgan_app.base.latents import draw_latents
from tfgan_app.base.networks import apply, float32_copy
from tfgan_app.base.versions import versions
from tfgan_app.gan import to_unit
from tfgan_app.study.receipts import describe_score

__all__ = ["export_gan", "exported_step", "write_card"]

_MARK = "tags: [gan, tfgan_app"


def export_gan(gan, filepath, **facts):
    """Writes the EMA generator and the discriminator as a SavedModel in float32, and a model card.

    The signatures, for any batch size (`labels` only where the GAN is conditional):

    - `generate(latents[, labels]) -> {"images"}`, float32 in [0, 1]; also `serving_default`
    - `generate_uint8(latents[, labels]) -> {"images"}`, uint8
    - `sample(num_images, seed[, labels]) -> {"images"}`, float32 in [0, 1]; the images of `gan.sample`
    - `generate_truncated(latents[, labels], truncation) -> {"images"}`; those of `gan.images_from(..., truncation)`
    - `discriminate(images[, labels]) -> {"logits"}` and what else the discriminator tells, for images in [0, 1]

    Args:
        gan: A `tfgan_app.GAN`.
        filepath: Folder of the SavedModel. Serving wants a version number as its last part (`digits/1`); the card then
            stands beside that folder, otherwise in it.
        **facts: What the card tells, see `write_card`.

    Returns:
        The folder's path.

    Raises:
        FileExistsError: If the card would replace a README.md that is not one.
    """
    folder = pathlib.Path(filepath)
    card = (folder.parent if folder.name.isdigit() else folder) / "README.md"
    if card.exists() and _MARK not in card.read_text():
        raise FileExistsError(
            f"{card} is not a model card and would be replaced. Export to a folder of its own, such as "
            f"{folder.parent / 'my_gan' / '1'}."
        )
    generator, discriminator = gan.ema_generator, float32_copy(gan.discriminator)
    # keras.export.ExportArchive would write every weight twice.
    module = tf.Module()
    module.weights = [variable.value for network in (generator, discriminator) for variable in network.variables]
    signatures = {}
    labels = [] if gan.num_classes is None else [tf.TensorSpec((None,), tf.int32, "labels")]

    def add(name, function, *signature, more=()):
        function = tf.function(function, input_signature=[*signature, *labels, *more])
        setattr(module, name, function)
        signatures[name] = function.get_concrete_function()

    def generate(latents, labels=None):
        return {"images": to_unit(apply(generator, _inputs(latents, labels)))}

    def generate_uint8(latents, labels=None):
        return {"images": tf.cast(tf.round(generate(latents, labels)["images"] * 255.0), tf.uint8)}

    def sample(num_images, seed, labels=None):
        return generate(draw_latents(num_images, gan.latent_dim, tf.stack([seed, 0])), labels)

    def generate_truncated(latents, *rest):
        *labels, truncation = rest
        return {"images": to_unit(gan.truncate(generator, [latents, *labels], truncation))}

    def discriminate(images, labels=None):
        outputs = apply(discriminator, _inputs(images * 2.0 - 1.0, labels)[: len(discriminator.inputs)])
        return outputs if isinstance(outputs, dict) else {"logits": outputs}

    latents = tf.TensorSpec((None, gan.latent_dim), tf.float32, "latents")
    add("generate", generate, latents)
    add("generate_uint8", generate_uint8, latents)
    add("sample", sample, tf.TensorSpec((), tf.int32, "num_images"), tf.TensorSpec((), tf.int64, "seed"))
    truncation = tf.TensorSpec((), tf.float32, "truncation")
    add("generate_truncated", generate_truncated, latents, more=[truncation])
    add("discriminate", discriminate, tf.TensorSpec((None, *gan.image_shape), tf.float32, "images"))
    signatures["serving_default"] = signatures["generate"]
    tf.saved_model.save(module, str(folder), signatures)
    extra = folder / "assets.extra"
    extra.mkdir(exist_ok=True)
    with written_whole(extra / "gan.json") as partial:
        partial.write_text(json.dumps(_facts(gan), indent=2) + "\n")
    write_card(card, gan, **facts)
    return folder


def _inputs(tensor, labels):
    return [tensor] if labels is None else [tensor, labels]


def exported_step(folder):
    """Returns the step of the GAN that `export_gan` wrote to a folder, or None if there is none."""
    facts = pathlib.Path(folder) / "assets.extra" / "gan.json"
    return json.loads(facts.read_text())["step"] if facts.is_file() else None


def write_card(path, gan, *, data=None, command=None, batch_size=None, scores=(), picture=None):
    """Writes a model card in the format that model hubs read: a YAML header, then Markdown.

    Args:
        path: The card's path.
        gan: The `tfgan_app.GAN`.
        data: `ImageSet.describe()` of the training images.
        command: The command line that trained it.
        batch_size: Images a step, from which the images seen follow.
        scores: Receipts of `tfgan_app.study.receipts.score`.
        picture: Name of a sample grid beside the card.
    """
    data = data or {"name": "not recorded", "licence": "not recorded", "origin": "not recorded"}
    steps = gan.step
    terms = gan.terms
    kind = "unconditional" if gan.num_classes is None else f"conditional on {gan.num_classes} classes"
    stand_in = f" (standing in for {data['fallback_for']})" if data.get("fallback_for") else ""
    seen = "not recorded" if batch_size is None else f"{steps * batch_size:,} ({steps:,} steps of {batch_size})"
    arguments = "num_images=tf.constant(16), seed=tf.constant(7, tf.int64)"
    if gan.num_classes is not None:
        arguments += f", labels=tf.range(16) % {gan.num_classes}"
    lines = [
        "---",
        "library_name: tensorflow",
        "pipeline_tag: unconditional-image-generation",
        f"{_MARK}, {type(gan).__name__.lower()}]",
        f"datasets: [{json.dumps(data['name'])}]",
        f"license: {json.dumps(data['licence'])}",
        *_model_index(gan, scores),
        "---",
        "",
        f"# {type(gan).__name__} trained on {data['name']}{stand_in}",
        "",
        *([f"![Samples]({picture})", ""] if picture else []),
        f"Draws images of shape {gan.image_shape} from {gan.latent_dim} latents, {kind}.",
        "",
        "```python",
        "import tensorflow as tf",
        "",
        f'gan = tf.saved_model.load("{_folder_name(path)}")',
        f'outputs = gan.signatures["sample"]({arguments})',
        'images = outputs["images"]  # float32 in [0, 1]',
        "```",
        "",
        "| | |",
        "|---|---|",
        f"| Training images | {data['name']}{stand_in}, split {data.get('split')}, {data.get('num_images', 0):,} |",
        f"| Origin, licence | {data['origin']}; {data['licence']} |",
        f"| Fingerprint of the images | `{data.get('fingerprint')}` |",
        f"| Images seen | {seen} |",
        f"| Seed | {gan.seed} |",
        f"| Loss | {_describe(gan.loss)} |",
        *([f"| Terms | {', '.join(_describe(term) for term in terms)} |"] if terms else []),
        *([f"| Augmentation | {_describe(gan.augment)} |"] if gan.augment else []),
        f"| Weights | generator {_parameters(gan.generator):,}, discriminator {_parameters(gan.discriminator):,}; "
        f"the generator's moving average ({_average(gan)}) is exported |",
        f"| Versions | {', '.join(f'{name} {version}' for name, version in versions().items())} |",
        "",
    ]
    if command:
        lines += ["Trained by", "", "```", command, "```", ""]
    lines += [f"- {' '.join(describe_score(receipt).splitlines())}" for receipt in scores]
    with written_whole(path) as partial:
        partial.write_text("\n".join(lines).rstrip() + "\n")


def _average(gan):
    if gan.ema_half_life is None:
        return f"decay {_describe(gan.ema_decay)}"
    return f"half-life {_describe(gan.ema_half_life)} images"


def _describe(part):
    """Returns a number, or what an object was made with, as text."""
    if not hasattr(part, "get_config"):
        return str(part)
    ours = {name: value for name, value in part.get_config().items() if name not in ("name", "dtype", "trainable")}
    return f"{type(part).__name__} {ours}" if ours else type(part).__name__


def _facts(gan):
    return {
        "model": type(gan).__name__,
        "image_shape": gan.image_shape,
        "latent_dim": gan.latent_dim,
        "num_classes": gan.num_classes,
        "supervised": gan.supervised,
        "step": gan.step,
        "average": _average(gan),
    }


def _model_index(gan, scores):
    if not scores:
        return []
    lines = ["model-index:", f"- name: {type(gan).__name__}", "  results:"]
    for receipt in scores:
        name = json.dumps(receipt["real"]["name"])
        lines += [
            "  - task: {type: unconditional-image-generation}",
            f"    dataset: {{name: {name}, type: {name}}}",
            "    metrics:",
            f"    - name: {json.dumps('Frechet distance (' + receipt['extractor']['name'] + ')')}",
            f"      type: frechet_distance\n      value: {receipt['scores']['fd']:.4f}",
        ]
    return lines


def _folder_name(card):
    folders = sorted(p.name for p in card.parent.iterdir() if (p / "saved_model.pb").exists())
    return folders[-1] if folders else "."


def _parameters(network):
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)
