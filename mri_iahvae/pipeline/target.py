"""What a result is scored against: an image of its own kind that is not the measurement it was made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.kspace.centre_crop import crop_image
from mri_iahvae.pipeline.coil_image import sensitivity_image
from mri_iahvae.pipeline.request import CoilCombine
from mri_iahvae.scans.coil_maps import CoilMaps
from mri_iahvae.scans.geometry import MIN_SIDE, Geometry, reference_fits
from mri_iahvae.scans.scan import Scan
from mri_iahvae.scans.undersampling import SampledMask

_ROUNDING = 1e-4  # of the norm: FFTs in single precision leave 1e-6, and thermal noise more than this


@dataclass(frozen=True, eq=False)
class Target:
    """What a result is scored against.

    Attributes:
        source: in words, for the record; nothing where there are no scores.
        image: of a slice, by its number: float32 (height, width), as large as the result.
        peak: largest value of the volume.
        doubt: why there are no scores, one sentence, where a user may expect some.
    """

    source: str = ""
    image: Callable[[int], NDArray[np.float32]] = lambda _: np.zeros((0, 0), np.float32)
    peak: float = 0.0
    doubt: str = ""


def find_target(
    scan: Scan,
    geometry: Geometry,
    sampled: SampledMask,
    *,
    task: Literal["reconstruct", "denoise"] = "reconstruct",
    coil_combine: CoilCombine = "rss",
    maps: CoilMaps | None = None,
    outliers: bool = False,
) -> Target:
    """The file's reference, or the image of fully sampled k-space of which a reconstruction used a part.

    A denoised image is not compared with the noisy one: that would reward what left the noise in. Nor is a
    sensitivity-weighted combination with a root sum of squares.

    Args:
        scan: the input.
        geometry: of its image.
        sampled: the bins of it that are used.
        task: "reconstruct" or "denoise".
        coil_combine: of several coils, the result's.
        maps: their sensitivities, where they are given.
        outliers: whether bins were left out because they are spikes, which spoil the image of all bins.

    Raises:
        ScanError: the reference or k-space cannot be read.
    """
    weighted = scan.coils > 1 and coil_combine == "sensitivity"

    def stored(number: int) -> NDArray[np.float32]:
        return crop_image(scan.read_reference(number)[0], *geometry.image)

    def measured(number: int) -> NDArray[np.float32]:
        kspace = scan.read_coils(number)[0]
        if not weighted:
            return geometry.image_of(kspace)
        mask = geometry.reduce_mask(scan.masks[number])
        given = None if maps is None else maps.read(slice(number, number + 1))
        return np.abs(geometry.crop(sensitivity_image(geometry.reduce(kspace), mask, given)))

    left_out = not sampled.mask[..., slice(*scan.acquired)].all()
    usable = scan.fully_sampled and left_out and task == "reconstruct" and not outliers
    if not sampled.mask.any():
        return Target()  # a sample of the prior, not of this scan
    if usable and (weighted or scan.reference is None) and min(geometry.image) >= MIN_SIDE:
        kind = "sensitivity-weighted image" if weighted else "image"
        return _ready(scan, f"the {kind} of all its k-space", measured)
    if scan.reference is None:
        return Target()
    kinds = "the reference is a root sum of squares, the result weighted by sensitivities: no scores"
    if doubt := _misfit(scan, geometry) or (weighted and kinds):
        return Target(doubt=doubt)
    target = _ready(scan, "its reference", stored)
    if task == "denoise" and scan.fully_sampled and target.source and _same(scan, stored, measured):
        return Target(doubt="the reference is the image of the very k-space that was denoised: no scores")
    return target


def _ready(scan: Scan, source: str, image: Callable[[int], NDArray[np.float32]]) -> Target:
    peak = max(float(image(number).max()) for number in range(scan.slices))
    return Target(source, image, peak) if peak > 0 else Target()


def _same(scan: Scan, one: Callable[[int], NDArray], other: Callable[[int], NDArray]) -> bool:
    """Whether the images agree to within rounding, in the brightest slice: others may be empty."""
    number = max(range(scan.slices), key=lambda n: float(one(n).max()))
    first, second = one(number).astype(np.float64), other(number)
    return bool(np.linalg.norm(first - second) <= _ROUNDING * np.linalg.norm(first))


def _misfit(scan: Scan, geometry: Geometry) -> str:
    """Why the reference cannot be compared with the result; nothing where it can."""
    (rows, columns), size = scan.reference or (0, 0), geometry.image
    if not reference_fits(scan):
        expected = f"from {MIN_SIDE}x{MIN_SIDE} to the {geometry.native[0]}x{geometry.native[1]} of k-space"
        return f"the reference is {rows}x{columns}, expected {expected}: not used"
    if rows < size[0] or columns < size[1] or min(size) < MIN_SIDE:
        return f"the reference is {rows}x{columns}, the image {size[0]}x{size[1]}: not compared"
    return ""
