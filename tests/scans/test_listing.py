import os
from pathlib import Path

import pytest

from mri_iahvae.errors import UsageError
from mri_iahvae.scans.listing import hdf5_files, scan_files
from mri_iahvae.scans.reader import SCAN_SUFFIXES


@pytest.fixture
def folder(tmp_path):
    """Scans, and what a folder holds beside them."""
    for name in ("b.h5", "a.HDF5", ".hidden.h5", "._b.h5", "c.h5.part", "notes.txt", "b_kspace.png"):
        (tmp_path / name).touch()
    (tmp_path / "deeper.h5").mkdir()
    (tmp_path / "deeper.h5" / "d.h5").touch()
    (tmp_path / "gone.h5").symlink_to(tmp_path / "nowhere")
    return tmp_path


def test_a_folder_means_its_scans_by_name(folder):
    assert scan_files([folder]) == [folder / "a.HDF5", folder / "b.h5"]


def test_numbers_in_names_count_as_such_and_a_folder_of_frames_is_one_input(tmp_path):
    names = ["1.h5", "frame2.h5", "frame10.h5", "frame010b.h5", "x.h5"]
    for name in reversed(names):
        (tmp_path / name).touch()
    assert [path.name for path in scan_files([tmp_path])] == names
    assert scan_files([tmp_path], series=True) == [tmp_path]


def test_hdf5_files_of_a_folder(folder):
    """A link that leads nowhere is among them: data that are lacking must not go unnoticed."""
    (folder / "volume.nii.gz").touch()
    assert hdf5_files(folder) == [folder / "a.HDF5", folder / "b.h5", folder / "gone.h5"]
    assert hdf5_files(folder / "nowhere") == []


def test_a_bart_pair_is_one_scan_by_either_file(folder):
    header, data = folder / "scan.hdr", folder / "scan.cfl"
    assert scan_files([header]) == [data]
    assert scan_files([header, folder / "b.h5", data]) == [data, folder / "b.h5"]


def test_a_folder_of_folders_is_refused_with_the_first_that_holds_scans(folder):
    upper = folder / "upper"
    for name in ("empty", "second", "third"):
        (upper / name).mkdir(parents=True)
    told = r"upper: expected a folder with scans \(\*\.h5, .*, found none in it; check the path$"
    with pytest.raises(UsageError, match=told):
        scan_files([upper])
    for name in ("second", "third"):
        (upper / name / "a.h5").touch()
    told = r"found none in it; folders in it are not searched: give .*upper/second$"
    with pytest.raises(UsageError, match=told):
        scan_files([upper])


def test_a_file_that_is_meant_twice_counts_once(folder, monkeypatch):
    first, second = folder / "a.HDF5", folder / "b.h5"
    assert scan_files([second, folder, second]) == [second, first]
    (alias := folder.parent / "alias").symlink_to(folder)
    assert scan_files([folder, alias, folder / "deeper.h5" / ".." / "b.h5"]) == [first, second]
    monkeypatch.chdir(folder)
    assert scan_files([Path("b.h5"), folder / "b.h5"]) == [Path("b.h5")]


def test_two_links_to_one_file_are_two_scans(folder):
    (folder / "c.h5").symlink_to(folder / "b.h5")
    assert scan_files([folder / "b.h5", folder / "c.h5"]) == [folder / "b.h5", folder / "c.h5"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_folder_that_cannot_be_read(folder):
    (folder / "deeper.h5").chmod(0)
    with pytest.raises(UsageError, match="Permission denied"):
        scan_files([folder / "deeper.h5"])


def test_folders_stand_for_formats_that_say_what_they_hold():
    assert SCAN_SUFFIXES == (".h5", ".hdf5", ".mrd", ".nii", ".nii.gz")
