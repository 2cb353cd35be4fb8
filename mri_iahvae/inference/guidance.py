"""The guide's estimate of a measurement, within bounds: what takes the place of the data in inference."""

from dataclasses import replace

import torch
from torch import Tensor

from mri_iahvae.inference.bounds import choose
from mri_iahvae.inference.precision import convolutions
from mri_iahvae.inference.settings import Precision
from mri_iahvae.inference.uncertainty import spread_of_copies
from mri_iahvae.kspace.coils import Sense
from mri_iahvae.kspace.symmetry import SYMMETRIES
from mri_iahvae.model.coil_estimate import CoilEstimate
from mri_iahvae.model.estimate import Estimate
from mri_iahvae.model.guide import Guide

MOST_ADDED = 4.0
"""Largest energy of the bins that the guide completes, over that of the measured ones."""


@torch.no_grad()
def estimate(
    guide: Guide,
    kspace: Tensor,
    mask: Tensor,
    noise_sigma: Tensor,
    precision: Precision = "auto",
    symmetries: int = 1,
) -> tuple[Estimate, Tensor]:
    """Estimate all bins of a batch; arguments as of `Guide.forward`.

    Where the guide adds more energy than `MOST_ADDED` times what was measured, or numbers that are not finite, or
    nothing was measured at all, its estimate is dropped: measured bins are the data, of others nothing is known.

    Estimates of several copies of the measurement, the `symmetries` (`kspace.symmetry`), are averaged. The variance is
    that which the guide states of the first; their disagreement says where (`spread_of_copies`).

    Returns:
        The estimate, its variance infinite where nothing is known; and the batch elements whose estimate was dropped
        although something was measured, bool (B,).
    """
    with convolutions(kspace.device, precision):
        found, variance, spread = guide(kspace, mask, noise_sigma)
        copies = [found]
        for one in SYMMETRIES[1:symmetries]:
            copy = guide.look(one.apply(kspace), one.flip(mask), noise_sigma)
            copies.append(one.undo(copy.kspace * copy.unit[:, None, None]))
    stacked = torch.stack(copies)
    found, spread = stacked.mean(0), spread_of_copies(spread, stacked)
    data = Estimate.of_data(kspace, mask, noise_sigma)
    most = MOST_ADDED * energy(data.kspace)
    within = (energy(torch.where(mask, 0, found)) <= most) & (energy(found) <= most + energy(data.kspace))
    within &= _finite(variance) & _finite(spread)
    nothing = ~(data.kspace != 0).flatten(1).any(1)
    kept = within & ~nothing
    # Exactly, not up to the rounding of units.
    found = torch.where(mask & (noise_sigma == 0)[:, None, None], kspace, found)
    parts = zip((found, variance, spread), data, strict=True)
    return Estimate(*(choose(kept, own, other) for own, other in parts)), ~within & ~nothing


@torch.no_grad()
def estimate_combined(
    guide: Guide,
    kspace: Tensor,
    sense: Sense,
    noise_sigma: Tensor,
    precision: Precision = "auto",
    symmetries: int = 1,
) -> tuple[CoilEstimate, Tensor]:
    """Estimate the images of a batch that several coils measured; arguments as of `Guide.combine` and `estimate`.

    Where an estimate has more energy than `MOST_ADDED` times what was measured, or numbers that are not finite, the
    zero-filled image takes its place; its error is then taken to be that of the noise alone.

    Returns:
        The estimate, and the batch elements of which it was dropped, bool (B,).
    """
    with convolutions(kspace.device, precision):
        found = guide.combine(kspace, sense, noise_sigma)
        images = found.image
        for one in SYMMETRIES[1:symmetries]:
            copy = Sense(one.flip(sense.sensitivities), one.flip(sense.mask))
            images = images + one.undo(guide.combine(one.apply(kspace), copy, noise_sigma).image)
    images = images / symmetries
    given, (bins, variance, spread) = energy(kspace), found.prediction
    kept = (energy(images) <= (1 + MOST_ADDED) * given) & _finite(variance) & _finite(spread)  # false for NaN
    images = choose(kept, images, sense.adjoint(kspace))
    exact = Estimate.even(bins, torch.zeros_like(variance))
    prediction = Estimate(*(choose(kept, *parts) for parts in zip(found.prediction, exact, strict=True)))
    return replace(found, image=images, prediction=prediction), ~kept & (given > 0)


def energy(bins: Tensor) -> Tensor:
    """Of complex bins (B, ...), float64 (B,)."""
    return torch.view_as_real(bins).double().square().flatten(1).sum(1)


def _finite(values: Tensor) -> Tensor:
    return values.flatten(1).isfinite().all(1)
