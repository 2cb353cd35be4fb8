"""The partition of k-space into scales: blocks B_s and bands R_s.

Block B_s is the centred s x s square of k-space bins; band R_s is B_s without B_{s/2}. For a grid of N x N
bins with N = 2^K the bands R_1, R_2, R_4 ... R_N hold every bin exactly once. `kspace.decomposition` is how the
model sees them.
"""

from functools import lru_cache

import torch
from torch import Tensor

from mri_iahvae.kspace.centre_crop import centre_block as block
from mri_iahvae.kspace.scales import scales


def crop(kspace: Tensor, height: int, width: int | None = None) -> Tensor:
    """Centred k-space block: (..., H, W) to (..., height, width), `width` being `height` by default; no larger."""
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
    kept = crop(kspace, height, width)
    return kept if kept.shape[-2:] == (height, width) else embed(kept, height, width)


def block_mask(s: int, height: int, width: int | None = None, device: torch.device | None = None) -> Tensor:
    """Bool (height, width), true in block B_s; `width` defaults to `height`. B_s ends with the array."""
    width = height if width is None else width
    mask = torch.zeros(height, width, dtype=torch.bool, device=device)
    mask[block(height, s), block(width, s)] = True
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
