"""A folder of frames is the scan that one file with all of them is."""

import numpy as np
import pytest

from mri_iahvae.errors import ScanError
from mri_iahvae.results.hdf5 import write_scan
from mri_iahvae.scans.frames import open_frames
from mri_iahvae.scans.reader import open_scan

COUNT = 11  # names of one and of two digits


@pytest.fixture
def kspace(rng):
    shape = COUNT, 12, 10
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


@pytest.fixture
def masks(rng):
    """Bool (COUNT, 1, 10); no frame has the first column, and not every one the last."""
    masks = rng.random((COUNT, 1, 10)) < 0.5
    masks[..., 4:7] = True
    masks[..., 0] = False
    masks[:2, 0, -1] = True, False
    return masks


@pytest.fixture
def write(tmp_path):
    """Writes a frame."""

    def make(number, values, **options):
        path = tmp_path / "frames" / f"frame{number}.h5"
        path.parent.mkdir(exist_ok=True)
        write_scan(path, values, **options)
        return path

    return make


@pytest.mark.parametrize("stated", [False, True])
def test_a_folder_is_the_file_of_all_frames(write, kspace, masks, tmp_path, stated):
    """Masks stated or inferred, in the order of numbers: frame 10 comes after frame 9."""
    references = np.abs(kspace)
    for number in range(COUNT):
        mask = {"mask": masks[number]} if stated else {}
        one = slice(number, number + 1)
        values = np.where(masks[one], kspace[one], 0)
        write(number, values, reference=references[one], noise_sigma=1.0 + number, **mask)
    found = open_frames(tmp_path / "frames")
    write_scan(tmp_path / "whole.h5", np.where(masks, kspace, 0), reference=references)
    whole = open_scan(tmp_path / "whole.h5")
    assert (found.slices, found.mask_source) == (COUNT, "file" if stated else "zeros")
    assert found.acquired == ((0, 10) if stated else whole.acquired)
    np.testing.assert_array_equal(found.masks, np.broadcast_to(masks, kspace.shape))
    np.testing.assert_array_equal(found.read(slice(None)), whole.read(slice(None)))
    np.testing.assert_array_equal(found.read_reference(10), references[10:])
    assert found.noise_sigma.tolist() == list(range(1, COUNT + 1))
    assert found.source.header_text() == whole.source.header_text()


def test_one_mask_of_all_frames_is_one_mask(write, kspace, masks):
    for number in range(3):
        folder = write(number, kspace[number : number + 1], mask=masks[0]).parent
    assert open_frames(folder).mask.shape == (12, 10)


def test_what_some_frames_lack_is_not_known(write, kspace):
    write(0, kspace[:1], noise_sigma=1.0, reference=np.abs(kspace[:1]))
    found = open_frames(write(1, kspace[:1]).parent)
    assert found.noise_sigma is None
    assert found.reference is None


def test_a_warning_of_several_frames_is_given_once(write, kspace):
    for number in range(3):
        folder = write(number, kspace[:1] * (number > 0), mask=np.arange(10) < 10 * (number > 0)).parent
    assert open_frames(folder).warnings == ("frame0.h5: no k-space bin is measured",)
    write(1, kspace[:1], mask=np.zeros(10, bool))
    assert open_frames(folder).warnings == ("frame0.h5 and 1 more: no k-space bin is measured",)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((2, 12, 10), r"expected one slice, .* found 2 slices; give the file in place of the folder"),
        ((1, 12, 9), r"expected 12x10 bins of 1 coil, as frame0\.h5 has, found 12x9 bins"),
    ],
)
def test_what_is_no_frame_is_named(write, kspace, values, message):
    write(0, kspace[:1])
    folder = write(1, np.ones(values, np.complex64)).parent
    with pytest.raises(ScanError, match=rf"frame1\.h5: {message}"):
        open_frames(folder)
