"""What inference takes of the coarse prior: a block B_8 for each element of a batch."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mri_iahvae.inference.draws import Draws
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.kspace.bands import block_mask, crop, embed
from mri_iahvae.kspace.canonical import canonical_factor
from mri_iahvae.model.coarse_prior import CoarsePosterior, CoarsePrior
from mri_iahvae.model.estimate import Estimate

LEAST_KNOWN = 0.05
"""Fraction of the expected power of bins that are not known exactly which the posterior mean must explain."""


def draw_core(posteriors: Sequence[CoarsePosterior], draws: Draws) -> Tensor:
    """Blocks B_8, complex64 (B, s, s): a draw from the posterior of each element, or its mean where it is no sample.

    The temperature is a factor on the deviation of a draw from the mean.
    """
    means = torch.stack([one.moments()[0] for one in posteriors])
    # Not scaled: the first number chooses a component.
    noise = replace(draws, temperature=1.0).normal((1 + 2 * means[0].numel(),), 0, "core").cpu()
    drawn = torch.cat([one.draw(own[None]) for one, own in zip(posteriors, noise, strict=True)])
    deviation = draws.temperature * (drawn - means).to(draws.device)
    return means.to(draws.device) + torch.where(draws.drawn()[:, None, None], deviation, 0)


def complete_core(
    prior: CoarsePrior, measured: Measurement, power: Tensor, draws: Draws
) -> tuple[Measurement, Tensor]:
    """Take B_8 for known where it is missing in part, or noisy: its posterior mean, and a draw for posterior samples.

    With the draws the samples are exact as far as B_8 goes: the hierarchy completes each from there. Canonical form is
    then that of the completed block, which contexts of finer scales expect. Where the mean explains next to nothing, as
    of a block of which not even the phase is known, it is left to the hierarchy.

    Args:
        prior: of the block.
        measured: without a guide's estimate.
        power: as for `canonical_factor`.
        draws: of the elements; those of one slice have the same measurement.

    Returns:
        The measurement, and the number that its units were divided by, complex64 (B,); 1 where B_8 is left as it is.
    """
    blocks, variances = (crop(part, prior.side) for part in measured.data[:2])
    first = {element.slice: index for index, element in reversed(list(enumerate(draws.elements)))}
    found = {
        number: prior.posterior(blocks[index].cpu(), variances[index].cpu())
        for number, index in first.items()
        if variances[index].any()
    }
    found = {number: one for number, one in found.items() if _explained(one) >= LEAST_KNOWN}
    rows = [row for row, element in enumerate(draws.elements) if element.slice in found]
    factor = torch.ones(len(measured), dtype=torch.complex64, device=measured.device)
    if not rows:
        return measured, factor
    elements = tuple(draws.elements[row] for row in rows)
    core = blocks.clone()
    core[rows] = draw_core([found[one.slice] for one in elements], replace(draws, elements=elements))
    inner = block_mask(prior.side, measured.mask.shape[-1], device=measured.device)
    values = torch.where(inner, embed(core, len(inner)), measured.data.kspace)
    factor[rows] = canonical_factor(values, inner, power)[rows]
    unit = factor[:, None, None]
    variance = (measured.data.variance / unit.abs().square()).masked_fill(inner, 0)
    data = Estimate.even(values / unit, variance)
    return replace(measured, kspace=measured.kspace / unit, data=data, estimate=data), factor


def _explained(posterior: CoarsePosterior) -> float:
    """Energy of the mean over all expected energy, of the bins that are not known exactly."""
    mean, variance = posterior.moments()
    known = variance < 1e-6 * variance.max()
    own, rest = mean.abs().square()[~known].sum(), 2 * variance[~known].sum()
    return float(own / (own + rest))
