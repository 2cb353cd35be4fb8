"""The errors that the guide states, against those that it makes."""

import pytest
import torch

from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.kspace.octaves import OCTAVES, octaves, ring_means
from mri_iahvae.model.estimate import Estimate
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_config import GuideConfig
from mri_iahvae.training.guide_error import (
    Errors,
    calibrate_error,
    fit_error,
    log_ratio,
    pixel_likelihood,
)
from mri_iahvae.training.guide_tasks import random_measurements

CPU = torch.device("cpu")


class Slices:
    """Random slices, as rough in the right half as is asked for."""

    def __init__(self, right=1.0):
        self.right = right

    def __len__(self):
        return 12

    def read(self, index):
        image = torch.rand(32, 32, generator=torch.Generator().manual_seed(index)) + 0.2
        image[:, 16:] *= self.right
        return fft2c(image + 0j).numpy()


@pytest.fixture
def guide():
    torch.manual_seed(0)
    return Guide(GuideConfig(1, (4, 8), 1)).eval().requires_grad_(requires_grad=False)


def test_calibration_holds_on_other_measurements(guide):
    fit_error(guide, Slices(), Slices(), CPU, count=512)
    first = guide.error.calibration.clone()
    calibrate_error(guide, Slices(), CPU, seed=1)
    assert torch.equal(guide.error.calibration, first)  # as the fit ended: an earlier one does not count
    calibrate_error(guide, Slices(), CPU, seed=2)  # other measurements of the same slices
    ratio = guide.error.calibration / first
    assert ((ratio > 0.5) & (ratio < 2))[:, :2].all()  # the others are a few bins, seldom missing
    assert not torch.equal(ratio, torch.ones(2, OCTAVES))


def test_fitted_heads_know_how_large_errors_are_and_where(guide):
    before = {name: value.clone() for name, value in guide.state_dict().items()}
    uneven = Slices(0.05)
    fit_error(guide, uneven, uneven, CPU, count=512)
    after = guide.state_dict()
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"error"}
    assert not any(weight.requires_grad for weight in guide.parameters())
    generator = torch.Generator().manual_seed(5)
    image = torch.stack([ifft2c(torch.from_numpy(uneven.read(i))) for i in range(12)]).abs()
    task = random_measurements(image, generator)
    estimate = guide(task.kspace, task.mask, task.sigma)
    error = estimate.kspace - task.truth
    power, ring = torch.view_as_real(error).square().mean(-1), octaves(task.mask)
    found, stated = (ring_means(part, ~task.mask, ring) for part in (power, estimate.variance))
    counted = found > 0
    ratio = (found[counted] / stated[counted]).log()
    assert ratio.abs().median() < 0.7
    assert (estimate.spread[..., :14] > estimate.spread[..., 18:].mean()).float().mean() > 0.8
    torch.testing.assert_close(estimate.spread.square().mean(dim=(1, 2, 3)), torch.ones(12))


def test_the_log_ratio_is_zero_where_the_variance_is_right():
    power = torch.rand(3, 2, OCTAVES, generator=torch.Generator().manual_seed(3)) + 0.1
    counted = torch.ones_like(power, dtype=torch.bool)
    counted[0, 1] = False
    power[0, 1, 0] = 0.0  # a logarithm of nothing must not reach the sum
    errors = Errors(torch.zeros(3, 1), torch.zeros(3), power, counted)
    assert not log_ratio(power, errors).any()
    expected = torch.where(counted, torch.log(torch.tensor(4.0)), 0)
    torch.testing.assert_close(log_ratio(power / 4, errors), expected)


def test_the_likelihood_of_pixels_is_least_where_the_spread_is_right(noise):
    kspace = complex_noise((1, 24, 24), 1.0, noise)
    energy = torch.ones(1, 2, 24, 24)
    energy[..., :12] = 9.0
    energy[:, 1] /= 4
    right = (energy / energy.mean()).sqrt()
    variance = torch.full((1, 24, 24), 0.3)
    estimate = Estimate(kspace, variance, right)
    error = torch.cat([estimate.draw(complex_noise((1, 24, 24), 1.0, noise)) for _ in range(8)])
    even = Estimate.even(kspace, variance)
    elsewhere, turned = (estimate._replace(spread=right.flip(axis)) for axis in (3, 1))
    losses = [pixel_likelihood(one, error).mean() for one in (estimate, turned, even, elsewhere)]
    assert losses[0] < min(losses[1:]) - 0.1
