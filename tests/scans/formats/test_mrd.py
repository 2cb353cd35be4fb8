"""ISMRMRD raw data."""

import h5py
import ismrmrd
import numpy as np
import pytest

from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.reader import open_scan
from tests.mrd_files import FULL, HEADER, LINE, SHAPE, acquisition, lines


@pytest.mark.parametrize("name", ["raw.h5", "raw.mrd"])
def test_lines_come_to_their_places(write, raw, rng, name):
    acquisitions = lines(raw)
    rng.shuffle(acquisitions)
    scan = open_scan(write(acquisitions, name=name))
    assert (scan.slices, scan.coils, scan.height, scan.width) == SHAPE
    assert (scan.mask_source, scan.acquired, scan.affine, scan.warnings) == ("full", (0, 18), None, ())
    np.testing.assert_array_equal(scan.read_coils(slice(None)), raw)
    np.testing.assert_array_equal(scan.read_coils(-1), raw[2:])
    geometry = scan_geometry(scan)
    assert (geometry.field, geometry.image) == ((12, 18), (12, 18))  # readout oversampling comes off


def test_undersampled_lines_are_the_mask(write, raw):
    columns = [0, 2, 5, 8, 9, 10, 13, 16]
    scan = open_scan(write(lines(raw, columns)))
    assert scan.mask_source == "file"
    assert scan.acquired == (0, 18)
    assert np.flatnonzero(scan.mask.any(axis=0)).tolist() == columns
    np.testing.assert_array_equal(scan.read_coils(1)[0][..., columns], raw[1][..., columns])


def test_slices_keep_the_lines_that_they_have(write, raw):
    some = [[0, 8, 9, 10], [2, 8, 9, 10, 17], [8, 9, 10]]
    acquired = [
        acquisition(raw[s, :, :, c], slice=s, kspace_encode_step_1=c)
        for s, columns in enumerate(some)
        for c in columns
    ]
    scan = open_scan(write(acquired))
    assert [np.flatnonzero(mask.all(axis=0)).tolist() for mask in scan.masks] == some
    for s, columns in enumerate(some):
        np.testing.assert_array_equal(scan.read_coils(s)[0][..., columns], raw[s][..., columns])


def test_the_centre_of_the_limits_comes_to_dc(write, raw):
    """12 of 18 columns acquired around the centre: the others are padding."""
    header = HEADER.format(maximum=11, center=6, trajectory="cartesian")
    scan = open_scan(write(lines(raw, range(3, 15), first=3), header))
    assert scan.acquired == (3, 15)
    assert scan.mask_source == "full"
    np.testing.assert_array_equal(scan.read_coils(0)[0, ..., 3:15], raw[0, ..., 3:15])
    assert not scan.read_coils(0)[..., :3].any()


def test_partial_fourier_is_missing_not_padding(write, raw):
    header = HEADER.format(maximum=12, center=4, trajectory="cartesian")
    scan = open_scan(write(lines(raw, range(5, 18), first=5), header))
    assert scan.acquired == (0, 18)
    assert scan.mask_source == "file"
    assert np.flatnonzero(~scan.mask.any(axis=0)).tolist() == [0, 1, 2, 3, 4]


def test_partial_echo_and_discarded_samples(write, raw):
    """Samples 6 to 23 of 24, with two more in front and one more behind that are to be discarded."""
    short = np.concatenate([raw[..., :2, :] * 9, raw[..., 6:, :], raw[..., :1, :] * 9], axis=2)
    head = {"center_sample": 2 + LINE - 6, "discard_pre": 2, "discard_post": 1}
    scan = open_scan(write(lines(short, head=head)))
    assert np.flatnonzero(~scan.mask.all(axis=1)).tolist() == [0, 1, 2, 3, 4, 5]
    found = scan.read_coils(slice(None))
    np.testing.assert_array_equal(found[..., 6:, :], raw[..., 6:, :])
    assert not found[..., :6, :].any()


def test_a_whole_line_without_a_centre_sample(write, raw):
    scan = open_scan(write(lines(raw, head={"center_sample": 0})))
    np.testing.assert_array_equal(scan.read_coils(slice(None)), raw)
    assert "centre sample 0 of 24" in scan.warnings[0]


