"""Synthetic data shared by all tests."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def kspace(rng):
    """complex64 (3, 20, 17): neither square nor even."""
    shape = (3, 20, 17)
    return (1e-5 * (rng.normal(size=shape) + 1j * rng.normal(size=shape))).astype(np.complex64)
