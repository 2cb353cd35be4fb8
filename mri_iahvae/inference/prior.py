"""Samples of the prior: the scale loop with nothing measured."""

import torch
from torch import Tensor

from mri_iahvae.inference.draws import Draws
from mri_iahvae.model.iahvae import IAHVAE, add_band


@torch.no_grad()
def sample_prior(model: IAHVAE, draws: Draws) -> Tensor:
    """Draw latents, coarse to fine, and decode them.

    What is returned is the mean of the likelihood given the latents, as usual for VAEs: its white noise, of the model's
    sigma, is not added (`infer` adds it to posterior samples, where it is part of the uncertainty).

    Args:
        model: in evaluation mode.
        draws: one row per sample; at temperature 0, or for rows that are no samples, the prior mean.

    Returns:
        complex64 (B, N, N), k-space, canonical.
    """
    h, bins = None, torch.zeros(len(draws.rows), 0, 0, dtype=torch.complex64, device=draws.device)
    for index in range(len(model.decoder)):
        shape, layers = model.latent_shape(index), range(len(model.layers(index)))
        h = model.context(index, h, bins)
        h, _ = model.descend(index, h, [draws.normal(shape, index, "latents", layer) for layer in layers])
        bins = add_band(bins, model.band(index, h))
    return bins
