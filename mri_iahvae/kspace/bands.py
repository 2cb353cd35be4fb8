"""The partition of k-space into scales: blocks B_s and bands R_s.

Block B_s is the centred s x s square of k-space bins; band R_s is B_s without B_{s/2}. For a grid of N x N
bins with N = 2^K the bands R_1, R_2, R_4 ... R_N hold every bin exactly once. This module is the only place
that knows the partition.
"""

import re
from functools import lru_cache

import torch
from torch import Tensor

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.fft import ifft2c


def scales(size: int) -> tuple[int, ...]:
    """The scales 1, 2, 4 ... `size` of an N x N grid.

    Raises:
        ValueError: `size` is not a power of two.
    """
    if size < 1 or size & (size - 1):
        raise ValueError(f"the grid must be a power of two, got {size}")
    return tuple(2**k for k in range(size.bit_length()))


def parse_scale(text: str | int, size: int) -> int:
    """Read an `--up-to` value such as "8x8", or "8", which means the same.

    Raises:
        UsageError: not of the form SxS, S not a power of two, or S larger than the grid.
    """
    match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", str(text).strip().lower())
    if match is None or match[2] not in (None, match[1]) or int(match[1]) not in scales(size):
        choices = ", ".join(f"{s}x{s}" for s in scales(size))
        raise UsageError(f"--up-to {text}: expected one of {choices} on this model's {size}x{size} grid")
    return int(match[1])


def block(n: int, s: int) -> slice:
    """The bins of block B_s along an axis of n bins: c - s // 2 ... c - s // 2 + s - 1, c = n // 2."""
    start = n // 2 - s // 2
    return slice(start, start + s)


def crop(kspace: Tensor, height: int, width: int | None = None) -> Tensor:
    """Centred k-space block: (..., H, W) to (..., height, width); `width` defaults to `height`."""
    width = height if width is None else width
    return kspace[..., block(kspace.shape[-2], height), block(kspace.shape[-1], width)]


def embed(kspace: Tensor, height: int, width: int | None = None) -> Tensor:
    """Zero-pad centred k-space: (..., h, w) to (..., height, width), the adjoint of `crop`."""
    width = height if width is None else width
    out = kspace.new_zeros(*kspace.shape[:-2], height, width)
    out[..., block(height, kspace.shape[-2]), block(width, kspace.shape[-1])] = kspace
    return out


def recentre(kspace: Tensor, height: int, width: int | None = None) -> Tensor:
    """Centred k-space of another size, (..., H, W) to (..., height, width): each axis cropped or zero-padded."""
    width = height if width is None else width
    kept = crop(kspace, min(height, kspace.shape[-2]), min(width, kspace.shape[-1]))
    return kept if kept.shape[-2:] == (height, width) else embed(kept, height, width)


def block_mask(s: int, height: int, width: int | None = None, device: torch.device | None = None) -> Tensor:
    """Bool (height, width), true in block B_s; `width` defaults to `height`. B_s ends with the array."""
    width = height if width is None else width
    mask = torch.zeros(height, width, dtype=torch.bool, device=device)
    mask[block(height, min(s, height)), block(width, min(s, width))] = True
    return mask


@lru_cache(maxsize=64)
def band_mask(s: int, device: torch.device | None = None) -> Tensor:
    """Bool (s, s), true in band R_s: everything in B_s that is not in B_{s/2}.

    Kept, because every step of a refinement asks for it: not to be changed in place.
    """
    with torch.inference_mode(mode=False):  # as validation has it: autograd would refuse what it made
        mask = torch.ones(s, s, dtype=torch.bool, device=device)
        if s > 1:
            mask[block(s, s // 2), block(s, s // 2)] = False
    return mask


def split(kspace: Tensor) -> list[Tensor]:
    """Bands of k-space: (..., N, N) to one (..., s, s) tensor per scale, zero inside B_{s/2}."""
    return [crop(kspace, s) * band_mask(s, kspace.device) for s in scales(kspace.shape[-1])]


def join(bands: list[Tensor]) -> Tensor:
    """Sum of bands on the grid of the last (finest) one; the inverse of `split` when all bands are given."""
    size = bands[-1].shape[-1]
    return torch.stack([embed(band, size) for band in bands]).sum(dim=0)


def image_at(kspace: Tensor, s: int) -> Tensor:
    """The image at resolution s x s, with the pixel values of the full-resolution one.

    Args:
        kspace: complex, shape (..., N, N).
        s: side of the block that is kept, s <= N.

    Returns:
        Complex (..., s, s): inverse FFT of B_s times s / N. This is exact resampling: a pixel keeps its value
        because a unitary transform of s x s bins scales by 1 / s where that of N x N bins scales by 1 / N.
    """
    return ifft2c(crop(kspace, s)) * (s / kspace.shape[-1])
