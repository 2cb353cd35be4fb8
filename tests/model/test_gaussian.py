import pytest
import torch
from torch.distributions import Normal

from mri_iahvae.model.gaussian import Gaussian, kl_divergence, soft_bound


@pytest.fixture
def pair(noise):
    """Two Gaussians over (3, 2, 4, 4)."""
    values = torch.randn(4, 3, 2, 4, 4, generator=noise)
    return Gaussian(values[0], 0.5 * values[1]), Gaussian(values[2], 0.5 * values[3])


def test_samples_have_the_stated_moments(noise):
    gaussian = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([0.5, -1.0]))
    z = gaussian.at(torch.randn(100_000, 2, generator=noise))
    torch.testing.assert_close(z.mean(0), gaussian.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(z.std(0), gaussian.log_std.exp(), atol=0, rtol=0.01)


def test_nll_is_the_negative_log_density_of_each_slice(pair):
    p, other = pair
    expected = -Normal(p.mean, p.std).log_prob(other.mean).sum(dim=(1, 2, 3))
    torch.testing.assert_close(p.nll(other.mean), expected)


def test_kl_is_the_mean_log_ratio_of_densities(pair, noise):
    q, p = pair
    samples = [q.at(torch.randn(q.mean.shape, generator=noise)) for _ in range(20_000)]
    ratios = torch.stack([p.nll(z) - q.nll(z) for z in samples])
    standard_error = ratios.std(0) / len(samples) ** 0.5
    kl = kl_divergence(q, p)
    assert (standard_error < 0.02 * kl).all()
    assert ((ratios.mean(0) - kl).abs() < 4 * standard_error).all()


def test_kl_vanishes_for_equal_gaussians_only(pair):
    q, p = pair
    assert kl_divergence(q, q).abs().max() == 0
    assert (kl_divergence(q, p) > 0).all()
    assert (kl_divergence(Gaussian(q.mean + 0.1, q.log_std), q) > 0).all()
    assert (kl_divergence(Gaussian(q.mean, q.log_std - 0.1), q) > 0).all()
    assert (kl_divergence(Gaussian(q.mean, q.log_std + 0.1), q) > 0).all()


def test_soft_bound_limits_and_leaves_small_values():
    values = torch.tensor([-1e6, -0.01, 0.0, 0.01, 1e6])
    torch.testing.assert_close(soft_bound(values, 3.0), torch.tensor([-3.0, -0.01, 0.0, 0.01, 3.0]))
