"""The half spectrum of real images, in orthonormal real coordinates, and its rings.

The spectrum of a real image is Hermitian, F(-k) = conj F(k): half of it says all. Of each pair of bins {k, -k} with
k != -k the two real coordinates are sqrt 2 Re F(k) and sqrt 2 Im F(k), kept at the places of k and -k; of the bins that
are their own partners (DC, and those at the Nyquist frequency or zero on both axes) the coordinate is F itself. The
factor sqrt 2 makes the transform orthonormal: energy is kept, and white noise of the image is white in the coordinates.

Bands B_s of complex k-space reach from -s/2 to s/2 - 1 and would cut pairs in two. Rings here are closed under k -> -k.
"""

import math

import torch
from torch import Tensor

from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.scales import scales
from mri_iahvae.kspace.symmetry import Symmetry

_REVERSED = Symmetry((-2, -1))


class HalfSpectrum:
    """Coordinates of real N x N images, laid out as centred k-space is, and their scales.

    Args:
        size: side N of the grid, a power of two.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.sides = scales(size)
        k = torch.arange(size) - size // 2
        ky, kx = k[:, None], k[None]
        self._radius = torch.maximum(ky.abs(), kx.abs())
        alone = (-k) % size == k % size
        self._own = alone[:, None] & alone
        self._first = ((kx > 0) & ~alone) | (alone & (ky > 0) & ~alone[:, None])

    def ring(self, index: int, device: torch.device | None = None) -> Tensor:
        """Coordinates of scale s = 2^index: bool (N, N).

        DC alone at scale 1; then max(|ky|, |kx|) in (s/4, s/2]. The Nyquist frequency, N/2, is in the last one.
        """
        side = self.sides[index]
        ring = (4 * self._radius > side) & (2 * self._radius <= side) if index else self._radius == 0
        return ring.to(device)

    def analysis(self, image: Tensor) -> Tensor:
        """Coordinates of real images, float (..., N, N), channels and batch apart, to float (..., N, N)."""
        spectrum = fft2c(image)
        own, first = self._own.to(image.device), self._first.to(image.device)
        paired = math.sqrt(2) * torch.where(first, spectrum.real, -spectrum.imag)
        return torch.where(own, spectrum.real, paired)

    def synthesis(self, coordinates: Tensor) -> Tensor:
        """Real images of coordinates, float (..., N, N): the inverse and the adjoint of `analysis`."""
        return ifft2c(self.spectrum(coordinates)).real

    def spectrum(self, coordinates: Tensor) -> Tensor:
        """The whole Hermitian k-space of coordinates, complex (..., N, N)."""
        own, first = self._own.to(coordinates.device), self._first.to(coordinates.device)
        partner = _REVERSED.flip(coordinates)
        real = torch.where(first, coordinates, partner) / math.sqrt(2)
        imaginary = torch.where(first, partner, -coordinates) / math.sqrt(2)
        return torch.complex(torch.where(own, coordinates, real), torch.where(own, 0, imaginary))

    def known(self, mask: Tensor) -> Tensor:
        """Coordinates that measured bins of k-space, bool (..., N, N), determine: a bin is one with its partner."""
        return mask | _REVERSED.flip(mask)
