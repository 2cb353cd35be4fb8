"""Sampling masks from files: npy, npz, HDF5 and BART's cfl.

No file is trusted. Nothing is unpickled, and no more is read, or decompressed, than a mask of the right size can hold.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError, reason, unusable
from mri_iahvae.scans.contents import foreign_content
from mri_iahvae.scans.formats.bart import bart_name, cfl_array
from mri_iahvae.scans.formats.npy import npy_header, short
from mri_iahvae.scans.formats.npz import npz_member
from mri_iahvae.scans.safety.hdf5 import dataset, guarded_file

MASK = "mask"
"""Name of the array in an npz archive and of the dataset in an HDF5 file."""

_MAX_HEADER_BYTES = 2**16
_MAX_ITEM_BYTES = 16


Size = tuple[int, int, int]
"""(slices, height, width) of the k-space that a mask is for."""


def require_mask(path: str | Path, shape: tuple[int, ...], dtype: np.dtype, size: Size) -> None:
    """Refuse what a file declares, before its data are read, unless it can be a mask of k-space of `size`.

    The shape is (width,) for columns or (height, width), behind any number of axes of length 1; also fastMRI's (1,
    ..., width, 1) and (height, width, 1). Masks that differ from slice to slice are (slices, width), (slices, 1,
    width) or (slices, height, width). The numbers may be complex.
    """
    if not _readings(shape, size) or dtype.kind not in "biufc":
        _, height, width = size
        rows = [n for n in shape if n != 1] == [height]
        advice = f"as one of rows, store it as ({height}, {width}), or exchange rows and columns of k-space"
        found = f"shape {short(shape)}, type {short(dtype)}"
        raise _not_a_mask(path, size, found, advice if rows else "correct the mask")


def to_mask(path: str | Path, values: NDArray, size: Size) -> NDArray[np.bool_]:
    """Measured bins of an array of 0 and 1 that `require_mask` accepts.

    A new bool (height, width), for all slices, or (slices, height, width), where they differ.
    """
    with np.errstate(invalid="ignore"):  # a signalling NaN
        others = values[(values != 0) & (values != 1)]
    if others.size:
        raise _not_a_mask(path, size, f"the value {others.flat[0]:g}")
    slices, height, width = size
    first, *more = (
        np.broadcast_to(values.reshape(reading).astype(bool), (reading[0], height, width))
        for reading in _readings(values.shape, size)
    )
    if any((first != other).any() for other in more):
        found = f"shape {values.shape}, whose first axis could be slices or rows"
        advice = f"store it as ({slices}, 1, {width}) or as (1, {height}, {width})"
        raise unusable(path, "a mask with clear axes", found, advice)
    return np.array(first[0] if (first == first[:1]).all() else first)


def exchanged(mask: NDArray[np.bool_], filled: NDArray[np.bool_]) -> bool:
    """Whether a mask fits bins that hold data, bool (height, width), once its rows and columns are exchanged.

    The bins may be those alone that the mask has. A mask for each slice is not looked at.
    """
    other = mask.T
    differs = other.shape == filled.shape and (mask & ~other).any()
    return bool(differs and filled.any() and other[filled].all())


def read_mask_file(path: str | Path, height: int, width: int, slices: int = 1) -> NDArray[np.bool_]:
    """Read a sampling mask: bool (height, width) or (slices, height, width), true where measured.

    The file is `.npy`; `.npz` with one array, or one called `mask`; `.h5` or `.hdf5` with the dataset `mask`; or a
    BART pair, whose dimensions are those of a scan, or `upat`'s and `poisson`'s (1, height, width). It holds 0 and 1 of
    any number type, in a shape that `require_mask` takes.
    """
    path, size = bart_name(Path(path)), (slices, height, width)
    suffix = path.suffix.lower()
    if path.is_file() and (foreign := foreign_content(path)):
        raise _refused(path, *foreign)
    if suffix in {".h5", ".hdf5"}:
        values = _read_hdf5(path, size)
    elif suffix == ".cfl":
        values = _read_cfl(path, size)
    elif suffix not in {".npy", ".npz"}:
        raise _refused(path, f"the suffix '{suffix}'")
    elif not path.is_file():
        raise _refused(path, "a folder" if path.is_dir() else "no such file", "check the path")
    elif suffix == ".npy":
        with _foreign_bytes(path), path.open("rb") as file:
            values = _read_npy(path, file, size)
    else:
        with _foreign_bytes(path), ZipFile(path) as archive, _member(path, archive) as file:
            values = _read_npy(path, file, size)
    return to_mask(path, values, size)


def _read_hdf5(path: Path, size: Size) -> NDArray:
    with guarded_file(path) as file:
        stored = dataset(file, MASK)
        if stored is None:
            raise unusable(path, f"a dataset '{MASK}'", "none", "name the mask so")
        require_mask(path, stored.shape, stored.dtype, size)
        values: NDArray = stored[()]
        return values


def _read_cfl(path: Path, size: Size) -> NDArray:
    stored = cfl_array(path)
    as_scan = stored.transpose(13, 2, *range(4, 13), 14, 15, 3, 0, 1)  # slices first, then what has to be 1
    squeezed = stored.reshape([n for n in stored.shape if n > 1], order="F")
    values = next((v for v in (as_scan, squeezed) if _readings(v.shape, size)), squeezed)
    require_mask(path, values.shape, values.dtype, size)
    return np.array(values)


def _read_npy(path: Path, file: IO[bytes], size: Size) -> NDArray:
    """The array of an npy stream; its header is checked before memory is taken for the data."""
    content = io.BytesIO(file.read(_MAX_HEADER_BYTES + _MAX_ITEM_BYTES * prod(size)))
    shape, _, dtype = npy_header(content)
    require_mask(path, shape, dtype, size)
    content.seek(0)
    values: NDArray = npy.read_array(content, allow_pickle=False)
    return values


def _member(path: Path, archive: ZipFile) -> IO[bytes]:
    """The one array of an archive, or the one called `mask`."""
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    wanted = f"{MASK}.npy"
    if wanted not in names and len(names) != 1:
        raise _refused(path, f"{len(names)} arrays, none called '{MASK}'")
    return npz_member(archive, wanted if wanted in names else names[0])


@contextmanager
def _foreign_bytes(path: Path) -> Iterator[None]:
    """Whatever the libraries raise within, on bytes of any kind, becomes one line."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about headers that Python 2 wrote: they are read
            yield
    except ScanError:
        raise
    except Exception as error:
        # The parsers of headers and archives raise a dozen types, from SyntaxError to zlib.error.
        raise _refused(path, reason(error)) from error


