"""Points, such as those of a mixture in the plane."""

import keras
import numpy as np

from tfgan_app.modalities.modality import Array, Modality

__all__ = ["Points"]


@keras.saving.register_keras_serializable("tfgan_app")
class Points(Modality):
    """Points `(dim,)`, float32 everywhere: the network's range is that of the data."""

    name = "points"

    def show(self, samples: Array, columns: int | None = None) -> np.ndarray:
        """Returns a scatter plot of the first two coordinates."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        samples = np.asarray(samples)
        figure = Figure(figsize=(4, 4), dpi=100, layout="constrained")
        axes = figure.subplots()
        axes.scatter(samples[:, 0], samples[:, 1] if self.shape[0] > 1 else np.zeros(len(samples)), s=4)
        axes.grid(alpha=0.3)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()
