"""Data consistency with a prediction is the mean of three, weighted by their precision."""

import torch

from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.kspace.noise import complex_noise
from mri_iahvae.model.consistency import OneCoil, Predicted

VARIANCE = torch.tensor(0.4)


def parts(noise, sigma):
    kspace, image, predicted = (complex_noise((2, 6, 5), 1.0, noise) for _ in range(3))
    mask = torch.rand(2, 6, 5, generator=noise) < 0.5
    spread = torch.rand(2, 6, 5, generator=noise)
    return torch.where(mask, kspace, 0), mask, torch.tensor(sigma), image, predicted, spread


def test_bins_are_weighted_by_precision(noise):
    kspace, mask, sigma, image, predicted, spread = parts(noise, [0.2, 0.5])
    found = fft2c(Predicted(kspace, mask, sigma, predicted, spread)(image, VARIANCE))
    own, given, data = 1 / VARIANCE, 1 / spread, mask / sigma.square()[:, None, None]
    expected = (own * fft2c(image) + given * predicted + data * kspace) / (own + given + data)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_measured_bins_without_noise_are_kept_whatever_is_predicted(noise):
    kspace, mask, sigma, image, predicted, spread = parts(noise, [0.0, 0.0])
    spread[0] = 0
    found = fft2c(Predicted(kspace, mask, sigma, predicted, spread)(image, VARIANCE))
    torch.testing.assert_close(found[mask], kspace[mask], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[0][~mask[0]], predicted[0][~mask[0]], atol=1e-5, rtol=0)


def test_without_a_prediction_it_is_that_of_one_coil(noise):
    kspace, mask, sigma, image, predicted, spread = parts(noise, [0.0, 0.3])
    given = Predicted(kspace, mask, sigma, predicted, torch.full_like(spread, torch.inf))
    torch.testing.assert_close(given(image, VARIANCE), OneCoil(kspace, mask, sigma)(image, VARIANCE))
