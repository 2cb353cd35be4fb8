"""The lengths that the variable-length parts of an HDF5 dataset claim, found without reading them.

HDF5 believes a length of up to 4 GiB, and takes that much memory, before it looks at what is there. On disk each part
is a length (4 bytes), an address and an index (4 bytes) into the file's heap, within the records of the dataset.
"""

from collections.abc import Iterator
from math import prod
from os import SEEK_END
from pathlib import Path
from typing import IO

import h5py
import numpy as np
from h5py import h5t

_Parts = list[tuple[int, int] | None]
_HEAP = b"GCOL\x01\0\0\0"
_SEARCHED = 2**25


def claimed_lengths(found: h5py.Dataset) -> int | None:
    """Bytes that all variable-length parts of a dataset claim together; 0 where there are none.

    None where that cannot be found out: parts within parts, filters, or a compact layout, none of which this tool's
    formats use; and where a heap that holds the parts is damaged.
    """
    address = found.file.id.get_create_plist().get_sizes()[0]
    parts, size = _layout(found.id.get_type(), address + 8)
    if not parts:
        return 0
    properties = found.id.get_create_plist()
    if None in parts or properties.get_nfilters() or properties.get_layout() == h5py.h5d.COMPACT:
        return None
    total, heaps = 0, set()
    for raw in _raw(found, size):
        records = np.frombuffer(raw, np.uint8)[: len(raw) // size * size].reshape(-1, size)
        for offset, element in filter(None, parts):
            lengths = np.ascontiguousarray(records[:, offset : offset + 4]).view("<u4").ravel()
            total += int(lengths.sum(dtype=np.uint64)) * element
            places = np.ascontiguousarray(records[lengths > 0, offset + 4 : offset + 4 + address])
            heaps |= {int.from_bytes(place.tobytes(), "little") for place in places}
    with Path(found.file.filename).open("rb") as file:
        return total if all(_ends(file, heap) for heap in heaps) else None


def heaps_end(path: Path) -> bool:
    """Whether every heap in the first and the last 32 MiB of a file has an end.

    Attributes are of variable length in most files, and h5py does not say in which heap their parts lie.
    """
    with path.open("rb") as file:
        for start in {0, max(0, file.seek(0, SEEK_END) - _SEARCHED)}:
            file.seek(start)
            content = file.read(_SEARCHED)
            at = content.find(_HEAP)
            while at >= 0:
                if not _ends(file, start + at):
                    return False
                at = content.find(_HEAP, at + 1)
    return True


def _ends(file: IO[bytes], heap: int) -> bool:
    """Whether the objects of a heap follow each other to its end: HDF5 goes round for ever at one without a size."""
    if heap > file.seek(0, SEEK_END):
        return True  # HDF5 refuses it
    file.seek(heap)
    size = int.from_bytes(file.read(16)[8:], "little")  # signature, version, size
    at = 16
    while at + 16 <= size and len(head := file.read(16)) == 16:
        index, length = int.from_bytes(head[:2], "little"), int.from_bytes(head[8:], "little")
        step = 16 + -(-length // 8) * 8 if index else length  # index 0 is free space, its head included
        if not 0 < step <= size - at:
            return False
        at += step
        file.seek(heap + at)
    return True


def _layout(kind: h5t.TypeID, part: int) -> tuple[_Parts, int]:
    """Offset and size of an element of each part (None for what has parts of its own), and the size of all on disk.

    h5py gives sizes and offsets as they are in memory, where a part is a pointer.
    """
    if isinstance(kind, h5t.TypeStringID):
        return ([(0, 1)], part) if kind.is_variable_str() else ([], kind.get_size())
    if isinstance(kind, h5t.TypeVlenID):
        inner = kind.get_super()
        return [None if _layout(inner, part)[0] else (0, inner.get_size())], part
    if isinstance(kind, h5t.TypeArrayID):
        return ([None] if _layout(kind.get_super(), part)[0] else []), kind.get_size()
    parts: _Parts = []
    shift = 0
    if isinstance(kind, h5t.TypeCompoundID):
        for i in sorted(range(kind.get_nmembers()), key=kind.get_member_offset):
            member, offset = kind.get_member_type(i), kind.get_member_offset(i) + shift
            inside, size = _layout(member, part)
            parts += [at and (offset + at[0], at[1]) for at in inside]
            shift += size - member.get_size()
    return parts, kind.get_size() + shift


def _raw(found: h5py.Dataset, size: int) -> Iterator[bytes]:
    """The records as the file has them, `size` bytes each."""
    with Path(found.file.filename).open("rb") as file:
        if found.chunks is None:
            if (start := found.id.get_offset()) is not None:
                file.seek(start)
                yield file.read(found.size * size)
            return
        starts: list[int] = []
        found.id.chunk_iter(lambda chunk: starts.append(chunk.byte_offset))
        for start in starts:
            file.seek(start)
            yield file.read(prod(found.chunks) * size)
