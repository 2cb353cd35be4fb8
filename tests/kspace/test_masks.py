import random
from typing import get_args

import numpy as np
import pytest
import torch
from fastmri.data import subsample

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.masks import (
    ColumnSampling,
    MaskType,
    column_mask,
    column_sampling,
    true_acceleration,
)

KINDS = get_args(MaskType)
WIDTHS = [64, 368, 371]


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(kind):
    first = column_mask(368, 4, 0.08, kind, "file1000001.h5")
    assert torch.equal(first, column_mask(368, 4, 0.08, kind, "file1000001.h5"))
    others = [column_mask(368, 4, 0.08, kind, f"file{i}.h5") for i in range(8)]
    assert any(not torch.equal(first, other) for other in others)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("acceleration", "center_fraction"), [(4, 0.08), (8, 0.04)])
def test_the_centre_is_always_measured(kind, width, acceleration, center_fraction):
    half = (round(width * center_fraction) - 1) // 2
    for i in range(10):
        mask = column_mask(width, acceleration, center_fraction, kind, f"scan {i}")
        assert mask.shape == (width,)
        assert mask.dtype == torch.bool
        assert mask[width // 2 - half : width // 2 + half + 1].all()


@pytest.mark.parametrize("kind", ["random", "equispaced"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("acceleration", "center_fraction"), [(4, 0.08), (8, 0.04)])
def test_the_nominal_acceleration_is_kept_on_average(kind, width, acceleration, center_fraction):
    masks = [column_mask(width, acceleration, center_fraction, kind, f"scan {i}") for i in range(50)]
    mean = torch.stack(masks).double().mean() * width
    assert mean == pytest.approx(width / acceleration, rel=0.06)


@pytest.mark.parametrize("width", WIDTHS)
def test_magic_masks_measure_the_centre_besides(width):
    mask = column_mask(width, 4, 0.08, "magic", "scan")
    assert int(mask.sum()) == pytest.approx(width / 4 + 0.75 * 0.08 * width, abs=2)


def test_a_higher_acceleration_measures_less():
    shares = [
        torch.stack([column_mask(368, r, 0.04, "random", f"{i}") for i in range(20)]).double().mean()
        for r in (2, 4, 8)
    ]
    assert shares[0] > shares[1] > shares[2]


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("random", subsample.RandomMaskFunc),
        ("equispaced", subsample.EquispacedMaskFractionFunc),
        ("magic", subsample.MagicMaskFunc),
    ],
)
def test_masks_are_fastmri_s_with_the_file_name_as_seed(kind, function):
    """As its `UnetDataTransform` seeds them."""
    name = "file1000001.h5"
    expected, _ = function([0.04], [8])((1, 368, 2), seed=tuple(ord(letter) for letter in name))
    assert torch.equal(column_mask(368, 8, 0.04, kind, name), expected[0, :, 0] == 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("center_fraction", [0.25, 0.3, 1.0])
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
    assert torch.equal(found.mask(368, "scan"), column_mask(368, 4, 0.08, "random", "scan"))
    assert column_sampling(2, 0.9, "magic") == ColumnSampling(2, 0.9, "magic")
    assert column_sampling(None) is None


@pytest.mark.parametrize("details", [{"center_fraction": 0.08}, {"mask_type": "random"}])
def test_details_without_an_acceleration_are_refused(details):
    with pytest.raises(UsageError, match="give --acceleration too"):
        column_sampling(None, **details)


@pytest.mark.parametrize(
    ("acceleration", "center_fraction"), [(1, None), (0, 0.1), (4, 0.0), (4, 1.0), (4, -0.1)]
)
def test_a_sampling_that_cannot_be_is_refused(acceleration, center_fraction):
    with pytest.raises(UsageError, match="expected"):
        column_sampling(acceleration, center_fraction)


@pytest.mark.parametrize("kind", KINDS)
def test_global_random_states_stay_untouched(kind):
    def states():
        numpy_state = np.random.get_state()[1].tobytes()  # noqa: NPY002 (the legacy global is what is watched)
        return random.getstate(), numpy_state, torch.get_rng_state().numpy().tobytes()

    before = states()
    column_mask(64, 4, 0.08, kind, "scan")
    assert states() == before


def test_true_acceleration_counts_bins():
    mask = torch.zeros(3, 8, dtype=torch.bool)
    assert true_acceleration(mask) == float("inf")
    mask[:, :2] = True
    assert true_acceleration(mask) == 4.0
    assert true_acceleration(torch.ones(8, dtype=torch.bool)) == 1.0
