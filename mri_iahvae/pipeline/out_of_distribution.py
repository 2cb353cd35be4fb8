"""Whether a volume lies within what the model knows."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.kspace.bands import recentre
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.batches import Batches

# One in a hundred slices of the domain lies outside by the definition of its limit, and strange slices come together.
_TOLERATED = 0.25


def volume_score(
    model: IAHVAE, domain: Domain | None, kspace: Tensor, mask: Tensor, noise_sigma: Tensor, batches: Batches
) -> NDArray[np.float32]:
    """`Domain.score` of each slice.

    Args:
        model: the model.
        domain: what it knows; None where it does not say.
        kspace: complex64 (slices, H, W).
        mask: bool (slices, H, W).
        noise_sigma: float (slices,).
        batches: how many slices at a time.

    Returns:
        float32 (slices,), above 1 outside; NaN where not defined.
    """
    score = torch.full((len(kspace),), torch.nan)
    if domain is not None:

        def work(rng: slice) -> None:
            parts = recentre(kspace[rng], model.size), recentre(mask[rng], model.size), noise_sigma[rng]
            score[rng] = domain.score(model, *(part.to(model.gains.device) for part in parts)).cpu()

        batches.run(work, len(kspace))
    return score.numpy()


def domain_warnings(score: NDArray[np.float32], domain: Domain | None) -> tuple[str, ...]:
    """One sentence where more than a quarter of the slices lie outside.

    Args:
        score: as `volume_score` gives it.
        domain: what the model knows.
    """
    judged, outside = np.count_nonzero(~np.isnan(score)), np.count_nonzero(score > 1)
    if domain is None or outside <= _TOLERATED * judged:
        return ()
    verb = "is" if outside == 1 else "are"
    return (
        f"{outside} of {judged} slices {verb} unlike the training data ({domain.description}): "
        "do not trust what the model adds to them",
    )
