"""Sampling masks in files of their own: npy, npz and HDF5, from hands that are not trusted.

Nothing is unpickled, and no more is read, or decompressed, than a mask of the right size can hold.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mri_iahvae.errors import ScanError, reason
from mri_iahvae.scans.formats.npy import npy_header
from mri_iahvae.scans.formats.npz import npz_member
from mri_iahvae.scans.mask_array import require_mask, to_mask
from mri_iahvae.scans.safety.hdf5 import dataset, guarded_file

MASK = "mask"
"""Name of the array in an npz archive and of the dataset in an HDF5 file."""

_MAX_HEADER_BYTES = 2**16
_MAX_ITEM_BYTES = 16


def read_mask_file(path: str | Path, height: int, width: int) -> NDArray[np.bool_]:
    """Read a sampling mask.

    Args:
        path: `.npy`; `.npz` with one array, or one called `mask`; `.h5` or `.hdf5` with the dataset `mask`.
            0 and 1 of any number type, (width,) for columns or (height, width); axes of length 1 as
            `require_mask` takes them.
        height: rows of k-space.
        width: columns of k-space.

    Returns:
        bool (height, width), true where measured.

    Raises:
        ScanError: one line with the file, what was expected, what was found, and what to do.
    """
    path, size = Path(path), (height, width)
    suffix = path.suffix.lower()
    if suffix in {".h5", ".hdf5"}:
        values = _read_hdf5(path, size)
    elif suffix not in {".npy", ".npz"}:
        raise _refused(path, f"the suffix '{suffix}'")
    elif not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise _refused(path, found, "check the path")
    elif suffix == ".npy":
        with _foreign_bytes(path), path.open("rb") as file:
            values = _read_npy(path, file, size)
    else:
        with _foreign_bytes(path), ZipFile(path) as archive, _member(path, archive) as file:
            values = _read_npy(path, file, size)
    return to_mask(path, values, size)


def _read_hdf5(path: Path, size: tuple[int, int]) -> NDArray:
    with guarded_file(path) as file:
        stored = dataset(file, MASK)
        if stored is None:
            raise ScanError(f"{path}: expected a dataset '{MASK}', found none; name the mask so")
        require_mask(path, stored.shape, stored.dtype, size)
        values: NDArray = stored[()]
        return values


def _read_npy(path: Path, file: IO[bytes], size: tuple[int, int]) -> NDArray:
    """The array of an npy stream; its header is checked before memory is taken for the data."""
    content = io.BytesIO(file.read(_MAX_HEADER_BYTES + _MAX_ITEM_BYTES * size[0] * size[1]))
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


def _refused(path: Path, found: str, cure: str = "save it again") -> ScanError:
    return ScanError(
        f"{path}: expected a mask as npy, npz (one array, or one called '{MASK}') or HDF5 (dataset '{MASK}'), "
        f"found {found}; {cure}"
    )
