"""What inference takes of the coarse prior: a block B_8 for each element of a batch."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mri_iahvae.inference.draws import Draws
from mri_iahvae.model.coarse_prior import CoarsePosterior


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
