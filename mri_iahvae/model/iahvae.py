"""The complex IA-HVAE: a hierarchical VAE whose decoder is linearly separable in the Fourier domain.

All k-space here is in canonical form (`mri_iahvae.kspace.canonical`) on the model's N x N grid; `index` counts
scales, s = 2^index. Method: Penninga and van Sloun, arXiv 2601.15894. What the paper compares with are values of the
configuration: another encoder, other heads, and the ordinary HVAE, whose finest scale answers for all bins.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from mri_iahvae.kspace.bands import band_mask, block_mask, crop, embed, join, scales
from mri_iahvae.kspace.canonical import per_bin_power
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.blocks import Bottleneck
from mri_iahvae.model.bottom_up import BottomUpEncoder
from mri_iahvae.model.config import ModelConfig
from mri_iahvae.model.decoder import DecoderStage
from mri_iahvae.model.encoder import EncoderStage
from mri_iahvae.model.gaussian import Gaussian
from mri_iahvae.model.head import Head
from mri_iahvae.model.ladder import LadderLayer

Encode = Callable[[int, Tensor, Tensor | None], Tensor]
"""Encoder features of one scale: see `IAHVAE.encode`."""


class IAHVAE(nn.Module):
    """Encoder, ladder and heads, one stage of each per scale.

    Args:
        config: the model's description; gains that it lacks are 1 until they are measured.
    """

    gains: Tensor
    power: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        causal, separable = config.encoder == "causal", config.decoder == "separable"
        self.encoder = nn.ModuleList() if causal else BottomUpEncoder(config.scales, config.encoder_blocks)
        self.decoder = nn.ModuleList()
        features = contexts = None  # channels of the coarser scale's
        for index, scale in enumerate(config.scales):
            resolution = max(1, 2**index // scale.patch)
            if causal:
                self.encoder.append(EncoderStage(scale, resolution, config.encoder_blocks, features))
            head = partial(Head, scale, resolution, config.head_blocks, spectral=config.heads == "spectral")
            answers = separable or index == len(config.scales) - 1
            self.decoder.append(
                DecoderStage(
                    scale,
                    resolution,
                    config.latent,
                    contexts,
                    sees=separable,
                    head=head if answers else None,
                )
            )
            features, contexts = scale.channels, scale.width
        for part in (self.encoder, self.decoder):
            blocks = [m for m in part.modules() if isinstance(m, Bottleneck) and m.residual]
            for block in blocks:
                block.scale_output(1 / math.sqrt(len(blocks)))
        self.set_config(config)

    def set_config(self, config: ModelConfig) -> None:
        """Adopt measured gains, core power and sigma; the architecture must be the same."""
        self.config = config
        device = next(self.parameters()).device
        unmeasured = len(config.scales) - len(config.gains)
        gains = torch.tensor((*config.gains, *(1.0,) * unmeasured), device=device)
        core = torch.tensor(config.core_power) if config.core_power else torch.ones(1, 1)
        # Buffers, to follow the module to its device; not persistent, because the config holds them.
        self.register_buffer("gains", gains, persistent=False)
        self.register_buffer("power", per_bin_power(core, gains.cpu()).to(device), persistent=False)

    @property
    def size(self) -> int:
        """Side N of the grid."""
        return self.config.size

    def latent_shape(self, index: int) -> tuple[int, int, int]:
        """Shape of one layer's latents at scale `index`: (latent * patch^2, r, r), s^2 pixels in all."""
        stage = self.stage(index)
        return self.layers(index)[0].latent, stage.resolution, stage.resolution

    def stage(self, index: int) -> DecoderStage:
        """Decoder of scale `index`."""
        return cast("DecoderStage", self.decoder[index])

    def layers(self, index: int) -> list[LadderLayer]:
        """Stochastic layers of scale `index`, in the order in which they run."""
        return cast("list[LadderLayer]", list(self.stage(index).layers))

    def scale_parameters(self, index: int) -> list[nn.Parameter]:
        """Parameters of encoder and decoder at scale `index`; only a scale-causal encoder has such."""
        return [*self.encoder[index].parameters(), *self.stage(index).parameters()]

    def super_resolution_parameters(self) -> list[nn.Parameter]:
        """Parameters of the super-resolution branches of all scales."""
        branches = [self.stage(index).detail for index in range(len(self.decoder))]
        return [parameter for branch in branches if branch is not None for parameter in branch.parameters()]

    def ring(self, index: int) -> Tensor:
        """The bins that scale `index` answers for, bool (s, s): R_s; all or none in an ordinary HVAE."""
        s, device = 2**index, self.gains.device
        if self.config.decoder == "separable":
            return band_mask(s, device)
        return torch.full((s, s), s == self.size, device=device)

    def encoder_for(self, kspace: Tensor) -> Encode:
        """What encodes the scales of some slices: `encode`, or what a bottom-up encoder finds once for all scales.

        Args:
            kspace: complex (B, N, N), zero where unmeasured; a scale-causal encoder has no use for it.
        """
        if not isinstance(self.encoder, BottomUpEncoder):
            return self.encode
        features = self.encoder(ifft2c(kspace), ifft2c(kspace / self._gain_map()))
        return lambda index, _kspace, _coarser: features[index]

    def encode(self, index: int, kspace: Tensor, coarser: Tensor | None) -> Tensor:
        """Scale-causal encoder features of one scale.

        Args:
            index: scale index.
            kspace: complex (B, s, s), the bins of B_s, holes filled.
            coarser: features of the coarser scale, None at scale 1.

        Returns:
            float (B, C, r, r).
        """
        s = kspace.shape[-1]
        image = ifft2c(kspace) * (s / self.size)
        band = ifft2c(kspace * band_mask(s, kspace.device)) / self.gains[index]
        features: Tensor = self.encoder[index](image, band, coarser)
        return features

    def context(self, index: int, h: Tensor | None, coarse: Tensor) -> Tensor:
        """The context that scale `index` starts from.

        Args:
            index: scale index.
            h: last context of the coarser scale, None at scale 1.
            coarse: complex (B, s/2, s/2), the bins of B_{s/2}; at scale 1, and in an ordinary HVAE, only its batch
                size counts.

        Returns:
            float (B, C, r, r).
        """
        stage = self.stage(index)
        if h is None:
            return stage.first_context(coarse.shape[0])
        if self.config.decoder == "ordinary":
            return stage.context(h, None, None)
        s = 2**index
        image = ifft2c(embed(coarse, s)) * (s / self.size)
        return stage.context(h, image, self.tell(index, coarse))

    def tell(self, index: int, coarse: Tensor) -> Tensor | None:
        """What the detail of scale `index`, if there is one, makes of block B_{s/2}: float (B, 2, s, s)."""
        detail, side = self.stage(index).detail, coarse.shape[-1]
        if detail is None:
            return None
        white = coarse / crop(self._gain_map(), side)
        told: Tensor = detail(ifft2c(coarse) * (side / self.size), ifft2c(white))
        return told

    def descend(
        self, index: int, h: Tensor, whitened: list[Tensor] | None = None, first: int = 0
    ) -> tuple[Tensor, list[Gaussian]]:
        """Run the layers of one scale from whitened latents e, z = mean + std e of each layer's prior.

        Args:
            index: scale index.
            h: context that the scale starts from (that before layer `first`, when given).
            whitened: one (B, latent, r, r) per layer, for as many layers as are to be run; None takes the prior
                mean everywhere (e = 0).
            first: layer to begin with.

        Returns:
            The context after the last layer that was run, and the prior of each.
        """
        priors = []
        layers = self.layers(index)[first:]
        for j, layer in enumerate(layers if whitened is None else layers[: len(whitened)]):
            prior, residual = layer.prior(h)
            z = prior.mean if whitened is None else prior.at(whitened[j])
            h = layer.advance(h, residual, z)
            priors.append(prior)
        return h, priors

    def amortize(
        self, index: int, h: Tensor, features: Tensor, noise: torch.Generator | list[Tensor] | None = None
    ) -> tuple[Tensor, list[Gaussian], list[Gaussian], list[Tensor]]:
        """Run the layers of one scale on the encoder's posterior.

        Args:
            index: scale index.
            h: context that the scale starts from.
            features: encoder features of the scale.
            noise: draws posterior samples, or is their standard normal noise, one (B, latent, r, r) per layer;
                None takes the posterior mean.

        Returns:
            The scale's last context; prior, posterior and latent z of each layer.
        """
        priors, posteriors, latents = [], [], []
        for j, layer in enumerate(self.layers(index)):
            prior, residual = layer.prior(h)
            posterior = layer.posterior(h, features, prior)
            z = posterior.mean
            if isinstance(noise, torch.Generator):
                z = posterior.at(torch.randn(z.shape, generator=noise, device=z.device))
            elif noise is not None:
                z = posterior.at(noise[j])
            h = layer.advance(h, residual, z)
            priors.append(prior)
            posteriors.append(posterior)
            latents.append(z)
        return h, priors, posteriors, latents

    def band(self, index: int, h: Tensor) -> Tensor:
        """The bins that the scale answers for (`ring`), from its last context: complex64 (B, s, s), others zero."""
        head, s = self.stage(index).head, 2**index
        if head is None:
            return torch.zeros(h.shape[0], s, s, dtype=torch.complex64, device=h.device)
        separable = self.config.decoder == "separable"
        gains = self.gains[index] * self.ring(index) if separable else self._gain_map()
        bins: Tensor = head(h, gains)
        return bins

    def _gain_map(self) -> Tensor:
        """Gain of each bin of the grid, float (N, N)."""
        return join(
            [gain * band_mask(s, gain.device) for gain, s in zip(self.gains, scales(self.size), strict=True)]
        )


