"""What force, bad luck and bad input do to the commands: nothing is lost, and nothing goes wrong in silence."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import TINY, outputs, read_csv, run, start, wait_for, weights
from conftest import ROOT, random_images
from PIL import Image

from tfgan_app.runs import Run

# Augmentation with a p of its own, and float16 with loss scales: all that a checkpoint can hold.
FULL = (
    *TINY,
    "--extractor=none",
    "--on_collapse=ignore",
    "--mixed_precision=float16",
    "--augment=AdaptiveAugment",
    "--deterministic",
)
SHORT = (*TINY, "--extractor=none", "--on_collapse=ignore", "--steps_per_epoch=2")
WITHOUT_IMAGES = tuple(flag for flag in SHORT if not flag.startswith(("--dataset", "--split", "--eval_split")))


def checkpoints(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def assert_same_run(folder, other, step):
    """The last weights, with all that goes with them, and the whole log are equal to the bit."""
    expected, received = weights(other, step), weights(folder, step)
    assert expected.keys() == received.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(received[name], value, err_msg=name)
    logs = [[{**row, "seconds": None} for row in read_csv(path / "metrics.csv")] for path in (folder, other)]
    assert logs[0] == logs[1]


def test_promises_name_tests_that_there_are():
    text = (ROOT / "docs" / "promises.md").read_text()
    named = re.findall(r"`(test_\w+\.py)`|`(\w+)`", text)
    defined = {path.name: path.read_text() for path in (ROOT / "tests").glob("test_*.py")}
    assert len(named) > 25
    for file, test in named:
        assert file in defined if file else any(f"def test_{test}" in code for code in defined.values()), file or test


# Signals.


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_comes_to_the_same_end(kills, tmp_path):
    base = [*FULL, "--steps_per_epoch=20"]
    moments = random.Random(0)
    for _ in range(kills):
        endless = ["--train_steps=1000000", f"--run_dir={tmp_path / 'killed'}"]
        with start("train", *base, *endless, PYTHONUNBUFFERED="1") as process:
            if moments.random() < 0.9:  # else while it starts
                wait_for(process.stdout, "images/s")
            time.sleep(moments.uniform(0.0, 1.0))
            process.kill()
            process.communicate()
        assert process.returncode == -signal.SIGKILL
    newest = max(name for name in checkpoints(tmp_path / "killed") if not name.endswith(".partial"))
    steps = int(newest.removeprefix("step_")) + 40
    assert steps >= 20 * kills
    for name in ("killed", "whole"):
        run("train", *base, f"--train_steps={steps}", f"--run_dir={tmp_path / name}", fresh=True)
    assert_same_run(tmp_path / "killed", tmp_path / "whole", steps)


def test_stopped_in_the_midst_of_epochs_it_comes_to_the_same_end(tmp_path):
    base = [*FULL, "--train_steps=90", "--steps_per_epoch=30"]
    stop = """
import os, signal
from tfgan_app import callbacks
whole = callbacks.StopOnNonFinite.on_train_batch_end
def stopping(self, batch, logs=None):
    whole(self, batch, logs)
    if self.model.step in (7, 19, 71):
        os.kill(os.getpid(), signal.SIGTERM)
callbacks.StopOnNonFinite.on_train_batch_end = stopping
"""
    for step in (7, 19, 71):
        out, _ = outputs(start("train", *base, f"--run_dir={tmp_path / 'stopped'}", fault=stop), 128 + signal.SIGTERM)
        assert f"Stopped by SIGTERM at step {step}" in out
    run("train", *base, f"--run_dir={tmp_path / 'stopped'}")
    run("train", *base, f"--run_dir={tmp_path / 'whole'}")
    assert_same_run(tmp_path / "stopped", tmp_path / "whole", 90)


def test_killed_between_writing_a_checkpoint_and_naming_it(tmp_path):
    base = [*SHORT, "--train_steps=6", f"--run_dir={tmp_path}"]
    kill = """
