"""Block B_8 from the coarse prior, in inference."""

import pytest
import torch

from mri_iahvae.inference.core import complete_core
from mri_iahvae.inference.draws import Draws, Element
from mri_iahvae.inference.measurement import Measurement
from mri_iahvae.kspace.bands import block_mask, crop
from mri_iahvae.kspace.decomposition import FourierBands
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.coarse_prior import CoarsePrior
from tests.model.test_mixture import random_mixture

POWER = torch.where(block_mask(2, 8), 16.0, 0.1)  # sums to N^2 over the block


@pytest.fixture
def prior():
    return CoarsePrior(random_mixture(3, 8))


@pytest.fixture
def bins():
    return complex_noise((2, 8, 8), 1.0, torch.Generator().manual_seed(0))


def completed(prior, bins, mask, elements, sigma=0.0):
    noise = torch.full((len(bins),), sigma)
    measured = Measurement.of(bins, mask, noise, FourierBands(8))
    return measured, *complete_core(prior, measured, POWER, Draws(0, 1.0, elements, torch.device("cpu")))


def test_a_block_that_is_known_is_left_alone(prior, bins):
    measured, found, factor = completed(prior, bins, block_mask(2, 8)[None], (Element(0), Element(1)))
    assert found is measured
    assert torch.equal(factor, torch.ones_like(factor))


def test_a_missing_bin_takes_the_posterior_mean(prior, bins):
    mask = torch.ones(2, 8, 8, dtype=torch.bool)
    mask[1, 3, 3] = False  # of the block of the second slice
    measured, found, factor = completed(prior, bins, mask, (Element(0), Element(1)))
    data, unit = found.data, factor[:, None, None]
    torch.testing.assert_close(found.kspace * unit, measured.kspace)
    assert factor[0] == 1
    assert torch.equal(data.kspace[0], measured.kspace[0])
    mean, _ = prior.posterior(crop(bins[1], 2), crop(measured.data.variance[1], 2)).moments()
    torch.testing.assert_close(crop(data.kspace * unit, 2)[1], mean)
    assert not data.variance.any()  # taken for known
    energy = crop(data.kspace, 2)[1].abs().square().sum()
    torch.testing.assert_close(energy, torch.tensor(64.0))  # canonical again


def test_noise_of_other_bins_follows_the_units(prior, bins):
    mask = torch.ones(1, 8, 8, dtype=torch.bool)
    _, found, factor = completed(prior, bins, mask, (Element(0), Element(1)), sigma=0.3)
    outer = ~block_mask(2, 8)
    expected = (0.3 / factor.abs()).square()[:, None].expand(-1, int(outer.sum()))
    torch.testing.assert_close(found.data.variance[:, outer], expected)
    assert not crop(found.data.variance, 2).any()


def test_samples_are_draws_of_the_posterior(prior, bins):
    mask = block_mask(2, 8)[None].clone()
    mask[0, 3, 3] = False
    elements = tuple(Element(7, k) for k in range(400))
    measured, found, factor = completed(prior, bins[:1].expand(400, -1, -1), mask, elements)
    drawn = crop(found.data.kspace * factor[:, None, None], 2)
    posterior = prior.posterior(crop(bins[0], 2), crop(measured.data.variance[0], 2))
    mean, variance = posterior.moments()
    torch.testing.assert_close(drawn[:, 1, 1], bins[:1, 4, 4].expand(400), rtol=1e-4, atol=1e-4)
    missing = drawn[:, 0, 0]
    assert (missing.mean() - mean[0, 0]).abs() < 5 * (2 * variance[0, 0] / 400).sqrt()
    spread = (missing - mean[0, 0]).abs().square().mean() / 2
    torch.testing.assert_close(spread, variance[0, 0], rtol=0.3, atol=0)


def test_what_the_prior_knows_nothing_of_is_left_alone(prior, bins):
    """Of a block of which no bin was measured even the phase is unknown: its mean is zero."""
    mask = ~block_mask(2, 8)[None]
    measured, found, factor = completed(prior, bins, mask, (Element(0), Element(1)))
    assert found is measured
    assert torch.equal(factor, torch.ones_like(factor))
