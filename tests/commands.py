"""Runs the commands as a user does, each in a process of its own."""

import csv
import os
import subprocess
import sys

TINY = (
    "--model=MLPGAN",
    "--model_arg=g_units=(8,)",
    "--model_arg=d_units=(8,)",
    "--latent_dim=4",
    "--batch_size=8",
    "--jit_compile=false",
    "--dataset=mnist_5k",
    "--split=train[:64]",
    "--eval_split=test[:64]",
    "--score_every=1",
)


def start(command, *arguments, cwd=None, fault=None, **environment):
    """Starts a command, in an environment with changes; `fault` is Python code that comes first and breaks things."""
    module = f"tfgan_app.{command}"
    # As the command does before it imports TensorFlow.
    quiet = "os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'"
    broken = f"import os, sys; sys.argv[0] = {command!r}; {quiet}\n{fault}\nfrom {module} import run; run()"
    return subprocess.Popen(
        [sys.executable, *(["-m", module] if fault is None else ["-c", broken]), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
    )


def run(command, *arguments, code=0, **options):
    """Runs a command to its end; returns what it printed to standard output, or to standard error if it failed."""
    out, error = outputs(start(command, *arguments, **options), code)
    return error if code else out


def outputs(process, code=0):
    """Returns what a command printed to standard output and to standard error until it ended with `code`."""
    out, error = process.communicate(timeout=300)
    assert process.returncode == code, out + error
    assert "Traceback" not in error
    return out, error


def wait_for(stream, text):
    """Reads a process's output up to a line that holds `text`; returns what was read."""
    read = ""
    for line in stream:
        read += line
        if text in line:
            return read
    raise AssertionError(f"ended without {text!r}:\n{read}")


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def weights(folder, step):
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(folder / "checkpoints" / f"step_{step:08d}" / "state"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name}
