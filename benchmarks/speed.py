"""Measures how fast this package and PyTorch train the same GANs, side by side, and how near the machine's limit.

    python benchmarks/speed.py --repeats=7 --torch_python=python --out=docs/performance/epyc.json

Every system has a process of its own, which builds, warms up, and waits. Then they take turns: in each round every one
trains for a number of steps while all others wait, so that a drift of the machine meets them all. Reported are medians
over rounds, and the medians of the ratios within a round.

A row is one pair of networks with one loss, optimizer and batch. Three systems train it: `ours`, as
`--mixed_precision=auto` and the model's own choice of XLA have it; `torch`, as published, in eager float32; and
`torch_best`, what a careful PyTorch user would make of it (pytorch_gans.py, `--best`). All train on images in memory.
Rows of translators train on pairs of random pictures (pytorch_translation.py).

docs/performance.md shows the reports of docs/performance/ between marks of their files' names.

The floating-point operations of a step are counted from the layers; the machine's limit is its largest rate of matrix
multiplication, measured in rounds of the same session.
"""

import argparse
import contextlib
import datetime
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from processes import RunError, busy_fraction, call, machine, parse_result, write_between

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"


class Row(NamedTuple):
    """A pair of networks.

    Attributes:
        model: Its class here.
        arguments: Of the class.
        torch_model: Its name in pytorch_gans.py, or in pytorch_translation.py.
        side: Of the images.
        steps: In a turn.
        steps_per_execution: As in the model's recipe.
        channels: Of the images.
        batch_size: Of each update.
        source_side: Of the pictures that it translates; 0 for a GAN that takes none.
        pretrain: Whether the generator trains alone.
        options: Of `compile`, as PyTorch's GAN has them.
    """

    model: str
    arguments: dict
    torch_model: str
    side: int
    steps: int
    steps_per_execution: int = 1
    channels: int = 1
    batch_size: int = 64
    source_side: int = 0
    pretrain: bool = False
    options: Mapping[str, Any] = MappingProxyType({})


ROWS = {
    "mlp": Row("MLPGAN", {"g_units": (256, 512, 1024), "d_units": (512, 256)}, "mlp", 28, 300, 10),
    "dcgan28": Row("DCGAN", {"base_channels": 64}, "dcgan28", 28, 60),
    "dcgan64": Row("DCGAN", {"base_channels": 64}, "dcgan", 64, 10),
    # Those of the recipes; R3GAN with the terms that it is made of.
    "biggan28": Row(
        "BigGAN",
        {"num_classes": 10, "base_channels": 8, "embedding_dim": 32, "attention_at": 14, "orthogonal": 0.0},
        "biggan28",
        28,
        10,
    ),
    "sngan28": Row("SNGAN", {"g_channels": 32, "d_channels": 32}, "sngan28", 28, 20, options={"n_critic": 1}),
    "stylegan2_28": Row(
        "StyleGAN2",
        {"latent_dim": 64, "style_dim": 64, "mapping_layers": 4, "channel_base": 336, "channel_max": 64},
        "stylegan2_28",
        28,
        20,
        options={"terms": []},
    ),
    "r3gan28": Row(
        "R3GAN",
        {
            "num_classes": 10,
            "widths": (64, 32, 8),
            "cardinalities": (8, 4, 1),
            "blocks_per_stage": 1,
            "augment_p": 0.0,
        },
        "r3gan28",
        28,
        20,
    ),
    # For a GPU.
    "stylegan2_256": Row(
        "StyleGAN2", {"channel_base": 16384}, "stylegan2_256", 256, 10, 1, 3, 32, options={"terms": []}
    ),
    "biggan128": Row("BigGAN", {"num_classes": 1000, "orthogonal": 0.0}, "biggan128", 128, 10, 1, 3, 32),
    # Translators, in the batches of their papers or fewer. PyTorch's SRGAN compares no features either.
    "pix2pix256": Row("Pix2Pix", {}, "pix2pix256", 256, 4, 1, 3, 1, 256),
    "pix2pix256_4": Row("Pix2Pix", {}, "pix2pix256", 256, 1, 1, 3, 4, 256),
    "cycle128": Row("CycleGAN", {}, "cycle128", 128, 2, 1, 3, 1, 128),
    "srgan96": Row("SRGAN", {"perceptual_weight": 0.0}, "srgan96", 96, 4, 1, 3, 4, 24),
    "srgan96_pixels": Row("SRGAN", {"perceptual_weight": 0.0}, "srgan96_pixels", 96, 8, 1, 3, 4, 24, True),
}
SMALL_ROWS = ("mlp", "dcgan28", "dcgan64")
RECENT_ROWS = ("biggan28", "sngan28", "stylegan2_28", "r3gan28")
TRANSLATION_ROWS = ("pix2pix256", "pix2pix256_4", "cycle128", "srgan96", "srgan96_pixels")
TORCH = {"torch": [], "torch_best": ["--best"]}
PEAKS = ("float32", "bfloat16", "float16")


