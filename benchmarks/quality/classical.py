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
from mri_iahvae.kspace.fft import ifft2c

Slice = NDArray[np.complex64]
"""(N, N)."""

GRID = tuple(float(f"{10 ** (k / 4):.3g}") for k in range(-16, 3))
"""Regularisation weights in units of the measured RMS, four per decade; below the first the data are met exactly."""

_TV_STEPS = 200
_WAVELET_STEPS = 100
_WAVELET = "db4"
_SHIFTS = 16


def total_variation(kspace: Slice, mask: NDArray[np.bool_], weight: float) -> Slice:
    """min |F x - y|^2 / 2 + weight |grad x|_1 by sigpy, anisotropic, of the complex image.

    sigpy's default steps suit a dual variable as large as the image. Here it is at most `weight`, and a dual step of
    that size is what converges: NMSE 0.0798 after 200 steps and 0.0800 after 800 on four tuning slices at random
    columns 4x, weight 0.01, where the default gives 0.120 after 300.
    """
    from sigpy.mri.app import TotalVariationRecon  # noqa: PLC0415

    maps, weights = np.ones((1, *kspace.shape), np.complex64), mask.astype(np.float32)
    # Without weights sigpy would take a measured bin that is exactly zero for an unmeasured one.
    app = TotalVariationRecon(
        kspace[None], maps, weight, weights=weights, sigma=weight, max_iter=_TV_STEPS, show_pbar=False
    )
    return app.run()


def l1_wavelet(kspace: Slice, mask: NDArray[np.bool_], weight: float, maps: Slice | None = None) -> Slice:
    """min |F x - y|^2 / 2 + weight |W x|_1 by sigpy: FISTA, Daubechies 4, each step's wavelets shifted at random.

    Wavelets in one place leave blocks, and do little against columns that are missing (`L1WaveletRecon`, random
    columns 4x: NMSE 0.124 on four tuning slices, where zero-filled has 0.137 and these have 0.100). BART shifts too.
    """
    import sigpy  # noqa: PLC0415
    import sigpy.mri  # noqa: PLC0415 - does not come with sigpy

    wavelet = sigpy.linop.Wavelet(kspace.shape[-2:], wave_name=_WAVELET)
    generator = np.random.default_rng(0)

    class Shifted(sigpy.prox.Prox):
        def _prox(self, alpha: float, input: Slice) -> Slice:  # noqa: A002 - sigpy's name
            shift = generator.integers(_SHIFTS, size=2)
            coefficients = sigpy.soft_thresh(weight * alpha, wavelet(np.roll(input, shift, (0, 1))))
            return np.roll(wavelet.H(coefficients), -shift, (0, 1))

    if maps is None:
        kspace, maps = kspace[None], np.ones((1, *kspace.shape), np.complex64)
    sense = sigpy.mri.linop.Sense(maps, weights=mask.astype(np.float32))
    app = sigpy.app.LinearLeastSquares(
        sense, kspace, proxg=Shifted(kspace.shape[-2:]), alpha=1, max_iter=_WAVELET_STEPS, show_pbar=False
    )  # step 1: the transform is unitary
    return app.run()


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
    """A method: `run` takes (k-space, mask, weight) where it is tuned, or one part of an image and its sigma.

    Attributes:
        run: the function above.
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
                images.append(unit * self.run(kspace / unit, measurement.mask, weight))
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
@click.option("--json", "output", type=click.Path(path_type=Path), required=True, help="Where weights go.")
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
