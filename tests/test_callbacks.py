"""tfgan_app.callbacks: through a real `fit`."""

import concurrent.futures
import csv
import errno
import io
import itertools
import os
import re
import signal
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import assert_all_close, random_images, tiny_gan, train
from PIL import Image

import tfgan_app as tg
from tfgan_app import callbacks, pictures
from tfgan_app.base import waiting
from tfgan_app.base.errors import CheckpointError
from tfgan_app.base.signals import NOTICES
from tfgan_app.checkpoints import Checkpoints

IMAGES = random_images(12)  # three steps an epoch


def build(**kwargs):
    return tiny_gan(run_eagerly=True, **kwargs)


class At(keras.callbacks.Callback):
    """Calls a function before a batch of the first epoch."""

    def __init__(self, batch, function):
        super().__init__()
        self.batch, self.function = batch, function

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.batch:
            self.function()


class Log(keras.callbacks.Callback):
    """Notes which epochs have ended."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, set(logs)))


def test_sample_grid_writes_pictures_and_their_film(tmp_path):
    gan = build()
    train(gan, IMAGES, epochs=2, callbacks=[callbacks.SampleGrid(tmp_path / "samples", rows=2, columns=3, seed=4)])
    assert sorted(p.name for p in tmp_path.glob("samples/*")) == [
        "samples.gif",
        "step_00000003.png",
        "step_00000006.png",
    ]
    with Image.open(tmp_path / "samples" / "step_00000006.png") as png:
        assert png.size == (3 * 10 + 2, 2 * 10 + 2)
        np.testing.assert_array_equal(np.asarray(png), pictures.grid(gan.sample(6, seed=4), 3)[..., 0])
    with Image.open(tmp_path / "samples" / "samples.gif") as gif:
        assert gif.n_frames == 2
        assert gif.size == (32, 22)


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf")])
def test_non_finite_terms_stop_the_run(value, shown):
    gan = build()

    def poison():
        bias = gan.discriminator.weights[-1]
        bias.assign(np.full(bias.shape, value))

    log = Log()
    with pytest.raises(
        FloatingPointError, match=rf"(d|g)_\w+ became -?(nan|{shown}) at step 2\. Lower the learning rat"
    ):
        train(gan, IMAGES, callbacks=[At(1, poison), callbacks.StopOnNonFinite(), log])
    assert log.epochs == []


class Flat(tg.losses.NonSaturating):
    """A finite loss whose gradients are NaN at whatever scale."""

    def generator(self, fake_logits, real_logits=None):
        zero = 0.0 * tf.reduce_sum(fake_logits)
        return super().generator(fake_logits) + tf.sqrt(zero)


def test_collapsing_loss_scales_warn_and_then_stop_the_run(caplog):
    keras.config.set_dtype_policy("mixed_float16")
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3), initial_scale=2.0)
    gan = build(loss=Flat(), g_optimizer=scaled)
    before = [variable.numpy() for variable in gan.generator.trainable_variables]
    with (
        caplog.at_level("WARNING", logger="absl"),
        pytest.raises(
            FloatingPointError, match=r"The loss scale of g_optimizer fell to 0\.00098 at step 11: its gradi"
        ),
    ):
        train(gan, IMAGES, epochs=9, callbacks=[callbacks.StopOnNonFinite()])
    assert caplog.text.count("The loss scale of g_optimizer fell to 0.5 at step 2: its gradients overflow.") == 1
    assert caplog.text.count("The loss scale of") == 1
    # Steps that overflow are skipped.
    assert_all_close(gan.generator.trainable_variables, before)


def test_finite_terms_do_not_stop_the_run():
    gan = tiny_gan()
    train(gan, IMAGES, callbacks=[callbacks.StopOnNonFinite()])
    assert int(gan.iterations) == 3


def test_save_checkpoint_saves_each_epoch(tmp_path):
    gan = build()
    train(gan, IMAGES, epochs=2, callbacks=[callbacks.SaveCheckpoint(Checkpoints(gan, tmp_path))])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000003", "step_00000006"]


def full_disk(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_checkpoints_that_cannot_be_written_are_tried_again(tmp_path, monkeypatch, caplog):
    gan = build()
    saving = callbacks.SaveCheckpoint(Checkpoints(gan, tmp_path), attempts=2)
    train(gan, IMAGES, callbacks=[saving])
    with monkeypatch.context() as patch, caplog.at_level("WARNING", logger="absl"):
        patch.setattr(os, "fsync", full_disk)
        train(gan, IMAGES, callbacks=[saving])
    assert "step_00000006 cannot be written: [Errno 28] No space left on device. Trying again" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000003"]
    train(gan, IMAGES, callbacks=[saving])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000003", "step_00000009"]
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(CheckpointError, match="step_00000015 cannot be written"):
        train(gan, IMAGES, epochs=3, callbacks=[saving])
    assert int(gan.iterations) == 15
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000003", "step_00000009"]


def test_pictures_and_logs_that_cannot_be_written_do_not_stop_the_run(tmp_path, monkeypatch, caplog):
    gan = build()
    (tmp_path / "samples").write_text("not a folder")
    (tmp_path / "metrics.csv").mkdir()
    parts = [callbacks.SampleGrid(tmp_path / "samples"), callbacks.MetricsCSV(tmp_path / "metrics.csv" / "x" / "y")]
    (tmp_path / "metrics.csv" / "x").write_text("not a folder")
    with caplog.at_level("WARNING", logger="absl"):
        train(gan, IMAGES, callbacks=parts)
    assert int(gan.iterations) == 3
    assert f"{tmp_path / 'samples' / 'step_00000003.png'} cannot be written: " in caplog.text
    assert f"{tmp_path / 'metrics.csv' / 'x' / 'y'} cannot be written: " in caplog.text


def test_tensorboard_on_a_full_disk_does_not_stop_the_run(tmp_path, monkeypatch, caplog):
    # TensorBoard itself need not be installed.
    for name in ("set_model", "on_test_begin", "on_test_batch_end", "on_train_begin", "on_epoch_begin"):
        monkeypatch.setattr(keras.callbacks.TensorBoard, name, lambda self, *arguments, **options: None, raising=False)
    for name in ("on_train_batch_begin", "on_train_batch_end", "on_test_batch_begin"):
        monkeypatch.setattr(keras.callbacks.TensorBoard, name, keras.callbacks.Callback.on_train_batch_begin)

    def full(self, *arguments):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    for name in ("on_test_end", "on_epoch_end", "on_train_end"):
        monkeypatch.setattr(keras.callbacks.TensorBoard, name, full)
    gan = build()
    with caplog.at_level("WARNING", logger="absl"):
        train(gan, IMAGES, validation_data=(IMAGES,), callbacks=[callbacks.TensorBoard(str(tmp_path / "logs"))])
    assert int(gan.iterations) == 3
    assert caplog.text.count("logs cannot be written: No space left on device. Training goes on.") == 3


def test_an_epoch_goes_on_with_its_averages(tmp_path):
    whole, first, second = build(), build(), build(init=9)
    expected = train(whole, IMAGES).history
    train(first, IMAGES[:4])
    Checkpoints(first, tmp_path).save()
    Checkpoints(second, tmp_path).restore()
    received = train(second, IMAGES[4:], epochs=2, callbacks=[callbacks.ContinueEpoch(second)]).history
    assert {name: found[0] for name, found in received.items()} == {name: found[0] for name, found in expected.items()}
    # The epoch after that begins anew.
    assert int(second.loss_state[1]) == 2


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_csv_continues_where_the_model_is(tmp_path):
    path = tmp_path / "metrics.csv"
    gan = build()
    history = train(gan, IMAGES, epochs=3, callbacks=[callbacks.MetricsCSV(path)]).history
    rows = read(path)
    assert list(rows[0])[:3] == ["step", "epoch", "seconds"]
    assert set(rows[0]) == {"step", "epoch", "seconds", "d_loss", "g_loss", "d_real", "d_fake"}
    assert [(row["step"], row["epoch"]) for row in rows] == [("3", "1"), ("6", "2"), ("9", "3")]
    assert all(re.fullmatch(r"\d+\.\d", row["seconds"]) for row in rows)
    for name, logged in history.items():
        np.testing.assert_allclose([float(row[name]) for row in rows], logged, rtol=1e-5)

    # The run was killed, and goes on from step 6.
    gan.iterations.assign(6)
    train(gan, IMAGES[:4], initial_epoch=2, epochs=3, callbacks=[callbacks.MetricsCSV(path)])
    again = read(path)
    assert again[:2] == rows[:2]
    assert [(row["step"], row["epoch"]) for row in again[2:]] == [("7", "3")]


def test_metrics_csv_takes_columns_that_come_later(tmp_path):
    path = tmp_path / "metrics.csv"
    gan = build()
    train(gan, IMAGES[:4], callbacks=[callbacks.MetricsCSV(path)])
    train(gan, IMAGES[:4], validation_data=(IMAGES[:4],), callbacks=[callbacks.MetricsCSV(path)])
    first, second = read(path)
    assert first["val_d_loss"] == ""
    assert float(second["val_d_loss"]) > 0


def test_metrics_csv_adds_a_row_an_epoch_and_rewrites_none(tmp_path, monkeypatch):
    path, written = tmp_path / "metrics.csv", []
    whole = callbacks.written_whole
    monkeypatch.setattr(callbacks, "written_whole", lambda path: written.append(path) or whole(path))
    train(build(), IMAGES, epochs=4, callbacks=[callbacks.MetricsCSV(path)])
    assert [row["step"] for row in read(path)] == ["3", "6", "9", "12"] and written == [path]


def test_metrics_csv_gets_what_a_full_disk_kept_back(tmp_path):
    path, gan = tmp_path / "metrics.csv", build()
    csv_ = callbacks.MetricsCSV(path)
    csv_.set_model(gan)
    csv_.on_train_begin()
    for step in (1, 2, 3, 4, 5):
        gan.iterations.assign(step)
        if step == 3:  # a row of which half was written
            path.rename(tmp_path / "kept")
            path.mkdir()
        if step == 4:
            path.rmdir()
            (tmp_path / "kept").rename(path)
            path.write_text(path.read_text() + "3,3,0")
        csv_.on_epoch_end(step - 1, {"d_loss": step / 2})
    assert [(row["step"], row["d_loss"]) for row in read(path)] == [
        (str(step), f"{step / 2:g}") for step in range(1, 6)
    ]


def test_metrics_csv_passes_over_a_row_that_was_cut_short(tmp_path):
    path, gan = tmp_path / "metrics.csv", build()
    train(gan, IMAGES[:4], callbacks=[callbacks.MetricsCSV(path)])
    path.write_text(path.read_text() + "1")
    train(gan, IMAGES[:4], callbacks=[callbacks.MetricsCSV(path)])
    assert [row["step"] for row in read(path)] == ["1", "2"]


def test_the_film_of_a_long_run_has_so_many_frames_from_first_to_last(tmp_path, monkeypatch):
    grid, shades = callbacks.SampleGrid(tmp_path), range(0, 250)
    for step in shades:
        pictures.save_png(tmp_path / f"step_{step:08d}.png", np.full((2, 2, 1), step, np.uint8))
    grid.on_train_end()
    with Image.open(tmp_path / "samples.gif") as film:
        assert film.n_frames == 240
        assert np.asarray(film.convert("L"))[0, 0] == 0
        film.seek(239)
        assert np.asarray(film.convert("L"))[0, 0] == 249
    monkeypatch.setattr(grid, "_PIXELS", 20)
    grid.on_train_end()
    with Image.open(tmp_path / "samples.gif") as film:
        assert film.n_frames == 5


@pytest.fixture
def handlers():
    """Handlers of our own, which must be in force again afterwards."""
    calls = []
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {signum: signal.signal(signum, lambda *args: calls.append(args[0])) for signum in signals}
    ours = [signal.getsignal(signum) for signum in signals]
    yield calls
    restored = [signal.getsignal(signum) for signum in signals]
    for signum, handler in before.items():
        signal.signal(signum, handler)
    assert restored == ours


def send(signum):
    return lambda: os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_step(handlers, capsys, signum):
    gan, log = build(), Log()
    with pytest.raises(callbacks.Stopped, match=f"^{signum.name}$") as stopped:
        train(gan, IMAGES, epochs=2, callbacks=[At(1, send(signum)), log, callbacks.StopOnSignal()])
    assert stopped.value.signum == signum
    assert int(gan.iterations) == 2
    assert log.epochs == []
    assert f"{signum.name}: finishing the step, then saving." in capsys.readouterr().err
    assert handlers == []


def test_a_signal_in_the_last_step_waits_for_validation(handlers):
    gan, log = build(), Log()
    arguments = {"validation_data": (IMAGES,), "epochs": 2}
    with pytest.raises(callbacks.Stopped):
        train(gan, IMAGES, callbacks=[At(2, send(signal.SIGTERM)), log, callbacks.StopOnSignal()], **arguments)
    assert int(gan.iterations) == 3
    ((epoch, logs),) = log.epochs
    assert epoch == 0
    assert "val_d_loss" in logs


def test_a_second_signal_acts_at_once(handlers):
    gan = build()

    def twice():
        send(signal.SIGTERM)()
        assert handlers == []
        send(signal.SIGTERM)()
        assert handlers == [signal.SIGTERM]

    with pytest.raises(callbacks.Stopped):
        train(gan, IMAGES, callbacks=[At(0, twice), callbacks.StopOnSignal()])


@pytest.fixture
def defaults():
    """What the system does, which must be in force again afterwards."""
    before = {signum: signal.signal(signum, signal.SIG_DFL) for signum in NOTICES}
    yield
    found = [signal.getsignal(signum) for signum in NOTICES]
    for signum, handler in before.items():
        signal.signal(signum, handler)
    assert found == [signal.SIG_DFL] * len(NOTICES)


@pytest.mark.parametrize("signum", NOTICES, ids=lambda signum: signum.name)
def test_notices_stop_after_the_step_however_often_they_come(signum, defaults, capsys):
    gan, stop = build(), callbacks.StopOnSignal()
    with pytest.raises(callbacks.Stopped, match=f"^{signum.name}$") as stopped:
        train(gan, IMAGES, epochs=2, callbacks=[At(1, lambda: (send(signum)(), send(signum)())), stop])
    send(signum)()  # while it is saved
    stop.restore_handlers()
    assert (stopped.value.signum, int(gan.iterations)) == (signum, 2)
    assert capsys.readouterr().err == f"\n{signum.name}: finishing the step, then saving.\n"


def test_a_notice_does_not_make_a_signal_the_second(handlers, defaults):
    gan = build()

    def both():
        send(signal.SIGUSR1)()
        send(signal.SIGTERM)()
        assert handlers == []
        send(signal.SIGTERM)()
        assert handlers == [signal.SIGTERM]

    stop = callbacks.StopOnSignal()
    with pytest.raises(callbacks.Stopped, match=r"^SIGUSR1$"):
        train(gan, IMAGES, callbacks=[At(0, both), stop])
    stop.restore_handlers()


@pytest.mark.parametrize("kept", [signal.SIG_IGN, lambda signum, frame: None], ids=["nohup", "theirs"])
def test_what_is_ignored_or_waited_for_by_others_stays_so(kept, defaults):
    before = signal.signal(signal.SIGHUP, kept)
    try:
        train(build(), IMAGES, callbacks=[At(1, send(signal.SIGHUP)), callbacks.StopOnSignal()])
        assert signal.getsignal(signal.SIGHUP) == kept
    finally:
        signal.signal(signal.SIGHUP, before)


def test_training_outside_of_the_main_thread_has_no_handlers():
    gan, before = build(), signal.getsignal(signal.SIGTERM)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(train, gan, IMAGES, callbacks=[callbacks.StopOnSignal()]).result()
    assert int(gan.iterations) == 3 and signal.getsignal(signal.SIGTERM) == before


def test_handlers_are_restored_after_an_undisturbed_run(handlers):
    train(build(), IMAGES, callbacks=[callbacks.StopOnSignal()])
    send(signal.SIGTERM)()
    assert handlers == [signal.SIGTERM]


def test_handlers_are_restored_when_another_callback_fails(handlers):
    def fail():
        raise RuntimeError("broken")

    # Keras ends such a run without a last call to its callbacks.
    stop = callbacks.StopOnSignal()
    with pytest.raises(RuntimeError, match="broken"):
        train(build(), IMAGES, callbacks=[At(1, fail), stop])
    stop.restore_handlers()


def test_the_callback_serves_another_run_after_a_stop(handlers):
    gan, stop = build(), callbacks.StopOnSignal()
    with pytest.raises(callbacks.Stopped):
        train(gan, IMAGES, callbacks=[At(0, send(signal.SIGTERM)), stop])
    train(gan, IMAGES, callbacks=[stop])
    assert int(gan.iterations) == 4


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_prints_a_line_an_epoch():
    stream, gan = io.StringIO(), build()
    progress = callbacks.Progress(total_steps=9, batch_size=4, stream=stream)
    train(gan, IMAGES, epochs=3, validation_data=(IMAGES,), callbacks=[progress])
    lines = stream.getvalue().splitlines()
    assert re.fullmatch(r"step 1/9  first step after \d+\.\d s", lines.pop(0))
    assert [line.split("  ")[0] for line in lines] == ["step 3/9", "step 6/9", "step 9/9"]
    for line in lines:
        for name in ("d_loss", "g_loss", r"D\(x\)", r"D\(G\(z\)\)"):
            assert len(re.findall(rf"(?:^|  ){name} -?\d[\d.e+-]*  ", line)) == 1, name
        assert re.search(r"  \d[\d.]* images/s  \d+:\d\d left$", line.rstrip())
        assert "val_" not in line  # losses of training are shown once
    assert lines[-1].rstrip().endswith("0:00 left")


def test_progress_rewrites_its_line_on_a_terminal(monkeypatch):
    monkeypatch.setattr(callbacks.Progress, "_REFRESH_SECONDS", 0)
    stream, gan = Terminal(), build()
    train(gan, IMAGES, epochs=2, callbacks=[callbacks.Progress(6, 4, stream)])
    epochs = stream.getvalue().split("\n")
    assert epochs[-1] == ""
    for first, epoch in zip((1, 4), epochs, strict=False):
        shown = epoch.split("\r")
        assert [re.match(r"step (\d)/6", line)[1] for line in shown] == [str(first + i) for i in (0, 1, 2, 2)]
        # Nothing of a longer line stays visible.
        assert all(len(new) >= len(old.rstrip()) for old, new in itertools.pairwise(shown))


def test_progress_shows_scores_of_validation():
    stream = io.StringIO()
    progress = callbacks.Progress(10, 4, stream)
    progress.set_model(build())
    progress.on_train_begin()
    progress.on_epoch_begin(0)
    progress.on_train_batch_end(0, {"d_loss": 1.0})
    progress.on_epoch_end(0, {"d_loss": 1.0, "d_real": 0.6, "val_d_loss": 2.0, "val_fd": 12.3456})
    assert "  d_loss 1  D(x) 0.6  val_fd 12.3  " in stream.getvalue()


class Clock:
    """A clock that goes on only when told to, in the place of `time.monotonic`."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(callbacks.time, "monotonic", lambda: self.now)


