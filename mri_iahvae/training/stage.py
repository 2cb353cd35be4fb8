"""What all stages of a run have in common: schedule, optimizer, skipped steps, averaged weights, states."""

import copy
import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from mri_iahvae.model.guide import Guide
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.muon import Muon
from mri_iahvae.training.settings import TrainSettings
from mri_iahvae.training.shard import Shard

_WARM_UP = 100  # steps
_LAST_RATE = 0.05  # of the peak learning rate
_SLOW = 0.3  # rate of parameters that learn more slowly, of the others'


class StageBase(L.LightningModule, ABC):
    """Trains one stage; validation and what is stored use the averaged (EMA) weights.

    A subclass says what a step computes, what is validated, and how the average is stored.

    Attributes:
        average: the same model with the averaged weights.
        statistics: of the latest step, for the log.
        validation: of the latest validation, whose step is `validated`.
        skipped: steps whose loss or gradient was too large.
    """

    skipped: Tensor

    def __init__(self, model: IAHVAE | Guide, settings: TrainSettings, stage: int) -> None:
        super().__init__()
        self.model = model
        self.average = copy.deepcopy(model).requires_grad_(requires_grad=False)
        self.settings = settings
        self.stage_index = stage
        self.stage = settings.stages[stage]
        self.statistics: dict[str, Any] = {}
        self.validation: dict[str, Any] = {}
        self.validated = -1
        self.skipped_in_a_row = 0
        self._scores: list[dict[str, Tensor]] = []
        self.register_buffer("skipped", torch.zeros((), dtype=torch.int64))

    def slow(self) -> set[nn.Parameter]:
        """Parameters that learn more slowly."""
        return set()

    def kernels(self) -> set[nn.Parameter]:
        """Parameters that take the steps of Muon."""
        return set()

    @abstractmethod
    def scores(self, kspace: Tensor, noise: torch.Generator, shard: Shard) -> dict[str, Tensor]:
        """Of the process's own held-out slices, complex64 (B, n, n), with the averaged weights: each (B, ...)."""

    @abstractmethod
    def store(self, folder: Path, training: dict[str, Any]) -> None:
        """Write the averaged weights into the folder of the checkpoint, with the record of their training."""

    def rate_factor(self, step: int) -> float:
        """Learning rate over its peak: linear warm-up, then a cosine."""
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.stage.steps)))
        return min(1.0, (step + 1) / _WARM_UP) * (_LAST_RATE + (1 - _LAST_RATE) * cosine)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own type is a union of many
        """AdamW, or Muon for kernels; biases and other vectors are not decayed."""
        slow, kernels = self.slow(), self.kernels()
        groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                decay = self.settings.weight_decay if parameter.ndim > 1 else 0.0
                rate = self.stage.rate * (_SLOW if parameter in slow else 1.0)
                groups.setdefault((rate, decay, parameter in kernels), []).append(parameter)
        optimizer = Muon(
            [
                {"params": parameters, "lr": rate, "weight_decay": decay, "orthogonal": orthogonal}
                for (rate, decay, orthogonal), parameters in groups.items()
            ],
            fused=self.device.type == "cuda",  # one kernel for all parameters
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """Clip; drop the gradients of a step whose loss or gradient is not finite or far too large, and count it."""
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.statistics["gradient_norm"] = norm.detach()
        if bool(torch.isfinite(self.statistics["loss"]) & (norm <= self.settings.skip)):  # NaN is not
            self.skipped_in_a_row = 0
            return
        optimizer.zero_grad(set_to_none=True)  # optimizers pass over parameters without a gradient
        self.skipped += 1
        self.skipped_in_a_row += 1

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """One step, then the average moves towards the weights; its decay is warmed up."""
        super().optimizer_step(*args, **kwargs)
        decay = min(self.settings.ema, (1 + self.global_step) / (10 + self.global_step))
        for average, weight in zip(self.average.parameters(), self.model.parameters(), strict=True):
            if weight.requires_grad:
                average.data.lerp_(weight.data, 1 - decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A state describes its own model too, so that a run resumes from it alone."""
        checkpoint["skipped_in_a_row"] = self.skipped_in_a_row
        checkpoint["model_config"] = self.model.config.to_json()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.skipped_in_a_row = checkpoint["skipped_in_a_row"]

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        shard = Shard.of_this_process(len(batch))
        noise = torch.Generator(self.device).manual_seed(self.settings.seed + batch_idx)
        with torch.autocast(self.device.type, enabled=False):  # float32, whatever the training's precision
            scores = self.scores(shard.of(batch), noise, shard)
        self._scores.append({key: shard.gather(value) for key, value in scores.items()})

    def on_validation_epoch_end(self) -> None:
        joined = {key: torch.cat([score[key] for score in self._scores]) for key in self._scores[0]}
        self._scores.clear()
        self.validation = {key: value.mean(dim=0).tolist() for key, value in joined.items()}
        self.validated = self.global_step
