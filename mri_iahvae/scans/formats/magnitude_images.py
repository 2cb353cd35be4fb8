"""Magnitude images from NIfTI volumes, npz archives and folders of pictures, on a square grid."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError, reason, unusable
from mri_iahvae.kspace.centre_crop import recentre
from mri_iahvae.scans.contents import foreign_content
from mri_iahvae.scans.formats.nifti import NIFTI_SUFFIXES, foreign_file, nifti_image, voxel_size
from mri_iahvae.scans.formats.npz import npz_array
from mri_iahvae.scans.formats.pictures import MAX_SIDE, read_pictures
from mri_iahvae.scans.safety.limits import MAX_VOXELS
from mri_iahvae.words import counted

MIN_SIDE = 128
"""Side of the smallest grid."""

_FREE_BYTES = 2**30  # may be claimed by an archive of any size
_MAX_RATIO = 64  # of the claimed size to the size of the archive: images compress far less


class Volume(NamedTuple):
    """Slices of one volume."""

    name: str
    """Of the file without its suffix, of the folder, or of the subject."""
    images: NDArray[np.float32]
    """(slices, N, N), N even, at least 128; zero-padded around the centre, at least 0, largest value 1."""
    size: tuple[int, int]
    """Rows and columns before padding."""
    voxel: tuple[float, float, float] | None = None
    """Distance of slices, rows and columns in mm, where the file says."""
    remarks: tuple[str, ...] = ()
    """What of the file is not in the images, in words."""


def read_magnitudes(path: str | Path) -> Iterator[Volume]:
    """Volumes of a file, one by one.

    Slices that are square, of even size and at least 128 x 128 stay as they are; others are padded to the next size
    that is, so that pixels stay square on a model's grid.

    Args:
        path: NIfTI (`.nii`, `.nii.gz`; of a 4-D file the first volume, of complex voxels the magnitude), cut into
            axial slices shown as in radiology: nose up, patient's right on the left; or `.npz` with `images`
            (n, H, W) and optionally `subject` (n,), which makes one volume per subject, in order of appearance; or
            a folder of PNG or JPEG slices, see `read_pictures`.
    """
    path = Path(path)
    if path.is_dir():
        yield _prepare(path, path.resolve().name, read_pictures(path))
    elif not path.is_file():
        raise unusable(path, "a NIfTI or npz file or a folder of pictures", "none", "check the path")
    elif foreign := foreign_content(path):
        raise unusable(path, "a NIfTI or npz file or a folder of pictures", *foreign)
    elif path.name.lower().endswith(NIFTI_SUFFIXES):
        name = path.name[: path.name.lower().rindex(".nii")]
        yield _prepare(path, name, *_nifti_slices(path))
    elif path.suffix == ".npz":
        for name, images in _npz_volumes(path):
            yield _prepare(path, name, images)
    else:
        wanted = ".nii, .nii.gz, .npz or a folder of pictures"
        raise unusable(path, wanted, f"'{path.suffix}'", "convert it")


def _nifti_slices(
    path: Path,
) -> tuple[NDArray[np.float32], tuple[float, float, float] | None, tuple[str, ...]]:
    """Axial slices (z, y, x), from the feet up, front of the head at the top; size of a voxel; remarks."""
    import nibabel  # noqa: PLC0415 - only this format needs it

    volume = nifti_image(path)
    if len(volume.shape) not in {3, 4} or prod(volume.shape[:3]) > MAX_VOXELS:
        raise _refused(path, f"shape {volume.shape}")
    count = prod(volume.shape[3:])
    with foreign_file(path):
        volume = volume.slicer[..., 0] if len(volume.shape) == 4 else volume
        with np.errstate(all="ignore"):  # infinity and NaN are refused later
            volume = nibabel.as_closest_canonical(volume)  # axes to the patient's right, front, head
            if volume.get_data_dtype().kind == "c":
                voxels = np.abs(np.asarray(volume.dataobj, np.complex64))
            else:
                voxels = np.asarray(volume.dataobj, np.float32)
        voxel = voxel_size(volume)
    return voxels[::-1, ::-1].transpose(2, 1, 0), voxel, (f"first of {count} volumes",) if count > 1 else ()


def _npz_volumes(path: Path) -> Iterator[tuple[str, NDArray]]:
    try:
        with ZipFile(path) as archive:
            most = max(_FREE_BYTES, _MAX_RATIO * path.stat().st_size)
            images = npz_array(archive, "images", "iuf", most)
            named = "subject.npy" in archive.namelist()
            subject = npz_array(archive, "subject", "USiu", _FREE_BYTES // 16).astype(str) if named else None
            names = [] if subject is None else list(dict.fromkeys(subject.tolist()))
    except Exception as error:
        # The parsers of archives and headers raise a dozen types, from SyntaxError to zlib.error.
        raise _refused(path, reason(error)) from error
    if images.ndim != 3:
        raise _refused(path, f"shape {images.shape}")
    if subject is None:
        yield path.stem, images
        return
    if subject.shape != images.shape[:1]:
        raise _refused(path, f"{subject.shape} subjects for {counted(len(images), 'image')}")
    for name in names:
        yield name, images[subject == name]


def _prepare(
    path: Path,
    name: str,
    images: NDArray,
    voxel: tuple[float, float, float] | None = None,
    remarks: tuple[str, ...] = (),
) -> Volume:
    """Non-negative, scaled to 1 per volume (slices keep their relative brightness), padded to the grid."""
    count, height, width = images.shape
    side = max(MIN_SIDE, height + height % 2, width + width % 2)
    if not 0 < max(height, width) <= MAX_SIDE or not 0 < count * side**2 <= MAX_VOXELS:
        raise _refused(path, f"{counted(count, 'slice')} of {height}x{width}")
    with np.errstate(over="ignore", invalid="ignore"):  # infinity and NaN are refused in the next lines
        images = images.astype(np.float32)
    if not np.isfinite(images).all():
        raise _refused(path, "values that are NaN or infinite", "set them to zero")
    if negative := np.count_nonzero(images < 0):
        remarks = (*remarks, f"negative values ({negative / images.size:.2g} of all) set to zero")
    images = images.clip(min=0)
    peak = images.max()
    if peak == 0:
        raise _refused(path, "no value above zero")
    return Volume(name, recentre(images / peak, side, side), (height, width), voxel, remarks)


def _refused(path: Path, found: str, advice: str = "convert the file") -> ScanError:
    wanted = "magnitude images, 3-D or 4-D NIfTI or npz with `images` (n, H, W)"
    return unusable(path, wanted, found, advice)
