"""Block DCT of the image, as JPEG has it, sorted by frequency; the means of the blocks are transformed again."""

import math

import torch
from torch import Tensor

from mri_iahvae.kspace.scales import scales
from mri_iahvae.kspace.separable import Separable

BLOCK = 8
"""Side of a block, in pixels."""


class BlockDCT(Separable):
    """Scales by the frequency within a block; those coarser than a block, by the frequency of the blocks' means.

    Along an axis N pixels are N / b blocks of b. Scale s = 2 N / b adds coefficient 1 of every block, 4 N / b adds 2
    and 3, and so on: the first s / (N / b) coefficients of every block are an image of s pixels (its DCT of that
    length). Coefficient 0 of the blocks is an image of N / b pixels, whose DCT gives the coarser scales.

    N and b are powers of two; a block as large as the grid makes it the DCT of the whole image.
    """

    def __init__(self, size: int, block: int = BLOCK) -> None:
        scales(block)
        blocks = max(1, size // block)
        super().__init__([_matrix(min(side, blocks), max(1, side // blocks)) for side in scales(size)])


def _matrix(blocks: int, block: int) -> Tensor:
    """So many blocks of so many pixels: coefficient 0 of every block, transformed, then 1 of every block, and so on."""
    within = torch.einsum("fp,bc->fbcp", _dct(block), torch.eye(blocks, dtype=torch.float64))
    within = within.reshape(block * blocks, blocks * block)
    return torch.cat([_dct(blocks) @ within[:blocks], within[blocks:]])


def _dct(length: int) -> Tensor:
    """DCT-II, orthonormal (length, length)."""
    n = torch.arange(length, dtype=torch.float64)
    waves = math.sqrt(2 / length) * torch.cos(math.pi / length * n[:, None] * (n + 0.5))
    waves[0] /= math.sqrt(2)
    return waves
