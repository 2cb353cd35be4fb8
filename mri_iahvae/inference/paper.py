"""Algorithm 1 as the paper prints it: plain gradient descent, one layer after the other.

For each layer: N steps on -log N(z; mu_p, sigma_p) + beta * L1, the L1 distance being |Re| + |Im| summed over
the measured bins of the scale in canonical units; step size 0.001, beta = 1. Later layers of the scale hold
their amortized start. The paper states neither the reduction of its L1 nor its units: these are ours. Equation 7
prints +log N; its text says negative log-likelihood, and only that sign attracts to the prior.
"""

import torch
from torch import Tensor

from mri_iahvae.model.iahvae import IAHVAE

_STEP_SIZE = 0.001
_BETA = 1.0


def refine_layers(
    model: IAHVAE, index: int, h: Tensor, features: Tensor, data: Tensor, mask: Tensor, steps: int
) -> Tensor:
    """Refine the layers of one scale in turn, each from the encoder's posterior given the refined context.

    Args:
        model: the model, weights without gradients.
        index: scale index.
        h: (B, C, r, r), context that the scale starts from.
        features: encoder features of the scale.
        data: complex (B, s, s), measured bins of the band.
        mask: bool (B or 1, s, s), measured bins of the band.
        steps: N.

    Returns:
        The scale's last context.
    """
    layers = model.layers(index)
    for j, layer in enumerate(layers):
        prior, residual = layer.prior(h)
        z = layer.posterior(h, features, prior).mean
        held = _amortized_latents(model, index, j, layer.advance(h, residual, z), features)
        for _ in range(steps):
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                last = layer.advance(h, residual, z)
                for later, latent in zip(layers[j + 1 :], held, strict=True):
                    last = later.advance(last, later.prior(last)[1], latent)
                error = torch.view_as_real(model.band(index, last) - data).abs().sum(-1)
                objective = prior.nll(z).sum() + _BETA * (error * mask).sum()
                (gradient,) = torch.autograd.grad(objective, z)
            z = (z - _STEP_SIZE * gradient).detach()
        h = layer.advance(h, residual, z)
    return h


def _amortized_latents(model: IAHVAE, index: int, done: int, h: Tensor, features: Tensor) -> list[Tensor]:
    """Posterior means of the layers after `done`, each given the context of those before it."""
    latents = []
    for layer in model.layers(index)[done + 1 :]:
        prior, residual = layer.prior(h)
        latents.append(layer.posterior(h, features, prior).mean)
        h = layer.advance(h, residual, latents[-1])
    return latents
