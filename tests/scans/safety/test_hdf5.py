"""Files that point elsewhere, or want plugins loaded, are refused before their data are touched."""

import h5py
import numpy as np
import pytest

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.scans.safety.hdf5 import dataset_text, scalar_attribute
from tests.refusals import refused

SHAPE = (2, 8, 8)


def soft_link(file, secret):
    file["elsewhere"] = np.ones(SHAPE, np.complex64)
    file["kspace"] = h5py.SoftLink("/elsewhere")


def external_link(file, secret):
    file["kspace"] = h5py.ExternalLink(secret, "/kspace")


def external_storage(file, secret):
    file.create_dataset("kspace", SHAPE, np.complex64, external=[(secret, 0, h5py.h5f.UNLIMITED)])


def virtual(file, secret):
    layout = h5py.VirtualLayout(SHAPE, np.complex64)
    layout[:] = h5py.VirtualSource(secret, "kspace", SHAPE)
    file.create_virtual_dataset("kspace", layout)


def group(file, secret):
    file.create_group("kspace")


def unknown_filter(file, secret):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((1, 8, 8))
    properties.set_filter(40000, h5py.h5z.FLAG_OPTIONAL)
    space = h5py.h5s.create_simple(SHAPE)
    h5py.h5d.create(file.id, b"kspace", h5py.h5t.py_create(np.complex64), space, properties)


def huge_chunks(file, secret):
    file.create_dataset("kspace", (16, 4096, 4096), np.complex64, chunks=(16, 4096, 4096))


@pytest.mark.parametrize(
    "build", [soft_link, external_link, external_storage, virtual, group, unknown_filter, huge_chunks]
)
def test_refused(tmp_path, build):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["kspace"] = np.ones(SHAPE, np.complex64)
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        build(file, str(secret))
    refused(lambda: open_scan(path), r"scan\.h5: expected 'kspace' to be a plain dataset, found")


@pytest.mark.parametrize("name", ["mask", "reconstruction_esc", "ismrmrd_header", "noise_sigma"])
def test_links_are_refused_wherever_they_stand(tmp_path, name):
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = np.ones(SHAPE, np.complex64)
        file[name] = h5py.ExternalLink("other.h5", "/x")
    with pytest.raises(ScanError, match=name):
        open_scan(path)


@pytest.mark.parametrize("name", ["dataset", "dataset/xml", "dataset/data"])
@pytest.mark.parametrize("kind", ["external", "soft", "data"])
def test_raw_data_lead_nowhere_either(tmp_path, name, kind):
    secret = tmp_path / "secret.h5"
    for path in (secret, tmp_path / "raw.h5"):
        with h5py.File(path, "w") as file:
            file["dataset/xml"] = "<a/>"
            file["dataset/data"] = np.zeros(3)
    with h5py.File(tmp_path / "raw.h5", "r+") as file:
        file.move(name, "elsewhere")
        if kind == "external":
            file[name] = h5py.ExternalLink(str(secret), f"/{name}")
        elif kind == "soft":
            file[name] = h5py.SoftLink("/elsewhere")
        else:
            file.create_dataset(name, (3,), "f8", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    with pytest.raises(ScanError, match="found"):
        open_scan(tmp_path / "raw.h5")


@pytest.mark.parametrize(
    ("shape", "options", "pattern"),
    [
        ((200, 1024, 1024), {"chunks": (1, 64, 64)}, "1677721600 bytes of shape"),
        ((10**9, 10**6, 10**6), {"chunks": (1, 64, 64)}, "bytes of shape .* in a file of"),
        ((1, 5, 4096, 4096), {"chunks": (1, 1, 512, 512)}, "at most 67108864 bins in the coils of a slice"),
        ((10_001, 1, 1), {}, "expected 1 to 10000 slices"),
        ((1, 257, 2, 2), {}, "expected 1 to 10000 slices of at most 256 coils"),
        ((1, 2, 4097), {}, "expected 1 to 10000 slices"),
        ((0, 8, 8), {}, "expected 1 to 10000 slices"),
        ((64, 512, 512), {"chunks": (1, 1, 1)}, "16777216 chunks"),
        ((3000, 128, 128), {"chunks": (3000, 8, 8), "compression": "gzip"}, "compressed chunks of"),
    ],
)
def test_what_a_small_file_cannot_hold_is_refused(tmp_path, shape, options, pattern):
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", shape, np.complex64, **options)
    refused(lambda: open_scan(path), pattern)


@pytest.mark.parametrize(
    "options", [{"compression": "gzip", "shuffle": True, "fletcher32": True}, {"compression": "lzf"}]
)
def test_undersampling_compresses_well_and_is_read(tmp_path, rng, options):
    """One column in 32, compressed in chunks of a coil of a slice: 40 times smaller than it claims."""
    kspace = np.zeros((4, 2, 64, 64), np.complex64)
    kspace[..., ::32] = rng.normal(size=(4, 2, 64, 2))
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=kspace, chunks=(1, 1, 64, 64), **options)
    np.testing.assert_array_equal(open_scan(path).read_coils(slice(None)), kspace)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_chunks_shorter_than_their_checksum_are_refused(tmp_path, size):
    """HDF5 reads the checksum four bytes before their end, and crashes where that lies before their start."""
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        kspace = file.create_dataset("kspace", (2, 16, 16), "c8", chunks=(1, 16, 16), fletcher32=True)
        kspace[0] = 1
        kspace.id.write_direct_chunk((1, 0, 0), bytes(size))
    with pytest.raises(ScanError, match="found chunks too short for their checksum"):
        open_scan(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "gb18030"])
@pytest.mark.parametrize("kind", ["S64", h5py.string_dtype("ascii"), h5py.string_dtype()])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_text_in_any_encoding(tmp_path, encoding, kind, shape):
    """ASCII comes back in any, all of UTF-8, UTF-16 and Latin-1."""
    text = "<a>für</a>"
    stored = text.encode(encoding)
    if encoding == "utf-16" and kind != "S64":
        return  # a zero ends a string of any length
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("text", shape, kind)
        made[...] = stored
        found = dataset_text(made)
    assert found.lstrip("\ufeff")[:4] == "<a>f"
    assert found.endswith("r</a>")
    if encoding != "gb18030":
        assert found.lstrip("\ufeff") == text


def test_attributes_are_text_or_a_number(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.attrs["text"] = "AXT2"
        file.attrs["bytes"] = np.bytes_(b"AXT1 \xff")
        file.attrs["number"] = np.float32(0.5)
        file.attrs["list"] = [1.0, 2.0]
        file.attrs["empty"] = h5py.Empty("f4")
        # Of varying length: where such a type is damaged, HDF5 crashes.
        varying = h5py.h5t.vlen_create(h5py.h5t.NATIVE_DOUBLE)
        h5py.h5a.create(file.id, b"varying", varying, h5py.h5s.create(h5py.h5s.SCALAR))
        found = {name: scalar_attribute(file, name) for name in (*file.attrs, "absent")}
    assert found == {
        "text": "AXT2",
        "bytes": "AXT1 \ufffd",
        "number": 0.5,
        **dict.fromkeys(("list", "empty", "varying", "absent")),
    }
