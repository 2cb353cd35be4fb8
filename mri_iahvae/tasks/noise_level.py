"""Where the noise level of a scan comes from."""

import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.kspace.noise import estimate_sigma, rms
from mri_iahvae.scans.reader import Scan


def scan_noise(
    scan: Scan,
    kspace: NDArray[np.complex64],
    *,
    sigma: float | None = None,
    relative: float | None = None,
) -> tuple[NDArray[np.floating], str]:
    """Noise level of each slice.

    Args:
        scan: the file; its mask says what is measured.
        kspace: its k-space, complex64 (slices, H, W).
        sigma: as the user states it, per real and imaginary part, in the units of the file.
        relative: as the user states it, as a multiple of the noise-free slice's RMS.

    Returns:
        float (slices,) in the units of the file; and where it comes from, the first that there is: "option",
        "relative", "file" or "estimate". An estimate is one level for all slices, zero where too little is
        measured for one.
    """
    if sigma is not None:
        return np.full(scan.slices, sigma), "option"
    values, mask = torch.from_numpy(kspace), torch.from_numpy(scan.mask)
    if relative is not None:
        # Power adds: RMS_noisy^2 = RMS^2 (1 + 2 share R^2). Noise lies in every measured bin alike; the signal in
        # those around the centre, which every useful mask measures.
        share = scan.mask.mean()
        return rms(values).numpy() * relative / np.sqrt(1 + 2 * share * relative**2), "relative"
    if scan.noise_sigma is not None:
        return scan.noise_sigma, "file"
    # Thermal noise is that of the scanner, one level for all slices: those with least anatomy tell most.
    return np.full(scan.slices, estimate_sigma(values, mask)), "estimate"
