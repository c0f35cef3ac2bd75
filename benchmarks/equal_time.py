"""Trains GANs of this package and of PyTorch on one machine, and scores them alike after equal times.

    python benchmarks/equal_time.py --seconds 60 240 900 --seeds 0 1 2 --data_dir=DIR --torch_python=python \
        --out=docs/equal_time/epyc.json
    python benchmarks/equal_time.py --seconds 60 --systems tfgan:DCGAN "tfgan:MLPGAN g_units=(128,) d_units=(128,)" \
        "torch:dcgan28 best=True"

A system is `recipe:NAME`, a flagfile of `tfgan_app/flags` as it stands; `tfgan:CLASS` of `tfgan_app.models`; or
`torch:ROW` of pytorch_gans.py. The latter two take NAME=VALUE arguments: of the class, of `compile`, or `batch_size`,
`learning_rate`, `beta_1` and `real_label`; of pytorch_gans.py likewise.

Each run is a process of its own that has the machine to itself. Systems take turns, seed by seed, so that a drift of
the machine meets them all. Only training time counts: the clock starts when the first step ends (PyTorch's compiled
rows: the third), after start-up, loading, tracing and compilation, and stands still while samples are drawn. Every set
of samples is scored by `tfgan_app.evaluate` with the same real images and features. A recipe whose learning rates fall
to 0 ends with its last step, and later scores are those of its end; the others train on. The package must be installed.

The samples' patches are compared too, and a second table says how often that orders two generators as the features do.

Runs that the report holds already are not repeated, so an interrupted command goes on. A report in docs/equal_time/ is
shown by docs/equal_time.md, its tables between marks of its name.
"""

import argparse
import ast
import datetime
import itertools
import json
import pathlib
import statistics
import sys
import tempfile
import time

from processes import (
    RunError,
    busy_fraction,
    call,
    machine,
    missing,
    open_recipe,
    parse_result,
    run_each,
    write_between,
)

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "equal_time.md"
VERSIONS = {"tensorflow": "TensorFlow", "keras": "Keras", "torch": "PyTorch"}
TORCH_ROWS = ("mlp_small", "mlp", "mlp_batchnorm", "dcgan", "dcgan28")
UNLABELLED = (
    *("quick", "dcgan", "lsgan", "hinge_gan", "dragan", "relativistic_gan", "pacgan", "infogan", "mlp_gan", "wgan"),
    *("wgan_gp", "sngan", "pggan", "stylegan2", "fastgan"),
)
LABELLED = ("quick_labels", "cgan", "fashion_mnist", "acgan", "projection_gan", "sagan", "biggan", "r3gan")
_RATIOS = (1.0, 1.1, 1.25, 1.5, 2.0, 4.0, float("inf"))
SYSTEMS = (
    *(f"recipe:{name}" for name in (*UNLABELLED, *LABELLED)),
    *(f"torch:{row}" for row in TORCH_ROWS),
    *(f"torch:{row} best=True" for row in TORCH_ROWS),
)


def parse_system(text):
    """Returns `(framework, name, arguments)` of a system, as in `torch:dcgan best=True`.

    Raises:
        ValueError: If the text names no system.
    """
    head, *pairs = text.split() or [""]
    framework, _, name = head.partition(":")
    known = {"recipe": name and not pairs, "tfgan": name, "torch": name in TORCH_ROWS}
    if not known.get(framework):
        raise ValueError(
            f"A system is recipe:NAME, tfgan:CLASS or torch:ROW, ROW one of {', '.join(TORCH_ROWS)}. Received: {text}"
        )
    arguments = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key.isidentifier() and equals):
            raise ValueError(f"Arguments of a system are NAME=VALUE, without blanks. Received: {pair} in {text}")
        try:
            arguments[key] = ast.literal_eval(value)
        except (SyntaxError, ValueError) as error:
            raise ValueError(f"{value} is no Python value (quote strings). Received: {pair} in {text}") from error
    return framework, name, arguments


