import xml.etree.ElementTree as ET

import h5py
import numpy as np
import pytest
from fastmri.data.mri_data import SliceDataset

from mri_iahvae.errors import IahvaeError
from mri_iahvae.results.hdf5 import result_file, write_scan
from mri_iahvae.scans.reader import open_scan


def test_scan_round_trip(tmp_path, kspace, rng):
    path = tmp_path / "new" / "folder" / "scan.h5"
    mask = rng.random(17) < 0.5
    images = rng.random((3, 20, 17)).astype(np.float32)
    write_scan(
        path, kspace, mask=mask, reference=images, noise_sigma=0.25, acquisition="AXT1",
        attributes={"acceleration": 4},
    )  # fmt: skip
    scan = open_scan(path)
    np.testing.assert_array_equal(scan.read(slice(None)), np.where(mask, kspace, 0))
    np.testing.assert_array_equal(scan.read_reference(slice(None)), images)
    np.testing.assert_array_equal(scan.mask, np.tile(mask, (20, 1)))
    assert scan.mask_source == "file"
    assert scan.noise_sigma.tolist() == [0.25] * 3
    assert scan.attributes["max"] == images.max()
    assert scan.attributes["norm"] == pytest.approx(np.sqrt((images.astype(float) ** 2).sum()))
    assert scan.attributes["acquisition"] == "AXT1"
    assert scan.attributes["acceleration"] == 4
    assert scan.header.encoded == scan.header.recon == (20, 17)
    assert scan.header.padding == (0, 17)
    assert scan.warnings == ()
    with h5py.File(path) as file:
        assert file["kspace"].dtype == np.complex64
        assert not file["kspace"][...][..., ~mask].any()
        assert ET.fromstring(file["ismrmrd_header"][()]).tag == "{http://www.ismrm.org/ISMRMRD}ismrmrdHeader"  # noqa: S314


def test_the_reference_reader_of_fastmri_reads_it(tmp_path, kspace):
    write_scan(tmp_path / "scan.h5", kspace, reference=np.abs(kspace))
    dataset = SliceDataset(tmp_path, challenge="singlecoil")
    values, _, target, attrs, name, number = dataset[1]
    assert len(dataset) == 3
    assert (name, number) == ("scan.h5", 1)
    np.testing.assert_array_equal(values, kspace[1])
    np.testing.assert_array_equal(target, np.abs(kspace[1]))
    assert attrs["recon_size"] == (20, 17, 1)
    assert (attrs["padding_left"], attrs["padding_right"]) == (0, 17)


def test_reconstruction_round_trip(tmp_path, kspace):
    path = tmp_path / "scan.h5"
    with result_file(path, 3) as result:
        result.append(reconstruction=np.abs(kspace[:2]), image=kspace[:2])
        result.append(reconstruction=np.abs(kspace[2:]), image=kspace[2:])
        assert not path.exists()
        np.testing.assert_array_equal(result.dataset("reconstruction"), np.abs(kspace))
        result.finish({"seed": 3, "method": "hybrid"}, factor=np.arange(3))
    with h5py.File(path) as file:
        assert set(file) == {"reconstruction", "image", "factor"}
        assert file["reconstruction"].dtype == np.float32
        assert file["image"].dtype == np.complex64
        np.testing.assert_array_equal(file["image"], kspace)
        assert dict(file.attrs) == {"seed": 3, "method": "hybrid"}


def test_non_finite_arrays_are_refused(tmp_path, kspace):
    path = tmp_path / "scan.h5"
    kspace[0, 0, 0] = np.nan
    with pytest.raises(IahvaeError, match="'kspace'"):
        write_scan(path, kspace)
    with pytest.raises(IahvaeError, match="'image'"), result_file(path, 3) as result:  # noqa: PT012
        result.append(image=kspace[1:])
        result.append(image=kspace[:1])
    assert list(tmp_path.iterdir()) == []
