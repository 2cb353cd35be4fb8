"""One pass over the data of a scan: what its values show, for `findings`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.scans.outliers import Outlier, outliers
from mri_iahvae.scans.scan import Scan


@dataclass(eq=False)
class Survey:
    """What the values of a scan show.

    Attributes:
        power: float (height, width), of each measured bin, summed over slices and coils, outliers left out.
        numbers: slices that were read.
        by_slice: float (n,), their power.
        by_coil: float (coils,), power.
        ramp: complex (2,), products of each bin with the next along rows and columns, summed: their angle over 2 pi is
            how far the image's centre lies from that of the field, in fields of view.
        zeros: bins that count as measured and hold zero in every coil, of slices with signal.
        measured: bins that count as measured, of slices with signal.
        equal: lines that hold the same numbers as the one before, by slice, axis and number.
        outliers: spikes.
    """

    numbers: Sequence[int]
    power: NDArray[np.float64]
    by_slice: NDArray[np.float64]
    by_coil: NDArray[np.float64]
    ramp: NDArray[np.complex128]
    zeros: int = 0
    measured: int = 0
    equal: list[tuple[int, str, int]] = field(default_factory=list)
    outliers: list[Outlier] = field(default_factory=list)


def survey(scan: Scan, numbers: Sequence[int] | None = None) -> Survey:
    """Read some slices once, all of them by default.

    Raises:
        ScanError: values that are not finite, or a file that cannot be read.
    """
    numbers, size = range(scan.slices) if numbers is None else numbers, (scan.height, scan.width)
    seen = Survey(numbers, np.zeros(size), np.zeros(len(numbers)), np.zeros(scan.coils), np.zeros(2, complex))
    for index, number in enumerate(numbers):
        kspace = scan.read_coils(number)[0]
        spikes = outliers(kspace, number)
        for _, row, column in spikes:
            kspace[:, row, column] = 0
        seen.outliers += spikes
        power = np.square(kspace.real, dtype=np.float64) + np.square(kspace.imag, dtype=np.float64)
        seen.power += power.sum(axis=0)
        seen.by_slice[index] = power.sum()
        seen.by_coil += power.sum(axis=(1, 2))
        if seen.by_slice[index] == 0:
            continue
        mask = scan.masks[number]
        seen.measured += int(mask.sum())
        seen.zeros += int((mask & (power.sum(axis=0) == 0)).sum()) - len(spikes)
        unit = kspace / np.float32(np.sqrt(power.max()))  # squares of scanner units can leave float32's range
        along = [(unit[:, 1:], unit[:, :-1]), (unit[..., 1:], unit[..., :-1])]
        seen.ramp += [np.vdot(before, after).astype(complex) * power.max() for after, before in along]
        for (after, before), name, axes in zip(along, ("row", "column"), ((0, 2), (0, 1)), strict=True):
            same = (after == before).all(axis=axes) & after.any(axis=axes)
            seen.equal += [(number, name, int(line) + 1) for line in np.flatnonzero(same)]
    return seen
