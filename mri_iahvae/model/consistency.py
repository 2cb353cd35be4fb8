"""Data consistency of an unrolled step: the image between what a network predicts and what was measured."""

from typing import Protocol

import torch
from torch import Tensor

from mri_iahvae.kspace.coils import Sense
from mri_iahvae.kspace.fft import fft2c, ifft2c

_STEPS = 10  # of conjugate gradients
_CALIBRATION = 0.01  # error of the sensitivities, as noise of a slice whose RMS pixel is 1
_LARGEST = 0.3  # variance of a prediction


class Consistency(Protocol):
    """What was measured, in units in which the image's RMS pixel is about 1.

    Attributes:
        mask: bool (B, H, W), true where measured.
        sigma: float (B,), noise per part.
        zero_filled: complex64 (B, H, W), the image of the measured bins alone.
    """

    mask: Tensor
    sigma: Tensor
    zero_filled: Tensor

    def __call__(self, image: Tensor, variance: Tensor) -> Tensor:
        """The image, complex64 (B, H, W), made consistent; `variance` is that of its bins per part, a number."""

    def misfit(self, image: Tensor) -> Tensor:
        """Bins of an image less the measured ones, complex64 (B, H, W); unmeasured bins do not count."""


class OneCoil:
    """Bins of one coil, complex64 (B, H, W), zero where not measured: each is a weighted mean."""

    def __init__(self, kspace: Tensor, mask: Tensor, sigma: Tensor) -> None:
        self.kspace, self.mask, self.sigma = kspace, mask, sigma
        self.zero_filled = ifft2c(kspace)

    def __call__(self, image: Tensor, variance: Tensor) -> Tensor:
        """See `Consistency`."""
        bins = fft2c(image)
        weight = variance / (variance + self.sigma.square()[:, None, None])
        return ifft2c(bins + self.mask * weight * (self.kspace - bins))

    def misfit(self, image: Tensor) -> Tensor:
        """See `Consistency`."""
        return fft2c(image) - self.kspace


class Predicted(OneCoil):
    """Bins of one coil, each of which something else predicts, too.

    Networks see what was measured alone, as in training. The prediction, complex64 (B, H, W), joins their own in the
    weighted mean; `spread`, float (B, H, W), is its variance per part, infinite where there is none.
    """

    def __init__(
        self, kspace: Tensor, mask: Tensor, sigma: Tensor, predicted: Tensor, spread: Tensor
    ) -> None:
        super().__init__(kspace, mask, sigma)
        self.predicted, self.spread = predicted, spread

    def __call__(self, image: Tensor, variance: Tensor) -> Tensor:
        """See `Consistency`."""
        bins, weight = fft2c(image), variance / (variance + self.spread)
        fused = bins + weight * (self.predicted - bins)
        left = variance * (1 - weight)
        return super().__call__(ifft2c(fused), left.clamp_min(torch.finfo(left.dtype).tiny))


class SeveralCoils:
    """Bins of several coils: least squares by a few steps of conjugate gradients (MoDL).

    A guide that was trained with one coil states too large a variance where nothing but measured bins depends on it. It
    is limited here, or the noise that parallel imaging amplifies would come through. Steps and limit were chosen on
    held-back subjects, at 4x and 8x, with noise and without.

    Args:
        kspace: complex64 (B, C, H, W), zero where not measured.
        sense: the coils, sum of squares of their sensitivities 1.
        sigma: as the attribute, of every coil.

    Attributes:
        noise: float (B,), variance of the data per part: noise, and the error of the sensitivities.
    """

    def __init__(self, kspace: Tensor, sense: Sense, sigma: Tensor) -> None:
        self.kspace, self.sense, self.sigma = kspace, sense, sigma
        self.noise = sigma.square() + _CALIBRATION**2
        self.zero_filled = sense.adjoint(kspace)
        self.mask = sense.mask.expand(len(kspace), 1, *kspace.shape[2:])[:, 0]

    def __call__(self, image: Tensor, variance: Tensor) -> Tensor:
        """See `Consistency`."""
        return self.between(image, self.kspace, variance)

    def between(self, image: Tensor, kspace: Tensor, variance: Tensor) -> Tensor:
        """The same with other data (B, C, H, W) of these coils: linear in image and data."""
        weight = (self.noise / variance.clamp_max(_LARGEST))[:, None, None]
        return self.sense.data_step(kspace, image, weight, _STEPS)

    def misfit(self, image: Tensor) -> Tensor:
        """See `Consistency`: of the coils' bins, combined by the sensitivities; with one coil of 1 it is the same."""
        return fft2c(self.sense.normal(image) - self.zero_filled)
