"""Thermal noise: white, complex Gaussian in k-space.

Everywhere, sigma is the standard deviation of each of the real and imaginary parts.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def complex_noise(shape: tuple[int, ...], sigma: float | Tensor, generator: torch.Generator) -> Tensor:
    """White complex Gaussian noise, complex64; `sigma`, per part, is broadcastable to `shape`."""
    parts = torch.randn(*shape, 2, generator=generator, device=generator.device)
    return torch.view_as_complex(parts) * sigma


def rms(kspace: Tensor) -> Tensor:
    """Root mean square magnitude of each slice: (..., H, W) complex to (...) float.

    "Noise 0.2" means sigma = 0.2 of this number of the noise-free slice, per part: at 0.71 the noise has the
    power of the signal.
    """
    return kspace.abs().double().square().mean(dim=(-2, -1)).sqrt().float()


def estimate_sigma(kspace: Tensor, mask: Tensor) -> float:
    """One noise level for a stack of slices, from where anatomy is weakest.

    Looked at are the background of the image, Fourier transformed along those axes that are measured without
    gaps (under a column mask the readout only), and the outermost measured k-space bins. Anatomy makes either
    too high, never too low: the edge of k-space decides where it is clearly lower (three standard deviations),
    else the background, which has more bins.

    Args:
        kspace: complex (B, H, W).
        mask: bool, broadcastable to (1, H, W), true where measured. Bins that are exactly zero in all slices
            hold no noise and do not count, measured or not; nor do silent slices.

    Returns:
        sigma per real and imaginary part; zero where too little is measured.
    """
    mask = mask.expand(1, *kspace.shape[1:])[0]
    kspace = torch.where(mask, kspace, 0)
    peak = float(kspace.abs().max())
    if peak == 0:
        return 0.0
    kspace = kspace / peak  # squares of scanner units can leave float32's range
    background, _ = _quietest(*_background_tiles(kspace, mask), reach=2)
    edge, error = _quietest(*_outermost_bins(kspace), reach=3)  # few groups: with 2 it can stop at the lowest
    variance = edge if edge * (1 + 3 * error) < background else background
    return peak * math.sqrt(variance) if math.isfinite(variance) else 0.0


def _background_tiles(kspace: Tensor, mask: Tensor) -> tuple[Tensor, int]:
    """Variance per part in overlapping tiles of the image (in k-space along an axis with gaps), bins per tile."""
    gapless = [axis for axis in (0, 1) if (mask & ~mask.roll(1, axis)).sum(axis).max() <= 1]
    filled = kspace.ne(0).any(dim=0)
    rows, columns = filled.any(dim=1), filled.any(dim=0)
    kspace, filled = kspace[:, rows][:, :, columns], filled[rows][:, columns]
    # Along a gap anatomy spreads over the field of view: small tiles fit between the strong columns.
    tile = [min(8 if axis in gapless else 2, size) for axis, size in enumerate(filled.shape)]
    if not gapless or filled.numel() < 8 * math.prod(tile):
        return kspace.real.new_zeros(0), 1
    image = torch.fft.ifftn(kspace, dim=[axis + 1 for axis in gapless], norm="ortho")
    variance = image.abs().square() / (2 * filled.float().mean(gapless, keepdim=True))
    return F.avg_pool2d(variance[:, None], tile, [max(1, side // 2) for side in tile]), math.prod(tile)


def _outermost_bins(kspace: Tensor) -> tuple[Tensor, int]:
    """Variance per part of each slice's outermost bins, and their number.

    Those are 2 % of the measured bins or 64, all outside the ellipse that touches 90 % of each half axis.
    """
    height, width = kspace.shape[1:]
    y = (torch.arange(height, device=kspace.device) - height // 2) / (height / 2)
    x = (torch.arange(width, device=kspace.device) - width // 2) / (width / 2)
    filled = kspace.ne(0).any(dim=0)
    radius = ((y[:, None].square() + x.square()) * filled).flatten()
    bins = min(int((radius > 0.9**2).sum()), max(64, int(filled.sum()) // 50))
    if bins < 16:
        return kspace.real.new_zeros(0), 1
    return kspace.flatten(1)[:, radius.topk(bins).indices].abs().square().mean(dim=1) / 2, bins


def _quietest(variances: Tensor, bins: int, reach: float) -> tuple[float, float]:
    """Mean of the quietest groups of bins that one white noise explains, and a group's relative deviation.

    From the lowest twentieth upwards: the mean of all groups up to `reach` standard deviations, level / sqrt(bins)
    each, above the last mean, again and again. With a reach of 2 pure noise comes out 0.1 of them low. Infinite
    where nothing is heard.
    """
    error = bins**-0.5
    # Rounding is no noise, nor are silent slices.
    heard = variances[variances > 1e-10 * variances.mean()]
    if not len(heard):
        return math.inf, error
    level = heard.kthvalue(1 + len(heard) // 20).values
    for _ in range(20):
        level = heard[heard <= level * (1 + reach * error)].mean()
    return float(level), error
