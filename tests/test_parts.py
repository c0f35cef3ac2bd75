"""Parts of a set: seeded samples in which every class has its share, wherever fewer images than all are looked at."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfgan_app import metrics, runs
from tfgan_app.data import open_images, records
from tfgan_app.metrics import load_extractor
from tfgan_app.study.receipts import compare

DIGITS = 10


@pytest.fixture(scope="module")
def sorted_digits(tmp_path_factory):
    """Files of 1 000 training and 1 000 test digits, each sorted by class."""
    folder = tmp_path_factory.mktemp("sorted")
    for split in ("train[:1000]", "test"):
        images, labels = open_images("mnist_5k", split=split).first(1000)
        order = np.argsort(labels, kind="stable")
        stored = np.round((images[order] + 1) * 127.5).astype(np.uint8)
        np.savez(folder / f"{split[:4].rstrip('[')}.npz", images=stored, labels=labels[order])
    return folder / "trai.npz", folder / "test.npz"


def held(labels):
    return records.hold((np.arange(len(labels), dtype=np.int32)[:, None].astype(np.uint8), labels)).records


def test_a_sample_has_every_class_in_proportion():
    labels = np.repeat(np.arange(3, dtype=np.int32), (600, 300, 100))
    chosen, how = held(labels).sample(50, 0)
    assert how == "seeded sample stratified by class, seed 0"
    assert np.bincount(chosen.labels).tolist() == [30, 15, 5]
    drawn = np.concatenate([batch[1] for batch in chosen.in_order(20)])
    np.testing.assert_array_equal(drawn, chosen.labels)
    again, other = held(labels).sample(50, 0)[0], held(labels).sample(50, 1)[0]
    firsts = [np.asarray(next(iter(one.in_order(50)))[0]) for one in (chosen, again, other)]
    np.testing.assert_array_equal(firsts[0], firsts[1])
    assert (firsts[0] != firsts[2]).any()
    # A part of a part has them too.
    assert np.bincount(chosen.sample(20, 0)[0].labels).tolist() == [12, 6, 2]


def test_no_class_and_no_image_is_preferred():
    # Half an image a class: which of them have one is a matter of the seed, not of their order.
    labels = np.repeat(np.arange(200, dtype=np.int32), 5)
    chosen = held(labels).sample(100, 0)[0].labels
    assert len(set(chosen)) == 100 and chosen.min() < 4 and chosen.max() > 195
    times = np.zeros(60)
    for seed in range(300):
        part, how = held(np.zeros(60, np.int32)).sample(20, seed)
        times[np.asarray(part.fetch(tf.range(20))[0])[:, 0]] += 1
    assert how == "seeded sample, seed 299" and times.min() > 70 and times.max() < 130


def test_a_sample_of_files_decodes_no_others():
    read = []

    def take(indices):
        read.extend(indices.tolist())
        return np.zeros((len(indices), 1), np.uint8), indices.astype(np.int32)

    labels = np.repeat(np.arange(4, dtype=np.int32), 25)
    spec = tf.TensorSpec((1,), tf.uint8), tf.TensorSpec((), tf.int32)
    chosen, _ = records.fetch_with(take, 100, spec, labels).sample(8, 0)
    assert sum(len(batch[1]) for batch in chosen.in_order(3)) == 8
    assert np.bincount(labels[read]).tolist() == [2, 2, 2, 2]


def test_of_records_that_come_one_by_one_a_random_order_is_read_from_the_front_and_another_evenly():
    def streamed(shuffled):
        encoded = tf.data.Dataset.range(1000)
        return records.Streamed(encoded, lambda x: (x, x), 1000, None, shuffled)

    chosen, how = streamed(True).sample(7, 3)
    assert how == "first of a random order" and _read(chosen) == list(range(7))
    chosen, how = streamed(False).sample(10, 3)
    assert how == "evenly spaced in the order of storage, seed 3"
    assert [number // 100 for number in _read(chosen)] == list(range(10))


def _read(chosen):
    assert chosen.count == sum(len(batch[0]) for batch in chosen.in_order(4))
    return np.concatenate([batch[0] for batch in chosen.in_order(4)]).tolist()


def test_all_of_a_set_is_the_set(sorted_digits):
    images = open_images(str(sorted_digits[1]), split="train")
    assert images.sample(1000) is images and images.chosen == "all"
    part = images.sample(100)
    assert np.bincount(part.first(100)[1]).tolist() == [10] * DIGITS
    # They are those of one set: its fingerprint stays.
    assert part.describe() == {**images.describe(), "num_images": 100}


def test_a_score_of_a_part_is_close_to_that_of_the_whole(sorted_digits, tmp_path):
    fakes, real = map(str, sorted_digits)
    asked = {"images": fakes, "dataset": real, "split": "train", "extractor": "mnist_cnn", "metrics": ["fd"]}
    said = []
    whole = runs.evaluate(**asked, out=tmp_path / "whole.json").receipt
    part = runs.evaluate(**asked, num_images=400, out=tmp_path / "part.json", say=said.append).receipt
    assert part["scores"]["fd"] < 2 * whole["scores"]["fd"]
    way = "seeded sample stratified by class, seed 0"
    assert (part["real"]["used"], part["real"]["num_images"], part["real"]["chosen"]) == (400, 1000, way)
    assert (part["fake"]["used"], part["fake"]["num_images"], part["fake"]["chosen"]) == (400, 1000, way)
    assert whole["real"]["chosen"] == whole["fake"]["chosen"] == "all"
    assert said[0].startswith("Frechet distance ") and f"({way} of 1000), 400 fakes" in said[1]
    # What the front of both gives: four classes against four.
    fronts = [load_extractor("mnist_cnn")(open_images(name).first(400)[0]) for name in (fakes, real)]
    front = metrics.FrechetDistance("mnist_cnn", reference=[open_images(real).first(1000)[0]])
    front.update_state(None, fronts[0])
    assert float(front.result()) > 5 * part["scores"]["fd"]


def test_receipts_of_the_front_of_a_set_are_not_compared_with_those_of_samples():
    metric = {"name": "kd", "version": 1, "num_images": 100}
    receipt = {
        "scores": {"kd": 1.0},
        "metrics": [metric],
        "extractor": {"name": "cnn"},
        "real": {"name": "digits", "num_images": 1000, "used": 400},
        "fake": {"used": 400},
    }
    way = "seeded sample, seed 0"
    sampled = {**receipt, "real": {**receipt["real"], "chosen": way}, "metrics": [{**metric, "chosen": way}]}
    with pytest.raises(ValueError, match="differ in protocol") as error:
        compare(receipt, sampled)
    assert str(error.value).splitlines()[1:] == [
        f"  real.chosen: the first against {way}",
        f"  kd.chosen: None against {way}",
    ]
    # All of a set was the same before.
    whole = {**receipt, "real": {**receipt["real"], "used": 1000}}
    assert compare(whole, {**whole, "real": {**whole["real"], "chosen": "all"}})["kd"][2] == 0


def test_a_metric_that_keeps_fewer_images_than_it_is_given_keeps_all_classes():
    inputs = keras.Input((2,))
    real = np.repeat(np.eye(10, 2, dtype=np.float32) * np.arange(10)[:, None], 300, axis=0)
    metric = metrics.KernelDistance(keras.Model(inputs, inputs), num_images=500)
    order = np.random.default_rng(0).permutation(len(real))
    for start in range(0, len(real), 250):
        # As `fit(validation_data=...)` gives them: the real ones sorted, the fakes not.
        metric.update_state(real[start : start + 250], real[order[start : start + 250]])
    value, error = metric.results().values()
    assert abs(value) < 4 * error


def test_a_run_scores_on_and_is_guarded_by_all_classes(sorted_digits, tmp_path):
    settings = runs.Settings(
        model="MLPGAN",
        model_arg=("g_units=(8,)", "d_units=(8,)"),
        dataset=str(sorted_digits[0]),
        eval_split="train",
        eval_images=100,
        extractor="mnist_cnn",
        run_dir=str(tmp_path / "run"),
    )
    with runs.Session(settings) as session:
        session.open()
        labels = np.concatenate([batch[1] for batch in session.task.validation(100)])
        share = np.bincount(open_images(str(sorted_digits[0])).first(1000)[1]) / 10
        assert len(labels) == 100 and np.abs(np.bincount(labels) - share).max() < 1
        assert len(set(session._guard()._real.classes)) == DIGITS
        receipt = session._score()[0]
    assert receipt["real"]["used"] == 100 and receipt["real"]["chosen"].startswith("seeded sample stratified")
