"""Quality of the shipped methods on fully sampled scans, task by task, in one run.

    python benchmarks/quality.py data/reporting --json benchmarks/quality.json

Every slice is scored as a volume of its own (NMSE, PSNR, SSIM as fastMRI defines them, data range = the slice's
maximum) against the noise-free reference; a row is the mean over slices. "baseline" is zero-filled, or the noisy
image where the task is denoising.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.evaluation.metrics import score
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.noise import complex_noise, rms_per_part
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.tasks.volume import reconstruct_volume

METHODS = {
    "amortized": InferenceSettings("amortized"),
    **{f"hybrid N={n}": InferenceSettings("hybrid", n) for n in (5, 10, 25, 50)},
    "hybrid N=auto": InferenceSettings("hybrid", "auto"),
    "hybrid N=10 bfloat16": InferenceSettings("hybrid", 10, precision="bfloat16"),
    **{f"adam N={n}": InferenceSettings("hybrid", n, optimizer="adam") for n in (10, 50)},
    "iterative N=10": InferenceSettings("iterative", 10),
    **{f"paper N={n}": InferenceSettings("paper", n) for n in (5, 10, 25, 50)},
}
DEFAULT = ("amortized", "hybrid N=10", "hybrid N=25")
EVERYTHING = ("amortized", "hybrid N=10", "hybrid N=25", "iterative N=10", "paper N=25")


@dataclass(frozen=True)
class Task:
    """One way to undersample or spoil a scan."""

    name: str
    consistency: str
    up_to: int | None = None
    columns: tuple[int, float, str] | None = None
    density: float | None = None
    noise: float = 0.0
    methods: tuple[str, ...] = DEFAULT

    def mask(self, size: int, seed: str) -> NDArray[np.bool_] | None:
        """(size, size), or None when everything is measured."""
        if self.columns is not None:
            acceleration, fraction, kind = self.columns
            columns = column_mask(size, acceleration, fraction, kind, seed).numpy()  # type: ignore[arg-type]
            return np.broadcast_to(columns, (size, size))
        return None if self.density is None else variable_density(size, self.density, seed)

    def measure(
        self, name: str, full: NDArray[np.complex64]
    ) -> tuple[NDArray[np.complex64], NDArray[np.bool_] | None, NDArray[np.float32]]:
        """k-space (slices, N, N) with this task's noise, its mask, and the noise level of each slice."""
        values = torch.from_numpy(full)
        level = self.noise * rms_per_part(values)
        if self.noise:
            generator = torch.Generator().manual_seed(sum(map(ord, name)))
            values = values + complex_noise(tuple(values.shape), level[:, None, None], generator)
        return values.numpy(), self.mask(full.shape[-1], name), level.numpy()


TASKS = (
    Task("everything measured", "none", methods=EVERYTHING),
    *(Task(f"up to {s}x{s}", "hard", up_to=s) for s in (8, 16, 32, 64)),
    Task("random columns 4x / 0.08", "hard", columns=(4, 0.08, "random")),
    Task("random columns 8x / 0.04", "hard", columns=(8, 0.04, "random")),
    Task("equispaced columns 4x / 0.08", "hard", columns=(4, 0.08, "equispaced")),
    Task("2-D variable density 6x", "hard", density=6.0),
    *(Task(f"denoise {r}", "soft", noise=r) for r in (0.1, 0.2, 1.0)),
)


