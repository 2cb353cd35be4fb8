import numpy as np
import pytest

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.scans.scan import is_complex


def test_reads_what_h5py_wrote(write_hdf5, kspace):
    scan = open_scan(write_hdf5(kspace=kspace))
    assert (scan.slices, scan.height, scan.width) == kspace.shape
    assert scan.mask_source == "full"
    assert scan.mask.all()
    assert scan.mask.shape == (20, 17)
    assert scan.noise_sigma is None
    assert scan.reference is None
    assert scan.header is None
    assert scan.warnings == ()
    for index, wanted in [
        (0, kspace[:1]),
        (-1, kspace[2:]),
        (slice(None), kspace),
        (slice(None, None, -2), kspace[::-2]),
    ]:
        values = scan.read(index)
        assert values.dtype == np.complex64
        np.testing.assert_array_equal(values, wanted)
    assert scan.read(slice(0, 0)).shape == (0, 20, 17)
    with pytest.raises(IndexError):
        scan.read(3)


@pytest.mark.parametrize(
    "dtype",
    [
        "c16",
        ">c8",
        [("r", "<f4"), ("i", "<f4")],
        [("real", "<f8"), ("imag", "<f8")],
        [("R", "i2"), ("I", "i2")],
    ],
)
def test_other_complex_types(write_hdf5, kspace, dtype):
    kspace = np.round(1e7 * kspace)
    if isinstance(dtype, str):
        stored = kspace.astype(dtype)
    else:
        stored = np.empty(kspace.shape, dtype)
        stored[dtype[0][0]], stored[dtype[1][0]] = kspace.real, kspace.imag
    values = open_scan(write_hdf5(kspace=stored)).read(slice(None))
    assert values.dtype == np.complex64
    np.testing.assert_array_equal(values, kspace)


@pytest.mark.parametrize("shape", [(3, 1, 20, 17), (1, 3, 1, 20, 17), (1, 3, 20, 17)])
def test_axes_of_length_one(write_hdf5, kspace, shape):
    scan = open_scan(write_hdf5(kspace=kspace.reshape(shape)))
    np.testing.assert_array_equal(scan.read_coils(slice(None)).reshape(kspace.shape), kspace)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_column_mask_from_file(write_hdf5, kspace, dtype):
    columns = np.arange(17) % 3 == 0
    scan = open_scan(write_hdf5(kspace=-kspace, mask=columns.astype(dtype)))
    assert scan.mask_source == "file"
    np.testing.assert_array_equal(scan.mask, np.tile(columns, (20, 1)))
    values = scan.read(slice(None))
    np.testing.assert_array_equal(values[..., columns], -kspace[..., columns])
    # +0, not -0: the sign of a discarded value must not leak.
    assert not np.signbit(values[..., ~columns].real).any()
    assert not np.signbit(values[..., ~columns].imag).any()
    assert not values[..., ~columns].any()


@pytest.mark.parametrize("case", ["columns", "bins", "bins and columns", "rows"])
@pytest.mark.parametrize("stored", [False, True])
def test_the_mask_is_stored_or_inferred_from_exact_zeros(write_hdf5, kspace, rng, case, stored):
    bins = rng.random((20, 17)) < 0.4
    bins[0] = True  # no column is empty
    measured = {
        "columns": np.tile(~np.isin(np.arange(17), [0, 5]), (20, 1)),
        "bins": bins,
        "bins and columns": bins & ~np.isin(np.arange(17), [0, 16]),
        "rows": np.tile(np.arange(20)[:, None] > 3, (1, 17)),
    }[case]
    kspace[:, ~measured] = 0
    kspace[1, 4, 9] = 0  # one of so few is no stray zero
    scan = open_scan(write_hdf5(kspace=kspace, mask=measured) if stored else write_hdf5(kspace=kspace))
    assert scan.mask_source == ("file" if stored else "zeros")
    wanted = np.stack([measured] * 3)
    wanted[1, 4, 9] &= stored
    np.testing.assert_array_equal(scan.masks, wanted)
    np.testing.assert_array_equal(scan.read(slice(None)), kspace)


