"""Which reader a file goes to, what other files are told, and the names of results."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from mri_iahvae.errors import ScanError, UsageError
from mri_iahvae.results.hdf5 import output_path, result_name
from mri_iahvae.scans.reader import SCAN_SUFFIXES, open_scan


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.dcm", "dcm2niix"),
        ("a.IMA", "dcm2niix"),
        ("meas_MID1.dat", "siemens_to_ismrmrd"),
        ("P12345.7", "ge_to_ismrmrd"),
        ("a.raw", "philips_to_ismrmrd"),
        ("a.mat", ".npy"),
        ("a.npz", ".npy"),
        ("a.png", "simulate"),
        ("a.JPG", "simulate"),
        ("a.jpeg", "simulate"),
    ],
)
def test_other_files_get_a_line_of_help(tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"whatever")
    with pytest.raises(ScanError) as caught:
        open_scan(tmp_path / name)
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(f"{re.escape(name)}: expected .* found .*; .*{re.escape(advice)}", message), message


@pytest.mark.parametrize("name", ["IM_0001", "a.h5", "1.2.840.113619"])
def test_dicom_is_known_by_its_content(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(128) + b"DICM" + bytes(50))
    with pytest.raises(ScanError, match="DICOM, which holds images, not k-space"):
        open_scan(tmp_path / name)


@pytest.mark.parametrize("name", ["a.dcm", "a.cfl", "a.npy", "a.nii", "a.h5", "a"])
def test_missing_files_and_folders(tmp_path, name):
    with pytest.raises(ScanError, match="found no such file; check the path"):
        open_scan(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(ScanError, match="found a folder; check the path"):
        open_scan(tmp_path / name)


def test_kspace_at_the_root_decides_for_fastmri(tmp_path, kspace):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["kspace"] = kspace
        file.create_group("dataset")
    np.testing.assert_array_equal(open_scan(tmp_path / "a.h5").read(slice(None)), kspace)


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("a.h5", "a.h5"),
        ("a.HDF5", "a.HDF5"),
        ("a", "a"),
        ("a.2024", "a.2024"),
        ("a.mrd", "a.h5"),
        ("a.cfl", "a.h5"),
        ("a.hdr", "a.h5"),
        ("a.npy", "a.h5"),
        ("a.nii", "a.h5"),
        ("a.nii.gz", "a.h5"),
        ("a.b.NII.GZ", "a.b.h5"),
    ],
)
def test_results_are_hdf5(tmp_path, source, result):
    assert result_name(Path(source)) == result
    assert output_path(tmp_path / "in" / source, tmp_path / "out") == tmp_path / "out" / result


def test_results_never_go_into_the_folder_of_an_input(tmp_path):
    """`a.h5` may be another scan, and the NIfTI of the result would be the input itself."""
    with pytest.raises(UsageError, match="overwrite an input"):
        output_path(tmp_path / "a.nii.gz", tmp_path)


def test_folders_stand_for_formats_that_say_what_they_hold():
    assert SCAN_SUFFIXES == (".h5", ".hdf5", ".mrd", ".nii", ".nii.gz")
