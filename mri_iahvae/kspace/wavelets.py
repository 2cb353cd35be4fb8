"""Orthonormal wavelets of the image; the filters are PyWavelets'."""

import numpy as np
import torch
from torch import Tensor

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.scales import scales
from mri_iahvae.kspace.separable import Separable, cascade

WAVELET = "sym4"
"""Nearly symmetric: images of all resolutions lie on each other, within half a pixel of the coarser one."""


class Wavelets(Separable):
    """Scale s adds the details of the step from s/2 x s/2 to s x s pixels (Mallat's multiresolution, periodic).

    The wavelet is an orthonormal one of PyWavelets, by its name, such as "haar" or "sym4".

    Raises:
        UsageError: PyWavelets is missing, or the wavelet is not orthonormal.
    """

    def __init__(self, size: int, wavelet: str = WAVELET) -> None:
        super().__init__(cascade([_step(side, wavelet) for side in scales(size)[1:]]))


def _step(side: int, name: str) -> Tensor:
    """One step, orthonormal (side, side): averages in the first half of the rows, details in the second."""
    try:
        import pywt  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise UsageError("wavelets need PyWavelets: pip install 'mri-iahvae[wavelets]'") from None
    if name not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(name).orthogonal:
        wanted = "an orthonormal one of PyWavelets, such as haar, db2 or sym4"
        raise UsageError(f"wavelet {name}: expected {wanted}")
    low_high = pywt.dwt(np.eye(side), name, mode="periodization", axis=0)
    return torch.from_numpy(np.concatenate(low_high))
