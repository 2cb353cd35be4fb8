"""Inference with an ordinary HVAE, the paper's comparator: every latent acts on every bin.

No scale can be inferred before the others: all latents are refined on all measured bins, together or one layer after
the other, by the objective and the optimizers of the separable model. To them the ladder is one scale whose band is
the whole grid.
"""

import torch
from torch import Tensor

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.bounds import bounded
from mri_iahvae.inference.consistency import consistent, output
from mri_iahvae.inference.draws import Draws, Purpose
from mri_iahvae.inference.posterior import perturbed, sampled, whiten
from mri_iahvae.inference.refine import Problem, refine
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import band_mask, crop, scales
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.ordinary import WholeLadder


def infer_whole(
    model: IAHVAE,
    kspace: Tensor,
    mask: Tensor,
    noise_sigma: Tensor,
    settings: InferenceSettings,
    draws: Draws,
) -> tuple[Tensor, Tensor, Tensor]:
    """Infer all bins of the grid from the measured ones.

    Args:
        model: with an ordinary decoder.
        kspace: complex64 (B, N, N), canonical; values at unmeasured bins are ignored.
        mask: bool (B, N, N), true where measured.
        noise_sigma: float (B,), noise per real and imaginary part, canonical units; zero where unknown.
        settings: how; the schedule "joint" moves all latents together.
        draws: for the rows of the batch.

    Returns:
        The bins, complex64 (B, N, N); the steps of each row, int64 (B, scales): all at the finest scale, which
        answers for all bins; and rows that were out of bounds, bool (B,).

    Raises:
        UsageError: the method is Algorithm 1, which asks for a separable decoder.
    """
    if settings.method == "paper":
        raise UsageError(
            "method paper: this model's decoder is not separable; take amortized, iterative or hybrid"
        )
    ladder, last = WholeLadder(model), len(model.decoder) - 1
    data = torch.where(mask, kspace, 0)
    noise = noise_sigma[:, None, None]
    noisy = torch.where(mask, data - noise * draws.bins(model.size, last, "noise"), 0)
    residual = model.config.sigma * draws.bins(model.size, last, "model")
    h = ladder.start(len(kspace))
    centre = _draw(model, draws, "latents")
    latents, spread = centre, [torch.ones_like(e) for e in centre]
    taken = torch.zeros(len(kspace), last + 1, dtype=torch.int64, device=kspace.device)
    if settings.method != "iterative":
        means, spread = _encoded(model, data, mask)
        latents = perturbed(means, spread, centre)
    if settings.method == "amortized":
        latents = sampled(latents, spread, _draw(model, draws, "posterior"))
    else:
        weight = mask / (2 * (model.config.sigma**2 + noise.square()))
        steps, tolerance = settings.budget
        latents, taken[:, last] = refine(
            Problem(ladder, 0, h, centre, noisy - residual, weight),
            latents,
            spread,
            steps=steps,
            tolerance=tolerance,
            optimizer=settings.optimizer,
            schedule=settings.schedule,
        )
    decoded, energy = ladder.descend(0, h, latents)[0], model.power.sum()
    _, _, own, out = bounded(ladder, 0, h, decoded, latents, data, energy, settings.temperature)
    predicted = own + residual
    fixed = consistent(predicted, noisy, mask, model.config.sigma, noise_sigma)
    return output(predicted, fixed, data, mask, settings.data_consistency), taken, out


def _encoded(model: IAHVAE, data: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Whitened posterior of all layers; that of a scale of which nothing is measured is its prior."""
    encode = model.encoder_for(data)
    h, nothing = None, data[:, :0, :0]
    means, spread = [], []
    for index, s in enumerate(scales(model.size)):
        ring = band_mask(s, mask.device)
        share = (crop(mask, s) & ring).flatten(1).sum(1) / ring.sum()
        known = (share > 0)[:, None, None, None]
        start = model.context(index, h, nothing)
        h, priors, posteriors, _ = model.amortize(index, start, encode(index, data, None))
        if not bool(known.all()):
            h = torch.where(known, h, model.descend(index, start)[0])
        here, more = whiten(priors, posteriors, share)
        means += [torch.where(known, m, 0) for m in here]
        spread += more
    return means, spread


def _draw(model: IAHVAE, draws: Draws, purpose: Purpose) -> list[Tensor]:
    """Whitened latents of all layers."""
    return [e for index in range(len(model.decoder)) for e in draws.latents(model, index, purpose)]
