"""RMS per bin of each band, canonical units, as a map over the grid."""

from torch import Tensor

from mri_iahvae.kspace.bands import band_mask, join, scales


def gain_map(gains: Tensor) -> Tensor:
    """Float (scales,), RMS of bands R_1, R_2, R_4 ... R_N, to float (N, N)."""
    sides = scales(2 ** (len(gains) - 1))
    return join([gain * band_mask(s, gain.device) for gain, s in zip(gains, sides, strict=True)])
