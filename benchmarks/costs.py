"""Measures what stands around a training step, and how costs grow with the work.

    python benchmarks/costs.py --out=docs/performance/costs.json
    python benchmarks/costs.py --rows start scoring --report_only

| row | what |
|---|---|
| input | training from memory and from TFRecords, against one batch that is held: what the input pipeline takes |
| loop | whole runs of the train command: the share of callbacks, checkpoints and scoring, and the memory over time |
| start | from the start of the process to the end of the first step |
| size | DCGAN's step over batch, resolution and width |
| data | TFRecords of 5 000 to 1 000 000 images: opening, reading, memory |
| scoring | `evaluate` with all metrics and with the Frechet distance alone |
| sampling | images/s of the exported `sample` and of `gan.sample` |
| precision | the Frechet distance of runs in float32 and in `--mixed_precision=auto` |

Rows that the report holds already are measured again only where they are named. The tables go between their marks in
docs/performance.md.
"""

import argparse
import datetime
import itertools
import json
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

from processes import call, machine, parse_result, write_between
from speed import ROWS as SPEED_ROWS
from speed import Worker, train_in_turns

ROOT = pathlib.Path(__file__).resolve().parents[1]
FLAGFILES = ROOT / "tfgan_app" / "flags"
PAGE = ROOT / "docs" / "performance.md"
# Of speed.py's, and of recipes the shortest step and one of convolutions.
GANS = ("mlp", "dcgan28", "dcgan64")
LOOPS = ("mlp_gan", "dcgan")
FEEDS = ("held batch", "memory", "TFRecords")
RECIPES = ("mlp_gan", "mnist", "dcgan", "r3gan", "stylegan2", "biggan")
SIZES = [
    *({"batch": batch, "side": 32, "width": 32} for batch in (16, 32, 64, 128, 256)),
    *({"batch": 64, "side": side, "width": 32} for side in (64, 128)),
    *({"batch": 64, "side": 32, "width": width} for width in (16, 64, 128)),
]
COUNTS = (5_000, 50_000, 250_000, 1_000_000)
PRECISIONS = ("none", "auto")


# Rows: each returns what it found, as JSON takes it, and has a function that makes a table of that.


def measure_input(args):
    """Returns the seconds a step of each feed in each round."""
    found = {}
    for name in GANS:
        workers = {feed: _worker("feed", gan=name, feed=feed) for feed in FEEDS}
        try:
            steps = SPEED_ROWS[name].steps
            for worker in workers.values():
                worker.ready()
            rounds = [
                {feed: worker.turn(steps) / steps for feed, worker in workers.items()} for _ in range(args.repeats)
            ]
        finally:
            for worker in workers.values():
                worker.close()
        found[name] = rounds
    return found


