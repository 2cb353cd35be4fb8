"""Opening scans, whatever their format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mri_iahvae.errors import UsageError, unusable
from mri_iahvae.scans.contents import foreign_content, foreign_name
from mri_iahvae.scans.formats.bart import bart_name, open_bart
from mri_iahvae.scans.formats.fastmri import open_fastmri
from mri_iahvae.scans.formats.mrd import mrd_group, open_mrd
from mri_iahvae.scans.formats.mrd_selection import ALL, CHOICES
from mri_iahvae.scans.formats.nifti import NIFTI_SUFFIXES, open_nifti
from mri_iahvae.scans.formats.npy import open_npy
from mri_iahvae.scans.scan import KSPACE, Scan
from mri_iahvae.scans.shifted import Axes, shifted

HDF5_SUFFIXES = (".h5", ".hdf5")
SCAN_SUFFIXES = (*HDF5_SUFFIXES, ".mrd", *NIFTI_SUFFIXES)
"""Of the files in a folder, those that are taken for scans. Bare arrays (.npy, .cfl) may be masks or coil maps, so
they are named one by one."""

_OPENERS = {
    ".cfl": open_bart,
    ".hdr": open_bart,
    ".npy": open_npy,
    **dict.fromkeys(NIFTI_SUFFIXES, open_nifti),
}


@dataclass(frozen=True)
class Reading:
    """How a file is to be read.

    Attributes:
        dataset: of an HDF5 file, that holds k-space, such as "ksp" or "data/ksp", or a group of ISMRMRD raw data; None
            is "kspace", or the group "dataset".
        select: which lines of ISMRMRD raw data make the image, where there are several: a number by the name of a
            counter ("contrast", "phase", "repetition", "set", "average") or "encoding", such as {"contrast": 1}; "all"
            averages them.
        fftshift: axes along which DC lies in the corner, and is moved to the centre; "rows", "columns" or "both".
        centre_image: axes along which the image is moved by half the field.
        keep_outliers: spikes in k-space are data; else they count as unmeasured.
    """

    dataset: str | None = None
    select: Mapping[str, int | str] = field(default_factory=dict)
    fftshift: Axes | None = None
    centre_image: Axes | None = None
    keep_outliers: bool = False

    def __post_init__(self) -> None:
        """Refuse, as a UsageError, a choice that no ISMRMRD file offers: by another name, or no number."""
        for name, number in self.select.items():
            if name not in CHOICES or not (number == ALL or isinstance(number, int)):
                names = ", ".join(CHOICES)
                raise UsageError(f"--select {name}={number}: expected a number, or {ALL}, of one of {names}")


AS_STORED = Reading()


def open_scan(path: str | Path, reading: Reading = AS_STORED) -> Scan:
    """Check a file and describe it; its data are read on demand.

    It is HDF5, fastMRI's or ISMRMRD's; a BART pair, by either name or without suffix; `.npy`; or an image as NIfTI
    (`scans.formats`).

    Raises:
        ScanError: one line with the file, what was expected, what was found, and what to do.
    """
    path = bart_name(Path(path))
    if not path.is_file():
        raise unusable(path, "a scan", "a folder" if path.is_dir() else "no such file", "check the path")
    if foreign := foreign_content(path) or foreign_name(path):
        raise unusable(path, "k-space as HDF5, BART or npy", *foreign)
    return shifted(_opened(path, reading), reading.fftshift, reading.centre_image)


def _opened(path: Path, reading: Reading) -> Scan:
    """As stored."""
    opener = next((opener for suffix, opener in _OPENERS.items() if path.name.lower().endswith(suffix)), None)
    other = "another format"
    if opener is not None and reading.dataset is not None:
        raise unusable(path, f"HDF5 with a dataset '{reading.dataset}'", other, "leave --dataset out")
    raw = mrd_group(path, reading.dataset) if opener is None else None
    if raw is not None:
        return open_mrd(path, raw, reading.select)
    if reading.select:
        raise unusable(path, "ISMRMRD raw data to select from", other, "leave --select out")
    return open_fastmri(path, reading.dataset or KSPACE) if opener is None else opener(path)
