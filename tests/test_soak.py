"""Half an hour of training with all that goes on around it: memory and open files stay what they were."""

import os
import signal
import statistics
import threading
import time

import pytest
from commands import start

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))


def memory(pid):
    """Returns the resident memory of a process in megabytes."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


@pytest.mark.nightly
def test_half_an_hour_of_training(tmp_path):
    process = start(
        "train",
        *("--model=CGAN", "--model_arg=base_channels=4", "--dataset=mnist_5k", "--eval_images=500"),
        *("--steps_per_epoch=50", "--train_steps=100000000", f"--run_dir={tmp_path / 'run'}"),
    )
    readers = [threading.Thread(target=stream.read) for stream in (process.stdout, process.stderr)]
    for reader in readers:
        reader.start()
    readings = []
    end = time.monotonic() + 60 * MINUTES
    while time.monotonic() < end:
        assert process.poll() is None, f"ended with {process.returncode}"
        readings.append((memory(process.pid), len(os.listdir(f"/proc/{process.pid}/fd"))))
        time.sleep(5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 128 + signal.SIGTERM
    for reader in readers:
        reader.join()
    third = len(readings) // 3
    (before, files_before), (after, files_after) = (
        map(statistics.median, zip(*part, strict=True)) for part in (readings[third : 2 * third], readings[2 * third :])
    )
    epochs = len(list((tmp_path / "run" / "samples").glob("step_*.png")))
    print(f"{epochs} epochs; {before:.0f} MB, then {after:.0f}; {files_before} open files, then {files_after}")
    assert epochs > 20 * MINUTES
    assert after < 1.01 * before
    assert files_after <= files_before
