"""Which bins count: the file's own, a mask file's, fastMRI's columns, and all of them with --up-to."""

import json

import h5py
import numpy as np
import pytest

from mri_iahvae.errors import ScanError, UsageError
from mri_iahvae.kspace.centre_crop import centre_block
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.results.hdf5 import write_scan
from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.scans.undersampling import OWN_SAMPLING, Sampling


@pytest.fixture
def scan(tmp_path, rng):
    """Writes noise of any size with any mask, and opens it."""

    def make(height=32, width=32, mask=None, name="scan.h5"):
        parts = rng.normal(size=(2, 2, height, width))
        write_scan(tmp_path / name, (parts[0] + 1j * parts[1]).astype(np.complex64), mask=mask)
        return open_scan(tmp_path / name)

    return make


@pytest.fixture
def mask_file(tmp_path):
    def save(mask, name="lines.npy"):
        np.save(tmp_path / name, mask)
        return tmp_path / name

    return save


def centre(height, width, s):
    inside = np.zeros((height, width), bool)
    inside[centre_block(height, s), centre_block(width, s)] = True
    return inside


def used(sampling, scan, up_to):
    """Of block B_s only; nothing is oversampled here."""
    return sampling.apply(scan).within(scan_geometry(scan), up_to)


def test_nothing_asked_is_the_scan_itself(scan, rng):
    full = OWN_SAMPLING.apply(scan())
    assert full.mask.all()
    assert (full.source, full.description, full.true_acceleration) == ("full", "full sampling", 1)

    mask = rng.random((32, 32)) < 0.25
    own = OWN_SAMPLING.apply(scan(mask=mask))
    np.testing.assert_array_equal(own.mask, mask)
    assert (own.source, own.description) == ("file", "the file's own")
    assert own.true_acceleration == pytest.approx(1024 / mask.sum())

    scanned = scan(mask=mask)
    with h5py.File(scanned.path, "r+") as file:
        del file["mask"]
    inferred = OWN_SAMPLING.apply(open_scan(scanned.path))
    np.testing.assert_array_equal(inferred.mask, mask)
    assert (inferred.source, inferred.description) == ("zeros", "inferred from exact zeros")
    assert full.warnings == own.warnings == inferred.warnings == ()


def test_drawn_columns_have_the_file_s_name_as_seed(scan, tmp_path):
    sampling = Sampling(acceleration=4, mask_type="equispaced")
    sampled = sampling.apply(scan(8, 371))
    wanted = column_mask(371, 4, 0.08, "equispaced", "scan.h5")
    np.testing.assert_array_equal(sampled.mask, np.tile(wanted, (8, 1)))
    assert sampled.source == "acceleration"
    assert sampled.description == "equispaced columns 4x, centre 0.08, seed the file's name"
    assert sampled.true_acceleration == pytest.approx(1 / wanted.mean())
    (tmp_path / "deeper").mkdir()
    np.testing.assert_array_equal(sampling.apply(scan(8, 371, name="deeper/scan.h5")).mask, sampled.mask)
    with pytest.raises(UsageError, match="--mask or --acceleration, not both"):
        Sampling(tmp_path / "lines.npy", acceleration=4)


def test_rows_and_a_seed_of_the_user_s(scan):
    sampling = Sampling(acceleration=4, mask_axis="rows", mask_seed=3)
    one, other = (sampling.apply(scan(64, 20, name=name)) for name in ("a.h5", "b.h5"))
    np.testing.assert_array_equal(one.mask, np.tile(column_mask(64, 4, 0.08, "random", 3)[:, None], 20))
    np.testing.assert_array_equal(one.mask, other.mask)
    assert one.description == "random rows 4x, centre 0.08, seed 3"
    assert one.to_json()["true_acceleration"] == pytest.approx(1 / one.mask.mean())
    given = {"mask_axis": "rows", "mask_seed": 3, "mask_type": "random"}
    assert given.items() <= sampling.to_json().items()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 45)])
def test_mask_files(scan, mask_file, rng, height, width):
    for mask in (rng.random(width) < 0.5, rng.random((height, width)) < 0.3):
        sampled = Sampling(mask_file(mask)).apply(scan(height, width))
        np.testing.assert_array_equal(sampled.mask, np.broadcast_to(mask, (height, width)))
        assert (sampled.source, sampled.description, sampled.warnings) == ("mask file", "lines.npy", ())


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 45)])
@pytest.mark.parametrize("s", [1, 2, 8, 16])
def test_all_restrictions_hold_together(scan, mask_file, rng, height, width, s):
    own, asked = rng.random((2, height, width)) < 0.6
    sampled = used(Sampling(mask_file(asked)), scan(height, width, mask=own), s)
    np.testing.assert_array_equal(sampled.mask, own & asked & centre(height, width, s))
    assert sampled.description == f"lines.npy, within the file's own, up to {s}x{s}"
    drawn = used(Sampling(acceleration=4), scan(height, width), s)
    everywhere = Sampling(acceleration=4).apply(scan(height, width)).mask
    np.testing.assert_array_equal(drawn.mask, everywhere & centre(height, width, s))
    only = used(OWN_SAMPLING, scan(height, width), s)
    assert only.true_acceleration == pytest.approx(height * width / s**2)
    assert only.description == f"full sampling, up to {s}x{s}"


def test_bins_that_the_file_lacks_are_said(scan, mask_file):
    own, asked = np.zeros((32, 32), bool), np.zeros((32, 32), bool)
    own[:, 8:24] = True
    asked[:, 6:16] = True
    sampled = Sampling(mask_file(asked)).apply(scan(mask=own))
    np.testing.assert_array_equal(sampled.mask, own & asked)
    assert sampled.warnings == ("64 bins of the mask (20.0%) are not in the file: taken as unmeasured",)
    # Drawn columns meet padding in every file of fastMRI's.
    assert Sampling(acceleration=4).apply(scan(mask=own)).warnings == ()


def test_a_mask_that_leaves_nothing_is_a_warning(scan, mask_file):
    right = np.arange(32) >= 16
    for sampled in (
        Sampling(mask_file(~right)).apply(scan(mask=right)),
        Sampling(mask_file(np.zeros(32))).apply(scan()),
        used(OWN_SAMPLING, scan(mask=np.arange(32) < 4), 8),
    ):
        assert not sampled.mask.any()
        assert sampled.true_acceleration is None
        assert sampled.warnings[-1] == "no measured k-space bin is left"
        assert json.loads(json.dumps(sampled.to_json(), allow_nan=False))["true_acceleration"] is None
    nothing = scan(mask=np.zeros(32, bool))  # which the reader says
    assert OWN_SAMPLING.apply(nothing).warnings == ()


def test_what_does_not_fit_the_scan_is_refused(scan, mask_file):
    with pytest.raises(UsageError, match="leaves none to draw"):
        Sampling(acceleration=4, center_fraction=0.5).apply(scan())
    with pytest.raises(ScanError, match=r"lines\.npy: expected a mask"):
        Sampling(mask_file(np.ones(31))).apply(scan())
