"""Noise that was measured in a scan of its own: coils are prewhitened, and the noise level is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import UsageError, unusable
from mri_iahvae.scans.arrays import complex_array
from mri_iahvae.scans.formats.bart import bart_name, cfl_array
from mri_iahvae.scans.formats.mrd import mrd_group
from mri_iahvae.scans.formats.mrd_noise import covariance_of, dwell_time
from mri_iahvae.scans.formats.mrd_selection import NOISE as NOISE_LINES
from mri_iahvae.scans.formats.mrd_selection import acquisition_heads, flagged
from mri_iahvae.scans.safety.hdf5 import dataset, group, guarded_file
from mri_iahvae.scans.safety.limits import MAX_BINS
from mri_iahvae.scans.scan import Scan, to_complex64
from mri_iahvae.scans.whitening import LEAST, whitened, whitening
from mri_iahvae.words import counted

NOISE = "noise"
"""Name of the dataset in an HDF5 file."""

_SHAPES = "(coils, samples) or (..., coils, height, width)"


def prewhitened(scan: Scan, path: Path) -> Scan:
    """A scan whose coils are independent and equally noisy, by samples of their noise; its reference no longer fits.

    The file holds complex numbers (coils, samples) or (..., coils, height, width), as npy, HDF5 (dataset `noise`) or
    BART's cfl: samples as noisy as those of the scan. Those that are zero in all coils do not count. Or it is ISMRMRD
    raw data with noise lines: their dwell time is taken into account.

    Raises:
        UsageError: the coils are whitened already, by noise lines of their own file.
        ScanError: the file holds no such samples, or too few of them to separate the coils.
    """
    path = bart_name(path)
    if scan.whitening is not None:
        why = f"{scan.path} is prewhitened by its own noise lines"
        raise UsageError(f"--noise-scan {path}: {why}; leave it out")
    raw = mrd_group(path) if path.suffix.lower() in {".h5", ".hdf5", ".mrd"} else None
    found = _of_array(path, scan.coils) if raw is None else _of_lines(path, raw, scan.coils)
    covariance, samples, dwell = found
    wanted = f"noise of {counted(scan.coils, 'coil')}"
    if samples < LEAST * scan.coils:
        raise unusable(path, f"at least {LEAST * scan.coils} samples of {wanted}", samples, "measure more")
    white = whitening(covariance)
    if white is None:
        raise unusable(path, wanted, _fault(covariance), "leave the coil out of both files")
    matrix, sigma = white
    level: NDArray[np.float64] | None = np.full(scan.slices, sigma)
    warnings = scan.warnings
    if dwell is not None and scan.dwell is not None:
        level = sigma * np.sqrt(dwell / scan.dwell)
    elif raw is not None:
        doubt = f"the noise level of {path.name} is left out: no dwell time is stated"
        level, warnings = None, (*warnings, doubt)
    scan = replace(scan, noise_sigma=level, warnings=warnings)
    if scan.coils == 1:
        return scan
    note = f"{scan.coils} coils are prewhitened by {samples} samples of {path.name}"
    source = whitened(scan.source, matrix)
    return replace(scan, source=source, whitening=matrix, reference=None, notes=(*scan.notes, note))


_Found = tuple[NDArray[np.complex128], int, float | None]
"""Covariance (coils, coils), the number of samples, and their dwell time in microseconds where it is stated."""


def _of_array(path: Path, coils: int) -> _Found:
    with complex_array(path, NOISE, range(2, 17), _SHAPES, _cfl) as stored:
        axis = max(0, stored.ndim - 3)
        if stored.shape[axis] != coils:
            wanted = f"noise of {counted(coils, 'coil')}, {_SHAPES}"
            raise unusable(path, wanted, f"shape {tuple(stored.shape)}", "give that of the scan's coils")
        if stored.size > MAX_BINS:
            raise unusable(path, f"at most {MAX_BINS} numbers", stored.size, "take fewer samples")
        values = to_complex64(np.moveaxis(np.asarray(stored), axis, 0).reshape(coils, -1)).astype(complex)
    values = values[:, values.any(axis=0)]
    if not values.size:
        return np.zeros((coils, coils), complex), 0, None
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is found in the result
        return np.asarray(np.cov(values, bias=True)).reshape(coils, coils), values.shape[1], None


def _fault(covariance: NDArray[np.complex128]) -> str:
    """The first coil that keeps those before it and itself from being whitened, and why; coils count from 0."""
    coil = next(n for n in range(len(covariance)) if whitening(covariance[: n + 1, : n + 1]) is None)
    variance = covariance[coil, coil].real
    if not np.isfinite(variance):
        return f"values in coil {coil} that are not finite"
    return f"coil {coil} with the noise of coils before it" if variance else f"no noise in coil {coil}"


def _of_lines(path: Path, name: str, coils: int) -> _Found:
    wanted = f"noise lines of {coils} coils"
    with guarded_file(path) as file:
        inside = group(file, name)
        data = None if inside is None else dataset(inside, "data")
        if data is None:
            raise unusable(path, wanted, "no acquisitions", "check the conversion")
        heads = acquisition_heads(path, data)
        records = np.flatnonzero(flagged(heads, NOISE_LINES))
        active = np.unique(heads["active_channels"][records]).tolist()
        if active != [coils]:
            found = f"those of {' and '.join(map(str, active))}" if active else "none"
            raise unusable(path, wanted, found, "give the noise scan of these coils")
        return *covariance_of(path, data, heads, records, coils), dwell_time(heads[records])


def _cfl(path: Path) -> NDArray:
    """The data of a BART pair, coils (dimension 3) third to last."""
    return np.moveaxis(cfl_array(path), (3, 0, 1), (-3, -2, -1))
