"""Training of both kinds of model on the same batches and noise: Adam on the negative ELBO, to be resumed."""

import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from examples.cifar10.model import ColourVAE
from mri_iahvae.errors import UsageError, reason
from mri_iahvae.files import atomic_path
from mri_iahvae.training.objective import posterior_pass

KINDS = {"separable": False, "ordinary": True}
"""Kinds of model, and whether it is an ordinary hierarchical VAE."""

BATCH, RATE, WARM, CLIP = 16, 2e-3, 100, 1.0
DECAY = 0.995
"""Of the running mean of the weights, which is what the table uses."""

MEASURED = 2000
"""Images that gains are measured on."""


def _follow(means: list[Tensor], weights: list[Tensor], count: Tensor) -> None:
    """The running mean follows sooner while there are few steps."""
    keep = min(DECAY, float((count + 1) / (count + 10)))
    for mean, weight in zip(means, weights, strict=True):
        mean.lerp_(weight, 1 - keep)


class Trainee:
    """One model, its optimizer, and the running mean of its weights."""

    def __init__(self, size: int, *, ordinary: bool) -> None:
        torch.manual_seed(0)
        # Convolutions of so few channels are faster on a CPU when channels come last; so is Adam when fused.
        self.model = ColourVAE(size, ordinary=ordinary).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.model.parameters(), RATE, fused=True)
        self.mean = AveragedModel(self.model, multi_avg_fn=_follow)
        self.seconds = 0.0

    def step(self, images: Tensor, number: int, progress: float = 0.0) -> float:
        """Train on one batch; -ELBO in bits per colour value.

        Args:
            images: uint8 (B, 3, N, N).
            number: of the step: decides the noise, and warms up.
            progress: 0 to 1, of the time to train: the learning rate falls to zero on a cosine.
        """
        start = time.process_time()
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (number + 1) / WARM) * (1 + math.cos(math.pi * progress)) / 2
        noise = torch.Generator().manual_seed(number)
        passed = posterior_pass(self.model, self.model.coefficients(images), noise)
        loss = self.model.negative_elbo(passed).mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.mean.update_parameters(self.model)
        self.seconds += time.process_time() - start
        return float(loss.detach())

    def averaged(self) -> ColourVAE:
        """The model of the running mean, for inference."""
        model: ColourVAE = self.mean.module.eval().requires_grad_(requires_grad=False)
        return model

    def state(self) -> dict[str, Any]:
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "mean")}
        return {**parts, "seconds": self.seconds}

    def load(self, state: dict[str, Any]) -> None:
        for name in ("model", "optimizer", "mean"):
            getattr(self, name).load_state_dict(state[name])
        self.seconds = state["seconds"]
        for model in (self.model, self.mean.module):
            model.set_gains(model.gains)


def resume(run: Path) -> tuple[dict[str, Trainee], int]:
    """The models of a run folder, and the steps that they were trained.

    Raises:
        UsageError: there is no state, or it is of another program.
    """
    try:
        state = torch.load(run / "state.pt", weights_only=True)
        trainees = {name: Trainee(state["size"], ordinary=kind) for name, kind in KINDS.items()}
        for name, one in trainees.items():
            one.load(state[name])
    except Exception as error:  # unpickling raises whatever the bytes lead to
        raise UsageError(
            f"{run}: expected state.pt of `train`, found: {reason(error)}; train first"
        ) from None
    return trainees, state["step"]


def save(run: Path, trainees: dict[str, Trainee], step: int) -> None:
    """Write a run's state, whole or not at all."""
    size = trainees["separable"].model.size
    states = {name: one.state() for name, one in trainees.items()}
    with atomic_path(run / "state.pt") as part:
        torch.save({"size": size, "step": step, **states}, part)


def begin(images: Tensor) -> dict[str, Trainee]:
    """Untrained models, whose gains are those of some images."""
    trainees = {name: Trainee(images.shape[-1], ordinary=kind) for name, kind in KINDS.items()}
    separable = trainees["separable"].model
    seen, split = separable.coefficients(spread(images, MEASURED)), separable.decomposition
    power = [split.block(seen, k)[:, split.ring(k)].abs().square().mean() for k in range(len(split.sides))]
    for one in trainees.values():
        for model in (one.model, one.mean.module):
            model.set_gains(torch.stack(power).sqrt())
    return trainees


def spread(images: Tensor, count: int) -> Tensor:
    """So many of all images (or all there are), evenly spaced: files may be sorted by class."""
    count = min(count, len(images))
    return images[torch.arange(count) * len(images) // count]


def batch(images: Tensor, step: int) -> Tensor:
    """Images of one step, half of them mirrored: a function of the step, so that a run that stopped goes on."""
    drawn = torch.Generator().manual_seed(step)
    chosen = images[torch.randint(len(images), (BATCH,), generator=drawn)]
    mirrored = torch.rand(BATCH, 1, 1, 1, generator=drawn) < 0.5
    return torch.where(mirrored, chosen.flip(-1), chosen)