class Worker:
    """A process that waits to be told how many steps to take.

    Args:
        command: Its command line. It prints a JSON object when it is ready, and the seconds of each turn.
    """

    def __init__(self, command):
        # A pipe that nobody reads would fill up.
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, as `close` closes it.
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        assert self.process.stdin and self.process.stdout
        self.input, self.output = self.process.stdin, self.process.stdout

    def ready(self):
        """Waits for the process; returns its facts."""
        return parse_result(self._line())

    def turn(self, steps):
        """Returns the seconds that so many steps take."""
        self.input.write(f"{steps}\n")
        self.input.flush()
        return parse_result(self._line())["seconds"]

    def close(self):
        """Ends the process."""
        with contextlib.suppress(OSError):
            self.input.close()
        self.process.terminate()
        self.process.wait()
        self.errors.close()

    def _line(self):
        # Libraries print notes of their own.
        for line in self.output:
            if line.startswith("{"):
                return line
        code = self.process.wait()
        self.errors.seek(0)
        raise RunError(f"exit code {code}: {self.errors.read().strip()[-1000:]}")


def measure(row, args, data):
    """Returns the report of a row: facts and the seconds a step of each system in each round."""
    steps = ROWS[row].steps
    own = [sys.executable, __file__, f"--worker={row}", f"--data={data}"]
    script = ["pytorch_translation.py"] if ROWS[row].source_side else ["pytorch_gans.py", f"--data={data}", "--serve"]
    torch = [
        args.torch_python,
        HERE / script[0],
        *script[1:],
        f"--model={ROWS[row].torch_model}",
        f"--batch_size={ROWS[row].batch_size}",
    ]
    commands = {"ours": own} | {name: [*torch, *flags] for name, flags in TORCH.items()}
    commands |= {f"torch_{way}": [*torch, f"--way={way}"] for way in args.torch_variants}
    commands |= {f"ours_{variant}": [*own, "--variants", variant] for variant in args.variants}
    workers: dict = {}
    report: dict = {"steps_in_a_turn": steps, "systems": {}, "seconds": {}}
    try:
        for name, command in commands.items():
            workers[name] = Worker(command)
            # One after the other, as PyTorch's best times what suits the machine.
            report["systems"][name] = workers[name].ready()
        report["seconds"] = {name: [] for name in workers}
        for _ in range(args.repeats):
            for name, worker in workers.items():
                report["seconds"][name].append(worker.turn(steps) / steps)
    finally:
        for worker in workers.values():
            worker.close()
    return report


def measure_peaks(repeats):
    """Returns the machine's largest rate of matrix multiplication, in FLOP/s by precision."""
    found = {}
    for precision in PEAKS:
        worker = Worker([sys.executable, __file__, f"--worker=peak_{precision}"])
        try:
            flops = worker.ready()["flops"]
            found[precision] = flops / min(worker.turn(1) for _ in range(max(repeats, 5)))
        finally:
            worker.close()
    return found


def table(report):
    """Returns the Markdown table of a report."""
    lines = [
        "| GAN | system | how | images/s | ours / it | share of the matmul peak |",
        "|---|---|---|---:|---:|---:|",
    ]
    for row, found in report["rows"].items():
        flops = found["systems"]["ours"]["flops"]
        ours = found["seconds"]["ours"]
        for name, seconds in found["seconds"].items():
            mode = found["systems"][name]["mode"]
            peak = report["peaks"][next((name for name in PEAKS[1:] if name in mode), "float32")]
            ratios = [other / own for other, own in zip(seconds, ours, strict=True)]
            median = statistics.median(seconds)
            ratio = "" if name == "ours" else f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            rate = ROWS[row].batch_size / median
            cells = [row, name, mode, f"{rate:.{0 if rate >= 10 else 2}f}", ratio, f"{flops / median / peak:.0%}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def benchmark(args):
    """Runs all rows; returns the process's exit code."""
    report: dict = {
        "machine": machine(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "repeats": args.repeats,
        "busy_before": busy_fraction(),
        "peaks": measure_peaks(args.repeats),
        "rows": {},
    }
    if report["busy_before"] > 0.1:
        print("Other processes are busy: no fair comparison.", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder, "images.npy")
        _write_images(data)
        for row in args.rows:
            report["rows"][row] = measure(row, args, data)
            args.out.write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))
    if args.out.resolve().parent == PAGE.with_suffix(""):
        name = args.out.stem
        marks = f"<!-- {name}: made by benchmarks/speed.py -->", f"<!-- end of {name} -->"
        write_between(PAGE, marks, f"{_facts(report)}\n\n{table(report)}")
    return 0


