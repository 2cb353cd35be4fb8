"""The training objective: negative ELBO at one white sigma, and the completion-aware term."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mri_iahvae.inference.prior import beyond_block
from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.protocols import Model, Scale
from mri_iahvae.model.walk import Walk
from mri_iahvae.training.shard import Shard


@dataclass(frozen=True)
class PosteriorPass:
    """What one pass through encoder and ladder gives.

    Attributes:
        error: squared error of each scale's bins, (scales, B), canonical units.
        kl: Kullback-Leibler divergence per scale, (scales, B), nats.
        bins: decoded k-space, complex64 (B, N, N).
    """

    error: Tensor
    kl: Tensor
    bins: Tensor

    def nats(self, sigma: float) -> Tensor:
        """Negative ELBO (B,): per bin the log density is -|e|^2 / (2 sigma^2) - log(2 pi sigma^2)."""
        bins = self.bins.shape[-1] ** 2
        distortion = self.error.sum(0) / (2 * sigma**2) + bins * math.log(2 * math.pi * sigma**2)
        return distortion + self.kl.sum(0)

    def negative_elbo(self, sigma: float) -> Tensor:
        """Mean over the batch, in nats per real dimension (2 N^2 of them)."""
        return self.nats(sigma).mean() / (2 * self.bins.shape[-1] ** 2)


def posterior_pass(
    model: Model,
    kspace: Tensor,
    noise: torch.Generator | None = None,
    teacher: Tensor | None = None,
    means: Tensor | None = None,
    shard: Shard | None = None,
) -> PosteriorPass:
    """Encode and decode fully sampled k-space.

    Args:
        model: the model.
        kspace: complex64 (B, N, N), canonical.
        noise: draws posterior samples; None takes posterior means.
        teacher: bool (B,), slices whose contexts see the true coarser bins instead of the decoded ones; none
            by default. Inference gives contexts measured bins where there are any, decoded ones elsewhere, so
            training shows both.
        means: bool (B,), slices that take posterior means all the same; none by default. Inference starts from
            means, and a decoder that never sees them learns to need the noise of samples.
        shard: of the batch that `kspace` is, by default all of it.
    """
    errors, rates, decomposition = [], [], model.decomposition
    shard = shard or Shard(len(kspace))
    walk, decoded = Walk(model, len(kspace), kspace.device), kspace[:, :0, :0]
    session = model.encoder.begin(kspace, torch.ones_like(kspace, dtype=torch.bool))
    for scale, h in walk:
        block = decomposition.block(kspace, scale.index)
        target = block * decomposition.ring(scale.index, kspace.device)
        encoded = scale.encode(h, session.features(scale, block), _normal(scale, noise, means, shard))
        part = scale.bins(encoded.last)
        errors.append(squared_error(part, target))
        rates.append(encoded.rate)
        decoded = decomposition.extend(decoded, part, scale.index)
        seen = part.detach()
        if teacher is not None:
            seen = torch.where(teacher[:, None, None], target, seen)
        walk.extend(encoded.last, seen)
        session.extend(scale, block)
    return PosteriorPass(torch.stack(errors), torch.stack(rates), decoded)


def _normal(
    scale: Scale, noise: torch.Generator | None, means: Tensor | None, shard: Shard
) -> list[Tensor] | None:
    """Noise of a scale's latents, zero for the slices that take means."""
    if noise is None:
        return None
    drawn = [
        shard.of(torch.randn((shard.total, *latent.shape), generator=noise, device=noise.device))
        for latent in scale.latents
    ]
    return drawn if means is None else [values * ~means[:, None, None, None] for values in drawn]


def complete(model: Model, kspace: Tensor, side: int, noise: torch.Generator | None = None) -> Tensor:
    """Complete canonical k-space, complex64 (B, N, N), from its block B_side and the prior; 0 samples whole slices.

    The block stays as it is. With `noise` prior samples are drawn, else the prior's mean is taken.
    """
    walk = beyond_block(model, kspace, side)
    result = walk.coarse
    for scale, h in walk:
        last = scale.run(h, _normal(scale, noise, None, Shard(len(kspace))))
        part = scale.bins(last)
        result = model.decomposition.extend(result, part, scale.index)
        walk.extend(last, part.detach())
    return result


def completion_ratio(model: IAHVAE, kspace: Tensor, side: int) -> Tensor:
    """Squared error of the prior-mean completion beyond block B_side, over the mean energy of those bins.

    1 is what zero-filling reaches on an average slice. It trains the prior path to predict the conditional mean
    of unmeasured bands, which is what `--up-to` asks of it. From complex64 (B, N, N), canonical, to float (B,).
    """
    outside = ~block_mask(side, model.size, device=kspace.device)
    return squared_error(complete(model, kspace, side), kspace) / (model.power * outside).sum()


def masked_ratio(model: IAHVAE, kspace: Tensor, mask: Tensor) -> Tensor:
    """Squared error of the bins inferred from a measurement with missing bins, over the mean energy of those.

    One round of imputation per scale: missing bins take the prior mean, the encoder sees the imputed scale (a bottom-up
    one the zero-filled grid), and its posterior mean predicts them. It trains the encoder for imputed inputs, and the
    decoder for posterior means, which inference starts from: the ELBO alone shows it samples only, and measured bins
    count here for that reason. From complex64 (B, N, N), canonical, and bool masks to float (B,).
    """
    error = torch.zeros(kspace.shape[0], device=kspace.device)
    decomposition, walk = model.decomposition, Walk(model, len(kspace), kspace.device)
    session = model.encoder.begin(torch.where(mask, kspace, 0), mask)
    for scale, h in walk:
        ring = decomposition.ring(scale.index, kspace.device)
        target = decomposition.block(kspace, scale.index) * ring
        known = decomposition.block(mask, scale.index) & ring
        imputed = target
        if model.encoder.causal:
            with torch.no_grad():
                imputed = torch.where(known, target, scale.bins(scale.run(h)))
        last = scale.encode(h, session.features(scale, walk.block(imputed))).last
        part = scale.bins(last)
        error = error + squared_error(part, target)
        walk.extend(last, torch.where(known, target, part.detach()))
        session.extend(scale, walk.coarse)
    return error / (model.power * ~mask).sum(dim=(1, 2)).clamp_min(torch.finfo(torch.float32).tiny)


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Sum of |a - b|^2 over bins: complex (B, n, n) to float (B,)."""
    return torch.view_as_real(a - b).square().sum(dim=(1, 2, 3))
