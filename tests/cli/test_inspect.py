"""`mri-iahvae inspect`, as a user runs it."""

import json

import h5py
import numpy as np
import pytest


@pytest.fixture
def inspect(tool):
    return lambda *args: tool("inspect", *args)


@pytest.fixture
def scan(make_scan):
    """Head-like slices, twice undersampled along the columns of which 6 are padding, with noise."""
    mask = np.zeros(64, bool)
    mask[4:62:4] = mask[28:36] = True
    return make_scan(
        size=64, noise=0.1, mask=mask, reference=True, acquisition="AXT2", attributes={"patient_id": "0123"}
    )


def test_what_a_person_reads(inspect, scan):
    result = inspect(scan)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == f"{scan}: 2 slices, 64 x 64, single-coil"
    facts = {line.split()[0]: line[14:] for line in lines[1:]}
    assert facts["sampling"] == (
        "21 of 64 columns, 9 around the centre (0.141): true acceleration 3.05x (from the file's mask)"
    )
    assert facts["header"].startswith("encoded 64 x 64, image 64 x 64")
    sigma, source = facts["noise"].split()[1], facts["noise"].split()[-1]
    assert float(sigma) == pytest.approx(1e-6, rel=0.2)
    assert source == "(estimate)"
    assert facts["reference"] == "64 x 64"
    assert facts["acquisition"] == "AXT2"
    assert facts["reconstruct"] == (
        "the 32 x 32 model completes what is missing of the central 32 x 32, the guide what is missing "
        "beyond; image 64 x 64; k-space 32.8% measured, 67.2% completed, 0.0% zero"
    )
    assert "0123" not in result.output


@pytest.mark.parametrize(
    ("side", "words"),
    [(32, "everything measured"), (0, "nothing measured"), (8, "64 of 1024 bins, the central 8 x 8 whole")],
)
def test_sampling_in_words(inspect, make_scan, side, words):
    mask = np.zeros((32, 32), bool)
    mask[16 - side // 2 : 16 + side // 2, 16 - side // 2 : 16 + side // 2] = True
    assert f"\n  sampling    {words}" in inspect(make_scan(mask=mask)).stdout


def test_json_has_what_the_text_says(inspect, scan):
    result = inspect(scan, "--json")
    report = json.loads(result.stdout)
    assert report["failed"] == []
    (found,) = report["files"]
    assert found["input"] == str(scan)
    assert found["mask"]["true_acceleration"] == pytest.approx(64 / 21)
    assert found["mask"]["centre"] == 9
    assert sum(found["reconstruct"]["fractions"].values()) == pytest.approx(1)
    assert found["reference"] == [64, 64]
    assert "0123" not in result.stdout


def spoil(path):
    with h5py.File(path, "r+") as file:
        file["kspace"][1, 3, 3] = np.nan
    return path


def test_one_file_that_cannot_be_used(inspect, make_scan, tmp_path):
    (tmp_path / "text.h5").write_text("no scan")
    for path, words in ((tmp_path / "text.h5", "readable HDF5"), (spoil(make_scan()), "slice 1; set what")):
        result = inspect(path)
        assert result.exit_code == 1
        assert "note:" not in result.stdout
        assert result.stderr.startswith(f"Error: {path}: expected ")
        assert words in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_folder_with_one_that_cannot_be_used(inspect, make_scan, tmp_path):
    good, bad = make_scan("a.h5"), spoil(make_scan("b.h5"))
    (tmp_path / "c.hdf5").write_text("no scan")
    result = inspect(tmp_path)
    assert result.exit_code == 3
    named = [line.partition(":")[0] for line in result.stdout.splitlines() if line[0] != " "]
    assert named == [str(good), str(bad)]  # what b.h5 holds is known in spite of its values
    lines = result.stderr.splitlines()
    assert [line.split(": ")[:2] for line in lines[:2]] == [
        ["Error", str(bad)],
        ["Error", str(tmp_path / "c.hdf5")],
    ]
    assert lines[2:] == ["3 files: 1 done, 2 failed"]
    report = json.loads(inspect(tmp_path, "--json").stdout)
    assert [(file["input"], file["usable"]) for file in report["files"]] == [
        (str(good), True),
        (str(bad), False),
    ]
    assert [failure["input"] for failure in report["failed"]] == [str(bad), str(tmp_path / "c.hdf5")]
    assert inspect(bad, tmp_path / "c.hdf5").exit_code == 1


def test_wrong_usage(inspect, make_scan, tmp_path):
    (tmp_path / "empty").mkdir()
    for words, *args in (
        ("INPUT",),
        ("expected a folder with scans", tmp_path / "empty"),
        ("none.h5' does not exist", tmp_path / "none.h5"),
        ("--checkpoint x", make_scan(), "--checkpoint", "x"),
    ):
        result = inspect(*args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert words in result.stderr