import os, pathlib, signal
rename = pathlib.Path.rename
def killed(self, target):
    if self.name == "step_00000004.partial":
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
pathlib.Path.rename = killed
"""
    outputs(start("train", *base, fault=kill), -signal.SIGKILL)
    assert checkpoints(tmp_path) == ["step_00000002", "step_00000004.partial"]
    assert "Going on from step 2" in run("train", *base)
    assert checkpoints(tmp_path) == ["step_00000002", "step_00000004", "step_00000006"]


def test_a_second_interrupt_acts_at_once_and_damages_nothing(interrupted):
    folder, flags = interrupted
    hang = """
import time
from tfgan_app.checkpoints import Checkpoints
def hanging(self, folder, facts):
    folder.mkdir(parents=True)
    print("saving", flush=True)
    time.sleep(600)
Checkpoints._write = hanging
"""
    process = start("train", *flags, fault=hang, PYTHONUNBUFFERED="1")
    wait_for(process.stdout, "saving")
    process.send_signal(signal.SIGINT)
    wait_for(process.stderr, "SIGINT: finishing the step, then saving.")
    process.send_signal(signal.SIGINT)
    _, error = outputs(process, 130)
    assert error == "train: interrupted\n"
    assert checkpoints(folder) == ["step_00000002", "step_00000004", "step_00000006.partial"]
    assert "Going on from step 4" in run("train", *flags)


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGUSR1])
def test_notices_of_the_end_are_taken_as_such_and_do_not_hasten_it(signum, interrupted):
    folder, flags = interrupted
    # The terminal is gone, so nothing can be written to it; the system sends the notice again while it saves.
    notice = f"""
import os, sys
from tfgan_app import callbacks, checkpoints
whole, write = callbacks.StopOnNonFinite.on_train_batch_end, checkpoints.Checkpoints._write
def stopping(self, batch, logs=None):
    whole(self, batch, logs)
    if self.model.step == 5:
        for number in (1, 2):
            os.dup2(os.open("/dev/full", os.O_WRONLY), number)
        os.kill(os.getpid(), {int(signum)})
def writing(self, *arguments):
    os.kill(os.getpid(), {int(signum)})
    write(self, *arguments)
callbacks.StopOnNonFinite.on_train_batch_end = stopping
checkpoints.Checkpoints._write = writing
"""
    outputs(start("train", *flags, fault=notice), 128 + signum)
    assert checkpoints(folder) == ["step_00000002", "step_00000004", "step_00000005"]
    assert "Going on from step 5" in run("train", *flags)


@pytest.mark.parametrize("command", ["generate", "evaluate"])
def test_other_commands_end_in_a_line_and_leave_nothing_half(command, four_steps, tmp_path):
    end = """
import os, signal
from tfgan_app import sampler, study
def ended(self, *arguments, **named):
    os.kill(os.getpid(), signal.SIGTERM)
    raise RuntimeError("what an interruption in the midst of a library may become")
