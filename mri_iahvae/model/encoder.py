"""Scale-causal encoder: the features of scale s depend on block B_s of the input alone.

An input that is measured only up to 8x8 thus gives the encoder exactly what it saw in training, and a model can
be grown scale by scale. (The paper's encoder runs bottom-up from full resolution.)
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mri_iahvae.kspace.fft import to_channels
from mri_iahvae.model.blocks import Bottleneck
from mri_iahvae.model.config import ScaleConfig


class EncoderStage(nn.Module):
    """Encoder of one scale.

    Args:
        scale: widths of this scale.
        resolution: side r = s / patch of its maps.
        blocks: number of residual blocks.
        coarser: channels of the next coarser scale's features, None at scale 1.
    """

    def __init__(self, scale: ScaleConfig, resolution: int, blocks: int, coarser: int | None) -> None:
        super().__init__()
        self.patch = scale.patch
        self.resolution = resolution
        kernel = 3 if resolution > 2 else 1
        # Four real channels: the image of block B_s, and that of its new band R_s at unit power, which the
        # first would drown.
        self.embed = nn.Conv2d(4 * scale.patch**2, scale.channels, kernel, padding=kernel // 2)
        self.merge = None if coarser is None else nn.Conv2d(coarser, scale.channels, 1)
        self.blocks = nn.Sequential(
            *(Bottleneck(scale.channels, scale.inner, resolution) for _ in range(blocks))
        )

    def forward(self, image: Tensor, band: Tensor, coarser: Tensor | None) -> Tensor:
        """Features of scale s.

        Args:
            image: complex (B, s, s), image of B_s, pixel power about 1.
            band: complex (B, s, s), image of R_s divided by the band's gain.
            coarser: features of scale s / 2, (B, C', r', r'), or None at scale 1.

        Returns:
            float (B, C, r, r).
        """
        pixels = torch.cat([to_channels(image), to_channels(band)], dim=1)
        x = self.embed(F.pixel_unshuffle(pixels, self.patch))
        if self.merge is not None and coarser is not None:
            x = x + enlarge(self.merge(coarser), self.resolution)
        return self.blocks(x)


def enlarge(maps: Tensor, resolution: int) -> Tensor:
    """Nearest-neighbour upsampling of (B, C, r, r) to side `resolution` (the same maps when it is r)."""
    return maps if maps.shape[-1] == resolution else F.interpolate(maps, size=resolution, mode="nearest")
