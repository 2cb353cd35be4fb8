"""Opening HDF5 files that may come from strangers.

An HDF5 file can point at other files (external and soft links, external storage, virtual datasets), declare
shapes far larger than itself, or name filter plugins to be loaded. Nothing that this tool reads needs any of
these, so all are refused before a byte of data is touched. The claimed size of a dataset, and the cost of reading it
slice by slice, must not exceed a multiple of the size of the file: noise hardly compresses, and the zeros of strong
undersampling make up at most a few dozen times the rest.
"""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import h5py
import numpy as np

from mri_iahvae.errors import ScanError, reason, unusable
from mri_iahvae.scans.contents import foreign_content, foreign_name
from mri_iahvae.scans.safety.hdf5_vlen import claimed_lengths, heaps_end

_MAX_CHUNK_BYTES = 2**30
_FREE_BYTES = 2**30  # may be claimed, decompressed 16 times, or come in so many chunks by a file of any size
_FREE_DECOMPRESSED = 2**34
_FREE_CHUNKS = 2**16
_MAX_RATIO = 256  # of the claimed size to the size of the file
_CHUNK_BYTES = 256  # at least, on average: the index alone takes some forty of each
_CHECKSUM_BYTES = 4  # of fletcher32
_LZF = 32000
_MAX_TEXT_BYTES = 2**24
_LISTED = 8  # datasets in a message
# Types of attributes; HDF5 may crash over damaged ones of other kinds.
_PLAIN = (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID, h5py.h5t.TypeStringID)
# Filters that h5py carries itself; any other number makes HDF5 look for a plugin on disk.
_BUILT_IN_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, _LZF}
_LIBRARY_ERRORS = (OSError, RuntimeError, ValueError, LookupError, TypeError, OverflowError, MemoryError)