def _readings(shape: tuple[int, ...], size: Size) -> list[Size]:
    """What an array of that shape can be: (slices or 1, height or 1, width); two where one axis could be either."""
    slices, height, width = size
    axes = list(shape)
    # fastMRI's masks end in an axis for the real and imaginary parts. (n, 1) alone may mean rows: refused.
    if len(axes) > 2 and axes[-1] == 1:
        del axes[-1]
    if not axes or axes[-1] != width:
        return []
    if len(axes) < 3:
        (n,) = axes[:-1] or [1]
        found = {(1, n), (n, 1)}
    else:
        counts = [n for n in axes[:-2] if n != 1] or [1]
        found = {(counts[0], axes[-2])} if len(counts) == 1 else set()
    return [(n, rows, width) for n, rows in sorted(found) if n in {1, slices} and rows in {1, height}]


def _not_a_mask(path: str | Path, size: Size, found: str, advice: str = "correct the mask") -> ScanError:
    slices, height, width = size
    wanted = f"a mask of 0 and 1, shape ({width},) or ({height}, {width})"
    if slices > 1:
        wanted += f", or of each slice ({slices}, {width}) or ({slices}, {height}, {width})"
    return unusable(path, wanted, found, advice)


def _refused(path: Path, found: str, advice: str = "save it again") -> ScanError:
    wanted = f"a mask as npy, npz (one array, or one called '{MASK}'), HDF5 (dataset '{MASK}') or cfl"
    return unusable(path, wanted, found, advice)
