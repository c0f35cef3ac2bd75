"""Exports a run or a SavedModel as an ONNX or a LiteRT file.

python -m tfgan_app.export --run=runs/mnist --format=onnx --out=digits.onnx
python -m tfgan_app.export --saved_model=saved_models/mnist/1 --format=litert --out=digits.tflite
"""

import functools

from tfgan_app import cli
from tfgan_app.runs.settings import Exporting

__all__ = ["main", "run"]

cli.define(Exporting.rows())


def main(argv: list[str]) -> int:
    """Carries out the command; returns its exit code."""
    from tfgan_app.runs.exporting import export

    asked = cli.given(Exporting.rows())
    path = export(**asked)
    cli.say(f"{asked['signature']} in {path}." if path.is_file() else f"SavedModel in {path}.")
    return 0


run = functools.partial(cli.run, main)

if __name__ == "__main__":
    run()