class Steps:
    """A model of which steps are all that is known."""

    step = 0


def progress_of(stream, total, told=None, unit=1):
    progress = callbacks.Progress(total, 4, stream, told and (lambda seconds, steps: told.append((seconds, steps))))
    progress.set_model(Steps())

    def steps(clock, num, seconds):
        for _ in range(num):
            clock.now += seconds
            progress.model.step += unit
            progress.on_train_batch_end(0, {"d_loss": 1.0})

    return progress, steps


def lines_of(stream):
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_a_log_hears_of_the_first_step_of_the_rate_and_of_each_minute(monkeypatch):
    clock, stream, told = Clock(monkeypatch), io.StringIO(), [()]
    progress, steps = progress_of(stream, 10_000, told)
    progress.on_train_begin()
    progress.on_epoch_begin(0)
    steps(clock, 1, 300.0)  # is compiled
    assert lines_of(stream) == ["step 1/10000  first step after 300.0 s"]
    steps(clock, 1, 30.0)
    assert lines_of(stream)[1:] == ["step     2/10000  d_loss 1  0.13 images/s  3.5 days left"]
    assert told[1:] == [(pytest.approx(9998 * 30.0), 9998)]
    steps(clock, 3, 30.0)
    assert [line[:16] for line in lines_of(stream)[2:]] == ["step     4/10000"]
    # Scores count for the time that is left, and not for images/s.
    clock.now += 100.0
    progress.on_test_batch_end(11)
    assert lines_of(stream)[3:] == ["step 5/10000  scoring, 12 batches"]
    progress.on_epoch_end(0, {"d_loss": 1.0})
    assert lines_of(stream)[4].split("  ")[-2:] == ["0.13 images/s", f"{9995 * 220 / 4 / 86_400:.1f} days left"]
    assert len(told) == 2


