"""The variance that the guide states, calibrated on held-out slices."""

import torch

from mri_iahvae.model.guide import OCTAVES, Guide, octaves, ring_means
from mri_iahvae.training.augment import varied
from mri_iahvae.training.guide_tasks import random_measurements
from mri_iahvae.training.slices import CachedSlices, SliceSource

_DRAWS = 8  # measurements of each slice
_SLICES = 256
_BATCH = 8


@torch.no_grad()
def calibrate_guide(guide: Guide, held_out: SliceSource, device: torch.device, seed: int = 0) -> None:
    """Set `Guide.calibration`: of each octave the mean of squared error over stated variance becomes 1.

    Args:
        guide: in evaluation mode; changed in place.
        held_out: fully sampled slices that the guide was not trained on.
        device: to compute on.
        seed: of the measurements.
    """
    guide.to(device).calibration.fill_(1.0)
    slices = CachedSlices(held_out)
    chosen = [
        round(i) for i in torch.linspace(0, len(slices) - 1, min(_SLICES, len(slices))).tolist()
    ] * _DRAWS
    generator = torch.Generator(device).manual_seed(seed)
    ratios = torch.zeros(2, OCTAVES, dtype=torch.float64, device=device)
    counts = torch.zeros_like(ratios)
    for start in range(0, len(chosen), _BATCH):
        kspace = slices.stack(chosen[start : start + _BATCH]).to(device)
        task = random_measurements(varied(kspace, generator, resampled=0.0).abs(), generator)
        estimate = guide(task.kspace, task.mask, task.sigma)
        error = torch.view_as_real(estimate.kspace - task.truth).square().mean(-1)
        ring = octaves(task.mask)
        for row, where in enumerate((task.mask, ~task.mask)):
            variance = ring_means(estimate.variance, where, ring)
            counted = variance > 0
            ratio = ring_means(error, where, ring) / torch.where(counted, variance, 1)
            ratios[row] += torch.where(counted, ratio, 0).double().sum(0)
            counts[row] += counted.sum(0)
    guide.calibration.copy_(torch.where(counts > 0, ratios / counts.clamp_min(1), 1.0))
