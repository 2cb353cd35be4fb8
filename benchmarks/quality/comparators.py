"""What the paper compares with, trained with the same data and steps, side by side.

    python -m benchmarks.quality.comparators runs/ours runs/no-branch runs/bottom-up runs/spectral runs/ordinary \
        data/reporting --slices 3 --json benchmarks/quality/comparators.json

The models have `small`'s widths and depths up to 64 x 64. A bottom-up encoder cannot grow, so none does but the last:

    mri-iahvae train data/slices -o runs/ours --grid 64 --stages 64:2500 --precision bfloat16 --device cpu
    mri-iahvae train data/slices -o runs/grown --grid 64 --stages 32:1250,64:1250 --precision bfloat16 --device cpu

The others are trained as the first one, through `mri_iahvae.tasks.train.train`, with other choices for
`mri_iahvae.model.presets.preset("small", grid=64, ...)`: `super_resolution=False`, `encoder="bottom-up"`,
`heads="spectral"`, or `encoder="bottom-up", decoder="ordinary"`. Each takes 0.8 to 1.6 hours of one core.

Slices are cropped in k-space to the models' grid. The reference of the scores is the magnitude of the cropped,
fully sampled slice; a number is the mean over slices, each a volume of its own.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks.shared import options
from benchmarks.shared.report import line
from benchmarks.shared.tasks import TASKS, Measurement, Task, means, scans
from mri_iahvae.files import write_json
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import crop
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.volume import reconstruct_volume
from mri_iahvae.training.module import validation_scores
from mri_iahvae.training.statistics import canonical_batch

NAMES = (
    "everything measured",
    "up to 8x8",
    "up to 16x16",
    "up to 32x32",
    "random columns 4x / 0.08",
    "denoise 1.0",
)
SIGMA = 0.1
"""Of the likelihood of the ELBO."""

METHODS = {
    "amortized": InferenceSettings("amortized"),
    # Scale after scale, as in the paper.
    **{f"hybrid N={n}": InferenceSettings("hybrid", n) for n in (10, 25)},
}


def measured(data: Path, task: Task, size: int, limit: int | None) -> list[Measurement]:
    """The first slices of every file, cropped in k-space, as a task measures them; the whole slice is the reference."""
    found = []
    for name, whole, _ in scans(data):
        full = crop(torch.from_numpy(whole[:limit]), size).contiguous()
        found.append(
            Measurement(task, *task.measure(name, full.numpy()), full.numpy(), ifft2c(full).abs().numpy())
        )
    return found


def elbo_loss(model: IAHVAE, slices: list[Measurement]) -> float:
    """Mean negative ELBO, nats per real dimension, one posterior sample per slice."""
    kspace = canonical_batch(torch.from_numpy(np.concatenate([one.full for one in slices])), model.size)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        found = [validation_scores(model, part, SIGMA, noise)["elbo_loss"] for part in kspace.split(16)]
    return float(torch.cat(found).mean())


def nmse(model: IAHVAE | None, slices: list[Measurement], settings: InferenceSettings | None) -> float:
    """Mean NMSE of a method; without a model of the measurement itself, zero-filled or noisy."""
    scores = []
    for one in slices:
        images = ifft2c(torch.from_numpy(one.kspace)).numpy()
        if model is not None and settings is not None:
            chosen = replace(settings, data_consistency=one.task.consistency)
            images = reconstruct_volume(model, one.kspace, one.mask, chosen, noise_sigma=one.sigma).image
        scores += one.scored(images)
    return means(scores)["nmse"]


@click.command()
@click.argument(
    "runs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@options.required_output
@options.limit
def main(runs: tuple[Path, ...], data: Path, output: Path, limit: int | None) -> None:
    """Compare the models of RUNS (run folders or checkpoints, one grid) on the fully sampled files in DATA."""
    folders = {run.name: run / "model" if (run / "model").is_dir() else run for run in runs}
    loaded = {name: load_model(folder) for name, folder in folders.items()}
    if len(loaded) < len(runs) or len({model.size for model, _ in loaded.values()}) > 1:
        raise click.UsageError("RUNS: expected models on one grid, in folders of different names")
    size = next(iter(loaded.values()))[0].size
    tasks = [task for task in TASKS if task.name in NAMES and (task.up_to or 0) < size]
    slices = {task.name: measured(data, task, size, limit) for task in tasks}
    baseline = {
        name: nmse(None, each, None) for name, each in slices.items() if name != "everything measured"
    }
    models: dict[str, Any] = {}
    for name, (model, digest) in loaded.items():
        training = json.loads((folders[name] / "config.json").read_text())["training"]
        models[name] = {
            "sha256": digest,
            "parameters": sum(p.numel() for p in model.parameters()),
            "stages": training.get("settings", {}).get("stages", []),
            "elbo_loss": elbo_loss(model, slices[tasks[0].name]),
            "tasks": {},
        }
        for task in tasks:
            rows = {key: {"nmse": nmse(model, slices[task.name], each)} for key, each in METHODS.items()}
            models[name]["tasks"][task.name] = rows
            nmses = {key: row["nmse"] for key, row in rows.items()}
            click.echo(f"{name:12} {task.name:26} NMSE {line(nmses, '.4f')}")
    found = {"grid": size, "slices": sum(len(one.full) for one in slices[tasks[0].name]), "sigma": SIGMA}
    write_json(output, {**found, "baseline": baseline, "models": models})


if __name__ == "__main__":
    main()
