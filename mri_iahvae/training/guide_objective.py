"""What the guide is trained by: error relative to the task's difficulty, and similarity."""

import torch
from fastmri.losses import SSIMLoss
from torch import Tensor

from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.estimate import Estimate
from mri_iahvae.training.guide_tasks import Measured

_EASY = 1e-3  # of the slice's energy: errors below it are as good as none
_DISSIMILARITY = 0.5  # its weight


def guide_loss(estimate: Estimate, task: Measured) -> Tensor:
    return relative_error(estimate.kspace, task) + _DISSIMILARITY * dissimilarity(estimate.kspace, task.truth)


def relative_error(found: Tensor, task: Measured) -> Tensor:
    """Root of the error's energy over that of the zero-filled slice: float (B,), 1 for zero-filling.

    Tasks from easy to hard weigh alike, and an error of zero-filling below a thousandth of the slice counts as one.
    """
    difficulty = _energy(torch.where(task.mask, task.kspace, 0) - task.truth) + _EASY * _energy(task.truth)
    return (_energy(found - task.truth) / difficulty.clamp_min(1e-12) + 1e-6).sqrt()


def dissimilarity(found: Tensor, truth: Tensor) -> Tensor:
    """1 - SSIM of the magnitude images, the range of values that of each truth: float (B,)."""
    x, y = (ifft2c(bins).abs()[:, None] for bins in (found, truth))
    peak = y.amax(dim=(1, 2, 3)).clamp_min(torch.finfo(torch.float32).tiny)
    unlike: Tensor = SSIMLoss().to(x.device)(
        x / peak[:, None, None, None], y / peak[:, None, None, None], torch.ones_like(peak), reduced=False
    )
    return unlike.flatten(1).mean(1)


def _energy(bins: Tensor) -> Tensor:
    return torch.view_as_real(bins).square().sum(dim=(1, 2, 3))
