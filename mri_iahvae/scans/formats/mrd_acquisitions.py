"""The acquisitions of an ISMRMRD file: which of them make the image, and where in k-space each one goes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.lib.recfunctions import repack_fields
from numpy.typing import NDArray

from mri_iahvae.errors import unusable
from mri_iahvae.scans.header import Header

_MAX_ACQUISITIONS = 2**19
_BLOCK = 16  # records at a time; in a hostile file many could point to one huge block of data
_DIRECTIONS = ["read_dir", "phase_dir", "slice_dir"]
_SAMPLES = ["number_of_samples", "discard_pre", "discard_post", "center_sample"]
_NEEDED = ["flags", "active_channels", "encoding_space_ref", "idx", "position", *_DIRECTIONS, *_SAMPLES]
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
_OTHER_TOOLS = "take them apart with the `ismrmrd` package, or reconstruct with BART, Gadgetron or MRpro"


class Line(NamedTuple):
    """Acquisition number `record` of `stored` samples, and where some of these go: one column and several rows."""

    record: int
    column: int
    rows: slice
    samples: slice
    stored: int


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice of an image; vectors as the file has them.

    Attributes:
        lines: at least one, in the order of the file.
        position: float64 (3,), centre in mm, in the patient's coordinates (left, posterior, superior).
        directions: float64 (3, 3), unit vectors along rows' index (read), columns' index (phase), and slices.
    """

    lines: tuple[Line, ...] = field(repr=False)
    position: NDArray[np.float64]
    directions: NDArray[np.float64]

    def runs(self) -> Iterator[list[Line]]:
        """The lines, those together whose records follow each other: faster than one by one."""
        run: list[Line] = []
        for line in self.lines:
            if run and (line.record != run[-1].record + 1 or len(run) == _BLOCK):
                yield run
                run = []
            run.append(line)
        yield run

    def measured(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Bins (height, width) that some line covers."""
        mask = np.zeros(size, bool)
        for line in self.lines:
            mask[line.rows, line.column] = True
        return mask


def imaging_slices(
    path: Path, data: h5py.Dataset, header: Header
) -> tuple[list[Slice], int, tuple[str, ...]]:
    """Sort the acquisitions of a Cartesian 2-D scan: slices in the order of their numbers, number of coils, warnings.

    Lines lie at kspace_encode_step_1, shifted so that the centre of the encoding limits comes to width // 2; samples
    so that the centre sample comes to height // 2. Noise, navigator, calibration-only and other measurements that are
    not for the image are left out, as are discarded samples.
    """
    heads = _heads(path, data)
    chosen = _imaging(heads)
    heads, records = heads[chosen], np.flatnonzero(chosen)
    if not records.size:
        raise unusable(path, "acquisitions for an image", f"none in {chosen.size}", "check the conversion")
    _require_plain(path, heads)
    height, width = header.encoded
    columns = heads["idx"]["kspace_encode_step_1"].astype(int) + (header.padding[0] if header.padding else 0)
    if columns.max() >= width:
        found = f"one at {columns.max()}"
        raise unusable(path, f"lines at 0 to {width - 1}, as the header says", found, "correct the header")
    rows, first, samples, warnings = _along_readout(path, heads, height)
    stored = heads["number_of_samples"].astype(int)
    lines = [
        Line(record, column, slice(row, row + count), slice(start, start + count), length)
        for record, column, row, start, count, length in zip(
            *(values.tolist() for values in (records, columns, rows, first, samples, stored)), strict=True
        )
    ]
    found_slices = []
    for number in np.unique(heads["idx"]["slice"]):
        members = np.flatnonzero(heads["idx"]["slice"] == number)
        head = heads[members[0]]
        vectors = np.stack([head[name] for name in ("position", *_DIRECTIONS)])
        placed = vectors.astype(np.float64)
        found_slices.append(Slice(tuple(lines[i] for i in members), placed[0], placed[1:]))
    return found_slices, int(heads["active_channels"][0]), warnings


def _heads(path: Path, data: h5py.Dataset) -> NDArray:
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
    blocks = (data[start : start + _BLOCK]["head"][_NEEDED] for start in range(0, data.size, _BLOCK))
    return np.concatenate([repack_fields(block) for block in blocks])


def _imaging(heads: NDArray) -> NDArray[np.bool_]:
    import ismrmrd  # noqa: PLC0415

    def flagged(name: str) -> NDArray[np.bool_]:
        flag = int(getattr(ismrmrd, f"ACQ_IS_{name}"))
        return (heads["flags"] >> np.uint64(flag - 1)) & np.uint64(1) != 0

    other = flagged("PARALLEL_CALIBRATION") & ~flagged("PARALLEL_CALIBRATION_AND_IMAGING")
    for name in _NOT_IMAGING:
        other |= flagged(name)
    return ~other


def _require_plain(path: Path, heads: NDArray) -> None:
    """One 2-D image per slice, from one encoding space and the same coils."""
    import ismrmrd  # noqa: PLC0415

    wanted = "one 2-D image per slice"
    if (partitions := len(np.unique(heads["idx"]["kspace_encode_step_2"]))) > 1:
        found = f"3-D k-space of {partitions} partitions"
        raise unusable(path, wanted, found, "transform along the partitions first, for example with BART")
    for name in _DYNAMIC:
        if (count := len(np.unique(heads["idx"][name]))) > 1:
            found = f"{count} of `{name}`"
            raise unusable(path, wanted, found, _OTHER_TOOLS)
    for name in ("encoding_space_ref", "active_channels"):
        values = np.unique(heads[name])
        if len(values) > 1:
            raise unusable(path, f"one {name} throughout", f"{values[:8].tolist()}", _OTHER_TOOLS)
    if ((heads["flags"] >> np.uint64(ismrmrd.ACQ_IS_REVERSE - 1)) & np.uint64(1)).any():
        raise unusable(path, wanted, "reversed readouts (echo-planar)", _OTHER_TOOLS)


def _along_readout(
    path: Path, heads: NDArray, height: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """First row, first sample, number of samples, and warnings."""
    stored = heads["number_of_samples"].astype(int)
    first, after = heads["discard_pre"].astype(int), stored - heads["discard_post"].astype(int)
    start = height // 2 - heads["center_sample"].astype(int)
    warnings: tuple[str, ...] = ()
    outside = (start + first < 0) | (start + after > height)
    # A line as long as the readout fits in one way only; not every converter states a centre.
    full = outside & (stored == height)
    if full.any():
        start[full] = 0
        centre = heads["center_sample"][full][0]
        warnings = (f"centre sample {centre} of {height}: taken as {height // 2}, where the whole line fits",)
        outside &= ~full
    if outside.any() or (first >= after).any():
        bad = heads[np.flatnonzero(outside | (first >= after))[0]]
        found = (
            f"{bad['number_of_samples']} samples with centre {bad['center_sample']} less {bad['discard_pre']} and "
            f"{bad['discard_post']}"
        )
        raise unusable(path, f"lines within {height} rows of the encoded space", found, "correct the header")
    return start + first, first, after - first, warnings
