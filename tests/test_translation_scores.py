"""tfgan_app.study: scores of translators beside a baseline, and the page on them."""

import dataclasses
import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfgan_app.base.errors import UsageError
from tfgan_app.data import open_pairs
from tfgan_app.metrics import load_extractor
from tfgan_app.study import (
    Extremes,
    applicable_translation,
    build_translation_metrics,
    compare,
    describe_score,
    inapplicable_translation,
    read_receipt,
    score_translation,
    summary,
    write_receipt,
    write_translation_report,
)
from tfgan_app.study.page import Page
from tfgan_app.study.translation_report import triptychs
from tfgan_app.study.translation_scores import TRANSLATION_METRICS, Translated
from tfgan_app.translation import TranslationGAN

SIZES = [(24, 32), (24, 32), (40, 28), (24, 32)]


def waves(size, number, channels=3):
    """Returns a smooth uint8 picture."""
    y, x, c = np.meshgrid(np.arange(size[0]), np.arange(size[1]), np.arange(channels), indexing="ij")
    return np.round(127 + 110 * np.sin(0.2 * x + number + c) * np.cos(0.15 * y * (1 + number))).astype(np.uint8)


class Pairs:
    """A `PairSet` of given pictures: names, sources and targets, uint8."""

    name, split, chosen = "pictures", "test", "all"

    def __init__(self, examples, paired=True, degrade=None):
        self.examples, self.paired, self.degrade = examples, paired, degrade
        _, source, target = examples[0]
        self.source_shape, self.target_shape = source.shape, target.shape
        self.num_images = len(examples)

    def sample(self, num, seed=0):
        if num >= self.num_images:
            return self
        part = Pairs(self.examples[:num], self.paired, self.degrade)
        part.chosen = f"seeded sample, seed {seed}"
        return part

    def whole(self):
        assert self.paired
        yield from self.examples

    def pairs(self, batch_size):
        for start in range(0, self.num_images, batch_size):
            part = self.examples[start : start + batch_size]
            yield tuple(np.stack([x[side] for x in part]).astype(np.float32) / 127.5 - 1 for side in (1, 2))

    def describe(self):
        names = ("name", "split", "source_shape", "target_shape", "paired", "degrade", "num_images")
        counts = {"num_sources": self.num_images, "num_targets": self.num_images - (not self.paired)}
        return {name: getattr(self, name) for name in names} | counts | {"fallback_for": None, "fingerprint": "f"}


class Shifting:
    """A `Translator` that adds a constant, and takes it away on the way back."""

    scale = 1

    def __init__(self, shift=0.0, two_ways=False, function=None):
        self.shift, self.function, self.asked = shift, function, []
        self.ways = ("translate", "translate_back") if two_ways else ("translate",)

    def translate(self, images, *, seed=0, labels=None, way="translate"):
        assert images.dtype == np.float32 and images.min() >= 0 and images.max() <= 1
        self.asked.append((way, images.shape, seed))
        images = np.asarray(images) if self.function is None else self.function(images)
        shift = self.shift if way == "translate" else -self.shift
        return np.clip(images + shift, 0, 1).astype(np.float32)


def enlarged(picture, scale=2, filter=Image.Resampling.BICUBIC):
    height, width = picture.shape[:2]
    return np.asarray(Image.fromarray(picture).resize((width * scale, height * scale), filter))


@pytest.fixture(scope="module")
def small():
    """Pictures of two sizes and what they were reduced from."""
    examples = []
    for number, size in enumerate(SIZES):
        target = waves(size, number)
        examples.append((f"{number}.png", target[::2, ::2], target))
    return Pairs(examples)


def doubling():
    """Repeats pixels, which is worse than bicubic interpolation."""
    translator = Shifting(function=lambda images: images.repeat(2, 1).repeat(2, 2))
    translator.scale = 2
    return translator


def psnr(first, second, border=0):
    inner = slice(border, -border or None)
    error = (first.astype(float) - second.astype(float))[inner, inner]
    return 10 * np.log10(255**2 / np.mean(error**2))


