"""Head of one scale: context to the k-space bins of the scale, and no others."""

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from mri_iahvae.kspace.fft import to_complex
from mri_iahvae.model.blocks import bottlenecks, convolution
from mri_iahvae.model.config import ScaleConfig


class Head(nn.Module):
    """Predicts a complex s x s image, transforms it, scales its bins by their gains and keeps the scale's own.

    Convolutions stay in image space, their natural domain; what follows them is linear, so the sum over
    scales is linearly separable in the Fourier domain (paper, equation 5).
    """

    def __init__(
        self, transform: Callable[[Tensor], Tensor], scale: ScaleConfig, resolution: int, blocks: int
    ) -> None:
        super().__init__()
        self.transform = transform
        self.patch = scale.patch
        self.blocks = bottlenecks(blocks, scale.width, scale.inner, resolution)
        self.passed_on = scale.width - scale.channels
        self.image = convolution(scale.width, 2 * scale.patch**2, resolution)
        # A head starts at zero: random bins of a fresh scale would drive its context into saturation first.
        for parameter in self.image.parameters():
            nn.init.zeros_(parameter)

    def forward(self, h: Tensor, gains: Tensor) -> Tensor:
        """Bins of one scale, complex64 (B, s, s), canonical units.

        Args:
            h: last context of the scale, (B, C, r, r).
            gains: float (s, s), RMS of each bin, canonical units; 0 outside its band.
        """
        x = self.blocks(h)
        image = self.image(F.silu(x)).float()
        if self.passed_on:  # the super-resolved image, as the layers have left it
            image = image + x[:, -self.passed_on :].float()
        predicted = to_complex(F.pixel_shuffle(image, self.patch))
        # Two real channels of unit power make a complex bin of power two.
        return self.transform(predicted) * (gains / math.sqrt(2.0))
