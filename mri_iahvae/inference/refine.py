"""Refinement of one scale's latents by gradients, its context fixed (paper, section 3 and Algorithm 1).

The latents are whitened, z = mu_p + sigma_p e, and all layers of the scale move together:

    J(e) = |e|^2 / 2 + sum over the measured bins of the band of |h(e) - y|^2 / (2 (sigma^2 + sigma_n^2))

This is the negative log posterior of e up to a constant: the prior of e is standard normal, so no log sigma_p
term can reward shrinking the prior, and one step size fits all layers. With the variances of the model and of
the noise, beta = 1 needs no tuning.
"""

import math

import torch
from torch import Tensor

from mri_iahvae.model.iahvae import IAHVAE

_LAST_RATE = 0.1  # of the first step size


def objective(
    model: IAHVAE, index: int, h: Tensor, whitened: list[Tensor], data: Tensor, weight: Tensor
) -> Tensor:
    """J of each slice, in nats.

    Args:
        model: the model.
        index: scale index.
        h: (B, C, r, r), context that the scale starts from.
        whitened: e of each layer, (B, latent, r, r).
        data: complex (B, s, s), measured bins of the band.
        weight: float (B, s, s), 1 / (2 (sigma^2 + sigma_n^2)) at measured bins of the band, else 0.

    Returns:
        float (B,).
    """
    last, _ = model.descend(index, h, whitened)
    residual = torch.view_as_real(model.band(index, last) - data).square().sum(-1)
    prior = torch.stack([e.square().flatten(1).sum(1) for e in whitened]).sum(0) / 2
    return prior + (weight * residual).flatten(1).sum(1)


def refine(
    model: IAHVAE,
    index: int,
    h: Tensor,
    start: list[Tensor],
    data: Tensor,
    weight: Tensor,
    *,
    steps: int,
    rate: float,
) -> list[Tensor]:
    """Minimise J by Adam from `start`.

    Adam is elementwise and J a sum over slices, so a slice's result does not depend on its batch.

    Args:
        model: the model, weights without gradients.
        index: scale index.
        h: as in `objective`.
        start: whitened latents to start from.
        data: as in `objective`.
        weight: as in `objective`.
        steps: number of steps.
        rate: first step size; it falls to a tenth on a cosine.

    Returns:
        The refined whitened latents.
    """
    if steps == 0:
        return start
    with torch.enable_grad():
        whitened = [e.detach().clone().requires_grad_() for e in start]
        optimizer = torch.optim.Adam(whitened, lr=rate)
        for step in range(steps):
            cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
            optimizer.param_groups[0]["lr"] = rate * (_LAST_RATE + (1 - _LAST_RATE) * cosine)
            optimizer.zero_grad()
            total = objective(model, index, h, whitened, data, weight).sum()
            total.backward()
            optimizer.step()
    return [e.detach() for e in whitened]
