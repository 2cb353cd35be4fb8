"""The Lightning module of a stage that trains the guide, by error relative to the task's difficulty and similarity."""

from pathlib import Path
from typing import Any

import torch
from fastmri.losses import SSIMLoss
from torch import Tensor, nn

from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_file import save_guide
from mri_iahvae.processes import process_count
from mri_iahvae.training.augment import varied
from mri_iahvae.training.guide_tasks import Measured, random_field_of_view, random_measurements
from mri_iahvae.training.settings import TrainSettings
from mri_iahvae.training.shard import Shard
from mri_iahvae.training.stage import StageBase

_EASY = 1e-3  # of the slice's energy: errors below it are as good as none
_DISSIMILARITY = 0.5  # its weight


class GuideModule(StageBase):
    """Trains the guide on random measurements of the slices; its error heads are fitted later."""

    model: Guide
    average: Guide

    def __init__(self, model: Guide, settings: TrainSettings, stage: int) -> None:
        model.error.requires_grad_(requires_grad=False)
        super().__init__(model, settings, stage)

    def kernels(self) -> set[nn.Parameter]:
        return {parameter for parameter in self.model.parameters() if parameter.ndim == 4}

    def training_step(self, batch: tuple[Tensor, int], batch_idx: int) -> Tensor:  # noqa: ARG002
        kspace, seed = batch
        noise = torch.Generator(self.device).manual_seed(seed)
        shard = Shard.of_this_process(len(kspace) * process_count())
        with torch.autocast(self.device.type, enabled=False):
            image = random_field_of_view(varied(kspace, noise, shard, self.settings.resampled).abs(), noise)
            task = random_measurements(image, noise, shard)
        estimate = self.model(task.kspace, task.mask, task.sigma)
        with torch.autocast(self.device.type, enabled=False):
            loss = guide_loss(estimate.kspace, task).mean()
        self.statistics = {"loss": self.trainer.strategy.reduce(loss.detach(), reduce_op="mean")}
        return loss

    def scores(self, kspace: Tensor, noise: torch.Generator, shard: Shard) -> dict[str, Tensor]:
        """Of one random measurement of each slice, the same at each validation."""
        task = random_measurements(varied(kspace, noise, shard, 0.0).abs(), noise, shard)
        estimate = self.average(task.kspace, task.mask, task.sigma)
        return {
            "relative_error": relative_error(estimate.kspace, task),
            "ssim": 1 - dissimilarity(estimate.kspace, task.truth),
        }

    def store(self, folder: Path, training: dict[str, Any]) -> None:
        save_guide(self.average, folder, training)


def guide_loss(found: Tensor, task: Measured) -> Tensor:
    """Of estimated bins, complex64 (B, H, W): float (B,)."""
    return relative_error(found, task) + _DISSIMILARITY * dissimilarity(found, task.truth)


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
