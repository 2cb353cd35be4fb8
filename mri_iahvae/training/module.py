"""The Lightning module of a stage that trains the hierarchy."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mri_iahvae.kspace.bands import crop, embed, split
from mri_iahvae.model.checkpoint import save_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.super_resolution import SuperResolution
from mri_iahvae.processes import process_count
from mri_iahvae.training import objective
from mri_iahvae.training.augment import augment
from mri_iahvae.training.masks import random_masks
from mri_iahvae.training.objective import complete, posterior_pass, squared_error
from mri_iahvae.training.settings import TrainSettings
from mri_iahvae.training.shard import Shard
from mri_iahvae.training.stage import StageBase
from mri_iahvae.training.statistics import canonical_batch

_FIRST_CUT = 4  # coarsest scale that the completion-aware term starts from


class StageModule(StageBase):
    """Trains scales of the hierarchy.

    Scales that the stage holds get no gradient, no weight decay and no averaging; scales coarser than the trained ones
    are not differentiated at all. The model is on the stage's grid, its gains measured; `sigma_start` is sigma of the
    first step.
    """

    model: IAHVAE
    average: IAHVAE

    def __init__(self, model: IAHVAE, settings: TrainSettings, stage: int, sigma_start: float) -> None:
        super().__init__(model, settings, stage)
        self.sigma_start = sigma_start
        if self.stage.scales is not None:
            self.model.requires_grad_(requires_grad=False)
            for index in self.stage.trained:
                self.model.encoder[index].requires_grad_()
                self.model.decoder[index].requires_grad_()

    def slow(self) -> set[nn.Parameter]:
        """The super-resolution branches: they see each other's predictions, amplify each other, and would diverge."""
        branches = [part for part in self.model.modules() if isinstance(part, SuperResolution)]
        return {parameter for branch in branches for parameter in branch.parameters()}

    def scores(self, kspace: Tensor, noise: torch.Generator, shard: Shard) -> dict[str, Tensor]:
        """At the stage's final sigma."""
        kspace = canonical_batch(kspace, self.model.size)
        return validation_scores(self.average, kspace, self.stage.sigma, noise, shard)

    def store(self, folder: Path, training: dict[str, Any]) -> None:
        save_model(self.average, folder, training)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["sigma_start"] = self.sigma_start

    def sigma(self, step: int) -> float:
        """Likelihood sigma at a step: geometric from start to end over the first half, then constant."""
        progress = min(1.0, step / max(1, self.stage.steps / 2))
        return self.sigma_start * (self.stage.sigma / self.sigma_start) ** progress

    def training_step(self, batch: tuple[Tensor, int], batch_idx: int) -> Tensor:  # noqa: ARG002
        """Negative ELBO; plus, on half of the batch, the completion-aware or the masked term in turn at random."""
        kspace, seed = batch
        settings, noise = self.settings, torch.Generator(self.device).manual_seed(seed)
        shard = Shard.of_this_process(len(kspace) * process_count())

        def chosen(fraction: float) -> Tensor:
            return shard.of(torch.rand(shard.total, generator=noise, device=self.device) < fraction)

        with torch.autocast(self.device.type, enabled=False):  # a phase map in bfloat16 would be noise
            augmented = augment(kspace, noise, shard, settings.resampled)
            kspace = canonical_batch(augmented, self.model.size)
        teacher, means = chosen(0.5), chosen(settings.mean_fraction)
        sigma = self.sigma(self.global_step)
        passed = posterior_pass(self.model, kspace, noise, teacher, means=means, shard=shard)
        elbo_loss = passed.negative_elbo(sigma)
        halves = Shard.of_this_process((shard.total + 1) // 2)
        half = (len(kspace) + 1) // 2
        if seed // 2 % 2:
            masks = halves.of(random_masks(halves.total, self.model.size, noise))
            term = objective.masked_ratio(self.model, kspace[:half], masks).mean()
            name, weight = "masked", settings.masked_weight
        else:
            cut = completion_cut(seed // 4, self.stage.trained.stop)
            term = objective.completion_ratio(self.model, kspace[:half], 2**cut).mean()
            name, weight = "completion", settings.completion_weight
        loss = elbo_loss + weight * term
        # Over all processes: a step that one skips, all skip.
        values = self.trainer.strategy.reduce(torch.stack([loss, elbo_loss, term]).detach(), reduce_op="mean")
        self.statistics = {**dict(zip(("loss", "elbo_loss", name), values, strict=True)), "sigma": sigma}
        return loss


def completion_cut(draw: int, count: int) -> int:
    """Index of the last known scale of the completion-aware term.

    Half of the draws, random whole numbers, take the finest scale but one of `count`, each coarser one comes half as
    often, down to 4x4: the finest scale is the newest and has the most to learn.
    """
    last, first = max(0, count - 2), min(_FIRST_CUT.bit_length() - 1, max(0, count - 2))
    coarser = (draw & -draw).bit_length() - 1 if draw else 0  # trailing zero bits: geometric
    return max(first, last - coarser)


def validation_scores(
    model: IAHVAE, kspace: Tensor, sigma: float, noise: torch.Generator, shard: Shard | None = None
) -> dict[str, Tensor]:
    """Scores per slice of canonical, fully sampled k-space; sigma is fixed, other arguments as in `posterior_pass`.

    Returns:
        "elbo_loss" (B,), nats per dimension; "kl" (B, scales), nats; "error" (B, scales), squared error over the
        band's energy, posterior samples; "nmse" (B,), amortized, posterior means; "completion" (B, cuts): squared
        error of the prior-mean completion from 4x4, 8x8 ... over that of zero-filling.
    """
    sampled = posterior_pass(model, kspace, noise, shard=shard)
    mean = posterior_pass(model, kspace)
    completion = []
    for cut in range(2, len(model.gains) - 1):
        completed = complete(model, kspace, 2**cut)
        zero_filled = squared_error(embed(crop(kspace, 2**cut), model.size), kspace)
        completion.append(squared_error(completed, kspace) / zero_filled)
    return {
        "elbo_loss": sampled.nats(sigma) / (2 * model.size**2),
        "kl": sampled.kl.T,
        "error": (_energy(sampled.bins - kspace) / _energy(kspace)).T,
        "nmse": mean.error.sum(0) / _energy(kspace).sum(0),
        "completion": torch.stack(completion, dim=1),
    }


def _energy(kspace: Tensor) -> Tensor:
    """Energy of each band: complex (B, N, N) to float (scales, B)."""
    return torch.stack([band.abs().square().sum(dim=(1, 2)) for band in split(kspace)])
