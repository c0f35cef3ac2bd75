"""What communication costs on many GPUs: arithmetic, and a measurement of it on two processes of this machine.

    python benchmarks/scaling.py                # the table of docs/scaling.md
    python benchmarks/scaling.py --measure      # two processes over loopback against one

Each GPU trains on its own part of a step's batch; then all add up the gradients of both networks, by a ring: of N GPUs
each sends and receives 2 (N - 1) / N times their size (Patarasuk and Yuan 2009,
https://doi.org/10.1016/j.jpdc.2008.09.002). Nothing overlaps in this estimate, so it is what a step costs at most.
"""

import argparse
import copy
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

HERE = pathlib.Path(__file__).resolve().parent
GPUS = (8, 16, 32, 64, 128, 256)
IN_A_HOST = 8


class Job(NamedTuple):
    """A GAN as large systems train it: recipe, images a GPU holds, and updates of D for each of G."""

    recipe: str
    images: int
    n_critic: int = 1


JOBS = (Job("dcgan_lsun", 128), Job("biggan_imagenet", 32, 2), Job("stylegan2_ffhq", 4))


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

    from tfgan_app import adversarial, runs
    from tfgan_app import train as train_command

    settings = _recipe_settings(train_command, job.recipe)
    shape = {"dcgan_lsun": (64, 64, 3), "biggan_imagenet": (128, 128, 3), "stylegan2_ffhq": (1024, 1024, 3)}[job.recipe]
    # Weights have shapes but no values, so that any size can be counted.
    adversarial.float32_copy = keras.models.clone_model
    with keras.StatelessScope():
        gan = runs.build_model(settings, shape, 1000 if "imagenet" in job.recipe else None)
    sizes = [sum(keras.ops.size(v) for v in net.trainable_variables) for net in (gan.generator, gan.discriminator)]
    return [int(size) for size in sizes], step_flops(gan, job.images)


def _recipe_settings(train_command, recipe):
    from absl import flags

    values = copy.deepcopy(flags.FLAGS)
    values.unparse_flags()
    values(["scaling", f"--flagfile={HERE.parent / 'tfgan_app' / 'flags' / recipe}.flags"])
    return {name: values[name].value for name in train_command.SETTINGS} | {"precision": "none"}


def table(jobs, machine):
    """Returns a Markdown table of efficiencies; `jobs` are `(name, parameters, flops, n_critic)`."""
    lines = [
        "| | gradients | step of one GPU | " + " | ".join(f"{gpus} GPUs" for gpus in GPUS) + " |",
        "|---|---:|---:|" + "---:|" * len(GPUS),
    ]
    for name, (g_size, d_size), flops, n_critic in jobs:
        size = 4 * (g_size + n_critic * d_size)
        compute = flops / machine.rate
        shares = " | ".join(f"{efficiency(compute, size, gpus, machine):.0%}" for gpus in GPUS)
        lines.append(f"| {name} | {size / 1e6:,.0f} MB | {1e3 * compute:.0f} ms | {shares} |")
    return "\n".join(lines)


# The measurement.


def measure(repeats):
    """Prints what a step of two processes costs beyond that of one on half the batch, and what the estimate says."""
    with tempfile.TemporaryDirectory() as folder:
        alone, shared = [], []
        for index in range(repeats):
            alone.append(_step_seconds(pathlib.Path(folder, f"alone{index}"), 1))
            shared.append(_step_seconds(pathlib.Path(folder, f"shared{index}"), 2))
    size = 4 * sum(_parameters())
    bandwidth = _loopback_bandwidth()
    predicted = exchange_seconds(size, 2, Machine(link=bandwidth))
    one, two = statistics.median(alone), statistics.median(shared)
    print(
        json.dumps(
            {
                "gradients_mb": size / 1e6,
                "loopback_gb_per_second": bandwidth / 1e9,
                "seconds_alone": alone,
                "seconds_shared": shared,
                "exchange_measured": two - one,
                "exchange_predicted": predicted,
                "efficiency_measured": one / two,
                "efficiency_predicted": one / (one + predicted),
            },
            indent=1,
        )
    )


MODEL = ["--model=DCGAN", "--model_arg=base_channels=64", "--dataset=mnist_5k", "--mixed_precision=none"]


def _step_seconds(folder, workers):
    """Returns the seconds of a step in which each of some processes, on a core of its own, sees 32 images."""
    flags = [*MODEL, f"--batch_size={32 * workers}", "--steps_per_epoch=50", "--train_steps=150", "--extractor=none"]
    flags += ["--on_collapse=ignore", f"--run_dir={folder}"]
    ports = _free_ports(workers)
    hosts = [f"localhost:{port}" for port in ports]
    processes = []
    for index in range(workers):
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
        if workers > 1:
            task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
            environment["TF_CONFIG"] = json.dumps(task)
        command = ["taskset", "-c", str(index), sys.executable, "-m", "tfgan_app.train", *flags]
        command += ["--strategy=multi_worker"] if workers > 1 else []
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit("A training process failed.")
    rows = (folder / "metrics.csv").read_text().splitlines()
    seconds = [float(row.split(",")[rows[0].split(",").index("seconds")]) for row in rows[1:]]
    # The first epoch compiles.
    return (seconds[-1] - seconds[0]) / 100


def _parameters():
    import tfgan_app as tg

    gan = tg.models.DCGAN((28, 28, 1), base_channels=64)
    return gan.generator.count_params(), gan.discriminator.count_params()


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
        measure(args.repeats)
        return
    machine = Machine(args.rate, args.link, args.network, args.latency)
    print(table([(job.recipe, *facts(job), job.n_critic) for job in JOBS], machine))


if __name__ == "__main__":
    main()
