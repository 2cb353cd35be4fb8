"""Where the noise level of a scan comes from."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.kspace.noise_estimate import estimate_sigma
from mri_iahvae.scans.geometry import Geometry
from mri_iahvae.scans.scan import Scan

_SLICES = 32
"""Slices that an estimate looks at, so that its memory does not grow with the volume."""

_FAR_ABOVE = 3.0  # times the estimate, which errs by less


@dataclass(frozen=True, eq=False)
class NoiseLevel:
    """The noise level of a scan's slices.

    Attributes:
        source: "option", "relative", "file" or "estimate".
        mask: bool (H, W) or (slices, H, W), the bins that are used.
        relative: multiple of the noise-free slice's RMS, where that is how the level was stated.
        known: float (slices,), otherwise.
    """

    source: str
    mask: NDArray[np.bool_] = field(repr=False)
    relative: float | None = None
    known: NDArray[np.floating] | None = field(default=None, repr=False)

    def of(self, chosen: slice, kspace: NDArray[np.complex64]) -> NDArray[np.floating]:
        """Sigma of consecutive slices per real and imaginary part, float (n,), in the units of the file.

        `kspace` is theirs, (n, ..., H, W), readout oversampling removed; values beyond the mask do not count.
        """
        if self.known is not None:
            return self.known[chosen]
        # Power adds: RMS_noisy^2 = RMS^2 (1 + 2 m R^2), m the measured fraction. Noise lies in every measured bin
        # alike; the signal in those around the centre, which every useful mask measures.
        relative = self.relative or 0.0
        mask = self._mask(chosen, kspace)
        rms = self.root_mean_square(chosen, kspace)
        return np.asarray(rms * relative / np.sqrt(1 + 2 * mask.mean(axis=(1, 2)) * relative**2))

    def root_mean_square(self, chosen: slice, kspace: NDArray[np.complex64]) -> NDArray[np.float64]:
        """Of the bins of each slice, those beyond the mask counted as zero: (n,); arguments as in `of`."""
        mask = self._mask(chosen, kspace)
        where = mask.reshape(len(kspace), *[1] * (kspace.ndim - 3), *mask.shape[1:])
        power = np.square(np.abs(kspace), dtype=np.float64, where=where, out=np.zeros(kspace.shape))
        return np.asarray(np.sqrt(power.mean(axis=tuple(range(1, kspace.ndim)))))

    def _mask(self, chosen: slice, kspace: NDArray[np.complex64]) -> NDArray[np.bool_]:
        mask = self.mask[chosen] if self.mask.ndim > 2 else self.mask
        return np.broadcast_to(mask, (len(kspace), *mask.shape[-2:]))


def scan_noise(
    scan: Scan,
    geometry: Geometry,
    mask: NDArray[np.bool_],
    *,
    sigma: float | None = None,
    relative: float | None = None,
) -> NoiseLevel:
    """Find the noise level of a scan, of which the bins `mask` of reduced k-space are used.

    It is the user's `sigma`, or `relative` to the noise-free slice's RMS, else the file's, else an estimate: one level
    for all slices, zero where too little is measured.
    """
    if sigma is not None:
        return NoiseLevel("option", mask, known=np.full(scan.slices, sigma))
    if relative is not None:
        return NoiseLevel("relative", mask, relative)
    if scan.noise_sigma is not None:
        return NoiseLevel("file", mask, known=scan.noise_sigma)
    return NoiseLevel("estimate", mask, known=np.full(scan.slices, estimated_noise(scan, geometry, mask)))


def estimated_noise(scan: Scan, geometry: Geometry, mask: NDArray[np.bool_]) -> float:
    """One level for all slices, by `kspace.noise_estimate.estimate_sigma`; arguments as in `scan_noise`."""
    # Thermal noise is that of the scanner, one level for all slices: those with least anatomy show it best, and they
    # lie at the ends.
    most = max(1, _SLICES // scan.coils)
    numbers = np.unique(np.linspace(0, scan.slices - 1, min(scan.slices, most)).round().astype(int))
    kspace = np.concatenate([geometry.reduce(scan.read_coils(int(number))) for number in numbers])
    # Slices of one mask are looked at together.
    parts = [(kspace, mask)] if mask.ndim == 2 else list(zip(kspace[:, None], mask[numbers], strict=True))
    levels = [estimate_sigma(bins[:, coil], used) for bins, used in parts for coil in range(scan.coils)]
    return float(np.median([level for level in levels if level] or [0.0]))


def level_doubts(
    scan: Scan, geometry: Geometry, mask: NDArray[np.bool_], stated: float, source: str
) -> tuple[str, ...]:
    """A warning where the stated level is far above the estimate from the data: it would smooth away anatomy."""
    estimate = 0.0 if source == "estimate" else estimated_noise(scan, geometry, mask)
    if estimate == 0 or stated <= _FAR_ABOVE * estimate:
        return ()
    times = f"{stated / estimate:.3g} times the estimate from the data, {estimate:.3g}"
    return (f"the noise level taken is {times}: is it right?",)
