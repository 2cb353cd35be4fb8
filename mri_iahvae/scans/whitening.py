"""Prewhitening: coils made independent and equally noisy, by the covariance of their noise."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from mri_iahvae.scans.scan import ChangedSource, Source

LEAST = 4
"""Samples per coil: with fewer the eigenvalues of a covariance are far from those of its noise."""

_SINGULAR = 1e-6  # smallest eigenvalue of the coils' correlations, whose mean is 1


def whitened(source: Source, matrix: NDArray[np.complex64]) -> ChangedSource:
    """Arrays of a source, the matrix (coils, coils) applied to the coils."""
    return ChangedSource(source, partial(mixed, matrix))


def mixed(matrix: NDArray, coils: NDArray) -> NDArray[np.complex64]:
    """A matrix (coils, coils) times coils (..., coils, height, width)."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by the readers
        return np.moveaxis(np.tensordot(matrix, coils, (1, -3)), 0, -3).astype(np.complex64)


def whitening(covariance: NDArray[np.complex128]) -> tuple[NDArray[np.complex64], float] | None:
    """The matrix that whitens coils, by the covariance (coils, coils) of their noise, and the level that it leads to.

    The product of the matrix with the coils has independent noise of one level, the geometric mean of what they had per
    real and imaginary part. None where the covariance is not finite or, but for rounding, singular.
    """
    variance = np.diagonal(covariance).real
    if not (np.isfinite(covariance).all() and (variance > 0).all()):
        return None
    unit = np.sqrt(variance)
    correlation = covariance / np.outer(unit, unit)  # gains apart, which may differ by orders of magnitude
    if np.linalg.eigvalsh(correlation)[0] < _SINGULAR:
        return None
    sigma = float(np.exp(np.log(variance / 2).mean() / 2))
    matrix = np.sqrt(2) * sigma * np.linalg.inv(np.linalg.cholesky(correlation)) / unit
    return matrix.astype(np.complex64), sigma
