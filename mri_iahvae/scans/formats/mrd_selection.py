"""Which acquisitions of an ISMRMRD file make the image: by flags, encodings and counters."""

from pathlib import Path

import h5py
import numpy as np
from numpy.lib.recfunctions import repack_fields
from numpy.typing import NDArray

from mri_iahvae.errors import unusable
from mri_iahvae.scans.header import Header

BLOCK = 16
"""Records to read at a time; in a hostile file many could point to one huge block of data."""
DIRECTIONS = ["read_dir", "phase_dir", "slice_dir"]

_MAX_ACQUISITIONS = 2**19
_SAMPLES = ["number_of_samples", "discard_pre", "discard_post", "center_sample"]
_NEEDED = ["flags", "active_channels", "encoding_space_ref", "idx", "position", *DIRECTIONS, *_SAMPLES]
_DYNAMIC = ("contrast", "phase", "repetition", "set")
# Measured for another purpose than the image, by the names of the standard.
_NOT_IMAGING = (
    "NOISE_MEASUREMENT",
    "NAVIGATION_DATA",
    "PHASECORR_DATA",
    "HPFEEDBACK_DATA",
    "RTFEEDBACK_DATA",
    "DUMMYSCAN_DATA",
    "SURFACECOILCORRECTIONSCAN_DATA",
    "PHASE_STABILIZATION_REFERENCE",
    "PHASE_STABILIZATION",
)
_CALIBRATION = "PARALLEL_CALIBRATION"
_OTHER_TOOLS = "take them apart with the `ismrmrd` package, or reconstruct with BART, Gadgetron or MRpro"


def acquisition_heads(path: Path, data: h5py.Dataset) -> NDArray:
    """The headers of all acquisitions."""
    from ismrmrd.hdf5 import acquisition_header_dtype as standard  # noqa: PLC0415 - an optional dependency

    if data.ndim != 1 or not 0 < data.size <= _MAX_ACQUISITIONS:
        wanted = f"1 to {_MAX_ACQUISITIONS} acquisitions"
        raise unusable(path, wanted, f"shape {data.shape}", "check the conversion")
    head = data.dtype["head"] if {"head", "data"} <= set(data.dtype.names or ()) else None
    if head is None or any(
        name not in (head.names or ()) or head[name] != standard[name] for name in _NEEDED
    ):
        wanted = "acquisitions as ISMRMRD defines them"
        raise unusable(path, wanted, f"type {str(data.dtype)[:80]}", "convert the file again")
    # Whole records: h5py leaks the variable-length parts of those that it reads in part.
    blocks = (data[start : start + BLOCK]["head"][_NEEDED] for start in range(0, data.size, BLOCK))
    return np.concatenate([repack_fields(block) for block in blocks])


def flagged(heads: NDArray, name: str) -> NDArray[np.bool_]:
    """Acquisitions with the flag ACQ_IS_`name`."""
    import ismrmrd  # noqa: PLC0415

    flag = int(getattr(ismrmrd, f"ACQ_IS_{name}"))
    return (heads["flags"] >> np.uint64(flag - 1)) & np.uint64(1) != 0


def image_encoding(path: Path, heads: NDArray) -> int:
    """Number of the encoding that the lines of the image refer to; calibration may have one of its own."""
    purpose = _purpose(heads)
    found = np.unique(heads["encoding_space_ref"][purpose == ""])
    if not found.size:
        raise unusable(path, "acquisitions for an image", f"none in {heads.size}", "check the conversion")
    if found.size > 1:
        wanted = "one encoding_space_ref throughout"
        raise unusable(path, wanted, f"{found[:8].tolist()}", _OTHER_TOOLS)
    return int(found[0])


def image_lines(path: Path, heads: NDArray, header: Header) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Numbers of the acquisitions of a Cartesian 2-D image; `header` is that of their encoding. And warnings.

    Noise, navigator, separate calibration and other measurements that are not for the image are left out.
    """
    purpose = _purpose(heads)
    warnings = _take_embedded(heads, purpose, header.calibration)
    chosen = np.flatnonzero(purpose == "")
    _require_plain(path, heads[chosen])
    names, counts = np.unique(purpose[purpose != ""], return_counts=True)
    if names.size:
        listed = (
            f"{count} {name.lower().replace('_', ' ')}" for name, count in zip(names, counts, strict=True)
        )
        warnings.append(f"acquisitions that are not for the image are left out: {', '.join(listed)}")
    return chosen, tuple(warnings)


def _purpose(heads: NDArray) -> NDArray[np.str_]:
    """For each acquisition the flag that says what it is for; empty for the image."""
    purpose = np.where(
        flagged(heads, _CALIBRATION) & ~flagged(heads, f"{_CALIBRATION}_AND_IMAGING"), _CALIBRATION, ""
    )
    purpose = purpose.astype(f"U{max(map(len, _NOT_IMAGING))}")
    for name in _NOT_IMAGING:
        purpose[flagged(heads, name)] = name
    return purpose


def _take_embedded(heads: NDArray, purpose: NDArray[np.str_], mode: str) -> list[str]:
    """Make those lines that are flagged as calibration alone part of the image where they belong to the same k-space.

    They do where the header calls calibration embedded. Where it does not say, they do if no line of the image lies
    where one of them does: the flags then tell lines between those of a regular pattern from those upon it.
    """
    calibration, image = purpose == _CALIBRATION, purpose == ""
    calibration &= heads["encoding_space_ref"] == heads["encoding_space_ref"][image][0]
    if mode in {"separate", "external"} or not calibration.any():
        return []
    warnings = []
    if mode != "embedded":
        place = heads["idx"]["slice"].astype(int) << 16 | heads["idx"]["kspace_encode_step_1"]
        upon = bool(np.isin(place[calibration], place[image]).any())
        why = "some lie upon its lines: left out" if upon else "none lies upon its lines: taken as data"
        warnings.append(
            f"the header does not say whether {np.count_nonzero(calibration)} calibration lines belong to the image, "
            f"and {why}"
        )
        if upon:
            return warnings
    purpose[calibration] = ""
    return warnings


def _require_plain(path: Path, heads: NDArray) -> None:
    """One 2-D image per slice, from the same coils."""
    wanted = "one 2-D image per slice"
    if (partitions := len(np.unique(heads["idx"]["kspace_encode_step_2"]))) > 1:
        found = f"3-D k-space of {partitions} partitions"
        raise unusable(path, wanted, found, "transform along the partitions first, for example with BART")
    for name in _DYNAMIC:
        if (count := len(np.unique(heads["idx"][name]))) > 1:
            raise unusable(path, wanted, f"{count} of `{name}`", _OTHER_TOOLS)
    coils = np.unique(heads["active_channels"])
    if len(coils) > 1:
        raise unusable(path, "one active_channels throughout", f"{coils[:8].tolist()}", _OTHER_TOOLS)
