"""Give scales of a trained model details, or new ones, and train those scales on.

python examples/add_details.py small data/slices runs/details --details 32:64,64:80,128:64 --minutes 15,26,42

First each detail learns alone to predict its band from the true coarser bins. Then details, encoder and decoder of
those scales learn by the objective of `mri-iahvae train`, in as many processes as asked for, which share each batch.
All coarser scales stay as they are, to the bit. What is known of the finished model (its domain, how far its priors
spread, scores of held-out slices) is measured again. Stored in half precision. What already lies in the working folder
is not trained again. Details of the same width that get no minutes stay as they are, so that a model can be tuned on:

python examples/add_details.py pretrained/small data/slices runs/tuned --details 16:64,32:64,64:80,128:64 \
    --minutes 0 --rest-minutes 0 --tune-rate 6e-4 --seed 3
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mri_iahvae.kspace.bands import crop
from mri_iahvae.kspace.fft import fft2c, to_complex
from mri_iahvae.model.checkpoint import find_checkpoint, load_domain, load_model, save_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.training_data import FolderSlices
from mri_iahvae.processes import process_count
from mri_iahvae.scans.listing import hdf5_files
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.training.augment import augment
from mri_iahvae.training.domain import measure_domain
from mri_iahvae.training.masks import random_masks
from mri_iahvae.training.module import validation_scores
from mri_iahvae.training.objective import (
    block_context,
    completion_ratio,
    masked_ratio,
    posterior_pass,
    squared_error,
)
from mri_iahvae.training.share import Share, mean_over_processes
from mri_iahvae.training.slices import CachedSlices, StepBatches
from mri_iahvae.training.spread import measure_spread
from mri_iahvae.training.statistics import canonical_batch

BATCH = 8  # slices of a process
SPARED = 0.5  # share of slices that are not resampled
Batch = tuple[int, Tensor, torch.Generator, Callable[[Tensor], None]]


@dataclass(frozen=True)
class Recipe:
    """What the processes share.

    Attributes:
        checkpoint: trained model to start from.
        data: folder of the training slices.
        work: folder of what is trained.
        details: width of the detail by scale.
        minutes: of the detail by scale.
        rest_minutes: for each to learn what the others leave to it.
        tune_minutes: for the scales with details.
        tune_rate: highest learning rate then, of all but the details.
        seed: of the batches then.
        processes: that tune.
        precision: of the convolutions.
    """

    checkpoint: str
    data: Path
    work: Path
    details: dict[int, int]
    minutes: dict[int, float]
    rest_minutes: float
    tune_minutes: float
    tune_rate: float
    seed: int
    processes: int
    precision: str

    def model(self, stored: str) -> IAHVAE:
        """The model with details: silent, or as they lie in the working folder under some name."""
        anew = [scale for scale, minutes in self.minutes.items() if minutes]
        new = widen(load_model(self.checkpoint)[0], self.details, anew)
        for scale in self.details:
            if (file := self.work / f"{stored}_{scale}.safetensors").exists():
                new.stage(scale.bit_length() - 1).detail.load_state_dict(load_file(file))
        return new.to(memory_format=torch.channels_last)  # what CPUs convolve fastest

    def autocast(self) -> torch.autocast:
        """For the convolutions."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16")


def widen(old: IAHVAE, details: dict[int, int], anew: list[int]) -> IAHVAE:
    """The same model with details; those that are new, or to be learnt anew, are silent."""
    scales = (
        replace(scale, detail=details.get(2**k, scale.detail)) for k, scale in enumerate(old.config.scales)
    )
    new = IAHVAE(replace(old.config, scales=tuple(scales)))
    state = new.state_dict()
    for key, value in old.state_dict().items():
        if ".detail." in key:
            scale = 2 ** int(key.split(".")[1])
            if scale not in anew and state[key].shape == value.shape:
                state[key] = value
            continue
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


def folder_slices(folder: Path, size: int) -> FolderSlices:
    """Slices of a folder of fastMRI files."""
    return FolderSlices([open_scan(path) for path in hdf5_files(folder)], size)