def table_input(found):
    """Returns the input pipelines' cost beside the held batch: medians of the differences within a round."""
    lines = ["| | step from one held batch | images in memory | TFRecords |", "|---|---:|---:|---:|"]
    for name, rounds in found.items():
        held = statistics.median(one[FEEDS[0]] for one in rounds)
        cells = [f"{1e3 * held:.2f} ms"]
        for feed in FEEDS[1:]:
            shares = [one[feed] / one[FEEDS[0]] - 1 for one in rounds]
            cells.append(f"{statistics.median(shares):+.1%} ({min(shares):+.1%} to {max(shares):+.1%})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measure_loop(args):
    """Returns, of each GAN, the seconds by what they went into, and the resident memory at the end of each epoch."""
    found = {}
    for recipe in LOOPS:
        with tempfile.TemporaryDirectory() as folder:
            given = [f"--flagfile={FLAGFILES / recipe}.flags", f"--run_dir={folder}/run"]
            found[recipe] = _call_worker("loop", flags=[*given, *args.data])
    return found


def table_loop(found):
    """Returns shares of the time after the first epoch, which traces the graphs, and the memory."""
    lines = [
        "| | step | callbacks after each step | samples, CSV, checkpoint, guard | scoring | memory after steps |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for recipe, one in found.items():
        steps, seconds = one["steps"], one["seconds"]
        total = sum(seconds.values())
        shares = " | ".join(f"{seconds[part] / total:.1%}" for part in ("batch", "epoch", "scoring"))
        ends = list(one["memory"])
        shown = ends[0], ends[(len(ends) - 1) // 2], ends[-1]
        memory = ", ".join(f"{int(step):,}: {one['memory'][step]:,.0f} MB" for step in shown)
        lines.append(f"| `{recipe}.flags` | {1e3 * seconds['training'] / steps:.1f} ms | {shares} | {memory} |")
    return "\n".join(lines)


def measure_start(args):
    """Returns the seconds to the end of the first step, of each recipe in each round."""
    found: dict = {recipe: [] for recipe in RECIPES}
    for _ in range(3):
        for recipe, seconds in found.items():
            with tempfile.TemporaryDirectory() as folder:
                given = [f"--flagfile={FLAGFILES / recipe}.flags", "--dataset=mnist_5k", f"--run_dir={folder}/run"]
                began = time.perf_counter()
                worker = _worker("start", flags=given)
                try:
                    worker.ready()
                    seconds.append(time.perf_counter() - began)
                finally:
                    worker.close()
    return found


def table_start(found):
    """Returns the times to the first step."""
    lines = ["| recipe | seconds to the end of the first step |", "|---|---:|"]
    return "\n".join([*lines, *(f"| `{name}.flags` | {_spread(values, '.1f')} |" for name, values in found.items())])


def measure_size(args):
    """Returns the seconds a step of DCGAN by batch, side and width."""
    return [{**size, **_call_worker("size", repeats=args.repeats, **size)} for size in SIZES]


def table_size(found):
    """Returns how DCGAN's step grows."""
    lines = ["| batch | side | base channels | step | images/s | GFLOP a step | GFLOP/s |", "|---:" * 7 + "|"]
    for one in found:
        median = statistics.median(one["seconds"])
        cells = [one["batch"], one["side"], one["width"], f"{1e3 * median:.1f} ms", f"{one['batch'] / median:,.0f}"]
        cells += [f"{one['flops'] / 1e9:.1f}", f"{one['flops'] / 1e9 / median:.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def measure_data(args):
    """Returns for each number of images the seconds to open them, the images/s read, and the peak of memory."""
    found = []
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            _call_worker("prepare", folder=folder, count=count, side=64)
            for held in (True, False):
                if not held or count * 64 * 64 * 3 < 2**32:
                    found.append({"images": count, "held": held, **_call_worker("data", folder=folder, held=held)})
    return found


def table_data(found):
    """Returns how the cost of data grows."""
    lines = [
        "| images, 64x64 in colour | held in memory | to the first batch | then images/s | peak of memory |",
        "|---:|---:|---:|---:|---:|",
    ]
    for one in found:
        held = "yes" if one["held"] else "no"
        lines.append(
            f"| {one['images']:,} | {held} | {one['first']:.1f} s | {one['rate']:,.0f} | {one['memory']:,.0f} MB |"
        )
    return "\n".join(lines)


def measure_scoring(args):
    """Returns seconds and peak of memory of `evaluate` on 10 000 images."""
    model = ROOT / "saved_models" / "fashion_mnist" / "1"
    found: dict = {"fd": [], "all": []}
    for _ in range(3):
        for metrics, rounds in found.items():
            with tempfile.TemporaryDirectory() as folder:
                given = [f"--saved_model={model}", "--dataset=fashion_mnist", f"--metrics={metrics}"]
                rounds.append(_call_worker("scoring", flags=[*given, f"--out={folder}/score.json", *args.data]))
    return found


def table_scoring(found):
    """Returns the cost of scores."""
    lines = ["| `--metrics` | seconds | peak of memory |", "|---|---:|---:|"]
    for name, rounds in found.items():
        seconds = _spread([one["seconds"] for one in rounds], ".1f")
        lines.append(f"| {name} | {seconds} | {max(one['memory'] for one in rounds):,.0f} MB |")
    return "\n".join(lines)


def measure_sampling(args):
    """Returns images/s by number of images in a call."""
    return _call_worker("sampling", repeats=args.repeats)


def table_sampling(found):
    """Returns the rates of sampling."""
    numbers = list(next(iter(found.values())))
    lines = ["| images/s | " + " | ".join(f"{number} at a time" for number in numbers) + " |"]
    lines.append("|---|" + "---:|" * len(numbers))
    for name, rates in found.items():
        lines.append(f"| {name} | " + " | ".join(f"{statistics.median(rates[n]):,.0f}" for n in numbers) + " |")
    return "\n".join(lines)


def measure_precision(args):
    """Returns the Frechet distances of three seeds in each precision."""
    found: dict = {recipe: {precision: [] for precision in PRECISIONS} for recipe in LOOPS}
    for recipe, precision, seed in itertools.product(LOOPS, PRECISIONS, range(3)):
        with tempfile.TemporaryDirectory() as folder:
            flags = [f"--flagfile={FLAGFILES / recipe}.flags", "--train_steps=2000", "--steps_per_epoch=2000"]
            flags += [f"--mixed_precision={precision}", f"--seed={seed}", f"--run_dir={folder}/run"]
            call([sys.executable, "-m", "tfgan_app.train", *flags, *args.data])
            receipt = json.loads(pathlib.Path(folder, "run", "scores", "step_00002000.json").read_text())
        found[recipe][precision].append(receipt["scores"]["fd"])
    return {f"`{recipe}.flags`, 2 000 steps": values for recipe, values in found.items()}


def table_precision(found):
    """Returns the scores of both precisions."""
    lines = ["| Frechet distance | `--mixed_precision=none` | `auto` |", "|---|---:|---:|"]
    for name, scores in found.items():
        cells = " | ".join(
            f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" for values in scores.values()
        )
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


ROWS = {
    "input": (measure_input, table_input),
    "loop": (measure_loop, table_loop),
    "start": (measure_start, table_start),
    "size": (measure_size, table_size),
    "data": (measure_data, table_data),
    "scoring": (measure_scoring, table_scoring),
    "sampling": (measure_sampling, table_sampling),
    "precision": (measure_precision, table_precision),
}


def marks(row):
    """Returns what stands around a row's table in docs/performance.md."""
    return f"<!-- {row}: made by benchmarks/costs.py -->", f"<!-- end of {row} -->"


def _spread(values, form):
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def _command(worker, **arguments):
    return [sys.executable, __file__, f"--worker={worker}", f"--arguments={json.dumps(arguments)}"]


def _worker(worker, **arguments):
    return Worker(_command(worker, **arguments))


def _call_worker(worker, **arguments):
    return parse_result(call(_command(worker, **arguments)))


# The workers: in processes of their own, which alone load TensorFlow.


def feed(gan, feed):
    """Trains in turns from one of the feeds."""
    import keras
    import tensorflow as tf

    import tfgan_app as tg
    from tfgan_app import data
    from tfgan_app.base.precision import choose_precision

    row = SPEED_ROWS[gan]
    model = getattr(tg.models, row.model)
    keras.config.set_dtype_policy(choose_precision("auto").policy)
    with tempfile.TemporaryDirectory() as folder:
        write(folder, 5000, row.side)
        if feed == "TFRecords":
            # As a set that does not fit into memory is read.
            data.records.MEMORY_LIMIT = 0
        images = data.open_images(folder)
        network = model(images.image_shape, seed=0, **row.arguments)
        network.compile(steps_per_execution=row.steps_per_execution)
        batches = images.batches(64, seed=0)
        if feed == "held batch":
            batches = tf.data.Dataset.from_tensors(next(iter(batches))).repeat()
        train_in_turns(network, batches, {})


def loop(flags):
    """Runs the train command; prints where its time went, and its memory."""
    import keras

    seconds = dict.fromkeys(("training", "batch", "epoch", "scoring"), 0.0)
    state = {"steps": 0, "last": 0.0}
    memory = {}

    def lap(part=None):
        now = time.perf_counter()
        # The first epoch traces graphs and opens files.
        if part and state["steps"]:
            seconds[part] += now - state["last"]
        state["last"] = now

    class First(keras.callbacks.Callback):
        """Comes before the command's own callbacks."""

        def on_train_batch_end(self, batch, logs=None):
            lap("training")

        def on_test_begin(self, logs=None):
            lap("training")

        def on_test_end(self, logs=None):
            lap("scoring")

        def on_epoch_end(self, epoch, logs=None):
            lap("training")

    class Last(keras.callbacks.Callback):
        """Comes after them."""

        def on_train_batch_end(self, batch, logs=None):
            lap("batch")

        def on_epoch_end(self, epoch, logs=None):
            lap("epoch")
            memory[self.model.step] = _resident()
            state["steps"] = self.model.step

    code = _train(flags, First(), Last())
    # Steps after the first epoch.
    print(json.dumps({"seconds": seconds, "memory": memory, "steps": max(memory) - min(memory)}))
    return code


def _resident():
    """Returns the process's resident memory in MB."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1e3


def start(flags):
    """Runs the train command to the end of its first step."""
    import keras

    class Told(keras.callbacks.Callback):
        """Says when the first step is done, and ends."""

        def on_train_batch_end(self, batch, logs=None):
            print(json.dumps({"step": 1}), flush=True)
            self.model.stop_training = True

    return _train(flags, Told())


def _train(given, first, *last):
    """Runs the train command with callbacks before and after its own."""
    from absl import flags

    from tfgan_app import AdversarialModel, train

    fit = AdversarialModel.fit

    def watched(self, *args, callbacks, **kwargs):
        return fit(self, *args, callbacks=[first, *callbacks, *last], **kwargs)

    AdversarialModel.fit = watched
    flags.FLAGS(["train", *given])
    return train.main([])


def size(batch, side, width, repeats):
    """Prints the seconds a step of DCGAN, and its operations."""
    import keras
    import numpy as np
    import tensorflow as tf
    from speed import step_flops

    import tfgan_app as tg
    from tfgan_app.base.precision import choose_precision

    keras.config.set_dtype_policy(choose_precision("auto").policy)
    gan = tg.models.DCGAN((side, side, 3), base_channels=width, seed=0)
    gan.compile()
    images = np.random.default_rng(0).uniform(-1, 1, (batch, side, side, 3)).astype(np.float32)
    batches = tf.data.Dataset.from_tensors(images).repeat()
    seconds = []

    class Clock(keras.callbacks.Callback):
        """Takes the time of each epoch."""

        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append((time.perf_counter() - self.began) / 10)

    gan.fit(batches, steps_per_epoch=10, epochs=repeats + 1, callbacks=[Clock()], verbose=0)
    print(json.dumps({"seconds": seconds[1:], "flops": step_flops(gan, batch)}))


def write(folder, count, side):
    """Writes a data set as TFDS prepares it: a thousand pictures again and again, PNGs if they are small."""
    import numpy as np
    import tensorflow as tf
    import tensorflow_datasets as tfds

    channels = 3 if side > 28 else 1
    encode = tf.io.encode_jpeg if side > 28 else tf.io.encode_png
    rng = np.random.default_rng(0)
    small = tf.image.resize(rng.integers(0, 256, (1000, 8, 8, channels)).astype(np.float32), (side, side))
    encoded = [encode(image).numpy() for image in tf.cast(tf.round(small), tf.uint8)]
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(side, side, channels), encoding_format="jpeg" if side > 28 else "png"),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
    )
    shards = max(1, count // 50_000)
    name = "generated-train.tfrecord-{shard:05d}-of-{shards:05d}"
    lengths = []
    for shard in range(shards):
        numbers = range(shard, count, shards)
        with tf.io.TFRecordWriter(str(pathlib.Path(folder, name.format(shard=shard, shards=shards)))) as writer:
            for number in numbers:
                example = tf.train.Example()
                example.features.feature["image"].bytes_list.value.append(encoded[number % 1000])
                example.features.feature["label"].int64_list.value.append(number % 10)
                writer.write(example.SerializeToString())
        lengths.append(len(numbers))
    split = tfds.core.SplitInfo(
        name="train",
        shard_lengths=lengths,
        num_bytes=sum(path.stat().st_size for path in pathlib.Path(folder).glob("*.tfrecord*")),
        filename_template=tfds.core.ShardedFileTemplate(
            dataset_name="generated", data_dir=folder, split="train", filetype_suffix="tfrecord"
        ),
    )
    tfds.folder_dataset.write_metadata(data_dir=folder, features=features, split_infos=[split])


def prepare(folder, count, side):
    """Writes a data set, in a process of its own, whose memory does not count."""
    write(folder, count, side)
    print(json.dumps({"images": count}))


def data(folder, held):
    """Prints what opening and reading a data set takes."""
    import resource

    from tfgan_app import data

    if not held:
        data.records.MEMORY_LIMIT = 0
    began = time.perf_counter()
    images = data.open_images(folder)
    batches = iter(images.batches(64, seed=0))
    next(batches)
    first = time.perf_counter() - began
    began, num = time.perf_counter(), 0
    while time.perf_counter() - began < 10:
        num += len(next(batches)[0])
    print(
        json.dumps(
            {
                "first": first,
                "rate": num / (time.perf_counter() - began),
                "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
            }
        )
    )


def scoring(flags):
    """Runs the evaluate command; prints its time, start included, and its memory."""
    import resource

    began = time.perf_counter()
    call([sys.executable, "-m", "tfgan_app.evaluate", *flags])
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    print(json.dumps({"seconds": seconds, "memory": memory}))


def sampling(repeats):
    """Prints the rates at which a loaded SavedModel and a model draw images."""
    import tensorflow as tf

    import tfgan_app as tg

    saved = tf.saved_model.load(str(ROOT / "saved_models" / "fashion_mnist" / "1")).signatures["sample"]
    gan = tg.models.CGAN((28, 28, 1), num_classes=10)

    def exported(num):
        return saved(num_images=tf.constant(num), seed=tf.constant(7, tf.int64), labels=tf.range(num) % 10)["images"]

    found: dict = {}
    for name, draw in (("SavedModel, `sample`", exported), ("`gan.sample`", gan.sample)):
        for num in (1, 64, 1024):
            draw(num)
            rates = found.setdefault(name, {}).setdefault(num, [])
            calls = max(1, 1024 // num)
            for _ in range(repeats):
                began = time.perf_counter()
                for _ in range(calls):
                    draw(num)
                rates.append(num * calls / (time.perf_counter() - began))
    print(json.dumps(found))


WORKERS: dict[str, Callable] = {
    "feed": feed,
    "loop": loop,
    "start": start,
    "size": size,
    "prepare": prepare,
    "data": data,
    "scoring": scoring,
    "sampling": sampling,
}


def main():
    """Measures the rows and writes their tables, or is one of the workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), help="what to measure")
    parser.add_argument("--repeats", type=int, default=7, help="rounds, where a round is short")
    parser.add_argument("--data_dir", help="where Fashion-MNIST lies, as TFDS prepared it")
    parser.add_argument("--out", type=pathlib.Path, default=PAGE.with_suffix("") / "costs.json")
    parser.add_argument("--report_only", action="store_true", help="measure nothing, write the tables anew")
    parser.add_argument("--worker", choices=list(WORKERS), help=argparse.SUPPRESS)
    parser.add_argument("--arguments", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return WORKERS[args.worker](**args.arguments)
    args.data = [f"--data_dir={args.data_dir}"] if args.data_dir else []
    report = json.loads(args.out.read_text()) if args.out.exists() else {}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for row in [] if args.report_only else args.rows:
        found = ROWS[row][0](args)
        report[row] = {"found": found, "date": datetime.date.today().isoformat(), "machine": machine()}
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    for row in args.rows:
        if row in report:
            found = report[row]
            where = f"{found['machine']['cores']} cores of {found['machine']['cpu']}, {found['date']}:"
            text = f"{where}\n\n{ROWS[row][1](found['found'])}"
            print(f"{row}. {text}\n")
            write_between(PAGE, marks(row), text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
