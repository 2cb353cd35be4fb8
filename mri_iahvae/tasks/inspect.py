"""What a file holds, what is odd about it, and what `reconstruct` would do with it. Without torch, to be quick."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError
from mri_iahvae.kspace.centre_crop import centre_block
from mri_iahvae.kspace.sampling_pattern import Pattern, sampling_pattern
from mri_iahvae.model.checkpoint_config import GUIDE, find_checkpoint, model_config
from mri_iahvae.scans.findings import (
    LEVELS,
    Finding,
    data_findings,
    error_finding,
    likeness_findings,
    opening_findings,
    sampling_findings,
    signal_findings,
)
from mri_iahvae.scans.geometry import Geometry, scan_geometry
from mri_iahvae.scans.noise_level import estimated_noise, level_doubts
from mri_iahvae.scans.reader import AS_STORED, Reading, open_scan
from mri_iahvae.scans.scan import Scan
from mri_iahvae.scans.survey import survey

_ATTRIBUTES = ("acquisition", "acceleration", "num_low_frequency")  # never the patient's identifier


@dataclass(frozen=True)
class Noise:
    """Thermal noise.

    Attributes:
        sigma: standard deviation per real and imaginary part, in the units of the file; the median of slices or
            coils; 0 where too little is measured to estimate it.
        relative: as a multiple of the RMS of the noise-free slices (--relative-sigma); None where that is unknown.
        source: "file" or "estimate".
    """

    sigma: float
    relative: float | None
    source: str


@dataclass(frozen=True)
class Plan:
    """What `reconstruct` does with a file unless options say otherwise.

    Attributes:
        grid: side N of the model's grid.
        guided: whether the model has a guide, which completes bins beyond.
        field: (rows, width) of k-space once readout oversampling is removed.
        image: (height, width) of the result.
        fractions: of the bins of that k-space, those "measured", "completed" by the model (and by the coils, where
            there are several), and left "zero".
    """

    grid: int
    guided: bool
    field: tuple[int, int]
    image: tuple[int, int]
    fractions: dict[str, float]


@dataclass(frozen=True, eq=False)
class Inspection:
    """A file that could be opened.

    Attributes:
        scan: what it holds.
        pattern: how k-space is sampled.
        noise: None where the data cannot be read.
        plan: what `reconstruct` does.
        findings: errors first.
    """

    scan: Scan = field(repr=False)
    pattern: Pattern
    noise: Noise | None
    plan: Plan
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Why the file cannot be used; nothing where it can."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        scan, header = self.scan, self.scan.header
        return {
            "input": str(scan.path),
            "usable": not self.errors,
            "slices": scan.slices,
            "coils": scan.coils,
            "height": scan.height,
            "width": scan.width,
            "mask": {"source": scan.mask_source, **asdict(self.pattern)},
            "acquired_columns": list(scan.acquired),
            "header": None if header is None else {**asdict(header), "pixel": header.pixel},
            "readout_oversampling": scan.height / self.plan.field[0],
            "noise": None if self.noise is None else asdict(self.noise),
            "reference": None if scan.reference is None else list(scan.reference),
            "attributes": {name: scan.attributes[name] for name in _ATTRIBUTES if name in scan.attributes},
            "reconstruct": asdict(self.plan),
            "findings": [asdict(finding) for finding in self.findings],
        }


def inspect(path: str | Path, checkpoint: str | Path = "small", reading: Reading = AS_STORED) -> Inspection:
    """Look at a scan: its sizes, its sampling, its noise, and what is odd about it. All slices are read.

    Args:
        path: the file.
        checkpoint: the model that `reconstruct` would use, by name or folder; only its grid matters.
        reading: how the file is read.

    Returns:
        What was found. Values that cannot be used are a finding of level "error".

    Raises:
        ScanError: the file is no scan, and why.
        UsageError: no such checkpoint.
        CheckpointError: the checkpoint cannot be read.
    """
    folder = find_checkpoint(checkpoint)
    grid, guided = model_config(folder).size, (folder / GUIDE).is_file()
    scan = open_scan(path, reading)
    geometry = scan_geometry(scan)
    pattern = sampling_pattern(scan.sparsest_mask, scan.acquired)
    findings = [*opening_findings(scan, geometry), *sampling_findings(scan, pattern)]
    mask, noise = geometry.reduce_mask(scan.mask), None
    try:
        seen = survey(scan)
    except ScanError as error:
        findings.append(error_finding(scan, error))
    else:
        noise = _noise(scan, geometry, mask, seen.power)
        findings += signal_findings(scan, seen)
        findings += data_findings(scan, seen, keep_outliers=reading.keep_outliers)
        findings += likeness_findings(scan, seen, noise.sigma)
        odd = level_doubts(scan, geometry, mask, noise.sigma, noise.source) if scan.coils == 1 else ()
        findings += [Finding("warning", text, "state another with --sigma") for text in odd]
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    return Inspection(scan, pattern, noise, _plan(scan, geometry, mask, grid, guided=guided), tuple(findings))


def _noise(scan: Scan, geometry: Geometry, mask: NDArray[np.bool_], power: NDArray[np.float64]) -> Noise:
    if scan.noise_sigma is not None:
        sigma, source = float(np.median(scan.noise_sigma)), "file"
    else:
        sigma, source = estimated_noise(scan, geometry, mask), "estimate"
    # Power adds, and noise lies in the measured bins alone; `scans.noise_level` has the same sum.
    # The RMS is that of the field of view that is reconstructed: removing readout oversampling takes noise along, and
    # leaves the signal on fewer bins.
    with np.errstate(over="ignore"):  # an absurd sigma leaves nothing
        total = power.mean() / (scan.slices * scan.coils) - 2 * scan.mask.mean() * np.square(sigma)
    clean = total * scan.height / geometry.field[0]
    return Noise(sigma, float(sigma / np.sqrt(clean)) if clean > 0 else None, source)


def _plan(scan: Scan, geometry: Geometry, mask: NDArray[np.bool_], grid: int, *, guided: bool) -> Plan:
    # By the guide or the sensitivities, beyond the grid.
    filled = np.full(geometry.field, guided or scan.coils > 1)
    rows, columns = (centre_block(n, grid) for n in geometry.field)
    filled[rows, columns] = True
    filled[:, : scan.acquired[0]] = filled[:, scan.acquired[1] :] = False
    bins = {"measured": mask, "completed": ~mask & filled, "zero": ~mask & ~filled}
    fractions = {name: float(which.mean()) for name, which in bins.items()}
    return Plan(grid, guided, geometry.field, geometry.image, fractions)