def test_scores_of_whole_pictures_beside_a_baseline(small, tmp_path):
    translator, lines, said, seen = doubling(), [], [], []
    metrics = build_translation_metrics(applicable_translation(translator, small), translator, small)
    found = score_translation(
        translator,
        small,
        metrics,
        batch_size=2,
        seed=3,
        facts={"step": 7},
        progress=lines.append,
        say=said.append,
        watch=seen.append,
    )
    # Those of one size come together, all of them in their order.
    assert translator.asked == [
        ("translate", (n, h // 2, w // 2, 3), 3) for n, h, w in ((2, 24, 32), (1, 40, 28), (1, 24, 32))
    ]
    assert lines[:3] == ["2/4 pictures", "3/4 pictures", "4/4 pictures"]
    each = [psnr(target, source.repeat(2, 0).repeat(2, 1), 2) for _, source, target in small.examples]
    expected = [psnr(target, enlarged(source), 2) for _, source, target in small.examples]
    scores, baseline = found["scores"], found["baseline"]
    assert scores["psnr"] == pytest.approx(np.mean(each), rel=1e-6)
    assert scores["psnr_error"] == pytest.approx(np.std(each, ddof=1) / 2, rel=1e-5)
    assert baseline["name"] == "bicubic" and baseline["scores"]["psnr"] == pytest.approx(np.mean(expected), abs=0.05)
    assert [name for name in scores if not name.endswith("_error")] == ["psnr", "ssim", "psnr_y", "ssim_y", "mae"]
    assert set(scores) == set(baseline["scores"])
    assert found["metrics"][2] == {"name": "psnr_y", "metric": "PSNR", "version": 1, "channel": "y", "border": 2}
    assert found["real"] == {**small.describe(), "used": 4, "chosen": "all"}
    assert found["fake"] == {"used": 4, "seed": 3, "step": 7} and found["extractor"] is None
    # Each picture's own values, for whoever wants to see the worst.
    assert found["pictures"]["name"] == ["0.png", "1.png", "2.png", "3.png"]
    assert found["pictures"]["psnr"] == pytest.approx(each, rel=1e-6) and len(found["pictures"]["mae"]) == 4
    assert set(found["pictures"]) == {"name", "psnr", "mae"}
    assert [one.values["psnr"] for one in seen] == found["pictures"]["psnr"]
    np.testing.assert_array_equal(seen[2].output, small.examples[2][1].repeat(2, 0).repeat(2, 1))
    assert seen[2].target is not None and seen[2].name == "2.png"
    error = np.std(each, ddof=1) / 2
    assert said[0] == f"PSNR {np.mean(each):.4g} ± {error:.2g} dB (bicubic {baseline['scores']['psnr']:.4g})"
    assert said[-2:] == [
        "with 4 pairs of pictures test, 4 translations (seed 3, step 7)",
        "Pictures are compared without 2 pixels at each edge.",
    ]
    assert said == describe_score(found).splitlines()
    assert read_receipt(write_receipt(tmp_path / "r.json", found)) == json.loads(json.dumps(found))
    card = summary(found)
    assert (card["metric"], card["type"], card["value"]) == ("PSNR", "psnr", scores["psnr"])


def test_opened_pairs_and_sides(small, tmp_path):
    for side, number in (("source", 1), ("target", 2)):
        (tmp_path / side).mkdir()
        for example in small.examples:
            Image.fromarray(example[number]).save(tmp_path / side / example[0])
    translator = doubling()
    pairs = open_pairs(str(tmp_path), crop=16)
    found, expected = (
        score_translation(translator, x, build_translation_metrics(["psnr", "ssim"], translator, x))
        for x in (pairs, small)
    )
    assert found["scores"] == expected["scores"] and found["baseline"] == expected["baseline"]
    assert found["real"] == {**json.loads(json.dumps(pairs.describe())), "used": 4, "chosen": "all"}
    metrics = build_translation_metrics(["psnr"], translator, pairs)
    assert score_translation(translator, pairs, metrics, num_images=2)["fake"]["used"] == 2
    np.savez(tmp_path / "sides.npz", sources=np.stack([RGB] * 5), targets=np.stack([RGB ^ 8] * 3))
    opened, translator = open_pairs(str(tmp_path / "sides.npz"), sides=True), Shifting(0.1, two_ways=True)
    names = ["fd", "fd_back", "cycle_mae"]
    found = score_translation(
        translator, opened, build_translation_metrics(names, translator, opened, mean_colour()), batch_size=2
    )
    assert found["fake"]["used"] == 3 and set(found["baseline"]["scores"]) == {"fd", "fd_back"}


def test_a_part_of_the_pairs_is_a_sample(small):
    translator = doubling()
    found = score_translation(translator, small, build_translation_metrics(["psnr"], translator, small), num_images=3)
    assert found["real"]["used"] == found["fake"]["used"] == 3 and found["real"]["chosen"] == "seeded sample, seed 0"
    assert "3 pairs of pictures test (seeded sample, seed 0 of 4)" in describe_score(found)


def test_large_pictures_come_one_at_a_time(small, monkeypatch):
    monkeypatch.setattr("tfgan_app.study.translation_scores._PIXELS", 24 * 32 * 2 - 1)
    translator = doubling()
    score_translation(translator, small, build_translation_metrics(["psnr"], translator, small))
    assert [shape[0] for _, shape, _ in translator.asked] == [1, 1, 1, 1]


def of(source, target, **more):
    return Pairs([(name, source, target) for name in ("a.png", "b.png", "c.png")], **more)


RGB = waves((16, 16), 1)
GREY = waves((16, 16), 1, 1)
HOLED = np.concatenate([RGB, np.full((16, 16, 1), 255, np.uint8)], axis=-1)
HOLED[4:8, 4:8] = (128, 128, 128, 0)


@pytest.mark.parametrize(
    ("pairs", "name", "made"),
    [
        (of(RGB, waves((16, 16), 2)), "source", RGB),
        (of(GREY, RGB), "grey", GREY.repeat(3, -1)),
        (of(RGB, waves((48, 48), 2)), "bicubic", enlarged(RGB, 3)),
        (of(RGB[::2, ::2], RGB, degrade="shrink(2)"), "bicubic", enlarged(RGB[::2, ::2])),
        (of(GREY[::2, ::2], RGB), "grey and bicubic", enlarged(GREY[::2, ::2, 0])[..., None].repeat(3, -1)),
        (of(RGB, waves((16, 16), 2), paired=False), "source", RGB),
    ],
)
def test_the_baseline_is_the_naive_way(pairs, name, made):
    translator = Shifting(function=lambda images: np.stack([pairs.examples[0][2]] * len(images)) / np.float32(255))
    metric = "mae" if pairs.paired else "fd"
    extractor = None if pairs.paired else mean_colour()
    metrics = build_translation_metrics([metric], translator, pairs, extractor)
    found = score_translation(translator, pairs, metrics)
    target = pairs.examples[0][2]
    if pairs.paired:
        expected = np.abs(made.astype(float) - target).mean() / 255
        assert found["scores"]["mae"] == 0.0
    else:
        means = [x.mean(axis=(0, 1)) / 127.5 - 1 for x in (made, target)]
        expected = np.sum((means[0] - means[1]) ** 2)
    assert found["baseline"]["name"] == name
    # Pillow rounds between rows and columns.
    assert found["baseline"]["scores"][metric] == pytest.approx(expected, rel=5e-3 if "bicubic" in name else 1e-4)


def test_where_nothing_is_naive_there_is_no_baseline():
    pairs, translator = of(RGB, GREY), Shifting(function=lambda images: images[..., :1])
    found = score_translation(translator, pairs, build_translation_metrics(["mae"], translator, pairs))
    assert "baseline" not in found and "(" not in describe_score(found).splitlines()[0]


def test_holes_have_scores_of_their_own_beside_the_mean_of_what_is_known():
    pairs, translator = of(HOLED, RGB), Shifting(function=lambda images: images[..., :3])
    names = applicable_translation(translator, pairs)
    assert names == ["psnr", "ssim", "psnr_y", "ssim_y", "mae", "psnr_hole", "mae_hole"]
    found = score_translation(translator, pairs, build_translation_metrics(names, translator, pairs))
    hole = RGB[4:8, 4:8].astype(float)
    assert found["scores"]["mae_hole"] == pytest.approx(np.abs(hole - 128).mean() / 255, rel=1e-5)
    known = RGB[HOLED[..., 3] > 0].mean(axis=0).round()
    assert found["baseline"]["name"] == "mean fill"
    assert found["baseline"]["scores"]["mae_hole"] == pytest.approx(np.abs(hole - known).mean() / 255, abs=2e-3)
    assert "PSNR in holes" in describe_score(found)


def mean_colour():
    images = keras.Input((None, None, 3))
    return load_extractor(keras.Model(images, keras.layers.GlobalAveragePooling2D()(images), name="mean_colour"))


def sides():
    return Pairs([(str(n), waves((16, 16), n), waves((16, 16), n + 9)) for n in range(5)], paired=False)


def test_two_sides_are_scored_both_ways():
    pairs, translator, seen = sides(), Shifting(0.1, two_ways=True), []
    names = applicable_translation(translator, pairs, mean_colour())
    assert names == ["fd", "kd", "cycle_mae", "fd_back", "kd_back", "cycle_mae_back"]
    metrics = build_translation_metrics(names, translator, pairs, mean_colour())
    found = score_translation(translator, pairs, metrics, batch_size=3, watch=seen.append)
    # The side that has fewer pictures says how many, as none counts twice.
    assert found["real"]["used"] == 4
    scores, baseline = found["scores"], found["baseline"]
    # What the way there clips does not come back.
    sources, targets = (np.stack([x[side] for x in pairs.examples[:4]]) / 255 for side in (1, 2))
    there = np.clip(sources + 0.1, 0, 1)
    expected = np.abs(np.round(255 * np.clip(there - 0.1, 0, 1)) - 255 * sources).mean() / 255
    assert scores["cycle_mae"] == pytest.approx(expected, abs=1e-4) and scores["cycle_mae"] > 0
    means = [x.mean(axis=(1, 2)) * 2 - 1 for x in (targets, there, np.clip(targets - 0.1, 0, 1), sources)]

    def distance(first, second):
        return np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)

    assert scores["fd"] > distance(*means[:2]) - 1e-4 and scores["fd_back"] > distance(*means[2:]) - 1e-4
    # Doing nothing is as far from the other side in both directions, and costs no cycle.
    assert baseline["scores"]["fd"] == pytest.approx(baseline["scores"]["fd_back"], rel=1e-4)
    assert not {"cycle_mae", "cycle_mae_back"} & set(baseline["scores"])
    assert seen[0].target is None and list(seen[0].values) == ["cycle_mae"]
    text = describe_score(found)
    assert re.search(r"Frechet distance, back [\d.]+ \(source [\d.]+\)\n", text) and "\nCycle error 0.0" in text
    assert text.splitlines()[2].startswith("Cycle error") and "4 pictures of pictures test" in text


def test_pairs_with_a_way_back_are_scored_by_the_truth_of_both():
    pairs, translator = of(RGB, waves((16, 16), 2)), Shifting(0.0, two_ways=True)
    names = ["psnr", "psnr_back", "cycle_mae"]
    found = score_translation(translator, pairs, build_translation_metrics(names, translator, pairs))
    expected = psnr(*pairs.examples[0][1:])
    assert found["scores"]["psnr"] == pytest.approx(expected) == found["scores"]["psnr_back"]
    assert found["scores"]["cycle_mae"] == 0.0
    # This translator does what the baseline does.
    assert found["baseline"]["scores"]["psnr_back"] == pytest.approx(expected)


def test_what_does_not_apply_says_what_it_needs():
    pairs, translator = of(GREY, GREY), Shifting()
    without = inapplicable_translation(translator, pairs)
    assert set(TRANSLATION_METRICS) - set(without) == {"psnr", "ssim", "mae"}
    assert without["psnr_y"] == "it needs RGB targets" and without["fd"] == "it needs a feature extractor"
    assert without["psnr_hole"] == "it needs sources with holes, by an alpha channel"
    assert without["psnr_back"] == without["cycle_mae"] == "it needs a translator with a way back"
    assert inapplicable_translation(translator, sides())["psnr"] == "it needs pairs"
    with pytest.raises(ValueError, match=r"There is no metric fid\. Expected some of psnr, ssim, "):
        build_translation_metrics(["psnr", "fid"], translator, pairs)
    with pytest.raises(ValueError, match="The metric ssim_y does not apply: it needs RGB targets"):
        build_translation_metrics(["ssim_y"], translator, pairs)


def test_a_metric_that_fails_is_left_out():
    pairs, translator = of(RGB[:8], RGB[:8]), Shifting(0.1)
    metrics = build_translation_metrics(["psnr", "ssim"], translator, pairs)
    found = score_translation(translator, pairs, metrics, left_out={"fd": "it needs a feature extractor"})
    reason = "ssim needs pictures of at least 11x11 pixels. Received: 8x16"
    assert found["left_out"] == {"fd": "it needs a feature extractor", "ssim": reason}
    assert list(found["scores"]) == ["psnr", "psnr_error"]
    broken = Shifting(function=lambda images: images * np.nan)
    with pytest.raises(ValueError, match=r"No score can be computed\. psnr, as it came to nan"):
        score_translation(broken, pairs, build_translation_metrics(["psnr"], broken, pairs))


def test_outputs_of_another_shape_are_refused():
    pairs, translator = of(RGB, RGB), doubling()
    with pytest.raises(
        UsageError, match=r"shape \(32, 32, 3\) of sources of \(16, 16, 3\)\. The targets of pictures are \(16, 16, 3\)"
    ):
        score_translation(translator, pairs, build_translation_metrics(["psnr"], translator, pairs))


def test_receipts_of_other_degradations_do_not_compare(small):
    translator = doubling()
    metrics = build_translation_metrics(["psnr"], translator, small)
    first = score_translation(translator, small, metrics)
    second = {**first, "scores": {"psnr": first["scores"]["psnr"] + 1, "psnr_error": 0.5}}
    assert compare(first, second)["psnr"][2] == pytest.approx(1)
    other = {**first, "real": {**first["real"], "degrade": "shrink(2), jpeg(60)"}}
    with pytest.raises(ValueError, match=r"real\.degrade: None against shrink\(2\), jpeg\(60\)"):
        compare(first, other)
    borders = {**first, "metrics": [{**first["metrics"][0], "border": 4}]}
    with pytest.raises(ValueError, match=r"psnr\.border: 2 against 4"):
        compare(first, borders)


# The page.


def shown(value, name="a", size=(12, 12), scale=1, metric="psnr"):
    target = waves(size, 0)
    return Translated(name, target[::scale, ::scale], target, target, {metric: value} if metric else {})


@pytest.mark.parametrize(("metric", "sign"), [("psnr", 1), ("mae", -1)])
def test_extremes_are_the_worst_and_the_best(metric, sign):
    extremes = Extremes(2)
    for value in (3, 1, 4, 1.5, 9, 2.6):
        extremes(shown(sign * value, str(value), metric=metric))
    assert [x.name for x in extremes.worst] == ["1", "1.5"] and [x.name for x in extremes.best] == ["9", "4"]
    extremes(shown(np.nan, "broken", metric=metric))
    assert extremes.worst[0].name == "broken" and len(extremes.best) == 2


def test_of_few_pictures_none_is_shown_twice():
    extremes = Extremes(3)
    for value in (3, 1, 4, 2):
        extremes(shown(value, str(value)))
    assert [x.name for x in extremes.worst] == ["1", "2", "3"] and [x.name for x in extremes.best] == ["4"]


def test_of_large_pictures_the_part_with_the_error_is_kept():
    target = waves((600, 700), 0)
    output = target.copy()
    output[416:480, 320:400] ^= 64
    extremes = Extremes(1)
    extremes(Translated("a", target[::2, ::2], output, target, {"psnr": 1.0}))
    (kept,) = extremes.worst
    assert kept.output.shape == (256, 256, 3) and kept.source.shape == (128, 128, 3)
    assert np.sum(kept.output != kept.target) == np.sum(output != target)
    # Source and target are cut alike.
    np.testing.assert_array_equal(kept.source, kept.target[::2, ::2])
    extremes = Extremes(1)
    extremes(Translated("a", target, output, None, {}))
    np.testing.assert_array_equal(extremes.worst[0].output, output[172:428, 222:478])
    # A narrow one keeps its shorter side.
    extremes = Extremes(1)
    extremes(Translated("a", target[:90], output[:90], target[:90], {"psnr": 1.0}))
    assert extremes.worst[0].output.shape == (90, 256, 3)


def test_triptychs_hold_pictures_of_any_kind():
    rows = [Translated("a", HOLED, RGB, RGB, {}), Translated("b", GREY[:4, :4], RGB[:8, :8], RGB[:8, :8], {})]
    sheet = triptychs(rows)
    assert sheet.dtype == np.uint8 and sheet.shape[1:] == (3 * 18 + 2, 3)
    body = sheet[-2 * 18 - 2 :]
    np.testing.assert_array_equal(body[2:18, 20:36], RGB)
    assert (body[6:10, 6:10] == 255).all()  # the hole
    np.testing.assert_array_equal(body[24:32, 6:14], GREY[:4, :4].repeat(2, 0).repeat(2, 1).repeat(3, 2))
    without = [dataclasses.replace(row, target=None) for row in rows]
    assert triptychs(without).shape[1] == 2 * 18 + 2


def test_page_shows_scores_beside_the_baseline_and_the_extremes(small, tmp_path):
    translator, extremes = doubling(), Extremes(2)
    metrics = build_translation_metrics(["psnr", "mae"], translator, small)
    receipt = score_translation(translator, small, metrics, watch=extremes)
    history = tmp_path / "metrics.csv"
    history.write_text(
        "step,d_loss,g_loss,l1,val_psnr,val_psnr_error,val_mae,val_l1\n2,1,1,1,20,1,.1,1\n4,1,1,1,21,1,.09,1\n"
    )
    page = write_translation_report(
        tmp_path / "report", title="a & b", receipt=receipt, extremes=extremes, history=history
    ).read_text()
    assert re.findall("<h2>(.*?)</h2>", page) == ["Scores", "The worst", "The best", "Losses", "Scores by step"]
    assert re.search(r"<td>PSNR</td><td>[\d.]+ ± [\d.]+ dB \(bicubic [\d.]+\)</td>", page)
    order = np.argsort(receipt["pictures"]["psnr"])
    names = [f"{i}.png {receipt['pictures']['psnr'][i]:.4g}" for i in order]
    assert f"By psnr. From above: {names[0]}, {names[1]}." in page
    assert f"By psnr. From above: {names[3]}, {names[2]}." in page
    assert "With 4 pairs of pictures test" in page and not re.search(r'(src|href)="(?!data:)', page)
    with Image.open(tmp_path / "report" / "worst.png") as sheet:
        assert len(np.unique(np.asarray(sheet))) > 100
    # A panel a score, and none for the errors of scores; one for the players' losses, and one for a term.
    with Image.open(tmp_path / "report" / "scores.png") as two, Image.open(tmp_path / "report" / "losses.png") as both:
        assert two.height == both.height


def test_page_without_values_shows_the_first(tmp_path):
    pairs, translator, extremes = sides(), Shifting(0.1), Extremes(2)
    metrics = build_translation_metrics(["fd"], translator, pairs, mean_colour())
    receipt = score_translation(translator, pairs, metrics, watch=extremes)
    page = write_translation_report(tmp_path, title="t", receipt=receipt, extremes=extremes).read_text()
    assert re.findall("<h2>(.*?)</h2>", page) == ["Scores", "Translations"]
    assert "The first, not chosen. From above: 0, 1." in page and "pictures" not in receipt


def test_a_gan_is_scored_in_the_domain_that_is_named(tmp_path):
    source, label = keras.Input((16, 16, 3), name="source"), keras.Input((), dtype="int32", name="labels")
    shift = keras.layers.Embedding(2, 3, embeddings_initializer="zeros")(label)
    generator = keras.Model([source, label], source + keras.ops.reshape(shift, (-1, 1, 1, 3)))
    generator.layers[1 if generator.layers[1].weights else 2].set_weights([np.array([[0.0] * 3, [0.2] * 3])])
    images = keras.Input((16, 16, 3))
    critic = keras.Model(images, keras.layers.Dense(1)(keras.layers.Flatten()(images)))

    class Domains(TranslationGAN):
        num_classes = 2

        def forward(self, sources, way="translate", seed=None, labels=None):
            return self.ema_generator([sources, labels])

    gan, pairs = Domains(generator, critic), of(RGB, RGB)
    metrics = build_translation_metrics(["mae"], gan, pairs)
    for label, expected in ((0, 0.0), (1, 0.1)):
        found = score_translation(gan, pairs, [metric.copy() for metric in metrics], label=label)
        assert found["scores"]["mae"] == pytest.approx(expected, abs=5e-3) and found["fake"]["label"] == label


def test_translators_of_tensors_will_do(small):
    class Tensors(Shifting):
        scale = 2

        def translate(self, images, *, seed=0, labels=None, way="translate"):
            return tf.repeat(tf.repeat(images, 2, 1), 2, 2)

    found = [
        score_translation(x, small, build_translation_metrics(["psnr"], x, small)) for x in (Tensors(), doubling())
    ]
    assert found[0]["scores"] == found[1]["scores"]


def test_curves_show_terms_alone_where_the_discriminator_rests(tmp_path):
    history = tmp_path / "metrics.csv"
    history.write_text("step,epoch,seconds,l1,val_l1,val_mae\n2,1,0.5,0.3,0.3,0.2\n4,2,0.9,0.2,0.3,0.1\n")
    page = Page(tmp_path / "report", "Curves")
    page.curves(history)
    assert {path.name for path in (tmp_path / "report").iterdir()} >= {"losses.png", "scores.png"}
    assert "<h2>Losses</h2>\n<img" in page.write().read_text()
