"""NMSE, PSNR and SSIM as fastMRI defines them; SSIM by its own code."""

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.evaluation.mismatch import Mismatch
from mri_iahvae.kspace.centre_crop import crop_image

MIN_SIDE = 7
"""Side of the smallest image: SSIM looks through 7 x 7 windows."""


@dataclass(frozen=True)
class Scores:
    """Quality of one volume of magnitude images."""

    nmse: float
    """Squared error over squared target, both summed over the volume."""
    psnr: float
    """dB, against the volume's data range."""
    ssim: float
    """Mean over the slices; 7 x 7 uniform windows."""

    def to_dict(self) -> dict[str, float | None]:
        return finite(asdict(self))


def finite(values: dict[str, float]) -> dict[str, float | None]:
    """For JSON: what is not finite (a perfect image's PSNR, an all-zero target) becomes None."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def score(target: NDArray[np.floating], image: NDArray[np.floating]) -> Scores:
    """Compare a magnitude volume (slices, H, W), sides of at least 7, with its target, `fastmri.evaluate`'s way.

    The data range of PSNR and SSIM is the maximum of the target volume, as fastMRI takes it; against max - min, PSNR
    would be slightly lower. Nothing is rescaled or cropped. Scores are NaN or infinite where they are not defined (an
    all-zero target).

    Raises:
        ValueError: the shapes differ or are not (slices, H, W).
    """
    if target.ndim != 3 or target.shape != image.shape:
        found = f"{target.shape} and {image.shape}"
        raise ValueError(f"expected two volumes (slices, H, W) of one shape, got {found}")
    running = RunningScores(float(target.max()))
    running.add(target, image)
    return running.scores()


class RunningScores:
    """Scores of a volume that comes slice by slice, `data_range` its target's maximum; nothing is kept but sums."""

    def __init__(self, data_range: float) -> None:
        self._range = data_range
        self._slices = self._pixels = 0
        self._error = self._energy = self._ssim = 0.0
        self.mismatch = Mismatch()

    def add(self, target: NDArray[np.floating], image: NDArray[np.floating]) -> None:
        """Count some slices, (n, H, W) each."""
        # Imported here: fastmri takes seconds to import.
        from fastmri import evaluate  # noqa: PLC0415

        # In double precision: squares of fastMRI's tiny units, about 1e-12, would lose digits in the sums.
        target, image = target.astype(np.float64), image.astype(np.float64)
        self.mismatch.add(target, image)
        self._slices += len(target)
        self._pixels += target.size
        self._error += float(np.square(target - image).sum())
        self._energy += float(np.square(target).sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            self._ssim += float(evaluate.ssim(target, image, maxval=self._range).item()) * len(target)

    def scores(self) -> Scores:
        with np.errstate(divide="ignore", invalid="ignore"):
            error, energy = np.float64(self._error), np.float64(self._energy)
            return Scores(
                nmse=float(error / energy),
                psnr=float(10 * np.log10(self._range**2 * self._pixels / error)),
                ssim=float(np.float64(self._ssim) / self._slices),
            )


def crop_pair(target: NDArray, image: NDArray) -> tuple[NDArray, NDArray]:
    """Crop two volumes (slices, H, W) as `fastmri.evaluate` does before it scores them.

    Both are cropped around their centres to the square of the target's width. fastMRI refuses targets of fewer rows
    than columns; here they keep their height.

    Raises:
        ValueError: the image is smaller than that.
    """
    height, width = target.shape[-2:]
    size = min(height, width), width
    if image.shape[-2] < size[0] or image.shape[-1] < size[1]:
        raise ValueError(f"expected at least {size[0]}x{size[1]}, got {image.shape[-2]}x{image.shape[-1]}")
    return crop_image(target, *size), crop_image(image, *size)
