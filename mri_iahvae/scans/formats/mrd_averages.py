"""Whether lines of ISMRMRD data that are averaged agree."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from mri_iahvae.errors import unusable
from mri_iahvae.scans.formats.mrd_acquisitions import Slice, line_samples

_LOST = 0.25  # of the lines' energy, in what they differ by: two lines 60 degrees apart
_NOISE = 4.0  # times what noise explains of that
_REMAINS = 2.0  # times what noise leaves of itself in the mean: no more than that is no image
_ADVICE = "their phases or signs differ: choose one of them, as by --select average=0, or correct them first"


def averages_doubts(
    path: Path, data: h5py.Dataset, slices: Sequence[Slice], coils: int, centre: int
) -> tuple[str, ...]:
    """A warning where lines that are averaged cancel: their mean has less energy than they have, beyond noise.

    Looked at is that column of each slice which is nearest to `centre` of those with several lines: signal is strong
    there. Noise is the median over the readout of the lines' variance, for each coil.

    Raises:
        ScanError: nothing but noise remains.
    """
    lost = kept = noise = remains = 0.0
    for one in slices:
        columns, times = np.unique([line.column for line in one.lines], return_counts=True)
        if not (repeated := columns[times > 1]).size:
            continue
        column = repeated[np.abs(repeated - centre).argmin()]
        lines = [line for line in one.lines if line.column == column]
        start, stop = max(line.rows.start for line in lines), min(line.rows.stop for line in lines)
        if start >= stop:
            continue
        mean, energy = np.zeros((coils, stop - start), complex), np.zeros((coils, stop - start))
        for line in lines:
            values = line_samples(path, line.record, data[line.record]["data"], (coils, line.stored))
            samples = values[:, line.samples][:, :: line.step].astype(complex)
            samples = samples[:, start - line.rows.start : stop - line.rows.start]
            mean += samples / len(lines)
            energy += np.square(np.abs(samples)) / len(lines)
        common = np.square(np.abs(mean))
        differing = energy - common
        explained = np.median(differing, axis=1).clip(0).sum() * (stop - start)
        lost, kept, noise = lost + differing.sum(), kept + common.sum(), noise + explained
        remains += explained / (len(lines) - 1)
    # Values that are not finite compare as false, and are refused when they are read.
    if not (lost > _LOST * (lost + kept) and lost > _NOISE * noise):
        return ()
    if kept <= _REMAINS * remains:
        raise unusable(path, "averages that agree", "nothing but noise in their mean", _ADVICE)
    left = f"{kept / (lost + kept):.0%} of the energy of central lines is left in their mean"
    return (f"averages contradict each other, {left}; {_ADVICE}",)
