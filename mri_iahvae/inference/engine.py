"""The scale loop: coarse to fine, each scale inferred with the coarser ones fixed.

A scale's context holds the coarser scales' latents and their data-consistent bins. Rows of a batch are independent:
each is a slice's most probable estimate, or one posterior sample of it.

Priors of fine scales spread too far: their samples lie several times further from their mean than slices do. Where an
estimate tells bins from other bins, or from noise, its prior counts as many times as that was measured to be
(`ModelConfig.spread`), or latents would follow the data too closely to predict the others well (benchmarks/results.md).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mri_iahvae.inference.consistency import consistent, output
from mri_iahvae.inference.draws import Draws, Row
from mri_iahvae.inference.fill import Band, encode_filled
from mri_iahvae.inference.ordinary import infer_whole
from mri_iahvae.inference.paper import refine_layers
from mri_iahvae.inference.posterior import perturbed, sampled
from mri_iahvae.inference.refine import Problem, refine
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import band_mask, crop, scales
from mri_iahvae.model.iahvae import IAHVAE, Encode, add_band


@dataclass(frozen=True)
class Inference:
    """What was inferred.

    Attributes:
        bins: complex64 (B, N, N), canonical.
        steps: int64 (B, scales), refinement steps that each row took at each scale.
    """

    bins: Tensor
    steps: Tensor


def infer(
    model: IAHVAE,
    kspace: Tensor,
    mask: Tensor,
    noise_sigma: Tensor,
    settings: InferenceSettings,
    rows: list[Row],
) -> Inference:
    """Infer all bins of the grid from the measured ones.

    Args:
        model: in evaluation mode, weights without gradients.
        kspace: complex64 (B, N, N), canonical; values at unmeasured bins are ignored.
        mask: bool (B, N, N) or (1, N, N), true where measured.
        noise_sigma: float (B,), noise per real and imaginary part, canonical units; zero where unknown.
        settings: how.
        rows: what each row of the batch is, (B,): decides its draws, with the seed.

    Returns:
        The bins and the steps taken.
    """
    mask = mask.expand(kspace.shape)
    draws = Draws(settings.seed, settings.temperature, tuple(rows), kspace.device)
    finest = max((i for i, s in enumerate(scales(model.size)) if _measured(mask, s).any()), default=-1)
    seen = result = kspace.new_zeros(kspace.shape[0], 0, 0)
    h = features = None
    steps = torch.zeros(len(kspace), len(model.decoder), dtype=torch.int64, device=kspace.device)
    # A bottom-up encoder sees the measurement as it is, once for all scales; Algorithm 1 knows of no noise.
    causal = model.config.encoder == "causal"
    filtered = causal and settings.method != "paper" and bool((noise_sigma > 0).any())
    lower = settings.precision != "float32"
    samples = [row.sample is not None and settings.temperature > 0 for row in rows]
    drawn = torch.tensor(samples, device=kspace.device)
    with torch.no_grad(), torch.autocast(kspace.device.type, torch.bfloat16, enabled=lower):
        if model.config.decoder == "ordinary":
            return Inference(*infer_whole(model, kspace, mask, noise_sigma, settings, draws))
        encode = model.encoder_for(torch.where(mask, kspace, 0))
        for index, s in enumerate(scales(model.size)):
            band = _band(kspace, mask, s, index, model.config.sigma, noise_sigma, filtered, causal, draws)
            if model.config.spread:
                told = ~crop(mask, s).flatten(1).all(1) | (
                    noise_sigma > 0
                )  # bins from other bins, or from noise
                looser = torch.where(told & ~drawn, model.config.spread[index], 1.0)
                band = replace(band, weight=band.weight / looser[:, None, None])
            start = h = model.context(index, h, seen)
            known = band.mask.flatten(1).any(1)  # rows with any measured bin; the others take the prior
            centre = draws.latents(model, index, "latents")
            if index > finest or not bool(known.all()):
                h, _ = model.descend(index, start, centre)
            if index <= finest:
                inferred, used = _infer_scale(
                    model, encode, index, start, centre, features, seen, band, settings, draws
                )
                h = torch.where(known[:, None, None, None], inferred, h)
                steps[:, index] = torch.where(known, used, 0)
            predicted = model.band(index, h) + band.residual
            fixed = consistent(predicted, band.noisy, band.mask, model.config.sigma, noise_sigma)
            seen = add_band(seen, fixed)
            result = add_band(
                result, output(predicted, fixed, band.data, band.mask, settings.data_consistency)
            )
            if index < finest:
                features = encode(index, seen, features)
    return Inference(result, steps)


def _infer_scale(
    model: IAHVAE,
    encode: Encode,
    index: int,
    h: Tensor,
    centre: list[Tensor],
    features: Tensor | None,
    seen: Tensor,
    band: Band,
    settings: InferenceSettings,
    draws: Draws,
) -> tuple[Tensor, Tensor | int]:
    """The last context of a scale that is measured, at least in part, and the steps that each row took."""
    start, spread = centre, [torch.ones_like(e) for e in centre]
    if settings.method != "iterative":
        here, means, spread = encode_filled(
            model, encode, index, h, features, seen, band, settings.fill_rounds
        )
        if settings.method == "paper":
            last = refine_layers(model, index, h, here, band.data, band.mask, settings.budget[0])
            return last, settings.budget[0] * len(means)
        start = perturbed(means, spread, centre)
        if settings.method == "amortized":
            other = draws.latents(model, index, "posterior")
            return model.descend(index, h, sampled(start, spread, other))[0], 0
    problem = Problem(model, index, h, centre, band.noisy - band.residual, band.weight)
    steps, tolerance = settings.budget
    refined, used = refine(
        problem,
        start,
        spread,
        steps=steps,
        tolerance=tolerance,
        optimizer=settings.optimizer,
        schedule=settings.schedule,
    )
    return model.descend(index, h, refined)[0], used


def _measured(mask: Tensor, s: int) -> Tensor:
    """Measured bins of band R_s: bool (B, s, s)."""
    return crop(mask, s) & band_mask(s, mask.device)


def _band(
    kspace: Tensor,
    mask: Tensor,
    s: int,
    index: int,
    model_sigma: float,
    noise_sigma: Tensor,
    filtered: bool,
    causal: bool,
    draws: Draws,
) -> Band:
    """One scale of the measurement, and of the draws."""
    measured = _measured(mask, s)
    ring = band_mask(s, mask.device)
    share = measured.flatten(1).sum(1) / ring.sum()
    data = torch.where(measured, crop(kspace, s), 0)
    noise = noise_sigma[:, None, None]
    return Band(
        data=data,
        mask=measured,
        share=share,
        holes=causal and bool((share < 1).any()),
        weight=measured / (2 * (model_sigma**2 + noise.square())),
        noise=noise_sigma if filtered else None,
        noisy=torch.where(measured, data - noise * draws.bins(s, index, "noise"), 0),
        residual=torch.where(ring, model_sigma * draws.bins(s, index, "model"), 0),
    )