@pytest.mark.parametrize("kind", ["columns", "bins"])
@pytest.mark.parametrize("stored", [False, True])
def test_slices_keep_masks_of_their_own(write_hdf5, rng, kind, stored):
    """Never their union: a bin that a slice lacks is not measured there. A slice without signal has no mask to show."""
    measured = rng.random((4, 1 if kind == "columns" else 20, 17)) < 0.5
    measured[..., 7:10] = True
    kspace = np.where(measured, rng.normal(size=(4, 20, 17)) + 1j, 0).astype(np.complex64)
    kspace[3] = 0
    scan = open_scan(write_hdf5(kspace=kspace, mask=measured) if stored else write_hdf5(kspace=kspace))
    wanted = np.broadcast_to(measured, kspace.shape).copy()
    if not stored:
        wanted[3] = wanted[:3].any(axis=0)
    np.testing.assert_array_equal(scan.masks, wanted)
    np.testing.assert_array_equal(scan.read(slice(1, 3)), kspace[1:3])
    if kind == "columns" and stored:  # as our own results have it
        np.testing.assert_array_equal(open_scan(write_hdf5(kspace=kspace, mask=measured[:, 0])).masks, wanted)


def test_what_an_fft_leaves_of_zeros_is_zero(write_hdf5, rng):
    columns = rng.random(64) < 0.4
    columns[28:36] = True
    y, x = np.mgrid[:64, :64] - 32
    noise = rng.normal(size=(2, 64, 64)) + 1j * rng.normal(size=(2, 64, 64))
    kspace = 1e-3 * noise + np.exp(-np.hypot(y, x))
    there = np.fft.ifft2(np.where(columns, kspace, 0)).astype(np.complex64)
    leftovers = np.fft.fft2(there).astype(np.complex64)
    assert leftovers[..., ~columns].any()
    scan = open_scan(write_hdf5(kspace=leftovers))
    np.testing.assert_array_equal(scan.mask, np.tile(columns, (64, 1)))
    assert scan.mask_source == "zeros"


def test_a_spike_of_any_strength_makes_no_zeros_of_the_rest(write_hdf5, kspace):
    kspace[1, 3, 4] = 1e9 * np.abs(kspace).max()
    assert open_scan(write_hdf5(kspace=kspace)).mask.all()


def test_noise_free_kspace_that_fades_is_measured(write_hdf5):
    y, x = np.mgrid[:64, :64] - 32
    assert open_scan(write_hdf5(kspace=np.exp(-(y**2 + x**2) / 50)[None] * (1 + 0j))).mask.all()


def test_zeros_among_whole_numbers_are_measured(write_hdf5, rng):
    """A weak signal in steps of the converter holds zeros by chance; a line of them is one that was left out."""
    kspace = np.round(rng.normal(size=(2, 64, 64)) + 1j * rng.normal(size=(2, 64, 64)))
    kspace[..., 5] = 0
    assert (kspace == 0).mean() > 0.1
    np.testing.assert_array_equal(
        open_scan(write_hdf5(kspace=kspace)).mask, np.tile(np.arange(64) != 5, (64, 1))
    )


def test_a_few_stray_zeros_are_measured(write_hdf5, kspace):
    kspace[:, 3, 4] = 0  # one bin of 340 is more than a stray one, one of 4096 is not
    assert open_scan(write_hdf5(kspace=kspace)).mask_source == "zeros"
    large = np.ones((2, 64, 64), np.complex64)
    large[:, 3, [4, 9, 11, 60]] = 0
    scan = open_scan(write_hdf5(kspace=large))
    assert scan.mask_source == "full"
    assert scan.mask.all()


def test_nothing_measured_and_nothing_but_zeros(write_hdf5, kspace):
    nothing = open_scan(write_hdf5(kspace=kspace, mask=np.zeros(17)))
    assert nothing.warnings == ("no k-space bin is measured",)
    assert not nothing.mask.any()
    zeros = open_scan(write_hdf5(kspace=0 * kspace))
    assert (zeros.mask_source, zeros.mask.all()) == ("full", True)


