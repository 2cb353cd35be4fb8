"""The JSON file beside a NIfTI volume."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from mri_iahvae.results.report import Record
from mri_iahvae.results.sidecar import write_sidecar
from mri_iahvae.scans.reader import open_scan
from tests.scans.test_protocol import HEADER

SETTINGS = {
    "task": "reconstruct",
    "method": "hybrid",
    "fraction_measured": 0.25,
    "true_acceleration": 4.0,
    "mask": "random columns 4x",
    "model": "small",
    "model_sha256": "0123456789abcdef",
    "version": "9.9",
    "options": {"seed": 0},
}


@pytest.fixture
def written(tmp_path):
    def write(path):
        none = np.zeros(1)
        record = Record(Path("folder/scan.h5"), 1, SETTINGS, none, none, {}, none > 0, {})
        write_sidecar(tmp_path / "a.json", record, open_scan(path))
        return json.loads((tmp_path / "a.json").read_text())

    return write


def test_it_has_the_header_s_fields_and_how_the_image_came_about(make_scan, written):
    path = make_scan(voxel=(3.0, 1.0, 1.5))
    with h5py.File(path, "r+") as file:
        own = file["ismrmrd_header"][()].decode()
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = own.replace("</ismrmrdHeader>", HEADER.partition('ISMRMRD">')[2])
    found = written(path)
    assert found["RepetitionTime"] == 2.8
    assert found["SliceThickness"] == 3
    assert found["Sources"] == ["scan.h5"]
    assert found["GeneratedBy"] == [{"Name": "mri-iahvae", "Version": "9.9"}]
    how = "(mri-iahvae 9.9, method hybrid, model SHA-256 01234567) from 25.0% of k-space."
    assert found["Description"].startswith(f"Reconstructed with a learned prior {how}")
    assert found["Reconstruction"]["true_acceleration"] == 4
    assert "options" not in found["Reconstruction"]
    assert not any("Doe" in str(value) or "hospital" in str(value) for value in found.values())


def test_without_a_header_nothing_is_said_of_the_scanner(tmp_path, written, kspace):
    np.save(tmp_path / "scan.npy", kspace)
    assert set(written(tmp_path / "scan.npy")) == {"Description", "Sources", "GeneratedBy", "Reconstruction"}
