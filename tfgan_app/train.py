"""Trains a GAN: flags -> data -> model -> fit -> export.

    python -m tfgan_app.train --flagfile=mnist.flags

The same command goes on where an interrupted run stopped. A flag that is left unset means the model's own value, which
is its paper's.
"""

import functools
import importlib.util
import math
import pathlib
import re
import sys
import traceback

from absl import flags

from tfgan_app import cli, models
from tfgan_app.base import errors

__all__ = ["main", "run"]

LOSSES = ("NonSaturating", "Minimax", "LeastSquares", "Hinge", "Wasserstein", "Relativistic")

cli.define_data_flags(dataset="mnist_5k", split="train")
flags.DEFINE_string("eval_split", "test", "Split to score on; the training images where the data has no such split.")
flags.DEFINE_integer("eval_images", 10_000, "Real images to score on, at most.", lower_bound=2)
flags.DEFINE_integer(
    "score_every",
    None,
    "Epochs from one score of a training run to the next. Default: those that see 50 times as many images as a score.",
    lower_bound=1,
)
cli.define_extractor_flags()
flags.DEFINE_enum("model", "DCGAN", models.__all__, "The GAN.", case_sensitive=False)
flags.DEFINE_multi_string("model_arg", [], "NAME=VALUE, an argument of the model; repeat it for more.")
flags.DEFINE_integer("latent_dim", None, "Length of the latents.", lower_bound=1)
flags.DEFINE_enum("loss", None, LOSSES, "The adversarial loss.", case_sensitive=False)
flags.DEFINE_float("real_label", None, "D's target for real images, in (0, 1].", lower_bound=0, upper_bound=1)
flags.DEFINE_multi_string(
    "penalty",
    None,
    "A penalty on D: GradientPenalty, DRAGAN, R1, R2 or ZeroCentered, with arguments where they differ from the "
    "defaults: 'R1(weight=5, interval=16)'; repeat it for more; none.",
)
flags.DEFINE_string(
    "augment",
    None,
    "What D's images pass through: DiffAugment or AdaptiveAugment, with arguments as in --penalty; none.",
)
flags.DEFINE_integer("n_critic", None, "Updates of D before each of G, all on fresh batches.", lower_bound=1)
flags.DEFINE_boolean("conditional", None, "Give the labels to a model that can do without them.")
flags.DEFINE_float("ema_decay", None, "Decay of the generator's moving average.", lower_bound=0, upper_bound=1)
flags.DEFINE_float("g_learning_rate", None, "The generator's learning rate.", lower_bound=0)
flags.DEFINE_float("d_learning_rate", None, "The discriminator's learning rate.", lower_bound=0)
flags.DEFINE_boolean("decay_learning_rates", False, "Let the learning rates fall linearly to 0 at the last step.")
flags.DEFINE_integer("batch_size", 64, "Images an update of D.", lower_bound=1)
flags.DEFINE_integer("train_steps", 10_000, "Generator updates in all.", lower_bound=1)
flags.DEFINE_integer("steps_per_epoch", 1_000, "Steps between samples, scores and checkpoints.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of weights, latents and the order of images.")
flags.DEFINE_boolean(
    "deterministic", False, "Only operations that give the same bits in every run; on a GPU others are faster."
)
flags.DEFINE_enum(
    "mixed_precision", "auto", ["auto", "none", "bfloat16", "float16"], "Precision; auto goes by the hardware."
)
flags.DEFINE_enum(
    "jit_compile", "auto", ["auto", "true", "false"], "Compile with XLA; auto: where it makes this model faster."
)
flags.DEFINE_integer("steps_per_execution", 1, "Steps in one call of the graph.", lower_bound=1)
flags.DEFINE_enum(
    "strategy",
    "none",
    ["none", "mirrored", "multi_worker"],
    "What trains: one device, all of this machine, or all of the machines in TF_CONFIG. --batch_size is that of all.",
)
flags.DEFINE_boolean(
    "sync_batch_norm", False, "Normalise by the batches of all devices together, where models normalise by the batch."
)
flags.DEFINE_string("run_dir", None, "The run's folder. Default: runs/MODEL_DATASET.")
flags.DEFINE_integer("keep_checkpoints", 3, "How many checkpoints to keep.", lower_bound=1)
flags.DEFINE_enum(
    "on_collapse",
    "warn",
    ["ignore", "warn", "stop", "rollback"],
    "What to do where samples are all alike, D is always right or a loss is not finite; rollback goes on from the best "
    "checkpoint with halved learning rates.",
)
flags.DEFINE_boolean("dry_run", False, "Show the configuration and the model, do one step on noise, write nothing.")
flags.DEFINE_boolean("print_config", False, "Print the configuration as a flagfile and end.")

