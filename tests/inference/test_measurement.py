"""What of a measurement leaves coarser scales in doubt, and how much the prior counts against it."""

from dataclasses import replace

import pytest
import torch

from mri_iahvae.inference.draws import Draws, Row
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.kspace.bands import band_mask, block_mask, crop, embed, scales

EVERYTHING = torch.ones(16, 16, dtype=torch.bool)


@pytest.fixture
def measurement(model, kspace):
    def make(*masks, noise=0.0, samples=None, temperature=1.0, **config):
        rows = tuple(Row(k, samples) for k in range(len(masks)))
        draws = Draws(0, temperature, rows, torch.device("cpu"))
        sigma, config = torch.full((len(masks),), noise), replace(model.config, **config)
        return Measurement(kspace[: len(masks)], torch.stack(masks), sigma, config, draws, noise > 0)

    return make


def without(row, column):
    mask = EVERYTHING.clone()
    mask[row, column] = False
    return mask


def test_every_measured_bin_is_in_one_band(measurement, kspace, noise):
    mask = torch.rand(3, 16, 16, generator=noise) < 0.5
    taken = measurement(*mask)
    found = torch.zeros_like(kspace)
    for index, s in enumerate(scales(16)):
        band = taken.band(index)
        found += embed(band.data, 16)
        assert torch.equal(band.mask, crop(mask, s) & band_mask(s))
        torch.testing.assert_close(band.share, band.mask.flatten(1).sum(1) / band_mask(s).sum())
        torch.testing.assert_close(taken.shares()[:, index], band.share)
    assert torch.equal(found, torch.where(mask, kspace, 0))


@pytest.mark.parametrize(
    ("mask", "doubt"),
    [
        (EVERYTHING, False),
        (block_mask(4, 16), False),
        (block_mask(6, 16), False),  # holes in the finest measured band
        (~EVERYTHING, False),
        (EVERYTHING & ~block_mask(8, 16) | block_mask(2, 16), True),
        (EVERYTHING & ~block_mask(8, 16), False),  # no centre
        (without(8, 8), False),  # DC
        (without(7, 7), False),  # the central 2 x 2 bins
        (without(6, 8), True),
        (without(8, 5), True),
        (without(0, 8), False),
    ],
)
def test_finer_bins_tell_of_coarser_ones_that_are_missing(measurement, mask, doubt):
    expected = [[0]] if doubt else []
    assert [rows.tolist() for rows in measurement(mask).in_doubt()] == expected
    assert measurement(mask, samples=0).in_doubt() == []
    assert [rows.tolist() for rows in measurement(mask, samples=0, temperature=0.0).in_doubt()] == expected


def test_strong_noise_leaves_all_scales_in_doubt(measurement):
    found = [len(measurement(EVERYTHING, noise=noise).in_doubt()) for noise in (0.0, 0.29, 0.31)]
    assert found == [0, 0, 1]
    assert not measurement(~EVERYTHING, noise=0.5).in_doubt()


def test_rows_are_told_apart_by_their_finest_measured_scale(measurement):
    fine = without(8, 5)
    coarse = fine & block_mask(8, 16)
    corner = coarse.clone()
    corner[0, 0] = True
    found = measurement(fine, EVERYTHING, corner).in_doubt()
    assert [rows.tolist() for rows in found] == [[0, 2]]
    coarser = measurement(coarse & without(8, 6), corner, EVERYTHING)
    assert [rows.tolist() for rows in coarser.in_doubt()] == [[0], [1]]
    assert coarser.reached().sum(1).tolist() == [4, 5, 5]


def test_rows_are_those_of_the_whole(measurement):
    masks = (EVERYTHING, without(8, 5), block_mask(4, 16))
    found = measurement(*masks, noise=0.2, samples=1).rows(torch.tensor([2, 1]))
    for index in range(5):
        alone = measurement(*masks, noise=0.2, samples=1).band(index)
        for name in ("data", "mask", "share", "weight", "prior", "noise", "noisy", "residual"):
            assert torch.equal(getattr(found.band(index), name), getattr(alone, name)[[2, 1]]), name


def test_the_prior_counts_more_across_scales(measurement):
    """Twice as much, and at scales without holes, too, where the row has any."""
    spread = (1.0, 2.0, 3.0, 3.5, 5.0)
    masks = (EVERYTHING, without(0, 8))
    quiet, noisy = (measurement(*masks, noise=noise, spread=spread) for noise in (0.0, 0.4))
    for index, own in enumerate(spread):
        assert quiet.prior_joint(index).tolist() == [2, 2 * max(4, own)]
        assert noisy.prior_joint(index).tolist() == [2 * own, 2 * max(4, own)]
        assert measurement(*masks).prior_joint(index).tolist() == [1, 1]  # nothing is known of the spread
