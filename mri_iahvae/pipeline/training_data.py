"""The slices of a folder of fully sampled files, on a model's grid: to train on, and held out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import UsageError, unusable
from mri_iahvae.kspace.centre_crop import recentre
from mri_iahvae.scans.findings import require_consistent
from mri_iahvae.scans.geometry import require_measured_grid, scan_geometry
from mri_iahvae.scans.listing import hdf5_files
from mri_iahvae.scans.outliers import outliers_text
from mri_iahvae.scans.reader import AS_STORED, Reading, open_scan
from mri_iahvae.scans.scan import Scan
from mri_iahvae.scans.survey import survey

_HELD_OUT_EVERY = 10  # one file in ten validates where the folder has no singlecoil_val


class FolderSlices:
    """The slices of some scans, one after the other, on the model's grid.

    Args:
        scans: opened files.
        size: side of the grid.
    """

    def __init__(self, scans: list[Scan], size: int) -> None:
        self.size = size
        self.scans = scans
        self._where = [
            (scan, geometry, number)
            for scan, geometry in ((scan, scan_geometry(scan)) for scan in scans)
            for number in range(scan.slices)
        ]

    def __len__(self) -> int:
        """Number of slices."""
        return len(self._where)

    def read(self, index: int) -> NDArray[np.complex64]:
        """k-space of one slice: complex64 (size, size), in the file's units."""
        scan, geometry, number = self._where[index]
        return np.ascontiguousarray(recentre(geometry.reduce(scan.read(number)[0]), self.size, self.size))


@dataclass(frozen=True)
class TrainingData:
    """What a model is trained on.

    Attributes:
        folder: of the files.
        training: slices to learn from.
        held_out: slices to validate on.
    """

    folder: Path
    training: FolderSlices
    held_out: FolderSlices

    @classmethod
    def open(cls, folder: Path, size: int, reading: Reading = AS_STORED) -> "TrainingData":
        """Open the files of a folder, or of its folders `singlecoil_train` and `singlecoil_val`.

        Without the latter every tenth file is held out, or the last one where there are fewer.

        Args:
            folder: of fastMRI-schema HDF5 files.
            size: side of the model's grid.
            reading: how the files are read.

        Raises:
            UsageError: no such folder, or too few files.
            ScanError: a file cannot be used for training.
        """
        if not folder.is_dir():
            found = "a file" if folder.exists() else "no such folder"
            raise UsageError(
                f"{folder}: expected a folder of fastMRI-schema HDF5 files, found {found}; check the path, or make "
                "scans of images with `mri-iahvae simulate`"
            )
        folders = folder / "singlecoil_train", folder / "singlecoil_val"
        if folders[0].is_dir() and folders[1].is_dir():
            training, held_out = (_open_all(part, size, reading) for part in folders)
        else:
            scans = _open_all(folders[0] if folders[0].is_dir() else folder, size, reading)
            if len(scans) < 2:
                raise UsageError(
                    f"{folder}: expected at least two files, one to train on and one to validate on"
                )
            held_out = scans[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY] or scans[-1:]
            training = [scan for scan in scans if scan not in held_out]
        return cls(folder, FolderSlices(training, size), FolderSlices(held_out, size))

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of slices to train on, and held out."""
        return len(self.training), len(self.held_out)

    @property
    def description(self) -> str:
        """What the files say of their contrast, such as "CORPDFS_FBK, CORPD_FBK"."""
        stated = {str(scan.attributes.get("acquisition", "")) for scan in self.training.scans}
        return ", ".join(sorted(stated - {""})) or "not stated"


def _open_all(folder: Path, size: int, reading: Reading) -> list[Scan]:
    """Check the files; the values of one slice of each, as reading all of them takes long."""
    paths = hdf5_files(folder)
    if not paths:
        raise UsageError(f"{folder}: expected fastMRI-schema files (*.h5, *.hdf5), found none")
    scans = [open_scan(path, reading) for path in paths]
    for scan in scans:
        require_measured_grid(scan, size)
        seen = survey(scan, [scan.slices // 2])
        require_consistent(scan, seen)
        if seen.outliers and not reading.keep_outliers:
            raise unusable(
                scan.path, "k-space to train on", outliers_text(seen.outliers), "leave the file out"
            )
    return scans