def variable_density(size: int, acceleration: float, seed: str) -> NDArray[np.bool_]:
    """2-D random mask, density falling as a Gaussian of the radius, a 12 x 12 centre always measured."""
    generator = np.random.default_rng([ord(c) for c in seed])
    axis = (np.arange(size) - size // 2) / size
    density = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * 0.2**2))
    half = slice(size // 2 - 6, size // 2 + 6)
    density[half, half] = np.inf
    low, high = 0.0, 10.0
    for _ in range(60):  # bisection for the factor that gives the share of bins
        factor = (low + high) / 2
        too_many = np.minimum(1, factor * density).mean() > 1 / acceleration
        low, high = (low, factor) if too_many else (factor, high)
    return generator.random((size, size)) < factor * density


def scans(data: Path) -> Iterator[tuple[str, NDArray[np.complex64], NDArray[np.float32]]]:
    """(name, k-space, reference) of each file."""
    for path in sorted(data.glob("*.h5")):
        scan = open_scan(path)
        yield path.name, scan.read(slice(None)), scan.read_reference(slice(None))


def run_task(model: IAHVAE, data: Path, task: Task, limit: int | None) -> dict[str, dict[str, float]]:
    """Mean scores of baseline and methods."""
    scores: dict[str, list[dict[str, float]]] = {}
    seconds = dict.fromkeys(task.methods, 0.0)
    for name, full, target in scans(data):
        reference = target[:limit]
        kspace, mask, sigma = task.measure(name, full[:limit])
        images: dict[str, NDArray[np.complex64]] = {}
        for method in task.methods:
            settings = replace(METHODS[method], data_consistency=task.consistency)
            start = time.perf_counter()
            result = reconstruct_volume(model, kspace, mask, settings, up_to=task.up_to, noise_sigma=sigma)
            seconds[method] += time.perf_counter() - start
            images[method] = result.image
            zero_filled = result.zero_filled
        transform = np.fft.fftshift(
            np.fft.ifft2(np.fft.ifftshift(zero_filled, axes=(1, 2)), norm="ortho"), axes=(1, 2)
        )
        for label, image in {"baseline": transform, **images}.items():
            rows = scores.setdefault(label, [])
            for i in range(len(reference)):
                rows.append(vars(score(reference[i : i + 1], np.abs(image[i : i + 1]))))
    table = {
        label: {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        for label, rows in scores.items()
    }
    for method, total in seconds.items():
        table[method]["seconds_per_slice"] = total / len(scores["baseline"])
    return table


def markdown(tasks: dict[str, dict[str, dict[str, float]]]) -> str:
    """The table for README and model card."""
    lines = [
        "| task | method | NMSE | of baseline | PSNR (dB) | SSIM |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for task, rows in tasks.items():
        base = rows["baseline"]["nmse"]
        for method, row in rows.items():
            label = method
            if method == "baseline":
                label = "noisy" if task.startswith("denoise") else "zero-filled"
                if task == "everything measured":
                    continue  # the data themselves
            share = "" if task == "everything measured" else f"{row['nmse'] / base:.2f}"
            lines.append(
                f"| {task} | {label} | {row['nmse']:.4f} | {share} | {row['psnr']:.2f} | {row['ssim']:.3f} |"
            )
    return "\n".join(lines) + "\n"


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--checkpoint", default="small", show_default=True)
@click.option("--json", "output", type=click.Path(path_type=Path), help="Also write the table to a file.")
@click.option("--task", "only", multiple=True, help="Only tasks whose name holds this text.")
@click.option("--method", "methods", multiple=True, help="These methods instead of each task's own.")
@click.option("--slices", "limit", type=int, help="Only the first slices of each file.")
def main(
    data: Path,
    checkpoint: str,
    output: Path | None,
    only: tuple[str, ...],
    methods: tuple[str, ...],
    limit: int | None,
) -> None:
    """Score all tasks on the fully sampled fastMRI-schema files in DATA."""
    model, digest = load_model(checkpoint)
    results = {}
    for listed in TASKS:
        task = replace(listed, methods=methods) if methods else listed
        if only and not any(text in task.name for text in only):
            continue
        results[task.name] = run_task(model, data, task, limit)
        base = results[task.name]["baseline"]["nmse"]
        for label, row in results[task.name].items():
            click.echo(
                f"{task.name:30} {label:15} NMSE {row['nmse']:.5f} ({row['nmse'] / base:5.3f} of baseline)  "
                f"PSNR {row['psnr']:6.2f}  SSIM {row['ssim']:.4f}  {row.get('seconds_per_slice', 0):6.3f} s/slice"
            )
    if output:
        record = {"model_sha256": digest, "torch": str(torch.__version__), "tasks": results}
        output.write_text(json.dumps(record, indent=1) + "\n")
        click.echo(markdown(results))


if __name__ == "__main__":
    main()
