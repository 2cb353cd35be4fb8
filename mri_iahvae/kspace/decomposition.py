"""The split of a slice into scales, as the model sees it: one object that knows which coefficients belong to which."""

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor

from mri_iahvae.kspace.bands import band_mask, crop, embed, scales
from mri_iahvae.kspace.fft import fft2c, ifft2c


class Decomposition(Protocol):
    """A linear, orthonormal split of an N x N slice into scales, coarse to fine.

    The model sees a slice as its coefficients, those of `from_kspace`. `index` counts scales. Coefficients of scales
    0 ... index form a block of side `sides[index]`.
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

    def analysis(self, image: Tensor, index: int) -> Tensor:
        """Block of an image at the resolution of scale `index`, complex (B, s, s) to (B, s, s). Unitary."""

    def synthesis(self, block: Tensor, index: int) -> Tensor:
        """The inverse and the adjoint of `analysis`."""

    def from_kspace(self, kspace: Tensor) -> Tensor:
        """All coefficients of a slice given by its k-space, complex (B, N, N). Unitary: white noise stays white."""

    def to_kspace(self, coefficients: Tensor) -> Tensor:
        """The inverse and the adjoint of `from_kspace`."""

    def separates(self, mask: Tensor) -> bool:
        """Whether measured bins of k-space, bool (B, N, N), are data of each scale by itself, free of all others."""


class CentredBlocks(ABC):
    """Scales of a lattice that is laid out as k-space is: blocks B_s are centred, rings are the bands R_s.

    The side of the grid is a power of two.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.sides = scales(size)

    @abstractmethod
    def synthesis(self, block: Tensor, index: int) -> Tensor:
        """Image of a block at the resolution of scale `index`, (B, s, s) to (B, s, s)."""

    def ring(self, index: int, device: torch.device | None = None) -> Tensor:
        """Band R_s: bool (s, s)."""
        return band_mask(self.sides[index], device)

    def block(self, coefficients: Tensor, index: int) -> Tensor:
        """Block B_s: (..., N, N) to (..., s, s)."""
        return crop(coefficients, self.sides[index])

    def extend(self, coarse: Tensor, part: Tensor, index: int) -> Tensor:
        """Block B_s from B_{s/2} and R_s; `coarse` is ignored at scale 1."""
        return part if index == 0 else embed(coarse, self.sides[index]) + part

    def image(self, block: Tensor, index: int) -> Tensor:
        """Synthesis at s x s, times s / N: exact resampling."""
        side = self.sides[index]
        block = block if block.shape[-1] == side else embed(block, side)
        return self.synthesis(block, index) * (side / self.size)


class KspaceBins:
    """Coefficients that are the bins of k-space."""

    def analysis(self, image: Tensor, index: int) -> Tensor:  # noqa: ARG002 - as the protocol has it
        """FFT."""
        return fft2c(image)

    def synthesis(self, block: Tensor, index: int) -> Tensor:  # noqa: ARG002
        """Inverse FFT."""
        return ifft2c(block)

    def from_kspace(self, kspace: Tensor) -> Tensor:
        """Its coefficients are the bins."""
        return kspace

    def to_kspace(self, coefficients: Tensor) -> Tensor:
        """Its coefficients are the bins."""
        return coefficients


class FourierBands(KspaceBins, CentredBlocks):
    """Bands of k-space: scale s holds B_s without B_{s/2} (`kspace.bands`). The paper's decomposition."""

    def separates(self, mask: Tensor) -> bool:  # noqa: ARG002 - as `Decomposition.separates`
        """True for every Cartesian mask: each bin belongs to one scale."""
        return True


class SingleScale(KspaceBins):
    """All bins in one scale, whatever its number: the decomposition of an ordinary HVAE."""

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
