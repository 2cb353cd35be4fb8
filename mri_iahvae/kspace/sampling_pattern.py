"""What a sampling mask looks like: lines or single bins, and how much of the centre. Without torch, for `inspect`."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.kspace.masks import true_acceleration

Kind = Literal["full", "columns", "rows", "bins", "nothing"]


@dataclass(frozen=True)
class Pattern:
    """A Cartesian sampling pattern.

    Attributes:
        kind: everything, whole columns, whole rows, single bins, or nothing.
        measured: number of columns, rows or bins.
        total: how many of them there are.
        centre: columns or rows around DC without a gap; of bins, the side of the largest centred square that
            is measured whole (a block B_s of any s).
        true_acceleration: all bins over measured bins; None where nothing is measured.
    """

    kind: Kind
    measured: int
    total: int
    centre: int
    true_acceleration: float | None


def sampling_pattern(mask: NDArray[np.bool_], acquired: tuple[int, int] | None = None) -> Pattern:
    """Describe a mask, bool (H, W), DC at (H // 2, W // 2).

    `acquired` is the first column that the scanner acquired, and the first one after the last: zero padding counts
    for nothing.
    """
    height, width = mask.shape
    start, stop = acquired or (0, width)
    inner = mask[:, start:stop]
    rows, columns = np.any(inner, axis=1), np.any(inner, axis=0)
    acceleration = true_acceleration(inner)
    if acceleration is None:
        return Pattern("nothing", 0, inner.size, 0, None)
    if inner[:, columns].all():
        kind: Kind = "full" if columns.all() else "columns"
        lines, centre = columns, width // 2 - start
    elif inner[rows].all():
        kind, lines, centre = "rows", rows, height // 2
    else:
        return Pattern("bins", int(inner.sum()), inner.size, _square(mask), acceleration)
    return Pattern(kind, int(lines.sum()), lines.size, _run(lines, centre), acceleration)


def _run(lines: NDArray[np.bool_], centre: int) -> int:
    """Number of measured lines around the centre without a gap."""
    if not 0 <= centre < lines.size or not lines[centre]:
        return 0
    after = np.append(lines[centre:], values=False).argmin()
    before = np.append(lines[:centre][::-1], values=False).argmin()
    return int(before + after)


def _square(mask: NDArray[np.bool_]) -> int:
    """Side of the largest centred square that is measured whole; some bins of the mask are not."""
    # B_s reaches s // 2 bins before DC, and where s is even one bin less after it.
    distances = [np.arange(n) - n // 2 for n in mask.shape]
    y, x = (np.where(d < 0, -2 * d, 2 * d + 1) for d in distances)
    needed = np.maximum(y[:, None], x)  # side of the smallest square with this bin
    return min(int(needed[~mask].min()) - 1, *mask.shape)
