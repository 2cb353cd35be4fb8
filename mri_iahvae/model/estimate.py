"""An estimate of all bins, and the distribution of its error."""

from typing import NamedTuple

import torch
from torch import Tensor

from mri_iahvae.kspace.fft import fft2c, ifft2c


class Estimate(NamedTuple):
    """What the guide says of all bins.

    Its error is Gaussian: white noise in the image, times `spread`, times the root of `variance` in k-space. Each bin
    then has exactly that variance.

    Attributes:
        kspace: complex64 (B, H, W), in the units of the measurement.
        variance: float (B, H, W), expected squared error of each real and imaginary part; zero where a bin was measured
            without noise, infinite where nothing is known.
        spread: float (B, H, W), relative size of the error over the image; mean square 1.
    """

    kspace: Tensor
    variance: Tensor
    spread: Tensor

    @classmethod
    def of_data(cls, kspace: Tensor, mask: Tensor, noise_sigma: Tensor) -> "Estimate":
        """The measured values themselves, with the noise's variance, and nothing known elsewhere.

        Args:
            kspace: complex64 (B, H, W); values at unmeasured bins are ignored.
            mask: bool (B, H, W), true where measured.
            noise_sigma: float (B,), noise per part.
        """
        values = torch.where(mask, kspace, 0)
        variance = torch.where(mask, noise_sigma.square()[:, None, None], torch.inf)
        return cls(values, variance, torch.ones_like(variance))

    def draw(self, noise: Tensor) -> Tensor:
        """A draw of the error, complex64 (B, H, W); zero where the variance is zero or infinite.

        Args:
            noise: complex64 (B, H, W), standard normal real and imaginary parts.
        """
        return self._deviation() * fft2c(self.spread * ifft2c(noise))

    def pixel_variance(self) -> Tensor:
        """Variance of each part of the pixels of a draw, float (B, H, W).

        A draw is the modulated white noise, convolved with the image of the deviations of the bins.
        """
        kernel = torch.fft.ifft2(torch.fft.ifftshift(self._deviation(), dim=(-2, -1))).abs().square()
        spectrum = torch.fft.rfft2(kernel) * torch.fft.rfft2(self.spread.square())
        size = self.spread.shape[-2:]
        return torch.fft.irfft2(spectrum, s=size).clamp_min(0)

    def _deviation(self) -> Tensor:
        return torch.where(self.variance.isfinite(), self.variance, 0).sqrt()
