"""Scores a run, a SavedModel or an array of images, with a receipt.

python -m tfgan_app.evaluate --run=runs/mnist
python -m tfgan_app.evaluate --saved_model=saved_models/fashion_mnist/1 --dataset=fashion_mnist --metrics=all
python -m tfgan_app.evaluate --compare=A.json,B.json
"""

import functools
import pathlib
import sys
from typing import Any

from absl import flags, logging

from tfgan_app import cli
from tfgan_app.base import errors, files

__all__ = ["main", "run"]

flags.DEFINE_string("run", None, "A run folder.")
flags.DEFINE_string("saved_model", None, "A folder that this package exported to, such as saved_models/mnist/1.")
flags.DEFINE_string("images", None, "An .npz or .npy of uint8 images from any generator.")
cli.define_data_flags(dataset=None, split=None)
cli.define_checkpoint_flag()
flags.DEFINE_boolean("raw", False, "Score the run's generator itself rather than its moving average.")
flags.DEFINE_list("compare", None, "Two receipts: print how their scores differ.")
flags.DEFINE_list("metrics", ["fd", "kd", "precision", "density"], "What to measure; all for all that apply.")
cli.define_extractor_flags()
flags.DEFINE_integer(
    "num_images", None, "Real and generated images to compare. Default: all of the split.", lower_bound=2
)
flags.DEFINE_integer("seed", 0, "Seed of the fakes.")
cli.define_truncation_flag()
flags.DEFINE_integer("batch_size", 250, "Images at a time.", lower_bound=1)
flags.DEFINE_string("report", None, "Folder of a page with samples, curves, neighbours, interpolation and spectrum.")
flags.DEFINE_string(
    "train_split", None, "Split that the GAN was trained on, for the report's neighbours. Default: the run's own."
)
flags.DEFINE_string("out", None, "Where the receipt goes. Default: into the run folder, or scores/ beside the rest.")


def main(argv):
    """Carries out the command; returns its exit code."""
    if flags.FLAGS.compare:
        return _compare(flags.FLAGS.compare)
    sources = {"run": _Run, "saved_model": _SavedModel, "images": _Images}
    given = [name for name in sources if flags.FLAGS[name].value is not None]
    if len(given) != 1:
        raise errors.UsageError(f"give one of --run, --saved_model and --images. Received: {given or 'none'}")
    if given == ["images"] and flags.FLAGS.truncation is not None:
        raise errors.UsageError("--truncation has no meaning for --images: they are drawn already")
    if given != ["run"] and flags.FLAGS.dataset is None:
        raise errors.UsageError(f"--{given[0]} needs --dataset, the real images to compare with")

    from tfgan_app.study import receipts

    source = sources[given[0]](flags.FLAGS[given[0]].value)
    real = source.open_real()
    extractor = _extractor(real)
    num_images = min(n for n in (flags.FLAGS.num_images, source.num_images, real.num_images) if n is not None)
    fakes = source.fakes(num_images)
    names = flags.FLAGS.metrics
    names = receipts.applicable(extractor, real, fakes) if names == ["all"] else names
    try:
        receipt = receipts.score(
            fakes,
            real,
            receipts.build_metrics(names, extractor, real, fakes, num_images),
            batch_size=flags.FLAGS.batch_size,
            num_images=num_images,
            facts=source.facts,
            progress=_progress if sys.stderr.isatty() else None,
        )
    except ValueError as error:
        raise errors.UsageError(str(error)) from error
    if flags.FLAGS.report:
        page = _report(source, fakes, real, extractor, receipt)
    path = receipts.write_receipt(flags.FLAGS.out or source.receipt, receipt)
    print(receipts.describe_score(receipt))
    print(f"Receipt in {path}.")
    if flags.FLAGS.report:
        print(f"Report in {page}.")
    return 0


# Images of each kind in a report.
_REPORTED = 1000


def _report(source, fakes, real, extractor, receipt):
    """Writes the report's page and returns its path; the receipt gets what was found of memorised images."""
    import numpy as np

    from tfgan_app.study.memorisation import examine
    from tfgan_app.study.report import write_report

    images, labels = real.first(min(_REPORTED, receipt["fake"]["used"]))
    samples = np.asarray(fakes.batch(0, len(images), labels))
    train, memorisation = source.open_train(), None
    if train is not None:
        memorisation = examine(samples, images, train, extractor)
        receipt["memorisation"] = memorisation.describe()
    return write_report(
        flags.FLAGS.report,
        title=f"{receipt['fake']['source']} against {real.name} {real.split}",
        receipt=receipt,
        samples=samples,
        real=images,
        modality=real.modality,
        extractor=extractor,
        memorisation=memorisation,
        sampler=source.gan,
        history=source.history,
    )


def _compare(paths):
    from tfgan_app.study import receipts

    if len(paths) != 2:
        raise errors.UsageError(f"--compare takes two receipts, A.json,B.json. Received: {len(paths)}")
    try:
        first, second = map(receipts.read_receipt, paths)
        found = receipts.compare(first, second)
    except (OSError, ValueError) as error:
        raise errors.UsageError(f"--compare: {error}") from error
    for name, (one, other, difference, uncertainty) in found.items():
        known = "" if uncertainty is None else f" ± {uncertainty:.2g}"
        print(f"{name:<10} {one:.4g} -> {other:.4g}: {difference:+.4g}{known}")
    return 0


