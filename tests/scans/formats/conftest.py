"""ISMRMRD files."""

import numpy as np
import pytest

from tests.mrd_files import FULL, SHAPE, write_mrd


@pytest.fixture
def raw(rng):
    return (rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE)).astype(np.complex64)


@pytest.fixture
def write(tmp_path):
    return lambda acquisitions, header=FULL, name="raw.h5": write_mrd(tmp_path / name, acquisitions, header)
