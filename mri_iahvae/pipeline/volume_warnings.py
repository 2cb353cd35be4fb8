"""What a user is warned of after a volume's inference, one sentence each."""

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.inference.settings import LADDERLESS, InferenceSettings
from mri_iahvae.model.domain import Domain
from mri_iahvae.pipeline.batches import Batches
from mri_iahvae.pipeline.out_of_distribution import aspect_warnings, domain_warnings, numbered
from mri_iahvae.words import counted


def volume_warnings(
    size: int,
    zero_signal: NDArray[np.bool_],
    unmeasured: NDArray[np.bool_],
    bounded: NDArray[np.bool_],
    score: NDArray[np.float32],
    beyond: NDArray[np.float32],
    *,
    domain: Domain | None,
    batches: Batches,
    settings: InferenceSettings,
) -> tuple[str, ...]:
    """One sentence each.

    Args:
        size: side of the model's grid.
        zero_signal: as in `Reconstruction`.
        unmeasured: as there.
        bounded: as there.
        score: `out_of_distribution` there.
        beyond: `beyond_training` there.
        domain: what the model knows.
        batches: whether memory sufficed.
        settings: how it was computed.
    """
    where = f"in the central {size}x{size} bins of"
    found = []
    if zero_signal.any():
        found.append(f"no signal {where} {numbered(zero_signal)}: left zero")
    if unmeasured.any():
        left = "left zero" if settings.method in LADDERLESS else "a sample of the prior, in canonical units"
        found.append(f"nothing measured {where} {numbered(unmeasured)}: {left}")
    if bounded.any():
        found.append(
            f"what the model predicted for {numbered(bounded)} was out of bounds and was replaced by the prior mean, "
            "the measured bins or zero: too unlike the training data"
        )
    if batches.size < batches.first:
        found.append(f"out of memory with {batches.first} slices at a time: went on with {batches.size}")
    if settings.samples % 2 and settings.temperature and not unmeasured.all():
        found.append(
            f"{counted(settings.samples, 'posterior sample')}: they are drawn in mirrored pairs, and "
            "the unpaired one leaves its noise in the mean: take an even number"
        )
    return *found, *domain_warnings(score, domain), *aspect_warnings(beyond)
