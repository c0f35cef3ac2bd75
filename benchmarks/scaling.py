"""What communication costs on many GPUs: arithmetic, and a measurement of it on two processes of this machine.

    python benchmarks/scaling.py                # the table
    python benchmarks/scaling.py --measure      # two processes over loopback against two that train apart

Both go between their marks in docs/scaling.md.

Each GPU trains on its own part of a step's batch; then all add up the gradients of both networks, by a ring: of N GPUs
each sends and receives 2 (N - 1) / N times their size (Patarasuk and Yuan 2009,
https://doi.org/10.1016/j.jpdc.2008.09.002). Nothing overlaps in this estimate, so it is what a step costs at most.
"""

import argparse
import datetime
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from processes import write_between

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "scaling.md"
GPUS = (8, 16, 32, 64, 128, 256)
IN_A_HOST = 8


class Job(NamedTuple):
    """A GAN as large systems train it.

    Attributes:
        recipe: Name of its flag file.
        images: How many a GPU holds.
        n_critic: Updates of D for each of G.
        side: Pixels of an image's side.
        classes: Their number, or None without labels.
    """

    recipe: str
    images: int
    n_critic: int = 1
    side: int = 64
    classes: int | None = None


JOBS = (
    Job("dcgan_lsun", 128),
    Job("biggan_imagenet", 32, n_critic=2, side=128, classes=1000),
    Job("stylegan2_ffhq", 4, side=1024),
)


class Machine(NamedTuple):
    """What the estimate goes by, stated with every table.

    Attributes:
        rate: FLOP/s that a GPU reaches in training.
        link: Bytes/s of a GPU to another in its host.
        network: Bytes/s between hosts, for all GPUs of one.
        latency: Seconds of one message.
    """

    rate: float = 60e12
    link: float = 200e9
    network: float = 50e9
    latency: float = 1e-5


def exchange_seconds(size, gpus, machine):
    """Returns how long so many GPUs take to add up `size` bytes each."""
    if gpus == 1:
        return 0.0
    # The ring passes from host to host through one connection of each.
    bandwidth = machine.link if gpus <= IN_A_HOST else min(machine.link, machine.network)
    return 2 * (gpus - 1) * (size / gpus / bandwidth + machine.latency)


def efficiency(compute, size, gpus, machine):
    """Returns the share of a step that is spent computing."""
    return compute / (compute + exchange_seconds(size, gpus, machine))


def facts(job):
    """Returns the parameters of both networks and the FLOPs of a step on `job.images` images."""
    import keras
    from speed import step_flops

    from tfgan_app import adversarial, cli, runs

    settings = cli.parsed(runs.Settings, [f"--flagfile={job.recipe}.flags", "--mixed_precision=none"])
    # Weights have shapes but no values, so that any size can be counted.
    adversarial.float32_copy = keras.models.clone_model
    with keras.StatelessScope():
        gan = runs.build_model(settings, (job.side, job.side, 3), job.classes)
    sizes = [sum(keras.ops.size(v) for v in net.trainable_variables) for net in (gan.generator, gan.discriminator)]
    return [int(size) for size in sizes], step_flops(gan, job.images, job.n_critic)


def table(found, machine):
    """Returns a Markdown table of efficiencies of `(job, parameters of G and D, FLOPs of a step)`."""
    lines = [
        "| | images a GPU | gradients | step of one GPU | " + " | ".join(f"{gpus} GPUs" for gpus in GPUS) + " |",
        "|---|---:|---:|---:|" + "---:|" * len(GPUS),
    ]
    for job, (g_size, d_size), flops in found:
        size = 4 * (g_size + job.n_critic * d_size)
        compute = flops / machine.rate
        cells = [f"`{job.recipe}.flags`", job.images, f"{size / 1e6:,.0f} MB", f"{1e3 * compute:.0f} ms"]
        cells += [f"{efficiency(compute, size, gpus, machine):.0%}" for gpus in GPUS]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


# The measurement.


