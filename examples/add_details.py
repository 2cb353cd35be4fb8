"""Give folded scales of a trained model their details, and train those scales on.

python examples/add_details.py small data/slices runs/details --details 64:40,128:24 --minutes 38 --tune-minutes 90

First each detail learns alone to predict its band from the true coarser bins. Then encoder and decoder of its scale
learn to leave that to it, by the objective of `mri-iahvae train`. The details then and all coarser scales stay as they
are, to the bit, and the domain with them. Stored in half precision. Details that lie in the working folder are taken
from there.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mri_iahvae.kspace.bands import crop
from mri_iahvae.kspace.fft import fft2c, to_complex
from mri_iahvae.model.checkpoint import find_checkpoint, load_domain, load_model, save_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.tasks.train import FolderSlices
from mri_iahvae.training.augment import augment
from mri_iahvae.training.batches import CachedSlices, StepBatches
from mri_iahvae.training.module import completion_cut, validation_scores
from mri_iahvae.training.objective import (
    block_context,
    completion_ratio,
    masked_ratio,
    posterior_pass,
    squared_error,
)
from mri_iahvae.training.sampling import random_masks
from mri_iahvae.training.share import Share
from mri_iahvae.training.statistics import canonical_batch

BATCH = 8
Batch = tuple[int, Tensor, torch.Generator, Callable[[Tensor], None]]


def widen(old: IAHVAE, details: dict[int, int]) -> IAHVAE:
    """The same model with details, silent so far."""
    scales = (replace(scale, detail=details.get(2**k, 0)) for k, scale in enumerate(old.config.scales))
    new = IAHVAE(replace(old.config, scales=tuple(scales)))
    state = new.state_dict()
    for key, value in old.state_dict().items():
        if state[key].shape == value.shape:
            state[key] = value
            continue
        state[key] = wide = torch.zeros_like(state[key])
        if key.endswith("posterior_block.reduce.weight"):  # sees the context, then the encoder's features
            half = value.shape[1] // 2
            wide[:, :half], wide[:, -half:] = value[:, :half], value[:, half:]
        else:
            wide[tuple(slice(side) for side in value.shape)] = value
    new.load_state_dict(state)
    return new.train().requires_grad_(requires_grad=False)


def batches(
    slices: CachedSlices, size: int, weights: list[nn.Parameter], minutes: float, rate: float
) -> Iterator[Batch]:
    """Augmented batches for some minutes: number, k-space, noise, and what takes the step of a loss.

    In the end the weights are the mean of what they were.
    """
    for weight in weights:
        weight.requires_grad_()
    average = copy.deepcopy(weights)
    decayed = {"params": [w for w in weights if w.ndim > 1], "weight_decay": 0.01}
    others = {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([decayed, others])
    begun, losses = time.monotonic(), []

    def take(loss: Tensor) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * progress)))
        optimizer.zero_grad()
        loss.backward()
        if torch.isfinite(nn.utils.clip_grad_norm_(weights, 1.0)):
            optimizer.step()
        for mean, weight in zip(average, weights, strict=True):
            mean.data.lerp_(weight.data, 1 - min(0.995, (1 + step) / (10 + step)))
        losses.append(loss.item())
        if step % 100 == 99:
            print(f"step {step + 1}: loss {sum(losses) / len(losses):.4f}", flush=True)
            losses.clear()

    for step, (kspace, seed) in enumerate(StepBatches(slices, Share(BATCH), 0, 0)):  # noqa: B007 - take reads it
        progress = (time.monotonic() - begun) / (60 * minutes)
        if progress >= 1:
            break
        noise = torch.Generator().manual_seed(seed)
        yield seed, canonical_batch(augment(kspace, noise, Share(BATCH)), size), noise, take
    for mean, weight in zip(average, weights, strict=True):
        weight.requires_grad_(requires_grad=False).copy_(mean.detach())


def train_detail(model: IAHVAE, index: int, slices: CachedSlices, minutes: float) -> None:
    """A detail alone: squared error of the band over its energy."""
    stage, s = model.stage(index), 2**index
    nothing = torch.zeros(BATCH, model.config.scales[index - 1].width, 1, 1)
    gains = model.gains[index] * model.ring(index) / math.sqrt(2)
    for _, kspace, _, take in batches(slices, model.size, list(stage.detail.parameters()), minutes, 2e-3):
        context = model.context(index, nothing, crop(kspace, s // 2))
        told = F.pixel_shuffle(context[:, -2 * stage.patch**2 :], stage.patch)
        band = crop(kspace, s) * model.ring(index)
        error = squared_error(fft2c(to_complex(told)) * gains, band)
        take(error.sum() / squared_error(band, torch.zeros_like(band)).sum())


def tune(model: IAHVAE, indices: list[int], slices: CachedSlices, minutes: float) -> None:
    """Scales with details, not those: negative ELBO, and the completion-aware or the masked term in turn at random."""
    parts = [part[index] for part in (model.encoder, model.decoder) for index in indices]
    # While head and layers unlearn what a detail tells better, their errors would spoil it.
    weights = [w for part in parts for name, w in part.named_parameters() if not name.startswith("detail.")]
    for seed, kspace, noise, take in batches(slices, model.size, weights, minutes, 1e-3):
        teacher = torch.rand(BATCH, generator=noise) < 0.5
        means = torch.rand(BATCH, generator=noise) < 0.25
        passed = posterior_pass(model, kspace, noise, teacher, means=means)
        if seed // 2 % 2:
            term = masked_ratio(model, kspace, random_masks(BATCH, model.size, noise))
        else:
            cut = completion_cut(seed // 4, len(model.gains))
            term = completion_ratio(model, kspace, cut, block_context(model, kspace, cut))
        take(passed.negative_elbo(model.config.sigma) + term.mean())


def scores(model: IAHVAE, kspace: Tensor) -> str:
    """Of held-out slices: negative ELBO, amortized NMSE, completion from 4x4, 8x8 ... over zero-filling's."""
    with torch.no_grad():
        found = validation_scores(model, kspace, model.config.sigma, torch.Generator().manual_seed(0))
    completion = " ".join(f"{ratio:.3f}" for ratio in found["completion"].mean(0).tolist())
    return (
        f"ELBO loss {found['elbo_loss'].mean():.4f}, NMSE {found['nmse'].mean():.4f}, completion {completion}"
    )


