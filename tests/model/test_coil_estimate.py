"""The error of an estimate from several coils: what data consistency leaves of the prediction's error and the noise."""

import pytest
import torch

from mri_iahvae.kspace.coils import Sense
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.model.coil_estimate import EXPONENT, NOISE_OF_ONE, CoilEstimate
from mri_iahvae.model.consistency import OneCoil, SeveralCoils
from mri_iahvae.model.estimate import Estimate
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_config import GuideConfig

SIZE = (8, 10)


def white(*shape, seed=0):
    return torch.view_as_complex(torch.randn(*shape, 2, generator=torch.Generator().manual_seed(seed)))


@pytest.fixture
def mask():
    return (torch.arange(SIZE[1]) % 3 == 0).expand(SIZE)


def estimate(maps, mask, sigma, variance, weighed, unit=1.0):
    sense = Sense(maps, mask[None, None])
    measured = SeveralCoils(torch.zeros(1, maps.shape[1], *SIZE, dtype=torch.complex64), sense, sigma)
    prediction = Estimate.even(white(1, *SIZE), variance)
    zero = torch.zeros(1, *SIZE, dtype=torch.complex64)
    return CoilEstimate(zero, prediction, measured, torch.tensor(weighed), torch.tensor([unit]))


def test_one_coil_has_the_variance_of_a_weighted_mean(mask):
    """Bins that are measured: (n / v e + noise) / (n / v + 1); the others are those of the prediction."""
    variance = 0.5 + torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(1))
    sigma, weighed = torch.tensor([0.4]), 0.1
    found = estimate(torch.ones(1, 1, *SIZE, dtype=torch.complex64), mask, sigma, variance, weighed, unit=3.0)
    noises = [(white(1, *SIZE, seed=k), white(1, 1, *SIZE, seed=-k - 1)) for k in range(400)]
    drawn = torch.cat([found.draw(*both) for both in noises])
    power = fft2c(drawn).abs().square().mean(dim=0) / 2 / 9
    noise = found.measured.noise
    ratio = noise / weighed
    predicted = found.fraction() * variance
    expected = torch.where(mask, (noise + ratio**2 * predicted) / (1 + ratio) ** 2, predicted)[0]
    assert (power / expected).mean() == pytest.approx(1, abs=0.02)
    assert (power / expected).std() < 0.1  # of 800 numbers 0.05


def test_little_of_the_error_of_one_coil_is_left_where_there_is_little_noise(mask):
    sigma = torch.tensor([(NOISE_OF_ONE / 16) ** 0.5, NOISE_OF_ONE**0.5, 1.0])
    maps = torch.ones(3, 1, *SIZE, dtype=torch.complex64)
    found = estimate(maps, mask, sigma, torch.ones(3, *SIZE), 0.1).fraction()
    torch.testing.assert_close(found, torch.tensor([16**-EXPONENT, 1, 1]), rtol=0.05, atol=0)


def test_a_draw_is_linear_and_small_where_the_coils_determine_the_image(coil_maps, mask):
    maps = torch.from_numpy(coil_maps(4, *SIZE))[None]
    everything, variance = torch.ones_like(mask), torch.ones(1, *SIZE)
    error, noise = white(1, *SIZE), white(1, 4, *SIZE, seed=1)
    found = estimate(maps, everything, torch.zeros(1), variance, 0.3)
    torch.testing.assert_close(found.draw(-error, -noise), -found.draw(error, noise), rtol=1e-3, atol=1e-5)
    # No noise but that which stands for the error of the sensitivities, 0.01.
    assert found.draw(error, noise).abs().square().mean().sqrt() == pytest.approx(0.01 * 2**0.5, rel=0.2)
    several, one = (
        estimate(seen, mask, torch.zeros(1), variance, 0.3).draw(error, noise[:, : seen.shape[1]])
        for seen in (maps, torch.ones(1, 1, *SIZE) + 0j)
    )
    assert several.abs().square().mean() < 0.75 * one.abs().square().mean()


def test_of_one_coil_estimate_and_expected_error_are_those_without_an_axis(mask):
    """But for the error of sensitivities, which counts as noise."""
    torch.manual_seed(0)
    guide = Guide(GuideConfig(1, (4, 8), 1)).eval()
    kspace, sigma = torch.where(mask, white(1, 16, 10, seed=2)[:, :8], 0), torch.tensor([0.3])
    single = guide(kspace, mask[None], sigma)
    sense = Sense(torch.ones(1, 1, *SIZE, dtype=torch.complex64), mask[None, None])
    found = guide.combine(kspace[:, None], sense, sigma)
    unit = found.unit[:, None, None]
    torch.testing.assert_close(fft2c(found.image), single.kspace, rtol=0.02, atol=0.02)
    variance = found.prediction.variance * unit.square()
    torch.testing.assert_close(variance, single.variance, rtol=0.05, atol=1e-3)
    torch.testing.assert_close(found.prediction.spread, single.spread, rtol=0.05, atol=1e-2)


def test_the_misfit_of_one_coil_is_that_of_its_bins(mask):
    kspace, image, sigma = torch.where(mask, white(1, *SIZE), 0), white(1, *SIZE, seed=1), torch.zeros(1)
    sense = Sense(torch.ones(1, 1, *SIZE, dtype=torch.complex64), mask[None, None])
    one, several = OneCoil(kspace, mask[None], sigma), SeveralCoils(kspace[:, None], sense, sigma)
    expected = torch.where(mask, one.misfit(image), 0)
    torch.testing.assert_close(several.misfit(image), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ifft2c(kspace), several.zero_filled)