@pytest.mark.parametrize("name", ["sampling_mask", "mask_omega", "UndersamplingMask"])
def test_a_mask_under_another_name_is_named_and_not_used(write_hdf5, kspace, name):
    columns = np.arange(17) % 3 == 0
    scan = open_scan(write_hdf5(kspace=kspace, **{name: columns}))
    assert scan.mask.all()
    (text,) = scan.warnings
    assert f"there is no 'mask', and '{name}' may be one: not used" in text
    zeros = np.where(columns, kspace, 0)
    assert open_scan(write_hdf5(kspace=zeros, **{name: columns})).warnings == ()  # which say the same
    assert open_scan(write_hdf5(kspace=kspace, mask=columns, **{name: ~columns})).warnings == ()
    assert open_scan(write_hdf5(kspace=kspace, **{name: 2.5 * columns})).warnings == ()  # no mask at all


@pytest.mark.parametrize("place", ["dataset", "attribute"])
@pytest.mark.parametrize("sigma", [0.5, [0.5, 1.0, 0.0]])
def test_noise_sigma(write_hdf5, kspace, place, sigma):
    given = {"noise_sigma": sigma}
    path = write_hdf5(kspace=kspace, **given) if place == "dataset" else write_hdf5(given, kspace=kspace)
    np.testing.assert_array_equal(open_scan(path).noise_sigma, np.broadcast_to(sigma, 3))


def test_reference_and_attributes(write_hdf5, kspace, rng):
    images = rng.random((3, 11, 9)).astype(np.float32)
    attrs = {"acquisition": "CORPD_FBK", "max": 0.25, "acceleration": 4, "patient_id": "secret", "other": 1}
    scan = open_scan(write_hdf5(kspace=kspace, reconstruction_esc=images, attrs=attrs))
    np.testing.assert_array_equal(scan.read_reference(slice(1, None)), images[1:])
    attrs.pop("other")
    assert dict(scan.attributes) == attrs
    assert "secret" not in repr(scan)


def test_reference_that_does_not_fit_is_left_out(write_hdf5, kspace):
    scan = open_scan(write_hdf5(kspace=kspace, reconstruction_esc=np.zeros((2, 9, 9), np.float32)))
    assert scan.reference is None
    assert "reconstruction_esc" in scan.warnings[0]
    with pytest.raises(ScanError, match="reconstruction_esc"):
        scan.read_reference(0)


HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>{x}</x><y>{y}</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>10</x><y>10</y><z>1</z></matrixSize></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{maximum}</maximum><center>{center}</center>
</kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"""


def test_padding_of_the_header_counts_as_unmeasured(write_hdf5, kspace):
    text = HEADER.format(x=20, y=17, maximum=11, center=6)
    kspace[..., :2] = kspace[..., 14:] = 0
    scan = open_scan(write_hdf5(kspace=kspace, ismrmrd_header=text.encode(), mask=np.ones(17)))
    assert scan.header.recon == (10, 10)
    assert scan.header.padding == (2, 14)
    assert np.flatnonzero(scan.mask[0]).tolist() == list(range(2, 14))
    assert not scan.read(0)[..., :2].any()
    assert scan.acquired == (2, 14)
    assert scan.fully_sampled
    assert scan.warnings == ()


def test_padding_that_holds_data_is_none(write_hdf5, kspace):
    """A header that calls measured columns padding must not take them away."""
    text = HEADER.format(x=20, y=17, maximum=11, center=6)
    scan = open_scan(write_hdf5(kspace=kspace, ismrmrd_header=text))
    assert scan.acquired == (0, 17)
    assert scan.mask.all()
    told = "columns 2 to 13 of 17 were acquired, 5 columns beyond hold data: the array is used"
    assert told in scan.warnings[0]


def test_other_trajectories_are_refused_with_a_tool(refused, write_hdf5, kspace):
    text = HEADER.format(x=20, y=17, maximum=16, center=8)
    text = text.replace("</encoding>", "<trajectory>radial</trajectory></encoding>")
    refused(write_hdf5(kspace=kspace, ismrmrd_header=text), "Cartesian", "'radial'", "BART")


@pytest.mark.parametrize("text", [HEADER.format(x=640, y=368, maximum=11, center=6), "<a>", "<a/>"])
def test_header_that_disagrees_or_is_broken_is_left_out(write_hdf5, kspace, text):
    scan = open_scan(write_hdf5(kspace=kspace, ismrmrd_header=text))
    assert scan.header is None
    assert scan.mask.all()
    assert len(scan.warnings) == 1


@pytest.mark.parametrize(
    ("datasets", "patterns"),
    [
        ({}, ["kspace"]),
        ({"reconstruction": np.ones((1, 8, 8), np.float32)}, ["a result", "give the scan .* evaluate"]),
        ({"kspace": np.zeros((2, 3, 2, 8, 8), np.complex64)}, [r"\(2, 3, 2, 8, 8\)"]),
        ({"kspace": np.zeros((2, 300, 8, 8), np.complex64)}, [r"\(2, 300, 8, 8\)"]),
        ({"kspace": np.zeros((8, 8), np.complex64)}, [r"\(8, 8\)"]),
        ({"kspace": np.zeros((0, 8, 8), np.complex64)}, [r"\(0, 8, 8\)"]),
        ({"kspace": np.zeros((2, 8, 8), np.float32)}, ["float32", "complex64"]),
        ({"kspace": np.ones((2, 8, 8), [("r", "f4"), ("i", "f8")])}, ["complex64"]),
        ({"kspace": np.ones((2, 8, 8, 2), np.int16)}, ["real and imaginary parts"]),
        ({"kspace": np.ones((2, 8, 9), np.complex64), "mask": np.ones(8)}, [r"\(9,\)", r"\(8,\)"]),
        ({"kspace": np.ones((2, 8, 9), np.complex64), "mask": np.full(9, 0.5)}, ["mask", "value 0.5"]),
        ({"kspace": np.ones((2, 8, 9), np.complex64), "ismrmrd_header": "<!DOCTYPE a>"}, ["ismrmrd_header"]),
        ({"kspace": np.ones((2, 8, 9), np.complex64), "noise_sigma": np.ones(5)}, ["noise_sigma"]),
        ({"kspace": np.ones((2, 8, 9), np.complex64), "noise_sigma": -1.0}, ["noise_sigma"]),
        ({"kspace": np.ones((2, 8, 9), np.complex64), "noise_sigma": "loud"}, ["noise_sigma"]),
    ],
)
def test_unusable_files_are_refused(refused, write_hdf5, datasets, patterns):
    refused(write_hdf5(**datasets), *patterns)


def test_truncated_and_foreign_files_are_refused(refused, write_hdf5, kspace, tmp_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    refused(tmp_path / "text.h5")
    path = write_hdf5(kspace=kspace)
    path.write_bytes(path.read_bytes()[:-200])
    refused(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_name_the_slice(write_hdf5, kspace, value):
    kspace = kspace.astype(np.complex128)
    kspace[1, 2, 3] = value
    scan = open_scan(write_hdf5(kspace=kspace))
    scan.read(0)
    with pytest.raises(ScanError, match="'kspace', slice 1"):
        scan.read(slice(None))


def test_file_changed_after_opening_is_noticed(write_hdf5, kspace):
    scan = open_scan(write_hdf5(kspace=kspace))
    write_hdf5(kspace=kspace[:2])
    with pytest.raises(ScanError, match="changed"):
        scan.read(0)


@pytest.mark.parametrize(
    ("formats", "offsets", "fits"),
    [(["f4", "f4"], [0, 4], True), (["f8", "f8"], [8, 0], True), (["f8", "f8"], [0, 4], False)],
)
def test_fields_that_overlap_are_no_pair(formats, offsets, fits):
    """A damaged file had such: converting them, HDF5 writes past its memory."""
    dtype = np.dtype({"names": ["r", "i"], "formats": formats, "offsets": offsets, "itemsize": 16})
    assert is_complex(dtype) == fits
