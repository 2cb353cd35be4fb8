"""Volumes of magnitude images in HDF5 files: reconstructions, and the targets that they are compared with."""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError, UsageError
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.scans.fields import KSPACE, MAX_SIDE, MAX_SLICES, REFERENCE, read_attributes
from mri_iahvae.scans.guard import dataset, guarded_file
from mri_iahvae.scans.reader import open_scan

RECONSTRUCTION = "reconstruction"
TARGETS = (REFERENCE, "reconstruction_rss")
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
        The images, where they come from, and the acquisition.

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
                return Target(_volume(file, stored), wanted, acquisition)
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
    if not (scan.mask_source == "full" or scan.mask.all()):
        raise ScanError(
            f"{path}: expected '{TARGETS[0]}', '{TARGETS[1]}' or fully sampled k-space, found undersampled k-space; "
            "take the fully sampled file, or name the dataset with --target"
        )
    images = ifft2c(torch.from_numpy(scan.read(slice(None)))).abs().numpy()
    if scan.header is None:
        return images
    rows, columns = (min(n, m) for n, m in zip(images.shape[-2:], scan.header.recon, strict=True))
    top, left = (images.shape[-2] - rows) // 2, (images.shape[-1] - columns) // 2
    return images[:, top : top + rows, left : left + columns]


def _volume(file: h5py.File, stored: h5py.Dataset) -> NDArray:
    name = Path(stored.name).name
    shaped = stored.ndim == 3 and 0 < stored.shape[0] <= MAX_SLICES
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
