"""The lines of an image in an ISMRMRD file: where in k-space each acquisition goes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import unusable
from mri_iahvae.scans.formats.mrd_selection import BLOCK, DIRECTIONS, DYNAMIC, flagged
from mri_iahvae.scans.header import Header


class Line(NamedTuple):
    """Acquisition number `record` of `stored` samples, and where some of these go: one column and several rows.

    `step` is -1 where the readout ran backwards.
    """

    record: int
    column: int
    rows: slice
    samples: slice
    stored: int
    step: int


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
            if run and (line.record != run[-1].record + 1 or len(run) == BLOCK):
                yield run
                run = []
            run.append(line)
        yield run

    def times(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """How many lines cover each bin (height, width)."""
        times = np.zeros(size, np.float32)
        for line in self.lines:
            times[line.rows, line.column] += 1
        return times


def line_samples(path: Path, record: int, values: NDArray, shape: tuple[int, int]) -> NDArray[np.complex64]:
    """The samples of acquisition number `record` as stored, of the shape (coils, samples)."""
    coils, count = shape
    if values.dtype != np.float32 or values.shape != (2 * coils * count,):
        wanted = f"{coils} coils of {count} samples in acquisition {record}"
        found = f"{values.size} numbers of {values.dtype}"
        raise unusable(path, wanted, found, "compressed data must be expanded first")
    return values.view(np.complex64).reshape(shape)


def imaging_slices(
    path: Path, heads: NDArray, records: NDArray[np.intp], header: Header
) -> tuple[list[Slice], int, tuple[str, ...]]:
    """Sort the lines of a Cartesian 2-D image: slices in the order of their numbers, number of coils, warnings.

    Lines lie at kspace_encode_step_1, shifted so that the centre of the encoding limits comes to width // 2; samples
    so that the centre sample comes to height // 2, reversed readouts turned. Discarded samples are left out. `heads`
    are the headers of the lines, `records` their numbers among the acquisitions, and `header` is of their encoding.
    """
    height, width = header.encoded
    columns, column_warnings = _along_phase(path, heads, header, width)
    rows, first, samples, row_warnings = _along_readout(path, heads, height)
    repeats = _repeats(heads, columns, rows)
    stored = heads["number_of_samples"].astype(int)
    steps = np.where(flagged(heads, "REVERSE"), -1, 1)
    table = np.stack([records, columns, rows, first, samples, stored, steps], axis=1).tolist()
    lines = [
        Line(record, column, slice(row, row + count), slice(start, start + count), length, step)
        for record, column, row, start, count, length, step in table
    ]
    found_slices = []
    for number in np.unique(heads["idx"]["slice"]):
        members = np.flatnonzero(heads["idx"]["slice"] == number)
        head = heads[members[0]]
        position, *directions = (head[name].astype(np.float64) for name in ("position", *DIRECTIONS))
        found_slices.append(Slice(tuple(lines[i] for i in members), position, np.stack(directions)))
    return found_slices, int(heads["active_channels"][0]), (*column_warnings, *row_warnings, *repeats)


def _repeats(heads: NDArray, columns: NDArray, rows: NDArray) -> tuple[str, ...]:
    """A warning where several lines of the same counters lie at one place."""
    counters = [heads["idx"][name] for name in ("slice", "average", *DYNAMIC)]
    again = len(heads) - len(np.unique(np.stack([*counters, columns, rows], axis=1), axis=0))
    return (f"lines upon others of the same counters, averaged: {again}",) if again else ()


def _along_phase(
    path: Path, heads: NDArray, header: Header, width: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Columns, and warnings."""
    numbers = heads["idx"]["kspace_encode_step_1"].astype(int)
    first, last = int(numbers.min()), int(numbers.max())
    if header.padding:
        shift = header.padding[0] - header.first_line
        if first + shift >= 0 and last + shift < width:
            return numbers + shift, ()
    if last + 1 - first == width:  # they fit in one way only
        moved = f"lines {first} to {last} are taken as 0 to {width - 1}, which they fill"
        return numbers - first, (moved,) if first or header.padding else ()
    if last >= width:
        wanted = f"lines at 0 to {width - 1}, as the header says"
        raise unusable(path, wanted, f"lines {first} to {last}", "correct the header")
    limits = "limits do not fit the lines" if header.padding else "header has no usable limits of the lines"
    return numbers, (f"the {limits}: {width // 2} of {first} to {last} is taken for the centre of k-space",)


def _along_readout(
    path: Path, heads: NDArray, height: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """First row, first sample, number of samples, and warnings."""
    stored = heads["number_of_samples"].astype(int)
    first, after = heads["discard_pre"].astype(int), stored - heads["discard_post"].astype(int)
    stated, reverse = heads["center_sample"].astype(int), flagged(heads, "REVERSE")
    warnings = []
    # Rows of a readout that ran backwards count from its end.
    before = np.where(reverse, stored - after, first)
    start = height // 2 - np.where(reverse, stored - 1 - stated, stated)
    outside = (start + before < 0) | (start + before + after - first > height)
    # A line as long as the readout fits in one way only; not every converter states a centre, or counts it backwards.
    full = outside & (stored == height)
    if full.any():
        start[full] = 0
        odd = stated[full & (stated != height // 2)]
        if odd.size:
            text = f"centre sample {odd[0]} of {height}: taken as {height // 2}, where the whole line fits"
            warnings.append(text)
        outside &= ~full
    if outside.any() or (first >= after).any():
        bad = heads[np.flatnonzero(outside | (first >= after))[0]]
        found = (
            f"{bad['number_of_samples']} samples with centre {bad['center_sample']} less {bad['discard_pre']} and "
            f"{bad['discard_post']}"
        )
        raise unusable(path, f"lines within {height} rows of the encoded space", found, "correct the header")
    if reverse.any():
        warnings.append(
            f"{np.count_nonzero(reverse)} reversed readouts are turned; phase differences to the others stay, and may "
            "show as ghosts"
        )
    return start + before, first, after - first, tuple(warnings)
