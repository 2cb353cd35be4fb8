"""Recognises files that hold no scan, by their first bytes or their name.

Every reader asks here, so that its error says what the file really is, and how to convert it.
"""

from collections.abc import Callable
from pathlib import Path

_READ = 2**11 + 8
_NO_HDF5 = (".npy", ".npz", ".cfl", ".hdr", ".nii", ".nii.gz")
_ARRAYS = "save the array as .npy, complex (slices, height, width) or (slices, coils, height, width)"
_DICOM = (
    "DICOM, which holds images, not k-space",
    "convert it to NIfTI with dcm2niix for `denoise` and `simulate`",
)
_TWIX = ("Siemens raw data (twix)", "convert it to ISMRMRD with siemens_to_ismrmrd")
_TWIX_START = (10240).to_bytes(8, "little")  # where the first measurement begins
_PICTURES = ("a picture, which is no k-space", "give its folder to `simulate`")
_PAIR = (
    "one half of a pair .hdr and .img, NIfTI or Analyze, which holds an image",
    "save it as one file .nii, for example with nibabel",
)
_ANSWER = "a server's answer in place of a file, as a rule: download it again"

_BY_BYTES: tuple[tuple[Callable[[bytes], bool], tuple[str, ...], tuple[str, str]], ...] = (
    (lambda b: not b, (), ("nothing: the file is empty, 0 bytes", "copy or download it again")),
    (
        lambda b: b.startswith(b"version https://git-lfs"),
        (),
        ("a Git LFS pointer in place of the file", "fetch the file with `git lfs pull`"),
    ),
    (lambda b: b.lstrip().lower().startswith((b"<!doctype html", b"<html")), (), ("an HTML page", _ANSWER)),
    (lambda b: b.lstrip().startswith((b"<?xml", b"<Error")), (), ("XML text", _ANSWER)),
    (lambda b: b.startswith(b"MATLAB 5"), (), ("a MATLAB file, version 5 to 7", _ARRAYS)),
    (
        lambda b: b.startswith(b"\x93NUMPY"),
        (".npy",),
        ("a NumPy array under another name", "rename it to .npy"),
    ),
    (lambda b: b.startswith(b"PK\x03\x04"), (".npz",), ("a zip archive", "unpack it")),
    (lambda b: b.startswith(b"\x1f\x8b"), (".nii.gz",), ("a gzip archive", "unpack it with gunzip")),
    (lambda b: b.startswith((b"\x89PNG", b"\xff\xd8\xff")), (), _PICTURES),
    (lambda b: b[128:132] == b"DICM", (), _DICOM),
    (lambda b: b.startswith(b"# Dimensions"), (".hdr",), ("the header of a BART pair", "rename it to .hdr")),
    (lambda b: _is_nifti(b) and b[344:347] != b"n+1", (".nii",), _PAIR),
    (
        lambda b: _is_nifti(b) and b[344:347] == b"n+1",
        (".nii",),
        ("NIfTI under another name", "rename it to .nii"),
    ),
    (
        lambda b: b.startswith(b"yardl") or (b[:2] == b"\x03\0" and b[6:].lstrip().startswith(b"<")),
        (),
        ("an MRD stream", "write it to an ISMRMRD file, for example with ismrmrd_stream_to_hdf5"),
    ),
    (lambda b: b[16:24] == _TWIX_START or b[8:].startswith((b"Config\0", b"Meas\0")), (), _TWIX),
)
"""Tests of the first bytes; suffixes of which this is the right content; what to say of others."""

_BY_NAME = {
    ".dcm": _DICOM,
    ".ima": _DICOM,
    ".dat": ("what may be Siemens raw data (twix)", _TWIX[1]),
    ".7": ("what may be a GE P-file", "convert it to ISMRMRD with ge_to_ismrmrd"),
    ".raw": ("what may be Philips raw data", "convert it to ISMRMRD with philips_to_ismrmrd"),
    ".mat": ("a MATLAB file", _ARRAYS),
    ".npz": ("an archive of arrays", _ARRAYS),
    ".img": _PAIR,
    ".png": _PICTURES,
    ".jpg": _PICTURES,
    ".jpeg": _PICTURES,
}


def foreign_content(path: Path) -> tuple[str, str] | None:
    """What the first bytes of a file are that its name does not say, and what to do; None where nothing is known."""
    start, name = _start(path), path.name.lower()
    if start is None or _is_hdf5(start):
        other = start is not None and name.endswith(_NO_HDF5)
        return ("HDF5 under another name", "rename it to .h5") if other else None
    for holds, own, words in _BY_BYTES:
        # Bare numbers may look like the start of anything, but hardly like a long one.
        if holds(start) and not (own and name.endswith(".cfl")):
            return None if name.endswith(own) else words
    return None


def foreign_name(path: Path) -> tuple[str, str] | None:
    """What a file is by its name alone, and what to do; None where that is not known, and for HDF5 of any name."""
    start = _start(path)
    return None if start is not None and _is_hdf5(start) else _BY_NAME.get(path.suffix.lower())


def _start(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_READ)
    except OSError:
        return None  # the reader says what is wrong with it


def _is_hdf5(start: bytes) -> bool:
    """By its signature, which may stand behind a block of the user's: MATLAB 7.3 has 512 bytes there."""
    return any(start[at:].startswith(b"\x89HDF\r\n\x1a\n") for at in (0, 512, 1024, 2048))


def _is_nifti(start: bytes) -> bool:
    """NIfTI 1 and 2, and Analyze, by the size of the header that they begin with."""
    sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")}
    return len(start) >= 348 and bool(sizes & {348, 540})
