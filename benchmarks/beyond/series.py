"""A series of moving frames: each frame alone, all together (`--series`), and total variation in time by sigpy.

    python -m benchmarks.beyond.series data/reporting --json benchmarks/beyond/series.json

Needs the extra `bench`. The truth is known: the middle slice of a file, shifted and dilated as by breathing, with or
without a moving front of contrast. Phase stays in place, as coils and field put it; noise is 1 %. Our methods are those
of `--quality fast`. The weight of total variation is for each row the best one of a grid, judged on the very series
that are reported, which flatters it.
"""

import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from benchmarks.shared import options
from benchmarks.shared.tasks import scans
from mri_iahvae import Reconstructor
from mri_iahvae.files import write_json
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.masks import draw_mask
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.phase import smooth_phase

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = """
| random columns | motion | zero-filled | total variation in time | frame by frame | series | gain | weight | s, total \
variation | s, frame by frame | s, series |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""
FRAMES = 16
_PERIOD = 8  # frames of a breath
_SHIFT = (4.0, 1.0)  # pixels along rows and columns, at most
_DILATION = (0.04, 0.02)
_ENHANCEMENT = 0.6  # of the magnitude, behind the front
_NOISE = 0.01
WEIGHTS = (0.3, 1.0, 3.0)
"""Of total variation, in units of the RMS of the measured bins."""
_TV_STEPS = 100


@dataclass(frozen=True)
class Sampling:
    """Random columns: their acceleration, and whether each frame has its own."""

    acceleration: int
    own: bool = True

    def __str__(self) -> str:
        return f"{self.acceleration}x, {'columns of its own' if self.own else 'the same columns'}"

    def mask(self, size: int) -> NDArray[np.bool_]:
        """Bool (frames, size, size)."""
        lines = [
            draw_mask("random", (size, size), self.acceleration, seed=frame if self.own else 0)
            for frame in range(FRAMES)
        ]
        return np.stack(lines)[:, None].repeat(size, axis=1)


MOTIONS = {"breathing": False, "breathing, contrast": True}
ROWS = (*product((Sampling(8), Sampling(4)), MOTIONS), (Sampling(8, own=False), "breathing"))


def middle_slices(data: Path, every: int) -> dict[str, NDArray[np.floating]]:
    """Of every n-th file the middle slice's magnitude, largest value 1, by the file's name."""
    references = {name: reference[len(reference) // 2] for name, _, reference in list(scans(data))[::every]}
    return {name: magnitude / magnitude.max() for name, magnitude in references.items()}


def moving(magnitude: NDArray[np.floating], *, contrast: bool) -> NDArray[np.float64]:
    """A slice (H, W) in motion, (frames, H, W): truth, without noise."""
    size = np.array(magnitude.shape)
    y, x = ((np.arange(n) - n / 2) / (n / 2) for n in size)
    diagonal = 0.6 * y[:, None] + 0.8 * x
    frames = []
    for frame in range(FRAMES):
        breath = (1 - np.cos(2 * np.pi * frame / _PERIOD)) / 2
        zoom = 1 / (1 + np.array(_DILATION) * breath)
        image = affine_transform(
            magnitude.astype(float), zoom, size / 2 * (1 - zoom) - np.array(_SHIFT) * breath
        ).clip(0)
        if contrast:
            front = -1.2 + 2.4 * frame / (FRAMES - 1)
            image *= 1 + _ENHANCEMENT / (1 + np.exp(-10 * (front - diagonal)))
        frames.append(image)
    return np.stack(frames)


def measured(truth: NDArray[np.floating], mask: NDArray[np.bool_], seed: int) -> NDArray[np.complex64]:
    """k-space (frames, H, W) with noise, zero where not measured; phase is the same in all frames."""
    generator = torch.Generator().manual_seed(seed)
    phase = smooth_phase(1, truth.shape[1:], generator)
    magnitude = torch.from_numpy(truth).float()
    kspace = fft2c(torch.polar(magnitude, phase.expand_as(magnitude)))
    noise = complex_noise(tuple(kspace.shape), _NOISE * rms(kspace)[:, None, None], generator)
    return np.where(mask, (kspace + noise).numpy(), 0)


def total_variation_in_time(
    kspace: NDArray[np.complex64], mask: NDArray[np.bool_], weight: float
) -> NDArray[np.complex64]:
    """min |M F x - y|^2 / 2 + weight |x_t+1 - x_t|_1 by sigpy's primal-dual method, of complex images; periodic."""
    import sigpy  # noqa: PLC0415

    unit = float(np.sqrt(np.mean(np.abs(kspace[mask]) ** 2)))
    fourier = sigpy.linop.FFT(kspace.shape, axes=(-2, -1))
    sample = sigpy.linop.Multiply(kspace.shape, mask.astype(np.float32)) * fourier
    change = sigpy.linop.FiniteDifference(kspace.shape, axes=(0,))
    app = sigpy.app.LinearLeastSquares(
        sample,
        kspace / unit,
        proxg=sigpy.prox.L1Reg(change.oshape, weight),
        G=change,
        sigma=weight,  # the dual variable is no larger
        max_iter=_TV_STEPS,
        show_pbar=False,
    )
    bins = fft2c(torch.from_numpy(unit * app.run())).numpy()
    return ifft2c(torch.from_numpy(np.where(mask, kspace, bins))).numpy()