def markdown_table(systems, seconds, runs):
    """Returns the runs as a Markdown table, a row a system, in the order of `systems`."""
    marks = [f"{mark:g} s" for mark in seconds]
    lines = [f"| system | images/s | {' | '.join(marks)} |", "|---|---:|" + "---:|" * len(marks)]
    for system in systems:
        own = [run for run in runs if run["system"] == system]
        done = [run["marks"] for run in own if "marks" in run]
        cells = [f"{statistics.mean(marks[0]['images_per_second'] for marks in done):,.0f}" if done else "-"]
        for index in range(len(seconds)):
            values = [marks[index]["value"] for marks in done]
            cells.append(f"{statistics.mean(values):.2f}" if values else "failed" if own else "-")
            if len(values) > 1:
                cells[-1] += f" ± {statistics.stdev(values):.2f}"
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


def orders_table(runs):
    """Returns a Markdown table of how often the distance of patches orders two sets of samples as the Frechet distance.

    Its rows are pairs of all runs' samples, by how many times larger the larger Frechet distance is.
    """
    scores = [(mark["value"], mark["patch_swd"]) for run in runs for mark in run.get("marks", ())]
    pairs = [sorted(pair) for pair in itertools.combinations(scores, 2)]
    lines = ["| larger / smaller Frechet distance | pairs | in the same order by patches |", "|---|---:|---:|"]
    for low, high in itertools.pairwise(_RATIOS):
        alike = [far[1] > near[1] for near, far in pairs if low <= far[0] / near[0] < high]
        bounds = f"{low:g} to {high:g}" if high < float("inf") else f"{low:g} and more"
        lines.append(f"| {bounds} | {len(alike):,} | {f'{statistics.mean(alike):.0%}' if alike else '-'} |")
    return "\n".join(lines)


def benchmark(args):
    """Runs every system with every seed; returns the process's exit code."""
    settings = {name: getattr(args, name) for name in ("dataset", "seconds", "num_samples")}
    report: dict = {"settings": settings, "machine": machine(), "versions": {}, "runs": []}
    if args.out.exists():
        report = json.loads(args.out.read_text())
        if report["settings"] != settings:
            print(f"{args.out} holds runs with other settings: {report['settings']}", file=sys.stderr)
            return 2

    def key(run):
        return run["system"], run["seed"]

    wanted = [{"system": system, "seed": seed} for seed in args.seeds for system in args.systems]
    wanted = [] if args.report_only else missing(report, wanted, key)
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder, "train.npz")
        if wanted:
            call(_worker(args, "data", data))

        def measure(run):
            run |= {"date": datetime.date.today().isoformat(), "busy_before": busy_fraction()}
            if run["busy_before"] > 0.1:
                print("Other processes are busy, which slows PyTorch most: no fair comparison.", file=sys.stderr)
            run |= _run(args, run["system"], run["seed"], data)
            report["versions"] |= run.pop("versions")

        run_each(report, args.out, wanted, key, measure)
    show(args, report)
    return int(any("error" in run for run in report["runs"]))


def show(args, report):
    """Prints the table, and writes it into the page where the report belongs to that."""
    order = {system: index for index, system in enumerate((*SYSTEMS, *args.systems))}
    systems = sorted({run["system"] for run in report["runs"]}, key=lambda system: order.get(system, len(order)))
    text, orders = markdown_table(systems, report["settings"]["seconds"], report["runs"]), orders_table(report["runs"])
    print(text, orders, sep="\n\n")
    if args.out.resolve().parent != PAGE.with_suffix(""):
        return
    dates, seeds = ({run[name] for run in report["runs"]} for name in ("date", "seed"))
    versions = [f"{name} {report['versions'].get(key)}" for key, name in VERSIONS.items()]
    facts = (
        f"{report['machine']['cores']} cores of {report['machine']['cpu']}, "
        f"{' to '.join(sorted({min(dates), max(dates)}))}, seeds {', '.join(map(str, sorted(seeds)))}; "
        f"{', '.join(versions)}."
    )
    tables = {args.out.stem: f"{facts}\n\n{text}", f"{args.out.stem}_patches": orders}
    for name, table in tables.items():
        marks = f"<!-- {name}: made by benchmarks/equal_time.py -->", f"<!-- end of {name} -->"
        write_between(PAGE, marks, table)


