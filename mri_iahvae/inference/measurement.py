"""The measurement scale by scale, and how many times the prior counts against it.

Priors of fine scales spread too far: their samples lie several times further from their mean than slices do. Where an
estimate tells bins from other bins, or from noise, its prior counts as many times as that was measured to be
(`ModelConfig.spread`), or latents would follow the data too closely to predict the others well; at scales with missing
bins at least `_HOLES` times, which measured better at all of them (benchmarks/results.md).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mri_iahvae.inference.draws import Draws
from mri_iahvae.kspace.bands import band_mask, crop, scales
from mri_iahvae.model.config import ModelConfig

_HOLES = 4.0
_ACROSS = 2.0  # times as much once all scales are refined together
_LOUD = 0.3  # noise over the slice's RMS from which refining all scales together has measured better


@dataclass(frozen=True)
class Band:
    """One scale of a batch's measurement, canonical units.

    Attributes:
        data: complex (B, s, s), zero where unmeasured.
        mask: bool (B, s, s), measured bins of the band.
        share: float (B,), share of the band's bins that is measured.
        holes: whether the encoder is to see filled holes, because any row lacks any bin of the band.
        weight: float (B, s, s), 1 / (2 (sigma^2 + sigma_n^2)) where measured, else zero.
        prior: float (B,), how many times the prior counts.
        noise: float (B,), sigma_n, for the encoder to reckon with; None: no row has any.
        noisy: `data` less a draw of the measurement's noise; `data` itself for rows that are no samples.
        residual: complex (B, s, s), a draw of what the latents leave open (the likelihood's sigma), or zero.
    """

    data: Tensor
    mask: Tensor
    share: Tensor
    holes: bool
    weight: Tensor
    prior: Tensor
    noise: Tensor | None
    noisy: Tensor
    residual: Tensor


@dataclass(frozen=True)
class Measurement:
    """A batch's measurement.

    Attributes:
        kspace: complex64 (B, N, N), canonical; values at unmeasured bins are ignored.
        mask: bool (B, N, N), true where measured.
        noise_sigma: float (B,), noise per real and imaginary part, canonical units; zero where unknown.
        config: of the model.
        draws: for the rows of the batch.
        filtered: whether the encoder is to reckon with noise.
    """

    kspace: Tensor
    mask: Tensor
    noise_sigma: Tensor
    config: ModelConfig
    draws: Draws
    filtered: bool

    def measured(self, s: int) -> Tensor:
        """Measured bins of band R_s: bool (B, s, s)."""
        return crop(self.mask, s) & band_mask(s, self.mask.device)

    def shares(self) -> Tensor:
        """Share of each band's bins that is measured: float (B, scales)."""
        sides = scales(self.mask.shape[-1])
        counts = [self.measured(s).flatten(1).sum(1) / band_mask(s, self.mask.device).sum() for s in sides]
        return torch.stack(counts, dim=1)

    def in_doubt(self) -> list[Tensor]:
        """Rows of which finer bins can tell what coarser scales leave open, by finest measured scale: int64 (n,) each.

        No samples, because those are drawn, and nothing whose very centre is missing: no scale knows its brightness
        then, and refining all together has measured worse.
        """
        share, reached = self.shares(), self.reached()
        missing = ((share[:, :-1] < 1) & reached[:, 1:]).any(1)
        loud = self.noise_sigma >= _LOUD
        centre = crop(self.mask, 2).flatten(1).all(1)
        doubt = (missing | loud) & centre & ~self.draws.drawn()
        finest = reached.sum(1)
        return [(doubt & (finest == one)).nonzero().squeeze(1) for one in finest[doubt].unique()]

    def reached(self) -> Tensor:
        """Scales that are measured at least in part, and all coarser ones: bool (B, scales)."""
        return (self.shares() > 0).flip(1).cummax(1).values.flip(1)

    def rows(self, chosen: Tensor) -> "Measurement":
        """Some of the rows, int64 (n,)."""
        draws = replace(self.draws, rows=tuple(self.draws.rows[row] for row in chosen.tolist()))
        parts = (self.kspace[chosen], self.mask[chosen], self.noise_sigma[chosen])
        return Measurement(*parts, self.config, draws, self.filtered)

    def band(self, index: int) -> Band:
        """The scale `index` of it, and of the draws."""
        s = 2**index
        measured, ring = self.measured(s), band_mask(s, self.mask.device)
        share = measured.flatten(1).sum(1) / ring.sum()
        data = torch.where(measured, crop(self.kspace, s), 0)
        noise, sigma = self.noise_sigma[:, None, None], self.config.sigma
        return Band(
            data=data,
            mask=measured,
            share=share,
            holes=self.config.encoder == "causal" and bool((share < 1).any()),
            weight=measured / (2 * (sigma**2 + noise.square())),
            prior=self._prior(index, share < 1),
            noise=self.noise_sigma if self.filtered else None,
            noisy=torch.where(measured, data - noise * self.draws.bins(s, index, "noise"), 0),
            residual=torch.where(ring, sigma * self.draws.bins(s, index, "model"), 0),
        )

    def prior_joint(self, index: int) -> Tensor:
        """How many times the prior of a scale counts once all scales are refined together: float (B,)."""
        times = self._prior(index, (self.shares() < 1).any(1))
        return _ACROSS * times if self.config.spread else times

    def _prior(self, index: int, holes: Tensor) -> Tensor:
        """How many times the prior counts, by row; once where bins tell of themselves only, and in samples."""
        if not self.config.spread:
            return torch.ones_like(self.noise_sigma)
        spread = self.config.spread[index]
        noisy = torch.where(self.noise_sigma > 0, spread, 1.0)
        times = torch.where(holes, max(spread, _HOLES), noisy)
        return torch.where(self.draws.drawn(), 1.0, times)
