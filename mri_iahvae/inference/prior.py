"""Samples of the prior: the walk over scales with nothing measured, or a coarse block drawn from a prior of its own."""

import torch
from torch import Tensor

from mri_iahvae.inference.core import draw_core
from mri_iahvae.inference.draws import Draws
from mri_iahvae.kspace.bands import block_mask, embed
from mri_iahvae.model.coarse_prior import CoarsePrior
from mri_iahvae.model.protocols import Model
from mri_iahvae.model.walk import Walk


@torch.no_grad()
def sample_prior(model: Model, draws: Draws, coarse: CoarsePrior | None = None) -> Tensor:
    """Draw latents, coarse to fine, and decode them.

    What is returned is the mean of the likelihood given the latents, as usual for VAEs: its white noise, of the model's
    sigma, is not added (`infer` adds it to posterior samples, where it is part of the uncertainty).

    Args:
        model: in evaluation mode.
        draws: one batch element per sample; at temperature 0, or for elements that are no samples, the prior mean.
        coarse: draws block B_8, and the scales beyond it complete that; None: all scales are the hierarchy's.

    Returns:
        complex64 (B, N, N), k-space, canonical.
    """
    core = torch.zeros(len(draws.elements), 0, 0, dtype=torch.complex64, device=draws.device)
    if coarse is not None:
        core = draw_core([coarse.known()] * len(core), draws)
    walk = beyond_block(model, embed(core, model.decomposition.size), core.shape[-1])
    for scale, h in walk:
        last = scale.run(h, draws.latents(scale))
        walk.extend(last, scale.bins(last))
    return model.decomposition.to_kspace(walk.coarse)


def beyond_block(model: Model, kspace: Tensor, side: int) -> Walk:
    """A walk over the scales beyond block B_side, which alone is measured.

    Contexts come from posterior means and measured bins, as inference has them; contexts of posterior samples are
    another distribution. A scale-causal encoder is shown blocks by the ELBO already, and completion is not to change
    it: its gradient is cut. A bottom-up one has to learn zero-filled inputs.
    """
    decomposition, size = model.decomposition, model.decomposition.size
    inside = block_mask(side, size)
    indices = [scale.index for scale in model.scales]
    rings = [decomposition.block(inside, index) & decomposition.ring(index) for index in indices]
    count = sum(bool(ring.any()) for ring in rings)
    mask = inside.to(kspace.device).expand(kspace.shape)
    known = torch.where(mask, kspace, 0)
    walk = Walk(model, len(kspace), kspace.device, scales=model.scales[:count])
    session = model.encoder.begin(known, mask)
    with torch.set_grad_enabled(torch.is_grad_enabled() and not model.encoder.causal):
        for (scale, h), ring in zip(walk, rings, strict=False):
            block = decomposition.block(known, scale.index)
            last = scale.encode(h, session.features(scale, block)).last
            walk.extend(last, torch.where(ring.to(kspace.device), block, scale.bins(last)))
            session.extend(scale, block)
    return Walk(model, len(kspace), kspace.device, scales=model.scales[count:], h=walk.h, coarse=walk.coarse)
