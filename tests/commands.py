"""Runs the commands as a user does, each in a process of its own."""

import array
import csv
import functools
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading

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


def start(command, *arguments, cwd=None, fault=None, fresh=False, **environment):
    """Starts a command, in an environment with changes; `fault` is Python code that comes first and breaks things.

    Where it can be, the process is a fork of one that has imported TensorFlow, and does the same seconds earlier. A
    `fresh` one is for what concerns its start, or must not depend on the seeds that Python takes at its start.
    """
    module = f"tfgan_app.{command}"
    # As the command does before it imports TensorFlow.
    quiet = "os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'"
    broken = f"import os, sys; sys.argv[0] = {command!r}; {quiet}\n{fault}\nfrom {module} import run; run()"
    code = None if fault is None else broken
    arguments = [str(argument) for argument in arguments]
    environment = {**os.environ, **environment}
    if not fresh and fork_server() is not None:
        return Fork(module, code, arguments, environment, os.fspath(cwd or os.getcwd()))
    return subprocess.Popen(
        [sys.executable, *(["-m", module] if code is None else ["-c", code]), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment,
    )


@functools.cache
def fork_server():
    """Returns the connection to `forks.py`, which ends with this process; None where it cannot fork safely."""
    if sys.platform != "linux":
        return None
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    script = pathlib.Path(__file__).with_name("forks.py")
    with its:
        subprocess.Popen(
            [sys.executable, script, str(its.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
            # NumPy's threads are of no use to networks so small, and would run before the fork.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    return ours if ours.recv(8) else None


class Fork:
    """A command in a fork; has what is used of a `subprocess.Popen` that is read as text."""

    def __init__(self, module, code, arguments, environment, folder):
        facts = {"module": module, "code": code, "arguments": arguments}
        request = json.dumps({**facts, "environment": environment, "folder": folder})
        pipes = [os.pipe() for _ in range(3)]
        socket.send_fds(fork_server(), [request.encode()], [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        self.stdout, self.stderr = (os.fdopen(read, encoding="utf-8") for read, _ in pipes[:2])
        self._status = os.fdopen(pipes[2][0], "rb", buffering=0)
        self.returncode = None
        self.args = [module, *arguments]
        self.pid = self._report()

    def _report(self):
        report = self._status.read(4)
        assert report, "the fork server has ended"
        return array.array("i", report)[0]

    def poll(self):
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.returncode = self._report()
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = self._report()
        return self.returncode

    def communicate(self, timeout=None):
        texts = {}
        readers = [
            threading.Thread(target=lambda stream=stream: texts.setdefault(stream, stream.read()), daemon=True)
            for stream in (self.stdout, self.stderr)
        ]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        for file in (self.stdout, self.stderr, self._status):
            file.close()
        return texts[self.stdout], texts[self.stderr]

    def send_signal(self, signum):
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wait()
        for file in (self.stdout, self.stderr, self._status):
            file.close()


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
