import gzip

import nibabel
import numpy as np
import pytest

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.formats.magnitude_images import read_magnitudes
from tests.refusals import refused


def save(path, voxels, affine=None):
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return path


def test_axial_slices_nose_up_right_on_the_left(tmp_path):
    voxels = np.zeros((10, 20, 5), np.float32)
    voxels[9, 0, 2] = 4.0  # rightmost, hindmost, of the third slice from below
    voxels[0, 19, 2] = 2.0  # leftmost, foremost
    ((name, images, *_),) = read_magnitudes(save(tmp_path / "head.nii.gz", voxels))
    assert name == "head"
    assert images.shape == (5, 128, 128)
    assert images.dtype == np.float32
    top, left = 64 - 10, 64 - 5
    assert images[2, top + 19, left] == 1.0
    assert images[2, top, left + 9] == 0.5
    assert np.count_nonzero(images) == 2


def test_orientation_comes_from_the_affine(tmp_path, rng):
    voxels = rng.random((10, 20, 5)).astype(np.float32)
    ((_, wanted, *_),) = read_magnitudes(save(tmp_path / "a.nii", voxels))
    flipped = np.diag([-1.0, 1, 1, 1])
    ((_, found, *_),) = read_magnitudes(save(tmp_path / "b.nii", np.ascontiguousarray(voxels[::-1]), flipped))
    np.testing.assert_array_equal(found, wanted)


def test_first_volume_of_four_dimensions_and_large_slices(tmp_path, rng):
    voxels = rng.random((130, 12, 2, 3)).astype(np.float32)
    ((_, images, *_, remarks),) = read_magnitudes(save(tmp_path / "a.nii", voxels))
    ((_, wanted, *_, none),) = read_magnitudes(save(tmp_path / "b.nii", np.ascontiguousarray(voxels[..., 0])))
    assert images.shape == (2, 130, 130)
    np.testing.assert_array_equal(images, wanted)
    assert (remarks, none) == (("first of 3 volumes",), ())


def test_negative_values_become_zero_and_are_counted(tmp_path):
    voxels = np.ones((10, 20, 5), np.float32)
    voxels[:5] = -1
    (volume,) = read_magnitudes(save(tmp_path / "a.nii", voxels))
    assert np.count_nonzero(volume.images) == 500
    assert volume.remarks == ("negative values (0.5 of all) set to zero",)


@pytest.mark.parametrize(
    ("size", "side"),
    [((128, 128), 128), ((320, 320), 320), ((129, 129), 130), ((96, 256), 256), ((20, 30), 128)],
)
def test_slices_are_padded_to_a_square_of_even_size_and_no_further(tmp_path, rng, size, side):
    images = rng.random((2, *size)).astype(np.float32)
    images[0, 0, 0] = 1
    np.savez(tmp_path / "a.npz", images=images)
    (volume,) = read_magnitudes(tmp_path / "a.npz")
    assert (volume.images.shape, volume.size, volume.voxel) == ((2, side, side), size, None)
    top, left = side // 2 - size[0] // 2, side // 2 - size[1] // 2
    np.testing.assert_array_equal(volume.images[:, top : top + size[0], left : left + size[1]], images)
    assert np.count_nonzero(volume.images) == np.count_nonzero(images)


@pytest.mark.parametrize(
    ("unit", "zooms", "voxel"),
    [
        ("mm", (1.0, 0.5, 3.0), (3, 0.5, 1)),
        ("meter", (1e-3, 5e-4, 3e-3), (3, 0.5, 1)),
        ("mm", (1, 1, np.nan), None),
        (4, (1, 1, 1), None),  # no unit at all
    ],
)
def test_the_voxel_size_is_that_of_the_file(tmp_path, rng, unit, zooms, voxel):
    image = nibabel.Nifti1Image(rng.random((10, 20, 5)).astype(np.float32), np.eye(4))
    image.header["xyzt_units"] = {"mm": 2, "meter": 1}.get(unit, unit)
    image.header["pixdim"][1:4] = zooms
    nibabel.save(image, tmp_path / "a.nii")
    (volume,) = read_magnitudes(tmp_path / "a.nii")
    assert volume.voxel == (None if voxel is None else pytest.approx(voxel, rel=1e-5))


def test_npz_by_subject(tmp_path, rng):
    images = rng.integers(0, 200, (5, 128, 128)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=images, subject=["b", "a", "b", "a", "b"])
    volumes = {volume.name: volume.images for volume in read_magnitudes(tmp_path / "a.npz")}
    assert list(volumes) == ["b", "a"]
    np.testing.assert_allclose(volumes["a"], images[[1, 3]] / images[[1, 3]].max(), rtol=1e-6)
    np.savez(tmp_path / "plain.npz", images=images)
    ((name, found, *_),) = read_magnitudes(tmp_path / "plain.npz")
    assert name == "plain"
    assert found.shape == (5, 128, 128)


@pytest.mark.parametrize(
    "arrays",
    [
        {"pictures": np.ones((1, 8, 8))},
        {"images": np.ones((8, 8))},
        {"images": np.ones((1, 8, 8), complex)},
        {"images": np.zeros((1, 8, 8))},
        {"images": np.full((1, 8, 8), np.nan)},
        {"images": np.ones((0, 8, 8))},
        {"images": np.ones((2, 8, 8)), "subject": ["a"]},
        {"images": np.array([{"pickled": 1}], object)},
    ],
)
def test_unusable_archives_are_refused(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    refused(lambda: list(read_magnitudes(tmp_path / "a.npz")), r"a\.npz: expected .* found")


def test_unusable_files_are_refused(tmp_path):
    whole = save(tmp_path / "whole.nii", np.ones((9, 9, 9), np.float32)).read_bytes()
    contents = {
        "a.nii": b"nonsense",
        "a.nii.gz": b"nonsense",
        "b.nii": whole[:-100],
        "b.nii.gz": gzip.compress(whole, mtime=0)[:-20],
        "a.npz": b"nonsense",
        "a.png": b"nonsense",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ScanError, match="expected"):
            list(read_magnitudes(tmp_path / name))
    with pytest.raises(ScanError, match="found none"):
        list(read_magnitudes(tmp_path / "missing.nii"))
