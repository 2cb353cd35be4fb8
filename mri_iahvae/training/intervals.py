"""Intervals about the magnitude: how many expected errors wide they must be, from held-back slices."""

import math
from pathlib import Path

import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.evaluation.conformal import conformal_factor
from mri_iahvae.inference.guidance import estimate
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.inference.uncertainty import expected_error
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.checkpoint_config import INTERVALS
from mri_iahvae.model.guide_file import load_guide
from mri_iahvae.model.interval_file import Intervals, save_intervals
from mri_iahvae.training.augment import varied
from mri_iahvae.training.guide_tasks import random_measurements
from mri_iahvae.training.slices import CachedSlices, SliceSource

LEVEL = 0.9

_OBJECT = 0.1  # of the largest magnitude of a slice: pixels above it are the object's
_BATCH = 8
_MOST = 512  # slices


@torch.no_grad()
def calibrate_intervals(
    folder: Path, held_out: SliceSource, device: torch.device, seed: int = 0
) -> Intervals | None:
    """Measure the intervals of a checkpoint that has a guide, and write them into its folder.

    Each held-out slice, of 512 at most and of other subjects than the guide was trained on, is measured once, at random
    as in the guide's training, and estimated from as many copies as reconstructions are by default. The slice is the
    unit that is exchangeable: neighbouring pixels err together. What counts of it are the pixels above a tenth of its
    largest magnitude.

    Returns:
        The intervals; None, and none are in the folder, where there are too few slices.

    Raises:
        UsageError: no guide.
        CheckpointError: the guide cannot be read.
        IahvaeError: the file cannot be written.
    """
    found = load_guide(folder, device)
    if found is None:
        raise UsageError(f"{folder}: expected a checkpoint with a guide, found none")
    guide, digest = found
    slices, generator = CachedSlices(held_out), torch.Generator(device).manual_seed(seed)
    chosen = torch.randperm(len(slices), generator=torch.Generator().manual_seed(seed))[:_MOST]
    scores = []
    for numbers in chosen.split(_BATCH):
        image = varied(slices.stack(numbers.tolist()).to(device), generator, resampled=0.0).abs()
        task = random_measurements(image, generator)
        measured = task.kspace, task.mask, task.sigma
        result, _ = estimate(guide, *measured, symmetries=InferenceSettings().symmetries)
        true = ifft2c(task.truth).abs()
        ratio = (ifft2c(result.kspace).abs() - true).abs() / expected_error(result)
        counted = (true > _OBJECT * true.amax(dim=(1, 2), keepdim=True)) & ratio.isfinite()
        scores += [one[where].cpu().numpy() for one, where in zip(ratio, counted, strict=True) if where.any()]
    factor = conformal_factor(scores, LEVEL)
    if not math.isfinite(factor):
        (folder / INTERVALS).unlink(missing_ok=True)
        return None
    intervals = Intervals(LEVEL, factor, len(scores), digest)
    save_intervals(intervals, folder)
    return intervals
