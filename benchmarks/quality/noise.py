"""The noise estimate of `denoise` against the truth, on scans with known noise added.

    python -m benchmarks.quality.noise data/reporting --json benchmarks/quality/noise.json

White noise is added at a multiple of the noise-free RMS: of each slice, where slices are estimated one by
one, of the volume, where one level is estimated for all slices, as `mri-iahvae denoise` does. The truth also holds
what noise the file itself declares (`noise_sigma`). A number is estimate over truth.
"""

from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.quality.tables import markdown
from benchmarks.shared import options
from benchmarks.shared.tasks import TASKS
from mri_iahvae.files import write_json
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.noise_estimate import estimate_sigma
from mri_iahvae.scans.reader import Scan, open_scan

LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)

MASKS = (
    "everything measured",
    "random columns 4x / 0.08",
    "random columns 8x / 0.04",
    "2-D variable density 6x",
)
"""Of the tasks of these names."""


def ratios(scan: Scan, mask: NDArray[np.bool_], level: float) -> tuple[list[float], float]:
    """Estimate over truth for each slice alone, and for the volume."""
    kspace = torch.from_numpy(scan.read(slice(None)))
    seed = torch.Generator().manual_seed(sum(map(ord, scan.path.name)))
    noise = complex_noise(tuple(kspace.shape), 1.0, seed)
    own = torch.zeros(scan.slices) if scan.noise_sigma is None else torch.from_numpy(scan.noise_sigma)
    scale = rms(kspace)

    def estimate(noisy: Tensor) -> float:
        return estimate_sigma(noisy.numpy(), mask)

    slices = [
        estimate(kspace[i : i + 1] + sigma * noise[i : i + 1]) / float(torch.hypot(sigma, own[i]))
        for i, sigma in enumerate(level * scale)
    ]
    sigma = level * scale.square().mean().sqrt()
    volume = estimate(kspace + sigma * noise) / float(torch.hypot(sigma, own.median()))
    return slices, volume


def quantiles(values: list[float]) -> dict[str, float]:
    """Median, 5 % and 95 % quantile."""
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    return {"low": float(low), "median": float(middle), "high": float(high)}


def table(results: dict[str, dict[str, dict[str, dict[str, float]]]]) -> str:
    """The table."""
    lines = [["sampling", "estimated", *(f"{level:g}" for level in LEVELS)], ["---"] * (len(LEVELS) + 2)]
    for mask, kinds in results.items():
        for kind, levels in kinds.items():
            cells = [f"{q['median']:.2f} ({q['low']:.2f}-{q['high']:.2f})" for q in levels.values()]
            lines.append([mask, kind, *cells])
    return markdown(lines)


@click.command()
@options.data
@options.output
def main(data: Path, output: Path | None) -> None:
    """Estimate over truth, median (5 % to 95 % quantile), on the fully sampled files in DATA."""
    scans = [open_scan(path) for path in sorted(data.glob("*.h5"))]
    if not scans:
        raise click.ClickException(f"{data}: no .h5 files")
    results: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for task in (task for task in TASKS if task.name in MASKS):
        kinds = results[task.name] = {"per slice": {}, "per volume": {}}
        for level in LEVELS:
            found = [ratios(scan, task.mask(scan.width, scan.path.name), level) for scan in scans]
            kinds["per slice"][f"{level:g}"] = quantiles([ratio for slices, _ in found for ratio in slices])
            kinds["per volume"][f"{level:g}"] = quantiles([volume for _, volume in found])
    click.echo(table(results))
    if output:
        counts = {"slices": sum(scan.slices for scan in scans), "volumes": len(scans)}
        write_json(output, counts | {"estimate_over_truth": results})


if __name__ == "__main__":
    main()