sampler.Sampler.outputs = ended
from tfgan_app.metrics import frechet
frechet.FrechetDistance.update_state = ended
"""
    arguments = {
        "generate": [f"--out={tmp_path / 'out' / 'grid.png'}"],
        "evaluate": [f"--out={tmp_path / 'out' / 'score.json'}", "--metrics=fd", "--extractor=mnist_cnn"],
    }
    _, error = outputs(start(command, f"--run={four_steps}", *arguments[command], fault=end), 128 + signal.SIGTERM)
    assert error == f"{command}: ended by SIGTERM\n"
    assert not list(tmp_path.glob("out/*"))


def test_a_reader_that_has_seen_enough_ends_nothing(tmp_path):
    flags = [*SHORT, "--train_steps=4", f"--run_dir={tmp_path / 'run'}"]
    process = start("train", *flags, PYTHONUNBUFFERED="1")
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""
    assert checkpoints(tmp_path / "run")[-1] == "step_00000004"


def test_closed_streams_and_names_in_no_encoding(tmp_path):
    for index, image in enumerate(random_images(8)):
        # The name of a class is bytes that are no UTF-8, as archives from elsewhere have them.
        path = tmp_path / "images" / ("Gr\udcf6\udcdfe", "猫")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.uint8(127 * image[..., 0] + 127)).save(path)
    own = [flag for flag in SHORT if not flag.startswith(("--dataset", "--split", "--eval_split", "--model"))]
    flags = [*own, "--dataset=images", "--run_dir=猫", "--train_steps=2", "--image_size=28"]
    flags += ["--model=CGAN", "--model_arg=base_channels=2", "--batch_size=4"]
    out = run("train", *flags, cwd=tmp_path, fresh=True, LC_ALL="C", PYTHONIOENCODING="ascii", TF_CPP_MIN_LOG_LEVEL="2")
    assert "8 images of images" in out and r"\u732b" in out
    command = [sys.executable, "-m", "tfgan_app.train", *flags, "--train_steps=4"]
    shell = ["sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh", *command]
    assert subprocess.run(shell, cwd=tmp_path, timeout=120).returncode == 0
    assert checkpoints(tmp_path / "猫")[-1] == "step_00000004"


# Damaged, full and forbidden folders.


@pytest.fixture(scope="module")
def four_steps(tmp_path_factory):
    """A run with checkpoints at steps 2 and 4."""
    folder = tmp_path_factory.mktemp("four_steps") / "run"
    run("train", *SHORT, "--train_steps=4", f"--run_dir={folder}")
    return folder


@pytest.fixture
def interrupted(four_steps, tmp_path):
    """A copy of that run, and the flags that go on with it."""
    shutil.copytree(four_steps, tmp_path / "run")
    return tmp_path / "run", [*SHORT, "--train_steps=6", f"--run_dir={tmp_path / 'run'}"]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def garble(path):
    path.write_bytes(random.Random(0).randbytes(1000))


# Other kinds of damage: test_checkpoints.py.
@pytest.mark.parametrize("damage", [truncate, garble])
def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(damage, interrupted):
    folder, flags = interrupted
    damage(next(folder.glob("checkpoints/step_00000004/state.data*")))
    out, error = outputs(start("train", *flags))
    assert "step_00000004 is passed over: state.data" in error
    assert "Going on from step 2" in out
    assert checkpoints(folder) == ["step_00000002", "step_00000004", "step_00000006"]


def test_a_run_whose_checkpoints_are_all_damaged_does_not_start_again(interrupted):
    folder, flags = interrupted
    for path in folder.glob("checkpoints/*/manifest.json"):
        garble(path)
    before = (folder / "run.json").read_text()
    assert "None of the 2 checkpoint(s)" in run("train", *flags, code=1).splitlines()[-1]
    assert checkpoints(folder) == ["step_00000002", "step_00000004"]
    assert (folder / "run.json").read_text() == before


def test_a_run_whose_record_is_damaged_is_not_taken_for_a_new_one(interrupted):
    folder, flags = interrupted
    (folder / "run.json").write_text('{"settings": 1}')
    error = run("train", *flags, code=1)
    assert "run.json cannot be read as a run's record: its 'settings' is int. Take another --run_dir." in error
    assert checkpoints(folder) == ["step_00000002", "step_00000004"]


@pytest.fixture
def disk(tmp_path):
    """A folder on a disk of 16 megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


# Fills the disk when step 4 is to be saved; `free` makes room when step `free` is.
FULL_DISK = """
import pathlib
from tfgan_app import callbacks
save = callbacks.SaveCheckpoint.on_epoch_end
filler = pathlib.Path({folder!r}, "filler")
def saving(self, epoch, logs=None):
    if self.model.step == 4:
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(2**12))
            except OSError:
                pass
    if self.model.step == {free}:
        filler.unlink()
    save(self, epoch, logs)
callbacks.SaveCheckpoint.on_epoch_end = saving
"""


