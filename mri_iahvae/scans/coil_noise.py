"""Whether one coil has far more noise than the others."""

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.kspace.noise_estimate import estimate_sigma

_NOISY = 4.0  # times the median of the others: estimates of equal levels differ by less
_SHOWS = 0.005  # of a coil's energy: where there is next to no noise its estimates differ by more


def coil_noise(kspace: NDArray[np.complex64], mask: NDArray[np.bool_]) -> str:
    """The coil whose noise is far above that of the others and visible beside its signal, in words; empty without one.

    Args:
        kspace: complex64 (coils, H, W), zero where not measured.
        mask: bool (H, W), true where measured.
    """
    levels = np.array([estimate_sigma(coil[None], mask) for coil in kspace])
    if len(levels) == 1 or not levels.any():
        return ""
    usual = np.array([np.median(np.delete(levels, coil)) for coil in range(len(levels))])
    power = np.square(np.abs(kspace / levels.max()), dtype=np.float64).sum(axis=(1, 2))
    shows = 2 * np.square(levels / levels.max()) * mask.sum() > _SHOWS * power
    noisy = np.flatnonzero((levels > _NOISY * usual) & (usual > 0) & shows)
    if not noisy.size:
        return ""
    worst = noisy[levels[noisy].argmax()]
    others = f", {noisy.size - 1} more have far more, too" if noisy.size > 1 else ""
    return f"coil {worst} has {levels[worst] / usual[worst]:.3g} times the noise of the others{others}"
