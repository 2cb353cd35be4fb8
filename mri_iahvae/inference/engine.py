"""The scale loop: coarse to fine, each scale inferred with the coarser ones fixed.

A scale's context holds the coarser scales' latents and their data-consistent bins. Where a scale is measured in
part, the encoder would see holes: they are filled by decoding, putting the measured bins in and encoding again
(as in Prost et al., arXiv 2303.11217, but per scale; the encoder is scale-causal, so the fill never disturbs
coarser scales).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mri_iahvae.inference.consistency import consistent
from mri_iahvae.inference.paper import refine_layers
from mri_iahvae.inference.refine import refine
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import band_mask, crop, scales
from mri_iahvae.model.iahvae import IAHVAE, add_band


@dataclass(frozen=True)
class _Band:
    """One scale of the measurement, canonical units."""

    data: Tensor  # complex (B, s, s), zero where unmeasured
    mask: Tensor  # bool (B, s, s), measured bins of the band
    holes: bool


def infer(
    model: IAHVAE,
    kspace: Tensor,
    mask: Tensor,
    noise_sigma: Tensor,
    settings: InferenceSettings,
    slice_numbers: list[int],
) -> Tensor:
    """Infer all bins of the grid from the measured ones.

    Args:
        model: in evaluation mode, weights without gradients.
        kspace: complex64 (B, N, N), canonical; values at unmeasured bins are ignored.
        mask: bool (B, N, N) or (1, N, N), true where measured.
        noise_sigma: float (B,), noise per real and imaginary part, canonical units; zero where unknown.
        settings: how.
        slice_numbers: of the batch, (B,); prior samples depend on (seed, slice number) only.

    Returns:
        complex64 (B, N, N), canonical.
    """
    mask = mask.expand(kspace.shape)
    generators = [_generator(settings.seed, number, kspace.device) for number in slice_numbers]
    finest = max((i for i, s in enumerate(scales(model.size)) if _measured(mask, s).any()), default=-1)
    seen = result = kspace.new_zeros(kspace.shape[0], 0, 0)
    h = features = None
    with torch.no_grad():
        for index, s in enumerate(scales(model.size)):
            band = _band(kspace, mask, s)
            start = h = model.context(index, h, seen)
            known = band.mask.flatten(1).any(1)  # slices with any measured bin; the others take the prior
            if not bool(known.all()):
                draw = _prior_draw(model, index, settings.temperature, generators, ~known)
                h, _ = model.descend(index, start, draw)
            if bool(known.any()):
                inferred = _infer_scale(model, index, start, features, seen, band, noise_sigma, settings)
                h = torch.where(known[:, None, None, None], inferred, h)
            predicted = model.band(index, h)
            fixed = consistent(predicted, band.data, band.mask, model.config.sigma, noise_sigma)
            seen = add_band(seen, fixed)
            result = add_band(result, _output(predicted, fixed, band, settings))
            if index < finest:
                features = model.encode(index, seen, features)
    return result


def _infer_scale(
    model: IAHVAE,
    index: int,
    h: Tensor,
    features: Tensor | None,
    seen: Tensor,
    band: _Band,
    noise_sigma: Tensor,
    settings: InferenceSettings,
) -> Tensor:
    """The last context of a scale that is measured, at least in part."""
    start = [torch.zeros(len(seen), *model.latent_shape(index), device=h.device) for _ in model.layers(index)]
    if settings.method != "iterative":
        here, start, last = _encode_filled(model, index, h, features, seen, band, settings.fill_rounds)
        if settings.method == "amortized":
            return last
        if settings.method == "paper":
            return refine_layers(model, index, h, here, band.data, band.mask, settings.steps)
    variance = model.config.sigma**2 + noise_sigma.square()
    weight = band.mask / (2 * variance[:, None, None])
    refined = refine(model, index, h, start, band.data, weight, steps=settings.steps, rate=settings.rate)
    return model.descend(index, h, refined)[0]


def _encode_filled(
    model: IAHVAE, index: int, h: Tensor, features: Tensor | None, seen: Tensor, band: _Band, rounds: int
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Encode a scale, its holes filled from the prior mean first and from the posterior in later rounds.

    Returns:
        Encoder features, whitened posterior means and last context of the scale.
    """
    filled = band.data
    if band.holes:
        prior_mean = model.band(index, model.descend(index, h)[0])
        filled = torch.where(band.mask, band.data, prior_mean)
    for _ in range(rounds if band.holes else 1):
        here = model.encode(index, add_band(seen, filled), features)
        last, priors, posteriors, _ = model.amortize(index, h, here)
        if band.holes:
            filled = torch.where(band.mask, band.data, model.band(index, last))
    whitened = [(q.mean - p.mean) / p.std for q, p in zip(posteriors, priors, strict=True)]
    return here, whitened, last


def _measured(mask: Tensor, s: int) -> Tensor:
    """Measured bins of band R_s: bool (B, s, s)."""
    return crop(mask, s) & band_mask(s, mask.device)


def _band(kspace: Tensor, mask: Tensor, s: int) -> _Band:
    """One scale of the measurement."""
    measured = _measured(mask, s)
    holes = bool((band_mask(s, mask.device) & ~measured).any())
    return _Band(torch.where(measured, crop(kspace, s), 0), measured, holes)


def _output(predicted: Tensor, fixed: Tensor, band: _Band, settings: InferenceSettings) -> Tensor:
    if settings.data_consistency == "none":
        return predicted
    return fixed if settings.data_consistency == "soft" else torch.where(band.mask, band.data, predicted)


def _prior_draw(
    model: IAHVAE, index: int, temperature: float, generators: list[torch.Generator], wanted: Tensor
) -> list[Tensor] | None:
    """Whitened prior samples of the wanted slices, one generator per slice; None for the prior mean."""
    if temperature == 0:
        return None
    shape = model.latent_shape(index)
    draws = [torch.zeros(len(generators), *shape, device=wanted.device) for _ in model.layers(index)]
    for draw in draws:
        for k in wanted.nonzero().flatten().tolist():  # others must not advance their generators
            draw[k] = temperature * torch.randn(shape, generator=generators[k], device=draw.device)
    return draws


def _generator(seed: int, number: int, device: torch.device) -> torch.Generator:
    """One generator per slice, so that a sample does not depend on its batch."""
    return torch.Generator(device).manual_seed((seed << 20) + number)
