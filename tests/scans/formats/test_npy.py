import numpy as np
import pytest

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.reader import open_scan


@pytest.fixture
def save(tmp_path):
    def write(values):
        np.save(tmp_path / "scan.npy", values)
        return tmp_path / "scan.npy"

    return write


def header(shape, descr="<c8", version=b"\x01\x00", length=None):
    """An npy file of a header alone."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    size = (len(text) if length is None else length).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + text


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<c8", ">c8", "<c16"])
@pytest.mark.parametrize("shape", [(3, 20, 17), (3, 1, 20, 17), (20, 17)])
def test_single_coil(save, kspace, shape, dtype, order):
    wanted = kspace if len(shape) > 2 else kspace[:1]
    scan = open_scan(save(wanted.reshape(shape).astype(dtype, order=order)))
    assert (scan.slices, scan.coils, scan.height, scan.width) == (len(wanted), 1, 20, 17)
    assert (scan.mask_source, scan.acquired, scan.reference) == ("full", (0, 17), None)
    np.testing.assert_array_equal(scan.read(slice(None)), wanted)


@pytest.mark.parametrize("order", ["C", "F"])
def test_coils(save, rng, order):
    values = rng.normal(size=(3, 4, 20, 17)) + 1j
    scan = open_scan(save(np.asarray(values, order=order)))
    assert (scan.slices, scan.coils) == (3, 4)
    np.testing.assert_array_equal(scan.read_coils(1), values[1:2].astype(np.complex64))
    with pytest.raises(ScanError, match="4 coils"):
        scan.read(0)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.ones((2, 8, 8), np.float32), "float32"),
        (np.ones(8, complex), r"\(8,\)"),
        (np.ones((1, 1, 1, 8, 8), complex), r"\(1, 1, 1, 8, 8\)"),
        (np.ones((0, 8, 8), complex), r"\(0, 8, 8\)"),
        (np.ones((1, 8, 5000), complex), "5000"),
        (np.ones((2, 8, 8), [("x", "f4"), ("y", "f4")]), "type"),
    ],
)
def test_other_arrays_are_refused(refused, save, values, found):
    refused(save(values), found)


@pytest.mark.parametrize(
    "dtype",
    [[("r", "<f4"), ("i", "<f4")], [("Re", ">i2"), ("Im", ">i2")], [("real", "<f8"), ("imag", "<f8")]],
)
def test_pairs_are_complex_numbers(save, rng, dtype):
    values = rng.integers(-9, 9, (2, 3, 20, 17)) + 1j * rng.integers(1, 9, (2, 3, 20, 17))
    stored = np.empty(values.shape, dtype)
    stored[dtype[0][0]], stored[dtype[1][0]] = values.real, values.imag
    np.testing.assert_array_equal(open_scan(save(stored)).read_coils(slice(None)), values)


def test_two_parts_in_the_last_axis_are_named(refused, save):
    refused(save(np.ones((2, 8, 8, 2), np.float32)), r"real and imaginary parts, save x\[")


class Trap:
    """Unpickling it would leave a trace."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def test_nothing_is_unpickled(refused, tmp_path):
    values = np.array([Trap()], object)
    np.save(tmp_path / "scan.npy", values, allow_pickle=True)
    refused(tmp_path / "scan.npy", "object")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        header((10_000, 256, 4096, 4096)),
        header((2**60, 2**60)),
        header("(8, 8"),
        header("(" * 5000 + ")" * 5000),
        header((8, 8), length=40_000),
        header((8, 8), version=b"\x02\x00", length=2**32 - 1),
        header((8, 8), version=b"\x03\x00"),
        header((8, 8)) + bytes(8 * 64 - 1),
        header((8, 8)) + bytes(8 * 64 + 1),
        header((1, 8, 8), descr=[("x" * 9000, "<c8")]),
    ],
)
def test_hostile_files_are_refused(refused, tmp_path, content):
    (tmp_path / "scan.npy").write_bytes(content)
    refused(tmp_path / "scan.npy")
