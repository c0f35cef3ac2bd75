"""Training over several devices and machines: `tf.distribute`'s strategies by name, and what each process does."""

import json
import os

import keras
import tensorflow as tf

from tfgan_app.cli import UsageError

__all__ = ["LOST_WORKER", "WorkerLost", "build_strategy", "is_chief", "share_batches"]

# What TensorFlow raises in the others where a worker is gone.
LOST_WORKER = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


class WorkerLost(Exception):  # noqa: N818  # said like a diagnosis, as `Stopped` is
    """Another process that trains along is gone."""


def build_strategy(name):
    """Returns the strategy of `--strategy`; that of several workers must be built before any tensor.

    Args:
        name: `none`: one device. `mirrored`: all GPUs of this machine, or its logical CPU devices where it has no GPU.
            `multi_worker`: all devices of all processes that the environment variable TF_CONFIG lists.

    Raises:
        UsageError: If there is one device only, or TF_CONFIG does not say who works together.
    """
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            raise UsageError("--strategy=mirrored needs two devices or more; this machine has one. Leave the flag out.")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    try:
        config = json.loads(os.environ.get("TF_CONFIG", ""))
        workers, index = sum(map(len, config["cluster"].values())), config["task"]["index"]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            "--strategy=multi_worker needs the environment variable TF_CONFIG in each process, such as "
            '\'{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}\'; see '
            f"docs/scaling.md. Received: {os.environ.get('TF_CONFIG')}"
        ) from error
    print(f"{config['task']['type']} {index} of {workers} processes; waiting for the others.", flush=True)
    return tf.distribute.MultiWorkerMirroredStrategy()


def is_chief(strategy):
    """Returns whether this process is the one that writes: the first worker, or the only process."""
    return worker_index(strategy) == 0


def worker_index(strategy):
    """Returns which of the processes this is."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0
    resolver = strategy.cluster_resolver
    chiefs = len(resolver.cluster_spec().as_dict().get("chief", ()))
    return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)


def num_workers(strategy):
    """Returns how many processes train together."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    return sum(map(len, strategy.cluster_resolver.cluster_spec().as_dict().values()))


def share_batches(gan, batches):
    """Returns what to give to `fit`: together, the processes see the batches that one would see.

    Args:
        gan: An `AdversarialModel`.
        batches: `batches(index, parts)` returns a dataset of part `index` of `parts` equal ones of each batch.
    """
    strategy = gan.distribute_strategy
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        # Of one process, Keras splits each batch among the devices.
        return batches(0, 1)
    replicas, workers = strategy.num_replicas_in_sync, num_workers(strategy)
    shares = gan.by_replica(batches(worker_index(strategy), workers), replicas // workers, split=True)
    # Keras's `fit` takes elements apart, one share for each replica of all workers, and lets no other source through.
    # These are shares of this worker's own replicas, step after step.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    share = keras.tree.flatten(shares.element_spec)[0].shape[0]
    return shares.rebatch(share * replicas).with_options(options)
