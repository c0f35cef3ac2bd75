"""What the benchmarks share: processes of their own for each run, and facts about the machine."""

import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time


class RunError(Exception):
    """A process that ended with an error, or without a result."""


def call(command):
    """Returns the standard output of a process, or raises `RunError` with the end of its standard error."""
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    except OSError as error:
        raise RunError(str(error)) from error
    if done.returncode:
        raise RunError(f"exit code {done.returncode}: {done.stderr.strip()[-1000:]}")
    return done.stdout


def parse_result(output):
    """Returns the JSON object on the last line of a run's output, or raises `RunError`."""
    last = (output.strip().splitlines() or [""])[-1]
    try:
        result = json.loads(last)
    except json.JSONDecodeError:
        result = None
    if not isinstance(result, dict):
        raise RunError(f"the run printed no result. Its last line: {last or '(nothing)'}")
    return result


def missing(report, wanted, key):
    """Returns those of the wanted runs that a report lacks, or has only as an error; `key` tells a run from others."""
    done = {key(run) for run in report["runs"] if "error" not in run}
    return [run for run in wanted if key(run) not in done]


def run_each(report, path, runs, key, measure):
    """Adds runs to a report, each in the place of an earlier one of its key.

    The report is written after each run, so that an interruption leaves what is done.

    Args:
        report: The report, whose `runs` are a list of facts.
        path: Where it is written.
        runs: What is known of each run before.
        key: Tells a run from others.
        measure: Adds what comes of a run to it; a `RunError` becomes the run's `error`.
    """
    for run in runs:
        try:
            measure(run)
        except RunError as error:
            run["error"] = str(error)
        report["runs"] = [other for other in report["runs"] if key(other) != key(run)] + [run]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")
        print(json.dumps(run), file=sys.stderr, flush=True)


def open_recipe(recipe, seed, data_dir):
    """Returns the opened session of a recipe, unscored, in this process, which loads TensorFlow by it."""
    from tfgan_app import cli
    from tfgan_app.runs import Session, Settings

    given = [f"--flagfile={cli.RECIPES / recipe}.flags", f"--seed={seed}", "--extractor=none"]
    given += [f"--data_dir={data_dir}"] if data_dir else []
    # In a folder without checkpoints to go on from.
    with tempfile.TemporaryDirectory() as folder:
        session = Session(cli.parsed(Settings, [*given, f"--run_dir={folder}/run"]))
        session.open()
    return session


def busy_fraction(seconds=1.0):
    """Returns the part of the processor's time that other processes take now; 0 where the system does not tell."""
    path = pathlib.Path("/proc/stat")
    if not path.exists():
        return 0.0

    def read():
        times = [int(field) for field in path.read_text().splitlines()[0].split()[1:9]]
        return sum(times), times[3] + times[4]  # all; idle and waiting

    total, idle = read()
    time.sleep(seconds)
    total_after, idle_after = read()
    return round(1 - (idle_after - idle) / max(total_after - total, 1), 3)


def machine():
    """Returns facts about the machine; `gpu`, its name and driver, where there is one."""
    facts = {"cpu": cpu_model(), "cores": os.cpu_count(), "system": platform.platform()}
    try:
        gpu = call(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    except RunError:
        return facts
    name, driver = gpu.splitlines()[0].split(", ")
    return facts | {"gpu": f"{name}, driver {driver}"}


def cpu_model():
    """Returns the processor's name, as the system gives it."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write_between(path, marks, text):
    """Puts text between two marks of a file, in place of what is there; a file without them stays as it is."""
    before = path.read_text()
    if all(mark in before for mark in marks):
        start, rest = before.split(marks[0])
        path.write_text(f"{start}{marks[0]}\n{text}\n{marks[1]}{rest.split(marks[1])[1]}")
