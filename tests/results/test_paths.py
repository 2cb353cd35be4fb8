"""Files beside a result: only those that its record names are an earlier run's own."""

import json

import h5py
import numpy as np
import pytest

from mri_iahvae.errors import IahvaeError
from mri_iahvae.results.paths import optional_path, optional_paths, remove


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (json.dumps({"nifti": True, "gif": True}), {"a b.nii.gz", "a b_scales.gif"}),
        (json.dumps({"nifti": True, "gif": False}), {"a b.nii.gz"}),
        (json.dumps({"nifti": False}), set()),
        (None, set()),
        ("[]", set()),
        ("{", set()),
        ("[" * 100_000, set()),
        (np.arange(3), set()),
    ],
)
def test_the_record_names_them(tmp_path, options, names):
    path = tmp_path / "a b.h5"
    with h5py.File(path, "w", libver="latest") as file:
        if options is not None:
            file.attrs["options"] = options
    assert optional_paths(path) == {tmp_path / name for name in names}


def test_without_a_result_there_are_none(tmp_path):
    assert optional_paths(tmp_path / "none.h5") == set()
    (tmp_path / "text.h5").write_text("no HDF5")
    assert optional_paths(tmp_path / "text.h5") == set()


def test_removal(tmp_path):
    there, gone = optional_path(tmp_path / "a.h5", "gif"), optional_path(tmp_path / "a.h5", "nifti")
    there.write_bytes(b"GIF")
    remove({there, gone})
    assert not there.exists()
    there.mkdir()
    with pytest.raises(IahvaeError, match=r"a_scales\.gif: of an earlier run, cannot be removed: .*; "):
        remove({there})
