"""One complex image of several coils whose k-space is fully sampled."""

import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.kspace.coils import combine
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.noise_estimate import estimate_sigma
from mri_iahvae.kspace.sensitivities import calibrate, known_coils
from mri_iahvae.pipeline.arrays import power_of_two


def sensitivity_image(
    kspace: NDArray[np.complex64], mask: NDArray[np.bool_], maps: NDArray[np.complex64] | None = None
) -> NDArray[np.complex64]:
    """The coil images times their conjugate sensitivities, summed.

    Args:
        kspace: complex64 (coils, H, W), zero where not measured.
        mask: bool (H, W); only columns that were never acquired are missing.
        maps: complex64 (1, coils, H, W), of any scale; None takes the sensitivities of the calibration region.

    Returns:
        complex64 (H, W), in the units of `kspace`.

    Raises:
        UsageError: too small a fully measured centre to find sensitivities from.
    """
    values = torch.from_numpy(kspace)[None]
    unit = power_of_two(values)  # sums of squares of scanner units could leave float32's range
    values = values / unit
    if maps is None:
        sigma = torch.tensor([estimate_sigma(values[0].numpy(), mask)])
        coils = calibrate(values, torch.tensor(mask), sigma)
    else:
        coils = known_coils(torch.from_numpy(maps), values)
    image: NDArray[np.complex64] = (combine(ifft2c(values), coils.sensitivities) * unit)[0].numpy()
    return image
