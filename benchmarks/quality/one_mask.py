"""The guide's network trained for one kind of mask alone, beside the guide that has learnt all.

    python -m benchmarks.quality.one_mask TRAIN.npz data/reporting --json benchmarks/quality/one_mask.json

It starts from the guide of the checkpoint and goes on with random columns 4x / 0.08 only (a new mask for every slice,
no noise), so it has seen more slices than the guide. Loss, augmentation, phases and optimizer are those of the guide's
training. TRAIN is an npz of magnitude slices, `images` (n, H, W) uint8 and `subject` (n,); `--held-out` leaves subjects
out. Both networks are then scored on every task, each averaged over four symmetric copies. `-o` keeps the weights.
"""

import copy
import math
import time
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.quality.tables import markdown
from benchmarks.shared import options
from benchmarks.shared.tasks import TASKS, means, measurements
from benchmarks.shared.training import follow, random_columns
from mri_iahvae.files import write_json
from mri_iahvae.inference.precision import convolutions
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_file import save_guide
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.volume import reconstruct_volume
from mri_iahvae.training.augment import varied
from mri_iahvae.training.guide_module import guide_loss
from mri_iahvae.training.guide_tasks import Measured, random_phase
from mri_iahvae.training.muon import Muon
from mri_iahvae.training.shard import Shard

RATE = 1e-3
BATCH = 8
_RESAMPLED = 0.6  # fraction of the slices, as in the guide's training
_WARM_UP = 100  # steps


def batch(images: Tensor, seed: int) -> Measured:
    """Random slices as random columns 4x / 0.08 measure them."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(images), (BATCH,), generator=generator)
    kspace = fft2c(images[chosen].float() / 255 + 0j)
    image = varied(kspace, generator, resampled=_RESAMPLED).abs()
    phase = random_phase(image, generator, Shard(BATCH))
    truth = fft2c(torch.polar(image, phase))
    return Measured(truth, random_columns(truth, seed), torch.zeros(BATCH), truth)


def train(guide: Guide, images: Tensor, slices: int) -> Guide:
    """Go on for so many slices; the averaged weights."""
    network = copy.deepcopy(guide).train()
    parameters = {name: p.requires_grad_() for name, p in network.named_parameters() if "error." not in name}
    average = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    kernels = [p for p in parameters.values() if p.ndim == 4]
    groups = [
        {"params": kernels, "weight_decay": 0.01, "orthogonal": True},
        {"params": [p for p in parameters.values() if p.ndim == 2], "weight_decay": 0.01},
        {"params": [p for p in parameters.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer, steps, start = Muon(groups, lr=RATE), slices // BATCH, time.monotonic()
    for step in range(steps):
        rate = RATE * min(1.0, (step + 1) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        task = batch(images, step)
        with convolutions(torch.device("cpu"), "auto"):
            evidence = network.look(task.kspace, task.mask, task.sigma)
        loss = guide_loss(evidence.kspace * evidence.unit[:, None, None], task).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        follow(average, network, step)
        if (step + 1) % 100 == 0:
            click.echo(
                f"{(step + 1) * BATCH} slices, {time.monotonic() - start:.0f} s, loss {float(loss.detach()):.3f}"
            )
    return average


def scores(loaded: LoadedModel, guide: Guide, data: Path) -> dict[str, dict[str, float]]:
    """Mean scores of the network alone on every task."""
    found = {}
    for task in TASKS:
        settings = InferenceSettings("guide", data_consistency=task.consistency)
        every = []
        for one in measurements(data, task):
            given = loaded.model, one.kspace, one.mask, settings
            every += one.scored(reconstruct_volume(*given, guide=guide, noise_sigma=one.sigma).image)
        found[task.name] = means(every)
    return found


@click.command()
@click.argument("slices_file", metavar="TRAIN", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.data
@click.option(
    "--slices", type=click.IntRange(BATCH), default=8000, show_default=True, help="Seen in training."
)
@click.option("--held-out", multiple=True, help="Leaves out subjects whose name holds this text.")
@click.option("-o", "weights", type=click.Path(path_type=Path), help="Folder for the network's weights.")
@options.checkpoint
@options.output
def main(
    slices_file: Path,
    data: Path,
    slices: int,
    held_out: tuple[str, ...],
    weights: Path | None,
    checkpoint: str,
    output: Path | None,
) -> None:
    """Train for one mask, and score both networks on the fully sampled files in DATA."""
    torch.manual_seed(0)
    loaded = LoadedModel.load(checkpoint, torch.device("cpu"))
    if loaded.guide is None:
        raise click.ClickException(f"{checkpoint}: expected a checkpoint with a guide")
    with np.load(slices_file) as stored:
        kept = [not any(text in subject for text in held_out) for subject in stored["subject"].tolist()]
        images = torch.from_numpy(stored["images"][kept])
    start = time.monotonic()
    network = train(loaded.guide, images, slices)
    seconds = time.monotonic() - start
    if weights is not None:
        weights.mkdir(parents=True, exist_ok=True)
        save_guide(network, weights, {"slices": slices}, half=True)
    results = {"one mask": scores(loaded, network, data), "guide": scores(loaded, loaded.guide, data)}
    if output is not None:
        facts = {"guide_sha256": loaded.guide_sha256, "slices": slices, "seconds": seconds}
        write_json(output, {**facts, "results": results})
    lines = [["task", "one mask", "SSIM", "guide", "SSIM"], ["---"] * 5]
    for task in TASKS:
        cells = [
            (format(rows[task.name]["nmse"], ".4f"), format(rows[task.name]["ssim"], ".3f"))
            for rows in results.values()
        ]
        lines.append([task.name, *(cell for pair in cells for cell in pair)])
    click.echo(markdown(lines))


if __name__ == "__main__":
    main()
