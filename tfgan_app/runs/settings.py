"""What a user can set, a row each: of training, of scoring, of drawing, of exporting.

Imports neither TensorFlow nor Keras, as commands answer wrong flags before those have loaded.
"""

import ast
import dataclasses
import functools
import os
import pathlib
import re
from typing import Any

from tfgan_app import models
from tfgan_app.base.sizes import CHANNELS, CHANNELS_DEMAND, FITS, SIZE_DEMAND, compact, is_size
from tfgan_app.base.table import Table, again, are_at_least, is_range, row
from tfgan_app.export.formats import ENDINGS, FORMATS, SIGNATURES

__all__ = ["SOURCE", "Drawing", "Exporting", "Scoring", "Settings"]

# The rows of `Settings` that say which images, and how they are read. A run goes on with the same images, whatever they
# are called and wherever they lie.
SOURCE = (
    "dataset",
    "split",
    "data_dir",
    "manual_dir",
    "targets",
    "paired",
    "reverse",
    "degrade",
    "crop",
    "image_size",
    "fit",
    "channels",
    "depth",
    "value_range",
    "fallback_dataset",
)


def _losses() -> tuple[str, ...]:
    """Returns the names of the losses, read from their file: to import it would load TensorFlow."""
    program = ast.parse((pathlib.Path(models.__file__).parents[1] / "losses.py").read_text(encoding="utf-8"))
    names = next(one.value for one in program.body if isinstance(one, ast.Assign) and _is_all(one.targets[0]))
    return tuple(name for name in ast.literal_eval(names) if name not in ("AdversarialLoss", "TopK"))


