"""What the paper compares with, trained with the same data, steps and budget, side by side.

    python -m benchmarks.quality.comparators runs/ours runs/no-branch runs/bottom-up runs/spectral runs/ordinary \
        data/reporting --slices 3 --json benchmarks/quality/comparators.json

The models have `small`'s widths and depths up to 64 x 64. A bottom-up encoder cannot grow, so none does but the last:

    mri-iahvae train data/slices -o runs/ours --grid 64 --stages 64:2500 --precision bfloat16 --device cpu
    mri-iahvae train data/slices -o runs/grown --grid 64 --stages 32:1250,64:1250 --precision bfloat16 --device cpu

The others are trained as the first one through Python (`mri_iahvae.tasks.train`), with `preset("small", grid=64, ...)`
and `details=False`, `encoder="bottom-up"`, `heads="spectral"` or `encoder="bottom-up", decoder="ordinary"`: 0.8 to 1.6
hours of one core each.

Slices are cropped in k-space to the models' grid. The reference of the scores is the magnitude of the cropped,
fully sampled slice; a number is the mean over slices, each a volume of its own.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.shared.tasks import TASKS, Measurement, Task, scans
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
    *(f"up to {s}x{s}" for s in (8, 16, 32)),
    "random columns 4x / 0.08",
    "denoise 1.0",
)
METHODS = {
    "amortized": InferenceSettings("amortized"),
    # Scale after scale, as in the paper.
    **{f"hybrid N={n}": InferenceSettings("hybrid", n, joint_steps=0) for n in (10, 25)},
}

Slices = dict[str, NDArray[np.complex64]]
"""Fully sampled k-space (slices, N, N) of each file."""


@dataclass(frozen=True)
class Contestant:
    """A trained model.

    Attributes:
        name: of its folder.
        model: in evaluation mode.
        record: how it was trained, and its size, as plain values.
    """

    name: str
    model: IAHVAE
    record: dict[str, Any]


def load(folder: Path) -> Contestant:
    """A run of `mri-iahvae train`, or a checkpoint.

    Args:
        folder: of the run (its log has the seconds), or of the checkpoint alone.
    """
    checkpoint = folder / "model" if (folder / "model").is_dir() else folder
    model, digest = load_model(checkpoint)
    config = model.config
    training = json.loads((checkpoint / "config.json").read_text())["training"]
    stages = training.get("settings", {}).get("stages", [])
    record = {
        "sha256": digest,
        "encoder": config.encoder,
        "heads": config.heads,
        "decoder": config.decoder,
        "parameters": sum(p.numel() for p in model.parameters()),
        "stages": [[stage["size"], stage["steps"]] for stage in stages],
        "training_slices": sum(stage["steps"] * stage["batch"] for stage in stages) or None,
        "training_seconds": seconds(folder / "log.jsonl", {s["size"]: s["batch"] for s in stages}),
        "finished": training.get("finished", False),
    }
    return Contestant(folder.name, model, record)


def seconds(log: Path, batches: dict[int, int]) -> float | None:
    """Seconds of a run, validation included, without those of steps that were repeated; None without a log.

    Args:
        log: of the run.
        batches: slices per step on each grid.
    """
    if not log.is_file():
        return None
    total = 0.0
    before: dict[int, float] = {}
    for entry in map(json.loads, log.read_text().splitlines()):
        if entry["kind"] == "step":
            stage = entry["stage"]
            slices = max(0, entry["step"] - before.get(stage, 0)) * batches[entry["grid"]]
            total += slices / entry["slices_per_second"]
            before[stage] = max(entry["step"], before.get(stage, 0))
    return total


def cropped(data: Path, size: int, limit: int | None) -> Slices:
    """The first slices of each file, central size x size bins."""
    return {
        name: crop(torch.from_numpy(full[:limit]), size).contiguous().numpy() for name, full, _ in scans(data)
    }


def elbo_loss(model: IAHVAE, slices: Slices, sigma: float) -> float:
    """Mean negative ELBO at a sigma, nats per real dimension, one posterior sample per slice."""
    kspace = canonical_batch(torch.from_numpy(np.concatenate(list(slices.values()))), model.size)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        found = [validation_scores(model, part, sigma, noise)["elbo_loss"] for part in kspace.split(16)]
    return float(torch.cat(found).mean())


def measured(task: Task, slices: Slices) -> list[Measurement]:
    """Every file as a task measures it; the whole slice is the reference."""
    found = []
    for name, full in slices.items():
        reference = ifft2c(torch.from_numpy(full)).abs().numpy()
        found.append(Measurement(task, *task.measure(name, full), full, reference))
    return found


def zero_filled(task: Task, slices: Slices) -> float:
    """NMSE of the measurement itself: zero-filled, or noisy."""
    return _nmse((each, ifft2c(torch.from_numpy(each.kspace)).numpy()) for each in measured(task, slices))


def reconstructed(model: IAHVAE, task: Task, slices: Slices, settings: InferenceSettings) -> dict[str, float]:
    """Mean NMSE of a method, and its seconds per slice."""
    settings = replace(settings, data_consistency=task.consistency)
    pairs, start = [], time.perf_counter()
    for each in measured(task, slices):
        result = reconstruct_volume(model, each.kspace, each.mask, settings, noise_sigma=each.sigma)
        pairs.append((each, result.image))
    taken = (time.perf_counter() - start) / sum(len(each.full) for each, _ in pairs)
    return {"nmse": _nmse(pairs), "seconds_per_slice": taken}


def _nmse(pairs: Any) -> float:  # noqa: ANN401
    return float(np.mean([scores.nmse for each, images in pairs for scores in each.scored(images)]))


def compare(contestants: Sequence[Contestant], slices: Slices, sigma: float) -> dict[str, Any]:
    """Everything that is printed and written."""
    tasks = [task for task in TASKS if task.name in NAMES and (task.up_to or 0) < contestants[0].model.size]
    models: dict[str, Any] = {}
    for contestant in contestants:
        model = contestant.model
        rows = models[contestant.name] = {
            **contestant.record,
            "elbo_loss": elbo_loss(model, slices, sigma),
            "tasks": {},
        }
        for task in tasks:
            rows["tasks"][task.name] = {}
            for method, settings in METHODS.items():
                row = reconstructed(model, task, slices, settings)
                rows["tasks"][task.name][method] = row
                click.echo(
                    f"{contestant.name:15} {task.name:26} {method:12} NMSE {row['nmse']:.5f}", err=True
                )
    baseline = {task.name: zero_filled(task, slices) for task in tasks if task.name != "everything measured"}
    return {"grid": contestants[0].model.size, "sigma": sigma, "baseline": baseline, "models": models}


def markdown(results: dict[str, Any]) -> str:
    """The comparison as a table: a column per model."""
    models = results["models"]
    lines = [["", "zero-filled / noisy", *models], ["---"] * (2 + len(models))]
    for key, form in (
        ("parameters", "{:,}"),
        ("training_slices", "{:,}"),
        ("training_seconds", "{:.0f}"),
        ("elbo_loss", "{:.4f}"),
    ):
        values = [model[key] for model in models.values()]
        label = key.replace("_", " ") + (f" at sigma {results['sigma']:g}" if key == "elbo_loss" else "")
        lines.append([label, "", *("" if value is None else form.format(value) for value in values)])
    for task in next(iter(models.values()))["tasks"]:
        base = results["baseline"].get(task)
        for method in METHODS:
            values = [model["tasks"][task][method]["nmse"] for model in models.values()]
            shown = "" if base is None else f"{base:.4f}"
            lines.append([f"{task}, {method}", shown, *(f"{value:.4f}" for value in values)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


@click.command()
@click.argument(
    "runs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "output", type=click.Path(path_type=Path), help="Also write everything to a file.")
@click.option("--sigma", type=float, default=0.1, show_default=True, help="Likelihood sigma of the ELBO.")
@click.option("--slices", "limit", type=click.IntRange(min=1), help="Only the first slices of each file.")
def main(runs: tuple[Path, ...], data: Path, output: Path | None, sigma: float, limit: int | None) -> None:
    """Compare the models of RUNS (run folders or checkpoints, one grid) on the fully sampled files in DATA."""
    contestants = [load(folder) for folder in runs]
    grids = {contestant.model.size for contestant in contestants}
    if len(grids) > 1 or len({contestant.name for contestant in contestants}) < len(runs):
        raise click.UsageError("RUNS: expected models on one grid, in folders of different names")
    slices = cropped(data, grids.pop(), limit)
    if not slices:
        raise click.UsageError(f"{data}: no .h5 files")
    results = compare(contestants, slices, sigma)
    results["slices"] = sum(map(len, slices.values()))
    if output:
        output.write_text(json.dumps(results, indent=1) + "\n")
    click.echo(markdown(results))


if __name__ == "__main__":
    main()
