import gzip

import h5py
import nibabel
import numpy as np
import pytest

from mri_iahvae.errors import IahvaeError
from mri_iahvae.results.nifti import place, write_nifti

SHAPE = (3, 6, 8)  # slices, rows, columns
VOXEL = (5.0, 0.5, 1.0)  # slices, rows, columns in mm
OBLIQUE = np.array(
    [[0.0, -0.5, 0.0, 10.0], [0.8, 0.0, -3.0, -20.0], [0.6, 0.0, 4.0, 30.0], [0.0, 0.0, 0.0, 1.0]]
)


def volume(rng, dtype):
    images = rng.normal(size=SHAPE) + (1j * rng.normal(size=SHAPE) if np.dtype(dtype).kind == "c" else 0)
    return images.astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "stored"), [("f4", "f4"), ("f8", "f4"), ("c8", "c8"), ("c16", "c8"), (">f4", "f4")]
)
def test_values_come_back_at_their_place(tmp_path, rng, dtype, stored):
    path = tmp_path / "scan.nii.gz"
    images = volume(rng, dtype)
    write_nifti(path, images, place(VOXEL))
    loaded = nibabel.load(path)
    assert loaded.get_data_dtype() == np.dtype(stored)
    voxels = np.asarray(loaded.dataobj)
    assert voxels.shape == (8, 6, 3)  # x, y, slice
    assert np.array_equal(voxels.transpose(2, 1, 0), images.astype(stored))
    assert [entry.name for entry in tmp_path.iterdir()] == ["scan.nii.gz"]


@pytest.mark.parametrize("affine", [None, np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_voxel_sizes_without_orientation(tmp_path, affine):
    write_nifti(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.float32), place(VOXEL, affine))
    loaded = nibabel.load(tmp_path / "a.nii.gz")
    assert loaded.header.get_zooms() == (1.0, 0.5, 5.0)
    assert loaded.header.get_xyzt_units()[0] == "mm"
    assert (loaded.header["sform_code"], loaded.header["qform_code"]) == (0, 0)
    assert loaded.header["descrip"].item() == b"orientation and slice gap unknown"


def test_position_and_orientation_of_the_source_are_kept(tmp_path):
    write_nifti(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.float32), place(VOXEL, OBLIQUE))
    loaded = nibabel.load(tmp_path / "a.nii.gz")
    assert np.allclose(loaded.affine, OBLIQUE)
    assert np.allclose(loaded.get_qform(), OBLIQUE, atol=1e-5)
    assert np.allclose(loaded.header.get_zooms(), [1.0, 0.5, 5.0])
    assert (loaded.header["sform_code"], loaded.header["qform_code"]) == (1, 1)
    assert loaded.header["descrip"].item() == b""


def test_where_nothing_is_known_it_says_so(tmp_path):
    write_nifti(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.float32), place())
    header = nibabel.load(tmp_path / "a.nii.gz").header
    assert header.get_zooms() == (1.0, 1.0, 1.0)
    assert (header["sform_code"], header["qform_code"]) == (0, 0)
    assert header["descrip"].item() == b"voxel size and orientation unknown"


def test_slices_without_a_thickness_are_1_mm_apart():
    placement = place((None, 0.5, 1.0))
    assert np.array_equal(np.diag(placement.affine), [1.0, 0.5, 1.0, 1.0])
    assert placement.note == "orientation and slice thickness unknown"


def test_datasets_are_read_slice_by_slice(tmp_path, rng):
    """A dataset in a file makes the same bytes as the array in memory."""
    images = volume(rng, "c8")
    write_nifti(tmp_path / "a.nii.gz", images, place())
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        stored = file.create_dataset("image", data=images)
        write_nifti(tmp_path / "b.nii.gz", stored, place())
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert len(gzip.decompress((tmp_path / "a.nii.gz").read_bytes())) == 352 + images.nbytes


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_leave_no_file(tmp_path, bad):
    images = np.zeros(SHAPE, np.float32)
    images[1, 2, 3] = bad
    with pytest.raises(IahvaeError, match="slice 1 holds NaN or infinity"):
        write_nifti(tmp_path / "a.nii.gz", images, place())
    assert not list(tmp_path.iterdir())
