"""Small hierarchies trained on slices of a file, and the tasks that they are scored on.

What is drawn (slices, augmentation, posterior noise) is the same for every model that is trained with equal plans.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import torch
from torch import Tensor

from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.infer import infer
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.inference.settings import DataConsistency, InferenceSettings, Method
from mri_iahvae.kspace.bands import crop
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.phase import smooth_phase
from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.training.augment import augment
from mri_iahvae.training.objective import posterior_pass
from mri_iahvae.training.statistics import canonical_batch

CLIP = 1.0
NOISES = 0.1, 0.2, 1.0  # of denoising, relative to the slice's RMS


@dataclass(frozen=True)
class Plan:
    """A training: steps of so many slices, largest learning rate, sigma of the first step and from half way on."""

    steps: int
    batch: int = 16
    rate: float = 4e-3
    sigmas: tuple[float, float] = (0.6, 0.1)

    def sigma(self, step: int) -> float:
        """Of the likelihood: geometric from the first to the last over the first half."""
        first, last = self.sigmas
        return first * (last / first) ** min(1.0, 2 * step / self.steps)


class Batches:
    """Canonical k-space of augmented slices of (slices, n, n), and the noise of a training."""

    def __init__(self, kspace: Tensor, size: int, seed: int = 0) -> None:
        self.kspace, self.size = kspace, size
        self.noise = torch.Generator().manual_seed(seed)

    def draw(self, count: int) -> Tensor:
        """Slices drawn at random, complex64 (count, N, N)."""
        chosen = torch.randint(len(self.kspace), (count,), generator=self.noise)
        return canonical_batch(augment(self.kspace[chosen], self.noise), self.size)


class Step(NamedTuple):
    """What the loss of one training step is computed from; `teacher` and `means` as in `posterior_pass`."""

    model: IAHVAE
    coefficients: Tensor
    noise: torch.Generator
    teacher: Tensor
    means: Tensor
    sigma: float
    progress: float
    """From 0 at the first step to 1 after the last one."""


Loss = Callable[[Step], Tensor]


def negative_elbo(step: Step) -> Tensor:
    """The package's objective without its completion-aware terms, nats per real dimension."""
    passed = posterior_pass(step.model, step.coefficients, step.noise, step.teacher, step.means)
    return passed.negative_elbo(step.sigma)


def fit(model: IAHVAE, batches: Batches, plan: Plan, loss: Loss = negative_elbo, title: str = "") -> None:
    """Train in place; afterwards the model is in evaluation mode, its weights without gradients."""
    model.train().requires_grad_(requires_grad=True)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.rate, total_steps=plan.steps, pct_start=0.1
    )
    for step in range(plan.steps):
        coefficients = model.decomposition.from_kspace(batches.draw(plan.batch))
        teacher, means = (
            torch.rand(plan.batch, generator=batches.noise) < fraction for fraction in (0.5, 0.25)
        )
        sigma, progress = plan.sigma(step), step / plan.steps
        value = loss(Step(model, coefficients, batches.noise, teacher, means, sigma, progress))
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            click.echo(f"{title:20} step {step:5}  loss at sigma {sigma:.3f}: {value:.4f}")
    model.eval().requires_grad_(requires_grad=False)


