"""Volumes of magnitude images in HDF5 files: reconstructions, and the targets that they are compared with."""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError, UsageError
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.scans.formats.fastmri_fields import RSS, read_attributes
from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.scans.safety.hdf5 import dataset, guarded_file
from mri_iahvae.scans.safety.limits import MAX_SIDE, MAX_SLICES, MAX_VOXELS
from mri_iahvae.scans.scan import KSPACE, RECONSTRUCTION, REFERENCE

TARGETS = (REFERENCE, RSS)
"""fastMRI's targets, in the order in which they are looked for: a single-coil file holds both."""


@dataclass(frozen=True, eq=False)
class Target:
    """What a reconstruction is compared with.

    Attributes:
        images: real (slices, H, W), magnitude, in the type of the file.
        source: dataset that it comes from; "kspace" where it is the magnitude of fully sampled k-space's inverse FFT.
        acquisition: contrast and sequence, in the file's words; None where it does not say.
    """

    images: NDArray = field(repr=False)
    source: str
    acquisition: str | None


def read_reconstruction(path: Path) -> NDArray:
    """The dataset `reconstruction` of fastMRI's submission format, which `reconstruct` and `denoise` write too.

    Args:
        path: HDF5 file.

    Returns:
        real (slices, H, W), magnitude, in the type of the file.

    Raises:
        ScanError: no such dataset, or not a volume of finite real numbers.
    """
    with guarded_file(path) as file:
        stored = dataset(file, RECONSTRUCTION)
        if stored is None:
            advice = "are predictions and targets the wrong way round?"
            raise ScanError(f"{path}: expected a dataset '{RECONSTRUCTION}', found none; {advice}")
        return _volume(file, stored)


def read_target(path: Path, name: str | None = None) -> Target:
    """The target images of a file.

    Args:
        path: HDF5 file.
        name: dataset at its root; None takes the first of `TARGETS` that there is, and where there is none the
            image of fully sampled single-coil k-space: the magnitude of its inverse FFT, cropped to the header's
            reconSpace, which is how fastMRI makes its `reconstruction_esc`.

    Returns:
        The images, a square of the width of k-space where they are wider; where they come from; the acquisition.

    Raises:
        ScanError: no target, or not a volume of finite real numbers.
        UsageError: `name` is a path.
    """
    if name is not None and "/" in name:  # each part of a path could be a link out of the file
        raise UsageError(f"--target {name}: expected the name of a dataset at the root of the file")
    with guarded_file(path) as file:
        acquisition = str(read_attributes(file).get("acquisition", "")) or None
        for wanted in TARGETS if name is None else (name,):
            if (stored := dataset(file, wanted)) is not None:
                return Target(_within_kspace(file, _volume(file, stored)), wanted, acquisition)
        has_kspace = dataset(file, KSPACE) is not None
    if name is not None:
        raise ScanError(f"{path}: expected a dataset '{name}', found none; give another --target")
    if not has_kspace:
        expected = f"'{TARGETS[0]}', '{TARGETS[1]}' or fully sampled k-space"
        advice = "name the dataset with --target, or are predictions and targets the wrong way round?"
        raise ScanError(f"{path}: expected {expected}, found none; {advice}")
    return Target(_image_of_kspace(path), KSPACE, acquisition)


def _image_of_kspace(path: Path) -> NDArray[np.float32]:
    scan = open_scan(path)
    if not scan.fully_sampled:
        raise ScanError(
            f"{path}: expected '{TARGETS[0]}', '{TARGETS[1]}' or fully sampled k-space, found undersampled k-space; "
            "take the fully sampled file, or name the dataset with --target"
        )
    geometry = scan_geometry(scan)
    images = [
        geometry.crop(
            ifft2c(torch.from_numpy(geometry.reduce(scan.read_coils(number))))
            .abs()
            .square()
            .sum(1)
            .sqrt()
            .numpy()
        )
        for number in range(scan.slices)
    ]
    return np.concatenate(images)


def _within_kspace(file: h5py.File, images: NDArray) -> NDArray:
    """Images wider than k-space (fastMRI's narrow FLAIR files) lose their margin, as in fastMRI's own transforms."""
    kspace = dataset(file, KSPACE)
    side = images.shape[2] if kspace is None or kspace.ndim < 3 else kspace.shape[-1]
    if not 0 < side < min(images.shape[1:]):
        return images
    top, left = ((n - side) // 2 for n in images.shape[1:])
    return images[:, top : top + side, left : left + side]


def _volume(file: h5py.File, stored: h5py.Dataset) -> NDArray:
    name = Path(stored.name).name
    shaped = stored.ndim == 3 and 0 < stored.shape[0] <= MAX_SLICES and stored.size <= MAX_VOXELS
    if (
        not shaped
        or not all(0 < side <= MAX_SIDE for side in stored.shape[1:])
        or stored.dtype.kind not in "iuf"
    ):
        raise ScanError(
            f"{file.filename}: expected real magnitudes (slices, height, width) in '{name}', "
            f"found shape {stored.shape}, type {stored.dtype}; correct it"
        )
    images = stored[()]
    if not np.isfinite(images).all():
        raise ScanError(
            f"{file.filename}: expected finite values in '{name}', found NaN or infinity; repair or leave out the file"
        )
    return np.asarray(images)
