"""The ordinary HVAE, the paper's comparator: every latent acts on every bin, so its ladder is a single scale."""

from typing import NamedTuple

import torch
from torch import Tensor

from mri_iahvae.kspace.bands import band_mask, crop, scales
from mri_iahvae.model.comparators.bottom_up import BottomUpEncoder, BottomUpSession
from mri_iahvae.model.ladder import LadderLayer
from mri_iahvae.model.protocols import Encoded, Latents
from mri_iahvae.model.scale import BandScale


class Seen(NamedTuple):
    """What the encoder makes of a measurement.

    Attributes:
        features: float (B, C, r, r) of each resolution.
        fraction: float (B,) of each: fraction of the bins of its band that is measured.
    """

    features: list[Tensor]
    fraction: list[Tensor]


class OrdinaryEncoder(BottomUpEncoder):
    """A bottom-up encoder whose only scale takes the features of all resolutions."""

    def begin(self, coefficients: Tensor, mask: Tensor) -> BottomUpSession:
        """Features of all resolutions, and what is measured of each."""
        session = super().begin(coefficients, mask)
        fractions = []
        for s in scales(mask.shape[-1]):
            ring = band_mask(s, mask.device)
            measured = (crop(mask, s) & ring).expand(len(coefficients), s, s)
            fractions.append(measured.flatten(1).sum(1) / ring.sum())
        return BottomUpSession({len(self) - 1: Seen(list(session.all.values()), fractions)})


class OrdinaryScale:
    """A `Scale` that holds the layers of all resolutions, coarse to fine; the last one's head answers for all bins."""

    def __init__(self, stages: list[BandScale]) -> None:
        self._stages = stages
        self.index, self.side = stages[-1].index, stages[-1].side
        self.latents = tuple(latent for stage in stages for latent in stage.latents)

    def variance(self) -> float:
        return self.energy() / (2 * self.side**2)

    def energy(self) -> float:
        return float(self._stages[-1].gains.square().sum())

    def context(self, h: Tensor | None, coarse: Tensor) -> Tensor:
        return self._stages[0].context(h, coarse)

    def run(self, h: Tensor, latents: Latents | None = None, first: int = 0) -> Tensor:
        layers = [(stage, layer) for stage in self._stages for layer in stage.ladder()][first:]
        for number, (stage, layer) in enumerate(layers if latents is None else layers[: len(latents)]):
            h = self._enter(stage, layer, h)
            prior, residual = layer.prior(h)
            h = layer.advance(h, residual, prior.mean if latents is None else prior.at(latents[number]))
        return h

    def bins(self, last: Tensor) -> Tensor:
        return self._stages[-1].bins(last)

    def encode(
        self, h: Tensor, features: Seen, noise: Latents | None = None, fraction: Tensor | None = None
    ) -> Encoded:
        """A resolution of which nothing is measured takes the prior."""
        mean: list[Tensor] = []
        std: list[Tensor] = []
        latents: list[Tensor] = []
        rate = torch.zeros(len(h), device=h.device)
        for stage, here, known in zip(self._stages, features.features, features.fraction, strict=True):
            start = self._enter(stage, stage.ladder()[0], h)
            drawn = None if noise is None else noise[len(mean) : len(mean) + len(stage.latents)]
            found = stage.encode(start, here, drawn, None if fraction is None else known)
            measured = (known > 0)[:, None, None, None]
            h, rate = found.last, rate + torch.where(known > 0, found.rate, 0)
            if not bool(measured.all()):
                h = torch.where(measured, h, stage.run(start, drawn))
            mean += [torch.where(measured, m, 0) for m in found.mean]
            std += [torch.where(measured, s, 1) for s in found.std]
            prior = [torch.zeros_like(m) for m in found.mean] if drawn is None else drawn
            latents += [torch.where(measured, e, p) for e, p in zip(found.latents, prior, strict=True)]
        return Encoded(h, mean, std, latents, rate)

    def _enter(self, stage: BandScale, layer: LadderLayer, h: Tensor) -> Tensor:
        """The context before a layer: the first one of a resolution starts from the coarser resolution."""
        if stage.index and layer is stage.ladder()[0]:
            return stage.context(h, h.new_zeros(len(h), 0, 0, dtype=torch.complex64))
        return h
