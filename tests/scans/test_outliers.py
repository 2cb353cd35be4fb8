"""Spikes: found wherever they lie, and nothing else taken for one."""

import numpy as np
import pytest

from mri_iahvae.scans.outliers import Outlier, outliers, outliers_text, without_outliers


@pytest.fixture
def heads(head_kspace, rng):
    """k-space of a head, (1, 64, 64), noise at 1 % of its RMS, and a mask of columns."""
    kspace = head_kspace(1, 64)
    level = 0.01 * np.sqrt(np.square(np.abs(kspace)).mean())
    return kspace + level * (rng.normal(size=kspace.shape) + 1j * rng.normal(size=kspace.shape))


@pytest.mark.parametrize("strength", [0.3, 1, 10])
@pytest.mark.parametrize("where", [(0, 0), (50, 21), (20, 40), (32, 63)])
@pytest.mark.parametrize("sampling", ["full", "columns", "coils"])
def test_a_spike_is_found(heads, strength, where, sampling):
    columns = np.arange(64) % 3 == where[1] % 3
    columns[26:38] = True
    kspace = np.where(columns | (sampling == "full"), heads, 0)
    if sampling == "coils":
        kspace = np.concatenate([kspace, 0.5j * kspace])
    kspace[0][where] += strength * np.abs(heads).max()
    assert outliers(kspace, 7) == [Outlier(7, *where)]


def test_neighbours_that_arc_together_are_found(heads):
    heads[0, 10:12, 50] = 1j * np.abs(heads).max()
    assert outliers(heads, 0) == [(0, 10, 50), (0, 11, 50)]


@pytest.mark.parametrize("kind", ["head", "noise", "columns of noise", "point", "uniform", "zeros"])
def test_nothing_else_is_taken_for_one(heads, rng, kind):
    noise = rng.normal(size=(1, 128, 128)) + 1j * rng.normal(size=(1, 128, 128))
    uniform = 1e-3 * noise
    uniform[0, 64, 64] = 1
    kspace = {
        "head": heads,
        "noise": noise,
        "columns of noise": np.where(np.arange(128) % 4 == 0, noise, 0),
        "point": np.exp(1j * np.arange(64)) * np.ones((1, 64, 64)),
        "uniform": uniform,
        "zeros": 0 * heads,
    }[kind]
    assert outliers(kspace, 0) == []


def test_they_are_taken_out_of_the_mask():
    masks = np.ones((3, 6, 5), bool)
    found = [Outlier(1, 2, 3)]
    bins = without_outliers(masks, found, columns=False)
    assert np.argwhere(~bins).tolist() == [[1, 2, 3]]
    assert (~without_outliers(masks, found, columns=True)).sum() == 6
    assert masks.all()
    assert outliers_text(found) == "a bin is far too strong, as a spike leaves it (slice 1, row 2, column 3)"
    assert "7 bins are" in outliers_text(found * 7)
    assert "and 3 more" in outliers_text(found * 7)
