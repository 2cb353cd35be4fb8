"""A small hierarchical VAE with the layers of VDVAE (arXiv 2011.10650), as DVP-VAE changes it (arXiv 2412.01373).

Two things can be on or off. With a pseudo-input u, its low-pass image is added to the context before each layer, so
prior and posterior of every layer are conditioned on it. With latent aggregation the likelihood sees the mean of what
all latents contribute; without, the last context.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mri_iahvae.model.blocks import Bottleneck, enlarge
from mri_iahvae.model.config import ScaleConfig
from mri_iahvae.model.gaussian import whitened_kl
from mri_iahvae.model.ladder import LadderLayer

SCALE = ScaleConfig(layers=1, channels=32, inner=16)
"""Widths of a layer."""
LATENT = 4
"""Latent channels of each layer."""
FOLD = 4
"""Pixels along a side that are folded into channels."""

Likelihood = Callable[[Tensor, Tensor], Tensor]
"""Of the head's output (B, parameters C, N, N) and images (B, C, N, N): -log p(x | z) in nats, (B,)."""


class Terms(NamedTuple):
    """What one draw of the latents gives, of B images.

    Attributes:
        misfit: -log p(x | z), nats, (B,).
        divergences: of each layer, the KL divergence of every latent, nats, (B, LATENT, r, r).
        means: of each layer, the posterior's mean, (B, LATENT, r, r).
    """

    misfit: Tensor
    divergences: list[Tensor]
    means: list[Tensor]

    def negative_bound(self) -> Tensor:
        """Misfit and divergences, nats, (B,)."""
        return self.misfit + sum(one.flatten(1).sum(1) for one in self.divergences)


class HVAE(nn.Module):
    """Three layers: one on maps of an eighth of the side, rounded up, two on maps of a quarter.

    The weights that two kinds have in common are the same after the same seed.

    Args:
        shape: channels C and side N of the images.
        parameters: of the likelihood, for each channel of a pixel.
        conditioned: on low-pass images.
        aggregated: what the likelihood sees.
    """

    def __init__(
        self, shape: tuple[int, int], parameters: int, *, conditioned: bool, aggregated: bool
    ) -> None:
        super().__init__()
        channels, side = shape
        width, fine = SCALE.channels, side // FOLD
        coarse = (fine + 1) // 2
        self.sides = [coarse, fine, fine]
        self.stem = nn.Conv2d(channels * FOLD**2, width, 3, padding=1)
        self.fine = Bottleneck(width, SCALE.inner, fine)
        self.coarse = Bottleneck(width, SCALE.inner, coarse)
        self.start = nn.Parameter(torch.zeros(width, 1, 1))
        self.layers = nn.ModuleList(LadderLayer(SCALE, side, LATENT) for side in self.sides)
        self.outputs = nn.Conv2d(width, parameters * channels * FOLD**2, 1)
        self.head = nn.Sequential(Bottleneck(width, SCALE.inner, fine), self.outputs, nn.PixelShuffle(FOLD))
        self.contribute = nn.ModuleList(nn.Conv2d(LATENT, width, 1) for _ in self.sides if aggregated)
        self.condition = nn.ModuleList(
            nn.Conv2d(channels, width, 3, padding=1) for _ in self.sides if conditioned
        )
        for convolution in self.condition:  # training starts at the model without u
            for parameter in convolution.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self,
        images: Tensor,
        low_pass: list[Tensor] | None,
        noise: torch.Generator,
        likelihood: Likelihood,
    ) -> Terms:
        """One draw of the latents of images (B, C, N, N); `low_pass` are the images of u at the side of each layer."""
        fine = self.fine(self.stem(F.pixel_unshuffle(images, FOLD)))
        coarse = self.coarse(F.avg_pool2d(fine, 2, ceil_mode=True))
        h = self.start.expand(len(images), -1, *coarse.shape[2:])
        latents, divergences, means = [], [], []
        for number, (layer, side) in enumerate(zip(self.layers, self.sides, strict=True)):
            layer = cast("LadderLayer", layer)
            h = enlarge(h, side)
            if low_pass is not None:
                h = h + self.condition[number](low_pass[number])
            prior, residual = layer.prior(h)
            offset, log_ratio = layer.posterior(h, fine if side == fine.shape[-1] else coarse)
            z = prior.at(offset + log_ratio.exp() * torch.randn(offset.shape, generator=noise))
            h = layer.advance(h, residual, z)
            latents.append(z)
            divergences.append(whitened_kl(offset.reshape(-1, 1), log_ratio.reshape(-1, 1)).view_as(offset))
            means.append(prior.at(offset))
        seen = self.aggregate(latents) if len(self.contribute) else h
        return Terms(likelihood(self.head(seen), images), divergences, means)

    def aggregate(self, latents: list[Tensor]) -> Tensor:
        """The mean of all latents' contributions, on the maps of the last layer: (B, channels, r, r)."""
        side = self.sides[-1]
        return torch.stack(
            [
                F.interpolate(contribute(z), size=side, mode="bilinear")
                for contribute, z in zip(self.contribute, latents, strict=True)
            ]
        ).mean(0)


def bernoulli(logits: Tensor, images: Tensor) -> Tensor:
    """Images of 0 and 1; one parameter for each pixel."""
    return F.binary_cross_entropy_with_logits(logits, images, reduction="none").flatten(1).sum(1)


def logistic(outputs: Tensor, images: Tensor) -> Tensor:
    """Images of 256 levels from 0 to 1, as a discretised logistic distribution; mean and log scale for each channel.

    A level has the probability of the interval of 1/255 about it; the first and the last have a tail as well.
    """
    mean, log_scale = outputs.chunk(2, dim=1)
    inverse = (-(log_scale - 2).clamp_min(-7.0)).exp()  # at first a scale of e^-2 of the range
    centred = images - mean - 0.5
    above, below = (inverse * (centred + half) for half in (0.5 / 255, -0.5 / 255))
    # sigmoid(above) - sigmoid(below), without cancellation
    inner = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(below - above))
    last = torch.where(images > 254.5 / 255, F.logsigmoid(-below), inner)
    return -torch.where(images < 0.5 / 255, F.logsigmoid(above), last).flatten(1).sum(1)
