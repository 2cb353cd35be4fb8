"""Which acquisitions of an ISMRMRD file make the image: by flags, encodings and counters."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

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
_SAMPLES = ["number_of_samples", "discard_pre", "discard_post", "center_sample", "sample_time_us"]
COILS = ["active_channels", "channel_mask"]
"""Fields that say which coils received."""
_NEEDED = [
    *("flags", *COILS, "encoding_space_ref", "trajectory_dimensions", "idx", "position"),
    *(*DIRECTIONS, *_SAMPLES),
]
DYNAMIC = ("contrast", "phase", "repetition", "set")
"""Counters of which each number makes an image of its own."""
CHOICES = (*DYNAMIC, "average", "encoding")
"""What lines can be chosen by."""
ALL = "all"
"""In place of a number: lines of all numbers, averaged."""
Choice = Mapping[str, int | str]
"""The number, or `ALL`, by some of `CHOICES`."""
NOISE = "NOISE_MEASUREMENT"
# Measured for another purpose than the image, by the names of the standard.
_NOT_IMAGING = (
    NOISE,
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
_PLAIN = "one 2-D image per slice"
_OTHER_TOOLS = "take them apart with the `ismrmrd` package, or reconstruct with BART, Gadgetron or MRpro"


def acquisition_heads(path: Path, data: h5py.Dataset) -> NDArray:
    """The headers of all acquisitions."""
    if find_spec("ismrmrd") is None:
        raise unusable(path, "the ismrmrd package, to read raw data", "none", "pip install ismrmrd")
    from ismrmrd.hdf5 import acquisition_header_dtype as standard  # noqa: PLC0415 - an optional dependency

    if data.ndim != 1 or not 0 < data.size <= _MAX_ACQUISITIONS:
        wanted = f"1 to {_MAX_ACQUISITIONS} acquisitions"
        raise unusable(path, wanted, f"shape {data.shape}", "check the conversion")
    fields = (data.dtype["head"].fields or {}) if {"head", "data"} <= set(data.dtype.names or ()) else {}
    if any(name not in fields or fields[name][0] != standard[name] for name in _NEEDED):
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


def chosen_acquisitions(
    path: Path, heads: NDArray, select: Choice
) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Numbers of the acquisitions, less the lines of the image and its calibration of other numbers than `select` has.

    And perhaps a warning. A number that the image does not have is refused.
    """
    purpose = _purpose(heads)
    image, lines = purpose == "", np.isin(purpose, ["", _CALIBRATION])
    slices = len(np.unique(heads["idx"]["slice"][image]))
    for name, number in select.items():
        if number == ALL or not image.any():
            continue
        numbers = _numbers(heads, name)
        if number not in numbers[image]:
            found, advice = _listed(name, numbers[image]), f"choose one of these with --select {name}=N"
            raise unusable(path, f"lines of {name} {number}", found, advice)
        image &= numbers == number
        lines &= numbers == number
    left = len(np.unique(heads["idx"]["slice"][image]))
    warnings = (f"slices with lines of that choice: {left} of {slices}",) if left < slices else ()
    return np.flatnonzero(lines | ~np.isin(purpose, ["", _CALIBRATION])), warnings


def image_encoding(path: Path, heads: NDArray) -> int:
    """Number of the encoding that the lines of the image refer to; calibration may have one of its own."""
    numbers = heads["encoding_space_ref"][_purpose(heads) == ""]
    if not numbers.size:
        raise unusable(path, "acquisitions for an image", f"none in {heads.size}", "check the conversion")
    if (numbers != numbers[0]).any():
        _refuse_several(path, {"encoding": numbers})
    return int(numbers[0])


def image_lines(
    path: Path, heads: NDArray, header: Header, select: Choice
) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Numbers of the acquisitions of a Cartesian 2-D image; `header` is that of their encoding. And warnings.

    Navigator, separate calibration and other measurements that are not for the image are left out, with a warning;
    noise lines without one (`mrd_noise` reports them).
    """
    purpose = _purpose(heads)
    warnings = _take_embedded(heads, purpose, header.calibration)
    chosen = np.flatnonzero(purpose == "")
    _require_plain(path, heads[chosen], select)
    if heads["trajectory_dimensions"][chosen].any():
        text = "coordinates in k-space that come with the lines are left out: the counters are taken"
        warnings.append(text)
    names, counts = np.unique(purpose[~np.isin(purpose, ["", NOISE])], return_counts=True)
    if names.size:
        words = [name.lower().replace("_", " ") for name in names]
        listed = ", ".join(f"{count} {word}" for word, count in zip(words, counts, strict=True))
        warnings.append(f"acquisitions that are not for the image are left out: {listed}")
    return chosen, tuple(warnings)


def _purpose(heads: NDArray) -> NDArray[np.str_]:
    """For each acquisition the flag that says what it is for; empty for the image."""
    purpose = np.full(heads.shape, "", f"U{max(map(len, _NOT_IMAGING))}")
    purpose[flagged(heads, _CALIBRATION) & ~flagged(heads, f"{_CALIBRATION}_AND_IMAGING")] = _CALIBRATION
    for name in _NOT_IMAGING:
        purpose[flagged(heads, name)] = name
    return purpose


def _take_embedded(heads: NDArray, purpose: NDArray[np.str_], mode: str) -> list[str]:
    """Make those lines that are flagged as calibration alone part of the image where they belong to the same k-space.

    They do where the header calls calibration embedded. Where it does not say, they do if no line of the image lies
    where one of them does: the flags then mark lines between those of a regular pattern, not lines upon it.
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
        who = f"calibrationMode '{mode}'" if mode else "the header"
        warnings.append(
            f"{who} does not say whether {np.count_nonzero(calibration)} calibration lines belong to the image, "
            f"and {why}"
        )
        if upon:
            return warnings
    purpose[calibration] = ""
    return warnings


def _require_plain(path: Path, heads: NDArray, select: Choice) -> None:
    """One 2-D image per slice, from the same coils."""
    if (partitions := len(np.unique(heads["idx"]["kspace_encode_step_2"]))) > 1:
        found = f"3-D k-space of {partitions} partitions"
        advice = "transform along the partitions first, for example with BART"
        raise unusable(path, _PLAIN, found, advice)
    counters = {name: _numbers(heads, name) for name in DYNAMIC if select.get(name) != ALL}
    if several := {name: numbers for name, numbers in counters.items() if (numbers != numbers[0]).any()}:
        _refuse_several(path, several)
    for name in COILS:
        if len(different := np.unique(heads[name], axis=0)) > 1:
            raise unusable(path, f"one {name} throughout", different[:8].tolist(), _OTHER_TOOLS)


def _refuse_several(path: Path, several: Mapping[str, NDArray]) -> NoReturn:
    """Refuse numbers of counters that make an image each."""
    found = " and ".join(_listed(*one) for one in several.items())
    first = " ".join(f"--select {name}={numbers.min()}" for name, numbers in several.items())
    average = "" if "encoding" in several else f", or average them as in --select {next(iter(several))}={ALL}"
    raise unusable(path, _PLAIN, found, f"choose one as in {first}{average}")


def _numbers(heads: NDArray, name: str) -> NDArray[np.uint16]:
    """Of each acquisition, by one of `CHOICES`."""
    numbers: NDArray[np.uint16] = heads["encoding_space_ref"] if name == "encoding" else heads["idx"][name]
    return numbers


def _listed(name: str, numbers: NDArray[np.uint16]) -> str:
    found = np.unique(numbers).tolist()
    return f"{len(found)} of `{name}` ({', '.join(map(str, found[:8]))}{', ...' * (len(found) > 8)})"
