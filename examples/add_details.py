"""Give folded scales of a trained model their details, and train those scales on.

python examples/add_details.py small data/slices runs/details --details 64:48,128:32 --minutes 48 --tune-minutes 55

First each detail learns alone to predict its band from the true coarser bins. Then details, encoder and decoder of
those scales learn by the objective of `mri-iahvae train`, in as many processes as asked for: each from the same start
on other draws, and the result is the mean of their weights. All coarser scales stay as they are, to the bit, and the
domain with them. Stored in half precision. What already lies in the working folder is not trained again.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from multiprocessing import get_context
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


@dataclass(frozen=True)
class Recipe:
    """What the processes share.

    Attributes:
        checkpoint: trained model to start from.
        data: folder of the training slices.
        work: folder of what is trained.
        details: width of the detail by scale.
        minutes: for each detail.
        rest_minutes: for each to learn what is left to it.
        tune_minutes: for the scales with details.
        precision: of the convolutions.
    """

    checkpoint: str
    data: Path
    work: Path
    details: dict[int, int]
    minutes: float
    rest_minutes: float
    tune_minutes: float
    precision: str

    def model(self) -> IAHVAE:
        """The model with details: silent, or as they lie in the working folder."""
        old, _ = load_model(self.checkpoint)
        new = widen(old, self.details)
        for scale in self.details:
            if (file := self.work / f"rest_{scale}.safetensors").exists():
                new.stage(scale.bit_length() - 1).detail.load_state_dict(load_file(file))
        return new.to(memory_format=torch.channels_last)  # what CPUs convolve fastest

    def autocast(self) -> torch.autocast:
        """For the convolutions."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16")


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


def folder_slices(folder: Path, size: int) -> CachedSlices:
    """Slices of a folder of fastMRI files."""
    return CachedSlices(FolderSlices([open_scan(path) for path in sorted(folder.glob("*.h5"))], size))


def batches(
    recipe: Recipe, size: int, minutes: float, rates: dict[nn.Parameter, float], seed: int
) -> Iterator[Batch]:
    """Augmented batches for some minutes: number, k-space, noise, and what takes the step of a loss.

    In the end the weights are the mean of what they were.
    """
    weights = list(rates)
    average = [weight.detach().clone() for weight in weights]
    groups = [
        {"params": [weight], "rate": rate, "weight_decay": 0.01 if weight.ndim > 1 else 0.0}
        for weight, rate in rates.items()
    ]
    for weight in weights:
        weight.requires_grad_()
    optimizer = torch.optim.AdamW(groups)
    begun, losses = time.monotonic(), []

    def take(loss: Tensor) -> None:
        for group in optimizer.param_groups:
            factor = min(1, (step + 1) / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * progress)))
            group["lr"] = group["rate"] * factor
        optimizer.zero_grad()
        loss.backward()
        if torch.isfinite(nn.utils.clip_grad_norm_(weights, 1.0)):
            optimizer.step()
        for mean, weight in zip(average, weights, strict=True):
            mean.lerp_(weight.detach(), 1 - min(0.995, (1 + step) / (10 + step)))
        losses.append(loss.item())
        if step % 100 == 99:
            print(f"step {step + 1}: loss {sum(losses) / len(losses):.4f}", flush=True)
            losses.clear()

    slices = folder_slices(recipe.data / "singlecoil_train", size)
    for step, (kspace, drawn) in enumerate(StepBatches(slices, Share(BATCH), seed, 0)):  # noqa: B007 - take reads it
        progress = (time.monotonic() - begun) / (60 * minutes)
        if progress >= 1:
            break
        noise = torch.Generator().manual_seed(drawn)
        yield drawn, canonical_batch(augment(kspace, noise, Share(BATCH)), size), noise, take
    for mean, weight in zip(average, weights, strict=True):
        weight.requires_grad_(requires_grad=False).copy_(mean)