def test_a_full_disk_is_waited_for(disk):
    flags = [*SHORT, "--train_steps=12", f"--run_dir={disk / 'run'}"]
    _, error = outputs(start("train", *flags, fault=FULL_DISK.format(folder=str(disk), free=8)))
    for step in (4, 6):
        assert f"step_0000000{step} cannot be written: " in error
    assert "Trying again after the next epoch." in error and "step_00000008 cannot" not in error
    assert f"{disk / 'run' / 'samples' / 'step_00000006.png'} cannot be written: [Errno 28]" in error
    assert checkpoints(disk / "run") == ["step_00000008", "step_00000010", "step_00000012"]
    # What was not written in time is made up for where that is possible.
    assert [row["step"] for row in read_csv(disk / "run" / "metrics.csv")] == ["2", "4", "6", "8", "10", "12"]
    assert not (disk / "run" / "samples" / "step_00000006.png").exists()


def test_a_disk_that_stays_full_ends_the_run_with_its_checkpoint_kept(disk):
    flags = [*SHORT, "--train_steps=12", f"--run_dir={disk / 'run'}"]
    _, error = outputs(start("train", *flags, fault=FULL_DISK.format(folder=str(disk), free=0)), 1)
    assert "train: Checkpoint " in error.splitlines()[-1] and "step_00000008 cannot be written" in error
    assert checkpoints(disk / "run") == ["step_00000002"]
    (disk / "filler").unlink()
    assert "Going on from step 2" in run("train", *flags)


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    error = run("train", *SHORT, "--train_steps=2", f"--run_dir={tmp_path / 'file' / 'run'}", code=2)
    assert f"--run_dir={tmp_path / 'file' / 'run'} cannot be written: " in error and len(error.splitlines()) == 1


def test_a_folder_in_use_by_a_living_run_is_refused(interrupted):
    folder, flags = interrupted
    living = Run(folder)
    living.lock()
    living.lock()
    error = run("train", *flags, code=2)
    assert f"--run_dir={folder} is in use by process " in error and len(error.splitlines()) == 1
    assert checkpoints(folder) == ["step_00000002", "step_00000004"]
    living.unlock()
    run("train", *flags)


