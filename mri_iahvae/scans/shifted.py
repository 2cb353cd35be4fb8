"""k-space whose DC or image lies where an FFT without `fftshift` leaves it: moved to the centre, without loss."""

from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.scans.inferred_mask import acquired_columns
from mri_iahvae.scans.scan import ChangedSource, Scan

Axes = Literal["rows", "columns", "both"]

_AXES: dict[Axes | None, tuple[int, ...]] = {None: (), "rows": (-2,), "columns": (-1,), "both": (-2, -1)}


def shifted(scan: Scan, fftshift: Axes | None, centre_image: Axes | None) -> Scan:
    """The scan with DC moved from index 0 to the centre of the axes `fftshift`, as `numpy.fft.fftshift` does, and the
    image along the axes `centre_image`.
    """
    if fftshift is None and centre_image is None:
        return scan
    axes = _AXES[fftshift]
    moved = partial(_moved, kspace_axes=axes, image_axes=_AXES[centre_image])
    mask, acquired = np.fft.fftshift(scan.mask, axes=axes), scan.acquired
    if -1 in axes:
        acquired = acquired_columns(np.asarray(mask.reshape(-1, scan.width).any(axis=0)))
    return replace(scan, source=ChangedSource(scan.source, moved), mask=mask, acquired=acquired)


def _moved(
    kspace: NDArray[np.complex64], kspace_axes: tuple[int, ...], image_axes: tuple[int, ...]
) -> NDArray[np.complex64]:
    """k-space (coils, height, width), DC and image moved by half a side along these axes."""
    kspace = np.fft.fftshift(kspace, axes=kspace_axes)
    for axis in image_axes:
        kspace = kspace * np.expand_dims(_ramp(kspace.shape[axis]), (0, -3 - axis))
    return kspace


def _ramp(count: int) -> NDArray[np.complex64]:
    """The phases that move an image by `count // 2` pixels: 1 and -1 in turn where the count is even."""
    frequencies = np.arange(count) - count // 2
    if count % 2 == 0:
        return (1.0 - 2 * (frequencies % 2)).astype(np.complex64)
    return np.exp(2j * np.pi * frequencies * (count // 2) / count).astype(np.complex64)
