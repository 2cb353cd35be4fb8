"""One scale of the decoder: context from the coarser scales, M stochastic layers, one head."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mri_iahvae.kspace.fft import to_channels
from mri_iahvae.model.config import ScaleConfig
from mri_iahvae.model.detail import Detail
from mri_iahvae.model.encoder import enlarge
from mri_iahvae.model.head import Head
from mri_iahvae.model.ladder import LadderLayer

if TYPE_CHECKING:
    from mri_iahvae.model.blocks import Bottleneck


class DecoderStage(nn.Module):
    """Decoder of one scale s.

    Args:
        scale: widths of this scale.
        resolution: side r = s / patch of its maps.
        latent: latent channels per pixel.
        coarser: channels of the coarser scale's context, None at scale 1.
        sees: whether contexts see the coarser bins.
        head: makes the head; None where the scale answers for no bin.
    """

    def __init__(
        self,
        scale: ScaleConfig,
        resolution: int,
        latent: int,
        coarser: int | None,
        *,
        sees: bool,
        head: Callable[[], Head] | None,
    ) -> None:
        super().__init__()
        self.patch = scale.patch
        self.resolution = resolution
        self.bias = nn.Parameter(torch.zeros(scale.channels, 1, 1))
        self.detail = Detail(scale.detail) if scale.detail else None
        kernel = 3 if resolution > 2 else 1
        if coarser is not None:
            self.merge = nn.Conv2d(coarser, scale.channels, 1)
            self.look = (
                nn.Conv2d(2 * scale.patch**2, scale.channels, kernel, padding=kernel // 2) if sees else None
            )
        self.layers = nn.ModuleList(
            LadderLayer(scale, resolution, latent * scale.patch**2) for _ in range(scale.layers)
        )
        self.head = None if head is None else head()
        if scale.detail:
            self._leave_detail_alone(scale.width - scale.channels)

    def _leave_detail_alone(self, channels: int) -> None:
        """Until they have learnt better, layers and head pass the detail on: a fresh scale stays silent."""
        layers = cast("list[LadderLayer]", list(self.layers))
        blocks = [] if self.head is None else cast("list[Bottleneck]", list(self.head.blocks))
        blocks += [block for layer in layers for block in (layer.prior_block, layer.block)]
        for convolution in [*(block.expand for block in blocks), *(layer.project for layer in layers)]:
            for parameter in convolution.parameters():
                nn.init.zeros_(parameter[-channels:])

    def context(self, h: Tensor, image: Tensor | None, told: Tensor | None) -> Tensor:
        """The context that this scale starts from.

        Args:
            h: last context of scale s / 2, (B, C', r', r').
            image: complex (B, s, s), the image of block B_{s/2} seen at this scale's resolution: what the
                coarser scales are known to be, measured bins included; None where contexts do not see it.
            told: float (B, 2, s, s), what the detail says; None where there is none.

        Returns:
            float (B, C, r, r); what the detail says, folded, is the last 2 patch^2 channels.
        """
        start = enlarge(self.merge(h), self.resolution)
        if self.look is not None and image is not None:
            start = start + self.look(F.pixel_unshuffle(to_channels(image), self.patch))
        start = start + self.bias
        if told is not None:
            start = torch.cat([start, F.pixel_unshuffle(told, self.patch).to(start.dtype)], dim=1)
        return start

    def first_context(self, batch: int) -> Tensor:
        """The context of scale 1, which has nothing coarser: a learned constant, (B, C, 1, 1)."""
        return self.bias[None].expand(batch, -1, self.resolution, self.resolution)
