"""tfgan_app.checkpoints: exact resume, and what happens to damaged files."""

import shutil

import keras
import numpy as np
import pytest
from conftest import assert_all_close, random_images, state, tiny_gan, train

from tfgan_app.base.errors import CheckpointError
from tfgan_app.checkpoints import Checkpoints
from tfgan_app.metrics import ImageMetric

IMAGES = random_images(16)


def build(**kwargs):
    return tiny_gan(run_eagerly=True, **kwargs)


def saved_at(directory, *steps, keep=3):
    """Trains a GAN, saving at each of the steps; returns the GAN and its checkpoints."""
    gan = build()
    checkpoints = Checkpoints(gan, directory, keep)
    for step in range(1, steps[-1] + 1):
        train(gan, IMAGES[:4])
        if step in steps:
            checkpoints.save()
    return gan, checkpoints


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_resume_is_exact(tmp_path, policy):
    keras.config.set_dtype_policy(policy)

    def scaled(**kwargs):
        adams = {name: keras.optimizers.Adam(1e-2) for name in ("g_optimizer", "d_optimizer")}
        if policy == "mixed_float16":
            # Grows at every second step, so that both scale and counter matter.
            wrap = keras.optimizers.LossScaleOptimizer
            adams = {name: wrap(adam, initial_scale=64.0, dynamic_growth_steps=3) for name, adam in adams.items()}
        return tiny_gan(dropout=0.5, **adams, **kwargs)

    whole = scaled()
    train(whole, IMAGES)
    first = scaled()
    train(first, IMAGES[:8])
    folder = Checkpoints(first, tmp_path).save()
    assert folder == tmp_path / "step_00000002"
    second = scaled(init=99)  # other weights, other dropout seeds
    assert Checkpoints(second, tmp_path).restore() == folder
    assert_all_close(state(second), state(first))
    train(second, IMAGES[8:])
    assert_all_close(state(second), state(whole))
    assert int(second.iterations) == 4
    if policy == "mixed_float16":
        assert float(second.d_optimizer.dynamic_scale) == 128
    # What follows depends on the dropout's state as well.
    train(first, IMAGES[8:])
    assert_all_close(state(first), state(whole))
    fresh = scaled(init=99)
    fresh.set_weights(second.get_weights())
    logits = [model.judge(IMAGES, ()).numpy() for model in (whole, second, fresh)]
    np.testing.assert_array_equal(logits[0], logits[1])
    assert np.any(logits[0] != logits[2])


def test_keeps_the_newest(tmp_path):
    _, checkpoints = saved_at(tmp_path, 1, 2, 4, keep=2)
    assert names(tmp_path) == ["step_00000002", "step_00000004"]
    assert [folder.name for folder in checkpoints.folders()] == ["step_00000004", "step_00000002"]


def test_saving_twice_at_one_step_is_harmless(tmp_path):
    gan, checkpoints = saved_at(tmp_path, 1)
    assert checkpoints.save() == tmp_path / "step_00000001"
    assert Checkpoints(build(init=1), tmp_path).restore() == checkpoints.save()
    assert int(gan.iterations) == 1


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def newest_file(directory, kind):
    return next(sorted(directory.glob("step_*"))[-1].glob(kind))


DAMAGES = [
    (flip, "state.data*"),
    (flip, "state.index"),
    (truncate, "state.data*"),
    (truncate, "state.index"),
    (truncate, "manifest.json"),
    (lambda path: path.unlink(), "state.data*"),
    (lambda path: path.unlink(), "manifest.json"),
    (lambda path: path.write_bytes(b""), "manifest.json"),
]


