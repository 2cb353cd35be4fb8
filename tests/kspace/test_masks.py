import random
from typing import get_args

import numpy as np
import pytest
import torch
from fastmri.data import subsample

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.masks import ColumnSampling, MaskType, column_mask, column_sampling, true_acceleration

KINDS = get_args(MaskType)
SIZES = [(64, 4, 0.08), (368, 4, 0.08), (371, 8, 0.04)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "acceleration", "fraction"), SIZES)
def test_the_centre_is_always_measured_and_the_nominal_acceleration_kept_on_average(
    kind, width, acceleration, fraction
):
    masks = np.stack([column_mask(width, acceleration, fraction, kind, f"scan {i}") for i in range(50)])
    assert masks.shape == (50, width)
    assert masks.dtype == bool
    half = (round(width * fraction) - 1) // 2
    assert masks[:, width // 2 - half : width // 2 + half + 1].all()
    wanted = width / acceleration
    if kind == "magic":  # which measures the centre besides
        wanted += (1 - 1 / acceleration) * fraction * width
    assert masks.sum(axis=1).mean() == pytest.approx(wanted, rel=0.06, abs=2 * (kind == "magic"))


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("random", subsample.RandomMaskFunc),
        ("equispaced", subsample.EquispacedMaskFractionFunc),
        ("magic", subsample.MagicMaskFunc),
    ],
)
def test_masks_are_fastmri_s_with_the_file_name_as_seed(kind, function):
    """As its `UnetDataTransform` seeds them; global random states stay untouched."""

    def states():
        numpy_state = np.random.get_state()[1].tobytes()  # noqa: NPY002 (the legacy global is what is watched)
        return random.getstate(), numpy_state, torch.get_rng_state().numpy().tobytes()

    name = "file1000001.h5"
    expected, _ = function([0.04], [8])((1, 368, 2), seed=tuple(ord(letter) for letter in name))
    before = states()
    np.testing.assert_array_equal(column_mask(368, 8, 0.04, kind, name), expected[0, :, 0] == 1)
    assert states() == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("center_fraction", [0.25, 1.0])
def test_a_centre_that_uses_up_every_column_is_refused(kind, center_fraction):
    with pytest.raises(UsageError, match="at acceleration 4: lower one"):
        column_mask(64, 4, center_fraction, kind, "scan")


def test_a_centre_that_leaves_one_column_to_draw_is_taken():
    """Of 64 columns at 4x 16 are measured, 15 of them in the centre."""
    assert column_mask(64, 4, 15 / 64, "equispaced", "scan")[32 - 7 : 32 + 8].all()


def test_a_sampling_is_completed_with_defaults():
    found = column_sampling(4)
    assert found == ColumnSampling(4, 0.08, "random")
    assert column_sampling(8) == ColumnSampling(8, 0.04, "random")
    assert str(found) == "random columns 4x, centre 0.08"
    np.testing.assert_array_equal(found.mask(368, "scan"), column_mask(368, 4, 0.08, "random", "scan"))
    assert column_sampling(2, 0.9, "magic") == ColumnSampling(2, 0.9, "magic")
    assert column_sampling(None) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((None, 0.08), "give --acceleration too"),
        ((None, None, "random"), "give --acceleration too"),
        ((1, None), "expected"),
        ((4, 0.0), "expected"),
        ((4, 1.0), "expected"),
    ],
)
def test_a_sampling_that_cannot_be_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        column_sampling(*options)


def test_true_acceleration_counts_bins():
    mask = np.zeros((3, 8), bool)
    assert true_acceleration(mask) is None
    mask[:, :2] = True
    assert true_acceleration(mask) == 4.0
