"""Lines that are averaged must agree: else they cancel, and noise is left."""

import numpy as np
import pytest

from mri_iahvae.scans.reader import Reading, open_scan
from tests.mrd_files import SHAPE, lines


@pytest.fixture
def head(rng):
    """k-space that is strong at the centre, and a function that adds noise to it."""
    y, x = np.mgrid[-12:12, -9:9]
    kspace = np.broadcast_to(100 * np.exp(-(y**2 + x**2) / 8), SHAPE)

    def noisy(factor=1.0):
        noise = rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE)
        return (factor * kspace + noise).astype(np.complex64)

    return noisy


def averaged(*repeats, count=True):
    return [line for number, one in enumerate(repeats) for line in lines(one, average=number * count)]


@pytest.mark.parametrize("count", [True, False])
def test_averages_of_opposite_sign_are_refused(refused, write, head, count):
    refused(write(averaged(head(), head(-1), count=count)), "averages that agree", "--select average=0")


@pytest.mark.parametrize(("factors", "left"), [((1, 1, 1, -1), "25%"), ((1, np.exp(2j)), "29%")])
def test_averages_that_cancel_in_part_are_named(write, head, factors, left):
    (warning,) = open_scan(write(averaged(*map(head, factors)))).warnings
    assert warning.startswith(f"averages contradict each other, {left} of the energy")


@pytest.mark.parametrize("factors", [(1, 1), (1, 0.5), (1, np.exp(0.5j)), (0, 0), (0, 0, 0, 0)])
def test_averages_that_agree_and_noise_alone_are_not(write, head, factors):
    assert open_scan(write(averaged(*map(head, factors)))).warnings == ()


def test_of_several_averages_one_can_be_chosen(write, head):
    path = write(averaged(first := head(), head(-1)))
    np.testing.assert_array_equal(open_scan(path, Reading(select={"average": 0})).read_coils(0)[0], first[0])
