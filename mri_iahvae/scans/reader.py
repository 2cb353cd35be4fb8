"""Opening scans, whatever their format."""

from pathlib import Path

from mri_iahvae.errors import unusable
from mri_iahvae.scans.formats.bart import open_bart
from mri_iahvae.scans.formats.fastmri import open_fastmri
from mri_iahvae.scans.formats.mrd import is_mrd, open_mrd
from mri_iahvae.scans.formats.nifti import NIFTI_SUFFIXES, open_nifti
from mri_iahvae.scans.formats.npy import open_npy
from mri_iahvae.scans.scan import Scan

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
_DICOM = (
    "DICOM, which holds images, not k-space",
    "convert it to NIfTI with dcm2niix for `denoise` and `simulate`",
)
_ARRAYS = "save the array as .npy, complex (slices, height, width) or (slices, coils, height, width)"
_PICTURES = "a picture, which is no k-space", "give its folder to `simulate`"
_ELSEWHERE = {
    ".dcm": _DICOM,
    ".ima": _DICOM,
    ".dat": ("what may be Siemens raw data (twix)", "convert it to ISMRMRD with siemens_to_ismrmrd"),
    ".7": ("what may be a GE P-file", "convert it to ISMRMRD with ge_to_ismrmrd"),
    ".raw": ("what may be Philips raw data", "convert it to ISMRMRD with philips_to_ismrmrd"),
    ".mat": ("a MATLAB file", _ARRAYS),
    ".npz": ("an archive of arrays", _ARRAYS),
    ".png": _PICTURES,
    ".jpg": _PICTURES,
    ".jpeg": _PICTURES,
}
"""What other files hold, and how to use them."""


def open_scan(path: str | Path) -> Scan:
    """Check a file and describe it.

    Args:
        path: HDF5, fastMRI's or ISMRMRD's; a BART pair, by either name; `.npy`; or an image as NIfTI (`scans.formats`).

    Returns:
        The scan; its data are read on demand.

    Raises:
        ScanError: one line with the file, what was expected, what was found, and what to do.
    """
    path = Path(path)
    if not path.is_file():
        raise unusable(path, "a scan", "a folder" if path.is_dir() else "no such file", "check the path")
    for suffix, opener in _OPENERS.items():
        if path.name.lower().endswith(suffix):
            return opener(path)
    if known := _ELSEWHERE.get(path.suffix.lower()) or (_DICOM if _is_dicom(path) else None):
        raise unusable(path, "k-space as HDF5, BART or npy", *known)
    return open_mrd(path) if is_mrd(path) else open_fastmri(path)


def _is_dicom(path: Path) -> bool:
    """DICOM files often have no suffix."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False  # the opener says what is wrong with it
