"""The slices of a folder of fully sampled files, on a model's grid: to train on, and held out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mri_iahvae.errors import UsageError, unusable
from mri_iahvae.kspace.centre_crop import recentre
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.pipeline.coil_image import sensitivity_image
from mri_iahvae.scans.findings import require_consistent
from mri_iahvae.scans.geometry import Geometry, require_measured_grid, scan_geometry
from mri_iahvae.scans.listing import hdf5_files
from mri_iahvae.scans.outliers import outliers_text
from mri_iahvae.scans.reader import AS_STORED, Reading, open_scan
from mri_iahvae.scans.scan import Scan
from mri_iahvae.scans.survey import survey
from mri_iahvae.words import counted

MIN_SIGNAL = 0.01
"""Energy of the weakest slice to train on, over that of its volume's strongest."""

_HELD_OUT_EVERY = 10  # one file in ten validates where the folder has no part for it
_HELD_OUT_MOST = 0.2
_HELD_OUT_LEAST = 5  # slices


class FolderSlices:
    """The slices of some scans, one after the other, on the model's grid.

    Args:
        scans: opened files.
        size: side of the grid.
        min_signal: leave out slices that have less energy on the grid than this fraction of their volume's largest;
            unless it is zero every slice is read for that.
    """

    def __init__(self, scans: list[Scan], size: int, min_signal: float = 0.0) -> None:
        self.size = size
        self.scans = scans
        self._where: list[tuple[Scan, Geometry, int]] = []
        for scan in scans:
            geometry = scan_geometry(scan)
            kept = list(range(scan.slices))
            if min_signal:
                energy = np.array([self._energy(scan, geometry, n) for n in kept])
                kept = np.flatnonzero((energy > 0) & (energy >= min_signal * energy.max())).tolist()
            self._where += [(scan, geometry, number) for number in kept]

    def __len__(self) -> int:
        """Number of slices."""
        return len(self._where)

    def read(self, index: int) -> NDArray[np.complex64]:
        """k-space of one slice, complex64 (size, size), in the file's units.

        Several coils become one image by their sensitivities.
        """
        scan, geometry, number = self._where[index]
        kspace = geometry.reduce(scan.read_coils(number)[0])
        if scan.coils > 1:
            image = sensitivity_image(kspace, geometry.reduce_mask(scan.masks[number]))
            kspace = fft2c(torch.from_numpy(image)).numpy()[None]
        return np.ascontiguousarray(recentre(kspace[0], self.size, self.size))

    def _energy(self, scan: Scan, geometry: Geometry, number: int) -> float:
        # Oversampling spreads the energy over more rows, and need not be removed for this.
        rows = self.size * geometry.native[0] // geometry.field[0]
        bins = recentre(scan.read_coils(number)[0], rows, self.size)
        return float(np.linalg.norm(bins.astype(complex)) ** 2)  # squares could leave float32's range

    @property
    def left_out(self) -> int:
        """Number of slices with too little signal."""
        return sum(scan.slices for scan in self.scans) - len(self)


@dataclass(frozen=True)
class TrainingData:
    """What a model is trained on.

    Attributes:
        folder: of the files.
        training: slices to learn from.
        held_out: slices to validate on.
        doubts: what is odd about the values of files, one sentence each.
    """

    folder: Path
    training: FolderSlices
    held_out: FolderSlices
    doubts: tuple[str, ...] = ()

    @classmethod
    def open(
        cls, folder: Path, size: int, reading: Reading = AS_STORED, min_signal: float = MIN_SIGNAL
    ) -> "TrainingData":
        """Open the files of a folder, or of its folders `singlecoil_train` and `singlecoil_val`, or `multicoil_...`.

        Without the latter every tenth file is held out, or the last one where there are fewer.

        Args:
            folder: of fastMRI-schema HDF5 files.
            size: side of the model's grid.
            reading: how the files are read.
            min_signal: as in `FolderSlices`.

        Raises:
            UsageError: no such folder, or too few files or slices.
            ScanError: a file cannot be used for training.
        """
        if not folder.is_dir():
            found = "a file" if folder.exists() else "no such folder"
            raise UsageError(
                f"{folder}: expected a folder of fastMRI-schema HDF5 files, found {found}; check the path, or make "
                "scans of images with `mri-iahvae simulate`"
            )
        coils = "multicoil" if (folder / "multicoil_train").is_dir() else "singlecoil"
        folders = folder / f"{coils}_train", folder / f"{coils}_val"
        if folders[0].is_dir() and folders[1].is_dir():
            (training, doubts), (held_out, more) = (_open_all(part, size, reading) for part in folders)
            doubts += more
        else:
            scans, doubts = _open_all(folders[0] if folders[0].is_dir() else folder, size, reading)
            if len(scans) < 2:
                raise UsageError(
                    f"{folder}: expected at least two files, one to train on and one to validate on"
                )
            held_out = scans[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY] or scans[-1:]
            training = [scan for scan in scans if scan not in held_out]
        parts = [FolderSlices(scans, size, min_signal) for scans in (training, held_out)]
        if not all(map(len, parts)):
            raise UsageError(f"{folder}: expected slices with signal to train and validate on, found none")
        return cls(folder, parts[0], parts[1], tuple(doubts))

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of slices to train on, and held out."""
        return len(self.training), len(self.held_out)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about the slices, one sentence each."""
        found = list(self.doubts)
        if empty := self.training.left_out + self.held_out.left_out:
            found.append(
                f"{counted(empty, 'slice')} of {sum(self.counts) + empty} left out, with hardly any signal beside "
                "others of their volume: see --min-signal"
            )
        held = self.counts[1]
        if held > _HELD_OUT_MOST * sum(self.counts):
            found.append(
                f"{counted(held, 'slice')} of {sum(self.counts)} held out, over a fifth: give more files"
            )
        if held < _HELD_OUT_LEAST:
            found.append(
                f"{counted(held, 'slice')} held out: what is measured on so few means little, give more files"
            )
        return tuple(found)

    @property
    def description(self) -> str:
        """What the files say of their contrast, such as "CORPDFS_FBK, CORPD_FBK"."""
        stated = {str(scan.attributes.get("acquisition", "")) for scan in self.training.scans}
        return ", ".join(sorted(stated - {""})) or "not stated"


def _open_all(folder: Path, size: int, reading: Reading) -> tuple[list[Scan], list[str]]:
    """Check the files, the values of one slice of each, as reading all of them takes long; and what is odd."""
    paths = hdf5_files(folder)
    if not paths:
        raise UsageError(f"{folder}: expected fastMRI-schema files (*.h5, *.hdf5), found none")
    scans = [open_scan(path, reading) for path in paths]
    doubts: list[str] = []
    for scan in scans:
        require_measured_grid(scan, size)
        seen = survey(scan, [scan.slices // 2])
        doubts += [f"{scan.path.name}: {text}" for text in require_consistent(scan, seen)]
        if seen.outliers and not reading.keep_outliers:
            raise unusable(
                scan.path, "k-space to train on", outliers_text(seen.outliers), "leave the file out"
            )
    return scans, doubts