def _facts(report):
    found = {name: system for row in report["rows"].values() for name, system in row["systems"].items()}
    peaks = ", ".join(f"{peak / 1e9:.0f} GFLOP/s in {name}" for name, peak in report["peaks"].items())
    versions = found["ours"]["versions"] | found["torch"]["versions"]
    machine = f"{report['machine']['cores']} cores of {report['machine']['cpu']}"
    rows = "" if tuple(report["rows"]) == SMALL_ROWS else f"--rows {' '.join(report['rows'])} "
    built = f" built for CUDA {versions['cuda']}" if "gpu" in report["machine"] else ""
    return (
        f"{report['machine'].get('gpu', machine)}, {report['date'][:10]}; TensorFlow "
        f"{versions['tensorflow']}{built}, Keras {versions['keras']}, PyTorch {versions['torch']}; peaks: {peaks}. "
        f"Made by `python benchmarks/speed.py {rows}--repeats={report['repeats']}`."
    )


def _write_images(path):
    import numpy as np

    np.save(path, np.random.default_rng(0).integers(0, 256, (4096, 28, 28, 1), dtype=np.uint8))


# The workers: in processes of their own, which alone load TensorFlow.


def serve(step, facts):
    """Prints facts, then, for each number read from standard input, the seconds that `step(number)` takes."""
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        step(int(line))
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
    return 0


def serve_peak(precision):
    """Serves multiplications of two large matrices."""
    import tensorflow as tf

    size = 8192 if tf.config.list_physical_devices("GPU") else 2048
    a, b = (tf.cast(tf.random.normal((size, size)), precision) for _ in range(2))
    multiply = tf.function(lambda: tf.reduce_sum(tf.cast(tf.matmul(a, b), tf.float32)))
    multiply()
    return serve(lambda turns: [float(multiply()) for _ in range(turns)], {"flops": 2.0 * size**3, "mode": precision})


def serve_ours(row, path, precision, xla):
    """Serves training steps of this package, in a precision and with XLA `true`, `false` or `auto`."""
    import keras
    import numpy as np
    import tensorflow as tf

    import tfgan_app as tg
    from tfgan_app import data
    from tfgan_app.base.precision import choose_precision
    from tfgan_app.base.versions import versions

    settings = ROWS[row]
    policy = choose_precision(precision).policy
    keras.config.set_dtype_policy(policy)
    rng = np.random.default_rng(0)
    shapes = [(side, side, settings.channels) for side in (settings.source_side, settings.side) if side]
    gan = getattr(tg.models, settings.model)(*shapes, seed=0, **settings.arguments)
    gan.compile(
        **(gan.pretrain_arguments() if settings.pretrain else settings.options),
        steps_per_execution=settings.steps_per_execution,
        jit_compile={"true": True, "false": False}.get(xla),
    )
    if settings.source_side:
        held = tuple(rng.integers(256, size=(16, *shape), dtype=np.uint8) for shape in shapes)
    else:
        images = np.repeat(np.round(tf.image.resize(np.load(path), shapes[0][:2])).astype(np.uint8), shapes[0][-1], -1)
        held = images, rng.integers(gan.num_classes or 1, size=len(images), dtype=np.int32)
    batches = data.records.hold(held).records.batches(settings.batch_size, 0, 0)
    if settings.source_side:
        batches = batches.map(lambda x, y: (data.to_float(x), data.to_float(y)))
    else:
        batches = batches.map(lambda x, y: (data.to_float(x), y) if gan.num_classes else data.to_float(x))
    facts = {
        "flops": step_flops(gan, settings.batch_size, gan.n_critic),
        "mode": f"{policy}{', XLA' if gan.jit_compile else ''}",
        "versions": versions() | {"cuda": tf.sysconfig.get_build_info().get("cuda_version")},
    }
    train_in_turns(gan, batches.prefetch(2), facts)
    return 0