# All of the above but what concerns one call only.
SETTINGS = (
    "model",
    "model_arg",
    "latent_dim",
    "loss",
    "real_label",
    "penalty",
    "augment",
    "n_critic",
    "conditional",
    "ema_decay",
    "g_learning_rate",
    "d_learning_rate",
    "decay_learning_rates",
    "dataset",
    "fallback_dataset",
    "data_dir",
    "manual_dir",
    "split",
    "image_size",
    "channels",
    "eval_split",
    "eval_images",
    "score_every",
    "extractor",
    "trust_extractor",
    "batch_size",
    "train_steps",
    "steps_per_epoch",
    "steps_per_execution",
    "mixed_precision",
    "jit_compile",
    "strategy",
    "sync_batch_norm",
    "seed",
    "deterministic",
    "keep_checkpoints",
    "on_collapse",
    "run_dir",
)


def main(argv):
    """Carries out the command; returns its exit code."""
    settings: dict = {name: flags.FLAGS[name].value for name in SETTINGS}
    if settings["run_dir"] is None:
        source = pathlib.PurePath(settings["dataset"]).stem
        settings["run_dir"] = f"runs/{settings['model'].lower()}_{source}"
    if flags.FLAGS.print_config:
        print(cli.flagfile(settings), end="")
        return 0

    import keras
    import tensorflow as tf

    from tfgan_app.base.precision import choose_precision
    from tfgan_app.base.strategies import build_strategy, is_chief
    from tfgan_app.runs import Run

    strategy = build_strategy(settings["strategy"])
    if settings["batch_size"] % strategy.num_replicas_in_sync:
        raise errors.UsageError(
            f"--batch_size={settings['batch_size']} must be a multiple of the {strategy.num_replicas_in_sync} devices "
            "that share it."
        )
    keras.utils.set_random_seed(settings["seed"])
    if settings["deterministic"]:
        tf.config.experimental.enable_op_determinism()
    run = Run(settings["run_dir"])
    # A new folder is made, and claimed, when all flags have proved right.
    if run.directory.exists() and is_chief(strategy) and not flags.FLAGS.dry_run:
        run.lock()
    precision = choose_precision(settings["mixed_precision"])
    settings["precision"] = precision.name
    if run.record and settings["mixed_precision"] == "auto":
        # A run keeps the precision that it began with, on whatever machine it goes on.
        settings["precision"] = run.record["settings"]["precision"]
    else:
        print(f"Precision {precision.policy}: {precision.reason}.")
    if flags.FLAGS.dry_run:
        return _dry_run(settings)
    return _train(settings, run, strategy)


