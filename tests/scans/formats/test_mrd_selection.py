"""Which lines of ISMRMRD raw data make the image, where there are several."""

import ismrmrd
import numpy as np
import pytest

from mri_iahvae.errors import UsageError
from mri_iahvae.scans.formats.fastmri_images import read_target
from mri_iahvae.scans.reader import Reading, open_scan
from tests.mrd_files import FULL, acquisition, lines

COUNTERS = ["contrast", "phase", "repetition", "set"]


def select(path, **choice):
    return open_scan(path, Reading(select=choice))


@pytest.mark.parametrize("counter", COUNTERS)
def test_one_of_several_images_is_chosen(refused, write, raw, counter):
    path = write(lines(raw) + lines(3 * raw, **{counter: 4}))
    refused(
        path,
        "one 2-D image per slice",
        rf"2 of `{counter}` \(0, 4\)",
        f"as in --select {counter}=0, .*--select {counter}=all",
    )
    for number, factor in [(0, 1), (4, 3), ("all", 2)]:
        scan = select(path, **{counter: number})
        assert scan.warnings == ()
        np.testing.assert_allclose(scan.read_coils(slice(None)), factor * raw, rtol=1e-6)


def test_the_refusal_names_all_that_differ_and_choices_add_up(refused, write, raw):
    path = write([one for n in range(4) for one in lines(n * raw, contrast=n // 2, repetition=n % 2)])
    refused(path, r"2 of `contrast` .* and 2 of `repetition`", "--select contrast=0 --select repetition=0")
    for n in range(4):
        found = select(path, contrast=n // 2, repetition=n % 2).read_coils(slice(None))
        np.testing.assert_array_equal(found, n * raw)
    mean = select(path, contrast=1, repetition="all").read_coils(1)[0]
    np.testing.assert_allclose(mean, 2.5 * raw[1], rtol=1e-6)


def test_one_of_several_encodings_is_chosen(refused, write, raw):
    """Each has the matrix of its own block in the header."""
    block = FULL[FULL.index("<encoding>") : FULL.index("</ismrmrdHeader>")]
    header = FULL.replace("</ismrmrdHeader>", block.replace("<x>24</x>", "<x>32</x>") + "</ismrmrdHeader>")
    other = lines(np.pad(raw, ((0, 0), (0, 0), (4, 4), (0, 0))), head={"encoding_space_ref": 1})
    path = write(lines(raw) + other, header)
    refused(path, r"2 of `encoding` \(0, 1\); choose one as in --select encoding=0$")
    assert [select(path, encoding=n).height for n in (0, 1)] == [24, 32]


def test_a_number_that_is_not_there_is_refused_with_those_that_are(write, raw):
    """Among the lines that the other choices leave."""
    path = write(lines(raw, contrast=0) + lines(raw, contrast=1, set=5) + lines(raw, contrast=1))
    for choice, message in [
        ({"contrast": 2}, r"lines of contrast 2, found 2 of `contrast` \(0, 1\)"),
        ({"contrast": 0, "set": 5}, r"lines of set 5, found 1 of `set` \(0\)"),
    ]:
        with pytest.raises(Exception, match=message):
            select(path, **choice)


def test_slices_without_lines_of_the_choice_are_counted(write, raw):
    """As where the last repetition was broken off."""
    scan = select(write(lines(raw) + lines(raw[:1], repetition=1)), repetition=1)
    assert scan.slices == 1
    assert scan.warnings == ("slices with lines of that choice: 1 of 3",)


def test_calibration_goes_with_its_own_repetition(write, raw):
    """Embedded lines of the first one alone."""
    flag = [ismrmrd.ACQ_IS_PARALLEL_CALIBRATION]
    even, odd = range(0, 18, 2), [7, 9, 11]
    path = write(lines(raw, even) + lines(raw, odd, flags=flag) + lines(raw, even, repetition=1))
    for number, columns in [(0, sorted([*even, *odd])), (1, list(even))]:
        scan = select(path, repetition=number)
        assert np.flatnonzero(scan.mask.any(axis=0)).tolist() == columns


def test_a_choice_that_no_file_offers_is_wrong_usage():
    for choice in ({"echo": 1}, {"slice": 0}, {"contrast": "first"}):
        with pytest.raises(UsageError, match="contrast, phase, repetition, set, average, encoding"):
            Reading(select=choice)


def test_other_formats_offer_none(tmp_path, raw):
    np.save(tmp_path / "scan.npy", raw)
    with pytest.raises(Exception, match=r"raw data to select from, found another format; leave --select out"):
        select(tmp_path / "scan.npy", contrast=0)


@pytest.mark.parametrize("name", ["measurement_2", "measurement_2/data", "/measurement_2"])
def test_a_group_of_another_name_is_chosen(tmp_path, refused, raw, name):
    """As converters write several measurements into one file."""
    path = tmp_path / "raw.h5"
    with ismrmrd.Dataset(str(path), "measurement_2", mode="w") as file:
        file.write_xml_header(FULL)
        for one in lines(raw):
            file.append_acquisition(one)
    refused(path, "'measurement_2/data'", "--dataset NAME")
    found = open_scan(path, Reading(dataset=name)).read_coils(slice(None))
    np.testing.assert_array_equal(found, raw)


def test_lines_upon_others_that_no_counter_separates_are_named(write, raw):
    """Averaged; but not where they cover other samples, or other averages."""
    scan = open_scan(write(lines(raw) + lines(3 * raw, range(4, 6))))
    assert scan.warnings == ("lines upon others of the same counters, averaged: 6",)
    np.testing.assert_allclose(scan.read_coils(0)[0, ..., 4], 2 * raw[0, ..., 4], rtol=1e-6)
    halves = [
        lines(raw[:, :, :12], head={"center_sample": 12}),
        lines(raw[:, :, 12:], head={"center_sample": 0}),
    ]
    scan = open_scan(write(halves[0] + halves[1]))
    assert scan.warnings == ()
    np.testing.assert_array_equal(scan.read_coils(slice(None)), raw)


def test_lines_of_other_coils_are_refused(refused, write, raw):
    odd = acquisition(raw[0, :, :, 0], head={"channel_mask": (3, *[0] * 15)})
    refused(write([*lines(raw), odd]), "one channel_mask throughout")


def test_coordinates_that_are_not_read_are_named(write, raw):
    made = lines(raw)
    made[0].resize(24, 2, trajectory_dimensions=2)
    made[0].data[:] = raw[0, :, :, 0]
    scan = open_scan(write(made))
    assert "coordinates in k-space" in scan.warnings[0]
    np.testing.assert_array_equal(scan.read_coils(slice(None)), raw)


def test_partitions_are_refused(refused, write, raw):
    path = write(lines(raw) + lines(raw, kspace_encode_step_2=1))
    refused(path, "one 2-D image per slice", "3-D k-space of 2 partitions")


def test_a_choice_can_be_a_target_of_scores(write, raw):
    path = write(lines(raw) + lines(3 * raw, repetition=1))
    target = read_target(path, reading=Reading(select={"repetition": 1}))
    once = read_target(write(lines(raw)))
    assert target.images.shape == (3, 12, 18)
    np.testing.assert_allclose(target.images, 3 * once.images, rtol=1e-5)