def test_readout_oversampling_that_was_removed_without_the_header(write, raw):
    """Lines of the 12 samples of reconSpace, the encoded 24: pixels of 2 mm stay. But 12 of a partial echo are that."""
    cut = raw[:, :, 6:18]
    scan = open_scan(write(lines(cut)))
    assert (scan.height, scan.voxel[1], scan.mask_source) == (12, 2, "full")
    told = "lines have 12 samples, encodedSpace 24: readout oversampling counts as removed"
    assert scan.warnings == (told,)
    assert scan_geometry(scan).image == (12, 18)
    np.testing.assert_array_equal(scan.read_coils(slice(None)), cut)
    echo = open_scan(write(lines(raw[:, :, 10:22], head={"center_sample": 2})))
    assert (echo.height, np.flatnonzero(echo.mask.all(axis=1))[0], echo.warnings) == (24, 10, ())


def test_slices_that_the_header_has_and_the_lines_lack(write, raw):
    limits = "<slice><minimum>0</minimum><maximum>{}</maximum><center>0</center></slice></encodingLimits>"
    for last, warning in [
        (4, ("slices with lines: 3 of the header's 5; was the scan broken off?",)),
        (2, ()),
        (0, ()),
    ]:
        header = FULL.replace("</encodingLimits>", limits.format(last))
        assert open_scan(write(lines(raw), header)).warnings == warning


def test_averages_are_averaged(write, raw, rng):
    """Also where some lines have more of them than others."""
    noise = rng.normal(size=SHAPE).astype(np.float32)
    acquisitions = [
        *lines(raw + noise, average=0),
        *lines(raw - noise, average=1),
        *lines(raw, columns=[9], average=2),
    ]
    found = open_scan(write(acquisitions)).read_coils(slice(None))
    np.testing.assert_allclose(found, raw, atol=1e-6)


def test_what_is_not_for_the_image_is_left_out(refused, write, raw):
    """By name."""
    other = [
        acquisition(100 * raw[0, :, :, 0], flags=[flag], kspace_encode_step_1=3, repetition=5)
        for flag in (
            ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
            ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,
            ismrmrd.ACQ_IS_NAVIGATION_DATA,
            ismrmrd.ACQ_IS_PHASECORR_DATA,
            ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
            ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
        )
    ]
    both = [ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING]
    kept = lines(raw, [0], flags=both) + lines(raw, range(1, 18), flags=[ismrmrd.ACQ_LAST_IN_SLICE])
    scan = open_scan(write([*other, *kept]))
    np.testing.assert_array_equal(scan.read_coils(slice(None)), raw)
    assert "left out: 1 dummyscan data, 1 hpfeedback data, 1 navigation data" in scan.warnings[-1]
    refused(write(other), "none in 6")


def with_mode(mode):
    parallel = f"<parallelImaging><calibrationMode>{mode}</calibrationMode></parallelImaging></encoding>"
    return FULL.replace("</encoding>", parallel)


BETWEEN, ON_GRID, OFF_GRID = [7, 9, 11], [8, 10], [c for c in range(0, 18, 2) if c not in {8, 10}]


@pytest.mark.parametrize(
    ("mode", "taken", "warning"),
    [
        ("embedded", True, ""),
        ("separate", False, "left out: 9 parallel calibration"),
        ("external", False, "left out: 9 parallel calibration"),
        (
            "interleaved",
            True,
            "calibrationMode 'interleaved' does not say whether 9 calibration lines belong to the",
        ),
        ("", True, "the header does not say whether 9 calibration lines belong to the image, and none lies"),
    ],
)
def test_calibration_between_the_lines_of_the_image(write, raw, mode, taken, warning):
    """Every second line, and all of the centre: those between are flagged as calibration alone."""
    both = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
    between = lines(raw, BETWEEN, flags=[ismrmrd.ACQ_IS_PARALLEL_CALIBRATION])
    acquisitions = lines(raw, OFF_GRID) + lines(raw, ON_GRID, flags=[both]) + between
    scan = open_scan(write(acquisitions, with_mode(mode)))
    columns = sorted([*OFF_GRID, *ON_GRID, *(BETWEEN if taken else [])])
    assert np.flatnonzero(scan.mask.any(axis=0)).tolist() == columns
    np.testing.assert_array_equal(scan.read_coils(0)[0][..., columns], raw[0][..., columns])
    assert len(scan.warnings) == bool(warning)
    assert warning in "".join(scan.warnings)


