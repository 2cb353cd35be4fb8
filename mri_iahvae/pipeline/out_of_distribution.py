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


def volume_fit(
    model: IAHVAE, domain: Domain | None, kspace: Tensor, mask: Tensor, noise_sigma: Tensor, batches: Batches
) -> NDArray[np.float32]:
    """`Domain.fit` of each slice.

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
    fit = torch.full((len(kspace),), torch.nan)
    if domain is not None:

        def work(rng: slice) -> None:
            parts = recentre(kspace[rng], model.size), recentre(mask[rng], model.size), noise_sigma[rng]
            fit[rng] = domain.fit(model, *(part.to(model.gains.device) for part in parts)).cpu()

        batches.run(work, len(kspace))
    return fit.numpy()


def domain_warnings(fit: NDArray[np.float32], domain: Domain | None) -> tuple[str, ...]:
    """One sentence where more than a quarter of the slices lie outside.

    Args:
        fit: as `volume_fit` gives it.
        domain: what the model knows.
    """
    judged, outside = np.count_nonzero(~np.isnan(fit)), np.count_nonzero(fit > 1)
    if domain is None or outside <= _TOLERATED * judged:
        return ()
    return (
        f"{outside} of {judged} slices are unlike what the weights know ({domain.description}): "
        "what the model adds to them is not to be trusted",
    )
