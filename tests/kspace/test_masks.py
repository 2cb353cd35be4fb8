import random
from typing import get_args

import numpy as np
import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.masks import MaskType, column_mask, true_acceleration

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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("center_fraction", [0.25, 0.3, 1.0])
def test_a_centre_that_uses_up_every_column_is_refused(kind, center_fraction):
    with pytest.raises(UsageError, match="at acceleration 4: lower one"):
        column_mask(64, 4, center_fraction, kind, "scan")


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
