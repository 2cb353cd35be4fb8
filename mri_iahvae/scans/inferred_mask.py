"""Which bins were measured, inferred from zeros: thermal noise leaves none, so such bins were not measured."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.scans.scan import MaskSource, to_complex64

_STRAY_ZEROS = 1e-3
_LEFTOVER = 1e-5  # of a slice's RMS: what an FFT and back leaves of zeros is less, and noise is more
_GAP = 10.0  # times that, below which noise hardly ever falls
_RARE = 1e-2
_SPIKES = 32  # bins of any strength that may not decide what is zero


def filled_bins(values: NDArray) -> NDArray[np.bool_]:
    """Bins of a slice (coils, height, width), as `to_complex64` takes them, that hold more than zero: (height, width).

    What is far below the noise is zero too: an FFT and back, or a resampling, leaves some 1e-7 of the rest. It must
    lie apart from the data, as noise-free k-space fades without a gap.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # a signalling NaN; NaN is no zero
        magnitude = np.abs(to_complex64(values)).max(axis=0)
    finite = magnitude[np.isfinite(magnitude)].astype(np.float64)
    limit = 0.0
    if finite.size:
        rank = max(0, finite.size - _SPIKES - 1)
        usual = np.minimum(finite, np.partition(finite, rank)[rank])
        limit = _LEFTOVER * np.sqrt(np.square(usual).mean())
    low = np.count_nonzero(finite <= limit)
    near = np.count_nonzero(finite <= _GAP * limit) - low
    filled = np.asarray(magnitude != 0 if near > _RARE * low else ~(magnitude <= limit))
    held = finite[finite > limit]
    if np.count_nonzero(held == held.min(initial=np.inf)) > max(8, _RARE * held.size):
        # Whole numbers: noise of a few units leaves zeros, but hardly a line of them.
        filled = np.asarray(filled.any(axis=0) & filled.any(axis=1, keepdims=True))
    return filled


def mask_from_zeros(
    slices: Iterable[NDArray], acquired: tuple[int, int] | None = None
) -> tuple[NDArray[np.bool_], MaskSource, tuple[int, int]]:
    """Measured bins, those that hold more than zero in any coil; "zeros" or "full"; and the acquired columns.

    The bins are (height, width), or (slices, height, width) where slices differ by more than a few stray zeros. Whole
    columns are unmeasured unless more than that lie within measured ones. A slice of zeros alone counts as measured
    where the others are, a scan of them everywhere.

    Args:
        slices: at least one, complex (coils, height, width), as `Source.kspace` gives them.
        acquired: first acquired column, and the first one after the last, where a header states them; else inferred
            from padding. Nothing outside is measured.
    """
    masks: list[NDArray[np.bool_]] = []
    for values in slices:
        height = values.shape[-2]
        mask = _whole_columns(filled_bins(values))
        masks.append(masks[-1] if masks and np.array_equal(mask, masks[-1]) else mask)  # one copy of equals
    distinct = list({id(mask): mask for mask in masks}.values())
    union = np.logical_or.reduce([np.broadcast_to(mask, (height, mask.shape[1])) for mask in distinct])
    if not union.any():
        union = ~union
    taken = {id(mask): union if _nearly(mask, union) or not mask.any() else mask for mask in distinct}
    acquired = acquired or acquired_columns(union.any(axis=0))
    inside = np.zeros(union.shape[1], bool)
    inside[slice(*acquired)] = True
    if all(mask is union for mask in taken.values()):
        found = union & inside
    else:
        rows = 1 if all(len(taken[id(mask)]) == 1 for mask in masks) else height
        found = np.stack([np.broadcast_to(taken[id(mask)], (rows, inside.size)) for mask in masks]) & inside
        found = np.broadcast_to(found, (len(masks), height, inside.size))
    return found, "full" if found[..., inside].all() else "zeros", acquired


def acquired_columns(filled: NDArray[np.bool_]) -> tuple[int, int]:
    """First acquired column, and the first one after the last, of those that hold anything, bool (width,).

    Zero padding lies on both sides, unlike what partial Fourier leaves out, and is wider than gaps of undersampling:
    everything counts as acquired unless the empty columns on either side are at least half as many as on the other, and
    more than twice the widest gap between.
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


def _whole_columns(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(1, width) where whole columns were measured, but for stray zeros; else the mask (height, width) itself."""
    columns = np.asarray(mask.any(axis=0, keepdims=True))
    return columns if _nearly(mask, columns) else mask


def _nearly(mask: NDArray[np.bool_], whole: NDArray[np.bool_]) -> bool:
    """Whether a few stray zeros are all that a mask lacks of `whole`."""
    rows = max(len(mask), len(whole))
    size = np.count_nonzero(whole) * rows // len(whole)
    return bool(size - np.count_nonzero(mask) * rows // len(mask) <= _STRAY_ZEROS * size)
