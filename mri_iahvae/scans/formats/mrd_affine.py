"""Where the slices of ISMRMRD raw data lie in the patient."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.scans.formats.mrd_acquisitions import Slice
from mri_iahvae.scans.header import Header

_TOLERANCE = 0.01  # of a unit vector, and of the distance between slices
_RAS = np.diag([-1.0, -1.0, 1.0])  # ISMRMRD counts to the left and back, NIfTI to the right and front


def in_order(slices: Sequence[Slice]) -> tuple[list[Slice], tuple[str, ...]]:
    """Slices along their normal, as numbers often follow the order of excitation; and perhaps a warning.

    That is where they cannot make a volume: not parallel, or not evenly spaced. They then stay as they were, or along
    their normal. No warning where the file states no position.
    """
    slices = list(slices)
    if len(slices) == 1 or not all(_stated(one) for one in slices):
        return slices, ()
    if not _parallel(slices):
        text = "slices are not parallel: they lie in the order of their numbers, without orientation"
        return slices, (text,)
    normal = slices[0].directions[2]
    slices.sort(key=lambda one: float(one.position @ normal))
    return slices, () if _even(slices) else ("slices are not evenly spaced: their position is left out",)


def native_affine(slices: Sequence[Slice], header: Header) -> NDArray[np.float64] | None:
    """The affine of the image of the whole k-space array, of slices in order.

    It is (4, 4), from (column, row, slice) to mm, x to the patient's left-to-right, y back to front, z feet to head.
    The position of a slice is that of pixel (height // 2, width // 2), where the FFT has its origin. None where the
    file does not say, or the slices make no even volume.
    """
    first = slices[0]
    placed = all(_stated(one) for one in slices) and _parallel(slices) and _even(slices)
    if header.voxel is None or not placed:
        return None
    read, phase, normal = first.directions
    height, width = header.encoded
    thickness, pixel_height, pixel_width = header.voxel
    if len(slices) > 1:
        step = (slices[-1].position - first.position) / (len(slices) - 1)
    elif thickness is None:
        return None
    else:
        step = normal * thickness
    affine = np.eye(4)
    affine[:3, :3] = np.stack([phase * pixel_width, read * pixel_height, step], axis=1)
    affine[:3, 3] = first.position - affine[:3, 0] * (width // 2) - affine[:3, 1] * (height // 2)
    affine[:3] = _RAS @ affine[:3]
    return affine


def _stated(one: Slice) -> bool:
    """Whether the directions are three unit vectors at right angles, and the position is a number."""
    if not (np.isfinite(one.position).all() and np.isfinite(one.directions).all()):
        return False
    return bool(np.abs(one.directions @ one.directions.T - np.eye(3)).max() < _TOLERANCE)


def _parallel(slices: Sequence[Slice]) -> bool:
    return all(np.abs(one.directions - slices[0].directions).max() <= _TOLERANCE for one in slices)


def _even(slices: Sequence[Slice]) -> bool:
    """Whether positions differ by one and the same vector."""
    if len(slices) == 1:
        return True
    steps = np.diff([one.position for one in slices], axis=0)
    step = steps.mean(axis=0)
    size = float(np.linalg.norm(step))
    return size > 0 and bool(np.abs(steps - step).max() <= _TOLERANCE * size)