def _train(settings, run, strategy):
    import tensorflow as tf

    from tfgan_app import runs
    from tfgan_app.base.errors import WorkerLost
    from tfgan_app.base.strategies import LOST_WORKER, is_chief
    from tfgan_app.callbacks import Stopped
    from tfgan_app.checkpoints import Checkpoints
    from tfgan_app.export.saved_model import exported_step
    from tfgan_app.metrics import FrechetDistance
    from tfgan_app.study.collapse import ROLLBACK_FACTOR

    replicas = strategy.num_replicas_in_sync
    train = runs.open_split(settings, settings["split"])
    facts = train.describe()
    run.check(settings, facts)
    test = _eval_images(settings, train)
    extractor = _extractor(settings, train)
    if extractor:
        _check_enough(extractor, test, settings)
    with strategy.scope():
        metrics = [FrechetDistance(extractor, reference=_validation(settings, test))] if extractor else []
        gan = runs.build_gan(settings, train.image_shape, train.num_classes, metrics=metrics)
    scored = ""
    if extractor:
        settings["score_every"] = settings["score_every"] or _epochs_to_a_score(settings, gan.n_critic, test)
        often = "epoch" if settings["score_every"] == 1 else f"{settings['score_every']} epochs"
        scored = f"; scores on {test.split} every {often} and at the end"
    print(f"{train.num_images} images of {train.name} ({train.split}), {train.image_shape}{scored}.")
    chief = is_chief(strategy)
    checkpoints = Checkpoints(gan, run.directory / "checkpoints", settings["keep_checkpoints"], writes=chief)
    restored = checkpoints.restore()
    step = gan.step
    command = runs.command_line(sys.argv)
    print(f"XLA {'on' if gan.jit_compile else 'off'}, {_reason(settings, gan)}.")
    if restored:
        # Constant learning rates are part of the optimizers' state; those asked for now take its place.
        runs.set_learning_rates(gan, settings, ROLLBACK_FACTOR ** len(run.rollbacks))
        print(f"Going on from step {step} ({restored}).")
    if step < settings["train_steps"]:
        _require_whole_executions(settings, step)
        if chief:
            run.lock()
            run.write(settings, facts, test.split, command, step)
        try:
            guard = _guard(gan, settings, run, train, extractor)
            _fit(gan, settings, run, train, test if extractor else None, checkpoints, guard)
        except Stopped as stop:
            folder = checkpoints.save()
            print(f"Stopped by {stop} at step {gan.step}; saved {folder}. Go on with:\n  {command}")
            return 128 + stop.signum
        except (tf.errors.OpError, MemoryError) as error:
            if isinstance(error, LOST_WORKER) and replicas > 1:
                raise WorkerLost(
                    f"Another worker stopped after step {gan.step}. The same command, given to all of them, goes on "
                    f"from the last checkpoint. ({type(error).__name__})"
                ) from error
            raise errors.Failure(_diagnosis(error, settings["batch_size"], replicas, checkpoints)) from error
    elif exported_step(run.directory / "saved_model" / "1") == step:
        print(f"{run.directory} is trained to step {step} already. Ask for more with --train_steps.")
        return 0
    if not chief:
        return 0
    return _finish(gan, settings, run, train, test, extractor, command)


def _reason(settings, gan):
    """Returns why `--jit_compile` came out as it did."""
    if settings["jit_compile"] != "auto":
        return "as asked for"
    if gan.distribute_strategy.num_replicas_in_sync > 1:
        return "as it does not compile a step of several devices"
    return "the faster for this model here"


