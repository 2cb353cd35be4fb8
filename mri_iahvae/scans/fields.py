"""The fields of a fastMRI file, each checked as it is read."""

from typing import Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.guard import dataset
from mri_iahvae.scans.header import Header, HostileHeaderError, parse_header
from mri_iahvae.scans.mask_array import require_mask, to_mask

MaskSource = Literal["file", "zeros", "full"]

KSPACE = "kspace"
REFERENCE = "reconstruction_esc"
_ATTRIBUTES = ("acquisition", "patient_id", "max", "norm", "acceleration", "num_low_frequency")
_STRAY_ZEROS = 1e-3
MAX_SIDE = 4096
MAX_SLICES = 10_000
_MAX_TEXT_BYTES = 2**24


def _expected(file: h5py.File, expected: str, found: str, advice: str) -> ScanError:
    return ScanError(f"{file.filename}: expected {expected}, found {found}; {advice}")


def kspace_dataset(file: h5py.File) -> h5py.Dataset:
    """The k-space dataset, its rank, type and size checked."""
    kspace = dataset(file, KSPACE)
    wanted = "single-coil 'kspace' (slices, height, width)"
    if kspace is None:
        raise _expected(file, wanted, "no such dataset", "is it a fastMRI file?")
    if kspace.ndim == 4:
        advice = "multi-coil data are not supported yet: combine the coils into one first"
        raise _expected(file, wanted, f"multi-coil data of shape {kspace.shape}", advice)
    if kspace.ndim != 3:
        raise _expected(file, wanted, f"shape {kspace.shape}", "rearrange the array")
    if kspace.dtype.kind != "c" and kspace.dtype.names not in {("r", "i"), ("real", "imag")}:
        raise _expected(file, "complex numbers in 'kspace'", f"type {kspace.dtype}", "store it as complex64")
    if not (0 < kspace.shape[0] <= MAX_SLICES and all(0 < side <= MAX_SIDE for side in kspace.shape[1:])):
        limits = f"1 to {MAX_SLICES} slices of at most {MAX_SIDE}x{MAX_SIDE} in 'kspace'"
        raise _expected(file, limits, f"shape {kspace.shape}", "check how the file was made")
    return kspace


def to_complex64(values: NDArray) -> NDArray[np.complex64]:
    """Complex numbers of any width, or pairs with two named fields, as complex64."""
    if values.dtype.names:
        pairs, (real, imag) = values, values.dtype.names
        values = np.empty(pairs.shape, np.complex128)
        values.real, values.imag = pairs[real], pairs[imag]
    with np.errstate(over="ignore"):  # beyond float32's range it becomes infinity, which the caller refuses
        return values.astype(np.complex64)


def read_mask(file: h5py.File, kspace: h5py.Dataset) -> tuple[NDArray[np.bool_], MaskSource]:
    """Measured bins (height, width), from the file or from bins that are exactly zero in every slice."""
    stored = dataset(file, "mask")
    if stored is None:
        return _mask_from_zeros(kspace)
    size = kspace.shape[1:]
    require_mask(file.filename, stored.shape, stored.dtype, size)
    return to_mask(file.filename, stored[()], size), "file"


def _mask_from_zeros(kspace: h5py.Dataset) -> tuple[NDArray[np.bool_], MaskSource]:
    """Thermal noise leaves no bin at exactly zero: what is, was not measured."""
    seen = np.zeros(kspace.shape[1:], bool)
    for number in range(len(kspace)):
        seen |= to_complex64(kspace[number]) != 0
    if not seen.any():  # a silent file, not one of which nothing was measured
        return ~seen, "full"
    columns = seen.any(axis=0)
    # A mask of columns explains the zeros unless more than a stray few lie in columns that it calls measured.
    if np.count_nonzero(~seen[:, columns]) > _STRAY_ZEROS * seen[:, columns].size:
        return seen, "zeros"
    return np.tile(columns, (len(seen), 1)), "full" if columns.all() else "zeros"


def read_noise_sigma(file: h5py.File, slices: int) -> NDArray[np.float64] | None:
    """(slices,), from the dataset or else the attribute `noise_sigma`; None where there is neither."""
    name = "noise_sigma"
    stored = dataset(file, name)
    if stored is None and name not in file.attrs:
        return None
    described = file.attrs.get_id(name) if stored is None else stored
    wanted = f"'{name}' as one finite number >= 0, or {slices} of them"
    if described.shape not in {(), (1,), (slices,)} or described.dtype.kind not in "iuf":
        raise _expected(file, wanted, f"shape {described.shape}, type {described.dtype}", "correct it")
    values = np.asarray(file.attrs[name] if stored is None else stored[()], np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise _expected(file, wanted, "other values", "correct it")
    return np.broadcast_to(values, (slices,)).copy()


def reference_name(file: h5py.File, slices: int, warnings: list[str]) -> str | None:
    """The dataset of the reference image; None where there is none that fits."""
    stored = dataset(file, REFERENCE)
    if stored is None:
        return None
    sized = stored.ndim == 3 and stored.shape[0] == slices and min(stored.shape) > 0
    if not sized or max(stored.shape[1:]) > MAX_SIDE or stored.dtype.kind != "f":
        warnings.append(f"'{REFERENCE}' has shape {stored.shape} and type {stored.dtype}: not used")
        return None
    return REFERENCE


def read_header(file: h5py.File, size: tuple[int, int], warnings: list[str]) -> Header | None:
    """The header where there is one that agrees with the array; else the array alone is trusted."""
    name = "ismrmrd_header"
    stored = dataset(file, name)
    if stored is None:
        return None
    try:
        if stored.shape != () or stored.dtype.kind not in "OS" or stored.dtype.itemsize > _MAX_TEXT_BYTES:
            raise ValueError(f"shape {stored.shape}, type {stored.dtype}")
        text = stored[()]
        header = parse_header(text.decode("utf-8") if isinstance(text, bytes) else str(text))
    except HostileHeaderError as error:
        raise _expected(file, f"'{name}' with plain ISMRMRD XML", str(error), "remove it") from error
    except ValueError as error:
        warnings.append(f"'{name}' has {error}: not used")
        return None
    if header.encoded != size:
        (y, x), (height, width) = header.encoded, size
        warnings.append(f"'{name}' says {y}x{x}, the array is {height}x{width}: the array is used")
        return None
    return header


def read_attributes(file: h5py.File) -> dict[str, str | float]:
    """fastMRI's scalar attributes, those that are present and of a plain type."""
    found: dict[str, str | float] = {}
    for name in _ATTRIBUTES:
        if name not in file.attrs or file.attrs.get_id(name).shape != ():
            continue
        value = file.attrs[name]
        if isinstance(value, bytes | str):
            found[name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        elif isinstance(value, np.number | int | float) and np.isrealobj(value):
            found[name] = value.item() if isinstance(value, np.number) else value
    return found
