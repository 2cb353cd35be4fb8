import numpy as np
import pytest

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.reader import open_scan


@pytest.fixture
def write(tmp_path):
    """Write an array of up to 16 dimensions as BART does, and return the path of its numbers."""

    def pair(values, header=None, name="scan"):
        dims = " ".join(map(str, (*values.shape, *[1] * (16 - values.ndim))))
        text = f"# Dimensions\n{dims} \n# Command\nfft -u 3 in {name} \n# Files\n >in\n"
        (tmp_path / f"{name}.hdr").write_text(text if header is None else header)
        (tmp_path / f"{name}.cfl").write_bytes(values.astype("<c8").tobytes(order="F"))
        return tmp_path / f"{name}.cfl"

    return pair


def numbers(rng, *shape):
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def test_slices_and_coils_at_their_places(write, rng):
    values = numbers(rng, 20, 17, 1, 3, *[1] * 9, 4)
    path = write(values)
    scan = open_scan(path)
    assert (scan.slices, scan.coils, scan.height, scan.width) == (4, 3, 20, 17)
    assert (scan.mask_source, scan.acquired, scan.warnings) == ("full", (0, 17), ())
    found = scan.read_coils(slice(None))
    assert found[2, 1, 7, 5] == values[7, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    np.testing.assert_array_equal(found, values.squeeze().transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(scan.read_coils(-1)[0], found[3])
    assert open_scan(path.with_suffix(".hdr")).path == path


def test_a_single_slice_of_a_single_coil(write, rng):
    values = numbers(rng, 20, 17)
    np.testing.assert_array_equal(open_scan(write(values)).read(0)[0], values)
    short = write(values, "# Dimensions\r\n20 17\r\n")
    np.testing.assert_array_equal(open_scan(short).read(0)[0], values)


def test_dimension_2_is_slices_with_a_warning(write, rng):
    values = numbers(rng, 20, 17, 5, 2)
    scan = open_scan(write(values))
    np.testing.assert_array_equal(scan.read_coils(slice(None)), values.transpose(2, 3, 0, 1))
    assert "bart fft -i 4" in scan.warnings[0]


def test_mask_and_padding_from_zeros(write, rng):
    values = numbers(rng, 20, 24)
    values[:, [0, 1, 2, 9, 21, 22, 23]] = 0
    scan = open_scan(write(values))
    assert scan.mask_source == "zeros"
    assert scan.acquired == (3, 21)
    assert np.flatnonzero(~scan.mask[0]).tolist() == [0, 1, 2, 9, 21, 22, 23]
    values[:, 9] = 1
    assert open_scan(write(values)).mask_source == "full"  # all that was acquired


@pytest.mark.parametrize(
    ("shape", "patterns"),
    [
        ((20, 17, 1, 1, 2), ["20 17 1 1 2", "bart slice"]),  # maps
        ((20, 17, 3, 1, *[1] * 9, 4), ["20 17 3", "bart slice"]),
        ((1, 20, 17, 2), ["1 20 17 2", "bart transpose"]),
        ((2, 5000), ["5000", "4096"]),
    ],
)
def test_other_dimensions_are_refused(refused, write, shape, patterns):
    refused(write(np.ones(shape, np.complex64)), *patterns)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "20 17\n",
        "# Dimensions\n",
        "# Dimensions\n-20 17\n",
        "# Dimensions\n20 seventeen\n",
        "# Dimensions\n" + "9" * 400 + " 17\n",
        "# Dimensions\n20 17 " + "1 " * 15 + "\n",
        "# Dimensions\n" + "999999999 " * 16 + "\n",
        "# Dimensions\n0 17\n",
        "# Dimensions\n20 18\n",
        "# Dimensions\n4096 4096 1 256 1 1 1 1 1 1 1 1 1 10000\n",
        "x" * 100_000 + "\n# Dimensions\n20 17\n",
    ],
)
def test_hostile_headers_are_refused(refused, write, rng, header):
    refused(write(numbers(rng, 20, 17), header))


def test_truncated_and_missing_files_are_refused(refused, write, rng):
    path = write(numbers(rng, 20, 17))
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    refused(path, f"expected {len(whole)} bytes", f"found {len(whole) - 8}")
    path.with_suffix(".hdr").unlink()
    refused(path, "both files")


def test_file_changed_after_opening_is_noticed(write, rng):
    scan = open_scan(write(numbers(rng, 20, 17)))
    write(numbers(rng, 20, 18))
    with pytest.raises(ScanError, match="changed"):
        scan.read(0)
