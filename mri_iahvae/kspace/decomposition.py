"""The split of k-space into scales, as the model sees it: one object that knows which bins belong to which scale."""

from typing import Protocol

import torch
from torch import Tensor

from mri_iahvae.kspace.bands import band_mask, crop, embed, scales
from mri_iahvae.kspace.fft import ifft2c


class Decomposition(Protocol):
    """A linear, orthonormal split of an N x N slice into scales, coarse to fine.

    `index` counts scales. Coefficients of scales 0 ... index form a block of side `sides[index]`.
    """

    size: int
    """Side N of the grid."""
    sides: tuple[int, ...]
    """Side s of the block of each scale and all coarser ones; the last is N."""

    def ring(self, index: int, device: torch.device | None = None) -> Tensor:
        """Coefficients that belong to a scale: bool (s, s) in its block."""

    def block(self, coefficients: Tensor, index: int) -> Tensor:
        """Coefficients of a scale and all coarser ones: (..., N, N) to (..., s, s)."""

    def extend(self, coarse: Tensor, part: Tensor, index: int) -> Tensor:
        """A block from that of the coarser scales and the coefficients of scale `index`, (B, s, s), zero elsewhere."""

    def image(self, block: Tensor, index: int) -> Tensor:
        """Image of a block of any scale up to `index`, complex (B, s, s), at the resolution of scale `index`.

        Pixels keep the values that they have in the image of all coefficients.
        """

    def separates(self, mask: Tensor) -> bool:
        """Whether measured coefficients of one scale say nothing of another scale's.

        Args:
            mask: bool (B, N, N), measured k-space bins.
        """


class FourierBands:
    """Bands of k-space: scale s holds B_s without B_{s/2} (`kspace.bands`). The paper's decomposition.

    Args:
        size: side N of the grid, a power of two.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.sides = scales(size)

    def ring(self, index: int, device: torch.device | None = None) -> Tensor:
        """Band R_s: bool (s, s)."""
        return band_mask(self.sides[index], device)

    def block(self, coefficients: Tensor, index: int) -> Tensor:
        """Block B_s: (..., N, N) to (..., s, s)."""
        return crop(coefficients, self.sides[index])

    def extend(self, coarse: Tensor, part: Tensor, index: int) -> Tensor:
        """Bins of B_s from those of B_{s/2} and of R_s; `coarse` is ignored at scale 1."""
        return part if index == 0 else embed(coarse, self.sides[index]) + part

    def image(self, block: Tensor, index: int) -> Tensor:
        """Inverse FFT of the block at s x s, times s / N: exact resampling."""
        side = self.sides[index]
        block = block if block.shape[-1] == side else embed(block, side)
        return ifft2c(block) * (side / self.size)

    def separates(self, mask: Tensor) -> bool:  # noqa: ARG002 - as `Decomposition.separates`
        """True for every Cartesian mask: each bin belongs to one scale."""
        return True


class SingleScale:
    """All bins in one scale, whatever its number: the decomposition of an ordinary HVAE.

    Args:
        size: side N of the grid.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.sides: tuple[int, ...] = (size,)

    def ring(self, index: int, device: torch.device | None = None) -> Tensor:  # noqa: ARG002 - the protocol's
        """Every bin."""
        return torch.ones(self.size, self.size, dtype=torch.bool, device=device)

    def block(self, coefficients: Tensor, index: int) -> Tensor:  # noqa: ARG002
        """Every bin."""
        return coefficients

    def extend(self, coarse: Tensor, part: Tensor, index: int) -> Tensor:  # noqa: ARG002
        """The scale's own: there is nothing coarser."""
        return part

    def image(self, block: Tensor, index: int) -> Tensor:  # noqa: ARG002
        """Inverse FFT."""
        return ifft2c(block)

    def separates(self, mask: Tensor) -> bool:  # noqa: ARG002
        """True: there is no other scale."""
        return True