def test_calibration_upon_the_lines_of_the_image_is_separate(write, raw):
    """Unless the header calls it embedded: then it is one more average."""
    separate = lines(3 * raw, range(6, 12), flags=[ismrmrd.ACQ_IS_PARALLEL_CALIBRATION])
    acquisitions = separate + lines(raw, range(0, 18, 2))
    scan = open_scan(write(acquisitions))
    assert np.flatnonzero(scan.mask.any(axis=0)).tolist() == list(range(0, 18, 2))
    np.testing.assert_array_equal(scan.read_coils(0)[0][..., 8], raw[0][..., 8])
    assert "some lie upon its lines: left out" in scan.warnings[0]
    scan = open_scan(write(acquisitions, with_mode("embedded")))
    np.testing.assert_allclose(scan.read_coils(0)[0][..., 8], 2 * raw[0][..., 8], rtol=1e-6)


@pytest.mark.parametrize("mode", ["embedded", "", "separate"])
def test_the_encoding_that_the_lines_refer_to_counts(refused, write, raw, mode):
    """Calibration has an encoding of its own, the first of two."""
    own = with_mode(mode)
    small = own[own.index("<encoding>") : own.index("</ismrmrdHeader>")].replace("<x>24<", "<x>8<")
    header = own.replace("<encoding>", small.replace("cartesian", "spiral") + "<encoding>")
    calibration = acquisition(
        np.ones((2, 8), np.complex64),
        flags=[ismrmrd.ACQ_IS_PARALLEL_CALIBRATION],
        kspace_encode_step_1=99,
    )
    image = lines(raw, head={"center_sample": LINE, "encoding_space_ref": 1})
    scan = open_scan(write([calibration, *image], header))
    np.testing.assert_array_equal(scan.read_coils(slice(None)), raw)
    assert scan.header.encoded == (24, 18)
    assert "left out: 1 parallel calibration" in scan.warnings[0]
    refused(write(image), "no encoding number 1 among 1")


def test_reversed_readouts_are_turned(write, raw):
    """Whole ones wherever their centre is counted from, and short ones: samples 6 to 23, from the end."""
    flags = [ismrmrd.ACQ_IS_REVERSE]
    for centre in (LINE, 23 - LINE):
        back = lines(raw[:, :, ::-1], range(1, 18, 2), flags=flags, head={"center_sample": centre})
        scan = open_scan(write(back + lines(raw, range(0, 18, 2))))
        np.testing.assert_array_equal(scan.read_coils(slice(None)), raw)
        assert "27 reversed readouts are turned" in scan.warnings[-1]
    short = np.concatenate([raw[..., :1, :] * 9, raw[..., :5:-1, :], raw[..., :2, :] * 9], axis=2)
    head = {"center_sample": 1 + 23 - LINE, "discard_pre": 1, "discard_post": 2}
    found = open_scan(write(lines(short, flags=flags, head=head))).read_coils(slice(None))
    np.testing.assert_array_equal(found[..., 6:, :], raw[..., 6:, :])
    assert not found[..., :6, :].any()


def limited(first, last, centre):
    header = HEADER.format(maximum=last, center=centre, trajectory="cartesian")
    return header.replace("<minimum>0", f"<minimum>{first}").replace("<center></center>", "")


@pytest.mark.parametrize(
    ("first", "limits", "warning"),
    [
        (0, (0, 17, ""), ""),  # no centre
        (1, (1, 18, 10), ""),  # all counted from 1
        (0, (0, 17, 10), "but fill them"),  # the centre alone
        (1, (0, 17, 9), "lines 1 to 18 are taken as 0 to 17"),  # the lines alone
        (0, (0, 0, 0), ""),  # nothing known
        (0, (0, 17, "none"), "center is 'none'"),
        (0, (0, 11, 6), "lines 0 to 17 are taken as 0 to 17"),  # for fewer lines than there are
    ],
)
def test_lines_that_fill_k_space_fit_in_one_way(write, raw, first, limits, warning):
    scan = open_scan(write(lines(raw, first=-first), limited(*limits)))
    np.testing.assert_array_equal(scan.read_coils(slice(None)), raw)
    assert len(scan.warnings) == bool(warning)
    assert warning in "".join(scan.warnings)


