"""Scores a run, a SavedModel or an array of images, with a receipt.

python -m tfgan_app.evaluate --run=runs/mnist
python -m tfgan_app.evaluate --saved_model=saved_models/fashion_mnist/1 --dataset=fashion_mnist
"""

import functools
import pathlib
import sys

from absl import flags

from tfgan_app import cli

__all__ = ["main", "run"]

flags.DEFINE_string("run", None, "A run folder.")
flags.DEFINE_string("saved_model", None, "A folder that this package exported to, such as saved_models/mnist/1.")
flags.DEFINE_string("images", None, "An .npz or .npy of uint8 images from any generator.")
cli.define_data_flags(dataset=None, split=None)
flags.DEFINE_integer("checkpoint", None, "Step of the run's checkpoint. Default: the newest.")
flags.DEFINE_boolean("raw", False, "Score the run's generator itself rather than its moving average.")
flags.DEFINE_string("extractor", "auto", "A shipped feature extractor, a .keras file; auto goes by the data set.")
flags.DEFINE_integer(
    "num_images", None, "Real and generated images to compare. Default: all of the split.", lower_bound=2
)
flags.DEFINE_integer("seed", 0, "Seed of the fakes.")
flags.DEFINE_integer("batch_size", 250, "Images at a time.", lower_bound=1)
flags.DEFINE_string("out", None, "Where the receipt goes. Default: into the run folder, or scores/ beside the rest.")


def main(argv):
    """Carries out the command; returns its exit code."""
    from tfgan_app import runs
    from tfgan_app.metrics import load_extractor, receipts
    from tfgan_app.metrics.extractors import shipped_for

    given = [name for name in ("run", "saved_model", "images") if flags.FLAGS[name].value is not None]
    if len(given) != 1:
        raise cli.UsageError(f"give one of --run, --saved_model and --images. Received: {given or 'none'}")
    record = runs.Run.existing(flags.FLAGS.run).record if flags.FLAGS.run else None
    real = _real(record)
    name = flags.FLAGS.extractor
    if name == "auto":
        name = shipped_for(real.name)
        if name is None:
            raise cli.UsageError(
                f"no feature extractor is shipped for {real.name}: name a .keras file with --extractor."
            )
    try:
        extractor = load_extractor(name)
    except ValueError as error:
        raise cli.UsageError(f"--extractor: {error}") from error

    draw, fake, folder, limit = _fakes(real)
    num_images = min(n for n in (flags.FLAGS.num_images, limit, real.num_images) if n is not None)
    try:
        receipt = receipts.score(
            draw,
            real,
            extractor,
            batch_size=flags.FLAGS.batch_size,
            num_images=num_images,
            fake=fake,
            progress=_progress if sys.stderr.isatty() else None,
        )
    except ValueError as error:
        raise cli.UsageError(str(error)) from error
    path = receipts.write_receipt(flags.FLAGS.out or folder / _file_name(receipt), receipt)
    print(receipts.describe_score(receipt))
    print(f"Receipt in {path}.")
    return 0


def _real(record):
    """Opens the real images: those that the run was scored on where no flag says otherwise."""
    from tfgan_app import runs

    own = {name: flags.FLAGS[name].value for name in cli.DATA_FLAGS}
    split = own.pop("split")
    if record is None:
        if own["dataset"] is None:
            raise cli.UsageError("--saved_model and --images need --dataset, the real images to compare with.")
        return runs.open_split(own, split or "test")
    settings = {**record["settings"], **{name: value for name, value in own.items() if value is not None}}
    split = split or record["eval_split"]
    if own["dataset"] is None:
        return runs.open_split_like(record["data"], settings, split)
    return runs.open_split(settings, split)


def _fakes(real):
    """Returns what draws the fakes, their facts for the receipt, the receipt's folder, and how many there are."""
    import numpy as np

    from tfgan_app import data, runs
    from tfgan_app.metrics.receipts import drawing
    from tfgan_app.saved import SavedGAN

    seed = flags.FLAGS.seed
    if flags.FLAGS.run:
        run = runs.Run.existing(flags.FLAGS.run)
        gan = run.restored_gan(flags.FLAGS.checkpoint)
        if flags.FLAGS.raw:
            gan.ema_generator.set_weights(gan.generator.get_weights())
        weights = "raw" if flags.FLAGS.raw else "EMA"
        facts = {"source": str(run.directory), "step": int(gan.iterations), "weights": weights, "seed": seed}
        return drawing(gan, seed), facts, run.directory / "scores", None
    if flags.FLAGS.saved_model:
        gan = SavedGAN(flags.FLAGS.saved_model)
        facts = {"source": flags.FLAGS.saved_model, "step": gan.facts["step"], "weights": "EMA", "seed": seed}
        return drawing(gan, seed), facts, pathlib.Path("scores"), None
    fakes = data.open_images(flags.FLAGS.images)
    if fakes.image_shape != real.image_shape:
        raise cli.UsageError(f"--images are {fakes.image_shape}, those of {real.name} {real.image_shape}.")
    batches = iter(fakes.in_order(flags.FLAGS.batch_size))

    def draw(num, index, labels):
        batch = next(batches)
        images = batch[0] if fakes.num_classes else batch
        return (np.asarray(images[:num]) + 1) / 2

    facts = {"source": flags.FLAGS.images, "fingerprint": fakes.fingerprint}
    return draw, facts, pathlib.Path("scores"), fakes.num_images


def _file_name(receipt):
    fake = receipt["fake"]
    source = pathlib.PurePath(fake["source"])
    parts = [source.stem if flags.FLAGS.images else "_".join(source.parts[-2:])]
    if "step" in fake:
        parts = [f"step_{fake['step']:08d}"] if flags.FLAGS.run else [*parts, f"step_{fake['step']:08d}"]
    if fake.get("weights") == "raw":
        parts.append("raw")
    return "_".join(parts) + ".json"


def _progress(done, total):
    print(f"{done}/{total} images", end="\r" if done < total else "\n", file=sys.stderr, flush=True)


run = functools.partial(cli.run, main)

if __name__ == "__main__":
    run()