def measure(repeats):
    """Returns what a step of two processes costs beyond that of two that train apart, and what the estimate says."""
    with tempfile.TemporaryDirectory() as folder:
        apart, together = [], []
        for index in range(repeats):
            apart.append(_step_seconds(pathlib.Path(folder, f"apart{index}"), together=False))
            together.append(_step_seconds(pathlib.Path(folder, f"together{index}"), together=True))
    size, tensors = 4 * sum(map(sum, _gradients())), sum(map(len, _gradients()))
    bandwidth = _loopback_bandwidth()
    predicted = exchange_seconds(size, 2, Machine(link=bandwidth))
    one, two = statistics.median(apart), statistics.median(together)
    added, apart_ms, together_ms = 1e3 * (two - one), _spread(apart), _spread(together)
    return (
        f"Two processes that train apart, each on a core of its own: {apart_ms} a step; together, on as many images: "
        f"{together_ms}. They exchange {tensors} gradients, {size / 1e6:.1f} MB, over loopback, which carries "
        f"{bandwidth / 1e9:.1f} GB/s from one process to another: {1e3 * predicted:.1f} ms by the formula, "
        f"{added:.1f} ms measured, or {added / tensors:.1f} ms a gradient; efficiency {one / (one + predicted):.0%} "
        f"predicted, {one / two:.0%} measured. {datetime.date.today().isoformat()}, medians (and ranges) of {repeats} "
        "runs."
    )


def _spread(seconds):
    return f"{1e3 * statistics.median(seconds):.0f} ms ({1e3 * min(seconds):.0f}-{1e3 * max(seconds):.0f})"


MODEL = ["--model=DCGAN", "--model_arg=base_channels=64", "--dataset=mnist_5k", "--mixed_precision=none"]


def _step_seconds(folder, together):
    """Returns the seconds of a step in which each of two processes, on a core of its own, sees 32 images."""
    flags = [*MODEL, f"--batch_size={64 if together else 32}", "--steps_per_epoch=50", "--train_steps=150"]
    flags += ["--extractor=none", "--on_collapse=ignore"]
    hosts = [f"localhost:{port}" for port in _free_ports(2)]
    processes = []
    for index in range(2):
        run = folder if together else folder / str(index)
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
        command = ["taskset", "-c", str(index), sys.executable, "-m", "tfgan_app.train", *flags, f"--run_dir={run}"]
        if together:
            task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
            environment["TF_CONFIG"] = json.dumps(task)
            command.append("--strategy=multi_worker")
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit("A training process failed.")
    return statistics.mean(map(_seconds, [folder] if together else [folder / "0", folder / "1"]))


def _seconds(run):
    rows = (run / "metrics.csv").read_text().splitlines()
    seconds = [float(row.split(",")[rows[0].split(",").index("seconds")]) for row in rows[1:]]
    # The first epoch compiles.
    return (seconds[-1] - seconds[0]) / 100


def _gradients():
    """Returns the sizes of the weights of both networks."""
    import keras

    import tfgan_app as tg

    gan = tg.models.DCGAN((28, 28, 1), base_channels=64)
    return [[int(keras.ops.size(v)) for v in net.trainable_variables] for net in (gan.generator, gan.discriminator)]


def _loopback_bandwidth(size=2**27):
    server = socket.create_server(("localhost", 0))
    code = (
        "import socket,sys; s=socket.create_connection(('localhost',int(sys.argv[1]))); b=bytearray(2**20)\n"
        "for _ in range(int(sys.argv[2])//2**20): s.sendall(b)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(server.getsockname()[1]), str(size)])
    connection, _ = server.accept()
    received, buffer, began = 0, bytearray(2**20), time.perf_counter()
    while received < size:
        received += connection.recv_into(buffer)
    seconds = time.perf_counter() - began
    process.wait()
    return received / seconds


def _free_ports(num):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(num)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def main():
    """Prints the table, or the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="train here, alone and in two processes")
    parser.add_argument("--repeats", type=int, default=3)
    for name, value in Machine()._asdict().items():
        parser.add_argument(f"--{name}", type=float, default=value)
    args = parser.parse_args()
    if args.measure:
        name, text = "measured", measure(args.repeats)
    else:
        machine = Machine(args.rate, args.link, args.network, args.latency)
        name, text = "arithmetic", table([(job, *facts(job)) for job in JOBS], machine)
    print(text)
    write_between(PAGE, (f"<!-- {name}: made by benchmarks/scaling.py -->", f"<!-- end of {name} -->"), text)


if __name__ == "__main__":
    main()
