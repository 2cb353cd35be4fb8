"""Volumes of magnitude images in HDF5 files: reconstructions, and the targets that they are compared with."""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import UsageError, unusable
from mri_iahvae.kspace.centre_crop import crop_image
from mri_iahvae.scans.formats.fastmri_fields import RSS, read_attributes
from mri_iahvae.scans.formats.mrd import mrd_group
from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.reader import AS_STORED, Reading, open_scan
from mri_iahvae.scans.safety.hdf5 import dataset, guarded_file, scalar_attribute
from mri_iahvae.scans.safety.limits import MAX_SIDE, MAX_SLICES, MAX_VOXELS
from mri_iahvae.scans.scan import KSPACE, RECONSTRUCTION, REFERENCE

TARGETS = (REFERENCE, RSS)
"""fastMRI's targets, in the order in which they are looked for: a single-coil file holds both."""

_SWAPPED = "are predictions and targets the wrong way round?"


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


def read_reconstruction(path: Path, target: str = "") -> NDArray:
    """The dataset `reconstruction` of fastMRI's submission format, which `reconstruct` and `denoise` write too.

    It is real (slices, H, W), magnitude, in the type of the file. One that says to be weighted by coil sensitivities is
    refused where `target`, a `Target.source`, is a root sum of squares: these differ in noise and shading.
    """
    with guarded_file(path) as file:
        stored = dataset(file, RECONSTRUCTION)
        if stored is None:
            raise unusable(path, f"a dataset '{RECONSTRUCTION}'", "none", _SWAPPED)
        if target in {RSS, KSPACE} and scalar_attribute(file, "coil_combine") == "sensitivity":
            wanted, found = "a root sum of squares, as the target is", "a sensitivity-weighted sum"
            advice = "reconstruct with --coil-combine rss, or name a target of its own kind with --target"
            raise unusable(path, wanted, found, advice)
        return _volume(file, stored)


def read_target(path: Path, name: str | None = None, reading: Reading = AS_STORED) -> Target:
    """The target images of an HDF5 file, a square of the width of k-space where they are wider.

    They are the dataset `name` at its root; by default the first of `TARGETS` that there is. Where there is none they
    are the image of fully sampled k-space: the magnitude of its inverse FFT (of several coils the root of their sum of
    squares), cropped to the header's reconSpace, which is how fastMRI makes its targets.

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
        raw = mrd_group(path, reading.dataset) is not None
        has_kspace = raw or dataset(file, reading.dataset or KSPACE) is not None
    if name is not None:
        raise unusable(path, f"a dataset '{name}'", "none", "give another --target")
    expected = f"'{TARGETS[0]}', '{TARGETS[1]}' or fully sampled k-space"
    if not has_kspace:
        raise unusable(path, expected, "none", f"name the dataset with --target, or {_SWAPPED}")
    scan = open_scan(path, reading)
    if not scan.fully_sampled:
        advice = "take the fully sampled file, or name the dataset with --target"
        raise unusable(path, expected, "undersampled k-space", advice)
    geometry = scan_geometry(scan)
    images = [geometry.image_of(scan.read_coils(number)[0]) for number in range(scan.slices)]
    return Target(np.stack(images), KSPACE, acquisition)


def _within_kspace(file: h5py.File, images: NDArray) -> NDArray:
    """Images wider than k-space (fastMRI's narrow FLAIR files) lose their margin, as in fastMRI's own transforms."""
    kspace = dataset(file, KSPACE)
    side = images.shape[2] if kspace is None or kspace.ndim < 3 else kspace.shape[-1]
    return crop_image(images, side, side) if 0 < side < min(images.shape[1:]) else images


def _volume(file: h5py.File, stored: h5py.Dataset) -> NDArray:
    name, shape, dtype = Path(stored.name).name, stored.shape, stored.dtype
    most = (MAX_SLICES, MAX_SIDE, MAX_SIDE)
    shaped = len(shape) == 3 and all(0 < n <= limit for n, limit in zip(shape, most, strict=True))
    if not shaped or stored.size > MAX_VOXELS or dtype.kind not in "iuf":
        wanted = f"real magnitudes (slices, height, width) in '{name}'"
        raise unusable(file.filename, wanted, f"shape {shape}, type {dtype}", "correct it")
    images = stored[()]
    if not np.isfinite(images).all():
        wanted = f"finite values in '{name}'"
        raise unusable(file.filename, wanted, "NaN or infinity", "repair or leave out the file")
    return np.asarray(images)
