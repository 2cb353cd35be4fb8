"""Sensitivities from a file: three formats, one set or one for each slice, with readout oversampling or without."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.coil_maps import MAPS, as_stored, open_coil_maps
from mri_iahvae.scans.geometry import Geometry
from mri_iahvae.scans.reader import open_scan
from tests.array_files import save_array
from tests.refusals import refused

WHOLE = Geometry((32, 20), (32, 20), (32, 20))
OVERSAMPLED = Geometry((32, 20), (16, 20), (16, 20))


@pytest.fixture
def scan(tmp_path, rng):
    """Two slices of three coils."""
    np.save(tmp_path / "scan.npy", rng.normal(size=(2, 3, 32, 20)).astype(np.complex64))
    return open_scan(tmp_path / "scan.npy")


@pytest.fixture
def maps(rng):
    return (rng.normal(size=(2, 3, 32, 20)) + 1j * rng.normal(size=(2, 3, 32, 20))).astype(np.complex64)


@pytest.fixture
def save(tmp_path):
    def write(values, kind="npy"):
        if kind == "cfl":  # rows, columns, coils as dimension 3, slices as dimension 13
            values = np.expand_dims(values.transpose(2, 3, 1, 0), (2, *range(4, 13)))
        path = save_array(tmp_path / f"maps.{kind}", values, MAPS)
        if kind == "h5":
            with h5py.File(path, "a") as file:
                file["mask"] = np.zeros(20, bool)  # of a result: says nothing of the maps
        return path

    return write


@pytest.mark.parametrize("kind", ["npy", "h5", "cfl"])
def test_maps_of_each_slice(scan, maps, save, kind):
    found = open_coil_maps(save(maps, kind), scan, WHOLE)
    np.testing.assert_array_equal(found.read(slice(0, 2)), maps)
    np.testing.assert_array_equal(found.read(slice(1, 2)), maps[1:])


def test_one_set_for_all_slices(scan, maps, save):
    for values in (maps[0], maps[:1]):
        found = open_coil_maps(save(values), scan, WHOLE)
        np.testing.assert_array_equal(found.read(slice(1, 2)), maps[:1])


def test_readout_oversampling_is_cropped(scan, maps, save):
    """As that of the image: maps of either size are those of the field."""
    inner = maps[:, :, 8:24]
    for values in (maps, inner):
        found = open_coil_maps(save(values), scan, OVERSAMPLED)
        np.testing.assert_array_equal(found.read(slice(0, 2)), inner)


def test_maps_are_whitened_with_the_coils_and_back(scan, maps, save, rng):
    matrix = (rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))).astype(np.complex64)
    white = replace(scan, whitening=matrix)
    found = open_coil_maps(save(maps), white, WHOLE).read(slice(0, 2))
    np.testing.assert_allclose(found[1, :, 4, 5], matrix @ maps[1, :, 4, 5], rtol=1e-4)
    np.testing.assert_allclose(as_stored(found, white), maps, rtol=1e-3, atol=1e-4)
    assert as_stored(maps, scan) is maps


@pytest.mark.parametrize(
    ("shape", "found"),
    [((4, 32, 20), "shape"), ((3, 16, 20), "shape"), ((3, 3, 32, 20), "shape"), ((3, 32, 21), "shape")],
)
@pytest.mark.parametrize("kind", ["npy", "h5"])
def test_maps_of_another_scan_are_refused(scan, save, shape, found, kind):
    path = save(np.ones(shape, np.complex64), kind)
    wanted = rf"expected sensitivities \(1 or 2, 3, 32, 20\).* found {found}"
    refused(lambda: open_coil_maps(path, scan, WHOLE), wanted)


@pytest.mark.parametrize("value", [np.nan, 0])
def test_values_that_cannot_be_used_are_refused(scan, maps, save, value):
    maps[1] = value
    found = open_coil_maps(save(maps), scan, WHOLE)
    found.read(slice(0, 1))
    with pytest.raises(ScanError, match="expected finite sensitivities"):
        found.read(slice(1, 2))


def test_several_sets_of_bart_are_refused(scan, tmp_path):
    """As `bart ecalib` writes them without `-m 1`."""
    path = save_array(tmp_path / "maps.cfl", np.ones((32, 20, 1, 3, 2)))
    with pytest.raises(ScanError, match="bart slice"):
        open_coil_maps(path, scan, WHOLE)
