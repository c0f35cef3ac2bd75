"""Trains GANs of this package and of PyTorch for equal times on one machine and scores them alike.

    python benchmarks/equal_time.py --seconds=600 --seeds 0 1 2 --data_dir=DIR --out=equal_time.json \
        --systems tfgan:DCGAN "tfgan:MLPGAN g_units=(128,) d_units=(128,)" torch:dcgan28 "torch:dcgan28 best=True"

A system is `tfgan:CLASS` (of `tfgan_app.models`) or `torch:ROW` (of pytorch_gans.py), with NAME=VALUE arguments: of
the class, of `compile`, or `batch_size`, `learning_rate`, `beta_1` and `real_label`; of pytorch_gans.py likewise.

Each run is a process of its own that has the machine to itself. Systems take turns, seed by seed, so that a drift of
the machine meets them all. Only training time counts: the clock starts when the first step ends (PyTorch's compiled
rows: the third), after start-up, loading, tracing and compilation. Every set of samples is scored by
`tfgan_app.evaluate` with the same real images and features. The package must be installed.
"""

import argparse
import ast
import datetime
import json
import pathlib
import statistics
import sys
import tempfile
import time

from processes import RunError, busy_fraction, call, machine, parse_result

HERE = pathlib.Path(__file__).resolve().parent
TORCH_ROWS = ("mlp_small", "mlp", "mlp_batchnorm", "dcgan", "dcgan28")
SYSTEMS = (
    "tfgan:DCGAN",
    "tfgan:MLPGAN",
    "tfgan:MLPGAN g_units=(128,) d_units=(128,) learning_rate=1e-3 beta_1=0.9",
    "tfgan:MLPGAN g_units=(128,256,512,1024) batch_norm=True",
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
    if framework not in ("tfgan", "torch") or not name or (framework == "torch" and name not in TORCH_ROWS):
        raise ValueError(f"A system is tfgan:CLASS or torch:ROW, ROW one of {', '.join(TORCH_ROWS)}. Received: {text}")
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


def markdown_table(systems, runs):
    """Returns the runs as a Markdown table, a row a system, in the order of `systems`."""
    lines = [
        "| system | steps | images/s | Frechet distance | each seed |",
        "|---|---:|---:|---:|---|",
    ]
    for system in systems:
        own = [run for run in runs if run["system"] == system]
        done = [run for run in own if "value" in run]
        each = ", ".join(f"{run['value']:.2f}" if "value" in run else "failed" for run in own)
        columns = ("steps", ".0f"), ("images_per_second", ".0f"), ("value", ".2f")
        means = [format(statistics.mean(run[key] for run in done), form) if done else "-" for key, form in columns]
        if len(done) > 1:
            means[-1] += f" ± {statistics.stdev(run['value'] for run in done):.2f}"
        lines.append(f"| {system} | {' | '.join(means)} | {each or '-'} |")
    return "\n".join(lines)


def benchmark(args):
    """Runs every system with every seed; returns the process's exit code."""
    report: dict = {
        "settings": {name: getattr(args, name) for name in ("dataset", "seconds", "seeds", "systems", "num_samples")},
        "machine": machine(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": {},
        "runs": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder, "train.npz")
        call(_worker(args, "data", data))
        for seed in args.seeds:
            for system in args.systems:
                run = {"system": system, "seed": seed, "busy_before": busy_fraction()}
                if run["busy_before"] > 0.1:
                    print("Other processes are busy, which slows PyTorch most: no fair comparison.", file=sys.stderr)
                try:
                    run |= _run(args, system, seed, data)
                    report["versions"] |= run.pop("versions")
                except RunError as error:
                    run["error"] = str(error)
                report["runs"].append(run)
                # After each run, so that an interruption leaves what is done.
                args.out.write_text(json.dumps(report, indent=2) + "\n")
                print(json.dumps(run), file=sys.stderr, flush=True)
    print(markdown_table(args.systems, report["runs"]))
    return int(any("error" in run for run in report["runs"]))


def _run(args, system, seed, data):
    """Trains and scores one system; returns the facts for the report."""
    framework, name, arguments = parse_system(system)
    samples = data.with_name("samples.npz")
    samples.unlink(missing_ok=True)
    if framework == "tfgan":
        command = [*_worker(args, "train", samples), f"--systems={system}", f"--seeds={seed}"]
    else:
        command = [args.torch_python, HERE / "pytorch_gans.py", f"--model={name}", f"--data={data}", f"--out={samples}"]
        command += [f"--seconds={args.seconds}", f"--num_samples={args.num_samples}", f"--seed={seed}"]
        command += [f"--{key}" if value is True else f"--{key}={value}" for key, value in arguments.items()]
    result = parse_result(call(command))
    receipt_path = samples.with_suffix(".json")
    command = [sys.executable, "-m", "tfgan_app.evaluate", f"--images={samples}", f"--dataset={args.dataset}"]
    command += ["--split=test", f"--out={receipt_path}", *_data_dir(args)]
    call(command)
    receipt = json.loads(receipt_path.read_text())
    used = {"real": receipt["real"]["used"], "fake": receipt["fake"]["used"]}
    result["versions"] |= receipt["versions"]
    extractor = {key: receipt["extractor"][key] for key in ("name", "sha256")}
    return result | {"value": receipt["scores"]["fd"], "extractor": extractor, "images": used}


def _worker(args, kind, path):
    command = [sys.executable, __file__, f"--worker={kind}", f"--out={path}", f"--dataset={args.dataset}"]
    return [*command, f"--seconds={args.seconds}", f"--num_samples={args.num_samples}", *_data_dir(args)]


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
    """Trains a GAN of this package for `args.seconds`, writes its samples and prints the result."""
    import keras
    import numpy as np

    import tfgan_app as tg
    from tfgan_app.base.precision import choose_precision
    from tfgan_app.base.versions import versions

    _, name, arguments = parse_system(args.systems[0])
    seed = args.seeds[0]
    batch_size = arguments.pop("batch_size", 64)
    adam = {"learning_rate": arguments.pop("learning_rate", 2e-4), "beta_1": arguments.pop("beta_1", 0.5)}
    options = {
        key: arguments.pop(key) for key in ("ema_decay", "jit_compile", "steps_per_execution") & arguments.keys()
    }
    options["loss"] = tg.losses.NonSaturating(arguments.pop("real_label", 0.9))

    keras.utils.set_random_seed(seed)
    model = getattr(tg.models, name)
    precision = choose_precision("auto")
    keras.config.set_dtype_policy(precision.policy)
    train = tg.data.open_images(args.dataset, split="train", data_dir=args.data_dir)
    gan = model(train.image_shape, **arguments)
    gan.compile(keras.optimizers.Adam(**adam), keras.optimizers.Adam(**adam), **options)

    class StopAfter(keras.callbacks.Callback):
        """Stops `fit` some seconds after its first step, which traces the graph."""

        began = seconds = 0.0
        first = 0

        def on_train_batch_end(self, batch, logs=None):
            if not self.began:
                self.began, self.first = time.perf_counter(), int(gan.iterations)
            self.seconds = time.perf_counter() - self.began
            self.model.stop_training = self.seconds >= args.seconds

    clock = StopAfter()
    gan.fit(train.batches(batch_size, seed=seed), steps_per_epoch=10**9, callbacks=[clock], verbose=0)
    steps = int(gan.iterations) - clock.first
    np.savez(args.out, images=np.rint(gan.sample(args.num_samples, seed=seed) * 255).astype(np.uint8))
    result = {"steps": steps, "seconds": round(clock.seconds, 2)}
    rate = round(steps * batch_size / clock.seconds, 1)
    print(json.dumps(result | {"images_per_second": rate, "mode": precision.policy, "versions": versions()}))
    return 0


def parse_arguments(argv=None):
    """Returns the command's arguments; ends the process where they are wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), help="what to train; see the file's first lines")
    parser.add_argument("--seconds", type=float, default=600, help="training time of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--dataset", default="fashion_mnist", help="28x28 greyscale images with a test split")
    parser.add_argument("--data_dir", help="where TFDS keeps prepared data sets")
    parser.add_argument("--num_samples", type=int, default=10_000, help="samples to score of each run")
    parser.add_argument("--torch_python", default=sys.executable, help="a Python interpreter that has torch")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("equal_time.json"), help="the report to write")
    parser.add_argument("--worker", choices=["data", "train"], help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    try:
        frameworks = {parse_system(system)[0] for system in args.systems}
    except ValueError as error:
        parser.error(f"--systems: {error}")
    if args.seconds <= 0 or args.num_samples < 2:
        parser.error("--seconds must be positive and --num_samples at least 2.")
    if not args.worker and "torch" in frameworks:
        try:
            call([args.torch_python, "-c", "import torch"])
        except RunError as error:
            parser.error(f"--torch_python={args.torch_python} cannot import torch (pip install torch==2.13.0): {error}")
    return args


if __name__ == "__main__":
    arguments = parse_arguments()
    sys.exit({"data": write_images, "train": train_ours}.get(arguments.worker, benchmark)(arguments))