def parse(text: str) -> dict[int, int]:
    """SCALE:WIDTH,... as numbers."""
    return {int(scale): int(width) for scale, width in (part.split(":") for part in text.split(","))}


@click.command()
@click.argument("checkpoint")
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--details", required=True, help="SCALE:WIDTH,...")
@click.option("--minutes", default=38.0, help="For each detail.")
@click.option("--tune-minutes", default=35.0)
@click.option("--work", type=click.Path(path_type=Path), default="details", help="Keeps trained details.")
def main(
    checkpoint: str, data: Path, target: Path, details: str, minutes: float, tune_minutes: float, work: Path
) -> None:
    torch.manual_seed(0)
    old, digest = load_model(checkpoint)
    model = widen(old, parse(details))
    indices = [index for index, scale in enumerate(model.config.scales) if scale.detail]
    folders = (data / "singlecoil_train", data / "singlecoil_val")
    train, held_out = (
        CachedSlices(FolderSlices([open_scan(path) for path in sorted(folder.glob("*.h5"))], model.size))
        for folder in folders
    )
    chosen = torch.linspace(0, len(held_out) - 1, 24).long().tolist()
    judged = canonical_batch(held_out.stack(chosen), model.size)
    print("before:", scores(old, judged), flush=True)
    for index in indices:
        file = work / f"detail_{2**index}.safetensors"
        detail = model.stage(index).detail
        if file.exists():
            detail.load_state_dict(load_file(file))
            continue
        train_detail(model, index, train, minutes)
        work.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in detail.state_dict().items()}, file)
    print("with details:", scores(model, judged), flush=True)
    tune(model, indices, train, tune_minutes)
    print("tuned:", scores(model, judged), flush=True)
    recipe = {"details": details, "minutes": minutes, "tune_minutes": tune_minutes, "from_sha256": digest}
    training = json.loads((find_checkpoint(checkpoint) / "config.json").read_text())["training"]
    save_model(
        model, target, {**training, "added_details": recipe}, domain=load_domain(checkpoint), half=True
    )


main()