def networks(grid: int, sigma: float = 0.1) -> ModelConfig:
    """One layer per scale, on maps of at most 8 x 8; 16 channels, and where pixels are folded 16 times the fold."""
    folds = [max(1, 2**k // 8) for k in range(grid.bit_length())]
    scales = tuple(ScaleConfig(layers=1, channels=16 * fold, inner=8 * fold, patch=fold) for fold in folds)
    return ModelConfig(scales, encoder_blocks=1, head_blocks=1, sigma=sigma)


def read(path: Path, grid: int, count: int | None = None) -> Tensor:
    """Centred k-space of all slices of a file, or so many spread over it, complex64 (slices, grid, grid)."""
    with np.load(path) as file:
        images = torch.from_numpy(file["images"])
    if count is not None:
        images = images[torch.linspace(0, len(images) - 1, count).long()]
    return torch.cat([crop(fft2c(part + 0j), grid) for part in images.float().split(256)])


def unseen(path: Path, grid: int, count: int) -> Tensor:
    """Canonical k-space of slices with a simulated phase, complex64 (slices, N, N)."""
    kspace = read(path, grid, count)
    phase = smooth_phase(count, (grid, grid), torch.Generator().manual_seed(0), strength=0.5)
    return canonical_batch(fft2c(ifft2c(kspace) * torch.polar(torch.ones_like(phase), phase)), grid)


class Task(NamedTuple):
    """A measurement of held-out slices, and how it is inferred."""

    kspace: Tensor
    """complex64 (slices, N, N), canonical, zero where not measured."""
    mask: Tensor
    """bool (slices, N, N)."""
    sigma: Tensor
    """float (slices,), noise per part."""
    consistency: DataConsistency


def measured_tasks(kspace: Tensor) -> dict[str, Task]:
    """Canonical, fully sampled k-space as it is, and with noise."""
    count = len(kspace)
    everything = torch.ones(kspace.shape, dtype=torch.bool)
    found = {"everything measured": Task(kspace, everything, torch.zeros(count), "none")}
    for ratio in NOISES:
        sigma = ratio * rms(kspace)
        noise = complex_noise(tuple(kspace.shape), sigma[:, None, None], torch.Generator().manual_seed(1))
        found[f"denoise {ratio}"] = Task(kspace + noise, everything, sigma, "soft")
    return found


def one_by_one(model: IAHVAE, task: Task, settings: InferenceSettings) -> tuple[Tensor, float]:
    """k-space that Algorithm 1 infers, complex64 (slices, N, N), and the fraction of slices that were out of bounds.

    Where the decomposition separates the mask, which here are all or no coefficients, or bins.
    """
    decomposition = model.decomposition
    coefficients = decomposition.from_kspace(task.kspace)
    measured = Measurement.of(coefficients, task.mask, task.sigma, decomposition)
    elements = tuple(Element(number) for number in range(len(task.kspace)))
    found = infer(model, measured, settings, Draws(0, 1.0, elements, task.kspace.device))
    return decomposition.to_kspace(found.bins), float(found.bounded.float().mean())


def relative_error(found: Tensor, truth: Tensor) -> Tensor:
    """NMSE of each slice, complex (slices, N, N) twice to float64 (slices,)."""
    error = (found - truth).abs().double().square().sum(dim=(1, 2))
    return error / truth.abs().double().square().sum(dim=(1, 2))


Engine = Callable[[IAHVAE, Task, InferenceSettings], tuple[Tensor, float]]


def score(engine: Engine, model: IAHVAE, task: Task, truth: Tensor, steps: int) -> dict[str, Any]:
    """NMSE of each slice, seconds per slice, and the fraction of slices that were out of bounds."""
    method: Method = "hybrid" if steps else "amortized"
    settings = InferenceSettings(method, steps, precision="float32", data_consistency=task.consistency)
    start = time.process_time()
    found, bounded = engine(model, task, settings)
    seconds = (time.process_time() - start) / len(truth)
    return {"nmse": relative_error(found, truth).tolist(), "seconds": seconds, "bounded": bounded}


def summary(values: list[float], baseline: list[float]) -> dict[str, float]:
    """Mean over slices, its change from the baseline, and the standard error of that change."""
    change = torch.tensor(values) - torch.tensor(baseline)
    error = float(change.std()) / math.sqrt(len(change))
    return {"mean": float(np.mean(values)), "change": float(change.mean()), "standard_error": error}


def cell(one: dict[str, float] | None) -> str:
    """Of a table in Markdown: a `summary`, where there are any time per slice, and slices out of bounds."""
    if one is None:
        return ""
    change = f" ({one['change']:+.4f} ± {one['standard_error']:.4f})" if one["change"] else ""
    spent = f", {1000 * one['seconds']:.1f} ms" if "seconds" in one else ""
    beyond = f", {one['bounded']:.0%} out of bounds" if one.get("bounded") else ""
    return f"{one['mean']:.4f}{change}{spent}{beyond}"


def row(title: str, cells: Iterable[str]) -> str:
    """Of the same table."""
    return f"| {title} | {' | '.join(cells)} |"