def test_home_without_a_display_or_the_right_to_write(tmp_path):
    nowhere = {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere", "DISPLAY": "", "MPLCONFIGDIR": ""}
    run("train", *SHORT, "--train_steps=2", f"--run_dir={tmp_path / 'run'}", fresh=True, **nowhere)
    scored = [f"--run={tmp_path / 'run'}", "--metrics=fd", f"--report={tmp_path / 'report'}"]
    run("evaluate", *scored, fresh=True, **nowhere)


# Going on with something else.


def test_going_on_with_something_else_is_refused_with_every_difference(interrupted):
    _, flags = interrupted
    other = ["--model_arg=d_units=(9,)", "--split=train[:48]", "--seed=1", "--augment=DiffAugment"]
    error = run("train", *flags, *other, code=2)
    for difference in (
        "--model_arg: the run has ['g_units=(8,)', 'd_units=(8,)'], asked for [",
        "--split: the run has train[:64], asked for train[:48]",
        "--seed: the run has 0, asked for 1",
        "--augment: the run has None, asked for DiffAugment",
        "  images: the run has ",
    ):
        assert difference in error


def test_going_on_with_other_rates_and_lengths_is_recorded(interrupted):
    folder, flags = interrupted
    run("train", *flags, "--d_learning_rate=0.001", "--steps_per_epoch=1")
    record = json.loads((folder / "run.json").read_text())
    assert record["settings"]["d_learning_rate"] == 0.001
    assert [session["from_step"] for session in record["sessions"]] == [0, 4]
    assert "--d_learning_rate=0.001 --steps_per_epoch=1" in record["sessions"][1]["command"]
    assert "--d_learning_rate=0.001\n" in (folder / "run.flags").read_text()


# Memory and data that give out while it trains.


def test_out_of_memory_says_what_to_try(interrupted):
    _, flags = interrupted
    greedy = """
import tensorflow as tf
from tfgan_app.adversarial import AdversarialModel
AdversarialModel.train_step = lambda self, data: {"d_loss": tf.reduce_sum(tf.random.uniform([2**45], dtype=tf.float64))}
"""
    _, error = outputs(start("train", *flags, fault=greedy), 1)
    (line,) = error.splitlines()[-1:]
    assert line.startswith("train: Out of memory with --batch_size=8: OOM when allocating tensor")
    assert "Try --batch_size=4 in another --run_dir." in line and line.endswith("step_00000004 is as it was.")


def test_networks_that_no_memory_holds(tmp_path):
    flags = [*SHORT, "--model_arg=g_units=(100_000_000_000,)", f"--run_dir={tmp_path / 'run'}"]
    assert "train: out of memory or disk space: OOM when" in run("train", *flags, code=1).splitlines()[-1]


def test_images_that_vanish_end_the_run_in_words(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for index, image in enumerate(random_images(16)):
        Image.fromarray(np.uint8(127 * image[..., 0] + 127)).save(images / f"{index}.png")
    # Slow enough that some are still at it when the command ends.
    vanish = f"""
import shutil, time
from tfgan_app.data import files, records
records.MEMORY_LIMIT = 0
read = files.read_image
def slowly(file, *form):
    time.sleep(0.0 if file.exists() else 0.005)
    return read(file, *form)
files.read_image = slowly
from tfgan_app.checkpoints import Checkpoints
save = Checkpoints.save
def vanishing(self, *arguments, **options):
    shutil.rmtree({str(images)!r}, ignore_errors=True)
    return save(self, *arguments, **options)
Checkpoints.save = vanishing
"""
    flags = [*WITHOUT_IMAGES, f"--dataset={images}", "--train_steps=400", f"--run_dir={tmp_path / 'run'}"]
    _, error = outputs(start("train", *flags, fault=vanish), 1)
    assert error.splitlines()[-1].startswith(f"train: No image of '{images}' can be read any more.")
    assert checkpoints(tmp_path / "run")


# Images.


def test_odd_images_are_read_or_counted_and_named(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
    picture = Image.fromarray(pixels)
    for index in range(600):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{index:03d}.png")
    # Read.
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("RGBA").save(folder / "rgba.png")
    picture.convert("LA").save(folder / "la.png")
    Image.fromarray(np.uint16(pixels[..., 0]) * 257).save(folder / "sixteen_bits.png")
    picture.save(folder / "film.gif", save_all=True, append_images=[picture.rotate(90)])
    picture.resize((1, 1)).save(folder / "one.png")
    picture.resize((3000, 2)).save(folder / "wide.png")
    picture.save(folder / "füchse 狐 🦊.png")
    (folder / "link.png").symlink_to(folder / "000.png")
    # Left out.
    picture.resize((256, 256)).save(folder / "truncated.jpg")
    truncated = (folder / "truncated.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(truncated[: len(truncated) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "page.png").write_text("<html>404</html>")
    (folder / "dangling.png").symlink_to(folder / "nowhere")
    Image.new("1", (20_000, 20_000)).save(folder / "huge.png")
    flags = [
        *WITHOUT_IMAGES,
        f"--dataset={folder}",
        "--image_size=16",
        "--train_steps=2",
        f"--run_dir={tmp_path / 'run'}",
    ]
    _, error = outputs(start("train", *flags))
    assert f"5 of the 614 images of '{folder}' cannot be read: " in error and "Going on without them." in error
    data = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert (data["num_images"], data["skipped"]) == (609, 5)


@pytest.mark.slow
def test_a_hundred_thousand_files(tmp_path):
    from tfgan_app.data import open_images

    Image.new("L", (8, 8), 77).save(tmp_path / "0.png")
    encoded = (tmp_path / "0.png").read_bytes()
    for index in range(100_000):
        (tmp_path / f"{index}.png").write_bytes(encoded)
    images = open_images(str(tmp_path))
    assert images.num_images == 100_000
    assert next(iter(images.batches(64, seed=0))).shape == (64, 8, 8, 1)


# Programs in the guise of data.


def extractor_files(folder):
    """Writes models that carry code: a Lambda, a class from elsewhere and a SavedModel."""
    import keras
    import tensorflow as tf

    class Foreign(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    inputs = keras.Input((28, 28, 1))
    for name, layer in (("lambda", keras.layers.Lambda(lambda x: 2 * x)), ("foreign", Foreign())):
        keras.Model(inputs, keras.layers.Flatten()(layer(inputs))).save(folder / f"{name}.keras")
    (folder / "garbage.keras").write_bytes(b"PK\x03\x04 and no more")
    module = tf.Module()
    signature = tf.function(lambda x: {"features": tf.reduce_mean(x, axis=(1, 2))})
    spec = tf.TensorSpec((None, 28, 28, 1), tf.float32)
    tf.saved_model.save(module, str(folder / "saved"), {"serving_default": signature.get_concrete_function(spec)})


def test_code_in_an_extractor_is_refused(four_steps, tmp_path):
    extractor_files(tmp_path)
    scored = ["--metrics=fd", f"--run={four_steps}", f"--out={tmp_path / 'receipt.json'}"]
    for name in ("lambda", "foreign", "garbage"):
        error = run("evaluate", *scored, f"--extractor={tmp_path / name}.keras", code=2)
        assert f"{name}.keras cannot be loaded in Keras's safe mode" in error
        assert len(error.splitlines()) == 1
    error = run("evaluate", *scored, f"--extractor={tmp_path / 'saved'}", code=2)
    assert "is a SavedModel, a program that runs with your rights" in error and "--trust_extractor" in error
    _, error = outputs(start("evaluate", *scored, f"--extractor={tmp_path / 'saved'}", "--trust_extractor"))
    assert "is a program and runs with your rights" in error
    assert "fd" in json.loads((tmp_path / "receipt.json").read_text())["scores"]


def test_a_saved_model_is_loaded_with_a_warning_and_only_if_it_is_a_gan(four_steps, tmp_path):
    saved, out = four_steps / "saved_model" / "1", tmp_path / "images.npz"
    _, error = outputs(start("generate", f"--saved_model={saved}", f"--out={out}"))
    assert f"--saved_model={saved} is a program and runs with your rights" in error
    foreign = tmp_path / "foreign"
    shutil.copytree(saved, foreign)
    (foreign / "assets.extra" / "gan.json").write_text('{"latent_dim": "4"}')
    error = run("generate", f"--saved_model={foreign}", f"--out={out}", code=2)
    assert "gan.json does not describe a GAN: it has no 'num_classes'." in error


# Flags.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sets no flag"),
        ("# nothing\n\n", "sets no flag"),
        ("--flagfile={path}\n--seed=1\n", "includes itself"),
        ("\x00\udcff", "cannot be read as text"),
        ("--seed=1\n--bogus=2\n", "Unknown command line flag 'bogus'"),
        ("--batch_size=none\n", "flag --batch_size=none"),
        ("seed=1\n", "unexpected arguments: seed=1"),
    ],
)
def test_flagfiles_that_are_none(text, message, tmp_path):
    path = tmp_path / "odd.flags"
    path.write_bytes(text.format(path=path).encode(errors="surrogateescape"))
    error = run("train", f"--flagfile={path}", f"--run_dir={tmp_path / 'run'}", code=2)
    assert message in error and len(error.splitlines()) == 1


# Scores.


def test_scores_of_too_few_images(tmp_path):
    flags = [flag for flag in SHORT if not flag.startswith(("--extractor", "--eval_split"))]
    flags += ["--train_steps=2", f"--run_dir={tmp_path / 'run'}"]
    out = run("train", *flags, "--eval_split=test[:1]")
    assert "No score: mnist_5k test[:1] has one image; scores compare 2 at least." in out
    shutil.rmtree(tmp_path / "run")
    out = run("train", *flags, "--eval_split=test[:20]")
    assert out.count("Caution: 20 images do not determine the covariance of 128 features.") == 2
    shutil.rmtree(tmp_path / "run")
    assert "Caution" not in run("train", *flags, "--eval_split=test[:200]")
