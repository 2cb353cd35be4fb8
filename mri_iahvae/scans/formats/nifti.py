"""NIfTI volumes as scans: images whose k-space is their FFT, all of it measured."""

import logging
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import reason, unusable
from mri_iahvae.scans.safety.limits import MAX_SIDE, MAX_SLICES
from mri_iahvae.scans.scan import Scan, Source, file_changed

NIFTI_SUFFIXES = (".nii", ".nii.gz")

_HEADER_BYTES = {348: "Nifti1Header", 540: "Nifti2Header"}
_SINGLE_FILE = (b"n+1", b"n+2")
_MILLIMETRES = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}  # NIfTI's codes of units; 0 states none, and means this one
_MAX_OFFSET = 2**24  # extensions lie before the voxels; they are not read


@dataclass(frozen=True)
class NiftiSource(Source):
    """k-space of the slices of a NIfTI volume (columns, rows, slices), which is opened for each call."""

    path: Path
    shape: tuple[int, int, int]

    def kspace(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """As `Source.kspace`."""
        image = nifti_image(self.path)
        if _volume_shape(image.shape) != self.shape:
            raise file_changed(self.path)
        with foreign_file(self.path):
            for number in numbers:
                # What overflows becomes infinity or NaN, which the caller refuses.
                with np.errstate(over="ignore", invalid="ignore"):
                    pixels = np.fft.ifftshift(_slice(image, number).T)
                    bins = np.fft.fftshift(np.fft.fft2(pixels, norm="ortho"))  # `kspace.fft` needs torch
                yield bins[None]


def open_nifti(path: Path) -> Scan:
    """Check a volume, `.nii` or `.nii.gz`, real or complex, and describe it; everything is measured.

    Voxel (i, j, k) becomes column i and row j of slice k, as `results.nifti.write_nifti` has them, so a result lies
    where the volume lay.
    """
    image = nifti_image(path)
    if prod(image.shape[3:]) > 1:
        advice = "take one of them, for example with `fslroi` or nibabel"
        raise unusable(path, "one volume", f"shape {image.shape}", advice)
    width, height, slices = _volume_shape(image.shape)
    warnings = []
    if image.get_data_dtype().kind != "c":
        with foreign_file(path), np.errstate(over="ignore", invalid="ignore"):
            below = sum(np.count_nonzero(_slice(image, number) < 0) for number in range(slices))
        percent = f"{100 * below / (width * height * slices):.3g} %"
        negative = f"{percent} of the values are negative: results are magnitudes, which lose the signs"
        warnings.append(negative if below else "magnitude images have no phase: zero phase is assumed")
    if oriented := bool(image.header["sform_code"] or image.header["qform_code"]):
        affine = np.diag([_unit(image)] * 3 + [1.0]) @ image.affine
    else:
        warnings.append("no orientation is stated: voxel sizes alone are known")
    return Scan(
        path=path,
        slices=slices,
        coils=1,
        height=height,
        width=width,
        mask=np.ones((height, width), bool),
        mask_source="full",
        source=NiftiSource(path, (width, height, slices)),
        acquired=(0, width),
        voxel=voxel_size(image),
        affine=affine if oriented else None,
        warnings=tuple(warnings),
    )


def nifti_image(path: Path) -> Any:  # noqa: ANN401 - nibabel has no types
    """A nibabel image of two dimensions or more, with real or complex voxels, its header checked.

    Voxels are read on demand, extensions never.
    """
    import nibabel  # noqa: PLC0415 - only this format needs it
    from nibabel.arrayproxy import ArrayProxy  # noqa: PLC0415

    with foreign_file(path):
        with nibabel.openers.ImageOpener(str(path)) as file:
            start = file.read(max(_HEADER_BYTES))
        sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")} & set(_HEADER_BYTES)
        if not sizes or len(start) < (size := sizes.pop()):
            raise ValueError("no NIfTI header")
        header = getattr(nibabel, _HEADER_BYTES[size])(start[:size])
        shape, dtype, offset = header.get_data_shape(), header.get_data_dtype(), header.get_data_offset()
        if header["magic"].item()[:3] not in _SINGLE_FILE or not size <= offset <= _MAX_OFFSET:
            raise ValueError(f"a header without its voxels ({header['magic'].item()!r}, offset {offset})")
        if len(shape) < 2 or dtype.kind not in "iufc":
            raise ValueError(f"shape {shape}, type {dtype}")
        *sides, slices = _volume_shape(shape)
        if not (min(shape) > 0 and max(sides) <= MAX_SIDE and slices <= MAX_SLICES):
            raise ValueError(f"shape {shape}, beyond {MAX_SIDE}x{MAX_SIDE} voxels and {MAX_SLICES} slices")
        wanted = offset + prod(shape) * dtype.itemsize
        if path.suffix.lower() == ".nii" and path.stat().st_size < wanted:
            raise ValueError(f"{path.stat().st_size} bytes where its header wants {wanted}")
        # Kept open for as long as the image lives: slices of a compressed file are then one pass, not one each.
        voxels = ArrayProxy(str(path), header, keep_file_open=True)
        # The numbers of NIfTI-2 may be too large for the types of NIfTI-1.
        with np.errstate(all="ignore"):
            return nibabel.Nifti1Image(voxels, header.get_best_affine(), header)


def _slice(image: Any, number: int) -> NDArray:  # noqa: ANN401
    """Voxels (columns, rows) of one slice of the first volume."""
    where = (slice(None), slice(None), number, *(0,) * (len(image.shape) - 3))
    return np.asarray(image.dataobj[where[: len(image.shape)]])


def voxel_size(image: Any) -> tuple[float, float, float] | None:  # noqa: ANN401
    """Distance of slices, rows and columns in mm of a nibabel image; None where its header holds no usable numbers."""
    columns, rows, slices = (float(zoom) * _unit(image) for zoom in (*image.header.get_zooms(), 1.0)[:3])
    usable = all(isfinite(mm) and mm > 0 for mm in (columns, rows, slices))
    return (slices, rows, columns) if usable else None


def _unit(image: Any) -> float:  # noqa: ANN401
    """In mm; 0 for a code that NIfTI does not have."""
    return _MILLIMETRES.get(int(image.header["xyzt_units"]) & 7, 0.0)


@contextmanager
def foreign_file(path: Path) -> Iterator[None]:
    """What nibabel raises within, on bytes of any kind, becomes one line."""
    import nibabel  # noqa: PLC0415

    errors = (
        nibabel.spatialimages.HeaderDataError,
        nibabel.filebasedimages.ImageFileError,
        nibabel.orientations.OrientationError,
    )
    logger = nibabel.imageglobals.logger
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # nibabel logs what it repairs in a header
    try:
        yield
    except (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error, *errors) as error:
        advice = "copy or convert the file again"
        raise unusable(path, "a NIfTI volume of numbers", reason(error), advice) from error
    finally:
        logger.setLevel(level)


def _volume_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(columns, rows, slices)."""
    width, height, slices = (*shape, 1)[:3]
    return width, height, slices
