"""Plain NumPy arrays of k-space: `.npy`, mapped, never unpickled."""

import io
import warnings
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError, reason, unusable
from mri_iahvae.scans.formats.memory_map import mapped_scan, readable
from mri_iahvae.scans.safety.limits import require_size
from mri_iahvae.scans.scan import Scan, complex_advice, is_complex

_MAX_HEADER_BYTES = 2**16
_HEADERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}


def open_npy(path: Path) -> Scan:
    """Check a file and describe it.

    It holds complex numbers of any width and byte order, or pairs that `is_complex` takes, (slices, coils, height,
    width), (slices, height, width), or (height, width) for one slice; rows are the readout, DC lies at n // 2. Columns
    or bins that are exactly zero are unmeasured.
    """
    return mapped_scan(path, _view)


def _view(path: Path) -> NDArray:
    """(slices, coils, height, width), mapped; the header is checked before."""
    try:
        with readable(path), path.open("rb") as file:
            content = io.BytesIO(file.read(_MAX_HEADER_BYTES))
            size = path.stat().st_size
        shape, fortran_order, dtype = npy_header(content)
    except ValueError as error:
        raise _refused(path, str(error), "save it again with numpy.save") from error
    if len(shape) not in {2, 3, 4} or not is_complex(dtype):
        advice = "save one such array of it" if is_complex(dtype) else complex_advice(shape)
        raise _refused(path, f"shape {short(shape)}, type {short(dtype)}", advice)
    slices, coils = {2: (1, 1), 3: (shape[0], 1)}.get(len(shape), shape[:2])
    full = slices, coils, shape[-2], shape[-1]
    require_size(path, full, f"shape {short(shape)}")
    wanted = content.tell() + prod(shape) * dtype.itemsize
    if size != wanted:
        expected = f"{wanted} bytes for shape {shape} of {dtype}"
        raise unusable(path, expected, size, "copy or save the file again")
    with readable(path):
        values = np.memmap(path, dtype, "r", content.tell(), shape, "F" if fortran_order else "C")
    return values.reshape(full)


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the first axis varies fastest, and type that an npy stream declares; its data come next in it.

    Raises:
        ValueError: no header that can be trusted; one line.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # about headers that Python 2 wrote: they are read
            version = npy_format.read_magic(file)
            if version not in _HEADERS:  # 3.0 is for field names
                raise ValueError(f"npy version {version[0]}.{version[1]}")
            return _HEADERS[version](file)
    except Exception as error:
        # The parser raises a dozen types, from SyntaxError to MemoryError.
        raise ValueError(reason(error)) from error


def short(value: object) -> str:
    """For a message: a type may list a thousand fields, a shape as many axes."""
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _refused(path: Path, found: str, advice: str) -> ScanError:
    shapes = "(slices, height, width), (slices, coils, height, width) or (height, width)"
    wanted = f"an npy file of complex numbers, {shapes}"
    return unusable(path, wanted, found, advice)
