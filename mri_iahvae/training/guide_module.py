"""The Lightning module of a stage that trains the guide."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_file import save_guide
from mri_iahvae.processes import process_count
from mri_iahvae.training.augment import varied
from mri_iahvae.training.guide_objective import dissimilarity, guide_loss, relative_error
from mri_iahvae.training.guide_tasks import random_field_of_view, random_measurements
from mri_iahvae.training.settings import TrainSettings
from mri_iahvae.training.shard import Shard
from mri_iahvae.training.stage import StageBase


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
            loss = guide_loss(estimate, task).mean()
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