def _is_all(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id == "__all__"


@dataclasses.dataclass(frozen=True)
class Settings(Table):
    """The settings of a training run. One that is None is left to the model, whose own value is its paper's.

    `help(tfgan_app.runs.train)` lists them.
    """

    model: str = row("DCGAN", "The GAN.", one_of=tuple(models.__all__), any_case=True, fixed=True)
    model_arg: tuple[str, ...] = row(
        (), "NAME=VALUE, an argument of the model; repeat it for more.", repeat=True, fixed=True
    )
    latent_dim: int | None = row(None, "Length of the latents.", at_least=1, fixed=True)
    loss: str | None = row(None, "The adversarial loss.", one_of=_losses(), any_case=True, fixed=True)
    real_label: float | None = row(None, "D's target for real images, in (0, 1].", at_least=0, at_most=1, fixed=True)
    top_k: float | None = row(
        None,
        "Let G learn from the best fakes of a batch alone: the share of it that is left in the end, 0.5 in the paper.",
        must=("lie in (0, 1]", lambda share: 0 < share <= 1),
        fixed=True,
    )
    penalty: tuple[str, ...] | None = row(
        None,
        "A penalty on D: GradientPenalty, DRAGAN, R1, R2, ZeroCentered or LeCam, with arguments where they differ from "
        "the defaults: 'R1(weight=5, interval=16)'; repeat it for more; none.",
        repeat=True,
        fixed=True,
    )
    augment: str | None = row(
        None,
        "What D's images pass through: DiffAugment or AdaptiveAugment, with arguments as in `penalty`; none.",
        fixed=True,
    )
    n_critic: int | None = row(None, "Updates of D before each of G, all on fresh batches.", at_least=1, fixed=True)
    adversarial_weight: float | None = row(
        None, "The factor of the adversarial loss in G's, beside its terms.", at_least=0, fixed=True
    )
    pretrain_steps: int = row(
        0,
        "Of translators: steps in the beginning in which G minimises its terms alone and D rests, as SRResNet before "
        "its GAN.",
        at_least=0,
        fixed=True,
    )
    conditional: bool | None = row(None, "Give the labels to a model that can do without them.", fixed=True)
    ema_decay: float | None = row(None, "Decay of the generator's moving average.", at_least=0, at_most=1, fixed=True)
    g_learning_rate: float | None = row(None, "The generator's learning rate.", at_least=0)
    d_learning_rate: float | None = row(None, "The discriminator's learning rate.", at_least=0)
    decay_learning_rates: bool = row(False, "Let the learning rates fall linearly to 0 at the last step.", fixed=True)
    decay_from: int = row(0, "Step up to which they stay, with `decay_learning_rates`.", at_least=0, fixed=True)
    dataset: str = row(
        "mnist_5k",
        "A TFDS name, mnist_5k (shipped), a folder or .zip of images, an .npz or .npy, or a prepared TFDS folder.",
        path=True,
    )
    fallback_dataset: str | None = row(
        None, "Taken, with a warning, only where `dataset` cannot be downloaded.", path=True
    )
    data_dir: str | None = row(None, "Where TFDS keeps prepared data sets. Default: ~/tensorflow_datasets.", path=True)
    manual_dir: str | None = row(None, "Archives downloaded by hand. Default: DATA_DIR/downloads/manual.", path=True)
    targets: str | None = row(
        None, "Of translators: where the targets lie, if `dataset` holds the sources alone.", path=True
    )
    paired: str = row(
        "auto",
        "Of translators: where a source's target is: in a folder beside under the same name, in a file whose name ends "
        "in another word (1_A.png, 1_B.png), or at its right in one picture.",
        one_of=("auto", "folders", "names", "side_by_side"),
    )
    reverse: bool = row(False, "Of translators: exchange sources and targets.", fixed=True)
    degrade: str | None = row(
        None,
        "Of translators: what makes sources of the images of `dataset`, which are the targets: shrink(4), grey, edges, "
        "mask(strokes), noise(25), jpeg(30), one after the other where there are commas.",
        fixed=True,
    )
    crop: int | None = row(
        None,
        "Of translators: the side of what is cut out of each target, anywhere in training, and of its source alike.",
        at_least=1,
        fixed=True,
    )
    split: str = row("train", "Split to read, with TFDS's slices: train, train[:80%].")
    image_size: str | int | tuple[int, int] | None = row(
        None,
        "Resize to this side of a square, or to WIDTHxHEIGHT; in Python also to (height, width).",
        must=(SIZE_DEMAND, is_size),
        kept=compact,
    )
    fit: str = row(
        "crop",
        "How images of another aspect ratio get `image_size`: their largest centred part, all of them with black, or "
        "where they are transparent nothing, around, or each side by a factor of its own.",
        one_of=FITS,
    )
    channels: int | None = row(
        None,
        "Convert to greyscale (1), RGB (3) or RGBA (4), or take 2 or 5 to 8 bands.",
        must=(CHANNELS_DEMAND, lambda channels: channels in CHANNELS),
    )
    depth: int = row(
        8,
        "Bits of a value, 8 or 16: those that images are stored, trained and written in. Deeper values are scaled to 8 "
        "otherwise.",
        must=("be 8 or 16", lambda depth: depth in (8, 16)),
    )
    value_range: tuple[float, ...] | None = row(
        None,
        "LOW,HIGH: the stored values that become black and white. Default: those of 8 bits; of more bits, what all "
        "images of the set use.",
        must=("be two numbers LOW,HIGH, the first the smaller", is_range),
    )
    attributes: tuple[str, ...] | None = row(
        None,
        "Columns of a table beside the images (CSV, JSON), or of the array attributes of an .npz, that a model is told "
        "in the place of classes: yes or no, numbers, categories; auto for all that can be learnt from.",
        must=("name columns of a table, or be auto", lambda names: bool(names) and all(names)),
        fixed=True,
    )
    mirror: bool = row(
        False, "Turn each training image left to right with probability 1/2. Scores see images as they are.", fixed=True
    )
    eval_split: str = row("test", "Split to score on; the training images where the data has no such split.")
    holdout: int = row(
        10,
        "Per cent of a folder or array without splits that are kept from training, to score on; 0 for none. Fewer than "
        "10 images are not kept.",
        at_least=0,
        at_most=90,
    )
    eval_images: int = row(10_000, "Real images to score on, at most: a seeded sample of more.", at_least=2)
    score_every: int | None = row(
        None,
        "Epochs from one score of a training run to the next. Default: those that see 50 times as many images as a "
        "score.",
        at_least=1,
    )
    extractor: str = row(
        "auto",
        "Whose features to compare: mnist_cnn, fashion_mnist_cnn, inception (that of FID), keras_inception_v3, a "
        ".keras file, a SavedModel's folder, none; auto takes the one shipped for the data set. Without any, scores "
        "compare patches of images; with none, training does not score.",
        path=True,
    )
    trust_extractor: bool = row(False, "Load a SavedModel as `extractor`: it is a program, and runs with your rights.")
    init_from: str | None = row(
        None,
        "Begin with the weights of a run, an exported model or a .keras file of a GAN, as far as they fit.",
        path=True,
        fixed=True,
    )
    freeze_d: int = row(
        0, "Layers of D that stay as they are, those nearest the image, as in FreezeD.", at_least=0, fixed=True
    )
    batch_size: int = row(64, "Images an update of D.", at_least=1, fixed=True)
    accumulate: int = row(
        1,
        "Equal parts that a batch goes through the networks in, one after the other, to save memory.",
        at_least=1,
        fixed=True,
    )
    train_steps: int = row(10_000, "Generator updates in all.", at_least=1)
    steps_per_epoch: int = row(1_000, "Steps between samples, scores and checkpoints.", at_least=1)
    steps_per_execution: int = row(1, "Steps in one call of the graph.", at_least=1)
    mixed_precision: str = row(
        "auto", "Precision; auto goes by the hardware.", one_of=("auto", "none", "bfloat16", "float16")
    )
    jit_compile: str = row(
        "auto", "Compile with XLA; auto: where it makes this model faster.", one_of=("auto", "true", "false")
    )
    strategy: str = row(
        "none",
        "What trains: one device, all of this machine, or all of the machines in TF_CONFIG. `batch_size` is that of "
        "all.",
        one_of=("none", "mirrored", "multi_worker"),
    )
    sync_batch_norm: bool = row(
        False,
        "Normalise by the batches of all devices together, where models normalise by the batch.",
        fixed=True,
    )
    seed: int = row(0, "Seed of weights, latents and the order of images.", fixed=True)
    deterministic: bool = row(
        False, "Only operations that give the same bits in every run; on a GPU others are faster."
    )
    keep_checkpoints: int = row(3, "How many checkpoints to keep.", at_least=1)
    on_collapse: str = row(
        "warn",
        "What to do where samples are all alike, D is always right or a loss is not finite; rollback goes on from the "
        "best checkpoint with halved learning rates.",
        one_of=("ignore", "warn", "stop", "rollback"),
    )
    export: tuple[str, ...] = row(
        (),
        "Formats to export in at the end besides the SavedModel: onnx, litert.",
        must=(f"be of {', '.join(ENDINGS)}", lambda formats: set(formats) <= set(ENDINGS)),
    )
    run_dir: str = row(None, "The run's folder. Default: runs/MODEL_DATASET.", path=True)
    precision: str | None = row(
        None,
        "What `mixed_precision` came to on the machine that the run began on.",
        one_of=("none", "bfloat16", "float16"),
        fixed=True,
        flag=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.run_dir is None:
            object.__setattr__(self, "run_dir", f"runs/{self.model.lower()}_{_short_name(self.dataset)}")

    @classmethod
    def read(cls, values: dict[str, Any]) -> "Settings":
        """Returns the settings that a version of this package recorded by `values`.

        What it did not know has its default, and what is no row any more is passed over.
        """
        return cls(**{one.name: values[one.name] for one in cls.rows() if one.name in values})


def _short_name(dataset: str) -> str:
    """Returns what a folder is called after a data set: its last part, without the ending of a file."""
    path = pathlib.PurePath(dataset)
    if path.name in ("", ".."):
        path = pathlib.PurePath(os.path.abspath(path))
    if re.fullmatch(r"\d+\.\d+\.\d+", path.name):  # of a set that TFDS prepared
        path = path.parent
    name = path.stem if path.suffix in (".npz", ".npy", ".zip") else path.name
    # TFDS's `mnist:3.0.1` among others is no name of a file everywhere.
    return re.sub(r"[^\w.-]+", "_", name) or "images"


def _optional(name: str) -> Any:
    return again(Settings, name, default=None)


@dataclasses.dataclass(frozen=True)
class Scoring(Table):
    """What to score, on which images, by what; `help(tfgan_app.runs.evaluate)` lists it."""

    run: str | None = row(None, "A run folder.", path=True)
    saved_model: str | None = row(
        None, "A folder that this package exported to, such as saved_models/mnist/1.", path=True
    )
    images: str | None = row(None, "An .npz or .npy of uint8 images from any generator.", path=True)
    dataset: str | None = _optional("dataset")
    split: str | None = _optional("split")
    targets: str | None = _optional("targets")
    paired: str | None = _optional("paired")
    reverse: bool | None = _optional("reverse")
    degrade: str | None = _optional("degrade")
    crop: int | None = _optional("crop")
    data_dir: str | None = _optional("data_dir")
    manual_dir: str | None = _optional("manual_dir")
    image_size: str | int | tuple[int, int] | None = _optional("image_size")
    fit: str | None = _optional("fit")
    channels: int | None = _optional("channels")
    depth: int | None = _optional("depth")
    value_range: tuple[float, ...] | None = _optional("value_range")
    fallback_dataset: str | None = _optional("fallback_dataset")
    checkpoint: str | int = row(
        "last",
        "The run's checkpoint: last, best (by the run's own scores) or a step.",
        must=("be last, best or a step", lambda text: text in ("last", "best") or str(text).isdigit()),
    )
    truth: bool = row(False, "Score a translator that learnt from two sides on pairs, whose truth is known.")
    raw: bool = row(False, "Score the run's generator itself rather than its moving average.")
    metrics: tuple[str, ...] | None = row(
        None,
        "What to measure; all for all that apply. Default: of a GAN fd, kd, precision, density, or "
        "patch_swd without an extractor; of a translator all.",
    )
    extractor: str = again(Settings, "extractor")
    trust_extractor: bool = again(Settings, "trust_extractor")
    num_images: int | None = row(
        None,
        "Real and generated images to compare, a seeded sample that has every class in proportion. Default: all of the "
        "split.",
        at_least=2,
    )
    seed: int = row(0, "Seed of the fakes.")
    truncation: float | None = row(
        None,
        "Trade variety for quality: largest absolute latent, or psi of a model with styles. Default: none.",
        at_least=0,
    )
    batch_size: int = row(250, "Images at a time.", at_least=1)
    report: str | None = row(
        None, "Folder of a page with samples, curves, neighbours, interpolation and spectrum.", path=True
    )
    train_split: str | None = row(
        None, "Split that the GAN was trained on, for the report's neighbours. Default: the run's own."
    )
    out: str | None = row(
        None, "Where the receipt goes. Default: into the run folder, or scores/ beside the rest.", path=True
    )


@dataclasses.dataclass(frozen=True)
class Drawing(Table):
    """What to draw from what, and where to; `help(tfgan_app.runs.generate)` lists it."""

    run: str | None = again(Scoring, "run")
    saved_model: str | None = again(Scoring, "saved_model")
    checkpoint: str | int = again(Scoring, "checkpoint")
    grid: str = row("8x8", "ROWSxCOLUMNS of a picture; with `out=NAME.gif` or NAME.mp4, of each frame of a walk.")
    num_images: int | None = row(None, "How many single images; `out` is then a folder, .npz or .npy.", at_least=1)
    labels: tuple[str | int, ...] | None = row(
        None, "Classes to draw, by name or number, repeated in turn, of a conditional GAN. Default: all."
    )
    attributes: tuple[str, ...] | None = row(
        None,
        "NAME=VALUE, with commas between, of a GAN that is told attributes: smiling=yes,age=40. NAME=LOW..HIGH varies "
        "along the rows of a grid, each of one latent. Default, also of what is not named: as in training images.",
    )
    seed: int = row(0, "Seed: equal seeds give equal images.")
    truncation: tuple[float, ...] | None = row(
        None,
        "Trade variety for quality: largest absolute latent, or psi of a model with styles. Several, as 0,0.5,1, are a "
        "row each of the same latents. Default: none.",
        must=("be a number of at least 0, or several", functools.partial(are_at_least, 0)),
    )
    scale: int = row(2, "Screen pixels for each pixel of a picture.", at_least=1)
    frames: int = row(48, "Frames of a film.", at_least=2)
    fps: int = row(12, "Frames of a film a second.", at_least=1, at_most=100)
    project: str | None = row(
        None, "A picture whose latents are looked for; `out` is then a folder for what is found.", path=True
    )
    steps: int = row(1000, "Of the search for `project`.", at_least=1)
    tune: int = row(0, "Steps in which the generator is then fitted to the picture of `project` itself.", at_least=0)
    film: str = row("gif", "The format of the film of the search for `project`.", one_of=("gif", "mp4"))
    extractor: str = row(
        "auto",
        "Whose features `project` compares beside pixels: as in training; auto takes the one shipped for a run's data "
        "set; none.",
        path=True,
    )
    trust_extractor: bool = again(Settings, "trust_extractor")
    mix: int | None = row(
        None,
        "The layer from which on styles are those of the columns: a grid of mixed styles, in a row the layers before "
        "of one image.",
        at_least=1,
    )
    directions: str | None = row(
        None,
        "sefa or pca: directions in which images change, shown as a row each and written to `out`; difference or "
        "separator: that from the latents of `against` to those of `latents`. NAME.npz: those found before.",
        path=True,
    )
    names: tuple[str, ...] | None = row(None, "What `directions` are called, the first of them.")
    strength: float = row(
        3.0, "How far `directions` are shown, both ways, in standard deviations of the latents.", at_least=0
    )
    edit: tuple[str, ...] | None = row(
        None, "NAME=STRENGTH: along which of `directions`, by name or number, images move, and how far."
    )
    latents: str | None = row(
        None,
        "Latents that are edited in place of draws: the latent.npz of a `project`, or a folder that holds some.",
        path=True,
    )
    against: str | None = row(None, "The latents of the other kind, for a difference or separator.", path=True)
    layers: str | None = row(
        None, "FIRST-LAST: which layers' styles move, or sefa looks at, from 0 on; of a model with styles."
    )
    input: str | None = row(
        None,
        "A picture, or a folder or .zip of them, of any size, that an image-to-image model translates; `out` is then "
        "NAME.png of one, or a folder, in which names are kept.",
        path=True,
    )
    dropout: bool = row(
        True, "Keep the dropout that a translator draws by `seed`, as Pix2Pix does; without it, its mean network."
    )
    mask: str | None = row(
        None,
        "A picture as large as `input`, or a folder or .zip with the same names, white where a model that fills holes "
        "is to fill. Default: where `input` is transparent.",
        path=True,
    )
    tile: int | None = row(
        None,
        "Side of the tiles that large pictures of `input` are computed in, in their pixels; 0 computes them whole. "
        "Default: by the model and the picture.",
        at_least=0,
    )
    way: str = row(
        "translate", "Of a model that translates both ways, which one.", one_of=("translate", "translate_back")
    )
    out: str = row(
        "grid.png",
        "NAME.png: a grid. NAME.gif, NAME.mp4: a walk through the latents. NAME.npz: an array, with labels; NAME.npy: "
        "without. A folder: single PNGs.",
        path=True,
    )


@dataclasses.dataclass(frozen=True)
class Exporting(Table):
    """What to export from what, and where to; `help(tfgan_app.runs.export)` lists it."""

    run: str | None = again(Scoring, "run")
    saved_model: str | None = again(Scoring, "saved_model")
    checkpoint: str | int = again(Scoring, "checkpoint")
    format: str = row("onnx", "The format: a SavedModel's folder, of a run, or one file.", one_of=FORMATS)
    signature: str = row(
        "generate",
        "What a file computes. One that truncates has a third input. Where a model translates, generate is translate.",
        one_of=SIGNATURES,
    )
    out: str | None = row(
        None,
        "The file, NAME.onnx or NAME.tflite, or the SavedModel's folder. Default: named after `signature`.",
        path=True,
    )
