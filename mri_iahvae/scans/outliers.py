"""Spikes in k-space, as arcing and a faulty converter leave them: one bin as strong as DC, far from it.

Such a bin is a wave over the whole field of view, air included. An object that leaves air around it spreads over
neighbouring bins, so no bin of its k-space stands out from all of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_STRONG = 0.03  # of the slice's largest bin
_STANDS_OUT = 10.0  # times what its neighbours have, but for two: arcing may last for some samples
_ROWS, _COLUMNS = 5, 1  # of neighbours in either direction
_CENTRE = 4  # bins around DC, where the object itself is steep
_MOST = 32  # of a slice: more are no outliers
_NAMED = 4


class Outlier(NamedTuple):
    """Where a spike lies."""

    slice: int
    row: int
    column: int


def outliers(kspace: NDArray[np.complex64], number: int) -> list[Outlier]:
    """Spikes of a slice, complex (coils, height, width), zero where not measured; of that number in the scan."""
    magnitude = np.abs(kspace).max(axis=0).astype(np.float64)  # ten times it could leave float32's range
    candidates = magnitude > _STRONG * magnitude.max()
    # At most two neighbours are strong, so two of any four are weak: few bins of noise pass, and take time.
    neighbours = np.stack([np.roll(magnitude, shift, 0) for shift in (-5, -4, 4, 5)])
    candidates &= (_STANDS_OUT * neighbours < magnitude).sum(axis=0) >= 2
    centre = [slice(max(0, n // 2 - _CENTRE), n // 2 + _CENTRE + 1) for n in magnitude.shape]
    candidates[tuple(centre)] = False
    found = []
    for row, column in np.argwhere(candidates).tolist():
        rows, columns = range(row - _ROWS, row + _ROWS + 1), range(column - _COLUMNS, column + _COLUMNS + 1)
        near = magnitude.take(rows, 0, mode="wrap").take(columns, 1, mode="wrap").ravel()
        near = near[near > 0]
        if near.size > 4 and magnitude[row, column] > _STANDS_OUT * np.partition(near, -4)[-4]:
            found.append(Outlier(number, row, column))
    return found if len(found) <= _MOST else []


def without_outliers(
    masks: NDArray[np.bool_], found: Sequence[Outlier], *, columns: bool
) -> NDArray[np.bool_]:
    """Masks (slices, height, width) less these bins, or less their whole columns."""
    masks = masks.copy()
    for number, row, column in found:
        masks[number, slice(None) if columns else row, column] = False
    return masks


def outliers_text(found: Sequence[Outlier]) -> str:
    """Which they are, in words."""
    named = "; ".join(f"slice {number}, row {row}, column {column}" for number, row, column in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    bins = "a bin is" if len(found) == 1 else f"{len(found)} bins are"
    return f"{bins} far too strong, as a spike leaves it ({named}{more})"
