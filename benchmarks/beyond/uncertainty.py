"""Expected errors and intervals against the errors that reconstructions make.

    python -m benchmarks.beyond.uncertainty data/reporting --json benchmarks/beyond/uncertainty.json

For each task, with `--quality fast` (one estimate of the guide, its own statement of the error) and `default` (four
copies, whose disagreement says where). All is over the object, pixels above a tenth of the slice's maximum; a region
of 8 x 8 pixels belongs to it if more than half of its pixels do.

"pixel", "region": correlation within a slice of expected and absolute error, median over slices; of pixels by the
deviation that the guide states, of regions by the output's expected error. "at best": the same of errors that are drawn
from the distribution that the guide states. "worst tenth": fraction of all error in the tenth of the regions that are
expected to be worst, and in the tenth that is. "error / expected": mean over mean. "within": fraction of the pixels
within the interval, of all pixels, and of a slice: mean, least and largest. "half-width": mean, over the mean
magnitude.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.shared import options
from benchmarks.shared.report import hashes, line
from benchmarks.shared.tasks import Task, chosen_tasks, scans
from mri_iahvae.files import write_json
from mri_iahvae.inference.guidance import estimate
from mri_iahvae.inference.settings import inference_settings
from mri_iahvae.inference.uncertainty import REGION, regional
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.volume import reconstruct_volume

CHOSEN = (
    *("up to 8x8", "up to 32x32", "random columns 4x / 0.08", "random columns 8x / 0.04"),
    *("2-D variable density 6x", "denoise 0.2"),
)


def of_regions(values: NDArray[np.floating], inside: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Mean over the object's pixels of each of its regions, (n,), of a slice (H, W)."""
    both = torch.from_numpy(np.stack([values * inside, inside])).float()
    total, part = regional(both)[:, ::REGION, ::REGION].numpy()
    return total[part > 0.5] / part[part > 0.5]


def correlation(expected: NDArray[np.floating], error: NDArray[np.floating]) -> float:
    """Of two arrays (n,)."""
    return float(np.corrcoef(expected, error)[0, 1])


def worst_tenth(order: NDArray[np.floating], error: NDArray[np.floating]) -> float:
    """Fraction of the error in the tenth of the regions that comes last by `order`, (n,) both."""
    chosen = np.argsort(order)[len(order) - round(len(order) / 10) :]
    return float(error[chosen].sum() / error.sum())


def stated(loaded: LoadedModel, kspace: NDArray, mask: NDArray, sigma: NDArray) -> tuple[NDArray, NDArray]:
    """The deviation of each pixel's magnitude that the guide states, and a draw of the error: (slices, H, W)."""
    assert loaded.guide is not None  # noqa: S101 - the shipped model has one
    values = torch.from_numpy(kspace)
    found, _ = estimate(
        loaded.guide, values, torch.from_numpy(mask).expand_as(values), torch.from_numpy(sigma)
    )
    noise = torch.randn((*values.shape, 2), generator=torch.Generator().manual_seed(0))
    drawn = (ifft2c(found.draw(torch.view_as_complex(noise))) * found.phase().conj()).real
    return found.pixel_variance()[:, 0].sqrt().numpy(), drawn.abs().numpy()


def run(loaded: LoadedModel, data: Path, task: Task, limit: int | None) -> dict[str, dict[str, float]]:
    """The measures of one task: of the guide's statement, and of each quality."""
    found: dict[str, list[dict[str, float]]] = {"stated": [], "fast": [], "default": []}
    for name, whole, reference in scans(data):
        full, target = whole[:limit], reference[:limit]
        kspace, mask, sigma = task.measure(name, full)
        insides = target > 0.1 * target.max(axis=(1, 2), keepdims=True)
        deviation, drawn = stated(loaded, kspace, mask, sigma)
        for quality in ("fast", "default"):
            settings = replace(inference_settings(quality), data_consistency=task.consistency)
            given: dict[str, Any] = {"guide": loaded.guide, "noise_sigma": sigma}
            result = reconstruct_volume(loaded.model, kspace, mask, settings, **given)
            if result.expected_error is None or loaded.intervals is None:
                raise AssertionError("the shipped model has a guide and intervals")
            errors = np.abs(result.magnitude - target)
            for error, expected, true, inside in zip(
                errors, result.expected_error, target, insides, strict=True
            ):
                of_error, of_expected = of_regions(error, inside), of_regions(expected, inside)
                width = loaded.intervals.factor * expected[inside]
                found[quality].append(
                    {
                        "region": correlation(of_expected, of_error),
                        "worst tenth": worst_tenth(of_expected, of_error),
                        "worst tenth at best": worst_tenth(of_error, of_error),
                        "error": error[inside].mean(),
                        "expected": expected[inside].mean(),
                        "within": (error[inside] <= width).mean(),
                        "pixels": inside.sum(),
                        "half-width": width.mean() / true[inside].mean(),
                    }
                )
            if quality == "fast":
                for error, own, draw, inside in zip(errors, deviation, drawn, insides, strict=True):
                    regions = of_regions(own, inside)
                    found["stated"].append(
                        {
                            "pixel": correlation(own[inside], error[inside]),
                            "pixel at best": correlation(own[inside], draw[inside]),
                            "region at best": correlation(regions, of_regions(draw, inside)),
                        }
                    )
    return {name: summary(rows) for name, rows in found.items()}


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """Of the slices: medians, and what else is given of the interval."""
    columns = {name: np.array([row[name] for row in rows], float) for name in rows[0]}
    out = {name: float(np.median(values)) for name, values in columns.items()}
    if "within" in columns:
        within, pixels = columns["within"], columns.pop("pixels")
        out |= {
            "error / expected": float(columns["error"].sum() / columns["expected"].sum()),
            "within, pixels": float((within * pixels).sum() / pixels.sum()),
            "within, slices": float(within.mean()),
            "within, least": float(within.min()),
            "within, most": float(within.max()),
        }
        for name in ("error", "expected", "within", "pixels"):
            del out[name]
    return out


@click.command()
@options.data
@options.checkpoint
@options.output
@options.only
@options.limit
def main(data: Path, checkpoint: str, output: Path | None, only: tuple[str, ...], limit: int | None) -> None:
    """Compare expected and made errors on the fully sampled fastMRI-schema files in DATA."""
    loaded = LoadedModel.load(checkpoint, torch.device("cpu"))
    results = {}
    for task in (task for task in chosen_tasks(only) if task.name in CHOSEN):
        results[task.name] = run(loaded, data, task, limit)
        for name, row in results[task.name].items():
            click.echo(f"{task.name:26} {name:8}{line(row, '.3f')}")
        if output and loaded.intervals:
            facts = {**hashes(loaded), "interval_factor": loaded.intervals.factor}
            write_json(output, {**facts, "tasks": results})


if __name__ == "__main__":
    main()
