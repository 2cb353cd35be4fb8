"""Decompositions of the image by one orthonormal matrix along each axis: wavelets, block DCT, learned rotations.

The FFT is unitary, so an orthonormal transform of the complex image is one of its k-space: energy is kept, and white
noise stays white. Bins of k-space, though, are waves that reach over several scales of such a transform: under a mask
scales couple.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mri_iahvae.kspace.bands import embed
from mri_iahvae.kspace.centre_crop import centre_block
from mri_iahvae.kspace.decomposition import CentredBlocks
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.scales import scales

_NOTHING = 1e-9  # of the energy of a scale: rounding, in float64, leaves less at another


class Separable(CentredBlocks):
    """Coefficients U X U^T of an N x N image X; scale s holds those of the first s rows of U, without the first s / 2.

    Args:
        matrices: U of the grids 1, 2, 4 ... N, each float64 (s, s) and orthonormal, rows coarse to fine. That of a
            smaller grid is how a block is seen as an image of s x s pixels.
    """

    def __init__(self, matrices: Sequence[Tensor]) -> None:
        super().__init__(len(matrices[-1]))
        self._matrices = [u[centred_order(len(u)).argsort()] for u in matrices]

    def analysis(self, image: Tensor, index: int) -> Tensor:
        """U X U^T, its blocks centred."""
        matrix = self._matrices[index].to(image)
        return matrix @ image @ matrix.mT

    def synthesis(self, block: Tensor, index: int) -> Tensor:
        """U^T C U."""
        matrix = self._matrices[index].to(block)
        return matrix.mT @ block @ matrix

    def from_kspace(self, kspace: Tensor) -> Tensor:
        """Coefficients of the image of k-space, complex (B, N, N)."""
        return self.analysis(ifft2c(kspace), len(self.sides) - 1)

    def to_kspace(self, coefficients: Tensor) -> Tensor:
        """k-space of the image that has these coefficients, complex (B, N, N)."""
        return fft2c(self.synthesis(coefficients, len(self.sides) - 1))

    def separates(self, mask: Tensor) -> bool:
        """Whether, of every scale, what the mask, bool (B, N, N), leaves of it stays at that scale.

        Judged by a random slice of each scale: where scales couple, that shows with probability 1.
        """
        generator = torch.Generator().manual_seed(0)
        for index in range(len(self.sides)):
            ring = embed(self.ring(index), self.size)
            drawn = torch.randn(self.size, self.size, dtype=torch.complex128, generator=generator)
            alone = torch.where(ring, drawn, 0).to(mask.device)
            seen = self.from_kspace(self.to_kspace(alone[None]) * mask)
            elsewhere = torch.where(ring.to(mask.device), 0, seen).abs().square().sum()
            if elsewhere > _NOTHING * alone.abs().square().sum():
                return False
        return True


def centred_order(side: int) -> Tensor:
    """Where coefficients 0, 1, 2 ... of an axis go, coarse to fine, so that the first s of them fill the centred s."""
    places: list[int] = []
    for s in scales(side):
        places += [place for place in range(side)[centre_block(side, s)] if place not in places]
    return torch.tensor(places)


def cascade(steps: Sequence[Tensor]) -> list[Tensor]:
    """Matrices U of the grids 1, 2, 4 ... N from orthonormal steps of the sides 2, 4 ... N.

    A step takes s values to s/2 coarse ones, the first rows, which are split again, and s/2 details.
    """
    matrices = [torch.ones(1, 1, dtype=torch.float64)]
    for step in steps:
        coarse, detail = step.chunk(2)
        matrices.append(torch.cat([matrices[-1] @ coarse, detail]))
    return matrices
