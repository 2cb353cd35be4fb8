"""Which reader a file goes to, and what to do with other files."""

import re

import h5py
import numpy as np
import pytest

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.reader import SCAN_SUFFIXES, open_scan
from tests.refusals import refused


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
    words = f"{re.escape(name)}: expected .* found .*; .*{re.escape(advice)}"
    refused(lambda: open_scan(tmp_path / name), words)


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


def test_folders_stand_for_formats_that_say_what_they_hold():
    assert SCAN_SUFFIXES == (".h5", ".hdf5", ".mrd", ".nii", ".nii.gz")