@pytest.mark.parametrize(("damage", "kind"), DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(tmp_path, caplog, damage, kind):
    gan, _ = saved_at(tmp_path, 1)
    expected = state(gan)
    train(gan, IMAGES[:4])
    Checkpoints(gan, tmp_path).save()
    damage(newest_file(tmp_path, kind))
    copy = build(init=1)
    with caplog.at_level("WARNING", logger="absl"):
        assert Checkpoints(copy, tmp_path).restore() == tmp_path / "step_00000001"
    assert "step_00000002 is passed over" in caplog.text
    assert_all_close(state(copy), expected)


def test_when_all_are_damaged(tmp_path):
    saved_at(tmp_path, 1, 2)
    for path in tmp_path.glob("*/state.data*"):
        flip(path)
    with pytest.raises(CheckpointError, match=r"None of the 2 checkpoint\(s\) in .* can be read\. Delete that folder"):
        Checkpoints(build(), tmp_path).restore()


def test_a_damaged_checkpoint_is_written_again(tmp_path):
    saved_at(tmp_path, 1, 2)
    flip(newest_file(tmp_path, "state.data*"))
    copy = build(init=1)
    checkpoints = Checkpoints(copy, tmp_path)
    checkpoints.restore()
    train(copy, IMAGES[:4])
    checkpoints.save()
    expected = state(copy)
    again = build(init=2)
    assert Checkpoints(again, tmp_path).restore() == tmp_path / "step_00000002"
    assert_all_close(state(again), expected)


def test_damaged_checkpoints_do_not_displace_good_ones(tmp_path):
    saved_at(tmp_path, 1, 4)
    flip(newest_file(tmp_path, "state.data*"))
    copy = build(init=1)
    checkpoints = Checkpoints(copy, tmp_path, keep=1)
    checkpoints.restore()
    train(copy, IMAGES[:4])
    checkpoints.save()
    assert Checkpoints(build(), tmp_path, keep=1).restore() == tmp_path / "step_00000002"


def test_overwriting_takes_the_place_of_later_ones_too(tmp_path):
    gan = tiny_gan()
    checkpoints = Checkpoints(gan, tmp_path)
    for _ in range(3):
        train(gan, random_images(4))
        checkpoints.save({"step": int(gan.iterations)})
    assert checkpoints.facts() == {"step": 3}
    checkpoints.restore(2)
    gan.g_optimizer.learning_rate = 0.125
    assert checkpoints.save({"lower": True}, overwrite=True).name == "step_00000002"
    assert [folder.name for folder in checkpoints.folders()] == ["step_00000002", "step_00000001"]
    assert checkpoints.facts() == {"lower": True}
    gan.g_optimizer.learning_rate = 0.5
    checkpoints.restore()
    assert float(gan.g_optimizer.learning_rate) == 0.125
    assert Checkpoints(gan, tmp_path / "none").facts() is None


def test_no_checkpoint_at_all(tmp_path):
    assert Checkpoints(build(), tmp_path / "missing").restore() is None
    assert Checkpoints(build(), tmp_path).restore() is None


def test_partial_folders_are_ignored_then_removed(tmp_path):
    _, checkpoints = saved_at(tmp_path, 1)
    shutil.copytree(tmp_path / "step_00000001", tmp_path / "step_00000007.partial")
    copy = build(init=1)
    assert Checkpoints(copy, tmp_path).restore() == tmp_path / "step_00000001"
    train(copy, IMAGES[:4])
    Checkpoints(copy, tmp_path).save()
    assert names(tmp_path) == ["step_00000001", "step_00000002"]
    assert len(checkpoints.folders()) == 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("network", ["generator", "discriminator", "ema_generator"])
def test_a_broken_state_is_not_saved(tmp_path, value, network):
    gan, checkpoints = saved_at(tmp_path, 1)
    train(gan, IMAGES[:4])
    variable = getattr(gan, network).weights[-1]
    variable.assign(np.full(variable.shape, value))
    with pytest.raises(FloatingPointError, match="holds NaN or Inf at step 2; this state is not saved") as error:
        checkpoints.save()
    assert variable.path in str(error.value)
    assert names(tmp_path) == ["step_00000001"]


def test_restores_a_step_by_its_number(tmp_path):
    gan, _ = saved_at(tmp_path, 1)
    expected = state(gan)
    train(gan, IMAGES[:4])
    Checkpoints(gan, tmp_path).save()
    copy = build(init=1)
    assert Checkpoints(copy, tmp_path).restore(step=1) == tmp_path / "step_00000001"
    assert_all_close(state(copy), expected)
    with pytest.raises(CheckpointError, match=r"has no checkpoint of step 3\. It has \[2, 1\]"):
        Checkpoints(copy, tmp_path).restore(step=3)


def test_holds_nothing_that_belongs_to_metrics(tmp_path):
    gan, checkpoints = saved_at(tmp_path, 1)
    copy = build(init=1)
    unused = ImageMetric(None, "unused")
    unused.add_variable((), initializer="zeros", name="kept")
    copy.compile(metrics=[unused], run_eagerly=True)
    assert Checkpoints(copy, tmp_path).restore() == checkpoints.save()
    assert_all_close(state(copy), state(gan))
