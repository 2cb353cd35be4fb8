"""What the guide is trained by, against its definitions."""

import torch

from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.training.guide_module import dissimilarity, relative_error
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