def test_rates_after_a_resume_with_several_steps_a_call_are_those_of_the_steps_since(monkeypatch):
    clock, stream, told = Clock(monkeypatch), io.StringIO(), [()]
    progress, steps = progress_of(stream, 5_200, told, unit=10)
    progress.model.step = 5_000
    progress.on_train_begin()
    progress.on_epoch_begin(5)
    steps(clock, 1, 60.0)
    steps(clock, 5, 5.0)  # ten steps of four images in five seconds
    progress.on_epoch_end(5, {})
    lines = lines_of(stream)
    assert lines[0] == "step 5010/5200  first 10 steps after 60.0 s"
    assert lines[-1] == "step 5060/5200  8.00 images/s  1:10 left"
    # A rollback takes steps back, and the seconds that they took remain.
    progress.model.step = 5_010
    progress.on_train_begin()
    progress.on_epoch_begin(5)
    steps(clock, 5, 5.0)
    progress.on_epoch_end(5, {})
    assert lines_of(stream)[-1] == "step 5060/5200  8.00 images/s  1:10 left"
    assert told[1:] == [(pytest.approx(90.0), 180)]


@pytest.mark.parametrize("stream", [io.StringIO(), open(os.devnull)])  # noqa: SIM115
def test_a_stream_that_is_gone_does_not_end_training(stream):
    if isinstance(stream, io.StringIO):
        stream.close()
    gan = build()
    train(gan, IMAGES, callbacks=[callbacks.Progress(3, 4, stream)])
    assert int(gan.iterations) == 3


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (61.9, "1:01"), (3599, "59:59"), (3661, "1:01:01"), (86_399, "23:59:59"), (129_600, "1.5 days")],
)
def test_durations(seconds, shown):
    assert waiting.clock(seconds) == shown


def test_work_that_takes_long_is_announced():
    said = []
    with waiting.announced(said.append, "Opening photos", after=0.02, every=0.02):
        while len(said) < 3:
            time.sleep(0.005)
    assert said[0] == "Opening photos: 0:00 so far."
    with waiting.announced(said.append, "Nothing", after=60):
        pass
    with pytest.raises(KeyError), waiting.announced(said.append, "Nothing", after=60):
        raise KeyError
    assert "Nothing" not in " ".join(said)
