"""Reconstruction without training: total variation and L1-wavelet compressed sensing, wavelet shrinkage, BM3D.

    python -m benchmarks.quality.classical data/tuning --every 3 --json benchmarks/quality/classical.json

Needs the extra `bench`. Every slice is divided by the RMS of its measured k-space, so that one regularisation weight
fits all; this command finds that weight for each task on subjects of which no number is reported, and `compare.py`
reads it from the JSON. Wavelet shrinkage and BM3D get the noise level instead, and treat real and imaginary part
as two images.
"""

import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.shared import options
from benchmarks.shared.tasks import TASKS, Measurement, Task, measurements
from mri_iahvae.files import write_json
from mri_iahvae.inference.rivals.total_variation import total_variation
from mri_iahvae.inference.rivals.wavelet import l1_wavelet
from mri_iahvae.kspace.fft import ifft2c

GRID = tuple(float(f"{10 ** (k / 4):.3g}") for k in range(-16, 3))
"""Regularisation weights in units of the measured RMS, four per decade; below the first the data are met exactly."""

_WAVELET = "db4"


def wavelet_shrinkage(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """BayesShrink by scikit-image, Daubechies 4, averaged over shifts."""
    import pywt  # noqa: PLC0415
    from skimage.restoration import cycle_spin, denoise_wavelet  # noqa: PLC0415

    levels = pywt.dwtn_max_level(image.shape, _WAVELET)  # the default leaves the noise of the coarse ones
    options = {"wavelet": _WAVELET, "method": "BayesShrink", "wavelet_levels": levels, "rescale_sigma": False}
    return cycle_spin(image, denoise_wavelet, 3, func_kw={"sigma": sigma, **options}, workers=1)


def bm3d(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """BM3D by its authors' package, both stages, its standard profile."""
    from bm3d import bm3d as run  # noqa: PLC0415

    return run(image, sigma)


@dataclass(frozen=True)
class Classical:
    """A method.

    Attributes:
        run: of `inference.rivals.seam.Method` where it is tuned, else a function of one part of an image and its sigma.
        package: what it needs, by the name under which it is installed.
        tuned: whether it has a weight; else it gets the noise level, and cannot do without noise.
        noise: whether it is run against noise.
    """

    run: Callable[..., NDArray[np.inexact]]
    package: str
    tuned: bool
    noise: bool

    @property
    def available(self) -> bool:
        """Whether its package is installed."""
        return importlib.util.find_spec(self.package.replace("PyWavelets", "pywt")) is not None

    @property
    def version(self) -> str:
        """Name and version of its package."""
        return f"{self.package} {importlib.metadata.version(self.package)}"

    def treats(self, task: Task) -> bool:
        """Whether the task is one of its own."""
        return self.noise if task.noise else task.undersampled and self.tuned

    def reconstruct(self, measurement: Measurement, weight: float | None) -> NDArray[np.complex64]:
        """Images (slices, N, N)."""
        scale = np.sqrt(np.mean(np.abs(measurement.kspace) ** 2, axis=(1, 2)))
        images = []
        for kspace, unit, sigma in zip(measurement.kspace, scale, measurement.sigma, strict=True):
            if self.tuned:
                images.append(unit * self.run(kspace[None] / unit, measurement.mask, None, weight))
                continue
            image = ifft2c(torch.from_numpy(kspace / unit)).numpy()
            parts = [self.run(part, float(sigma / unit)) for part in (image.real, image.imag)]
            images.append(unit * (parts[0] + 1j * parts[1]))
        return measurement.consistent(np.stack(images))


CLASSICAL = {
    "total variation": Classical(total_variation, "sigpy", tuned=True, noise=True),
    "L1-wavelet": Classical(l1_wavelet, "sigpy", tuned=True, noise=False),
    "wavelet shrinkage": Classical(wavelet_shrinkage, "PyWavelets", tuned=False, noise=True),
    "BM3D": Classical(bm3d, "bm3d", tuned=False, noise=True),
}


def tune(method: Classical, measured: list[Measurement]) -> dict[float, float]:
    """Mean NMSE over slices by weight: downhill on the grid, in steps of a decade, then half and a quarter."""
    found: dict[int, float] = {}

    def nmse(index: int) -> float:
        if index not in found:
            images = [method.reconstruct(one, GRID[index]) for one in measured]
            scores = [s.nmse for one, image in zip(measured, images, strict=True) for s in one.scored(image)]
            found[index] = float(np.mean(scores))
        return found[index]

    best = GRID.index(0.01)
    for reach in (4, 2, 1):
        while (near := min(_near(best, reach), key=nmse)) != best:
            best = near
    return {GRID[index]: found[index] for index in sorted(found)}


def _near(index: int, reach: int) -> list[int]:
    """The index itself first, and those at this distance that the grid has."""
    return [index, *(other for other in (index - reach, index + reach) if 0 <= other < len(GRID))]


@click.command()
@options.data
@options.required_output
@click.option("--every", default=1, show_default=True, help="Take every n-th slice of each file.")
def main(data: Path, output: Path, every: int) -> None:
    """Tune the weights on the fully sampled fastMRI-schema files in DATA."""
    record: dict[str, dict[str, dict]] = {"weights": {}, "nmse": {}}
    for task in TASKS:
        measured = measurements(data, task, slice(None, None, every))
        for name, method in CLASSICAL.items():
            if not (method.tuned and method.treats(task)):
                continue
            found = tune(method, measured)
            weight = min(found, key=found.__getitem__)
            edge = "  (the grid's edge)" if weight in (GRID[0], GRID[-1]) else ""
            click.echo(f"{task.name:30} {name:16} weight {weight:g}  NMSE {found[weight]:.5f}{edge}")
            record["weights"].setdefault(task.name, {})[name] = weight
            record["nmse"].setdefault(task.name, {})[name] = {f"{key:g}": nmse for key, nmse in found.items()}
            write_json(output, record)


if __name__ == "__main__":
    main()