def _diagnosis(error, batch_size, replicas, checkpoints):
    """Returns what to make of an exception from within TensorFlow: memory, data, or else."""
    import tensorflow as tf

    from tfgan_app.base.files import reason

    saved = next(iter(checkpoints.folders()), None)
    rest = f" {saved} is as it was." if saved else " There is no checkpoint yet."
    if isinstance(error, (tf.errors.ResourceExhaustedError, MemoryError)):
        smaller = max(batch_size // 2 // replicas, 1) * replicas
        advice = f"Try --batch_size={smaller} in another --run_dir" if smaller < batch_size else "Try smaller networks"
        return f"Out of memory with --batch_size={batch_size}: {reason(error)}. {advice}.{rest}"
    # Errors of the data cross TensorFlow as text.
    found = re.search(r"DataError: (.*)", str(error))
    if found:
        return found[1] + rest
    traceback.print_exception(error)
    return f"TensorFlow failed: {reason(error)}.{rest}"


def _fit(gan, settings, run, train, test, checkpoints, guard):
    """Trains to the last step, in epochs that end at multiples of `steps_per_epoch` and at the last step."""
    from tfgan_app import callbacks
    from tfgan_app.base import pictures
    from tfgan_app.base.errors import TrainingCollapsed
    from tfgan_app.base.strategies import is_chief
    from tfgan_app.data.steps import share_batches

    size, total, length = settings["batch_size"], settings["train_steps"], settings["steps_per_epoch"]
    # One generator step takes this many batches; `fit` groups them.
    batches = gan.n_critic
    stop = callbacks.StopOnSignal()
    begun = [callbacks.ContinueEpoch(gan)] if gan.step % length else []
    writers = [
        callbacks.SampleGrid(
            run.directory / "samples", columns=pictures.columns(gan.num_classes), seed=settings["seed"]
        ),
        callbacks.MetricsCSV(run.directory / "metrics.csv"),
        *_tensorboard(run.directory / "logs"),
        callbacks.Progress(total, size * batches),
        callbacks.SaveCheckpoint(checkpoints),
    ]
    # Of several workers one writes; all watch, and come to the same conclusions.
    chief = is_chief(gan.distribute_strategy)
    parts = [*begun, callbacks.StopOnNonFinite(), *(writers if chief else []), *([guard] if guard else []), stop]
    validation = test and _validation(settings, test)
    try:
        while gan.step < total:
            try:
                for first_epoch, last_epoch, steps in _segments(gan.step, total, length):
                    images = functools.partial(_batches, train, settings, gan.step * batches)
                    gan.fit(
                        share_batches(images, gan.n_critic, gan.distribute_strategy),
                        initial_epoch=first_epoch,
                        epochs=last_epoch,
                        steps_per_epoch=steps,
                        validation_data=validation,
                        validation_freq=settings["score_every"] or 1,
                        callbacks=parts,
                        shuffle=False,
                        verbose=0,
                    )
            except (TrainingCollapsed, FloatingPointError) as failure:
                if settings["on_collapse"] != "rollback":
                    raise
                failed = gan.step
                guard.roll_back(str(failure))
                checkpoints.save(overwrite=True)
                if chief:
                    run.add_rollback(failed, gan.step, str(failure))
    finally:
        stop.restore_handlers()


def _validation(settings, test):
    """Returns the batches of real images that epochs are scored on."""
    return test.in_order(250).take(-(-settings["eval_images"] // 250))


def _epochs_to_a_score(settings, n_critic, test):
    """Returns after how many epochs to score if no flag says so: a share of the run that is small and known before."""
    images = settings["steps_per_epoch"] * settings["batch_size"] * n_critic
    return math.ceil(50 * min(test.num_images, settings["eval_images"]) / images)


def _batches(train, settings, start, index, parts):
    """Returns a part of the batches from number `start` on; see `data.steps.share_batches`."""
    return train.batches(settings["batch_size"], seed=settings["seed"], start_step=start, part=(index, parts))


# Training images that samples are held against.
_GUARD_IMAGES = 500


def _guard(gan, settings, run, train, extractor):
    """Returns what watches for collapse, None where nothing is to."""
    from tfgan_app.base.strategies import is_chief
    from tfgan_app.checkpoints import Checkpoints
    from tfgan_app.runs import BEST
    from tfgan_app.schedules import has_schedule
    from tfgan_app.study.collapse import CollapseGuard

    action = settings["on_collapse"]
    if action == "ignore":
        return None
    if action == "rollback" and (has_schedule(gan.g_optimizer) or has_schedule(gan.d_optimizer)):
        raise errors.UsageError("--on_collapse=rollback lowers constant learning rates; this run's follow a schedule.")
    guard = CollapseGuard(
        train.first(_GUARD_IMAGES)[0],
        extractor,
        # `_fit` rolls back by itself, as the run's folder goes back too.
        action="warn" if action == "warn" else "stop",
        checkpoints=Checkpoints(gan, run.directory / BEST, keep=1, writes=is_chief(gan.distribute_strategy)),
        monitor="val_fd" if extractor else None,
    )
    guard.set_model(gan)
    guard.rollbacks = len(run.rollbacks)
    return guard


def _segments(step, total, length):
    """Yields calls of `fit`, `(first_epoch, last_epoch, steps)`: the rest of a cut epoch, whole ones, the remainder."""
    while step < total:
        epoch, done = divmod(step, length)
        whole = (total - step) // length
        if done or not whole:
            steps, count = min(length - done, total - step), 1
        else:
            steps, count = length, whole
        yield epoch, epoch + count, steps
        step += steps * count


def _require_whole_executions(settings, step):
    """Keras would round epochs up to whole executions."""
    unit = settings["steps_per_execution"]
    steps = {"--train_steps": settings["train_steps"], "--steps_per_epoch": settings["steps_per_epoch"], "step": step}
    for name, value in steps.items():
        if value % unit:
            raise errors.UsageError(f"{name}={value} must be a multiple of --steps_per_execution={unit}.")


def _finish(gan, settings, run, train, test, extractor, command):
    """Exports the trained GAN with its score and its card."""
    import tensorflow as tf

    from tfgan_app.base.files import reason

    try:
        return _export(gan, settings, run, train, test, extractor, command)
    except (OSError, tf.errors.OpError) as error:
        raise errors.Failure(
            f"Trained to step {gan.step} and saved, but its score and its export cannot be written: {reason(error)}. "
            "The same command tries again."
        ) from error


def _export(gan, settings, run, train, test, extractor, command):
    from tfgan_app.base import pictures
    from tfgan_app.study import SampledFakes, build_metrics, describe_score, score, summary, write_receipt

    receipts = []
    if extractor:
        step = gan.step
        facts = {"source": str(run.directory), "step": step, "checkpoint": "last", "weights": "EMA", "seed": 0}
        fakes = SampledFakes(gan, test.num_images)
        metrics = build_metrics(["fd"], extractor, test, fakes, test.num_images)
        receipts = [score(fakes, test, metrics, facts=facts)]
        write_receipt(run.directory / "scores" / f"step_{step:08d}.json", receipts[0])
    columns = pictures.columns(gan.num_classes)
    pictures.save_png(run.directory / "saved_model" / "samples.png", gan.picture(8 * columns, columns), 2)
    folder = gan.export(
        run.directory / "saved_model" / "1",
        data=train.describe(),
        command=command,
        batch_size=settings["batch_size"] * gan.n_critic,
        scores=[summary(receipt) for receipt in receipts],
        picture="samples.png",
    )
    for receipt in receipts:
        print(describe_score(receipt))
    print(f"Samples in {run.directory / 'samples'}, SavedModel in {folder}.")
    return 0


def _dry_run(settings):
    import numpy as np

    from tfgan_app import data, runs

    image_shape, num_classes = data.peek(**runs.source_options(settings))
    gan = runs.build_gan(settings, image_shape, num_classes)
    print(cli.flagfile(settings), end="")
    gan.generator.summary()
    gan.discriminator.summary()
    noise = np.random.default_rng(settings["seed"])
    num = settings["batch_size"] * gan.n_critic
    images = noise.uniform(-1, 1, (num, *image_shape)).astype("float32")
    labels = noise.integers(0, num_classes or 1, num)
    logs = gan.fit(images, labels, batch_size=settings["batch_size"], verbose=0).history
    print("One step on noise:", ", ".join(f"{name} {values[0]:.3f}" for name, values in logs.items()))
    return 0


def _eval_images(settings, train):
    from tfgan_app import data, runs

    try:
        return runs.open_split_like(train.describe(), settings, settings["eval_split"])
    except data.UnknownSplit:
        print(f"{train.name} has no split {settings['eval_split']}: scores compare with the training images.")
        return train


def _extractor(settings, train):
    from tfgan_app.metrics.extractors import load_extractor, shipped_for

    name = settings["extractor"]
    if name == "auto":
        name = shipped_for(train.name)
        if name is None:
            print(f"No score: no feature extractor is shipped for {train.name}. Name one with --extractor.")
    if name in (None, "none"):
        return None
    try:
        return load_extractor(name, settings["trust_extractor"])
    except ValueError as error:
        raise errors.UsageError(f"--extractor: {error}") from error


def _check_enough(extractor, test, settings):
    """Refuses to score on one image, and warns of a score on too few."""
    from tfgan_app.study.receipts import caution

    num_images = min(test.num_images, settings["eval_images"])
    if num_images < 2:
        raise errors.UsageError(f"--eval_split={settings['eval_split']} has one image; scores compare 2 at least.")
    if warning := caution(extractor.feature_dim, num_images):
        print(warning)


def _tensorboard(directory):
    from tfgan_app.callbacks import TensorBoard

    if importlib.util.find_spec("tensorboard") is None:
        print("No TensorBoard logs: pip install 'tfgan_app[tensorboard]' for them.")
        return []
    return [TensorBoard(str(directory), profile_batch=0)]


run = functools.partial(cli.run, main)

if __name__ == "__main__":
    run()