def add_band(coarse: Tensor, band: Tensor) -> Tensor:
    """Bins of B_s from those of B_{s/2} and of R_s; `coarse` is ignored at scale 1."""
    s = band.shape[-1]
    return band if s == 1 else embed(coarse, s) + band


def complete(
    model: IAHVAE,
    index: int,
    h: Tensor | None,
    coarse: Tensor,
    noise: torch.Generator | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Complete k-space beyond scale `index` from the prior.

    Args:
        model: the model.
        index: last scale that is known; -1 when none is, which samples whole slices.
        h: last context of that scale, None when none is known.
        coarse: complex (B, s, s), the known bins of B_s; (B, 0, 0) when none is known.
        noise: draws prior samples; None takes the prior mean.
        temperature: factor on the standard deviation of the samples.

    Returns:
        complex64 (B, N, N): the known bins and the completed bands.
    """
    known = coarse
    for finer in range(index + 1, len(model.decoder)):
        h = model.context(finer, h, coarse.detach())
        whitened = None
        if noise is not None:
            shape = model.latent_shape(finer)
            whitened = [
                temperature * torch.randn(h.shape[0], *shape, generator=noise, device=h.device)
                for _ in model.layers(finer)
            ]
        h, _ = model.descend(finer, h, whitened)
        coarse = add_band(coarse, model.band(finer, h))
    # An ordinary HVAE decodes the known bins, too.
    inside = block_mask(known.shape[-1], model.size, device=known.device)
    return torch.where(inside, embed(known, model.size), coarse)
