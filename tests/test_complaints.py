"""What users of other tools complain of, by the number in the project's list: it does not happen here."""

import re

import h5py
import nibabel
import numpy as np
import pytest

from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.reader import open_scan

SIZES = ("640x368", "640x372", "640x371", "512x320", "640x264")


def reconstruction(path):
    with h5py.File(path) as file:
        return file["reconstruction"][()]


def test_complaint_2_kspace_alone_is_enough(native, tool, tmp_path):
    def strip(file):
        for name in ("ismrmrd_header", "reconstruction_esc"):
            del file[name]
        file.attrs.clear()

    path = native("512x320", noise=0.002, change=strip)
    done = tool("reconstruct", path, "--acceleration", 4)
    assert done.exit_code == 0, done.output
    assert reconstruction(tmp_path / "out" / path.name).shape == (1, 512, 320)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("<x>640</x><y>368</y>", "<x>640</x><y>372</y>", (320, 368)),
        ("<x>640</x><y>368</y>", "<x>368</x><y>640</y>", (320, 368)),
    ],
    ids=["width", "axes swapped"],
)
def test_complaint_3_both_sizes_are_said_and_the_array_counts(native, old, new, field):
    def swap(file):
        text = file["ismrmrd_header"][()].decode()
        assert old in text
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = text.replace(old, new)

    scan = open_scan(native("640x368", change=swap))
    (warning,) = scan.warnings
    assert "640x368" in warning
    assert "x".join(re.findall(r"\d+", new)) in warning
    assert (scan.height, scan.width) == (640, 368)
    assert scan.acquired == (20, 348)  # from the zeros, as the header is not to be trusted
    assert scan_geometry(scan).field == field
    assert scan_geometry(scan).image == (320, 320)


def test_complaint_4_files_of_different_sizes_in_one_call(native, tool, tmp_path, no_figures):
    paths = [native(size, f"{size}.h5", noise=0.002) for size in SIZES]
    done = tool("reconstruct", *paths, "--acceleration", 4)
    assert done.exit_code == 0, done.output
    for path in paths:
        images = reconstruction(tmp_path / "out" / path.name)
        assert images.shape == open_scan(path).read_reference(0).shape
        assert np.isfinite(images).all()
        assert images.any()


def test_complaint_5_padding_is_neither_measured_nor_missing(native, tool, no_figures):
    full = native("640x368", "full.h5")
    done = tool("reconstruct", full)
    assert "full sampling: true acceleration 1.00x" in done.stdout
    assert f"k-space {328 / 368:.1%} measured, 0.0% completed, {40 / 368:.1%} zero" in done.stdout
    test = native("640x368", "test.h5", acceleration=4)
    scan = open_scan(test)
    columns = scan.mask[0].sum()
    done = tool("reconstruct", test)
    assert f"the file's own: true acceleration {328 / columns:.2f}x" in done.stdout
    assert f"k-space {columns / 368:.1%} measured" in done.stdout


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_complaint_9_values_that_are_not_finite_leave_no_output(native, tool, tmp_path, value):
    def spoil(file):
        file["kspace"][1, 300, 180] = value

    path = native("640x371", slices=2, change=spoil)
    done = tool("reconstruct", path, "--acceleration", 4)
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert "slice 1" in line
    assert str(path) in line
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("size", ["640x368", "640x264"])
def test_complaint_10_voxels_keep_their_size_and_place(native, tool, tmp_path, size, no_figures):
    path = native(size, noise=0)
    done = tool("reconstruct", path, "--nifti")
    assert done.exit_code == 0, done.output
    assert "orientation and slice gap unknown" in done.stderr
    image = nibabel.load(tmp_path / "out" / "scan.nii.gz")
    reference = open_scan(path).read_reference(slice(None))
    np.testing.assert_allclose(image.header.get_zooms(), (0.6875, 0.6875, 5), rtol=1e-6)
    voxels = np.asarray(image.dataobj)
    assert np.abs(voxels.transpose(2, 1, 0) - reference).max() < 1e-5 * reference.max()


@pytest.mark.parametrize("acceleration", [None, 4], ids=["train", "test"])
def test_complaint_18_single_coil_of_every_partition(native, tool, tmp_path, acceleration, no_figures):
    path = native("640x372", acceleration=acceleration)
    done = tool("reconstruct", path, "--up-to", "16x16")
    assert done.exit_code == 0, done.output
    assert reconstruction(tmp_path / "out" / path.name).shape == (1, 320, 320)
