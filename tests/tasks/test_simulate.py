import nibabel
import numpy as np
import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.bands import band_mask, crop
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.kspace.noise import rms
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.tasks import simulate as task
from mri_iahvae.tasks.simulate import PEAK, simulate, write_example


@pytest.fixture
def head(tmp_path):
    """NIfTI with four slices of 100 x 80: a bright box that shrinks from slice to slice."""
    voxels = np.zeros((80, 100, 4), np.float32)
    for z in range(4):
        voxels[20 + 4 * z : 60 - 4 * z, 20:80, z] = 300.0
        voxels[35:45, 40:60, z] = 150.0
    path = tmp_path / "head.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
    return path


def image_of(scan):
    return ifft2c(torch.from_numpy(scan.read(slice(None)))).numpy()


def test_without_noise_the_image_is_the_reference_times_a_smooth_phase(head, tmp_path):
    (path,) = simulate([head], tmp_path / "out", noise=0)
    assert path == tmp_path / "out" / "head.h5"
    scan = open_scan(path)
    assert (scan.slices, scan.height, scan.width) == (4, 128, 128)
    assert scan.noise_sigma.tolist() == [0] * 4
    image, reference = image_of(scan), scan.read_reference(slice(None))
    assert reference.max() == pytest.approx(PEAK)
    np.testing.assert_allclose(np.abs(image), reference, atol=1e-5 * PEAK)
    inside = image[0, 40:88, 50:78]
    steps = np.angle(inside[1:] * inside[:-1].conj())
    assert np.abs(steps).max() < 0.3  # smooth
    assert np.angle(inside * inside[:1, :1].conj()).std() > 0.05  # and not constant
    assert not np.allclose(image[0] / np.abs(image[0]).max(), image[1] / np.abs(image[1]).max(), atol=0.1)


def test_the_voxel_size_of_a_nifti_comes_back_in_the_header(head, tmp_path):
    voxels = nibabel.load(head)
    nibabel.save(nibabel.Nifti1Image(voxels.get_fdata(dtype=np.float32), np.diag([0.7, 0.8, 3.0, 1])), head)
    (path,) = simulate([head], tmp_path / "out")
    header = open_scan(path).header
    assert header.pixel == pytest.approx((0.8, 0.7), rel=1e-4)
    assert header.thickness == pytest.approx(3)


@pytest.mark.parametrize("noise", [0.05, 1.0])
def test_measured_noise_is_the_stored_one(head, tmp_path, noise):
    (clean_path,) = simulate([head], tmp_path / "clean", noise=0)
    (path,) = simulate([head], tmp_path / "noisy", noise=noise)
    clean, noisy = open_scan(clean_path).read(slice(None)), open_scan(path).read(slice(None))
    sigma = open_scan(path).noise_sigma
    assert len(set(sigma)) == 1
    volume_rms = float(np.sqrt((np.abs(clean.astype(complex)) ** 2).mean()))
    assert sigma[0] == pytest.approx(noise * volume_rms, rel=1e-4)
    assert rms(torch.from_numpy(clean))[0] > volume_rms  # one sigma per volume, not per slice
    difference = noisy - clean
    assert difference.real.std() == pytest.approx(sigma[0], rel=0.01)
    assert difference.imag.std() == pytest.approx(sigma[0], rel=0.01)
    # White: the same in every band.
    for s in (32, 64, 128):
        values = crop(torch.from_numpy(difference), s)[:, band_mask(s)]
        assert rms(values[None]).item() == pytest.approx(sigma[0] * 2**0.5, rel=0.05)


def test_reference_is_clean_or_noisy(head, tmp_path):
    (clean,) = simulate([head], tmp_path / "clean", noise=0.2)
    (noisy,) = simulate([head], tmp_path / "noisy", noise=0.2, reference="noisy")
    a, b = open_scan(clean), open_scan(noisy)
    np.testing.assert_array_equal(a.read(slice(None)), b.read(slice(None)))
    np.testing.assert_allclose(b.read_reference(slice(None)), np.abs(image_of(b)), atol=1e-5 * PEAK)
    assert np.count_nonzero(a.read_reference(0)[0, :10]) == 0


