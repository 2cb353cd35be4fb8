"""A folder of files as one scan: each file holds a frame of a series."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import unusable
from mri_iahvae.scans.listing import scan_files
from mri_iahvae.scans.reader import AS_STORED, Reading, open_scan
from mri_iahvae.scans.scan import MaskSource, Scan, Source
from mri_iahvae.words import counted

_SOURCES: tuple[MaskSource, ...] = ("file", "zeros", "full")
"""Where the mask of a series comes from: the first of these that any frame has."""


@dataclass(frozen=True)
class FrameSource(Source):
    """Arrays of several sources, a slice of each."""

    sources: tuple[Source, ...]

    def kspace(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """As `Source.kspace`."""
        for number in numbers:
            yield from self.sources[number].kspace([0])

    def reference(self, numbers: Sequence[int]) -> Iterator[NDArray]:
        """As `Source.reference`."""
        for number in numbers:
            yield from self.sources[number].reference([0])

    def header_text(self) -> str | None:
        """As `Source.header_text`: of the first frame."""
        return self.sources[0].header_text()


def open_frames(folder: Path, reading: Reading = AS_STORED) -> Scan:
    """A folder as a scan whose slices are the files in it, one each, in the order of `scan_files`.

    Masks and noise levels may differ from frame to frame. Header, voxels and attributes are those of the first one.

    Raises:
        UsageError: no scan in the folder.
        ScanError: a file that cannot be used, holds more than one slice, or has another size than the first.
    """
    scans = [open_scan(path, reading) for path in scan_files([folder])]
    first = scans[0]
    for scan in scans:
        if scan.slices > 1:
            wanted = "one slice, as each file of a folder is a frame of its series"
            raise unusable(scan.path, wanted, f"{scan.slices} slices", "give the file in place of the folder")
        if _size(scan) != _size(first):
            wanted = f"{_size(first)}, as {first.path.name} has"
            raise unusable(scan.path, wanted, _size(scan), "leave it out")
    masks = np.concatenate([scan.masks for scan in scans])
    same = all(scan.reference == first.reference for scan in scans)
    return replace(
        first,
        path=folder,
        slices=len(scans),
        mask=first.mask if (masks == masks[:1]).all() else masks,
        mask_source=min((scan.mask_source for scan in scans), key=_SOURCES.index),
        source=FrameSource(tuple(scan.source for scan in scans)),
        acquired=(min(scan.acquired[0] for scan in scans), max(scan.acquired[1] for scan in scans)),
        noise_sigma=_joined([scan.noise_sigma for scan in scans]),
        dwell=_joined([scan.dwell for scan in scans]),
        reference=first.reference if same else None,
        warnings=_summed(scans),
    )


def _size(scan: Scan) -> str:
    return f"{scan.height}x{scan.width} bins of {counted(scan.coils, 'coil')}"


def _joined(parts: list[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    """Values of all frames; None where one has none."""
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _summed(scans: Sequence[Scan]) -> tuple[str, ...]:
    """Warnings of all frames; one that several have is given once, with the first of them."""
    found: dict[str, list[str]] = {}
    for scan in scans:
        for text in scan.warnings:
            found.setdefault(text, []).append(scan.path.name)
    return tuple(
        f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {text}"
        for text, names in found.items()
    )
