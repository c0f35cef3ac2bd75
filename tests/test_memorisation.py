"""tfgan_app.study.memorisation: a generator that copies is caught, one that does not is not."""

import json
import math

import numpy as np
import pytest

from tfgan_app.data import open_images
from tfgan_app.metrics import load_extractor
from tfgan_app.metrics.manifold import nearest, pairs_within
from tfgan_app.study.memorisation import CopyingTest, Memorisation, SupportSize, copying_test, examine, support_size


def draws(num, seed, dim=6):
    return np.random.default_rng(seed).normal(size=(num, dim))


def by_features(train, held_out, fake):
    return copying_test(nearest(fake, train)[1], nearest(held_out, train)[1])


def test_nearest_by_hand():
    indices, distances = nearest(np.array([[0.0, 0.0], [5.0, 4.0]]), np.array([[3.0, 4.0], [1.0, 0.0]]))
    assert indices.tolist() == [1, 0]
    np.testing.assert_allclose(distances, [1.0, 2.0])
    line = np.array([[0.0], [1.0], [1.5], [4.0]])
    indices, distances = nearest(line, line, others=True)
    assert indices.tolist() == [1, 2, 1, 2]
    np.testing.assert_allclose(distances, [1.0, 0.5, 0.5, 2.5])
    assert [pairs_within(line, distance) for distance in (0.4, 0.6, 1.2, 9.0)] == [0, 1, 2, 6]


def test_examining_a_generator_that_copies_and_one_that_does_not():
    train, test = (open_images("mnist_5k", split=split) for split in ("train[:1500]", "test"))
    held_out, copied = (images.first(200)[0] for images in (test, train))
    other = test.first(400)[0][200:]
    extractor = load_extractor("mnist_cnn")
    found = examine(copied, held_out, train, extractor)
    np.testing.assert_allclose(found.neighbours, copied, atol=1e-6)
    assert found.copying.z < -10 and found.copying.fake < 0.01 * found.copying.held_out
    honest = examine(other, held_out, train, extractor)
    assert abs(honest.copying.z) < 3
    few = examine(np.repeat(other[:20], 10, axis=0), held_out, train, extractor)
    assert few.support.estimate < 25 < few.real_support.estimate
    facts = found.describe()
    assert facts["train"] == 1500 and facts["samples"] == 200
    json.dumps(facts, allow_nan=False)


def test_nothing_repeats():
    support = SupportSize(math.inf, 0, 1.0)
    found = Memorisation(CopyingTest(0.0, 0.5, 1.0, 1.0), support, support, np.zeros(()), np.zeros(3), 5)
    assert found.describe()["support"] is None and found.describe()["real_support"] is None


def test_a_generator_that_copies_is_caught():
    train = draws(500, 0)
    copies = train[:300] + 0.01 * draws(300, 1)
    found = by_features(train, draws(400, 2), copies)
    assert found.z < -10 and found.p_value < 1e-6
    assert found.fake < 0.1 < found.held_out
    partly = np.concatenate([copies[:60], draws(240, 3)])
    assert by_features(train, draws(400, 2), partly).p_value < 0.01


def test_one_that_draws_from_the_same_source_is_not():
    results = [by_features(draws(300, 10 * i), draws(200, 10 * i + 1), draws(200, 10 * i + 2)) for i in range(100)]
    z = np.array([result.z for result in results])
    assert abs(z.mean()) < 0.35 and 0.7 < z.std() < 1.3
    assert sum(result.p_value < 0.05 for result in results) < 15
    assert by_features(draws(300, 0), draws(200, 1), draws(200, 2) + 3).z > 10


def test_the_rank_test_with_ties():
    # Four equal distances: no evidence either way.
    found = copying_test(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    assert found.z == pytest.approx(0) and found.p_value == pytest.approx(0.5)
    mixed = np.array([1.0, 1.0, 2.0, 3.0, 3.0]), np.array([1.0, 2.0, 2.0, 3.0, 4.0, 5.0])
    # By scipy.stats.mannwhitneyu(*mixed, alternative="less", use_continuity=False).
    assert copying_test(*mixed).p_value == pytest.approx(0.17391, abs=1e-4)


@pytest.mark.parametrize("support", [50, 400])
def test_support_of_a_generator_that_draws_few_images(support):
    images = draws(support, 0, dim=10)
    found = support_size(images[np.random.default_rng(1).integers(support, size=600)], threshold=1e-3)
    assert found.estimate == pytest.approx(support, rel=0.15)


def test_support_without_duplicates_is_unbounded():
    found = support_size(draws(50, 0), threshold=1e-3)
    assert (found.estimate, found.duplicates) == (math.inf, 0)
