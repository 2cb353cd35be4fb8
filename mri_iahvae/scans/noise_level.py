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
        share: of all bins, those that are measured.
        relative: multiple of the noise-free slice's RMS, where that is how the level was stated.
        known: float (slices,), otherwise.
    """

    source: str
    share: float
    relative: float | None = None
    known: NDArray[np.floating] | None = field(default=None, repr=False)

    def of(self, chosen: slice, kspace: NDArray[np.complex64]) -> NDArray[np.floating]:
        """Sigma per real and imaginary part, in the units of the file.

        Args:
            chosen: consecutive slices.
            kspace: their measured k-space, complex64 (n, ..., H, W).

        Returns:
            float (n,).
        """
        if self.known is not None:
            return self.known[chosen]
        # Imported here: `inspect`, which estimates levels too, must not wait for torch.
        import torch  # noqa: PLC0415

        from mri_iahvae.kspace.noise import rms  # noqa: PLC0415

        # Power adds: RMS_noisy^2 = RMS^2 (1 + 2 share R^2). Noise lies in every measured bin alike; the signal in
        # those around the centre, which every useful mask measures.
        relative = self.relative or 0.0
        flat = torch.from_numpy(kspace).flatten(1, -2)  # all coils together
        return rms(flat).numpy() * relative / np.sqrt(1 + 2 * self.share * relative**2)


def scan_noise(
    scan: Scan,
    geometry: Geometry,
    mask: NDArray[np.bool_],
    *,
    sigma: float | None = None,
    relative: float | None = None,
) -> NoiseLevel:
    """Find the noise level of a scan.

    Args:
        scan: the file.
        geometry: of the scan.
        mask: bool, the bins of reduced k-space that are used.
        sigma: as the user states it, per real and imaginary part, in the units of the file.
        relative: as the user states it, as a multiple of the noise-free slice's RMS.

    Returns:
        The level; its source is the first of these that there is: `sigma`, `relative`, the file, an estimate. An
        estimate is one level for all slices, zero where too little is measured for one.
    """
    share = float(mask.mean())
    if sigma is not None:
        return NoiseLevel("option", share, known=np.full(scan.slices, sigma))
    if relative is not None:
        return NoiseLevel("relative", share, relative)
    if scan.noise_sigma is not None:
        return NoiseLevel("file", share, known=scan.noise_sigma)
    return NoiseLevel("estimate", share, known=np.full(scan.slices, estimated_noise(scan, geometry, mask)))


def estimated_noise(scan: Scan, geometry: Geometry, mask: NDArray[np.bool_]) -> float:
    """One level for all slices, from the data; arguments as above, and see `kspace.noise_estimate.estimate_sigma`."""
    # Thermal noise is that of the scanner, one level for all slices: those with least anatomy tell most, and they
    # lie at the ends.
    most = max(1, _SLICES // scan.coils)
    numbers = np.unique(np.linspace(0, scan.slices - 1, min(scan.slices, most)).round().astype(int))
    kspace = np.concatenate([geometry.reduce(scan.read_coils(int(number))) for number in numbers])
    return float(np.median([estimate_sigma(kspace[:, coil], mask) for coil in range(scan.coils)]))


def level_doubts(
    scan: Scan, geometry: Geometry, mask: NDArray[np.bool_], stated: float, source: str
) -> tuple[str, ...]:
    """A stated level far above what the data show would smooth away anatomy; arguments as above."""
    seen = 0.0 if source == "estimate" else estimated_noise(scan, geometry, mask)
    if seen == 0 or stated <= _FAR_ABOVE * seen:
        return ()
    return (
        f"the noise level taken is {stated / seen:.3g} times the estimate from the data, {seen:.3g}: is it right?",
    )
