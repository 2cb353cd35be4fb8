import numpy as np
import pytest

from mri_iahvae.kspace.centre_crop import centre_block
from mri_iahvae.kspace.sampling_pattern import Pattern, sampling_pattern


def columns(width, *measured, height=6):
    mask = np.zeros((height, width), bool)
    mask[:, list(measured)] = True
    return mask


def test_everything_and_nothing():
    assert sampling_pattern(np.ones((4, 7), bool)) == Pattern("full", 7, 7, 7, 1)
    assert sampling_pattern(np.zeros((4, 7), bool)) == Pattern("nothing", 0, 28, 0, None)


@pytest.mark.parametrize(
    ("measured", "centre"),
    [((3, 4, 5), 3), ((0, 3, 4, 6), 2), ((4,), 1), ((0, 7), 0), ((0, 1, 2, 3), 0), ((4, 5, 6, 7), 4)],
)
@pytest.mark.parametrize("count", [8, 9])
def test_lines_around_the_centre(measured, centre, count):
    """Of 8 and of 9 lines the centre is line 4."""
    mask, wanted = columns(count, *measured), (len(measured), count, centre, count / len(measured))
    assert sampling_pattern(mask) == Pattern("columns", *wanted)
    assert sampling_pattern(mask.T) == Pattern("rows", *wanted)


@pytest.mark.parametrize("shape", [(16, 16), (15, 16), (16, 13), (13, 15)])
@pytest.mark.parametrize("side", [0, 1, 2, 5, 12])
def test_bins_around_the_centre(shape, side, rng):
    mask = np.zeros(shape, bool)
    mask[centre_block(shape[0], side), centre_block(shape[1], side)] = True
    outside = ~np.zeros(shape, bool)
    outside[centre_block(shape[0], side + 1), centre_block(shape[1], side + 1)] = False
    mask |= outside & (rng.random(shape) < 0.4)
    assert sampling_pattern(mask) == Pattern("bins", mask.sum(), mask.size, side, mask.size / mask.sum())


def test_padding_does_not_count():
    mask = columns(12, *range(2, 9))
    assert sampling_pattern(mask, (2, 9)) == Pattern("full", 7, 7, 7, 1)
    mask[:, 3] = False
    assert sampling_pattern(mask, (2, 9)) == Pattern("columns", 6, 7, 5, 7 / 6)
    assert sampling_pattern(mask, (6, 12)).centre == 3  # from DC on


@pytest.mark.parametrize("acquired", [(7, 12), (2, 6), (2, 5)])
def test_where_dc_was_not_acquired_there_is_no_centre(acquired):
    found = sampling_pattern(columns(12, *range(12)), acquired)
    assert (found.kind, found.total, found.centre) == ("full", acquired[1] - acquired[0], 0)
