"""Denoise k-space: every measured bin is uncertain by the noise level, the prior does the rest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.pipeline.reconstruction import Reconstruction
from mri_iahvae.tasks.reconstruct import DENOISING, reconstruct


def denoise(
    kspace: NDArray[np.complexfloating] | Tensor,
    noise_sigma: NDArray[np.floating] | Tensor | float,
    mask: NDArray[np.bool_] | Tensor | None = None,
    **options: Any,  # noqa: ANN401 - of `reconstruct`, checked there
) -> Reconstruction:
    """Denoise a slice or a volume (Python API).

    Args:
        kspace: as in `reconstruct`.
        noise_sigma: standard deviation of the noise per real and imaginary part, in the units of `kspace`
            (equally those of the image: the FFT is unitary); one number or (slices,).
        mask: as in `reconstruct`.
        **options: as in `reconstruct`; `data_consistency` is "soft" by default: a measured bin becomes its
            posterior mean.

    Returns:
        As `reconstruct`.

    Raises:
        UsageError: an argument that cannot be.
        CheckpointError: the checkpoint cannot be read.
    """
    return reconstruct(kspace, mask, noise_sigma=noise_sigma, **{**DENOISING, **options})
