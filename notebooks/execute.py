"""Runs notebooks from top to bottom and stores their outputs in place.

python notebooks/execute.py [NOTEBOOK ...]    # by default all that stand beside this file
"""

import pathlib
import sys

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient


def execute(path):
    """Runs one notebook in its own folder, by the interpreter that runs this file.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails; the file then stays as it was.
    """
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    client = NotebookClient(
        notebook,
        # Without folders to search, `python3` is ipykernel in this interpreter, whatever else is installed.
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[])),
        resources={"metadata": {"path": str(path.parent)}},
        # What TensorFlow's C++ writes to file descriptor 2 goes to the terminal, not into the notebook.
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],
        coalesce_streams=True,
        record_timing=False,
    )
    client.execute(cleanup_kc=True)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                print(output.text, end="", file=sys.stderr)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    # The interpreter's version would change with every machine.
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(pathlib.Path(__file__).parent.glob("*.ipynb")):
        execute(pathlib.Path(name).absolute())
