"""What is odd about a scan, how bad that is, and what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError
from mri_iahvae.kspace.sampling_pattern import Pattern
from mri_iahvae.scans.geometry import Geometry, reference_fits
from mri_iahvae.scans.scan import Scan

_STRAY_ZEROS = 1e-3
_OFF_CENTRE = 0.25  # of a side; the peak of a real scan is within a few bins of DC
_CALIBRATION = 4  # lines, or bins a side, that `kspace.sensitivities` needs

Level = Literal["error", "warning", "note"]
"""The file cannot be used; the result may not be what one expects; good to know."""
LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True)
class Finding:
    """Something about a file: how bad it is, how it is taken, and what to do about it, if anything."""

    level: Level
    text: str
    fix: str = ""


def opening_findings(scan: Scan, geometry: Geometry) -> Iterator[Finding]:
    """What came up when the file was opened and its sizes were looked at."""
    for warning in (*scan.warnings, *geometry.warnings):
        yield Finding("warning", warning)
    if scan.voxel is None and scan.affine is None:
        text = "no header: voxel sizes are unknown" if scan.header is None else "voxel sizes are unknown"
        yield Finding("note", text, "a NIfTI will not state them")
        if scan.reference is None and scan.header is None:
            text = "nothing states the size of the image: that of k-space"
            yield Finding("note", text, "state another with --image-size")
    if scan.reference is None:
        yield Finding("note", "no reference images: no scores")
    elif not reference_fits(scan):
        rows, columns = scan.reference
        yield Finding(
            "warning",
            f"the reference is {rows}x{columns}, which no crop of {scan.height}x{scan.width} k-space gives: not used",
            "store the reference at its native size",
        )


def sampling_findings(scan: Scan, pattern: Pattern) -> Iterator[Finding]:
    """What the mask shows; the pattern is that of the acquired columns."""
    if pattern.kind == "full":
        yield Finding(
            "note",
            "every acquired bin is measured: `reconstruct` would return the data",
            "leave bins out with --up-to or --acceleration, or denoise",
        )
    if pattern.kind == "rows":
        yield Finding(
            "note",
            "whole rows are missing: rows are taken for the readout, which is measured whole as a rule",
            "swap the last two axes if the columns are the readout",
        )
    if scan.coils > 1 and pattern.centre < _CALIBRATION:
        yield Finding(
            "error",
            f"{scan.coils} coils, and {pattern.centre} lines around the centre: too few to find sensitivities from",
            f"at least {_CALIBRATION} are needed; combine the coils into one first",
        )
    if pattern.centre == 0 and pattern.kind != "nothing":
        row, column = scan.height // 2, scan.width // 2
        yield Finding(
            "warning",
            f"the centre of k-space, row {row} and column {column}, is not measured: contrast will be a guess",
            "check that mask and k-space are centred",
        )


def data_findings(scan: Scan, power: NDArray[np.float64], empty: list[int]) -> Iterator[Finding]:
    """What the values show: power of each measured bin over all slices and coils, numbers of slices without signal."""
    if empty:
        numbers = ", ".join(map(str, empty[:8])) + (" ..." if len(empty) > 8 else "")
        verb = "holds" if len(empty) == 1 else "hold"
        text = f"{len(empty)} of {scan.slices} slices {verb} no signal: {numbers}"
        yield Finding("warning", text, "expect zeros")
    if not power.any():
        return
    zeros, measured = np.count_nonzero(scan.mask & (power == 0)), np.count_nonzero(scan.mask)
    if scan.mask_source == "file" and zeros > _STRAY_ZEROS * measured:
        yield Finding(
            "warning",
            f"{zeros / measured:.1%} of the bins that the mask calls measured are zero in every slice: taken as data",
            "correct the mask, or remove it to have it inferred from the zeros",
        )
    peak = np.unravel_index(power.argmax(), power.shape)
    centre = scan.height // 2, scan.width // 2
    far = [abs(p - c) > _OFF_CENTRE * n for p, c, n in zip(peak, centre, power.shape, strict=True)]
    if scan.mask[centre] and any(far):
        yield Finding(
            "warning",
            f"k-space is strongest at row {peak[0]}, column {peak[1]}, and DC is expected at {centre[0]}, {centre[1]}",
            "shift it with numpy.fft.fftshift if it is not centred",
        )


def error_finding(scan: Scan, error: ScanError) -> Finding:
    """Its message names the file, what is wrong, and after the last semicolon what to do."""
    text, _, fix = str(error).removeprefix(f"{scan.path}: ").rpartition("; ")
    return Finding("error", text or fix, fix if text else "")
