"""Sampling masks as files hold them: npy, npz and HDF5, from hands that are not trusted.

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

from mri_iahvae.errors import ScanError, reason, unusable
from mri_iahvae.scans.formats.npy import npy_header, short
from mri_iahvae.scans.formats.npz import npz_member
from mri_iahvae.scans.safety.hdf5 import dataset, guarded_file

MASK = "mask"
"""Name of the array in an npz archive and of the dataset in an HDF5 file."""

_MAX_HEADER_BYTES = 2**16
_MAX_ITEM_BYTES = 16


def require_mask(path: str | Path, shape: tuple[int, ...], dtype: np.dtype, size: tuple[int, int]) -> None:
    """Refuse what a file declares, before its data are read, unless it can be a mask of k-space of `size`.

    The shape is (width,) for columns or (height, width), behind any number of axes of length 1; also fastMRI's (1,
    ..., width, 1) and (height, width, 1).
    """
    if not _fits(shape, size) or dtype.kind not in "biuf":
        raise _not_a_mask(path, size, f"shape {short(shape)}, type {short(dtype)}")


def to_mask(path: str | Path, values: NDArray, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Measured bins, a new bool (height, width), of an array of 0 and 1 that `require_mask` accepts."""
    with np.errstate(invalid="ignore"):  # a signalling NaN
        others = values[(values != 0) & (values != 1)]
    if others.size:
        raise _not_a_mask(path, size, f"the value {others.flat[0]:g}")
    height, width = size
    rows = values.size // width  # 1 where the mask is one of columns
    return np.broadcast_to(values.reshape(rows, width).astype(bool), (height, width)).copy()


def read_mask_file(path: str | Path, height: int, width: int) -> NDArray[np.bool_]:
    """Read a sampling mask: bool (height, width), true where measured.

    The file is `.npy`; `.npz` with one array, or one called `mask`; `.h5` or `.hdf5` with the dataset `mask`. It
    holds 0 and 1 of any number type, in a shape that `require_mask` takes.
    """
    path, size = Path(path), (height, width)
    suffix = path.suffix.lower()
    if suffix in {".h5", ".hdf5"}:
        values = _read_hdf5(path, size)
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


def _read_hdf5(path: Path, size: tuple[int, int]) -> NDArray:
    with guarded_file(path) as file:
        stored = dataset(file, MASK)
        if stored is None:
            raise unusable(path, f"a dataset '{MASK}'", "none", "name the mask so")
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


def _fits(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    if shape in {size, size[1:]}:
        return True
    bare = list(shape)
    while bare and bare[0] == 1:
        del bare[0]
    # fastMRI's masks end in an axis for the real and imaginary parts. (n, 1) alone may mean rows: refused.
    if bare and bare[-1] == 1 and len(shape) > 2:
        del bare[-1]
    return tuple(bare) in {size, size[1:]}


def _not_a_mask(path: str | Path, size: tuple[int, int], found: str) -> ScanError:
    height, width = size
    wanted = f"a mask of 0 and 1, shape ({width},) or ({height}, {width})"
    return unusable(path, wanted, found, "correct the mask")


def _refused(path: Path, found: str, advice: str = "save it again") -> ScanError:
    wanted = f"a mask as npy, npz (one array, or one called '{MASK}') or HDF5 (dataset '{MASK}')"
    return unusable(path, wanted, found, advice)