def train_detail(recipe: Recipe, scale: int) -> None:
    """A detail alone: squared error of the band over its energy. First it learns the whole band, which it does fast,
    then what the trained head leaves of it: both are going to be added.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    old, model, index = load_model(recipe.checkpoint)[0], recipe.model(), scale.bit_length() - 1
    stage = model.stage(index)
    nothing = torch.zeros(BATCH, model.config.scales[index - 1].width, 1, 1)
    gains = model.gains[index] * model.ring(index) / math.sqrt(2)
    for name, minutes in (("detail", recipe.minutes), ("rest", recipe.rest_minutes)):
        file = recipe.work / f"{name}_{scale}.safetensors"
        if file.exists():
            stage.detail.load_state_dict(load_file(file))
            continue
        rates = dict.fromkeys(stage.detail.parameters(), 2e-3 if name == "detail" else 1e-3)
        for _, kspace, _, take in batches(recipe, model.size, minutes, rates, 0 if name == "detail" else 1):
            coarse, band = crop(kspace, scale // 2), crop(kspace, scale) * model.ring(index)
            with recipe.autocast():
                context = model.context(index, nothing, coarse).float()
            told = F.pixel_shuffle(context[:, -2 * stage.patch**2 :], stage.patch)
            error = fft2c(to_complex(told)) * gains - band
            if name == "rest":
                with recipe.autocast(), torch.no_grad():
                    h = old.context(index, block_context(old, kspace, index - 1), coarse)
                    head = old.band(index, old.descend(index, h)[0])
                error = error + head
            nowhere = torch.zeros_like(band)
            take(squared_error(error, nowhere).sum() / squared_error(band, nowhere).sum())
        keep(stage.detail.state_dict(), file)


def tune(recipe: Recipe, seed: int) -> None:
    """Scales with details: negative ELBO, and on half of the batch the completion-aware or the masked term."""
    file = recipe.work / f"tuned_{seed}.safetensors"
    if file.exists():
        return
    torch.set_num_threads(1)
    model = recipe.model()
    parts = [
        part[scale.bit_length() - 1] for part in (model.encoder, model.decoder) for scale in recipe.details
    ]
    # Details know their part already, and the errors of head and layers that unlearn it would spoil them.
    rates = {
        weight: 3e-4 if name.startswith("detail.") else 1e-3
        for part in parts
        for name, weight in part.named_parameters()
    }
    half = BATCH // 2
    for drawn, kspace, noise, take in batches(recipe, model.size, recipe.tune_minutes, rates, seed + 1):
        teacher = torch.rand(BATCH, generator=noise) < 0.5
        means = torch.rand(BATCH, generator=noise) < 0.25
        with recipe.autocast():
            passed = posterior_pass(model, kspace, noise, teacher, means=means)
            if drawn // 2 % 2:
                term = masked_ratio(model, kspace[:half], random_masks(half, model.size, noise))
            else:
                cut = completion_cut(drawn // 4, len(model.gains))
                context = block_context(model, kspace[:half], cut)
                term = completion_ratio(model, kspace[:half], cut, context)
        take(passed.negative_elbo(model.config.sigma) + term.mean())
    scales = tuple(
        f"{part}.{scale.bit_length() - 1}." for part in ("encoder", "decoder") for scale in recipe.details
    )
    keep({key: value for key, value in model.state_dict().items() if key.startswith(scales)}, file)


def keep(state: dict[str, Tensor], file: Path) -> None:
    """Store weights in the working folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in state.items()}, file)


def scores(recipe: Recipe, model: IAHVAE) -> str:
    """Of held-out slices: negative ELBO, amortized NMSE, completion from 4x4, 8x8 ... over zero-filling's."""
    held_out = folder_slices(recipe.data / "singlecoil_val", model.size)
    chosen = torch.linspace(0, len(held_out) - 1, 24).long().tolist()
    kspace = canonical_batch(held_out.stack(chosen), model.size)
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
@click.option("--minutes", default=48.0, help="For each detail.")
@click.option("--rest-minutes", default=10.0, help="For each to learn what the head leaves to it.")
@click.option("--tune-minutes", default=55.0)
@click.option("--processes", default=2, help="One thread each.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="bfloat16")
@click.option("--work", type=click.Path(path_type=Path), default="details", help="Keeps what is trained.")
def main(
    checkpoint: str,
    data: Path,
    target: Path,
    details: str,
    minutes: float,
    rest_minutes: float,
    tune_minutes: float,
    processes: int,
    precision: str,
    work: Path,
) -> None:
    recipe = Recipe(checkpoint, data, work, parse(details), minutes, rest_minutes, tune_minutes, precision)
    old, digest = load_model(checkpoint)
    print("before:", scores(recipe, old), flush=True)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        list(pool.map(train_detail, repeat(recipe), recipe.details))
        model = recipe.model()
        print("with details:", scores(recipe, model), flush=True)
        list(pool.map(tune, repeat(recipe), range(processes)))
    tuned = [load_file(work / f"tuned_{seed}.safetensors") for seed in range(processes)]
    mean = {key: torch.stack([state[key] for state in tuned]).mean(0) for key in tuned[0]}
    model.load_state_dict({**model.state_dict(), **mean})
    print("tuned:", scores(recipe, model), flush=True)
    added = {
        "details": details,
        "minutes": minutes,
        "rest_minutes": rest_minutes,
        "tune_minutes": tune_minutes,
        "processes": processes,
        "precision": precision,
        "from_sha256": digest,
    }
    training = json.loads((find_checkpoint(checkpoint) / "config.json").read_text())["training"]
    save_model(model, target, {**training, "added_details": added}, domain=load_domain(checkpoint), half=True)


if __name__ == "__main__":
    main()
