"""One figure for each task: what every method makes of one slice, and its error."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from quality_methods import Method
from quality_tasks import Measurement

from mri_iahvae.files import atomic_path

_GAIN = 5
"""Errors are brightened by this factor."""


def draw(folder: Path, measured: Measurement, methods: Sequence[Method]) -> Path:
    """Magnitudes in the upper row, the reference first, errors below, all in the reference's grey window.

    Args:
        folder: where `<task>.png` goes.
        measured: the file whose middle slice is shown.
        methods: one column each.

    Returns:
        The file.
    """
    middle = len(measured.kspace) // 2
    one = measured.part(slice(middle, middle + 1))
    white = float(one.reference.max())
    figure = Figure(figsize=(2.2 * (1 + len(methods)), 5.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 1 + len(methods))
    for axis in axes.flat:
        axis.set_axis_off()
    axes[0, 0].imshow(one.reference[0], cmap="gray", vmin=0, vmax=white)
    axes[0, 0].set_title("reference", fontsize=8)
    for column, method in zip(axes[:, 1:].T, methods, strict=True):
        image = method.run(one)
        error = np.abs(np.abs(image[0]) - one.reference[0])
        column[0].imshow(np.abs(image[0]), cmap="gray", vmin=0, vmax=white)
        column[0].set_title(f"{method.name}\nNMSE {one.scored(image)[0].nmse:.4f}", fontsize=8)
        column[1].imshow(_GAIN * error, cmap="gray", vmin=0, vmax=white)
        column[1].set_title(f"error x{_GAIN}", fontsize=8)
    figure.suptitle(measured.task.name, fontsize=10)
    path = folder / f"{re.sub(r'[^a-z0-9]+', '_', measured.task.name.lower())}.png"
    with atomic_path(path) as part:
        figure.savefig(part, format="png")
    return path