@pytest.mark.parametrize("limits", [(0, 11, ""), (0, 0, 0), (0, 99, 50), (0, 3, 2)])
def test_a_centre_that_is_not_known_is_named(write, raw, limits):
    scan = open_scan(write(lines(raw, range(12)), limited(*limits)))
    np.testing.assert_array_equal(scan.read_coils(0)[0, ..., :12], raw[0, ..., :12])
    assert "9 of 0 to 11 is taken for the centre of k-space" in scan.warnings[-1]


def test_one_bad_field_costs_that_field(write, raw):
    """Text in any encoding; a field of view that is none: the matrices have to do."""
    path = write(lines(raw), FULL.replace("<x>48</x>", "<x>n/a</x>"))
    with h5py.File(path, "a") as file:
        xml = file["dataset/xml"][0].decode().replace("<encoding>", "<a>Klinik für MR</a><encoding>")
        del file["dataset/xml"]
        file["dataset/xml"] = np.array([xml.encode("latin-1") + b"\0"], object).astype("S")
    scan = open_scan(path)
    assert scan.image == (12, 18)
    assert "encodedSpace/fieldOfView_mm/x is 'n/a'" in scan.warnings[0]
    assert "by matrix sizes" in scan.warnings[1]
    np.testing.assert_array_equal(scan.read_coils(slice(None)), raw)


def test_pixels_of_another_shape_and_phase_oversampling(write, raw):
    """k-space of 96 mm x 108 mm, an interpolated image of 48 mm x 54 mm: pixels stay 4 mm x 6 mm."""
    header = FULL.replace("<x>48</x><y>54<", "<x>96</x><y>108<").replace("<x>24</x><y>54<", "<x>48</x><y>54<")
    header = header.replace("<x>12</x><y>18<", "<x>64</x><y>64<")
    scan = open_scan(write(placed(raw, [NORMAL * 6 * i for i in range(3)]), header))
    geometry = scan_geometry(scan)
    assert (geometry.field, geometry.image, geometry.warnings) == ((12, 18), (12, 10), ())
    assert scan.voxel == (5, 4, 6)
    affine = geometry.affine(scan.affine)
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), [6, 4, 6], rtol=1e-6)
    # The centre of the field of view is where the file says, in the middle of the image.
    np.testing.assert_allclose(affine @ [5, 6, 0, 1], [0, 0, 0, 1], atol=1e-5)


def test_simultaneous_slices_are_refused(refused, write, raw):
    header = with_mode("other").replace(
        "</parallelImaging>",
        "<multiband><multiband_factor>2</multiband_factor></multiband></parallelImaging>",
    )
    refused(write(lines(raw), header), "one by one", "2 together")


READ, PHASE, NORMAL = np.array([0, 0, -1.0]), np.array([0.6, 0.8, 0]), np.array([0.8, -0.6, 0])


def placed(raw, positions, normal=NORMAL):
    """Acquisitions with the position of each slice."""
    head = {"read_dir": tuple(READ), "phase_dir": tuple(PHASE), "slice_dir": tuple(normal)}
    made = []
    for s, position in enumerate(positions):
        here = {**head, "position": tuple(position)}
        made += [acquisition(raw[s, :, :, c], slice=s, kspace_encode_step_1=c, head=here) for c in range(18)]
    return made


def test_affine_leads_to_the_patient(write, raw):
    """Interleaved slices, 6 mm apart: they are sorted, and each pixel lies where the standard says."""
    centre = np.array([10.0, -20, 30])
    positions = [centre + 6 * i * NORMAL for i in (0, 2, 1)]
    scan = open_scan(write(placed(raw, positions)))
    assert scan.warnings == ()
    np.testing.assert_array_equal(scan.read_coils(slice(None)), raw[[0, 2, 1]])
    for column, row, number in [(9, 12, 0), (9, 12, 2), (0, 0, 1), (17, 23, 2)]:
        lps = centre + 6 * number * NORMAL + 3 * (column - 9) * PHASE + 2 * (row - 12) * READ
        found = scan.affine @ [column, row, number, 1]
        np.testing.assert_allclose(found, [-lps[0], -lps[1], lps[2], 1], atol=1e-4)