def _run(args, system, seed, data):
    """Trains a system and scores it at each mark; returns the facts for the report."""
    framework, name, arguments = parse_system(system)
    samples = data.with_name("samples.npz")
    for path in data.parent.glob("samples*"):
        path.unlink()
    if framework == "torch":
        command = [args.torch_python, HERE / "pytorch_gans.py", f"--model={name}", f"--data={data}", f"--out={samples}"]
        command += ["--seconds", *args.seconds, f"--num_samples={args.num_samples}", f"--seed={seed}"]
        command += [f"--{key}" if value is True else f"--{key}={value}" for key, value in arguments.items()]
    else:
        command = [*_worker(args, "train", samples), f"--systems={system}", f"--seeds={seed}"]
    result = parse_result(call(command))
    for mark in result["marks"]:
        mark |= _scored(args, samples.with_stem(f"samples_{mark['mark']:g}"), result["versions"])
    return result


def _scored(args, samples, versions):
    """Returns the score of samples with what it was measured by; takes note of the versions that measured."""
    receipt_path = samples.with_suffix(".json")
    command = [sys.executable, "-m", "tfgan_app.evaluate", f"--images={samples}", f"--dataset={args.dataset}"]
    command += ["--split=test", "--metrics=fd,patch_swd", f"--out={receipt_path}", *_data_dir(args)]
    call(command)
    receipt = json.loads(receipt_path.read_text())
    versions |= receipt["versions"]
    extractor = {key: receipt["extractor"][key] for key in ("name", "sha256")}
    used = {"real": receipt["real"]["used"], "fake": receipt["fake"]["used"]}
    scores = {"value": receipt["scores"]["fd"], "patch_swd": receipt["scores"]["patch_swd"]}
    return {**scores, "extractor": extractor, "images": used}


def _worker(args, kind, path):
    command = [sys.executable, __file__, f"--worker={kind}", f"--out={path}", f"--dataset={args.dataset}"]
    return [*command, "--seconds", *args.seconds, f"--num_samples={args.num_samples}", *_data_dir(args)]


def _data_dir(args):
    return [f"--data_dir={args.data_dir}"] if args.data_dir else []


# The workers: in processes of their own, which alone load TensorFlow.


def write_images(args):
    """Writes the training images as the .npz that pytorch_gans.py reads."""
    import numpy as np

    import tfgan_app as tg

    train = tg.data.open_images(args.dataset, split="train", data_dir=args.data_dir)
    parts = [np.asarray(batch[0] if train.num_classes else batch) for batch in train.in_order(1000)]
    np.savez(args.out, images=np.concatenate([np.rint((part + 1) * 127.5).astype(np.uint8) for part in parts]))
    return 0


