"""An estimate of all bins, and the distribution of its error."""

from typing import NamedTuple

import torch
from torch import Tensor

from mri_iahvae.kspace.fft import fft2c, ifft2c


class Estimate(NamedTuple):
    """What the guide says of all bins.

    Its error is Gaussian: white noise in the image, its part in phase with the estimate's image and its part in
    quadrature each times a `spread`, times the root of `variance` in k-space. Each bin then has exactly that variance.
    The two parts differ: what a network does not know of an image with a smooth phase is its magnitude.

    Attributes:
        kspace: complex64 (B, H, W), in the units of the measurement.
        variance: float (B, H, W), expected squared error of each real and imaginary part; zero where a bin was measured
            without noise, infinite where nothing is known.
        spread: float (B, 2, H, W), relative size of the error over the image, in phase and in quadrature; mean
            square 1.
    """

    kspace: Tensor
    variance: Tensor
    spread: Tensor

    @classmethod
    def even(cls, kspace: Tensor, variance: Tensor) -> "Estimate":
        """An estimate whose error has the same size everywhere."""
        batch, height, width = variance.shape
        return cls(kspace, variance, torch.ones(batch, 2, height, width, device=variance.device))

    @classmethod
    def of_data(cls, kspace: Tensor, mask: Tensor, noise_sigma: Tensor) -> "Estimate":
        """The measured bins (mask B, H, W) with the noise's variance, sigma (B,) per part; nothing known elsewhere."""
        values = torch.where(mask, kspace, 0)
        return cls.even(values, torch.where(mask, noise_sigma.square()[:, None, None], torch.inf))

    def draw(self, noise: Tensor) -> Tensor:
        """A draw of the error from standard normal parts, complex64 (B, H, W); zero where nothing or all is known."""
        phase, (in_phase, quadrature) = self.phase(), self.spread.unbind(1)
        white = ifft2c(noise) * phase.conj()
        image = phase * torch.complex(in_phase * white.real, quadrature * white.imag)
        return self._deviation() * fft2c(image)

    def phase(self) -> Tensor:
        """Phase factors of the estimate's image, complex64 (B, H, W); 1 where the image is zero."""
        angle = ifft2c(self.kspace).angle()
        return torch.polar(torch.ones_like(angle), angle)

    def pixel_variance(self) -> Tensor:
        """Variance of the pixels of a draw, in phase with the image and in quadrature, float (B, 2, H, W).

        A draw is the modulated white noise, convolved with the image of the deviations of the bins.
        """
        kernel = torch.fft.ifft2(torch.fft.ifftshift(self._deviation(), dim=(-2, -1)))
        in_phase, quadrature = self.spread.square().unbind(1)
        turned = self.phase().square()
        power = _convolved(kernel.abs().square() + 0j, in_phase + quadrature + 0j).real
        pseudo = (_convolved(kernel.square(), turned * (in_phase - quadrature)) * turned.conj()).real
        return torch.stack([power + pseudo, power - pseudo], dim=1).clamp_min(0) / 2

    def _deviation(self) -> Tensor:
        return torch.where(self.variance.isfinite(), self.variance, 0).sqrt()


def _convolved(a: Tensor, b: Tensor) -> Tensor:
    """Circular convolution of complex images (B, H, W)."""
    return torch.fft.ifft2(torch.fft.fft2(a) * torch.fft.fft2(b))
