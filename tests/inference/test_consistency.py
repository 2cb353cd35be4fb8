import pytest
import torch
from mri_iahvae.inference.consistency import consistent

from mri_iahvae.kspace.noise import complex_noise


@pytest.fixture
def bins(noise):
    """Prediction and data, complex64 (3, 8, 8) each."""
    return complex_noise((3, 8, 8), 1.0, noise), complex_noise((3, 8, 8), 1.0, noise)


@pytest.fixture
def mask(noise):
    return torch.rand(1, 8, 8, generator=noise) < 0.5


def test_without_noise_measured_bins_are_the_data(bins, mask):
    predicted, data = bins
    result = consistent(predicted, data, mask, 0.1, torch.zeros(3))
    torch.testing.assert_close(result, torch.where(mask, data, predicted))


def test_with_endless_noise_the_data_do_not_count(bins, mask):
    predicted, data = bins
    torch.testing.assert_close(consistent(predicted, data, mask, 0.1, torch.full((3,), 1e4)), predicted)


def test_measured_bins_are_the_posterior_mean(bins, mask):
    """Two Gaussians of precisions 1 / sigma^2 and 1 / sigma_n^2, a noise level per slice."""
    predicted, data = bins
    noise = torch.tensor([0.1, 0.3, 2.0])
    result = consistent(predicted, data, mask, 0.3, noise)
    for k, sigma in enumerate((0.1, 0.3, 2.0)):
        model, measurement = 1 / 0.3**2, 1 / sigma**2
        mean = (model * predicted[k] + measurement * data[k]) / (model + measurement)
        torch.testing.assert_close(result[k][mask[0]], mean[mask[0]])
    torch.testing.assert_close(result[1][mask[0]], ((predicted + data) / 2)[1][mask[0]])


def test_unmeasured_bins_are_untouched(bins, mask):
    predicted, data = bins
    result = consistent(predicted, data, mask, 0.3, torch.tensor([0.0, 0.1, 1.0]))
    assert torch.equal(result[:, ~mask[0]], predicted[:, ~mask[0]])
