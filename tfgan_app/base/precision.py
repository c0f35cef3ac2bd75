"""Which precision a machine trains fastest in."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import keras
import tensorflow as tf

__all__ = ["Precision", "choose_precision", "dtype_policy"]

POLICIES = {"none": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


class Precision(NamedTuple):
    """A precision by its name and its Keras policy, and why it was chosen."""

    name: str
    policy: str
    reason: str


def choose_precision(name: str) -> Precision:
    """Chooses a precision by its name.

    Args:
        name: `none`, `bfloat16`, `float16` or `auto`.

    Returns:
        A `Precision`. `auto` takes a 16-bit one only where the hardware multiplies in it: bfloat16 on GPUs of compute
        capability 8.0 and on CPUs with AVX-512 BF16 or AMX, float16 on GPUs of 7.x.
    """
    if name != "auto":
        return Precision(name, POLICIES[name], "as asked for")
    chosen, reason = _automatic()
    return Precision(chosen, POLICIES[chosen], reason)


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Gives the networks that are built meanwhile a Keras dtype policy, and leaves the present one as it was."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def _automatic():
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        if capability >= (8, 0):
            return "bfloat16", f"the GPU has compute capability {capability[0]}.{capability[1]}"
        if capability >= (7, 0):
            return "float16", f"the GPU has compute capability {capability[0]}.{capability[1]}: no bfloat16"
        return "none", "the GPU has no 16-bit tensor cores"
    if {"avx512_bf16", "amx_bf16"} & _cpu_features():
        return "bfloat16", "the processor multiplies in bfloat16"
    return "none", "the processor has no bfloat16 instructions"


def _cpu_features():
    """Returns the processor's feature flags, as Linux names them; empty where they cannot be read."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}
