"""How far the priors of a trained model spread, measured on held-back slices."""

import torch

from mri_iahvae.kspace.bands import crop, scales
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.objective import block_context, squared_error
from mri_iahvae.training.slices import CachedSlices, SliceSource, step_seed
from mri_iahvae.training.statistics import canonical_batch

_SLICES = 24
_DRAWS = 4  # of each


@torch.no_grad()
def measure_spread(
    model: IAHVAE, held_out: SliceSource, device: torch.device, seed: int = 0
) -> tuple[float, ...]:
    """For each band, from the true coarser bins: energy of the prior's samples about its mean over the mean's error.

    Of a prior that is right both are the same. What lies below 1 counts as 1 (`inference.measurement`).

    Args:
        model: finished, wherever it is; it is left on `device`.
        held_out: fully sampled slices that the model was not trained on, at least as large as its grid.
        device: to compute on.
        seed: of the samples.

    Returns:
        One number for each scale; none for models whose scales are not inferred one by one, and where all slices are
        silent.
    """
    if (model.config.encoder, model.config.decoder) != ("causal", "separable"):
        return ()
    model = model.to(device)
    slices, generator = CachedSlices(held_out), torch.Generator(device).manual_seed(step_seed(seed, 0, 3))
    chosen = torch.linspace(0, len(slices) - 1, min(_SLICES, len(slices))).long().tolist()
    kspace = crop(slices.stack(chosen).to(device), model.size)
    kspace = kspace[kspace.ne(0).any(dim=2).any(dim=1)]  # silent slices have no canonical form
    if not len(kspace):
        return ()
    kspace = canonical_batch(kspace, model.size)
    ratios = [1.0]  # nothing is coarser than the first scale
    for index, s in list(enumerate(scales(model.size)))[1:]:
        coarse = crop(kspace, s // 2)
        start = model.context(index, block_context(model, kspace, index - 1), coarse)
        mean = model.band(index, model.descend(index, start)[0])
        error = squared_error(mean, crop(kspace, s) * model.ring(index)).sum()
        energy = torch.zeros_like(error)
        for _ in range(_DRAWS):
            shape = (len(kspace), *model.latent_shape(index))
            latents = [torch.randn(shape, generator=generator, device=device) for _ in model.layers(index)]
            energy += squared_error(model.band(index, model.descend(index, start, latents)[0]), mean).sum()
        ratios.append(max(1.0, round(float(energy / (_DRAWS * error)), 2)))
    return tuple(ratios)
