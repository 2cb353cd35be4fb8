"""Over-dispersion of the priors of a trained model, measured on held-back slices."""

import torch

from mri_iahvae.kspace.bands import crop
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.objective import beyond_block, squared_error
from mri_iahvae.training.slices import CachedSlices, SliceSource, step_seed
from mri_iahvae.training.statistics import canonical_batch

_SLICES = 24
_DRAWS = 4  # of each


@torch.no_grad()
def measure_dispersion(
    model: IAHVAE, held_out: SliceSource, device: torch.device, seed: int = 0
) -> tuple[float, ...]:
    """For each band, from the true coarser bins: energy of the prior's samples about its mean over the mean's error.

    Of a prior that is right both are the same. What lies below 1 counts as 1 (`inference.partial`).

    Args:
        model: finished, wherever it is; it is left on `device`.
        held_out: fully sampled slices that the model was not trained on, at least as large as its grid.
        device: to compute on.
        seed: of the samples.

    Returns:
        One number for each scale; none for models whose scales are not inferred one by one, and where all slices are
        zero-signal.
    """
    if not model.encoder.causal or len(model.scales) == 1:
        return ()
    model = model.to(device)
    slices, generator = CachedSlices(held_out), torch.Generator(device).manual_seed(step_seed(seed, 0, 3))
    chosen = torch.linspace(0, len(slices) - 1, min(_SLICES, len(slices))).long().tolist()
    kspace = crop(slices.stack(chosen).to(device), model.size)
    kspace = kspace[kspace.ne(0).any(dim=2).any(dim=1)]  # zero-signal slices have no canonical form
    if not len(kspace):
        return ()
    kspace = canonical_batch(kspace, model.size)
    ratios = [1.0]  # nothing is coarser than the first scale
    for scale in model.scales[1:]:
        _, h = next(iter(beyond_block(model, kspace, scale.side // 2)))
        mean = scale.bins(scale.run(h))
        target = crop(kspace, scale.side) * model.decomposition.ring(scale.index, device)
        error = squared_error(mean, target).sum()
        energy = torch.zeros_like(error)
        for _ in range(_DRAWS):
            latents = [
                torch.randn((len(kspace), *latent.shape), generator=generator, device=device)
                for latent in scale.latents
            ]
            energy += squared_error(scale.bins(scale.run(h, latents)), mean).sum()
        ratios.append(max(1.0, round(float(energy / (_DRAWS * error)), 2)))
    return tuple(ratios)
