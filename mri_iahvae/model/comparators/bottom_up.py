"""The paper's encoder: bottom-up, from the whole grid at full resolution to the coarsest scale.

Its features at every scale depend on every bin of the input, unmeasured ones (zero) included; nothing that is
inferred on the way changes them.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mri_iahvae.kspace.decomposition import Decomposition
from mri_iahvae.kspace.fft import to_channels
from mri_iahvae.model.blocks import bottlenecks, convolution
from mri_iahvae.model.config import ScaleConfig
from mri_iahvae.model.gains import gain_map
from mri_iahvae.model.protocols import Scale


class BottomUpStage(nn.Module):
    """Encoder of one scale, on maps of side r = s / patch; `finer` channels come from scale 2s."""

    def __init__(self, scale: ScaleConfig, resolution: int, blocks: int, finer: int | None) -> None:
        super().__init__()
        self.resolution = resolution
        # The finest scale takes four real channels: the image, and that of its bins at unit power, which the first
        # would drown.
        self.embed = (
            convolution(4 * scale.patch**2, scale.channels, resolution)
            if finer is None
            else nn.Conv2d(finer, scale.channels, 1)
        )
        self.blocks = bottlenecks(blocks, scale.channels, scale.inner, resolution)

    def forward(self, x: Tensor) -> Tensor:
        """Pixels (B, 4 patch^2, r, r), or features of the finer scale (B, C', r', r'), to (B, C, r, r)."""
        return self.blocks(self.embed(F.adaptive_avg_pool2d(x, self.resolution)))


class BottomUpEncoder(nn.ModuleList):
    """An `Encoder` that looks at the whole measurement at once: stages of all scales, coarse to fine."""

    causal = False
    gain_map: Tensor

    def __init__(self, scales: tuple[ScaleConfig, ...], blocks: int, decomposition: Decomposition) -> None:
        finer = [*(scale.channels for scale in scales[1:]), None]
        super().__init__(
            BottomUpStage(scale, scale.resolution(index), blocks, channels)
            for index, (scale, channels) in enumerate(zip(scales, finer, strict=True))
        )
        self.patch = scales[-1].patch
        self.image = partial(decomposition.synthesis, index=len(decomposition.sides) - 1)
        size = decomposition.size
        self.register_buffer("gain_map", torch.ones(size, size), persistent=False)

    def set_gains(self, gains: Tensor) -> None:
        self.gain_map = gain_map(gains)

    def forward(self, image: Tensor, white: Tensor) -> list[Tensor]:
        """Features of every scale, float (B, C, r, r), coarse to fine.

        Args:
            image: complex (B, N, N), pixel power about 1.
            white: complex (B, N, N), the image of the bins divided by their gains.
        """
        x = F.pixel_unshuffle(torch.cat([to_channels(image), to_channels(white)], dim=1), self.patch)
        features = []
        for stage in reversed(self):
            x = stage(x)
            features.append(x)
        return features[::-1]

    def begin(self, coefficients: Tensor, mask: Tensor) -> "BottomUpSession":  # noqa: ARG002 - as `Encoder.begin`
        features = self(self.image(coefficients), self.image(coefficients / self.gain_map))
        return BottomUpSession(dict(enumerate(features)))


class BottomUpSession:
    """The `Session` of an encoder that knows the features of every scale, by index, from the start."""

    def __init__(self, features: Mapping[int, Any]) -> None:
        self.all = features

    def features(self, scale: Scale, block: Tensor) -> Any:  # noqa: ANN401, ARG002 - as `Session.features`
        return self.all[scale.index]

    def extend(self, scale: Scale, block: Tensor) -> None:
        """Nothing that is inferred changes them."""
