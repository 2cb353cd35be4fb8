"""What the prior of the coarse block gains where that block is missing in part, or noisy.

    python -m benchmarks.neighbours.coarse_prior data/reporting --json benchmarks/neighbours/coarse_prior.json

Without a guide: `--method iterative` before and after, paired over the slices. After: B_8 is completed by the mixture's
posterior mean, brought to canonical form again, and taken for measured. With a guide, computed once: the
image from what was measured, and from the same with B_8 completed by the mixture; and B_8 of its estimate, as it is,
and as the mixture sees it when that estimate is the measurement. Calibration: the error of the mixture's mean over its
variance, in the bins of B_8 that are not known exactly. `--picture FILE` draws samples of the prior before and after.
"""

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.shared import options
from benchmarks.shared.tasks import scans, scored
from mri_iahvae.files import write_json
from mri_iahvae.inference.guidance import estimate as guided
from mri_iahvae.inference.settings import DataConsistency, InferenceSettings
from mri_iahvae.kspace.bands import block_mask, crop, embed
from mri_iahvae.kspace.canonical import CORE, canonical_factor
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.model.coarse_prior import CoarsePrior
from mri_iahvae.model.estimate import Estimate
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.volume import reconstruct_volume
from mri_iahvae.results.figures import grid_figure
from mri_iahvae.tasks.sample import draw


