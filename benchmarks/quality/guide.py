"""The guide (`model.guide`): trained on random measurements, and scored on the tasks of `compare.py`.

    mri-iahvae simulate slices.npz --phase 0 --noise 0 -o data/magnitude/singlecoil_train
    python -m benchmarks.quality.guide train data/magnitude -o runs/guide --minutes 180
    python -m benchmarks.quality.guide score runs/guide/guide.safetensors data/reporting --json guide.json

One network for all masks and noise levels; measured bins are kept where there is no noise. It trains until the minutes
are over and goes on from what an earlier call left: the rate stays at its peak, and falls over the last part. A pilot:
it is to become a stage of `mri-iahvae train`.
"""

import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.shared.tasks import TASKS, measurements
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.guide import Guide, GuideConfig
from mri_iahvae.pipeline.training_data import FolderSlices
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.training.augment import varied
from mri_iahvae.training.guide_tasks import random_measurements
from mri_iahvae.training.share import Share
from mri_iahvae.training.slices import CachedSlices, StepBatches

CONFIG = GuideConfig(steps=5, widths=(48, 64, 96, 128), blocks=1)
_DECAY = 0.9985  # of the weight average
_EASY = 1e-3  # of the slice's energy: errors below it are as good as none


def load(path: Path) -> tuple[Guide, dict[str, Any]]:
    """The averaged weights that `train` wrote, and what it says of them."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["about"])
    guide = Guide(GuideConfig.from_json(about["config"]))
    guide.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    return guide.eval(), about


def save(guide: Guide, path: Path, about: dict[str, Any]) -> None:
    """Half precision."""
    weights = {key: value.detach().half().contiguous() for key, value in guide.state_dict().items()}
    save_file(weights, path, {"about": json.dumps({"config": guide.config.to_json(), **about})})


def relative_error(found: Tensor, measured: Tensor, mask: Tensor, truth: Tensor) -> Tensor:
    """Root of the error's energy over that of the zero-filled slice: float (B,), 1 for zero-filling."""

    def energy(bins: Tensor) -> Tensor:
        return torch.view_as_real(bins).square().sum(dim=(1, 2, 3))

    difficulty = energy(torch.where(mask, measured, 0) - truth) + _EASY * energy(truth)
    return (energy(found - truth) / difficulty.clamp_min(1e-12) + 1e-6).sqrt()


@click.group()
def main() -> None:
    """Train the guide, or score it."""


@main.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "run", type=click.Path(path_type=Path), required=True)
@click.option("--minutes", type=float, required=True, help="Wall time of this call.")
@click.option("--falling", default=0.3, show_default=True, help="Part of it in which the rate falls.")
@click.option("--batch", default=8, show_default=True)
@click.option("--rate", default=1.5e-3, show_default=True, help="Peak of the learning rate.")
@click.option("--size", default=128, show_default=True, help="Side of the grid.")
def train(data: Path, run: Path, minutes: float, falling: float, batch: int, rate: float, size: int) -> None:
    """Train on the fully sampled magnitude images in DATA/singlecoil_train."""
    run.mkdir(parents=True, exist_ok=True)
    weights, newest = run / "guide.safetensors", run / "newest.safetensors"
    torch.manual_seed(0)
    guide, step = Guide(CONFIG), 0
    average = copy.deepcopy(guide).requires_grad_(requires_grad=False)
    if newest.exists():
        average, about = load(weights)
        guide.load_state_dict(load_file(newest))
        step = about["steps"]
    guide.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # one of its overloads
    optimizer = torch.optim.AdamW(guide.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.99))
    start, first = time.monotonic(), step
    scans = [open_scan(path) for path in sorted((data / "singlecoil_train").glob("*.h5"))]
    for kspace, seed in StepBatches(CachedSlices(FolderSlices(scans, size)), Share(batch), 0, lambda: first):
        progress = (time.monotonic() - start) / (60 * minutes)
        if progress >= 1:
            break
        fall = max(0.0, (progress - 1 + falling) / falling)
        factor = min(1.0, (step - first + 1) / 100) * max(0.02, 0.5 * (1 + math.cos(math.pi * fall)))
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        generator = torch.Generator().manual_seed(seed)
        task = random_measurements(varied(kspace, generator, resampled=0.6).abs(), generator)
        with torch.autocast("cpu", torch.bfloat16):
            found = guide(task.kspace, task.mask, task.sigma)
        loss = relative_error(found, task.kspace, task.mask, task.truth).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(guide.parameters(), 1.0)
        optimizer.step()
        step += 1
        decay = min(_DECAY, (1 + step) / (10 + step))
        for mean, weight in zip(average.parameters(), guide.parameters(), strict=True):
            mean.data.lerp_(weight.data, 1 - decay)
        if step % 100 == 0:
            click.echo(f"step {step}  {step * batch} slices  loss {float(loss.detach()):.3f}")
            save_file({key: value.contiguous() for key, value in guide.state_dict().items()}, newest)
            save(average, weights, {"steps": step, "slices": step * batch})
    save_file({key: value.contiguous() for key, value in guide.state_dict().items()}, newest)
    save(average, weights, {"steps": step, "slices": step * batch})


@main.command()
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "output", type=click.Path(path_type=Path), help="Also write the numbers to a file.")
@torch.no_grad()
def score(weights: Path, data: Path, output: Path | None) -> None:
    """NMSE, PSNR, SSIM and seconds per slice on the fully sampled files in DATA."""
    guide, about = load(weights)
    click.echo(f"{about['slices']} slices seen")
    rows = []
    for task in TASKS[1:]:
        scores, seconds = [], 0.0
        for one in measurements(data, task):
            kspace = torch.from_numpy(one.kspace.astype(np.complex64))
            mask = torch.from_numpy(one.mask).expand(kspace.shape)
            began = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16):
                found = guide(kspace, mask, torch.from_numpy(one.sigma))
            seconds += time.perf_counter() - began
            scores += one.scored(ifft2c(found).numpy())
        means = {
            name: float(np.mean([getattr(s, name) for s in scores])) for name in ("nmse", "psnr", "ssim")
        }
        rows.append({"task": task.name, **means, "seconds": seconds / len(scores), "slices": len(scores)})
        click.echo(f"{task.name:30} NMSE {means['nmse']:.4f}  SSIM {means['ssim']:.3f}")
    if output is not None:
        output.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
