"""Draws of an estimate's error, against the variances that it states."""

import pytest
import torch

from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.estimate import Estimate


@pytest.fixture(params=[(16, 16), (15, 12)])
def estimate(request, noise):
    """Some bins exact, some unknown; errors of the pixels differ by a factor of ten."""
    shape = (1, *request.param)
    variance = torch.rand(shape, generator=noise) + 0.1
    variance[:, 3] = 0.0
    variance[:, :, 5] = torch.inf
    energy = torch.exp(2.3 * torch.rand(1, 2, *request.param, generator=noise))
    energy[:, 1] /= 5
    spread = (energy / energy.mean()).sqrt()
    return Estimate(complex_noise(shape, 1.0, noise), variance, spread)


def draws(estimate, noise, count=4000):
    shape = estimate.variance.shape
    return torch.cat([estimate.draw(complex_noise(shape, 1.0, noise)) for _ in range(count)])


def test_each_bin_of_a_draw_has_the_variance_that_is_stated(estimate, noise):
    found = torch.view_as_real(draws(estimate, noise)).square().mean(dim=(0, 3))
    variance = estimate.variance[0]
    drawn = (variance > 0) & variance.isfinite()
    assert not found[~drawn].any()
    assert ((found / variance)[drawn] - 1).abs().max() < 0.1  # 8000 numbers: a deviation of 1.6 %


def test_the_variance_of_pixels_is_that_of_draws(estimate, noise):
    turned = ifft2c(draws(estimate, noise)) * estimate.phase().conj()
    found = torch.stack([turned.real, turned.imag]).square().mean(dim=1)
    expected = estimate.pixel_variance()[0]
    assert (found / expected - 1).abs().max() < 0.15  # 4000 numbers: a deviation of 2.2 %
    assert expected[0].mean() > 2 * expected[1].mean()
    known = torch.where(estimate.variance.isfinite(), estimate.variance, 0)
    torch.testing.assert_close(expected.mean(), known.mean())  # Parseval


def test_an_even_estimate_has_white_errors(estimate):
    even = Estimate.even(estimate.kspace, torch.full_like(estimate.variance, 0.3))
    torch.testing.assert_close(even.pixel_variance(), torch.full_like(even.spread, 0.3))


def test_data_are_an_estimate_with_the_variance_of_noise(noise):
    kspace = complex_noise((2, 6, 5), 1.0, noise)
    mask = torch.rand(2, 6, 5, generator=noise) < 0.5
    found = Estimate.of_data(kspace, mask, torch.tensor([0.0, 0.3]))
    assert torch.equal(found.kspace, torch.where(mask, kspace, 0))
    assert found.variance[~mask].isinf().all()
    torch.testing.assert_close(found.variance[1][mask[1]], torch.full((int(mask[1].sum()),), 0.09))
    assert not found.variance[0][mask[0]].any()
    error = found.draw(complex_noise((2, 6, 5), 1.0, noise))
    assert not error[0].any()
    assert torch.equal(error[1] != 0, mask[1])
