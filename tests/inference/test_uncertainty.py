"""Expected errors: of Gaussians, of regions, and where copies of an estimate disagree."""

import math

import pytest
import torch

from mri_iahvae.inference.guidance import estimate
from mri_iahvae.inference.uncertainty import REGION, expected_error, regional, spread_of_copies
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.estimate import Estimate


def bright(noise, size=(16, 24)):
    """k-space of an image far from zero, with a phase."""
    phase = torch.rand(1, *size, generator=noise)
    return fft2c(torch.polar(torch.full_like(phase, 100.0), phase))


def test_a_white_error_is_expected_as_a_gaussian_is(noise):
    kspace = bright(noise)
    even = Estimate.even(kspace, torch.full(kspace.shape, 0.49))
    torch.testing.assert_close(expected_error(even), torch.full(kspace.shape, 0.7 * math.sqrt(2 / math.pi)))


def test_it_is_the_mean_error_of_the_magnitude_over_draws(noise):
    kspace = bright(noise)
    energy = torch.exp(3 * torch.rand(1, 2, 16, 24, generator=noise))
    energy[..., 12:] *= 20
    variance = torch.rand(kspace.shape, generator=noise)
    found = Estimate(kspace, variance, (energy / energy.mean()).sqrt())
    image, errors = ifft2c(kspace).abs(), torch.zeros(1, 16, 24)
    for _ in range(1500):
        drawn = ifft2c(kspace + found.draw(complex_noise(kspace.shape, 1.0, noise)))
        errors += (drawn.abs() - image).abs() / 1500
    expected = expected_error(found)
    assert (regional(errors) / expected - 1).abs().max() < 0.03
    assert expected[..., 16:].mean() > 1.5 * expected[..., :8].mean()


def test_nothing_is_expected_of_slices_of_which_a_bin_is_not_known(noise):
    kspace = bright(noise).repeat(2, 1, 1)
    variance = torch.ones(kspace.shape)
    variance[1, 3, 4] = torch.inf
    found = expected_error(Estimate.even(kspace, variance))
    assert found[0].isfinite().all()
    assert found[1].isnan().all()


@pytest.mark.parametrize("size", [(16, 24), (13, 9), (3, 20)])
def test_regions_partition_the_image(noise, size):
    values = torch.rand(2, *size, generator=noise)
    means = regional(values)
    torch.testing.assert_close(means.sum(dim=(1, 2)), values.sum(dim=(1, 2)))
    torch.testing.assert_close(regional(means), means)
    for top in range(0, size[0], REGION):
        for left in range(0, size[1], REGION):
            one = (slice(None), slice(top, top + REGION), slice(left, left + REGION))
            expected = values[one].mean(dim=(1, 2), keepdim=True).expand_as(values[one])
            torch.testing.assert_close(means[one], expected)


def test_disagreement_raises_the_spread_where_it_is(noise):
    spread = torch.rand(1, 2, 32, 32, generator=noise) + 0.5
    spread /= spread.square().mean().sqrt()
    images = torch.ones(4, 1, 32, 32) + 0j
    images[..., 16:] += complex_noise((4, 1, 32, 16), 1.0, noise)
    found = spread_of_copies(spread, fft2c(images))
    torch.testing.assert_close(found.square().mean(), torch.tensor(1.0))
    torch.testing.assert_close(found[:, 0] / found[:, 1], spread[:, 0] / spread[:, 1])
    change = found / spread
    assert change[..., 20:].min() > 1.5 * change[..., :12].max()
    # Half of it is stated, half is disagreement, so that no pixel is thought to be certain.
    assert change[..., :12].min() > 0.4


def test_a_single_copy_and_copies_that_agree_change_nothing(noise):
    spread = torch.rand(2, 2, 8, 12, generator=noise)
    spread /= spread.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    one = complex_noise((1, 2, 8, 12), 1.0, noise)
    torch.testing.assert_close(spread_of_copies(spread, one), spread)
    agreed = spread_of_copies(spread, fft2c(torch.ones(3, 2, 8, 12) + 0j))
    torch.testing.assert_close(agreed, spread, rtol=1e-2, atol=0)


def test_the_units_of_the_copies_do_not_matter(noise):
    spread = torch.ones(1, 2, 16, 16)
    copies = complex_noise((4, 1, 16, 16), 1.0, noise)
    small, large = (spread_of_copies(spread, unit * copies) for unit in (1e-4, 1e4))
    torch.testing.assert_close(small, large)


def test_an_estimate_of_copies_has_their_spread(noise, guide):
    kspace, mask = complex_noise((2, 16, 16), 1.0, noise), torch.rand(2, 16, 16, generator=noise) < 0.4
    one, four = (estimate(guide, kspace, mask, torch.zeros(2), symmetries=n)[0] for n in (1, 4))
    assert torch.equal(one.variance, four.variance)
    assert not torch.allclose(one.spread, four.spread, rtol=1e-2)
