"""Scale-causal encoder: the features of scale s depend on block B_s of the input alone.

An input that is measured only up to 8x8 thus gives the encoder exactly what it saw in training, and a model can
be grown scale by scale. (The paper's encoder runs bottom-up from full resolution.)
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mri_iahvae.kspace.decomposition import Decomposition
from mri_iahvae.kspace.fft import to_channels
from mri_iahvae.model.blocks import bottlenecks, convolution, enlarge
from mri_iahvae.model.config import ScaleConfig
from mri_iahvae.model.protocols import Scale


class EncoderStage(nn.Module):
    """Encoder of one scale, on maps of side r = s / patch; `coarser` channels come from scale s / 2."""

    def __init__(self, scale: ScaleConfig, resolution: int, blocks: int, coarser: int | None) -> None:
        super().__init__()
        self.patch = scale.patch
        self.resolution = resolution
        # Four real channels: the image of block B_s, and that of its new band R_s at unit power, which the
        # first would drown.
        self.embed = convolution(4 * scale.patch**2, scale.channels, resolution)
        self.merge = None if coarser is None else nn.Conv2d(coarser, scale.channels, 1)
        self.blocks = bottlenecks(blocks, scale.channels, scale.inner, resolution)

    def forward(self, image: Tensor, band: Tensor, coarser: Tensor | None) -> Tensor:
        """Features of scale s, float (B, C, r, r).

        Args:
            image: complex (B, s, s), image of B_s, pixel power about 1.
            band: complex (B, s, s), image of R_s divided by the band's gain.
            coarser: features of scale s / 2, (B, C', r', r'), or None at scale 1.
        """
        pixels = torch.cat([to_channels(image), to_channels(band)], dim=1)
        x = self.embed(F.pixel_unshuffle(pixels, self.patch))
        if self.merge is not None and coarser is not None:
            x = x + enlarge(self.merge(coarser), self.resolution)
        return self.blocks(x)


class CausalEncoder(nn.ModuleList):
    """An `Encoder`: one stage per scale, coarse to fine, with so many residual blocks."""

    causal = True
    gains: Tensor

    def __init__(self, scales: tuple[ScaleConfig, ...], blocks: int, decomposition: Decomposition) -> None:
        coarser = [None, *(scale.channels for scale in scales[:-1])]
        super().__init__(
            EncoderStage(scale, scale.resolution(index), blocks, channels)
            for index, (scale, channels) in enumerate(zip(scales, coarser, strict=True))
        )
        self.decomposition = decomposition
        self.register_buffer("gains", torch.ones(len(scales)), persistent=False)

    def set_gains(self, gains: Tensor) -> None:
        self.gains = gains

    def begin(self, coefficients: Tensor, mask: Tensor) -> "CausalSession":  # noqa: ARG002 - as `Encoder.begin`
        """A session, which sees nothing of the measurement but what it is shown scale by scale."""
        return CausalSession(self)


class CausalSession:
    """The `Session` of a `CausalEncoder`."""

    def __init__(self, encoder: CausalEncoder) -> None:
        self._encoder = encoder
        self._settled: list[tuple[Scale, Tensor]] = []  # encoded once a finer scale asks: often none does
        self._coarser: Tensor | None = None
        self._latest: tuple[Tensor, Tensor] | None = None

    def features(self, scale: Scale, block: Tensor) -> Tensor:
        for settled in self._settled:
            self._coarser = self._stage(*settled)
        self._settled.clear()
        features = self._stage(scale, block)
        self._latest = block, features
        return features

    def extend(self, scale: Scale, block: Tensor) -> None:
        if self._latest is not None and self._latest[0] is block:
            self._coarser = self._latest[1]
        else:
            self._settled.append((scale, block))

    def _stage(self, scale: Scale, block: Tensor) -> Tensor:
        encoder, index = self._encoder, scale.index
        image = encoder.decomposition.image(block, index)
        ring = encoder.decomposition.ring(index, block.device)
        band = encoder.decomposition.synthesis(block * ring, index) / encoder.gains[index]
        features: Tensor = encoder[index](image, band, self._coarser)
        return features
