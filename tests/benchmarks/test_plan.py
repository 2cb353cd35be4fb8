"""The rivals of planned columns: how many columns they have, and what is known of the truth."""

import numpy as np
import pytest
import torch

from benchmarks.beyond.plan import CENTRE, Slices, centre, drawn, learnt, oracle, variable_density
from mri_iahvae.model.estimate import Estimate


@pytest.mark.parametrize("lines", [8, 16])
def test_masks_have_the_centre_and_as_many_columns_as_are_asked_for(lines):
    for mask in (
        drawn("random", 128, lines, 3),
        drawn("equispaced", 128, lines, 3),
        variable_density(128, 4, lines, 3),
    ):
        assert mask.sum() == lines
        assert mask[62:66].all()
    assert (variable_density(128, 4, lines, 3) != variable_density(128, 4, lines, 4)).any()


def test_the_oracle_takes_the_columns_that_lack_most_and_the_fixed_order_their_mean():
    truth = torch.zeros(2, 4, 16, dtype=torch.complex64)
    truth[0, :, 2], truth[1, :, 3], truth[:, :, 5], truth[:, :, 8] = 3, 3, 2.5, 9
    slices = Slices(torch.zeros(2, 4, 16), truth)
    nothing = Estimate.even(torch.zeros_like(truth), torch.ones(2, 4, 16))
    mask = centre(slices)
    assert mask.sum() == 2 * CENTRE
    assert oracle(slices, nothing, mask, 2).tolist() == [[2, 5], [3, 5]]
    assert learnt(slices, nothing, mask, 1).tolist() == [[5], [5]]
    assert np.isin(learnt(slices, nothing, mask, 3)[0], (2, 3, 5)).all()
