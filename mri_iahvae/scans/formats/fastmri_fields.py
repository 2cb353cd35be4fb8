"""The fields of a fastMRI file, each checked as it is read."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice

import h5py
import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError, unusable
from mri_iahvae.scans.header import Header, HostileHeaderError, parse_header
from mri_iahvae.scans.inferred_mask import acquired_columns, filled_bins, mask_from_zeros
from mri_iahvae.scans.mask_file import MASK, Size, require_mask, to_mask
from mri_iahvae.scans.safety.hdf5 import dataset, dataset_list, dataset_text, scalar_attribute
from mri_iahvae.scans.safety.limits import MAX_SIDE, require_size
from mri_iahvae.scans.scan import KSPACE, RECONSTRUCTION, REFERENCE, MaskSource, complex_advice, is_complex
from mri_iahvae.words import counted

RSS = "reconstruction_rss"
HEADER = "ismrmrd_header"
_ACQUISITIONS = {"CORPD_FBK", "CORPDFS_FBK", "AXT1", "AXT1PRE", "AXT1POST", "AXT2", "AXFLAIR"}
_MASK_NAMES, _MOST_MASKS = ("mask", "omega", "sampling"), 4
_ATTRIBUTES = ("acquisition", "patient_id", "max", "norm", "acceleration", "num_low_frequency")


def kspace_dataset(file: h5py.File, name: str = KSPACE) -> h5py.Dataset:
    """The dataset of k-space by its path, its rank, type and size checked."""
    kspace = dataset(file, name)
    wanted = f"'{name}' (slices, height, width) or (slices, coils, height, width)"
    if kspace is None:
        if dataset(file, RECONSTRUCTION) is not None:
            advice = "give the scan that it was made of; `mri-iahvae evaluate` scores results"
            raise _unusable(file, wanted, f"a result, '{RECONSTRUCTION}'", advice)
        if others := dataset_list(file):
            advice = _parts_advice(file) or "choose that of k-space with --dataset NAME"
            raise _unusable(file, wanted, f"no such dataset, but {others}", advice)
        raise _unusable(file, wanted, "no such dataset, nor any other", "is it a fastMRI file?")
    if kspace.ndim < 3 or (kspace.ndim > 4 and max(kspace.shape[:-4]) > 1):
        advice = "rearrange it, one slice as (1, height, width)"
        raise _unusable(file, wanted, f"shape {kspace.shape}", advice)
    if not is_complex(kspace.dtype):
        found = f"shape {kspace.shape}, type {str(kspace.dtype)[:80]}"
        raise _unusable(file, f"complex numbers in '{name}'", found, complex_advice(kspace.shape))
    require_size(file.file.filename, kspace_shape(kspace), f"shape {kspace.shape} of '{name}'")
    return kspace


def _parts_advice(file: h5py.File) -> str:
    """What to do with two arrays at the root that are called the real and imaginary parts; empty without them."""
    for name in file:
        for real, imag in (("real", "imag"), ("Real", "Imag"), ("_re", "_im"), ("_r", "_i")):
            other = imag.join(name.rsplit(real, 1))
            if other != name and other in file:
                return f"if these are its parts, save {name} + 1j * {other} as complex64 '{KSPACE}'"
    return ""


def kspace_shape(kspace: h5py.Dataset) -> tuple[int, int, int, int]:
    """(slices, coils, height, width), less the axes of length 1 before them."""
    if kspace.ndim == 3:
        return kspace.shape[0], 1, *kspace.shape[1:]
    return kspace.shape[-4:]


def kspace_slice(kspace: h5py.Dataset, number: int) -> NDArray:
    """One slice as stored, (coils, height, width)."""
    before = (0,) * (kspace.ndim - 4)  # empty for three axes as well
    values: NDArray = kspace[(*before, number)]
    return values.reshape(kspace_shape(kspace)[1:])


def read_mask(
    file: h5py.Group, kspace: h5py.Dataset, padding: tuple[int, int] | None, warnings: list[str]
) -> tuple[NDArray[np.bool_], MaskSource, tuple[int, int]]:
    """Measured bins, where the mask comes from, and the acquired columns, as `mask_from_zeros` returns them.

    The dataset `mask` decides; without one, exact zeros in every slice and coil do.
    """
    stored = dataset(file, MASK)
    slices, _, height, width = kspace_shape(kspace)
    size = slices, height, width
    if stored is None:
        found = mask_from_zeros((kspace_slice(kspace, number) for number in range(slices)), padding)
        warnings += [
            f"there is no '{MASK}', and {name!r} may be one: not used; if it says what is measured, name it '{MASK}'"
            for name, other in _other_masks(file, size)
            if not np.array_equal(np.broadcast_to(other, size), np.broadcast_to(found[0], size))
        ]
        return found
    require_mask(file.file.filename, stored.shape, stored.dtype, size)
    mask = to_mask(file.file.filename, stored[()], size)
    acquired = padding or _acquired(kspace, np.asarray(mask.reshape(-1, width).any(axis=0)))
    mask[..., : acquired[0]] = mask[..., acquired[1] :] = False
    return mask, "file", acquired


def _other_masks(file: h5py.Group, size: Size) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Arrays of 0 and 1 in the shape of a mask that are called one, as `sampling_mask`, with their names."""
    named = (name for name in file if any(word in name.lower() for word in _MASK_NAMES))
    for name in islice(named, _MOST_MASKS):
        with suppress(ScanError):  # what is no plain dataset or no mask is not looked at
            stored = dataset(file, name)
            if stored is not None and stored.ndim:
                require_mask(name, stored.shape, stored.dtype, size)
                yield name, to_mask(name, stored[()], size)


