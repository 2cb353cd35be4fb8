"""What the prior of the coarse block gains where that block is missing in part, or noisy.

    python -m benchmarks.neighbours.coarse_prior data/reporting --json benchmarks/neighbours/coarse_prior.json

Without a guide: `--method iterative` before and after, paired over the slices. After: B_8 is completed by the mixture's
posterior mean, brought to canonical form again, and taken for measured. With a guide: B_8 of its estimate, as it is,
and as the mixture sees it when that estimate is the measurement. Calibration: the error of the mixture's mean over its
variance, in the bins of B_8 that are not known exactly. `--picture FILE` draws samples of the prior before and after.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.shared import options
from benchmarks.shared.tasks import scans, scored
from mri_iahvae.files import write_json
from mri_iahvae.inference.core import draw_core
from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.guidance import estimate as guided
from mri_iahvae.inference.infer import infer
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import block_mask, crop, embed
from mri_iahvae.kspace.canonical import CORE, canonical_factor
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.model.coarse_prior import CoarsePosterior, CoarsePrior
from mri_iahvae.model.estimate import Estimate
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.loaded import LoadedModel
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


@dataclass(frozen=True)
class Slices:
    """Slices that were measured, in canonical form.

    Attributes:
        full: complex64 (B, N, N), without the added noise.
        kspace: complex64 (B, N, N), zero where not measured.
        mask: bool (B, N, N).
        sigma: float (B,), noise per part.
    """

    full: Tensor
    kspace: Tensor
    mask: Tensor
    sigma: Tensor

    def divided(self, factor: Tensor) -> "Slices":
        """The same in other units."""
        unit = factor[:, None, None]
        return Slices(self.full / unit, self.kspace / unit, self.mask, self.sigma / factor.abs())

    def canonical(self, power: Tensor) -> "Slices":
        """The canonical form of what was measured."""
        return self.divided(canonical_factor(self.kspace, self.mask, power))

    def posteriors(self, prior: CoarsePrior) -> list[CoarsePosterior]:
        """Of B_8, given its measured bins."""
        data = Estimate.of_data(crop(self.kspace, prior.side), crop(self.mask, prior.side), self.sigma)
        return [prior.posterior(block, variance) for block, variance in zip(*data[:2], strict=True)]


def nothing_drawn(count: int) -> Draws:
    """Of slices that are no samples."""
    return Draws(0, 1.0, tuple(Element(number) for number in range(count)), torch.device("cpu"))


def inferred(model: IAHVAE, slices: Slices, core: Tensor | None) -> Tensor:
    """All bins by `--method iterative`, in the units of the slices; of B_8 those of `core`, if it is given."""
    factor = torch.ones(len(slices.full), dtype=torch.complex64)
    if core is not None:
        everything = torch.ones_like(core, dtype=torch.bool)
        factor = canonical_factor(core, everything, crop(model.power, core.shape[-1]))
    own = slices.divided(factor)
    measured = Measurement.of(own.kspace, own.mask, own.sigma, model.decomposition)
    if core is not None:
        inner, filled = (
            block_mask(core.shape[-1], model.size),
            embed(core / factor[:, None, None], model.size),
        )
        data = Estimate.even(
            torch.where(inner, filled, measured.data.kspace), measured.data.variance.masked_fill(inner, 0)
        )
        measured = replace(measured, data=data, estimate=data)
    consistency = "soft" if own.sigma.any() else "hard"
    settings = InferenceSettings("iterative", data_consistency=consistency)
    return infer(model, measured, settings, nothing_drawn(len(own.full))).bins * factor[:, None, None]


def rows_of(loaded: LoadedModel, prior: CoarsePrior, slices: Slices) -> dict[str, Tensor]:
    """NMSE of images and of B_8, each (B,), and what calibration needs."""
    model, inner = loaded.model, lambda bins: crop(bins, prior.side)
    posteriors = slices.posteriors(prior)
    core = draw_core(posteriors, nothing_drawn(len(posteriors)))
    variance = torch.stack([one.moments()[1] for one in posteriors])
    before, after = inferred(model, slices, None), inferred(model, slices, core)
    rows = {}
    for name, bins in (("iterative", before), ("iterative, mixture", after)):
        images, reference = (ifft2c(each).numpy() for each in (bins, slices.full))
        rows[f"image, {name}"] = torch.tensor([one.nmse for one in scored(np.abs(reference), images)])
        rows[f"B_8, {name}"] = energy(inner(bins) - inner(slices.full)) / energy(inner(slices.full))
    if loaded.guide is not None:
        found, _ = guided(loaded.guide, slices.kspace, slices.mask, slices.sigma, "float32", 4)
        seen = Estimate.even(inner(found.kspace), inner(found.variance))
        seconds = [prior.posterior(block, noise) for block, noise in zip(*seen[:2], strict=True)]
        mixed = draw_core(seconds, nothing_drawn(len(seconds)))
        for name, block in (("guide", seen.kspace), ("guide, mixture", mixed)):
            rows[f"B_8, {name}"] = energy(block - inner(slices.full)) / energy(inner(slices.full))
    open_bins = ~inner(slices.mask) | (slices.sigma > 0)[:, None, None]
    error = (core - inner(slices.full)).abs().square() * open_bins
    rows["error"], rows["variance"] = error.sum((1, 2)), (2 * variance * open_bins).sum((1, 2))
    return rows


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
        drawn = np.abs(draw(replace(loaded, coarse=coarse), count, temperature=1.0, seed=0))
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
            mask = torch.from_numpy(mask_of(full.shape[-1], name)).expand(full.shape)
            slices = Slices(full, torch.where(mask, noisy, 0), mask, sigma)
            parts.append(rows_of(loaded, prior, slices.canonical(loaded.model.power)))
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
