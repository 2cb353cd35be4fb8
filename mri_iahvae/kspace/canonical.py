"""Canonical form: k-space in units that do not depend on the scanner.

Before the model, k-space is divided by one complex number per slice, so that the mean pixel power is about 1
and DC is real and positive. A fully sampled slice and its undersampled version get nearly the same form.
"""

import torch
from torch import Tensor

from mri_iahvae.kspace.bands import block_mask

CORE = 8
"""Side of the block whose energy sets the scale: it holds nearly all of a slice's energy."""

_WEAK_DC = 0.01  # below this fraction of the core's energy, the phase of DC is not to be trusted
_UNLIKE = 16.0  # times more or less energy in the core than the whole grid lets expect: it then sets no scale


def canonical_factor(kspace: Tensor, mask: Tensor, power: Tensor) -> Tensor:
    """The number that k-space is divided by, one per slice.

    Its magnitude makes the energy of the measured bins of B_8 equal to what those bins hold on average in
    training; of the whole grid where B_8 is nearly empty, as of noise alone, or holds a few bins out of all
    proportion; 1 where nothing holds signal. Its phase makes DC real and positive, or the sum of B_8 where DC is weak.

    Args:
        kspace: complex (B, N, N); values at unmeasured bins are ignored.
        mask: bool, broadcastable to (B, N, N), true where measured.
        power: float (N, N), mean training power per bin in canonical units; it sums to N^2 over B_8.

    Returns:
        complex64 (B,), finite and non-zero.
    """
    size = kspace.shape[-1]
    core = block_mask(min(CORE, size), size, device=kspace.device)
    mask = mask.expand(kspace.shape)
    # float64: squares of scanner units can leave float32's range.
    measured = torch.where(mask, kspace, 0).to(torch.complex128)
    energy, expected = measured.abs().square(), power.double() * mask
    whole = _ratio(_sum(energy, torch.ones_like(core)), _sum(expected, torch.ones_like(core)))
    inner = _ratio(_sum(energy, core), _sum(expected, core))
    usable = (inner * _UNLIKE >= whole) & (inner <= whole * _UNLIKE)
    ratio = torch.where(usable, inner, whole)
    magnitude = torch.where(ratio > 0, ratio.sqrt(), 1.0)

    dc = measured[:, size // 2, size // 2]
    trusted = dc.abs().square() >= _WEAK_DC * _sum(energy, core)
    pointer = torch.where(trusted & (dc.abs() > 0), dc, _sum(measured, core))
    phase = torch.where(pointer.abs() > 0, pointer / pointer.abs().clamp_min(1e-300), 1.0)
    return (magnitude * phase).to(torch.complex64)


def per_bin_power(core_power: Tensor, gains: Tensor) -> Tensor:
    """Mean power per bin on the whole grid, float (N, N), for `canonical_factor`.

    The bins of B_8 have the mean power of each, `core_power` (of the whole grid when that is smaller); the others the
    square of their band's gain, the RMS per bin of R_1, R_2, R_4 ... R_N.
    """
    size = 2 ** (len(gains) - 1)
    power = torch.empty(size, size, dtype=torch.float32)
    for k in reversed(range(len(gains))):
        power[block_mask(2**k, size)] = gains[k].float().square()
    power[block_mask(core_power.shape[-1], size)] = core_power.float().flatten()
    return power


def _ratio(energy: Tensor, expected: Tensor) -> Tensor:
    """Measured energy over what training slices hold in the same bins; zero where they hold none."""
    return torch.where(expected > 0, energy / expected.clamp_min(torch.finfo(torch.float64).tiny), 0.0)


def _sum(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum(dim=(-2, -1))