def test_affine_of_one_slice_takes_the_thickness(write, raw):
    scan = open_scan(write(placed(raw, [np.zeros(3)])))
    np.testing.assert_allclose(scan.affine[:3, 2], 5 * NORMAL * [-1, -1, 1], atol=1e-5)


@pytest.mark.parametrize(
    ("positions", "normals", "warning"),
    [
        ([0, 6, 13], [NORMAL] * 3, "not evenly spaced"),
        ([0, 0, 0], [NORMAL] * 3, "not evenly spaced"),
        ([0, 6, 12], [NORMAL, NORMAL, -NORMAL], "not parallel"),
        ([0, 6, np.nan], [NORMAL] * 3, None),
        ([0, 6, 12], [NORMAL, NORMAL, np.zeros(3)], None),
    ],
)
def test_slices_that_make_no_volume_have_no_affine(write, raw, positions, normals, warning):
    acquisitions = [
        one
        for s in range(3)
        for one in placed(raw, [NORMAL * p for p in positions], normals[s])[18 * s : 18 * (s + 1)]
    ]
    scan = open_scan(write(acquisitions))
    assert scan.affine is None
    assert len(scan.warnings) == (warning is not None)
    if warning:
        assert warning in scan.warnings[0]


@pytest.mark.parametrize(
    ("trajectory", "patterns"),
    [
        ("radial", ["radial", "BART", "SigPy", "MRpro"]),
        ("epi", ["echo-planar", "Gadgetron"]),
    ],
)
def test_other_trajectories_are_refused(refused, write, raw, trajectory, patterns):
    header = HEADER.format(maximum=17, center=9, trajectory=trajectory)
    refused(write(lines(raw), header), *patterns)


def test_acquisitions_that_do_not_fit_are_refused(refused, write, raw):
    fine = lines(raw)
    for odd, pattern in [
        (acquisition(raw[0, :, :, 0], kspace_encode_step_1=19), "lines 0 to 19"),
        (acquisition(raw[0, :1, :, 0]), r"\[1, 2\]"),
        (acquisition(raw[0, :, :, 0], head={"encoding_space_ref": 1}), "2 of `encoding`"),
        (acquisition(np.ones((2, 25), np.complex64)), "25 samples"),
        (
            acquisition(np.ones((2, 20), np.complex64), head={"center_sample": 19}),
            "20 samples with centre 19",
        ),
        (acquisition(raw[0, :, :, 0], head={"discard_pre": 20, "discard_post": 10}), "less 20 and 10"),
    ]:
        refused(write([*fine, odd]), pattern)


@pytest.mark.parametrize("header", ["", "<a/>", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'])
def test_hostile_headers_are_refused(refused, write, raw, header):
    refused(write(lines(raw), header), "ISMRMRD header")


def test_hostile_records_are_refused(refused, write, raw, tmp_path):
    """A record that is shorter or longer than its header says, and layouts that are not the standard's."""
    path = write(lines(raw))
    with h5py.File(path, "a") as file:
        record = file["dataset/data"][5]
        record["data"] = np.zeros(7, np.float32)
        file["dataset/data"][5] = record
    refused(path, "2 coils of 24 samples in acquisition 5", "7 numbers")
    for values in (np.ones(4), np.zeros(3, [("head", "i4"), ("data", "f4")]), np.zeros((2, 2))):
        with h5py.File(path, "a") as file:
            del file["dataset/data"]
            file["dataset/data"] = values
        refused(path)
    with h5py.File(path, "a") as file:
        del file["dataset/data"]
        file.create_dataset("dataset/data", (2**40,), ismrmrd.hdf5.acquisition_dtype, chunks=(1,))
    refused(path, str(2**40))


def test_the_package_that_is_missing_is_named(refused, write, raw, monkeypatch):
    path = write(lines(raw))
    monkeypatch.setattr("mri_iahvae.scans.formats.mrd_selection.find_spec", lambda _: None)
    refused(path, "pip install ismrmrd")
