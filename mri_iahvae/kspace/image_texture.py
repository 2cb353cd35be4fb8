"""Texture of an image: anatomy has it everywhere, phantoms and drawings are flat between their edges."""

import math

import torch
from torch import Tensor

from mri_iahvae.kspace.fft import ifft2c

_OBJECT = 0.1  # of the 99 % quantile of the magnitude: what is darker is background


def log_texture(kspace: Tensor) -> Tensor:
    """Log of the median slope of the magnitude image within the object, over the object's mean magnitude.

    It is a median, so edges do not count while less than half of the object lies at one. K-space (B, H, W), fully
    sampled, sides of at least 4, is weighted by a Hann window first: the ringing of a sharp edge would be texture
    everywhere. Noise is texture, too. NaN where all is zero.
    """
    height, width = kspace.shape[-2:]
    image = ifft2c(kspace * _hann(height, kspace)[:, None] * _hann(width, kspace)).abs()
    inner = image[:, 1:-1, 1:-1].flatten(1)
    y, x = image[:, 2:, 1:-1] - image[:, :-2, 1:-1], image[:, 1:-1, 2:] - image[:, 1:-1, :-2]
    slopes = torch.hypot(y, x).flatten(1)
    inside = inner > _OBJECT * inner.quantile(0.99, dim=1, keepdim=True)
    # Of differences over two pixels.
    middle = torch.where(inside, slopes, math.nan).nanquantile(0.5, dim=1) / 2
    mean = torch.where(inside, inner, math.nan).nanmean(dim=1)
    return (middle / mean).clamp_min(torch.finfo(torch.float32).eps).log()


def _hann(count: int, like: Tensor) -> Tensor:
    """cos^2, 1 at DC, 0 at the edge of k-space: float (count,)."""
    at = (torch.arange(count, device=like.device) - count // 2) / count
    return (math.pi * at).cos().square()
