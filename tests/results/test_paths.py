"""Where results go; and files beside a result: only those that its record names are an earlier run's own."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from mri_iahvae.errors import IahvaeError, UsageError
from mri_iahvae.results.paths import (
    beside,
    files_beside,
    output_path,
    possible_names,
    remove,
    require_other,
    result_name,
)


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("a.h5", "a.h5"),
        ("a.HDF5", "a.HDF5"),
        ("a", "a"),
        ("a.2024", "a.2024"),
        ("a.mrd", "a.h5"),
        ("a.cfl", "a.h5"),
        ("a.hdr", "a.h5"),
        ("a.npy", "a.h5"),
        ("a.b.NII.GZ", "a.b.h5"),
    ],
)
def test_results_are_hdf5(tmp_path, source, result):
    assert result_name(Path(source)) == result
    assert output_path(tmp_path / "in" / source, tmp_path / "out") == tmp_path / "out" / result


def test_results_never_go_into_the_folder_of_an_input(tmp_path):
    """`a.h5` may be another scan, and the NIfTI of the result would be the input itself."""
    source = tmp_path / "in" / "scan.h5"
    source.parent.mkdir()
    source.write_text("data")
    (tmp_path / "link").symlink_to(source.parent)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scan.h5").hardlink_to(source)
    for folder in (source.parent, tmp_path / "in" / ".." / "in", tmp_path / "link", tmp_path / "out"):
        with pytest.raises(UsageError, match="overwrite an input"):
            output_path(source, folder)
    with pytest.raises(UsageError, match="overwrite an input"):
        output_path(tmp_path / "in" / "a.nii.gz", source.parent)
    with pytest.raises(IahvaeError, match="cannot be made"):
        output_path(tmp_path / "scan.h5", source / "folder")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (
            json.dumps({"nifti": True, "gif": True}),
            {"a b_kspace.png", "a b.nii.gz", "a b.json", "a b_scales.gif"},
        ),
        (json.dumps({"dicom": True, "gif": False}), {"a b_kspace.png", "a b_dicom", "a b_dicom/0001.dcm"}),
        (
            json.dumps({"contact_sheet": True, "figure_format": "pdf", "gif": True}),
            {"a b_kspace.pdf", "a b_slices.pdf", "a b_scales.gif"},
        ),
        (json.dumps({"figure_format": "/../../x", "gif": True}), set()),
        (json.dumps({"figure_format": ["png"], "gif": True}), set()),
        (None, set()),
        ("[]", set()),
        ("{", set()),
        ("[" * 100_000, set()),
        (np.arange(3), set()),
    ],
)
def test_the_record_names_what_an_earlier_run_wrote(tmp_path, options, names):
    path = tmp_path / "a b.h5"
    (tmp_path / "a b_dicom").mkdir()
    (tmp_path / "a b_dicom" / "0001.dcm").touch()
    with h5py.File(path, "w", libver="latest") as file:
        if options is not None:
            file.attrs["options"] = options
    assert files_beside(path) == {tmp_path / name for name in names}


def test_without_a_result_there_are_none(tmp_path):
    assert files_beside(tmp_path / "none.h5") == set()
    (tmp_path / "text.h5").write_text("no HDF5")
    assert files_beside(tmp_path / "text.h5") == set()


def test_removal(tmp_path):
    there, gone = beside(tmp_path / "a.h5", "gif"), beside(tmp_path / "a.h5", "nifti")
    there.write_bytes(b"GIF")
    remove({there, gone})
    assert not there.exists()
    there.mkdir()
    slices = beside(tmp_path / "a.h5", "dicom")
    slices.mkdir()
    for name in ("0001.dcm", "notes.txt"):
        (slices / name).touch()
    remove({slices, slices / "0001.dcm"})
    assert [path.name for path in slices.iterdir()] == ["notes.txt"]  # another program's
    (slices / "notes.txt").unlink()
    remove({slices})
    assert not slices.exists()
    with pytest.raises(IahvaeError, match=r"a_scales\.gif: of an earlier run, cannot be removed: .*; "):
        remove({there})


def test_names_of_results_that_would_meet():
    one, other = possible_names(Path("scan.npy")), possible_names(Path("a/scan_report.h5"))
    assert {"scan.h5", "scan_report.json", "scan.json", "scan_kspace.pdf"} <= one
    assert one & other == {"scan_report.json"}
    assert not one & possible_names(Path("scan2.h5"))


def test_what_a_result_is_made_from_is_not_overwritten(tmp_path):
    maps = tmp_path / "scan.h5"
    maps.touch()
    require_other(tmp_path / "other.h5", (None, maps, tmp_path / "missing"))
    with pytest.raises(UsageError, match=r"scan\.h5: the output would overwrite it"):
        require_other(tmp_path / "scan.h5", (None, maps))
