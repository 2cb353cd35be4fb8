import numpy as np
import pytest
import torch

from mri_iahvae.kspace.bands import block
from mri_iahvae.kspace.masks import column_mask, true_acceleration
from mri_iahvae.kspace.sampling_pattern import sampling_pattern


def columns(width, *measured, height=6):
    mask = np.zeros((height, width), bool)
    mask[:, list(measured)] = True
    return mask


def test_everything_and_nothing():
    full = sampling_pattern(np.ones((4, 7), bool))
    assert (full.kind, full.measured, full.total, full.centre, full.true_acceleration) == ("full", 7, 7, 7, 1)
    none = sampling_pattern(np.zeros((4, 7), bool))
    assert (none.kind, none.measured, none.centre, none.true_acceleration) == ("nothing", 0, 0, None)


@pytest.mark.parametrize(
    ("measured", "centre"),
    [((3, 4, 5), 3), ((0, 3, 4, 6), 2), ((4,), 1), ((0, 7), 0), ((0, 1, 2, 3), 0), ((4, 5, 6, 7), 4)],
)
def test_columns_around_the_centre(measured, centre):
    """Of 8 columns the centre is column 4."""
    found = sampling_pattern(columns(8, *measured))
    assert (found.kind, found.measured, found.total, found.centre) == ("columns", len(measured), 8, centre)
    assert found.true_acceleration == 8 / len(measured)


@pytest.mark.parametrize("width", [64, 368, 371])
def test_columns_of_fastmri(width):
    mask = column_mask(width, 4, 0.08, "random", "scan.h5")
    found = sampling_pattern(np.tile(mask.numpy(), (5, 1)))
    assert found.kind == "columns"
    assert found.centre >= round(0.08 * width)
    assert found.true_acceleration == pytest.approx(true_acceleration(mask))


@pytest.mark.parametrize(("measured", "centre"), [((3, 4, 5, 8), 3), ((1, 2, 3), 0), ((0, 4, 5, 6), 3)])
def test_rows(measured, centre):
    """Of 9 rows the centre is row 4."""
    found = sampling_pattern(columns(9, *measured).T)
    assert (found.kind, found.measured, found.total, found.centre) == ("rows", len(measured), 9, centre)
    assert found.true_acceleration == 9 / len(measured)


@pytest.mark.parametrize("shape", [(16, 16), (15, 16), (16, 13), (13, 15)])
@pytest.mark.parametrize("side", [0, 1, 2, 5, 8, 12])
def test_bins_around_the_centre(shape, side):
    rng = np.random.default_rng(0)
    mask = np.zeros(shape, bool)
    mask[block(shape[0], side), block(shape[1], side)] = True
    outside = ~np.zeros(shape, bool)
    outside[block(shape[0], side + 1), block(shape[1], side + 1)] = False
    mask |= outside & (rng.random(shape) < 0.4)
    found = sampling_pattern(mask)
    assert (found.kind, found.measured, found.total) == ("bins", mask.sum(), mask.size)
    assert found.centre == side


def test_padding_counts_for_nothing():
    mask = columns(12, *range(2, 9))
    full = sampling_pattern(mask, (2, 9))
    assert (full.kind, full.measured, full.total, full.centre, full.true_acceleration) == ("full", 7, 7, 7, 1)
    mask[:, 3] = False
    found = sampling_pattern(mask, (2, 9))
    assert (found.kind, found.measured, found.total, found.centre) == ("columns", 6, 7, 5)
    assert sampling_pattern(mask, (6, 12)).centre == 3  # from DC on
    assert torch.tensor(found.true_acceleration) == 7 / 6


@pytest.mark.parametrize("acquired", [(7, 12), (2, 6), (2, 5)])
def test_where_dc_was_not_acquired_there_is_no_centre(acquired):
    found = sampling_pattern(columns(12, *range(12)), acquired)
    assert (found.kind, found.total, found.centre) == ("full", acquired[1] - acquired[0], 0)