def _acquired(kspace: h5py.Dataset, measured: NDArray[np.bool_]) -> tuple[int, int]:
    """First acquired column, and the first one after the last, where no header says so: from columns of zeros.

    A mask from the file may call padding measured.
    """
    if not measured.any():
        return acquired_columns(measured)
    width, slices = measured.size, kspace_shape(kspace)[0]
    columns = np.flatnonzero(_filled(kspace, slices // 2))
    left, right = (columns[0], columns[-1] + 1) if columns.size else (0, width)
    for number in range(slices):  # most files have no edges to look at
        if not (measured[:left].any() or measured[right:].any()):
            break
        edge = np.flatnonzero(_filled(kspace, number))
        left, right = min([left, *edge[:1]]), max([right, *(edge[-1:] + 1)])
    # Padding: columns that the mask calls measured and that hold nothing. Others at the edge were left out.
    first, end = _run(measured[:left]), width - _run(measured[right:][::-1])
    return acquired_columns((np.arange(width) >= first) & (np.arange(width) < end))


def header_padding(
    kspace: h5py.Dataset, header: Header | None, warnings: list[str]
) -> tuple[int, int] | None:
    """Acquired columns as the header has them; None where it says nothing, or the array holds data beyond."""
    if header is None or header.padding is None:
        return None
    left, right = header.padding
    filled = _filled(kspace, kspace_shape(kspace)[0] // 2)
    beyond = int(np.count_nonzero(filled[:left]) + np.count_nonzero(filled[right:]))
    if not beyond:
        return header.padding
    warnings.append(
        f"'ismrmrd_header' says columns {left} to {right - 1} of {filled.size} were acquired, "
        f"{counted(beyond, 'column')} beyond hold{'s' * (beyond == 1)} data: the array is used"
    )
    return None


def _filled(kspace: h5py.Dataset, number: int) -> NDArray[np.bool_]:
    """Columns of a slice that hold anything."""
    return np.asarray(filled_bins(kspace_slice(kspace, number)).any(axis=0))


def _run(flags: NDArray[np.bool_]) -> int:
    """How many are true before the first that is not."""
    return flags.size if flags.all() else int(np.argmin(flags))


def read_noise_sigma(file: h5py.Group, slices: int) -> NDArray[np.float64] | None:
    """(slices,), from the dataset or else the attribute `noise_sigma`; None where there is neither."""
    name = "noise_sigma"
    stored = dataset(file, name)
    if stored is None and name not in file.attrs:
        return None
    described = file.attrs.get_id(name) if stored is None else stored
    wanted = f"'{name}' as one finite number >= 0, or {slices} of them"
    if described.shape not in {(), (1,), (slices,)} or described.dtype.kind not in "iuf":
        raise _unusable(file, wanted, f"shape {described.shape}, type {described.dtype}", "correct it")
    values = np.asarray(file.attrs[name] if stored is None else stored[()], np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise _unusable(file, wanted, "other values", "correct it")
    return np.broadcast_to(values, (slices,)).copy()


def reference_dataset(file: h5py.Group, slices: int, coils: int, warnings: list[str]) -> h5py.Dataset | None:
    """The dataset of the reference image; None where there is none that fits."""
    name = REFERENCE if coils == 1 else RSS
    stored = dataset(file, name)
    if stored is None:
        return None
    sized = stored.ndim == 3 and stored.shape[0] == slices and min(stored.shape) > 0
    if not sized or max(stored.shape[1:]) > MAX_SIDE or stored.dtype.kind != "f":
        warnings.append(f"'{name}' has shape {stored.shape} and type {stored.dtype}: not used")
        return None
    return stored


def read_header(file: h5py.Group, size: tuple[int, int], warnings: list[str]) -> Header | None:
    """The header, less what disagrees with the array: there the array is trusted."""
    name = HEADER
    stored = dataset(file, name)
    if stored is None:
        return None
    try:
        header = parse_header(dataset_text(stored), size=size)
    except HostileHeaderError as error:
        raise _unusable(file, f"'{name}' with plain ISMRMRD XML", str(error), "remove it") from error
    except ValueError as error:
        warnings.append(f"'{name}' has {error}: not used")
        return None
    warnings += [f"'{name}': {warning}" for warning in header.warnings]
    header.require_cartesian(file.file.filename)
    if header.encoded == size:
        return header
    (y, x), (height, width) = header.encoded, size
    warnings.append(f"'{name}' says {y}x{x}, the array is {height}x{width}: the array is used")
    # Oversampling depends on the readout only; padding counts columns.
    return replace(header, encoded=size, padding=None) if y == height else None


def read_attributes(file: h5py.Group) -> dict[str, str | float]:
    """fastMRI's scalar attributes, those that are present and of a plain type."""
    values = {name: scalar_attribute(file, name) for name in _ATTRIBUTES}
    return {name: value for name, value in values.items() if value is not None}


def image_size(header: Header | None, attributes: Mapping[str, str | float]) -> tuple[int, int] | None:
    """Size of the image, where a header says; fastMRI's targets have that of reconSpace, whatever its pixels."""
    if header is None:
        return None
    return header.recon if attributes.get("acquisition") in _ACQUISITIONS else header.image


def _unusable(file: h5py.Group, expected: str, found: str, advice: str) -> ScanError:
    return unusable(file.file.filename, expected, found, advice)
