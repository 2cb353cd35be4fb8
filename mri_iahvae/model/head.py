"""Head of one scale: context to the k-space bins of that scale, and of no other."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from mri_iahvae.kspace.bands import band_mask
from mri_iahvae.kspace.fft import fft2c, to_complex
from mri_iahvae.model.blocks import Bottleneck
from mri_iahvae.model.config import ScaleConfig


class Head(nn.Module):
    """Predicts a complex s x s image, transforms it, scales it by the band's gain and keeps band R_s.

    Convolutions stay in image space, their natural domain; what follows them is linear, so the sum over
    scales is linearly separable in the Fourier domain (paper, equation 5).
    """

    def __init__(self, scale: ScaleConfig, resolution: int, blocks: int) -> None:
        super().__init__()
        self.patch = scale.patch
        self.blocks = nn.Sequential(
            *(Bottleneck(scale.channels, scale.inner, resolution) for _ in range(blocks))
        )
        kernel = 3 if resolution > 2 else 1
        self.image = nn.Conv2d(scale.channels, 2 * scale.patch**2, kernel, padding=kernel // 2)
        # A head starts silent: random bins of a fresh scale would drive its context into saturation first.
        for parameter in self.image.parameters():
            nn.init.zeros_(parameter)

    def forward(self, h: Tensor, gain: Tensor) -> Tensor:
        """(B, C, r, r) to the bins of R_s, complex64 (B, s, s), zero inside B_{s/2}; canonical units."""
        image = to_complex(F.pixel_shuffle(self.image(F.silu(self.blocks(h))).float(), self.patch))
        bins = fft2c(image)
        # Two real channels of unit power make a complex bin of power two.
        return bins * (gain / math.sqrt(2.0)) * band_mask(bins.shape[-1], bins.device)
