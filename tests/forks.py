"""A process that has imported TensorFlow and forks a command for each request, which saves the most of its start.

That is sound as long as no other thread runs when it forks, and so before TensorFlow has begun anything. Our own
modules are imported by the fork.
"""

import array
import gc
import json
import os
import runpy
import signal
import socket
import sys


def serve(server):
    """Returns each request, with the streams to write to, in a process of its own.

    Its parent reports its id, waits, and reports how it ended.
    """
    while True:
        message, files, _, _ = socket.recv_fds(server, 2**20, 3)
        if not message:
            os._exit(0)
        if not os.fork():
            break
        close(files)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    server.close()
    *streams, status = files
    pid = os.fork()
    if pid:
        close(streams)
        os.write(status, array.array("i", [pid]))
        os.write(status, array.array("i", [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]))
        os._exit(0)
    os.close(status)
    return json.loads(message), streams


def close(files):
    for file in files:
        os.close(file)


def main():
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # as the commands set it, and read but once
    import tensorflow as tf
    import tensorflow_datasets  # noqa: F401

    if len(os.listdir("/proc/self/task")) > 1:
        sys.exit("another thread runs")
    gc.freeze()  # lest forks copy what they only look at
    # No one waits for the processes that report.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(fileno=int(sys.argv[1]))
    server.send(b"ready")
    request, streams = serve(server)

    # A shell has processes in the background ignore interrupts, and those they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    # TensorFlow talks of devices past every logging level. `cli` turns that aside only as it imports TensorFlow.
    tf.config.list_physical_devices()
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream, number)
    close(streams)
    os.chdir(request["folder"])
    if os.environ.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(line_buffering=True)
    sys.path[0] = os.getcwd()
    if request["code"] is None:
        sys.argv = [request["module"], *request["arguments"]]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *request["arguments"]]
        exec(compile(request["code"], "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
