import gzip

import nibabel
import numpy as np
import pytest
import torch

from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.results.nifti import place, write_nifti
from mri_iahvae.scans.reader import open_scan

SHAPE = (17, 20, 3)  # columns, rows, slices
ROTATED = np.array([[0.0, -0.5, 0.6, 10], [0.8, 0.1, -3, -20], [0.6, 0.2, 4, 30], [0, 0, 0, 1]])


@pytest.fixture
def save(tmp_path):
    def write(voxels, name="image.nii.gz", kind=nibabel.Nifti1Image):
        nibabel.save(kind(voxels, ROTATED), tmp_path / name)
        return tmp_path / name

    return write


def image_of(scan, index):
    return ifft2c(torch.from_numpy(scan.read(index))).numpy()


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz", "image.NII.GZ"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_kspace_is_that_of_the_slices(save, rng, name, kind):
    voxels = rng.random(SHAPE, np.float32)
    scan = open_scan(save(voxels, name=name, kind=kind))
    assert (scan.slices, scan.coils, scan.height, scan.width) == (3, 1, 20, 17)
    assert (scan.mask_source, scan.acquired, scan.reference, scan.header) == ("full", (0, 17), None, None)
    assert scan.mask.all()
    np.testing.assert_allclose(image_of(scan, slice(None)), voxels.transpose(2, 1, 0), atol=1e-5)
    np.testing.assert_allclose(image_of(scan, slice(2, 0, -1)), voxels.transpose(2, 1, 0)[2:0:-1], atol=1e-5)
    assert scan.warnings == ("magnitude images have no phase: zero phase is assumed",)


def test_signs_that_results_lose_are_named(save):
    voxels = np.ones(SHAPE, np.float32)
    voxels[:, :5] = -2
    (warning,) = open_scan(save(voxels)).warnings
    assert warning == "25 % of the values are negative: results are magnitudes, which lose the signs"
    assert open_scan(save(voxels.astype(np.complex64))).warnings == ()


def test_complex_voxels_keep_their_phase(save, rng):
    voxels = (rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE)).astype(np.complex64)
    scan = open_scan(save(voxels))
    np.testing.assert_allclose(image_of(scan, 1)[0], voxels[..., 1].T, atol=1e-5)
    assert scan.warnings == ()


def test_integers_are_scaled_as_the_header_says(save, rng):
    voxels = rng.integers(0, 999, SHAPE).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, ROTATED)
    image.header.set_slope_inter(0.5, -3)
    path = save(voxels)
    image.to_filename(path)
    np.testing.assert_allclose(image_of(open_scan(path), 0)[0].real, 0.5 * voxels[..., 0].T - 3, atol=1e-3)


@pytest.mark.parametrize("shape", [(17, 20), (17, 20, 1), (17, 20, 1, 1), (17, 20, 3, 1)])
def test_axes_of_length_one(save, rng, shape):
    voxels = rng.random(shape).astype(np.float32)
    scan = open_scan(save(voxels))
    wanted = voxels.reshape(17, 20, -1).transpose(2, 1, 0)
    np.testing.assert_allclose(image_of(scan, slice(None)), wanted, atol=1e-5)


def test_orientation_is_the_same_after_writing(save, rng, tmp_path):
    """A rotated affine, odd sizes: voxels, affine and voxel sizes come back."""
    voxels = rng.random(SHAPE).astype(np.float32)
    scan = open_scan(save(voxels))
    np.testing.assert_allclose(scan.affine, ROTATED, atol=1e-6)
    images = np.abs(image_of(scan, slice(None)))
    write_nifti(tmp_path / "back.nii.gz", images, place(scan.voxel, scan.affine))
    back = nibabel.load(tmp_path / "back.nii.gz")
    np.testing.assert_allclose(back.affine, ROTATED, atol=1e-6)
    np.testing.assert_allclose(np.asarray(back.dataobj), voxels, atol=1e-5)


def test_a_volume_without_orientation_says_so(save):
    path = save(np.ones(SHAPE, np.float32), name="image.nii")
    scan = open_scan(edited(path, sform_code=0, qform_code=0, pixdim=[1, 2, 3, 4, 0, 0, 0, 0]))
    assert (scan.affine, scan.voxel) == (None, (4, 3, 2))
    assert "no orientation is stated: voxel sizes alone are known" in scan.warnings


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1e3), ("micron", 1e-3), ("unknown", 1)])
def test_lengths_are_converted_to_mm(tmp_path, unit, mm):
    image = nibabel.Nifti1Image(np.ones(SHAPE, np.float32), ROTATED)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "image.nii")
    scan = open_scan(tmp_path / "image.nii")
    np.testing.assert_allclose(scan.affine, np.diag([mm, mm, mm, 1]) @ ROTATED, rtol=1e-6)
    np.testing.assert_allclose(scan.voxel, mm * nibabel.affines.voxel_sizes(ROTATED)[::-1], rtol=1e-6)


def test_several_volumes_are_refused(refused, save):
    refused(save(np.ones((17, 20, 3, 2), np.float32)), "one volume", r"\(17, 20, 3, 2\)", "fslroi")


def edited(path, **fields):
    """The same file with fields of its header overwritten, unchecked."""
    content = bytearray(path.read_bytes())
    header = np.ndarray((), nibabel.Nifti1Header.template_dtype, content)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "fields",
    [
        {"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]},
        {"dim": [3, 0, 20, 3, 1, 1, 1, 1]},
        {"dim": [1, 17, 1, 1, 1, 1, 1, 1]},
        {"dim": [9, 17, 20, 3, 1, 1, 1, 1]},
        {"dim": [3, 17, 20, 4, 1, 1, 1, 1]},
        {"datatype": 128},  # colours
        {"datatype": 9999},
        {"vox_offset": 1e30},
        {"vox_offset": np.nan},
        {"vox_offset": 1e8},
        {"vox_offset": 0},
        {"magic": b"ni1"},
        {"magic": b"xxx"},
        {"sizeof_hdr": 1},
    ],
)
def test_hostile_headers_are_refused(refused, save, fields):
    voxels = np.ones(SHAPE, np.float32)
    path = edited(save(voxels, name="image.nii"), **fields)
    refused(path)
    packed = path.with_suffix(".nii.gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    refused(packed)


def test_extensions_are_not_read(save):
    """One that claims 2 GiB is in nobody's way."""
    path = save(np.ones(SHAPE, np.float32), name="image.nii")
    content = path.read_bytes()
    fake = b"\x01\0\0\0" + (2**31 - 16).to_bytes(4, "little") + bytes(12)
    path.write_bytes(content[:348] + fake + content[352:])
    edited(path, vox_offset=368)
    open_scan(path).read(0)


def test_truncated_and_foreign_files_are_refused(refused, save, tmp_path):
    path = save(np.ones(SHAPE, np.float32), name="image.nii")
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:400], whole[:100], b"", b"nonsense"):
        path.write_bytes(content)
        refused(path)
        packed = path.with_suffix(".nii.gz")
        packed.write_bytes(gzip.compress(content, mtime=0))
        refused(packed)
    packed.write_bytes(gzip.compress(whole, mtime=0)[:-30])
    refused(packed)
    packed.write_bytes(whole)
    refused(packed)
    refused(tmp_path / "missing.nii", "no such file")
