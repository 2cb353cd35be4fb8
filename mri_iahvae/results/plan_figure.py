"""Figure of planned columns: the expected error, and where they lie."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.files import atomic_path

_INCHES = (8.0, 3.4)
_DPI = 120


def plan_figure(
    path: Path, measured: NDArray[np.bool_], columns: Sequence[int], expected: Sequence[float]
) -> None:
    """Write a PNG: on the left the expected error against the number of columns, on the right the columns in order.

    Args:
        path: the file.
        measured: bool (W,), the columns that were measured before.
        columns: the planned ones, in order.
        expected: expected squared error over the energy, before any of them and after each.

    Raises:
        IahvaeError: the file cannot be written.
    """
    # The Figure object alone, without pyplot: no display, no state that outlives the call.
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    first, centre = int(measured.sum()), len(measured) // 2
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    error, order = figure.subplots(1, 2)
    error.semilogy(range(first, first + len(expected)), expected, "k.-")
    error.set(xlabel="measured columns", ylabel="expected squared error / energy")
    before = np.flatnonzero(measured) - centre
    order.plot(before, np.full(len(before), first), "|", color="0.6", label="measured before")
    order.plot(np.array(columns) - centre, range(first + 1, first + 1 + len(columns)), "k.", label="planned")
    order.set(xlabel="column, from the centre of k-space", ylabel="measured columns")
    order.legend(fontsize="small")
    for axis in (error.xaxis, order.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    with atomic_path(path) as part:
        figure.savefig(part, format="png")