def without_centre(size: int, acceleration: int, missing: int, name: str) -> NDArray[np.bool_]:
    """Random columns, (size, size), of which the central ones are missing."""
    columns = column_mask(size, acceleration, 0.32 / acceleration, "random", name)
    columns[size // 2 - missing // 2 : size // 2 - missing // 2 + missing] = False
    return np.broadcast_to(columns, (size, size)).copy()


TASKS: dict[str, tuple[Callable[[int, str], NDArray[np.bool_]], float]] = {
    "up to 2x2": (lambda size, _: block_mask(2, size).numpy(), 0.0),
    "up to 4x4": (lambda size, _: block_mask(4, size).numpy(), 0.0),
    "columns 8x, 5 central ones missing": (lambda size, name: without_centre(size, 8, 5, name), 0.0),
    "columns 12x, 3 central ones missing": (lambda size, name: without_centre(size, 12, 3, name), 0.0),
    "columns 4x, B_8 missing": (
        lambda size, name: without_centre(size, 4, 0, name) & ~block_mask(CORE, size).numpy(),
        0.0,
    ),
    "denoise 1.0": (lambda size, _: np.ones((size, size), bool), 1.0),
}
"""Mask, by side and name of the file; and noise per part over the slice's RMS."""


def rows_of(
    loaded: LoadedModel, prior: CoarsePrior, full: Tensor, kspace: Tensor, mask: Tensor, sigma: Tensor
) -> dict[str, Tensor]:
    """NMSE of images and of B_8, and what calibration needs, each (B,).

    Args:
        loaded: the model.
        prior: of B_8.
        full: complex64 (B, N, N), without the added noise.
        kspace: complex64 (B, N, N), zero where not measured.
        mask: bool (N, N).
        sigma: float (B,), noise per part.
    """
    consistency: DataConsistency = "soft" if sigma.any() else "hard"
    settings = InferenceSettings("iterative", data_consistency=consistency)
    known, rows = crop(full, prior.side), {}
    for name, coarse in (("iterative", None), ("iterative, mixture", prior)):
        arrays = kspace.numpy(), mask.numpy(), settings
        found = reconstruct_volume(loaded.model, *arrays, coarse=coarse, noise_sigma=sigma.numpy())
        scores = scored(ifft2c(full).abs().numpy(), found.image)
        rows[f"image, {name}"] = torch.tensor([one.nmse for one in scores])
        block = crop(torch.from_numpy(found.kspace), prior.side)
        rows[f"B_8, {name}"] = energy(block - known) / energy(known)
    everywhere = mask.expand(full.shape)
    factor = canonical_factor(kspace, everywhere, loaded.model.power)
    unit = factor[:, None, None]
    data = Estimate.of_data(kspace / unit, everywhere, sigma / factor.abs())
    block, variance, _ = core_of(prior, data)
    uncertain = ~crop(mask, prior.side) | (sigma > 0)[:, None, None]
    rows["error"] = energy((block - known / unit) * uncertain)
    rows["variance"] = (2 * variance * uncertain).sum((1, 2))
    if loaded.guide is None:
        return rows
    inner, level = block_mask(prior.side, full.shape[-1]), sigma / factor.abs()
    guide, _ = guided(loaded.guide, kspace / unit, everywhere, level)
    completed = torch.where(inner, embed(block, full.shape[-1]), kspace / unit)
    begun, _ = guided(loaded.guide, completed, everywhere | inner, level)
    corrected = crop(guide.kspace, prior.side), core_of(prior, guide).kspace
    for name, estimate, core in zip(("guide", "guide, mixture"), (guide, begun), corrected, strict=True):
        images = ifft2c(estimate.kspace * unit).numpy()
        scores = scored(ifft2c(full).abs().numpy(), images)
        rows[f"image, {name}"] = torch.tensor([one.nmse for one in scores])
        rows[f"B_8, {name}"] = energy(core - known / unit) / energy(known / unit)
    return rows


def core_of(prior: CoarsePrior, data: Estimate) -> Estimate:
    """The mixture's posterior mean and variance of B_8, (B, 8, 8), given an estimate of independent errors."""
    blocks, variances = (crop(part, prior.side) for part in data[:2])
    moments = [prior.posterior(*one).moments() for one in zip(blocks, variances, strict=True)]
    mean, variance = (torch.stack(part) for part in zip(*moments, strict=True))
    return Estimate.even(mean, variance)


def energy(bins: Tensor) -> Tensor:
    """Sum of squares, complex (B, n, n) to float (B,)."""
    return bins.abs().square().sum((1, 2))


def paired(before: Tensor, after: Tensor) -> dict[str, float]:
    """Means, their difference with the deviation of its mean, and on how many slices it is lower."""
    change = after - before
    return {
        "before": float(before.mean()),
        "after": float(after.mean()),
        "change": float(change.mean()),
        "standard error": float(change.std() / len(change) ** 0.5),
        "lower": int((change < 0).sum()),
        "slices": len(change),
    }


def picture(loaded: LoadedModel, path: Path, count: int = 16) -> None:
    """Magnitudes of samples: two lines before, two lines after."""
    half = count // 2
    images = []
    for coarse in (None, loaded.coarse):
        drawn = np.abs(draw(loaded.model, count, temperature=1.0, seed=0, coarse=coarse))
        images += [list(drawn[:half]), list(drawn[half:])]
    titles = [""] * half
    grid_figure(
        path,
        images,
        titles,
        "Samples of the prior: above by the hierarchy alone, below with the coarse prior",
    )


@click.command()
@options.data
@options.checkpoint
@options.output
@options.limit
@click.option("--picture", "drawn", type=click.Path(path_type=Path), help="Samples of the prior go here.")
def main(data: Path, checkpoint: str, output: Path | None, limit: int | None, drawn: Path | None) -> None:
    """Measure on the fully sampled fastMRI-schema files in DATA."""
    loaded = LoadedModel.load(checkpoint, torch.device("cpu"))
    prior = loaded.coarse
    if prior is None:
        raise click.ClickException(f"--checkpoint {checkpoint}: it has no coarse prior")
    results: dict[str, dict[str, dict[str, float]]] = {}
    for task, (mask_of, noise) in TASKS.items():
        parts: list[dict[str, Tensor]] = []
        for name, volume, _ in scans(data):
            full = torch.from_numpy(volume[:limit])
            sigma = noise * rms(full)
            generator = torch.Generator().manual_seed(sum(map(ord, name)))
            noisy = full + complex_noise(tuple(full.shape), sigma[:, None, None], generator)
            mask = torch.from_numpy(mask_of(full.shape[-1], name))
            parts.append(rows_of(loaded, prior, full, torch.where(mask, noisy, 0), mask, sigma))
        rows = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        results[task] = {
            key.removesuffix(", mixture"): paired(rows[key.removesuffix(", mixture")], rows[key])
            for key in rows
            if key.endswith(", mixture")
        }
        ratio = float(rows["error"].sum() / rows["variance"].sum())
        results[task]["calibration"] = {"error / variance": ratio}
        for key, row in results[task].items():
            click.echo(f"{task:36} {key:18} " + "  ".join(f"{k} {v:.4g}" for k, v in row.items()))
    if output:
        shas = {"model_sha256": loaded.sha256, "guide_sha256": loaded.guide_sha256}
        write_json(output, {**shas, "coarse_sha256": loaded.coarse_sha256, "tasks": results})
    if drawn:
        picture(loaded, drawn)


if __name__ == "__main__":
    main()