def nmse(truth: NDArray[np.floating], image: NDArray[np.inexact]) -> float:
    """Of magnitudes, the mean over frames."""
    axes = (1, 2)
    error = ((np.abs(image) - truth) ** 2).sum(axis=axes)
    return float(np.mean(error / (truth**2).sum(axis=axes)))


@click.command()
@options.data
@options.checkpoint
@click.option("--every", default=3, show_default=True, help="Take every n-th file.")
@options.output
def main(data: Path, checkpoint: str, every: int, output: Path | None) -> None:
    """Compare on series that are made of the fastMRI-schema files in DATA."""
    torch.set_num_threads(1)
    slices = middle_slices(data, every)
    alone, together = (
        Reconstructor(checkpoint, "cpu", quality="fast", series=series) for series in (False, True)
    )
    methods: dict[str, Callable[..., NDArray[np.complex64]]] = {
        "frame by frame": lambda kspace, mask: alone.reconstruct(kspace, mask).image,
        "series": lambda kspace, mask: together.reconstruct(kspace, mask).image,
        **{
            f"tv {weight:g}": lambda kspace, mask, weight=weight: total_variation_in_time(
                kspace, mask, weight
            )
            for weight in WEIGHTS
        },
    }
    rows: list[dict] = []
    click.echo(HEADER)
    for sampling, motion in ROWS:
        scores: dict[str, list[float]] = {}
        seconds = dict.fromkeys(methods, 0.0)
        for seed, magnitude in enumerate(slices.values()):
            truth = moving(magnitude, contrast=MOTIONS[motion])
            mask = sampling.mask(truth.shape[-1])
            kspace = measured(truth, mask, seed)
            zero_filled = ifft2c(torch.from_numpy(kspace)).numpy()
            scores.setdefault("zero-filled", []).append(nmse(truth, zero_filled))
            for name, method in methods.items():
                start = time.process_time()
                image = method(kspace, mask)
                seconds[name] += (time.process_time() - start) / FRAMES / len(slices)
                scores.setdefault(name, []).append(nmse(truth, image))
        row = {"sampling": str(sampling), "motion": motion, "nmse": scores, "seconds": seconds}
        rows.append(row)
        click.echo(line(row))
        if output is not None:
            write_json(output, {"files": list(slices), "rows": rows})


def line(row: dict) -> str:
    """A row of the table."""
    mean = {name: float(np.mean(values)) for name, values in row["nmse"].items()}
    best = min((name for name in mean if name.startswith("tv ")), key=mean.__getitem__)
    gain = 1 - mean["series"] / mean["frame by frame"]
    seconds = [row["seconds"][name] for name in (best, "frame by frame", "series")]
    numbers = [mean[name] for name in ("zero-filled", best, "frame by frame", "series")]
    cells = [row["sampling"], row["motion"], *(f"{n:.4f}" for n in numbers), f"{gain:.0%}", best[3:]]
    return f"| {' | '.join([*cells, *(f'{n:.2f}' for n in seconds)])} |"


if __name__ == "__main__":
    main()
