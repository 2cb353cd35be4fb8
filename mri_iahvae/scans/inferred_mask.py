"""Which bins were measured, inferred from exact zeros: thermal noise leaves none, so such bins were not measured."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.scans.scan import MaskSource, nonzero_bins

_STRAY_ZEROS = 1e-3


def mask_from_zeros(
    slices: Iterable[NDArray], acquired: tuple[int, int] | None = None
) -> tuple[NDArray[np.bool_], MaskSource, tuple[int, int]]:
    """Measured bins, those that are not zero in every slice and coil; "zeros" or "full"; and the acquired columns.

    Whole columns are unmeasured unless more than a few stray zeros lie within measured ones. A scan of zeros alone
    counts as measured.

    Args:
        slices: at least one, complex (coils, height, width), as `Source.kspace` gives them. No more are read than
            needed: the first one without a zero decides.
        acquired: first acquired column, and the first one after the last, where a header states them; else inferred
            from padding. Nothing outside is measured.
    """
    mask: NDArray[np.bool_] = np.zeros((), bool)
    for values in slices:
        mask = mask | nonzero_bins(values).any(axis=0)
        if mask[:, slice(*(acquired or (None,)))].all():
            break
    columns: NDArray[np.bool_] = np.asarray(mask.any(axis=0))
    if not columns.any():
        mask, columns = ~mask, ~columns
    elif np.count_nonzero(~mask[:, columns]) <= _STRAY_ZEROS * mask[:, columns].size:
        mask = np.tile(columns, (len(mask), 1))
    acquired = acquired or acquired_columns(columns)
    mask[:, : acquired[0]] = mask[:, acquired[1] :] = False
    return mask, "full" if mask[:, slice(*acquired)].all() else "zeros", acquired


def acquired_columns(filled: NDArray[np.bool_]) -> tuple[int, int]:
    """First acquired column, and the first one after the last, of those that hold anything, bool (width,).

    Zero padding, which lies on both sides, is told from gaps of undersampling and from partial Fourier: everything
    counts as acquired unless the empty columns on either side are at least half as many as on the other, and more
    than twice the widest gap between.
    """
    columns = np.flatnonzero(filled)
    if not columns.size:
        return 0, filled.size
    left, right = int(columns[0]), int(columns[-1]) + 1
    sides = left, filled.size - right
    gap = int(np.diff(columns).max(initial=1)) - 1
    if min(sides) < max(1, max(sides) / 2) or min(sides) <= 2 * gap:
        return 0, filled.size
    return left, right
