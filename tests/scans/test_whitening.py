"""Prewhitening: noise becomes independent and equally strong, and nothing is lost."""

import numpy as np
import pytest

from mri_iahvae.scans.whitening import mixed, whitening


def white(rng, *shape):
    """Complex noise of variance 2, that is 1 per part."""
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def test_the_covariance_becomes_the_identity_times_the_level(rng):
    samples = white(rng, 4, 4) @ white(rng, 4, 500)
    matrix, sigma = whitening(np.cov(samples, bias=True))
    found = np.cov(matrix @ samples, bias=True) / (2 * sigma**2)
    np.testing.assert_allclose(found, np.eye(4), atol=1e-5)


def test_coils_are_mixed_at_each_bin_and_back(rng):
    matrix, coils = white(rng, 3, 3), white(rng, 2, 3, 5, 4)
    found = mixed(matrix, coils)
    np.testing.assert_allclose(found[1, :, 2, 3], matrix @ coils[1, :, 2, 3], rtol=1e-5)
    np.testing.assert_allclose(mixed(np.linalg.inv(matrix), found), coils, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unit", [1e-30, 1, 1e30])
def test_gains_may_differ_and_units_do_not_matter(unit, rng):
    """Noise of coils whose gains lie apart by 10^8; the matrix has the units of none."""
    gains = unit * 10.0 ** np.array([0, 4, 8])
    mixing = gains[:, None] * (np.eye(3) + np.tril(white(rng, 3, 3), -1))
    matrix, sigma = whitening(2 * mixing @ mixing.conj().T)
    white_again = matrix.astype(complex) @ mixing
    np.testing.assert_allclose(white_again @ white_again.conj().T, sigma**2 * np.eye(3), atol=1e-5 * sigma**2)
    levels = np.linalg.norm(mixing, axis=1)
    np.testing.assert_allclose(sigma, np.prod(levels ** (1 / 3)), rtol=1e-6)
