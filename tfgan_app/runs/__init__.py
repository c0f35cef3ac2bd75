"""Runs on disk: trained, scored and drawn from, as the commands do it.

    import tfgan_app as tg

    trained = tg.runs.train(model="CGAN", dataset="mnist_5k", train_steps=6000, run_dir="runs/mnist", say=print)
    print(tg.runs.evaluate(run="runs/mnist").receipt["scores"])
    tg.runs.generate(run="runs/mnist", grid="8x8", seed=7, out="grid.png")
    tg.runs.export(run="runs/mnist", format="onnx", out="digits.onnx")

Arguments have the names and defaults of the commands' flags.
"""

from tfgan_app.base.lazy import lazily

_FILES = {
    "Drawing": "settings",
    "Edited": "editing",
    "Evaluated": "evaluation",
    "Exporting": "settings",
    "Generated": "generation",
    "Run": "record",
    "Scoring": "settings",
    "Session": "session",
    "Settings": "settings",
    "Trained": "session",
    "Translated": "translating",
    "build_gan": "build",
    "build_model": "build",
    "evaluate": "evaluation",
    "export": "exporting",
    "generate": "generation",
    "open_split": "build",
    "set_learning_rates": "build",
    "train": "session",
}

__all__ = list(_FILES)
__getattr__, __dir__ = lazily(__name__, _FILES)
