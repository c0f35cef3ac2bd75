"""benchmarks/translation.py: its table, and the picture of several runs beside each other."""

import argparse
import json

import numpy as np
import pytest
from conftest import load_benchmark

from tfgan_app.base import pictures
from tfgan_app.study.translation_report import triptychs
from tfgan_app.study.translation_scores import Translated

translation = load_benchmark("translation")
VARIANTS = {"L1": ("--adversarial_weight=0",), "GAN": ()}
TASK = translation.Task("Holes", ("--flagfile=a.flags",), VARIANTS, ("psnr", "fd"))


def run(variant, seed, **scores):
    baseline = {"name": "mean fill", "scores": {"psnr": 10.0}}
    return {"variant": variant, "seed": seed, "core_seconds": 60 * (seed + 1), "scores": scores, "baseline": baseline}


def test_a_table_has_means_and_spreads_over_seeds():
    runs = [run("L1", 0, psnr=20.0, fd=2.0), run("L1", 1, psnr=22.0, fd=4.0), run("GAN", 0, psnr=19.5)]
    assert translation.table(TASK, runs).splitlines() == [
        "| | psnr | fd | core minutes |",
        "|---|---:|---:|---:|",
        "| mean fill | 10.00 | - | |",
        "| L1 | 21.00 ± 1.41 | 3.00 ± 1.41 | 2 |",
        "| GAN | 19.50 | - | 1 |",
    ]


def test_times_that_were_not_taken_from_the_first_step_do_not_count():
    untimed = {**run("L1", 1, psnr=22.0), "core_seconds": None}
    assert "| L1 | 21.00 ± 1.41 | - | 1 |" in translation.table(TASK, [run("L1", 0, psnr=20.0), untimed])
    assert "| L1 | 22.00 | - | - |" in translation.table(TASK, [untimed])


def test_a_report_keeps_the_tasks_that_are_not_asked_for(tmp_path, monkeypatch):
    def trained(task, variant, seed, args):
        return {**run(variant, seed, psnr=20.0), "task": task}

    monkeypatch.setattr(translation, "trained", trained)
    out = tmp_path / "results.json"
    for task, seeds in (("edges", [0]), ("colours", [0, 1]), ("edges", [1])):
        translation.main(argparse.Namespace(out=out, tasks=[task], seeds=seeds))
    kept = [(one["task"], one["seed"]) for one in json.loads(out.read_text())["runs"]]
    assert kept == [("colours", 0)] * 2 + [("colours", 1)] * 2 + [("edges", 1)] * 2


def levels(side, level):
    return np.full((side, side, 3), level, np.uint8)


@pytest.mark.parametrize(("side", "scale"), [(16, 5), (96, 1)])
@pytest.mark.parametrize("known", [True, False])
def test_a_picture_joins_what_runs_have_shown(side, scale, known, tmp_path):
    task = translation.Task("Holes", (), {"L1": (), "GAN": ()}, (), known=known)
    folders = {}
    for number, variant in enumerate(task.variants):
        folders[variant] = tmp_path / variant
        (folders[variant] / "samples").mkdir(parents=True)
        for step in (1, 2):  # the last one counts
            outputs = [levels(side, 100 + 50 * number + 10 * row + step) for row in range(3)]
            shown = [
                Translated(str(row), levels(side, row), output, levels(side, 200 + row) if known else None, {})
                for row, output in enumerate(outputs)
            ]
            pictures.save_png(folders[variant] / "samples" / f"step_{step:08}.png", triptychs(shown))
    joined = translation.picture(task, folders)
    expected = [[row, 102 + 10 * row, 152 + 10 * row, *([200 + row] if known else [])] for row in range(3)]
    cells = np.stack([levels(side, level) for row in expected for level in row])
    tiles = pictures.tile(cells, len(expected[0])).repeat(scale, 0).repeat(scale, 1)
    titles = ["source", "L1", "GAN", *(["truth"] if known else [])]
    np.testing.assert_array_equal(joined, pictures.titled(tiles, titles))


def test_folders_are_called_by_task_variant_and_seed():
    assert translation.run_name("superres", "pixels alone, 3 000 steps", 2) == "superres_pixels_alone_3_000_steps_2"
