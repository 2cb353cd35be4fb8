"""BART's pairs of files: dimensions as text in `.hdr`, complex64 numbers in `.cfl`, first dimension fastest."""

from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.errors import unusable
from mri_iahvae.scans.formats.memory_map import mapped_scan, readable
from mri_iahvae.scans.safety.limits import require_size
from mri_iahvae.scans.scan import Scan

_ROWS, _COLUMNS, _PARTITIONS, _COILS, _SLICES = _TAKEN = (0, 1, 2, 3, 13)  # READ, PHS1, PHS2, COIL, SLICE
_MAX_HEADER_BYTES = 2**16
_DIMENSIONS = 16
_THREE_D = (
    "dimension 2 is taken for slices: if it is a phase encoding (3-D k-space), transform it first with "
    "`bart fft -i 4`"
)


def open_bart(path: Path) -> Scan:
    """Check a pair of files, given by either, and describe the scan.

    Dimension 0 (readout) becomes rows, 1 columns, 3 coils, 13 slices; without 13, dimension 2 becomes slices, with a
    warning, as it is a phase encoding in 3-D k-space. All others must be 1. DC lies at n // 2, as `bart fft` leaves
    it. Columns or bins that are exactly zero are unmeasured.
    """
    path = path.with_suffix(".cfl")
    return mapped_scan(path, cfl_slices, (_THREE_D,) if _dimensions(path)[_PARTITIONS] > 1 else ())


def bart_name(path: Path) -> Path:
    """The data file of a pair that is given by its header or, as BART's commands take it, by its bare name.

    Other paths come back as they are.
    """
    if path.suffix.lower() == ".hdr":  # other formats have such headers, too
        data = path.with_suffix(".cfl")
        return path if path.is_file() and not data.is_file() else data
    return path if path.exists() or not (data := Path(f"{path}.cfl")).is_file() else data


def cfl_array(path: Path) -> NDArray[np.complex64]:
    """The data of a pair as all 16 dimensions, mapped; the sizes of the files are checked."""
    dims = _dimensions(path)
    wanted = prod(dims) * np.dtype("<c8").itemsize
    with readable(path):
        if (size := path.stat().st_size) != wanted:
            found = "dimensions " + " ".join(map(str, dims))
            raise unusable(path, f"{wanted} bytes for {found}", size, "copy or write both files again")
        return np.memmap(path, "<c8", "r", shape=tuple(dims), order="F")


def cfl_slices(path: Path) -> NDArray:
    """The data of a pair as (slices, coils, height, width), mapped; the files are checked."""
    dims = _dimensions(path)
    found = "dimensions " + " ".join(map(str, dims))
    height, width, partitions, coils, slices = (dims[i] for i in _TAKEN)
    others = [i for i, n in enumerate(dims) if n != 1 and i not in _TAKEN]
    if others or (partitions > 1 and slices > 1):
        wanted = "dimensions 0 (readout), 1 (phase), 3 (coils) and 13 or 2 (slices) alone above 1"
        raise unusable(path, wanted, found, "take one of the others with `bart slice`")
    if min(height, width) < 2:
        wanted = "rows in dimension 0 and columns in dimension 1"
        raise unusable(path, wanted, found, "rearrange with `bart transpose`")
    require_size(path, (slices * partitions, coils, height, width), found)
    values = cfl_array(path).reshape((height, width, partitions, coils, slices), order="F")
    values = values.transpose(4, 2, 3, 0, 1)
    return values[0] if slices == 1 else values[:, 0]


def _dimensions(path: Path) -> list[int]:
    """The dimensions that the header states; those that it leaves out are 1."""
    header = path.with_suffix(".hdr")
    for part in (path, header):
        if not part.is_file():
            raise unusable(part, "both files of a BART pair", "no such file", "keep .cfl and .hdr together")
    with readable(header), header.open("rb") as file:
        lines = [line.split() for line in file.read(_MAX_HEADER_BYTES).splitlines()]
    title = [b"#", b"Dimensions"]
    numbers = lines[lines.index(title) + 1 :][:1] if title in lines else []
    if not numbers or not 1 < len(numbers[0]) <= _DIMENSIONS or not all(map(_is_number, numbers[0])):
        wanted = f"'# Dimensions' and up to {_DIMENSIONS} numbers, as BART writes them"
        raise unusable(header, wanted, "none", "write the pair again with BART")
    dims = [int(number) for number in numbers[0]]
    return dims + [1] * (_DIMENSIONS - len(dims))


def _is_number(text: bytes) -> bool:
    return text.isdigit() and len(text) < 10
