"""How large the errors of an estimate are expected to be, and where in the image."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.estimate import Estimate

REGION = 8
"""Side of the square regions in pixels: of single pixels too little is known to point at errors."""

_ROUNDING = 1e-8  # of the energy: copies that differ by less agree
_ABSOLUTE = math.sqrt(2 / math.pi)  # E|e| of a real Gaussian e of deviation 1


def magnitude_deviation(estimate: Estimate) -> Tensor:
    """Standard deviation of the magnitude of each pixel, float (B, H, W) in the estimate's units.

    To first order the magnitude errs by the part of the error that is in phase, which is Gaussian. Where the image is
    faint beside its error this is too large.
    """
    return estimate.pixel_variance()[:, 0].sqrt()


def expected_error(estimate: Estimate) -> Tensor:
    """Expected absolute error of the magnitude, mean over each region, float (B, H, W) in the estimate's units.

    Too large where `magnitude_deviation` is. NaN in slices of which a bin is not known at all.
    """
    known = estimate.variance.isfinite().flatten(1).all(1)
    regions = regional(_ABSOLUTE * magnitude_deviation(estimate))
    return torch.where(known[:, None, None], regions, torch.nan)


def regional(values: Tensor, side: int = REGION) -> Tensor:
    """The mean of its region at each pixel, float (B, H, W); the last region of a row or column may be smaller."""
    height, width = values.shape[-2:]
    means = F.avg_pool2d(values[:, None], side, ceil_mode=True, count_include_pad=False)
    pixels = means.repeat_interleave(side, dim=-2).repeat_interleave(side, dim=-1)
    return pixels[:, 0, :height, :width]


def spread_of_copies(spread: Tensor, copies: Tensor) -> Tensor:
    """Where an estimate errs that is the mean of several: half as the guide states, half where they disagree.

    The network's errors depend on how the measurement is turned and flipped, its right answers do not. Both sizes have
    the same mean square over the image. Copies that agree everywhere change nothing, nor does a single one.

    Args:
        spread: float (B, 2, H, W), which the guide states (`Estimate`).
        copies: complex64 (K, B, H, W), k-space of the estimates.

    Returns:
        The spread, likewise of mean square 1; in phase and in quadrature have the proportion that the guide states.
    """
    images = ifft2c(copies)
    power = (images - images.mean(0)).abs().square().mean(0)
    # Of a few copies in single pixels it is noise.
    power = F.avg_pool2d(power[:, None], REGION + 1, 1, REGION // 2, count_include_pad=False)[:, 0]
    tiny = torch.finfo(power.dtype).tiny
    rounding = _ROUNDING * images.abs().square().mean(dim=(0, 2, 3)) + tiny
    apart = (power / power.mean(dim=(1, 2)).maximum(rounding)[:, None, None]).sqrt()
    stated = spread.square().mean(dim=1).sqrt().clamp_min(tiny)
    both = spread * (1 + apart / stated)[:, None]
    return both / both.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
