"""What a trained model knows, measured on held-back slices under the training's augmentation."""

import torch

from mri_iahvae.kspace.bands import crop
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.augment import augment
from mri_iahvae.training.slices import CachedSlices, SliceSource, step_seed

_DRAWN = 512  # slices: limits are their outermost hundredth and two-hundredth
_DRAWS = 8  # at most of each slice: more would be the same few slices over and over


def measure_domain(
    model: IAHVAE, held_out: SliceSource, description: str, device: torch.device, seed: int = 0
) -> Domain | None:
    """Measure a domain.

    Args:
        model: finished, wherever it is; it is left on `device`.
        held_out: fully sampled slices that the model was not trained on, at least as large as its grid.
        description: anatomy and contrasts, in words.
        device: to compute on.
        seed: of slices and augmentation.

    Returns:
        The domain; None for an encoder that is not scale-causal, for which the statistic is not defined, and where
        all slices are zero-signal.
    """
    if not model.encoder.causal:
        return None
    model = model.to(device)
    slices, generator = CachedSlices(held_out), torch.Generator(device).manual_seed(step_seed(seed, 0, 2))
    count = min(_DRAWN, _DRAWS * len(slices))
    chosen = torch.randint(len(slices), (count,), generator=generator, device=device).tolist()
    parts = [
        crop(augment(slices.stack(chosen[i : i + 32]).to(device), generator), model.size)
        for i in range(0, count, 32)
    ]
    kspace = torch.cat(parts)
    kspace = kspace[kspace.ne(0).any(dim=2).any(dim=1)]
    return Domain.measure(model, kspace, description) if len(kspace) > 1 else None
