"""One scale of the separable decoder: context from the coarser scales, M stochastic layers, one head."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mri_iahvae.kspace.decomposition import Decomposition
from mri_iahvae.kspace.fft import to_channels
from mri_iahvae.model.blocks import convolution, enlarge
from mri_iahvae.model.config import ScaleConfig
from mri_iahvae.model.gaussian import whitened_kl
from mri_iahvae.model.head import Head
from mri_iahvae.model.ladder import LadderLayer
from mri_iahvae.model.protocols import Encoded, Latents, LatentShape
from mri_iahvae.model.super_resolution import SuperResolution

if TYPE_CHECKING:
    from mri_iahvae.model.blocks import Bottleneck


class BandScale(nn.Module):
    """A `Scale` whose latents generate the coefficients of one band.

    A stage of an ordinary HVAE has no `head`, and its context does not see the coarser bins. `latent` is the number of
    latent channels per pixel, `coarser` that of the channels of the coarser scale's context, None at scale 1.
    """

    gains: Tensor
    coarse_gains: Tensor

    def __init__(
        self,
        config: ScaleConfig,
        index: int,
        decomposition: Decomposition,
        latent: int,
        coarser: int | None,
        head: Callable[[], Head] | None,
        *,
        sees: bool = True,
    ) -> None:
        super().__init__()
        self.index, self.side = index, 2**index
        self.resolution = config.resolution(index)
        self.patch = config.patch
        self.decomposition = decomposition
        self.bias = nn.Parameter(torch.zeros(config.channels, 1, 1))
        self.super_resolution = SuperResolution(config.super_resolution) if config.super_resolution else None
        if coarser is not None:
            self.merge = nn.Conv2d(coarser, config.channels, 1)
            self.look = convolution(2 * config.patch**2, config.channels, self.resolution) if sees else None
        self.layers = nn.ModuleList(
            LadderLayer(config, self.resolution, latent * config.patch**2) for _ in range(config.layers)
        )
        self.latents = tuple(
            LatentShape(index, j, (latent * config.patch**2, self.resolution, self.resolution))
            for j in range(config.layers)
        )
        self.head = None if head is None else head()
        self.gain = 1.0
        # Not persistent, because the configuration holds them.
        self.register_buffer("gains", torch.ones(self.side, self.side), persistent=False)
        self.register_buffer("coarse_gains", torch.ones(self.side // 2, self.side // 2), persistent=False)
        if self.super_resolution is not None:
            self._pass_on(config.width - config.channels)

    def set_gains(self, gains: Tensor) -> None:
        """Adopt the RMS of each coefficient of the scale's block, float (s, s)."""
        if self.head is None:
            return
        self.gains = gains * self.decomposition.ring(self.index, gains.device)
        if self.super_resolution is not None:
            self.coarse_gains = self.decomposition.block(gains, self.index - 1)
        self.gain = float(gains[0, 0])  # a corner is always in the band

    def variance(self) -> float:
        return self.gain**2 / 2

    def energy(self) -> float:
        return self.gain**2 * (self.side**2 - (self.side // 2) ** 2)

    def context(self, h: Tensor | None, coarse: Tensor) -> Tensor:
        """What the super-resolution branch predicts, folded, is the last 2 patch^2 channels."""
        if h is None:
            return self.bias[None].expand(coarse.shape[0], -1, self.resolution, self.resolution)
        start = enlarge(self.merge(h), self.resolution)
        if self.look is not None:
            image = self.decomposition.image(coarse, self.index)
            start = start + self.look(F.pixel_unshuffle(to_channels(image), self.patch))
        start = start + self.bias
        if self.super_resolution is not None:
            image = self.decomposition.image(coarse, self.index - 1)
            white = self.decomposition.synthesis(coarse / self.coarse_gains, self.index - 1)
            predicted = self.super_resolution(image, white)
            start = torch.cat([start, F.pixel_unshuffle(predicted, self.patch).to(start.dtype)], dim=1)
        return start

    def run(self, h: Tensor, latents: Latents | None = None, first: int = 0) -> Tensor:
        layers = self.ladder()[first:]
        for number, layer in enumerate(layers if latents is None else layers[: len(latents)]):
            prior, residual = layer.prior(h)
            z = prior.mean if latents is None else prior.at(latents[number])
            h = layer.advance(h, residual, z)
        return h

    def bins(self, last: Tensor) -> Tensor:
        predicted: Tensor = cast("Head", self.head)(last, self.gains)
        return predicted

    def encode(
        self, h: Tensor, features: Tensor, noise: Latents | None = None, fraction: Tensor | None = None
    ) -> Encoded:
        mean, std, latents = [], [], []
        rate = torch.zeros(len(h), device=h.device)
        for number, layer in enumerate(self.ladder()):
            prior, residual = layer.prior(h)
            offset, log_ratio = layer.posterior(h, features)
            ratio = log_ratio.exp()
            e = offset if noise is None else offset + ratio * noise[number]
            h = layer.advance(h, residual, prior.at(e))
            rate = rate + whitened_kl(offset, log_ratio)
            mean.append(offset)
            std.append(ratio)
            latents.append(e)
        if fraction is not None:
            known = fraction[:, None, None, None]
            std = [(known * r.square() + 1 - known).sqrt() for r in std]
        return Encoded(h, mean, std, latents, rate)

    def ladder(self) -> list[LadderLayer]:
        """Its stochastic layers, in the order in which they run."""
        return cast("list[LadderLayer]", list(self.layers))

    def _pass_on(self, channels: int) -> None:
        """Until they have learnt better, layers and head pass the super-resolved image on."""
        blocks = [] if self.head is None else cast("list[Bottleneck]", list(self.head.blocks))
        blocks += [block for layer in self.ladder() for block in (layer.prior_block, layer.block)]
        for layer in [*(block.expand for block in blocks), *(layer.project for layer in self.ladder())]:
            for parameter in layer.parameters():
                nn.init.zeros_(parameter[-channels:])
