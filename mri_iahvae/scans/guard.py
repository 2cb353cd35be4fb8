"""Opening HDF5 files that may come from strangers.

An HDF5 file can point at other files (external and soft links, external storage, virtual datasets), declare
shapes far larger than itself, or name filter plugins to be loaded. Nothing that this tool reads needs any of
these, so all are refused before a byte of data is touched.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import h5py

from mri_iahvae.errors import ScanError

_MAX_CHUNK_BYTES = 2**30
_LZF = 32000
# Filters that h5py carries itself; any other number makes HDF5 look for a plugin on disk.
_BUILT_IN_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, _LZF}


@contextmanager
def guarded_file(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; whatever goes wrong in the library becomes a one-line `ScanError`.

    Raises:
        ScanError: no such file, not HDF5, truncated, or damaged.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise ScanError(f"{path}: expected an HDF5 file, found {found}; check the path")
    try:
        # No lock: scans often lie on read-only or network folders, where locking fails.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ScanError(
            f"{path}: expected a readable HDF5 file, found: {reason}; copy or convert the file again"
        ) from error


def group(file: h5py.File, name: str) -> h5py.Group | None:
    """A group at the root of the file, or None where there is none of that name; a dataset is none.

    Raises:
        ScanError: it is a link, which may lead out of this file.
    """
    found = _member(file, name)
    return found if isinstance(found, h5py.Group) else None


def dataset(file: h5py.Group, name: str) -> h5py.Dataset | None:
    """A dataset at the root of the file, or in a group of it, or None where there is none of that name.

    Raises:
        ScanError: it is not a plain dataset that lies in this file.
    """
    found = _member(file, name)
    if found is None:
        return None
    if not isinstance(found, h5py.Dataset):
        raise _refused(file, name, f"a {type(found).__name__}", "its content is not an array")
    if found.is_virtual or found.external:
        raise _refused(file, name, "data outside the file", "other files are never read")
    properties = found.id.get_create_plist()
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    if not filters <= _BUILT_IN_FILTERS:
        raise _refused(
            file, name, f"filter {max(filters)}", "only gzip, lzf, shuffle and fletcher32 are read"
        )
    if found.chunks and prod(found.chunks) * found.dtype.itemsize > _MAX_CHUNK_BYTES:
        raise _refused(file, name, f"chunks of {found.chunks}", "one chunk must stay under 1 GiB")
    return found


def _member(file: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | h5py.Datatype | None:
    link = file.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise _refused(file, name, f"a {type(link).__name__}", "a link may lead to other files")
    return file[name]


def _refused(file: h5py.Group, name: str, found: str, why: str) -> ScanError:
    return ScanError(
        f"{file.file.filename}: expected '{name}' to be a plain dataset, found {found} ({why}); "
        "copy the array itself into the file"
    )