def test_undersampling(head, tmp_path):
    lines = []
    (full,) = simulate([head], tmp_path / "full")
    (path,) = simulate([head], tmp_path / "few", acceleration=4, report=lines.append)
    scan = open_scan(path)
    assert scan.mask_source == "file"
    wanted = column_mask(128, 4, 0.08, "random", "head.h5")
    np.testing.assert_array_equal(scan.mask, np.tile(wanted, (128, 1)))
    measured = np.where(wanted, open_scan(full).read(slice(None)), 0)
    np.testing.assert_array_equal(scan.read(slice(None)), measured)
    assert scan.attributes["acceleration"] == 4
    assert f"true acceleration {128 / wanted.sum():.2f}" in lines[0]


def test_rows_of_a_seed(head, tmp_path):
    (path,) = simulate([head], tmp_path / "rows", acceleration=4, mask_axis="rows", mask_seed=5)
    rows = column_mask(128, 4, 0.08, "random", 5)
    np.testing.assert_array_equal(open_scan(path).mask, np.tile(rows[:, None], 128))


def test_the_seed_and_the_name_decide(head, tmp_path):
    first, again, other = (
        simulate([head], tmp_path / name, seed=seed)[0] for name, seed in [("a", 1), ("b", 1), ("c", 2)]
    )
    assert first.read_bytes() == again.read_bytes()
    assert not np.allclose(open_scan(first).read(0), open_scan(other).read(0))
    head.rename(head.with_name("another.nii.gz"))
    (renamed,) = simulate([head.with_name("another.nii.gz")], tmp_path / "d", seed=1)
    assert not np.allclose(open_scan(first).read(0), open_scan(renamed).read(0))


def test_the_seed_does_not_change_between_versions(head, tmp_path):
    """hashlib, never Python's hash."""
    assert task._seed("head.h5", 0) == 5322340821251249697


def test_npz_subjects_become_files_with_safe_names(tmp_path, rng):
    np.savez(tmp_path / "a.npz", images=rng.random((3, 8, 8)), subject=["../up", "b c", "b c"])
    paths = simulate([tmp_path / "a.npz"], tmp_path / "out")
    assert [path.name for path in paths] == ["up.h5", "b_c.h5"]
    assert all(path.parent == tmp_path / "out" for path in paths)
    assert open_scan(paths[1]).slices == 2


def test_existing_files_and_equal_names_are_refused(head, tmp_path):
    (path,) = simulate([head], tmp_path / "out")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        simulate([head], tmp_path / "out", seed=1)
    assert path.read_bytes() == before
    simulate([head], tmp_path / "out", seed=1, overwrite=True)
    assert path.read_bytes() != before
    with pytest.raises(UsageError, match="would overwrite another volume"):
        simulate([head, head], tmp_path / "out", overwrite=True)


@pytest.mark.parametrize(
    "settings",
    [{"noise": -1}, {"phase": -1}, {"mask_type": "random"}, {"acceleration": 4, "center_fraction": 0.5}],
)
def test_impossible_settings_are_refused(head, tmp_path, settings):
    with pytest.raises(UsageError):
        simulate([head], tmp_path / "out", **settings)
    assert not list(tmp_path.glob("out/*"))


def test_example(tmp_path):
    path = write_example(tmp_path / "folder" / "scan.h5")
    scan = open_scan(path)
    assert (scan.slices, scan.height, scan.width, scan.warnings) == (24, 128, 128, ())
    assert scan.read_reference(slice(None)).max() == pytest.approx(PEAK)
    with pytest.raises(UsageError, match="exists already"):
        write_example(path)
    other = write_example(tmp_path / "other.h5")
    assert other.read_bytes() == path.read_bytes()  # whatever its name
    assert write_example(path, noise=0.3, overwrite=True).read_bytes() != other.read_bytes()