@contextmanager
def guarded_file(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; whatever goes wrong in the library becomes a one-line `ScanError`.

    Raises:
        ScanError: no such file, not HDF5, truncated, or damaged.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise unusable(path, "an HDF5 file", found, "check the path")
    try:
        # No lock: scans often lie on read-only or network folders, where locking fails.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except _LIBRARY_ERRORS as error:
        other = f": {reason(error)}", "copy or convert the file again"
        found, advice = foreign_content(path) or foreign_name(path) or other
        expected = "a readable HDF5 file, found" + (found if found[0] == ":" else f" {found}")
        raise ScanError(f"{path}: expected {expected}; {advice}") from error


def group(file: h5py.Group, name: str) -> h5py.Group | None:
    """A group of a file or group, or None where there is none of that name; a dataset is none."""
    found = _member(file, name)
    return found if isinstance(found, h5py.Group) else None


def dataset(file: h5py.Group, name: str) -> h5py.Dataset | None:
    """A dataset of a file or group, by its name or its path in it; None where there is none.

    Raises:
        ScanError: it is not a plain dataset that lies in this file.
    """
    *groups, last = name.strip("/").split("/")
    for part in groups:  # one by one, as each could be a link out of the file
        inner = group(file, part)
        if inner is None:
            return None
        file = inner
    found = _member(file, last)
    if found is None:
        return None
    if not isinstance(found, h5py.Dataset):
        raise _refused(file, name, f"a {type(found).__name__}", "its content is not an array")
    if found.is_virtual or found.external:
        raise _refused(file, name, "data outside the file", "other files are never read")
    properties = found.id.get_create_plist()
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    if not filters <= _BUILT_IN_FILTERS:
        why = "only gzip, lzf, shuffle and fletcher32 are read"
        raise _refused(file, name, f"filter {max(filters)}", why)
    size = Path(file.file.filename).stat().st_size
    claimed = found.size * found.dtype.itemsize if found.shape else 0
    if claimed > max(_FREE_BYTES, _MAX_RATIO * size):
        claim = f"{claimed} bytes of shape {found.shape} in a file of {size}"
        raise _refused(file, name, claim, "most of it is missing")
    if found.chunks:
        _require_affordable_chunks(file, name, found, size, compressed=bool(filters))
    lengths = claimed_lengths(found)
    if lengths is None or lengths > size:
        claim = "an unusual layout" if lengths is None else f"{lengths} bytes of parts in a file of {size}"
        raise _refused(file, name, claim, "parts of any length are read from plain records alone")
    if h5py.h5z.FILTER_FLETCHER32 in filters and found.id.chunk_iter(_without_checksum):
        raise _refused(file, name, "chunks too short for their checksum", "the file is damaged")
    return found


def dataset_list(file: h5py.File) -> str:
    """The first datasets of a file with shapes and types, for a message; empty where there is none."""
    found: list[str] = []

    def look(name: str, item: h5py.Group | h5py.Dataset) -> bool | None:
        if isinstance(item, h5py.Dataset):
            kind = "/".join(item.dtype.names)[:40] if item.dtype.names else item.dtype
            found.append(f"{name[:60]!r} {item.shape} {kind}")
        return True if len(found) > _LISTED else None

    file.visititems(look)  # which follows no links out of the file
    return ", ".join(found[:_LISTED]) + (" ..." if len(found) > _LISTED else "")


def scalar_attribute(file: h5py.File, name: str) -> str | float | None:
    """An attribute of the file that is text or a real number; None where there is none that can be read."""
    if name not in file.attrs:
        return None
    stored = file.attrs.get_id(name)
    if stored.shape != () or not isinstance(stored.get_type(), _PLAIN):
        return None
    if h5py.check_string_dtype(stored.dtype) and not heaps_end(Path(file.filename)):
        return None
    value = file.attrs[name]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if isinstance(value, np.number) else str(value)


def dataset_text(stored: h5py.Dataset) -> str:
    """The text of a dataset that holds one, in UTF-16 where it begins with a mark of it, else UTF-8, else Latin-1.

    Any bytes are Latin-1, and ASCII is the same in all others.

    Raises:
        ValueError: it holds something else, or text of absurd length.
    """
    kind = stored.dtype
    if stored.size != 1 or kind.kind not in "OS" or kind.itemsize > _MAX_TEXT_BYTES:
        raise ValueError(f"shape {stored.shape}, type {kind}")
    text = np.asarray(stored[()]).item()
    if not isinstance(text, bytes):
        return str(text)
    if text.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        # HDF5 takes the last zero for padding.
        return (text + bytes(len(text) % 2)).decode("utf-16", "replace")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _require_affordable_chunks(
    file: h5py.Group, name: str, found: h5py.Dataset, size: int, *, compressed: bool
) -> None:
    """Bound memory and time by the size of the file, in bytes."""
    if prod(found.chunks) * found.dtype.itemsize > _MAX_CHUNK_BYTES:
        raise _refused(file, name, f"chunks of {found.chunks}", "one chunk must stay under 1 GiB")
    # A chunk that reaches over many slices is decompressed again for each of them.
    work = found.size * found.dtype.itemsize * found.chunks[0]
    if compressed and work > max(_FREE_DECOMPRESSED, _MAX_RATIO * size):
        why = "chunks of one slice are read fast"
        raise _refused(file, name, f"compressed chunks of {found.chunks}", why)
    count = prod(-(-side // part) for side, part in zip(found.shape, found.chunks, strict=True))
    if count > max(_FREE_CHUNKS, size // _CHUNK_BYTES):
        chunks = f"{count} chunks of {found.chunks} in a file of {size} bytes"
        raise _refused(file, name, chunks, "most of them are missing")


def _without_checksum(chunk: h5py.h5d.StoreInfo) -> bool | None:
    """True, which ends the search, for a chunk too short for the checksum that HDF5 reads at its end, come what may."""
    return True if chunk.size <= _CHECKSUM_BYTES else None


def _member(file: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | h5py.Datatype | None:
    link = file.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise _refused(file, name, f"a {type(link).__name__}", "a link may lead to other files")
    return file[name]


def _refused(file: h5py.Group, name: str, found: str, why: str) -> ScanError:
    advice = "copy the array itself into the file"
    return unusable(file.file.filename, f"'{name}' to be a plain dataset", f"{found} ({why})", advice)
