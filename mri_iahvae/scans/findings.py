"""What is odd about a scan, how bad that is, and what to do about it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError
from mri_iahvae.kspace.sampling_pattern import Pattern, sampling_pattern
from mri_iahvae.scans.coil_noise import coil_noise
from mri_iahvae.scans.geometry import Geometry, reference_fits
from mri_iahvae.scans.likeness import likeness
from mri_iahvae.scans.mask_file import exchanged
from mri_iahvae.scans.outliers import outliers_text
from mri_iahvae.scans.scan import Scan
from mri_iahvae.scans.survey import Survey
from mri_iahvae.words import counted

_STRAY_ZEROS = 1e-3
_PEAK = 25.0  # times the mean power: the largest of a million bins of noise is 14 times it
_OFF_CENTRE = 3, 1 / 50  # bins, and of a side: the peak of a real scan is within a few bins of DC
_HALF_FIELD = 0.75 * np.pi, 0.1  # angle that stands for 3/8 of the field; of the power that agrees on it
_EDGE = 32  # of a side: what lies so near to the end of the field
_SMOOTH = 0.5  # of the power, that neighbours in an image have in common; and its deviation over the mean
_LINE_PEAK = 8.0  # times the mean: the central line along an axis of k-space; slices and coils vary less
# Of an image along an axis: peak over the mean (k-space: 8), power that neighbours have in common (0.6), fewest lines.
_FLAT, _ALIKE, _FEWEST = 4.0, 0.8, 32
_DENSE = 8  # lines without a gap: random ones hardly ever make so many
_CALIBRATION = 4  # lines, or bins a side, that `kspace.sensitivities` needs
_COMPARED = 8  # slices, neighbours: those that are most alike

Level = Literal["error", "warning", "note"]
"""The file cannot be used; the result may not be what one expects; good to know."""
LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True)
class Finding:
    """Something about a file: how bad it is, how it is taken, and what to do about it, if anything."""

    level: Level
    text: str
    fix: str = ""


def opening_findings(scan: Scan, geometry: Geometry) -> Iterator[Finding]:
    """What came up when the file was opened and its sizes were looked at."""
    for warning in (*scan.warnings, *geometry.warnings):
        yield Finding("warning", warning)
    yield from (Finding("note", note) for note in scan.notes)
    if scan.voxel is None and scan.affine is None:
        text = "no header: voxel sizes are unknown" if scan.header is None else "voxel sizes are unknown"
        yield Finding("note", text, "a NIfTI will not state them")
        if scan.reference is None and scan.header is None:
            text = "nothing states the size of the image: that of k-space"
            yield Finding("note", text, "state another with --image-size")
    if scan.reference is None:
        yield Finding("note", "no reference images: no scores")
    elif not reference_fits(scan):
        rows, columns = scan.reference
        text = f"the reference is {rows}x{columns}, which no crop of {scan.height}x{scan.width} k-space gives: not used"
        yield Finding("warning", text, "store the reference at its native size")


def sampling_findings(scan: Scan, pattern: Pattern) -> Iterator[Finding]:
    """What the mask shows; the pattern is that of the acquired columns."""
    if pattern.kind == "full":
        text = "every acquired bin is measured: `reconstruct` would return the data"
        yield Finding("note", text, "leave bins out with --up-to or --acceleration, or denoise")
    yield from _rows_findings(scan, pattern)
    if scan.coils > 1 and pattern.centre < _CALIBRATION:
        around = f"{scan.coils} coils, and {counted(pattern.centre, 'line')} around the centre"
        fix = f"at least {_CALIBRATION} are needed; combine the coils into one first"
        yield Finding("error", f"{around}: too few to find sensitivities from", fix)
    yield from _order_findings(scan, pattern)
    if pattern.centre == 0 and pattern.kind != "nothing":
        where = f"the centre of k-space, row {scan.height // 2} and column {scan.width // 2}"
        text = f"{where}, is not measured: contrast will be a guess"
        yield Finding("warning", text, "check that mask and k-space are centred")


def _rows_findings(scan: Scan, pattern: Pattern) -> Iterator[Finding]:
    """Why whole rows are missing, beyond what columns are."""
    mask = np.asarray(scan.sparsest_mask[:, slice(*scan.acquired)])
    rows, columns = np.any(mask, axis=1), np.any(mask, axis=0)
    if rows.all() or not rows.any() or not mask[rows][:, columns].all():
        return
    first, last = (int(row) for row in np.flatnonzero(rows)[[0, -1]])
    where = f"rows {first} to {last} of {scan.height} alone"
    if not rows[first : last + 1].all():
        if pattern.kind == "rows":
            text = "whole rows are missing: rows are taken for the readout, which is measured whole as a rule"
            yield Finding("note", text, "swap the last two axes if the columns are the readout")
    elif first == 0 or last == scan.height - 1:
        yield Finding("note", f"{where} are measured, as of a partial echo", "the model completes the rest")
    elif scan.mask_source == "zeros":
        text = f"{where} hold data, as of a matrix filled up with zeros: the empty rows are completed by the model"
        yield Finding("warning", text, "crop k-space to the rows that were measured to leave them out")
    else:
        yield Finding("note", f"{where} are measured", "the model completes the rest")


def _order_findings(scan: Scan, pattern: Pattern) -> Iterator[Finding]:
    """Whether the mask is densest where an FFT has DC before `fftshift`."""
    shifted = sampling_pattern(np.fft.fftshift(scan.sparsest_mask))
    if shifted.kind == pattern.kind and shifted.centre >= max(_DENSE, 2 * pattern.centre):
        text = (
            f"{shifted.centre} lines without a gap lie at the edge of k-space, {pattern.centre} at the centre"
        )
        yield Finding("warning", text, "if the mask has DC in the corner, apply `numpy.fft.fftshift` to it")


def sampling_doubts(scan: Scan) -> tuple[str, ...]:
    """The warnings of `sampling_findings`, one sentence each."""
    return _warnings(sampling_findings(scan, sampling_pattern(scan.sparsest_mask, scan.acquired)))


def likeness_doubts(scan: Scan, seen: Survey, sigma: float) -> tuple[str, ...]:
    """The warnings of `likeness_findings`, one sentence each."""
    return _warnings(likeness_findings(scan, seen, sigma))


def signal_findings(scan: Scan, seen: Survey) -> Iterator[Finding]:
    """Slices of zeros alone; of a result `volume_warnings` says so."""
    empty = [seen.numbers[index] for index in np.flatnonzero(seen.by_slice == 0).tolist()]
    if empty:
        numbers = ", ".join(map(str, empty[:8])) + (" ..." if len(empty) > 8 else "")
        verb = "holds" if len(empty) == 1 else "hold"
        text = f"{len(empty)} of {counted(scan.slices, 'slice')} {verb} no signal: {numbers}"
        yield Finding("warning", text, "expect zeros")


def data_findings(scan: Scan, seen: Survey, *, keep_outliers: bool = False) -> Iterator[Finding]:
    """What the values show. Errors are data that contradict what they are taken for."""
    if not seen.by_slice.any():
        return
    if scan.mask_source == "file" and seen.zeros > _STRAY_ZEROS * seen.measured:
        text = f"{seen.zeros / seen.measured:.1%} of the bins that the mask calls measured are zero: taken as data"
        if exchanged(scan.mask, seen.power > 0):
            fix = "the mask fits with rows and columns exchanged: exchange those of the mask, or of k-space"
        else:
            fix = "correct the mask, or remove it to have it inferred from the zeros"
        yield Finding("warning", text, fix)
    if seen.outliers:
        taken = "taken as data" if keep_outliers else "taken as not measured; --keep-outliers keeps it"
        yield Finding("warning", outliers_text(seen.outliers), taken)
    if seen.equal:
        (number, axis, line), count = seen.equal[0], len(seen.equal)
        lines = "a line of k-space repeats" if count == 1 else f"{count} lines of k-space repeat"
        text = f"{lines} the one before, number for number: slice {number}, {axis} {line}"
        yield Finding("warning", text + (" first" if count > 1 else ""), "check how the file was made")
    yield from _axes_findings(scan, seen)
    half = _transformed(seen)
    if half is None:
        yield from _centre_findings(scan, seen)
    else:
        image, lines = ("rows", "columns")[half], ("columns", "rows")[half]
        text = f"{image} look like those of an image, {lines} like those of k-space: one axis is transformed already"
        yield Finding("warning", text, f"undo it: a centred FFT along axis {half - 2} of the array")
    number = seen.numbers[int(seen.by_slice.argmax())]
    if noisy := coil_noise(scan.read_coils(number)[0], scan.masks[number]):
        yield Finding("warning", noisy, "leave it out, or make the noise of the coils alike (prewhitening)")


def _axes_findings(scan: Scan, seen: Survey) -> Iterator[Finding]:
    """Whether slices or coils look like lines of k-space, and lines of k-space do not."""
    lines = {"rows": seen.power.sum(axis=1), "columns": seen.power.sum(axis=0)}
    others = {"slices": seen.by_slice, "coils": seen.by_coil}
    flat = [name for name, power in lines.items() if not _peaked(power)]
    peaked = [name for name, power in others.items() if _peaked(power)]
    sizes = {"slice": scan.slices, "coil": scan.coils, "row": scan.height, "column": scan.width}
    *more, last = (counted(size, noun) for noun, size in sizes.items())
    shape = f"{', '.join(more)} and {last}"
    advice = "transpose the array to the axes (slices, height, width) or (slices, coils, height, width)"
    if flat and peaked:
        text = f"{shape}: the {peaked[0]} look like lines of k-space, with a peak at the centre, the {flat[0]} do not"
        yield Finding("error", text, advice)
    elif "slices" in peaked:
        number, most = seen.numbers[int(seen.by_slice.argmax())], seen.by_slice.max() / seen.by_slice.sum()
        text = f"slice {number} holds {most:.0%} of the signal of {scan.slices} slices, as 3-D k-space has it"
        yield Finding("warning", text, "if it is that, transform along the slices first")
    elif min(scan.height, scan.width) <= min(16, max(scan.height, scan.width) / 3):
        yield Finding("warning", f"{shape}: is that the order of the axes?", f"if not, {advice}")


def _transformed(seen: Survey) -> int | None:
    """Along which axis alone the values have no peak and vary smoothly, as an image does; None for k-space."""
    lines = [seen.power.sum(axis=1 - axis) for axis in (0, 1)]
    for axis, (own, other) in enumerate((lines, lines[::-1])):
        measured = own[own > 0]
        flat = measured.size >= _FEWEST and measured.max() < _FLAT * measured.mean()
        if flat and _peaked(other) and np.abs(seen.ramp[axis]) > _ALIKE * seen.power.sum():
            return axis
    return None


def _centre_findings(scan: Scan, seen: Survey) -> Iterator[Finding]:
    """Whether DC and the image lie where they should."""
    size = scan.height, scan.width
    peak = np.unravel_index(seen.power.argmax(), size)
    mean = seen.power.sum() / max(1, np.count_nonzero(seen.power))
    if seen.power.max() < _PEAK * mean:  # noise, or no k-space
        if (np.abs(seen.ramp) > _SMOOTH * seen.power.sum()).all() and seen.power.std() > _SMOOTH * mean:
            text = "the values vary smoothly and have no peak: they look like an image, not like k-space"
            yield Finding("warning", text, "an image is read as NIfTI")
        return
    centre = size[0] // 2, size[1] // 2
    axes = list(zip((int(at) for at in peak), size, centre, strict=True))
    corner = [n >= 16 and min(at, n - at) <= 2 for at, n, _ in axes]
    where = f"k-space is strongest at row {peak[0]}, column {peak[1]}, and DC is expected at {centre[0]}, {centre[1]}"
    least, fraction = _OFF_CENTRE
    if any(corner):
        yield Finding("error", where, f"--fftshift {_named(corner)} moves it there")
    elif scan.masks[:, *centre].all() and any(abs(at - c) > max(least, fraction * n) for at, n, c in axes):
        yield Finding("warning", where, "check that rows or columns are neither lost nor moved")
    angle, agreed = _HALF_FIELD
    half = (np.abs(np.angle(seen.ramp)) > angle) & (np.abs(seen.ramp) > agreed * seen.power.sum())
    if half.any():
        half &= _bright_edges(scan.read_coils(seen.numbers[int(seen.by_slice.argmax())])[0])
    if half.any():
        text = "neighbouring bins alternate in sign: the image lies half a field of view off the centre, cut in two"
        yield Finding("warning", text, f"--centre-image {_named(half.tolist())} moves it there")


def likeness_findings(scan: Scan, seen: Survey, sigma: float) -> Iterator[Finding]:
    """Whether coils look like slices, or slices like coils; `sigma` is the noise per part, 0 where unknown."""
    order = "(slices, coils, height, width)"
    number = seen.numbers[int(seen.by_slice.argmax())]
    found = likeness(scan.read_coils(number)[0], scan.masks[number], sigma)
    if found is not None and found.slices:
        text = f"the {scan.coils} coils show different objects, as slices do"
        yield Finding("warning", text, f"if they are slices, arrange the array as {order}")
    near = range(scan.slices)[max(0, number - _COMPARED // 2) : number + _COMPARED // 2]
    coil = int(seen.by_coil.argmax())
    images = np.stack([scan.read_coils(index)[0, coil] for index in near])
    found = likeness(images, np.logical_and.reduce(scan.masks[near.start : near.stop]), sigma)
    if found is not None and found.coils:
        text = f"{scan.slices} slices show one object in different light, as coils do"
        yield Finding("note", text, f"if they are coils, arrange the array as {order}")


def _peaked(power: NDArray[np.float64]) -> bool:
    return bool(power.max() > _LINE_PEAK * power.mean())


def _named(axes: Sequence[bool]) -> str:
    return "both" if all(axes) else "rows" if axes[0] else "columns"


def _bright_edges(kspace: NDArray[np.complex64]) -> NDArray[np.bool_]:
    """Whether the image of (coils, height, width) has signal at the edges of the field, along rows and columns.

    One cut in two has; a bright rim, as of a skull, ends before them. A constant, as of values about zero, is none.
    """
    whole = kspace / np.abs(kspace).max()
    varying = whole.copy()
    varying[:, kspace.shape[1] // 2, kspace.shape[2] // 2] = 0
    bright = []
    for bins in (whole, varying):
        # DC of a centred array shifts phases alone: pixel 0 is the middle of the field, n // 2 the edge.
        power = np.square(np.abs(np.fft.ifft2(bins))).sum(axis=0)
        for profile in (power.sum(axis=1), power.sum(axis=0)):
            middle, reach = profile.size // 2, max(1, profile.size // _EDGE)
            near = np.arange(-reach, reach)
            bright.append(profile[middle + near].sum() > profile[near].sum() / 2)
    return np.asarray(np.reshape(bright, (2, 2)).all(axis=0))


def require_consistent(scan: Scan, seen: Survey, *, keep_outliers: bool = False) -> tuple[str, ...]:
    """The warnings of `data_findings`, one sentence each.

    Raises:
        ScanError: there is an error among them.
    """
    found = list(data_findings(scan, seen, keep_outliers=keep_outliers))
    for finding in found:
        if finding.level == "error":
            raise ScanError(f"{scan.path}: {finding.text}; {finding.fix}")
    return _warnings(found)


def _warnings(found: Iterable[Finding]) -> tuple[str, ...]:
    return tuple(f"{finding.text}; {finding.fix}" for finding in found if finding.level == "warning")


def error_finding(scan: Scan, error: ScanError) -> Finding:
    """Its message names the file, what is wrong, and after the last semicolon what to do."""
    text, _, fix = str(error).removeprefix(f"{scan.path}: ").rpartition("; ")
    return Finding("error", text or fix, fix if text else "")
