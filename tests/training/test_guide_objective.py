"""What the guide is trained by, against its definitions."""

import torch
from torch.distributions import Normal

from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.guide import OCTAVES, Estimate, Guide, octaves
from mri_iahvae.model.guide_config import GuideConfig
from mri_iahvae.training.guide_calibration import calibrate_guide
from mri_iahvae.training.guide_objective import dissimilarity, error_likelihood, relative_error
from mri_iahvae.training.guide_tasks import random_field_of_view, random_measurements


def task(count=6, size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(count, size, size, generator=generator) + 0.2
    return random_measurements(image, generator)


def test_zero_filling_has_a_relative_error_of_nearly_one():
    one = task(32)
    measured = torch.where(one.mask, one.kspace, 0)
    hard = (measured - one.truth).abs().square().sum((1, 2)) > 0.1 * one.truth.abs().square().sum((1, 2))
    found = relative_error(measured, one)
    assert (found[hard] > 0.98).all()
    assert (found <= 1.01).all()
    torch.testing.assert_close(relative_error(one.truth, one), torch.full((32,), 1e-3))


def test_dissimilarity_is_none_of_equal_magnitudes(noise):
    truth = complex_noise((3, 16, 16), 1.0, noise)
    torch.testing.assert_close(dissimilarity(1j * truth, truth), torch.zeros(3), atol=1e-5, rtol=0)
    other = fft2c(complex_noise((3, 16, 16), 1.0, noise))
    assert (dissimilarity(other, truth) > 0.3).all()
    torch.testing.assert_close(dissimilarity(7 * other, 7 * truth), dissimilarity(other, truth))


def test_the_likelihood_of_errors_is_least_where_their_variance_is_right():
    """Its minimum over a common factor is that of torch.distributions."""
    one = task(4)._replace(mask=torch.zeros(4, 32, 32, dtype=torch.bool))
    error = complex_noise((4, 32, 32), 0.3, torch.Generator().manual_seed(3))

    def at(variance):
        return error_likelihood(Estimate(one.truth + error, torch.full((4, 32, 32), variance)), one)

    assert (at(0.09) < torch.minimum(at(0.05), at(0.16))).all()
    ring = octaves(one.mask)
    expected = [
        2 * Normal(0.0, 0.2).log_prob(torch.view_as_real(error[0])[ring == number]).mean()
        for number in range(OCTAVES)
    ]
    constant = torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(at(0.04)[0], -sum(expected) / OCTAVES - constant)


class Slices:
    """Random slices, as a source of held-out ones."""

    def __len__(self):
        return 6

    def read(self, index):
        image = torch.rand(32, 32, generator=torch.Generator().manual_seed(index)) + 0.2
        return fft2c(image + 0j).numpy()


def test_after_calibration_errors_have_the_variance_that_is_stated():
    torch.manual_seed(0)
    guide = Guide(GuideConfig(1, (4, 8), 1)).eval().requires_grad_(requires_grad=False)
    calibrate_guide(guide, Slices(), torch.device("cpu"))
    first = guide.calibration.clone()
    assert (first[1] > 0).all()
    calibrate_guide(guide, Slices(), torch.device("cpu"))
    assert torch.equal(guide.calibration, first)  # an earlier one does not count
    calibrate_guide(guide, Slices(), torch.device("cpu"), seed=1)  # other measurements of the same slices
    ratio = guide.calibration / first
    assert ((ratio > 0.5) & (ratio < 2))[:, :4].all()  # the centre is a few bins
    assert not torch.equal(ratio, torch.ones(2, OCTAVES))


def test_another_field_of_view_keeps_the_centre_where_it_is():
    image = torch.zeros(2, 32, 32)
    image[:, 16, 16] = 1.0
    sizes = set()
    for seed in range(40):
        found = random_field_of_view(image, torch.Generator().manual_seed(seed))
        height, width = found.shape[1:]
        sizes.add((height, width))
        assert found[0, height // 2, width // 2] == 1.0
        assert 24 <= height <= 40
        assert 24 <= width <= 40
    assert 5 < len(sizes) < 30