def train_ours(args):
    """Trains a GAN of this package, writes its samples at each mark and prints the result."""
    import keras
    import numpy as np

    from tfgan_app.base.versions import versions

    framework, name, arguments = parse_system(args.systems[0])
    build = _build_recipe if framework == "recipe" else _build_model
    gan, batches, batch_size, steps = build(args, name, arguments)

    class Marks(keras.callbacks.Callback):
        """Draws samples when their time has come, counted from the end of the first step, which traces the graph."""

        began = 0.0
        first = 0

        def on_train_begin(self, logs=None):
            self.done, self.left = [], list(args.seconds)

        def on_train_batch_end(self, batch, logs=None):
            now = time.perf_counter()
            if not self.began:
                self.began, self.first = now, int(gan.iterations)
            self.seconds = now - self.began
            while self.left and self.seconds >= self.left[0]:
                self.draw()
            self.model.stop_training = not self.left
            self.began += time.perf_counter() - now

        def draw(self):
            """Writes the samples of the next mark."""
            mark, taken = self.left.pop(0), int(gan.iterations) - self.first
            images = np.rint(gan.sample(args.num_samples, seed=args.seeds[0]) * 255).astype(np.uint8)
            np.savez(args.out.with_stem(f"{args.out.stem}_{mark:g}"), images=images)
            rate = round(taken * batch_size * gan.batches_a_step / self.seconds, 1)
            facts = {"mark": mark, "seconds": round(self.seconds, 2), "steps": taken, "images_per_second": rate}
            self.done.append(facts)

    marks = Marks()
    gan.fit(batches, steps_per_epoch=steps or 10**9, callbacks=[marks], verbose=0, shuffle=False)
    while marks.left:
        marks.draw()
    print(json.dumps({"marks": marks.done, "mode": gan.generator.dtype_policy.name, "versions": versions()}))
    return 0


def _build_recipe(args, name, _):
    """Returns a recipe's compiled GAN, its batches, images a step, and how many steps it has if its rates fall to 0."""
    session = open_recipe(name, args.seeds[0], args.data_dir)
    settings, gan = session.settings, session.gan
    batches = session.images.batches(settings.batch_size, seed=settings.seed, mirror=settings.mirror)
    return gan, batches, settings.batch_size, settings.train_steps if settings.decay_learning_rates else None


def _build_model(args, name, arguments):
    """Likewise of a model with arguments."""
    import keras

    import tfgan_app as tg
    from tfgan_app.base.precision import choose_precision

    seed, batch_size = args.seeds[0], arguments.pop("batch_size", 64)
    adam = {"learning_rate": arguments.pop("learning_rate", 2e-4), "beta_1": arguments.pop("beta_1", 0.5)}
    options = {
        key: arguments.pop(key) for key in ("ema_decay", "jit_compile", "steps_per_execution") & arguments.keys()
    }
    options["loss"] = tg.losses.NonSaturating(arguments.pop("real_label", 0.9))
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(choose_precision("auto").policy)
    train = tg.data.open_images(args.dataset, split="train", data_dir=args.data_dir)
    gan = getattr(tg.models, name)(train.image_shape, **arguments)
    gan.compile(keras.optimizers.Adam(**adam), keras.optimizers.Adam(**adam), **options)
    return gan, train.batches(batch_size, seed=seed), batch_size, None


def parse_arguments(argv=None):
    """Returns the command's arguments; ends the process where they are wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), help="what to train; see the file's first lines")
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[60.0, 240.0, 900.0], help="after which times to score each run"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--dataset", default="fashion_mnist", help="28x28 greyscale images with a test split")
    parser.add_argument("--data_dir", help="where TFDS keeps prepared data sets")
    parser.add_argument("--num_samples", type=int, default=10_000, help="samples to score of each run")
    parser.add_argument("--torch_python", default=sys.executable, help="a Python interpreter that has torch")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("equal_time.json"), help="the report to write")
    parser.add_argument("--report_only", action="store_true", help="print and show what the report holds")
    parser.add_argument("--worker", choices=["data", "train"], help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    try:
        frameworks = {parse_system(system)[0] for system in args.systems}
    except ValueError as error:
        parser.error(f"--systems: {error}")
    if args.seconds[0] <= 0 or args.seconds != sorted(set(args.seconds)) or args.num_samples < 2:
        parser.error("--seconds must be positive, each more than the one before, and --num_samples at least 2.")
    if not args.worker and not args.report_only and "torch" in frameworks:
        try:
            call([args.torch_python, "-c", "import torch"])
        except RunError as error:
            parser.error(f"--torch_python={args.torch_python} cannot import torch (pip install torch==2.13.0): {error}")
    return args


if __name__ == "__main__":
    arguments = parse_arguments()
    sys.exit({"data": write_images, "train": train_ours}.get(arguments.worker, benchmark)(arguments))
