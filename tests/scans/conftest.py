"""What all readers' tests check of a refusal."""

import re

import h5py
import pytest

from mri_iahvae.scans.reader import open_scan
from tests import refusals


@pytest.fixture
def refused():
    """Checks that a file is refused in one line, which names it, what was expected, and what was found."""

    def check(path, *patterns):
        named = re.escape(str(path.with_suffix("")))
        refusals.refused(
            lambda: open_scan(path).read_coils(slice(None)), named, "expected", "found", *patterns
        )

    return check


@pytest.fixture
def write_hdf5(tmp_path):
    """Writes datasets and attributes with h5py alone, independently of the project's writer."""

    def write_file(attrs=None, **datasets):
        with h5py.File(tmp_path / "scan.h5", "w") as file:
            for name, value in datasets.items():
                file[name] = value
            file.attrs.update(attrs or {})
        return tmp_path / "scan.h5"

    return write_file
