"""Reconstructions and their targets in HDF5 files."""

import re

import h5py
import numpy as np
import pytest
from fastmri.data import transforms

from mri_iahvae.scans.formats.fastmri_images import read_reconstruction, read_target
from tests import refusals


@pytest.fixture
def images(rng):
    return rng.random((2, 9, 8)).astype(np.float32)


def refused(call, path, *patterns):
    refusals.refused(call, re.escape(str(path)), "expected", "found", *patterns)


def test_a_reconstruction(write_hdf5, images):
    for stored in (images, images.astype(np.float64), (100 * images).astype(np.uint16)):
        found = read_reconstruction(write_hdf5(reconstruction=stored))
        np.testing.assert_array_equal(found, stored)
        assert found.dtype == stored.dtype


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda x: x[0], r"shape \(9, 8\)"),
        (lambda x: x[:0], r"shape \(0, 9, 8\)"),
        (lambda x: x + 0j, "type complex64"),
        (lambda x: np.where(x == x.max(), np.nan, x), "NaN or infinity"),
    ],
)
def test_what_is_no_volume_is_refused(write_hdf5, images, change, pattern):
    path = write_hdf5(reconstruction=change(images), reconstruction_esc=change(images))
    refused(lambda: read_reconstruction(path), path, "'reconstruction'", pattern)
    refused(lambda: read_target(path), path, "'reconstruction_esc'", pattern)


def test_a_file_without_a_reconstruction(write_hdf5, images):
    path = write_hdf5(reconstruction_esc=images)
    refused(lambda: read_reconstruction(path), path, "wrong way round")


def test_single_coil_targets_come_first(write_hdf5, images):
    all_three = {"reconstruction_rss": 2 * images, "reconstruction_esc": images, "reconstruction": 3 * images}
    both = read_target(write_hdf5(**all_three))
    np.testing.assert_array_equal(both.images, images)
    assert (both.source, both.acquisition) == ("reconstruction_esc", None)
    path = write_hdf5(attrs={"acquisition": "AXT2"}, reconstruction_rss=2 * images, reconstruction=3 * images)
    alone = read_target(path)
    np.testing.assert_array_equal(alone.images, 2 * images)
    assert (alone.source, alone.acquisition) == ("reconstruction_rss", "AXT2")
    np.testing.assert_array_equal(read_target(path, "reconstruction").images, 3 * images)
    refused(lambda: read_target(path, "other"), path, "'other'", "--target")
    path = write_hdf5(reconstruction=images)
    refused(lambda: read_target(path), path, "fully sampled k-space", "--target")


def test_fully_sampled_kspace_is_a_target(make_scan):
    """As fastMRI makes `reconstruction_esc`: the magnitude, cropped to the header's reconSpace."""
    path = make_scan(noise=0.01)
    with h5py.File(path, "r+") as file:
        header = file["ismrmrd_header"][()].decode()
        before, recon = header.split("<reconSpace>")
        recon = recon.replace("<x>32</x><y>32</y>", "<x>20</x><y>24</y>", 1)
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = before + "<reconSpace>" + recon
        kspace = file["kspace"][()]
    whole = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, (-2, -1)), norm="ortho"), (-2, -1)))
    target = read_target(path)
    assert target.source == "kspace"
    np.testing.assert_allclose(target.images, transforms.center_crop(whole, (20, 24)), rtol=1e-3, atol=1e-9)
    with h5py.File(path, "r+") as file:
        del file["ismrmrd_header"]
    np.testing.assert_allclose(read_target(path).images, whole, rtol=1e-3, atol=1e-9)


def test_undersampled_kspace_is_none(make_scan):
    path = make_scan(mask=np.arange(32) % 2 == 0)
    refused(lambda: read_target(path), path, "undersampled")
    with h5py.File(path, "r+") as file:
        del file["mask"]  # inferred from zeros
    refused(lambda: read_target(path), path, "undersampled")
