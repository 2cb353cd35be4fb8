"""Calibration of posterior samples: the error of their mean against their variance.

    python -m benchmarks.quality.calibration data/reporting --json benchmarks/quality/calibration.json

Three measures, for each task of `compare.py` and each temperature. "error / variance": energy of the error of the
samples' mean over their variance, summed over the bins that were not measured (all bins where the task is denoising); 1
is right, more is over-confident. "within k": fraction of the pixels, among those above a tenth of the slice's maximum,
whose magnitude lies within k standard deviations (`Reconstruction.std`) of the result's; 0.68, 0.95 and 0.997 if the
posterior were Gaussian. "in phase": of the error's energy in the same pixels, the fraction in phase with the true
image, median over slices; a half if the error were circular.
"""

from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.shared import options
from benchmarks.shared.report import hashes, line, within
from benchmarks.shared.tasks import Task, chosen_tasks, nmses, scans
from mri_iahvae.files import write_json
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.volume import reconstruct_volume

CHOSEN = ("up to 8x8", "up to 32x32", "random columns 4x / 0.08", "2-D variable density 6x", "denoise 0.2")


def run(
    loaded: LoadedModel, data: Path, task: Task, settings: InferenceSettings, limit: int | None
) -> dict[str, float]:
    """The measures of one task at one temperature."""
    errors, variances, distances, nmse, in_phase = [], [], [], [], []
    for name, full, target in scans(data):
        truth, reference = full[:limit], target[:limit]
        kspace, mask, sigma = task.measure(name, truth)
        result = reconstruct_volume(
            loaded.model, kspace, mask, settings, guide=loaded.guide, noise_sigma=sigma, keep_samples=True
        )
        if result.samples is None or result.std is None:
            raise AssertionError("asked for, so returned")
        # Antithetic pairs: the mean has no first-order noise of its own, and the variance is that about it.
        deviation = fft2c(torch.from_numpy(result.samples)).sub(torch.from_numpy(result.kspace)[:, None])
        variance = deviation.abs().square().mean(dim=1).numpy()
        error = np.abs(result.kspace - truth) ** 2
        open_bins = np.ones_like(error, bool) if task.noise else result.zero_filled == 0
        scale = np.abs(result.factors)[:, None, None] ** 2
        errors.append((error / scale)[open_bins].sum())
        variances.append((variance / scale)[open_bins].sum())
        least = np.finfo(np.float32).tiny
        pixels = reference > 0.1 * reference.max(axis=(1, 2), keepdims=True)
        distances.append((np.abs(np.abs(result.image) - reference) / np.maximum(result.std, least))[pixels])
        wrong, true = (
            ifft2c(torch.from_numpy(bins)).numpy() for bins in (result.kspace - truth, np.array(truth))
        )
        for one, phase, where in zip(wrong, np.angle(true), pixels, strict=True):
            turned = (one * np.exp(-1j * phase))[where]
            in_phase.append(np.square(turned.real).sum() / np.square(np.abs(turned)).sum())
        nmse += nmses(reference, result.image)
    return {
        "nmse": float(np.mean(nmse)),
        "error / variance": float(sum(errors) / sum(variances)),
        **within(distances),
        "in phase": float(np.median(in_phase)),
    }


@click.command()
@options.data
@options.checkpoint
@options.output
@options.only
@click.option(
    "--temperature", "temperatures", type=float, multiple=True, default=(0.8, 1.0, 1.2), show_default=True
)
@click.option("--samples", default=8, show_default=True)
@options.limit
def main(
    data: Path,
    checkpoint: str,
    output: Path | None,
    only: tuple[str, ...],
    temperatures: tuple[float, ...],
    samples: int,
    limit: int | None,
) -> None:
    """Compare variance and error on the fully sampled fastMRI-schema files in DATA."""
    loaded = LoadedModel.load(checkpoint, torch.device("cpu"))
    results: dict[str, dict[str, dict[str, float]]] = {}
    for task in (task for task in chosen_tasks(only) if task.name in CHOSEN):
        for temperature in temperatures:
            settings = InferenceSettings(
                samples=samples, temperature=temperature, data_consistency=task.consistency
            )
            row = run(loaded, data, task, settings, limit)
            results.setdefault(task.name, {})[str(temperature)] = row
            click.echo(f"{task.name:28} T {temperature:4} {line(row, '.3f')}")
    if output:
        write_json(output, {**hashes(loaded), "samples": samples, "tasks": results})


if __name__ == "__main__":
    main()
