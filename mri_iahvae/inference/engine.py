"""The scale loop: coarse to fine, each scale inferred with the coarser ones fixed.

A scale's context holds the coarser scales' latents and their data-consistent bins. Rows of a batch are independent:
each is a slice's most probable estimate, or one posterior sample of it. Estimates of slices whose finer bins can tell
what coarser scales leave open are refined at all scales together in the end (`inference.joint`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mri_iahvae.inference.bounds import band_energy, bounded
from mri_iahvae.inference.consistency import consistent, output
from mri_iahvae.inference.draws import Draws, Row
from mri_iahvae.inference.imputation import encode_imputed
from mri_iahvae.inference.joint import refine_jointly
from mri_iahvae.inference.measurement import Band, Measurement
from mri_iahvae.inference.ordinary import infer_whole
from mri_iahvae.inference.paper import refine_layers
from mri_iahvae.inference.posterior import perturbed, sampled
from mri_iahvae.inference.refine import Problem, refine
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import scales
from mri_iahvae.model.iahvae import IAHVAE, Encode, add_band


@dataclass(frozen=True)
class Inference:
    """What was inferred.

    Attributes:
        bins: complex64 (B, N, N), canonical.
        steps: int64 (B, scales), refinement steps that each row took at each scale.
        bounded: bool (B,), rows of which anything was out of bounds and replaced (`inference.bounds`).
    """

    bins: Tensor
    steps: Tensor
    bounded: Tensor


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
        The bins, the steps taken, and which rows were bounded.
    """
    mask = mask.expand(kspace.shape)
    draws = Draws(settings.seed, settings.temperature, tuple(rows), kspace.device)
    # A bottom-up encoder sees the measurement as it is, once for all scales; Algorithm 1 knows of no noise.
    causal = model.config.encoder == "causal"
    filtered = causal and settings.method != "paper" and bool((noise_sigma > 0).any())
    measurement = Measurement(kspace, mask, noise_sigma, model.config, draws, filtered)
    lower = settings.precision != "float32"
    with torch.no_grad(), torch.autocast(kspace.device.type, torch.bfloat16, enabled=lower):
        if model.config.decoder == "ordinary":
            return Inference(*infer_whole(model, kspace, mask, noise_sigma, settings, draws))
        result, steps, found, out = _scale_loop(model, measurement, settings)
        for doubtful in measurement.in_doubt() if settings.refines_jointly else ():
            chosen = doubtful[~out[doubtful]]
            if not len(chosen):
                continue
            latents = [[e[chosen] for e in scale.latents] for scale in found]
            spread = [[r[chosen] for r in scale.spread] for scale in found]
            bins, more, lost = refine_jointly(model, measurement.rows(chosen), latents, spread, settings)
            result[chosen] = torch.where(lost[:, None, None], result[chosen], bins)
            steps[chosen] += more[:, None] * measurement.reached()[chosen]
            out[chosen] = lost
    return Inference(result, steps, out)


class _Scale(NamedTuple):
    """What was inferred of one scale.

    Attributes:
        h: (B, C, r, r), last context.
        steps: int64 (B,), refinement steps that each row took.
        latents: whitened, of each layer, (B, latent, r, r).
        spread: expected standard deviation of each about the most probable value, likewise.
    """

    h: Tensor
    steps: Tensor
    latents: list[Tensor]
    spread: list[Tensor]


def _scale_loop(
    model: IAHVAE, measurement: Measurement, settings: InferenceSettings
) -> tuple[Tensor, Tensor, list[_Scale], Tensor]:
    """Bins (B, N, N), steps (B, scales), what was inferred of each scale, and rows out of bounds, (B,)."""
    kspace, mask, noise_sigma = measurement.kspace, measurement.mask, measurement.noise_sigma
    finest = max((i for i, s in enumerate(scales(model.size)) if measurement.measured(s).any()), default=-1)
    seen = result = kspace.new_zeros(kspace.shape[0], 0, 0)
    h = features = None
    found = []
    out = torch.zeros_like(noise_sigma, dtype=torch.bool)
    encode = model.encoder_for(torch.where(mask, kspace, 0))
    for index in range(len(model.decoder)):
        band = measurement.band(index)
        start = model.context(index, h, seen)
        known = band.mask.flatten(1).any(1)  # rows with any measured bin; the others take the prior
        scale = _from_prior(
            model, index, start, measurement.draws, run=index > finest or not bool(known.all())
        )
        if index <= finest:
            inferred = _infer_scale(
                model, encode, index, start, scale.latents, features, seen, band, settings, measurement.draws
            )
            scale = _chosen(known, inferred, scale)
        h, latents, own, beyond = bounded(
            model,
            index,
            start,
            scale.h,
            scale.latents,
            band.data,
            band_energy(model, index),
            measurement.draws.temperature,
        )
        out |= beyond
        found.append(scale._replace(h=h, latents=latents))
        predicted = own + band.residual
        fixed = consistent(predicted, band.noisy, band.mask, model.config.sigma, noise_sigma)
        seen = add_band(seen, fixed)
        result = add_band(result, output(predicted, fixed, band.data, band.mask, settings.data_consistency))
        if index < finest:
            features = encode(index, seen, features)
    return result, torch.stack([scale.steps for scale in found], dim=1), found, out


def _from_prior(model: IAHVAE, index: int, start: Tensor, draws: Draws, *, run: bool) -> _Scale:
    """A scale of which nothing is measured; `run`: whether its context is asked for."""
    centre = draws.latents(model, index, "latents")
    h = model.descend(index, start, centre)[0] if run else start
    none = torch.zeros(len(centre[0]), dtype=torch.int64, device=start.device)
    return _Scale(h, none, centre, [torch.ones_like(e) for e in centre])


def _chosen(known: Tensor, inferred: _Scale, prior: _Scale) -> _Scale:
    """Each row as inferred where anything is known of it, else as the prior has it."""

    def choose(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(known.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return _Scale(
        choose(inferred.h, prior.h),
        choose(inferred.steps, prior.steps),
        [choose(a, b) for a, b in zip(inferred.latents, prior.latents, strict=True)],
        [choose(a, b) for a, b in zip(inferred.spread, prior.spread, strict=True)],
    )


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
) -> _Scale:
    """A scale that is measured, at least in part."""
    start, spread = centre, [torch.ones_like(e) for e in centre]
    none = torch.zeros(len(h), dtype=torch.int64, device=h.device)
    if settings.method != "iterative":
        here, means, spread = encode_imputed(
            model, encode, index, h, features, seen, band, settings.imputation_rounds
        )
        if settings.method == "paper":
            last = refine_layers(model, index, h, here, band.data, band.mask, settings.budget[0])
            return _Scale(last, none + settings.budget[0] * len(means), means, spread)
        start = perturbed(means, spread, centre)
        if settings.method == "amortized":
            latents = sampled(start, spread, draws.latents(model, index, "posterior"))
            return _Scale(model.descend(index, h, latents)[0], none, latents, spread)
    weight = band.weight / band.prior[:, None, None]
    problem = Problem(model, index, h, centre, band.noisy - band.residual, weight)
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
    return _Scale(model.descend(index, h, refined)[0], used, refined, spread)
