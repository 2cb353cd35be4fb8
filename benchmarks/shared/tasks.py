"""The tasks on which quality is measured: ways to undersample or spoil fully sampled scans."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.evaluation.metrics import Scores, score
from mri_iahvae.inference.settings import DataConsistency
from mri_iahvae.kspace.bands import block_mask
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.scans.reader import open_scan


@dataclass(frozen=True)
class Task:
    """One way to undersample or spoil a scan.

    Attributes:
        name: of its row.
        consistency: what the output of our methods holds at measured bins; "none" where everything is measured,
            because "hard" would return the data.
        up_to: side of the centred block that is measured.
        columns: acceleration, fraction of the centre, and kind of a column mask.
        density: acceleration of a 2-D random mask.
        noise: standard deviation per part of the noise added, over the slice's RMS magnitude.
    """

    name: str
    consistency: DataConsistency
    up_to: int | None = None
    columns: tuple[int, float, str] | None = None
    density: float | None = None
    noise: float = 0.0

    @property
    def undersampled(self) -> bool:
        """Whether any bin is missing."""
        return self.up_to is not None or self.columns is not None or self.density is not None

    def mask(self, size: int, seed: str) -> NDArray[np.bool_]:
        """(size, size), true where measured; `seed` is the file's name."""
        if self.up_to is not None:
            return block_mask(min(self.up_to, size), size).numpy()
        if self.columns is not None:
            acceleration, fraction, kind = self.columns
            columns = column_mask(size, acceleration, fraction, kind, seed)  # type: ignore[arg-type]
            return np.broadcast_to(columns, (size, size)).copy()
        if self.density is not None:
            return variable_density(size, self.density, seed)
        return np.ones((size, size), bool)

    def measure(
        self, name: str, full: NDArray[np.complex64]
    ) -> tuple[NDArray[np.complex64], NDArray[np.bool_], NDArray[np.float32]]:
        """What this task leaves of a volume.

        Args:
            name: of its file: seeds mask and noise.
            full: k-space (slices, N, N).

        Returns:
            k-space with the task's noise, zero where not measured; mask (N, N); noise sigma per part (slices,).
        """
        values = torch.from_numpy(full)
        level = self.noise * rms(values)
        if self.noise:
            generator = torch.Generator().manual_seed(sum(map(ord, name)))
            values = values + complex_noise(tuple(values.shape), level[:, None, None], generator)
        mask = self.mask(full.shape[-1], name)
        return np.where(mask, values.numpy(), 0), mask, level.numpy()


TASKS = (
    Task("everything measured", "none"),
    *(Task(f"up to {s}x{s}", "hard", up_to=s) for s in (8, 16, 32, 64)),
    Task("random columns 4x / 0.08", "hard", columns=(4, 0.08, "random")),
    Task("random columns 8x / 0.04", "hard", columns=(8, 0.04, "random")),
    Task("equispaced columns 4x / 0.08", "hard", columns=(4, 0.08, "equispaced")),
    Task("2-D variable density 6x", "hard", density=6.0),
    *(Task(f"denoise {r}", "soft", noise=r) for r in (0.1, 0.2, 1.0)),
)


def chosen_tasks(only: tuple[str, ...]) -> list[Task]:
    """The tasks whose name holds one of these texts; all when there are none."""
    return [task for task in TASKS if not only or any(text in task.name for text in only)]


def variable_density(size: int, acceleration: float, seed: str) -> NDArray[np.bool_]:
    """2-D random mask, density falling as a Gaussian of the radius, a 12 x 12 centre always measured."""
    generator = np.random.default_rng([ord(c) for c in seed])
    axis = (np.arange(size) - size // 2) / size
    density = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * 0.2**2))
    half = slice(size // 2 - 6, size // 2 + 6)
    density[half, half] = np.inf
    low, high = 0.0, 10.0
    for _ in range(60):  # bisection for the factor that gives the fraction of bins
        factor = (low + high) / 2
        too_many = np.minimum(1, factor * density).mean() > 1 / acceleration
        low, high = (low, factor) if too_many else (factor, high)
    return generator.random((size, size)) < factor * density


def scans(data: Path) -> Iterator[tuple[str, NDArray[np.complex64], NDArray[np.float32]]]:
    """(name, k-space, reference) of each file of a folder."""
    for path in sorted(data.glob("*.h5")):
        scan = open_scan(path)
        yield path.name, scan.read(slice(None)), scan.read_reference(slice(None))


def scored(references: NDArray[np.floating], images: NDArray[np.inexact]) -> list[Scores]:
    """Scores of each slice as a volume of its own; (slices, N, N) twice."""
    pairs = zip(references, np.abs(images), strict=True)
    return [score(reference[None], image[None]) for reference, image in pairs]


def nmses(references: NDArray[np.floating], images: NDArray[np.inexact]) -> list[float]:
    """NMSE of each slice; (slices, N, N) twice."""
    return [each.nmse for each in scored(references, images)]


def means(scores: Sequence[Scores]) -> dict[str, float]:
    """The mean of each score."""
    rows = [vars(one) for one in scores]
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


@dataclass(frozen=True)
class Measurement:
    """One file, measured as a task does, and the truth.

    Attributes:
        task: the task.
        kspace: complex64 (slices, N, N), zero where not measured.
        mask: bool (N, N).
        sigma: float32 (slices,), noise added per part.
        full: complex64 (slices, N, N), k-space before the task.
        reference: float32 (slices, N, N), noise-free magnitude.
    """

    task: Task
    kspace: NDArray[np.complex64]
    mask: NDArray[np.bool_]
    sigma: NDArray[np.float32]
    full: NDArray[np.complex64]
    reference: NDArray[np.float32]

    def part(self, chosen: slice) -> "Measurement":
        """Some of the slices."""
        arrays = ("kspace", "sigma", "full", "reference")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})

    def consistent(self, images: NDArray[np.complexfloating]) -> NDArray[np.complex64]:
        """Images (slices, N, N) with the measured bins put back, where the task's output holds them.

        Our methods do so by themselves; the others get the same last step.
        """
        if self.task.consistency != "hard":
            return images.astype(np.complex64)
        bins = fft2c(torch.from_numpy(images.astype(np.complex64))).numpy()
        return ifft2c(torch.from_numpy(np.where(self.mask, self.kspace, bins))).numpy()

    def scored(self, images: NDArray[np.complexfloating]) -> list[Scores]:
        """Scores of each slice as a volume of its own."""
        return scored(self.reference, images)


def timed_scores(run: Callable[[Any], NDArray[np.inexact]], measured: Sequence[Any]) -> dict[str, float]:
    """Mean scores over all slices of measurements, and processor seconds of a slice."""
    start = time.process_time()
    images = [run(one) for one in measured]
    seconds = time.process_time() - start
    scores = [each for one, image in zip(measured, images, strict=True) for each in one.scored(image)]
    return {**means(scores), "seconds_per_slice": seconds / len(scores)}


def measurements(data: Path, task: Task, chosen: slice = slice(None)) -> list[Measurement]:
    """Every file of a folder, as the task measures it.

    Mask and noise are drawn for the whole file, so that a choice of slices does not change them.
    """
    found = []
    for name, full, reference in scans(data):
        found.append(Measurement(task, *task.measure(name, full), full, reference).part(chosen))
    if not found:
        raise FileNotFoundError(f"{data}: no .h5 files")
    return found