def batches(
    recipe: Recipe, size: int, minutes: float, rates: dict[nn.Parameter, float], seed: int
) -> Iterator[Batch]:
    """Augmented batches for some minutes: number, k-space, noise, and what takes the step of a loss.

    Of the processes of a group each gets its share. In the end the weights are the mean of what they were.
    """
    weights = list(rates)
    sizes = [weight.numel() for weight in weights]
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
        gradients = mean_over_processes(torch.cat([weight.grad.flatten() for weight in weights]))
        for weight, gradient in zip(weights, gradients.split(sizes), strict=True):
            weight.grad.copy_(gradient.view(weight.shape))
        if torch.isfinite(nn.utils.clip_grad_norm_(weights, 1.0)):
            optimizer.step()
        for mean, weight in zip(average, weights, strict=True):
            mean.lerp_(weight.detach(), 1 - min(0.995, (1 + step) / (10 + step)))
        losses.append(loss.item())
        if step % 100 == 99:
            print(
                f"{100 * progress:.0f} %, step {step + 1}: loss {sum(losses) / len(losses):.4f}", flush=True
            )
            losses.clear()

    slices = CachedSlices(folder_slices(recipe.data / "singlecoil_train", size))
    share = Share.of_this_process(BATCH * process_count())
    for step, (kspace, drawn) in enumerate(StepBatches(slices, share, seed, 0)):  # noqa: B007 - take reads it
        elapsed = mean_over_processes(torch.tensor(time.monotonic() - begun))  # all end with the same step
        progress = elapsed.item() / (60 * minutes) if minutes else 1.0
        if progress >= 1:
            break
        noise = torch.Generator().manual_seed(drawn)
        yield drawn, canonical_batch(augment(kspace, noise, share, SPARED), size), noise, take
    for mean, weight in zip(average, weights, strict=True):
        weight.requires_grad_(requires_grad=False).copy_(mean)


def told_alone(model: IAHVAE, index: int, kspace: Tensor) -> Tensor:
    """The band that a detail tells of, nothing added: complex (B, s, s)."""
    return fft2c(to_complex(model.tell(index, crop(kspace, 2 ** (index - 1))).float())) * (
        model.gains[index] * model.ring(index) / math.sqrt(2)
    )


def told_in_all(model: IAHVAE, index: int, kspace: Tensor) -> Tensor:
    """The band that the prior's mean completes from the true coarser bins: complex (B, s, s)."""
    h = block_context(model, kspace, index - 1)
    return model.band(index, model.descend(index, model.context(index, h, crop(kspace, 2 ** (index - 1))))[0])


def train_detail(recipe: Recipe, name: str, scale: int) -> None:
    """A detail alone: squared error of the band over its energy. First, as "detail", it learns the whole band, which it
    does fast; then, as "rest", what layers and head leave of it: they predict some of the band themselves.
    """
    file = recipe.work / f"{name}_{scale}.safetensors"
    if file.exists():
        return
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, index = recipe.model("detail"), scale.bit_length() - 1
    weights = list(model.stage(index).detail.parameters())
    predict, minutes, rate, seed = (
        (told_alone, recipe.minutes[scale], 2e-3, 0)
        if name == "detail"
        else (told_in_all, recipe.rest_minutes, 1e-3, 1)
    )
    for _, kspace, _, take in batches(recipe, model.size, minutes, dict.fromkeys(weights, rate), seed):
        band = crop(kspace, scale) * model.ring(index)
        with recipe.autocast():
            error = squared_error(predict(model, index, kspace), band)
        take(error.sum() / squared_error(band, torch.zeros_like(band)).sum())
    keep(model.stage(index).detail.state_dict(), file)