def train_in_turns(gan, batches, facts):
    """Trains as `serve` has it, in one call of `fit`, whose beginning costs more than a step."""
    import keras

    class Turns(keras.callbacks.Callback):
        """Reads how many steps to take, and prints how long they took."""

        left, began = 3 * gan.steps_per_execution, None

        def on_train_batch_end(self, batch, logs=None):
            self.left -= gan.steps_per_execution
            if self.left > 0:
                return
            # Reading the step waits for a GPU to have done it.
            assert self.model.step
            seconds = None if self.began is None else time.perf_counter() - self.began
            print(json.dumps(facts if seconds is None else {"seconds": seconds}), flush=True)
            line = sys.stdin.readline()
            self.left = int(line or 0)
            self.model.stop_training = not line
            self.began = time.perf_counter()

    gan.fit(batches, steps_per_epoch=10**9, callbacks=[Turns()], verbose=0)


def step_flops(gan, batch_size, n_critic=1):
    """Returns the operations of a training step that go into matrix products and convolutions; penalties not counted.

    D is passed forward and back on real images and on fakes in each of its updates, and once more for G, which needs no
    gradients of D's weights. G is passed forward for each update of D, and back once. A pass back costs as much as one
    forward for the gradients of the activations, and as much again for those of the weights. Without updates of D, G
    trains alone.
    """
    g_passes, d_passes = (n_critic + 2, 6 * n_critic + 2) if n_critic else (3, 0)
    source, target = (getattr(getattr(gan, side, None), "shape", ()) for side in ("source", "target"))
    g_flops = forward_flops(gan.generator, source[:2])
    return batch_size * float(g_passes * g_flops + d_passes * forward_flops(gan.discriminator, target[:2]))


def forward_flops(network, sides=()):
    """Returns the floating-point operations of a functional network's matrix products and convolutions for one image.

    TensorFlow counts them in the graph. Weights need no values.

    Args:
        network: The network.
        sides: Height and width of an image, where it takes any.
    """
    import tensorflow as tf

    def specs(variables):
        return [tf.TensorSpec(variable.shape, tf.float32) for variable in variables]

    def shape(x):
        batch, *rest = x.shape
        return (batch or 1, *(sides if None in rest else rest[:2]), *rest[2:])

    inputs = [tf.TensorSpec(shape(x), x.dtype) for x in network.inputs]

    def call(trainable, others, *images):
        return network.stateless_call(trainable, others, list(images) if len(images) > 1 else images[0])[0]

    function = tf.function(call, autograph=False)
    graph = function.get_concrete_function(
        specs(network.trainable_variables), specs(network.non_trainable_variables), *inputs
    ).graph
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_accounted_types([".*Conv.*", ".*MatMul.*"]).with_empty_output()
    return tf.compat.v1.profiler.profile(graph, options=options.build()).total_float_ops


def parse_arguments(argv=None):
    """Returns the command's arguments; ends the process where they are wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=SMALL_ROWS, help="what to train")
    parser.add_argument("--repeats", type=int, default=7, help="rounds")
    parser.add_argument(
        "--variants", nargs="+", default=[], help="more of ours, PRECISION:XLA, such as none:true and bfloat16:false"
    )
    parser.add_argument(
        "--torch_variants", nargs="+", default=[], help="more of PyTorch's, such as float16:eager and bfloat16:compiled"
    )
    parser.add_argument("--torch_python", default=sys.executable, help="a Python interpreter that has torch")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("speed.json"), help="the report to write")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.repeats < 1:
        parser.error("--repeats must be at least 1.")
    if not args.worker:
        try:
            call([args.torch_python, "-c", "import torch"])
        except RunError as error:
            parser.error(f"--torch_python={args.torch_python} cannot import torch (pip install torch==2.13.0): {error}")
    return args


def main():
    """Carries out the command, or is one of its workers."""
    args = parse_arguments()
    if not args.worker:
        return benchmark(args)
    if args.worker.startswith("peak_"):
        return serve_peak(args.worker.removeprefix("peak_"))
    return serve_ours(args.worker, args.data, *(args.variants or ["auto:auto"])[0].split(":"))


if __name__ == "__main__":
    sys.exit(main())
