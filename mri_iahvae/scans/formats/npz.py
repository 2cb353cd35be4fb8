"""Arrays in npz archives that may come from strangers: sizes are checked before memory is taken for them."""

import warnings
from math import prod
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from mri_iahvae.scans.formats.npy import npy_header, short


def npz_member(archive: ZipFile, name: str) -> IO[bytes]:
    """A member as a stream of bytes.

    Raises:
        ValueError: compressed in a way that could take any amount of memory.
        KeyError: no such member.
    """
    member = archive.getinfo(name)
    # The other methods of zip are decompressed without a limit, and numpy writes none of them.
    if member.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
        raise ValueError(f"compression method {member.compress_type}")
    return archive.open(member)


def npz_array(archive: ZipFile, name: str, kinds: str, most: int) -> NDArray:
    """An array of at most `most` bytes, by the name that `numpy.savez` was given; nothing is unpickled.

    Raises:
        ValueError: a type that is not among the numpy `kinds`, such as "iuf", or too large.
        KeyError: no such array.
        Exception: whatever the parsers raise on damaged bytes.
    """
    with npz_member(archive, f"{name}.npy") as file:
        shape, _, dtype = npy_header(file)
    if dtype.kind not in kinds or prod(shape) * dtype.itemsize > most:
        raise ValueError(f"'{name}' of shape {short(shape)}, type {short(dtype)}")
    with npz_member(archive, f"{name}.npy") as file, warnings.catch_warnings(action="ignore"):
        values: NDArray = np.asarray(npy_format.read_array(file, allow_pickle=False))
        return values