class _Source:
    """Where fakes come from.

    Attributes:
        facts: What the receipt says about them.
        receipt: Where it goes unless --out says otherwise.
        num_images: How many there are, None if they can be drawn at will.
        gan: What draws them, None where they are drawn already.
        history: Path of a run's `metrics.csv`, None where there is no run.
    """

    gan: Any = None
    history: pathlib.Path | None = None
    facts: dict
    receipt: pathlib.Path
    num_images: int | None = None

    def fakes(self, num_images):
        """Returns so many fakes as `tfgan_app.study.receipts.score` takes them."""
        from tfgan_app.study import SampledFakes

        return SampledFakes(self.gan, num_images, flags.FLAGS.seed, flags.FLAGS.truncation)

    def open_train(self):
        """Opens the images that the GAN was trained on, None where nothing tells which."""
        from tfgan_app import runs

        split = flags.FLAGS.train_split
        return split and runs.open_split({name: flags.FLAGS[name].value for name in cli.DATA_FLAGS}, split)

    def open_real(self):
        """Opens the real images that the flags name."""
        from tfgan_app import runs

        own = {name: flags.FLAGS[name].value for name in cli.DATA_FLAGS}
        return runs.open_split(own, own["split"] or "test")


class _Run(_Source):
    def __init__(self, directory):
        from tfgan_app import runs

        run = runs.Run.existing(directory)
        self.record = run.record
        self.gan = run.restored_gan(flags.FLAGS.checkpoint)
        if flags.FLAGS.raw:
            self.gan.ema_generator.set_weights(self.gan.generator.get_weights())
        step, weights = self.gan.step, "raw" if flags.FLAGS.raw else "EMA"
        self.facts = {
            "source": str(run.directory),
            "step": step,
            "checkpoint": flags.FLAGS.checkpoint,
            "weights": weights,
            **_drawn(),
        }
        suffix = "_best" if flags.FLAGS.checkpoint == "best" else ""
        suffix += "_raw" if flags.FLAGS.raw else ""
        suffix += f"_truncation_{flags.FLAGS.truncation:g}" if flags.FLAGS.truncation is not None else ""
        self.receipt = run.directory / "scores" / f"step_{step:08d}{suffix}.json"
        self.history = run.directory / "metrics.csv"

    def open_train(self):
        from tfgan_app import runs

        settings = self.record["settings"]
        return runs.open_split_like(self.record["data"], settings, flags.FLAGS.train_split or settings["split"])

    def open_real(self):
        """Opens the images that the run was scored on, changed by what flags are given."""
        from tfgan_app import runs

        given = {name: flags.FLAGS[name].value for name in cli.DATA_FLAGS if flags.FLAGS[name].value is not None}
        settings = {**self.record["settings"], **given}
        split = given.get("split", self.record["eval_split"])
        if "dataset" in given:
            return runs.open_split(settings, split)
        return runs.open_split_like(self.record["data"], settings, split)


class _SavedModel(_Source):
    def __init__(self, folder):
        from tfgan_app.export.loaded import SavedGAN

        logging.warning(files.PROGRAM, f"--saved_model={folder}")
        self.gan = SavedGAN(folder)
        self.facts = {"source": folder, "step": self.gan.facts["step"], "weights": "EMA", **_drawn()}
        self.receipt = pathlib.Path("scores") / ("_".join(pathlib.PurePath(folder).parts[-2:]) + ".json")


class _Images(_Source):
    def __init__(self, path):
        from tfgan_app import data

        self.images = data.open_images(path)
        self.num_images = self.images.num_images
        self.facts = {"source": path, "fingerprint": self.images.fingerprint}
        self.receipt = pathlib.Path("scores") / f"{pathlib.PurePath(path).stem}.json"

    def fakes(self, num_images):
        from tfgan_app.study import ArrayFakes

        return ArrayFakes(self.images)

    def open_real(self):
        real = super().open_real()
        if real.image_shape != self.images.image_shape:
            raise errors.UsageError(f"--images are {self.images.image_shape}, those of {real.name} {real.image_shape}.")
        return real


def _drawn():
    return {"seed": flags.FLAGS.seed, "truncation": flags.FLAGS.truncation}


def _extractor(real):
    from tfgan_app.metrics.extractors import load_extractor, shipped_for

    name = flags.FLAGS.extractor
    if name in ("auto", "none"):
        name = shipped_for(real.name) if name == "auto" else None
        if name is None:
            raise errors.UsageError(
                f"no feature extractor is shipped for {real.name}: name one with --extractor, such as inception"
            )
    try:
        return load_extractor(name, flags.FLAGS.trust_extractor)
    except ValueError as error:
        raise errors.UsageError(f"--extractor: {error}") from error


def _progress(line):
    print(f"{line:<40}", end="\r", file=sys.stderr, flush=True)


run = functools.partial(cli.run, main)

if __name__ == "__main__":
    run()
