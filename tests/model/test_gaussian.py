import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mri_iahvae.model.gaussian import Gaussian, soft_bound, whitened_kl


@pytest.fixture
def pair(noise):
    """Two Gaussians over (3, 2, 4, 4)."""
    values = torch.randn(4, 3, 2, 4, 4, generator=noise)
    return Gaussian(values[0], 0.5 * values[1]), Gaussian(values[2], 0.5 * values[3])


def test_nll_is_the_negative_log_density_of_each_batch_element(pair):
    p, other = pair
    expected = -Normal(p.mean, p.std).log_prob(other.mean).sum(dim=(1, 2, 3))
    torch.testing.assert_close(p.nll(other.mean), expected)


def test_the_whitened_kl_is_that_of_two_gaussians(pair):
    """q whitened by p: mean (mu_q - mu_p) / sigma_p, standard deviation sigma_q / sigma_p."""
    q, p = pair
    found = whitened_kl((q.mean - p.mean) / p.std, q.log_std - p.log_std)
    expected = kl_divergence(Normal(q.mean, q.std), Normal(p.mean, p.std)).sum(dim=(1, 2, 3))
    torch.testing.assert_close(found, expected)
    zero = torch.zeros_like(q.mean)
    assert not whitened_kl(zero, zero).any()
    for mean, log_std in ((0.1, 0.0), (0.0, -0.1), (0.0, 0.1)):
        assert (whitened_kl(zero + mean, zero + log_std) > 0).all()


def test_soft_bound_limits_and_leaves_small_values():
    values = torch.tensor([-1e6, -0.01, 0.0, 0.01, 1e6])
    torch.testing.assert_close(soft_bound(values, 3.0), torch.tensor([-3.0, -0.01, 0.0, 0.01, 3.0]))
