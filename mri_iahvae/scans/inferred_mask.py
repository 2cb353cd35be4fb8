"""What bins that are exactly zero tell of the sampling: thermal noise leaves none, so they were not measured."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.scans.scan import MaskSource, Scan, Source, filled_bins

_STRAY_ZEROS = 1e-3


def mask_from_zeros(
    slices: Iterable[NDArray], acquired: tuple[int, int] | None = None
) -> tuple[NDArray[np.bool_], MaskSource]:
    """Measured bins: those that are not zero in every slice and coil.

    Args:
        slices: at least one, complex (coils, height, width), as `Source.kspace` gives them. No more are taken than
            needed: the first one without a zero decides.
        acquired: first acquired column, and the first one after the last, where that is known; None: all. Others
            need not be looked at.

    Returns:
        bool (height, width), and "zeros", or "full" where all are measured. Columns explain the zeros unless more
        than a stray few lie within measured ones. A scan of zeros alone is silent, not unmeasured.
    """
    seen: NDArray[np.bool_] = np.zeros((), bool)
    for values in slices:
        seen = seen | filled_bins(values).any(axis=0)
        if seen[:, slice(*(acquired or (None,)))].all():
            break
    if not seen.any():
        return ~seen, "full"
    columns = seen.any(axis=0)
    if np.count_nonzero(~seen[:, columns]) > _STRAY_ZEROS * seen[:, columns].size:
        return seen, "zeros"
    return np.tile(columns, (len(seen), 1)), "full" if columns.all() else "zeros"


def padding_around(filled: NDArray[np.bool_]) -> tuple[int, int]:
    """Tell zero padding, which lies on both sides, from gaps of undersampling and from partial Fourier.

    Args:
        filled: bool (width,), true for columns that hold anything.

    Returns:
        First acquired column, and the first one after the last: everything unless the empty columns on either
        side are at least half as many as on the other, and more than twice the widest gap between.
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


def bare_scan(
    path: Path, source: Source, shape: tuple[int, int, int, int], warnings: tuple[str, ...] = ()
) -> Scan:
    """Describe k-space that comes with nothing else: no mask, no header, no reference. All of it is read once.

    Args:
        path: the file.
        source: of its arrays.
        shape: (slices, coils, height, width).
        warnings: one sentence each.

    Raises:
        ScanError: the data cannot be read.
    """
    slices, coils, height, width = shape
    mask, mask_source = mask_from_zeros(source.kspace(range(slices)))
    acquired = padding_around(np.asarray(mask.any(axis=0)))
    if mask[:, slice(*acquired)].all():
        mask_source = "full"  # what is zero is padding
    return Scan(
        path=path,
        slices=slices,
        coils=coils,
        height=height,
        width=width,
        mask=mask,
        mask_source=mask_source,
        source=source,
        acquired=acquired,
        warnings=warnings,
    )
