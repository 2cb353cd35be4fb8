"""Samples of the prior: the walk over scales with nothing measured."""

import torch
from torch import Tensor

from mri_iahvae.inference.draws import Draws
from mri_iahvae.model.protocols import Model
from mri_iahvae.model.walk import Walk


@torch.no_grad()
def sample_prior(model: Model, draws: Draws) -> Tensor:
    """Draw latents, coarse to fine, and decode them.

    What is returned is the mean of the likelihood given the latents, as usual for VAEs: its white noise, of the model's
    sigma, is not added (`infer` adds it to posterior samples, where it is part of the uncertainty).

    Args:
        model: in evaluation mode.
        draws: one batch element per sample; at temperature 0, or for elements that are no samples, the prior mean.

    Returns:
        complex64 (B, N, N), k-space, canonical.
    """
    walk = Walk(model, len(draws.elements), draws.device)
    for scale, h in walk:
        last = scale.run(h, draws.latents(scale))
        walk.extend(last, scale.bins(last))
    return model.decomposition.to_kspace(walk.coarse)
