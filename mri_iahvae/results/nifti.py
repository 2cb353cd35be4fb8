"""Volumes as NIfTI files, with the voxel size and position that are known of them."""

import gzip
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import IahvaeError
from mri_iahvae.files import atomic_path
from mri_iahvae.scans.scan import Voxel

_SCANNER, _UNKNOWN = 1, 0  # NIfTI's codes for what an affine leads to
_MAX_AXIS = 2**15 - 1  # NIfTI-1 counts voxels in 16 bits


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the voxels of a volume lie."""

    affine: NDArray[np.float64] = field(repr=False)
    """(4, 4), from (column, row, slice) to mm, x to the patient's left-to-right, y back to front, z feet to head."""
    note: str = ""
    """What is not known, in at most 79 letters; empty where position and orientation are."""


def place(voxel: Voxel | None = None, affine: NDArray[np.floating] | None = None) -> Placement:
    """The placement of a volume; the identity where nothing is known.

    An affine (4, 4) states position and orientation; it decides, unless it is singular. Where only the voxel is known
    slices lie without a gap, 1 mm apart where no thickness is stated.
    """
    if affine is not None and np.isfinite(affine).all() and np.linalg.matrix_rank(affine) == 4:
        return Placement(np.array(affine, np.float64))
    if voxel is None:
        return Placement(np.eye(4), "voxel size and orientation unknown")
    thickness, height, width = voxel
    unknown = "slice gap" if thickness else "slice thickness"
    return Placement(np.diag([width, height, thickness or 1.0, 1.0]), f"orientation and {unknown} unknown")


def write_nifti(path: Path, images: NDArray | h5py.Dataset, placement: Placement) -> None:
    """Write a volume (slices, H, W), an array or a dataset, as float32, or complex64 where complex, slice by slice.

    Voxel (i, j, k) of the file is column i and row j of slice k. A placement without a note is stored as scanner
    coordinates (code 1). Otherwise voxel sizes alone count: the code is that of an unknown orientation (0), and the
    note goes to the header's `descrip`.
    """
    import nibabel  # noqa: PLC0415 - only this format needs it

    if max(images.shape) > _MAX_AXIS:
        raise IahvaeError(
            f"{path}: not written: NIfTI takes {_MAX_AXIS} voxels along an axis, {images.shape}"
        )
    dtype = np.dtype(np.complex64 if images.dtype.kind == "c" else np.float32)
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(images.shape[::-1])
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    code = _UNKNOWN if placement.note else _SCANNER
    header.set_sform(placement.affine, code)
    header.set_qform(placement.affine, code)  # sets the voxel sizes too
    header["descrip"] = placement.note.encode()
    header["vox_offset"] = header.single_vox_offset
    # NIfTI counts columns fastest, then rows, then slices: the very order of an array (slices, H, W).
    # No name and no time in the compressed file: equal volumes make equal files.
    with (
        atomic_path(path) as part,
        part.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as stream,
    ):
        header.write_to(stream)
        for number, image in enumerate(images):
            if not np.isfinite(image).all():
                raise IahvaeError(f"{path}: not written: slice {number} holds NaN or infinity")
            stream.write(np.ascontiguousarray(image, dtype.newbyteorder("<")).tobytes())
