"""Files that are not what their name says are called what they are, by every reader."""

import gzip
import re
from functools import partial

import h5py
import nibabel
import numpy as np
import pytest

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.formats.fastmri_images import read_reconstruction
from mri_iahvae.scans.formats.magnitude_images import read_magnitudes
from mri_iahvae.scans.mask_file import read_mask_file
from mri_iahvae.scans.reader import Reading, open_scan
from tests.refusals import refused

CONTENTS = {
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
    "an HTML page": b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>",
    "XML text": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "0 bytes": b"",
    "a gzip archive": gzip.compress(b"k-space"),
    "a zip archive": b"PK\x03\x04" + bytes(30),
    "a MATLAB file": b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128),
    "a NumPy array": b"\x93NUMPY\x01\x00" + bytes(100),
    "DICOM": bytes(128) + b"DICM",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(20),
    "the header of a BART pair": b"# Dimensions\n4 4\n",
    "an MRD stream": b"\x03\x00\x80\x01\x00\x00<?xml version='1.0'?><ismrmrdHeader/>",
    "Siemens raw data": np.array([0, 1, 7, 8], "<u4").tobytes()
    + np.array([10240], "<u8").tobytes()
    + bytes(99),
}
READERS = {
    "a.h5": [open_scan, read_reconstruction, lambda path: read_mask_file(path, 4, 4)],
    "a.nii": [open_scan, lambda path: list(read_magnitudes(path))],
    "a.nii.gz": [open_scan],
    "a.npy": [open_scan, lambda path: read_mask_file(path, 4, 4)],
    "a": [open_scan],
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("words", CONTENTS)
def test_the_message_says_what_the_file_holds(tmp_path, name, words):
    if (name, words) in {("a.nii.gz", "a gzip archive"), ("a.npy", "a NumPy array")}:
        return  # as it should be
    path = tmp_path / name
    path.write_bytes(CONTENTS[words])
    for read in READERS[name]:
        refused(partial(read, path), f"^{re.escape(str(path))}: expected .*{words}")


@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair, nibabel.AnalyzeImage])
@pytest.mark.parametrize("name", ["brain.hdr", "brain.img"])
def test_pairs_of_an_image_are_not_bart_s(tmp_path, kind, name):
    kind(np.ones((4, 4, 2), np.float32), np.eye(4)).to_filename(tmp_path / "brain.img")
    told = r"a pair \.hdr and \.img, NIfTI or Analyze, .*; save it as one file \.nii"
    with pytest.raises(ScanError, match=told):
        open_scan(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a.nii", "a.cfl"])
def test_hdf5_under_another_name(tmp_path, name):
    with h5py.File(tmp_path / name, "w") as file:
        file["kspace"] = np.ones((1, 4, 4), complex)
    with pytest.raises(ScanError, match=r"found HDF5 under another name; rename it to \.h5"):
        open_scan(tmp_path / name)


@pytest.mark.parametrize("block", [0, 512])
def test_hdf5_of_matlab_is_read_by_the_name_of_its_array(tmp_path, kspace, block):
    """Version 7.3, which puts 512 bytes of its own first."""
    with h5py.File(tmp_path / "cine.mat", "w", userblock_size=block) as file:
        file["kspace_full"] = _pairs(kspace)
    if block:
        with (tmp_path / "cine.mat").open("r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file")
    told = r"'kspace_full' \(3, 20, 17\) real/imag; choose that of k-space with --dataset"
    with pytest.raises(ScanError, match=told):
        open_scan(tmp_path / "cine.mat")
    scan = open_scan(tmp_path / "cine.mat", Reading("kspace_full"))
    np.testing.assert_array_equal(scan.read(slice(None)), kspace)
    assert "MATLAB's, which reverses axes" in scan.warnings[0]


def _pairs(kspace):
    pairs = np.empty(kspace.shape, [("real", "<f4"), ("imag", "<f4")])
    pairs["real"], pairs["imag"] = kspace.real, kspace.imag
    return pairs


def test_an_archive_in_place_of_hdf5_is_called_one(tmp_path):
    np.savez(tmp_path / "scan.npz", reconstruction=np.ones((1, 8, 8)))
    with pytest.raises(ScanError, match="found an archive of arrays; save the array"):
        read_reconstruction(tmp_path / "scan.npz")


@pytest.mark.parametrize(("real", "imaginary"), [("kspace_real", "kspace_imag"), ("k_re", "k_im")])
def test_parts_of_k_space_in_two_datasets_are_named(tmp_path, kspace, real, imaginary):
    with h5py.File(tmp_path / "parts.h5", "w") as file:
        file[real], file[imaginary] = kspace.real, kspace.imag
    with pytest.raises(ScanError, match=rf"save {real} \+ 1j \* {imaginary} as complex64 'kspace'"):
        open_scan(tmp_path / "parts.h5")


def test_k_space_in_a_group_called_as_that_of_raw_data(tmp_path, kspace):
    with h5py.File(tmp_path / "group.h5", "w") as file:
        file["dataset/kspace"] = kspace
    told = r"but 'dataset/kspace' .*; choose that of k-space with --dataset NAME"
    with pytest.raises(ScanError, match=told):
        open_scan(tmp_path / "group.h5")
    assert open_scan(tmp_path / "group.h5", Reading("dataset/kspace")).slices == len(kspace)


ADVICE = {
    "a.dcm": "dcm2niix",
    "a.IMA": "dcm2niix",
    "a.mat": ".npy",
    "a.npz": ".npy",
    "meas_MID1.dat": "siemens_to_ismrmrd",
    "P12345.7": "ge_to_ismrmrd",
    "a.raw": "philips_to_ismrmrd",
    **dict.fromkeys(("a.png", "a.JPG", "a.jpeg"), "simulate"),
}


@pytest.mark.parametrize(("name", "advice"), ADVICE.items())
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
