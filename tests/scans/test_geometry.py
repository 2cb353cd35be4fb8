"""From the array of a scan to the field of view of its image."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from mri_iahvae.errors import ScanError, UsageError
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.results.hdf5 import write_scan
from mri_iahvae.scans.geometry import Geometry, require_measured_grid, scan_geometry
from mri_iahvae.scans.header import Header
from mri_iahvae.scans.reader import open_scan


@pytest.fixture
def scan(tmp_path, rng):
    """Noise of any size, opened; what states the size of the image is the caller's, and the mask."""

    def make(height, width, recon=None, reference=None, mask=None):
        parts = rng.normal(size=(2, 2, height, width))
        write_scan(tmp_path / "scan.h5", (parts[0] + 1j * parts[1]).astype(np.complex64), mask=mask)
        return replace(open_scan(tmp_path / "scan.h5"), header=None, image=recon, reference=reference)

    return make


@pytest.mark.parametrize(
    ("native", "recon", "reference", "asked", "field", "image"),
    [
        ((640, 368), (320, 320), (320, 320), None, (320, 368), (320, 320)),
        ((640, 371), (320, 320), None, None, (320, 371), (320, 320)),
        ((640, 264), (320, 320), None, None, (320, 264), (264, 264)),  # narrow FLAIR
        ((640, 264), (320, 320), (264, 264), None, (320, 264), (264, 264)),
        ((640, 368), None, (320, 320), None, (320, 368), (320, 320)),  # from the reference
        ((640, 368), None, None, None, (640, 368), (640, 368)),  # from k-space alone
        ((640, 368), None, None, (320, 300), (320, 368), (320, 300)),  # from the user
        ((64, 64), None, (48, 48), None, (64, 64), (48, 48)),  # a crop, not oversampling
        ((64, 60), (64, 60), None, None, (64, 60), (64, 60)),
        ((64, 60), (32, 60), (64, 60), None, (64, 60), (64, 60)),  # the reference shows the whole
        ((64, 60), (64, 60), (65, 60), None, (64, 60), (64, 60)),  # a reference that does not fit
    ],
)
def test_sizes(scan, native, recon, reference, asked, field, image):
    geometry = scan_geometry(scan(*native, recon, reference), image=asked)
    assert (geometry.native, geometry.field, geometry.image) == (native, field, image)
    assert geometry.warnings == ()


@pytest.mark.parametrize("native", [(40, 22), (41, 23), (40, 21), (43, 22)])
@pytest.mark.parametrize("image", [(20, 20), (19, 17), (20, 17)])
def test_the_image_is_that_of_the_native_array_cropped_as_fastmri_does(scan, native, image):
    one = scan(*native)
    geometry = scan_geometry(one, image=image)
    assert geometry.field == (image[0], native[1])
    kspace = one.read(slice(None))
    reduced = geometry.reduce(kspace)
    assert reduced.dtype == np.complex64
    found = geometry.crop(ifft2c(torch.from_numpy(reduced)).numpy())
    top, left = ((n - m) // 2 for n, m in zip(native, image, strict=True))
    whole = ifft2c(torch.from_numpy(kspace)).numpy()
    expected = whole[:, top : top + image[0], left : left + image[1]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_columns_stay_columns(scan, rng):
    """What one column holds of k-space goes nowhere else: an undersampled axis is never mixed."""
    one = scan(40, 22)
    columns = rng.random(22) < 0.4
    geometry = scan_geometry(one, np.tile(columns, (40, 1)), (20, 20))
    kspace = np.where(columns, one.read(slice(None)), 0)
    assert not geometry.reduce(kspace)[..., ~columns].any()
    np.testing.assert_array_equal(geometry.reduce_mask(np.tile(columns, (40, 1))), np.tile(columns, (20, 1)))


def test_missing_rows_keep_the_whole_field(scan):
    mask = np.ones((40, 22), bool)
    mask[30:] = False  # a partial echo
    one = scan(40, 22, recon=(20, 20), mask=mask)
    geometry = scan_geometry(one)
    assert (geometry.field, geometry.image) == ((40, 22), (20, 20))
    assert "readout oversampling cannot be removed exactly" in geometry.warnings[0]
    kspace = one.read(slice(None))
    assert geometry.reduce(kspace) is kspace
    np.testing.assert_array_equal(geometry.reduce_mask(one.mask), mask)


@pytest.mark.parametrize(
    ("size", "warning"),
    [((128, 80), ""), ((80, 80), "160 x 256 mm of the 256 x 256 mm .* --image-size 128x80"), (None, "")],
)
def test_a_field_of_view_that_is_cut_is_named(scan, size, warning):
    """Pixels of 2 mm x 3.2 mm: fastMRI's square of 80 pixels lacks a third of the rows."""
    header = Header((256, 80), (128, 128), None, encoded_fov=(512, 256, 5), recon_fov=(256, 256, 5))
    one = replace(scan(256, 80, recon=size or (80, 80)), header=header)
    warnings = scan_geometry(one, image=None if size else (80, 80)).warnings
    assert len(warnings) == bool(warning)
    if warning:
        assert re.search(warning, warnings[0])


def test_an_image_larger_than_k_space_is_refused(scan):
    with pytest.raises(UsageError, match="--image-size 41x20"):
        scan_geometry(scan(40, 22), image=(41, 20))


def test_the_affine_follows_the_crop():
    native = np.array([[0, -2.0, 0, 9], [3.0, 0, 0, 8], [0, 0, 4.0, 7], [0, 0, 0, 1]])
    moved = Geometry((40, 22), (20, 22), (20, 17)).affine(native)
    for column, row, number in [(0, 0, 0), (16, 19, 5)]:
        expected = native @ [column + 2, row + 10, number, 1]
        np.testing.assert_allclose(moved @ [column, row, number, 1], expected)


def test_training_wants_the_grid_measured_as_a_whole(scan):
    require_measured_grid(scan(40, 22, recon=(20, 20)), 16)
    columns = np.arange(22) != 7
    for one, size in (
        (scan(40, 22, recon=(20, 20), mask=columns), 16),
        (scan(40, 22, recon=(20, 20)), 32),
    ):
        with pytest.raises(ScanError, match="measured as a whole"):
            require_measured_grid(one, size)
    edge = np.arange(22) > 0
    require_measured_grid(scan(40, 22, mask=edge), 16)
    require_measured_grid(replace(scan(40, 22), coils=4), 16)
    with pytest.raises(ScanError, match="fully sampled k-space to combine 4 coils"):
        require_measured_grid(replace(scan(40, 22, mask=edge), coils=4), 16)


def test_noise_keeps_its_level(scan):
    """White noise is white again, of the same sigma, in the smaller field of view."""
    one = scan(256, 64)
    reduced = scan_geometry(one, image=(128, 64)).reduce(one.read(slice(None)))
    assert reduced.real.std() == pytest.approx(1, rel=0.02)
    image = np.zeros((1, 256, 64), complex)
    image[0, 100, 20] = 1  # within the kept rows
    kspace = fft2c(torch.from_numpy(image)).numpy()
    assert np.linalg.norm(Geometry((256, 64), (128, 64), (128, 64)).reduce(kspace)) == pytest.approx(1)
