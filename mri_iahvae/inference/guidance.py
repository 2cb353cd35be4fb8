"""The guide's estimate of a measurement, within bounds: what takes the place of the data in inference."""

import torch
from torch import Tensor

from mri_iahvae.inference.bounds import choose
from mri_iahvae.inference.precision import convolutions
from mri_iahvae.inference.settings import Precision
from mri_iahvae.inference.uncertainty import spread_of_copies
from mri_iahvae.kspace.coils import Sense
from mri_iahvae.kspace.symmetry import SYMMETRIES
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
    """Estimate all bins of a batch.

    Where the guide adds more energy than `MOST_ADDED` times what was measured, or numbers that are not finite, or
    nothing was measured at all, its estimate is dropped: measured bins are the data, of others nothing is known.

    Args:
        guide: the network.
        kspace: complex64 (B, H, W), any units; values at unmeasured bins are ignored.
        mask: bool (B, H, W), true where measured.
        noise_sigma: float (B,), noise per real and imaginary part; zero for none.
        precision: of the convolutions.
        symmetries: copies of the measurement whose estimates are averaged (`kspace.symmetry`). The variance is that
            which the guide states of the first; their disagreement says where (`spread_of_copies`).

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
    most = MOST_ADDED * _energy(data.kspace)
    within = (_energy(torch.where(mask, 0, found)) <= most) & (_energy(found) <= most + _energy(data.kspace))
    within &= variance.flatten(1).isfinite().all(1) & spread.flatten(1).isfinite().all(1)
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
) -> tuple[Tensor, Tensor]:
    """Estimate the images of a batch that several coils measured.

    Where an estimate has more energy than `MOST_ADDED` times what was measured, or numbers that are not finite, the
    zero-filled image takes its place.

    Args:
        guide: as in `estimate`.
        kspace: complex64 (B, C, H, W), any units; zero where not measured.
        sense: the coils.
        noise_sigma: float (B,), of every coil, per real and imaginary part; zero for none.
        precision: as in `estimate`.
        symmetries: as in `estimate`.

    Returns:
        The images, combined by the sensitivities, complex64 (B, H, W); and the batch elements whose estimate was
        dropped, bool (B,).
    """
    images = torch.zeros_like(kspace[:, 0])
    with convolutions(kspace.device, precision):
        for one in SYMMETRIES[:symmetries]:
            copy = Sense(one.flip(sense.sensitivities), one.flip(sense.mask))
            images = images + one.undo(guide.combine(one.apply(kspace), copy, noise_sigma))
    images = images / symmetries
    energy = _energy(kspace)
    kept = _energy(images) <= (1 + MOST_ADDED) * energy  # false for NaN
    return choose(kept, images, sense.adjoint(kspace)), ~kept & (energy > 0)


def _energy(bins: Tensor) -> Tensor:
    return torch.view_as_real(bins).double().square().flatten(1).sum(1)
