"""notebooks/: every cell runs, and what is committed is the output of a clean run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import tfgan_app as tg

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    cells = nbformat.read(path, as_version=nbformat.NO_CONVERT).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} == {
        "enlarge_and_translate",
        "find_and_change",
        "fit_in_a_notebook",
        "load_a_savedmodel",
        "your_own_networks",
    }


@pytest.fixture(scope="module")
def enlarger(tmp_path_factory):
    """Returns the folder of an exported model that enlarges, small and untrained."""
    gan = tg.models.SRGAN(
        (8, 8, 3),
        (16, 16, 3),
        form="compact",
        g_channels=2,
        blocks=1,
        d_channels=2,
        d_units=2,
        perceptual_weight=0,
    )
    gan.compile()
    return gan.export(tmp_path_factory.mktemp("enlarger") / "1")


@every_notebook
def test_runs_from_top_to_bottom(path, tmp_path, enlarger):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copy(path, folder)
    (tmp_path / "saved_models").symlink_to(ROOT / "saved_models")
    command = [sys.executable, str(ROOT / "notebooks" / "execute.py"), str(folder / path.name)]
    environment = {**os.environ, "TFGAN_NOTEBOOK_STEPS": "2", "TMPDIR": str(tmp_path)}
    environment["TFGAN_SUPERRES_MODEL"] = str(enlarger)

    run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    assert run.returncode == 0, run.stderr[-4000:]
    assert all(cell.execution_count for cell in code_cells(folder / path.name))


@every_notebook
def test_committed_outputs_are_of_one_clean_run(path):
    cells = code_cells(path)
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert "display_data" in kinds and "error" not in kinds
    assert not [output.text for cell in cells for output in cell.outputs if output.get("name") == "stderr"]


@every_notebook
def test_committed_notebook_is_small_and_names_no_folder_of_a_machine(path):
    text = path.read_text()
    # Pictures are base64, where a slash means nothing.
    text = re.sub(r'"image/\w+": "[^"]*"', "", text)
    assert re.findall(r"(?<![\w.~:/])/(?:work|tmp|root|home|Users|private|var)\b.*", text) == []
    assert path.stat().st_size < 1_500_000


def test_the_notebook_for_other_code_needs_tensorflow_alone():
    sources = "\n".join(cell.source for cell in code_cells(ROOT / "notebooks" / "load_a_savedmodel.ipynb"))
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", sources, re.MULTILINE))
    assert imported == {"os", "matplotlib", "numpy", "tensorflow"}
