"""Noise measurements of an ISMRMRD file: coils made independent and equally noisy, and the level of their noise."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.formats.mrd_acquisitions import line_samples
from mri_iahvae.scans.formats.mrd_selection import COILS, NOISE, flagged
from mri_iahvae.scans.whitening import LEAST, whitening
from mri_iahvae.words import counted


@dataclass(frozen=True, eq=False)
class MeasuredNoise:
    """What the noise lines show.

    Attributes:
        whitening: matrix of the coils (`scans.whitening`); None for a single coil, and without usable noise lines.
        sigma: the level of an image's line that it leads to, per real and imaginary part; None where dwell times are
            not stated.
        notes: at most one sentence about it.
        warnings: at most one, likewise.
    """

    whitening: NDArray[np.complex64] | None = None
    sigma: float | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def measured_noise(path: Path, data: h5py.Dataset, heads: NDArray, image: NDArray) -> MeasuredNoise:
    """Noise of the coils of an image, by the noise lines among the acquisitions `data`, whose headers are `heads`.

    `image` holds the headers of the lines of the image, all of the same coils.
    """
    records = np.flatnonzero(flagged(heads, NOISE))
    if not records.size:
        return MeasuredNoise()
    coils, lines = int(image["active_channels"][0]), counted(records.size, "noise line")
    found = _whitening(path, data, heads, records, image)
    before, of = dwell_time(heads[records]), dwell_time(image)
    if coils == 1 and None in (before, of):
        found = "no one dwell time is stated"
    if isinstance(found, str):
        left_out = "left out, and the coils are not prewhitened" if coils > 1 else "left out"
        text = f"{lines} {'are' if records.size > 1 else 'is'} {left_out}: {found}"
        return MeasuredNoise(warnings=(text,))
    matrix, sigma = found
    text = f"{coils} coils are prewhitened by {lines}" if coils > 1 else f"the noise level is by {lines}"
    if before is None or of is None:
        text += "; their level is left out, as no one dwell time is stated"
        return MeasuredNoise(matrix, warnings=(text,))
    # The variance of a sample goes with the receiver's bandwidth, one over the dwell time.
    return MeasuredNoise(matrix if coils > 1 else None, sigma * (before / of) ** 0.5, notes=(text,))


def dwell_time(heads: NDArray) -> float | None:
    """Of some acquisitions, in microseconds; None where they do not state one."""
    times = np.unique(heads["sample_time_us"])
    return float(times[0]) if times.size == 1 and 0 < times[0] < np.inf else None


def _whitening(
    path: Path, data: h5py.Dataset, heads: NDArray, records: NDArray[np.intp], image: NDArray
) -> tuple[NDArray[np.complex64], float] | str:
    """As `whitening`, by some acquisitions; or why not."""
    coils = int(image["active_channels"][0])
    if any((heads[name][records] != image[name][0]).any() for name in COILS):
        return "they are of other coils"
    try:
        covariance, samples = covariance_of(path, data, heads, records, coils)
    except ScanError:
        return "their data are not what their headers say"
    if samples < LEAST * coils:
        return f"{samples} samples are too few"
    return whitening(covariance) or "a coil has no noise, or that of others, or it is not finite"


def covariance_of(
    path: Path, data: h5py.Dataset, heads: NDArray, records: NDArray[np.intp], coils: int
) -> tuple[NDArray[np.complex128], int]:
    """Covariance (coils, coils) of the samples of some acquisitions, and their number."""
    total, products, count = np.zeros(coils, np.complex128), np.zeros((coils, coils), np.complex128), 0
    for record in records.tolist():
        head = heads[record]
        stored = int(head["number_of_samples"])
        # Whole records, as for the lines of the image.
        values = line_samples(path, record, data[record : record + 1]["data"][0], (coils, stored))
        kept = slice(int(head["discard_pre"]), max(0, stored - int(head["discard_post"])))
        samples = values[:, kept].astype(complex)
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is found in the result
            total += samples.sum(axis=1)
            products += samples @ samples.conj().T
        count += samples.shape[1]
    with np.errstate(invalid="ignore", over="ignore"):
        mean = total / max(1, count)
        return np.asarray(products / max(1, count) - np.outer(mean, mean.conj())), count
