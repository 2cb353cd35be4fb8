"""Where the noise level of a scan comes from."""

import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.kspace.noise import estimate_sigma, rms_per_part
from mri_iahvae.scans.reader import Scan


def scan_noise(
    scan: Scan,
    kspace: NDArray[np.complex64],
    *,
    up_to: int | None = None,
    sigma: float | None = None,
    relative: float | None = None,
) -> tuple[NDArray[np.floating], str]:
    """Noise level of each slice.

    Args:
        scan: the file.
        kspace: its k-space, complex64 (slices, H, W).
        up_to: bins outside block B_s count as unmeasured, for the estimate too.
        sigma: as the user states it, per real and imaginary part, in the units of the file.
        relative: as the user states it, as a multiple of the noise-free slice's RMS per part.

    Returns:
        float (slices,) in the units of the file; and "option", "relative", "file" or "estimate".
    """
    if sigma is not None:
        return np.full(scan.slices, sigma), "option"
    values, mask = torch.from_numpy(kspace), torch.from_numpy(scan.mask)
    if relative is not None:
        # Power adds: RMS_noisy^2 = RMS^2 (1 + share R^2). Noise lies in every measured bin alike; the signal in
        # those around the centre, which every useful mask measures.
        share = scan.mask.mean()
        return rms_per_part(values).numpy() * relative / np.sqrt(1 + share * relative**2), "relative"
    if scan.noise_sigma is not None:
        return scan.noise_sigma, "file"
    if up_to is not None:
        mask = mask & block_mask(up_to, scan.height)
    # Thermal noise is that of the scanner, one level for all slices; a median is not moved by single ones.
    return np.full(scan.slices, float(estimate_sigma(values, mask).median())), "estimate"
