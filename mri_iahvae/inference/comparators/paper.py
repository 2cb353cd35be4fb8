"""Algorithm 1 as the paper prints it: plain gradient descent, one layer after the other.

For each layer: N steps on -log N(z; mu_p, sigma_p) + beta * L1, the L1 distance being |Re| + |Im| summed over
the measured bins of the scale in canonical units; step size 0.001, beta = 1. Later layers of the scale hold
their amortized start. The paper states neither the reduction of its L1 nor its units: these are ours. Equation 7
prints +log N; its text says negative log-likelihood, and only that sign attracts to the prior.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.draws import Draws
from mri_iahvae.inference.methods import Found
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.model.scale import BandScale

if TYPE_CHECKING:
    from mri_iahvae.inference.infer import Problem

_STEP_SIZE = 0.001
_BETA = 1.0


def descend(
    problem: "Problem",
    start: list[Tensor],  # noqa: ARG001 - the encoder's posterior given contexts that are not refined
    std: list[Tensor],  # noqa: ARG001 - as `Refine`
    settings: InferenceSettings,
    draws: Draws,  # noqa: ARG001 - as `Refine`
) -> Found:
    """Refine the layers of one scale in turn, each from the encoder's posterior given the refined context.

    Raises:
        UsageError: the decoder is not separable.
    """
    scale, h, y = problem.scale, problem.h, problem.y
    if not isinstance(scale, BandScale):
        advice = "take amortized, iterative or hybrid"
        raise UsageError(f"method paper: this model's decoder is not separable; {advice}")
    features, _ = problem.encoded
    layers, refined = scale.ladder(), []
    for j, layer in enumerate(layers):
        prior, residual = layer.prior(h)
        z = prior.at(layer.posterior(h, features)[0])
        held = _amortized(scale, j + 1, layer.advance(h, residual, z), features)
        for _ in range(settings.budget[0]):
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                last = layer.advance(h, residual, z)
                for later, latent in zip(layers[j + 1 :], held, strict=True):
                    last = later.advance(last, later.prior(last)[1], latent)
                error = torch.view_as_real(scale.bins(last) - y.value).abs().sum(-1)
                objective = prior.nll(z).sum() + _BETA * (error * y.known).sum()
                (gradient,) = torch.autograd.grad(objective, z)
            z = (z - _STEP_SIZE * gradient).detach()
        refined.append((z - prior.mean) / prior.std)
        h = layer.advance(h, residual, z)
    steps = torch.full((len(h),), settings.budget[0] * len(layers), dtype=torch.int64, device=h.device)
    return Found(refined, steps)


def _amortized(scale: BandScale, first: int, h: Tensor, features: Tensor) -> list[Tensor]:
    """Posterior means z of the layers from number `first` on, each given the context of those before it."""
    latents = []
    for layer in scale.ladder()[first:]:
        prior, residual = layer.prior(h)
        latents.append(prior.at(layer.posterior(h, features)[0]))
        h = layer.advance(h, residual, latents[-1])
    return latents
