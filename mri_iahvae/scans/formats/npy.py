"""Plain NumPy arrays of k-space: `.npy`, mapped, never unpickled."""

import io
import warnings
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from mri_iahvae.errors import reason, unusable
from mri_iahvae.scans.formats.memory_map import mapped_scan, readable
from mri_iahvae.scans.safety.limits import require_size
from mri_iahvae.scans.scan import Scan, complex_advice, is_complex

_MAX_HEADER_BYTES = 2**16
_SHAPES = "(slices, height, width), (slices, coils, height, width) or (height, width)"
_HEADERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}


def open_npy(path: Path) -> Scan:
    """Check a file and describe it.

    It holds complex numbers of any width and byte order, or pairs that `is_complex` takes, (slices, coils, height,
    width), (slices, height, width), or (height, width) for one slice; rows are the readout, DC lies at n // 2. Columns
    or bins that are exactly zero are unmeasured.
    """
    return mapped_scan(path, _view)


def npy_array(path: Path, ranks: Sequence[int], shapes: str) -> NDArray:
    """The complex numbers of a file, mapped; header and size are checked before.

    Args:
        path: the file.
        ranks: numbers of axes that it may have.
        shapes: of these, in words, for the error.
    """
    wanted = f"an npy file of complex numbers, {shapes}"
    try:
        with readable(path), path.open("rb") as file:
            content = io.BytesIO(file.read(_MAX_HEADER_BYTES))
            size = path.stat().st_size
        shape, fortran_order, dtype = npy_header(content)
    except ValueError as error:
        raise unusable(path, wanted, str(error), "save it again with numpy.save") from error
    if len(shape) not in ranks or not is_complex(dtype):
        advice = "save one such array of it" if is_complex(dtype) else complex_advice(shape)
        raise unusable(path, wanted, f"shape {short(shape)}, type {short(dtype)}", advice)
    bytes_wanted = content.tell() + prod(shape) * dtype.itemsize
    if size != bytes_wanted:
        expected = f"{bytes_wanted} bytes for shape {shape} of {dtype}"
        raise unusable(path, expected, size, "copy or save the file again")
    with readable(path):
        return np.memmap(path, dtype, "r", content.tell(), shape, "F" if fortran_order else "C")


def _view(path: Path) -> NDArray:
    """(slices, coils, height, width), mapped; the file is checked."""
    values = npy_array(path, (2, 3, 4), _SHAPES)
    shape = values.shape
    slices, coils = {2: (1, 1), 3: (shape[0], 1)}.get(len(shape), shape[:2])
    full = slices, coils, shape[-2], shape[-1]
    require_size(path, full, f"shape {short(shape)}")
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