def tune(recipe: Recipe, rank: int) -> None:
    """Scales with details: negative ELBO, on half of the batch the completion-aware term, on the other half, in half of
    the steps, the masked one.
    """
    file = recipe.work / "tuned.safetensors"
    if file.exists():
        return
    torch.set_num_threads(1)
    meeting = f"file://{(recipe.work / 'meeting').resolve()}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=recipe.processes)
    model = recipe.model("rest")
    indices = [scale.bit_length() - 1 for scale in recipe.details]
    # Details know their part already, and the errors of head and layers that unlearn it would spoil them.
    rates = {
        weight: recipe.tune_rate * (0.3 if name.startswith("detail.") else 1)
        for part in (model.encoder, model.decoder)
        for index in indices
        for name, weight in part[index].named_parameters()
    }
    share = Share.of_this_process(BATCH * recipe.processes)
    halves = Share.of_this_process(BATCH * recipe.processes // 2)
    half = BATCH // 2
    for drawn, kspace, noise, take in batches(recipe, model.size, recipe.tune_minutes, rates, recipe.seed):
        teacher = share.of(torch.rand(share.total, generator=noise) < 0.5)
        means = share.of(torch.rand(share.total, generator=noise) < 0.25)
        cut = min(indices) - 2 + drawn // 4 % (len(indices) + 1)
        with recipe.autocast():
            passed = posterior_pass(model, kspace, noise, teacher, means=means, share=share)
            context = block_context(model, kspace[half:], cut)
            loss = passed.negative_elbo(model.config.sigma)
            loss = loss + completion_ratio(model, kspace[half:], cut, context).mean()
            if drawn // 2 % 2:
                mask = halves.of(random_masks(halves.total, model.size, noise))
                loss = loss + masked_ratio(model, kspace[:half], mask).mean()
        take(loss)
    if rank == 0:
        scales = tuple(f"{part}.{index}." for part in ("encoder", "decoder") for index in indices)
        keep(
            {key: value for key, value in model.state_dict().items() if key.startswith(scales)},
            file,
        )
    dist.destroy_process_group()


def keep(state: dict[str, Tensor], file: Path) -> None:
    """Store weights in the working folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in state.items()}, file)


def scores(recipe: Recipe, model: IAHVAE) -> dict[str, Any]:
    """Of held-out slices: negative ELBO, amortized NMSE, completion from 4x4, 8x8 ... over zero-filling's."""
    held_out = CachedSlices(folder_slices(recipe.data / "singlecoil_val", model.size))
    chosen = torch.linspace(0, len(held_out) - 1, 24).long().tolist()
    kspace = canonical_batch(held_out.stack(chosen), model.size)
    with torch.no_grad():
        found = validation_scores(model, kspace, model.config.sigma, torch.Generator().manual_seed(0))
    return {key: found[key].mean(dim=0).tolist() for key in ("elbo_loss", "nmse", "completion")}


def show(name: str, found: dict[str, Any]) -> None:
    """Print scores."""
    completion = " ".join(f"{ratio:.3f}" for ratio in found["completion"])
    told = f"ELBO loss {found['elbo_loss']:.4f}, NMSE {found['nmse']:.4f}, completion {completion}"
    print(f"{name}: {told}", flush=True)


def parse(text: str) -> dict[int, int]:
    """SCALE:WIDTH,... as numbers."""
    return {int(scale): int(width) for scale, width in (part.split(":") for part in text.split(","))}


@click.command()
@click.argument("checkpoint")
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--details", required=True, help="SCALE:WIDTH,...")
@click.option("--minutes", default="40", help="For all details, or MINUTES,... for each.")
@click.option("--rest-minutes", default=10.0, help="For each to learn what layers and head leave to it.")
@click.option("--tune-minutes", default=40.0)
@click.option("--tune-rate", default=1e-3, help="Highest learning rate of the tuning; details get 0.3 of it.")
@click.option("--seed", default=2, help="Of the tuning's batches.")
@click.option("--processes", default=2, help="One thread each.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="bfloat16")
@click.option("--work", type=click.Path(path_type=Path), default="details", help="Keeps what is trained.")
def main(
    checkpoint: str,
    data: Path,
    target: Path,
    details: str,
    minutes: str,
    rest_minutes: float,
    tune_minutes: float,
    tune_rate: float,
    seed: int,
    processes: int,
    precision: str,
    work: Path,
) -> None:
    widths = parse(details)
    each = [float(part) for part in minutes.split(",")]
    times = dict(zip(widths, each * len(widths) if len(each) == 1 else each, strict=True))
    recipe = Recipe(
        checkpoint=checkpoint,
        data=data,
        work=work,
        details=widths,
        minutes=times,
        rest_minutes=rest_minutes,
        tune_minutes=tune_minutes,
        tune_rate=tune_rate,
        seed=seed,
        processes=processes,
        precision=precision,
    )
    old, digest = load_model(checkpoint)
    show("before", scores(recipe, old))
    longest_first = sorted(widths, key=lambda scale: -times[scale])
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for name in ("detail", "rest"):
            list(pool.map(partial(train_detail, recipe, name), longest_first))
        model = recipe.model("rest")
        show("with details", scores(recipe, model))
        (work / "meeting").unlink(missing_ok=True)
        list(pool.map(partial(tune, recipe), range(processes)))
    model.load_state_dict({**model.state_dict(), **load_file(work / "tuned.safetensors")})
    validation = scores(recipe, model)
    show("tuned", validation)
    held_out, cpu = folder_slices(recipe.data / "singlecoil_val", model.size), torch.device("cpu")
    known = load_domain(checkpoint)
    domain = measure_domain(model, held_out, known.description if known else "", cpu)
    model.set_config(replace(model.config, spread=measure_spread(model, held_out, cpu)))
    added = {
        "details": details,
        "minutes": minutes,
        "rest_minutes": rest_minutes,
        "tune_minutes": tune_minutes,
        "tune_rate": tune_rate,
        "seed": seed,
        "processes": processes,
        "precision": precision,
        "from_sha256": digest,
    }
    training = json.loads((find_checkpoint(checkpoint) / "config.json").read_text())["training"]
    before = training.get("added_details", [])
    history = [*(before if isinstance(before, list) else [before]), added]
    told = {**training, "validation": validation, "added_details": history}
    save_model(model, target, told, domain=domain, half=True)


if __name__ == "__main__":
    main()
