"""tfgan_app.base.precision: what `auto` takes on which machine."""

import pathlib

import keras
import pytest
import tensorflow as tf

from tfgan_app.base import precision
from tfgan_app.base.precision import choose_precision


def machine(monkeypatch, capability=None, flags=""):
    gpus = [] if capability is None else ["GPU:0"]
    details = {"compute_capability": capability} if capability else {}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: gpus)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    text = f"processor : 0\nmodel name : x\nflags\t\t: fpu sse {flags}\nbugs : amx_bf16\n"
    monkeypatch.setattr(pathlib.Path, "read_text", lambda self, **_: text)
    monkeypatch.setattr(pathlib.Path, "exists", lambda self: True)


@pytest.mark.parametrize(
    ("capability", "flags", "name", "reason"),
    [
        ((9, 0), "", "bfloat16", "9.0"),
        ((8, 0), "", "bfloat16", "8.0"),
        ((7, 5), "amx_bf16", "float16", "7.5"),
        ((6, 1), "amx_bf16", "none", "no 16-bit tensor cores"),
        ((), "", "none", "no 16-bit tensor cores"),
        (None, "avx512_bf16", "bfloat16", "multiplies in bfloat16"),
        (None, "amx_bf16", "bfloat16", "multiplies in bfloat16"),
        (None, "avx512f", "none", "no bfloat16 instructions"),
    ],
)
def test_auto(monkeypatch, capability, flags, name, reason):
    machine(monkeypatch, capability, flags)
    chosen = choose_precision("auto")
    assert (chosen.name, chosen.policy) == (name, precision.POLICIES[name])
    assert reason in chosen.reason


def test_auto_where_the_processor_tells_nothing(monkeypatch):
    machine(monkeypatch)
    monkeypatch.setattr(pathlib.Path, "exists", lambda self: False)
    assert choose_precision("auto").name == "none"


@pytest.mark.parametrize("name", precision.POLICIES)
def test_a_named_precision_is_taken_as_it_is(monkeypatch, name):
    machine(monkeypatch, (6, 1))
    chosen = choose_precision(name)
    assert chosen == (name, precision.POLICIES[name], "as asked for")
    keras.config.set_dtype_policy(chosen.policy)
