"""What the model was not made for: phase jumps between tissues and low SNR, against zero-filling.

    python -m benchmarks.quality.hard data/reporting --json benchmarks/quality/hard.json

Phase jumps: pixels between two levels of brightness are turned by a fixed angle, as fat is by chemical shift. Low SNR:
noise per part as a multiple of the slice's RMS, its level given, or estimated from the scan (before undersampling). A
case is "worse" where the NMSE of a slice is above that of zero-filling.
"""

import math
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.shared import options
from benchmarks.shared.report import hashes, line
from benchmarks.shared.tasks import nmses, scans
from mri_iahvae.files import write_json
from mri_iahvae.inference.settings import DataConsistency, InferenceSettings, Method
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.noise_estimate import estimate_sigma
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.volume import reconstruct_volume

JUMPS = (30, 60, 120, 180)
"""Degrees."""

NOISE = (0.5, 1.0, 2.0, 4.0)
"""Per part, in units of the slice's RMS."""

METHODS: tuple[Method, ...] = ("guide", "hybrid")


def with_jumps(kspace: NDArray[np.complexfloating], angle: float) -> NDArray[np.complex64]:
    """Pixels from a quarter to half of the maximum turned by `angle`, in radians."""
    image = ifft2c(torch.from_numpy(kspace))
    level = image.abs() / image.abs().amax(dim=(1, 2), keepdim=True)
    turned = (level > 0.25) & (level < 0.5)
    return fft2c(image * torch.polar(torch.ones_like(level), angle * turned)).numpy()


def with_noise(
    kspace: NDArray[np.complexfloating], level: float
) -> tuple[NDArray[np.complex64], NDArray[np.floating]]:
    """Noisy k-space, and the noise's deviation per part of each slice."""
    bins = torch.from_numpy(kspace)
    sigma = level * rms(bins)
    noise = complex_noise(bins.shape, 1.0, torch.Generator().manual_seed(0))
    return (bins + sigma[:, None, None] * noise).numpy(), sigma.numpy()


Row = dict[str, float]


def run(
    loaded: LoadedModel,
    method: Method,
    full: NDArray[np.complexfloating],
    kspace: NDArray[np.complexfloating],
    sigma: NDArray[np.floating],
) -> Row:
    """One case: columns of `kspace` against the noise-free `full`."""
    mask = column_mask(full.shape[-1], 4, 0.08, "random", "hard")
    measured = np.where(mask, kspace, 0)
    consistency: DataConsistency = "soft" if sigma.any() else "hard"
    settings = InferenceSettings(method, data_consistency=consistency)
    found = reconstruct_volume(loaded.model, measured, mask, settings, guide=loaded.guide, noise_sigma=sigma)
    reference, zero_filled = (np.abs(ifft2c(torch.from_numpy(bins)).numpy()) for bins in (full, measured))
    ours, zero = (np.array(nmses(reference, images)) for images in (found.image, zero_filled))
    return {
        "nmse": float(ours.mean()),
        "zero-filled": float(zero.mean()),
        "worse": int((ours > zero).sum()),
        "slices": len(ours),
    }


@click.command()
@options.data
@options.checkpoint
@options.limit
@options.output
def main(data: Path, checkpoint: str, limit: int | None, output: Path | None) -> None:
    """Score the fully sampled fastMRI-schema files in DATA with phase jumps, and with strong noise."""
    loaded = LoadedModel.load(checkpoint, torch.device("cpu"))
    truth = np.concatenate([full[:limit] for _, full, _ in scans(data)])
    free = np.zeros(len(truth))
    cases: dict[str, tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = {}
    for jump in JUMPS:
        full = with_jumps(truth, math.radians(jump))
        cases[f"phase jumps of {jump} degrees"] = full, full, free
    everything = np.ones(truth.shape[1:], bool)
    for level in NOISE:
        kspace, sigma = with_noise(truth, level)
        cases[f"noise {level:g}"] = truth, kspace, sigma
        estimated = np.array([estimate_sigma(one[None], everything) for one in kspace])
        cases[f"noise {level:g}, estimated"] = truth, kspace, estimated
    rows: dict[str, dict[str, Row]] = {}
    for name, case in cases.items():
        for method in METHODS:
            row = rows.setdefault(name, {})[method] = run(loaded, method, *case)
            click.echo(f"{name:28} {method:7} {line(row, '.4g')}")
    if output:
        write_json(output, {**hashes(loaded), "cases": rows})


if __name__ == "__main__":
    main()
