"""Lengths of variable-length parts are read from the file's bytes, as h5py reads them."""

import struct

import h5py
import numpy as np
import pytest

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.safety.hdf5 import dataset, guarded_file, scalar_attribute
from mri_iahvae.scans.safety.hdf5_vlen import claimed_lengths

RECORD = np.dtype([("number", "i4"), ("text", h5py.string_dtype()), ("values", h5py.vlen_dtype(np.float32))])


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("chunks", [None, (1,), (4,)])
def test_sums_of_all_parts(tmp_path, libver, chunks):
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        rows = file.create_dataset("rows", (6,), RECORD, chunks=chunks)
        for i in range(5):  # the last one stays empty
            rows[i] = (i, "é" * i, np.ones(10 * i, np.float32))
        file["text"] = "hello"
        file["numbers"] = np.ones(3)
    with h5py.File(tmp_path / "a.h5") as file:
        assert claimed_lengths(file["rows"]) == sum(2 * i + 4 * 10 * i for i in range(5))
        assert claimed_lengths(file["text"]) == 5
        assert claimed_lengths(file["numbers"]) == 0


def test_a_length_that_the_file_cannot_hold_is_refused_unread(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["text"] = "hello"
        start = file["text"].id.get_offset()
    content = bytearray(path.read_bytes())
    assert content[start : start + 4] == struct.pack("<I", 5)
    content[start : start + 4] = struct.pack("<I", 2**31)
    path.write_bytes(content)
    with pytest.raises(ScanError, match="2147483648 bytes of parts"), guarded_file(path) as file:
        dataset(file, "text")


def test_what_cannot_be_read_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("packed", (2,), h5py.string_dtype(), chunks=(2,), compression="gzip")
        file.create_dataset("nested", (2,), h5py.vlen_dtype(h5py.vlen_dtype(np.int32)))
    with h5py.File(path) as file:
        assert claimed_lengths(file["packed"]) is None
        assert claimed_lengths(file["nested"]) is None
    for name in ("packed", "nested"):
        with pytest.raises(ScanError, match="an unusual layout"), guarded_file(path) as file:
            dataset(file, name)


@pytest.mark.parametrize("before", [0, 2**26])
def test_text_in_a_heap_without_end_is_not_read(tmp_path, before):
    """HDF5 goes round for ever at free space whose size is zero, which no signal stops."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("large", data=np.zeros(before, np.uint8))
        file.attrs["acquisition"] = "AXT1"
    with guarded_file(path) as file:
        assert scalar_attribute(file, "acquisition") == "AXT1"
    content = bytearray(path.read_bytes())
    free = content.index(b"GCOL") + 16 + 16 + 8  # after the heap's head, the text's and the text
    assert content[free : free + 2] == b"\0\0"
    content[free + 8 : free + 16] = bytes(8)
    path.write_bytes(content)
    with guarded_file(path) as file:
        assert scalar_attribute(file, "acquisition") is None
