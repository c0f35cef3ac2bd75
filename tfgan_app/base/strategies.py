"""Training over several devices and machines: `tf.distribute`'s strategies by name, and what each process does."""

import json
import os
from collections.abc import Callable

import tensorflow as tf

from tfgan_app.base.errors import UsageError

__all__ = ["LOST_WORKER", "build_strategy", "is_chief", "num_workers", "worker_index"]

# What TensorFlow raises in the remaining processes when a worker is gone.
LOST_WORKER = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


def build_strategy(name: str, say: Callable[[str], object] = lambda text: None) -> tf.distribute.Strategy:
    """Returns a strategy by its name; that of several workers must be built before any tensor.

    Args:
        name: `none`: one device. `mirrored`: all GPUs of this machine, or its logical CPU devices where it has no GPU.
            `multi_worker`: all devices of all processes that the environment variable TF_CONFIG lists.
        say: Called with a line before the wait for other processes.

    Raises:
        UsageError: If there is one device only, or TF_CONFIG does not say who works together.
    """
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            raise UsageError("`strategy=mirrored` needs two devices or more; this machine has one. Leave it out.")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    try:
        config = json.loads(os.environ.get("TF_CONFIG", ""))
        workers, index = sum(map(len, config["cluster"].values())), config["task"]["index"]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            "`strategy=multi_worker` needs the environment variable TF_CONFIG in each process, such as "
            '\'{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}\'; see '
            f"docs/scaling.md. Received: {os.environ.get('TF_CONFIG')}"
        ) from error
    say(f"{config['task']['type']} {index} of {workers} processes; waiting for the others.")
    return tf.distribute.MultiWorkerMirroredStrategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process is the one that writes: the first worker, or the only process."""
    return worker_index(strategy) == 0


def worker_index(strategy: tf.distribute.Strategy) -> int:
    """Returns which of the processes this is."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0
    resolver = strategy.cluster_resolver
    chiefs = len(resolver.cluster_spec().as_dict().get("chief", ()))
    return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Returns how many processes train together."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    return sum(map(len, strategy.cluster_resolver.cluster_spec().as_dict().values()))
